//! The PROXY protocol: who is believed, whom it says that it asks for, and what everybody else gets.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;

use crate::dot::{Dot, figure, framed, mock};
use crate::support::client::{Ask, PATIENCE, Reply, Tcp, Udp, rcode, rtype};
use crate::support::encrypted::{encrypted, trusting};
use crate::support::mock::Mock;
use crate::support::server::{Folder, Server, Setup, eventually};

/// The front end; tests of one host have it on the loopback.
const FRONT_END: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// A server that believes one front end, and answers 10.0.0.0/8 and this host, but not the front end itself.
fn start(mock: &Mock, more: &str) -> Server {
    let folder = Folder::new();
    folder.write("a.txt", "blocked.example\n");
    let setup = Setup::new(mock.address())
        .list("a", "a.txt", "")
        .admin("listen = [\"127.0.0.1:0\"]")
        .server("allow_from = [\"127.0.0.1/32\", \"10.0.0.0/8\", \"2001:db8::/32\"]\nproxy_from = [\"127.0.0.2\"]")
        .more(more);
    Server::start(&folder, &encrypted(setup, &folder))
}

/// A header of version 2 that names this client; none: the front end asks for itself.
fn header(client: Option<&str>, datagram: bool) -> Vec<u8> {
    let mut bytes = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    let kind = if datagram { 2 } else { 1 };
    match client.map(|text| text.parse::<SocketAddr>().expect("an address")) {
        None => bytes.extend([0x20, 0, 0, 0]),
        Some(SocketAddr::V4(client)) => {
            bytes.extend([0x21, 0x10 | kind, 0, 12]);
            bytes.extend(client.ip().octets());
            bytes.extend([127, 0, 0, 1]);
            bytes.extend(client.port().to_be_bytes());
            bytes.extend([0, 53]);
        }
        Some(SocketAddr::V6(client)) => {
            bytes.extend([0x21, 0x20 | kind, 0, 36]);
            bytes.extend(client.ip().octets());
            bytes.extend([0; 16]);
            bytes.extend(client.port().to_be_bytes());
            bytes.extend([0, 53]);
        }
    }
    bytes
}

/// A query for an address.
fn ask(name: &str) -> Ask {
    Ask::new(name, rtype::A).edns()
}

/// How many came without a header.
fn missing(server: &Server) -> u64 {
    figure(server, "qalqan_proxy_headers_missing_total")
}

/// A connection from the front end; the standard library binds no client.
fn connect(server: SocketAddr) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::from((FRONT_END, 0)).into()).expect("the loopback has all of 127.0.0.0/8");
    socket.connect(&server.into()).expect("the server accepts");
    let stream: TcpStream = socket.into();
    stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
    stream.set_nodelay(true).expect("an option");
    stream
}

/// Clients of the hits so far, and how they asked.
fn hits(server: &Server) -> Vec<(String, String)> {
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    server.folder.hits().iter().map(|hit| (text(&hit["client"]), text(&hit["transport"]))).collect()
}

#[test]
fn datagrams_are_decided_for_the_client_named_and_answered_to_the_front_end() {
    let mock = mock();
    let server = start(&mock, "");
    let front_end = Udp::from(FRONT_END, server.udp[0]);
    let asks = |client: Option<&str>, name: &str| -> Reply {
        let ask = ask(name);
        front_end.send(&[header(client, true), ask.bytes()].concat());
        let reply = Reply::read(&front_end.receive().expect("an answer"));
        assert_eq!(reply.id, ask.id);
        reply
    };
    assert!(asks(Some("10.1.2.3:4000"), "blocked.example").is_address("0.0.0.0"));
    assert!(asks(Some("[2001:db8::7]:4000"), "blocked.example").is_address("0.0.0.0"));
    assert!(asks(Some("10.1.2.3:4000"), "free.example").is_address("192.0.2.4"), "also what has to be asked for");
    assert!(asks(Some("10.1.2.3:4000"), "free.example").is_address("192.0.2.4"), "and what is remembered");
    assert_eq!(asks(Some("192.0.2.9:4000"), "blocked.example").rcode, rcode::REFUSED, "the client may not ask");
    assert_eq!(asks(None, "blocked.example").rcode, rcode::REFUSED, "nor may the front end itself");
    assert_eq!(missing(&server), 0);
    let expected = [("10.1.2.3", "udp"), ("2001:db8::7", "udp")].map(|(a, b)| (a.to_owned(), b.to_owned()));
    eventually("hits name the clients", || hits(&server) == expected, || format!("{:?}", hits(&server)));

    // Without a header, or with half of one: silence.
    let bare = [ask("blocked.example").bytes(), header(Some("10.1.2.3:4000"), true)[..20].to_vec(), vec![0; 100]];
    for bytes in &bare {
        front_end.send(bytes);
    }
    eventually("all are counted", || missing(&server) == bare.len() as u64, || server.stderr());
    server.says("no PROXY header of version 2 from a front end");
    assert!(asks(Some("10.1.2.3:4000"), "blocked.example").is_address("0.0.0.0"), "the next is the answer to this");

    // Who is no front end is not believed: what he sends is a strange message, whose client he is himself.
    let stranger = Udp::to(server.udp[0]);
    stranger.send(&[header(Some("10.6.6.6:4000"), true), ask("blocked.example").bytes()].concat());
    assert!(stranger.ask(&ask("blocked.example")).expect("an answer").is_address("0.0.0.0"));
    eventually("the last hit is there", || hits(&server).len() == 4, || format!("{:?}", hits(&server)));
    assert!(hits(&server).iter().all(|(client, _)| client != "10.6.6.6"), "{:?}", hits(&server));
    assert_eq!(missing(&server), bare.len() as u64);
}

