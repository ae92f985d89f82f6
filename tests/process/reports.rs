//! `stats` and `report`, on a store as a server would have left it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::sync::Arc;

use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::{Field, RowAccessor};
use serde_json::{Value, json};

use qalqan::util::Digest;

use crate::support::mock::Mock;
use crate::support::server::{Folder, Ran, Server, Setup, eventually, within};
use crate::support::statistics::{Book, Subject};

/// 2026-11-01T00:00Z, in minutes.
const START: i64 = 1_793_491_200 / 60;
/// The month of that day, as `report` takes it.
const MONTH: [&str; 5] = ["report", "--from", "2026-11-01", "--to", "2026-11-10"];

/// Three names on two orders and two lists, ten days of hits.
fn book() -> Book {
    let mut shadow = Subject::blocked("*.below.example", "second", &[]);
    shadow.outcome = "shadow";
    let mut both = Subject::blocked("=xn--90aoahqe0a.example", "first", &[("-7", "Agency"), ("8/1", "Court <b>&")]);
    both.lists.push("second".into());
    let one = Subject::blocked("one.example", "first", &[("-7", "Agency")]);
    let mut book = Book { subjects: vec![one, both, shadow], runs: vec![(START, START + 14_400)], ..Book::default() };
    for day in 0..10 {
        book.hit(0, START + day * 1440 + 61, 100 + day as u64, 40);
        book.hit(1, START + day * 1440 + 602, 7, 3);
    }
    book.hit(2, START + 1440, 4, 4);
    let day = START / 1440;
    book.sketches = vec![
        (day, "all", String::new(), String::new(), 1, 30),
        (day + 1, "all", String::new(), String::new(), 1, 20),
        (day, "rule", "one.example".into(), String::new(), 1, 28),
        (day, "rule", "=xn--90aoahqe0a.example".into(), String::new(), 1, 2),
        (day + 1, "rule", "=xn--90aoahqe0a.example".into(), String::new(), 1, 1),
        (day, "order", "-7".into(), "Agency".into(), 1, 29),
    ];
    book.kinds = vec![
        (START / 60 + 1, "blocked", "A", "sinkhole", "udp", 900),
        (START / 60 + 1, "blocked", "AAAA", "sinkhole", "tcp", 215),
        (START / 60 + 24, "shadow", "HTTPS", "passed", "udp", 4),
    ];
    book.totals = vec![(START, "received", 10_000), (START + 1, "received", 1190)];
    book
}

/// A folder with a configuration and this store.
fn folder(book: &Book) -> Arc<Folder> {
    let folder = Folder::new();
    let upstream = "127.0.0.1:9".parse().expect("an address");
    folder.write(
        "config.toml",
        Setup::new(upstream).list("first", "first.txt", "").list("second", "second.txt", "").text(),
    );
    folder.write("first.txt", "one.example\n");
    folder.write("second.txt", "below.example\n");
    fs::create_dir_all(folder.path("state")).expect("a folder");
    book.write(&folder.path("state/statistics.db"));
    folder
}

/// Runs `report` for the month with more arguments.
fn report(folder: &Folder, more: &[&str]) -> Ran {
    Ran::of(folder, &[&MONTH[..], more].concat())
}

#[test]
fn stats_shows_the_figures_of_a_time() {
    let folder = folder(&book());
    let told = Ran::of(&folder, &["stats", "--since", "2026-11-01", "--json"]).json();
    let all = &told["all"];
    assert_eq!((&all["hits"], &all["blocked"], &all["shadow"]), (&json!(1119), &json!(1115), &json!(4)), "{told}");
    assert_eq!((&all["attempts"], &all["names"], &all["clients"]), (&json!(434), &json!(3), &json!("30-50")));
    assert_eq!(told["queries"]["received"], json!(11_190));
    let keys = |what: &str| {
        let lines = told["top"][what]["lines"].as_array().expect("a ranking");
        lines
            .iter()
            .map(|line| (line["key"].as_str().unwrap_or("").to_owned(), line["hits"].as_u64().unwrap_or(0)))
            .collect::<Vec<_>>()
    };
    let told_as = |said: &[(&str, u64)]| said.iter().map(|&(key, hits)| (key.to_owned(), hits)).collect::<Vec<_>>();
    assert_eq!(keys("orders"), told_as(&[("-7", 1115), ("8/1", 70)]), "a hit counts under each of its orders");
    assert_eq!(keys("lists"), told_as(&[("first", 1115), ("second", 74)]));
    assert_eq!(
        keys("names"),
        told_as(&[("one.example", 1045), ("=xn--90aoahqe0a.example", 70), ("*.below.example", 4)])
    );
    assert_eq!(keys("types"), told_as(&[("A", 900), ("AAAA", 215), ("HTTPS", 4)]));
    let names = &told["top"]["names"]["lines"];
    assert_eq!((&names[1]["clients"], &names[1]["clients_low"]), (&json!("<5"), &Value::Null), "{names}");

    let text = Ran::of(&folder, &["stats", "--since", "2026-11-01"]);
    assert_eq!(text.code, Some(0), "{text:?}");
    assert!(text.stdout.contains("1,115  9.96 % of queries") && !text.stdout.contains('\u{1b}'), "{text:?}");
    let by = Ran::of(&folder, &["stats", "--since", "2026-11-01", "--by", "transport", "--limit", "1"]);
    assert!(by.stdout.contains("udp") && !by.stdout.contains("tcp") && by.stdout.contains("… and 1 more"), "{by:?}");
}

