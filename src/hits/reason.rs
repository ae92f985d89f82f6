//! Why a name matched: asked of the snapshot that decided, and remembered for names that are asked for often.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use foldhash::fast::RandomState;
use serde::Serialize;

use crate::event::{Attribution, Cause, Hit};
use crate::rule::Mode;

/// Generations that are remembered; a hit is written long before that many reloads have passed.
const GENERATIONS: usize = 8;
/// Rules and names whose reasons are remembered: more than most blocklists see in an hour …
const REMEMBERED: usize = 16_384;
/// … unless they are long.
const REMEMBERED_BYTES: usize = 8 << 20;
/// Rules of one hit that are written out; further ones still give their orders.
const MAX_RULES: usize = 256;

/// How long a generation is remembered after the next one has come. Its last hits are written long before, and
/// until then a snapshot of a million names is held for nothing else.
const LATE: Duration = Duration::from_secs(5);

/// The attributions of the newest snapshots, oldest first.
#[derive(Default)]
pub(super) struct Attributions(Mutex<VecDeque<Announced>>);

/// One of them.
struct Announced {
    generation: u64,
    attribution: Arc<dyn Attribution>,
    at: Instant,
}

impl fmt::Debug for Attributions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Attributions")
    }
}

impl Attributions {
    /// Adds one, forgetting the oldest if there are too many.
    pub(super) fn announce(&self, generation: u64, attribution: Arc<dyn Attribution>) {
        let mut known = self.lock();
        known.retain(|other| other.generation != generation);
        known.push_back(Announced { generation, attribution, at: Instant::now() });
        if known.len() > GENERATIONS {
            known.pop_front();
        }
    }

    /// Forgets those whose time has passed by `now`.
    pub(super) fn forget_late(&self, now: Instant) {
        loop {
            let mut known = self.lock();
            if known.get(1).is_none_or(|next| now.saturating_duration_since(next.at) < LATE) {
                return;
            }
            let late = known.pop_front();
            // Dropping a large snapshot takes a while, in which the publisher need not wait.
            drop(known);
            drop(late);
        }
    }

    /// That of `generation`, or else the newest, with its own generation.
    fn of(&self, generation: u64) -> Option<(u64, Arc<dyn Attribution>)> {
        let known = self.lock();
        let found = known.iter().find(|other| other.generation == generation).or_else(|| known.back())?;
        Some((found.generation, Arc::clone(&found.attribution)))
    }

    /// The lock is only ever held for a moment here.
    fn lock(&self) -> MutexGuard<'_, VecDeque<Announced>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The part of a line that says which rules and orders a hit rests on.
#[derive(Debug, Default, PartialEq, Serialize)]
pub(super) struct Reason {
    /// The rule that decided; `None` if no snapshot knows the hit any more.
    #[serde(flatten)]
    pub(super) first: First,
    /// All distinct orders of all rules.
    pub(super) orders: Vec<String>,
    /// The other rules.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) also: Vec<Also>,
}

/// The rule that decided.
#[derive(Debug, Default, PartialEq, Serialize)]
pub(super) struct First {
    pub(super) list: Option<String>,
    pub(super) rule: Option<String>,
    pub(super) line: Option<u32>,
    pub(super) file: Option<String>,
}

/// A further rule that matched.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Also {
    list: String,
    rule: String,
    line: u32,
    file: String,
    orders: Vec<String>,
}

impl Reason {
    /// From what the snapshot says.
    fn new(causes: Vec<Cause>) -> Self {
        let mut reason = Self::default();
        for (at, cause) in causes.into_iter().enumerate() {
            let Cause { list, file, line, rule, orders } = cause;
            let orders: Vec<String> = orders.iter().map(|order| order.id.clone()).collect();
            for order in &orders {
                if !reason.orders.contains(order) {
                    reason.orders.push(order.clone());
                }
            }
            if at == 0 {
                reason.first = First { list: Some(list), rule: Some(rule), line: Some(line), file: Some(file) };
            } else if at < MAX_RULES {
                reason.also.push(Also { list, rule, line, file, orders });
            }
        }
        reason
    }
}

/// Reasons that were asked for, as they stand in a line. What rests on one rule is remembered by that rule, whatever name
/// below it was asked for; what rests on more, by name.
#[derive(Default)]
pub(super) struct Reasons {
    rules: HashMap<u32, Known, RandomState>,
    names: HashMap<Box<[u8]>, Known, RandomState>,
    /// Octets of what is remembered, about.
    bytes: usize,
    /// Who explains the hits at hand.
    source: Option<Source>,
}

