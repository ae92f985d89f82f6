//! A fleet and its ClickHouse: every hit there once, whatever stops, hangs or is killed on the way.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::support::clickhouse::{ClickHouse, Cutting, has, pause};
use crate::support::client::{Ask, rtype};
use crate::support::mock::dead_address;
use crate::support::server::{Folder, Ran, Server, Setup, eventually};

/// A server with two orders on one name, which ships to `address`.
fn member(address: SocketAddr, instance: &str, more: &str) -> (Arc<Folder>, Setup) {
    let folder = Folder::new();
    for (number, authority) in [("7/2025", "Agency"), ("8", "Court's \\ office")] {
        let file = format!("orders/{}.toml", &number[..1]);
        folder.write(
            &file,
            format!("id = \"{number}\"\nauthority = '''{authority}'''\nlegal_basis = \"art. 1\"\ndomains = [\"ordered.example\"]\n"),
        );
    }
    folder.write("plain.txt", "plain.example\n");
    folder.write("password", "secret\n");
    folder.write("key", "0123456789abcdef0123456789abcdef\n");
    let setup = Setup::new(dead_address()).list("orders", "orders", "").list("plain", "plain.txt", "").more(&format!(
        "[stats.clickhouse]\nurl = \"http://{address}/\"\nuser = \"qalqan\"\npassword_file = \"password\"\n\
         key_file = \"key\"\ninstance = \"{instance}\"\nbatch = {{ rows = 20, age = \"1s\" }}\ntimeout = \"2s\"\n{more}"
    ));
    (folder, setup)
}

/// Makes the tables, twice, as an operator may.
fn apply(folder: &Arc<Folder>, setup: &Setup) {
    folder.write("config.toml", setup.text());
    for _ in 0..2 {
        let ran = Ran::of(folder, &["ship", "apply"]);
        assert_eq!(ran.code, Some(0), "{ran:?}");
    }
}

/// Sends so many queries for a blocked name.
fn hits(server: &Server, name: &str, times: usize) {
    for _ in 0..times {
        server.a(name);
    }
}

/// Waits until so many hits are counted, and sees that each is there once.
fn counted(clickhouse: &ClickHouse, hits: u64) {
    let sum = || clickhouse.ask("SELECT sum(hits) FROM hits_hour WHERE batch = ''").parse().unwrap_or(0);
    // Four failures in a row take 15 s to get over.
    for _ in 0..3 {
        if sum() < hits {
            pause(Duration::from_secs(5));
        }
    }
    eventually("all hits are counted", || sum() >= hits, || format!("{} of {hits} are", sum()));
    assert_eq!(sum(), hits, "no more than there were");
    let rows = clickhouse.ask("SELECT count(), uniqExact(batch, row) FROM hits");
    assert_eq!(rows, format!("{hits}\t{hits}"));
}

/// A report of the fleet as JSON.
fn report(folder: &Arc<Folder>, more: &[&str]) -> Value {
    let args = ["report", "--from-clickhouse", "--from", "2020-01-01", "--format", "json", "--out", "report.json"];
    let ran = Ran::of(folder, &[&args, more].concat());
    assert_eq!(ran.code, Some(0), "{ran:?}");
    serde_json::from_str(&folder.read("report.json")).expect("JSON")
}

/// Two servers that report into one ClickHouse, and what a report says of them.
fn fleet_reports(clickhouse: &ClickHouse) {
    let (one, setup) = member(clickhouse.address, "ns1", "clients = \"full\"");
    apply(&one, &setup);
    let (two, other) = member(clickhouse.address, "ns2", "");
    let (first, second) = (Server::start(&one, &setup), Server::start(&two, &other));
    hits(&first, "www.ordered.example", 30);
    hits(&second, "ordered.example", 12);
    second.ask_tcp(&Ask::new("plain.example", rtype::AAAA));
    counted(clickhouse, 43);
    assert_eq!(clickhouse.ask("SELECT uniqExact(who), uniqExact(key) FROM hits"), "1\t1", "one client, one key");
    let clients = clickhouse.ask("SELECT server, any(client) FROM hits GROUP BY server ORDER BY server");
    assert_eq!(clients, "ns1\t127.0.0.1\nns2\t127.0.0.0/24");
    let row = "SELECT server, transport, name, target, type, answer, outcome, rule, list, orders, authorities, bases \
               FROM hits WHERE name LIKE 'www%' LIMIT 1";
    let expected = "ns1\tudp\twww.ordered.example\t\tA\tsinkhole\tblocked\tordered.example\torders\t\
                    ['7/2025','8']\t['Agency','Court\\'s \\\\ office']\t['art. 1','art. 1']";
    assert_eq!(clickhouse.ask(row).replace("\\\\'", "\\'").replace("\\\\\\\\", "\\\\"), expected);
    assert_eq!(
        clickhouse.ask("SELECT order, sum(hits) FROM order_hits_by_hour GROUP BY order ORDER BY order"),
        "7/2025\t42\n8\t42"
    );
    let told = report(&one, &[]);
    assert_eq!(told["source"], "fleet");
    let text = told.to_string();
    assert!(text.contains("ns1") && text.contains("ns2") && text.contains("art. 1"), "{text}");
    let filtered = report(&one, &["--order", "8", "--by", "day"]);
    let rows = filtered["rows"].as_array().unwrap_or_else(|| panic!("{filtered}"));
    assert!(!rows.is_empty() && rows.iter().all(|row| row["order"] == "8"), "{filtered:#}");
    assert_eq!(rows.iter().map(|row| row["hits"].as_u64().unwrap_or(0)).sum::<u64>(), 42, "{filtered:#}");
    let status = Ran::of(&one, &["ship", "status", "--json"]).json();
    assert_eq!((status["shipped"].as_u64(), status["waiting"].as_u64()), (Some(30), Some(0)), "{status}");
    let csv = ["report", "--from-clickhouse", "--from", "2020-01-01", "--format", "html", "--out", "report.html"];
    assert_eq!(Ran::of(&one, &csv).code, Some(0));
    let empty =
        ["report", "--from-clickhouse", "--from", "2020-01-01", "--to", "2020-01-02", "--format", "csv", "--out", "x"];
    let ran = Ran::of(&one, &empty);
    assert!(ran.code == Some(2) && ran.stderr.contains("no server of the fleet"), "{ran:?}");
}

