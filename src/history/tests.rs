//! What is kept, what goes, and what damage shows.

use std::collections::BTreeMap;
use std::fs;

use proptest::prelude::*;

use super::*;
use crate::util::{Digest, slug};

const LIST: &str = "../Тізім/..";
const PLENTY: Limits = Limits { versions: 100, bytes: 1 << 30 };

/// A version of these files, with contents that are read only if they are asked for.
fn keep(history: &History, files: &[(&str, &str)], at: i64) -> Result<Version, HistoryError> {
    let contents: BTreeMap<Digest, Vec<u8>> =
        files.iter().map(|(_, text)| (Digest::of(text.as_bytes()), text.as_bytes().to_vec())).collect();
    let entry = |(file, text): &(&str, &str)| FileEntry {
        file: (*file).into(),
        sha256: Digest::of(text.as_bytes()),
        size: text.len() as u64,
    };
    let accepted = Accepted {
        source: "lists".into(),
        by: "file lists/a".into(),
        counts: Counts { entries: files.len() as u64, ..Counts::default() },
        files: files.iter().map(entry).collect(),
    };
    history.record(LIST, accepted, UnixTime(at), &mut |file| {
        Ok(Box::new(io::Cursor::new(contents[&file.sha256].clone())) as Box<dyn Read>)
    })
}

fn numbers(history: &History) -> Vec<u64> {
    let versions = history.versions(LIST).expect("listed");
    assert!(versions.damaged.is_empty(), "{:?}", versions.damaged);
    versions.whole.iter().map(|version| version.number).collect()
}

/// Names of what lies in the list's folder.
fn there(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(dir.join("history").join(slug(LIST)))
        .expect("a folder")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8"))
        .collect();
    names.sort();
    names
}

fn pin(number: u64) -> Pin {
    Pin { number, since: jiff::Timestamp::UNIX_EPOCH, by: "cli ада".into(), reason: "a mistake".into() }
}

#[test]
fn every_version_comes_back_as_it_was() {
    let dir = tempfile::tempdir().expect("a folder");
    let history = History::new(dir.path(), PLENTY);
    assert!(numbers(&history).is_empty());
    let first = keep(&history, &[("b", "two\n"), ("../a", "one\n")], 7).expect("kept");
    let second = keep(&history, &[("../a", "one\n"), ("b", "three\n")], 8).expect("kept");
    assert_eq!(first.what.files[0].file, "../a", "sorted, and never a path");
    assert_eq!((first.number, second.number, first.accepted.as_second()), (1, 2, 7));
    let again = History::new(dir.path(), PLENTY);
    assert_eq!(again.versions(LIST).expect("listed").whole, [first.clone(), second.clone()]);
    assert_eq!(again.version(LIST, 2).expect("read"), second);
    let texts = |version: &Version| {
        let files = version.what.files.iter();
        files.map(|file| String::from_utf8(again.bytes(LIST, file).expect("whole")).expect("UTF-8")).collect::<Vec<_>>()
    };
    assert_eq!(
        (texts(&first), texts(&second)),
        (vec!["one\n".into(), "two\n".into()], vec!["one\n".into(), "three\n".into()])
    );
    assert_eq!(there(dir.path()).len(), 2 + 3, "two versions share a content");
    assert!(matches!(again.version(LIST, 3), Err(HistoryError::NoVersion { number: 3, .. })));
    assert!(matches!(again.version("other", 1), Err(HistoryError::NoVersion { .. })));
    let outside: Vec<_> = fs::read_dir(dir.path()).expect("a folder").flatten().map(|e| e.file_name()).collect();
    assert_eq!(outside, ["history"], "no name leads out");
}

#[test]
fn the_same_again_is_no_new_version_but_the_one_before_is() {
    let dir = tempfile::tempdir().expect("a folder");
    let history = History::new(dir.path(), PLENTY);
    let first = keep(&history, &[("b", "1"), ("a", "2")], 7).expect("kept");
    assert_eq!(keep(&history, &[("a", "2"), ("b", "1")], 9).expect("kept"), first);
    keep(&history, &[("a", "2")], 10).expect("kept");
    assert_eq!(keep(&history, &[("b", "1"), ("a", "2")], 11).expect("kept").number, 3);
    assert_eq!(keep(&history, &[("c", "1"), ("a", "2")], 12).expect("kept").number, 4, "a renamed file");
    assert_eq!(keep(&history, &[], 13).expect("kept").number, 5, "an empty folder");
    assert_eq!(numbers(&history), [1, 2, 3, 4, 5]);
}

