//! One question, several servers: who is asked when, and whose answer counts.
//!
//! A server that stays silent is not given up: the next one is asked beside it, and the first good answer wins. So a
//! lost datagram costs a part of the time-out, and a slow but honest recursion still gets through.

use std::future::{Future, poll_fn};
use std::hash::{BuildHasher, RandomState};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

use super::health::{Fault, Health};
use super::link::{Got, Link};
use super::merge::Outcome;
use super::{Ask, Failure, Reply, Server, ServerHealth, Trouble, Wish, probe};
use crate::wire::rcode;

/// After this share of the time-out without an answer, the next server is asked too.
const PATIENCE: u32 = 4;
/// Queries sent for one question: at least so many if servers are silent (a datagram may be lost) …
const MIN_TRIES: usize = 3;
/// … and at most so many, however many servers there are.
const MAX_TRIES: usize = 6;

/// Who is asked first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strategy {
    /// The one that answers clearly faster than the others; among equals the first.
    #[default]
    Fastest,
    /// All at once; the first good answer counts.
    Parallel,
    /// The first one that works.
    Ordered,
    /// Any.
    Random,
}

/// How a question is asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    /// Who first.
    pub(super) strategy: Strategy,
    /// For all tries together.
    pub(super) timeout: Duration,
}

/// A server with its state.
pub(super) struct Remote {
    link: Link,
    shown: Arc<str>,
    transport: &'static str,
    health: Health,
    start: Instant,
    /// What it is asked while it is aside.
    probe: Wish,
    probing: AtomicBool,
}

impl Remote {
    /// Nothing is known about it yet.
    pub(super) fn new(link: Link, server: &Server, probe: Ask) -> Self {
        Self {
            link,
            shown: server.to_string().into(),
            transport: server.transport(),
            health: Health::default(),
            start: Instant::now(),
            probe: probe.into(),
            probing: AtomicBool::new(false),
        }
    }

    /// For the operator.
    pub(super) fn report(&self) -> ServerHealth {
        self.health.report(&self.shown, self.transport, self.at(Instant::now()))
    }

    /// A moment as [`Health`] counts, never 0.
    fn at(&self, moment: Instant) -> u64 {
        u64::try_from(moment.saturating_duration_since(self.start).as_millis()).unwrap_or(u64::MAX).saturating_add(1)
    }

    /// A query sent at `sent` came to nothing.
    fn blame(self: &Arc<Self>, sent: Instant, now: Instant, fault: Fault, patience: Duration) {
        self.health.fault(fault);
        if fault == Fault::Untrusted {
            self.health.distrust();
        }
        if self.health.bad(self.at(sent), self.at(now)) && !self.probing.swap(true, Ordering::Relaxed) {
            probe::start(self, &self.probe, patience);
        }
    }

    /// How long to wait with the next probe, which comes after `percent` of the time aside; none if it is not aside.
    pub(super) fn next_probe(&self, percent: u64) -> Option<Duration> {
        let (since, until) = self.health.aside()?;
        let at = since.saturating_add(until.saturating_sub(since).saturating_mul(percent) / 100);
        Some(Duration::from_millis(at.saturating_sub(self.at(Instant::now()))))
    }

    /// It is not used.
    pub(super) fn is_aside(&self) -> bool {
        self.health.aside().is_some()
    }

    /// Asks without blame.
    pub(super) async fn probe(&self, probe: &Wish) -> Result<Got, Trouble> {
        self.health.probed();
        self.link.ask(probe, false).await
    }

    /// A probe was answered well.
    pub(super) fn recovered(&self, took: Duration, now: Instant) {
        self.health.good(took, self.at(now));
    }

    /// A probe came to nothing.
    pub(super) fn still_down(&self, sent: Instant, now: Instant) {
        self.health.failing(self.at(sent), self.at(now));
    }

    /// There will be no more probes, until it is put aside again.
    pub(super) fn probe_over(&self) {
        self.probing.store(false, Ordering::Relaxed);
    }
}

/// Asks until one answers well, all have answered badly, or time is up.
pub(super) async fn race(group: Arc<[Arc<Remote>]>, wish: Wish, plan: Plan) -> Outcome {
    let now = Instant::now();
    let (runners, width) = in_order(&group, now, plan.strategy);
    Race {
        runners: runners.into_iter().map(Runner::new).collect(),
        wish: Arc::new(wish),
        tries: Vec::new(),
        sent: 0,
        turn: 0,
        width,
        patience: plan.timeout / PATIENCE,
        deadline: now + plan.timeout,
        worst: None,
    }
    .run()
    .await
}

