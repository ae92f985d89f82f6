//! DNSSEC validation and recursion, against zones that real servers serve.

use std::path::Path;
use std::sync::Arc;

use crate::support::client::{Ask, Reply, rcode, rtype};
use crate::support::mock::{Mock, Say};
use crate::support::server::{Folder, Server, Setup};
use crate::support::zones::World;

/// What an answer is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Is {
    /// Proven.
    Secure,
    /// As it comes.
    Insecure,
    /// SERVFAIL, with this extended error.
    Bogus(u16),
}

use Is::{Bogus, Insecure, Secure};

/// Names, what they are asked for, and what must come of it.
const TABLE: &[(&str, u16, u16, usize, Is)] = &[
    ("good.world", rtype::A, 0, 1, Secure),
    ("www.good.world", rtype::A, 0, 1, Secure),
    ("www.good.world", rtype::AAAA, 0, 0, Secure),
    ("nope.good.world", rtype::A, rcode::NXDOMAIN, 0, Secure),
    ("is.more.good.world", rtype::A, 0, 0, Secure),
    ("any.wild.good.world", rtype::A, 0, 1, Secure),
    ("any.wild.good.world", rtype::AAAA, 0, 0, Secure),
    ("big.good.world", rtype::TXT, 0, 12, Secure),
    ("self.good.world", rtype::A, 0, 2, Secure),
    ("hashed.good.world", rtype::A, 0, 2, Secure),
    ("hashed.good.world", rtype::AAAA, 0, 1, Secure),
    ("gone.good.world", rtype::A, rcode::NXDOMAIN, 1, Secure),
    ("plain.good.world", rtype::A, 0, 2, Insecure),
    ("there.old.good.world", rtype::A, 0, 3, Secure),
    ("good.world", rtype::DS, 0, 1, Secure),
    ("plain.world", rtype::DS, 0, 0, Secure),
    ("www.hashed.world", rtype::A, 0, 1, Secure),
    ("www.hashed.world", rtype::AAAA, 0, 0, Secure),
    ("nope.hashed.world", rtype::A, rcode::NXDOMAIN, 0, Secure),
    ("is.more.hashed.world", rtype::A, 0, 0, Secure),
    ("any.wild.hashed.world", rtype::A, 0, 1, Secure),
    ("any.wild.hashed.world", rtype::AAAA, 0, 0, Secure),
    ("www.plain.world", rtype::A, 0, 1, Insecure),
    ("nope.plain.world", rtype::A, rcode::NXDOMAIN, 0, Insecure),
    ("hashed.plain.world", rtype::A, 0, 2, Insecure),
    (DEEP, rtype::A, 0, 1, Secure),
    ("nowhere", rtype::A, rcode::NXDOMAIN, 0, Secure),
    ("www.expired.world", rtype::A, 0, 1, Bogus(7)),
    ("www.early.world", rtype::A, 0, 1, Bogus(8)),
    ("www.tampered.world", rtype::A, 0, 1, Bogus(6)),
    ("www.wrong.world", rtype::A, 0, 1, Bogus(9)),
    ("www.stripped.world", rtype::A, 0, 1, Bogus(9)),
    ("nope.expired.world", rtype::A, rcode::NXDOMAIN, 0, Bogus(7)),
];

/// As many labels as reverse lookups of IPv6 have.
const DEEP: &str = "1.2.3.4.5.6.7.8.9.a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p.q.r.s.t.u.v.wild.good.world";

/// Keys of `[dnssec]` for a world.
fn validating(anchor: &Path) -> String {
    format!("[dnssec]\nmode = \"validate\"\ntrust_anchor = {:?}\n", anchor.display().to_string())
}

/// Keys of `[upstream]` for a world.
fn recursing(world: &World) -> String {
    format!(
        "mode = \"recurse\"\ntimeout = \"8s\"\n[upstream.recursion]\nroot_hints = {:?}\nallow_servers = [\"127.53.0.0/16\"]",
        world.hints().display().to_string()
    )
}

