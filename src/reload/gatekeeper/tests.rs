//! The gate over real loads: what is held, what comes back, and what is never lost.

use std::fs;

use super::super::loader::Loader;
use super::super::report::{Digest, State};
use super::super::testing::{folder, names, replace, set};
use super::*;
use crate::config;
use crate::gate::{DecideError, Subject, Verdict};
use crate::util::UnixTime;

/// Settings of a configuration text with a list `feed` from `feed.txt`.
fn settings(dir: &Path, gate: &str, list: &str) -> Settings {
    let path = dir.join("qalqan.toml");
    let text = format!("{gate}\n[[list]]\nname = \"feed\"\nsource = \"feed.txt\"\n{list}");
    fs::write(&path, text).expect("written");
    config::load(&path).expect("settings")
}

/// Entries `n0.example`, `n1.example`, …
fn many(from: usize, to: usize) -> String {
    (from..to).map(|number| format!("n{number}.example\n")).collect()
}

/// The held entries of the first list.
fn held(loaded: &Loaded) -> Vec<String> {
    loaded.reports[0].gate.entries.iter().map(|held| format!("{} {}", held.pattern, held.check)).collect()
}

const RANKS: &str = "[gate.popular]\nfile = \"top.csv\"\ntop = 3\n";

#[test]
fn held_released_enforced_and_still_so_after_a_restart() {
    let (_guard, dir) = folder();
    fs::write(dir.join("top.csv"), "1,medium.com\n2,bitcoin.org\n3,google.com\n4,fine.org\n").expect("written");
    fs::write(dir.join("feed.txt"), "evil.example\nmedium.com\nfine.org\nmyshopify.com\n").expect("written");
    let settings = settings(&dir, RANKS, "");
    let state = dir.join("state");
    let mut loader = Loader::new(Some(state.clone()));
    let first = loader.load(&settings);
    assert_eq!(names(&first), set(&["evil.example", "fine.org"]));
    assert_eq!(held(&first), ["medium.com popular", "myshopify.com public_suffix"]);
    assert_eq!((first.reports[0].gate.open, first.rules()), (2, 2));
    assert!(!loader.load(&settings).changed);
    let path = Decisions::path(&state);
    let mut decisions = Decisions::load(&path).expect("none yet");
    let [medium, shop] = &first.reports[0].gate.entries[..] else { panic!("two") };
    medium.decide(&mut decisions, Verdict::Released, "me", "ordered", UnixTime(1)).expect("released");
    shop.decide(&mut decisions, Verdict::Dismissed, "me", "a mistake", UnixTime(1)).expect("dismissed");
    // Of a list that is gone, or never was: kept, and no concern of anybody.
    decisions.decide("gone", "x.example", Verdict::Released, "me", "once", UnixTime(1)).expect("released");
    decisions.save(&path).expect("saved");
    for mut loader in [loader, Loader::new(Some(state))] {
        let after = loader.load(&settings);
        assert!(after.changed);
        assert_eq!(names(&after), set(&["evil.example", "fine.org", "medium.com"]));
        let gate = &after.reports[0].gate;
        assert_eq!((gate.open, gate.dismissed, gate.released, gate.taken_back), (0, 1, 1, 0));
        replace(&dir.join("feed.txt"), "evil.example\n# moved\nfine.org\nmedium.com\nmyshopify.com\n");
        assert_eq!(names(&loader.load(&settings)), names(&after), "a new version of the list changes no decision");
        assert!(loader.load(&settings).gate_troubles.is_empty());
    }
}

#[test]
fn decisions_that_cannot_be_read_are_told_and_what_was_released_stays_so() {
    let (_guard, dir) = folder();
    fs::write(dir.join("feed.txt"), "us.com\n").expect("written");
    let settings = settings(&dir, "", "");
    let path = Decisions::path(&dir.join("state"));
    let mut decisions = Decisions::default();
    decisions.decide("feed", "us.com", Verdict::Released, "me", "meant", UnixTime(1)).expect("released");
    decisions.save(&path).expect("saved");
    let mut loader = Loader::new(Some(dir.join("state")));
    assert_eq!(names(&loader.load(&settings)), set(&["us.com"]));
    fs::write(&path, "{ half").expect("written");
    let damaged = loader.load(&settings);
    assert_eq!(names(&damaged), set(&["us.com"]), "nothing that is enforced is lost");
    let said = &damaged.gate_troubles[0];
    assert!(said.contains("decisions.json") && said.ends_with("what was read of it before stays in use"), "{said}");
    let fresh = Loader::new(Some(dir.join("state"))).load(&settings);
    assert!(names(&fresh).is_empty() && fresh.gate_troubles.len() == 1, "after a restart it is held, loudly");
    assert!(fresh.gate_troubles[0].ends_with("WHAT WAS RELEASED IS HELD until it can be read"));
    assert_eq!(fs::read_to_string(&path).expect("read"), "{ half");
}

