//! Answers, written in place.

use super::{CLASS_IN, Edns, HEADER, Query, UDP_EDNS, flag, option, rtype};

/// Padded answers are a multiple of so many octets (RFC 8467 section 4.1).
const BLOCK: usize = 468;
/// The fixed part of an OPT.
const OPT: usize = 11;

/// Where a record goes; sections are written in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Section {
    /// Records that answer.
    Answer,
    /// The SOA of a negative answer.
    Authority,
}

/// The owner of a record.
#[derive(Clone, Copy, Debug)]
pub enum Owner<'a> {
    /// The question's name without this many octets on its left, as a compression pointer.
    Question(usize),
    /// Any other name: uncompressed wire bytes.
    Name(&'a [u8]),
}

/// An Extended DNS Error (RFC 8914).
#[derive(Clone, Copy, Debug)]
pub struct Ede<'a> {
    /// INFO-CODE.
    pub code: u16,
    /// EXTRA-TEXT in UTF-8; left out if it doesn't fit.
    pub text: &'a [u8],
}

/// What goes into our OPT record.
#[derive(Clone, Copy, Debug, Default)]
pub struct Opt<'a> {
    /// Our error, if there is one to tell.
    pub ede: Option<Ede<'a>>,
    /// Options of somebody else's OPT to pass on, whole, as they stood on the wire.
    pub passed: &'a [u8],
}

/// An answer under way. Records that no longer fit turn it into a truncated one (RFC 2181 section 9).
#[derive(Debug)]
pub struct Writer<'a> {
    out: &'a mut [u8],
    at: usize,
    limit: usize,
    question_end: usize,
    counts: [u16; 3],
    rcode: u16,
    edns: Option<Edns>,
    full: bool,
}

impl<'a> Writer<'a> {
    /// Starts an answer to `query` (which `message` holds) with id, opcode, RD, CD and the question
    /// as it came, RA set, AA and AD clear; `limit` is in octets and cut to what `out` holds.
    ///
    /// `out` must hold the question and an OPT, which 512 octets always do.
    pub fn new(message: &[u8], query: &Query, rcode: u16, limit: usize, out: &'a mut [u8]) -> Self {
        let limit = limit.min(out.len());
        let end = query.question_end.min(message.len());
        out[..end].copy_from_slice(&message[..end]);
        let kept = flag::OPCODE | flag::RD | flag::CD;
        let flags = flag::QR | flag::RA | (query.flags & kept) | (rcode & 0xf);
        out[2..4].copy_from_slice(&flags.to_be_bytes());
        out[4..HEADER].fill(0);
        out[5] = u8::from(end > HEADER);
        let edns = query.edns;
        // Room for the OPT that closes the answer, and what others will put there.
        let kept = edns.map_or(0, |edns| OPT + usize::from(edns.reserve));
        let limit = limit.saturating_sub(kept);
        Self { out, at: end, limit, question_end: end, counts: [0; 3], rcode, edns, full: false }
    }

    /// Adds a class IN record; `false` if it no longer fits, which truncates the answer.
    pub fn record(&mut self, section: Section, owner: Owner<'_>, rtype: u16, ttl: u32, rdata: &[&[u8]]) -> bool {
        let owner_len = match owner {
            Owner::Question(_) => 2,
            Owner::Name(name) => name.len(),
        };
        let rdata_len: usize = rdata.iter().map(|part| part.len()).sum();
        let Ok(rdlength) = u16::try_from(rdata_len) else { return self.overflow() };
        if self.full || self.at + owner_len + 10 + rdata_len > self.limit {
            return self.overflow();
        }
        match owner {
            Owner::Question(skip) => self.put(&(0xc000 | (HEADER + skip) as u16).to_be_bytes()),
            Owner::Name(name) => self.put(name),
        }
        self.put(&rtype.to_be_bytes());
        self.put(&CLASS_IN.to_be_bytes());
        self.put(&ttl.to_be_bytes());
        self.put(&rdlength.to_be_bytes());
        for part in rdata {
            self.put(part);
        }
        self.counts[section as usize] += 1;
        true
    }

