//! `qalqan audit` from outside, the documentation's own way to prove a log, and a disk that is full.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use qalqan::audit::{self, Audit, By, Event, Options, Report, RuleVerdict};
use qalqan::util::Now;
use serde_json::Value;
use tempfile::TempDir;

/// 2026-01-31T23:59:59Z, in milliseconds.
const LATE: i64 = 1_769_903_999_000;

/// A folder with a configuration and a log of six events, two a second over midnight, in several files.
fn place() -> TempDir {
    let dir = tempfile::tempdir().expect("a folder");
    fs::write(dir.path().join("config.toml"), "state_dir = \"state\"\n").expect("written");
    let options = Options { segment: 700, ..Options::default() };
    let audit = Audit::with(&dir.path().join("state"), options, Now { unix_ms: LATE }).expect("opened");
    for number in 0..6 {
        audit.record(By::Cli("=ада".into()), event(number), Now { unix_ms: LATE + number * 500 });
    }
    assert_eq!((audit.status().written, audit.status().error), (6, None));
    assert!(fs::read_dir(log(&dir)).expect("a folder").count() > 2, "several files and a lock");
    dir
}

fn event(number: i64) -> Event {
    let (list, rule) = ("orders\u{2028}\u{85}".into(), format!("=n{number}.example").into());
    Event::Released(RuleVerdict { list, rule, reason: "said \"so\",\r\n\u{1b}[31mтізім".into() })
}

/// The folder of the log.
fn log(dir: &TempDir) -> PathBuf {
    dir.path().join("state/audit")
}

/// Runs the binary there: exit status, stdout, stderr.
fn run(dir: &Path, args: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_qalqan"));
    command.args(args).current_dir(dir).stdin(Stdio::null()).env_remove("NO_COLOR").env_remove("RUST_LOG");
    finish(command)
}

fn finish(mut command: Command) -> (i32, String, String) {
    let Output { status, stdout, stderr } = command.output().expect("it runs");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (status.code().unwrap_or(-1), text(stdout), text(stderr))
}

/// Replaces a text in the first file that has it.
fn edit(dir: &TempDir, from: &str, to: &str) {
    let mut files: Vec<PathBuf> = fs::read_dir(log(dir)).expect("a folder").flatten().map(|e| e.path()).collect();
    files.sort();
    let found = files.iter().find(|file| fs::read_to_string(file).is_ok_and(|text| text.contains(from)));
    let file = found.expect("there");
    fs::write(file, fs::read_to_string(file).expect("read").replacen(from, to, 1)).expect("written");
}

#[test]
fn a_whole_log_is_proven_and_a_changed_one_is_not() {
    let dir = place();
    let (code, out, err) = run(dir.path(), &["audit", "verify"]);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    let head = out.lines().find_map(|line| line.strip_prefix("head    ")).expect("a head").to_owned();
    assert!(out.starts_with("proven  6 events in ") && head.starts_with("6:"), "{out}");
    assert!(out.contains("from    2026-01-31T23:59:59.000Z\nto      2026-02-01T00:00:01.500Z\n"), "{out}");
    let (code, out, _) = run(dir.path(), &["audit", "verify", "--expect", &head, "--json"]);
    let proof: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!((code, &proof["proven"], &proof["events"]), (0, &true.into(), &6.into()), "{out}");
    assert_eq!(proof["expected"][0]["outcome"], "found");
    assert_eq!(format!("{}:{}", proof["head"]["seq"], proof["head"]["hash"].as_str().expect("a hash")), head);
    let other = format!("6:{}", "0".repeat(64));
    let (code, out, _) = run(dir.path(), &["audit", "verify", "--expect", &head, "--expect", &other]);
    assert!(code == 1 && out.contains("noted   event 6 is in the log") && out.contains("written anew"), "{out}");

    edit(&dir, "=n2.example", "=n9.example");
    let (code, out, _) = run(dir.path(), &["audit", "verify"]);
    assert!(code == 1 && out.starts_with("broken  ") && out.contains(".jsonl:"), "{out}");
    assert!(out.contains("the line was edited") && out.contains("before  2 events in "), "{out}");
    let (code, out, _) = run(dir.path(), &["audit", "verify", "--json"]);
    let proof: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!((code, &proof["proven"], &proof["broken"]["fault"]), (1, &false.into(), &"edited".into()), "{out}");
}

