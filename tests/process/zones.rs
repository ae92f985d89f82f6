//! Names that are answered here: localhost and its kin, private reverse zones, the operator's own.

use crate::support::client::{Ask, rcode, rec, rtype};
use crate::support::mock::Mock;
use crate::support::server::{Folder, Server, Setup};

/// A zone.
const ZONE: &str = "\
$ORIGIN lan.example.
$TTL 1h
@       SOA ns admin 1 1h 15m 1w 5m
        NS  ns
ns      A   10.0.0.1
www     A   10.0.0.2
        AAAA fd00::2
alias   CNAME www
*.dyn   A   10.0.0.9
";

#[test]
fn special_names_and_private_reverse_zones_never_leave_the_house() {
    let mock = Mock::fixed([198, 51, 100, 7]);
    let server = Server::start(&Folder::new(), &Setup::new(mock.address()));
    for tcp in [false, true] {
        let ask = |name: &str, qtype| {
            let ask = Ask::new(name, qtype).edns();
            if tcp { server.ask_tcp(&ask) } else { server.ask(&ask) }
        };
        for name in ["localhost", "LocalHost", "x.localhost"] {
            assert!(ask(name, rtype::A).is_address("127.0.0.1"), "{name}");
            assert!(ask(name, rtype::AAAA).is_address("::1"), "{name}");
            let reply = ask(name, rtype::MX);
            assert_eq!((reply.rcode, reply.answers.len()), (rcode::NOERROR, 0), "{reply:?}");
        }
        for (name, qtype) in [
            ("5.0.0.10.in-addr.arpa", rtype::PTR),
            ("1.1.168.192.in-addr.arpa", rtype::PTR),
            ("1.0.20.172.in-addr.arpa", rtype::PTR),
            ("1.0.64.100.in-addr.arpa", rtype::PTR),
            ("1.d.f.ip6.arpa", rtype::PTR),
            ("hidden.onion", rtype::A),
            ("some.invalid", rtype::AAAA),
            ("some.test", rtype::A),
            ("printer.home.arpa", rtype::A),
        ] {
            let reply = ask(name, qtype);
            assert_eq!((reply.rcode, reply.answers.len()), (rcode::NXDOMAIN, 0), "{name}: {reply:?}");
            assert_eq!(reply.authorities.first().map(|soa| soa.rtype), Some(rtype::SOA), "{name}: {reply:?}");
        }
        assert_eq!(ask("1.0.0.127.in-addr.arpa", rtype::PTR).data(rtype::PTR), ["localhost."]);
    }
    assert_eq!(mock.total(), 0, "{:?}", mock.asked());
    for name in ["example", "11.in-addr.arpa", "notlocalhost", "1.0.33.172.in-addr.arpa"] {
        assert!(server.a(name).is_address("198.51.100.7"), "{name} is asked on");
    }
}

#[test]
fn own_names_and_zone_files_are_served() {
    let mock = Mock::fixed([198, 51, 100, 7]);
    let folder = Folder::new();
    folder.write("zones/lan.zone", ZONE);
    folder.write("a.txt", "www.lan.example\n");
    let more = "[local.hosts]\n\"router.example\" = [\"192.0.2.1\", \"2001:db8::1\"]\n\n\
                [[zone]]\nname = \"lan.example\"\nfile = \"zones/lan.zone\"\n";
    let setup = Setup::new(mock.address()).more(more);
    let server = Server::start(&folder, &setup);
    let reply = server.a("www.lan.example");
    assert_eq!(reply.answers, [rec("www.lan.example", rtype::A, 3600, "10.0.0.2")], "{reply:?}");
    assert!(server.ask(&Ask::new("www.lan.example", rtype::AAAA)).is_address("fd00::2"));
    assert!(server.a("any.dyn.lan.example").is_address("10.0.0.9"));
    let reply = server.a("alias.lan.example");
    assert_eq!((reply.data(rtype::CNAME), reply.data(rtype::A)), (vec!["www.lan.example."], vec!["10.0.0.2"]));
    let reply = server.a("none.lan.example");
    assert_eq!((reply.rcode, reply.authorities.len()), (rcode::NXDOMAIN, 1), "{reply:?}");
    assert!(server.a("router.example").is_address("192.0.2.1"));
    assert!(server.ask(&Ask::new("router.example", rtype::AAAA)).is_address("2001:db8::1"));
    assert_eq!(mock.total(), 0, "{:?}", mock.asked());
    assert!(server.a("below.router.example").is_address("198.51.100.7"), "only the name itself is the operator's");
    // What is ordered blocked is blocked, whoever serves it.
    drop(server);
    let server = Server::start(&folder, &setup.list("a", "a.txt", ""));
    assert!(server.a("www.lan.example").is_address("0.0.0.0"));
    assert!(server.a("ns.lan.example").is_address("10.0.0.1"));
}

#[test]
fn a_broken_zone_file_is_told_with_its_line() {
    let mock = Mock::fixed([198, 51, 100, 7]);
    let folder = Folder::new();
    folder.write("bad.zone", "$ORIGIN lan.example.\n@ 60 SOA ns admin 1 1h 15m 1w 5m\nwww 60 A 10.0.0\n");
    let more = "[[zone]]\nname = \"lan.example\"\nfile = \"bad.zone\"\n\n\
                [[zone]]\nname = \"other.example\"\nfile = \"missing.zone\"\n";
    let (code, said) = Server::refuses(&folder, &Setup::new(mock.address()).more(more).text());
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("bad.zone:3:") && said.contains("missing.zone"), "{said}");
}
