//! What the gate holds, and operators who decide about it.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::mock::Mock;
use crate::support::server::{Folder, Ran, Server, Setup};

/// What the mock says.
const FREE: &str = "198.51.100.7";
/// The sinkhole.
const BLOCKED: &str = "0.0.0.0";
/// Nothing is found by the rescan.
const SLOW: &str = "[reload]\nquiet = \"100ms\"\nrescan = \"1h\"\n";

/// A feed with the traps of real ones.
const FEED: &str = "evil.example\nmyshopify.com\nus.com\nads.popular.example\nwww.ours.example\n";

/// A folder with the feed, and how a server is started on it.
fn feed(mock: &Mock) -> (Arc<Folder>, Setup) {
    let folder = Folder::new();
    folder.write("top.csv", "1,first.example\n2,popular.example\n");
    folder.write("feed.txt", FEED);
    let gate = "[gate]\nnever_block = [\"ours.example\"]\n[gate.popular]\nfile = \"top.csv\"\n";
    (folder, Setup::new(mock.address()).list("feed", "feed.txt", "").more(gate).more(SLOW))
}

/// The entries `held --json` tells, by whether they wait for a decision.
fn entries(ran: &Ran, open: bool) -> Vec<String> {
    let told = ran.json();
    let lists = told["lists"].as_array().expect("lists");
    let of_all = lists.iter().flat_map(|list| list["entries"].as_array().expect("entries"));
    let wanted = of_all.filter(|entry| entry["open"] == json!(open));
    wanted.map(|entry| entry["entry"].as_str().expect("a text").to_owned()).collect()
}

/// The numbers of a list in `lists --json`.
fn line(server: &Server) -> Value {
    server.run(&["lists", "--json"]).json()["lists"][0].clone()
}

/// Runs it, and sees that it did what it was told.
fn fine(server: &Server, args: &[&str]) -> Ran {
    let ran = server.run(args);
    assert_eq!((ran.code, &*ran.stderr), (Some(0), ""), "{args:?}: {ran:?}");
    ran
}

/// Runs it, and sees that it says why not.
fn refused(server: &Server, args: &[&str], says: &[&str]) {
    let ran = server.run(args);
    assert_eq!((ran.code, &*ran.stdout), (Some(2), ""), "{args:?}: {ran:?}");
    for text in says {
        assert!(ran.stderr.contains(text), "{text}: {ran:?}");
    }
}

