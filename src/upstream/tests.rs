//! The strategy against mock servers on loopback.

#[path = "../../tests/support/mock.rs"]
pub(super) mod mock;

use std::net::Ipv4Addr;

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{RData, RecordType};
use mock::{Mock, Say, dead_address};

use super::*;

const ADDRESS: [u8; 4] = [192, 0, 2, 7];

/// Over UDP to these, 2 s in all.
fn over(mocks: &[&Mock]) -> Arc<Upstream> {
    to(mocks.iter().map(|mock| Server::Udp(mock.address())).collect())
}

fn to(servers: Vec<Server>) -> Arc<Upstream> {
    with(Settings {
        servers,
        zones: Vec::new(),
        timeout: Duration::from_secs(2),
        max_in_flight: 2_000,
        mix_case: false,
        ..others()
    })
}

/// What most tests have nothing to do with.
fn others() -> Settings {
    Settings {
        servers: Vec::new(),
        zones: Vec::new(),
        timeout: Duration::from_secs(2),
        max_in_flight: 2_000,
        mix_case: false,
        strategy: Strategy::Fastest,
        bootstrap: Vec::new(),
        ca_file: None,
        connections: 4,
        client_subnet: ClientSubnet::Off,
        recursion: None,
        dnssec: DnssecSettings::default(),
    }
}

fn with(settings: Settings) -> Arc<Upstream> {
    Arc::new(Upstream::new(&settings, &[]).expect("these settings are good"))
}

fn ask(name: &str, qtype: RecordType) -> Ask {
    Ask {
        name: Name::parse(name).expect("a name"),
        qtype: qtype.into(),
        qclass: 1,
        dnssec_ok: false,
        checking_disabled: false,
    }
}

fn read(reply: &Reply) -> Message {
    Message::from_vec(&reply.bytes).expect("a DNS message")
}

fn addresses(reply: &Reply) -> Vec<Ipv4Addr> {
    let records = read(reply).answers.into_iter();
    records.filter_map(|record| if let RData::A(a) = record.data { Some(a.0) } else { None }).collect()
}

#[tokio::test]
async fn a_reply_comes_back_as_bytes_and_the_query_is_as_asked() {
    let mock = Mock::start(|asked| match asked.name.as_str() {
        "odd.example" => Say::Unknown(vec![1, 2, 3, 0xff]),
        "signed.example" => Say::Signed(ADDRESS),
        _ => Say::A(ADDRESS),
    });
    let upstream = over(&[&mock]);

    let reply = upstream.ask(ask("odd.example", RecordType::from(65280))).await.expect("a reply");
    let answers = read(&reply).answers;
    assert_eq!(u16::from(answers[0].record_type()), 65280);
    assert!(reply.bytes.windows(6).any(|w| w == [0, 4, 1, 2, 3, 0xff]), "rdata is untouched");
    assert_eq!(reply.server, mock.address());
    let asked = mock.last("odd.example").expect("asked");
    assert_eq!((asked.qtype, asked.qclass, asked.edns), (65280, 1, Some(1232)));
    assert!(asked.rd && asked.ad && !asked.cd && !asked.dnssec_ok && !asked.tcp);

    let signed = Ask { dnssec_ok: true, checking_disabled: true, ..ask("signed.example", RecordType::A) };
    let reply = upstream.ask(signed).await.expect("a reply");
    let message = read(&reply);
    assert!(message.authentic_data);
    assert!(message.answers.iter().any(|record| record.record_type() == RecordType::RRSIG));
    assert!(message.edns.is_some_and(|edns| edns.flags().dnssec_ok), "the OPT comes along");
    let asked = mock.last("signed.example").expect("asked");
    assert!(asked.dnssec_ok && asked.cd);

    let plain = upstream.ask(ask("signed.example", RecordType::A)).await.expect("a reply");
    assert!(read(&plain).answers.iter().all(|record| record.record_type() == RecordType::A));

    let chaos = Ask { qclass: 3, ..ask("version.example", RecordType::TXT) };
    upstream.ask(chaos).await.expect("a reply");
    assert_eq!(mock.last("version.example").map(|asked| asked.qclass), Some(3));
}

