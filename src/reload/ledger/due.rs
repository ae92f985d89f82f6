//! Deadlines: what is not enforced though the day is near, or past.

use std::fmt;
use std::time::Duration;

use super::{Entry, Ledger};
use crate::rule::{Mode, OrderState};
use crate::util::UnixTime;

/// How many orders are told one by one; all are counted.
pub const MAX_ALERTS: usize = 20;

/// How an order stands to its deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Standing {
    /// It is enforced as a whole, or there is time, or no deadline, or it is over.
    Fine,
    /// The deadline is near, and something is not enforced that will not be by itself.
    Due,
    /// The deadline has passed, and something is not enforced.
    Overdue,
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Fine => "fine",
            Self::Due => "due",
            Self::Overdue => "overdue",
        })
    }
}

/// An order with a deadline of which something is not enforced.
#[derive(Clone, Copy, Debug)]
pub struct Due<'a> {
    /// Which.
    pub entry: &'a Entry,
    /// Its deadline.
    pub deadline: UnixTime,
    /// Due or overdue.
    pub standing: Standing,
}

/// How the orders stand, in numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Numbers {
    /// Blocking.
    pub in_force: u64,
    /// `effective` has not come.
    pub pending: u64,
    /// `expires` has passed.
    pub expired: u64,
    /// `revoked` has passed.
    pub revoked: u64,
    /// The deadline is near, and something is not enforced.
    pub due: u64,
    /// The deadline has passed, and something is not enforced.
    pub overdue: u64,
    /// Orders that files tell differently.
    pub conflicts: u64,
    /// When one of them next changes its state or comes near its deadline.
    pub next_change: Option<UnixTime>,
    /// The next deadline of one that is not over, met or not.
    pub next_deadline: Option<UnixTime>,
    /// The first that are due or overdue, at most [`MAX_ALERTS`].
    pub alerts: Vec<OrderAlert>,
}

/// One that somebody should look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderAlert {
    /// The authority's own number.
    pub id: String,
    /// Who issued it.
    pub authority: String,
    /// Its deadline.
    pub deadline: UnixTime,
    /// Due or overdue.
    pub standing: Standing,
    /// What is not enforced and why, in words.
    pub why: String,
}

impl Ledger {
    /// Orders that are due within `warn`, or overdue: these first, and the earlier deadline before the later.
    pub fn due(&self, now: UnixTime, warn: Duration) -> Vec<Due<'_>> {
        let due = |entry| {
            let deadline = Entry::deadline(entry, now)?;
            let standing = entry.standing(now, warn);
            (standing != Standing::Fine).then_some(Due { entry, deadline, standing })
        };
        let mut all: Vec<Due<'_>> = self.entries.iter().filter_map(due).collect();
        all.sort_by_key(|due| due.deadline);
        all
    }

    /// All in numbers.
    pub fn numbers(&self, now: UnixTime, warn: Duration) -> Numbers {
        let mut numbers = Numbers::default();
        for entry in &self.entries {
            let count = match entry.state(now) {
                OrderState::InForce => &mut numbers.in_force,
                OrderState::Pending => &mut numbers.pending,
                OrderState::Expired => &mut numbers.expired,
                OrderState::Revoked => &mut numbers.revoked,
            };
            *count += 1;
            numbers.conflicts += u64::from(entry.differs());
        }
        let due = self.due(now, warn);
        numbers.overdue = due.iter().filter(|due| due.standing == Standing::Overdue).count() as u64;
        numbers.due = due.len() as u64 - numbers.overdue;
        numbers.alerts = due.iter().take(MAX_ALERTS).map(|due| due.alert(self, now)).collect();
        numbers.next_change = self.next_change(now, warn);
        let deadlines = self.entries.iter().filter_map(|entry| entry.deadline(now));
        numbers.next_deadline = deadlines.filter(|&deadline| deadline > now).min();
        numbers
    }

    /// When an order next changes its state, or how it stands to its deadline.
    pub fn next_change(&self, now: UnixTime, warn: Duration) -> Option<UnixTime> {
        self.entries.iter().filter_map(|entry| entry.next_change(now, warn)).min()
    }
}

