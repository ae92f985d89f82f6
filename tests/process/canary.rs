//! New versions of lists are tried on some clients: those of 127.0.1.0/24, against a running server.

use std::net::Ipv4Addr;
use std::sync::Arc;

use crate::support::client::{Ask, Reply, Udp, rtype};
use crate::support::mock::{Mock, Say};
use crate::support::server::{Folder, Ran, Server, Setup, eventually};
use crate::support::steady::Steady;

/// What the mock says.
const FREE: &str = "198.51.100.7";
/// A client on whom new versions are tried.
const CANARY: Ipv4Addr = Ipv4Addr::new(127, 0, 1, 5);

/// A list with a trial of this time, and more about it; and one without.
fn setup(mock: &Mock, time: &str, more: &str) -> Setup {
    let canary = format!("canary = {{ clients = [\"127.0.1.0/24\"], time = \"{time}\"{more} }}");
    Setup::new(mock.address())
        .list("feed", "feed.txt", &canary)
        .list("other", "other.txt", "")
        .more("[reload]\nquiet = \"100ms\"\n")
}

/// A server with the first version of its lists.
fn start(mock: &Mock, time: &str, more: &str) -> (Arc<Folder>, Server) {
    let folder = Folder::new();
    folder.write("feed.txt", "old.example\nboth.example\n");
    folder.write("other.txt", "other.example\n");
    let server = Server::start(&folder, &setup(mock, time, more));
    kept(&server, &folder, "old.example");
    (folder, server)
}

/// Waits until a copy with `text` in it is named below `state`.
fn kept(server: &Server, folder: &Folder, text: &str) {
    let holds = || {
        let lists = std::fs::read_dir(folder.path("state/lists")).into_iter().flatten().flatten();
        let copies = lists.flat_map(|list| std::fs::read_dir(list.path()).into_iter().flatten().flatten());
        let mut copies = copies.filter(|copy| copy.path().with_file_name("manifest.json").exists());
        copies.any(|copy| std::fs::read_to_string(copy.path()).is_ok_and(|content| content.contains(text)))
    };
    eventually(&format!("{text} is kept"), holds, || server.stderr());
}

/// What a canary client gets.
fn tried(server: &Server, name: &str) -> Reply {
    let reply = Udp::from(CANARY, server.udp[0]).ask(&Ask::new(name, rtype::A));
    reply.unwrap_or_else(|| panic!("no answer; it said:\n{}", server.stderr()))
}

/// Waits until canary clients get this address.
fn tried_comes_to(server: &Server, name: &str, address: &str) {
    let done = || tried(server, name).is_address(address);
    eventually(&format!("{name} gets {address} on trial"), done, || server.stderr());
}

/// Puts the second version into the source, and waits until it is tried.
fn change(folder: &Folder, server: &Server) {
    folder.replace("feed.txt", "new.example\nboth.example\n");
    tried_comes_to(server, "new.example", "0.0.0.0");
}

/// The canary clients have the second version, all others the first.
fn on_trial(server: &Server) {
    assert!(tried(server, "new.example").is_address("0.0.0.0") && tried(server, "old.example").is_address(FREE));
    assert!(server.a("new.example").is_address(FREE) && server.a("old.example").is_address("0.0.0.0"));
    for name in ["both.example", "other.example"] {
        assert!(tried(server, name).is_address("0.0.0.0") && server.a(name).is_address("0.0.0.0"), "{name}");
    }
}

#[test]
fn a_new_version_is_for_canary_clients_and_then_for_all() {
    let mock = Mock::fixed([198, 51, 100, 7]);
    let (folder, server) = start(&mock, "1h", "");
    let steady = Steady::expect(server.udp[0], "both.example", "0.0.0.0");
    assert!(tried(&server, "old.example").is_address("0.0.0.0"), "the first version is for all");
    change(&folder, &server);
    on_trial(&server);
    let shown = server.run(&["lists"]);
    assert!(shown.code == Some(0) && shown.stdout.contains("feed: canary until 2"), "{shown:?}");
    // Its time is over when the operator says that it was a second.
    let listen: Vec<String> = server.udp.iter().map(|address| format!("\"{address}\"")).collect();
    folder.replace("config.toml", setup(&mock, "1s", "").listen(&format!("[{}]", listen.join(", "))).text());
    server.comes_to("new.example", "0.0.0.0");
    server.says("the trial of a new version has ended, all have it: its time is over");
    for name in ["old.example", "new.example"] {
        let address = if name.starts_with("old") { FREE } else { "0.0.0.0" };
        assert!(tried(&server, name).is_address(address) && server.a(name).is_address(address), "{name}");
    }
    steady.was_never_wrong();
}