#[tokio::test]
async fn nxdomain_and_nodata_are_good_answers() {
    let first = Mock::start(|asked| if asked.name == "gone.example" { Say::Nxdomain } else { Say::Nodata });
    let second = Mock::fixed(ADDRESS);
    let upstream = over(&[&first, &second]);
    for (name, rcode) in [("gone.example", ResponseCode::NXDomain), ("empty.example", ResponseCode::NoError)] {
        let message = read(&upstream.ask(ask(name, RecordType::A)).await.expect("a reply"));
        assert_eq!(message.response_code, rcode);
        assert!(message.answers.is_empty());
        assert_eq!(message.authorities.first().map(|soa| soa.record_type()), Some(RecordType::SOA));
    }
    assert_eq!(second.total(), 0);
    assert_eq!(upstream.health()[0].failed, 0);
}

#[tokio::test]
async fn errors_and_silence_go_to_the_next_server() {
    for bad in [
        Say::Rcode(ResponseCode::ServFail),
        Say::Rcode(ResponseCode::Refused),
        Say::Rcode(ResponseCode::NotImp),
        Say::Bare(ResponseCode::Refused),
        Say::Silence,
        Say::OtherQuestion,
        Say::Raw(vec![0, 0, 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0, 0xc0, 0x0c]),
    ] {
        let shown = format!("{bad:?}");
        let first = Mock::start(move |_| bad.clone());
        let second = Mock::fixed(ADDRESS);
        let upstream = over(&[&first, &second]);
        for round in 0..4 {
            let name = format!("n{round}.example");
            let reply = upstream.ask(ask(&name, RecordType::A)).await.expect(&shown);
            assert_eq!(addresses(&reply), [Ipv4Addr::from(ADDRESS)], "{shown}");
        }
        let health = upstream.health();
        if matches!(shown.as_str(), "Silence" | "OtherQuestion") {
            assert_eq!((health[0].asked, health[0].failed), (1, 1), "the other is clearly faster");
        } else {
            assert_eq!(health[0].state, ServerState::Aside, "{shown}");
            assert_eq!((health[0].asked, health[0].failed), (3, 3), "{shown}: not asked while aside");
        }
        assert_eq!((health[1].state, health[1].failed), (ServerState::Serving, 0), "{shown}");
    }
}

#[tokio::test]
async fn a_dead_port_goes_to_the_next_server_and_alone_is_dead() {
    let dead = dead_address();
    let mock = Mock::fixed(ADDRESS);
    for server in [Server::Udp(dead), Server::Tcp(dead)] {
        let upstream = to(vec![server.clone(), Server::Udp(mock.address())]);
        let reply = upstream.ask(ask("a.example", RecordType::A)).await.expect("the second answers");
        assert_eq!(reply.server, mock.address());
        let upstream = to(vec![server]);
        assert_eq!(upstream.ask(ask("a.example", RecordType::A)).await, Err(Failure::Dead));
        assert_eq!(upstream.counts().failed, 1);
    }
}

#[tokio::test]
async fn silence_everywhere_is_slow() {
    let mock = Mock::start(|_| Say::Silence);
    let timeout = Duration::from_millis(400);
    let servers = vec![Server::Udp(mock.address())];
    let upstream =
        with(Settings { servers, zones: Vec::new(), timeout, max_in_flight: 10, mix_case: false, ..others() });
    assert_eq!(upstream.ask(ask("a.example", RecordType::A)).await, Err(Failure::Slow));
    assert!(mock.count("a.example") >= 2, "a lost datagram is sent again");
    let over_tcp = with(Settings {
        servers: vec![Server::Tcp(mock.address())],
        zones: Vec::new(),
        timeout,
        max_in_flight: 10,
        mix_case: false,
        ..others()
    });
    assert_eq!(over_tcp.ask(ask("b.example", RecordType::A)).await, Err(Failure::Slow));
    assert_eq!(mock.count("b.example"), 1, "a stream loses nothing");
}

#[tokio::test]
async fn a_lost_datagram_does_not_lose_the_answer() {
    let mock = Mock::start(|asked| if asked.before == 0 { Say::Silence } else { Say::A(ADDRESS) });
    let reply = over(&[&mock]).ask(ask("a.example", RecordType::A)).await.expect("the second try is answered");
    assert_eq!(addresses(&reply), [Ipv4Addr::from(ADDRESS)]);
}