#[test]
fn a_check_that_is_switched_on_says_what_it_takes_back() {
    let (_guard, dir) = folder();
    fs::write(dir.join("feed.txt"), "evil.example\nmedium.com\nbitcoin.org\n").expect("written");
    let mut loader = Loader::new(None);
    let before = loader.load(&settings(&dir, RANKS, ""));
    assert_eq!(before.rules(), 3, "without the file the check is off");
    assert!(before.gate_troubles[0].contains("top.csv") && before.gate_troubles[0].contains("IS OFF"));
    fs::write(dir.join("top.csv"), "medium.com\nbitcoin.org\n").expect("written");
    let on = loader.load(&settings(&dir, RANKS, ""));
    assert_eq!((on.reports[0].gate.taken_back, on.rules()), (2, 1));
    assert!(on.gate_troubles.is_empty() && on.changed);
    assert_eq!(loader.load(&settings(&dir, RANKS, "")).reports[0].gate.taken_back, 0, "told once");
    // What was read of the rank list stays in use.
    fs::remove_file(dir.join("top.csv")).expect("removed");
    let gone = loader.load(&settings(&dir, RANKS, ""));
    assert!(gone.rules() == 1 && !gone.changed && gone.gate_troubles[0].contains("stays in use"));
    // Of another version only what the one before enforced is taken back.
    replace(&dir.join("feed.txt"), "medium.com\nnew.example\nus.com\n");
    let other = loader.load(&settings(&dir, RANKS, ""));
    assert_eq!((other.reports[0].gate.open, other.reports[0].gate.taken_back), (2, 0));
    replace(&dir.join("feed.txt"), "medium.com\nnew.example\nus.com\n# again\n");
    let never = settings(&dir, &format!("[gate]\nnever_block = [\"new.example\"]\n{RANKS}"), "");
    assert_eq!(loader.load(&never).reports[0].gate.taken_back, 1);
    let off = settings(&dir, RANKS, "gate = { top = 0, public_suffixes = \"enforce\" }");
    assert_eq!(names(&loader.load(&off)), set(&["medium.com", "new.example", "us.com"]));
}

#[test]
fn a_rank_list_that_shrinks_to_less_than_half_lets_nothing_go_until_an_operator_says_so() {
    let (_guard, dir) = folder();
    let ranks = "[gate.popular]\nfile = \"top.csv\"\ntop = 10\n";
    fs::write(dir.join("feed.txt"), "evil.example\nmedium.com\nbitcoin.org\nallowed.org\n").expect("written");
    fs::write(dir.join("top.csv"), "google.com\nmedium.com\nbitcoin.org\nallowed.org\n").expect("written");
    let mut loader = Loader::new(None);
    let first = loader.load(&settings(&dir, ranks, ""));
    assert_eq!((first.reports[0].gate.open, first.reports[0].gate.let_go), (3, 0));
    replace(&dir.join("top.csv"), "google.com\n");
    let cut = loader.load(&settings(&dir, ranks, ""));
    assert_eq!((cut.reports[0].gate.open, cut.changed), (3, false));
    let said = &cut.gate_troubles[0];
    assert!(said.contains("1 names now, less than half") && said.ends_with("stays in use"), "{said}");
    // Half is half: such lists change a little every day, and this one is short.
    replace(&dir.join("top.csv"), "google.com\nbitcoin.org\n");
    let allow = "[[list]]\nname = \"ours\"\nsource = \"ours.txt\"\nrole = \"allow\"\n";
    fs::write(dir.join("ours.txt"), "allowed.org\n").expect("written");
    let half = loader.load(&settings(&dir, ranks, allow));
    // An exception is not enforced, so it was not let go.
    assert_eq!((half.reports[0].gate.open, half.reports[0].gate.let_go), (1, 1));
    assert!(half.gate_troubles.is_empty());
    assert_eq!(loader.load(&settings(&dir, ranks, allow)).reports[0].gate.let_go, 0, "told once");
    // A name of four is less than half of two only after an operator has asked.
    replace(&dir.join("top.csv"), "x.example\n");
    loader.distrust();
    assert_eq!(loader.load(&settings(&dir, ranks, allow)).reports[0].gate.let_go, 1);
}

