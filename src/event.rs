//! The record of a finished query, and who can say why it matched.

use std::net::IpAddr;

use crate::rule::Mode;

/// How a query came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// DNS over UDP.
    Udp,
    /// DNS over TCP.
    Tcp,
}

impl Transport {
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
    /// The ids of the orders in force it rests on.
    pub orders: Vec<String>,
}
