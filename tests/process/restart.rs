//! Starting, and starting again after the worst: never unfiltered, and every refusal says what to do.

use std::fs;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::PathBuf;

use crate::support::client::rcode;
use crate::support::mock::{Mock, dead_address};
use crate::support::server::{Folder, Server, Setup, eventually};
use crate::support::steady::Steady;

/// Starts, which must fail with code 2, and gives what it said.
fn refused(folder: &std::sync::Arc<Folder>, config: &str) -> String {
    let (code, said) = Server::refuses(folder, config);
    assert_eq!(code, Some(2), "{said}");
    assert!(!said.contains("panick"), "{said}");
    said
}

#[test]
fn killed_and_started_again_without_its_sources_it_enforces_the_last_good_ones() {
    let mock = Mock::fixed([198, 51, 100, 7]);
    let folder = Folder::new();
    folder.write("a.txt", "a.example\n");
    folder.write("orders/1.toml", "id = \"1\"\nauthority = \"Agency\"\ndomains = [\"ordered.example\"]\n");
    folder.write("allow.txt", "good.a.example\n");
    let setup = Setup::new(mock.address()).list("a", "a.txt", "").list("orders", "orders", "").list(
        "allow",
        "allow.txt",
        "role = \"allow\"",
    );
    let server = Server::start(&folder, &setup);
    folder.write("a.txt", "a.example\nlater.example\n");
    server.blocks("later.example");
    keeps(&server, "later.example");
    server.kill();
    fs::remove_file(folder.path("a.txt")).expect("removed");
    fs::remove_dir_all(folder.path("orders")).expect("removed");
    folder.write("allow.txt", "<!DOCTYPE html><html>error 500</html>");

    let server = Server::start_as_is(&folder);
    for name in ["a.example", "later.example", "ordered.example"] {
        assert!(server.a(name).is_address("0.0.0.0"), "{name}: {}", server.stderr());
    }
    assert!(server.a("good.a.example").is_address("198.51.100.7"), "what was allowed stays so");
    assert!(server.ask(&crate::support::client::Ask::new("ordered.example", 1).edns()).ede().is_some());
    for told in ["a.txt: no such file", "orders: no such file", "allow.txt is refused"] {
        server.says(told);
    }
    // The sources come back with something else.
    let steady = Steady::expect(server.udp[0], "a.example", "0.0.0.0");
    folder.write("a.txt", "a.example\nback.example\n");
    server.blocks("back.example");
    server.comes_to("later.example", "198.51.100.7");
    steady.was_never_wrong();
}

/// Waits until a list with `text` in it is kept below `state/lists`, which is a moment after it is enforced: the manifest
/// is written after the content it names, and then what it no longer names is removed.
fn keeps(server: &Server, text: &str) {
    let kept = || {
        let lists = fs::read_dir(server.folder.path("state/lists")).into_iter().flatten().flatten();
        lists.into_iter().any(|list| {
            let files = fs::read_dir(list.path()).into_iter().flatten().flatten().map(|file| file.path());
            let (manifests, copies): (Vec<_>, Vec<_>) = files.partition(|path| path.ends_with("manifest.json"));
            let has = |path: &PathBuf| fs::read_to_string(path).is_ok_and(|content| content.contains(text));
            manifests.len() == 1 && copies.len() == 1 && has(&copies[0])
        })
    };
    eventually(&format!("{text} is kept"), kept, || server.stderr());
}

#[test]
fn without_lists_and_without_a_copy_it_does_not_start() {
    let folder = Folder::new();
    folder.write("bad.txt", "<html><body>not a list</body></html>");
    let setup =
        Setup::new(dead_address()).list("gone", "gone.txt", "").list("bad", "bad.txt", "").list("dir", "orders", "");
    let said = refused(&folder, &setup.text());
    for text in ["gone.txt", "bad.txt", "a web page", "orders", "start_without_lists"] {
        assert!(said.contains(text), "{text}: {said}");
    }
    assert!(!folder.path("ready.json").exists());
}

#[test]
fn told_to_it_starts_without_lists_and_enforces_them_when_they_come() {
    let mock = Mock::fixed([198, 51, 100, 7]);
    let folder = Folder::new();
    let setup = Setup::new(mock.address()).top("start_without_lists = true").list("a", "lists/a.txt", "");
    let server = Server::start(&folder, &setup);
    assert!(server.a("a.example").is_address("198.51.100.7"));
    server.says("lists/a.txt: no such file");
    folder.write("lists/a.txt", "a.example\n");
    server.blocks("a.example");
    keeps(&server, "a.example");
    server.kill();
    fs::remove_file(folder.path("lists/a.txt")).expect("removed");
    let server = Server::start_as_is(&folder);
    assert!(server.a("a.example").is_address("0.0.0.0"), "the copy goes before nothing at all");
}

