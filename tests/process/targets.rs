//! Names in an upstream's answer are checked like the name asked for.

use std::sync::Arc;

use hickory_proto::rr::rdata::CNAME;
use hickory_proto::rr::{Name, RData, Record, RecordType};

use serde_json::Value;

use crate::support::client::{Ask, rcode, rtype, wire};
use crate::support::mock::{self, Mock, Say};
use crate::support::server::{Folder, Server, Setup};

/// A name of hickory's.
fn name(text: &str) -> Name {
    Name::from_ascii(format!("{text}.")).expect("a name")
}

/// A record `owner CNAME target`.
fn cname(owner: &str, target: &str) -> Record {
    Record::from_rdata(name(owner), mock::TTL, RData::CNAME(CNAME(name(target))))
}

/// Answers that lead to blocked names in every way there is, and some that don't.
fn upstream() -> Mock {
    Mock::start(|asked| match asked.name.as_str() {
        "cname.example" => Say::Cname("t.blocked.example".into(), [192, 0, 2, 1]),
        "chain.example" => Say::Records(vec![
            cname("chain.example", "one.example"),
            cname("one.example", "two.example"),
            cname("two.example", "t.blocked.example"),
            mock::a(&name("t.blocked.example"), [192, 0, 2, 1]),
        ]),
        "www.dname.example" => Say::Records(vec![
            mock::raw(&name("dname.example"), RecordType::from(rtype::DNAME), wire("blocked.example")),
            cname("www.dname.example", "www.blocked.example"),
            mock::a(&name("www.blocked.example"), [192, 0, 2, 1]),
        ]),
        "alias.example" => Say::Https(0, "T.BLOCKED.example".into()),
        "service.example" => Say::Https(1, "blocked.example".into()),
        "svcb.example" => {
            let data = [&[0, 1][..], &wire("t.blocked.example")].concat();
            Say::Records(vec![mock::raw(&name("svcb.example"), RecordType::from(rtype::SVCB), data)])
        }
        "to-dropped.example" => Say::Cname("dropped.example".into(), [192, 0, 2, 1]),
        "to-refused.example" => Say::Cname("refused.example".into(), [192, 0, 2, 1]),
        "to-shadow.example" => Say::Cname("shadow.example".into(), [192, 0, 2, 1]),
        "good.example" | "sub.good.example" => Say::Cname("t.blocked.example".into(), [192, 0, 2, 1]),
        "to-excepted.example" => Say::Cname("fine.blocked.example".into(), [192, 0, 2, 1]),
        "clean.example" => Say::Cname("cdn.example".into(), [192, 0, 2, 1]),
        "near.example" => Say::Cname("notblocked.example".into(), [192, 0, 2, 1]),
        _ => Say::A([192, 0, 2, 1]),
    })
}

/// A server with the lists these targets need.
fn start() -> (Arc<Folder>, Mock, Server) {
    let mock = upstream();
    let folder = Folder::new();
    folder.write("blocked.txt", "blocked.example\n");
    folder.write("dropped.txt", "dropped.example\n");
    folder.write("refused.txt", "refused.example\n");
    folder.write("shadow.txt", "shadow.example\n");
    folder.write("allow.txt", "good.example\nfine.blocked.example\n");
    let setup = Setup::new(mock.address())
        .list("blocked", "blocked.txt", "")
        .list("dropped", "dropped.txt", "answer = \"drop\"")
        .list("refused", "refused.txt", "answer = \"refused\"")
        .list("shadow", "shadow.txt", "mode = \"shadow\"")
        .list("allow", "allow.txt", "role = \"allow\"");
    let server = Server::start(&folder, &setup);
    (folder, mock, server)
}

