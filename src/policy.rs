//! What a blocked query gets: settings of answers, and everything about a list that an answer needs, made ready.

mod host;
mod respond;
mod template;

pub use host::{Host, HostSettings};
pub use respond::{Asked, Blocked, Respond, respond, respond_chased, target_name};
pub use template::{Placeholder, Template, UnknownPlaceholder};

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use crate::name::Name;
use crate::rule::{CnameTarget, Mode, Role};

/// The answer of a list (DESIGN section 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AnswerMode {
    /// The configured addresses for A and AAAA, NODATA for all else.
    Sinkhole,
    /// NXDOMAIN.
    Nxdomain,
    /// NOERROR without records.
    Nodata,
    /// REFUSED.
    Refused,
    /// Nothing at all.
    Drop,
    /// CNAME to [`AnswerSettings::cname`].
    Cname,
}

/// `[answer]`, and the same again where a list overrides it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AnswerSettings {
    /// Which answer.
    pub mode: AnswerMode,
    /// Sinkhole addresses; empty: NODATA for A.
    pub ipv4: Vec<Ipv4Addr>,
    /// Sinkhole addresses; empty: NODATA for AAAA.
    pub ipv6: Vec<Ipv6Addr>,
    /// Target of the `cname` mode.
    pub cname: Option<Name>,
    /// Seconds.
    pub ttl: u32,
    /// Extended DNS error (RFC 8914); `None` for no EDE option.
    pub ede: Option<u16>,
    /// EXTRA-TEXT; `{order}`, `{authority}`, `{list}`, `{legal_basis}`, `{reference}` are filled in.
    pub text: String,
    /// Language of `text` (RFC 5646), for the Structured DNS Error.
    pub language: String,
}

/// What of [`AnswerSettings`] is another for some clients, whatever the list says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AnswerOverride {
    /// Which answer.
    pub mode: Option<AnswerMode>,
    /// Sinkhole addresses.
    pub ipv4: Option<Vec<Ipv4Addr>>,
    /// Sinkhole addresses.
    pub ipv6: Option<Vec<Ipv6Addr>>,
    /// Target of the `cname` mode.
    pub cname: Option<Name>,
    /// Seconds.
    pub ttl: Option<u32>,
    /// Extended DNS error; the inner `None` for no EDE option.
    pub ede: Option<Option<u16>>,
    /// EXTRA-TEXT.
    pub text: Option<String>,
    /// Its language.
    pub language: Option<String>,
}

impl AnswerOverride {
    /// `base` with what is said here in place of what is said there.
    pub fn over(&self, base: &AnswerSettings) -> AnswerSettings {
        let Self { mode, ipv4, ipv6, cname, ttl, ede, text, language } = self.clone();
        let base = base.clone();
        AnswerSettings {
            mode: mode.unwrap_or(base.mode),
            ipv4: ipv4.unwrap_or(base.ipv4),
            ipv6: ipv6.unwrap_or(base.ipv6),
            cname: cname.or(base.cname),
            ttl: ttl.unwrap_or(base.ttl),
            ede: ede.unwrap_or(base.ede),
            text: text.unwrap_or(base.text),
            language: language.unwrap_or(base.language),
        }
    }
}

/// One list's share of the policy.
#[derive(Clone, Debug)]
pub struct ListPolicy {
    /// The list's name.
    pub name: Arc<str>,
    /// Block or allow.
    pub role: Role,
    /// Enforce or shadow.
    pub mode: Mode,
    /// What its hits get.
    pub answer: Answer,
    /// Its place in the counters, the same over all reloads.
    pub slot: usize,
}

/// [`AnswerSettings`], ready to be written.
#[derive(Clone, Debug)]
pub struct Answer {
    mode: AnswerMode,
    ipv4: Box<[[u8; 4]]>,
    ipv6: Box<[[u8; 16]]>,
    cname: Option<CnameTarget>,
    ttl: u32,
    ede: Option<u16>,
    text: Template,
    language: Box<str>,
}

impl Answer {
    /// Makes settings ready. (A `cname` mode without a target, which `config` refuses, answers NODATA.)
    pub fn new(settings: &AnswerSettings) -> Self {
        let cname = settings.cname.clone().map(|name| CnameTarget { name, prefix_query: false, ttl: None });
        Self {
            mode: settings.mode,
            ipv4: settings.ipv4.iter().map(Ipv4Addr::octets).collect(),
            ipv6: settings.ipv6.iter().map(Ipv6Addr::octets).collect(),
            cname,
            ttl: settings.ttl,
            ede: settings.ede,
            text: Template::lenient(&settings.text),
            language: settings.language.as_str().into(),
        }
    }
}
