//! Names that are not blocked: asked on, and passed on as they come.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::Name;

use crate::support::client::{Ask, Udp, rcode, rec, rtype};
use crate::support::mock::{self, Mock, Say, dead_address};
use crate::support::server::{Folder, Server, Setup, eventually};

/// A server without lists and cache that asks `mock`.
fn open(mock: &Mock) -> Server {
    Server::start(&Folder::new(), &Setup::new(mock.address()).uncached())
}

#[test]
fn answers_pass_through_as_they_are() {
    let mock = Mock::start(|asked| match asked.name.as_str() {
        "gone.example" => Say::Nxdomain,
        "empty.example" => Say::Nodata,
        "strange.example" => Say::Unknown(vec![1, 2, 0xfe]),
        "signed.example" => Say::Signed([192, 0, 2, 5]),
        "alias.example" => Say::Cname("there.example".into(), [192, 0, 2, 6]),
        "service.example" => Say::Https(1, "svc.example".into()),
        _ => Say::A([192, 0, 2, 4]),
    });
    let server = open(&mock);
    for tcp in [false, true] {
        let ask = |ask: Ask| if tcp { server.ask_tcp(&ask) } else { server.ask(&ask) };
        let reply = ask(Ask::new("MiXed.Example", rtype::A));
        assert_eq!(reply.question, Some(("MiXed.Example".into(), rtype::A, 1)), "{reply:?}");
        assert_eq!((reply.rcode, reply.data(rtype::A)), (0, vec!["192.0.2.4"]), "{reply:?}");
        assert_eq!(reply.flags, 0x8180, "{reply:?}");

        let soa = rec("example", rtype::SOA, mock::TTL, "example. example. 1 3600 600 86400 60");
        let soa = std::slice::from_ref(&soa);
        for (name, code) in [("gone.example", rcode::NXDOMAIN), ("empty.example", rcode::NOERROR)] {
            let reply = ask(Ask::new(name, rtype::A));
            assert_eq!((reply.rcode, reply.answers.len()), (code, 0), "{reply:?}");
            assert_eq!(reply.authorities, soa, "{reply:?}");
        }

        let reply = ask(Ask::new("strange.example", 65280));
        assert_eq!(reply.answers, [rec("strange.example", 65280, mock::TTL, "0102fe")], "{reply:?}");

        let reply = ask(Ask::new("alias.example", rtype::A));
        let alias = rec("alias.example", rtype::CNAME, mock::TTL, "there.example.");
        let address = rec("there.example", rtype::A, mock::TTL, "192.0.2.6");
        assert_eq!(reply.answers, [alias, address], "{reply:?}");

        let reply = ask(Ask::new("service.example", rtype::HTTPS));
        assert!(reply.data(rtype::HTTPS).concat().contains("svc.example"), "{reply:?}");

        let reply = ask(Ask::new("signed.example", rtype::A).dnssec_ok());
        assert!(reply.authentic() && reply.data(rtype::RRSIG).len() == 1, "{reply:?}");
        assert!(mock.last("signed.example").is_some_and(|asked| asked.dnssec_ok), "DO goes on");
        let reply = ask(Ask::new("signed.example", rtype::A));
        assert!(!reply.authentic() && reply.data(rtype::RRSIG).is_empty(), "{reply:?}");

        let reply = ask(Ask::new("plain.example", rtype::A).checking_disabled());
        assert!(mock.last("plain.example").is_some_and(|asked| asked.cd), "CD goes on");
        assert_eq!(reply.flags & 0x0010, 0x0010, "{reply:?}");
        ask(Ask::new("plain.example", rtype::A));
        assert!(mock.last("plain.example").is_some_and(|asked| !asked.cd && asked.rd), "and only if asked for");
    }
}

#[test]
fn authority_and_additional_sections_are_kept() {
    let mut bytes = Ask::new("delegated.example", rtype::A).flags(0x8180).bytes();
    // Three records by hand: an NS in authority, its address and an unknown type in additional.
    bytes[6..12].copy_from_slice(&[0, 0, 0, 1, 0, 2]);
    bytes.extend(*b"\xc0\x0c\x00\x02\x00\x01\x00\x00\x01\x2c\x00\x05\x02ns\xc0\x0c");
    bytes.extend(*b"\x02ns\xc0\x0c\x00\x01\x00\x01\x00\x00\x01\x2c\x00\x04\xc0\x00\x02\x09");
    bytes.extend(*b"\xc0\x0c\xff\x00\x00\x01\x00\x00\x01\x2c\x00\x02ab");
    let mock = Mock::start(move |_| Say::Raw(bytes.clone()));
    let server = open(&mock);
    let reply = server.a("delegated.example");
    let ns = rec("delegated.example", rtype::NS, 300, "ns.delegated.example.");
    assert_eq!(reply.authorities, [ns], "{reply:?}");
    let unknown = rec("delegated.example", 65280, 300, "6162");
    assert_eq!(reply.additionals, [rec("ns.delegated.example", rtype::A, 300, "192.0.2.9"), unknown], "{reply:?}");
}