#[test]
fn an_operator_ends_the_trial_for_all_or_takes_the_version_back() {
    let mock = Mock::fixed([198, 51, 100, 7]);
    let (folder, server) = start(&mock, "1h", "");
    for verb in ["promote", "withdraw"] {
        let ran = server.run(&["lists", verb, "feed"]);
        assert!(ran.code == Some(2) && ran.stderr.contains("no version of \"feed\" is on trial"), "{ran:?}");
    }
    change(&folder, &server);
    let ran = server.run(&["lists", "withdraw", "feed", "--reason", "it blocks our bank"]);
    assert_eq!((ran.code, &*ran.stdout), (Some(0), "feed: its version on trial is withdrawn\n"), "{ran:?}");
    let first = |server: &Server| {
        for (name, address) in [("old.example", "0.0.0.0"), ("new.example", FREE)] {
            assert!(tried(server, name).is_address(address) && server.a(name).is_address(address), "{name}");
        }
    };
    first(&server);
    let ran = server.run(&["reload"]);
    assert!(ran.code == Some(1) && ran.stdout.contains("was withdrawn: it blocks our bank"), "{ran:?}");
    first(&server);
    server.stop();
    let server = Server::start_as_is(&folder);
    first(&server);
    let ran = server.run(&["lists", "promote", "feed", "--json"]);
    assert!(ran.code == Some(0) && ran.json()["lists"][0]["error"].is_null(), "{ran:?}");
    assert!(server.a("new.example").is_address("0.0.0.0") && server.a("old.example").is_address(FREE));
    // And one on trial.
    folder.replace("feed.txt", "third.example\n");
    tried_comes_to(&server, "third.example", "0.0.0.0");
    assert!(server.a("third.example").is_address(FREE));
    assert_eq!(server.run(&["lists", "promote", "feed"]).code, Some(0));
    assert!(server.a("third.example").is_address("0.0.0.0"));
}

#[test]
fn a_version_that_blocks_too_much_rolls_itself_back() {
    let mock = Mock::fixed([198, 51, 100, 7]);
    let (folder, server) = start(&mock, "1h", ", max_hits = \"50%\", min_queries = 40");
    change(&folder, &server);
    for _ in 0..30 {
        assert!(tried(&server, "old.example").is_address(FREE), "within its bounds it goes on");
    }
    let counted = || {
        let status = server.run(&["lists", "--json"]).json();
        let canary = &status["lists"][0]["canary"];
        (canary["queries"].as_u64(), canary["hits"].as_u64())
    };
    // Those in the moment in which it came into force count or not.
    let ask = || tried(&server, "old.example").is_address(FREE);
    eventually("queries are counted", || ask() && counted().0 >= Some(30), || server.stderr());
    let mut asked = 0;
    eventually(
        "it is rolled back",
        || {
            asked += 1;
            tried(&server, "new.example").is_address(FREE)
        },
        || server.stderr(),
    );
    assert!(asked > 2, "not before there were hits");
    server.says("queries of its canary clients, more than `max_hits` (50.00%)");
    assert!(server.a("old.example").is_address("0.0.0.0") && tried(&server, "old.example").is_address("0.0.0.0"));
    let shown = server.run(&["lists"]);
    assert!(shown.code == Some(1) && shown.stdout.contains("was withdrawn: it blocked"), "{shown:?}");
    // Another version is another trial.
    folder.replace("feed.txt", "better.example\nboth.example\n");
    tried_comes_to(&server, "better.example", "0.0.0.0");
    assert!(server.a("better.example").is_address(FREE));
    server.stop();
    let lists = folder.counters()["lists"].clone();
    let hits = |name: &str| {
        let mut lists = lists.as_array().expect("lists").iter();
        lists.find(|list| list["name"] == name).and_then(|list| list["blocked"].as_u64())
    };
    assert!(hits("feed (canary)") >= Some(20) && hits("feed") >= Some(2), "told apart: {lists}");
    assert!(folder.hits().iter().any(|hit| hit["client"] == "127.0.1.5" && hit["list"] == "feed"));
}

