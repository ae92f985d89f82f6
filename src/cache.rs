//! Answers of upstreams as wire bytes, ready to be copied out again.
//!
//! Readers take a read lock on one of many parts, copy, and change nothing but atomics: no allocation, no clock call. An
//! answer that leads to other names (CNAME and its kin) carries the stamp of the policy under which those names
//! were checked; [`Hit::checked`] says whether that still holds.

mod entry;
mod index;
mod shard;
#[cfg(test)]
mod tests;

use std::hash::{BuildHasher, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use foldhash::fast::RandomState;

use crate::name::{self, Name};
use crate::util::UnixTime;
use crate::wire::{Edns, Query, STREAM_MAX, flag};

use self::entry::Entry;
use self::shard::Shard;

/// The most parts; a small cache has fewer, so that each can hold large answers.
const MAX_SHARDS: usize = 64;
/// The least room of a part.
const MIN_SHARD: usize = 256 << 10;

/// Places looked at under one lock when names are forgotten: some tens of microseconds.
const FLUSH_STEP: usize = 1024;

/// What is kept, and for how long. Seconds where not said otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Octets of memory, all told; 0: no cache.
    pub size: usize,
    /// Answers live this long at least.
    pub min_ttl: u32,
    /// Answers live this long at most.
    pub max_ttl: u32,
    /// NXDOMAIN and NODATA live this long at most.
    pub max_negative_ttl: u32,
    /// SERVFAIL lives this long (RFC 9520); 0: it is not kept.
    pub servfail_ttl: u32,
    /// Answers may be given so long after their time when upstreams fail (RFC 8767); 0: never.
    pub stale: u32,
    /// So long a client waits for the upstreams before it gets a stale answer, if there is one (RFC 8767 section 5).
    pub stale_after: Duration,
}

/// What an answer is kept under. The class is IN: nothing else is served.
#[derive(Clone, Copy, Debug)]
pub struct Key<'a> {
    /// Lower-case wire bytes.
    pub name: &'a [u8],
    /// RR type.
    pub qtype: u16,
    /// DO: with signatures.
    pub dnssec_ok: bool,
    /// CD: not validated.
    pub checking_disabled: bool,
    /// A rule lets the name pass expressly, so the names its answer leads to are not checked. Kept apart: who is
    /// not excepted must never get such an answer.
    pub excepted: bool,
}

impl<'a> Key<'a> {
    /// Of a query for `name`.
    pub fn new(name: &'a [u8], query: &Query, excepted: bool) -> Self {
        let (dnssec_ok, checking_disabled) = (query.dnssec_ok(), query.checking_disabled());
        Self { name, qtype: query.qtype, dnssec_ok, checking_disabled, excepted }
    }

    /// Everything but the name.
    fn bits(&self) -> u32 {
        let flags = [self.dnssec_ok, self.checking_disabled, self.excepted];
        flags.into_iter().fold(u32::from(self.qtype), |bits, flag| bits << 1 | u32::from(flag))
    }
}

/// A query to be answered.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The query as it came.
    pub message: &'a [u8],
    /// The same, read.
    pub query: &'a Query,
    /// The most octets its answer may have.
    pub limit: usize,
}

/// What an answer's age is compared with.
#[derive(Clone, Copy, Debug)]
pub struct Age {
    /// The time.
    pub now: UnixTime,
    /// Stands for the snapshot in force and what of it holds for the client.
    pub stamp: u64,
    /// The same for what holds for everybody.
    pub stamp_of_all: u64,
    /// Upstreams have just failed to answer this: a stale answer is good enough, now and for the next half minute.
    pub upstream_failed: bool,
}

impl Age {
    /// While upstreams answer.
    pub fn new(now: UnixTime, stamp: u64, stamp_of_all: u64) -> Self {
        Self { now, stamp, stamp_of_all, upstream_failed: false }
    }
}

