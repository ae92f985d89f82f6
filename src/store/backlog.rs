//! What was counted and is not on disk yet: a second's worth, or all there is while the disk takes nothing.

use std::collections::HashMap;
use std::hash::Hash;
use std::ops::RangeInclusive;

use super::book::{Book, Key};
use crate::event::{AnswerKind, Outcome, Transport};
use crate::stats::delta::{Delta, Of};
use crate::util::{Days, Zone};

/// Counts kept while nothing can be written: some ten megabytes.
pub(super) const MAX_ROWS: usize = 200_000;
/// Counts of kinds and totals kept then.
const MAX_OTHERS: usize = 20_000;
/// Sketches' estimates kept then.
const MAX_CLIENTS: usize = 50_000;
/// The minutes there are: a clock that says something else is not set.
const MINUTES: RangeInclusive<i64> = 0..=4_223_371_679;
/// No count of a minute is larger: what adds up stays a whole number of the store.
const MAX_COUNT: u64 = 1 << 52;

/// What waits for the disk.
#[derive(Debug)]
pub(super) struct Backlog {
    pub(super) book: Book,
    pub(super) rows: HashMap<Place, Counts>,
    pub(super) kinds: HashMap<KindPlace, u64>,
    pub(super) totals: HashMap<TotalPlace, u64>,
    pub(super) clients: HashMap<ClientsPlace, u64>,
    /// Hits whose names were given up, and estimates that were, since the start.
    pub(super) nameless: u64,
    pub(super) lost_estimates: u64,
    days: Days,
}

/// A subject's minute; the day is in the zone of the statistics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Place {
    pub key: Key,
    pub minute: i64,
    pub day: i64,
}

/// Hits, attempts, and hits that were only counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub hits: u64,
    pub attempts: u64,
    pub unexamined: u64,
}

/// A kind's hour. Types without a name are one: clients could make up 65,000.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct KindPlace {
    pub hour: i64,
    pub day: i64,
    pub outcome: Outcome,
    pub qtype: Option<u16>,
    pub answer: AnswerKind,
    pub transport: Transport,
}

/// A metric's minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct TotalPlace {
    pub minute: i64,
    pub day: i64,
    pub metric: &'static str,
}

/// A sketch.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct ClientsPlace {
    pub day: i64,
    pub segment: u64,
    pub of: Of,
}

impl Backlog {
    /// Nothing waits; days are those of `zone`.
    pub(super) fn new(zone: Zone) -> Self {
        Self {
            book: Book::default(),
            rows: HashMap::new(),
            kinds: HashMap::new(),
            totals: HashMap::new(),
            clients: HashMap::new(),
            nameless: 0,
            lost_estimates: 0,
            days: Days::of(zone),
        }
    }

    /// Adds what the tally has counted.
    pub(super) fn take(&mut self, delta: Delta) {
        self.book.forget(&delta.forgotten);
        for (number, why) in delta.subjects {
            self.book.learn(number, why);
        }
        for row in delta.rows {
            let minute = there(row.minute);
            let place = Place { key: self.book.key(row.subject), minute, day: self.days.day(minute) };
            let counts = Counts { hits: row.hits, attempts: row.attempts, unexamined: row.unexamined };
            add_row(&mut self.rows, &mut self.book, place, counts);
        }
        for kind in delta.kinds {
            let minute = there(kind.minute);
            let place = KindPlace {
                hour: minute / 60,
                day: self.days.day(minute),
                outcome: kind.outcome,
                qtype: named_type(kind.qtype),
                answer: kind.answer,
                transport: kind.transport,
            };
            add(&mut self.kinds, place, kind.hits);
        }
        for clients in delta.clients {
            let place = ClientsPlace { day: clients.day, segment: clients.segment, of: clients.of };
            self.clients.insert(place, clients.estimate);
        }
    }

    /// Adds queries of a minute.
    pub(super) fn add_total(&mut self, minute: i64, metric: &'static str, value: u64) {
        let minute = there(minute);
        let day = self.days.day(minute);
        add(&mut self.totals, TotalPlace { minute, day, metric }, value);
    }

