//! What differs between two versions, by their rules.

use std::cmp::Ordering;
use std::fmt;

use serde::Serialize;

/// Rules that one version has and the other has not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Diff {
    /// Only in the newer.
    pub added: Change,
    /// Only in the older.
    pub removed: Change,
    /// In both.
    pub unchanged: u64,
}

/// One side of a difference.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Change {
    /// All of them.
    pub count: u64,
    /// The first ones, in order.
    pub sample: Vec<String>,
}

impl Change {
    fn take(&mut self, rule: &str, keep: usize) {
        self.count += 1;
        if self.sample.len() < keep {
            self.sample.push(rule.to_owned());
        }
    }
}

/// The rules of a version did not come in byte order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unsorted;

impl fmt::Display for Unsorted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("rules to compare must come in byte order")
    }
}

impl std::error::Error for Unsorted {}

/// Compares two versions whose rules come in byte order; a rule that comes twice counts once. Of each side `keep`
/// rules are kept, and all are counted.
pub fn diff<A: AsRef<str>, B: AsRef<str>>(
    older: impl IntoIterator<Item = A>,
    newer: impl IntoIterator<Item = B>,
    keep: usize,
) -> Result<Diff, Unsorted> {
    let (mut older, mut newer) = (Sorted::new(older.into_iter()), Sorted::new(newer.into_iter()));
    let (mut a, mut b) = (older.next()?, newer.next()?);
    let mut found = Diff::default();
    loop {
        let order = match (&a, &b) {
            (None, None) => return Ok(found),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(a), Some(b)) => a.as_ref().cmp(b.as_ref()),
        };
        match (&a, &b) {
            (Some(rule), _) if order.is_lt() => found.removed.take(rule.as_ref(), keep),
            (_, Some(rule)) if order.is_gt() => found.added.take(rule.as_ref(), keep),
            _ => found.unchanged += 1,
        }
        if order.is_le() {
            a = older.after(a)?;
        }
        if order.is_ge() {
            b = newer.after(b)?;
        }
    }
}

/// An iterator that leaves repetitions out and sees when the order is wrong.
struct Sorted<I>(I);

impl<T: AsRef<str>, I: Iterator<Item = T>> Sorted<I> {
    fn new(rules: I) -> Self {
        Self(rules)
    }

    /// The first one.
    fn next(&mut self) -> Result<Option<T>, Unsorted> {
        Ok(self.0.next())
    }

    /// The next one that is another than `last`.
    fn after(&mut self, last: Option<T>) -> Result<Option<T>, Unsorted> {
        let Some(last) = last else { return Ok(None) };
        loop {
            let Some(rule) = self.0.next() else { return Ok(None) };
            match rule.as_ref().cmp(last.as_ref()) {
                Ordering::Less => return Err(Unsorted),
                Ordering::Equal => {}
                Ordering::Greater => return Ok(Some(rule)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// The twin holds both versions in memory.
        #[test]
        fn it_finds_what_sets_find(
            mut older in proptest::collection::vec("[ab]{0,3}", 0..20),
            mut newer in proptest::collection::vec("[ab]{0,3}", 0..20),
            keep in 0..6usize,
        ) {
            older.sort_unstable();
            newer.sort_unstable();
            let found = diff(&older, &newer, keep).expect("sorted");
            let (a, b): (BTreeSet<&String>, BTreeSet<&String>) = (older.iter().collect(), newer.iter().collect());
            let change = |of: &BTreeSet<&String>, without: &BTreeSet<&String>| {
                let all: Vec<String> = of.difference(without).map(|rule| (*rule).clone()).collect();
                Change { count: all.len() as u64, sample: all.into_iter().take(keep).collect() }
            };
            let unchanged = a.intersection(&b).count() as u64;
            prop_assert_eq!(found, Diff { added: change(&b, &a), removed: change(&a, &b), unchanged });
        }
    }

    #[test]
    fn a_wrong_order_is_an_error_and_no_wrong_answer() {
        assert_eq!(diff(["b", "a"], ["a"], 1), Err(Unsorted));
        assert_eq!(diff(["a"], ["b", "c", "a"], 1), Err(Unsorted));
    }
}