/// Asks everything in the table, with and without DO and CD; validated or not.
fn go_through(server: &Server, validated: bool) {
    for &(name, qtype, code, answers, is) in TABLE {
        for (dnssec_ok, checking_disabled) in [(false, false), (true, true), (true, false)] {
            let mut ask = Ask::new(name, qtype).edns();
            if dnssec_ok {
                ask = ask.dnssec_ok();
            } else {
                // AD asks for AD alone.
                ask = ask.flags(0x0120);
            }
            if checking_disabled {
                ask = ask.checking_disabled();
            }
            let reply = server.ask_tcp(&ask);
            let shown = || format!("{ask:?}: {reply:?}\n{}", server.stderr());
            let held = match is {
                Bogus(error) if validated && !checking_disabled => Some(error),
                _ => None,
            };
            if let Some(error) = held {
                assert_eq!((reply.rcode, reply.answers.len()), (rcode::SERVFAIL, 0), "{}", shown());
                assert_eq!(reply.ede_code(), Some(error), "{}", shown());
                assert!(!reply.authentic(), "{}", shown());
                continue;
            }
            let records = reply.answers.iter().filter(|record| record.rtype != rtype::RRSIG).count();
            assert_eq!((reply.rcode, records), (code, answers), "{}", shown());
            let authentic = validated && is == Secure && !checking_disabled;
            assert_eq!(reply.authentic(), authentic, "{}", shown());
            assert_eq!(has_signatures(&reply), dnssec_ok && signed(name, &reply), "{}", shown());
        }
    }
}

/// There are RRSIG.
fn has_signatures(reply: &Reply) -> bool {
    reply.answers.iter().chain(&reply.authorities).any(|record| record.rtype == rtype::RRSIG)
}

/// What is in the answer is signed somewhere.
fn signed(name: &str, reply: &Reply) -> bool {
    let unsigned = name.ends_with("plain.world")
        && !name.starts_with("hashed")
        && reply.question.as_ref().is_some_and(|asked| asked.1 != rtype::DS);
    !unsigned && !name.ends_with("stripped.world")
}

/// What the figures say of validations.
fn validations(server: &Server) -> Vec<u64> {
    let page = crate::support::http::get(server.http[0], "/metrics").body;
    let of = |result: &str| {
        let start = format!("qalqan_dnssec_validations_total{{result=\"{result}\"}} ");
        let line =
            page.lines().find_map(|line| line.strip_prefix(&start)).unwrap_or_else(|| panic!("no {result}: {page}"));
        line.parse().expect("a number")
    };
    ["secure", "insecure", "bogus", "indeterminate"].map(of).to_vec()
}

#[test]
fn answers_of_a_forwarder_are_validated() {
    let Some(mut world) = World::start() else { return };
    let Some(forwarder) = world.forwarder() else { return };
    let folder = Folder::new();
    folder.write("block", "www.blocked.world\nwww.expired.world\n");
    let mock = Mock::start(|_| Say::A([192, 0, 2, 77]));
    let setup = Setup::new(forwarder).admin("listen = [\"127.0.0.1:0\"]").more(&validating(&world.anchor()));
    let zone = format!("[[upstream.zone]]\nname = \"corp.good.world\"\nservers = [\"udp://{}\"]", mock.address());
    let upstream = format!("timeout = \"5s\"\n{zone}");
    let server = Server::start(&folder, &setup.clone().upstream(&upstream));
    go_through(&server, true);
    assert!(server.a("www.corp.good.world").is_address("192.0.2.77"), "servers of its own are believed");
    let told = validations(&server);
    assert!(told[..3].iter().all(|count| *count > 0) && told[3] == 0, "{told:?}");
    // Twice the same: from the cache, which keeps the unvalidated apart.
    go_through(&server, true);

    // The operator waives a zone; and blocks names whatever DNSSEC says of them.
    let negative = "negative_trust_anchors = [\"expired.world\", \"tampered.world\"]\n";
    let setup = setup.more(negative).list("block", "block", "");
    folder.replace("config.toml", setup.upstream(&upstream).text());
    server.signal("HUP");
    server.comes_to("www.tampered.world", "192.0.2.66");
    server.comes_to("www.expired.world", "0.0.0.0");
    assert!(server.a("blocked.good.world").is_address("0.0.0.0"), "a target is blocked");
    let other = server.ask(&Ask::new("www.wrong.world", rtype::A).edns());
    assert_eq!((other.rcode, other.ede_code()), (rcode::SERVFAIL, Some(9)), "{other:?}");
}

#[test]
fn without_validation_signatures_and_ad_are_handed_through() {
    let Some(mut world) = World::start() else { return };
    let Some(forwarder) = world.forwarder() else { return };
    go_through(&Server::start(&Folder::new(), &Setup::new(forwarder).upstream("timeout = \"5s\"")), false);
}

