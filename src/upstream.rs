//! The servers that are asked for everything that is not blocked: datagrams and connections of our own, under our own
//! strategy.
//!
//! hickory's `NameServer` turns NXDOMAIN, NODATA and SERVFAIL into errors without the message they came in, and its
//! pool has no fail-over on them; its UDP makes a socket for each query, its streams take 32 questions. So here questions
//! over UDP go through sockets of ours (`datagrams`), all others through connections of ours (`pool`); both give the
//! reply as bytes, and who is asked when is decided in `race`, `health` and `probe`.

mod datagrams;
mod dial;
mod dnssec;
mod framed;
mod health;
mod hosts;
mod http;
mod known;
mod latency;
mod link;
mod merge;
mod pool;
mod probe;
mod question;
mod quic;
mod race;
mod recurse;
mod server;
mod subnet;
mod system;
#[cfg(test)]
mod tests;
mod trust;
mod window;

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

pub use dnssec::{AnchorError, DnssecSettings, Validations};
pub use health::{Fault, ServerHealth, ServerState};
pub use latency::LatencyCounts;
pub use race::Strategy;
pub use recurse::{Network, RecursionError, RecursionSettings};
pub use server::{Host, Protocol, Secure, Server};
pub use subnet::ClientSubnet;

use crate::name::Name;
use crate::wire::Subnet;
use datagrams::Datagrams;
use known::Known;
use merge::{Joined, Outcome, Pending};
use race::{Plan, Remote};

/// Servers of their own for one domain (conditional forwarding).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZoneSettings {
    /// Names at or below this one go to `servers`; the longest match wins.
    pub name: Name,
    /// In order of preference.
    pub servers: Vec<Server>,
}

/// What is asked where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// In order of preference; at least one.
    pub servers: Vec<Server>,
    /// Conditional forwarding.
    pub zones: Vec<ZoneSettings>,
    /// For one query, all tries together.
    pub timeout: Duration,
    /// Queries under way at once, over all servers; more are answered SERVFAIL.
    pub max_in_flight: usize,
    /// Letters of names are sent over UDP in random case, and replies must keep it: more for an attacker to guess.
    pub mix_case: bool,
    /// Who is asked first.
    pub strategy: Strategy,
    /// Who knows the addresses of servers that have names; empty: what `/etc/resolv.conf` names.
    pub bootstrap: Vec<SocketAddr>,
    /// PEM file of authorities that vouch for servers, instead of those that browsers know.
    pub ca_file: Option<PathBuf>,
    /// Connections to one server at the most.
    pub connections: usize,
    /// Whether servers are told for whom they are asked.
    pub client_subnet: ClientSubnet,
    /// What is in no zone above is resolved from the root, and `servers` are not asked.
    pub recursion: Option<RecursionSettings>,
    /// Whether answers are validated.
    pub dnssec: DnssecSettings,
}

impl Settings {
    /// These, with another choice about validation.
    pub fn but_for(&self, dnssec: &DnssecSettings) -> Self {
        Self { dnssec: dnssec.clone(), ..self.clone() }
    }
}

/// A question to the upstreams. RD is always set, and AD too, so that the reply says whether the server validated it
/// (RFC 6840 section 5.7); whether the client is told is the caller's business.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Ask {
    /// The name.
    pub name: Name,
    /// RR type.
    pub qtype: u16,
    /// RR class.
    pub qclass: u16,
    /// DO: signatures wanted.
    pub dnssec_ok: bool,
    /// CD: no validation by the server.
    pub checking_disabled: bool,
}

/// A question, and on whose behalf if that is told.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Wish {
    ask: Ask,
    subnet: Option<Subnet>,
}

impl From<Ask> for Wish {
    fn from(ask: Ask) -> Self {
        Self { ask, subnet: None }
    }
}

/// What a server said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The message as it came: its id is not the client's, its question is in lower case (or in the server's), its
    /// OPT is the server's, and AD may be set though the client did not ask for it.
    pub bytes: Arc<[u8]>,
    /// Who said it.
    pub server: SocketAddr,
}

/// Why there is no reply. Shared by all who asked the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Failure {
    /// Servers were asked and did not answer in time.
    Slow,
    /// No server could be reached.
    Dead,
    /// Servers answered, but with nothing that can be passed on (not parsable, or an error without the question).
    Useless,
    /// Too many different questions are under way already.
    Busy,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Slow => "upstream servers did not answer in time",
            Self::Dead => "no upstream server could be reached",
            Self::Useless => "upstream servers gave no usable answer",
            Self::Busy => "too many upstream queries under way",
        })
    }
}

impl std::error::Error for Failure {}

/// Why one server gave no reply of use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    /// Silence.
    Silent,
    /// It cannot be reached, or closed the connection.
    Unreachable,
    /// Its certificate or key is not what it must be.
    Untrusted,
    /// A reply that is no answer to the question, or that no parser takes.
    Garbled,
    /// An error without the question it belongs to.
    Bare(u16),
    /// The right answer, but not in the letter case it was asked in.
    OtherCase,
    /// Too many wrong answers: somebody guesses.
    Attacked,
}

