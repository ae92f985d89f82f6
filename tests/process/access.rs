//! Who may ask, and at which addresses.

use std::net::{Ipv6Addr, SocketAddr, UdpSocket};

use crate::support::client::{Ask, Tcp, Udp, rcode, rtype};
use crate::support::mock::{Mock, dead_address};
use crate::support::server::{Folder, Server, Setup};

/// A folder with `blocked.example` in `a.txt`, and a setup that enforces it.
fn blocking(upstream: SocketAddr) -> (std::sync::Arc<Folder>, Setup) {
    let folder = Folder::new();
    folder.write("a.txt", "blocked.example\n");
    (folder, Setup::new(upstream).list("a", "a.txt", ""))
}

#[test]
fn clients_outside_allow_from_are_refused_whatever_they_ask() {
    let mock = Mock::fixed([198, 51, 100, 7]);
    let (folder, setup) = blocking(mock.address());
    let server = Server::start(&folder, &setup.server("allow_from = [\"10.0.0.0/8\", \"::1/128\"]"));
    let mut count = 0;
    for name in ["blocked.example", "free.example", "localhost"] {
        let ask = Ask::new(name, rtype::A).edns();
        for reply in [server.ask(&ask), server.ask_tcp(&ask)] {
            assert_eq!(
                (reply.rcode, reply.ede_code(), reply.answers.len()),
                (rcode::REFUSED, Some(18), 0),
                "{reply:?}"
            );
            count += 1;
        }
        assert_eq!(server.a(name).edns, None, "no OPT for no OPT");
        count += 1;
    }
    assert_eq!(mock.total(), 0);
    server.stop();
    let counters = folder.counters();
    assert_eq!((&counters["queries"]["not_allowed"], &counters["queries"]["blocked"]), (&count.into(), &0.into()));
    assert_eq!(folder.hits().len(), 0, "who may not ask makes no hit");
}

#[test]
fn by_default_loopback_may_ask() {
    let (folder, setup) = blocking(dead_address());
    let server = Server::start(&folder, &setup);
    assert!(server.a("blocked.example").is_address("0.0.0.0"));
}

#[test]
fn every_listen_address_answers_over_both_transports() {
    let (folder, setup) = blocking(dead_address());
    let mut listen = vec!["127.0.0.1:0", "127.0.0.2:0"];
    match UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)) {
        Ok(_) => listen.push("[::1]:0"),
        Err(error) => eprintln!("without IPv6: {error}"),
    }
    let server = Server::start(&folder, &setup.listen(&format!("{listen:?}")));
    assert_eq!(server.udp, server.tcp, "one port for both");
    assert_eq!(server.udp.len(), listen.len());
    for &address in &server.udp {
        let ask = Ask::new("blocked.example", rtype::A);
        let over_udp = Udp::to(address).ask(&ask).unwrap_or_else(|| panic!("no answer from {address}"));
        assert!(over_udp.is_address("0.0.0.0"), "{address}: {over_udp:?}");
        assert_eq!(Tcp::to(address).ask(&ask), over_udp, "{address}");
    }
}

/// A connected socket takes answers from nobody else, so an answer shows its sender.
fn answers_from_where_it_was_asked(server: &Server, addresses: &[SocketAddr]) {
    for &address in addresses {
        for (name, expected) in [("blocked.example", "0.0.0.0"), ("free.example", "198.51.100.7")] {
            let ask = Ask::new(name, rtype::A);
            let reply = Udp::to(address).ask(&ask).unwrap_or_else(|| panic!("no answer from {address} for {name}"));
            assert!(reply.is_address(expected), "{address}: {reply:?}");
        }
    }
    assert!(server.stderr().contains("answering on"), "{}", server.stderr());
}

#[test]
fn a_wildcard_bind_answers_from_the_address_that_was_asked() {
    let mock = Mock::fixed([198, 51, 100, 7]);
    let (folder, setup) = blocking(mock.address());
    let server = Server::start(&folder, &setup.listen("[\"0.0.0.0:0\"]"));
    let port = server.udp[0].port();
    let asked = [1, 2, 77, 254].map(|last| SocketAddr::from(([127, 0, 0, last], port)));
    answers_from_where_it_was_asked(&server, &asked);
}

#[test]
fn an_ipv6_wildcard_bind_answers_too() {
    if let Err(error) = UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)) {
        eprintln!("skipped: no IPv6: {error}");
        return;
    }
    let mock = Mock::fixed([198, 51, 100, 7]);
    let (folder, setup) = blocking(mock.address());
    let server = Server::start(&folder, &setup.listen("[\"[::]:0\"]"));
    let asked = SocketAddr::from((Ipv6Addr::LOCALHOST, server.udp[0].port()));
    answers_from_where_it_was_asked(&server, &[asked]);
    assert!(Tcp::to(asked).ask(&Ask::new("blocked.example", rtype::A)).is_address("0.0.0.0"));
}