#[tokio::test]
async fn an_error_all_agree_on_is_passed_on_and_servfail_tells_most() {
    let refusing = Mock::start(|_| Say::Rcode(ResponseCode::Refused));
    let failing = Mock::start(|_| Say::Rcode(ResponseCode::ServFail));
    for upstream in [over(&[&failing, &refusing]), over(&[&refusing, &failing])] {
        let reply = upstream.ask(ask("a.example", RecordType::A)).await.expect("an error is a reply");
        assert_eq!((read(&reply).response_code, reply.server), (ResponseCode::ServFail, failing.address()));
        assert!(upstream.health().iter().all(|server| server.failed == 0), "nobody is to blame for the name");
    }
    let bare = Mock::start(|_| Say::Bare(ResponseCode::ServFail));
    assert_eq!(over(&[&bare]).ask(ask("a.example", RecordType::A)).await, Err(Failure::Useless));
}

#[tokio::test]
async fn a_server_without_edns_is_asked_without() {
    let mock = Mock::start(|_| Say::NoEdns(Box::new(Say::A(ADDRESS))));
    let reply = over(&[&mock]).ask(ask("a.example", RecordType::A)).await.expect("a reply");
    assert_eq!(addresses(&reply), [Ipv4Addr::from(ADDRESS)]);
    assert_eq!(mock.last("a.example").and_then(|asked| asked.edns), None);
}

#[tokio::test]
async fn a_truncated_answer_is_fetched_over_tcp() {
    let mock = Mock::start(|_| Say::Truncated(Box::new(Say::Unknown(vec![7; 5_000]))));
    let upstream = over(&[&mock]);
    for name in ["big.example", "big2.example"] {
        let reply = upstream.ask(ask(name, RecordType::TXT)).await.expect("a reply");
        assert!(reply.bytes.len() > 5_000 && !read(&reply).truncation);
        let tcp: Vec<_> = mock.asked().into_iter().filter(|asked| asked.name == name).map(|asked| asked.tcp).collect();
        assert_eq!(tcp, [false, true]);
    }
    let clients: Vec<_> = mock.asked().into_iter().filter(|asked| asked.tcp).map(|asked| asked.client).collect();
    assert_eq!(clients[0], clients[1], "one connection for both");
}

#[tokio::test]
async fn tcp_servers_answer_many_at_once_over_few_connections() {
    let mock = Mock::start(|asked| match asked.name.as_str() {
        "close.example" if asked.before == 0 => Say::Close,
        _ => Say::Later(Duration::from_millis(20), Box::new(Say::A(ADDRESS))),
    });
    let upstream = Arc::new(to(vec![Server::Tcp(mock.address())]));
    ask_many(&upstream, 200).await;
    let mut clients: Vec<_> = mock.asked().into_iter().map(|asked| asked.client).collect();
    clients.sort();
    clients.dedup();
    assert!(clients.len() <= 16, "{} connections", clients.len());
    upstream.ask(ask("close.example", RecordType::A)).await.expect("a closed connection is opened again");
    assert!(mock.asked().iter().all(|asked| asked.tcp));
}

#[tokio::test]
async fn a_thousand_at_once_over_udp() {
    let mock = Mock::start(|_| Say::Later(Duration::from_millis(30), Box::new(Say::A(ADDRESS))));
    // Much patience: the mock's socket buffer may lose some of such a burst, and this is not about speed.
    let timeout = Duration::from_secs(40);
    let servers = vec![Server::Udp(mock.address())];
    let upstream = Arc::new(with(Settings {
        servers,
        zones: Vec::new(),
        timeout,
        max_in_flight: 1_000,
        mix_case: false,
        ..others()
    }));
    ask_many(&upstream, 1_000).await;
    let asked = mock.asked();
    let mut ids: Vec<_> = asked.iter().map(|asked| asked.id).collect();
    ids.sort_unstable();
    ids.dedup();
    assert!(ids.len() > 900, "ids are drawn anew: {}", ids.len());
    // A port serves a few questions and is given up; so it takes many for a thousand.
    let mut uses = HashMap::new();
    asked.iter().for_each(|asked| *uses.entry(asked.client.port()).or_insert(0) += 1);
    assert!(uses.values().all(|&uses| uses <= datagrams::MOST_USES), "{uses:?}");
}