#[test]
fn a_table_has_a_row_for_each_name_and_order_and_no_formula() {
    let folder = folder(&book());
    let ran = report(&folder, &["--format", "csv", "--out", "r.csv"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let table = folder.read("r.csv");
    let lines: Vec<&str> = table.split("\r\n").collect();
    let span = "2026-11-01T00:00Z,2026-11-11T00:00Z";
    assert_eq!(
        lines[0],
        "from,to,name,order,authority,legal_basis,list,other_lists,outcome,hits,attempts,unexamined,clients,clients_low,clients_high,first_hit,last_hit,precision"
    );
    let expected = [
        format!("{span},*.below.example,,,,second,,shadow,4,4,0,,,,2026-11-02T00:00Z,2026-11-02T00:00Z,minute"),
        format!(
            "{span},'=xn--90aoahqe0a.example,'-7,Agency,Law 1,first,second,blocked,70,30,0,<5,,,2026-11-01T10:02Z,2026-11-10T10:02Z,minute"
        ),
        format!(
            "{span},'=xn--90aoahqe0a.example,8/1,Court <b>&,Law 1,first,second,blocked,70,30,0,<5,,,2026-11-01T10:02Z,2026-11-10T10:02Z,minute"
        ),
        format!(
            "{span},one.example,'-7,Agency,Law 1,first,,blocked,1045,400,0,28,28,28,2026-11-01T01:01Z,2026-11-10T01:01Z,minute"
        ),
    ];
    assert_eq!(lines[1..5], expected);
    assert_eq!(lines[5..], [""]);
    let sums = within(&folder, "sha256sum").args(["-c", "--strict", "r.csv.sha256"]).output().expect("sha256sum runs");
    assert!(sums.status.success(), "{sums:?}");
    let about: Value = serde_json::from_str(&folder.read("r.csv.about.json")).expect("JSON");
    assert_eq!(
        (&about["all"]["hits"], &about["row_count"], &about["attempt_seconds"]),
        (&json!(1119), &json!(4), &json!(60))
    );

    let ran = report(&folder, &["--order", "8/1", "--by", "day", "--format", "csv", "--out", "r.csv"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let table = folder.read("r.csv");
    assert_eq!(table.lines().count(), 11, "the old file is replaced: {table}");
    assert!(table.contains("2026-11-02T00:00Z,2026-11-03T00:00Z,'=xn--90aoahqe0a.example,8/1"), "{table}");
}

#[test]
fn the_same_statistics_give_the_same_bytes() {
    let folder = folder(&book());
    for format in ["csv", "json", "html", "parquet"] {
        let run = |out: &str| {
            let at = ["--generated-at", "2026-11-24T12:00:00Z", "--lang", "kk", "--format", format, "--out", out];
            let ran = report(&folder, &at);
            assert_eq!(ran.code, Some(0), "{ran:?}");
            fs::read(folder.path(out)).expect("read")
        };
        assert!(run("one") == run("two"), "{format}");
    }
}

#[test]
fn an_object_has_everything() {
    let folder = folder(&book());
    let ran = report(&folder, &["--format", "json", "--out", "r.json", "--by", "hour", "--lang", "ru"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let told: Value = serde_json::from_str(&folder.read("r.json")).expect("JSON");
    let rows = told["rows"].as_array().expect("rows");
    assert_eq!(rows.len(), 31);
    assert_eq!(rows[0]["from"], json!("2026-11-01T01:00Z"));
    let sum: u64 = rows.iter().filter_map(|row| row["hits"].as_u64()).sum();
    assert_eq!(sum, 1045 + 2 * 70 + 4);
    assert_eq!((&told["step"], &told["language"], &told["queries"]), (&json!("hour"), &json!("ru"), &json!(11_190)));
    assert_eq!(told["notes"].as_array().map(Vec::len), Some(10));
    assert_eq!(told["orders"][0]["legal_basis"], json!("Law 1"));
    assert_eq!(told["filter"], json!({ "order": null, "authority": null, "list": null }));
}

#[test]
fn a_page_needs_nothing_from_anywhere() {
    let folder = folder(&book());
    for (lang, title, note) in [
        ("en", "Report on queries for blocked names", "Fewer than 5 are shown as &lt;5"),
        ("ru", "Отчёт о запросах к заблокированным именам", "в течение 60 секунд"),
        ("kk", "Бұғатталған атауларға сұраулар туралы есеп", "60 секунд ішінде"),
    ] {
        let ran = report(&folder, &["--format", "html", "--out", "r.html", "--lang", lang]);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        let page = folder.read("r.html");
        assert!(page.starts_with("<!DOCTYPE html>") && page.contains(&format!("<html lang=\"{lang}\">")), "{lang}");
        for text in [title, note, "Court &lt;b&gt;&amp;", "=биткоин.example", "&lt;5", "<svg", "@media print"] {
            assert!(page.contains(text), "{lang}: no {text}\n{page}");
        }
        for bad in ["src=", "href=", "url(", "@import", "<script", "<b>&", "http://", "https://"] {
            assert!(!page.contains(bad), "{lang}: {bad}");
        }
    }
}

#[test]
fn columns_are_typed_and_read_back() {
    let folder = folder(&book());
    let ran = report(&folder, &["--format", "parquet", "--out", "r.parquet"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let file = SerializedFileReader::new(fs::File::open(folder.path("r.parquet")).expect("opened")).expect("Parquet");
    let about = file.metadata().file_metadata().key_value_metadata().cloned().unwrap_or_default();
    let about = about.iter().find(|pair| pair.key == "qalqan.about").and_then(|pair| pair.value.clone());
    let about: Value = serde_json::from_str(&about.expect("the head of the report")).expect("JSON");
    assert_eq!(about["all"]["hits"], json!(1119));
    let rows: Vec<_> = file.get_row_iter(None).expect("rows").map(|row| row.expect("a row")).collect();
    assert_eq!(rows.len(), 4);
    let names: Vec<&str> = rows.iter().map(|row| row.get_string(2).expect("a name").as_str()).collect();
    assert_eq!(names, ["*.below.example", "=xn--90aoahqe0a.example", "=xn--90aoahqe0a.example", "one.example"]);
    assert_eq!(rows[3].get_timestamp_millis(0).expect("a time"), START * 60_000);
    assert_eq!(rows[3].get_timestamp_millis(15).expect("a time"), (START + 61) * 60_000);
    assert_eq!((rows[3].get_long(9).expect("hits"), rows[3].get_long(13).expect("clients")), (1045, 28));
    let cells: Vec<_> = rows[0].get_column_iter().map(|(_, field)| field.clone()).collect();
    assert_eq!((&cells[3], &cells[13]), (&Field::Null, &Field::Null), "no order, no clients");
}

#[test]
fn what_makes_no_sense_is_told_and_leaves_no_file() {
    let folder = folder(&book());
    let fails = |args: &[&str], why: &str| {
        let ran = Ran::of(&folder, args);
        assert_eq!(ran.code, Some(2), "{ran:?}");
        assert!(ran.stderr.contains(why), "{why}: {ran:?}");
        let left: Vec<_> = fs::read_dir(folder.path(""))
            .expect("listed")
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .collect();
        assert!(!left.iter().any(|name| name.starts_with(".tmp-") || name.starts_with("r.csv")), "{left:?}");
    };
    let csv = ["--format", "csv", "--out", "r.csv"];
    let with = |more: &[&'static str]| [more, &csv[..]].concat();
    fails(
        &with(&["report", "--from", "2026-11-05", "--to", "2026-11-01"]),
        "--from is 2026-11-05T00:00Z, which is not before --to, 2026-11-02T00:00Z",
    );
    fails(
        &with(&["report", "--from", "2025-01-01", "--to", "2025-01-31"]),
        "no server counted from 2025-01-01T00:00Z to 2025-02-01T00:00Z: statistics begin 2026-11-01T00:00Z",
    );
    fails(&with(&["report", "--from", "1.11.2026"]), "not a time; write a day as 2026-01-31");
    fails(&[&MONTH[..], &["--order", "8/2"], &csv[..]].concat(), "there is no order 8/2; perhaps \"8/1\" is meant");
    fails(&[&MONTH[..], &["--authority", "Agancy"], &csv[..]].concat(), "perhaps \"Agency\" is meant");
    fails(&[&MONTH[..], &["--list", "frist"], &csv[..]].concat(), "there is no list frist; perhaps \"first\" is meant");
    fails(
        &[&MONTH[..], &["--format", "csv", "--out", "no/such/r.csv"]].concat(),
        "cannot write no/such/r.csv: No such file or directory",
    );
    fails(&[&MONTH[..], &["--format", "csv", "--out", "state"]].concat(), "state is a folder");
    // A full disk is a file that may not grow, as far as a program can tell. What SQLite needs is there already.
    let server = rusqlite::Connection::open(folder.path("state/statistics.db")).expect("opened");
    let _: i64 = server.query_row("SELECT count(*) FROM meta", (), |row| row.get(0)).expect("read");
    let qalqan = env!("CARGO_BIN_EXE_qalqan");
    let script = format!("trap '' XFSZ; ulimit -f 1; exec {qalqan} {} --format html --out r.csv", MONTH.join(" "));
    let full = Command::new("sh").args(["-c", &script]).current_dir(folder.path("")).output().expect("sh runs");
    let said = String::from_utf8_lossy(&full.stderr);
    assert!(full.status.code() == Some(2) && said.contains("cannot write r.csv: File too large"), "{full:?}");
    fails(&["stats", "--since", "2999-01-01"], "--since is in the future");
}

#[test]
fn an_order_nobody_asked_for_has_a_report_too() {
    let folder = folder(&book());
    folder.write("first.txt", "id = \"9\"\nauthority = \"Agency\"\ndomains = [\"nine.example\"]\n");
    folder.write("config.toml", folder.read("config.toml").replace("first.txt", "orders/"));
    folder.write("orders/9.toml", "id = \"9\"\nauthority = \"Agency\"\ndomains = [\"nine.example\"]\n");
    let ran = report(&folder, &["--order", "9", "--format", "csv", "--out", "r.csv"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.stdout.starts_with("r.csv: 0 rows, 0 hits, "), "{ran:?}");
    assert_eq!(folder.read("r.csv").lines().count(), 1);
}

#[test]
fn statistics_that_cannot_be_read_say_why() {
    let folder = folder(&book());
    let fails = |why: &str| {
        let ran = Ran::of(&folder, &["stats"]);
        assert!(ran.code == Some(2) && ran.stderr.contains(why), "{why}: {ran:?}");
    };
    let path = folder.path("state/statistics.db");
    fs::remove_file(&path).expect("removed");
    fails("there are no statistics yet: no state/statistics.db");
    Book { user_version: 99, ..book() }.write(&path);
    fails("state/statistics.db is of a newer version of qalqan (schema 99, this one knows 1)");
    fs::write(&path, "no database".repeat(1000)).expect("written");
    fails("state/statistics.db is damaged");
    fs::remove_file(&path).expect("removed");
    book().write(&path);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).expect("changed");
    // Root may read everything.
    if fs::File::open(&path).is_err() {
        fails("this user may not read it");
    }
}

#[test]
fn what_a_killed_server_counted_is_in_a_report() {
    let mock = Mock::fixed([198, 51, 100, 7]);
    let folder = Folder::new();
    folder.write("first.txt", "one.example\n");
    let server = Server::start(&folder, &Setup::new(mock.address()).list("first", "first.txt", ""));
    for name in ["one.example", "www.one.example", "one.example"] {
        assert!(server.a(name).is_address("0.0.0.0"));
    }
    server.a("free.example");
    let counted = || {
        let ran = server.run(&["stats", "--json"]);
        ran.code == Some(0) && ran.json()["all"]["hits"] == json!(3) && ran.json()["queries"]["received"] == json!(4)
    };
    eventually("it is counted", counted, || server.run(&["stats", "--json"]).stdout);
    let told = server.run(&["stats", "--json"]).json();
    assert_eq!(
        (&told["all"]["attempts"], &told["all"]["names"]),
        (&json!(1), &json!(1)),
        "one client, one rule: {told}"
    );
    server.kill();
    let yesterday = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(24);
    let from = yesterday.to_string().chars().take(10).collect::<String>();
    let ran = Ran::of(&folder, &["report", "--from", &from, "--format", "json", "--out", "r.json"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let told: Value = serde_json::from_str(&folder.read("r.json")).expect("JSON");
    let row = &told["rows"][0];
    assert_eq!(
        (&row["name"], &row["hits"], &row["list"]),
        (&json!("one.example"), &json!(3), &json!("first")),
        "{told}"
    );
    assert_eq!((&row["precision"], &row["order"]), (&json!("minute"), &Value::Null));
    let version = &told["lists_in_force"][0];
    assert_eq!(
        (&version["list"], &version["version"], &version["entries"]),
        (&json!("first"), &json!(1), &json!(1)),
        "{told}"
    );
    assert_eq!(version["sha256"], json!(Digest::of(b"one.example\n").to_string()));
    assert_eq!(told["servers_counted"].as_array().map(Vec::len), Some(1));
}
