//! DNSSEC validation of what upstreams answer (RFC 4033 to 4035, 5155, 6840).
//!
//! hickory's validator is made for single hops below its own recursor: a chain of CNAMEs that ends in NODATA in another
//! zone is bogus to it, it says of nothing why it is bogus, knows no negative trust anchors, and does not bound its work by
//! question. So only its cryptography is used here. Questions go through the upstreams like all others (DO and CD set), so
//! whoever answers them need not be trusted, nor validate, but has to pass signatures on.

mod anchors;
mod chain;
mod denial;
mod judge;
mod keys;
mod message;
mod rewrite;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use anchors::AnchorError;

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::time::timeout;

use super::merge::{Joined, Outcome};
use super::{Ask, Failure, Leading, Reply, Upstream, Wish};
use crate::name::Name;
use crate::util::Now;
use crate::wire::CLASS_IN;
pub(super) use anchors::Anchors;
use chain::Chain;
use judge::Judgement;
use keys::Work;
use message::Message;

/// A validated question may take this many times what one question to the servers may.
const PATIENCE: u32 = 2;

/// Whether answers are validated, and against what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DnssecSettings {
    /// `mode = "validate"`; otherwise DO, CD and AD are handed through.
    pub validate: bool,
    /// A file of trust anchors in place of the shipped ones.
    pub trust_anchor: Option<PathBuf>,
    /// Names at and below which nothing is validated (RFC 7646).
    pub negative_trust_anchors: Vec<Name>,
}

/// Answers by what validation said of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Validations {
    /// Signed, and all of it right.
    pub secure: u64,
    /// Not signed, and rightly so.
    pub insecure: u64,
    /// Wrong: SERVFAIL.
    pub bogus: u64,
    /// What was needed to tell could not be had: SERVFAIL.
    pub indeterminate: u64,
}

/// Who fetches what is needed: the upstreams, or a test.
pub(super) trait Source: Send + Sync {
    /// An answer to a question with DO and CD.
    fn fetch(&self, name: Name, qtype: u16) -> Fetch;
}

/// An answer to come.
pub(super) type Fetch = Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// Why something is bogus, as the client is told (RFC 8914).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Why {
    code: u16,
    text: String,
}

impl Why {
    const INDETERMINATE: u16 = 5;
    const BOGUS: u16 = 6;
    const EXPIRED: u16 = 7;
    const NOT_YET_VALID: u16 = 8;
    const DNSKEY_MISSING: u16 = 9;
    const RRSIGS_MISSING: u16 = 10;
    const NSEC_MISSING: u16 = 12;

    /// In words: something about a name.
    fn new(code: u16, before: &str, name: &Name, after: &str) -> Self {
        Self { code, text: format!("{before} {name} {after}").trim().to_owned() }
    }
}

/// Why validation ends.
#[derive(Debug)]
enum Stop {
    /// It is wrong.
    Bogus(Why),
    /// It cannot be told.
    Unknown(Why),
    /// Nobody answers.
    Failed(Failure),
}

impl From<Why> for Stop {
    fn from(why: Why) -> Self {
        if why.code == Why::INDETERMINATE { Self::Unknown(why) } else { Self::Bogus(why) }
    }
}

/// What the validation of one answer shares.
struct Context<'a> {
    source: &'a dyn Source,
    now: u32,
    work: &'a Work,
}

impl Context<'_> {
    /// Asks for what is needed.
    async fn fetch(&self, name: &Name, qtype: u16) -> Result<Message, Stop> {
        if !self.work.fetch() {
            return Err(Stop::Unknown(Why::new(Why::INDETERMINATE, "too many questions to validate", name, "")));
        }
        let reply = self.source.fetch(name.clone(), qtype).await.map_err(Stop::Failed)?;
        let malformed = || Stop::Unknown(Why::new(Why::INDETERMINATE, "malformed answer about", name, ""));
        Message::read(&reply.bytes).ok_or_else(malformed)
    }
}

/// Asks the servers and validates, once for all who ask the same; `upstream` has a validator.
pub(super) async fn validated(upstream: &Arc<Upstream>, wish: Wish) -> Outcome {
    match upstream.validating.join(&wish) {
        Joined::Full => Err(Failure::Busy),
        Joined::Following(waiting) => waiting.outcome().await,
        Joined::Leading(lead) => {
            let servers = Servers { upstream: Arc::clone(upstream), wish };
            let leading = async move {
                let Some(validator) = &servers.upstream.validator else { return Err(Failure::Dead) };
                let now = Now::read().seconds().0 as u32;
                // Keys not yet known take questions of their own, each with a time limit.
                let limit = servers.upstream.plan.timeout * PATIENCE;
                let outcome =
                    timeout(limit, validator.ask(&servers, &servers.wish.ask, now)).await.unwrap_or(Err(Failure::Slow));
                lead.finish(&outcome);
                outcome
            };
            Leading(Some(Box::pin(leading))).await
        }
    }
}

