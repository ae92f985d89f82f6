//! Why a name matched: asked of the snapshot that decided, and remembered for names that are asked for often.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;
use serde::Serialize;

use super::attribution::{Attributions, Source};
use crate::event::{Cause, Hit, Outcome, Subject, Why};
use crate::rule::{Mode, Order};

/// Rules and names whose reasons are remembered: more than most blocklists see in an hour …
const REMEMBERED: usize = 16_384;
/// … unless they are long.
const REMEMBERED_BYTES: usize = 10 << 20;
/// Rules of one hit that are written out; further ones still give their orders.
const MAX_RULES: usize = 256;

/// The part of a line that says which rules and orders a hit rests on.
#[derive(Debug, Default, PartialEq, Serialize)]
struct Reason<'a> {
    /// The rule that decided; all `None` if no snapshot knows the hit any more.
    #[serde(flatten)]
    first: First<'a>,
    /// All distinct orders of all rules.
    orders: Vec<&'a str>,
    /// The other rules.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    also: Vec<Also<'a>>,
    /// The client's group, if it is in one.
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<&'a str>,
}

/// The rule that decided.
#[derive(Debug, Default, PartialEq, Serialize)]
struct First<'a> {
    list: Option<&'a str>,
    rule: Option<&'a str>,
    line: Option<u32>,
    file: Option<&'a str>,
}

/// A further rule that matched.
#[derive(Debug, PartialEq, Serialize)]
struct Also<'a> {
    list: &'a str,
    rule: &'a str,
    line: u32,
    file: &'a str,
    orders: Vec<&'a str>,
}

impl<'a> Reason<'a> {
    /// From what the snapshot says.
    fn new(causes: &'a [Cause], group: Option<&'a str>) -> Self {
        let mut reason = Self { group, ..Self::default() };
        for (at, Cause { list, file, line, rule, orders }) in causes.iter().enumerate() {
            let orders: Vec<&str> = orders.iter().map(|order| order.id.as_str()).collect();
            for order in &orders {
                if !reason.orders.contains(order) {
                    reason.orders.push(order);
                }
            }
            if at == 0 {
                reason.first = First { list: Some(list), rule: Some(rule), line: Some(*line), file: Some(file) };
            } else if at < MAX_RULES {
                reason.also.push(Also { list, rule, line: *line, file, orders });
            }
        }
        reason
    }
}

/// Reasons that were asked for, as those who take hits want them. What rests on one rule is remembered by that rule,
/// whatever name below it was asked for; what rests on more, by name; both for each group of clients.
pub(super) struct Reasons {
    /// By rule and group.
    rules: HashMap<(u32, u16), Known, RandomState>,
    /// By name, with the two octets of the group behind it: no name ends so that the two could be mistaken.
    names: HashMap<Box<[u8]>, Known, RandomState>,
    /// The name at hand with its group.
    name: Vec<u8>,
    /// Of hits of which nothing but the rule that decided is known, and of exceptions.
    decided: HashMap<u32, Known, RandomState>,
    /// Of hits that nobody can explain, by outcome.
    unknown: [Option<Known>; Outcome::ALL.len()],
    /// Octets of what is remembered, about.
    bytes: usize,
    /// Who explains the hits at hand.
    source: Option<Source>,
    /// Whether anybody wants JSON.
    json: bool,
    /// How many were made.
    made: u64,
}

/// A remembered reason and what it holds for.
pub(super) struct Known {
    /// `None`: nobody was there to explain it.
    generation: Option<u64>,
    outcome: Outcome,
    /// The reason.
    pub(super) why: Arc<Why>,
    /// As it stands in a line: the fields of [`Reason`], the mode, and all of the answer but its value.
    pub(super) fields: Box<[u8]>,
}

impl Known {
    /// Whether it is the reason of such a hit.
    fn is(&self, generation: Option<u64>, outcome: Outcome) -> bool {
        self.generation == generation && self.outcome == outcome
    }
}