#[test]
fn held_entries_are_shown_released_and_dismissed() {
    let mock = Mock::fixed([198, 51, 100, 7]);
    let (folder, setup) = feed(&mock);
    let server = Server::start(&folder, &setup);
    let ran = server.run(&["held"]);
    assert_eq!((ran.code, &*ran.stderr), (Some(1), ""), "{ran:?}");
    for text in [
        "feed: 4 entries held and not enforced",
        "us.com  feed.txt:3\n    held     a public suffix: anybody can have a name below it",
        "ads.popular.example  feed.txt:4\n    held     its domain is number 2 in top.csv",
        "www.ours.example  feed.txt:5\n    held     it would block ours.example",
        "    release  not possible: remove ours.example from never_block in [gate] if the block is meant",
        "qalqan release LIST ENTRY --reason TEXT",
    ] {
        assert!(ran.stdout.contains(text), "{text}: {}", ran.stdout);
    }
    let names = ["a.myshopify.com", "us.com", "ads.popular.example", "www.ours.example"];
    for name in names {
        assert!(server.a(name).is_address(FREE), "{name}");
    }
    assert_eq!((&line(&server)["held"], &line(&server)["entries"]), (&json!(4), &json!(5)));

    let ran = fine(&server, &["release", "feed", "MyShopify.com.", "ads.popular.example", "--reason", " order 7/26 "]);
    assert!(ran.stdout.contains("myshopify.com in list feed released: enforced from now on\n"), "{ran:?}");
    assert!(ran.stdout.contains("2 entries of the list still held"), "{ran:?}");
    // When the verb is back it is in force: the first answer says so.
    assert!(server.a("a.myshopify.com").is_address(BLOCKED) && server.a("ads.popular.example").is_address(BLOCKED));
    assert!(server.a("us.com").is_address(FREE));
    fine(&server, &["dismiss", "feed", "us.com", "--reason", "a mistake"]);
    fine(&server, &["dismiss", "feed", "www.ours.example", "--reason", "ours"]);
    let ran = fine(&server, &["held"]);
    assert_eq!(ran.stdout, "nothing waits for a decision\n");
    let ran = fine(&server, &["held", "feed", "--all"]);
    for text in ["2 released, 2 dismissed", "released by ", ": order 7/26\n", "dismissed by ", ": a mistake\n"] {
        assert!(ran.stdout.contains(text), "{text}: {ran:?}");
    }
    let user = decision(&folder, "us.com").expect("decided")["by"].clone();
    assert!(user.as_str().is_some_and(|user| !user.is_empty()), "{user}");
    assert_eq!(line(&server)["held"], json!(0));
    let log = fine(&server, &["audit", "export"]).stdout;
    let events: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let said = |event: &str| -> Vec<&Value> { events.iter().filter(|said| said["event"] == event).collect() };
    let (released, dismissed) = (said("released"), said("dismissed"));
    assert_eq!((released.len(), dismissed.len()), (2, 2), "{log}");
    assert_eq!((&released[0]["rule"], &released[0]["reason"]), (&json!("myshopify.com"), &json!("order 7/26")));
    assert_eq!(released[0]["by"], json!({ "kind": "cli", "name": user }));

    // The list is written anew and the server starts anew: what was decided holds.
    folder.replace("feed.txt", format!("more.example\n# another one\n{FEED}"));
    fine(&server, &["reload"]);
    assert!(server.a("more.example").is_address(BLOCKED) && server.a("a.myshopify.com").is_address(BLOCKED));
    server.stop();
    let server = Server::start(&folder, &setup);
    assert!(server.a("a.myshopify.com").is_address(BLOCKED) && server.a("us.com").is_address(FREE));
    assert_eq!(fine(&server, &["held"]).stdout, "nothing waits for a decision\n");

    let ran = fine(&server, &["undecide", "feed", "myshopify.com", "us.com"]);
    assert!(ran.stdout.contains("undecided"), "{ran:?}");
    assert!(server.a("a.myshopify.com").is_address(FREE));
    let ran = server.run(&["held", "--json"]);
    assert_eq!((ran.code, entries(&ran, true)), (Some(1), vec!["myshopify.com".into(), "us.com".into()]), "{ran:?}");
}

/// What decisions.json says of an entry.
fn decision(folder: &Folder, pattern: &str) -> Option<Value> {
    let saved: Value = serde_json::from_str(&folder.read("state/decisions.json")).expect("JSON");
    let all = saved["decisions"].as_array().expect("decisions").clone();
    all.into_iter().find(|decision| decision["pattern"] == pattern)
}