#[test]
fn large_answers_are_cut_over_udp_and_whole_over_tcp() {
    let mock = Mock::start(|asked| {
        let count = if asked.name == "huge.example" { 2000_u16 } else { 40 };
        let owner = Name::from_ascii(format!("{}.", asked.name)).expect("a name");
        let record = |i: u16| mock::a(&owner, [192, 0, (i >> 8) as u8, i as u8]);
        // As any server would: what does not fit is truncated.
        let say = Say::Records((0..count).map(record).collect());
        if count > 40 { Say::Truncated(Box::new(say)) } else { say }
    });
    let server = open(&mock);
    // 40 records are 31 + 40 × 16 octets: too large for 512, not for 1232.
    for (ask, cut) in [
        (Ask::new("large.example", rtype::A), true),
        (Ask::new("large.example", rtype::A).payload(512), true),
        (Ask::new("large.example", rtype::A).payload(100), true),
        (Ask::new("large.example", rtype::A).payload(1232), false),
        (Ask::new("large.example", rtype::A).payload(65_535), false),
        (Ask::new("huge.example", rtype::A).payload(65_535), true),
    ] {
        let reply = server.ask(&ask);
        assert_eq!((reply.truncated(), reply.answers.is_empty()), (cut, cut), "{ask:?}: {reply:?}");
        let limit = ask.edns.as_ref().map_or(512, |edns| usize::from(edns.payload).clamp(512, 1232));
        assert!(reply.len <= limit, "{ask:?}: {} octets", reply.len);
    }
    for (name, count) in [("large.example", 40), ("huge.example", 2000)] {
        let reply = server.ask_tcp(&Ask::new(name, rtype::A));
        assert_eq!((reply.truncated(), reply.answers.len()), (false, count), "{name}");
    }
}

#[test]
fn what_is_answered_without_asking() {
    let mock = Mock::fixed([192, 0, 2, 4]);
    let server = open(&mock);
    let reply = server.ask(&Ask::new("some.example", rtype::ANY).edns());
    assert_eq!(reply.answers.len(), 1, "{reply:?}");
    let hinfo = &reply.answers[0];
    assert!(hinfo.rtype == rtype::HINFO && hinfo.data.contains("RFC8482"), "RFC 8482: {reply:?}");
    let mut versioned = Ask::new("some.example", rtype::A).edns();
    versioned.edns.as_mut().expect("just set").version = 1;
    let reply = server.ask(&versioned);
    assert_eq!((reply.rcode, reply.answers.len()), (rcode::BADVERS, 0), "{reply:?}");
    assert_eq!(reply.edns.as_ref().map(|edns| edns.version), Some(0), "our version: {reply:?}");
    let reply = server.ask(&Ask::new("some.example", rtype::A).edns().flags(0));
    assert_eq!((reply.rcode, reply.ede_code()), (rcode::REFUSED, Some(20)), "RD=0: {reply:?}");
    let reply = server.ask_tcp(&Ask::new("some.example", rtype::AXFR).edns());
    assert_eq!((reply.rcode, reply.ede_code()), (rcode::REFUSED, Some(21)), "AXFR: {reply:?}");
    assert_eq!(mock.total(), 0, "{:?}", mock.asked());
}

#[test]
fn a_dead_upstream_is_servfail_22_and_a_silent_one_servfail_23() {
    let dead = Server::start(&Folder::new(), &Setup::new(dead_address()));
    let reply = dead.ask(&Ask::new("some.example", rtype::A).edns());
    assert_eq!((reply.rcode, reply.ede_code()), (rcode::SERVFAIL, Some(22)), "{reply:?}");
    assert_eq!(dead.a("some.example").edns, None, "no OPT for no OPT");
    let mock = Mock::start(|_| Say::Silence);
    let slow = Server::start(&Folder::new(), &Setup::new(mock.address()).upstream("timeout = \"300ms\""));
    let reply = slow.ask(&Ask::new("some.example", rtype::A).edns());
    assert_eq!((reply.rcode, reply.ede_code()), (rcode::SERVFAIL, Some(23)), "{reply:?}");
    assert!(mock.count("some.example") > 0);
}