#[test]
fn what_cannot_be_read_or_makes_no_sense_is_told_apart() {
    let dir = tempfile::tempdir().expect("a folder");
    let (code, out, err) = run(dir.path(), &["audit", "verify"]);
    assert!(code == 2 && out.is_empty() && err.contains("--config FILE"), "{err}");
    fs::write(dir.path().join("config.toml"), "state_dir = \"state\"\n").expect("written");
    for verb in ["verify", "export"] {
        let (code, out, err) = run(dir.path(), &["audit", verb]);
        assert!(code == 2 && out.is_empty() && err.contains("there is no audit log in "), "{err}");
        assert!(run(dir.path(), &["audit", verb, "--help"]).1.contains("Examples:\n"), "{verb}");
    }
    assert!(!dir.path().join("state").exists(), "nothing is written");
    let wrong: [&[&str]; 6] = [
        &["audit"],
        &["audit", "verify", "--expect", "6"],
        &["audit", "export", "--from", "yesterday"],
        &["audit", "export", "--from", "2026-01-02", "--to", "2026-01-01"],
        &["audit", "export", "--format", "xml"],
        &["audit", "verify", "--folder", "x", "--config", "config.toml"],
    ];
    for args in wrong {
        assert_eq!(run(dir.path(), args).0, 2, "{args:?}");
    }
    let (_, man, _) = run(dir.path(), &["man"]);
    assert!(man.contains("qalqan audit verify") && man.contains("\\-\\-expect"), "{man}");
}

#[test]
fn events_of_a_time_come_as_they_stand() {
    let dir = place();
    let (code, all, err) = run(dir.path(), &["audit", "export"]);
    assert_eq!((code, err.as_str(), all.lines().count()), (0, "", 6));
    let mut whole = String::new();
    for number in 1..=6 {
        whole += &fs::read_to_string(log(&dir).join(format!("audit-{number:06}.jsonl"))).unwrap_or_default();
    }
    assert_eq!(all, whole);
    let seqs = |args: &[&str]| {
        let (code, out, err) = run(dir.path(), &[&["audit", "export"], args].concat());
        assert_eq!((code, err.as_str()), (0, ""));
        let seq = |line| serde_json::from_str::<Value>(line).expect("JSON")["seq"].as_u64().expect("a number");
        out.lines().map(seq).collect::<Vec<_>>()
    };
    assert_eq!(seqs(&["--to", "2026-01-31"]), [1, 2]);
    assert_eq!(seqs(&["--from", "2026-02-01", "--to", "2026-02-01"]), [3, 4, 5, 6]);
    assert_eq!(seqs(&["--from", "2026-02-01T04:59:59.500+05:00", "--to", "2026-02-01T00:00:00Z"]), [2, 3]);
    let copy = log(&dir);
    assert_eq!(seqs(&["--from", "2027-01-01", "--folder", copy.to_str().expect("UTF-8")]), [0; 0]);

    edit(&dir, "=n2.example", "=n9.example");
    let (code, out, err) = run(dir.path(), &["audit", "export"]);
    assert_eq!((code, out.lines().count()), (1, 6), "all of it, but with a warning");
    assert!(err.contains("the log was changed: ") && err.contains("edited"), "{err}");
}

#[test]
fn a_table_holds_the_same_and_no_formulas() {
    let dir = place();
    let (code, out, err) = run(dir.path(), &["audit", "export", "--format", "csv", "--to", "2026-01-31"]);
    assert_eq!((code, err.as_str()), (0, ""));
    let mut table = csv::Reader::from_reader(out.as_bytes());
    let header = ["seq", "time", "event", "by", "list", "order", "details", "hash"];
    assert_eq!(table.headers().expect("a header"), &header[..]);
    let rows: Vec<csv::StringRecord> = table.records().map(|row| row.expect("a row")).collect();
    assert_eq!(rows.len(), 2);
    assert_eq!([&rows[0][0], &rows[0][1], &rows[0][2]], ["1", "2026-01-31T23:59:59.000Z", "released"]);
    assert_eq!([&rows[1][3], &rows[1][4], &rows[1][5]], ["cli =ада", "orders\u{2028}\u{85}", ""]);
    let details: Value = serde_json::from_str(&rows[0][6]).expect("JSON");
    let expected = serde_json::json!({"rule": "=n0.example", "reason": "said \"so\",\r\n\u{1b}[31mтізім"});
    assert_eq!(details, expected);

    let dir = tempfile::tempdir().expect("a folder");
    let audit = Audit::open(&dir.path().join("state"), Now { unix_ms: LATE }).expect("opened");
    let order = audit::OrderChange {
        order: "=HYPERLINK(\"x\")".into(),
        authority: "a".into(),
        list: "@l".into(),
        reason: audit::Why::Effective,
        names: audit::NameSet::of(["x.example"]),
    };
    audit.record(By::Clock, Event::OrderInForce(order), Now { unix_ms: LATE });
    let args = ["audit", "export", "--folder", "state/audit", "--format", "csv"];
    let (code, out, _) = run(dir.path(), &args);
    assert!(code == 0 && out.contains(",'@l,\"'=HYPERLINK(\"\"x\"\")\","), "{out}");
}

