//! Queries, parsed in place.

use super::cookie::CLIENT_COOKIE;
use super::walk::record;
use super::{HEADER, UDP_EDNS, UDP_PLAIN, flag, option, rcode, rtype, u16_at};
use crate::name::{MAX_LABEL, NameBuf};

/// What qalqan needs to know of a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Query {
    /// Message id.
    pub id: u16,
    /// The header's flag word.
    pub flags: u16,
    /// RR type asked for.
    pub qtype: u16,
    /// Class asked for.
    pub qclass: u16,
    /// Where the question section ends in the message.
    pub question_end: usize,
    /// What its OPT record says, if it has one.
    pub edns: Option<Edns>,
}

/// An OPT record (RFC 6891 section 6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Edns {
    /// The payload the client takes over UDP, in octets, as it says.
    pub payload: u16,
    /// EDNS version.
    pub version: u8,
    /// DNSSEC OK (RFC 3225).
    pub dnssec_ok: bool,
    /// An empty Structured DNS Error option is there: the client understands EXTRA-TEXT as I-JSON.
    pub structured_error: bool,
    /// What else it asks to be told.
    pub asks: Asks,
    /// So many octets of options the answer keeps free at its end, for whoever knows what to put there: see
    /// [`Extras`](super::Extras). A query says nothing of it.
    pub reserve: u16,
    /// The answer is padded (RFC 8467 section 4.1). A query alone does not say so.
    pub pad: bool,
}

/// Options of a query that want one in the answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asks {
    /// There is one of these.
    pub any: bool,
    /// The server's identifier (RFC 5001).
    pub nsid: bool,
    /// For how long an idle connection is kept (RFC 7828).
    pub keepalive: bool,
    /// An answer of a length that tells little (RFC 7830).
    pub padding: bool,
    /// Octets of its cookie (RFC 7873), 0 if there is none.
    cookie_len: u8,
    /// Where that stands in the message.
    cookie_at: u16,
}

impl Asks {
    /// The client's cookie, and the server's, if it has one, of which only the length was looked at.
    pub fn cookie<'m>(&self, message: &'m [u8]) -> Option<(&'m [u8; CLIENT_COOKIE], &'m [u8])> {
        let at = usize::from(self.cookie_at);
        message.get(at..at + usize::from(self.cookie_len))?.split_first_chunk()
    }

    /// Notes an option of `len` octets of data at `at`. `None`: it is malformed.
    fn note(&mut self, code: u16, at: usize, len: usize) -> Option<()> {
        match code {
            // Of several the first counts (RFC 7873 section 5.2).
            option::COOKIE if self.cookie_len > 0 => return Some(()),
            option::COOKIE => {
                self.cookie_at = u16::try_from(at).ok()?;
                self.cookie_len = u8::try_from(len).ok().filter(|len| matches!(len, 8 | 16..=40))?;
            }
            option::NSID => self.nsid = true,
            option::KEEPALIVE => self.keepalive = true,
            option::PADDING => self.padding = true,
            _ => return Some(()),
        }
        self.any = true;
        Some(())
    }
}

impl Query {
    /// Recursion desired.
    pub fn recursion_desired(&self) -> bool {
        self.flags & flag::RD != 0
    }

    /// Checking disabled.
    pub fn checking_disabled(&self) -> bool {
        self.flags & flag::CD != 0
    }

    /// DNSSEC records wanted.
    pub fn dnssec_ok(&self) -> bool {
        self.edns.is_some_and(|edns| edns.dnssec_ok)
    }

    /// The client understands the AD bit (RFC 6840 section 5.7).
    pub fn wants_ad(&self) -> bool {
        self.dnssec_ok() || self.flags & flag::AD != 0
    }

    /// The most octets an answer over UDP may have.
    pub fn udp_limit(&self) -> usize {
        self.edns.map_or(UDP_PLAIN, |edns| usize::from(edns.payload).clamp(UDP_PLAIN, UDP_EDNS))
    }
}

/// Not a query that can be looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Invalid {
    /// Not worth an answer: no whole header, or an answer itself (answering those makes loops).
    Silent,
    /// To be answered with this response code.
    Answer {
        /// The response code, 12 bits wide.
        rcode: u16,
        /// The query as far as it could be read. `question_end` is the header's end if no question can be echoed.
        query: Query,
    },
}