/// An answer has been written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hit {
    /// Which answer it was; one that takes its place has another.
    pub id: u64,
    /// Its octets.
    pub len: usize,
    /// It had to be cut.
    pub truncated: bool,
    /// No rule under this stamp knows a name it leads to, or it leads to none. If not so, the caller checks them, and
    /// may say so with [`Cache::checked`].
    pub checked: bool,
    /// Its time is over.
    pub stale: bool,
    /// Its time is nearly over and it is popular: the caller should have it asked for again. Said once.
    pub refresh: bool,
}

/// How full it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fill {
    /// Answers.
    pub entries: usize,
    /// Octets of memory, all told.
    pub bytes: usize,
    /// Answers that had to make room since the start.
    pub evicted: u64,
}

/// The cache.
#[derive(Debug)]
pub struct Cache {
    settings: Settings,
    hasher: RandomState,
    shards: Box<[RwLock<Shard>]>,
    epoch: AtomicU64,
    ids: AtomicU64,
}

impl Cache {
    /// An empty one; `None` if its size is 0.
    pub fn new(settings: &Settings) -> Option<Self> {
        if settings.size == 0 {
            return None;
        }
        let wanted = (settings.size / MIN_SHARD).clamp(1, MAX_SHARDS);
        // The power of two not above it.
        let count = 1 << wanted.ilog2();
        let shards = (0..count).map(|_| RwLock::new(Shard::new(settings.size / count))).collect();
        Some(Self {
            settings: *settings,
            hasher: RandomState::default(),
            shards,
            epoch: AtomicU64::new(0),
            ids: AtomicU64::new(0),
        })
    }

    /// Writes the answer to `asked` into `out`, if there is one young enough. `out` must hold 512 octets at least.
    pub fn answer(&self, key: &Key<'_>, asked: &Asked<'_>, age: &Age, out: &mut [u8]) -> Option<Hit> {
        let hash = self.hash(key);
        self.read(hash).get(hash, key)?.answer(asked, age, &self.settings, out)
    }

    /// The whole answer as a message to be looked into and relayed, with everything an upstream would have said.
    pub fn whole(&self, key: &Key<'_>, message: &[u8], query: &Query, age: &Age) -> Option<(Vec<u8>, Hit)> {
        let edns = Edns { dnssec_ok: key.dnssec_ok, ..Edns::default() };
        let query = Query { edns: Some(edns), flags: query.flags | flag::AD, ..*query };
        let hash = self.hash(key);
        let shard = self.read(hash);
        let entry = shard.get(hash, key)?;
        let mut out = vec![0; entry.room() + query.question_end];
        let hit = entry.answer(&Asked { message, query: &query, limit: STREAM_MAX }, age, &self.settings, &mut out)?;
        out.truncate(hit.len);
        Some((out, hit))
    }

    /// There is an answer whose time is over, and which may still be given.
    pub fn has_stale(&self, key: &Key<'_>, now: UnixTime) -> bool {
        let hash = self.hash(key);
        self.read(hash).get(hash, key).is_some_and(|entry| !entry.is_failure() && entry.is_usable(now, &self.settings))
    }

    /// The names that answer `id` leads to have been checked under this stamp, and no rule knows any. Nothing
    /// happens if another answer has taken its place, which may lead elsewhere.
    pub fn checked(&self, key: &Key<'_>, id: u64, stamp: u64) {
        let hash = self.hash(key);
        if let Some(entry) = self.read(hash).get(hash, key).filter(|entry| entry.id == id) {
            entry.mark(stamp);
        }
    }

    /// Counts how often [`Self::clear`] or [`Self::flush`] was called: to be read before an upstream is asked, and given to
    /// [`Self::insert`].
    pub fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// Keeps an upstream's answer, if it may be kept; `stamp` is the one under which the names it leads to were
    /// found to be known to no rule, 0 if they were not checked. `false`: not kept.
    pub fn insert(&self, key: &Key<'_>, answer: &[u8], stamp: u64, epoch: u64, now: UnixTime) -> bool {
        let Some(entry) = Entry::new(key, answer, &self.settings, now) else { return false };
        entry.mark(stamp);
        self.put(key, entry, epoch, now)
    }