#[test]
fn unchanged_files_are_not_looked_at_again() {
    let (_guard, dir) = folder();
    fs::write(dir.join("feed.txt"), "us.com\nevil.example\n").expect("written");
    let settings = settings(&dir, "", "");
    let mut loader = Loader::new(Some(dir.join("state")));
    let first = loader.load(&settings);
    loader.distrust();
    let second = loader.load(&settings);
    assert!(Arc::ptr_eq(&first.gate, &second.gate) && Arc::ptr_eq(&first.parts[0].held, &second.parts[0].held));
    assert!(!second.changed);
}

#[test]
fn never_block_comes_from_a_file_too_with_its_lines() {
    let (_guard, dir) = folder();
    fs::write(dir.join("feed.txt"), "kz.\nx.gov.kz\nbank.example\nfree.example\n").expect("written");
    fs::write(dir.join("never.txt"), "# ours\ngov.kz\n=bank.example\nhttps://a.example/b\na b\n").expect("written");
    let settings = settings(&dir, "[gate]\nnever_block_file = \"never.txt\"\n", "");
    let loaded = Loader::new(None).load(&settings);
    assert_eq!(held(&loaded), ["kz never_block", "x.gov.kz never_block", "bank.example never_block"]);
    assert!(loaded.gate_troubles[0].starts_with("never.txt:4:1: "), "{:?}", loaded.gate_troubles);
    let bank = &loaded.reports[0].gate.entries[2];
    let refused = bank.decide(&mut Decisions::default(), Verdict::Released, "me", "so there", UnixTime(0));
    assert!(matches!(&refused, Err(DecideError::NotReleasable { instead, .. }) if instead.contains("never.txt:3")));
    let name = |text: &str| {
        let mut name = NameBuf::new();
        name.parse(text).expect("a name");
        held_over(&loaded, &settings, &name).into_iter().map(|held| held.pattern).collect::<Vec<_>>()
    };
    assert_eq!(name("www.x.gov.kz"), ["kz", "x.gov.kz"]);
    assert_eq!(name("free.example"), [""; 0]);
}

#[test]
fn tenfold_growth_and_half_a_download_leave_the_version_in_force() {
    let (_guard, dir) = folder();
    let feed = dir.join("feed.txt");
    fs::write(&feed, many(0, 1000)).expect("written");
    let settings = settings(&dir, "", "");
    let state = Some(dir.join("state"));
    let mut loader = Loader::new(state.clone());
    let first = loader.load(&settings);
    assert!(loader.keep().is_empty());
    for (what, text) in [
        ("tenfold", many(0, 10_000)),
        ("half a download", many(0, 500)),
        ("all but gone", many(0, 100)),
        ("emptied", "# nothing to see\n".to_owned()),
    ] {
        replace(&feed, &text);
        for mut loader in [Loader::new(state.clone()), std::mem::take(&mut loader)] {
            for _ in 0..2 {
                let loaded = loader.load(&settings);
                assert_eq!(names(&loaded), names(&first), "{what}");
                let report = &loaded.reports[0];
                assert!(matches!(report.state, State::LastGood { .. }) && loaded.missing.is_empty(), "{what}");
                let change = report.refused.as_ref().expect("refused");
                assert_eq!((change.before, &change.version), (Some(1000), &Digest::of(text.as_bytes()).to_string()));
                assert!(
                    report
                        .error
                        .as_ref()
                        .is_some_and(|error| error.to_string().contains("`qalqan release feed --whole`"))
                );
            }
            assert!(loader.keep().is_empty(), "{what}: what is kept stays the version in force");
        }
        loader = Loader::new(state.clone());
        loader.load(&settings);
    }
    // A feed that turns to HTML, and an empty answer, are refused file by file.
    for text in ["<html><head><title>502</title></head><body>nginx</body></html>\n", ""] {
        replace(&feed, text);
        assert_eq!(names(&loader.load(&settings)), names(&first));
    }
    replace(&feed, &many(0, 1200));
    let daily = loader.load(&settings);
    assert!(daily.rules() == 1200 && daily.reports[0].refused.is_none());
}