/// Parses a query; `name` becomes its question name in lower case.
///
/// # Errors
/// [`Invalid`] says whether and how to answer what is not a proper query: QR=1 and short messages
/// are ignored, other opcodes are NOTIMP, a question count other than 1 (RFC 9619), answers in a
/// query, pointers in the question, a second OPT, cut records and cookies of a wrong length are FORMERR, EDNS versions
/// above 0 are BADVERS. No question at all but a cookie is NOERROR: it asks for a server cookie (RFC 7873 section 5.4).
pub fn parse(message: &[u8], name: &mut NameBuf) -> Result<Query, Invalid> {
    let header: &[u8; HEADER] = message.first_chunk().ok_or(Invalid::Silent)?;
    let word = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
    let flags = word(2);
    if flags & flag::QR != 0 {
        return Err(Invalid::Silent);
    }
    let mut query = Query { id: word(0), flags, qtype: 0, qclass: 0, question_end: HEADER, edns: None };
    let invalid = |query, rcode| Err(Invalid::Answer { rcode, query });
    if flags & flag::OPCODE != 0 {
        return invalid(query, rcode::NOTIMP);
    }
    // An IXFR query has its SOA in the authority section (RFC 1995 section 3); it is told so later.
    if word(4) != 1 || word(6) != 0 || word(8) > 1 {
        if word(4) == 0 && word(6) == 0 && word(8) == 0 {
            name.clear();
            query.edns =
                additional(message, HEADER, 0, word(10)).flatten().filter(|edns| edns.asks.cookie(message).is_some());
        }
        let rcode = if query.edns.is_some_and(|edns| edns.version == 0) { rcode::NOERROR } else { rcode::FORMERR };
        return invalid(query, rcode);
    }
    let Some(end) = question_name(message, name) else { return invalid(query, rcode::FORMERR) };
    let (Some(qtype), Some(qclass)) = (u16_at(message, end), u16_at(message, end + 2)) else {
        return invalid(query, rcode::FORMERR);
    };
    query.qtype = qtype;
    query.qclass = qclass;
    query.question_end = end + 4;
    if qtype == rtype::OPT || (word(8) == 1 && qtype != rtype::IXFR) {
        return invalid(query, rcode::FORMERR);
    }
    match additional(message, query.question_end, word(8), word(10)) {
        Some(edns) => query.edns = edns,
        None => return invalid(query, rcode::FORMERR),
    }
    if query.edns.is_some_and(|edns| edns.version > 0) {
        return invalid(query, rcode::BADVERS);
    }
    Ok(query)
}

/// The question's name; it cannot be compressed, as nothing stands before it.
fn question_name(message: &[u8], name: &mut NameBuf) -> Option<usize> {
    name.clear();
    let mut at = HEADER;
    loop {
        let len = usize::from(*message.get(at)?);
        at += 1;
        match len {
            0 => return Some(at),
            1..=MAX_LABEL => name.push_label(message.get(at..at + len)?).ok()?,
            _ => return None,
        }
        at += len;
    }
}

/// Looks through what follows the question for an OPT record. `None`: malformed.
fn additional(message: &[u8], mut at: usize, authority: u16, additional: u16) -> Option<Option<Edns>> {
    let mut edns = None;
    for _ in 0..authority {
        at = record(message, at)?.end;
    }
    for _ in 0..additional {
        let record = record(message, at)?;
        if record.rtype == rtype::OPT {
            // Its owner is the root and there is only one (RFC 6891 section 6.1.1).
            if message[record.start] != 0 || edns.is_some() {
                return None;
            }
            let mut found = Edns {
                payload: record.class,
                version: (record.ttl >> 16) as u8,
                dnssec_ok: record.ttl & 0x8000 != 0,
                ..Edns::default()
            };
            let mut at = record.rdata;
            while at < record.end {
                let code = u16_at(message, at)?;
                let len = usize::from(u16_at(message, at + 2)?);
                at += 4 + len;
                match code {
                    option::STRUCTURED_ERROR => found.structured_error |= len == 0,
                    _ => found.asks.note(code, at - len, len)?,
                }
            }
            if at != record.end {
                return None;
            }
            edns = Some(found);
        }
        at = record.end;
    }
    Some(edns)
}

#[cfg(test)]
mod tests;
