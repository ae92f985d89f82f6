//! Kept versions of lists: rollback, pins, and what the audit log says of it all.

use std::fs;

use serde_json::{Value, json};

use crate::support::mock::Mock;
use crate::support::server::{Folder, Ran, Server, Setup, eventually};

/// The audit log's events, oldest first.
fn events(folder: &Folder) -> Vec<Value> {
    let ran = Ran::of(folder, &["audit", "export"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    ran.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// Waits until so many versions of list `a` are kept.
fn has_versions(server: &Server, count: usize) {
    let versions = || server.run(&["lists", "versions", "a", "--json"]).json()["versions"].as_array().map(Vec::len);
    eventually(&format!("{count} versions"), || versions() == Some(count), || server.stderr());
}

#[test]
fn a_bad_version_is_rolled_back_and_the_list_stays_there_until_it_is_unpinned() {
    let mock = Mock::fixed([198, 51, 100, 7]);
    let folder = Folder::new();
    folder.write("a.txt", "a.example\nb.example\n");
    let setup = Setup::new(mock.address()).list("a", "a.txt", "");
    let server = Server::start(&folder, &setup);
    has_versions(&server, 1);
    let ran = server.run(&["lists", "rollback", "a", "--reason", "x"]);
    assert!(ran.code == Some(2) && ran.stderr.contains("its oldest"), "{ran:?}");
    folder.write("a.txt", "a.example\nbank.example\n");
    server.blocks("bank.example");
    has_versions(&server, 2);

    let ran = server.run(&["lists", "diff", "a"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    for line in ["list a, version 1 to version 2", "+ bank.example", "- b.example", "in both: 1 rule"] {
        assert!(ran.stdout.contains(line), "{line}: {ran:?}");
    }
    let ran = server.run(&["lists", "rollback", "a", "--reason", " blocks a bank "]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.stdout.contains("version 1 is in force, 2 entries"), "{ran:?}");
    assert!(server.a("bank.example").is_address("198.51.100.7"), "in force when the command comes back");
    assert!(server.a("b.example").is_address("0.0.0.0"));
    let ran = server.run(&["lists"]);
    assert!(ran.code == Some(0) && ran.stdout.contains("current, pinned"), "{ran:?}");

    // Neither a new content nor a restart changes that.
    folder.write("a.txt", "c.example\n");
    assert_eq!(server.run(&["reload"]).code, Some(0));
    assert!(server.a("c.example").is_address("198.51.100.7"));
    server.kill();
    fs::remove_file(folder.path("a.txt")).expect("removed");
    let server = Server::start_as_is(&folder);
    assert!(server.a("b.example").is_address("0.0.0.0") && server.a("bank.example").is_address("198.51.100.7"));
    assert!(Ran::of(&folder, &["why", "b.example"]).stdout.contains("blocked"), "why says so too");

    folder.write("a.txt", "c.example\n");
    let ran = server.run(&["lists", "unpin", "a", "--reason", "mended"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(server.a("c.example").is_address("0.0.0.0") && server.a("b.example").is_address("198.51.100.7"));
    let ran = server.run(&["lists", "unpin", "a", "--reason", "again"]);
    assert!(ran.code == Some(2) && ran.stderr.contains("is not pinned"), "{ran:?}");
    has_versions(&server, 3);
    server.stop();

    let events = events(&folder);
    let of = |kind: &str| -> Vec<&Value> { events.iter().filter(|event| event["event"] == kind).collect() };
    let accepted: Vec<_> = of("list_accepted").iter().map(|event| event["version"].clone()).collect();
    assert_eq!(accepted, [1, 2, 3]);
    let back = of("rolled_back")[0];
    assert_eq!((&back["from"], &back["to"], &back["reason"]), (&json!(2), &json!(1), &json!("blocks a bank")));
    assert_eq!(back["by"]["kind"], "cli");
    assert_eq!(of("unpinned").len(), 1);
    assert_eq!((of("server_started").len(), of("server_stopped").len()), (2, 1), "one was killed");
    let published: Vec<_> = of("snapshot_published").iter().map(|event| event["lists"][0]["version"].clone()).collect();
    let mut steps = published.clone();
    steps.dedup();
    assert_eq!(steps, [1, 2, 1, 3], "what was in force, in order: {published:?}");
    assert_eq!(Ran::of(&folder, &["audit", "verify"]).code, Some(0));
}

#[test]
fn words_for_what_cannot_be_done() {
    let mock = Mock::fixed([198, 51, 100, 7]);
    let folder = Folder::new();
    folder.write("a.txt", "a.example\n");
    let setup = Setup::new(mock.address()).list("a", "a.txt", "");
    folder.write("config.toml", setup.text());
    let ran = Ran::of(&folder, &["lists", "rollback", "a", "--reason", "x"]);
    assert!(ran.code == Some(2) && ran.stderr.contains("no server is running"), "{ran:?}");
    let server = Server::start_as_is(&folder);
    has_versions(&server, 1);
    for (args, words) in [
        (&["lists", "rollback", "b", "--reason", "x"][..], "no list is called \"b\"; there are a"),
        (&["lists", "rollback", "a", "7", "--reason", "x"], "version 7"),
        (&["lists", "rollback", "a", "1", "--reason", " "], "a reason is needed"),
        (&["lists", "versions", "b"], "no list is called"),
        (&["lists", "diff", "a"], "only one version"),
    ] {
        let ran = server.run(args);
        assert!(ran.code == Some(2) && ran.stderr.contains(words), "{args:?}: {ran:?}");
    }
    assert!(server.a("a.example").is_address("0.0.0.0"));
}

#[test]
fn when_a_name_was_enforced_can_be_proved() {
    let mock = Mock::fixed([198, 51, 100, 7]);
    let folder = Folder::new();
    let order =
        |dates: &str, name: &str| format!("id = \"25/4\"\nauthority = \"Agency\"\n{dates}domains = [\"{name}\"]\n");
    folder.write("orders/1.toml", order("", "a.example"));
    folder.write("allow.txt", "good.a.example\n");
    let setup = Setup::new(mock.address()).list("a", "orders", "").list("allow", "allow.txt", "role = \"allow\"");
    let server = Server::start(&folder, &setup);
    has_versions(&server, 1);
    folder.write("orders/1.toml", order("revoked = 2020-01-01\n", "a.example"));
    server.comes_to("a.example", "198.51.100.7");
    has_versions(&server, 2);
    server.stop();

    let states = |name: &str| {
        let ran = Ran::of(&folder, &["audit", "name", name, "--json"]);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        let proof = ran.json();
        let periods = proof["periods"].as_array().expect("periods").clone();
        periods.iter().map(|p| p["state"].as_str().expect("a state").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(states("www.a.example"), ["enforced", "not_enforced", "no_server"]);
    assert_eq!(states("b.example"), ["not_enforced", "no_server"]);
    assert_eq!(states("good.a.example"), ["not_enforced", "no_server"]);
    let ran = Ran::of(&folder, &["audit", "name", "a.example"]);
    for text in ["list a version 1: a.example at orders/1.toml:3, order 25/4 of Agency", "(revoked)", "no server ran"] {
        assert!(ran.stdout.contains(text), "{text}: {ran:?}");
    }
    // Without the history nothing is claimed.
    fs::remove_dir_all(folder.path("state/history")).expect("removed");
    assert_eq!(states("a.example"), ["uncertain", "uncertain", "no_server"]);
}

#[test]
fn refusals_and_settings_are_written_down() {
    let mock = Mock::fixed([198, 51, 100, 7]);
    let folder = Folder::new();
    folder.write("a.txt", "a.example\n");
    folder.write("b.txt", "b.example\n");
    let setup = Setup::new(mock.address()).list("a", "a.txt", "");
    let server = Server::start(&folder, &setup.clone().list("b", "b.txt", ""));
    has_versions(&server, 1);
    folder.write("a.txt", "<!DOCTYPE html><html>error 500</html>");
    server.says("a web page");
    folder.write("config.toml", setup.text());
    server.comes_to("b.example", "198.51.100.7");
    server.stop();
    let events = events(&folder);
    let of = |kind: &str| -> Vec<&Value> { events.iter().filter(|event| event["event"] == kind).collect() };
    assert!(of("list_refused")[0]["reason"].as_str().expect("a text").contains("a web page"));
    assert_eq!(of("list_removed")[0]["list"], "b");
    let changed = of("config_changed");
    assert_eq!(changed.len(), 1, "{events:?}");
    assert_eq!(changed[0]["keys"]["sample"], json!(["list"]));
    assert_ne!(changed[0]["before_sha256"], changed[0]["after_sha256"]);
}
