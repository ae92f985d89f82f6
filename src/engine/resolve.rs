//! Queries that somebody has to be asked for: local zones, upstreams, the targets of a CNAME answer.

use std::sync::Arc;

use tokio::time::timeout;

use crate::cache::{Age, Asked, Key};
use crate::event::AnswerKind;
use crate::local::Taken;
use crate::name::{Name, NameBuf};
use crate::policy::{self, Respond, respond};
use crate::rule::CnameTarget;
use crate::set::Match;
use crate::snapshot::{Policy, Snapshot};
use crate::stats::Counter;
use crate::upstream::{Ask, Failure, Reply};
use crate::util::Now;
use crate::wire::{self, CLASS_IN, Ede, Opt, Owner, Query, Section, Writer, ede, rcode, rtype};

use super::decide::{Decider, Look, Peer, plain};
use super::refresh::Wanted;
use super::targets::{self, Targets};
use super::{Engine, Routes};

/// Seconds a synthesized answer to ANY lives (RFC 8482 section 4.2).
const ANY_TTL: u32 = 3600;
/// Octets that padding may add to an answer.
const PADDING: usize = 512;
/// `"RFC8482" ""` as HINFO rdata.
const ANY_HINFO: &[u8] = b"\x07RFC8482\0";

/// A query being resolved.
struct Task<'a> {
    message: &'a [u8],
    peer: Peer,
    decider: &'a mut Decider,
    out: Vec<u8>,
}

impl Engine {
    /// Answers a message that [`Decider::decide`] could not answer under `snapshot`; `None`: no answer at all.
    pub async fn resolve(
        &self,
        snapshot: &Snapshot,
        message: &[u8],
        peer: Peer,
        decider: &mut Decider,
    ) -> Option<Vec<u8>> {
        // Padding makes a whole block of any answer.
        let room = wire::UDP_EDNS + if peer.transport.is_encrypted() { PADDING } else { 0 };
        let mut task = Task { message, peer, decider, out: vec![0; room] };
        let policy = snapshot.of(peer.address.ip(), peer.door);
        // What was found is counted already; this look only finds the way again.
        match task.decider.look(policy, message, peer, None, &mut task.out) {
            Look::Reply(len) | Look::Refuse(len, _) => Some(task.done(len)),
            Look::Drop => None,
            Look::Forward { query, excepted } => self.forward(task, &query, excepted).await,
            Look::Chase { query, found, target, len } => {
                let routes = self.routes.load();
                // Boxed, as other rare ways below: what waits for upstreams shall be small.
                Some(Box::pin(task.chase(&routes, policy, &query, &found, target, len)).await)
            }
        }
    }

