//! The record of a finished query, and who can say why it matched.

use std::net::IpAddr;
use std::sync::Arc;

use crate::rule::{Mode, Order};
use crate::util::Now;

/// How a query came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// DNS over UDP.
    Udp,
    /// DNS over TCP.
    Tcp,
}

impl Transport {
    /// All of them, in the order of their counters.
    pub const ALL: [Self; 2] = [Self::Udp, Self::Tcp];

    /// As it stands in the hit log and the ready file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
        }
    }
}

/// What a matched query got.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AnswerKind {
    /// The configured addresses, or NODATA where a family has none.
    Sinkhole,
    /// NXDOMAIN.
    Nxdomain,
    /// NOERROR without records.
    Nodata,
    /// REFUSED.
    Refused,
    /// Nothing.
    Drop,
    /// A CNAME, with the target's records where they could be had.
    Cname,
    /// RPZ local data.
    Local,
    /// RPZ `rpz-tcp-only.` over UDP: an empty answer with TC.
    Truncated,
    /// The ordinary answer (shadow lists, `rpz-tcp-only.` over TCP).
    Passed,
}

impl AnswerKind {
    /// All of them, in the order of their counters.
    pub const ALL: [Self; 9] = [
        Self::Sinkhole,
        Self::Nxdomain,
        Self::Nodata,
        Self::Refused,
        Self::Drop,
        Self::Cname,
        Self::Local,
        Self::Truncated,
        Self::Passed,
    ];

    /// As it stands in the hit log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sinkhole => "sinkhole",
            Self::Nxdomain => "nxdomain",
            Self::Nodata => "nodata",
            Self::Refused => "refused",
            Self::Drop => "drop",
            Self::Cname => "cname",
            Self::Local => "local",
            Self::Truncated => "truncated",
            Self::Passed => "passed",
        }
    }
}

/// One query that matched a rule.
#[derive(Clone, Copy, Debug)]
pub struct Hit<'a> {
    /// Milliseconds since the epoch.
    pub unix_ms: i64,
    /// The snapshot that decided; its [`Attribution`] explains the hit.
    pub generation: u64,
    /// Who asked.
    pub client: IpAddr,
    /// How.
    pub transport: Transport,
    /// RR type asked for.
    pub qtype: u16,
    /// Whether the hit was enforced or only counted.
    pub mode: Mode,
    /// What the client got.
    pub answer: AnswerKind,
    /// The number of the rule, if no other that could be seen matched: then [`Attribution::causes_of`] explains the
    /// hit, and all others of that rule alike.
    pub rule: Option<u32>,
    /// The query name: lower-case wire bytes.
    pub name: &'a [u8],
    /// The name in an upstream's answer that matched, if it was not the query name.
    pub target: Option<&'a [u8]>,
}

/// Explains the hits of one snapshot; asked off the query path.
pub trait Attribution: Send + Sync {
    /// Every rule in force that matches `name` (lower-case wire bytes) in lists of `mode`,
    /// the one that decided first.
    fn causes(&self, name: &[u8], mode: Mode) -> Vec<Cause>;

    /// The same for every name of which rule number `rule` was the only one seen to match; `None` if only
    /// [`Self::causes`] can say.
    fn causes_of(&self, rule: u32) -> Option<Vec<Cause>>;
}

/// One rule that matched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// The list's name.
    pub list: String,
    /// The file the rule stands in.
    pub file: String,
    /// The line there.
    pub line: u32,
    /// The pattern as a `domains` list writes it.
    pub rule: String,
    /// The orders in force it rests on.
    pub orders: Vec<Arc<Order>>,
}

/// What became of a query that matched a rule: what hits are counted by first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Outcome {
    /// Answered as an enforcing list says.
    Blocked,
    /// Would have been, by a list in shadow mode.
    Shadow,
    /// Would have been, but an allow rule covers the name.
    Excepted,
}

impl Outcome {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Blocked, Self::Shadow, Self::Excepted];

    /// As statistics spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Blocked => "blocked",
            Self::Shadow => "shadow",
            Self::Excepted => "excepted",
        }
    }
}

/// What hits are counted under: all that is alike in the reasons of two hits.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Subject {
    /// What became of the query.
    pub outcome: Outcome,
    /// The pattern of the rule that decided, as a `domains` list writes it; empty if no snapshot knew the hit any more.
    pub rule: Box<str>,
    /// The list of that rule.
    pub list: Box<str>,
    /// The other lists with a rule that matched, each once, in the order of the configuration.
    pub also: Box<[Box<str>]>,
    /// All orders in force that the block rests on, each once.
    pub orders: Box<[Arc<Order>]>,
}

/// Why hits matched; made once for all hits of a rule and kept while they come.
#[derive(Debug)]
pub struct Why {
    /// Another for each that was made in this process; they grow.
    pub id: u64,
    /// What they are counted under.
    pub subject: Subject,
    /// Every rule that matched, the one that decided first.
    pub causes: Box<[Cause]>,
}

/// Takes every hit, on a thread that serves no queries. It must not wait for anything: what there is no room for is
/// dropped and counted by the sink itself.
pub trait Sink: Send {
    /// One hit, and why it matched.
    fn take(&mut self, hit: &Hit<'_>, why: &Arc<Why>);

    /// No hit is there for the moment. Called ten times a second at least, however many hits come.
    fn rest(&mut self, now: Now);

    /// No hit will come any more.
    fn finish(&mut self, now: Now);
}