#[test]
fn an_empty_folder_is_a_list_without_orders() {
    let mock = Mock::fixed([198, 51, 100, 7]);
    let folder = Folder::new();
    fs::create_dir(folder.path("orders")).expect("a folder");
    let server = Server::start(&folder, &Setup::new(mock.address()).list("orders", "orders", ""));
    assert!(server.a("a.example").is_address("198.51.100.7"));
    folder.write("orders/1.toml", "id = \"1\"\nauthority = \"Agency\"\ndomains = [\"a.example\"]\n");
    server.blocks("a.example");
}

#[test]
fn every_problem_at_the_start_is_told_at_once() {
    let folder = Folder::new();
    let tcp = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let taken: SocketAddr = tcp.local_addr().expect("bound");
    folder.write("state", "a file where the folder should be");
    let config = Setup::new(dead_address())
        .listen(&format!("[\"{taken}\"]"))
        .hits("file = \"no/such/folder/hits.jsonl\"")
        .list("gone", "gone.txt", "")
        .more("[[zone]]\nname = \"lan.example\"\nfile = \"missing.zone\"");
    let said = refused(&folder, &config.text());
    let told =
        [&*taken.to_string(), "another program", "state", "no/such/folder/hits.jsonl", "gone.txt", "missing.zone"];
    for text in told {
        assert!(said.contains(text), "{text}: {said}");
    }
}

#[test]
fn an_occupied_port_is_named() {
    let folder = Folder::new();
    let udp = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let taken = udp.local_addr().expect("bound");
    let said = refused(&folder, &Setup::new(dead_address()).listen(&format!("[\"{taken}\"]")).text());
    assert!(said.contains(&format!("cannot listen on {taken} (UDP)")) && said.contains("listen"), "{said}");
    let said = refused(&folder, &Setup::new(dead_address()).listen("[\"192.0.2.123:5353\"]").text());
    assert!(said.contains("192.0.2.123:5353"), "{said}");
}

#[test]
fn a_second_server_on_the_same_port_does_not_start_and_the_first_goes_on() {
    let folder = Folder::new();
    folder.write("a.txt", "a.example\n");
    let first = Server::start(&folder, &Setup::new(dead_address()).list("a", "a.txt", ""));
    let listen = format!("[\"{}\"]", first.udp[0]);
    let said = refused(&Folder::new(), &Setup::new(dead_address()).listen(&listen).text());
    assert!(said.contains("cannot listen on"), "{said}");
    for _ in 0..50 {
        assert!(first.a("a.example").is_address("0.0.0.0"));
    }
}

#[test]
fn a_wrong_configuration_is_told_with_all_its_places() {
    let folder = Folder::new();
    let config = "stat_dir = \"x\"\n[server]\nlisten = [\"nowhere\"]\nworkers = -1\n[upstream]\nservers = []\n\
                  timeout = 2\n[answer]\nmode = \"sinkholes\"\n[[list]]\nname = \"a\"\n[[list]]\nname = \"b\"\nsource = \"b.txt\"\n\
                  format = \"host\"\n";
    let said = refused(&folder, config);
    for (line, word) in [
        (1, "stat_dir"),
        (3, "listen"),
        (4, "workers"),
        (6, "servers"),
        (7, "timeout"),
        (9, "sinkhole"),
        (10, "source"),
        (15, "hosts"),
    ] {
        assert!(said.contains(&format!("config.toml:{line}:")) && said.contains(word), "line {line}, {word}: {said}");
    }
    let said = refused(&folder, "[server\n");
    assert!(said.contains("config.toml:1:"), "{said}");
    assert!(!folder.path("state").exists(), "nothing is done before the configuration is right");
}

#[test]
fn a_missing_configuration_and_an_unwritable_ready_file_are_told() {
    let folder = Folder::new();
    let output =
        crate::support::server::binary(&folder).args(["serve", "--config", "none.toml"]).output().expect("run");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(2) && said.contains("none.toml"), "{said}");
    let config = Setup::new(dead_address()).text().replace("ready.json", "no/such/folder/ready.json");
    let said = refused(&folder, &config);
    assert!(said.contains("no/such/folder/ready.json"), "{said}");
}

#[test]
fn a_stop_and_a_start_leave_nothing_behind_that_hinders() {
    let mock = Mock::fixed([198, 51, 100, 7]);
    let folder = Folder::new();
    folder.write("a.txt", "a.example\n");
    let setup = Setup::new(mock.address()).list("a", "a.txt", "");
    let first = Server::start(&folder, &setup);
    let listen = format!("[\"{}\"]", first.udp[0]);
    first.a("a.example");
    first.stop();
    assert_eq!(folder.counters()["queries"]["blocked"], 1);
    let again = Server::start(&folder, &setup.listen(&listen));
    assert!(again.a("a.example").is_address("0.0.0.0"));
    assert_eq!(again.a("free.example").rcode, rcode::NOERROR);
    again.stop();
    assert_eq!(folder.hits().len(), 2, "the log goes on");
    assert_eq!(folder.counters()["queries"]["blocked"], 1, "counting starts anew");
}
