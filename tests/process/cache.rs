//! What was asked once is answered without asking again, for as long as it may be.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::Name;

use crate::support::client::{Ask, Reply, rcode, rtype};
use crate::support::mock::{self, Mock, Say};
use crate::support::server::{Folder, Server, Setup, eventually};

/// An address record of this name with a TTL.
fn address(name: &str, ttl: u32, last: u8) -> Say {
    let owner = Name::from_ascii(format!("{name}.")).expect("a name");
    let mut record = mock::a(&owner, [192, 0, 2, last]);
    record.ttl = ttl;
    Say::Records(vec![record])
}

/// A mock that fails while the switch is on.
fn failing(say: Say) -> (Mock, Arc<AtomicBool>) {
    let failing = Arc::new(AtomicBool::new(false));
    let state = Arc::clone(&failing);
    let mock = Mock::start(move |asked| match asked.name.as_str() {
        _ if state.load(Ordering::Relaxed) => say.clone(),
        "gone.example" => Say::Nxdomain,
        name => address(name, 2, 4),
    });
    (mock, failing)
}

/// Asks until it gets what is wanted.
fn asks_until(server: &Server, ask: &Ask, what: &str, wanted: impl Fn(&Reply) -> bool) -> Reply {
    let mut last = None;
    eventually(
        what,
        || {
            let reply = server.ask(ask);
            let done = wanted(&reply);
            last = Some(reply);
            done
        },
        || server.stderr(),
    );
    last.expect("asked at least once")
}

#[test]
fn a_second_query_is_answered_without_asking() {
    let mock = Mock::start(|asked| match asked.name.as_str() {
        "gone.example" => Say::Nxdomain,
        "empty.example" => Say::Nodata,
        "alias.example" => Say::Cname("there.example".into(), [192, 0, 2, 6]),
        "signed.example" => Say::Signed([192, 0, 2, 5]),
        "large.example" => Say::Records(
            (0..40).map(|i| mock::a(&Name::from_ascii("large.example.").expect("a name"), [192, 0, 2, i])).collect(),
        ),
        "bad.example" => Say::Rcode(ResponseCode::ServFail),
        _ => Say::A([192, 0, 2, 4]),
    });
    let folder = Folder::new();
    folder.write("a.txt", "blocked.example\n");
    let server = Server::start(&folder, &Setup::new(mock.address()).list("a", "a.txt", ""));
    let names = ["some.example", "gone.example", "empty.example", "alias.example", "bad.example"];
    for name in names {
        let first = server.ask(&Ask::new(name, rtype::A).edns());
        let asked = mock.count(name);
        let upper = name.to_uppercase();
        for reply in
            [server.ask(&Ask::new(&upper, rtype::A).edns()), server.ask_tcp(&Ask::new(&upper, rtype::A).edns())]
        {
            assert_eq!(reply.question.as_ref().map(|question| question.0.as_str()), Some(upper.as_str()));
            assert_eq!((reply.rcode, reply.flags, &reply.edns), (first.rcode, first.flags, &first.edns), "{name}");
            assert_eq!(reply.answers.len(), first.answers.len(), "{name}: {reply:?}");
            assert_eq!(reply.authorities.len(), first.authorities.len(), "{name}: {reply:?}");
        }
        assert_eq!(server.ask(&Ask::new(name, rtype::A)).edns, None, "no OPT for no OPT");
        assert_eq!(mock.count(name), asked, "{name} was asked for again");
    }
    // Without recursion too, which nothing else is answered without.
    let reply = server.ask(&Ask::new("some.example", rtype::A).flags(0));
    assert!(reply.is_address("192.0.2.4"), "{reply:?}");
    assert_eq!(server.ask(&Ask::new("other.example", rtype::A).flags(0)).rcode, rcode::REFUSED);
    // DO and CD make other answers.
    server.a("signed.example");
    assert!(!server.a("signed.example").authentic());
    let signed = || server.ask(&Ask::new("signed.example", rtype::A).dnssec_ok());
    assert_eq!([signed(), signed()].map(|reply| reply.data(rtype::RRSIG).len()), [1, 1]);
    server.ask(&Ask::new("signed.example", rtype::A).checking_disabled());
    assert_eq!(mock.count("signed.example"), 3);
    // What is too large for a datagram is kept whole.
    assert_eq!(server.ask_tcp(&Ask::new("large.example", rtype::A)).answers.len(), 40);
    assert!(server.a("large.example").truncated());
    assert_eq!(server.ask(&Ask::new("large.example", rtype::A).payload(1232)).answers.len(), 40);
    assert_eq!(mock.count("large.example"), 1);
    // Rules come first: a name that was asked for before it was blocked is blocked.
    folder.write("a.txt", "blocked.example\nsome.example\n");
    server.blocks("some.example");
    let folder = Arc::clone(&server.folder);
    server.stop();
    assert!(folder.counters()["queries"]["cached"].as_u64().is_some_and(|count| count > 15), "{}", folder.counters());
}

