//! Keeps the books of a running server: how its orders stand, which deadlines are near or past, and, in the audit log,
//! which orders began to block and which ceased to.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::spawn_blocking;
use tokio::time::sleep;

use super::board::{Board, Posted};
use super::control::dates::Dates;
use super::ledger::{Change, Due, Ledger, Standing, Turn, changes};
use super::report::ListReport;
use crate::audit::{Audit, By, Event, OrderChange, Why};
use crate::snapshot::Snapshot;
use crate::util::{Handover, Now, UnixTime};

/// Orders a round of warnings names.
const SHOWN: usize = 10;
/// It rests so many times as long as it worked: lists that change all the time must not keep a core busy.
const REST: u32 = 9;
/// But not longer than this.
const MAX_REST: Duration = Duration::from_secs(60);

/// Makes a ledger whenever something has changed, posts its numbers, and warns.
#[derive(Debug)]
pub struct Clerk {
    board: Board,
    snapshots: Arc<Handover<Snapshot>>,
    seen: Option<Posted>,
    said: HashMap<(String, String), (UnixTime, Standing)>,
    dates: Dates,
    audit: Arc<Audit>,
    /// What was written down last, and when.
    before: (Ledger, UnixTime),
}

impl Clerk {
    /// Of the lists on `board`, as they are in force in `snapshots`.
    pub fn new(board: Board, snapshots: Arc<Handover<Snapshot>>, audit: Arc<Audit>) -> Self {
        let dates = Dates::new(None, Now::read());
        let before = (Ledger::default(), UnixTime::default());
        Self { board, snapshots, seen: None, said: HashMap::new(), dates, audit, before }
    }

    /// Works until it is dropped.
    pub async fn run(mut self) {
        let mut news = self.board.subscribe();
        loop {
            let posted = news.borrow_and_update().clone();
            let now = Now::read();
            if self.dates.due(now) || !self.seen.as_ref().is_some_and(|seen| same(seen, &posted)) {
                let started = Instant::now();
                let job = spawn_blocking(move || {
                    self.work(posted, now);
                    self
                });
                self = match job.await {
                    Ok(clerk) => clerk,
                    Err(error) => {
                        tracing::error!("deadlines are not watched any more: {error}");
                        return;
                    }
                };
                sleep((started.elapsed() * REST).min(MAX_REST)).await;
            }
            tokio::select! {
                heard = news.changed() => if heard.is_err() { return },
                () = sleep(self.dates.nap(Now::read())) => {}
            }
        }
    }

    /// One look at everything. Blocks.
    fn work(&mut self, posted: Posted, now: Now) {
        let at = now.seconds();
        let ledger = Ledger::new(&self.snapshots.load(), &posted.reports, at);
        self.tell(&ledger.due(at, posted.warn), &ledger, at);
        let numbers = ledger.numbers(at, posted.warn);
        self.dates = Dates::new(ledger.next_change(at, posted.warn), now);
        let found = changes(&self.before.0, self.before.1, &ledger, at);
        if !found.is_empty() {
            self.audit.record_all(found.into_iter().map(event), now);
        }
        self.before = (ledger, at);
        self.seen = Some(posted);
        if self.board.read().orders != numbers {
            self.board.post(|posted| posted.orders = numbers);
        }
    }

    /// Says of each order once that it is due, once that it is overdue, and once that it is no more.
    fn tell(&mut self, due: &[Due<'_>], ledger: &Ledger, now: UnixTime) {
        let key = |due: &Due<'_>| (due.entry.id().to_owned(), due.entry.authority().to_owned());
        let mut said = HashMap::with_capacity(due.len());
        let mut told = 0;
        for due in due {
            let key = key(due);
            let what = (due.deadline, due.standing);
            if self.said.remove(&key) != Some(what) {
                told += 1;
                if told <= SHOWN {
                    warn(due, &due.entry.missing(ledger, now));
                }
            }
            said.insert(key, what);
        }
        if told > SHOWN {
            tracing::warn!("… and {} more orders with deadlines; `qalqan orders` shows them", told - SHOWN);
        }
        for (id, authority) in self.said.keys().take(SHOWN) {
            tracing::info!(order = id, authority, "all that this order asks for is enforced, or it is over");
        }
        self.said = said;
    }
}

/// A change as it is written down.
fn event(change: Change) -> (By, Event) {
    let by = match change.reason {
        Why::Effective | Why::Expired | Why::Revoked => By::Clock,
        _ => By::System,
    };
    let Change { order, list, turn, reason, names } = change;
    let (order, authority) = (order.id.as_str().into(), order.authority.as_str().into());
    let change = OrderChange { order, authority, list: (*list).into(), reason, names };
    (
        by,
        match turn {
            Turn::InForce => Event::OrderInForce(change),
            Turn::Lifted => Event::OrderLifted(change),
        },
    )
}

/// One order.
fn warn(due: &Due<'_>, missing: &str) {
    let (order, authority, deadline) = (due.entry.id(), due.entry.authority(), due.deadline);
    match due.standing {
        Standing::Overdue => {
            tracing::warn!(order, authority, %deadline, "the deadline of this order has passed: {missing}");
        }
        _ => tracing::warn!(order, authority, %deadline, "the deadline of this order is near: {missing}"),
    }
}

/// What one says of lists and orders, the other says too.
fn same(a: &Posted, b: &Posted) -> bool {
    let list = |(a, b): (&ListReport, &ListReport)| {
        a.name == b.name
            && (a.role, a.mode, a.files.len()) == (b.role, b.mode, b.files.len())
            && a.refused == b.refused
            && a.gate.dismissed == b.gate.dismissed
            && a.files.iter().zip(&b.files).all(|(a, b)| {
                (a.sha256, a.accepted, a.state.rank()) == (b.sha256, b.accepted, b.state.rank())
                    && a.path == b.path
                    && a.report == b.report
            })
    };
    let lists = || a.reports.len() == b.reports.len() && a.reports.iter().zip(&*b.reports).all(list);
    a.generation == b.generation && a.warn == b.warn && lists()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changes_nothing_for_orders_is_no_news() {
        let report = ListReport {
            name: "l".into(),
            source: "l".into(),
            role: crate::rule::Role::Block,
            mode: crate::rule::Mode::Enforce,
            state: super::super::State::Unchanged,
            files: Vec::new(),
            entries: 0,
            rejected: 0,
            error: None,
            refused: None,
            trial: None,
            pinned: None,
            gate: super::super::report::GateReport::default(),
            took: Duration::ZERO,
        };
        let posted = |generation, report: &ListReport| Posted {
            generation,
            reports: [report.clone()].into(),
            ..Posted::default()
        };
        let first = posted(1, &report);
        let again =
            Posted { published: UnixTime(7), ..posted(1, &ListReport { took: Duration::MAX, ..report.clone() }) };
        assert!(same(&first, &again));
        assert!(!same(&first, &posted(2, &report)));
        assert!(!same(&first, &posted(1, &ListReport { mode: crate::rule::Mode::Shadow, ..report })));
        assert!(!same(&first, &Posted { warn: Duration::from_secs(1), ..first.clone() }));
    }
}
