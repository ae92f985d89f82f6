//! `config.toml` changes like a list does; what is wrong with it is told, and what was in force stays.

use crate::support::client::rcode;
use crate::support::mock::Mock;
use crate::support::server::{Folder, Server, Setup, eventually};
use crate::support::steady::Steady;

#[test]
fn lists_answers_and_upstreams_change_without_a_restart() {
    let (one, two) = (Mock::fixed([198, 51, 100, 1]), Mock::fixed([198, 51, 100, 2]));
    let folder = Folder::new();
    folder.write("a.txt", "a.example\nalways.example\n");
    folder.write("b.txt", "b.example\n");
    let setup = Setup::new(one.address()).list("a", "a.txt", "");
    let server = Server::start(&folder, &setup);
    let change = |setup: Setup| folder.replace("config.toml", setup.text());
    let blocked = Steady::judge(server.udp[0], "always.example", |reply| {
        reply.is_address("0.0.0.0") || reply.rcode == rcode::NXDOMAIN || reply.is_address("192.0.2.9")
    });
    let free = Steady::judge(server.udp[0], "free.example", |reply| {
        reply.is_address("198.51.100.1") || reply.is_address("198.51.100.2")
    });

    change(setup.clone().more("[answer]\nmode = \"nxdomain\""));
    eventually("NXDOMAIN", || server.a("a.example").rcode == rcode::NXDOMAIN, || server.stderr());
    change(setup.clone().more("[answer]\nipv4 = [\"192.0.2.9\"]"));
    server.comes_to("a.example", "192.0.2.9");

    change(setup.clone().list("b", "b.txt", ""));
    server.blocks("b.example");
    server.blocks("a.example");
    // A file of a list that is new is watched like the others.
    folder.write("b.txt", "b2.example\n");
    server.blocks("b2.example");

    let elsewhere = Setup::new(two.address()).list("a", "a.txt", "");
    change(elsewhere.clone());
    server.comes_to("new.example", "198.51.100.2");
    server.comes_to("b2.example", "198.51.100.2");

    change(elsewhere.clone().server("allow_from = [\"127.0.0.0/8\", \"10.0.0.0/8\"]\nworkers = 1"));
    server.says("server.workers");
    server.says("restart");
    blocked.was_never_wrong();
    free.was_never_wrong();
}

#[test]
fn who_may_ask_changes_without_a_restart() {
    let mock = Mock::fixed([198, 51, 100, 7]);
    let folder = Folder::new();
    let setup = Setup::new(mock.address());
    let server = Server::start(&folder, &setup);
    assert!(server.a("free.example").is_address("198.51.100.7"));
    folder.write("config.toml", setup.clone().server("allow_from = [\"10.0.0.0/8\"]").text());
    eventually("REFUSED", || server.a("free.example").rcode == rcode::REFUSED, || server.stderr());
    folder.write("config.toml", setup.text());
    server.comes_to("free.example", "198.51.100.7");
}

#[test]
fn a_broken_configuration_changes_nothing_and_is_told_with_its_places() {
    let mock = Mock::fixed([198, 51, 100, 7]);
    let folder = Folder::new();
    folder.write("a.txt", "a.example\n");
    let setup = Setup::new(mock.address()).list("a", "a.txt", "");
    let server = Server::start(&folder, &setup);
    let steady = Steady::expect(server.udp[0], "a.example", "0.0.0.0");
    let broken = setup.clone().more("[answer]\nmode = \"sinkhol\"\nttl = 5\ncolour = \"red\"").text();
    let line = broken.lines().position(|line| line.contains("sinkhol\"")).expect("there") + 1;
    folder.replace("config.toml", &broken);
    server.says(&format!("config.toml:{line}:"));
    for word in ["sinkhole", "nxdomain", "colour", "ttl"] {
        assert!(server.stderr().contains(word), "{word}: {}", server.stderr());
    }
    // Lists are still looked after.
    folder.write("a.txt", "a.example\na2.example\n");
    server.blocks("a2.example");
    folder.replace("config.toml", "[[[\n");
    server.says("config.toml:1:");
    std::fs::remove_file(folder.path("config.toml")).expect("removed");
    server.says("restore the file");
    folder.write("config.toml", setup.more("[answer]\nmode = \"refused\"").text());
    eventually("REFUSED", || server.a("a.example").rcode == rcode::REFUSED, || server.stderr());
    steady.was_wrong_only_by(|seen| seen.contains("rcode 5"));
}
