//! Connections of every kind against servers on loopback: bursts, ends, certificates, names.

#[path = "../../../tests/support/secure.rs"]
mod secure;

use std::io::Write;
use std::net::IpAddr;
use std::path::PathBuf;

use hickory_proto::rr::Name as ProtoName;
use secure::{ANSWER, Authority, Kind, PATH, Secure as Server, Ways, names};

use crate::name::Name;
use crate::upstream::tests::mock::{self, Mock, Say};
use crate::upstream::{
    Ask, ClientSubnet, DnssecSettings, Failure, Fault, Host, Protocol, Secure, Server as Upstreams, ServerState,
    Settings, Strategy, Upstream,
};
use crate::util::Digest;

use super::*;

/// All that is encrypted.
const SECURE: [Kind; 4] = [Kind::Tls, Kind::Https, Kind::H3, Kind::Quic];

/// An authority, and a folder with its certificate.
struct Setting {
    authority: Authority,
    file: tempfile::NamedTempFile,
}

impl Setting {
    fn new() -> Self {
        let authority = Authority::new();
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        file.write_all(authority.pem().as_bytes()).expect("written");
        Self { authority, file }
    }

    /// Two connections, much patience.
    fn settings(&self, servers: Vec<Upstreams>) -> Settings {
        Settings {
            servers,
            zones: Vec::new(),
            timeout: Duration::from_secs(40),
            max_in_flight: 4_000,
            mix_case: false,
            strategy: Strategy::Fastest,
            bootstrap: Vec::new(),
            ca_file: Some(PathBuf::from(self.file.path())),
            connections: 2,
            client_subnet: ClientSubnet::Off,
            recursion: None,
            dnssec: DnssecSettings::default(),
        }
    }

    fn to(&self, servers: Vec<Upstreams>) -> Arc<Upstream> {
        Arc::new(Upstream::new(&self.settings(servers), &[]).expect("these settings are good"))
    }
}

/// `dns.example` there.
fn at(server: &Server, kind: Kind) -> Secure {
    let protocol = match kind {
        Kind::Https => Protocol::Https,
        Kind::H3 => Protocol::H3,
        Kind::Quic => Protocol::Quic,
        _ => Protocol::Tls,
    };
    Secure {
        protocol,
        host: Host::Address(server.address().ip()),
        port: server.address().port(),
        name: Some("dns.example".into()),
        path: if protocol.is_http() { PATH.into() } else { String::new() },
        pins: Vec::new(),
    }
}

fn upstream(secure: Secure) -> Vec<Upstreams> {
    vec![Upstreams::Secure(Box::new(secure))]
}

fn ask(name: &str) -> Ask {
    let name = Name::parse(name).expect("a name");
    Ask { name, qtype: 1, qclass: 1, dnssec_ok: false, checking_disabled: false }
}

/// So many different names at once, each answered.
async fn ask_many(upstream: &Arc<Upstream>, count: usize) {
    let mut asks = tokio::task::JoinSet::new();
    for number in 0..count {
        let upstream = Arc::clone(upstream);
        asks.spawn(async move { upstream.ask(ask(&format!("n{number}.example"))).await });
    }
    for outcome in asks.join_all().await {
        let reply = outcome.expect("answered");
        assert!(reply.bytes.ends_with(&ANSWER.octets()), "{reply:?}");
    }
}

#[tokio::test]
async fn two_thousand_at_once_share_two_connections() {
    let setting = Setting::new();
    for kind in [Kind::Tcp, Kind::Tls, Kind::Https, Kind::H3, Kind::Quic] {
        let issued = setting.authority.issue(&["dns.example"], |_| ());
        let server = Server::start(kind, &issued, Ways { delay: Duration::from_millis(150), ..Ways::default() });
        let servers = match kind {
            Kind::Tcp => vec![Upstreams::Tcp(server.address())],
            _ => upstream(at(&server, kind)),
        };
        let upstream = Arc::new(setting.to(servers));
        ask_many(&upstream, 2_000).await;
        let queries = server.seen().queries();
        assert_eq!(names(&queries).len(), 2_000, "{kind:?}");
        assert_eq!(queries.len(), 2_000, "{kind:?}: each is asked once");
        assert!(server.seen().connections() <= 2, "{kind:?}: {} connections", server.seen().connections());
        assert!(server.seen().most() > 100, "{kind:?}: {} at once", server.seen().most());
        let padded = queries.iter().all(|query| query.len() % 128 == 0);
        assert_eq!(
            padded,
            kind != Kind::Tcp,
            "{kind:?}: encrypted queries are whole blocks, others as short as can be"
        );
        let health = upstream.health();
        assert_eq!((health[0].asked, health[0].failed), (2_000, 0), "{kind:?}");
        assert_eq!((upstream.counts().failed, upstream.counts().in_flight), (0, 0), "{kind:?}");
    }
}

