//! What a blocked query gets: settings of answers, and the bytes made ready for each list and order.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::name::Name;

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
#[derive(Clone, Debug, PartialEq, Eq)]
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
