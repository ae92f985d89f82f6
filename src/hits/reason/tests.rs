//! Who explains a hit, how often, and for whom.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use super::*;
use crate::event::Attribution;
use crate::hits::attribution::LATE;

/// Says its own number as the list's name and counts how often it is asked.
struct Numbered(u64, AtomicUsize);

impl Attribution for Numbered {
    fn causes(&self, _: &[u8], mode: Mode, group: u16) -> Vec<Cause> {
        let group = if group == 0 { String::new() } else { format!(" for {group}") };
        self.says(&(mode.to_string() + &group))
    }

    fn causes_of(&self, rule: u32) -> Option<Vec<Cause>> {
        (rule > 0).then(|| self.says(&format!("rule {rule}")))
    }

    fn rules(&self) -> u32 {
        10
    }

    fn causes_at(&self, rule: u32) -> Option<(Outcome, Vec<Cause>)> {
        (rule < 10).then(|| (Outcome::Excepted, self.says(&format!("at {rule}"))))
    }

    fn group(&self, group: u16) -> Option<Arc<str>> {
        (group > 0).then(|| format!("group {group}").into())
    }
}

impl Numbered {
    fn says(&self, what: &str) -> Vec<Cause> {
        self.1.fetch_add(1, Ordering::Relaxed);
        let cause = |list: String, orders: &[&str]| Cause {
            list,
            file: "f".into(),
            line: 7,
            rule: "r".into(),
            orders: orders.iter().map(|&id| crate::hits::tests::order(id)).collect(),
        };
        vec![cause(format!("{} {what}", self.0), &["1", "2"]), cause("second".into(), &["2", "3"])]
    }
}

/// The fields of a hit, as they can be read back from a line.
fn json(
    reasons: &mut Reasons,
    (name, rule): (&[u8], Option<u32>),
    mode: Mode,
    generation: u64,
    from: &Attributions,
) -> serde_json::Value {
    let (alone, rule, outcome) = (rule.is_some(), rule.unwrap_or(0), mode.into());
    let hit = Hit { name, rule, alone, outcome, generation, ..crate::hits::tests::hit(&[]) };
    let mut text = b"{".to_vec();
    reasons.of(&hit, from, |known| text.extend_from_slice(&known.fields));
    text.extend_from_slice(b"\"}");
    serde_json::from_slice(&text).expect("fields of an object")
}

#[test]
fn a_snapshot_is_held_for_some_seconds_after_the_next_and_the_newest_always() {
    let from = Attributions::default();
    let held: Vec<Arc<dyn Attribution>> =
        (1..=3).map(|number| Arc::new(Numbered(number, AtomicUsize::new(0))) as _).collect();
    for (number, attribution) in (1..).zip(&held) {
        from.announce(number, Arc::clone(attribution));
    }
    let owners = || held.iter().map(Arc::strong_count).collect::<Vec<_>>();
    let now = Instant::now();
    from.forget_late(now);
    assert_eq!(owners(), [2, 2, 2]);
    from.forget_late(now + LATE);
    assert_eq!(from.retired().len(), 2);
    assert_eq!(owners(), [1, 1, 2]);
    assert_eq!(from.of(1).map(|(generation, _)| generation), Some(3));
}

#[test]
fn the_snapshot_that_decided_explains_or_else_the_newest() {
    let from = Attributions::default();
    let mut reasons = Reasons::new(true);
    let name = (&b"\x01a\0"[..], None);
    let mut of = |mode, generation, from: &Attributions| json(&mut reasons, name, mode, generation, from);
    let nothing = serde_json::json!({
        "list": null, "rule": null, "line": null, "file": null, "orders": [], "mode": "enforce", "answer": "",
    });
    assert_eq!(of(Mode::Enforce, 5, &from), nothing, "none announced");
    for generation in 1..=10 {
        from.announce(generation, Arc::new(Numbered(generation, AtomicUsize::new(0))));
    }
    let asked = [(10, "10 enforce"), (3, "3 enforce"), (2, "10 enforce"), (11, "10 enforce")];
    for (generation, expected) in asked {
        assert_eq!(of(Mode::Enforce, generation, &from)["list"], expected);
    }
    let reason = of(Mode::Shadow, 10, &from);
    assert_eq!(reason["list"], "10 shadow");
    assert_eq!(reason["orders"], serde_json::json!(["1", "2", "3"]), "of all rules, each once");
    assert_eq!(reason["also"].as_array().map(Vec::len), Some(1));
    assert_eq!(reason["also"][0]["orders"], serde_json::json!(["2", "3"]));
}

