//! From one ledger to the next: which orders began to block which names, and which ceased to.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::find::Finder;
use super::{Entry, Ledger, Share, pattern};
use crate::audit::{NameSet, Why};
use crate::rule::{Mode, Order, OrderState};
use crate::util::UnixTime;

/// An order began to block names of a list, or ceased to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What is said of it; of a lifted one, what was said.
    pub order: Arc<Order>,
    /// The list.
    pub list: Arc<str>,
    /// Which of the two.
    pub turn: Turn,
    /// What made it so.
    pub reason: Why,
    /// The names that are concerned: all of the order's, or those it won or lost.
    pub names: NameSet,
}

/// What an order does from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Turn {
    /// It blocks.
    InForce,
    /// It does not any more.
    Lifted,
}

/// What changed from `before`, as it stood `then`, to `after` as it stands `now`. The two may be one ledger, when only
/// time has passed; [`Ledger::default`] is what there is before a start.
///
/// Only lists that enforce count, and of these what the gate does not hold. Where nothing changed, nothing but fingerprints is compared; names are put together
/// for one order at a time. A rollback or a release looks like any other new version: whoever asked for it knows.
pub fn changes(before: &Ledger, then: UnixTime, after: &Ledger, now: UnixTime) -> Vec<Change> {
    let mut found = Vec::new();
    let sides = Sides { before: Side::new(before, then), after: Side::new(after, now) };
    let (mut old, mut new) = (before.entries.iter().peekable(), after.entries.iter().peekable());
    loop {
        let (was, is) = match (old.peek(), new.peek()) {
            (None, None) => return found,
            (Some(was), Some(is)) if was.key() == is.key() => (old.next(), new.next()),
            (Some(was), Some(is)) if was.key() > is.key() => (None, new.next()),
            (None, Some(_)) => (None, new.next()),
            (Some(_), _) => (old.next(), None),
        };
        sides.compare(was, is, &mut found);
    }
}

/// A ledger at a moment.
struct Side<'a> {
    ledger: &'a Ledger,
    at: UnixTime,
    finder: RefCell<Finder<'a>>,
}

/// Both of them.
struct Sides<'a> {
    before: Side<'a>,
    after: Side<'a>,
}

/// Shares of an order in one list.
type Shares<'a> = Vec<&'a Share>;

impl<'a> Side<'a> {
    /// How it stands then.
    fn new(ledger: &'a Ledger, at: UnixTime) -> Self {
        Self { ledger, at, finder: RefCell::new(Finder::new(ledger)) }
    }

    /// The shares of an order by the name of their list.
    fn lists(&self, entry: Option<&'a Entry>) -> BTreeMap<&'a str, Shares<'a>> {
        let mut lists: BTreeMap<&str, Shares<'a>> = BTreeMap::new();
        for share in entry.into_iter().flat_map(Entry::shares) {
            if let Some(list) = self.ledger.list(share.list) {
                lists.entry(&list.name).or_default().push(share);
            }
        }
        lists
    }

    /// Whether a share blocks.
    fn blocks(&self, share: &Share) -> bool {
        let acts = self.ledger.list(share.list).is_some_and(|list| list.mode == Mode::Enforce);
        acts && share.order.state(self.at) == OrderState::InForce
    }

    /// The names of shares that are not held, each once.
    fn names(&self, shares: &[&Share]) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        for share in shares {
            self.finder.borrow_mut().rules(share, |source, index, rule| {
                let source = self.ledger.source(source);
                if source.is_none_or(|source| source.held.binary_search(&index).is_err()) {
                    names.insert(pattern(&rule));
                }
            });
        }
        names
    }
}

impl<'a> Sides<'a> {
    /// One order.
    fn compare(&self, was: Option<&'a Entry>, is: Option<&'a Entry>, found: &mut Vec<Change>) {
        let (was, is) = (self.before.lists(was), self.after.lists(is));
        let names: BTreeSet<&str> = was.keys().chain(is.keys()).copied().collect();
        for list in names {
            let old = was.get(list).map_or(&[][..], Vec::as_slice);
            let new = is.get(list).map_or(&[][..], Vec::as_slice);
            self.compare_list(list, old, new, found);
        }
    }