#[test]
fn an_answer_that_leads_to_a_blocked_name_is_blocked_and_logged_with_its_target() {
    let (folder, _mock, server) = start();
    let cases = [
        ("cname.example", rtype::A, "t.blocked.example"),
        ("cname.example", rtype::AAAA, "t.blocked.example"),
        ("cname.example", rtype::TXT, "t.blocked.example"),
        ("chain.example", rtype::A, "t.blocked.example"),
        ("alias.example", rtype::HTTPS, "t.blocked.example"),
        ("service.example", rtype::HTTPS, "blocked.example"),
        ("svcb.example", rtype::SVCB, "t.blocked.example"),
    ];
    for (name, qtype, _) in cases {
        for tcp in [false, true] {
            let ask = Ask::new(name, qtype).edns();
            let reply = if tcp { server.ask_tcp(&ask) } else { server.ask(&ask) };
            assert_eq!(reply.ede(), Some((16, "Blocked by list blocked".into())), "{name}: {reply:?}");
            match qtype {
                rtype::A => assert!(reply.is_address("0.0.0.0") && reply.answers[0].name == name, "{reply:?}"),
                rtype::AAAA => assert!(reply.is_address("::"), "{reply:?}"),
                _ => {
                    assert_eq!((reply.rcode, reply.answers.len()), (rcode::NOERROR, 0), "{reply:?}");
                    assert_eq!(reply.authorities[0].name, name, "nothing is said about other names: {reply:?}");
                }
            }
        }
    }
    let reply = server.ask(&Ask::new("www.dname.example", rtype::A));
    assert!(reply.is_address("0.0.0.0"), "{reply:?}");
    server.stop();
    let hits = folder.hits();
    assert_eq!(hits.len(), 2 * cases.len() + 1, "{hits:#?}");
    for hit in &hits {
        assert_eq!((&hit["list"], &hit["rule"]), (&"blocked".into(), &"blocked.example".into()), "{hit}");
    }
    // Lines of several workers stand nearly, not exactly, in order of time.
    for (name, qtype, target) in cases {
        let kind = ["A", "AAAA", "TXT", "HTTPS", "SVCB"]
            [[1, 28, 16, 65, 64].iter().position(|&t| t == qtype).expect("one of these")];
        let of_case = |hit: &&Value| hit["name"] == name && hit["type"] == kind && hit["target"] == target;
        assert_eq!(hits.iter().filter(of_case).count(), 2, "{name} {kind}: {hits:#?}");
    }
    let of_dname = hits.iter().find(|hit| hit["name"] == "www.dname.example").expect("a hit");
    assert!(of_dname["target"].as_str().is_some_and(|target| target.ends_with("blocked.example")), "{of_dname}");
}

#[test]
fn the_list_of_the_target_decides_the_answer() {
    let (_folder, _mock, server) = start();
    let reply = server.a("to-refused.example");
    assert_eq!((reply.rcode, reply.answers.len()), (rcode::REFUSED, 0), "{reply:?}");
    // Not answered at all; what is asked after it over the same connection is.
    let mut tcp = crate::support::client::Tcp::to(server.tcp[0]);
    let dropped = Ask::new("to-dropped.example", rtype::A);
    tcp.send(&dropped.bytes());
    crate::support::server::eventually(
        "the hit of the dropped answer is logged",
        || server.folder.hits().iter().any(|hit| hit["name"] == "to-dropped.example" && hit["answer"] == "drop"),
        || server.stderr(),
    );
    assert_eq!(tcp.ask(&Ask::new("t.blocked.example", rtype::A)).rcode, rcode::NOERROR);
}

#[test]
fn allowed_names_shadow_lists_and_mere_likeness_let_an_answer_pass() {
    let (folder, _mock, server) = start();
    for name in [
        "good.example",
        "sub.good.example",
        "to-shadow.example",
        "to-excepted.example",
        "clean.example",
        "near.example",
    ] {
        let reply = server.a(name);
        assert_eq!(reply.data(rtype::A), ["192.0.2.1"], "{name}: {reply:?}");
        assert_eq!(reply.data(rtype::CNAME).len(), 1, "{name}: {reply:?}");
    }
    server.stop();
    let hits = folder.hits();
    assert_eq!(hits.len(), 1, "{hits:#?}");
    assert_eq!((&hits[0]["mode"], &hits[0]["answer"]), (&"shadow".into(), &"passed".into()));
    assert_eq!(hits[0]["target"], "shadow.example");
    assert_eq!(folder.counters()["queries"]["shadow"], 1);
}
