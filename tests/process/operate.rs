//! Verbs that ask the running server.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::json;

use crate::support::mock::Mock;
use crate::support::server::{Folder, Ran, Server, Setup};

#[test]
fn lists_tells_what_is_in_force_whether_or_not_a_server_runs() {
    let mock = Mock::fixed([198, 51, 100, 7]);
    let folder = Folder::new();
    folder.write("a.txt", "a.example\nb.example\n");
    folder.write("allow.txt", "good.example\n");
    let setup = Setup::new(mock.address()).list("a", "a.txt", "mode = \"shadow\"");
    let before = Ran::of(&folder, &["lists"]);
    assert_eq!(before.code, Some(2), "{before:?}");
    let server = Server::start(&folder, &setup.list("allow", "allow.txt", "role = \"allow\""));
    let ran = server.run(&["lists", "--json"]);
    assert_eq!((ran.code, &*ran.stderr), (Some(0), ""), "{ran:?}");
    let status = ran.json();
    assert_eq!((&status["pid"], &status["generation"]), (&json!(server.pid()), &json!(1)));
    let lists = status["lists"].as_array().expect("lists");
    assert_eq!(
        (&lists[0]["name"], &lists[0]["mode"], &lists[0]["entries"]),
        (&json!("a"), &json!("shadow"), &json!(2))
    );
    assert_eq!((&lists[1]["role"], &lists[1]["state"]), (&json!("allow"), &json!("current")));
    let sha256 = lists[0]["files"][0]["sha256"].as_str().expect("a hash");
    assert!(sha256.len() == 64 && lists[0]["files"][0]["accepted"].as_i64() > Some(1_700_000_000));

    folder.write("a.txt", "<!DOCTYPE html><html>error 500</html>");
    server.says("a web page");
    let ran = server.run(&["lists"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    for text in ["last good", "a.txt is refused: a web page", "generation 1, published"] {
        assert!(ran.stdout.contains(text), "{text}: {ran:?}");
    }
    server.kill();
    let ran = Ran::of(&folder, &["lists"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stderr.contains("no server is running") && ran.stdout.contains("last good"), "{ran:?}");
}

#[test]
fn reload_comes_back_when_the_change_is_in_force() {
    let mock = Mock::fixed([198, 51, 100, 7]);
    let folder = Folder::new();
    folder.write("a.txt", "a.example\n");
    let slow = "[reload]\nquiet = \"60s\"";
    let server = Server::start(&folder, &Setup::new(mock.address()).list("a", "a.txt", "").more(slow));
    folder.replace("a.txt", "later.example\n");
    let ran = server.run(&["reload", "--json"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(server.a("later.example").is_address("0.0.0.0"), "{ran:?}");
    assert!(ran.json()["generation"].as_u64() >= Some(2), "{ran:?}");
}

#[test]
fn flush_forgets_what_was_cached() {
    let mock = Mock::fixed([198, 51, 100, 7]);
    let folder = Folder::new();
    folder.write("a.txt", "a.example\n");
    let server = Server::start(&folder, &Setup::new(mock.address()).list("a", "a.txt", ""));
    for name in ["www.free.example", "free.example", "other.example"] {
        assert!(server.a(name).is_address("198.51.100.7"));
    }
    let asked = mock.total();
    assert!(server.a("www.free.example").is_address("198.51.100.7") && mock.total() == asked, "it is cached");
    let ran = server.run(&["flush", "--subtree", "Free.example."]);
    assert_eq!((ran.code, &*ran.stdout), (Some(0), "2 cached answers forgotten\n"), "{ran:?}");
    for name in ["www.free.example", "free.example", "other.example"] {
        assert!(server.a(name).is_address("198.51.100.7"));
    }
    assert_eq!(mock.total(), asked + 2);
    let ran = server.run(&["flush", "no..name"]);
    assert!(ran.code == Some(2) && ran.stderr.contains("no..name"), "{ran:?}");
}

#[test]
fn the_control_socket_is_its_owners_and_a_folder_has_one_server() {
    let mock = Mock::fixed([198, 51, 100, 7]);
    let folder = Folder::new();
    folder.write("a.txt", "a.example\n");
    let setup = Setup::new(mock.address()).list("a", "a.txt", "");
    let server = Server::start(&folder, &setup);
    let socket = folder.path("state/control.sock");
    let mode = fs::metadata(&socket).expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let (code, said) = Server::refuses(&folder, &setup.text());
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("another server uses the state folder"), "{said}");
    assert!(server.run(&["lists"]).code == Some(0), "the first goes on");
    server.stop();
    assert!(!socket.exists());
}
