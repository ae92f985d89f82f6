//! Distinct clients of a day: HyperLogLog, of everybody, each rule, list and order.
//!
//! A sketch knows clients by a keyed hash only. The key is made when the first hit of a day comes and is written nowhere,
//! so sketches of two days, or of two runs, cannot be joined. An IPv6 client is its /64: hosts change the rest of
//! their address daily and hold several at once, and a household has one such network as it has one IPv4 address.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;

use cardinality_estimator::CardinalityEstimator;
use jiff::Timestamp;
use jiff::civil::{Date, date};
use jiff::tz::TimeZone;

use crate::event::{Outcome, Subject};
use crate::stats::{Clients, Of};

/// Octets of all sketches; when there are more, those of lists and orders grow on no more either …
const MAX_BYTES: usize = 16 << 20;
/// … and those of rules when there are more than this.
const MAX_RULE_BYTES: usize = 12 << 20;
/// What a sketch takes beside its estimator's heap and its name: itself, and its place in the index.
const EACH: usize = size_of::<Sketch>() + 32;
/// The largest an estimator becomes.
const WHOLE: usize = 3092;
/// Estimates that wait for the store; nobody takes them for days when there are more, and then they are dropped.
const MAX_WAITING: usize = 200_000;
/// Hits this much older than the day begins are of a clock that was set back, not late.
const LATE_MS: i64 = 3_600_000;
const DAY_MS: i64 = 86_400_000;

/// The sketches of the day.
pub(super) struct Sketches {
    zone: TimeZone,
    day: Option<Day>,
    key: RandomState,
    all: Vec<Sketch>,
    /// By hash of what they are of.
    index: HashMap<u64, u32, foldhash::fast::RandomState>,
    bytes: usize,
    changed: Vec<u32>,
    /// Estimates of days that are over.
    ended: Vec<Clients>,
    /// Another whenever places mean other sketches.
    epoch: u32,
    refused: u64,
}

/// A day in a time zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Day {
    /// Days since 1970.
    number: i64,
    /// The first millisecond, and the first of the next.
    start: i64,
    end: i64,
    segment: u64,
}

/// One of them.
struct Sketch {
    of: Of,
    estimator: CardinalityEstimator<u64>,
    changed: bool,
}

/// Which sketches a subject's clients belong to, while the epoch lasts.
#[derive(Debug, Default)]
pub(super) struct Places {
    epoch: u32,
    at: Box<[u32]>,
}

impl Sketches {
    /// Of days in this zone.
    pub(super) fn new(zone: TimeZone) -> Self {
        Self {
            zone,
            day: None,
            key: RandomState::new(),
            all: Vec::new(),
            index: HashMap::default(),
            bytes: 0,
            changed: Vec::new(),
            ended: Vec::new(),
            epoch: 0,
            refused: 0,
        }
    }

    /// When the day began: attempts that began before are seen again.
    pub(super) fn began(&self) -> i64 {
        self.day.map_or(i64::MIN, |day| day.start)
    }

    /// A client was seen at this time with a hit of this subject, whose places are kept in `places`.
    pub(super) fn see(&mut self, client: u64, unix_ms: i64, subject: &Subject, places: &mut Places) {
        if self.day.is_none_or(|day| unix_ms >= day.end || unix_ms < day.start.saturating_sub(LATE_MS)) {
            self.begin(unix_ms);
        }
        if places.epoch != self.epoch {
            *places = Places { epoch: self.epoch, at: self.places(subject) };
        }
        let hash = self.key.hash_one(client);
        for &at in &places.at {
            self.insert(at, hash);
        }
    }

    /// The estimates that changed since they were last asked for, and those of days that have ended since.
    pub(super) fn estimates(&mut self) -> Vec<Clients> {
        let mut estimates = std::mem::take(&mut self.ended);
        let Some(day) = self.day else { return estimates };
        for at in self.changed.drain(..) {
            let sketch = &mut self.all[at as usize];
            sketch.changed = false;
            estimates.push(Clients {
                day: day.number,
                segment: day.segment,
                of: sketch.of.clone(),
                estimate: sketch.estimator.estimate() as u64,
            });
        }
        estimates
    }

    /// How often a client was not added to a sketch for lack of memory.
    pub(super) fn refused(&self) -> u64 {
        self.refused
    }

    /// Ends the day and begins the one of this time, with another key.
    fn begin(&mut self, unix_ms: i64) {
        let ended = self.estimates();
        if ended.len() <= MAX_WAITING {
            self.ended = ended;
        }
        self.key = RandomState::new();
        let (number, start, end) = day_of(unix_ms, &self.zone);
        // SQLite's integers have a sign.
        self.day = Some(Day { number, start, end, segment: RandomState::new().hash_one(number) >> 1 });
        self.all = Vec::new();
        self.index = HashMap::default();
        self.bytes = 0;
        self.epoch += 1;
    }

