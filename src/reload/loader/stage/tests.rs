//! Versions on trial, through the loader and its copies on disk.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::super::super::testing::{folder, names, replace, set};
use super::*;
use crate::config;
use crate::util::slug;

/// Two lists with the same canary clients and one without.
fn settings(dir: &Path, canary: &str) -> Settings {
    let path = dir.join("qalqan.toml");
    let list = |name: &str, keys: &str| format!("[[list]]\nname = \"{name}\"\nsource = \"{name}\"\n{keys}\n");
    fs::write(&path, [list("a", canary), list("b", ""), list("c", canary)].concat()).expect("written");
    config::load(&path).expect("settings")
}

/// The usual trial.
const CANARY: &str = "canary = { clients = [\"10.1.0.0/16\"], time = \"1h\", min_queries = 10 }";

/// A folder with the lists, and a state folder.
fn lists() -> (tempfile::TempDir, std::path::PathBuf) {
    let (guard, dir) = folder();
    fs::write(dir.join("a"), "a1.example\nsame.example\n").expect("written");
    fs::write(dir.join("b"), "b.example\n").expect("written");
    fs::create_dir(dir.join("c")).expect("made");
    fs::write(dir.join("c/1.txt"), "c1.example\n").expect("written");
    (guard, dir)
}

/// A loader that has read and kept the lists.
fn start(dir: &Path, settings: &Settings) -> (Loader, Loaded) {
    let mut loader = Loader::new(Some(dir.join("state")));
    let loaded = loader.load(settings);
    assert!(loader.keep().is_empty());
    (loader, loaded)
}

/// What the clients of the only group have of the lists in it.
fn tried(loaded: &Loaded) -> BTreeSet<String> {
    let parts = loaded.groups.iter().flat_map(|group| group.parts.clone()).collect();
    names(&Loaded { parts, ..Loaded::default() })
}

/// Their names.
fn events(loader: &mut Loader, settings: &Settings) -> Vec<String> {
    let name = |(list, operator, news): (String, Option<By>, News)| {
        let source = settings.lists.iter().find(|known| known.spec.name == list).map(|list| list.spec.shown.as_str());
        let by = news.by(By::File(source.unwrap_or_default().into()), operator);
        match news {
            News::Started { .. } => format!("canary_started by {by} -"),
            News::Ended { outcome, .. } => {
                let outcome = serde_json::to_value(outcome).expect("plain data");
                format!("canary_ended by {by} {}", outcome.as_str().unwrap_or_default())
            }
            News::Revived { .. } => format!("promoted by {by} -"),
        }
    };
    loader.trial_news(settings).into_iter().map(name).collect()
}

#[test]
fn a_new_version_is_for_its_clients_until_it_is_promoted() {
    let (_guard, dir) = lists();
    let settings = settings(&dir, CANARY);
    let (mut loader, first) = start(&dir, &settings);
    assert!(first.groups.is_empty() && first.reports.iter().all(|report| report.trial.is_none()), "the first ones");
    let v1 = set(&["a1.example", "same.example", "b.example", "c1.example"]);
    assert_eq!(names(&first), v1);
    replace(&dir.join("a"), "a2.example\nsame.example\n");
    replace(&dir.join("b"), "b2.example\n");
    replace(&dir.join("c/2.txt"), "c2.example\n");
    let second = loader.load(&settings);
    assert!(second.changed && loader.keep().is_empty());
    assert_eq!(names(&second), set(&["a1.example", "same.example", "b2.example", "c1.example"]));
    assert_eq!((second.groups.len(), &second.groups[0].lists), (1, &vec![0, 2]), "equal clients share a group");
    assert_eq!(tried(&second), set(&["a2.example", "same.example", "c1.example", "c2.example"]));
    assert!(second.reports[0].trial.is_some() && second.reports[1].trial.is_none());
    assert!(!loader.load(&settings).changed, "nothing happens by itself");
    let file = format!("canary_started by file {} -", "a");
    assert_eq!(events(&mut loader, &settings), [file, "canary_started by file c -".into()]);
    assert!(loader.promote("b", "", By::System).is_err() && loader.promote("none", "", By::System).is_err());
    loader.promote("a", "fine", By::Cli("op".into())).expect("promoted");
    let third = loader.load(&settings);
    assert!(third.changed && loader.keep().is_empty());
    assert_eq!(names(&third), set(&["a2.example", "same.example", "b2.example", "c1.example"]));
    assert_eq!(tried(&third), set(&["c1.example", "c2.example"]));
    assert_eq!(events(&mut loader, &settings), ["canary_ended by cli op promoted"]);
    loader.withdraw("c", "bad", By::Cli("op".into())).expect("withdrawn");
    let fourth = loader.load(&settings);
    assert!(
        fourth.groups.is_empty() && names(&fourth).contains("c1.example") && !names(&fourth).contains("c2.example")
    );
    let error = fourth.reports[2].error.as_ref().expect("refused").to_string();
    assert!(error.contains("was withdrawn: bad"), "{error}");
    assert_eq!((fourth.reports[2].files.len(), fourth.reports[2].entries), (1, 1), "what is in force is shown");
    assert!(loader.keep().is_empty());

    // Another process finds it all as it was.
    let (_, again) = start(&dir, &settings);
    assert_eq!((names(&again), again.groups.len()), (names(&fourth), 0));
}