    /// The ordinary answer, unless a name in it is blocked.
    async fn forward(&self, mut task: Task<'_>, query: &Query, excepted: bool) -> Option<Vec<u8>> {
        // Before the routes: what was asked for on routes that are replaced meanwhile is not kept.
        let epoch = self.cache.as_ref().map_or(0, |cache| cache.epoch());
        let routes = self.routes.load();
        if let Some(taken) = routes.local.takes(&task.decider.name, query, excepted) {
            let answer = routes.local.answer(task.message, task.peer.address, task.peer.transport);
            let answer = Box::pin(answer).await?;
            task.decider.count(if taken == Taken::Canary { Counter::Canary } else { Counter::Local });
            return Some(task.relay(query, &answer));
        }
        let name = task.decider.name.to_name();
        let key = Key::new(name.wire(), query, excepted);
        let Fetched { bytes, from, id } = match self.fetch(&mut task, &routes, query, &key, epoch).await {
            Ok(fetched) => fetched,
            Err(answer) => return Some(answer),
        };
        // As of now: a name ordered blocked while the upstream thought is blocked.
        let snapshots = self.snapshots.load();
        let policy = snapshots.of(task.peer.address.ip(), task.peer.door);
        let targets = if excepted {
            Targets::Unknown(policy.stamp())
        } else {
            targets::check(policy, &bytes, &mut |shadow, target| {
                let peer = task.peer;
                task.decider.hit(policy, shadow, Some(target), peer, query, AnswerKind::Passed, Now::read());
            })
        };
        let stamp = if let Targets::Unknown(stamp) = targets { stamp } else { 0 };
        let mut written = None;
        if let (Some(cache), false) = (&self.cache, matches!(targets, Targets::Broken)) {
            match id {
                Some(id) => cache.checked(&key, id, stamp),
                None => {
                    let limit = task.peer.limit(query);
                    task.room_for(&bytes);
                    let asked = Asked { message: task.message, query, limit };
                    let to = (&asked, &mut task.out[..]);
                    written = cache.insert_answering(&key, &bytes, stamp, epoch, Now::read().seconds(), to);
                }
            }
        }
        match targets {
            Targets::Broken => Some(task.unusable(query)),
            Targets::Blocked(rule, target) => {
                Box::pin(task.blocked_target(&routes, policy, query, &rule, &target, &bytes)).await
            }
            Targets::Unknown(_) | Targets::Shadowed => {
                task.decider.count(from);
                Some(match written {
                    Some(len) => task.done(len),
                    None => task.relay(query, &bytes),
                })
            }
        }
    }

    /// An answer from the cache or an upstream, if need be a stale one; `Err`: what is answered for lack of any.
    async fn fetch(
        &self,
        task: &mut Task<'_>,
        routes: &Routes,
        query: &Query,
        key: &Key<'_>,
        epoch: u64,
    ) -> Result<Fetched, Vec<u8>> {
        // Another one's answer may have come while this query waited; and here are those the names of which have to
        // be checked, and logged if a rule knows them.
        if let Some(kept) = self.kept(task, query, key, false) {
            return Ok(kept);
        }
        if let Some(answer) = task.unasked(query) {
            return Err(answer);
        }
        if self.cache.is_some() {
            task.decider.count(Counter::CacheMissed);
        }
        let ask = task.ask(query, task.decider.name.to_name());
        let reply = match self.cache.as_ref().filter(|cache| cache.has_stale(key, Now::read().seconds())) {
            None => routes.upstream.ask(ask).await,
            Some(cache) => {
                let (upstream, wanted) = (Arc::clone(&routes.upstream), Wanted::new(key));
                let mut asking = Box::pin(async move { upstream.ask(ask).await });
                match timeout(cache.stale_after(), asking.as_mut()).await {
                    Ok(reply) => reply,
                    Err(_) => {
                        // The client has waited long enough; who comes later gets what comes later.
                        let cache = Arc::clone(cache);
                        tokio::spawn(async move {
                            if let Ok(reply) = asking.await {
                                wanted.keep(&reply, &cache, epoch);
                            }
                        });
                        Err(Failure::Slow)
                    }
                }
            }
        };
        let failed = |reply: &Reply| reply.bytes.get(3).is_some_and(|&byte| u16::from(byte & 0xf) == rcode::SERVFAIL);
        match &reply {
            Ok(good) if !failed(good) => {}
            _ => {
                if let Some(stale) = self.kept(task, query, key, true) {
                    return Ok(stale);
                }
            }
        }
        match reply {
            Ok(reply) => Ok(Fetched { bytes: reply.bytes, from: Counter::Forwarded, id: None }),
            Err(failure) => {
                let (_, code, text) = describe(&failure);
                if let Some(cache) = self.cache.as_ref().filter(|_| failure != Failure::Busy) {
                    cache.insert_failure(key, code, text, epoch, Now::read().seconds());
                }
                Err(task.failed(query, &failure))
            }
        }
    }