#[test]
fn one_version_is_accepted_by_its_hash_or_by_another_limit() {
    let (_guard, dir) = folder();
    let feed = dir.join("feed.txt");
    fs::write(&feed, many(0, 1000)).expect("written");
    let strict = settings(&dir, "", "");
    let mut loader = Loader::new(Some(dir.join("state")));
    loader.load(&strict);
    replace(&feed, &many(0, 10_000));
    let refused = loader.load(&strict).reports[0].refused.clone().expect("refused");
    assert!(size_changes_of(&strict).is_empty(), "nothing is kept yet to compare with");
    assert!(loader.keep().is_empty());
    assert_eq!(size_changes_of(&strict), [10_000]);
    let path = Decisions::path(&dir.join("state"));
    let mut decisions = Decisions::load(&path).expect("none yet");
    decisions.accept("feed", &refused.version, "me", "the whole register", UnixTime(1)).expect("accepted");
    decisions.save(&path).expect("saved");
    let accepted = loader.load(&strict);
    assert!(accepted.rules() == 10_000 && accepted.reports[0].refused.is_none(), "{accepted:?}");
    assert!(matches!(accepted.reports[0].state, State::Fresh));
    // Only that version was accepted.
    replace(&feed, &many(0, 30_000));
    assert_eq!(loader.load(&strict).rules(), 10_000);
    let loose = settings(&dir, "", "gate = { max_growth = \"300%\" }");
    assert_eq!(loader.load(&loose).rules(), 30_000);
    assert!(decisions.withdraw("feed", &Subject::Version(refused.version.clone())));
}

/// What `check` says of the size of lists.
fn size_changes_of(settings: &Settings) -> Vec<u64> {
    let loaded = Loader::new(None).load(settings);
    super::super::size_changes(settings, &loaded).iter().map(|change| change.after).collect()
}

#[test]
fn a_folder_is_one_version_and_goes_back_as_a_whole() {
    let (_guard, dir) = folder();
    let orders = dir.join("orders");
    fs::create_dir(&orders).expect("made");
    let names_of = |file: usize| many(file * 100, file * 100 + 100);
    for file in 0..5 {
        fs::write(orders.join(format!("{file}.txt")), names_of(file)).expect("written");
    }
    let text = "[[list]]\nname = \"feed\"\nsource = \"orders\"\n";
    fs::write(dir.join("qalqan.toml"), text).expect("written");
    let settings = config::load(&dir.join("qalqan.toml")).expect("settings");
    let state = Some(dir.join("state"));
    let mut loader = Loader::new(state.clone());
    let first = loader.load(&settings);
    assert!(loader.keep().is_empty());
    // One is lifted: within the slack, however small the rest.
    fs::remove_file(orders.join("0.txt")).expect("removed");
    let lifted = loader.load(&settings);
    assert_eq!((first.rules(), lifted.rules()), (500, 400));
    assert!(loader.keep().is_empty());
    // Three of four go and one changes: not taken, no part of it.
    for file in 1..4 {
        fs::remove_file(orders.join(format!("{file}.txt"))).expect("removed");
    }
    fs::write(orders.join("4.txt"), "other.example\n").expect("written");
    fs::write(orders.join("5.txt"), "new.example\n").expect("written");
    for mut loader in [loader, Loader::new(state)] {
        for _ in 0..2 {
            let refused = loader.load(&settings);
            assert_eq!(names(&refused), names(&lifted));
            let change = refused.reports[0].refused.as_ref().expect("refused");
            assert_eq!((change.before, change.after), (Some(400), 2));
            assert!(matches!(refused.reports[0].state, State::LastGood { .. }));
            let mut shown: Vec<_> = refused.reports[0].files.iter().map(|file| &*file.path).collect();
            shown.sort_unstable();
            assert_eq!(shown, ["orders/1.txt", "orders/2.txt", "orders/3.txt", "orders/4.txt", "orders/5.txt"]);
            assert!(loader.keep().is_empty());
        }
        // Brought back, all is as it was, with the new file.
        for file in 1..5 {
            fs::write(orders.join(format!("{file}.txt")), names_of(file)).expect("written");
        }
        let back = loader.load(&settings);
        assert!(back.rules() == 401 && back.reports[0].refused.is_none(), "{:?}", back.reports[0]);
        for file in 1..4 {
            fs::remove_file(orders.join(format!("{file}.txt"))).expect("removed");
        }
        fs::write(orders.join("4.txt"), "other.example\n").expect("written");
    }
}

