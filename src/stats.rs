//! Exact counters: one block a worker and one for all others, added up off the query path; and the [`Tally`] of hits.

mod delta;
mod rcodes;
mod tally;

pub use delta::{Clients, Delta, Kind, Of, Row};
pub use tally::{Live, LiveCounts, OTHERS, Tally, TallySettings};

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;

use crate::event::{AnswerKind, Transport};
use crate::rule::Mode;

/// The most lists ever counted apart, versions on trial being lists of their own; further ones share the last place (and keep being blocked).
pub const MAX_LISTS: usize = 2048;

/// The most groups of clients ever counted apart; further ones share the last place.
const MAX_GROUPS: usize = 2048;

/// What happened to a query, beside what a list did to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Counter {
    /// Datagrams and messages that came in.
    Received,
    /// Not worth an answer: short, or not a query.
    Ignored,
    /// Answered FORMERR, NOTIMP or BADVERS.
    Invalid,
    /// REFUSED: the client is not in `allow_from`.
    NotAllowed,
    /// REFUSED: a class, type or flag this resolver does not serve.
    NotServed,
    /// Matched an enforcing list and got its answer.
    Blocked,
    /// Would have been blocked but for an allow rule.
    Excepted,
    /// Matched a shadow list.
    Shadow,
    /// Answered from a local zone.
    Local,
    /// Answered from the cache.
    Cached,
    /// Answered from the cache after its time, as upstreams failed.
    Stale,
    /// Answered from an upstream.
    Forwarded,
    /// SERVFAIL: no upstream answered.
    Failed,
    /// SERVFAIL: too many queries under way.
    Overloaded,
    /// The answer could not be handed to the system.
    SendFailed,
    /// The hit log had no room for a hit. It is counted all the same.
    HitLogFull,
    /// A TCP connection was closed at once because of a limit.
    ConnectionRefused,
    /// There is a cache, but an upstream had to be asked.
    CacheMissed,
    /// A TLS handshake over TCP was finished …
    HandshakeDone,
    /// … came to nothing: no TLS, nothing in common, or the client did not want our certificate …
    HandshakeFailed,
    /// … took too long …
    HandshakeLate,
    /// … or was the oldest of too many.
    HandshakePushedOut,
    /// A front end did not say for whom it asks.
    ProxyHeaderMissing,
    /// A request over HTTP was refused for what it is (status 4xx).
    HttpRefused,
    /// A request over HTTP was refused for lack of room (status 5xx).
    HttpFailed,
    /// A connection over HTTP ended because the client broke its rules.
    HttpCutOff,
    /// A QUIC handshake was not begun because of a limit.
    QuicRefused,
    /// A QUIC handshake failed, or took too long.
    QuicHandshakeFailed,
    /// A DoQ connection was closed because the client broke its rules.
    DoqMisused,
    /// Answered here because the operator chose to: a name by which clients find out whether they may go elsewhere.
    Canary,
    /// BADCOOKIE: a good cookie was demanded.
    BadCookie,
    /// A cookie from a client that had none of ours yet.
    CookieNew,
    /// A cookie of ours.
    CookieValid,
    /// A cookie of ours whose time is over.
    CookieExpired,
    /// A cookie that is not ours.
    CookieWrong,
}