    /// A whole answer from the cache, a stale one if upstreams have failed.
    fn kept(&self, task: &Task<'_>, query: &Query, key: &Key<'_>, upstream_failed: bool) -> Option<Fetched> {
        let age = Age { upstream_failed, ..Age::new(Now::read().seconds(), 0, 0) };
        let (bytes, hit) = self.cache.as_ref()?.whole(key, task.message, query, &age)?;
        let from = if hit.stale { Counter::Stale } else { Counter::Cached };
        (!hit.truncated).then(|| Fetched { bytes: bytes.into(), from, id: Some(hit.id) })
    }
}

/// An answer, and where it is from.
struct Fetched {
    bytes: Arc<[u8]>,
    from: Counter,
    /// Which one it is, if it is from the cache.
    id: Option<u64>,
}

impl Task<'_> {
    /// Answers that need no upstream though no rule matched.
    fn unasked(&mut self, query: &Query) -> Option<Vec<u8>> {
        let (code, why): (u16, &[u8]) = match query.qtype {
            rtype::AXFR | rtype::IXFR => (rcode::REFUSED, b"zone transfer"),
            rtype::MAILA | rtype::MAILB | rtype::TKEY | rtype::TSIG => (rcode::NOTIMP, b"query type"),
            // Nothing of ours to answer from, and asking on is what the client ruled out.
            _ if !query.recursion_desired() => (rcode::REFUSED, b"recursion not desired"),
            rtype::ANY => return Some(self.any(query)),
            _ => return None,
        };
        self.decider.count(Counter::NotServed);
        let ede = if query.recursion_desired() { ede::NOT_SUPPORTED } else { ede::NOT_AUTHORITATIVE };
        Some(self.plain(query, code, Some(Ede { code: ede, text: why })))
    }

    /// ANY gets one small record (RFC 8482 section 4.2).
    fn any(&mut self, query: &Query) -> Vec<u8> {
        self.decider.count(Counter::Forwarded);
        let limit = self.peer.limit(query);
        let mut writer = Writer::new(self.message, query, rcode::NOERROR, limit, &mut self.out);
        writer.record(Section::Answer, Owner::Question(0), rtype::HINFO, ANY_TTL, &[ANY_HINFO]);
        let len = writer.finish(Opt::default());
        self.done(len)
    }

    /// A target in the upstream's answer is blocked: so is the query.
    async fn blocked_target(
        mut self,
        routes: &Routes,
        policy: Policy<'_>,
        query: &Query,
        found: &Match<'_>,
        target: &NameBuf,
        bytes: &[u8],
    ) -> Option<Vec<u8>> {
        let blocked = policy.blocked(found, 0);
        let asked = self.decider.asked(self.message, query, self.peer);
        let responded = respond(&asked, &blocked, &mut self.out);
        let kind = match &responded {
            Respond::Reply(_, kind) | Respond::Chase(_, _, kind) => *kind,
            Respond::Drop => AnswerKind::Drop,
            Respond::Pass => AnswerKind::Passed,
        };
        self.decider.hit(policy, found, Some(target), self.peer, query, kind, Now::read());
        match responded {
            Respond::Reply(len, _) => Some(self.done(len)),
            Respond::Drop => None,
            Respond::Pass => Some(self.relay(query, bytes)),
            Respond::Chase(target, len, _) => Some(self.chase(routes, policy, query, found, target, len).await),
        }
    }

    /// Fetches what the CNAME of a blocked answer points to, so that stubs, which do not follow CNAMEs,
    /// reach the page. The answer of `len` octets with the CNAME alone is good enough when that fails.
    async fn chase(
        mut self,
        routes: &Routes,
        policy: Policy<'_>,
        query: &Query,
        found: &Match<'_>,
        target: &CnameTarget,
        len: usize,
    ) -> Vec<u8> {
        let Some(name) = policy::target_name(&self.decider.name, target) else { return self.done(len) };
        let answer = self.target_answer(routes, query, name).await;
        let mut records = Vec::new();
        let Some(count) = answer.and_then(|bytes| wire::answers_in_full(&bytes, &mut records)) else {
            return self.done(len);
        };
        self.out.resize(self.peer.limit(query).max(wire::UDP_EDNS), 0);
        let asked = self.decider.asked(self.message, query, self.peer);
        let blocked = policy.blocked(found, 0);
        let len = policy::respond_chased(&asked, &blocked, target, &records, count, &mut self.out);
        self.done(len)
    }

    /// The answer to the client's type for another name, from a local zone or an upstream.
    async fn target_answer(&self, routes: &Routes, query: &Query, name: Name) -> Option<Vec<u8>> {
        let mut buf = NameBuf::new();
        buf.set_wire(name.wire()).ok()?;
        if routes.local.covers(&buf) {
            let message = wire::question(name.wire(), query.qtype);
            return routes.local.answer(&message, self.peer.address, self.peer.transport).await;
        }
        let reply = routes.upstream.ask(self.ask(query, name)).await.ok()?;
        Some(reply.bytes.to_vec())
    }

    /// What to ask an upstream on the client's behalf.
    fn ask(&self, query: &Query, name: Name) -> Ask {
        Ask {
            name,
            qtype: query.qtype,
            qclass: CLASS_IN,
            dnssec_ok: query.dnssec_ok(),
            checking_disabled: query.checking_disabled(),
        }
    }

    /// Makes room for an answer with our question instead of theirs, and our OPT with their extended errors.
    fn room_for(&mut self, answer: &[u8]) {
        self.out.resize((answer.len() + 1024 + PADDING).clamp(wire::UDP_EDNS, wire::STREAM_MAX), 0);
    }

    /// Passes an answer on.
    fn relay(&mut self, query: &Query, answer: &[u8]) -> Vec<u8> {
        let limit = self.peer.limit(query);
        self.room_for(answer);
        let mut scratch = Vec::new();
        match wire::relay(answer, self.message, query, limit, &mut self.out, &mut scratch) {
            Ok(relayed) => self.done(relayed.len),
            Err(_) => self.unusable(query),
        }
    }

    /// SERVFAIL when no upstream answered.
    fn failed(&mut self, query: &Query, failure: &Failure) -> Vec<u8> {
        let (counter, code, text) = describe(failure);
        self.decider.count(counter);
        self.plain(query, rcode::SERVFAIL, Some(Ede { code, text }))
    }

    /// SERVFAIL when an upstream's answer makes no sense.
    fn unusable(&mut self, query: &Query) -> Vec<u8> {
        self.decider.count(Counter::Failed);
        let why = Ede { code: ede::INVALID_DATA, text: b"malformed answer from upstream" };
        self.plain(query, rcode::SERVFAIL, Some(why))
    }

    /// A response code and an extended error.
    fn plain(&mut self, query: &Query, rcode: u16, ede: Option<Ede<'_>>) -> Vec<u8> {
        let len = plain(self.message, query, self.peer, rcode, ede, &mut self.out);
        self.done(len)
    }

    /// The first `len` octets of the buffer, with the options that the answer brings along.
    fn done(&mut self, len: usize) -> Vec<u8> {
        let mut out = std::mem::take(&mut self.out);
        out.truncate(len);
        self.decider.extras.fill(&mut out);
        out
    }
}

/// How a failure is counted, and the extended error that tells of it.
fn describe(failure: &Failure) -> (Counter, u16, &'static [u8]) {
    match failure {
        Failure::Slow => (Counter::Failed, ede::NETWORK_ERROR, b"no upstream answered in time"),
        Failure::Busy => (Counter::Overloaded, ede::NO_REACHABLE_AUTHORITY, b"too many queries under way"),
        Failure::Dead => (Counter::Failed, ede::NO_REACHABLE_AUTHORITY, b"no upstream can be reached"),
        Failure::Useless => (Counter::Failed, ede::INVALID_DATA, b"no upstream gave a usable answer"),
    }
}
