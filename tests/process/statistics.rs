//! The store of statistics: what is blocked stands in it a moment later, and nothing that befalls it stops an answer.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use rusqlite::{Connection, OpenFlags};

use crate::support::client::{Ask, rtype};
use crate::support::mock::Mock;
use crate::support::server::{Folder, Ran, Server, Setup, eventually, repository, within};

/// Where it is.
const STORE: &str = "state/statistics.db";

/// A block list and an order.
fn lists(mock: &Mock) -> (Arc<Folder>, Setup) {
    let folder = Folder::new();
    folder.write("plain.txt", "plain.example\n");
    folder.write("shadow.txt", "shadow.example\n");
    let order = "id = \"7/25\"\nauthority = \"Agency\"\nlegal_basis = \"Law 1\"\ndomains = [\"ordered.example\"]\n";
    folder.write("orders/1.toml", order);
    let setup = Setup::new(mock.address()).list("orders", "orders", "").list("plain", "plain.txt", "").list(
        "shadow",
        "shadow.txt",
        "mode = \"shadow\"",
    );
    (folder, setup)
}

/// The answer to a question that has one number, if it can be had.
fn number(path: &Path, sql: &str) -> Option<i64> {
    let db = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).ok()?;
    db.query_row(sql, [], |row| row.get(0)).ok()
}

/// Hits that a store has.
fn hits(path: &Path) -> i64 {
    number(path, "SELECT coalesce(sum(hits), 0) FROM hits_by_day").unwrap_or(0)
}

/// Waits until a store has so many hits.
fn has(server: &Server, path: &Path, expected: i64) {
    let explain = || format!("{} hits; it said:\n{}", hits(path), server.stderr());
    eventually(&format!("{expected} hits in the store"), || hits(path) == expected, explain);
}

/// Asks for a blocked name.
fn ask(server: &Server, times: usize) {
    (0..times).for_each(|_| assert!(server.a("www.plain.example").is_address("0.0.0.0")));
}

#[test]
fn what_is_blocked_can_be_read_a_moment_later_with_the_shipped_configuration() {
    let mock = Mock::fixed([198, 51, 100, 7]);
    let (folder, setup) = lists(&mock);
    let server = Server::start(&folder, &setup);
    ask(&server, 3);
    for (name, qtype) in [("ordered.example", rtype::AAAA), ("shadow.example", rtype::A), ("free.example", rtype::A)] {
        server.ask(&Ask::new(name, qtype));
    }
    let path = folder.path(STORE);
    has(&server, &path, 5);
    let ask = |sql: &str| number(&path, sql);
    assert_eq!(ask("SELECT sum(hits) FROM hits_by_minute WHERE rule = 'plain.example' AND list = 'plain'"), Some(3));
    assert_eq!(ask("SELECT sum(attempts) FROM hits_by_hour WHERE rule = 'plain.example'"), Some(1));
    assert_eq!(ask("SELECT sum(hits) FROM hits_by_day WHERE outcome = 'shadow'"), Some(1));
    let order = "SELECT sum(hits) FROM order_hits_by_day WHERE number = '7/25' AND authority = 'Agency' AND legal_basis = 'Law 1'";
    assert_eq!(ask(order), Some(1));
    assert_eq!(ask("SELECT sum(hits) FROM kinds_by_day WHERE type = 'AAAA' AND answer = 'sinkhole'"), Some(1));
    let received = || ask("SELECT sum(value) FROM queries_by_hour WHERE metric = 'received'") == Some(6);
    eventually("all queries are counted", received, || server.stderr());
    assert_eq!(ask("SELECT count(*) FROM meta WHERE key = 'time_zone' AND value = 'UTC'"), Some(1));
    // Somebody's own tool, while it runs.
    if let Ok(shell) =
        Command::new("sqlite3").arg("-readonly").arg(&path).arg("SELECT sum(hits) FROM hits_by_day").output()
    {
        assert_eq!(String::from_utf8_lossy(&shell.stdout), "5\n", "{shell:?}");
    }
    server.stop();
    assert_eq!(ask("SELECT sum(hits) FROM minute"), Some(5), "folded at the end");
}

