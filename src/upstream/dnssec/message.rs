//! An answer taken apart into sets of records of one name and type, each with its signatures.
//!
//! Read from the octets, not through a parser of record data: what is verified are the octets that were signed, whatever
//! type they are of.

use std::ops::Range;

use crate::name::{self, MAX_LABEL, MAX_WIRE, Name};
use crate::wire::{HEADER, flag, rtype};

/// Sets a message may have; more are no answer to anything.
const MAX_SETS: usize = 256;
/// Signatures kept of one set; those behind are not looked at (CVE-2023-50387).
const MAX_SIGNATURES: usize = 8;

/// A whole message.
#[derive(Debug)]
pub struct Message {
    /// Lower four bits of the response code.
    pub rcode: u16,
    /// Answer, authority, additional (without OPT).
    pub sections: [Vec<Set>; 3],
    /// Where the question section ends.
    pub question_end: usize,
    /// RRSIG, NSEC or NSEC3 are among the records.
    pub has_proofs: bool,
    /// Where the OPT stands, if there is one.
    pub opt: Option<Range<usize>>,
}

/// All records of one owner and type in one section.
#[derive(Debug)]
pub struct Set {
    /// In lower case.
    pub owner: Name,
    /// As it came.
    pub shown: Box<[u8]>,
    /// RR type.
    pub rtype: u16,
    /// RR class.
    pub class: u16,
    /// The least of its records.
    pub ttl: u32,
    /// Data of the records, names in full and as they came.
    pub data: Vec<Vec<u8>>,
    /// What signs it.
    pub signatures: Vec<Signature>,
}

/// An RRSIG (RFC 4034 section 3.1).
#[derive(Clone, Debug)]
pub struct Signature {
    /// Everything before the signature, the signer in lower case: what is signed begins with it.
    pub head: Vec<u8>,
    /// The signature.
    pub signature: Vec<u8>,
    /// The zone that signs.
    pub signer: Name,
}

impl Signature {
    /// The algorithm's number.
    pub fn algorithm(&self) -> u8 {
        self.head.get(2).copied().unwrap_or_default()
    }

    /// Labels of the owner as it was signed: fewer than the owner has if a wildcard stood for it.
    pub fn labels(&self) -> usize {
        usize::from(self.head.get(3).copied().unwrap_or_default())
    }

    /// The TTL the records had when they were signed.
    pub fn original_ttl(&self) -> u32 {
        self.word(4)
    }

    /// Until when it holds.
    pub fn expires(&self) -> u32 {
        self.word(8)
    }

    /// Since when it holds.
    pub fn begins(&self) -> u32 {
        self.word(12)
    }

    /// Which key made it.
    pub fn tag(&self) -> u16 {
        (self.word(14) & 0xffff) as u16
    }

    /// Four octets at `at`.
    fn word(&self, at: usize) -> u32 {
        let four = self.head.get(at..).and_then(|rest| rest.first_chunk::<4>());
        four.map_or(0, |four| u32::from_be_bytes(*four))
    }
}

impl Message {
    /// Takes an answer apart. `None` if it is malformed, cut, or has more sets than an answer can use.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let header: &[u8; HEADER] = bytes.first_chunk()?;
        let word = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
        if word(4) != 1 || word(2) & flag::TC != 0 {
            return None;
        }
        let question_end = expand(bytes, HEADER, bytes.len(), &mut Vec::new())? + 4;
        let mut message = Self {
            rcode: word(2) & 0xf,
            sections: [const { Vec::new() }; 3],
            question_end,
            has_proofs: false,
            opt: None,
        };
        let mut at = question_end;
        let mut left = MAX_SETS;
        for (section, count) in [word(6), word(8), word(10)].into_iter().enumerate() {
            let mut signatures: Vec<(Name, u16, Signature)> = Vec::new();
            let sets = message.sections.get_mut(section)?;
            for _ in 0..count {
                let record = Record::read(bytes, at)?;
                let begin = at;
                at = record.end;
                message.has_proofs |= is_proof(record.rtype);
                match record.rtype {
                    // Its owner is the root, and there it has its place (RFC 6891 section 6.1).
                    rtype::OPT if section == 2 && bytes.get(begin) == Some(&0) => message.opt = Some(begin..at),
                    rtype::OPT => {}
                    rtype::RRSIG => {
                        let (covered, signature) = record.signature()?;
                        signatures.push((record.lower()?, covered, signature));
                    }
                    _ => record.join(sets, &mut left)?,
                }
            }
            for (owner, covered, signature) in signatures {
                let known = sets.iter_mut().find(|set| set.rtype == covered && set.owner == owner);
                if let Some(set) = known.filter(|set| set.signatures.len() < MAX_SIGNATURES) {
                    set.signatures.push(signature);
                }
            }
        }
        (at <= bytes.len()).then_some(message)
    }

    /// The set of the answer section with this owner and type.
    pub fn answer(&self, owner: &Name, rtype: u16) -> Option<&Set> {
        self.sections[0].iter().find(|set| set.rtype == rtype && set.owner == *owner)
    }

    /// The sets of the authority section.
    pub fn authority(&self) -> &[Set] {
        &self.sections[1]
    }
}