impl Reasons {
    /// With nothing remembered; `json`: somebody wants [`Known::fields`].
    pub(super) fn new(json: bool) -> Self {
        Self {
            rules: HashMap::default(),
            names: HashMap::default(),
            name: Vec::new(),
            decided: HashMap::default(),
            unknown: [const { None }; Outcome::ALL.len()],
            bytes: 0,
            source: None,
            json,
            made: 0,
        }
    }

    /// Shows `then` why `hit` matched.
    pub(super) fn of<R>(&mut self, hit: &Hit<'_>, from: &Attributions, then: impl FnOnce(&Known) -> R) -> R {
        let mode = match hit.outcome {
            Outcome::Blocked => Mode::Enforce,
            Outcome::Shadow => Mode::Shadow,
            Outcome::Excepted => return self.of_decided((hit.generation, hit.rule), Some(hit.outcome), from, then),
        };
        let name = hit.target.unwrap_or(hit.name);
        if hit.alone && hit.target.is_none() {
            let key = (hit.rule, hit.group);
            if let Some(known) = self.rules.get(&key)
                && known.is(Some(hit.generation), hit.outcome)
            {
                return then(known);
            }
            // The numbers of another generation mean other rules.
            if let Some((generation, source)) = self.source(hit.generation, from)
                && generation == hit.generation
                && let Some(causes) = source.causes_of(hit.rule)
            {
                let group = source.group(hit.group);
                let known = self.explained(Some(generation), hit.outcome, causes, group, 0);
                let result = then(&known);
                self.rules.insert(key, known);
                return result;
            }
        }
        self.name.clear();
        self.name.extend_from_slice(name);
        self.name.extend_from_slice(&hit.group.to_be_bytes());
        if let Some(known) = self.names.get(&*self.name)
            && known.is(Some(hit.generation), hit.outcome)
        {
            return then(known);
        }
        let source = self.source(hit.generation, from);
        let generation = source.as_ref().map(|(generation, _)| *generation);
        if let Some(known) = self.names.get(&*self.name)
            && known.is(generation, hit.outcome)
        {
            return then(known);
        }
        let (mut causes, mut group) = (Vec::new(), None);
        if let Some((generation, source)) = source {
            // As rules, groups have other numbers in another generation: then all lists are looked at.
            let number = if generation == hit.generation { hit.group } else { 0 };
            (causes, group) = (source.causes(name, mode, number), source.group(number));
        }
        let known = self.explained(generation, hit.outcome, causes, group, self.name.len());
        let result = then(&known);
        self.names.insert(self.name.as_slice().into(), known);
        result
    }

    /// Shows `then` what can be said of a hit of which only generation and the rule that decided are known, and perhaps
    /// the outcome.
    pub(super) fn of_decided<R>(
        &mut self,
        (generation, rule): (u64, u32),
        outcome: Option<Outcome>,
        from: &Attributions,
        then: impl FnOnce(&Known) -> R,
    ) -> R {
        let fits = |found: Outcome| outcome.is_none_or(|outcome| outcome == found);
        if let Some(known) = self.decided.get(&rule)
            && known.generation == Some(generation)
            && fits(known.outcome)
        {
            return then(known);
        }
        if let Some((known, source)) = self.source(generation, from)
            && known == generation
            && let Some((found, causes)) = source.causes_at(rule)
            && fits(found)
        {
            let known = self.explained(Some(generation), found, causes, None, 0);
            let result = then(&known);
            self.decided.insert(rule, known);
            return result;
        }
        self.of_unknown(outcome.unwrap_or(Outcome::Blocked), then)
    }

    /// Shows `then` what is said of a hit that nobody can explain.
    pub(super) fn of_unknown<R>(&mut self, outcome: Outcome, then: impl FnOnce(&Known) -> R) -> R {
        if self.unknown[outcome as usize].is_none() {
            self.unknown[outcome as usize] = Some(self.explained(None, outcome, Vec::new(), None, 0));
        }
        match &self.unknown[outcome as usize] {
            Some(known) => then(known),
            None => then(&self.explained(None, outcome, Vec::new(), None, 0)),
        }
    }