    /// Whether there is nothing to write.
    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.kinds.is_empty() && self.totals.is_empty() && self.clients.is_empty()
    }

    /// Hits that wait.
    pub(super) fn hits(&self) -> u64 {
        self.rows.values().map(|counts| counts.hits).sum()
    }

    /// All of it is on disk.
    pub(super) fn clear(&mut self) {
        for (place, _) in self.rows.drain() {
            self.book.done(place.key);
        }
        self.kinds.clear();
        self.totals.clear();
        self.clients.clear();
        // What an outage took is given back.
        self.rows.shrink_to(MAX_ROWS / 16);
        self.kinds.shrink_to(MAX_OTHERS / 16);
        self.totals.shrink_to(MAX_OTHERS / 16);
        self.clients.shrink_to(MAX_CLIENTS / 16);
    }

    /// Makes it small enough to wait for longer, the oldest first: minutes become hours, and if that is not enough, names
    /// are given up, never counts.
    pub(super) fn bound(&mut self) {
        self.bound_to(MAX_ROWS);
    }

    /// With another bound.
    fn bound_to(&mut self, max_rows: usize) {
        if self.rows.len() > max_rows {
            self.join_rows(|place| Place { minute: hour_of(place.minute), ..place });
        }
        if self.rows.len() > max_rows {
            let mut minutes: Vec<i64> = self.rows.keys().map(|place| place.minute).collect();
            minutes.sort_unstable();
            // Half of the room stays free, so that this is not done again at once.
            let last = minutes.get(minutes.len().saturating_sub(max_rows / 2)).copied().unwrap_or(i64::MAX);
            self.give_up_names(last);
        }
        if self.kinds.len() > MAX_OTHERS {
            rekey(&mut self.kinds, |place| KindPlace { qtype: None, ..place });
        }
        if self.kinds.len() > MAX_OTHERS {
            rekey(&mut self.kinds, |place| KindPlace { hour: place.hour.div_euclid(24) * 24, ..place });
        }
        if self.totals.len() > MAX_OTHERS {
            rekey(&mut self.totals, |place| TotalPlace { minute: hour_of(place.minute), ..place });
        }
        if self.totals.len() > MAX_OTHERS {
            rekey(&mut self.totals, |place| TotalPlace { minute: place.minute.div_euclid(1440) * 1440, ..place });
        }
        while self.clients.len() > MAX_CLIENTS {
            let Some(oldest) = self.clients.keys().map(|place| place.day).min() else { break };
            let before = self.clients.len();
            self.clients.retain(|place, _| place.day != oldest);
            self.lost_estimates += (before - self.clients.len()) as u64;
        }
    }

    /// Puts all rows up to a minute under no name.
    fn give_up_names(&mut self, last: i64) {
        let nameless = Outcome::ALL.map(|outcome| self.book.nameless(outcome));
        let mut hits = 0;
        for (place, counts) in std::mem::take(&mut self.rows) {
            let mut to = place;
            let outcome = self.book.subject(place.key).map_or(Outcome::Blocked, |subject| subject.outcome);
            if place.minute <= last && !nameless.contains(&place.key) {
                to.key = nameless[outcome as usize];
                hits += counts.hits;
            }
            add_row(&mut self.rows, &mut self.book, to, counts);
            self.book.done(place.key);
        }
        self.nameless += hits;
    }

    /// Puts rows elsewhere, where they may meet.
    fn join_rows(&mut self, to: impl Fn(Place) -> Place) {
        for (place, counts) in std::mem::take(&mut self.rows) {
            add_row(&mut self.rows, &mut self.book, to(place), counts);
            self.book.done(place.key);
        }
    }
}

/// Adds to a row; a new one holds its subject.
fn add_row(rows: &mut HashMap<Place, Counts>, book: &mut Book, place: Place, counts: Counts) {
    let row = rows.entry(place).or_insert_with(|| {
        book.wait(place.key);
        Counts::default()
    });
    row.hits = row.hits.saturating_add(counts.hits).min(MAX_COUNT);
    row.attempts = row.attempts.saturating_add(counts.attempts).min(MAX_COUNT);
    row.unexamined = row.unexamined.saturating_add(counts.unexamined).min(MAX_COUNT);
}

/// Adds to a count.
fn add<K: Eq + Hash>(counts: &mut HashMap<K, u64>, place: K, more: u64) {
    let count = counts.entry(place).or_default();
    *count = count.saturating_add(more).min(MAX_COUNT);
}

/// Puts counts elsewhere, where they may meet.
fn rekey<K: Eq + Hash>(counts: &mut HashMap<K, u64>, to: impl Fn(K) -> K) {
    for (place, count) in std::mem::take(counts) {
        add(counts, to(place), count);
    }
}

/// A minute of [`MINUTES`].
fn there(minute: i64) -> i64 {
    minute.clamp(*MINUTES.start(), *MINUTES.end())
}

/// The first minute of a minute's hour.
fn hour_of(minute: i64) -> i64 {
    minute.div_euclid(60) * 60
}

/// An RR type that has a name.
fn named_type(qtype: u16) -> Option<u16> {
    (!crate::hits::type_name(qtype).starts_with("TYPE")).then_some(qtype)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::store::testing::{delta, row, why};

    fn backlog() -> Backlog {
        Backlog::new(Zone::utc())
    }

    proptest! {
        #[test]
        fn no_count_is_lost_however_small_it_is_made(
            rows in proptest::collection::vec((0_u32..30, 0_i64..300, 1_u64..100), 1..300),
            bound in 4_usize..200,
        ) {
            let mut backlog = backlog();
            let subjects = (0..30).map(|number| (number, why(&format!("n{number}.example"), &[]))).collect();
            backlog.take(Delta { subjects, ..Delta::default() });
            let mut expected = 0;
            for (subject, minute, hits) in rows {
                backlog.take(delta([row(subject, minute, hits)]));
                expected += hits;
                backlog.bound_to(bound);
                // Hours of this test, under no name, are the least it can be.
                prop_assert!(backlog.rows.len() <= bound.max(5), "{}", backlog.rows.len());
            }
            prop_assert_eq!(backlog.hits(), expected);
            backlog.clear();
            backlog.book.forget(&(0..30).collect::<Vec<_>>());
            prop_assert!(backlog.book.len() <= Outcome::ALL.len(), "subjects go with what waited under them");
        }
    }

    #[test]
    fn names_are_given_up_only_when_hours_are_too_many() {
        let mut backlog = backlog();
        let subjects = (0..3).map(|number| (number, why(&format!("n{number}.example"), &[]))).collect();
        backlog.take(Delta { subjects, ..Delta::default() });
        for minute in 0..120 {
            backlog.take(delta([row(0, minute, 1), row(1, minute, 1), row(2, minute, 1)]));
        }
        backlog.bound_to(360);
        assert_eq!(backlog.rows.len(), 360, "there is room");
        backlog.bound_to(10);
        assert_eq!((backlog.rows.len(), backlog.nameless), (6, 0), "two hours of three names");
        backlog.bound_to(5);
        assert!(backlog.rows.len() <= 5 && backlog.nameless > 0);
        assert_eq!(backlog.hits(), 360);
    }

    #[test]
    fn types_nobody_knows_are_one() {
        assert_eq!((named_type(28), named_type(65_280), named_type(0)), (Some(28), None, None));
    }
}