#[test]
fn large_contents_stream_and_shrink() {
    let dir = tempfile::tempdir().expect("a folder");
    let history = History::new(dir.path(), PLENTY);
    let text: String = (0..200_000).map(|n| format!("name-{n}.example\n")).collect();
    let version = keep(&history, &[("a", &text)], 0).expect("kept");
    let mut content = history.content(LIST, &version.what.files[0]).expect("there");
    let size = fs::metadata(content.path()).expect("a file").len();
    assert!(size * 4 < text.len() as u64, "{size} of {} bytes", text.len());
    let mut read = String::new();
    content.read_to_string(&mut read).expect("whole");
    assert!(read == text);
}

#[test]
fn a_file_that_changes_while_it_is_kept_keeps_nothing() {
    let dir = tempfile::tempdir().expect("a folder");
    let history = History::new(dir.path(), PLENTY);
    keep(&history, &[("a", "old")], 0).expect("kept");
    let entry = FileEntry { file: "a".into(), sha256: Digest::of(b"new"), size: 3 };
    for torn in [&b"ne"[..], b"newer", b"nex", b""] {
        let accepted = Accepted { files: vec![entry.clone()], ..Accepted::default() };
        let mut open = |_: &FileEntry| Ok(Box::new(io::Cursor::new(torn.to_vec())) as Box<dyn Read>);
        let error = history.record(LIST, accepted, UnixTime(0), &mut open).expect_err("changed");
        assert!(matches!(&error, HistoryError::Changed { file, .. } if file == "a"), "{error}");
    }
    let accepted = Accepted { files: vec![entry], ..Accepted::default() };
    let error = history.record(LIST, accepted, UnixTime(0), &mut |_| Err(io::Error::from_raw_os_error(5)));
    assert!(matches!(error, Err(HistoryError::Io { doing: "read", .. })), "{error:?}");
    assert_eq!(numbers(&history), [1]);
    assert_eq!(there(dir.path()).len(), 2, "nothing half-written is left");
}

#[test]
fn damage_is_named_and_hides_nothing_else() {
    let dir = tempfile::tempdir().expect("a folder");
    let history = History::new(dir.path(), PLENTY);
    let first = keep(&history, &[("a", "one\n")], 0).expect("kept");
    keep(&history, &[("a", "two\n")], 0).expect("kept");
    let folder = dir.path().join("history").join(slug(LIST));
    let blob = folder.join(format!("{}.zst", first.sha256));
    let good = fs::read(&blob).expect("read");
    let other = fs::read(folder.join(format!("{}.zst", Digest::of(b"two\n")))).expect("read");
    let bomb = zstd::encode_all(io::repeat(0).take(1 << 24), 19).expect("compressed");
    for (at, damage) in [&good[..good.len() - 1], &other, &bomb, b"", b"text"].into_iter().enumerate() {
        fs::write(&blob, damage).expect("written");
        let error = history.bytes(LIST, &first.what.files[0]).expect_err("damaged").to_string();
        assert!(error.contains(blob.to_str().expect("UTF-8")) && error.contains("damaged"), "{at}: {error}");
    }
    fs::remove_file(&blob).expect("removed");
    let error = history.bytes(LIST, &first.what.files[0]).expect_err("gone").to_string();
    assert!(error.contains("cannot read") && error.contains(".zst"), "{error}");
    let path = folder.join("v000001.json");
    let text = fs::read_to_string(&path).expect("read");
    for damage in [
        text.replace("\"number\": 1", "\"number\": 3"),
        text.replace("Тізім", "other"),
        text.replacen(&first.sha256.to_string(), &Digest::ZERO.to_string(), 1),
        text[..text.len() / 2].to_owned(),
        String::new(),
    ] {
        fs::write(&path, &damage).expect("written");
        let versions = history.versions(LIST).expect("listed");
        assert_eq!((versions.whole.len(), versions.damaged.len()), (1, 1), "{damage}");
        assert!(versions.damaged[0].to_string().contains("v000001.json"), "{}", versions.damaged[0]);
    }
    // The newest being damaged loses no number and no version.
    fs::write(folder.join("v000002.json"), "{").expect("written");
    assert_eq!(keep(&history, &[("a", "two\n")], 0).expect("kept").number, 3);
}