#[test]
fn a_version_that_comes_while_one_is_promoted_is_tried_beside_it() {
    let (_guard, dir) = lists();
    let settings = settings(&dir, CANARY);
    let (mut loader, _) = start(&dir, &settings);
    replace(&dir.join("a"), "a2.example\n");
    loader.load(&settings);
    loader.promote("a", "", By::System).expect("promoted");
    replace(&dir.join("a"), "a3.example\n");
    let loaded = loader.load(&settings);
    assert_eq!(
        (names(&loaded), tried(&loaded)),
        (set(&["a2.example", "b.example", "c1.example"]), set(&["a3.example"]))
    );
    assert!(loader.keep().is_empty());
    let (_, again) = start(&dir, &settings);
    assert_eq!(
        (names(&again), tried(&again)),
        (names(&loaded), tried(&loaded)),
        "kept though it was never kept before"
    );
}

#[test]
fn entries_of_a_version_on_trial_pass_the_gate_like_others() {
    let (_guard, dir) = lists();
    let settings = settings(&dir, CANARY);
    let (mut loader, _) = start(&dir, &settings);
    replace(&dir.join("a"), "a2.example\nus.com\n");
    let loaded = loader.load(&settings);
    assert_eq!(tried(&loaded), set(&["a2.example"]), "us.com is held");
    assert_eq!(loaded.reports[0].gate.open, 1);
    loader.promote("a", "", By::System).expect("promoted");
    let promoted = loader.load(&settings);
    assert!(names(&promoted).contains("a2.example") && !names(&promoted).contains("us.com"));
    assert_eq!((promoted.reports[0].gate.open, promoted.reports[0].gate.taken_back), (1, 0));
}

#[test]
fn a_restart_goes_on_with_the_trial_and_needs_no_sources_for_it() {
    let (_guard, dir) = lists();
    let settings = settings(&dir, CANARY);
    let (mut loader, _) = start(&dir, &settings);
    replace(&dir.join("a"), "a2.example\n");
    let trial = loader.load(&settings);
    assert!(loader.keep().is_empty());
    let until = trial.reports[0].trial.as_ref().expect("a trial").until;
    for broken in [false, true] {
        if broken {
            fs::remove_file(dir.join("a")).expect("removed");
            replace(&dir.join("c/1.txt"), "<!DOCTYPE html><html>error 500</html>");
        }
        let (mut again, loaded) = start(&dir, &settings);
        assert_eq!((names(&loaded), tried(&loaded)), (names(&trial), tried(&trial)), "broken: {broken}");
        assert_eq!(loaded.reports[0].trial.as_ref().expect("a trial").until, until);
        assert!(events(&mut again, &settings).is_empty(), "it is the same trial");
    }
    // Without the copies of the version on trial all keep what they had, and nothing of it is promoted.
    let store = dir.join("state/lists").join(slug("a"));
    let new = Digest::of(b"a2.example\n").to_string();
    fs::remove_file(store.join(format!("{new}.copy"))).expect("removed");
    let mut again = Loader::new(Some(dir.join("state")));
    let loaded = again.load(&settings);
    assert!(loaded.missing.is_empty() && loaded.groups.is_empty(), "{:?}", loaded.reports[0]);
    assert_eq!(names(&loaded), names(&trial));
    again.count_trials(|_| 0);
    assert!(!again.judge_trials(&settings, i64::MAX, |_| 0) && again.promote("a", "", By::System).is_err());
    again.keep();
    replace(&dir.join("a"), "a2.example\n");
    let back = again.load(&settings);
    assert_eq!((names(&back), tried(&back)), (names(&trial), tried(&trial)), "the source is back");
}

