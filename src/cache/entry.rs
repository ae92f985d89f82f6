//! One answer, kept as the octets that will be sent.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU64, Ordering};

use super::{Age, Asked, Hit, Key, Settings};
use crate::util::UnixTime;
use crate::wire::{self, CLASS_IN, Ede, Records, ede, flag, rcode, rtype};

/// TTL of a stale answer, and how long nobody is asked again after a failure (RFC 8767 section 5).
const STALE_SECS: u32 = 30;
/// Hits are counted up to here.
const MAX_HITS: u8 = 3;
/// So many hits make a name worth asking for before its time is over.
const POPULAR: u8 = 2;
/// To how many octets the allocator rounds; half of that it keeps beside an allocation.
const MALLOC: usize = 16;
/// The least [`Entry::cost`].
pub(super) const LEAST: usize = 2 * MALLOC + 2 * MALLOC / HOLES;
/// One octet in so many lies unused between allocations of many sizes that come and go (glibc, measured).
const HOLES: usize = 16;

/// An answer.
#[derive(Debug)]
pub(super) struct Entry {
    /// No other entry ever has it.
    pub id: u64,
    /// Name, places of TTLs (two octets each), body, extended errors.
    data: Box<[u8]>,
    name: u8,
    key_bits: u32,
    records: u16,
    body: u16,
    additional: u16,
    counts: [u16; 3],
    rcode: u16,
    flags: u16,
    stored: i64,
    ttl: u32,
    /// It leads to other names, which have to be checked against the rules.
    leads_on: bool,
    /// Under which they were checked.
    stamp: AtomicU64,
    /// Until then a stale answer is given without asking anybody.
    held_until: AtomicI64,
    hits: AtomicU8,
    refreshing: AtomicBool,
}

impl Entry {
    /// Keeps an upstream's answer; `None` if it must not be kept.
    pub fn new(key: &Key<'_>, answer: &[u8], settings: &Settings, now: UnixTime) -> Option<Self> {
        let mut scratch = Vec::new();
        let (question, records) = wire::take_apart(answer, &mut scratch).ok()?;
        let (theirs, kind) = question.split_last_chunk::<4>()?;
        let ([a, b], [c, d]) = (key.qtype.to_be_bytes(), CLASS_IN.to_be_bytes());
        if !theirs.eq_ignore_ascii_case(key.name) || *kind != [a, b, c, d] {
            return None;
        }
        let (ttl, cap) = lifetime(key, &records, settings)?;
        Self::build(key, &records, ttl, |ttl| ttl.clamp(settings.min_ttl.min(cap), cap), now)
    }

    /// SERVFAIL with an extended error, to be given for a short while (RFC 9520).
    pub fn failure(key: &Key<'_>, code: u16, text: &[u8], settings: &Settings, now: UnixTime) -> Option<Self> {
        let mut errors = Vec::from(wire::option::EDE.to_be_bytes());
        errors.extend_from_slice(&u16::try_from(2 + text.len()).ok()?.to_be_bytes());
        errors.extend_from_slice(&code.to_be_bytes());
        errors.extend_from_slice(text);
        let records =
            Records { flags: 0, rcode: rcode::SERVFAIL, counts: [0; 3], body: &[], additional: 0, errors: &errors };
        let ttl = settings.servfail_ttl;
        if ttl == 0 { None } else { Self::build(key, &records, ttl, |ttl| ttl, now) }
    }

