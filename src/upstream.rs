//! The servers that are asked for everything that is not blocked: our own datagrams and hickory's streams, under our
//! own strategy.
//!
//! hickory's `NameServer` turns NXDOMAIN, NODATA and SERVFAIL into errors without the message they came in, and its
//! pool has no fail-over on them; its UDP makes a socket for each query. So here questions over UDP go through sockets
//! of ours (`datagrams`), those over TCP through hickory-resolver's connections (`link`); both give the reply as bytes,
//! and who is asked when is decided in `race` and `health`.

mod datagrams;
mod dnssec;
mod health;
mod latency;
mod link;
mod merge;
mod question;
mod race;
mod recurse;
mod system;
#[cfg(test)]
mod tests;
mod window;

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

pub use dnssec::{AnchorError, DnssecSettings, Validations};
pub use health::{Fault, ServerHealth, ServerState};
pub use latency::LatencyCounts;
pub use recurse::{Network, RecursionError, RecursionSettings};

use crate::name::Name;
use datagrams::Datagrams;
use link::Link;
use merge::{Joined, Outcome, Pending};
use race::Remote;

/// How to reach one server.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Server {
    /// Whatever `/etc/resolv.conf` names.
    System,
    /// UDP, and TCP when an answer is truncated.
    Udp(SocketAddr),
    /// TCP only.
    Tcp(SocketAddr),
}

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
    /// hickory cannot make connections.
    Connections {
        /// What hickory said.
        reason: String,
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
    timeout: Duration,
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
    /// Reads `/etc/resolv.conf` if a server is `system`; `own` are our listen addresses, which are left out of it.
    /// Connects to nobody yet.
    ///
    /// # Errors
    /// See [`UpstreamError`].
    pub fn new(settings: &Settings, own: &[SocketAddr]) -> Result<Self, UpstreamError> {
        let datagrams = Datagrams::new();
        let mut known = Known::new(&datagrams, settings.mix_case);
        let roots = settings.recursion.as_ref();
        let roots = roots.map(|recursion| recurse::Roots::new(recursion, settings.timeout, settings.mix_case));
        let roots = roots.transpose().map_err(UpstreamError::Recursion)?.map(Arc::new);
        let everywhere = if roots.is_some() { Arc::from([]) } else { known.group(&settings.servers, own, None)? };
        let mut zones = HashMap::new();
        for zone in &settings.zones {
            zones.insert(zone.name.clone(), known.group(&zone.servers, own, Some(&zone.name))?);
        }
        let forwarded: Vec<_> = settings.zones.iter().map(|zone| zone.name.clone()).collect();
        let validator = dnssec::Validator::new(&settings.dnssec, &forwarded).map_err(UpstreamError::Anchors)?;
        Ok(Self {
            servers: known.all,
            roots,
            validator,
            validating: Arc::new(Pending::new(settings.max_in_flight)),
            datagrams,
            everywhere,
            zones,
            timeout: settings.timeout,
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
        if self.validator.is_some() { dnssec::validated(self, ask).await } else { self.fetch(ask).await }
    }

    /// What the servers say.
    async fn fetch(&self, ask: Ask) -> Result<Reply, Failure> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let outcome = match self.pending.join(&ask) {
            Joined::Full => {
                self.busy.fetch_add(1, Ordering::Relaxed);
                return Err(Failure::Busy);
            }
            Joined::Following(waiting) => {
                self.merged.fetch_add(1, Ordering::Relaxed);
                waiting.outcome().await
            }
            Joined::Leading(lead) => {
                let race = self.way(ask);
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
    fn way(&self, ask: Ask) -> Pin<Box<dyn Future<Output = Outcome> + Send>> {
        let group = self.group_for(&ask.name);
        match &self.roots {
            Some(roots) if group.is_empty() => Box::pin(Arc::clone(roots).ask(ask, self.timeout)),
            _ => Box::pin(race::race(group, ask, self.timeout)),
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

/// Servers made so far: one that stands in several groups keeps one state.
struct Known<'a> {
    datagrams: &'a Datagrams,
    mix_case: bool,
    all: Vec<Arc<Remote>>,
    by_server: HashMap<Server, Arc<Remote>>,
}

impl<'a> Known<'a> {
    /// None yet.
    fn new(datagrams: &'a Datagrams, mix_case: bool) -> Self {
        Self { datagrams, mix_case, all: Vec::new(), by_server: HashMap::new() }
    }

    /// The remotes of one list of servers, `system` replaced by what it stands for.
    fn group(
        &mut self,
        servers: &[Server],
        own: &[SocketAddr],
        zone: Option<&Name>,
    ) -> Result<Arc<[Arc<Remote>]>, UpstreamError> {
        let mut group: Vec<Arc<Remote>> = Vec::new();
        for server in servers {
            let concrete = match server {
                Server::System => system::servers(own)?,
                Server::Udp(address) | Server::Tcp(address) => {
                    if system::is_own(*address, own) {
                        return Err(UpstreamError::Ourselves(*address));
                    }
                    vec![server.clone()]
                }
            };
            for server in concrete {
                let remote = self.remote(server)?;
                if !group.iter().any(|known| Arc::ptr_eq(known, &remote)) {
                    group.push(remote);
                }
            }
        }
        if group.is_empty() { Err(UpstreamError::NoServers(zone.cloned())) } else { Ok(group.into()) }
    }

    /// The remote for a server, made on first use.
    fn remote(&mut self, server: Server) -> Result<Arc<Remote>, UpstreamError> {
        if let Some(remote) = self.by_server.get(&server) {
            return Ok(Arc::clone(remote));
        }
        let link = Link::new(&server, self.datagrams, self.mix_case);
        let link = link.map_err(|error| UpstreamError::Connections { reason: error.to_string() })?;
        let remote = Arc::new(Remote::new(link));
        self.all.push(Arc::clone(&remote));
        self.by_server.insert(server, Arc::clone(&remote));
        Ok(remote)
    }
}
