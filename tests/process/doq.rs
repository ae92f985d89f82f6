//! DNS over QUIC (RFC 9250), and what may be wrong with it.

use std::net::UdpSocket;
use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ConnectionError, Endpoint, ReadError, ReadToEndError};

use crate::support::client::{Ask, Reply, rtype};
use crate::support::encrypted::{Quic, encrypted, trusting};
use crate::support::mock::{Mock, Say};
use crate::support::server::{Folder, Server, Setup, eventually};

/// A server that blocks `blocked.example` and drops `drop.example`.
fn start(more: &str) -> (Mock, Server) {
    let mock = Mock::start(|asked| match asked.name.as_str() {
        "x.slower.example" => Say::Later(Duration::from_millis(1500), Box::new(Say::A([198, 51, 100, 9]))),
        name if name.ends_with("slow.example") => {
            Say::Later(Duration::from_millis(700), Box::new(Say::A([198, 51, 100, 9])))
        }
        _ => Say::A([198, 51, 100, 7]),
    });
    let folder = Folder::new();
    folder.write("block.txt", "blocked.example\n");
    folder.write("drop.txt", "drop.example\n");
    let setup = Setup::new(mock.address()).list("block", "block.txt", "");
    let setup = setup.list("drop", "drop.txt", "answer = \"drop\"");
    let setup = encrypted(setup, &folder).more(more);
    (mock, Server::start(&folder, &setup))
}

/// A query on a stream.
fn framed(ask: &Ask) -> Vec<u8> {
    let message = ask.bytes();
    [&(message.len() as u16).to_be_bytes(), &message[..]].concat()
}

/// A query with ID 0.
fn query(name: &str) -> Ask {
    Ask { id: 0, ..Ask::new(name, rtype::A).edns() }
}

/// The code the server closed the connection with.
fn closed_with(quic: &Quic) -> u64 {
    match quic.wait(quic.connection.closed()) {
        ConnectionError::ApplicationClosed(close) => close.error_code.into_inner(),
        other => panic!("not closed by the server: {other}"),
    }
}

/// One of the counters, as last written; a server that has just begun has none yet.
fn counter(server: &Server, name: &str) -> Option<u64> {
    let path = server.folder.path("state/counters.json");
    path.exists().then(|| server.folder.counters()["queries"][name].as_u64().unwrap_or_else(|| panic!("no {name}")))
}

/// Waits until a counter has come to a number.
fn comes_to(server: &Server, name: &str, number: u64) {
    let shown = || format!("{:?}; {}", counter(server, name), server.stderr());
    eventually(&format!("{name} is {number}"), || counter(server, name) == Some(number), shown);
}

#[test]
fn streams_of_one_connection_are_answered_at_once() {
    let (_mock, server) = start("");
    let quic = Quic::doq(server.at("doq"), &server.folder);
    let replies = quic.wait(async {
        let mut tasks = tokio::task::JoinSet::new();
        for at in 0..60u32 {
            let connection = quic.connection.clone();
            tasks.spawn(async move {
                let name = if at < 5 { format!("n{at}.slow.example") } else { format!("n{at}.blocked.example") };
                let (mut send, mut receive) = connection.open_bi().await.expect("a stream");
                send.write_all(&framed(&query(&name))).await.expect("taken");
                send.finish().expect("open");
                (at, receive.read_to_end(70_000).await.expect("an answer"))
            });
        }
        let mut order = Vec::new();
        while let Some(done) = tasks.join_next().await {
            let (at, answer) = done.expect("no panic");
            order.push((at, Reply::read(&answer[2..])));
        }
        order
    });
    assert!(replies[..55].iter().all(|(at, reply)| *at >= 5 && reply.is_address("0.0.0.0")), "{replies:?}");
    assert!(replies[55..].iter().all(|(at, reply)| *at < 5 && reply.is_address("198.51.100.9")), "{replies:?}");
}

#[test]
fn who_breaks_the_rules_is_told_so_and_only_that_connection_ends() {
    let (_mock, server) = start("");
    let good = Quic::doq(server.at("doq"), &server.folder);
    let with_id = framed(&Ask { id: 7, ..query("blocked.example") });
    let whole = framed(&query("blocked.example"));
    let mut keepalive = query("blocked.example");
    keepalive.edns.get_or_insert_default().options.push((11, Vec::new()));
    let keepalive = framed(&keepalive);
    let cases: [(&str, &[u8]); 7] = [
        ("an ID", &with_id),
        ("edns-tcp-keepalive", &keepalive),
        ("two queries", &whole.repeat(2)),
        ("a stream that ends early", &whole[..whole.len() - 3]),
        ("half a length", &[0]),
        ("no query", &[0, 0]),
        ("nothing", &[]),
    ];
    for (what, bytes) in cases {
        let quic = Quic::doq(server.at("doq"), &server.folder);
        quic.exchange(bytes).expect_err(what);
        assert_eq!(closed_with(&quic), 2, "{what}: DOQ_PROTOCOL_ERROR");
    }
    let count = cases.len() as u64;
    comes_to(&server, "doq_misused", count);
    assert!(good.ask(&query("blocked.example")).is_address("0.0.0.0"));
}

