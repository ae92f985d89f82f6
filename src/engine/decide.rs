//! The decision: synchronous, no I/O, no clock, no allocation.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::mpsc;

use crate::cache::{Age, Asked as CacheAsked, Cache, Key};
use crate::event::{AnswerKind, Hit, Outcome, Transport};
use crate::hits::HitSender;
use crate::limit::Door;
use crate::name::NameBuf;
use crate::policy::{Asked, Respond, respond};
use crate::rule::CnameTarget;
use crate::set::Match;
use crate::snapshot::{Policy, Snapshot};
use crate::stats::{Counter, Counters};
use crate::util::Now;
use crate::wire::{self, CLASS_IN, Ede, Extras, Invalid, Opt, Query, Writer, ede, rcode};

use super::refresh::Wanted;
use super::targets::{self, Targets};

/// Who asked, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The client.
    pub address: SocketAddr,
    /// How the query came in.
    pub transport: Transport,
    /// What of a DoH path or a TLS server name says whose client it is.
    pub door: Door,
}

impl Peer {
    /// From its parts; through no door.
    pub fn new(address: SocketAddr, transport: Transport) -> Self {
        Self { address, transport, door: Door::default() }
    }

    /// The same, through this door (see [`Engine::doors`](super::Engine::doors)).
    pub fn through(self, door: Door) -> Self {
        Self { door, ..self }
    }

    /// The most octets an answer to `query` may have.
    pub(super) fn limit(&self, query: &Query) -> usize {
        if self.transport.is_datagram() { query.udp_limit() } else { wire::STREAM_MAX }
    }
}

/// What to do with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Send this many octets of the buffer.
    Reply(usize),
    /// Send nothing.
    Drop,
    /// Hand it to [`Engine::resolve`](super::Engine::resolve); if that is not possible, send this many
    /// octets of the buffer.
    Resolve(usize),
}

/// What a look at a message shows.
pub(super) enum Look<'a> {
    /// The answer stands in the buffer.
    Reply(usize),
    /// An answer of this response code and nothing else stands there.
    Refuse(usize, u16),
    /// No answer.
    Drop,
    /// The rules let it pass. If one did so expressly, `excepted`, the targets of its answer pass too.
    Forward { query: Query, excepted: bool },
    /// Blocked with a CNAME whose target's records are to be fetched; the answer without them stands in the buffer.
    Chase { query: Query, found: Match<'a>, target: &'a CnameTarget, len: usize },
}

/// A rule that matched.
struct Found<'a> {
    rule: &'a Match<'a>,
    /// No other was seen to match.
    alone: bool,
    /// The name it matched, if that was not the query name.
    target: Option<&'a NameBuf>,
}

/// Decides for one thread or task: its counters, its way to the hit log, its scratch space. Clones share counters and
/// the way to the log with each other, not with the original, which has its own.
#[derive(Clone, Debug)]
pub struct Decider {
    pub(super) name: NameBuf,
    /// Options that the answer to the message looked at last brings along.
    pub(super) extras: Extras,
    counters: Counters,
    hits: Option<HitSender>,
    cache: Option<(Arc<Cache>, mpsc::Sender<Wanted>)>,
}

impl Decider {
    /// With these counters; `hits` is the way to the hit log, if there is one.
    pub fn new(counters: Counters, hits: Option<HitSender>) -> Self {
        Self { name: NameBuf::new(), extras: Extras::default(), counters, hits, cache: None }
    }

    /// Answers from this cache too; what should be asked for again is said to `refresh`.
    pub fn with_cache(self, cache: Arc<Cache>, refresh: mpsc::Sender<Wanted>) -> Self {
        Self { cache: Some((cache, refresh)), ..self }
    }

    /// Counts something about a query.
    pub fn count(&self, counter: Counter) {
        self.counters.count(counter);
    }

    /// Decides about a message. `out` must hold 512 octets at least, and should hold as many as the transport may send.
    pub fn decide(&mut self, snapshot: &Snapshot, message: &[u8], peer: Peer, now: Now, out: &mut [u8]) -> Verdict {
        self.counters.received(peer.transport);
        let policy = snapshot.enter(peer.address.ip(), peer.door);
        if let Some(group) = policy.group() {
            self.counters.group_asked(group.slot);
        }
        let verdict = self.verdict(policy, message, peer, now, out);
        if let (false, Verdict::Reply(len) | Verdict::Resolve(len)) = (self.extras.is_empty(), verdict) {
            self.extras.fill(out.get_mut(..len).unwrap_or_default());
        }
        verdict
    }