/// The upstreams as a source for one question. On whose behalf it is asked is told with it alone.
struct Servers {
    upstream: Arc<Upstream>,
    wish: Wish,
}

impl Source for Servers {
    fn fetch(&self, name: Name, qtype: u16) -> Fetch {
        let upstream = Arc::clone(&self.upstream);
        let Wish { ask, subnet } = &self.wish;
        let subnet = subnet.filter(|_| ask.name == name && ask.qtype == qtype);
        let ask = Ask { name, qtype, qclass: CLASS_IN, dnssec_ok: true, checking_disabled: true };
        Box::pin(async move { upstream.fetch(Wish { ask, subnet }).await })
    }
}

/// Validates.
#[derive(Debug)]
pub(super) struct Validator {
    chain: Chain,
    secure: AtomicU64,
    insecure: AtomicU64,
    bogus: AtomicU64,
    indeterminate: AtomicU64,
}

impl Validator {
    /// One that knows nothing yet but the anchors; `None` if nothing is to be validated.
    /// Zones `forwarded` to servers of their own are believed as they are, unless they have an anchor of their own: what is
    /// forwarded so is mostly not in the public tree, which could only deny it.
    pub(super) fn new(settings: &DnssecSettings, forwarded: &[Name]) -> Result<Option<Self>, AnchorError> {
        if !settings.validate {
            return Ok(None);
        }
        let anchors = Anchors::load(settings.trust_anchor.as_deref())?;
        let forwarded = forwarded.iter().filter(|zone| anchors.of(zone).is_none());
        let negative: Vec<_> = settings.negative_trust_anchors.iter().chain(forwarded).cloned().collect();
        Ok(Some(Self::with(Chain::new(anchors, &negative))))
    }

    /// Over this chain.
    fn with(chain: Chain) -> Self {
        let [secure, insecure, bogus, indeterminate] = [const { AtomicU64::new(0) }; 4];
        Self { chain, secure, insecure, bogus, indeterminate }
    }

    /// What is believed.
    pub(super) fn anchors(&self) -> &Anchors {
        self.chain.anchors()
    }

    /// Answers by what was said of them.
    pub(super) fn counts(&self) -> Validations {
        Validations {
            secure: self.secure.load(Ordering::Relaxed),
            insecure: self.insecure.load(Ordering::Relaxed),
            bogus: self.bogus.load(Ordering::Relaxed),
            indeterminate: self.indeterminate.load(Ordering::Relaxed),
        }
    }

    /// Asks and validates at the time `now`, in seconds. The reply is what a validating server would have said: AD set if
    /// it is secure, SERVFAIL with an extended error if it is bogus. With CD it is handed on as it is, AD clear.
    pub(super) async fn ask(&self, source: &dyn Source, ask: &Ask, now: u32) -> Result<Reply, Failure> {
        let reply = source.fetch(ask.name.clone(), ask.qtype).await?;
        let Some(message) = Message::read(&reply.bytes) else {
            return if ask.checking_disabled { Ok(reply) } else { Err(Failure::Useless) };
        };
        let with = |bytes: Vec<u8>| Ok(Reply { bytes: Arc::from(bytes), server: reply.server });
        if ask.checking_disabled {
            return with(rewrite::unvalidated(&reply.bytes, &message, ask));
        }
        let work = Work::new();
        let cx = Context { source, now, work: &work };
        match judge::judge(&self.chain, &cx, ask, &message).await {
            Ok(Judgement::Secure(parts)) => {
                self.secure.fetch_add(1, Ordering::Relaxed);
                with(rewrite::secure(&reply.bytes, &message, ask, &parts))
            }
            Ok(Judgement::Insecure) => {
                self.insecure.fetch_add(1, Ordering::Relaxed);
                with(rewrite::unvalidated(&reply.bytes, &message, ask))
            }
            Err(Stop::Bogus(why)) => {
                self.bogus.fetch_add(1, Ordering::Relaxed);
                with(rewrite::failed(ask, &why))
            }
            Err(Stop::Unknown(why)) => {
                self.indeterminate.fetch_add(1, Ordering::Relaxed);
                with(rewrite::failed(ask, &why))
            }
            Err(Stop::Failed(failure)) => {
                self.indeterminate.fetch_add(1, Ordering::Relaxed);
                Err(failure)
            }
        }
    }
}