#[tokio::test]
async fn forged_answers_do_not_end_the_wait_and_many_lead_to_a_stream() {
    let mock = Mock::start(|asked| match asked.name.as_str() {
        "few.example" => Say::Forged(3, Box::new(Say::A(ADDRESS))),
        _ => Say::Forged(100, Box::new(Say::A(ADDRESS))),
    });
    let upstream = over(&[&mock]);
    let reply = upstream.ask(ask("few.example", RecordType::A)).await.expect("a reply");
    assert_eq!(addresses(&reply), [Ipv4Addr::from(ADDRESS)]);
    assert_eq!((upstream.counts().strange, upstream.counts().attacked), (3, 0));
    assert!(mock.asked().iter().all(|asked| !asked.tcp));
    let reply = upstream.ask(ask("many.example", RecordType::A)).await.expect("a reply");
    assert_eq!(addresses(&reply), [Ipv4Addr::from(ADDRESS)]);
    assert_eq!(upstream.counts().attacked, 1);
    assert!(mock.last("many.example").is_some_and(|asked| asked.tcp));
    assert_eq!(upstream.health()[0].failed, 0, "the server is not to blame");
}

#[tokio::test]
async fn letter_case_is_mixed_and_a_server_that_loses_it_is_asked_over_tcp_and_then_without() {
    let mock = Mock::start(|asked| match asked.name.as_str() {
        name if name.starts_with("keeps") => Say::A(ADDRESS),
        _ => Say::LowerCase(Box::new(Say::A(ADDRESS))),
    });
    let settings = Settings {
        servers: vec![Server::Udp(mock.address())],
        zones: Vec::new(),
        timeout: Duration::from_secs(2),
        max_in_flight: 10,
        mix_case: true,
        ..others()
    };
    let upstream = with(settings);
    // Long names: that chance leaves all letters small does not happen.
    let name = |number: usize, what: &str| format!("{what}{number}.a-name-with-a-good-many-letters-in-it.example");
    let reply = upstream.ask(ask(&name(0, "keeps"), RecordType::A)).await.expect("a reply");
    let asked = &reply.bytes[12..12 + 58];
    assert!(asked.iter().any(u8::is_ascii_uppercase) && asked.iter().any(u8::is_ascii_lowercase), "{asked:?}");
    for number in 0..5 {
        let name = name(number, "loses");
        let reply = upstream.ask(ask(&name, RecordType::A)).await.expect("a reply");
        assert_eq!(addresses(&reply), [Ipv4Addr::from(ADDRESS)]);
        assert_eq!(mock.last(&name).map(|asked| asked.tcp), Some(number < 3), "{number}");
    }
}

/// Different names, all at once, all answered.
async fn ask_many(upstream: &Arc<Upstream>, count: usize) {
    let mut asks = tokio::task::JoinSet::new();
    for number in 0..count {
        let upstream = Arc::clone(upstream);
        asks.spawn(async move { upstream.ask(ask(&format!("n{number}.example"), RecordType::A)).await });
    }
    for outcome in asks.join_all().await {
        assert_eq!(addresses(&outcome.expect("answered")), [Ipv4Addr::from(ADDRESS)]);
    }
    assert_eq!(upstream.counts().in_flight, 0);
}

#[tokio::test]
async fn identical_questions_are_asked_once_and_different_ones_are_not_mixed() {
    let mock = Mock::start(|_| Say::Later(Duration::from_millis(300), Box::new(Say::A(ADDRESS))));
    let upstream = Arc::new(over(&[&mock]));
    let mut asks = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let upstream = Arc::clone(&upstream);
        asks.spawn(async move { upstream.ask(ask("same.example", RecordType::A)).await.expect("a reply") });
    }
    let replies = asks.join_all().await;
    assert!(replies.iter().all(|reply| Arc::ptr_eq(&reply.bytes, &replies[0].bytes)));
    assert_eq!(mock.count("same.example"), 1);
    assert_eq!(upstream.counts(), Counts { asked: 50, merged: 49, ..Counts::default() });

    let base = ask("mix.example", RecordType::A);
    let (a, b, c, d, e) = tokio::join!(
        upstream.ask(base.clone()),
        upstream.ask(ask("mix.example", RecordType::AAAA)),
        upstream.ask(Ask { dnssec_ok: true, ..base.clone() }),
        upstream.ask(Ask { checking_disabled: true, ..base.clone() }),
        upstream.ask(Ask { qclass: 3, ..base.clone() }),
    );
    assert!([a, b, c, d, e].iter().all(Result::is_ok));
    assert_eq!(mock.count("mix.example"), 5);
}