#[test]
fn nothing_is_lost_by_stopping_and_a_second_at_most_by_killing() {
    let mock = Mock::fixed([198, 51, 100, 7]);
    let (folder, setup) = lists(&mock);
    let path = folder.path(STORE);
    let server = Server::start(&folder, &setup);
    ask(&server, 50);
    server.stop();
    assert_eq!(hits(&path), 50, "all that was answered before the end");
    let server = Server::start_as_is(&folder);
    ask(&server, 30);
    has(&server, &path, 80);
    ask(&server, 20);
    server.kill();
    let left = hits(&path);
    assert!((80..=100).contains(&left), "{left}");
    let server = Server::start_as_is(&folder);
    ask(&server, 5);
    has(&server, &path, left + 5);
    assert_eq!(number(&path, "SELECT count(*) FROM run"), Some(3));
}

#[test]
fn a_damaged_store_is_moved_aside_and_said_so() {
    let mock = Mock::fixed([198, 51, 100, 7]);
    let (folder, setup) = lists(&mock);
    folder.write(STORE, vec![b'x'; 10_000]);
    let server = Server::start(&folder, &setup);
    ask(&server, 4);
    has(&server, &folder.path(STORE), 4);
    server.says("are damaged");
    let files = fs::read_dir(folder.path("state")).expect("listed").flatten();
    let aside: Vec<_> = files.filter(|file| file.file_name().to_string_lossy().contains(".damaged-")).collect();
    assert_eq!(aside.len(), 1);
    assert_eq!(fs::read(aside[0].path()).expect("read"), vec![b'x'; 10_000]);
    let lists = server.run(&["lists"]);
    assert!(lists.code == Some(1) && lists.stdout.contains("moved aside"), "{lists:?}");
}

#[test]
fn a_later_version_s_store_is_not_touched_and_gets_what_was_counted_meanwhile() {
    let mock = Mock::fixed([198, 51, 100, 7]);
    let (folder, setup) = lists(&mock);
    let path = folder.path(STORE);
    let server = Server::start(&folder, &setup);
    ask(&server, 2);
    server.stop();
    let set = |version: i64| {
        let db = Connection::open(&path).expect("opened");
        db.pragma_update(None, "user_version", version).expect("set");
    };
    set(99);
    let before = fs::read(&path).expect("read");
    let server = Server::start_as_is(&folder);
    ask(&server, 3);
    let spare = folder.path("state/statistics-v1.db");
    has(&server, &spare, 3);
    server.says("is a store of version 99");
    let status = server.run(&["lists", "--json"]).json();
    assert!(status["statistics"].as_str().is_some_and(|why| why.contains("version 99")), "{status}");
    server.stop();
    assert_eq!(fs::read(&path).expect("read"), before);
    set(1);
    let server = Server::start_as_is(&folder);
    ask(&server, 1);
    has(&server, &path, 6);
    assert!(!spare.exists());
}

#[test]
fn statistics_can_be_turned_off() {
    let mock = Mock::fixed([198, 51, 100, 7]);
    let (folder, setup) = lists(&mock);
    let server = Server::start(&folder, &setup.more("[stats]\nenabled = false"));
    ask(&server, 3);
    server.stop();
    assert!(!folder.path(STORE).exists());
    assert_eq!(folder.counters()["queries"]["blocked"], 3);
}

/// Starts a server that sees other file systems than we do; none if this machine does not allow that.
fn start_with_mounts(folder: &Arc<Folder>, setup: &Setup, mounts: &str) -> Option<Server> {
    let allowed = Command::new("unshare").args(["-rm", "mount", "-t", "tmpfs", "none", "/mnt"]).output();
    if !allowed.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: no file systems of one's own here");
        return None;
    }
    folder.write("config.toml", setup.text());
    fs::create_dir_all(folder.path("state")).expect("made");
    let mut command = within(folder, "unshare");
    let script = format!("{mounts} && exec \"$0\" serve --config config.toml");
    command.args(["-rm", "sh", "-c", &script, env!("CARGO_BIN_EXE_qalqan")]);
    Some(Server::start_by(folder, &mut command))
}

/// A path as the server sees it.
fn seen_by(server: &Server, name: &str) -> PathBuf {
    let path = server.folder.path(name);
    Path::new(&format!("/proc/{}/root", server.pid())).join(path.strip_prefix("/").expect("an absolute path"))
}

