//! The records of an answer, taken out of one message and put into another.

use super::relay::RelayError;
use super::walk::{Record, read_name, record, skip_name};
use super::{Ede, HEADER, Opt, Query, Writer, flag, option, rtype, u16_at};
use crate::name::NameBuf;

/// What an answer says, without its header, question and OPT: what can be put behind another question of the same length.
#[derive(Clone, Copy, Debug)]
pub struct Records<'a> {
    /// AA, AD and TC as they stood in the header.
    pub flags: u16,
    /// Response code, extended bits included.
    pub rcode: u16,
    /// Records a section: answer, authority, additional.
    pub counts: [u16; 3],
    /// The records; their compression pointers hold behind a question of the same length.
    pub body: &'a [u8],
    /// Where in `body` the additional section starts.
    pub additional: usize,
    /// Extended errors: whole EDNS options.
    pub errors: &'a [u8],
}

/// One record of [`Records`], by its places in the body.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// 0 answer, 1 authority, 2 additional.
    pub section: usize,
    /// RR type.
    pub rtype: u16,
    /// The TTL field.
    pub ttl: u32,
    /// Where the TTL field is.
    pub ttl_at: usize,
    /// Its data, names in it perhaps compressed.
    pub rdata: &'a [u8],
}

/// Where [`Records::write`] has put things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// Octets of the message.
    pub len: usize,
    /// Where the body starts.
    pub body: usize,
    /// How many octets of the body are there.
    pub kept: usize,
}

impl Records<'_> {
    /// Writes them as the answer to `query`, which stands in `message`.
    ///
    /// When they are too many for `limit`, the additional section goes first, then everything, with TC set. `ede` comes
    /// before the errors they bring themselves.
    pub fn write(&self, message: &[u8], query: &Query, limit: usize, ede: Option<Ede<'_>>, out: &mut [u8]) -> Written {
        let mut writer = Writer::new(message, query, self.rcode, limit, out);
        let kept = if query.wants_ad() { flag::AA | flag::AD } else { flag::AA };
        writer.set_flags(self.flags & kept);
        if self.flags & flag::TC != 0 {
            writer.truncate();
        }
        let [answers, authorities, _] = self.counts;
        let (bytes, counts) = if self.body.len() <= writer.room() {
            (self.body, self.counts)
        } else {
            (&self.body[..self.additional.min(self.body.len())], [answers, authorities, 0])
        };
        let kept = if writer.records(bytes, counts) { bytes.len() } else { 0 };
        let len = writer.finish(Opt { ede, passed: self.errors });
        Written { len, body: query.question_end, kept }
    }

    /// Shows every record in order. `None` if they are malformed.
    pub fn visit(&self, mut visit: impl FnMut(Seen<'_>)) -> Option<()> {
        let mut at = 0;
        for (section, count) in self.counts.into_iter().enumerate() {
            for _ in 0..count {
                let Record { rtype, ttl, rdata, end, .. } = record(self.body, at)?;
                visit(Seen { section, rtype, ttl, ttl_at: rdata - 6, rdata: self.body.get(rdata..end)? });
                at = end;
            }
        }
        (at == self.body.len()).then_some(())
    }
}

/// What the header and the OPT of an answer say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Glance {
    /// Response code, extended bits included.
    pub rcode: u16,
    /// TC: it was cut.
    pub truncated: bool,
    /// It has an OPT.
    pub edns: bool,
}

/// Walks through an answer once. `None` if it is malformed.
pub fn glance(answer: &[u8]) -> Option<Glance> {
    let parts = parts(answer).ok()?;
    let extended = parts.opt.map_or(0, |opt| (opt.ttl >> 24) as u16) << 4;
    Some(Glance {
        rcode: (parts.flags & 0xf) | extended,
        truncated: parts.flags & flag::TC != 0,
        edns: parts.opt.is_some(),
    })
}

/// Takes an answer apart: its question (name, type and class as on the wire), and its records, for which `scratch`
/// lends room.
///
/// # Errors
/// See [`RelayError`]: it is malformed, or has not exactly one question.
pub fn take_apart<'a>(answer: &'a [u8], scratch: &'a mut Vec<u8>) -> Result<(&'a [u8], Records<'a>), RelayError> {
    let parts = parts(answer)?;
    let extended = parts.opt.map_or(0, |opt| (opt.ttl >> 24) as u16) << 4;
    let [answers, authorities, additionals] = parts.counts;
    scratch.clear();
    // `None`: the body is in `scratch`.
    let body = match parts.opt {
        None => Some(&answer[parts.question_end..parts.end]),
        Some(opt) if opt.end == parts.end => Some(&answer[parts.question_end..opt.start]),
        Some(opt) => {
            scratch.extend_from_slice(&answer[parts.question_end..opt.start]);
            unpack(answer, opt.end, parts.end, scratch)?;
            None
        }
    };
    let errors_at = scratch.len();
    if let Some(opt) = parts.opt {
        extended_errors(answer, opt, scratch);
    }
    let (unpacked, errors) = scratch.split_at(errors_at);
    let records = Records {
        flags: parts.flags & (flag::AA | flag::AD | flag::TC),
        rcode: (parts.flags & 0xf) | extended,
        counts: [answers, authorities, additionals - u16::from(parts.opt.is_some())],
        body: body.unwrap_or(unpacked),
        additional: parts.additional - parts.question_end,
        errors,
    };
    Ok((&answer[HEADER..parts.question_end], records))
}