impl Counter {
    /// All of them with their names in `counters.json`.
    const ALL: [(Self, &'static str); 35] = [
        (Self::Received, "received"),
        (Self::Ignored, "ignored"),
        (Self::Invalid, "invalid"),
        (Self::NotAllowed, "not_allowed"),
        (Self::NotServed, "not_served"),
        (Self::Blocked, "blocked"),
        (Self::Excepted, "excepted"),
        (Self::Shadow, "shadow"),
        (Self::Local, "local"),
        (Self::Cached, "cached"),
        (Self::Stale, "stale"),
        (Self::Forwarded, "forwarded"),
        (Self::Failed, "failed"),
        (Self::Overloaded, "overloaded"),
        (Self::SendFailed, "send_failed"),
        (Self::HitLogFull, "hit_log_full"),
        (Self::ConnectionRefused, "connection_refused"),
        (Self::CacheMissed, "cache_missed"),
        (Self::HandshakeDone, "handshake_done"),
        (Self::HandshakeFailed, "handshake_failed"),
        (Self::HandshakeLate, "handshake_late"),
        (Self::HandshakePushedOut, "handshake_pushed_out"),
        (Self::ProxyHeaderMissing, "proxy_header_missing"),
        (Self::HttpRefused, "http_refused"),
        (Self::HttpFailed, "http_failed"),
        (Self::HttpCutOff, "http_cut_off"),
        (Self::QuicRefused, "quic_refused"),
        (Self::QuicHandshakeFailed, "quic_handshake_failed"),
        (Self::DoqMisused, "doq_misused"),
        (Self::Canary, "canary"),
        (Self::BadCookie, "bad_cookie"),
        (Self::CookieNew, "cookie_new"),
        (Self::CookieValid, "cookie_valid"),
        (Self::CookieExpired, "cookie_expired"),
        (Self::CookieWrong, "cookie_wrong"),
    ];
}

/// The counters of one worker. A clone is for whoever else counts at the same time: all clones share one block.
#[derive(Debug)]
pub struct Counters {
    block: Arc<Block>,
    /// Where clones count, if this is not one.
    common: Option<Arc<Block>>,
}

/// Numbers that grow.
#[derive(Debug)]
struct Block {
    counts: [AtomicU64; Counter::ALL.len()],
    /// What came in, by transport.
    received: [AtomicU64; Transport::ALL.len()],
    /// Answers by transport and response code.
    rcodes: [[AtomicU64; rcodes::ALL.len()]; Transport::ALL.len()],
    answers: [AtomicU64; AnswerKind::ALL.len()],
    lists: Box<[[AtomicU64; 2]]>,
    /// Of groups of clients: hits by mode, and queries.
    groups: Box<[[AtomicU64; 3]]>,
}

impl Clone for Counters {
    fn clone(&self) -> Self {
        Self { block: Arc::clone(self.common.as_ref().unwrap_or(&self.block)), common: None }
    }
}

impl Counters {
    /// Counts one.
    pub fn count(&self, counter: Counter) {
        self.block.counts[counter as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts one, for less: who has a worker's counters for itself is the only one that changes them.
    pub fn bump(&mut self, counter: Counter) {
        self.add(|block| &block.counts[counter as usize]);
    }

    /// Counts a message that came in.
    pub fn received(&mut self, transport: Transport) {
        self.add(|block| &block.received[transport as usize]);
    }

    /// Counts an answer with this response code.
    pub fn answered(&mut self, transport: Transport, rcode: u16) {
        let rcode = rcodes::place(rcode);
        self.add(|block| &block.rcodes[transport as usize][rcode]);
    }

    /// Counts a hit of the list at `slot`.
    pub fn hit(&mut self, slot: usize, mode: Mode, answer: AnswerKind) {
        self.add(|block| &block.lists[slot.min(MAX_LISTS - 1)][mode as usize]);
        match mode {
            Mode::Enforce => {
                self.bump(Counter::Blocked);
                self.add(|block| &block.answers[answer as usize]);
            }
            Mode::Shadow => self.bump(Counter::Shadow),
        }
    }

    /// Counts a message from a client of the group at `slot`.
    pub fn group_asked(&mut self, slot: usize) {
        self.add(|block| &block.groups[slot.min(MAX_GROUPS - 1)][2]);
    }

    /// Counts a hit of a client of the group at `slot`, by a list of this mode.
    pub fn group_hit(&mut self, slot: usize, mode: Mode) {
        self.add(|block| &block.groups[slot.min(MAX_GROUPS - 1)][mode as usize]);
    }

    /// Adds one. A block that is not shared by clones has only this owner, and `&mut` says that nobody else uses it
    /// meanwhile: no update can come between load and store, and a locked addition would cost ten times as much.
    fn add(&mut self, pick: impl FnOnce(&Block) -> &AtomicU64) {
        let number = pick(&self.block);
        if self.common.is_some() {
            number.store(number.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
        } else {
            number.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Block {
    /// All zero.
    fn new() -> Arc<Self> {
        Arc::new(Self {
            counts: std::array::from_fn(|_| AtomicU64::new(0)),
            received: std::array::from_fn(|_| AtomicU64::new(0)),
            rcodes: std::array::from_fn(|_| std::array::from_fn(|_| AtomicU64::new(0))),
            answers: std::array::from_fn(|_| AtomicU64::new(0)),
            lists: (0..MAX_LISTS).map(|_| [AtomicU64::new(0), AtomicU64::new(0)]).collect(),
            groups: (0..MAX_GROUPS).map(|_| std::array::from_fn(|_| AtomicU64::new(0))).collect(),
        })
    }
}

/// All counters of the process.
#[derive(Debug, Default)]
pub struct Stats {
    inner: Mutex<Inner>,
}

/// What [`Stats`] knows.
#[derive(Debug, Default)]
struct Inner {
    blocks: Vec<Arc<Block>>,
    /// The block of all clones, one of `blocks`.
    common: Option<Arc<Block>>,
    slots: HashMap<Arc<str>, usize>,
    /// The same for groups of clients.
    group_slots: HashMap<Arc<str>, usize>,
}

impl Stats {
    /// Counters for a worker, all zero.
    pub fn counters(&self) -> Counters {
        let mut inner = self.lock();
        let Inner { blocks, common, .. } = &mut *inner;
        let mut add = || {
            let block = Block::new();
            blocks.push(Arc::clone(&block));
            block
        };
        let common = Arc::clone(common.get_or_insert_with(&mut add));
        Counters { block: add(), common: Some(common) }
    }

    /// The place of the list called `name`, the same each time.
    pub fn slot(&self, name: &Arc<str>) -> usize {
        let mut inner = self.lock();
        let next = inner.slots.len().min(MAX_LISTS - 1);
        *inner.slots.entry(Arc::clone(name)).or_insert(next)
    }

    /// The place of the group of clients called `name`, the same each time.
    pub fn group_slot(&self, name: &Arc<str>) -> usize {
        let mut inner = self.lock();
        let next = inner.group_slots.len().min(MAX_GROUPS - 1);
        *inner.group_slots.entry(Arc::clone(name)).or_insert(next)
    }

    /// Hits of the list at `slot`, enforced or not.
    pub fn hits(&self, slot: usize) -> u64 {
        let inner = self.lock();
        let both = inner.blocks.iter().filter_map(|block| block.lists.get(slot)).flatten();
        both.map(|count| count.load(Ordering::Relaxed)).sum()
    }

    /// Adds everything up.
    pub fn totals(&self) -> Totals {
        let inner = self.lock();
        let sum = |pick: &dyn Fn(&Block) -> &AtomicU64| -> u64 {
            inner.blocks.iter().map(|block| pick(block).load(Ordering::Relaxed)).sum()
        };
        let mut queries: Vec<_> =
            Counter::ALL.iter().map(|&(c, name)| (name, sum(&|w| &w.counts[c as usize]))).collect();
        let transports: Vec<_> = Transport::ALL
            .iter()
            .map(|&transport| TransportTotals {
                transport: transport.as_str(),
                received: sum(&|w| &w.received[transport as usize]),
                rcodes: std::array::from_fn(|rcode| {
                    (rcodes::ALL[rcode], sum(&|w| &w.rcodes[transport as usize][rcode]))
                }),
            })
            .collect();
        // Workers count it by transport only.
        queries[Counter::Received as usize].1 += transports.iter().map(|transport| transport.received).sum::<u64>();
        let answers =
            AnswerKind::ALL.iter().map(|&kind| (kind.as_str(), sum(&|w| &w.answers[kind as usize]))).collect();
        let mut lists: Vec<_> = inner
            .slots
            .iter()
            .map(|(name, &slot)| ListTotals {
                name: name.to_string(),
                blocked: sum(&|w| &w.lists[slot][Mode::Enforce as usize]),
                shadow: sum(&|w| &w.lists[slot][Mode::Shadow as usize]),
            })
            .collect();
        lists.sort_by(|a, b| a.name.cmp(&b.name));
        let mut groups: Vec<_> = inner
            .group_slots
            .iter()
            .map(|(name, &slot)| GroupTotals {
                name: name.to_string(),
                queries: sum(&|w| &w.groups[slot][2]),
                blocked: sum(&|w| &w.groups[slot][Mode::Enforce as usize]),
                shadow: sum(&|w| &w.groups[slot][Mode::Shadow as usize]),
            })
            .collect();
        groups.sort_by(|a, b| a.name.cmp(&b.name));
        Totals { queries, transports, answers, lists, groups }
    }

    /// The lock is only ever held for a moment here.
    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The counters added up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// By what happened to a query.
    #[serde(serialize_with = "as_map")]
    pub queries: Vec<(&'static str, u64)>,
    /// By the way queries come in.
    #[serde(skip)]
    pub transports: Vec<TransportTotals>,
    /// Blocked queries by answer.
    #[serde(serialize_with = "as_map")]
    pub answers: Vec<(&'static str, u64)>,
    /// By list.
    pub lists: Vec<ListTotals>,
    /// By group of clients.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<GroupTotals>,
}

/// The counters of one transport.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransportTotals {
    /// Its name.
    pub transport: &'static str,
    /// Messages that came in.
    pub received: u64,
    /// Answers made, by response code.
    pub rcodes: [(&'static str, u64); rcodes::ALL.len()],
}

/// The counters of one list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ListTotals {
    /// Its name.
    pub name: String,
    /// Queries answered as it says.
    pub blocked: u64,
    /// Queries it would have blocked.
    pub shadow: u64,
}

/// The counters of one group of clients.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GroupTotals {
    /// Its name.
    pub name: String,
    /// Messages that came from its clients.
    pub queries: u64,
    /// Of these, what a list blocked.
    pub blocked: u64,
    /// What a shadow list would have blocked.
    pub shadow: u64,
}

impl Totals {
    /// One of the query counters.
    pub fn query(&self, counter: Counter) -> u64 {
        self.queries.get(counter as usize).map_or(0, |&(_, count)| count)
    }
}

/// Pairs as a JSON object, in their order.
fn as_map<S: serde::Serializer>(pairs: &[(&'static str, u64)], to: S) -> Result<S::Ok, S::Error> {
    to.collect_map(pairs.iter().copied())
}

#[cfg(test)]
mod tests;