impl Set {
    /// Labels of the owner, a leading `*` not counted (RFC 4034 section 3.1.3).
    pub fn labels(&self) -> usize {
        self.owner.labels().count() - usize::from(is_wildcard(&self.owner))
    }

    /// The name its only record leads to, if it is a CNAME or DNAME.
    pub fn target(&self) -> Option<Name> {
        match (self.rtype, self.data.as_slice()) {
            (rtype::CNAME | rtype::DNAME, [one]) => Name::from_wire(one),
            _ => None,
        }
    }
}

/// These prove something about other records; who has not set DO does not get them (RFC 4035 section 3.2.1).
pub fn is_proof(rtype: u16) -> bool {
    matches!(rtype, rtype::RRSIG | rtype::NSEC | rtype::NSEC3)
}

/// The name is `*` below something.
pub fn is_wildcard(name: &Name) -> bool {
    name.wire().starts_with(b"\x01*")
}

/// The last `count` labels of a name.
pub fn suffix(name: &Name, count: usize) -> Name {
    let mut wire = name.wire();
    let skip = name.labels().count().saturating_sub(count);
    for _ in 0..skip {
        wire = wire.split_first().and_then(|(len, rest)| rest.get(usize::from(*len)..)).unwrap_or_default();
    }
    Name::from_wire(wire).unwrap_or_else(Name::root)
}

/// One record where it stands.
struct Record<'a> {
    bytes: &'a [u8],
    owner: Vec<u8>,
    rtype: u16,
    class: u16,
    ttl: u32,
    data: usize,
    end: usize,
}

impl<'a> Record<'a> {
    /// The record at `at`.
    fn read(bytes: &'a [u8], at: usize) -> Option<Self> {
        let mut owner = Vec::new();
        let fixed = expand(bytes, at, bytes.len(), &mut owner)?;
        let field: &[u8; 10] = bytes.get(fixed..)?.first_chunk()?;
        let ttl = u32::from_be_bytes([field[4], field[5], field[6], field[7]]);
        let (data, len) = (fixed + 10, usize::from(u16::from_be_bytes([field[8], field[9]])));
        let end = data + len;
        (end <= bytes.len()).then_some(Self {
            bytes,
            owner,
            rtype: u16::from_be_bytes([field[0], field[1]]),
            class: u16::from_be_bytes([field[2], field[3]]),
            // RFC 2181 section 8: with the highest bit set it counts as zero.
            ttl: if ttl > i32::MAX as u32 { 0 } else { ttl },
            data,
            end,
        })
    }

    /// Its owner in lower case.
    fn lower(&self) -> Option<Name> {
        Name::from_wire(&self.owner)
    }

    /// Its data with names in full.
    fn full(&self) -> Option<Vec<u8>> {
        let mut out = Vec::with_capacity(self.end - self.data);
        let (lead, names) = names_in(self.rtype);
        let mut at = (self.data + lead).min(self.end);
        out.extend_from_slice(self.bytes.get(self.data..at)?);
        for _ in 0..names {
            at = expand(self.bytes, at, self.end, &mut out)?;
        }
        out.extend_from_slice(self.bytes.get(at..self.end)?);
        Some(out)
    }