#[test]
fn streams_are_served_for_the_client_named() {
    let mock = mock();
    let server = start(&mock, "[server.tcp]\nmax_per_client = 2");
    let config = Arc::new(trusting(&server.folder, "dot"));
    let over_tcp = |client: Option<&str>| {
        let mut tcp = Tcp(connect(server.tcp[0]));
        tcp.0.write_all(&header(client, false)).expect("taken");
        tcp
    };
    let over_tls = |client: Option<&str>| {
        let mut stream = connect(server.at("dot"));
        stream.write_all(&header(client, false)).expect("taken");
        Dot::over(stream, &config)
    };
    let mut held = Vec::new();
    for client in ["10.1.2.3:4000", "[2001:db8::7]:4000"] {
        let mut tcp = over_tcp(Some(client));
        assert!(tcp.ask(&ask("blocked.example")).is_address("0.0.0.0"));
        assert!(tcp.ask(&ask("free.example")).is_address("192.0.2.4"));
        let mut dot = over_tls(Some(client));
        assert!(dot.ask(&ask("blocked.example")).expect("an answer").is_address("0.0.0.0"));
        assert!(dot.ask(&ask("free.example")).expect("an answer").is_address("192.0.2.4"));
        held.push((tcp, dot));
    }
    assert!(over_tcp(Some("10.1.2.3:1")).is_closed(), "a client has its limit, whoever asks for it");
    assert!(over_tls(Some("10.1.2.3:1")).ask(&ask("blocked.example")).is_err());
    assert_eq!(over_tcp(Some("192.0.2.9:1")).ask(&ask("blocked.example")).rcode, rcode::REFUSED);
    assert_eq!(over_tls(None).ask(&ask("blocked.example")).expect("an answer").rcode, rcode::REFUSED);
    let mut expected: Vec<_> = ["10.1.2.3", "2001:db8::7"]
        .iter()
        .flat_map(|client| ["tcp", "dot"].map(|transport| (client.to_string(), transport.to_owned())))
        .collect();
    expected.sort();
    let seen = || {
        let mut seen = hits(&server);
        seen.sort();
        seen
    };
    eventually("hits name the clients", || seen() == expected, || format!("{:?}", seen()));
}

#[test]
fn a_front_end_that_does_not_say_for_whom_is_closed() {
    let mock = mock();
    let server = start(&mock, "");
    let mut broken = [
        framed(&ask("blocked.example")),
        b"PROXY TCP4 10.1.2.3 127.0.0.1 4000 53\r\n".to_vec(),
        [&header(Some("10.1.2.3:4000"), false)[..12], &[0x21, 0x11, 0xff, 0xff], &[0; 64]].concat(),
        [&header(Some("10.1.2.3:4000"), false)[..12], &[0x21, 0x11, 0, 4], &[0; 64]].concat(),
        vec![0x16, 3, 1, 0, 200, 1, 0, 0, 196, 3, 3, 0, 0, 0, 0, 0],
    ];
    let mut count = 0;
    for address in [server.tcp[0], server.at("dot"), server.at("doh")] {
        for bytes in &mut broken {
            let mut tcp = Tcp(connect(address));
            tcp.0.write_all(bytes).expect("taken");
            assert!(tcp.is_closed(), "{bytes:x?}");
            count += 1;
        }
    }
    eventually("all are counted", || missing(&server) == count, || server.stderr());
    // Who is no front end has no header: it is no TLS, and no length of a message that comes.
    let mut stranger = Tcp::to(server.at("dot"));
    stranger.0.write_all(&header(Some("10.1.2.3:4000"), false)).expect("taken");
    assert!(stranger.receive().is_err());
    assert!(Tcp::to(server.tcp[0]).ask(&ask("blocked.example")).is_address("0.0.0.0"));
    assert_eq!(missing(&server), count);
}

#[test]
fn headers_that_never_come_hold_up_nobody() {
    let mock = mock();
    let folder = Folder::new();
    folder.write("a.txt", "blocked.example\n");
    let setup = Setup::new(mock.address())
        .list("a", "a.txt", "")
        .admin("listen = [\"127.0.0.1:0\"]")
        .server("proxy_from = [\"127.0.0.2\"]");
    let setup = encrypted(setup, &folder).more("handshake = \"500ms\"\nmax_handshakes = 5");
    let server = Server::start(&folder, &setup);
    let mut silent: Vec<_> = (0..40).map(|_| Tcp(connect(server.tcp[0]))).collect();
    let mut good = Tcp(connect(server.tcp[0]));
    good.0.write_all(&header(Some("10.1.2.3:4000"), false)).expect("taken");
    assert!(good.ask(&ask("blocked.example")).is_address("0.0.0.0"));
    assert!(silent.iter_mut().all(Tcp::is_closed));
    eventually("all are counted", || missing(&server) == 40, || server.stderr());
    assert!(good.ask(&ask("blocked.example")).is_address("0.0.0.0"));
}