#[test]
fn a_root_that_is_not_ours_is_said_aloud() {
    let Some(mut world) = World::start() else { return };
    let Some(forwarder) = world.forwarder() else { return };
    // The shipped anchors are not this world's.
    let server = Server::start(&Folder::new(), &Setup::new(forwarder).more("[dnssec]\nmode = \"validate\""));
    let reply = server.ask(&Ask::new("www.good.world", rtype::A).edns());
    assert_eq!((reply.rcode, reply.ede_code()), (rcode::SERVFAIL, Some(9)), "{reply:?}");
    server.says("do not match the trust anchors");
    drop(server);
    // In a file that is not this world's, then is: it is read again.
    let folder = Folder::new();
    folder.write("anchor", format!(". IN DS 1 13 2 {}\n", "ab".repeat(32)));
    let setup = Setup::new(forwarder).more("[dnssec]\nmode = \"validate\"\ntrust_anchor = \"anchor\"");
    let server = Server::start(&folder, &setup);
    assert_eq!(server.a("www.good.world").rcode, rcode::SERVFAIL);
    folder.replace("anchor", std::fs::read(world.anchor()).expect("an anchor"));
    server.signal("HUP");
    server.comes_to("www.good.world", "192.0.2.7");
}

#[test]
fn names_are_resolved_from_the_root_and_validated() {
    let Some(world) = World::start() else { return };
    let folder = Folder::new();
    let setup = Setup::new("127.0.0.1:9".parse().expect("an address")).upstream(&recursing(&world));
    let server = Server::start(&folder, &setup.more(&validating(&world.anchor())));
    go_through(&server, true);
    let said = server.stderr();
    assert!(!said.contains("world"), "query data in the log: {said}");
}

#[test]
fn names_are_resolved_from_the_root() {
    let Some(world) = World::start() else { return };
    let folder: Arc<Folder> = Folder::new();
    let setup = Setup::new("127.0.0.1:9".parse().expect("an address")).upstream(&recursing(&world));
    let server = Server::start(&folder, &setup);
    go_through(&server, false);
    // One of two servers knows nothing, or is not there: the other one is asked, each time and in time.
    for name in ["www", "self", "plain", "hashed", "any.wild", "there.is.more"] {
        for zone in ["lame", "dead"] {
            let reply = server.ask(&Ask::new(&format!("{name}.{zone}.world"), rtype::A).edns());
            assert!(reply.rcode == 0 && !reply.answers.is_empty(), "{name}.{zone}: {reply:?}");
        }
    }
    // Delegations that lead to each other, and aliases: an end all the same.
    for name in ["www.left.world", "round.good.world"] {
        let reply = server.ask(&Ask::new(name, rtype::A).edns());
        assert_eq!(reply.rcode, rcode::SERVFAIL, "{reply:?}");
    }
}

#[test]
fn recursion_keeps_away_from_private_networks() {
    let Some(world) = World::start() else { return };
    let mock = Mock::start(|_| Say::A([192, 0, 2, 77]));
    let zone = format!("[[upstream.zone]]\nname = \"corp.world\"\nservers = [\"udp://{}\"]", mock.address());
    let setup = |more: &str| {
        let hints =
            format!("mode = \"recurse\"\n{zone}\n[upstream.recursion]\nroot_hints = {:?}\n{more}", world.hints());
        Setup::new("127.0.0.1:9".parse().expect("an address")).upstream(&hints)
    };
    // Name servers with private addresses are nobody's whom the root knows.
    let server = Server::start(&Folder::new(), &setup(""));
    let reply = server.a("www.good.world");
    assert_eq!(reply.rcode, rcode::SERVFAIL, "{reply:?}");
    assert!(server.a("www.corp.world").is_address("192.0.2.77"), "a zone with servers of its own is forwarded");
    drop(server);
    let more = "allow_servers = [\"127.53.0.0/16\"]\ndeny_answers = [\"192.0.2.0/29\"]";
    let server = Server::start(&Folder::new(), &setup(more));
    assert!(server.a("any.wild.good.world").is_address("192.0.2.8"));
    let reply = server.a("www.good.world");
    assert!(reply.answers.is_empty(), "{reply:?}");
}
