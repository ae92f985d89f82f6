//! DNS messages on the wire: hostile bytes in, answers out, in place and without allocation.

mod cookie;
mod extras;
mod lifetime;
mod query;
mod records;
mod relay;
mod walk;
mod write;

pub use cookie::{CLIENT_COOKIE, Cookies, Secret, Standing};
pub use extras::Extras;
pub use lifetime::lifetime;
pub use query::{Asks, Edns, Invalid, Query, parse};
pub use records::{Glance, Records, Seen, Written, answers_in_full, glance, take_apart};
pub use relay::{Relay, RelayError, relay};
pub use walk::{TargetVisitor, targets};
pub use write::{Ede, Opt, Owner, Section, Writer, question};

/// Bytes of a message header (RFC 1035 section 4.1.1).
pub const HEADER: usize = 12;
/// The most an answer over UDP may have without EDNS (RFC 1035 section 4.2.1).
pub const UDP_PLAIN: usize = 512;
/// The most we send over UDP and say we take: fits every path without fragments (DNS flag day 2020).
pub const UDP_EDNS: usize = 1232;
/// The most a message over a stream may have (RFC 1035 section 4.2.2).
pub const STREAM_MAX: usize = 65535;

/// RR types the resolver itself has to know (IANA DNS parameters).
#[expect(missing_docs, reason = "their names are their meaning")]
pub mod rtype {
    pub const A: u16 = 1;
    pub const NS: u16 = 2;
    pub const CNAME: u16 = 5;
    pub const SOA: u16 = 6;
    pub const HINFO: u16 = 13;
    pub const TXT: u16 = 16;
    pub const AAAA: u16 = 28;
    pub const DNAME: u16 = 39;
    pub const OPT: u16 = 41;
    pub const DS: u16 = 43;
    pub const SVCB: u16 = 64;
    pub const HTTPS: u16 = 65;
    pub const TKEY: u16 = 249;
    pub const TSIG: u16 = 250;
    pub const IXFR: u16 = 251;
    pub const AXFR: u16 = 252;
    pub const MAILB: u16 = 253;
    pub const MAILA: u16 = 254;
    pub const ANY: u16 = 255;
}

/// Class IN.
pub const CLASS_IN: u16 = 1;
/// Class CH: what servers say about themselves (RFC 4892).
pub const CLASS_CH: u16 = 3;

/// Response codes in use here (RFC 1035 section 4.1.1, RFC 6891 section 9).
#[expect(missing_docs, reason = "their names are their meaning")]
pub mod rcode {
    pub const NOERROR: u16 = 0;
    pub const FORMERR: u16 = 1;
    pub const SERVFAIL: u16 = 2;
    pub const NXDOMAIN: u16 = 3;
    pub const NOTIMP: u16 = 4;
    pub const REFUSED: u16 = 5;
    pub const NOTAUTH: u16 = 9;
    pub const BADVERS: u16 = 16;
    pub const BADCOOKIE: u16 = 23;
}

/// Extended DNS errors in use here (RFC 8914 section 4).
#[expect(missing_docs, reason = "their names are their meaning")]
pub mod ede {
    pub const STALE: u16 = 3;
    pub const PROHIBITED: u16 = 18;
    pub const STALE_NXDOMAIN: u16 = 19;
    pub const NOT_AUTHORITATIVE: u16 = 20;
    pub const NOT_SUPPORTED: u16 = 21;
    pub const NO_REACHABLE_AUTHORITY: u16 = 22;
    pub const NETWORK_ERROR: u16 = 23;
    pub const INVALID_DATA: u16 = 24;
}

/// EDNS option codes in use here (IANA DNS EDNS0 option codes).
#[expect(missing_docs, reason = "their names are their meaning")]
pub mod option {
    pub const NSID: u16 = 3;
    pub const COOKIE: u16 = 10;
    pub const KEEPALIVE: u16 = 11;
    pub const PADDING: u16 = 12;
    pub const EDE: u16 = 15;
    pub const STRUCTURED_ERROR: u16 = 26;
}

/// Header flag bits (RFC 1035 section 4.1.1, RFC 4035 section 3).
#[expect(missing_docs, reason = "their names are their meaning")]
pub mod flag {
    pub const QR: u16 = 0x8000;
    pub const AA: u16 = 0x0400;
    pub const TC: u16 = 0x0200;
    pub const RD: u16 = 0x0100;
    pub const RA: u16 = 0x0080;
    pub const AD: u16 = 0x0020;
    pub const CD: u16 = 0x0010;
    pub const OPCODE: u16 = 0x7800;
}

/// Two octets in network order.
fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let pair = bytes.get(at..at.checked_add(2)?)?;
    Some(u16::from_be_bytes([pair[0], pair[1]]))
}