/// What stands in a block of `docs/audit.md`.
fn documented(language: &str, with: &str) -> String {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/audit.md")).expect("docs/audit.md");
    let fence = format!("```{language}\n");
    let mut blocks = text.split(&fence).skip(1).filter_map(|rest| rest.split("```").next());
    blocks.find(|block| block.contains(with)).expect("the block").to_owned()
}

#[test]
fn the_documented_script_agrees_with_verify() {
    let script = documented("python", "hashlib");
    let python = |dir: &TempDir| {
        let mut command = Command::new("python3");
        command.args(["-c", &script, log(dir).to_str().expect("UTF-8")]);
        finish(command)
    };
    if Command::new("python3").arg("--version").output().is_err() {
        eprintln!("skipped: no python3");
        return;
    }
    let dir = place();
    let head = audit::verify(&log(&dir), &[]).expect("readable").head.expect("a head");
    let (code, out, err) = python(&dir);
    assert_eq!((code, out.trim_end()), (0, head.to_string().as_str()), "{err}");
    for (from, to, says) in [
        ("=n2.example", "=n9.example", "edited"),
        ("{\"seq\":4", "{\"seq\":5", "edited"),
        ("\"}\n{", "\"}\n\n{", "rror"),
    ] {
        let dir = place();
        edit(&dir, from, to);
        let (code, _, err) = python(&dir);
        assert!(code == 1 && err.contains(says), "{from}: {err}");
        assert!(audit::verify(&log(&dir), &[]).expect("readable").broken.is_some());
    }
    let dir = place();
    fs::remove_file(log(&dir).join("audit-000001.jsonl")).expect("removed");
    assert!(python(&dir).2.contains("expected"));
}

#[test]
fn the_documented_one_liner_gives_the_hash_of_a_line() {
    let dir = place();
    let mut command = Command::new("sh");
    command.args(["-c", &documented("sh", "sha256sum")]).current_dir(log(&dir));
    let (code, out, err) = finish(command);
    assert_eq!((code, err.as_str()), (0, ""));
    let first = fs::read_to_string(log(&dir).join("audit-000001.jsonl")).expect("read");
    let hash = out.split(' ').next().expect("a hash");
    assert!(first.lines().next().is_some_and(|line| line.ends_with(&format!(",\"hash\":\"{hash}\"}}"))), "{out}");
}

/// A child of the test below: writes until the limit on file sizes that its shell set, and leaves.
#[test]
fn child_that_fills_its_disk() {
    let Some(state) = std::env::var_os("QALQAN_TEST_FULL") else { return };
    let options = Options { waiting: 10, ..Options::default() };
    let audit = Audit::with(Path::new(&state), options, Now { unix_ms: LATE }).expect("opened");
    for number in 0..100 {
        audit.record(By::System, event(number), Now { unix_ms: LATE });
    }
    let status = audit.status();
    let all = status.written + status.waiting + status.lost;
    assert!(status.written > 0 && status.waiting == 10 && all == 100, "{status:?}");
    assert!(status.error.is_some_and(|error| error.contains("large")), "EFBIG");
}

#[test]
fn a_disk_that_fills_in_the_middle_of_a_line_leaves_whole_lines() {
    let dir = tempfile::tempdir().expect("a folder");
    let state = dir.path().join("state");
    let mut child = Command::new("sh");
    // Blocks of 512 or 1024 bytes; the signal would kill where a full disk only fails.
    child.args(["-c", "trap '' XFSZ; ulimit -f 6; exec \"$0\" --exact child_that_fills_its_disk"]);
    child.arg(std::env::current_exe().expect("this binary")).env("QALQAN_TEST_FULL", &state);
    let (code, out, err) = finish(child);
    assert!(code == 0 && out.contains("1 passed"), "{out}{err}");
    let proven = |report: &Report| report.is_proven() && report.recovered == 0;
    let report = audit::verify(&audit::folder(&state), &[]).expect("readable");
    assert!(proven(&report) && report.events > 0, "{report:?}");
    // With room again the next run goes on behind it.
    let audit = Audit::open(&state, Now { unix_ms: LATE }).expect("opened");
    audit.record(By::System, event(0), Now { unix_ms: LATE });
    let after = audit::verify(&audit::folder(&state), &[report.head.expect("a head")]).expect("readable");
    assert!(proven(&after) && after.events == report.events + 1, "{after:?}");
}