#[test]
fn what_cannot_be_decided_is_said_and_changes_nothing() {
    let mock = Mock::fixed([198, 51, 100, 7]);
    let (folder, setup) = feed(&mock);
    let server = Server::start(&folder, &setup);
    let reason = ["--reason", "because"];
    let with = |args: &[&'static str]| [args, &reason].concat();
    refused(&server, &with(&["release", "fed", "us.com"]), &["no list is called \"fed\"; there are feed"]);
    refused(
        &server,
        &with(&["release", "feed", "a.us.com"]),
        &["list feed has no held entry a.us.com; held are us.com"],
    );
    refused(&server, &with(&["release", "feed", "=us.com"]), &["no held entry =us.com; held are us.com"]);
    refused(
        &server,
        &with(&["release", "feed", "evil.example"]),
        &["evil.example is not held: no check holds feed.txt:1 of list feed"],
    );
    refused(
        &server,
        &with(&["release", "feed", "www.ours.example"]),
        &["www.ours.example cannot be released", "remove ours.example from never_block"],
    );
    refused(&server, &with(&["release", "feed", "no..name"]), &["no..name: not a name"]);
    refused(&server, &with(&["release", "feed", "--whole"]), &["no version of list feed is refused for its size"]);
    refused(&server, &["release", "feed", "us.com", "--reason", " "], &["a reason is needed"]);
    refused(&server, &["release", "feed", "us.com", "--reason", &"x".repeat(1001)], &["at most 1000 characters"]);
    refused(&server, &["release", "feed", "us.com", "--reason", "two\nlines"], &["one line"]);
    refused(&server, &["release", "feed", "us.com"], &["--reason"]);
    refused(&server, &["undecide", "feed", "us.com"], &["nothing is decided about us.com in list feed"]);
    refused(&server, &["held", "fed"], &["no list is called \"fed\""]);
    // One of several is wrong: none is released.
    refused(&server, &with(&["release", "feed", "us.com", "evil.example"]), &["nothing was decided"]);
    assert!(server.a("us.com").is_address(FREE));
    assert!(!folder.path("state/decisions.json").exists());
    let many: Vec<String> = (0..1001).map(|number| format!("n{number}.example")).collect();
    let mut args = vec!["release", "feed", "--reason", "x"];
    args.extend(many.iter().map(String::as_str));
    refused(&server, &args, &["at most 1000"]);
    // A file that cannot be read is not written over.
    folder.write("state/decisions.json", "half a file");
    refused(&server, &with(&["release", "feed", "us.com"]), &["cannot read the decisions"]);
    assert_eq!(folder.read("state/decisions.json"), "half a file");
    server.stop();
    let ran = Ran::of(&folder, &with(&["release", "feed", "us.com"]));
    assert!(ran.code == Some(2) && ran.stderr.contains("no server is running"), "{ran:?}");
}

#[test]
fn two_operators_at_once_lose_nothing() {
    let mock = Mock::fixed([198, 51, 100, 7]);
    let folder = Folder::new();
    let names: Vec<String> = (0..24).map(|number| format!("n{number}.popular{number}.example")).collect();
    let ranks: String = (0..24).map(|number| format!("{},popular{number}.example\n", number + 1)).collect();
    folder.write("top.csv", ranks);
    folder.write("feed.txt", names.join("\n"));
    let setup = Setup::new(mock.address()).list("feed", "feed.txt", "").more("[gate.popular]\nfile = \"top.csv\"\n");
    let server = Server::start(&folder, &setup.more(SLOW));
    let halves = names.split_at(12);
    thread::scope(|scope| {
        for (verb, half) in [("release", halves.0), ("dismiss", halves.1)] {
            let server = &server;
            scope.spawn(move || {
                for four in half.chunks(4) {
                    let mut args = vec![verb, "feed", "--reason", verb];
                    args.extend(four.iter().map(String::as_str));
                    fine(server, &args);
                }
            });
        }
    });
    assert_eq!(fine(&server, &["held"]).stdout, "nothing waits for a decision\n");
    for (half, verdict, answer) in [(halves.0, "released", BLOCKED), (halves.1, "dismissed", FREE)] {
        for name in half {
            assert_eq!(decision(&folder, name).expect("kept")["verdict"], verdict, "{name}");
            assert!(server.a(name).is_address(answer), "{name}");
        }
    }
}

#[test]
fn a_refused_version_is_taken_when_somebody_says_so() {
    let many = |count: usize| (0..count).map(|number| format!("n{number}.example\n")).collect::<String>();
    let mock = Mock::fixed([198, 51, 100, 7]);
    let folder = Folder::new();
    folder.write("feed.txt", many(1_000));
    let setup = Setup::new(mock.address()).list("feed", "feed.txt", "").more(SLOW);
    let server = Server::start(&folder, &setup);
    folder.replace("feed.txt", many(10_000));
    assert_eq!(server.run(&["reload"]).code, Some(1));
    let told = line(&server);
    assert_eq!((&told["state"], &told["entries"]), (&json!("refused"), &json!(1_000)));
    let version = told["refused"].as_str().expect("a hash").to_owned();
    let ran = server.run(&["held"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    for text in ["a version is refused", "from 1000 to 10000 entries", "qalqan release feed --whole", &version] {
        assert!(ran.stdout.contains(text), "{text}: {ran:?}");
    }
    // Another one than the one that was looked at is not taken.
    refused(&server, &["release", "feed", "--whole=0123", "--reason", "x"], &["another one by now", &version]);
    assert!(server.a("n5000.example").is_address(FREE));
    let begin = format!("--whole={}", &version[..8]);
    let ran = fine(&server, &["release", "feed", &begin, "--reason", "the register was joined with another"]);
    assert!(ran.stdout.contains(&format!("version {version} in list feed released")), "{ran:?}");
    assert!(server.a("n5000.example").is_address(BLOCKED));
    assert_eq!(line(&server)["state"], json!("current"));
    // Taken back, it stays until another one comes; the next one is compared with it.
    fine(&server, &["undecide", "feed", "--whole"]);
    assert!(server.a("n5000.example").is_address(BLOCKED));
    folder.replace("feed.txt", many(100));
    assert_eq!(server.run(&["reload"]).code, Some(1));
    fine(&server, &["release", "feed", "--whole", "--reason", "most were lifted"]);
    assert!(server.a("n99.example").is_address(BLOCKED) && server.a("n5000.example").is_address(FREE));
}

#[test]
fn without_a_server_held_reads_what_one_would() {
    let mock = Mock::fixed([198, 51, 100, 7]);
    let (folder, setup) = feed(&mock);
    folder.write("config.toml", setup.text());
    let ran = Ran::of(&folder, &["held", "--json"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stderr.contains("no server is running"), "{ran:?}");
    let open = ["myshopify.com", "us.com", "ads.popular.example", "www.ours.example"];
    let sorted = |mut names: Vec<String>| {
        names.sort();
        names
    };
    assert_eq!(sorted(entries(&ran, true)), sorted(open.map(str::to_owned).to_vec()));
    let server = Server::start(&folder, &setup);
    let all: Vec<&str> = ["dismiss", "feed", "--reason", "x"].into_iter().chain(open).collect();
    fine(&server, &all);
    server.stop();
    let ran = Ran::of(&folder, &["held"]);
    assert_eq!((ran.code, &*ran.stdout), (Some(0), "nothing waits for a decision\n"), "{ran:?}");
    let ran = Ran::of(&folder, &["held", "--all", "--json"]);
    assert_eq!((ran.code, entries(&ran, false).len()), (Some(0), 4), "{ran:?}");
}

#[test]
fn a_release_in_a_long_list_is_found_and_in_force_at_once() {
    let mock = Mock::fixed([198, 51, 100, 7]);
    let folder = Folder::new();
    // More are held than are told one by one; the last of them can be decided about all the same.
    let names: String = (0..12_000).map(|number| format!("n{number}.popular.example\n")).collect();
    folder.write("top.csv", "1,popular.example\n");
    folder.write("feed.txt", names);
    let setup = Setup::new(mock.address()).list("feed", "feed.txt", "").more("[gate.popular]\nfile = \"top.csv\"\n");
    let server = Server::start(&folder, &setup.more(SLOW));
    let told = server.run(&["held", "--json"]).json();
    assert_eq!((&told["lists"][0]["open"], entries_told(&told)), (&json!(12_000), 10_000));
    let shown: Vec<String> = entries(&server.run(&["held", "--json"]), true);
    let untold = (0..12_000).map(|number| format!("n{number}.popular.example")).find(|name| !shown.contains(name));
    let untold = untold.expect("one that is not told");
    let started = Instant::now();
    fine(&server, &["release", "feed", &untold, "--reason", "ordered"]);
    assert!(server.a(&untold).is_address(BLOCKED));
    // Not a measurement: a request must not wait for the next look at the sources, which is an hour away.
    assert!(started.elapsed() < Duration::from_secs(20));
    let ran = server.run(&["held"]);
    assert!(ran.stdout.contains("… and 1999 more"), "{}", &ran.stdout[ran.stdout.len() - 300..]);
}

/// How many entries a list tells one by one.
fn entries_told(told: &Value) -> usize {
    told["lists"][0]["entries"].as_array().map_or(0, Vec::len)
}