    /// Where the clients of a subject belong.
    ///
    /// Everybody, rules and orders are about what is blocked; a list's clients are those of its hits, whatever became of
    /// them: a list in shadow mode has no others.
    fn places(&mut self, subject: &Subject) -> Box<[u32]> {
        let mut of = Vec::new();
        if subject.outcome == Outcome::Blocked {
            let orders = subject
                .orders
                .iter()
                .map(|order| Of::Order { id: order.id.as_str().into(), authority: order.authority.as_str().into() });
            of.extend(orders);
            of.push(Of::All);
            of.push(Of::Rule(subject.rule.clone()));
        }
        of.extend(std::iter::once(&subject.list).chain(&subject.also).map(|list| Of::List(list.clone())));
        of.into_iter().filter_map(|of| self.place(of)).collect()
    }

    /// The place of a sketch, which is made if need be and possible.
    fn place(&mut self, of: Of) -> Option<u32> {
        let hash = self.index.hasher().hash_one(&of);
        if let Some(&at) = self.index.get(&hash) {
            return Some(at).filter(|&at| self.all[at as usize].of == of);
        }
        let bytes = EACH + name_len(&of);
        if self.bytes + bytes > limit(&of) {
            self.refused += 1;
            return None;
        }
        let at = self.all.len() as u32;
        self.bytes += bytes;
        self.all.push(Sketch { of, estimator: CardinalityEstimator::new(), changed: false });
        self.index.insert(hash, at);
        Some(at)
    }

    /// Adds a client to a sketch.
    fn insert(&mut self, at: u32, hash: u64) {
        let Some(sketch) = self.all.get_mut(at as usize) else { return };
        let before = sketch.estimator.size_of();
        if before < WHOLE && self.bytes + WHOLE > limit(&sketch.of) {
            self.refused += 1;
            return;
        }
        sketch.estimator.insert_hash(hash);
        self.bytes += sketch.estimator.size_of() - before;
        if !sketch.changed {
            sketch.changed = true;
            self.changed.push(at);
        }
    }
}

/// A client as sketches and attempts know it.
pub(super) fn client_number(client: IpAddr) -> u64 {
    match client.to_canonical() {
        // No IPv6 client is in ffff::/16.
        IpAddr::V4(v4) => 0xffff_ffff_0000_0000 | u64::from(v4.to_bits()),
        IpAddr::V6(v6) => (v6.to_bits() >> 64) as u64,
    }
}

/// How many octets there may be for such a sketch to be made or to grow.
fn limit(of: &Of) -> usize {
    if matches!(of, Of::Rule(_)) { MAX_RULE_BYTES } else { MAX_BYTES }
}

/// Octets of the name of what a sketch is of.
fn name_len(of: &Of) -> usize {
    match of {
        Of::All => 0,
        Of::Rule(name) | Of::List(name) => name.len(),
        Of::Order { id, authority } => id.len() + authority.len(),
    }
}