/// Why upstream servers cannot be used as configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UpstreamError {
    /// `system` was asked for and the resolver configuration cannot be read.
    SystemUnreadable {
        /// What the reader said.
        reason: String,
    },
    /// `system` was asked for and names nobody but this server.
    SystemEmpty,
    /// A server is this server's own listen address: each query would come back for ever.
    Ourselves(SocketAddr),
    /// No server at all, for the whole or for the named zone.
    NoServers(Option<Name>),
    /// Connections to a server cannot be prepared.
    Connections {
        /// Which server, and why.
        reason: String,
    },
    /// The authorities that vouch for servers cannot be read.
    Authorities {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Servers have names, and nobody can be asked for their addresses.
    Bootstrap {
        /// One of the servers.
        server: String,
        /// Why not.
        reason: Box<UpstreamError>,
    },
    /// The trust anchors cannot be used.
    Anchors(AnchorError),
    /// Resolution from the root cannot begin.
    Recursion(RecursionError),
}

impl fmt::Display for UpstreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SystemUnreadable { reason } => {
                write!(
                    f,
                    "upstream server \"system\": cannot read /etc/resolv.conf: {reason}; name servers in [upstream] instead"
                )
            }
            Self::SystemEmpty => f.write_str(
                "upstream server \"system\": /etc/resolv.conf names no server but this one; \
                 name servers in [upstream] instead",
            ),
            Self::Ourselves(address) => {
                write!(f, "upstream server {address} is this server's own listen address; queries would loop")
            }
            Self::NoServers(None) => f.write_str("[upstream] has no servers; name at least one"),
            Self::NoServers(Some(zone)) => write!(f, "[[upstream.zone]] {zone} has no servers; name at least one"),
            Self::Connections { reason } => write!(f, "cannot prepare upstream connections: {reason}"),
            Self::Authorities { path, reason } => {
                write!(f, "[upstream] ca_file: cannot use {}: {reason}", path.display())
            }
            Self::Bootstrap { server, reason } => write!(
                f,
                "upstream server {server} has a name, and nobody can be asked for its address ({reason}); \
                 name servers by address in [upstream] bootstrap"
            ),
            Self::Anchors(error) => write!(f, "[dnssec] trust_anchor: {error}"),
            Self::Recursion(error) => write!(f, "[upstream.recursion]: {error}"),
        }
    }
}

impl std::error::Error for UpstreamError {}

/// What has been asked so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Questions that came in.
    pub asked: u64,
    /// Of these, how many waited for the reply to an identical one under way.
    pub merged: u64,
    /// Of these, how many were turned away by `max_in_flight`.
    pub busy: u64,
    /// Of these, how many ended without a reply.
    pub failed: u64,
    /// Datagrams from a server's address and port that answered no question under way.
    pub strange: u64,
    /// Questions asked again over TCP because too many of those came for them.
    pub attacked: u64,
    /// Different questions under way right now.
    pub in_flight: usize,
    /// Answers by what validation said of them; zeros if nothing is validated.
    pub validations: Validations,
}

/// The upstream servers. Needs a tokio runtime with I/O and time from the first [`Upstream::ask`] on.
pub struct Upstream {
    servers: Vec<Arc<Remote>>,
    everywhere: Arc<[Arc<Remote>]>,
    zones: HashMap<Name, Arc<[Arc<Remote>]>>,
    plan: Plan,
    client_subnet: ClientSubnet,
    pending: Arc<Pending>,
    datagrams: Datagrams,
    roots: Option<Arc<recurse::Roots>>,
    validator: Option<dnssec::Validator>,
    validating: Arc<Pending>,
    asked: AtomicU64,
    merged: AtomicU64,
    busy: AtomicU64,
    failed: AtomicU64,
}

impl Upstream {
    /// Reads `/etc/resolv.conf` if a server is `system` or has to be looked up; `own` are our listen addresses, which are left out of it.
    /// Connects to nobody yet.
    ///
    /// # Errors
    /// See [`UpstreamError`].
    pub fn new(settings: &Settings, own: &[SocketAddr]) -> Result<Self, UpstreamError> {
        let mut known = Known::new(settings, own)?;
        let roots = settings.recursion.as_ref();
        let roots = roots.map(|recursion| recurse::Roots::new(recursion, settings.timeout, settings.mix_case));
        let roots = roots.transpose().map_err(UpstreamError::Recursion)?.map(Arc::new);
        let everywhere = if roots.is_some() { Arc::from([]) } else { known.group(&settings.servers, None)? };
        let mut zones = HashMap::new();
        for zone in &settings.zones {
            zones.insert(zone.name.clone(), known.group(&zone.servers, Some(&zone.name))?);
        }
        let forwarded: Vec<_> = settings.zones.iter().map(|zone| zone.name.clone()).collect();
        let validator = dnssec::Validator::new(&settings.dnssec, &forwarded).map_err(UpstreamError::Anchors)?;
        let (servers, datagrams) = known.finish();
        Ok(Self {
            servers,
            roots,
            validator,
            validating: Arc::new(Pending::new(settings.max_in_flight)),
            datagrams,
            everywhere,
            zones,
            plan: Plan { strategy: settings.strategy, timeout: settings.timeout },
            client_subnet: settings.client_subnet,
            pending: Arc::new(Pending::new(settings.max_in_flight)),
            asked: AtomicU64::new(0),
            merged: AtomicU64::new(0),
            busy: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        })
    }

