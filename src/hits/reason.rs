//! Why a name matched: asked of the snapshot that decided, and remembered for names that are asked for often.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::event::{Attribution, Cause};
use crate::name;
use crate::rule::Mode;

/// Generations that are remembered; a hit is written long before that many reloads have passed.
const GENERATIONS: usize = 8;
/// Names whose reasons are remembered: more than most blocklists see in an hour …
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
            for order in &cause.orders {
                if !reason.orders.contains(order) {
                    reason.orders.push(order.clone());
                }
            }
            let Cause { list, file, line, rule, orders } = cause;
            if at == 0 {
                reason.first = First { list: Some(list), rule: Some(rule), line: Some(line), file: Some(file) };
            } else if at < MAX_RULES {
                reason.also.push(Also { list, rule, line, file, orders });
            }
        }
        reason
    }
}

/// Reasons by name. A popular blocked name costs one look-up a hit, not a walk over the set.
#[derive(Default)]
pub(super) struct Reasons {
    known: HashMap<Box<[u8]>, Known>,
    /// Octets of what is remembered, about.
    bytes: usize,
}

/// A remembered reason and what it holds for.
struct Known {
    generation: Option<u64>,
    mode: Mode,
    reason: Arc<Rendered>,
}

/// A reason as it stands in a line.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Rendered {
    /// The matched name as a JSON string.
    pub(super) name: Box<[u8]>,
    /// The fields of [`Reason`], without the braces around them.
    pub(super) fields: Box<[u8]>,
}

impl Rendered {
    /// Makes JSON of a reason.
    fn new(name: &[u8], reason: &Reason) -> Self {
        // Strings, numbers and arrays of them into memory: serde_json has nothing to refuse here.
        let json = serde_json::to_vec(reason).unwrap_or_default();
        let fields = json.strip_prefix(b"{").and_then(|json| json.strip_suffix(b"}")).unwrap_or_default();
        Self { name: name_json(name), fields: fields.into() }
    }
}

/// A wire name as a JSON string.
pub(super) fn name_json(wire: &[u8]) -> Box<[u8]> {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = name::show(wire, &mut text);
    serde_json::to_vec(&text).unwrap_or_default().into()
}

impl Reasons {
    /// Why `name` (lower-case wire bytes) matched lists of `mode` in `generation`.
    pub(super) fn of(&mut self, name: &[u8], mode: Mode, generation: u64, from: &Attributions) -> Arc<Rendered> {
        if let Some(known) = self.known.get(name)
            && known.generation == Some(generation)
            && known.mode == mode
        {
            return Arc::clone(&known.reason);
        }
        let source = from.of(generation);
        let generation = source.as_ref().map(|(generation, _)| *generation);
        if let Some(known) = self.known.get(name)
            && known.generation == generation
            && known.mode == mode
        {
            return Arc::clone(&known.reason);
        }
        let causes = source.map(|(_, attribution)| attribution.causes(name, mode)).unwrap_or_default();
        let reason = Arc::new(Rendered::new(name, &Reason::new(causes)));
        if self.known.len() >= REMEMBERED || self.bytes >= REMEMBERED_BYTES {
            self.known.clear();
            self.bytes = 0;
        }
        self.bytes += name.len() + reason.name.len() + reason.fields.len();
        self.known.insert(name.into(), Known { generation, mode, reason: Arc::clone(&reason) });
        reason
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// Says its own number as the list's name and counts how often it is asked.
    struct Numbered(u64, AtomicUsize);

    impl Attribution for Numbered {
        fn causes(&self, _: &[u8], mode: Mode) -> Vec<Cause> {
            self.1.fetch_add(1, Ordering::Relaxed);
            let cause = |list: String, orders: &[&str]| Cause {
                list,
                file: "f".into(),
                line: 7,
                rule: "r".into(),
                orders: orders.iter().map(|&o| o.into()).collect(),
            };
            vec![cause(format!("{} {mode}", self.0), &["1", "2"]), cause("second".into(), &["2", "3"])]
        }
    }

    /// The fields as they can be read back from a line.
    fn json(reason: &Rendered) -> serde_json::Value {
        let text = [b"{", &*reason.fields, b"}"].concat();
        serde_json::from_slice(&text).expect("fields of an object")
    }

    fn list(reason: &Rendered) -> Option<String> {
        json(reason)["list"].as_str().map(str::to_owned)
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
        let name = b"\x01a\0";
        let nothing = Rendered::new(name, &Reason::default());
        assert_eq!(*reasons.of(name, Mode::Enforce, 5, &from), nothing, "none announced");
        for generation in 1..=10 {
            from.announce(generation, Arc::new(Numbered(generation, AtomicUsize::new(0))));
        }
        let asked = [(10, "10 enforce"), (3, "3 enforce"), (2, "10 enforce"), (11, "10 enforce")];
        for (generation, expected) in asked {
            assert_eq!(list(&reasons.of(name, Mode::Enforce, generation, &from)), Some(expected.to_owned()));
        }
        assert_eq!(list(&reasons.of(name, Mode::Shadow, 10, &from)), Some("10 shadow".to_owned()));
        let reason = json(&reasons.of(name, Mode::Shadow, 10, &from));
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
            reasons.of(b"\x01a\0", Mode::Enforce, 1, &from);
        }
        assert_eq!(source.1.load(Ordering::Relaxed), 1);
        for number in 0..u16::MAX {
            let [high, low] = number.to_be_bytes();
            reasons.of(&[2, high, low, 0], Mode::Enforce, 1, &from);
            assert!(reasons.known.len() <= REMEMBERED);
        }
    }
}