#[tokio::test]
async fn a_server_that_closes_connections_fails_no_query() {
    let setting = Setting::new();
    for kind in [Kind::Tcp, Kind::Tls, Kind::Https, Kind::Quic] {
        let issued = setting.authority.issue(&["dns.example"], |_| ());
        let server = Server::start(kind, &issued, Ways { answers: 5, ..Ways::default() });
        let servers = match kind {
            Kind::Tcp => vec![Upstreams::Tcp(server.address())],
            _ => upstream(at(&server, kind)),
        };
        let upstream = Arc::new(setting.to(servers));
        for number in 0..30 {
            upstream.ask(ask(&format!("one{number}.example"))).await.unwrap_or_else(|why| panic!("{kind:?}: {why}"));
        }
        ask_many(&upstream, 8).await;
        assert!(server.seen().connections() > 5, "{kind:?}: {} connections", server.seen().connections());
        assert_eq!(upstream.health()[0].failed, 0, "{kind:?}");
    }
}

#[tokio::test]
async fn one_connection_serves_one_question_after_another() {
    let setting = Setting::new();
    for kind in SECURE {
        let issued = setting.authority.issue(&["dns.example"], |_| ());
        let server = Server::start(kind, &issued, Ways::default());
        let upstream = setting.to(upstream(at(&server, kind)));
        for number in 0..50 {
            upstream.ask(ask(&format!("n{number}.example"))).await.expect("answered");
        }
        assert_eq!(server.seen().connections(), 1, "{kind:?}");
    }
}

#[tokio::test]
async fn whoever_is_not_who_he_must_be_is_not_asked() {
    let (setting, stranger) = (Setting::new(), Authority::new());
    let expire = |params: &mut rcgen::CertificateParams| params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    let good = setting.authority.issue(&["dns.example"], |_| ());
    for kind in SECURE {
        for (what, issued, pins) in [
            ("another name", setting.authority.issue(&["other.example"], |_| ()), Vec::new()),
            ("expired", setting.authority.issue(&["dns.example"], expire), Vec::new()),
            ("unknown authority", stranger.issue(&["dns.example"], |_| ()), Vec::new()),
            ("another key", setting.authority.issue(&["dns.example"], |_| ()), vec![pin(&good)]),
        ] {
            let server = Server::start(kind, &issued, Ways::default());
            let secure = Secure { pins, ..at(&server, kind) };
            let upstream = setting.to(upstream(secure));
            assert_eq!(upstream.ask(ask("www.example")).await, Err(Failure::Dead), "{kind:?}, {what}");
            let health = upstream.health().remove(0);
            assert_eq!(health.state, ServerState::Aside, "{kind:?}, {what}: at the first time");
            assert!(health.faults.contains(&(Fault::Untrusted, 1)), "{kind:?}, {what}: {:?}", health.faults);
            assert!(server.seen().queries().is_empty(), "{kind:?}, {what}");
        }
    }
}

/// What the configuration makes of a pin.
fn pin(issued: &secure::Issued) -> Digest {
    let text = issued.pin();
    let text = text.strip_prefix("sha256:").expect("a pin");
    Digest(data_encoding::BASE64.decode(text.as_bytes()).expect("base64").try_into().expect("32 octets"))
}

#[tokio::test]
async fn names_addresses_and_pins_are_proof() {
    let (setting, stranger) = (Setting::new(), Authority::new());
    let expire = |params: &mut rcgen::CertificateParams| params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    let spare = pin(&stranger.issue(&["spare.example"], |_| ()));
    for kind in SECURE {
        let named = setting.authority.issue(&["dns.example", "127.0.0.1"], |_| ());
        let unknown = stranger.issue(&["whatever.example"], expire);
        let cases = [
            (&named, Some("dns.example"), vec![]),
            (&named, Some("127.0.0.1"), vec![]),
            (&named, Some("dns.example"), vec![spare, pin(&named)]),
            // The key alone: neither name nor authority nor dates matter.
            (&unknown, None, vec![spare, pin(&unknown)]),
        ];
        for (issued, name, pins) in cases {
            let server = Server::start(kind, issued, Ways::default());
            let shown = format!("{kind:?} {name:?} {pins:?}");
            let secure = Secure { name: name.map(str::to_owned), pins, ..at(&server, kind) };
            let upstream = setting.to(upstream(secure));
            upstream.ask(ask("www.example")).await.unwrap_or_else(|why| panic!("{shown}: {why}"));
        }
    }
}

#[tokio::test]
async fn the_next_server_answers_where_no_handshake_ends() {
    let setting = Setting::new();
    let issued = setting.authority.issue(&["dns.example"], |_| ());
    for kind in [Kind::Stalled, Kind::Garbage] {
        let bad = Server::start(kind, &issued, Ways::default());
        let good = Server::start(Kind::Tls, &issued, Ways::default());
        let servers = [upstream(at(&bad, Kind::Tls)), upstream(at(&good, Kind::Tls))].concat();
        let settings = Settings { timeout: Duration::from_secs(2), ..setting.settings(servers) };
        let upstream = Arc::new(Upstream::new(&settings, &[]).expect("good settings"));
        for number in 0..5 {
            upstream.ask(ask(&format!("n{number}.example"))).await.unwrap_or_else(|why| panic!("{kind:?}: {why}"));
        }
        let health = upstream.health();
        let fault = if kind == Kind::Stalled { Fault::Timeout } else { Fault::Unreachable };
        let blamed = health[0].faults.iter().any(|&(known, count)| known == fault && count > 0);
        assert!(blamed, "{kind:?}: {:?}", health[0].faults);
        assert_eq!(health[1].failed, 0, "{kind:?}");
    }
}

