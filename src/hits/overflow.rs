//! Hits that found no room in their ring: counted by number, so that none is ever uncounted.
//!
//! A worker whose ring is full adds one to the rule that decided and one to the hit's form; the pump takes the numbers
//! out, explains them, and counts them. Who asked, and for what name, is lost. A hit of which not even the generation is
//! known any more is counted under no rule.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use crate::event::{Form, Outcome};

/// Rules whose numbers are made together, a page of memory, when the first of them is needed.
const CHUNK: usize = 1024;
/// More hits than this of one rule are not kept by rule: hours of an overload in which nothing is taken out.
const FULL: u32 = 1 << 31;

/// Hits of one generation by rule.
#[derive(Debug)]
pub(super) struct Table {
    /// Something may have been added since [`Self::drain`] began.
    touched: AtomicBool,
    /// Those of a list of a million names are four megabytes, which an overload alone shall cost.
    chunks: Box<[OnceLock<Box<[AtomicU32; CHUNK]>>]>,
}

impl Table {
    /// For rules below `rules`, all zero.
    pub(super) fn new(rules: u32) -> Self {
        let chunks = (rules as usize).div_ceil(CHUNK);
        Self { touched: AtomicBool::new(false), chunks: (0..chunks).map(|_| OnceLock::new()).collect() }
    }

    /// Counts hits of a rule; false if that is not possible.
    pub(super) fn add(&self, rule: u32, hits: u32) -> bool {
        let Some(chunk) = self.chunks.get(rule as usize / CHUNK) else { return false };
        let chunk = chunk.get_or_init(|| Box::new([const { AtomicU32::new(0) }; CHUNK]));
        let number = &chunk[rule as usize % CHUNK];
        if number.load(Ordering::Relaxed) >= FULL {
            return false;
        }
        number.fetch_add(hits, Ordering::SeqCst);
        touch(&self.touched);
        true
    }

    /// Shows `take` every rule with its hits since it was last shown, until it refuses one: that is shown again.
    pub(super) fn drain(&self, mut take: impl FnMut(u32, u64) -> bool) -> bool {
        if !self.touched.swap(false, Ordering::SeqCst) {
            return true;
        }
        for (at, chunk) in self.chunks.iter().enumerate() {
            for (number, rule) in chunk.get().into_iter().flat_map(|chunk| chunk.iter()).zip(at * CHUNK..) {
                if number.load(Ordering::SeqCst) == 0 {
                    continue;
                }
                let hits = number.swap(0, Ordering::SeqCst);
                if !take(rule as u32, hits.into()) {
                    number.fetch_add(hits, Ordering::SeqCst);
                    touch(&self.touched);
                    return false;
                }
            }
        }
        true
    }
}

/// Hits without a generation: all by their form, and those of no known rule by their outcome.
#[derive(Debug)]
pub(super) struct Rest {
    forms_touched: AtomicBool,
    forms: Box<[AtomicU32]>,
    unknown: [AtomicU64; Outcome::ALL.len()],
}

impl Default for Rest {
    fn default() -> Self {
        let forms = (0..Form::ALL).map(|_| AtomicU32::new(0)).collect();
        Self {
            forms_touched: AtomicBool::new(false),
            forms,
            unknown: [const { AtomicU64::new(0) }; Outcome::ALL.len()],
        }
    }
}

impl Rest {
    /// Counts a hit's form.
    pub(super) fn add(&self, form: Form) {
        self.forms[form.place()].fetch_add(1, Ordering::SeqCst);
        touch(&self.forms_touched);
    }

    /// Counts hits of no rule that is known.
    pub(super) fn add_unknown(&self, outcome: Outcome, hits: u64) {
        self.unknown[outcome as usize].fetch_add(hits, Ordering::SeqCst);
    }

    /// Shows `take` every form with its hits since it was last shown.
    pub(super) fn drain_forms(&self, mut take: impl FnMut(Form, u64)) {
        if !self.forms_touched.swap(false, Ordering::SeqCst) {
            return;
        }
        for (place, number) in self.forms.iter().enumerate() {
            if number.load(Ordering::SeqCst) > 0 {
                take(Form::at(place), number.swap(0, Ordering::SeqCst).into());
            }
        }
    }

    /// Shows `take` every outcome with its hits of no known rule since they were last shown; what it refuses is shown
    /// again.
    pub(super) fn drain_unknown(&self, mut take: impl FnMut(Outcome, u64) -> bool) -> bool {
        let mut all = true;
        for (outcome, number) in Outcome::ALL.into_iter().zip(&self.unknown) {
            if number.load(Ordering::SeqCst) == 0 {
                continue;
            }
            let hits = number.swap(0, Ordering::SeqCst);
            if !take(outcome, hits) {
                self.add_unknown(outcome, hits);
                all = false;
            }
        }
        all
    }
}

/// Says that something was added. Written only if it must be, or workers would take the line from each other.
///
/// A worker adds and then looks at the flag, the pump takes the flag away and then looks at the numbers: one of them must
/// see what the other did, which only the strongest ordering promises.
fn touch(flag: &AtomicBool) {
    if !flag.load(Ordering::SeqCst) {
        flag.store(true, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::Arc;

    use super::*;

    #[test]
    fn nothing_is_lost_between_threads_and_refusals() {
        let table = Arc::new(Table::new(3000));
        let threads: Vec<_> = (0..3)
            .map(|_| {
                let table = Arc::clone(&table);
                std::thread::spawn(move || (0..60_000_u32).filter(|at| table.add(at * 7 % 3000, 1)).count())
            })
            .collect();
        let (mut taken, mut turn) = (HashMap::<u32, u64>::new(), 0);
        let mut drain = |refuse: bool| {
            table.drain(|rule, hits| {
                turn += 1;
                let take = !refuse || turn % 5 > 0;
                *taken.entry(rule).or_default() += if take { hits } else { 0 };
                take
            })
        };
        while !threads.iter().all(std::thread::JoinHandle::is_finished) {
            drain(true);
        }
        let sent: usize = threads.into_iter().map(|thread| thread.join().expect("counted")).sum();
        assert_eq!(sent, 180_000);
        assert!(drain(false));
        assert_eq!(taken.values().sum::<u64>(), 180_000);
        assert!(taken.len() == 3000 && taken.values().all(|&hits| hits == 60), "each under its own rule");
    }

    #[test]
    fn a_rule_that_is_not_there_or_overflows_is_refused() {
        let table = Table::new(1);
        assert!(!table.add(CHUNK as u32, 1) && table.add(0, FULL) && !table.add(0, 1));
        assert!(!Table::new(0).add(0, 1));
        let mut seen = Vec::new();
        assert!(table.drain(|rule, hits| {
            seen.push((rule, hits));
            true
        }));
        assert_eq!(seen, [(0, FULL.into())]);
    }
}
