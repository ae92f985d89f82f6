//! Queries that somebody has to be asked for: local zones, upstreams, the targets of a CNAME answer.

use crate::event::AnswerKind;
use crate::name::{Name, NameBuf};
use crate::policy::{self, Respond, respond};
use crate::rule::CnameTarget;
use crate::set::Match;
use crate::snapshot::Snapshot;
use crate::stats::Counter;
use crate::upstream::{Ask, Failure, Reply};
use crate::util::Now;
use crate::wire::{self, CLASS_IN, Ede, Opt, Owner, Query, Section, Writer, ede, rcode, rtype};

use super::decide::{Decider, Look, Peer, plain};
use super::{Engine, Routes};

/// Seconds a synthesized answer to ANY lives (RFC 8482 section 4.2).
const ANY_TTL: u32 = 3600;
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
        let mut task = Task { message, peer, decider, out: vec![0; wire::UDP_EDNS] };
        // What was found is counted already; this look only finds the way again.
        match task.decider.look(snapshot, message, peer, None, &mut task.out) {
            Look::Reply(len) => Some(task.done(len)),
            Look::Drop => None,
            Look::Forward { query, excepted } => self.forward(task, &query, excepted).await,
            Look::Chase { query, found, target, len } => {
                let routes = self.routes.load();
                Some(task.chase(&routes, snapshot, &query, &found, target, len).await)
            }
        }
    }

    /// The ordinary answer, unless a name in it is blocked.
    async fn forward(&self, mut task: Task<'_>, query: &Query, excepted: bool) -> Option<Vec<u8>> {
        let routes = self.routes.load();
        if routes.local.covers(&task.decider.name) {
            let answer = routes.local.answer(task.message, task.peer.address, task.peer.transport).await?;
            task.decider.count(Counter::Local);
            return Some(task.relay(query, &answer));
        }
        if let Some(answer) = task.unasked(query) {
            return Some(answer);
        }
        let ask = task.ask(query, task.decider.name.to_name());
        let reply = match routes.upstream.ask(ask).await {
            Ok(reply) => reply,
            Err(failure) => return Some(task.failed(query, &failure)),
        };
        // As of now: a name ordered blocked while the upstream thought is blocked.
        let snapshot = self.snapshots.load();
        if !excepted {
            let mut found = None;
            let broken = wire::targets(&reply.bytes, &mut |target| {
                let decision = snapshot.decide(target);
                if let Some(shadow) = decision.shadowed() {
                    let peer = task.peer;
                    task.decider.hit(&snapshot, &shadow, Some(target), peer, query, AnswerKind::Passed, Now::read());
                }
                if decision.allow.is_some() {
                    return true;
                }
                found = decision.blocked().map(|rule| (rule, target.clone()));
                found.is_some()
            })
            .is_none();
            if broken && found.is_none() {
                return Some(task.unusable(query));
            }
            if let Some((rule, target)) = found {
                return task.blocked_target(&routes, &snapshot, query, &rule, &target, &reply).await;
            }
        }
        task.decider.count(Counter::Forwarded);
        Some(task.relay(query, &reply.bytes))
    }
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
        snapshot: &Snapshot,
        query: &Query,
        found: &Match<'_>,
        target: &NameBuf,
        reply: &Reply,
    ) -> Option<Vec<u8>> {
        let blocked = snapshot.blocked(found, 0);
        let asked = self.decider.asked(self.message, query, self.peer);
        let responded = respond(&asked, &blocked, &mut self.out);
        let kind = match &responded {
            Respond::Reply(_, kind) | Respond::Chase(_, _, kind) => *kind,
            Respond::Drop => AnswerKind::Drop,
            Respond::Pass => AnswerKind::Passed,
        };
        self.decider.hit(snapshot, found, Some(target), self.peer, query, kind, Now::read());
        match responded {
            Respond::Reply(len, _) => Some(self.done(len)),
            Respond::Drop => None,
            Respond::Pass => Some(self.relay(query, &reply.bytes)),
            Respond::Chase(target, len, _) => Some(self.chase(routes, snapshot, query, found, target, len).await),
        }
    }

    /// Fetches what the CNAME of a blocked answer points to, so that stubs, which do not follow CNAMEs,
    /// reach the page. The answer of `len` octets with the CNAME alone is good enough when that fails.
    async fn chase(
        mut self,
        routes: &Routes,
        snapshot: &Snapshot,
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
        let blocked = snapshot.blocked(found, 0);
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

    /// Passes an answer on.
    fn relay(&mut self, query: &Query, answer: &[u8]) -> Vec<u8> {
        let limit = self.peer.limit(query);
        // The answer, our question instead of theirs, and our OPT with their extended errors.
        self.out.resize((answer.len() + 1024).clamp(wire::UDP_EDNS, wire::STREAM_MAX), 0);
        let mut scratch = Vec::new();
        match wire::relay(answer, self.message, query, limit, &mut self.out, &mut scratch) {
            Ok(relayed) => self.done(relayed.len),
            Err(_) => self.unusable(query),
        }
    }

    /// SERVFAIL when no upstream answered.
    fn failed(&mut self, query: &Query, failure: &Failure) -> Vec<u8> {
        let (counter, code, text): (_, _, &[u8]) = match failure {
            Failure::Slow => (Counter::Failed, ede::NETWORK_ERROR, b"no upstream answered in time"),
            Failure::Busy => (Counter::Overloaded, ede::NO_REACHABLE_AUTHORITY, b"too many queries under way"),
            Failure::Dead => (Counter::Failed, ede::NO_REACHABLE_AUTHORITY, b"no upstream can be reached"),
            Failure::Useless => (Counter::Failed, ede::INVALID_DATA, b"no upstream gave a usable answer"),
        };
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

    /// The first `len` octets of the buffer.
    fn done(&mut self, len: usize) -> Vec<u8> {
        let mut out = std::mem::take(&mut self.out);
        out.truncate(len);
        out
    }
}