#[test]
fn time_goes_down_and_then_it_is_asked_for_again() {
    let mock = Mock::start(|asked| address(&asked.name, 3, asked.before as u8));
    let server = Server::start(&Folder::new(), &Setup::new(mock.address()));
    let ask = Ask::new("some.example", rtype::A);
    assert_eq!(server.ask(&ask).answers[0].ttl, 3);
    let lower = asks_until(&server, &ask, "the TTL goes down", |reply| reply.answers[0].ttl < 3);
    assert!(lower.answers[0].ttl >= 1, "{lower:?}");
    asks_until(&server, &ask, "it is asked for again", |reply| reply.is_address("192.0.2.1"));
}

#[test]
fn popular_names_are_asked_for_before_their_time_is_over() {
    let mock = Mock::start(|asked| {
        let say = address(&asked.name, 11, asked.before as u8);
        if asked.before == 0 { say } else { Say::Later(Duration::from_millis(800), Box::new(say)) }
    });
    let server = Server::start(&Folder::new(), &Setup::new(mock.address()));
    // Who has to wait for a new answer gets the new one; so an old one, while the next is asked for already, is proof.
    asks_until(&server, &Ask::new("some.example", rtype::A), "the next answer is under way", |reply| {
        let next = mock.count("some.example").saturating_sub(2);
        mock.count("some.example") > 1 && reply.is_address(&format!("192.0.2.{next}"))
    });
}

#[test]
fn stale_answers_bridge_a_failure() {
    for say in [Say::Silence, Say::Rcode(ResponseCode::ServFail)] {
        let shown = format!("{say:?}");
        let (mock, fails) = failing(say);
        let server = Server::start(&Folder::new(), &Setup::new(mock.address()).upstream("timeout = \"300ms\""));
        let ask = Ask::new("some.example", rtype::A).edns();
        assert!(server.ask(&ask).is_address("192.0.2.4"));
        fails.store(true, Ordering::Relaxed);
        let stale = asks_until(&server, &ask, "a stale answer", |reply| reply.ede_code() == Some(3));
        assert!(stale.is_address("192.0.2.4") && stale.answers[0].ttl == 30, "{shown}: {stale:?}");
        let asked = mock.count("some.example");
        assert_eq!(server.ask(&ask).ede_code(), Some(3));
        assert_eq!(mock.count("some.example"), asked, "{shown}: asked again at once");
        // What was never known is an error still.
        assert_eq!(server.ask(&Ask::new("new.example", rtype::A)).rcode, rcode::SERVFAIL);
    }
}

#[test]
fn who_has_waited_long_enough_gets_a_stale_answer_and_the_next_one_what_came_late() {
    let mock = Mock::start(|asked| {
        let say = address(&asked.name, 1, 4 + asked.before as u8);
        if asked.before == 0 { say } else { Say::Later(Duration::from_millis(1500), Box::new(say)) }
    });
    let setup = Setup::new(mock.address()).upstream("timeout = \"30s\"").more("[cache]\nstale_after = \"50ms\"");
    let server = Server::start(&Folder::new(), &setup);
    let ask = Ask::new("some.example", rtype::A).edns();
    assert!(server.ask(&ask).is_address("192.0.2.4"));
    let stale = asks_until(&server, &ask, "a stale answer", |reply| reply.ede_code() == Some(3));
    assert!(stale.is_address("192.0.2.4"), "{stale:?}");
    // Nobody waits again meanwhile, and nobody asks again: held back for half a minute, unless the answer comes.
    asks_until(&server, &ask, "the late answer", |reply| reply.is_address("192.0.2.5"));
}

#[test]
fn the_first_answer_has_the_same_lifetimes_as_the_second() {
    let mock = Mock::start(|asked| match asked.name.as_str() {
        "gone.example" => Say::Nxdomain,
        "short.example" => address("short.example", 1, 4),
        name => address(name, 1_000_000, 4),
    });
    let setup = Setup::new(mock.address()).more("[cache]\nmin_ttl = \"1h\"\nmax_ttl = \"2h\"");
    let server = Server::start(&Folder::new(), &setup);
    for (name, ttl) in [("short.example", 3600), ("long.example", 7200), ("gone.example", 60)] {
        for round in ["first", "second"] {
            let reply = server.a(name);
            let record = reply.answers.first().or(reply.authorities.first()).expect("a record");
            // A second may have passed.
            assert!((ttl - 5..=ttl).contains(&record.ttl), "{round}: {reply:?}");
        }
        assert_eq!(mock.count(name), 1);
    }
}

#[test]
fn stale_answers_can_be_turned_off() {
    let (mock, fails) = failing(Say::Rcode(ResponseCode::ServFail));
    let setup = Setup::new(mock.address()).more("[cache]\nstale = \"0s\"");
    let server = Server::start(&Folder::new(), &setup);
    let ask = Ask::new("some.example", rtype::A);
    assert!(server.ask(&ask).is_address("192.0.2.4"));
    fails.store(true, Ordering::Relaxed);
    asks_until(&server, &ask, "SERVFAIL", |reply| reply.rcode == rcode::SERVFAIL);
}

