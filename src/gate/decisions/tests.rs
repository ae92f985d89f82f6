//! Decisions survive, and a file that cannot be read is never overwritten.

use std::fs;

use super::*;
use crate::name::Name;

const NOW: UnixTime = UnixTime(1_700_000_000);

fn wire(name: &str) -> Vec<u8> {
    Name::parse(name).expect("a name").wire().to_vec()
}

fn released(decisions: &mut Decisions, list: &str, pattern: &str) {
    decisions.decide(list, pattern, Verdict::Released, "cli:root", "ordered", NOW).expect("decided");
}

#[test]
fn what_was_decided_is_remembered_with_scope_list_and_reason() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = Decisions::path(&dir.path().join("state"));
    let mut decisions = Decisions::load(&path).expect("none yet");
    released(&mut decisions, "a", "Medium.com.");
    released(&mut decisions, "a", "*.биржа.example");
    decisions.decide("b", "=us.com", Verdict::Dismissed, "cli:root", "a typing error", NOW).expect("decided");
    decisions.accept("b", &"AB".repeat(32), "api:feed", "the new register", NOW).expect("accepted");
    decisions.save(&path).expect("saved");
    let again = Decisions::load(&path).expect("read");
    assert_eq!(again, decisions);
    assert_eq!(again.len(), 4);
    let verdict = |list, scope, name: &str| again.of(list, scope, &wire(name)).map(|decision| decision.verdict);
    assert_eq!(verdict("a", Scope::Subtree, "medium.com"), Some(Verdict::Released));
    assert_eq!(verdict("a", Scope::Exact, "medium.com"), None, "another scope is another entry");
    assert_eq!(verdict("b", Scope::Subtree, "medium.com"), None, "another list is another decision");
    assert_eq!(verdict("a", Scope::Below, "xn--80abph4b.example"), Some(Verdict::Released));
    assert_eq!(verdict("b", Scope::Exact, "us.com"), Some(Verdict::Dismissed));
    assert!(again.accepts("b", &"ab".repeat(32)) && !again.accepts("a", &"ab".repeat(32)));
    // Nobody decides so, but the file may be edited by hand.
    let dismissed = fs::read_to_string(&path).expect("text").replace("\"released\"", "\"dismissed\"");
    let other = dir.path().join("dismissed.json");
    fs::write(&other, dismissed).expect("written");
    assert!(!Decisions::load(&other).expect("read").accepts("b", &"ab".repeat(32)), "dismissed is not accepted");
    let text = fs::read_to_string(&path).expect("text");
    assert!(text.contains("\"pattern\": \"medium.com\"") && text.contains("2023-11-14T22:13:20Z"), "{text}");
}

#[test]
fn the_last_word_counts_and_can_be_taken_back() {
    let mut decisions = Decisions::default();
    released(&mut decisions, "a", "x.example");
    released(&mut decisions, "a", "y.example");
    decisions.decide("a", "x.example", Verdict::Dismissed, "me", "no", NOW).expect("decided");
    assert_eq!(decisions.len(), 2);
    let of = |decisions: &Decisions, name: &str| decisions.of("a", Scope::Subtree, &wire(name)).map(|d| d.verdict);
    assert_eq!(of(&decisions, "x.example"), Some(Verdict::Dismissed));
    let subject = Subject::Pattern("x.example".into());
    assert!(decisions.withdraw("a", &subject) && !decisions.withdraw("a", &subject));
    assert_eq!(of(&decisions, "x.example"), None);
    assert_eq!(of(&decisions, "y.example"), Some(Verdict::Released));
}

#[test]
fn a_file_that_cannot_be_read_is_told_and_never_overwritten() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("decisions.json");
    let decision =
        r#"{"list":"a","pattern":"a..b","verdict":"released","by":"x","reason":"y","time":"2023-11-14T22:13:20Z"}"#;
    for damage in [
        "{\"format\": 1, \"decisions\": [".to_owned(),
        "{\"format\": 2, \"decisions\": []}".to_owned(),
        String::new(),
        "[]".to_owned(),
        format!("{{\"format\": 1, \"decisions\": [{decision}]}}"),
    ] {
        fs::write(&path, &damage).expect("written");
        let error = Decisions::load(&path).expect_err("not ours").to_string();
        assert!(error.contains("decisions.json") && error.contains("not written"), "{error}");
        let mut none = Decisions::default();
        released(&mut none, "a", "x.example");
        assert!(matches!(none.save(&path), Err(DecisionsError::Changed { .. })));
        assert_eq!(fs::read_to_string(&path).expect("read"), damage);
    }
    // A later version may mean something else by all other keys: it is told by the one that says so.
    fs::write(&path, "{\"format\": 2, \"decisions\": {\"a\": []}}").expect("written");
    let error = Decisions::load(&path).expect_err("not ours").to_string();
    assert!(error.contains("of format 2, which another version of qalqan wrote"), "{error}");
    // A folder in its place cannot be read whoever asks.
    fs::remove_file(&path).expect("removed");
    fs::create_dir(&path).expect("made");
    assert!(matches!(Decisions::load(&path), Err(DecisionsError::Unreadable { .. })));
}

#[test]
fn two_operators_at_once_do_not_undo_each_other() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("decisions.json");
    let (mut one, mut two) = (Decisions::load(&path).expect("none"), Decisions::load(&path).expect("none"));
    released(&mut one, "a", "one.example");
    one.save(&path).expect("saved");
    released(&mut two, "a", "two.example");
    let error = two.save(&path).expect_err("changed meanwhile").to_string();
    assert!(error.contains("somebody else"), "{error}");
    let mut two = Decisions::load(&path).expect("read");
    released(&mut two, "a", "two.example");
    two.save(&path).expect("saved");
    released(&mut two, "a", "three.example");
    two.save(&path).expect("saved again by the same");
    assert_eq!(Decisions::load(&path).expect("read").len(), 3);
}

#[test]
fn what_makes_no_decision_changes_nothing() {
    let mut decisions = Decisions::default();
    let mut decide = |pattern: &str, by: &str, reason: &str| {
        decisions.decide("a", pattern, Verdict::Released, by, reason, NOW).expect_err("refused")
    };
    assert!(matches!(decide("a b", "me", "why"), DecideError::Pattern(_)));
    assert_eq!(decide("a.example", " ", "why"), DecideError::Text("who decides"));
    assert_eq!(decide("a.example", "me", "a\nb"), DecideError::Text("a reason"));
    assert_eq!(decide("a.example", "me", &"x".repeat(MAX_TEXT + 1)), DecideError::Text("a reason"));
    assert_eq!(decisions.accept("a", "abc", "me", "why", NOW), Err(DecideError::Version));
    assert!(decisions.is_empty());
}

#[test]
fn there_is_an_end_to_deciding_one_by_one() {
    let mut decisions = Decisions::default();
    for number in 0..MAX_DECISIONS {
        released(&mut decisions, "a", &format!("n{number}.example"));
    }
    let more = decisions.decide("a", "more.example", Verdict::Released, "me", "why", NOW);
    assert_eq!(more, Err(DecideError::TooMany));
    assert!(decisions.of("a", Scope::Subtree, &wire("more.example")).is_none());
    released(&mut decisions, "a", "n7.example");
    assert_eq!(decisions.len(), MAX_DECISIONS);
}