#[test]
fn a_trial_goes_on_after_a_crash_with_its_source_gone_or_rewritten() {
    let mock = Mock::fixed([198, 51, 100, 7]);
    let (folder, server) = start(&mock, "1h", "");
    change(&folder, &server);
    kept(&server, &folder, "new.example");
    server.kill();
    let server = Server::start_as_is(&folder);
    on_trial(&server);
    folder.replace("feed.txt", "<!DOCTYPE html><html>error 500</html>");
    server.says("a web page");
    on_trial(&server);
    server.kill();
    std::fs::remove_file(folder.path("feed.txt")).expect("removed");
    let server = Server::start_as_is(&folder);
    on_trial(&server);
    folder.write("feed.txt", "newer.example\nboth.example\n");
    tried_comes_to(&server, "newer.example", "0.0.0.0");
    assert!(tried(&server, "new.example").is_address(FREE));
    assert!(server.a("old.example").is_address("0.0.0.0") && server.a("newer.example").is_address(FREE));
    // Back to what all have.
    folder.replace("feed.txt", "old.example\nboth.example\n");
    tried_comes_to(&server, "old.example", "0.0.0.0");
    server.says("its source went back to the version all others have");
    assert!(tried(&server, "newer.example").is_address(FREE) && server.a("both.example").is_address("0.0.0.0"));
}

#[test]
fn answers_from_the_cache_do_not_pass_from_one_group_to_the_other() {
    let mock = Mock::start(|asked| match asked.name.as_str() {
        "alias.example" => Say::Cname("target.example".into(), [198, 51, 100, 7]),
        "freed.example" => Say::Cname("t.old.example".into(), [198, 51, 100, 7]),
        _ => Say::A([198, 51, 100, 7]),
    });
    let (folder, server) = start(&mock, "1h", "");
    assert!(
        server.a("alias.example").data(rtype::A) == [FREE] && tried(&server, "alias.example").data(rtype::A) == [FREE]
    );
    folder.replace("feed.txt", "target.example\nboth.example\n");
    tried_comes_to(&server, "target.example", "0.0.0.0");
    let free = |reply: &Reply| reply.data(rtype::A) == [FREE];
    let blocked = |reply: &Reply| reply.data(rtype::A) == ["0.0.0.0"];
    for round in 0..5 {
        assert!(free(&server.a("alias.example")), "{round}");
        assert!(blocked(&tried(&server, "alias.example")), "{round}");
        assert!(free(&tried(&server, "freed.example")), "{round}");
        assert!(blocked(&server.a("freed.example")), "{round}");
    }
}

#[test]
fn a_canary_that_cannot_work_is_refused_with_the_reason() {
    let folder = Folder::new();
    folder.write("feed.txt", "old.example\n");
    let mock = Mock::fixed([198, 51, 100, 7]);
    for (canary, keys, why) in [
        ("{ time = \"1h\" }", "", "`clients` is missing"),
        ("{ clients = [] }", "", "clients"),
        ("{ clients = [\"10.1.0.1/16\"] }", "", "bits are set behind the prefix"),
        ("{ clients = [\"10.1.0.0/16\"], time = \"100ms\" }", "", "time"),
        ("{ clients = [\"10.1.0.0/16\"], min_hits = \"6%\" }", "", "every version would be rolled back"),
        ("{ clients = [\"10.1.0.0/16\"] }", "role = \"allow\"", "an allow list blocks nothing"),
    ] {
        let setup = Setup::new(mock.address()).list("feed", "feed.txt", &format!("canary = {canary}\n{keys}"));
        let (code, said) = Server::refuses(&folder, &setup.text());
        assert!(code == Some(2) && said.contains(why), "{canary}: {said}");
    }
}