#[test]
fn a_list_that_never_was_large_enough_is_not_in_force() {
    let (_guard, dir) = folder();
    fs::write(dir.join("feed.txt"), "a.example\n").expect("written");
    let wanted = settings(&dir, "", "gate = { min_entries = 2 }");
    let mut loader = Loader::new(Some(dir.join("state")));
    let loaded = loader.load(&wanted);
    assert!(loaded.parts.is_empty() && loaded.missing.len() == 1);
    assert!(loaded.missing[0].why.to_string().contains("`min_entries` is 2"), "{}", loaded.missing[0].why);
    replace(&dir.join("feed.txt"), "a.example\nb.example\n");
    assert_eq!(loader.load(&wanted).rules(), 2);
}

#[test]
fn a_version_that_is_lost_is_no_reason_to_block_nothing() {
    let (_guard, dir) = folder();
    fs::write(dir.join("feed.txt"), many(0, 1000)).expect("written");
    let settings = settings(&dir, "", "");
    let mut loader = Loader::new(Some(dir.join("state")));
    loader.load(&settings);
    assert!(loader.keep().is_empty());
    let kept = fs::read_dir(dir.join("state/lists")).expect("listed").flatten().next().expect("a list").path();
    let copies = fs::read_dir(kept).expect("listed").flatten().map(|entry| entry.path());
    copies
        .filter(|path| path.extension().is_some_and(|end| end == "copy"))
        .for_each(|copy| fs::write(copy, "x").expect("written"));
    replace(&dir.join("feed.txt"), &many(0, 10_000));
    let mut again = Loader::new(Some(dir.join("state")));
    assert_eq!(again.load(&settings).rules(), 10_000, "the new version is better than none");
    assert!(again.keep().iter().any(|trouble| trouble.to_string().contains("damaged")));
}

#[test]
fn denmark_and_italy() {
    let (_guard, dir) = folder();
    let ordered: String = (0..8_000).map(|number| format!("bad{number}.example\n")).collect();
    let legal: String = (0..8_000).map(|number| format!("legal{number}.org\n")).collect();
    fs::write(dir.join("feed.txt"), &ordered).expect("written");
    let ranks: String = (0..5_000).map(|number| format!("{},legal{number}.org\n", number + 2)).collect();
    fs::write(dir.join("top.csv"), format!("1,google.com\n{ranks}")).expect("written");
    fs::write(dir.join("allow.txt"), "legal1.org\nlegal2.org\n").expect("written");
    let gate = "[gate.popular]\nfile = \"top.csv\"\n";
    let allow = "[[list]]\nname = \"allow\"\nsource = \"allow.txt\"\nrole = \"allow\"\n";
    let settings = settings(&dir, gate, allow);
    let mut loader = Loader::new(None);
    assert_eq!(loader.load(&settings).rules(), 8_002);
    // 8,000 legal sites and google.com more: under the limit of growth would be 16,000; with one more it is refused.
    replace(&dir.join("feed.txt"), &format!("{ordered}{legal}google.com\n"));
    let refused = loader.load(&settings);
    assert!(refused.reports[0].refused.is_some() && refused.rules() == 8_002);
    // The same in two steps passes the size check, and the popular ones are held all the same.
    replace(&dir.join("feed.txt"), &format!("{ordered}{legal}"));
    loader.load(&settings);
    replace(&dir.join("feed.txt"), &format!("{ordered}{legal}google.com\ndrive.google.com\nwww.legal1.org\n"));
    let loaded = loader.load(&settings);
    let gate = &loaded.reports[0].gate;
    assert_eq!((gate.open, gate.excepted), (5_000, 3), "suffix-aware: www.legal1.org is allowed with legal1.org");
    assert!(gate.entries.iter().any(|held| held.pattern == "drive.google.com"));
    assert!(!names(&loaded).contains("google.com") && names(&loaded).contains("legal7000.org"));
}
