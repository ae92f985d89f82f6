//! What was counted since the start, for metrics: at most a second old, read by anybody at any time.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::event::{AnswerKind, Form, Outcome, Subject, Transport};

/// Lists counted apart; hits of further ones count as those of [`OTHERS`].
const MAX_LISTS: usize = 2048;
/// Authorities counted apart; hits of further ones count as those of [`OTHERS`].
const MAX_AUTHORITIES: usize = 256;
/// The name that hits beyond the limits count under.
pub const OTHERS: &str = "other";

/// Numbers by outcome.
type ByOutcome = [AtomicU64; Outcome::ALL.len()];

/// The counts, as others hold them.
#[derive(Debug, Default)]
pub struct Live {
    lists: Group,
    authorities: Group,
    answers: [[AtomicU64; AnswerKind::ALL.len()]; Outcome::ALL.len()],
    transports: [ByOutcome; Transport::ALL.len()],
    pub(super) attempts: AtomicU64,
    pub(super) unexamined: AtomicU64,
    pub(super) evicted: AtomicU64,
    pub(super) clients_refused: AtomicU64,
    pub(super) coarse: AtomicU64,
    pub(super) lost: AtomicU64,
}

/// Counts by name.
#[derive(Debug, Default)]
struct Group(Mutex<HashMap<Box<str>, Arc<ByOutcome>>>);

/// A copy of the counts. Each number is exact by itself; between them hits may be under way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LiveCounts {
    /// Hits by outcome, in the order of [`Outcome::ALL`].
    pub hits: [u64; Outcome::ALL.len()],
    /// The same by the list of the rule that decided, sorted.
    pub lists: Vec<(Box<str>, [u64; Outcome::ALL.len()])>,
    /// Hits that rest on an order of this authority, sorted; one that rests on orders of several counts for each.
    pub authorities: Vec<(Box<str>, [u64; Outcome::ALL.len()])>,
    /// Hits by outcome and answer, those that occurred.
    pub answers: Vec<(Outcome, AnswerKind, u64)>,
    /// Hits by transport and outcome.
    pub transports: Vec<(Transport, [u64; Outcome::ALL.len()])>,
    /// Attempts that began.
    pub attempts: u64,
    /// Hits that could only be counted, and gave no attempt and no client.
    pub unexamined: u64,
    /// At most so many attempts were counted too many, as their table was full.
    pub attempts_evicted: u64,
    /// How often a client was left out of a sketch for lack of memory.
    pub clients_refused: u64,
    /// Hits that were counted in an earlier minute, as nobody took the counts for long.
    pub coarse: u64,
    /// Hits that the store will never hear of, as it has gone.
    pub lost: u64,
}

/// Where the hits of a subject are counted.
pub(super) struct Labels {
    outcome: Outcome,
    list: Arc<ByOutcome>,
    authorities: Box<[Arc<ByOutcome>]>,
}

impl Labels {
    /// Counts hits.
    pub(super) fn count(&self, hits: u64) {
        for count in std::iter::once(&self.list).chain(&self.authorities) {
            count[self.outcome as usize].fetch_add(hits, Ordering::Relaxed);
        }
    }
}

impl Live {
    /// The counts now.
    pub fn read(&self) -> LiveCounts {
        let get = |number: &AtomicU64| number.load(Ordering::Relaxed);
        let lists = self.lists.read();
        let mut hits = [0; Outcome::ALL.len()];
        for (_, counts) in &lists {
            hits.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
        }
        let answers = Outcome::ALL.into_iter().zip(&self.answers).flat_map(|(outcome, counts)| {
            AnswerKind::ALL.into_iter().zip(counts).map(move |(answer, count)| (outcome, answer, get(count)))
        });
        let transports = Transport::ALL.into_iter().zip(&self.transports);
        LiveCounts {
            hits,
            lists,
            authorities: self.authorities.read(),
            answers: answers.filter(|&(_, _, count)| count > 0).collect(),
            transports: transports.map(|(transport, counts)| (transport, counts.each_ref().map(get))).collect(),
            attempts: get(&self.attempts),
            unexamined: get(&self.unexamined),
            attempts_evicted: get(&self.evicted),
            clients_refused: get(&self.clients_refused),
            coarse: get(&self.coarse),
            lost: get(&self.lost),
        }
    }

    /// Where hits of a subject are counted.
    pub(super) fn labels(&self, subject: &Subject) -> Labels {
        let mut authorities: Vec<&str> = subject.orders.iter().map(|order| order.authority.as_str()).collect();
        authorities.sort_unstable();
        authorities.dedup();
        let mut places: Vec<Arc<ByOutcome>> = Vec::new();
        for authority in authorities {
            let place = self.authorities.place(authority, MAX_AUTHORITIES);
            // Two that are not counted apart are one.
            if places.iter().all(|known| !Arc::ptr_eq(known, &place)) {
                places.push(place);
            }
        }
        let list = self.lists.place(&subject.list, MAX_LISTS);
        Labels { outcome: subject.outcome, list, authorities: places.into() }
    }

    /// Counts hits of a form.
    pub(super) fn count(&self, form: Form, hits: u64) {
        self.answers[form.outcome as usize][form.answer as usize].fetch_add(hits, Ordering::Relaxed);
        self.transports[form.transport as usize][form.outcome as usize].fetch_add(hits, Ordering::Relaxed);
    }
}

impl Group {
    /// The counts of a name, or of all others if there are too many.
    fn place(&self, name: &str, max: usize) -> Arc<ByOutcome> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = counts.get(name) {
            return Arc::clone(known);
        }
        let name = if counts.len() < max { name } else { OTHERS };
        Arc::clone(counts.entry(name.into()).or_default())
    }

    /// All of them, sorted by name.
    fn read(&self) -> Vec<(Box<str>, [u64; Outcome::ALL.len()])> {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let get = |counts: &Arc<ByOutcome>| counts.each_ref().map(|number| number.load(Ordering::Relaxed));
        let mut all: Vec<_> = counts.iter().map(|(name, counts)| (name.clone(), get(counts))).collect();
        drop(counts);
        all.sort_unstable();
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::Order;

    #[test]
    fn authorities_are_bounded_and_each_counts_once_a_hit() {
        let live = Live::default();
        for number in 0..400 {
            let order = |id: &str, authority: String| Arc::new(Order { id: id.into(), authority, ..Order::default() });
            let orders = [
                order("1", format!("Agency {number:03}")),
                order("2", format!("Agency {number:03}")),
                order("3", "Agency 000".into()),
            ];
            let subject = Subject {
                outcome: Outcome::Blocked,
                rule: "example".into(),
                list: format!("list {number}").into(),
                also: Box::default(),
                orders: orders.into(),
            };
            live.labels(&subject).count(2);
        }
        let counts = live.read();
        assert_eq!(
            (counts.hits, counts.lists.len(), counts.authorities.len()),
            ([800, 0, 0], 400, MAX_AUTHORITIES + 1)
        );
        let of =
            |name: &str| counts.authorities.iter().find(|(known, _)| **known == *name).map(|(_, counts)| counts[0]);
        assert_eq!((of("Agency 000"), of("Agency 255"), of("Agency 256")), (Some(800), Some(2), None));
        assert_eq!(of(OTHERS), Some(2 * (400 - MAX_AUTHORITIES as u64)));
    }
}
