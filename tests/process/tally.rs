//! What is counted of hits: every one of them, at full load too; and attempts.

use std::net::Ipv4Addr;
use std::process::Command;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::support::client::{Ask, Tcp, Udp, rtype};
use crate::support::mock::Mock;
use crate::support::server::{Folder, Server, Setup, eventually};

/// Lists of every outcome.
fn lists(mock: &Mock) -> (Arc<Folder>, Setup) {
    let folder = Folder::new();
    folder.write("allow.txt", "good.plain.example\n");
    folder.write("plain.txt", "plain.example\ndropped.example\n");
    folder.write("shadow.txt", "shadow.example\n");
    let setup = Setup::new(mock.address())
        .list("allow", "allow.txt", "role = \"allow\"")
        .list("plain", "plain.txt", "")
        .list("shadow", "shadow.txt", "mode = \"shadow\"");
    (folder, setup)
}

/// Asserts that hits are as many as the exact counters of queries say, by outcome.
fn agree(counters: &Value) {
    for outcome in ["blocked", "shadow", "excepted"] {
        assert_eq!(counters["hits"][outcome], counters["queries"][outcome], "{outcome}: {counters:#}");
    }
}

#[test]
fn retries_and_types_are_one_attempt_of_a_client_and_exceptions_are_hits_without_lines() {
    let mock = Mock::fixed([198, 51, 100, 7]);
    let (folder, setup) = lists(&mock);
    let server = Server::start(&folder, &setup);
    for client in 1..=3 {
        let socket = Udp::from(Ipv4Addr::new(127, 0, 9, client), server.udp[0]);
        for name in ["plain.example", "www.plain.example", "shadow.example", "x.good.plain.example"] {
            for qtype in [rtype::A, rtype::AAAA, rtype::HTTPS, rtype::A] {
                assert!(socket.ask(&Ask::new(name, qtype)).is_some());
            }
        }
    }
    let mut stream = Tcp::to(server.tcp[0]);
    (0..5).for_each(|_| drop(stream.ask(&Ask::new("plain.example", rtype::A))));
    let counted = || folder.path("state/counters.json").exists() && folder.counters()["hits"]["blocked"] == 29;
    eventually("counts while it runs", counted, || server.stderr());
    server.stop();
    let counters = folder.counters();
    agree(&counters);
    let hits = &counters["hits"];
    assert_eq!([&hits["blocked"], &hits["shadow"], &hits["excepted"]], [&json!(29), &json!(12), &json!(12)]);
    // Three clients of three rules, and one more over TCP.
    assert_eq!([&hits["attempts"], &hits["unexamined"]], [&json!(10), &json!(0)], "{counters:#}");
    assert_eq!(folder.hits().len(), 41, "no lines of exceptions");
}

#[test]
fn at_full_load_blocked_answers_sent_are_hits_counted() {
    let mock = Mock::fixed([198, 51, 100, 7]);
    let (folder, setup) = lists(&mock);
    let server = Server::start(&folder, &setup);
    let names: String = (0..2000).map(|at| format!("host{at}.plain.example {}\n", ["A", "AAAA"][at % 2])).collect();
    folder.write("queries.txt", names);
    let mut load = Command::new("dnsperf");
    load.args(["-s", "127.0.0.1", "-p", &server.udp[0].port().to_string(), "-l", "2", "-c", "8", "-q", "400", "-d"]);
    let output = match load.arg(folder.path("queries.txt")).output() {
        Ok(output) => String::from_utf8_lossy(&output.stdout).into_owned(),
        Err(error) => {
            assert!(std::env::var_os("CI").is_none(), "CI must have dnsperf: {error}");
            return eprintln!("skipped: no dnsperf here: {error}");
        }
    };
    // What did not come in, or whose answer was lost in a socket, dnsperf does not know to tell apart.
    let number = |what: &str| -> u64 {
        let line = output.lines().find(|line| line.contains(what)).unwrap_or_else(|| panic!("{what}: {output}"));
        line.split_whitespace().nth(2).and_then(|word| word.parse().ok()).unwrap_or_else(|| panic!("{line}"))
    };
    let (sent, completed) = (number("Queries sent:"), number("Queries completed:"));
    server.stop();
    let counters = folder.counters();
    agree(&counters);
    let blocked = counters["hits"]["blocked"].as_u64().expect("a number");
    assert!(completed > 1000 && completed <= blocked && blocked <= sent, "{completed} ≤ {blocked} ≤ {sent}");
    if completed == sent {
        assert_eq!(blocked, completed);
    }
    let log = &counters["hit_log"];
    let lines = ["written", "dropped_full", "dropped_write"].map(|key| log[key].as_u64().expect("a number"));
    assert_eq!(lines.iter().sum::<u64>(), blocked, "{counters:#}");
    assert!(counters["hits"]["attempts"].as_u64().is_some_and(|attempts| attempts <= 1), "one client, one rule");
}