/// Appends the answer section of `answer` to `out`, every name in full, and gives the number of records.
/// `None` if it is malformed.
pub fn answers_in_full(answer: &[u8], out: &mut Vec<u8>) -> Option<u16> {
    let parts = parts(answer).ok()?;
    let mut end = parts.question_end;
    for _ in 0..parts.counts[0] {
        end = record(answer, end)?.end;
    }
    unpack(answer, parts.question_end, end, out).ok()?;
    Some(parts.counts[0])
}

/// The places of a message's sections.
struct Parts {
    flags: u16,
    counts: [u16; 3],
    question_end: usize,
    additional: usize,
    end: usize,
    opt: Option<Record>,
}

/// Walks the whole message once.
fn parts(answer: &[u8]) -> Result<Parts, RelayError> {
    let word = |at| u16_at(answer, at).ok_or(RelayError::Malformed);
    let (flags, questions) = (word(2)?, word(4)?);
    let counts = [word(6)?, word(8)?, word(10)?];
    if flags & flag::QR == 0 {
        return Err(RelayError::Malformed);
    }
    if questions != 1 {
        return Err(RelayError::WrongQuestion);
    }
    let question_end = skip_name(answer, HEADER).ok_or(RelayError::Malformed)? + 4;
    let mut at = question_end;
    let mut additional = question_end;
    let mut opt = None;
    for (section, count) in counts.into_iter().enumerate() {
        if section == 2 {
            additional = at;
        }
        for _ in 0..count {
            let record = record(answer, at).ok_or(RelayError::Malformed)?;
            if record.rtype == rtype::OPT && (section != 2 || opt.replace(record).is_some()) {
                return Err(RelayError::Malformed);
            }
            at = record.end;
        }
    }
    if question_end > answer.len() {
        return Err(RelayError::Malformed);
    }
    Ok(Parts { flags, counts, question_end, additional, end: at, opt })
}

/// Copies the records between `at` and `end` with every name in full: they stood behind an OPT that
/// is taken out, so pointers among them would no longer hold. Only the types of RFC 1035 and
/// 1183..2535 may have compressed rdata (RFC 3597 section 4).
fn unpack(answer: &[u8], mut at: usize, end: usize, out: &mut Vec<u8>) -> Result<(), RelayError> {
    let mut name = NameBuf::new();
    while at < end {
        let record = record(answer, at).ok_or(RelayError::Malformed)?;
        read_name(answer, record.start, &mut name).ok_or(RelayError::Malformed)?;
        out.extend_from_slice(name.wire());
        out.extend_from_slice(&answer[record.rdata - 10..record.rdata - 2]);
        let length_at = out.len();
        out.extend_from_slice(&[0, 0]);
        let (lead, names) = match record.rtype {
            2..=5 | 7..=9 | 12 | 39 => (0, 1),
            6 | 14 | 17 => (0, 2),
            15 | 18 | 21 | 36 => (2, 1),
            26 => (2, 2),
            33 => (6, 1),
            _ => (0, 0),
        };
        let mut from = record.rdata;
        let fixed = answer.get(from..(from + lead).min(record.end)).ok_or(RelayError::Malformed)?;
        out.extend_from_slice(fixed);
        from += fixed.len();
        for _ in 0..names {
            from = read_name(answer, from, &mut name).ok_or(RelayError::Malformed)?;
            out.extend_from_slice(name.wire());
        }
        out.extend_from_slice(answer.get(from..record.end).ok_or(RelayError::Malformed)?);
        let length = u16::try_from(out.len() - length_at - 2).map_err(|_| RelayError::Malformed)?;
        out[length_at..length_at + 2].copy_from_slice(&length.to_be_bytes());
        at = record.end;
    }
    Ok(())
}

/// Octets of extended errors that are passed on at most.
const MAX_ERRORS: usize = 512;

/// Appends the EDE options of an OPT, whole, as far as they fit.
fn extended_errors(answer: &[u8], opt: Record, out: &mut Vec<u8>) {
    let mut room = MAX_ERRORS;
    let mut at = opt.rdata;
    while let (Some(code), Some(size)) = (u16_at(answer, at), u16_at(answer, at + 2)) {
        let end = at + 4 + usize::from(size);
        if end > opt.end {
            break;
        }
        if code == option::EDE && end - at <= room {
            out.extend_from_slice(&answer[at..end]);
            room -= end - at;
        }
        at = end;
    }
}
