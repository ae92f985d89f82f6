//! Floods: memory stays bounded, and what is popular is still answered from the cache.

use std::fs;
use std::io::Write;
use std::sync::Arc;

use crate::support::client::{Ask, Tcp, Udp, rcode, rtype};
use crate::support::mock::{Mock, Say};
use crate::support::server::{Folder, Server, Setup};

/// Popular names.
const POPULAR: usize = 20;
/// Queries of a flood before memory is first looked at, and in all. Were all answers kept, the second part would take
/// over 20 MiB.
const FLOOD: (usize, usize) = (5000, 25_000);
/// Queries sent at once: fewer than a socket buffer holds.
const BURST: usize = 50;
/// What memory may grow by while a flood goes on: room for what is under way, not for what was.
const GROWTH: usize = 10 << 20;

/// An upstream with small answers to popular names and large ones to all others.
fn upstream() -> Mock {
    Mock::start(|asked| match asked.name.starts_with("popular-") {
        true => Say::A([192, 0, 2, 4]),
        false => Say::Unknown(vec![7; 1000]),
    })
}

/// A server with a small cache that knows the popular names.
fn start(mock: &Mock) -> (Arc<Folder>, Server) {
    let folder = Folder::new();
    let server = Server::start(&folder, &Setup::new(mock.address()).more("[cache]\nsize = \"1MiB\""));
    (0..3).for_each(|_| popular(&server));
    (folder, server)
}

/// Asks for every popular name.
fn popular(server: &Server) {
    for index in 0..POPULAR {
        let name = format!("popular-{index}.example");
        assert!(server.a(&name).is_address("192.0.2.4"), "{name}");
    }
}

/// Octets of memory of a server.
fn memory(server: &Server) -> usize {
    let status = fs::read_to_string(format!("/proc/{}/status", server.pid())).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("Linux says it");
    line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number") * 1024
}

/// Every popular name was asked for once in all that time.
fn still_popular(mock: &Mock) {
    for index in 0..POPULAR {
        let name = format!("popular-{index}.example");
        assert_eq!(mock.count(&name), 1, "{name}");
    }
}

/// A flood of these queries, each answered.
fn flood(make: impl Fn(usize) -> Ask) {
    let mock = upstream();
    let (_folder, server) = start(&mock);
    let udp = Udp::to(server.udp[0]);
    let mut before = 0;
    for first in (0..FLOOD.1).step_by(BURST) {
        if first == FLOOD.0 {
            before = memory(&server);
        }
        (first..first + BURST).for_each(|index| udp.send(&make(index).bytes()));
        for answered in 0..BURST {
            let answer = udp.receive().unwrap_or_else(|| panic!("no answer after {answered} of burst {first}"));
            assert!(answer.len() > 1000 && answer[3] & 15 == 0, "{:?}", &answer[..12]);
        }
        if first % 1000 == 0 {
            popular(&server);
        }
    }
    let after = memory(&server);
    assert!(after < before + GROWTH, "{before} octets after {} queries, {after} after {}", FLOOD.0, FLOOD.1);
    assert!(mock.total() >= FLOOD.1, "they did reach the upstream: {}", mock.total());
    still_popular(&mock);
}

#[test]
fn random_names() {
    flood(|index| Ask::new(&format!("r{index:x}.example"), 65_280).edns());
}

#[test]
fn types_and_bits_that_miss_the_cache() {
    flood(|index| {
        let ask = Ask::new("one.example", 1024 + (index / 4) as u16).edns();
        let ask = if index & 1 == 1 { ask.dnssec_ok() } else { ask };
        if index & 2 == 2 { ask.checking_disabled() } else { ask }
    });
}

#[test]
fn tcp_messages_of_64_kilobytes() {
    let mock = upstream();
    let (_folder, server) = start(&mock);
    // A header that promises 65,535 questions, and nothing but zeros.
    let mut message = vec![0; 65_535];
    message[..6].copy_from_slice(&[0xab, 0xcd, 1, 0, 0xff, 0xff]);
    let mut connections: Vec<Tcp> = (0..20).map(|_| Tcp::to(server.tcp[0])).collect();
    // Some promise a message and send half of it.
    let mut halves: Vec<Tcp> = (0..20).map(|_| Tcp::to(server.tcp[0])).collect();
    for tcp in &mut halves {
        tcp.0.write_all(&[&[0xff, 0xff], &message[..32_000]].concat()).expect("it is taken");
    }
    let mut before = 0;
    for round in 0..30 {
        if round == 5 {
            before = memory(&server);
        }
        connections.iter_mut().for_each(|tcp| tcp.send(&message));
        for tcp in &mut connections {
            let reply = tcp.receive().expect("an answer");
            assert_eq!((reply[..2].to_vec(), u16::from(reply[3] & 15)), (vec![0xab, 0xcd], rcode::FORMERR));
        }
        popular(&server);
    }
    let after = memory(&server);
    assert!(after < before + GROWTH, "{before} octets before, {after} after 500 more messages");
    assert!(connections[0].ask(&Ask::new("popular-0.example", rtype::A)).is_address("192.0.2.4"));
    still_popular(&mock);
}
