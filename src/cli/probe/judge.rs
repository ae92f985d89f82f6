//! What came back, and whether it is a block. Bytes from a server that may be anybody's.

use std::collections::HashSet;
use std::fmt;
use std::net::IpAddr;

use crate::cli::why::rcode_name;
use crate::hits::type_name;
use crate::name::show;
use crate::wire::{self, HEADER, Records, flag, option, rcode, rtype};

/// MNAME of the SOA in qalqan's own negative answers.
const OUR_MNAME: &[u8] = b"\x06qalqan\x07invalid\0";
/// Extended errors that say a policy did it: Blocked, Censored, Filtered (RFC 8914 section 4.16 to 4.18).
const BLOCK_CODES: [u16; 3] = [15, 16, 17];
/// Prohibited: this client may not ask at all (RFC 8914 section 4.19).
const PROHIBITED: u16 = 18;
/// Records and characters of an answer that are shown.
const SHOWN: usize = 4;
/// Characters of an extended error's text that are shown.
const TEXT_SHOWN: usize = 120;

/// An answer, as far as it matters here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// Response code, extended bits included.
    pub rcode: u16,
    /// To be asked again over TCP.
    pub truncated: bool,
    /// The answer section, sorted.
    pub records: Vec<Rec>,
    /// Extended errors: code and text.
    pub errors: Vec<(u16, String)>,
    /// It carries the SOA that only qalqan's negative answers have.
    pub ours: bool,
    /// A header alone: it cannot be known to be about the question.
    pub bare: bool,
}

/// A record without its TTL, names in it lower-case and in full.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rec {
    /// Not a CNAME: those sort first.
    data: bool,
    /// Owner on the wire.
    pub owner: Vec<u8>,
    /// RR type.
    pub rtype: u16,
    /// Uncompressed.
    pub rdata: Vec<u8>,
}

/// Bytes that are no answer to the question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unread {
    /// About another question, or no answer: to be waited on.
    Foreign,
    /// About the question, and broken.
    Malformed,
}

/// What should come back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expect {
    /// This, but for TTLs and texts.
    Exact(Said),
    /// These records, and whatever the CNAME among them leads to.
    Chased(Said),
    /// Nothing.
    Silence,
    /// Any block.
    Block,
}

/// How an answer was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Blocked, and as it should be.
    Expected,
    /// Blocked, but not as it should be.
    Different,
    /// Not blocked, or not so that it shows.
    Open,
    /// Nothing came back.
    Unanswered,
}

impl Verdict {
    /// As receipts write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Expected => "as_expected",
            Self::Different => "differently",
            Self::Open => "not_blocked",
            Self::Unanswered => "no_answer",
        }
    }
}

/// What counts as blocked.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// Addresses that lead nowhere or to a block page.
    pub sinkholes: HashSet<IpAddr>,
    /// Any block will do.
    pub any: bool,
}

impl Rules {
    /// Weighs an answer.
    pub fn judge(&self, expect: &Expect, said: &Said) -> Verdict {
        let blocked = if self.any { self.is_block(said) } else { self.is_plainly_block(said) };
        let fits = match expect {
            Expect::Exact(wanted) => wanted.is_met_by(said, false),
            Expect::Chased(wanted) => wanted.is_met_by(said, true),
            Expect::Silence => false,
            Expect::Block => blocked,
        };
        match (fits, blocked) {
            (true, _) => Verdict::Expected,
            (false, true) if self.any => Verdict::Expected,
            (false, true) => Verdict::Different,
            (false, false) => Verdict::Open,
        }
    }

    /// A block that no ordinary answer looks like.
    pub fn is_plainly_block(&self, said: &Said) -> bool {
        if said.bare {
            return false;
        }
        said.errors.iter().any(|(code, _)| BLOCK_CODES.contains(code)) || said.ours || self.is_sinkholed(said)
    }

    /// A block, or what cannot be told from one: a name that does not exist, a type it has not, a refusal.
    pub fn is_block(&self, said: &Said) -> bool {
        let negative = match said.rcode {
            rcode::NXDOMAIN => true,
            rcode::NOERROR => said.records.is_empty() && !said.truncated,
            rcode::REFUSED => !said.is_prohibited(),
            _ => false,
        };
        self.is_plainly_block(said) || (negative && !said.bare)
    }

    /// All addresses in it are sinkholes, and there is one at least.
    fn is_sinkholed(&self, said: &Said) -> bool {
        let mut data = said.records.iter().filter(|record| record.rtype != rtype::CNAME).peekable();
        let sinkhole = |record: &Rec| {
            record.address().is_some_and(|address| address.is_unspecified() || self.sinkholes.contains(&address))
        };
        said.rcode == rcode::NOERROR && data.peek().is_some() && data.all(sinkhole)
    }
}

impl Said {
    /// Reads the answer to `question` (name, type and class on the wire).
    pub fn read(answer: &[u8], question: &[u8]) -> Result<Self, Unread> {
        let word = |at: usize| Some(u16::from_be_bytes([*answer.get(at)?, *answer.get(at + 1)?]));
        let (Some(flags), Some(questions)) = (word(2), word(4)) else { return Err(Unread::Foreign) };
        if flags & flag::QR == 0 || answer.len() < HEADER {
            return Err(Unread::Foreign);
        }
        let code = flags & 0xf;
        if questions == 0 && answer.len() == HEADER && !matches!(code, rcode::NOERROR | rcode::NXDOMAIN) {
            return Ok(Self { rcode: code, bare: true, ..Self::default() });
        }
        let theirs = answer.get(HEADER..HEADER + question.len()).filter(|_| questions == 1);
        if !theirs.is_some_and(|theirs| same_question(theirs, question)) {
            return Err(Unread::Foreign);
        }
        let mut scratch = Vec::new();
        let (theirs, parts) = wire::take_apart(answer, &mut scratch).map_err(|_| Unread::Malformed)?;
        if theirs.len() != question.len() {
            return Err(Unread::Foreign);
        }
        let mut ours = false;
        let seen = parts.visit(|record| {
            ours |= record.section == 1 && record.rtype == rtype::SOA && is_ours(record.rdata);
        });
        seen.ok_or(Unread::Malformed)?;
        Ok(Self {
            rcode: parts.rcode,
            truncated: parts.flags & flag::TC != 0,
            records: answers(answer).ok_or(Unread::Malformed)?,
            errors: errors(parts.errors),
            ours,
            bare: false,
        })
    }