#[test]
fn what_cannot_be_written_says_where_and_keeps_nothing_half() {
    let dir = tempfile::tempdir().expect("a folder");
    let history = History::new(dir.path(), PLENTY);
    // Things in the way fail for root too, unlike a read-only mode.
    fs::write(dir.path().join("history"), "in the way").expect("written");
    let error = keep(&history, &[("a", "x")], 0).expect_err("no folder").to_string();
    assert!(error.contains("history"), "{error}");
    fs::remove_file(dir.path().join("history")).expect("removed");
    keep(&history, &[("a", "x")], 0).expect("kept");
    let folder = dir.path().join("history").join(slug(LIST));
    fs::create_dir_all(folder.join(format!("{}.zst/x", Digest::of(b"y")))).expect("a folder");
    let error = keep(&history, &[("a", "y")], 0).expect_err("in the way").to_string();
    assert!(error.contains("cannot write") && error.contains("state_dir is writable"), "{error}");
    assert_eq!(numbers(&history), [1]);
    assert!(there(dir.path()).iter().all(|name| !name.starts_with(".tmp-")), "{:?}", there(dir.path()));
}

#[test]
fn leftovers_of_a_crash_are_swept() {
    let dir = tempfile::tempdir().expect("a folder");
    let history = History::new(dir.path(), PLENTY);
    keep(&history, &[("a", "x")], 0).expect("kept");
    let folder = dir.path().join("history").join(slug(LIST));
    // Killed between a content and its version, and in the middle of each.
    fs::write(folder.join(format!("{}.zst", Digest::of(b"orphan"))), "whatever").expect("written");
    fs::write(folder.join(".tmp-1-v000002.json"), "{\"numb").expect("written");
    assert_eq!(numbers(&history), [1]);
    assert_eq!(history.prune(LIST).expect("pruned").contents, 1);
    assert_eq!(there(dir.path()).len(), 2);
    assert_eq!(keep(&history, &[("a", "y")], 0).expect("kept").number, 2);
}

#[test]
fn a_pin_stays_over_a_restart_until_it_is_taken_off() {
    let dir = tempfile::tempdir().expect("a folder");
    let history = History::new(dir.path(), Limits { versions: 1, ..PLENTY });
    assert!(matches!(history.pin(LIST, &pin(1)), Err(HistoryError::NoVersion { .. })));
    for text in ["one", "two", "three"] {
        keep(&history, &[("a", text)], 0).expect("kept");
    }
    assert_eq!(history.pin(LIST, &pin(2)).expect("pinned").number, 2);
    let again = History::new(dir.path(), Limits { versions: 1, ..PLENTY });
    assert_eq!(again.pinned(LIST).expect("read"), Some(pin(2)));
    assert_eq!(again.prune(LIST).expect("pruned").versions, [1]);
    assert_eq!(numbers(&again), [2, 3], "neither the newest nor a pinned one goes");
    assert_eq!(again.unpin(LIST).expect("unpinned"), Some(pin(2)));
    assert_eq!((again.pinned(LIST).expect("read"), again.unpin(LIST).expect("nothing")), (None, None));
    assert_eq!(again.prune(LIST).expect("pruned").versions, [2]);
    let path = dir.path().join("history").join(slug(LIST)).join("pinned.json");
    fs::write(&path, "{").expect("written");
    assert!(again.prune(LIST).expect_err("damaged").to_string().contains("pinned.json"));
    assert!(again.unpin(LIST).is_err() && again.pinned(LIST).expect("gone").is_none());
}