/// Number, first millisecond and end of the day of this time; where no calendar goes, days of UTC.
fn day_of(unix_ms: i64, zone: &TimeZone) -> (i64, i64, i64) {
    let known = || -> Option<(i64, i64, i64)> {
        let day: Date = Timestamp::from_millisecond(unix_ms).ok()?.to_zoned(zone.clone()).date();
        let number = day.since(date(1970, 1, 1)).ok()?.get_days();
        let start = |day: Date| Some(day.to_zoned(zone.clone()).ok()?.timestamp().as_millisecond());
        Some((number.into(), start(day)?, start(day.tomorrow().ok()?)?))
    };
    known().unwrap_or_else(|| {
        let number = unix_ms.div_euclid(DAY_MS);
        let start = number.saturating_mul(DAY_MS);
        (number, start, start.saturating_add(DAY_MS))
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::Arc;

    use super::*;
    use crate::rule::Order;

    const NOON: i64 = 1_769_860_800_000;

    fn subject(outcome: Outcome, rule: &str) -> Subject {
        let order = Order { id: "4".into(), authority: "Agency".into(), ..Order::default() };
        let (list, also) = ("orders".into(), Box::from(["other".into()]));
        Subject { outcome, rule: rule.into(), list, also, orders: [Arc::new(order)].into() }
    }

    fn by_of(estimates: Vec<Clients>) -> HashMap<Of, u64> {
        estimates.into_iter().map(|clients| (clients.of, clients.estimate)).collect()
    }

    #[test]
    fn ten_thousand_clients_are_estimated_within_five_percent() {
        for _ in 0..3 {
            let mut sketches = Sketches::new(TimeZone::UTC);
            // The error is 1.6 % and falls differently with each key; only a broken sketch is off by more than three times that.
            let (subject, mut places) = (subject(Outcome::Blocked, "example.com"), Places::default());
            for turn in 0..2 {
                for client in 0..10_000_u64 {
                    sketches.see(client * 256 + 7, NOON + turn, &subject, &mut places);
                }
            }
            let estimates = by_of(sketches.estimates());
            let order = Of::Order { id: "4".into(), authority: "Agency".into() };
            for of in
                [Of::All, Of::Rule("example.com".into()), Of::List("orders".into()), Of::List("other".into()), order]
            {
                let estimate = estimates[&of];
                assert!((9_500..=10_500).contains(&estimate), "{of:?}: {estimate}");
            }
            assert_eq!((estimates.len(), sketches.refused()), (5, 0));
        }
    }

    #[test]
    fn few_clients_are_counted_exactly_and_what_is_not_blocked_counts_for_its_lists_alone() {
        let mut sketches = Sketches::new(TimeZone::UTC);
        for (outcome, clients) in [(Outcome::Shadow, 9), (Outcome::Blocked, 4)] {
            let (subject, mut places) = (subject(outcome, "example.com"), Places::default());
            (0..clients).for_each(|client| sketches.see(client, NOON, &subject, &mut places));
        }
        let estimates = by_of(sketches.estimates());
        assert_eq!((estimates[&Of::All], estimates[&Of::Rule("example.com".into())]), (4, 4));
        assert_eq!(estimates[&Of::List("orders".into())], 9);
        assert!(sketches.estimates().is_empty(), "told once");
    }

    #[test]
    fn a_day_ends_with_its_last_estimates_and_another_key() {
        let zone = TimeZone::fixed(jiff::tz::offset(5));
        let mut sketches = Sketches::new(zone);
        let (subject, mut places) = (subject(Outcome::Blocked, "example.com"), Places::default());
        // 23:59:59.999 and midnight at UTC+5.
        let midnight = 20_484 * DAY_MS + 19 * 3_600_000;
        sketches.see(1, midnight - 1, &subject, &mut places);
        let first = sketches.key.hash_one(1);
        sketches.see(1, midnight, &subject, &mut places);
        assert_ne!(sketches.key.hash_one(1), first);
        // A hit that is only late stays with the new day; a clock set back by two hours does not.
        sketches.see(2, midnight - 1, &subject, &mut places);
        let days = |estimates: Vec<Clients>| -> Vec<(i64, u64)> {
            estimates.into_iter().filter(|one| one.of == Of::All).map(|one| (one.day, one.estimate)).collect()
        };
        assert_eq!(days(sketches.estimates()), [(20_484, 1), (20_485, 2)]);
        let segment = sketches.day.expect("a day").segment;
        sketches.see(3, midnight - 7_200_000, &subject, &mut places);
        assert_eq!(days(sketches.estimates()), [(20_484, 1)]);
        assert_ne!(sketches.day.expect("a day").segment, segment);
        for wild in [i64::MIN, i64::MAX, 0, -1] {
            sketches.see(4, wild, &subject, &mut places);
        }
    }

    #[test]
    fn memory_is_bounded_and_lists_and_orders_outlive_rules() {
        let mut sketches = Sketches::new(TimeZone::UTC);
        for rule in 0..300_000 {
            let (subject, mut places) =
                (subject(Outcome::Blocked, &format!("a-name-of-{rule}.example")), Places::default());
            (0..3).for_each(|client| sketches.see(client * 1_000 + rule, NOON, &subject, &mut places));
        }
        assert!(sketches.bytes <= MAX_BYTES && sketches.refused() > 0);
        let of_rules = sketches.all.iter().filter(|sketch| matches!(sketch.of, Of::Rule(_)));
        assert!(of_rules.count() > 50_000);
        let estimates = by_of(sketches.estimates());
        assert!((285_000..=320_000).contains(&estimates[&Of::All]), "{}", estimates[&Of::All]);
    }

    #[test]
    fn a_client_is_an_address_or_a_network_of_64_bits() {
        let number = |text: &str| client_number(text.parse().expect("an address"));
        assert_eq!(number("192.0.2.1"), number("::ffff:192.0.2.1"));
        assert_ne!(number("192.0.2.1"), number("192.0.2.2"));
        assert_eq!(number("2001:db8:0:1::1"), number("2001:db8:0:1:aaaa::"));
        assert_ne!(number("2001:db8:0:1::1"), number("2001:db8:0:2::1"));
    }
}