    /// One order in one list.
    fn compare_list(&self, list: &str, old: &[&'a Share], new: &[&'a Share], found: &mut Vec<Change>) {
        let blocked: Shares<'_> = old.iter().copied().filter(|share| self.before.blocks(share)).collect();
        let blocking: Shares<'_> = new.iter().copied().filter(|share| self.after.blocks(share)).collect();
        let prints = |shares: &[&Share]| {
            let mut prints: Vec<_> = shares.iter().map(|share| share.print).collect();
            prints.sort_unstable();
            prints
        };
        if prints(&blocked) == prints(&blocking) {
            return;
        }
        let (before, after) = (self.before.names(&blocked), self.after.names(&blocking));
        for (turn, ours, others, shares) in
            [(Turn::InForce, &after, &before, &blocking), (Turn::Lifted, &before, &after, &blocked)]
        {
            let Some(order) = shares.first().map(|share| &share.order) else { continue };
            let news: Vec<&String> = ours.difference(others).collect();
            for (reason, names) in self.reasons(list, old, new, news) {
                let list = list.into();
                found.push(Change { order: Arc::clone(order), list, turn, reason, names: NameSet::of(names) });
            }
        }
    }

    /// Names by what made them change sides.
    fn reasons<'n>(
        &self,
        list: &str,
        old: &[&Share],
        new: &[&Share],
        names: Vec<&'n String>,
    ) -> Vec<(Why, Vec<&'n String>)> {
        if names.is_empty() {
            return Vec::new();
        }
        if let Some(why) = self.of_list(list) {
            return vec![(why, names)];
        }
        // What the dates of the version before bring about needs no other; then what the new one says is over.
        const DATED: [Why; 3] = [Why::Revoked, Why::Expired, Why::Effective];
        let came = |share: &Share| by_date(share.order.state(self.before.at), share.order.state(self.after.at));
        let over = |share: &Share| by_date(OrderState::InForce, share.order.state(self.after.at));
        let of = |side: &Side<'_>, shares: &[&Share], why: Why, date: &dyn Fn(&Share) -> Option<Why>| {
            let shares: Vec<&Share> = shares.iter().copied().filter(|share| date(share) == Some(why)).collect();
            (why, side.names(&shares))
        };
        let before = DATED.map(|why| of(&self.before, old, why, &came));
        let after = [Why::Revoked, Why::Expired].map(|why| of(&self.after, new, why, &over));
        let mut groups: Vec<(Why, Vec<&String>)> = Vec::new();
        for name in names {
            let mut dated = before.iter().chain(&after);
            let why = dated.find(|(_, names)| names.contains(name)).map_or(Why::ListVersion, |(why, _)| *why);
            match groups.iter_mut().find(|(other, _)| *other == why) {
                Some((_, names)) => names.push(name),
                None => groups.push((why, vec![name])),
            }
        }
        groups
    }

    /// What is true of all names of a list.
    fn of_list(&self, list: &str) -> Option<Why> {
        let find = |ledger: &Ledger| ledger.lists.iter().find(|known| *known.name == *list).cloned();
        match (find(self.before.ledger), find(self.after.ledger)) {
            (None, _) if self.before.ledger.lists.is_empty() => Some(Why::Started),
            (Some(old), Some(new)) if old.role != new.role => Some(Why::ListConfigured),
            (Some(old), Some(new)) if old.mode != new.mode => Some(Why::Mode),
            (Some(_), Some(_)) => None,
            _ => Some(Why::ListConfigured),
        }
    }
}

/// The date that leads from one state to another, in whichever direction the clock went.
fn by_date(from: OrderState, to: OrderState) -> Option<Why> {
    use OrderState::{Expired, InForce, Pending, Revoked};
    match (from, to) {
        (InForce, Pending) | (Pending, InForce) => Some(Why::Effective),
        (InForce, Expired) | (Expired, InForce) => Some(Why::Expired),
        (InForce, Revoked) | (Revoked, InForce) => Some(Why::Revoked),
        _ => None,
    }
}