    /// As [`Self::insert`], and writes the answer to `asked` into `out` as who comes next will get it, lifetimes within the
    /// same bounds; gives its length. `None`: it may not be kept, and nothing is written.
    pub fn insert_answering(
        &self,
        key: &Key<'_>,
        answer: &[u8],
        stamp: u64,
        epoch: u64,
        now: UnixTime,
        (asked, out): (&Asked<'_>, &mut [u8]),
    ) -> Option<usize> {
        let entry = Entry::new(key, answer, &self.settings, now)?;
        let hit = entry.first(asked, &self.settings, out)?;
        entry.mark(stamp);
        self.put(key, entry, epoch, now);
        Some(hit.len)
    }

    /// How long a client waits for an upstream when there is a stale answer.
    pub fn stale_after(&self) -> Duration {
        self.settings.stale_after
    }

    /// Keeps for a while that no upstream answered, with the extended error a client gets.
    pub fn insert_failure(&self, key: &Key<'_>, code: u16, text: &[u8], epoch: u64, now: UnixTime) -> bool {
        let Some(entry) = Entry::failure(key, code, text, &self.settings, now) else { return false };
        self.put(key, entry, epoch, now)
    }

    /// Forgets a name, and with `subtree` all below it; gives how many answers that were. What is being asked for now is
    /// not kept either, whatever its name. Nobody who wants an answer waits for longer than a step of this takes.
    pub fn flush(&self, name: &Name, subtree: bool) -> usize {
        self.epoch.fetch_add(1, Ordering::AcqRel);
        let picked = |known: &[u8]| known == name.wire() || (subtree && name::is_at_or_below(known, name.wire()));
        let mut count = 0;
        for at in 0..self.shards.len() {
            let mut from = Some(0);
            // Between two steps entries may only come into what was walked already if they were asked for since.
            while let Some(start) = from {
                let (found, next) = self.write(at as u64).flush(start, FLUSH_STEP, picked);
                count += found;
                from = next;
            }
        }
        count
    }

    /// Forgets everything, also what is being asked for now.
    pub fn clear(&self) {
        self.epoch.fetch_add(1, Ordering::AcqRel);
        for at in 0..self.shards.len() {
            let mut shard = self.write(at as u64);
            *shard = Shard::new(self.settings.size / self.shards.len());
        }
    }

    /// Memory it may use, all told.
    pub fn size(&self) -> usize {
        self.settings.size
    }

    /// How full it is now.
    pub fn fill(&self) -> Fill {
        let mut fill = Fill::default();
        for shard in &self.shards {
            let shard = shard.read().unwrap_or_else(PoisonError::into_inner);
            fill.entries += shard.len();
            fill.bytes += shard.used();
            fill.evicted += shard.evicted;
        }
        fill
    }

    /// Puts an entry in, unless something was forgotten since it was asked for.
    fn put(&self, key: &Key<'_>, mut entry: Entry, epoch: u64, now: UnixTime) -> bool {
        entry.id = self.ids.fetch_add(1, Ordering::Relaxed);
        let hash = self.hash(key);
        let mut shard = self.write(hash >> 32);
        // Another one's answer may have come meanwhile, and a good answer is worth more than an error.
        let good = |old: &Entry| !old.is_failure() && old.is_usable(now, &self.settings);
        if entry.is_failure() && shard.get(hash, key).is_some_and(good) {
            return false;
        }
        // Read under the lock: a clearing or flush that comes now sees this entry too.
        self.epoch() == epoch && shard.insert(hash, entry)
    }

    /// Keyed: chosen names cannot be made to collide.
    fn hash(&self, key: &Key<'_>) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        hasher.write(key.name);
        hasher.write_u32(key.bits());
        hasher.finish()
    }

    /// The part a hash belongs to. Its low and its highest bits are the table's.
    fn read(&self, hash: u64) -> RwLockReadGuard<'_, Shard> {
        let at = (hash >> 32) as usize & (self.shards.len() - 1);
        self.shards[at].read().unwrap_or_else(PoisonError::into_inner)
    }

    /// A part, to be changed.
    fn write(&self, at: u64) -> RwLockWriteGuard<'_, Shard> {
        let at = at as usize & (self.shards.len() - 1);
        self.shards[at].write().unwrap_or_else(PoisonError::into_inner)
    }
}