    /// Asks the servers for this name, and validates what they say if that is wanted. A caller that goes away does not stop
    /// the others who wait for the same.
    ///
    /// # Errors
    /// See [`Failure`]. A SERVFAIL or REFUSED all servers agree on is a [`Reply`], not a failure.
    pub async fn ask(self: &Arc<Self>, ask: Ask) -> Result<Reply, Failure> {
        self.ask_for(ask, None).await
    }

    /// The same on behalf of a network, as [`Self::subnet`] gives it. Then the answer may hold for that network only.
    ///
    /// # Errors
    /// As above.
    pub async fn ask_for(self: &Arc<Self>, ask: Ask, subnet: Option<Subnet>) -> Result<Reply, Failure> {
        let wish = Wish { ask, subnet };
        if self.validator.is_some() { dnssec::validated(self, wish).await } else { self.fetch(wish).await }
    }

    /// What the servers say.
    async fn fetch(&self, wish: Wish) -> Result<Reply, Failure> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let outcome = match self.pending.join(&wish) {
            Joined::Full => {
                self.busy.fetch_add(1, Ordering::Relaxed);
                return Err(Failure::Busy);
            }
            Joined::Following(waiting) => {
                self.merged.fetch_add(1, Ordering::Relaxed);
                waiting.outcome().await
            }
            Joined::Leading(lead) => {
                let race = self.way(wish);
                let leading = async move {
                    let outcome = race.await;
                    lead.finish(&outcome);
                    outcome
                };
                Leading(Some(Box::pin(leading))).await
            }
        };
        if outcome.is_err() {
            self.failed.fetch_add(1, Ordering::Relaxed);
        }
        outcome
    }

    /// What is told of a client who sent `query`; mostly nothing.
    pub fn subnet(&self, query: &[u8], client: IpAddr) -> Option<Subnet> {
        self.client_subnet.of(query, client)
    }

    /// How each server is doing, in order of configuration.
    pub fn health(&self) -> Vec<ServerHealth> {
        self.servers.iter().map(|server| server.report()).collect()
    }

    /// The files it was made from, trust anchors and root hints, said the same as those of `other`.
    pub fn same_files(&self, other: &Self) -> bool {
        let roots = |of: &Self| of.roots.as_ref().map(|roots| roots.hints().to_vec());
        self.validator.as_ref().map(|one| one.anchors()) == other.validator.as_ref().map(|one| one.anchors())
            && roots(self) == roots(other)
    }

    /// What has been asked so far.
    pub fn counts(&self) -> Counts {
        let strange = self.datagrams.strange();
        Counts {
            asked: self.asked.load(Ordering::Relaxed),
            merged: self.merged.load(Ordering::Relaxed),
            busy: self.busy.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
            strange: strange.ignored,
            attacked: strange.attacked,
            in_flight: self.pending.len(),
            validations: self.validator.as_ref().map(dnssec::Validator::counts).unwrap_or_default(),
        }
    }

    /// The answer to come: from servers, or from the root on.
    fn way(&self, wish: Wish) -> Pin<Box<dyn Future<Output = Outcome> + Send>> {
        let group = self.group_for(&wish.ask.name);
        match &self.roots {
            Some(roots) if group.is_empty() => Box::pin(Arc::clone(roots).ask(wish.ask, self.plan.timeout)),
            _ => Box::pin(race::race(group, wish, self.plan)),
        }
    }

    /// The servers of the longest zone `name` is in, or those for everything.
    fn group_for(&self, name: &Name) -> Arc<[Arc<Remote>]> {
        let mut at = (!self.zones.is_empty()).then(|| name.clone());
        while let Some(suffix) = at {
            if let Some(group) = self.zones.get(&suffix) {
                return Arc::clone(group);
            }
            at = suffix.parent();
        }
        Arc::clone(&self.everywhere)
    }
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstream").field("health", &self.health()).finish_non_exhaustive()
    }
}

/// A question that others may have joined. Whoever asked it first goes away, it goes on as a task of its own.
struct Leading(Option<Pin<Box<dyn Future<Output = Outcome> + Send>>>);

impl Future for Leading {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        let Some(race) = &mut self.0 else { return Poll::Ready(Err(Failure::Dead)) };
        let outcome = race.as_mut().poll(cx);
        if outcome.is_ready() {
            self.0 = None;
        }
        outcome
    }
}

impl Drop for Leading {
    fn drop(&mut self) {
        if let (Some(race), Ok(runtime)) = (self.0.take(), tokio::runtime::Handle::try_current()) {
            runtime.spawn(race);
        }
    }
}