/// Waits until the store that only the server sees has so many hits. It is copied: SQLite takes no path through another
/// process.
fn has_inside(server: &Server, expected: i64) {
    let copy = server.folder.path("copy.db");
    let read = || {
        for end in ["", "-wal"] {
            let to = server.folder.path(&format!("copy.db{end}"));
            let _ = fs::copy(seen_by(server, &format!("{STORE}{end}")), to);
        }
        let _ = fs::remove_file(server.folder.path("copy.db-shm"));
        // Without its shared memory it is read by who may write it.
        let db = Connection::open(&copy).ok()?;
        db.query_row("SELECT sum(hits) FROM hits_by_day", [], |row| row.get::<_, Option<i64>>(0)).ok()?
    };
    eventually(
        &format!("{expected} hits"),
        || read() == Some(expected),
        || format!("{:?} {}", read(), server.stderr()),
    );
}

#[test]
fn a_full_disk_makes_counts_wait() {
    let mock = Mock::fixed([198, 51, 100, 7]);
    let (folder, setup) = lists(&mock);
    let Some(server) = start_with_mounts(&folder, &setup, "mount -t tmpfs -o size=4m none state") else { return };
    ask(&server, 2);
    has_inside(&server, 2);
    let filler = seen_by(&server, "state/filler");
    let _ = fs::write(&filler, vec![0; 5 << 20]).expect_err("it is full");
    // The log's last page may have room for some.
    let mut asked = 0;
    let waits = || {
        ask(&server, 1);
        asked += 1;
        server.stderr().contains("the disk is full; counting goes on")
    };
    eventually("it says that nothing can be written", waits, || server.stderr());
    ask(&server, 20);
    fs::remove_file(&filler).expect("removed");
    has_inside(&server, 22 + asked);
    server.says("are written again");
}

#[test]
fn a_file_that_cannot_be_written_makes_counts_wait() {
    let mock = Mock::fixed([198, 51, 100, 7]);
    let (folder, setup) = lists(&mock);
    folder.write(STORE, "");
    let mount = format!("mount --bind {STORE} {STORE} && mount -o remount,bind,ro {STORE}");
    let Some(server) = start_with_mounts(&folder, &setup, &mount) else { return };
    ask(&server, 7);
    server.says("cannot write the statistics");
    let lists = server.run(&["lists"]);
    assert!(lists.code == Some(1) && lists.stdout.contains("nothing can be written"), "{lists:?}");
    let pid = server.pid().to_string();
    let enter = ["-t", &pid, "-U", "-m", "--preserve-credentials", "umount"];
    let path = folder.path(STORE);
    let status = Command::new("nsenter").args(enter).arg(&path).status().expect("nsenter is there");
    assert!(status.success());
    ask(&server, 1);
    has(&server, &path, 8);
}

#[test]
fn without_a_database_of_time_zones_names_are_refused_and_offsets_are_not() {
    let folder = Folder::new();
    let check = |zone: &str| {
        folder.write("config.toml", format!("[stats]\ntime_zone = {zone:?}\n"));
        let script = "mount -t tmpfs none /usr/share/zoneinfo && exec \"$0\" check --config config.toml";
        let mut command = within(&folder, "unshare");
        command.args(["-rm", "sh", "-c", script, env!("CARGO_BIN_EXE_qalqan")]);
        command.output()
    };
    match check("+05:00") {
        Ok(output) if output.status.code() != Some(2) => {}
        other => {
            let allowed = Command::new("unshare").args(["-rm", "mount", "-t", "tmpfs", "none", "/mnt"]).output();
            assert!(!allowed.is_ok_and(|output| output.status.success()), "{other:?}");
            eprintln!("skipped: no file systems of one's own here");
            return;
        }
    }
    let output = check("Asia/Almaty").expect("it ran a moment ago");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(2) && said.contains("config.toml:2:13") && said.contains("tzdata"), "{said}");
    // With one they are known.
    folder.write("config.toml", "[stats]\ntime_zone = \"Asia/Almaty\"\n");
    let ran = Ran::of(&folder, &["check", "--config", "config.toml"]);
    assert!(!ran.stderr.contains("time_zone"), "{ran:?}");
}

#[test]
fn the_documented_views_are_those_of_the_schema() {
    let docs = fs::read_to_string(repository().join("docs/store.md")).expect("docs/store.md");
    let schema = fs::read_to_string(repository().join("src/store/schema.sql")).expect("the schema");
    for line in schema.lines() {
        let Some(view) = line.strip_prefix("CREATE VIEW ").and_then(|rest| rest.split([' ', '(']).next()) else {
            continue;
        };
        let internal = ["minute_all", "hour_all", "day_all"].contains(&view);
        assert!(internal || docs.contains(&format!("`{view}`")), "{view} is not in docs/store.md");
    }
}