    /// What an RRSIG says, and about which type.
    fn signature(&self) -> Option<(u16, Signature)> {
        let mut head = self.bytes.get(self.data..self.end)?.get(..18)?.to_vec();
        let covered = u16::from_be_bytes([*head.first()?, *head.get(1)?]);
        let mut signer = Vec::new();
        let at = expand(self.bytes, self.data + 18, self.end, &mut signer)?;
        let signer = Name::from_wire(&signer)?;
        head.extend_from_slice(signer.wire());
        let signature = self.bytes.get(at..self.end)?.to_vec();
        Some((covered, Signature { head, signature, signer }))
    }

    /// Adds it to the set it belongs to. `None` if there are too many.
    fn join(self, sets: &mut Vec<Set>, left: &mut usize) -> Option<()> {
        let (owner, data) = (self.lower()?, self.full()?);
        let known =
            sets.iter_mut().find(|set| set.rtype == self.rtype && set.class == self.class && set.owner == owner);
        match known {
            Some(set) => {
                set.ttl = set.ttl.min(self.ttl);
                set.data.push(data);
            }
            None => {
                *left = left.checked_sub(1)?;
                let shown = self.owner.into();
                let (rtype, class, ttl) = (self.rtype, self.class, self.ttl);
                sets.push(Set { owner, shown, rtype, class, ttl, data: vec![data], signatures: Vec::new() });
            }
        }
        Some(())
    }
}

/// Octets before the names in a record's data, and how many there are: the types whose names may be compressed, and those
/// whose names are signed in lower case (RFC 4034 section 6.2 as corrected by RFC 6840 section 5.1).
fn names_in(rtype: u16) -> (usize, usize) {
    match rtype {
        2..=5 | 7..=9 | 12 | 39 => (0, 1),
        6 | 14 | 17 => (0, 2),
        15 | 18 | 21 | 36 => (2, 1),
        26 => (2, 2),
        33 => (6, 1),
        _ => (0, 0),
    }
}

/// Data of a record as it is signed: names in lower case.
pub fn canonical(rtype: u16, data: &[u8]) -> Vec<u8> {
    let mut out = data.to_vec();
    let (lead, names) = names_in(rtype);
    let mut at = lead;
    for _ in 0..names {
        at = lower_name(&mut out, at);
    }
    // NAPTR: order, preference, three texts, then the name.
    if rtype == 35 {
        at = 4;
        for _ in 0..3 {
            at += 1 + usize::from(out.get(at).copied().unwrap_or_default());
        }
        lower_name(&mut out, at);
    }
    out
}

/// Lowers the letters of the uncompressed name at `at`; gives where it ends.
fn lower_name(data: &mut [u8], mut at: usize) -> usize {
    while let Some(&len) = data.get(at) {
        let end = at + 1 + usize::from(len);
        if len == 0 || usize::from(len) > MAX_LABEL || end > data.len() {
            return at + 1;
        }
        data[at + 1..end].make_ascii_lowercase();
        at = end;
    }
    at
}

/// Appends the name at `at` in full, case and all, and gives where it ends, which must not be behind `limit`. Pointers must
/// lead backwards, so every loop ends.
fn expand(bytes: &[u8], at: usize, limit: usize, out: &mut Vec<u8>) -> Option<usize> {
    let begin = out.len();
    let (mut here, mut lowest, mut end) = (at, at, None);
    loop {
        let len = usize::from(*bytes.get(here)?);
        match len {
            0 => {
                out.push(0);
                let end = end.unwrap_or(here + 1);
                return (out.len() - begin <= MAX_WIRE && end <= limit).then_some(end);
            }
            1..=MAX_LABEL => {
                out.extend_from_slice(bytes.get(here..here + 1 + len)?);
                here += 1 + len;
                if out.len() - begin >= MAX_WIRE {
                    return None;
                }
            }
            0xc0..=0xff => {
                let target = (len & 0x3f) << 8 | usize::from(*bytes.get(here + 1)?);
                end.get_or_insert(here + 2);
                if target >= lowest || target < HEADER {
                    return None;
                }
                (lowest, here) = (target, target);
            }
            _ => return None,
        }
    }
}

/// Names in the order of RFC 4034 section 6.1: by labels from the right.
pub fn order(a: &Name, b: &Name) -> std::cmp::Ordering {
    let labels = |name: &'_ Name| name::labels(name.wire()).map(<[u8]>::to_vec).collect::<Vec<_>>();
    labels(a).into_iter().rev().cmp(labels(b).into_iter().rev())
}
