//! The orders that lists name, put together: what each asks for, what of it is enforced, and until when.
//!
//! An order is told by its number and its authority, whatever number of files and lists it stands in. What these say of
//! it may differ: each file's dates act on that file's names ([`Share`]), and the ledger points the difference out
//! ([`Entry::conflicts`]). The ledger holds numbers and fingerprints, and finds names again where they lie.

mod build;
mod changes;
mod due;
mod find;

pub use changes::{Change, Turn, changes};
pub use due::{Due, MAX_ALERTS, Numbers, OrderAlert, Standing};

use std::collections::BTreeMap;
use std::sync::Arc;

use self::find::Finder;
use crate::list::Format;
use crate::rule::{FileRules, Mode, Order, OrderState, Role, RuleView, show_pattern};
use crate::util::{Digest, UnixTime};

/// Every order that is known, by number and authority.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    lists: Vec<ListFacts>,
    sources: Vec<Source>,
    entries: Vec<Entry>,
}

/// What the ledger knows of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListFacts {
    /// Its name.
    pub name: Arc<str>,
    /// Block or allow.
    pub role: Role,
    /// Enforce or shadow.
    pub mode: Mode,
}

/// A file that orders stand in.
#[derive(Clone, Debug)]
pub struct Source {
    /// Index of its list.
    pub list: u16,
    /// As the operator wrote it.
    pub path: Arc<str>,
    /// Of the content in force: the version that is enforced.
    pub sha256: Option<Digest>,
    /// When that was accepted.
    pub accepted: Option<UnixTime>,
    /// What it was read as.
    pub format: Option<Format>,
    /// Its present content is refused; an older one, or nothing, is in force.
    pub refused: bool,
    /// Its rules; none if nothing of it is in force.
    rules: Option<Arc<FileRules>>,
    /// Numbers of the rules that the gate holds, sorted.
    held: Arc<[u32]>,
}

/// One order.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Never empty.
    shares: Vec<Share>,
    /// Distinct patterns, whatever the state.
    pub names: u64,
    /// Of these, how many are blocked on this order, as of when the ledger was made.
    pub enforced: u64,
    /// What keeps names of an order from being enforced that asks for it.
    pub gaps: Gaps,
    /// Names that an operator has dismissed: not enforced, and no gap, for somebody has looked at them.
    pub dismissed: u64,
}

/// What one list says of an order in the same words, be it in several files.
#[derive(Clone, Debug)]
pub struct Share {
    /// Index of the list.
    pub list: u16,
    /// What it says.
    pub order: Arc<Order>,
    /// Distinct patterns.
    pub names: u64,
    /// Fingerprint of those that are not held.
    print: [u8; 16],
    /// Where they are: file, number of the kind in it.
    kinds: Vec<(u32, u32)>,
    /// Entries that could not be used: file, how many.
    rejected: Vec<(u32, u64)>,
    /// Names that wait with a version of the list that is not taken.
    waiting: u64,
}

/// Why names of an order are not enforced though it asks for it. All are counted over what is not yet lifted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gaps {
    /// Only lists have them that are in shadow mode.
    pub shadow: u64,
    /// Allow rules (or an RPZ passthru of an earlier list) take them back.
    pub excepted: u64,
    /// The gate holds them, and nobody has decided.
    pub held: u64,
    /// Entries that are no usable names.
    pub rejected: u64,
    /// Order files whose present content is refused; what is new in it is not known.
    pub refused: u64,
    /// Names in a version of its list that is not taken as a whole.
    pub waiting: u64,
}

/// A detail on which files differ that name the same order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// As order files spell it.
    pub field: &'static str,
    /// Each value once, as they come, at most `MAX_VALUES`; with the list and a file it stands in.
    pub values: Vec<(String, Arc<str>, Arc<str>)>,
}

/// Values of a conflict that are told.
const MAX_VALUES: usize = 10;

/// Where a name of an order stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamePlace {
    /// As a `domains` list writes it.
    pub pattern: String,
    /// Index of the file among [`Ledger::sources`].
    pub source: u32,
    /// From 1.
    pub line: u32,
}

impl Ledger {
    /// All orders, by number and authority.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The lists, in config order.
    pub fn lists(&self) -> &[ListFacts] {
        &self.lists
    }

    /// The files.
    pub fn sources(&self) -> &[Source] {
        &self.sources
    }

    /// A list by its index.
    pub fn list(&self, index: u16) -> Option<&ListFacts> {
        self.lists.get(usize::from(index))
    }

    /// A file by its index.
    pub fn source(&self, index: u32) -> Option<&Source> {
        self.sources.get(index as usize)
    }

    /// The orders with this number, of whatever authority.
    pub fn of_id<'a>(&'a self, id: &'a str) -> impl Iterator<Item = &'a Entry> {
        self.entries.iter().filter(move |entry| entry.id() == id)
    }

    /// The order that `order` is told as.
    pub fn entry_of(&self, order: &Order) -> Option<&Entry> {
        let at = self.entries.binary_search_by(|entry| entry.key().cmp(&key(order))).ok()?;
        self.entries.get(at)
    }