/// A generation and its attribution.
type Source = (u64, Arc<dyn Attribution>);

/// A remembered reason and what it holds for.
struct Known {
    /// `None`: nobody was there to explain it.
    generation: Option<u64>,
    mode: Mode,
    fields: Box<[u8]>,
}

impl Known {
    /// Whether it is the reason of such a hit.
    fn is(&self, generation: Option<u64>, mode: Mode) -> bool {
        self.generation == generation && self.mode == mode
    }
}

impl Reasons {
    /// Appends why `hit` matched: the fields of [`Reason`], the mode, and all of the answer but its value.
    pub(super) fn push(&mut self, hit: &Hit<'_>, from: &Attributions, out: &mut Vec<u8>) {
        let name = hit.target.unwrap_or(hit.name);
        if let Some(rule) = hit.rule
            && hit.target.is_none()
        {
            if let Some(known) = self.rules.get(&rule)
                && known.is(Some(hit.generation), hit.mode)
            {
                return out.extend_from_slice(&known.fields);
            }
            // The numbers of another generation mean other rules.
            if let Some((generation, source)) = self.source(hit.generation, from)
                && generation == hit.generation
                && let Some(causes) = source.causes_of(rule)
            {
                let fields = self.render(Some(generation), hit.mode, causes, 0, out);
                self.rules.insert(rule, fields);
                return;
            }
        }
        if let Some(known) = self.names.get(name)
            && known.is(Some(hit.generation), hit.mode)
        {
            return out.extend_from_slice(&known.fields);
        }
        let source = self.source(hit.generation, from);
        let generation = source.as_ref().map(|(generation, _)| *generation);
        if let Some(known) = self.names.get(name)
            && known.is(generation, hit.mode)
        {
            return out.extend_from_slice(&known.fields);
        }
        let causes = source.map(|(_, source)| source.causes(name, hit.mode)).unwrap_or_default();
        let known = self.render(generation, hit.mode, causes, name.len(), out);
        self.names.insert(name.into(), known);
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

    /// Makes JSON of causes and appends it; what is remembered of it with a key of `key` octets still has to be. Room
    /// is made for it.
    fn render(
        &mut self,
        generation: Option<u64>,
        mode: Mode,
        causes: Vec<Cause>,
        key: usize,
        out: &mut Vec<u8>,
    ) -> Known {
        let fields = fields(&Reason::new(causes), mode);
        out.extend_from_slice(&fields);
        if self.rules.len() + self.names.len() >= REMEMBERED || self.bytes >= REMEMBERED_BYTES {
            self.rules.clear();
            self.names.clear();
            self.bytes = 0;
        }
        self.bytes += key + fields.len();
        Known { generation, mode, fields }
    }
}

/// The fields of a reason, without the braces around them, and what always follows.
fn fields(reason: &Reason, mode: Mode) -> Box<[u8]> {
    // Strings, numbers and arrays of them into memory: serde_json has nothing to refuse here.
    let json = serde_json::to_vec(reason).unwrap_or_default();
    let fields = json.strip_prefix(b"{").and_then(|json| json.strip_suffix(b"}")).unwrap_or_default();
    let rest = match mode {
        Mode::Enforce => b",\"mode\":\"enforce\",\"answer\":\"",
        Mode::Shadow => &b",\"mode\":\"shadow\",\"answer\":\""[..],
    };
    [fields, rest].concat().into()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// Says its own number as the list's name and counts how often it is asked.
    struct Numbered(u64, AtomicUsize);

    impl Attribution for Numbered {
        fn causes(&self, _: &[u8], mode: Mode) -> Vec<Cause> {
            self.says(&mode.to_string())
        }

        fn causes_of(&self, rule: u32) -> Option<Vec<Cause>> {
            (rule > 0).then(|| self.says(&format!("rule {rule}")))
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
        let hit = Hit { name, rule, mode, generation, ..crate::hits::tests::hit(&[]) };
        let mut text = b"{".to_vec();
        reasons.push(&hit, from, &mut text);
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
        assert_eq!(owners(), [1, 1, 2]);
        assert_eq!(from.of(1).map(|(generation, _)| generation), Some(3));
    }

    #[test]
    fn the_snapshot_that_decided_explains_or_else_the_newest() {
        let from = Attributions::default();
        let mut reasons = Reasons::default();
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
        let mut reasons = Reasons::default();
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
        let mut reasons = Reasons::default();
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
}
