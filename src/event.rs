//! The fixed-size record of a finished query, and who can say why it matched.

use std::net::IpAddr;

use crate::name::{MAX_WIRE, Name};
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

/// One query that matched a rule. Fixed size but for a target, so a ring of them is bounded memory.
#[derive(Clone, Debug)]
pub struct Hit {
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
    /// The query name, lower case.
    pub name: HitName,
    /// The name in an upstream's answer that matched, if it was not the query name.
    pub target: Option<Box<Name>>,
}

/// A wire name by value.
#[derive(Clone)]
pub struct HitName {
    bytes: [u8; MAX_WIRE],
    len: u8,
}

impl HitName {
    /// Copies lower-case wire bytes of at most [`MAX_WIRE`] octets (a longer slice is cut, which no name is).
    pub fn new(wire: &[u8]) -> Self {
        let mut bytes = [0; MAX_WIRE];
        let len = wire.len().min(MAX_WIRE);
        bytes[..len].copy_from_slice(&wire[..len]);
        Self { bytes, len: len as u8 }
    }

    /// The wire bytes.
    pub fn wire(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

impl std::fmt::Debug for HitName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        crate::name::show(self.wire(), f)
    }
}

/// Explains the hits of one snapshot; asked off the query path.
pub trait Attribution: Send + Sync {
    /// Every rule in force that matches `name` (lower-case wire bytes) in lists of `mode`,
    /// the one that decided first.
    fn causes(&self, name: &[u8], mode: Mode) -> Vec<Cause>;
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