#[test]
fn a_damaged_version_keeps_contents_it_may_have() {
    let dir = tempfile::tempdir().expect("a folder");
    let history = History::new(dir.path(), Limits { versions: 2, ..PLENTY });
    for text in ["one", "two", "three"] {
        keep(&history, &[("a", text)], 0).expect("kept");
    }
    fs::write(dir.path().join("history").join(slug(LIST)).join("v000002.json"), "{").expect("written");
    let pruned = history.prune(LIST).expect("pruned");
    assert_eq!((pruned.versions, pruned.contents), (vec![1], 0));
    keep(&history, &[("a", "four")], 0).expect("kept");
    let pruned = history.prune(LIST).expect("pruned");
    assert_eq!((pruned.versions, pruned.contents), (vec![2], 2), "once it is gone, so are they");
    assert_eq!(numbers(&history), [3, 4]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// The twin is a list of versions in memory and the rules of [`History::prune`] said once more.
    #[test]
    fn pruning_does_what_it_says(
        contents in proptest::collection::vec(proptest::collection::vec(0..6u8, 0..4), 1..12),
        versions in 0..6usize,
        small in any::<bool>(),
        pinned in proptest::option::of(0..12usize),
    ) {
        let dir = tempfile::tempdir().expect("a folder");
        let bytes = if small { 60 } else { 1 << 20 };
        let history = History::new(dir.path(), Limits { versions, bytes });
        let mut twin: Vec<Version> = Vec::new();
        for files in &contents {
            let named: Vec<(String, String)> =
                files.iter().enumerate().map(|(at, of)| (format!("f{at}"), format!("content {of}"))).collect();
            let files: Vec<(&str, &str)> = named.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
            let version = keep(&history, &files, 0).expect("kept");
            if twin.last() != Some(&version) {
                twin.push(version);
            }
        }
        let pinned = pinned.and_then(|at| twin.get(at)).map(|version| version.number);
        if let Some(number) = pinned {
            history.pin(LIST, &pin(number)).expect("pinned");
        }
        let newest = twin[twin.len() - 1].number;
        let path = dir.path().join("history").join(slug(LIST));
        let size = |sha256: Digest| fs::metadata(path.join(format!("{sha256}.zst"))).map_or(0, |meta| meta.len());
        let used = |twin: &[Version]| {
            let mut all: Vec<Digest> =
                twin.iter().flat_map(|version| version.what.files.iter().map(|file| file.sha256)).collect();
            all.sort_unstable();
            all.dedup();
            all
        };
        let mut gone = Vec::new();
        while twin.len() > versions || used(&twin).into_iter().map(size).sum::<u64>() > bytes {
            let may_go = |version: &Version| version.number != newest && Some(version.number) != pinned;
            let Some(at) = twin.iter().position(may_go) else { break };
            gone.push(twin.remove(at).number);
        }
        let pruned = history.prune(LIST).expect("pruned");
        prop_assert_eq!(&pruned.versions, &gone);
        prop_assert_eq!(pruned.bytes, used(&twin).into_iter().map(size).sum::<u64>());
        prop_assert_eq!(history.versions(LIST).expect("listed").whole, twin.clone());
        for version in &twin {
            for file in &version.what.files {
                prop_assert_eq!(Digest::of(&history.bytes(LIST, file).expect("whole")), file.sha256);
            }
        }
        let blobs = there(dir.path()).iter().filter(|name| name.ends_with(".zst")).count();
        prop_assert_eq!(blobs, used(&twin).len());
        prop_assert_eq!(history.prune(LIST).expect("pruned").versions, Vec::<u64>::new());
    }
}

#[test]
fn a_version_on_trial_is_the_newest_but_not_the_one_all_have() {
    let dir = tempfile::tempdir().expect("a folder");
    let history = History::new(dir.path(), Limits { versions: 1, ..PLENTY });
    let entry = |text: &str| Accepted {
        files: vec![FileEntry { file: "a".into(), sha256: Digest::of(text.as_bytes()), size: text.len() as u64 }],
        ..Accepted::default()
    };
    let try_out = |text: &str| {
        let bytes = text.as_bytes().to_vec();
        let mut open = |_: &FileEntry| Ok(Box::new(io::Cursor::new(bytes.clone())) as Box<dyn Read>);
        history.try_out(LIST, entry(text), UnixTime(2), &mut open).expect("kept")
    };
    let settled = || history.settled(LIST).expect("read").map(|version| version.number);
    let marks = || -> Vec<_> {
        history.versions(LIST).expect("read").whole.iter().map(|version| (version.number, version.trial)).collect()
    };
    keep(&history, &[("a", "one")], 1).expect("kept");
    assert_eq!((try_out("two").number, try_out("two").number), (2, 2));
    history.prune(LIST).expect("pruned");
    assert_eq!(marks(), [(1, None), (2, Some(Trial::Running))], "what all have is never pruned");
    assert_eq!(keep(&history, &[("a", "one")], 3).expect("kept").number, 1, "all still have it");
    assert_eq!(settled(), Some(1));
    history.tried(LIST, 2, Trial::Withdrawn).expect("marked");
    assert_eq!((settled(), try_out("three").number), (Some(1), 3));
    history.tried(LIST, 3, Trial::Superseded).expect("marked");
    // What was tried and is then for all keeps its number.
    assert_eq!(try_out("four").number, 4);
    let passed = keep(&history, &[("a", "four")], 4).expect("kept");
    assert_eq!((passed.number, passed.trial, settled()), (4, Some(Trial::Passed), Some(4)));
    assert_eq!(try_out("two").number, 5, "another trial of what was withdrawn, for something came between");
    // What was kept before there were marks was for all.
    let path = dir.path().join("history").join(slug(LIST)).join("v000001.json");
    assert!(!fs::read_to_string(path).expect("read").contains("trial"));
    history.prune(LIST).expect("pruned");
    assert_eq!(marks(), [(4, Some(Trial::Passed)), (5, Some(Trial::Running))]);
}