/// Servers that serve before those aside, among them by the strategy, else as configured; and how many are asked at once.
fn in_order(group: &[Arc<Remote>], now: Instant, strategy: Strategy) -> (Vec<Arc<Remote>>, usize) {
    // Keys of its own for each call: a different order each time.
    let chance = (strategy == Strategy::Random).then(RandomState::new);
    let mut ranked: Vec<_> = group
        .iter()
        .enumerate()
        .map(|(index, remote)| {
            let at = remote.at(now);
            let rank = match (strategy, &chance) {
                (Strategy::Fastest, _) => u64::from(remote.health.step(at)),
                (_, Some(chance)) => chance.hash_one(index),
                _ => 0,
            };
            ((!remote.health.admits(at), rank), Arc::clone(remote))
        })
        .collect();
    ranked.sort_by_key(|(rank, _)| *rank);
    let serving = ranked.iter().filter(|((aside, _), _)| !aside).count();
    let width = if strategy == Strategy::Parallel { serving.max(1) } else { 1 };
    (ranked.into_iter().map(|(_, remote)| remote).collect(), width)
}

/// A good answer, not an error or a part of one.
pub(super) fn is_good(got: &Got) -> bool {
    rank(got) == 0
}

/// What became of a server in this race.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// Not asked, or asked and not yet heard of.
    Open,
    /// It answered with an error, or with nonsense.
    Erred,
    /// It cannot be reached, and has been blamed for it.
    Unreachable,
}

/// A server in this race.
struct Runner {
    remote: Arc<Remote>,
    first_sent: Option<Instant>,
    fate: Fate,
}

impl Runner {
    /// At the start.
    fn new(remote: Arc<Remote>) -> Self {
        Self { remote, first_sent: None, fate: Fate::Open }
    }
}

/// A try that has ended.
struct Done {
    runner: usize,
    sent: Instant,
    result: Result<Got, Trouble>,
}

/// A try under way.
type Try = Pin<Box<dyn Future<Output = Done> + Send>>;

/// One question under way.
struct Race {
    runners: Vec<Runner>,
    wish: Arc<Wish>,
    tries: Vec<Try>,
    sent: usize,
    turn: usize,
    /// Servers asked at the start.
    width: usize,
    patience: Duration,
    deadline: Instant,
    /// The most telling bad answer so far.
    worst: Option<(u8, Reply)>,
}

impl Race {
    /// To the end.
    async fn run(mut self) -> Outcome {
        let now = Instant::now();
        (0..self.width).for_each(|_| self.send(now));
        let mut next_at = now + self.patience;
        let mut alarm = pin!(sleep_until(next_at.min(self.deadline)));
        while !self.tries.is_empty() {
            let Some(done) = poll_fn(|cx| self.poll(cx, alarm.as_mut())).await else {
                let now = Instant::now();
                if now >= self.deadline {
                    break;
                }
                self.send(now);
                next_at = now + self.patience;
                alarm.as_mut().reset(next_at.min(self.deadline));
                continue;
            };
            if let Some(reply) = self.take(done) {
                return Ok(reply);
            }
            // Nothing to wait for with this one.
            let now = Instant::now();
            if now < self.deadline {
                self.send(now);
                next_at = now + self.patience;
                alarm.as_mut().reset(next_at.min(self.deadline));
            }
        }
        self.give_up()
    }

    /// A try that has ended; `None` if it is time for the next one.
    fn poll(&mut self, cx: &mut Context<'_>, alarm: Pin<&mut Sleep>) -> Poll<Option<Done>> {
        for (at, one) in self.tries.iter_mut().enumerate() {
            if let Poll::Ready(done) = one.as_mut().poll(cx) {
                drop(self.tries.swap_remove(at));
                return Poll::Ready(Some(done));
            }
        }
        alarm.poll(cx).map(|()| None)
    }