    /// The same, but for the options that the answer brings along.
    fn verdict(&mut self, policy: Policy<'_>, message: &[u8], peer: Peer, now: Now, out: &mut [u8]) -> Verdict {
        match self.look(policy, message, peer, Some(now), out) {
            Look::Reply(len) => self.reply(peer, out, len),
            Look::Refuse(len, rcode) => {
                self.counters.answered(peer.transport, rcode);
                Verdict::Reply(len)
            }
            Look::Drop => Verdict::Drop,
            Look::Forward { query, excepted } => {
                if let Some(len) = self.cached(policy, message, &query, excepted, peer, now, out) {
                    return self.reply(peer, out, len);
                }
                let busy = Ede { code: ede::NO_REACHABLE_AUTHORITY, text: b"too many queries under way" };
                Verdict::Resolve(plain(message, &query, peer, rcode::SERVFAIL, Some(busy), out))
            }
            Look::Chase { len, .. } => Verdict::Resolve(len),
        }
    }

    /// Counts the answer that begins so, as the transport takes it.
    pub fn answered(&mut self, peer: Peer, answer: &[u8]) {
        self.counters.answered(peer.transport, answer.get(3).map_or(0, |byte| u16::from(byte & 0xf)));
    }

    /// The answer in `out` is done.
    fn reply(&mut self, peer: Peer, out: &[u8], len: usize) -> Verdict {
        self.answered(peer, out);
        Verdict::Reply(len)
    }

    /// The answer from the cache, if there is one that no rule has anything to say about; all others are left to
    /// [`Engine::resolve`](super::Engine::resolve).
    #[expect(clippy::too_many_arguments, reason = "these are the parts of a query")]
    fn cached(
        &mut self,
        policy: Policy<'_>,
        message: &[u8],
        query: &Query,
        excepted: bool,
        peer: Peer,
        now: Now,
        out: &mut [u8],
    ) -> Option<usize> {
        let (cache, refresh) = self.cache.as_ref()?;
        let key = Key::new(self.name.wire(), query, excepted);
        let age = Age::new(now.seconds(), policy.stamp(), policy.stamp_of_all());
        let hit = cache.answer(&key, &CacheAsked { message, query, limit: peer.limit(query) }, &age, out)?;
        if !hit.checked && !excepted {
            // A cut answer does not show all names it leads to.
            let answer = out.get(..hit.len).filter(|_| !hit.truncated)?;
            let Targets::Unknown(stamp) = targets::check(policy, answer, &mut |_, _| ()) else { return None };
            cache.checked(&key, hit.id, stamp);
        }
        if hit.refresh {
            // No room: then it is asked for when its time is over, as everything else.
            let _ = refresh.try_send(Wanted::new(&key));
        }
        self.counters.bump(if hit.stale { Counter::Stale } else { Counter::Cached });
        Some(hit.len)
    }