#[tokio::test]
async fn an_answer_of_http_that_is_none_is_useless() {
    let setting = Setting::new();
    let issued = setting.authority.issue(&["dns.example"], |_| ());
    for (kind, status, path) in [(Kind::Https, 503, PATH), (Kind::H3, 503, PATH), (Kind::Https, 200, "/wrong")] {
        let server = Server::start(kind, &issued, Ways { status, ..Ways::default() });
        let secure = Secure { path: path.into(), ..at(&server, kind) };
        let upstream = setting.to(upstream(secure));
        for number in 0..2 {
            let outcome = upstream.ask(ask(&format!("n{number}.example"))).await;
            assert_eq!(outcome, Err(Failure::Useless), "{kind:?}, {status}, {path}");
        }
        assert_eq!(server.seen().connections(), 1, "{kind:?}: the connection is not to blame");
    }
}

/// A server by name.
fn named(server: &Server) -> Secure {
    Secure { host: Host::Name(Name::parse("dns.example").expect("a name")), ..at(server, Kind::Tls) }
}

#[tokio::test]
async fn a_name_is_looked_up_once_and_its_addresses_are_tried_in_turn() {
    let setting = Setting::new();
    let issued = setting.authority.issue(&["dns.example"], |_| ());
    let server = Server::start(Kind::Tls, &issued, Ways::default());
    let owner = ProtoName::from_ascii("dns.example.").expect("a name");
    // Nobody listens at the first one.
    let records = vec![mock::a(&owner, [127, 0, 0, 99]), mock::a(&owner, [127, 0, 0, 1])];
    let bootstrap = Mock::start(move |asked| match asked.qtype {
        1 => Say::Records(records.clone()),
        _ => Say::Nodata,
    });
    let settings = Settings { bootstrap: vec![bootstrap.address()], ..setting.settings(upstream(named(&server))) };
    let upstream = Arc::new(Upstream::new(&settings, &[]).expect("good settings"));
    ask_many(&upstream, 200).await;
    let asked: Vec<_> = bootstrap.asked().into_iter().map(|asked| (asked.name, asked.qtype)).collect();
    assert_eq!(asked.len(), 2, "A and AAAA, once: {asked:?}");
    assert!(asked.iter().all(|(name, _)| name == "dns.example"));
    let reply = upstream.ask(ask("last.example")).await.expect("answered");
    assert_eq!(reply.server.ip(), IpAddr::from([127, 0, 0, 1]));
}

#[tokio::test]
async fn bootstrap_servers_that_are_silent_at_first_are_asked_again() {
    let setting = Setting::new();
    let issued = setting.authority.issue(&["dns.example"], |_| ());
    let server = Server::start(Kind::Tls, &issued, Ways::default());
    let well = Arc::new(AtomicBool::new(false));
    let state = Arc::clone(&well);
    let bootstrap = Mock::start(move |asked| match asked.qtype {
        _ if !state.load(Ordering::Relaxed) => Say::Rcode(hickory_proto::op::ResponseCode::ServFail),
        1 => Say::A([127, 0, 0, 1]),
        _ => Say::Nodata,
    });
    let settings = Settings {
        bootstrap: vec![bootstrap.address()],
        timeout: Duration::from_secs(2),
        ..setting.settings(upstream(named(&server)))
    };
    let upstream = Arc::new(Upstream::new(&settings, &[]).expect("starting needs nobody"));
    assert_eq!(upstream.ask(ask("a.example")).await, Err(Failure::Dead));
    well.store(true, Ordering::Relaxed);
    tokio::time::sleep(PAUSE).await;
    upstream.ask(ask("b.example")).await.expect("answered");
}

#[tokio::test]
async fn a_server_that_was_put_aside_is_found_well_without_a_query() {
    let setting = Setting::new();
    let issued = setting.authority.issue(&["dns.example"], |_| ());
    let server = Server::start(Kind::Tls, &issued, Ways::default());
    let address = server.address();
    let settings = Settings { timeout: Duration::from_secs(2), ..setting.settings(upstream(at(&server, Kind::Tls))) };
    let upstream = Arc::new(Upstream::new(&settings, &[]).expect("good settings"));
    upstream.ask(ask("a.example")).await.expect("answered");
    server.stop();
    for number in 0..4 {
        tokio::time::sleep(PAUSE).await;
        assert!(upstream.ask(ask(&format!("n{number}.example"))).await.is_err());
    }
    assert_eq!(upstream.health()[0].state, ServerState::Aside);
    let again = Server::start_at(address, Kind::Tls, &issued, Ways::default());
    while upstream.health()[0].probes == 0 || upstream.health()[0].state == ServerState::Aside {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let names = names(&again.seen().queries());
    assert!(names.keys().all(|name| name.is_empty()), "the root's name servers, nobody's names: {names:?}");
    upstream.ask(ask("b.example")).await.expect("answered");
}