#[test]
fn a_name_that_leads_to_a_blocked_one_is_blocked_from_the_reload_on() {
    let mock = Mock::start(|asked| match asked.name.as_str() {
        "to-dead.example" => Say::Cname("target.example".into(), [192, 0, 2, 7]),
        _ => Say::Cname("target.example".into(), [192, 0, 2, 4]),
    });
    let folder = Folder::new();
    folder.write("a.txt", "other.example\n");
    folder.write("allow.txt", "allowed.example\n");
    folder.write("shadow.txt", "# nothing yet\n");
    let setup = Setup::new(mock.address()).list("a", "a.txt", "").list("allow", "allow.txt", "role = \"allow\"").list(
        "trial",
        "shadow.txt",
        "mode = \"shadow\"",
    );
    let server = Server::start(&folder, &setup);
    for _ in 0..2 {
        for name in ["alias.example", "allowed.example"] {
            assert_eq!(server.a(name).data(rtype::A), ["192.0.2.4"], "{name}");
        }
    }
    folder.write("a.txt", "target.example\n");
    server.blocks("target.example");
    for _ in 0..3 {
        for reply in [server.a("alias.example"), server.ask_tcp(&Ask::new("alias.example", rtype::A))] {
            assert!(reply.is_address("0.0.0.0"), "never again what is in the cache: {reply:?}");
        }
        assert_eq!(server.a("allowed.example").data(rtype::A), ["192.0.2.4"], "an exception stays one");
    }
    // No longer excepted: what was kept for the exception is not given.
    folder.write("allow.txt", "elsewhere.example\n");
    server.blocks("allowed.example");
    // And back: the other way round nothing blocked is remembered.
    folder.write("a.txt", "other.example\n");
    eventually("it is lifted", || server.a("alias.example").data(rtype::A) == ["192.0.2.4"], || server.stderr());
    assert_eq!(mock.count("alias.example"), 1, "asked for once in all that time");
    // Each query that leads to a name on trial is a hit, also out of the cache.
    folder.write("shadow.txt", "target.example\n");
    let shadow =
        || folder.hits().iter().filter(|hit| hit["mode"] == "shadow" && hit["name"] == "alias.example").count();
    eventually("a hit on trial", || server.a("alias.example").rcode == 0 && shadow() > 0, || server.stderr());
    let before = shadow();
    (0..5).for_each(|_| _ = server.a("alias.example"));
    let folder = Arc::clone(&server.folder);
    server.stop();
    let hits = folder.hits();
    let shadow = hits.iter().filter(|hit| hit["mode"] == "shadow" && hit["name"] == "alias.example").count();
    assert!(shadow >= before + 5, "{shadow} hits, {before} before five more queries");
    let of_alias = |hit: &&serde_json::Value| hit["name"] == "alias.example" && hit["target"] == "target.example";
    assert!(hits.iter().filter(of_alias).count() >= 11, "{hits:#?}");
}

#[test]
fn changed_routes_leave_nothing_in_the_cache() {
    let (old, new) = (Mock::fixed([192, 0, 2, 1]), Mock::fixed([192, 0, 2, 2]));
    let folder = Folder::new();
    let server = Server::start(&folder, &Setup::new(old.address()));
    assert!(server.a("some.example").is_address("192.0.2.1"));
    assert!(server.a("own.example").is_address("192.0.2.1"));
    let hosts = "[local.hosts]\n\"own.example\" = [\"192.0.2.3\"]";
    folder.write("config.toml", Setup::new(old.address()).more(hosts).text());
    server.comes_to("own.example", "192.0.2.3");
    folder.write("config.toml", Setup::new(new.address()).more(hosts).text());
    server.comes_to("some.example", "192.0.2.2");
}

#[test]
fn without_a_cache_every_query_is_asked_on() {
    let mock = Mock::fixed([192, 0, 2, 4]);
    let server = Server::start(&Folder::new(), &Setup::new(mock.address()).uncached());
    (0..3).for_each(|_| assert!(server.a("some.example").is_address("192.0.2.4")));
    assert_eq!(mock.count("some.example"), 3);
}

#[test]
fn a_flood_of_random_names_leaves_popular_ones_answered() {
    let mock = Mock::start(|asked| Say::Later(Duration::from_millis(1), Box::new(address(&asked.name, 300, 4))));
    let setup = Setup::new(mock.address()).more("[cache]\nsize = \"64KiB\"");
    let server = Server::start(&Folder::new(), &setup);
    (0..3).for_each(|_| assert!(server.a("popular.example").is_address("192.0.2.4")));
    for index in 0..1500 {
        server.a(&format!("random-{index}.example"));
    }
    assert!(server.a("random-0.example").is_address("192.0.2.4"));
    assert_eq!(mock.count("random-0.example"), 2, "the flood was larger than the cache");
    server.a("popular.example");
    assert_eq!(mock.count("popular.example"), 1);
}