    /// Looks at a message. With a time, what is found is counted and logged; the second look at the
    /// same message, when it is resolved, goes without.
    pub(super) fn look<'a>(
        &mut self,
        policy: Policy<'a>,
        message: &[u8],
        peer: Peer,
        now: Option<Now>,
        out: &mut [u8],
    ) -> Look<'a> {
        let query = match self.admit(policy.snapshot(), message, peer, now, out) {
            Ok(query) => query,
            Err(look) => return look,
        };
        if policy.is_exempt() {
            return Look::Forward { query, excepted: true };
        }
        let decision = policy.decide(&self.name);
        if let (Some(now), Some(found)) = (now, decision.shadowed()) {
            let found = Found { rule: &found, alone: decision.alone, target: None };
            self.log(policy, found, peer, &query, AnswerKind::Passed, now);
        }
        let Some(found) = decision.blocked() else {
            if let Some(now) = now.filter(|_| decision.excepted())
                && let Some(rule) = decision.allow.or(decision.block)
            {
                self.except(policy, &rule, peer, &query, now);
            }
            return Look::Forward { query, excepted: decision.allow.is_some() || decision.excepted() };
        };
        let blocked = policy.blocked(&found, usize::from(found.below));
        let (look, kind) = match respond(&self.asked(message, &query, peer), &blocked, out) {
            Respond::Reply(len, kind) => (Look::Reply(len), kind),
            Respond::Drop => (Look::Drop, AnswerKind::Drop),
            Respond::Pass => (Look::Forward { query, excepted: true }, AnswerKind::Passed),
            Respond::Chase(target, len, kind) => (Look::Chase { query, found, target, len }, kind),
        };
        if let Some(now) = now {
            let found = Found { rule: &found, alone: decision.alone, target: None };
            self.log(policy, found, peer, &query, kind, now);
        }
        look
    }

    /// The query as `policy` wants it; its name is the one read last.
    pub(super) fn asked<'b>(&'b self, message: &'b [u8], query: &'b Query, peer: Peer) -> Asked<'b> {
        Asked { message, query, name: &self.name, transport: peer.transport, limit: peer.limit(query) }
    }

    /// Counts a hit and sends it to the log. `target` is the name that matched if it was not the query name.
    #[expect(clippy::too_many_arguments, reason = "these are the fields of a hit")]
    pub(super) fn hit(
        &mut self,
        policy: Policy<'_>,
        found: &Match<'_>,
        target: Option<&NameBuf>,
        peer: Peer,
        query: &Query,
        answer: AnswerKind,
        now: Now,
    ) {
        self.log(policy, Found { rule: found, alone: false, target }, peer, query, answer, now);
    }

    /// See [`Self::hit`].
    fn log(&mut self, policy: Policy<'_>, found: Found<'_>, peer: Peer, query: &Query, answer: AnswerKind, now: Now) {
        let list = &policy.snapshot().lists()[usize::from(found.rule.list)];
        self.counters.hit(list.slot, list.mode, answer);
        if let Some(group) = policy.group() {
            self.counters.group_hit(group.slot, list.mode);
        }
        self.send(policy, found, list.mode.into(), peer, query, answer, now);
    }

    /// Counts a query that `rule` excepted, and hands it to who counts such.
    #[cold]
    fn except(&mut self, policy: Policy<'_>, rule: &Match<'_>, peer: Peer, query: &Query, now: Now) {
        self.counters.bump(Counter::Excepted);
        let found = Found { rule, alone: false, target: None };
        self.send(policy, found, Outcome::Excepted, peer, query, AnswerKind::Passed, now);
    }

    /// Hands a hit to those who take hits, unless its client's group has none of that.
    #[expect(clippy::too_many_arguments, reason = "these are the fields of a hit")]
    fn send(
        &mut self,
        policy: Policy<'_>,
        found: Found<'_>,
        outcome: Outcome,
        peer: Peer,
        query: &Query,
        answer: AnswerKind,
        now: Now,
    ) {
        let Some(log) = &mut self.hits else { return };
        if policy.group().is_some_and(|group| !group.statistics) {
            return;
        }
        let sent = log.send(&Hit {
            unix_ms: now.unix_ms,
            generation: policy.snapshot().generation(),
            client: peer.address.ip().to_canonical(),
            transport: peer.transport,
            group: policy.number(),
            qtype: query.qtype,
            outcome,
            answer,
            rule: found.rule.id,
            alone: found.alone,
            name: self.name.wire(),
            target: found.target.map(NameBuf::wire),
        });
        if !sent {
            self.counters.bump(Counter::HitLogFull);
        }
    }

    /// Lets proper queries of allowed clients through; the name is then in `self.name`.
    fn admit(
        &mut self,
        snapshot: &Snapshot,
        message: &[u8],
        peer: Peer,
        now: Option<Now>,
        out: &mut [u8],
    ) -> Result<Query, Look<'static>> {
        let mut parsed = wire::parse(message, &mut self.name);
        self.extras.clear();
        let mut standing = None;
        if let Ok(query) | Err(Invalid::Answer { query, .. }) = &mut parsed
            && query.edns.is_some_and(|edns| edns.asks.any)
        {
            standing = self.dress(snapshot, message, query, peer, now);
        }
        if parsed != Err(Invalid::Silent) && !snapshot.acl().allows(peer.address.ip()) {
            let (Ok(query) | Err(Invalid::Answer { query, .. })) = parsed else { return Err(Look::Drop) };
            self.count(Counter::NotAllowed);
            let why = Ede { code: ede::PROHIBITED, text: b"not in allow_from" };
            let len = plain(message, &query, peer, rcode::REFUSED, Some(why), out);
            return Err(Look::Refuse(len, rcode::REFUSED));
        }
        match parsed {
            Ok(query) if query.qclass == CLASS_IN && standing.is_none() => Ok(query),
            Ok(query) => self.unusual(snapshot, message, query, peer, standing, out),
            Err(Invalid::Answer { rcode, query }) => Err(self.invalid(snapshot, message, &query, peer, rcode, out)),
            Err(Invalid::Silent) => {
                self.count(Counter::Ignored);
                Err(Look::Drop)
            }
        }
    }
}

/// Writes an answer that is nothing but a response code and an extended error.
pub(super) fn plain(
    message: &[u8],
    query: &Query,
    peer: Peer,
    rcode: u16,
    ede: Option<Ede<'_>>,
    out: &mut [u8],
) -> usize {
    Writer::new(message, query, rcode, peer.limit(query), out).finish(Opt { ede, passed: &[] })
}

#[cfg(test)]
mod tests;
