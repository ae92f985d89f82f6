//! The subjects that can still be counted under, and which row of the store each has.

use std::collections::HashMap;
use std::sync::Arc;

use crate::event::{Outcome, Subject, Why};
use crate::util::Digest;

/// Bytes of a subject's digest.
pub(super) const DIGEST: usize = 16;

/// A subject here: another than the tally's number, which may come to mean another subject.
pub(super) type Key = u32;

/// Everything known of subjects.
#[derive(Debug, Default)]
pub(super) struct Book {
    entries: HashMap<Key, Entry>,
    numbers: HashMap<u32, Key>,
    nameless: [Option<Key>; Outcome::ALL.len()],
    next: Key,
}

/// One subject.
#[derive(Debug)]
struct Entry {
    subject: Named,
    /// Its row in the store, if that is known.
    row: Option<Stored>,
    /// Counts that wait under it.
    waiting: u32,
    /// Whether the tally may still use it.
    live: bool,
}

/// Where a subject's texts are.
#[derive(Debug)]
enum Named {
    Why(Arc<Why>),
    Own(Box<Subject>),
}

/// A subject's row in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stored {
    pub id: i64,
    /// The last day with a hit that the row says.
    pub seen: i64,
}

impl Book {
    /// The tally will not use these numbers any more.
    pub(super) fn forget(&mut self, numbers: &[u32]) {
        for number in numbers {
            if let Some(key) = self.numbers.remove(number) {
                if let Some(entry) = self.entries.get_mut(&key) {
                    entry.live = false;
                }
                self.drop_unused(key);
            }
        }
    }

    /// A number means this from now on.
    pub(super) fn learn(&mut self, number: u32, why: Arc<Why>) {
        self.forget(&[number]);
        let key = self.add(Named::Why(why), true);
        self.numbers.insert(number, key);
    }

    /// What a number means. One that was never told is counted under no name, as a hit is a hit.
    pub(super) fn key(&mut self, number: u32) -> Key {
        match self.numbers.get(&number) {
            Some(&key) => key,
            None => self.nameless(Outcome::Blocked),
        }
    }

    /// What counts are put under whose names there was no room for.
    pub(super) fn nameless(&mut self, outcome: Outcome) -> Key {
        if let Some(key) = self.nameless[outcome as usize] {
            return key;
        }
        let (rule, list) = (Box::default(), Box::default());
        let subject = Subject { outcome, rule, list, also: Box::default(), orders: Box::default() };
        let key = self.add(Named::Own(Box::new(subject)), true);
        self.nameless[outcome as usize] = Some(key);
        key
    }

    /// What is counted under a key.
    pub(super) fn subject(&self, key: Key) -> Option<&Subject> {
        self.entries.get(&key).map(|entry| match &entry.subject {
            Named::Why(why) => &why.subject,
            Named::Own(subject) => &**subject,
        })
    }

    /// More counts wait under it.
    pub(super) fn wait(&mut self, key: Key) {
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.waiting += 1;
        }
    }

    /// Counts under it wait no more.
    pub(super) fn done(&mut self, key: Key) {
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.waiting = entry.waiting.saturating_sub(1);
        }
        self.drop_unused(key);
    }

    /// Its row in the store.
    pub(super) fn stored(&self, key: Key) -> Option<Stored> {
        self.entries.get(&key)?.row
    }

    /// Its row was found, made, or is not known any more.
    pub(super) fn set_stored(&mut self, key: Key, row: Option<Stored>) {
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.row = row;
        }
    }

    /// The store is another: no row is known.
    pub(super) fn forget_rows(&mut self) {
        for entry in self.entries.values_mut() {
            entry.row = None;
        }
    }

    /// How many subjects there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    fn add(&mut self, subject: Named, live: bool) -> Key {
        // Four billion later the first are long gone; one that is not keeps its place.
        while self.entries.contains_key(&self.next) {
            self.next = self.next.wrapping_add(1);
        }
        let key = self.next;
        self.next = key.wrapping_add(1);
        self.entries.insert(key, Entry { subject, row: None, waiting: 0, live });
        key
    }

    fn drop_unused(&mut self, key: Key) {
        if self.entries.get(&key).is_some_and(|entry| !entry.live && entry.waiting == 0) {
            self.entries.remove(&key);
        }
    }
}

/// Tells subjects apart across snapshots, restarts and machines: the same for all that is counted as one.
pub(super) fn digest(subject: &Subject) -> [u8; DIGEST] {
    let mut bytes = Vec::new();
    let mut text = |text: &str| {
        // With its length, so that no two lists of texts look alike.
        bytes.extend_from_slice(&(text.len() as u64).to_be_bytes());
        bytes.extend_from_slice(text.as_bytes());
    };
    text(subject.outcome.as_str());
    text(&subject.rule);
    text(&subject.list);
    // The order of the others says nothing that is counted.
    let mut also: Vec<&str> = subject.also.iter().map(|list| &**list).collect();
    also.sort_unstable();
    text(&also.len().to_string());
    also.into_iter().for_each(&mut text);
    let mut orders: Vec<(&str, &str)> = subject.orders.iter().map(|o| (o.authority.as_str(), o.id.as_str())).collect();
    orders.sort_unstable();
    for (authority, id) in orders {
        text(authority);
        text(id);
    }
    let mut digest = [0; DIGEST];
    digest.copy_from_slice(&Digest::of(&bytes).0[..DIGEST]);
    digest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing::{order, why};

    #[test]
    fn a_subject_stays_while_anything_waits_under_it() {
        let mut book = Book::default();
        book.learn(7, why("a.example", &[]));
        let old = book.key(7);
        book.wait(old);
        book.learn(7, why("b.example", &[]));
        let new = book.key(7);
        assert_ne!(old, new);
        assert_eq!(book.subject(old).map(|s| &*s.rule), Some("a.example"), "counts wait under it");
        book.done(old);
        assert_eq!(book.subject(old), None);
        book.forget(&[7, 8]);
        assert_eq!(book.len(), 0);
        let unknown = book.key(7);
        assert_eq!(book.subject(unknown).map(|s| &*s.rule), Some(""), "counted all the same");
    }

    #[test]
    fn digests_differ_where_subjects_do() {
        let base = why("a.example", &[order("1", "A"), order("2", "B")]).subject.clone();
        let same = Subject { orders: base.orders.iter().rev().cloned().collect(), ..base.clone() };
        assert_eq!(digest(&base), digest(&same), "in another order it is the same");
        let other = |subject: Subject| assert_ne!(digest(&base), digest(&subject), "{subject:?}");
        other(Subject { outcome: Outcome::Shadow, ..base.clone() });
        other(Subject { rule: "=a.example".into(), ..base.clone() });
        other(Subject { list: "o".into(), ..base.clone() });
        other(Subject { also: ["x".into()].into(), ..base.clone() });
        other(Subject { orders: [order("1", "A")].into(), ..base.clone() });
        other(Subject { orders: [order("A", "1"), order("2", "B")].into(), ..base.clone() });
    }
}