#[test]
fn a_query_that_is_to_be_dropped_has_its_stream_reset() {
    let (_mock, server) = start("");
    let quic = Quic::doq(server.at("doq"), &server.folder);
    match quic.exchange(&framed(&query("drop.example"))) {
        Err(ReadToEndError::Read(ReadError::Reset(code))) => assert_eq!(code.into_inner(), 1),
        other => panic!("{other:?}"),
    }
    assert!(quic.ask(&query("blocked.example")).is_address("0.0.0.0"), "the connection goes on");
}

#[test]
fn one_way_streams_and_other_protocols_are_not_taken() {
    let (_mock, server) = start("");
    let quic = Quic::doq(server.at("doq"), &server.folder);
    let one_way =
        quic.wait(async { tokio::time::timeout(Duration::from_millis(300), quic.connection.open_uni()).await });
    assert!(one_way.is_err(), "no one-way stream may be opened");
    assert!(Quic::to(server.at("doq"), &server.folder, "h3").is_err());
    assert!(Quic::to(server.at("doh3"), &server.folder, "doq").is_err());
    comes_to(&server, "quic_handshake_failed", 2);
}

#[test]
fn idle_connections_end_and_busy_ones_do_not() {
    let (_mock, server) = start("[server.tcp]\nidle = \"1s\"");
    let [idle, busy] = [(); 2].map(|()| Quic::doq(server.at("doq"), &server.folder));
    assert!(busy.ask(&query("x.slower.example")).is_address("198.51.100.9"), "the answer takes longer than idle");
    let ended = idle.wait(idle.connection.closed());
    assert!(matches!(ended, ConnectionError::TimedOut | ConnectionError::ApplicationClosed(_)), "{ended}");
}

/// Begins this many handshakes that never go on: a relay passes on what clients send first, and nothing back.
fn stalled(server: &Server, count: usize) -> UdpSocket {
    let relay = UdpSocket::bind("127.0.0.1:0").expect("a port");
    relay.set_read_timeout(Some(Duration::from_millis(100))).expect("a time-out");
    let address = relay.local_addr().expect("bound");
    let config = QuicClientConfig::try_from(trusting(&server.folder, "doq")).expect("TLS 1.3");
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let _inside = runtime.enter();
    let endpoint = Endpoint::client("127.0.0.1:0".parse().expect("an address")).expect("a socket");
    let config = quinn::ClientConfig::new(Arc::new(config));
    let _clients: Vec<_> =
        (0..count).map(|_| endpoint.connect_with(config.clone(), address, "dns.example").expect("begun")).collect();
    let (mut passed, mut datagram) = (0, vec![0; 2048]);
    // Nothing comes for a while: clients wait before they try again.
    while let Ok((len, from)) = relay.recv_from(&mut datagram) {
        if from == server.at("doq") {
            continue;
        }
        relay.send_to(&datagram[..len], server.at("doq")).expect("sent");
        passed += 1;
        if passed > 4 * count {
            break;
        }
    }
    assert!(passed >= count, "{passed} datagrams");
    relay
}

#[test]
fn a_stalled_handshake_holds_up_nobody() {
    let (_mock, server) = start("handshake = \"1m\"");
    let _relay = stalled(&server, 20);
    // hickory-server's own listener answered after the stalled ones had timed out, 5 s each.
    for _ in 0..3 {
        let quic = Quic::doq(server.at("doq"), &server.folder);
        assert!(quic.ask(&query("blocked.example")).is_address("0.0.0.0"));
    }
    comes_to(&server, "received", 3);
    assert_eq!(counter(&server, "quic_handshake_failed"), Some(0), "the stalled ones are still under way");
}

#[test]
fn a_stalled_handshake_is_given_up() {
    let (_mock, server) = start("handshake = \"1s\"");
    let _relay = stalled(&server, 20);
    // What clients have sent again may have begun another one meanwhile.
    let given_up = || counter(&server, "quic_handshake_failed") >= Some(20);
    eventually("the stalled ones are given up", given_up, || server.stderr());
}

#[test]
fn garbage_is_no_handshake_and_others_are_served() {
    let (_mock, server) = start("");
    let quic = Quic::doq(server.at("doq"), &server.folder);
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let mut seed = 1u64;
    for round in 0..2000usize {
        let mut datagram: Vec<u8> = (0..(round * 7) % 1400)
            .map(|_| {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (seed >> 33) as u8
            })
            .collect();
        // Every other one claims to be an Initial packet of version 1.
        if round % 2 == 0 && datagram.len() > 6 {
            datagram[..6].copy_from_slice(&[0xc3, 0, 0, 0, 1, 8]);
        }
        for transport in ["doq", "doh3"] {
            let _ = socket.send_to(&datagram, server.at(transport));
        }
    }
    assert!(quic.ask(&query("blocked.example")).is_address("0.0.0.0"));
    let another = Quic::doq(server.at("doq"), &server.folder);
    assert!(another.ask(&query("blocked.example")).is_address("0.0.0.0"));
}

#[test]
fn addresses_are_to_be_proven_when_many_handshakes_are_under_way() {
    let (_mock, server) = start("max_handshakes = 10\nhandshake = \"20s\"");
    let _relay = stalled(&server, 20);
    // Of the 20 a few took a place; all others were told to come again, as this one is, and it does.
    let quic = Quic::doq(server.at("doq"), &server.folder);
    assert!(quic.ask(&query("blocked.example")).is_address("0.0.0.0"));
    comes_to(&server, "received", 1);
    assert_eq!(counter(&server, "quic_refused"), Some(0), "there were places enough");
}