    /// The names of an order with where they stand, in the order of lists, files and lines; and how many there are,
    /// of which at most `most` are given.
    pub fn names_of(&self, entry: &Entry, most: usize) -> (Vec<NamePlace>, u64) {
        let mut found = Vec::new();
        let mut finder = Finder::new(self);
        for share in &entry.shares {
            finder.rules(share, |source, index, rule| found.push((source, rule.line, index)));
        }
        found.sort_unstable();
        let place = |&(source, line, index): &(u32, u32, u32)| {
            let rules = self.source(source)?.rules.as_ref()?;
            Some(NamePlace { pattern: pattern(&rules.rule(index)), source, line })
        };
        (found.iter().take(most).filter_map(place).collect(), found.len() as u64)
    }
}

impl Entry {
    /// The authority's own number.
    pub fn id(&self) -> &str {
        self.shares.first().map_or("", |share| &share.order.id)
    }

    /// Who issued it.
    pub fn authority(&self) -> &str {
        self.shares.first().map_or("", |share| &share.order.authority)
    }

    /// What lists say of it, in their order.
    pub fn shares(&self) -> &[Share] {
        &self.shares
    }

    /// Where it stands: in force if anything of it is.
    pub fn state(&self, now: UnixTime) -> OrderState {
        self.order(now).state(now)
    }

    /// What is said of it; where lists differ, what the first says for which it stands best.
    pub fn order(&self, now: UnixTime) -> &Arc<Order> {
        let rank = |share: &&Share| match share.order.state(now) {
            OrderState::InForce => 0,
            OrderState::Pending => 1,
            OrderState::Expired => 2,
            OrderState::Revoked => 3,
        };
        let best = self.shares.iter().min_by_key(rank).unwrap_or(&self.shares[0]);
        &best.order
    }

    /// The indices of the lists it stands in, each once.
    pub fn lists(&self) -> Vec<u16> {
        let mut lists: Vec<u16> = self.shares.iter().map(|share| share.list).collect();
        lists.dedup();
        lists
    }

    /// The indices of the files it stands in, each once.
    pub fn files(&self) -> Vec<u32> {
        let mut files: Vec<u32> = self.shares.iter().flat_map(Share::files).collect();
        files.sort_unstable();
        files.dedup();
        files
    }

    /// On what its files differ.
    pub fn conflicts(&self, ledger: &Ledger) -> Vec<Conflict> {
        let mut found: BTreeMap<usize, Conflict> = BTreeMap::new();
        let first = &self.shares[0];
        for share in self.shares.iter().filter(|share| share.order != first.order) {
            for (at, field) in Order::FIELDS.into_iter().enumerate() {
                let value = share.order.field(field);
                if value == first.order.field(field) {
                    continue;
                }
                let conflict = found.entry(at).or_insert_with(|| {
                    let values = vec![ledger.told(first, field)];
                    Conflict { field, values }
                });
                let known = conflict.values.iter().any(|(told, ..)| *told == value);
                if !known && conflict.values.len() < MAX_VALUES {
                    conflict.values.push(ledger.told(share, field));
                }
            }
        }
        found.into_values().collect()
    }

    /// Number and authority.
    fn key(&self) -> (&str, &str) {
        (self.id(), self.authority())
    }

    /// What is not over yet.
    fn live(&self, now: UnixTime) -> impl Iterator<Item = &Share> {
        self.shares.iter().filter(move |share| is_live(&share.order, now))
    }
}

impl Share {
    /// The indices of its files, sorted.
    pub fn files(&self) -> Vec<u32> {
        let all = self.kinds.iter().map(|&(source, _)| source).chain(self.rejected.iter().map(|&(source, _)| source));
        let mut files: Vec<u32> = all.collect();
        files.sort_unstable();
        files.dedup();
        files
    }

    /// Entries of it that could not be used.
    pub fn rejected(&self) -> u64 {
        self.rejected.iter().map(|&(_, count)| count).sum()
    }
}

impl Ledger {
    /// What a share says in a field, in which list and file.
    fn told(&self, share: &Share, field: &str) -> (String, Arc<str>, Arc<str>) {
        let list = self.list(share.list).map_or_else(|| "".into(), |list| Arc::clone(&list.name));
        let file = share.files().first().and_then(|&file| self.source(file));
        (share.order.field(field), list, file.map_or_else(|| "".into(), |file| Arc::clone(&file.path)))
    }
}

/// What makes two orders one.
fn key(order: &Order) -> (&str, &str) {
    (&order.id, &order.authority)
}

/// It asks to be enforced, now or later.
fn is_live(order: &Order, now: UnixTime) -> bool {
    matches!(order.state(now), OrderState::InForce | OrderState::Pending)
}

/// As a `domains` list writes it.
fn pattern(rule: &RuleView<'_>) -> String {
    let mut pattern = String::new();
    // Writing to a String cannot fail.
    let _ = show_pattern(rule.name().wire(), rule.kind.scope, &mut pattern);
    pattern
}

#[cfg(test)]
mod tests;