impl Entry {
    /// The earliest deadline of what is not over.
    pub fn deadline(&self, now: UnixTime) -> Option<UnixTime> {
        self.live(now).filter_map(|share| share.order.deadline).min()
    }

    /// How it stands to its deadline, if `warn` before it is near.
    pub fn standing(&self, now: UnixTime, warn: Duration) -> Standing {
        match self.deadline(now) {
            Some(deadline) if self.is_enforced(deadline, now) => Standing::Fine,
            Some(deadline) if now >= deadline => Standing::Overdue,
            Some(deadline) if now >= before(deadline, warn) => Standing::Due,
            _ => Standing::Fine,
        }
    }

    /// What is not enforced and why, in words; empty if nothing is missing.
    pub fn missing(&self, ledger: &Ledger, now: UnixTime) -> String {
        let count = |count: u64, one: &str, many: &str| match count {
            0 => None,
            1 => Some(format!("1 {one}")),
            _ => Some(format!("{count} {many}")),
        };
        let shadow = |text| {
            let live = self.live(now).filter_map(|share| ledger.list(share.list));
            let mut lists: Vec<&str> = live.filter(|list| list.mode == Mode::Shadow).map(|list| &*list.name).collect();
            lists.dedup();
            format!("{text} only in shadow mode (list {})", lists.join(", "))
        };
        let gaps = &self.gaps;
        let parts = [
            count(gaps.shadow, "name", "names").map(shadow),
            count(gaps.excepted, "name", "names").map(|text| format!("{text} taken back by allow rules")),
            count(gaps.held, "name", "names").map(|text| format!("{text} held by the gate")),
            count(gaps.rejected, "entry", "entries").map(|text| format!("{text} rejected as no usable names")),
            count(gaps.refused, "file whose present content is", "files whose present content is")
                .map(|text| format!("{text} refused")),
            count(gaps.waiting, "name", "names")
                .map(|text| format!("{text} only in a version of the list that is refused as a whole")),
            self.late(now).map(|effective| format!("not effective before {effective}")),
            count(self.dismissed, "name", "names").map(|text| format!("{text} dismissed by an operator")),
        ];
        parts.into_iter().flatten().collect::<Vec<_>>().join("; ")
    }

    /// Whether its files tell it differently.
    pub fn differs(&self) -> bool {
        self.shares.iter().skip(1).any(|share| share.order != self.shares[0].order)
    }

    /// All it asks for is enforced, or will be by itself before `deadline`.
    fn is_enforced(&self, deadline: UnixTime, now: UnixTime) -> bool {
        let gaps = super::Gaps::default() != self.gaps;
        !gaps && self.late(now).is_none_or(|effective| effective <= deadline)
    }

    /// When it takes effect, if it has not and its deadline comes before.
    fn late(&self, now: UnixTime) -> Option<UnixTime> {
        let late = self.live(now).filter_map(|share| {
            let (effective, deadline) = (share.order.effective?, share.order.deadline?);
            (effective > now && effective > deadline).then_some(effective)
        });
        late.max()
    }

    /// When its state changes next, or how it stands to its deadline.
    fn next_change(&self, now: UnixTime, warn: Duration) -> Option<UnixTime> {
        let states = self.shares.iter().filter_map(|share| share.order.next_state(now));
        let deadlines = self.live(now).filter_map(|share| share.order.deadline);
        let deadlines = deadlines.flat_map(|deadline| [before(deadline, warn), deadline]);
        states.chain(deadlines).filter(|&at| at > now).min()
    }
}

impl Due<'_> {
    /// As it is told.
    fn alert(&self, ledger: &Ledger, now: UnixTime) -> OrderAlert {
        OrderAlert {
            id: self.entry.id().to_owned(),
            authority: self.entry.authority().to_owned(),
            deadline: self.deadline,
            standing: self.standing,
            why: self.entry.missing(ledger, now),
        }
    }
}

/// So long before a moment.
fn before(at: UnixTime, warn: Duration) -> UnixTime {
    UnixTime(at.0.saturating_sub(i64::try_from(warn.as_secs()).unwrap_or(i64::MAX)))
}