#[test]
fn every_event_is_documented_and_reads_back_as_it_was_written() {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/audit.md")).expect("docs/audit.md");
    for event in every_event() {
        let json = serde_json::to_value(&event).expect("JSON");
        assert_eq!(serde_json::from_value::<Event>(json.clone()).expect("an event"), event);
        for (field, value) in json.as_object().expect("an object") {
            let word = if field == "event" { value.as_str().expect("a name") } else { field };
            assert!(text.contains(&format!("`{word}`")), "docs/audit.md says nothing of {word}");
        }
    }
}

/// One of each kind.
fn every_event() -> Vec<Event> {
    use qalqan::audit::*;
    let sha256 = qalqan::util::Digest::of(b"x");
    let server = Server { version: "1".into(), config_sha256: sha256 };
    let names = Names::of(["a", "b"]);
    let order = OrderChange {
        order: "1/26".into(),
        authority: "a".into(),
        list: "l".into(),
        reason: Why::ListVersion,
        names: NameSet::of(["b", "a"]),
    };
    let verdict = RuleVerdict { list: "l".into(), rule: "r".into(), reason: "x".into() };
    let change = VersionChange { list: "l".into(), version: 2, sha256, reason: "x".into() };
    vec![
        Event::ServerStarted(server.clone()),
        Event::ServerStopped(server),
        Event::ConfigChanged(ConfigChange { before_sha256: sha256, after_sha256: sha256, keys: names.clone() }),
        Event::ListAccepted(AcceptedList {
            list: "l".into(),
            version: 2,
            source: "s".into(),
            before_sha256: None,
            after_sha256: sha256,
            entries_before: 1,
            entries: 2,
            added: names.clone(),
            removed: Names::default(),
            held: 3,
            rejected: 4,
        }),
        Event::ListRefused(RefusedList { list: "l".into(), source: "s".into(), sha256: None, reason: "x".into() }),
        Event::ListRemoved(RemovedList { list: "l".into(), version: Some(1), sha256: Some(sha256), entries: 5 }),
        Event::OrderInForce(order.clone()),
        Event::OrderLifted(order),
        Event::Held(HeldEntries::new("l", 2, 30, (0..30).map(|n| (format!("r{n}"), "popular")))),
        Event::Released(verdict.clone()),
        Event::Dismissed(verdict.clone()),
        Event::Undecided(verdict),
        Event::RolledBack(Rollback {
            list: "l".into(),
            from: 2,
            to: 1,
            before_sha256: sha256,
            after_sha256: sha256,
            entries_before: 9,
            entries: 8,
            reason: "x".into(),
        }),
        Event::Pinned(change.clone()),
        Event::Unpinned(change.clone()),
        Event::Promoted(change),
        Event::CanaryStarted(Canary {
            list: "l".into(),
            version: 2,
            sha256,
            others: Some(1),
            clients: names,
            seconds: 60,
            reason: "x".into(),
        }),
        Event::CanaryEnded(CanaryEnd {
            list: "l".into(),
            version: 2,
            outcome: CanaryOutcome::RolledBack,
            reason: "x".into(),
        }),
        Event::SnapshotPublished(Publication {
            generation: 7,
            lists: vec![ListInForce { name: "l".into(), version: None, sha256: None, mode: Mode::Shadow }],
        }),
        Event::ClientsChanged(ClientsChange { clients: "c".into(), blocks: 3, sha256 }),
        Event::FetchFailed(FailedFetch { list: "l".into(), source: "s".into(), reason: "x".into(), failures: 2 }),
        Event::Recovered(RecoveredTail { file: "f".into(), moved_to: "t".into(), bytes: 3, sha256 }),
        Event::Disturbed(Disturbed { file: "f".into(), what: "w".into() }),
        Event::Lost(LostEvents { events: 3, since: "t".into(), reason: "x".into() }),
    ]
}