#[test]
fn a_name_is_explained_once_a_generation_and_memory_is_bounded() {
    let from = Attributions::default();
    let source = Arc::new(Numbered(1, AtomicUsize::new(0)));
    from.announce(1, Arc::clone(&source) as Arc<dyn Attribution>);
    let mut reasons = Reasons::new(true);
    for _ in 0..100 {
        json(&mut reasons, (b"\x01a\0", None), Mode::Enforce, 1, &from);
    }
    assert_eq!(source.1.load(Ordering::Relaxed), 1);
    for number in 0..u16::MAX {
        let [high, low] = number.to_be_bytes();
        json(&mut reasons, (&[2, high, low, 0], None), Mode::Enforce, 1, &from);
        json(&mut reasons, (b"\x01b\0", Some(number.into())), Mode::Enforce, 1, &from);
        assert!(reasons.names.len() + reasons.rules.len() <= REMEMBERED);
    }
}

#[test]
fn a_rule_is_explained_once_for_all_names_and_only_by_its_own_generation() {
    let from = Attributions::default();
    let old = Arc::new(Numbered(1, AtomicUsize::new(0)));
    from.announce(1, Arc::clone(&old) as Arc<dyn Attribution>);
    let mut reasons = Reasons::new(true);
    let of = |reasons: &mut Reasons, name: &[u8], rule, mode, generation| {
        json(reasons, (name, Some(rule)), mode, generation, &from)["list"].clone()
    };
    for name in [b"\x01a\0", b"\x01b\0", b"\x01c\0"] {
        assert_eq!(of(&mut reasons, name, 7, Mode::Enforce, 1), "1 rule 7");
    }
    assert_eq!(old.1.load(Ordering::Relaxed), 1);
    // Number 0 is one that only a look at the name explains.
    assert_eq!(of(&mut reasons, b"\x01a\0", 0, Mode::Enforce, 1), "1 enforce");
    let new = Arc::new(Numbered(2, AtomicUsize::new(0)));
    from.announce(2, Arc::clone(&new) as Arc<dyn Attribution>);
    assert_eq!(of(&mut reasons, b"\x01a\0", 7, Mode::Enforce, 2), "2 rule 7");
    assert_eq!(of(&mut reasons, b"\x01a\0", 7, Mode::Enforce, 1), "1 rule 7");
    // Nobody knows generation 3, in which number 7 may have been another rule.
    assert_eq!(of(&mut reasons, b"\x01a\0", 7, Mode::Enforce, 3), "2 enforce");
}

#[test]
fn every_group_has_reasons_of_its_own_each_explained_once() {
    let from = Attributions::default();
    let source = Arc::new(Numbered(1, AtomicUsize::new(0)));
    from.announce(1, Arc::clone(&source) as Arc<dyn Attribution>);
    let mut reasons = Reasons::new(true);
    let mut of = |name: &[u8], rule: Option<u32>, group, generation| {
        let (alone, rule) = (rule.is_some(), rule.unwrap_or(0));
        let hit = Hit { name, rule, alone, group, generation, ..crate::hits::tests::hit(&[]) };
        reasons.of(&hit, &from, |known| {
            let list = known.why.causes.first().map(|cause| cause.list.clone()).unwrap_or_default();
            assert_eq!(
                known.why.group.is_some(),
                String::from_utf8_lossy(&known.fields).contains("\"group\":\"group ")
            );
            (list, known.why.group.as_deref().unwrap_or_default().to_owned())
        })
    };
    let row = |list: &str, group: &str| (list.to_owned(), group.to_owned());
    for _ in 0..3 {
        assert_eq!(of(b"\x01a\0", None, 0, 1), row("1 enforce", ""));
        assert_eq!(of(b"\x01a\0", None, 1, 1), row("1 enforce for 1", "group 1"));
        assert_eq!(of(b"\x01a\0", None, 258, 1), row("1 enforce for 258", "group 258"));
        assert_eq!(of(b"\x01a\0", Some(7), 1, 1), row("1 rule 7", "group 1"));
        assert_eq!(of(b"\x01a\0", Some(7), 0, 1), row("1 rule 7", ""));
    }
    assert_eq!(source.1.load(Ordering::Relaxed), 5);
    // In another generation the number may have meant another group.
    assert_eq!(of(b"\x01a\0", None, 1, 2), row("1 enforce", ""));
}