#[test]
fn the_next_upstream_is_asked_when_one_fails() {
    let healthy = Mock::fixed([192, 0, 2, 4]);
    for say in [Say::Rcode(ResponseCode::ServFail), Say::Rcode(ResponseCode::Refused), Say::Silence] {
        let shown = format!("{say:?}");
        let bad = Mock::start(move |_| say.clone());
        let server = Server::start(&Folder::new(), &Setup::new(bad.address()).or(healthy.address()));
        for index in 0..10 {
            let reply = server.a(&format!("n{index}.example"));
            assert!(reply.is_address("192.0.2.4"), "{shown}: {reply:?}");
        }
        assert!(bad.total() > 0, "{shown}");
    }
    let server = Server::start(&Folder::new(), &Setup::new(dead_address()).or(healthy.address()));
    assert!(server.a("some.example").is_address("192.0.2.4"));
    let says_no = Mock::start(|_| Say::Nxdomain);
    let server = Server::start(&Folder::new(), &Setup::new(says_no.address()).or(healthy.address()));
    let before = healthy.total();
    assert_eq!(server.a("some.example").rcode, rcode::NXDOMAIN, "NXDOMAIN is a good answer");
    assert_eq!(healthy.total(), before, "so nobody else is asked");
}

#[test]
fn an_upstream_that_comes_back_is_asked_again() {
    let well = Arc::new(AtomicBool::new(false));
    let state = Arc::clone(&well);
    let mock = Mock::start(move |_| {
        if state.load(Ordering::Relaxed) { Say::A([192, 0, 2, 4]) } else { Say::Rcode(ResponseCode::ServFail) }
    });
    let server = open(&mock);
    assert_eq!(server.a("some.example").rcode, rcode::SERVFAIL);
    well.store(true, Ordering::Relaxed);
    server.comes_to("some.example", "192.0.2.4");
}

#[test]
fn identical_queries_in_flight_are_asked_once() {
    let mock = Mock::start(|_| Say::Later(Duration::from_millis(600), Box::new(Say::A([192, 0, 2, 4]))));
    let server = open(&mock);
    let clients: Vec<_> = (0..40).map(|_| Udp::to(server.udp[0])).collect();
    let asks: Vec<_> = (0..40).map(|_| Ask::new("same.example", rtype::A)).collect();
    for (client, ask) in clients.iter().zip(&asks) {
        client.send(&ask.bytes());
    }
    for (client, ask) in clients.iter().zip(&asks) {
        let reply = client.receive().expect("an answer");
        assert_eq!(reply.get(..2), Some(&ask.id.to_be_bytes()[..]), "everyone gets his own id");
    }
    // A machine that stalls makes a retry or two; forty clients asked.
    assert!(mock.count("same.example") <= 4, "{}", mock.count("same.example"));
}

#[test]
fn zones_have_servers_of_their_own() {
    let (everywhere, corp) = (Mock::fixed([192, 0, 2, 1]), Mock::fixed([192, 0, 2, 2]));
    let zone = format!("[[upstream.zone]]\nname = \"corp.example\"\nservers = [\"udp://{}\"]", corp.address());
    let server = Server::start(&Folder::new(), &Setup::new(everywhere.address()).more(&zone));
    for (name, address) in [
        ("corp.example", "192.0.2.2"),
        ("a.b.corp.example", "192.0.2.2"),
        ("notcorp.example", "192.0.2.1"),
        ("example", "192.0.2.1"),
    ] {
        assert!(server.a(name).is_address(address), "{name}");
    }
}

#[test]
fn truncated_upstream_answers_are_fetched_over_tcp() {
    let mock = Mock::start(|_| Say::Truncated(Box::new(Say::A([192, 0, 2, 4]))));
    let server = open(&mock);
    assert!(server.a("some.example").is_address("192.0.2.4"));
    assert!(mock.asked().iter().any(|asked| asked.tcp));
}

#[test]
fn more_queries_than_may_be_under_way_get_servfail_and_blocked_names_their_answer() {
    let mock = Mock::start(|_| Say::Silence);
    let folder = Folder::new();
    folder.write("a.txt", "blocked.example\n");
    let setup = Setup::new(mock.address()).upstream("max_in_flight = 5\ntimeout = \"5s\"").list("a", "a.txt", "");
    let server = Server::start(&folder, &setup);
    let client = Udp::to(server.udp[0]);
    for index in 0..20 {
        client.send(&Ask::new(&format!("n{index}.example"), rtype::A).edns().bytes());
    }
    assert!(server.a("blocked.example").is_address("0.0.0.0"));
    eventually(
        "SERVFAIL for lack of room",
        || {
            let reply = client.receive().map(|bytes| crate::support::client::Reply::read(&bytes));
            reply.is_some_and(|reply| reply.ede_code() == Some(22) && reply.rcode == rcode::SERVFAIL)
        },
        || server.stderr(),
    );
}