    /// Explains hits of this generation by this from now on, until [`Self::rest`].
    pub(super) fn lend(&mut self, source: Source) {
        self.source = Some(source);
    }

    /// Lets go of the snapshot that explained the last hits.
    pub(super) fn rest(&mut self) {
        self.source = None;
    }

    /// Who explains hits of `generation`, or else the newest.
    fn source(&mut self, generation: u64, from: &Attributions) -> Option<Source> {
        if self.source.as_ref().is_none_or(|(known, _)| *known != generation) {
            self.source = from.of(generation);
        }
        self.source.clone()
    }

    /// A reason made of causes; it is remembered with a key of `key` octets, for which room is made.
    fn explained(
        &mut self,
        generation: Option<u64>,
        outcome: Outcome,
        causes: Vec<Cause>,
        group: Option<Arc<str>>,
        key: usize,
    ) -> Known {
        let fields = if self.json { fields(&Reason::new(&causes, group.as_deref()), outcome) } else { Box::default() };
        if self.rules.len() + self.names.len() + self.decided.len() >= REMEMBERED || self.bytes >= REMEMBERED_BYTES {
            self.rules.clear();
            self.names.clear();
            self.decided.clear();
            self.bytes = 0;
        }
        self.bytes += key + fields.len() + heap(&causes);
        self.made += 1;
        let why = Why { id: self.made, subject: subject(outcome, &causes), causes: causes.into(), group };
        Known { generation, outcome, why: Arc::new(why), fields }
    }
}

/// What hits with these causes are counted under.
fn subject(outcome: Outcome, causes: &[Cause]) -> Subject {
    let (rule, list) = causes.first().map_or(("", ""), |first| (&first.rule, &first.list));
    let mut also: Vec<Box<str>> = Vec::new();
    let mut orders: Vec<Arc<Order>> = Vec::new();
    for cause in causes {
        if cause.list != list && also.iter().all(|other| **other != *cause.list) {
            also.push(cause.list.as_str().into());
        }
        for order in &cause.orders {
            if !orders.contains(order) {
                orders.push(Arc::clone(order));
            }
        }
    }
    Subject { outcome, rule: rule.into(), list: list.into(), also: also.into(), orders: orders.into() }
}

/// Octets that causes and their subject take, about.
fn heap(causes: &[Cause]) -> usize {
    let one = |cause: &Cause| {
        size_of::<Cause>() + 2 * (cause.rule.len() + cause.list.len()) + cause.file.len() + 16 * cause.orders.len()
    };
    size_of::<Why>() + size_of::<Known>() + causes.iter().map(one).sum::<usize>()
}

/// What of a line's fields a reason says, for [`Lines`](super::Lines).
pub fn json_fields(why: &Why) -> Box<[u8]> {
    fields(&Reason::new(&why.causes, why.group.as_deref()), why.subject.outcome)
}

/// The fields of a reason, without the braces around them, and what always follows.
fn fields(reason: &Reason<'_>, outcome: Outcome) -> Box<[u8]> {
    // Strings, numbers and arrays of them into memory: serde_json has nothing to refuse here.
    let json = serde_json::to_vec(reason).unwrap_or_default();
    let fields = json.strip_prefix(b"{").and_then(|json| json.strip_suffix(b"}")).unwrap_or_default();
    let rest = match outcome {
        Outcome::Shadow => &b",\"mode\":\"shadow\",\"answer\":\""[..],
        Outcome::Blocked => b",\"mode\":\"enforce\",\"answer\":\"",
        // Only streams have these.
        Outcome::Excepted => b",\"mode\":\"excepted\",\"answer\":\"",
    };
    [fields, rest].concat().into()
}

#[cfg(test)]
mod tests {
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
}