#[test]
fn a_fleet_reports_into_one_clickhouse_of_debian() {
    let Some(clickhouse) = ClickHouse::debian() else { return };
    fleet_reports(&clickhouse);
}

#[test]
fn a_fleet_reports_into_the_current_engine() {
    let Some(clickhouse) = ClickHouse::current() else { return };
    fleet_reports(&clickhouse);
}

#[test]
fn answers_that_are_lost_do_not_make_duplicates() {
    let Some(clickhouse) = ClickHouse::debian() else { return };
    let cutting = Cutting::before(clickhouse.address, &[8, 12, 17]);
    let (folder, setup) = member(cutting.0, "ns1", "");
    let (_, direct) = member(clickhouse.address, "ns1", "");
    apply(&folder, &direct);
    let server = Server::start(&folder, &setup);
    hits(&server, "plain.example", 75);
    counted(&clickhouse, 75);
    let status = || Ran::of(&folder, &["ship", "status", "--json"]).json();
    eventually("all is confirmed", || status()["shipped"] == 75, || status().to_string());
    // An answer in two pieces may be whole before its second is cut, so not every cut is a failure.
    assert!(status()["failures"].as_u64() >= Some(2), "{}", status());
    counted(&clickhouse, 75);
}

#[test]
fn a_server_that_hangs_and_two_that_are_killed_lose_nothing_that_was_on_disk() {
    let Some(clickhouse) = ClickHouse::debian() else { return };
    let (folder, setup) = member(clickhouse.address, "ns1", "");
    apply(&folder, &setup);
    let server = Server::start(&folder, &setup);
    clickhouse.signal("STOP");
    hits(&server, "plain.example", 40);
    let status = || Ran::of(&folder, &["ship", "status", "--json"]);
    let waiting = || serde_json::from_str::<Value>(&status().stdout).ok()?["waiting"].as_u64();
    eventually("two batches are on disk", || waiting() == Some(40), || server.stderr());
    // A try under way lies in the stopped server's buffers; the process that made it is gone.
    server.kill();
    let server = Server::start_as_is(&folder);
    hits(&server, "plain.example", 20);
    eventually("three batches wait", || waiting() == Some(60), || server.stderr());
    server.says("cannot send hits to ClickHouse");
    clickhouse.signal("CONT");
    counted(&clickhouse, 60);
    eventually("none waits", || waiting() == Some(0), || server.stderr());
    assert!(!has(&folder.path("state/spool"), ".batch"));
    server.stop();
    counted(&clickhouse, 60);
}

#[test]
fn nothing_is_lost_when_clickhouse_is_not_there_and_its_absence_is_told() {
    let (folder, setup) = member(dead_address(), "ns1", "");
    let server = Server::start(&folder, &setup);
    hits(&server, "plain.example", 25);
    server.says("cannot send hits to ClickHouse");
    let said = server.stop();
    assert!(!said.contains("lost"), "{said}");
    assert!(has(&folder.path("state/spool"), "-20.batch") && has(&folder.path("state/spool"), "-5.batch"));
    let ran = Ran::of(&folder, &["ship", "status"]);
    assert!(ran.code == Some(1) && ran.stdout.contains("25 hits") && ran.stdout.contains("failing"), "{ran:?}");
    let ran = Ran::of(&folder, &["ship", "apply"]);
    assert!(ran.code == Some(2) && ran.stderr.contains("url"), "{ran:?}");
}

#[test]
fn a_key_that_is_none_keeps_it_from_starting() {
    let (folder, setup) = member(dead_address(), "ns1", "");
    folder.write("key", "short\n");
    let (code, said) = Server::refuses(&folder, &setup.text());
    assert!(code == Some(2) && said.contains("key_file"), "{said}");
    let ran = Ran::of(&folder, &["ship", "ddl", "--old"]);
    assert!(ran.code == Some(0) && ran.stdout.contains("SummingMergeTree") && !ran.stdout.contains("TTL"), "{ran:?}");
}
