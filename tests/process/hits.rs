//! The hit log and the counters: what was answered, what was written and what was counted is the same.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;

use serde_json::{Value, json};

use crate::support::client::{Ask, Tcp, Udp, rtype};
use crate::support::mock::{Mock, dead_address};
use crate::support::server::{Folder, Server, Setup, eventually};

/// A folder with an order on `ordered.example` and `both.example`, and lists that block, drop and shadow.
fn lists(upstream: SocketAddr) -> (Arc<Folder>, Setup) {
    let folder = Folder::new();
    let order = "id = \"7/2025\"\nauthority = \"Agency\"\ndomains = [\n\"ordered.example\",\n\"both.example\"]\n";
    folder.write("orders/7.toml", order);
    folder.write("plain.txt", "# a comment\nplain.example\n=both.example\n");
    folder.write("dropped.txt", "dropped.example\n");
    folder.write("shadow.txt", "*.shadow.example\nplain.example\n");
    let setup = Setup::new(upstream)
        .list("orders", "orders", "")
        .list("plain", "plain.txt", "")
        .list("dropped", "dropped.txt", "answer = \"drop\"")
        .list("shadow", "shadow.txt", "mode = \"shadow\"");
    (folder, setup)
}

#[test]
fn a_line_says_who_asked_what_and_why_it_was_blocked() {
    let mock = Mock::fixed([198, 51, 100, 7]);
    let (folder, setup) = lists(mock.address());
    let server = Server::start(&folder, &setup);
    server.ask(&Ask::new("WWW.ordered.example", rtype::A));
    server.ask_tcp(&Ask::new("both.example", rtype::HTTPS));
    server.a("a.shadow.example");
    server.a("free.example");
    server.stop();
    let hits = folder.hits();
    assert_eq!(hits.len(), 3, "{hits:#?}");
    let of = |name: &str| hits.iter().find(|hit| hit["name"] == name).unwrap_or_else(|| panic!("{name}: {hits:#?}"));
    let expected = json!({
        "client": "127.0.0.1", "transport": "udp", "name": "www.ordered.example", "type": "A", "list": "orders",
        "rule": "ordered.example", "line": 4, "file": "orders/7.toml", "orders": ["7/2025"], "mode": "enforce",
        "answer": "sinkhole",
    });
    assert_eq!(without_time(of("www.ordered.example")), expected);
    let expected = json!({
        "client": "127.0.0.1", "transport": "tcp", "name": "both.example", "type": "HTTPS", "list": "orders",
        "rule": "both.example", "line": 5, "file": "orders/7.toml", "orders": ["7/2025"], "mode": "enforce",
        "answer": "sinkhole",
        "also": [{ "list": "plain", "rule": "=both.example", "line": 3, "file": "plain.txt", "orders": [] }],
    });
    assert_eq!(without_time(of("both.example")), expected);
    let expected = json!({
        "client": "127.0.0.1", "transport": "udp", "name": "a.shadow.example", "type": "A", "list": "shadow",
        "rule": "*.shadow.example", "line": 1, "file": "shadow.txt", "orders": [], "mode": "shadow",
        "answer": "passed",
    });
    assert_eq!(without_time(of("a.shadow.example")), expected);
}

/// A hit without its time, which must be one.
fn without_time(hit: &Value) -> Value {
    let mut hit = hit.clone();
    let time = hit.as_object_mut().and_then(|fields| fields.remove("time")).expect("a time");
    let time: jiff::Timestamp = time.as_str().and_then(|text| text.parse().ok()).expect("RFC 3339");
    let age = jiff::Timestamp::now().duration_since(time);
    assert!(!age.is_negative() && age.as_secs() < 3600, "{time} is now");
    hit
}

#[test]
fn as_much_of_the_client_is_written_as_allowed() {
    let written = |clients: &str| {
        let (folder, setup) = lists(dead_address());
        let server = Server::start(&folder, &setup.hits(&format!("clients = \"{clients}\"")));
        server.a("plain.example");
        server.a("x.plain.example");
        server.stop();
        let clients: BTreeSet<String> = folder.hits().iter().map(|hit| hit["client"].to_string()).collect();
        assert_eq!(clients.len(), 1, "one client: {clients:?}");
        clients.into_iter().next().expect("just counted")
    };
    assert_eq!(written("full"), "\"127.0.0.1\"");
    assert_eq!(written("truncate"), "\"127.0.0.0/24\"");
    assert_eq!(written("none"), "null");
    let hashes = [written("hash"), written("hash")];
    assert!(hashes.iter().all(|hash| hash.len() == 18 && !hash.contains('.')), "{hashes:?}");
    assert_ne!(hashes[0], hashes[1], "two runs cannot be joined");
}