    /// Sends to the next server, if one is left.
    fn send(&mut self, now: Instant) {
        if self.sent >= self.runners.len().clamp(MIN_TRIES, MAX_TRIES) {
            return;
        }
        let count = self.runners.len();
        let mut candidates = (0..count).map(|step| (self.turn + step) % count);
        let Some(index) = candidates.find(|&index| {
            self.runners.get(index).is_some_and(|runner| {
                runner.fate == Fate::Open && (runner.first_sent.is_none() || runner.remote.link.may_lose())
            })
        }) else {
            return;
        };
        let Some(runner) = self.runners.get_mut(index) else { return };
        let again = runner.first_sent.replace(runner.first_sent.unwrap_or(now)).is_some();
        runner.remote.health.asked();
        let (remote, wish) = (Arc::clone(&runner.remote), Arc::clone(&self.wish));
        self.tries.push(Box::pin(async move {
            let result = remote.link.ask(&wish, again).await;
            Done { runner: index, sent: now, result }
        }));
        self.sent += 1;
        self.turn = index + 1;
    }

    /// Books a try; gives the reply if it is a good one.
    fn take(&mut self, done: Done) -> Option<Reply> {
        let now = Instant::now();
        let runner = self.runners.get_mut(done.runner)?;
        let remote = Arc::clone(&runner.remote);
        let got = match done.result {
            Ok(got) => got,
            Err(trouble) => {
                // Silence is booked at the end; the same server may have two tries under way and is blamed once.
                match trouble {
                    Trouble::Silent => {}
                    Trouble::Bare(_) | Trouble::Garbled | Trouble::OtherCase | Trouble::Attacked => {
                        runner.fate = Fate::Erred
                    }
                    Trouble::Unreachable | Trouble::Untrusted if runner.fate == Fate::Open => {
                        runner.fate = Fate::Unreachable;
                        let untrusted = trouble == Trouble::Untrusted;
                        let fault = if untrusted { Fault::Untrusted } else { Fault::Unreachable };
                        remote.blame(done.sent, now, fault, self.patience);
                    }
                    Trouble::Unreachable | Trouble::Untrusted => {}
                }
                return None;
            }
        };
        remote.health.answered(now.saturating_duration_since(done.sent));
        let rank = rank(&got);
        let took = got.took.unwrap_or_else(|| now.saturating_duration_since(done.sent));
        let reply = Reply { bytes: got.bytes, server: got.from };
        if rank == 0 {
            remote.health.good(took, remote.at(now));
            self.blame_losers(done.runner, now);
            return Some(reply);
        }
        runner.fate = Fate::Erred;
        if self.worst.as_ref().is_none_or(|(known, _)| rank >= *known) {
            self.worst = Some((rank, reply));
        }
        None
    }

    /// Another server had a good answer: those that erred were wrong, and those that were silent too long are slow.
    fn blame_losers(&self, winner: usize, now: Instant) {
        for (index, runner) in self.runners.iter().enumerate() {
            let Some(sent) = runner.first_sent.filter(|_| index != winner) else { continue };
            match runner.fate {
                Fate::Erred => runner.remote.blame(sent, now, Fault::BadAnswer, self.patience),
                Fate::Open if now.saturating_duration_since(sent) >= self.patience => {
                    runner.remote.health.slower_than(now.saturating_duration_since(sent), runner.remote.at(now));
                    runner.remote.blame(sent, now, Fault::Timeout, self.patience);
                }
                Fate::Open | Fate::Unreachable => {}
            }
        }
    }

    /// Nobody answered well.
    fn give_up(self) -> Outcome {
        let now = Instant::now();
        let mut silent = false;
        for runner in &self.runners {
            if let (Fate::Open, Some(sent)) = (runner.fate, runner.first_sent) {
                silent = true;
                runner.remote.blame(sent, now, Fault::Timeout, self.patience);
            }
        }
        match self.worst {
            Some((_, reply)) => Ok(reply),
            None if silent => Err(Failure::Slow),
            None if self.runners.iter().any(|runner| runner.fate == Fate::Erred) => Err(Failure::Useless),
            None => Err(Failure::Dead),
        }
    }
}

/// 0 for a good answer, else how much a bad one tells: SERVFAIL is about the name (and carries an EDE), REFUSED and
/// the others are about us.
fn rank(got: &Got) -> u8 {
    match got.rcode {
        rcode::SERVFAIL => 3,
        rcode::REFUSED | rcode::FORMERR | rcode::NOTIMP | rcode::NOTAUTH | rcode::BADVERS => 2,
        _ if got.truncated => 1,
        _ => 0,
    }
}

#[cfg(test)]
mod tests;