#[tokio::test]
async fn a_cancelled_leader_leaves_its_followers_an_answer() {
    let mock = Mock::start(|_| Say::Later(Duration::from_millis(100), Box::new(Say::A(ADDRESS))));
    let upstream = Arc::new(over(&[&mock]));
    let leader = {
        let upstream = Arc::clone(&upstream);
        tokio::spawn(async move { upstream.ask(ask("a.example", RecordType::A)).await })
    };
    while upstream.counts().in_flight == 0 {
        tokio::task::yield_now().await;
    }
    let follower = upstream.ask(ask("a.example", RecordType::A));
    leader.abort();
    assert!(leader.await.is_err_and(|error| error.is_cancelled()));
    assert_eq!(addresses(&follower.await.expect("the answer comes")), [Ipv4Addr::from(ADDRESS)]);
    assert_eq!(mock.count("a.example"), 1);
}

#[tokio::test]
async fn too_many_different_questions_are_turned_away_and_counted() {
    let mock = Mock::start(|_| Say::Later(Duration::from_millis(100), Box::new(Say::A(ADDRESS))));
    let servers = vec![Server::Udp(mock.address())];
    let upstream = with(Settings {
        servers,
        zones: Vec::new(),
        timeout: Duration::from_secs(2),
        max_in_flight: 2,
        mix_case: false,
        ..others()
    });
    let (a, b, c, again) = tokio::join!(
        upstream.ask(ask("a.example", RecordType::A)),
        upstream.ask(ask("b.example", RecordType::A)),
        upstream.ask(ask("c.example", RecordType::A)),
        upstream.ask(ask("a.example", RecordType::A)),
    );
    assert!(a.is_ok() && b.is_ok() && again.is_ok());
    assert_eq!(c, Err(Failure::Busy));
    assert_eq!(upstream.counts(), Counts { asked: 4, merged: 1, busy: 1, ..Counts::default() });
    upstream.ask(ask("c.example", RecordType::A)).await.expect("there is room again");
}

#[tokio::test]
async fn the_longest_zone_wins() {
    let [all, corp, lab] = [1, 2, 3].map(|last| Mock::fixed([192, 0, 2, last]));
    let zone = |name: &str, mock: &Mock| ZoneSettings {
        name: Name::parse(name).expect("a name"),
        servers: vec![Server::Udp(mock.address())],
    };
    let upstream = with(Settings {
        servers: vec![Server::Udp(all.address())],
        zones: vec![zone("corp.example", &corp), zone("lab.corp.example", &lab)],
        timeout: Duration::from_secs(2),
        max_in_flight: 10,
        mix_case: false,
        ..others()
    });
    for (name, mock) in [
        ("example", &all),
        ("notcorp.example", &all),
        ("corp.example", &corp),
        ("www.corp.example", &corp),
        ("lab.corp.example", &lab),
        ("a.b.lab.corp.example", &lab),
    ] {
        let reply = upstream.ask(ask(name, RecordType::A)).await.expect("a reply");
        assert_eq!(reply.server, mock.address(), "{name}");
    }
}

#[tokio::test]
async fn a_clearly_faster_server_is_preferred() {
    let slow = Mock::start(|_| Say::Later(Duration::from_millis(150), Box::new(Say::A(ADDRESS))));
    let fast = Mock::fixed(ADDRESS);
    let upstream = over(&[&slow, &fast]);
    for number in 0..10 {
        upstream.ask(ask(&format!("n{number}.example"), RecordType::A)).await.expect("a reply");
    }
    assert!(slow.total() < 5 && fast.total() > 5, "{} to the slow one", slow.total());
}

#[test]
fn settings_that_cannot_work_are_refused() {
    let own: SocketAddr = "127.0.0.1:5353".parse().expect("an address");
    let settings = |servers| Settings {
        servers,
        zones: Vec::new(),
        timeout: Duration::from_secs(2),
        max_in_flight: 1,
        mix_case: false,
        ..others()
    };
    let refused = |servers| Upstream::new(&settings(servers), &[own]).err();
    assert_eq!(refused(Vec::new()), Some(UpstreamError::NoServers(None)));
    assert_eq!(refused(vec![Server::Udp(own)]), Some(UpstreamError::Ourselves(own)));
    assert_eq!(
        UpstreamError::Ourselves(own).to_string(),
        "upstream server 127.0.0.1:5353 is this server's own listen address; queries would loop"
    );
}