#[test]
fn why_tells_a_canary_client_from_others() {
    let mock = Mock::fixed([198, 51, 100, 7]);
    let (folder, server) = start(&mock, "1h", "");
    change(&folder, &server);
    kept(&server, &folder, "new.example");
    server.stop();
    for (client, new, old) in [("127.0.1.5", "blocked", "passed"), ("127.0.0.1", "passed", "blocked")] {
        for (name, verdict) in [("new.example", new), ("old.example", old)] {
            let ran = Ran::of(&folder, &["why", name, "--client", client]);
            assert!(ran.stdout.contains(&format!(" A: {verdict}")), "{client} {name}: {ran:?}");
        }
    }
}

#[test]
fn a_version_on_trial_has_its_number_and_is_no_version_to_go_back_to() {
    let mock = Mock::fixed([198, 51, 100, 7]);
    let (folder, server) = start(&mock, "1h", "");
    let marked = |server: &Server, number: u64, mark: &str| {
        let newest = || server.run(&["lists", "versions", "feed", "--json"]).json()["versions"][0].clone();
        let done = || (newest()["number"] == number, newest()["trial"] == mark) == (true, true);
        eventually(&format!("version {number} is {mark}"), done, || server.stderr());
    };
    change(&folder, &server);
    marked(&server, 2, "running");
    let lists = server.run(&["lists", "--json"]).json();
    assert_eq!((&lists["lists"][0]["version"], &lists["lists"][0]["canary"]["version"]), (&1.into(), &2.into()));
    let back = |server: &Server| server.run(&["lists", "rollback", "feed", "--reason", "a test"]);
    let ran = back(&server);
    assert!(ran.code == Some(2) && ran.stderr.contains("version 1 of list \"feed\" is its oldest"), "{ran:?}");
    assert_eq!(server.run(&["lists", "withdraw", "feed", "--reason", "a mistake"]).code, Some(0));
    marked(&server, 2, "withdrawn");
    let shown = server.run(&["lists", "versions", "feed"]).stdout;
    assert!(shown.lines().any(|line| line.starts_with("      2") && line.ends_with("withdrawn")), "{shown}");
    folder.replace("feed.txt", "third.example\nboth.example\n");
    tried_comes_to(&server, "third.example", "0.0.0.0");
    marked(&server, 3, "running");
    assert_eq!(server.run(&["lists", "promote", "feed"]).code, Some(0));
    marked(&server, 3, "passed");
    assert_eq!(back(&server).code, Some(0));
    assert!(server.a("old.example").is_address("0.0.0.0") && server.a("new.example").is_address(FREE));
    server.stop();
    // The log says all of it, by number.
    let log = Ran::of(&folder, &["audit", "export"]).stdout;
    let events: Vec<serde_json::Value> = log.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let of = |kind: &str, keys: [&str; 2]| -> Vec<String> {
        let events = events.iter().filter(|event| event["event"] == kind);
        events.map(|event| keys.map(|key| event[key].to_string()).join(" ")).collect()
    };
    assert_eq!(of("canary_started", ["version", "others"]), ["2 1", "3 1"]);
    assert_eq!(of("canary_ended", ["version", "outcome"]), ["2 \"rolled_back\"", "3 \"promoted\""]);
    assert_eq!(of("rolled_back", ["from", "to"]), ["3 1"], "version 2 was never for all");
    // And what canary clients had, which is not what all others had.
    let proof = Ran::of(&folder, &["audit", "name", "new.example", "--json"]).json();
    let periods = proof["periods"].as_array().expect("periods");
    assert!(periods.iter().all(|period| period["state"] != "enforced"), "{proof:#}");
    let tried: Vec<_> = periods.iter().filter(|period| period["canary"].is_array()).collect();
    assert_eq!(tried.len(), 1, "{proof:#}");
    let canary = &tried[0]["canary"][0];
    assert_eq!(
        (&canary["version"], &canary["state"], &canary["clients"]),
        (&2.into(), &"enforced".into(), &"127.0.1.0/24".into())
    );
    let shown = Ran::of(&folder, &["audit", "name", "old.example"]).stdout;
    assert!(shown.contains("for 127.0.1.0/24, with version 2 of list feed on trial: not enforced"), "{shown}");
}