#[test]
fn a_broken_rewritten_or_restored_source_takes_nothing_from_anybody() {
    let (_guard, dir) = lists();
    let settings = settings(&dir, CANARY);
    let (mut loader, first) = start(&dir, &settings);
    replace(&dir.join("a"), "a2.example\n");
    loader.load(&settings);
    loader.keep();
    replace(&dir.join("a"), "<!DOCTYPE html><html>error 500</html>");
    let broken = loader.load(&settings);
    assert_eq!((names(&broken), tried(&broken)), (names(&first), set(&["a2.example"])));
    assert!(broken.reports[0].error.is_some() && broken.reports[0].trial.is_some());
    replace(&dir.join("a"), "a3.example\n");
    let rewritten = loader.load(&settings);
    assert!(loader.keep().is_empty());
    assert_eq!((names(&rewritten), tried(&rewritten)), (names(&first), set(&["a3.example"])));
    replace(&dir.join("a"), "a1.example\nsame.example\n");
    let restored = loader.load(&settings);
    assert!(restored.groups.is_empty() && names(&restored) == names(&first));
    assert!(loader.keep().is_empty());
    let copies = fs::read_dir(dir.join("state/lists").join(slug("a"))).expect("kept").count();
    assert_eq!(copies, 2, "the manifest and one content");
    let told = events(&mut loader, &settings);
    let ends: Vec<_> = told.iter().filter(|event| event.starts_with("canary_ended")).collect();
    assert_eq!(ends.len(), 2, "{told:?}");
    assert!(ends.iter().all(|event| event.ends_with("superseded")), "{told:?}");
}

#[test]
fn counts_begin_with_the_trial_and_decide_it() {
    let (_guard, dir) = lists();
    let settings = settings(&dir, CANARY);
    let (mut loader, _) = start(&dir, &settings);
    replace(&dir.join("a"), "a2.example\n");
    let loaded = loader.load(&settings);
    let queries = Arc::clone(&loaded.groups[0].queries);
    queries.fetch_add(1_000, Ordering::Relaxed);
    loader.count_trials(|_| 500);
    assert!(!loader.judge_trials(&settings, 0, |_| 500), "what was before counts nothing");
    queries.fetch_add(20, Ordering::Relaxed);
    assert!(!loader.judge_trials(&settings, 0, |_| 501));
    assert_eq!(loaded.reports[0].trial.as_ref().expect("a trial").counts.read(), (20, 1));
    // A reload meanwhile changes nothing about it, a newer version does.
    loader.load(&settings);
    loader.count_trials(|_| 501);
    assert!(loader.judge_trials(&settings, 0, |_| 502), "2 of 20 is more than 5%");
    assert!(loader.load(&settings).groups.is_empty());
    replace(&dir.join("a"), "a3.example\n");
    let newer = loader.load(&settings);
    assert_eq!(tried(&newer), set(&["a3.example"]));
    loader.count_trials(|_| 502);
    newer.groups[0].queries.fetch_add(100, Ordering::Relaxed);
    assert!(!loader.judge_trials(&settings, 0, |_| 507), "5 of 100 is 5%");
    assert!(loader.judge_trials(&settings, i64::MAX, |_| 507), "its time is over");
    assert!(names(&loader.load(&settings)).contains("a3.example"));
}

#[test]
fn settings_that_change_what_entries_mean_change_both_versions() {
    let (_guard, dir) = lists();
    let old = settings(&dir, CANARY);
    let (mut loader, _) = start(&dir, &old);
    replace(&dir.join("a"), "a2.example\n");
    loader.load(&old);
    loader.keep();
    let exact = settings(&dir, &format!("scope = \"exact\"\n{CANARY}"));
    let loaded = loader.load(&exact);
    let scopes = |parts: &[Part]| -> Vec<_> {
        let rules = parts.iter().filter(|part| part.list == 0);
        rules.flat_map(|part| part.rules.iter().map(|rule| rule.kind.scope).collect::<Vec<_>>()).collect()
    };
    assert_eq!(scopes(&loaded.parts), [crate::rule::Scope::Exact; 2]);
    assert_eq!(scopes(&loaded.groups[0].parts), [crate::rule::Scope::Exact]);
    // Without canary clients the newest version is for all.
    let none = settings(&dir, "");
    let loaded = loader.load(&none);
    assert!(loaded.groups.is_empty() && names(&loaded).contains("a2.example"));
}

#[test]
fn a_full_disk_loses_nothing_that_is_enforced() {
    let (_guard, dir) = lists();
    let settings = settings(&dir, CANARY);
    fs::create_dir(dir.join("state")).expect("made");
    // A file in the way fails for root too.
    fs::write(dir.join("state/lists"), "").expect("written");
    let mut loader = Loader::new(Some(dir.join("state")));
    let first = loader.load(&settings);
    assert!(!loader.keep().is_empty());
    replace(&dir.join("a"), "a2.example\n");
    let trial = loader.load(&settings);
    assert_eq!((names(&trial), tried(&trial)), (names(&first), set(&["a2.example"])));
    assert!(!loader.keep().is_empty());
    fs::remove_file(dir.join("state/lists")).expect("removed");
    assert!(loader.keep().is_empty());
    // What all have was never written and is gone: after a restart the newest version is the first one.
    let (_, again) = start(&dir, &settings);
    assert!(names(&again).contains("a2.example") && again.groups.is_empty());
}