    /// Puts the octets together.
    fn build(
        key: &Key<'_>,
        records: &Records<'_>,
        ttl: u32,
        clamp: impl Fn(u32) -> u32,
        now: UnixTime,
    ) -> Option<Self> {
        let total: usize = records.counts.iter().map(|&count| usize::from(count)).sum();
        let size = key.name.len() + 2 * total + records.body.len() + records.errors.len();
        let mut data = Vec::with_capacity(size);
        data.extend_from_slice(key.name);
        let mut ttls = Vec::with_capacity(total);
        let mut leads_on = false;
        records.visit(|seen| {
            ttls.push((seen.ttl_at, clamp(seen.ttl)));
            leads_on |=
                seen.section == 0 && matches!(seen.rtype, rtype::CNAME | rtype::DNAME | rtype::HTTPS | rtype::SVCB);
        })?;
        for (at, _) in &ttls {
            data.extend_from_slice(&u16::try_from(*at).ok()?.to_be_bytes());
        }
        let body = data.len();
        data.extend_from_slice(records.body);
        for (at, ttl) in ttls {
            data.get_mut(body + at..body + at + 4)?.copy_from_slice(&ttl.to_be_bytes());
        }
        data.extend_from_slice(records.errors);
        Some(Self {
            id: 0,
            data: data.into(),
            name: u8::try_from(key.name.len()).ok()?,
            key_bits: key.bits(),
            records: u16::try_from(total).ok()?,
            body: u16::try_from(records.body.len()).ok()?,
            additional: u16::try_from(records.additional).ok()?,
            counts: records.counts,
            rcode: records.rcode,
            flags: records.flags,
            stored: now.0,
            ttl,
            leads_on,
            stamp: AtomicU64::new(0),
            held_until: AtomicI64::new(i64::MIN),
            hits: AtomicU8::new(0),
            refreshing: AtomicBool::new(false),
        })
    }

    /// It answers this question.
    pub fn is_for(&self, key: &Key<'_>) -> bool {
        self.key_bits == key.bits() && self.name() == key.name
    }

    /// The name asked for.
    pub fn name(&self) -> &[u8] {
        self.data.get(..usize::from(self.name)).unwrap_or_default()
    }

    /// What it takes of memory beside its slot, as the allocator counts.
    pub fn cost(&self) -> usize {
        let taken = (self.data.len() + MALLOC / 2).next_multiple_of(MALLOC).max(2 * MALLOC);
        taken + taken / HOLES
    }

    /// It was decided about under this stamp and found to lead nowhere that a rule knows.
    pub fn mark(&self, stamp: u64) {
        self.stamp.store(stamp, Ordering::Relaxed);
    }

    /// It was found to lead nowhere that a rule knows, for this client or for everybody.
    fn is_checked(&self, age: &Age) -> bool {
        let stamp = self.stamp.load(Ordering::Relaxed);
        stamp == age.stamp || stamp == age.stamp_of_all
    }

    /// Hits so far, up to a few.
    pub fn hits(&self) -> u8 {
        self.hits.load(Ordering::Relaxed)
    }

    /// Sets the number of hits.
    pub fn set_hits(&self, hits: u8) {
        self.hits.store(hits, Ordering::Relaxed);
    }

    /// Room that an answer made of it never exceeds.
    pub fn room(&self) -> usize {
        self.data.len() + 512
    }

    /// Writes the answer to a query for its name, if its age allows it.
    pub fn answer(&self, asked: &Asked<'_>, age: &Age, settings: &Settings, out: &mut [u8]) -> Option<Hit> {
        let elapsed = u32::try_from(age.now.0.saturating_sub(self.stored).max(0)).unwrap_or(u32::MAX);
        let stale = elapsed >= self.ttl;
        if stale {
            self.may_be_stale(elapsed, age, settings)?;
        }
        let hits = self.hits();
        if hits < MAX_HITS {
            // Two readers at once may count one: it is a guess at popularity, not a statistic.
            self.set_hits(hits + 1);
        }
        let error = stale.then(|| {
            let code = if self.rcode == rcode::NXDOMAIN { ede::STALE_NXDOMAIN } else { ede::STALE };
            Ede { code, text: b"" }
        });
        let ttls = usize::from(self.name);
        let body = ttls + 2 * usize::from(self.records);
        let errors = body + usize::from(self.body);
        let records = Records {
            flags: self.flags,
            rcode: self.rcode,
            counts: self.counts,
            body: self.data.get(body..errors)?,
            additional: usize::from(self.additional),
            errors: self.data.get(errors..)?,
        };
        let written = records.write(asked.message, asked.query, asked.limit, error, out);
        for place in self.data.get(ttls..body)?.as_chunks::<2>().0 {
            let at = usize::from(u16::from_be_bytes(*place));
            if at >= written.kept {
                break;
            }
            let field = out.get_mut(written.body + at..)?.first_chunk_mut::<4>()?;
            let left = if stale { STALE_SECS } else { u32::from_be_bytes(*field).saturating_sub(elapsed).max(1) };
            *field = left.to_be_bytes();
        }
        let left = self.ttl.saturating_sub(elapsed);
        let due = !stale && u64::from(left) * 10 < u64::from(self.ttl) && hits + 1 >= POPULAR;
        Some(Hit {
            id: self.id,
            len: written.len,
            truncated: (self.counts != [0; 3] && written.kept == 0) || self.flags & flag::TC != 0,
            checked: !self.leads_on || self.is_checked(age),
            stale,
            refresh: due && !self.refreshing.swap(true, Ordering::Relaxed),
        })
    }