#[test]
fn answers_lines_and_counters_agree_under_load_and_a_stop_loses_nothing() {
    const CLIENTS: usize = 4;
    const ROUNDS: usize = 500;
    let mock = Mock::fixed([198, 51, 100, 7]);
    let (folder, setup) = lists(mock.address());
    let server = Server::start(&folder, &setup);
    let (udp, tcp) = (server.udp[0], server.tcp[0]);
    let clients: Vec<_> = (0..CLIENTS).map(|client| thread::spawn(move || ask_around(udp, tcp, client))).collect();
    for client in clients {
        client.join().expect("the client is content");
    }
    server.stop();
    let each = CLIENTS * ROUNDS;
    let hits = folder.hits();
    let count = |field: &str, value: &str| hits.iter().filter(|hit| hit[field] == value).count();
    // Each round: orders once over UDP and once over TCP, plain once (which the shadow list has too), dropped once.
    assert_eq!([count("list", "orders"), count("list", "plain"), count("list", "dropped")], [2 * each, each, each]);
    assert_eq!([count("mode", "enforce"), count("mode", "shadow")], [4 * each, 2 * each]);
    assert_eq!([count("answer", "drop"), count("answer", "passed")], [each, 2 * each]);
    let counters = folder.counters();
    assert_eq!(counters["queries"]["blocked"], json!(4 * each), "{counters:#}");
    assert_eq!(counters["queries"]["shadow"], json!(2 * each), "{counters:#}");
    assert_eq!(counters["queries"]["received"], json!(6 * each), "{counters:#}");
    assert_eq!(counters["queries"]["forwarded"], json!(2 * each), "{counters:#}");
    let answers = counters["answers"].as_object().expect("a table");
    let answered: u64 = answers.values().filter_map(Value::as_u64).sum();
    assert_eq!((answered, &answers["drop"]), (4 * each as u64, &json!(each)), "{counters:#}");
    let list = |name: &str| {
        let lists = counters["lists"].as_array().expect("an array");
        let list = lists.iter().find(|list| list["name"] == name).expect("the list");
        [list["blocked"].clone(), list["shadow"].clone()]
    };
    assert_eq!(list("orders"), [json!(2 * each), json!(0)]);
    assert_eq!(list("plain"), [json!(each), json!(0)]);
    assert_eq!(list("shadow"), [json!(0), json!(2 * each)]);
    let log = &counters["hit_log"];
    assert_eq!(
        (&log["written"], &log["dropped_full"], &log["dropped_write"]),
        (&json!(hits.len()), &json!(0), &json!(0))
    );

    /// The queries of one client.
    fn ask_around(udp: SocketAddr, tcp: SocketAddr, client: usize) {
        let socket = Udp::to(udp);
        let mut stream = Tcp::to(tcp);
        for round in 0..ROUNDS {
            let ask = |name: &str| Ask::new(&format!("c{client}r{round}.{name}"), rtype::A);
            assert!(socket.ask(&ask("ordered.example")).expect("an answer").is_address("0.0.0.0"));
            assert!(stream.ask(&ask("ordered.example")).is_address("0.0.0.0"));
            assert!(socket.silent_about(&ask("dropped.example").bytes(), &ask("plain.example")));
            assert!(socket.ask(&ask("shadow.example")).expect("an answer").is_address("198.51.100.7"));
            assert!(socket.ask(&ask("free.example")).expect("an answer").is_address("198.51.100.7"));
        }
    }
}

#[test]
fn without_a_log_hits_are_counted_all_the_same() {
    let (folder, setup) = lists(dead_address());
    let server = Server::start(&folder, &setup.hits("file = \"\""));
    for _ in 0..3 {
        server.a("plain.example");
    }
    // Also without a stop: the file is never old.
    let blocked =
        || fs::read(folder.path("state/counters.json")).is_ok() && folder.counters()["queries"]["blocked"] == 3;
    eventually("counters.json says 3", blocked, || server.stderr());
    server.stop();
    assert!(!folder.path("hits.jsonl").exists());
    assert_eq!(folder.counters()["queries"]["blocked"], 3);
}

#[test]
fn rotation_loses_no_line() {
    let (folder, setup) = lists(dead_address());
    let server = Server::start(&folder, &setup.hits("max_size = \"1KiB\"\nkeep = 1000"));
    let socket = Udp::to(server.udp[0]);
    for index in 0..100 {
        assert!(socket.ask(&Ask::new(&format!("n{index}.plain.example"), rtype::A)).is_some());
    }
    server.stop();
    let mut names = BTreeSet::new();
    let mut files = 0;
    for entry in fs::read_dir(folder.path("")).expect("the folder").flatten() {
        let name = entry.file_name().into_string().expect("UTF-8");
        if !name.starts_with("hits") {
            continue;
        }
        files += 1;
        let text = folder.read(&name);
        assert!(text.len() <= 1024, "{name}: {} octets", text.len());
        for line in text.lines() {
            let hit: Value = serde_json::from_str(line).expect("JSON");
            if hit["mode"] == "enforce" {
                assert!(names.insert(hit["name"].to_string()), "twice: {line}");
            }
        }
    }
    assert_eq!(names.len(), 100);
    assert!(files > 10, "{files}");
}