    /// The server does not serve this client.
    pub fn is_prohibited(&self) -> bool {
        self.rcode == rcode::REFUSED && self.errors.iter().any(|&(code, _)| code == PROHIBITED)
    }

    /// `said` is this answer, but for TTLs and texts; `more` records may follow the CNAME.
    fn is_met_by(&self, said: &Self, more: bool) -> bool {
        let has = |code: u16| said.errors.iter().any(|&(theirs, _)| theirs == code);
        let records = if more {
            !self.records.is_empty() && self.records.iter().all(|record| said.records.contains(record))
        } else {
            self.records == said.records
        };
        let flags = self.rcode == said.rcode && self.truncated == said.truncated && !said.bare;
        flags && records && self.errors.iter().all(|&(code, _)| has(code)) && (said.ours || !self.ours)
    }
}

impl Rec {
    /// Of an address record.
    fn address(&self) -> Option<IpAddr> {
        match self.rtype {
            rtype::A => <[u8; 4]>::try_from(&self.rdata[..]).ok().map(IpAddr::from),
            rtype::AAAA => <[u8; 16]>::try_from(&self.rdata[..]).ok().map(IpAddr::from),
            _ => None,
        }
    }
}

/// Rdata of an SOA that begins with our MNAME, in whatever case (RFC 4343).
fn is_ours(rdata: &[u8]) -> bool {
    rdata.get(..OUR_MNAME.len()).is_some_and(|mname| mname.eq_ignore_ascii_case(OUR_MNAME))
}

/// Names without case, type and class exactly.
fn same_question(theirs: &[u8], ours: &[u8]) -> bool {
    match (theirs.split_last_chunk::<4>(), ours.split_last_chunk::<4>()) {
        (Some((name, rest)), Some((our_name, our_rest))) => rest == our_rest && name.eq_ignore_ascii_case(our_name),
        _ => false,
    }
}

/// The answer section, every name in full.
fn answers(answer: &[u8]) -> Option<Vec<Rec>> {
    let mut body = Vec::new();
    let count = wire::answers_in_full(answer, &mut body)?;
    let additional = body.len();
    let parts = Records { flags: 0, rcode: 0, counts: [count, 0, 0], body: &body, additional, errors: &[] };
    let mut records = Vec::new();
    let mut start = 0;
    parts.visit(|seen| {
        // Before the TTL stand type and class, before these the owner.
        let owner = body.get(start..seen.ttl_at.saturating_sub(4)).unwrap_or_default().to_vec();
        start = seen.ttl_at + 6 + seen.rdata.len();
        let data = seen.rtype != rtype::CNAME;
        records.push(Rec { data, owner, rtype: seen.rtype, rdata: seen.rdata.to_vec() });
    })?;
    records.sort_unstable();
    Some(records)
}

/// Codes and texts of whole EDE options.
fn errors(mut options: &[u8]) -> Vec<(u16, String)> {
    let mut found = Vec::new();
    while let Some((&[c0, c1, l0, l1], rest)) = options.split_first_chunk::<4>() {
        let Some((data, rest)) = rest.split_at_checked(usize::from(u16::from_be_bytes([l0, l1]))) else { break };
        if u16::from_be_bytes([c0, c1]) == option::EDE
            && let Some((code, text)) = data.split_first_chunk()
        {
            found.push((u16::from_be_bytes(*code), String::from_utf8_lossy(text).into_owned()));
        }
        options = rest;
    }
    found
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&rcode_name(self.rcode))?;
        if self.truncated {
            f.write_str(" truncated")?;
        }
        for record in self.records.iter().take(SHOWN) {
            write!(f, " {record}")?;
        }
        match self.records.len() {
            0 => f.write_str(" without records")?,
            more if more > SHOWN => write!(f, " and {} more", more - SHOWN)?,
            _ => {}
        }
        for (code, text) in self.errors.iter().take(SHOWN) {
            write!(f, ", extended error {code}")?;
            if !text.is_empty() {
                write!(f, " ({})", text.chars().take(TEXT_SHOWN).collect::<String>())?;
            }
        }
        if self.ours { f.write_str(", SOA of qalqan") } else { Ok(()) }
    }
}

impl fmt::Display for Rec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&type_name(self.rtype))?;
        f.write_str(" ")?;
        match self.address() {
            Some(address) => address.fmt(f),
            None if self.rtype == rtype::CNAME => show(&self.rdata, f),
            None => write!(f, "({} octets)", self.rdata.len()),
        }
    }
}

impl fmt::Display for Expect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(said) => said.fmt(f),
            Self::Chased(said) => write!(f, "{said} and what it leads to"),
            Self::Silence => f.write_str("no answer"),
            Self::Block => f.write_str("any block"),
        }
    }
}

#[cfg(test)]
mod tests;