    /// Adds records that are on the wire already, with names in full or laid out for this very place
    /// behind the question, and their counts a section. `false` if they no longer fit, which truncates the answer.
    pub fn records(&mut self, bytes: &[u8], counts: [u16; 3]) -> bool {
        if self.full || self.at + bytes.len() > self.limit {
            return self.overflow();
        }
        self.put(bytes);
        for (mine, theirs) in self.counts.iter_mut().zip(counts) {
            *mine = mine.saturating_add(theirs);
        }
        true
    }

    /// How many octets may still come before the limit.
    pub(super) fn room(&self) -> usize {
        self.limit.saturating_sub(self.at)
    }

    /// Sets header flags beside those [`Self::new`] sets.
    pub fn set_flags(&mut self, bits: u16) {
        let flags = u16::from_be_bytes([self.out[2], self.out[3]]) | bits;
        self.out[2..4].copy_from_slice(&flags.to_be_bytes());
    }

    /// Makes the answer an empty, truncated one: ask again over TCP.
    pub fn truncate(&mut self) {
        self.overflow();
    }

    /// Closes the answer, with an OPT if the query had one, and gives its length.
    pub fn finish(mut self, opt: Opt<'_>) -> usize {
        if self.full {
            self.at = self.question_end;
            self.counts = [0; 3];
            self.set_flags(flag::TC);
        }
        if let Some(edns) = self.edns {
            self.opt(edns, opt);
            self.counts[2] += 1;
        }
        for (index, count) in self.counts.into_iter().enumerate() {
            let at = 6 + 2 * index;
            self.out[at..at + 2].copy_from_slice(&count.to_be_bytes());
        }
        self.at
    }

    /// The OPT record (RFC 6891 section 6.1.2); `limit` has kept room for its fixed part and for what is reserved.
    fn opt(&mut self, edns: Edns, opt: Opt<'_>) {
        self.limit = (self.limit + OPT).min(self.out.len());
        self.put(&[0]);
        self.put(&rtype::OPT.to_be_bytes());
        self.put(&(UDP_EDNS as u16).to_be_bytes());
        self.put(&[(self.rcode >> 4) as u8, 0, if edns.dnssec_ok { 0x80 } else { 0 }, 0]);
        let length_at = self.at;
        self.put(&[0, 0]);
        if let Some(ede) = opt.ede {
            let text = if self.at + 6 + ede.text.len() <= self.limit { ede.text } else { &[] };
            if self.at + 6 + text.len() <= self.limit {
                self.put(&option::EDE.to_be_bytes());
                self.put(&(2 + text.len() as u16).to_be_bytes());
                self.put(&ede.code.to_be_bytes());
                self.put(text);
            }
        }
        if self.at + opt.passed.len() <= self.limit {
            self.put(opt.passed);
        }
        if edns.pad {
            self.pad(usize::from(edns.reserve));
        }
        self.zeros(usize::from(edns.reserve));
        let length = (self.at - length_at - 2) as u16;
        self.out[length_at..length_at + 2].copy_from_slice(&length.to_be_bytes());
    }

    /// A Padding option (RFC 7830) that makes a whole block of an answer to which so many octets will still come.
    #[cold]
    fn pad(&mut self, reserve: usize) {
        let plain = self.at + 4 + reserve;
        let limit = self.limit + reserve;
        if plain <= limit {
            let padding = plain.next_multiple_of(BLOCK).min(limit) - plain;
            self.put(&option::PADDING.to_be_bytes());
            self.put(&(padding as u16).to_be_bytes());
            self.zeros(padding);
        }
    }

    /// Appends so many zeros, which are known to fit.
    fn zeros(&mut self, count: usize) {
        self.out[self.at..self.at + count].fill(0);
        self.at += count;
    }

    /// Appends bytes that are known to fit.
    fn put(&mut self, bytes: &[u8]) {
        self.out[self.at..self.at + bytes.len()].copy_from_slice(bytes);
        self.at += bytes.len();
    }

    /// Something did not fit.
    fn overflow(&mut self) -> bool {
        self.full = true;
        false
    }
}

/// A query of ours for local zones: id 0, RD, one question of class IN.
pub fn question(name: &[u8], qtype: u16) -> Vec<u8> {
    let mut message = vec![0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    message.extend_from_slice(name);
    message.extend_from_slice(&qtype.to_be_bytes());
    message.extend_from_slice(&CLASS_IN.to_be_bytes());
    message
}
