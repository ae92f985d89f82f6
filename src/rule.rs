//! Rules and the orders they rest on: what every list format becomes.

mod blocks;
mod code;
mod key;
mod names;
mod order;
mod runs;
mod table;

pub use names::Walk;
pub use order::{Order, OrderState, Until, blocked_until};
pub use table::{FileRules, Kind, RuleView, RulesBuilder};

use std::fmt;
use std::sync::Arc;

use crate::name::Name;

/// Which names a pattern covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// The name and everything below it.
    Subtree,
    /// The name alone.
    Exact,
    /// Only names below it.
    Below,
}

impl Scope {
    /// Whether a pattern with this scope covers a name `below` labels under it.
    pub fn covers(self, below: usize) -> bool {
        match self {
            Self::Subtree => true,
            Self::Exact => below == 0,
            Self::Below => below > 0,
        }
    }
}

/// What a list is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Its names are blocked.
    Block,
    /// Its names are never blocked, whatever else says so.
    Allow,
}

/// Whether a list acts or only counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Queries are answered as the rule says.
    Enforce,
    /// Hits are counted and logged; queries are answered as if the list weren't there.
    Shadow,
}

/// What a rule does to a query it matches.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Effect {
    /// Blocked, answered as its list says.
    Block,
    /// Never blocked (an allow list, adblock `@@`).
    Allow,
    /// An RPZ record with an action of its own.
    Rpz(RpzAction),
}

/// RPZ policy actions (draft-vixie-dnsop-dns-rpz-00 section 3).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RpzAction {
    /// `CNAME .`
    Nxdomain,
    /// `CNAME *.`
    Nodata,
    /// `CNAME rpz-passthru.`: not changed, and no later rule or zone is asked. Unlike
    /// [`Effect::Allow`] it loses to zones that come earlier in config order.
    Passthru,
    /// `CNAME rpz-drop.`
    Drop,
    /// `CNAME rpz-tcp-only.`
    TcpOnly,
    /// Records to answer with.
    Local(Arc<LocalData>),
}

/// Local data of one RPZ owner.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct LocalData {
    /// Records other than CNAME: type, TTL in seconds, uncompressed rdata on the wire.
    pub records: Vec<LocalRecord>,
    /// The target of a `CNAME` to an ordinary name.
    pub cname: Option<CnameTarget>,
}

/// One record of local data.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LocalRecord {
    /// RR type number.
    pub rtype: u16,
    /// Seconds.
    pub ttl: u32,
    /// Uncompressed rdata.
    pub rdata: Vec<u8>,
}

/// Where a CNAME answer points.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CnameTarget {
    /// The target, or what follows the query name in it.
    pub name: Name,
    /// `*.name`: the query name is put in front (RPZ draft section 3.6, "wildcard CNAME").
    pub prefix_query: bool,
    /// Seconds; `None` for the answer's own TTL.
    pub ttl: Option<u32>,
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Subtree => "subtree",
            Self::Exact => "exact",
            Self::Below => "below",
        })
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Block => "block",
            Self::Allow => "allow",
        })
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Enforce => "enforce",
            Self::Shadow => "shadow",
        })
    }
}

/// A pattern as people write it in a `domains` list: `name`, `=name`, `*.name`.
pub fn show_pattern(wire: &[u8], scope: Scope, f: &mut dyn fmt::Write) -> fmt::Result {
    match scope {
        Scope::Subtree => {}
        Scope::Exact => f.write_char('=')?,
        Scope::Below => f.write_str("*.")?,
    }
    crate::name::show(wire, f)
}