    /// Writes the answer for who had it fetched: what others get who come at once, but not a hit.
    pub fn first(&self, asked: &Asked<'_>, settings: &Settings, out: &mut [u8]) -> Option<Hit> {
        let age = Age::new(UnixTime(self.stored), 0, 0);
        let hit = self.answer(asked, &age, settings, out);
        self.set_hits(0);
        hit
    }

    /// It says that nobody could answer.
    pub fn is_failure(&self) -> bool {
        self.rcode == rcode::SERVFAIL
    }

    /// It can be given now, as a stale answer at the least.
    pub fn is_usable(&self, now: UnixTime, settings: &Settings) -> bool {
        let over = now.0.saturating_sub(self.stored).saturating_sub(i64::from(self.ttl));
        over < 0 || (!self.is_failure() && over < i64::from(settings.stale))
    }

    /// `None` if it must not be given though its time is over.
    fn may_be_stale(&self, elapsed: u32, age: &Age, settings: &Settings) -> Option<()> {
        if self.is_failure() || elapsed - self.ttl >= settings.stale {
            return None;
        }
        if age.upstream_failed {
            self.held_until.store(age.now.0.saturating_add(i64::from(STALE_SECS)), Ordering::Relaxed);
            return Some(());
        }
        let held_until = self.held_until.load(Ordering::Relaxed);
        // A clock set back must not hold it for the length of the jump.
        (age.now.0 < held_until && held_until.saturating_sub(age.now.0) <= i64::from(STALE_SECS)).then_some(())
    }
}

/// How long an answer is kept, and the most any TTL in it may be. `None`: not at all.
fn lifetime(key: &Key<'_>, records: &Records<'_>, settings: &Settings) -> Option<(u32, u32)> {
    if records.flags & flag::TC != 0 || key.qtype == rtype::ANY {
        return None;
    }
    let mut least = u32::MAX;
    let mut answered = false;
    let mut soa = None;
    records.visit(|seen| {
        // RFC 2181 section 8: with the highest bit set it counts as zero.
        least = least.min(if seen.ttl > i32::MAX as u32 { 0 } else { seen.ttl });
        answered |= seen.section == 0 && seen.rtype == key.qtype;
        if seen.section == 1 && seen.rtype == rtype::SOA {
            soa = seen.rdata.last_chunk::<4>().map(|minimum| u32::from_be_bytes(*minimum));
        }
    })?;
    let cap = match records.rcode {
        rcode::SERVFAIL => return (settings.servfail_ttl > 0).then_some((settings.servfail_ttl, u32::MAX)),
        rcode::NOERROR if answered => settings.max_ttl,
        // RFC 2308 section 5: without an SOA a negative answer is not kept.
        rcode::NOERROR | rcode::NXDOMAIN => soa?.min(settings.max_negative_ttl),
        _ => return None,
    };
    if least == 0 || cap == 0 {
        return None;
    }
    Some((least.clamp(settings.min_ttl.min(cap), cap), cap))
}
