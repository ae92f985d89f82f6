//! An upstream's answer becomes ours: its records as they came, our header, question and OPT.

use std::fmt;

use super::walk::{Record, read_name, record, skip_name};
use super::{HEADER, Opt, Query, Writer, flag, option, rtype, u16_at};
use crate::name::NameBuf;

/// Why an upstream's answer cannot be passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RelayError {
    /// It ends early, or a name or record in it is broken.
    Malformed,
    /// It answers another question.
    WrongQuestion,
}

impl fmt::Display for RelayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "the upstream's answer is malformed",
            Self::WrongQuestion => "the upstream answered another question",
        })
    }
}

impl std::error::Error for RelayError {}

/// What a relayed answer was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Relay {
    /// Octets written.
    pub len: usize,
    /// Response code without the extended bits.
    pub rcode: u8,
}

/// Writes `answer` (an upstream's, or a local zone's) as the answer to `query`, which stands in `message`.
///
/// Records, their order, RCODE and AA/AD go through as they came (AD only to clients that know it);
/// extended errors go on in our OPT. When it is too large for `limit`, the additional section goes
/// first, then everything, with TC set.
///
/// # Errors
/// See [`RelayError`].
pub fn relay(
    answer: &[u8],
    message: &[u8],
    query: &Query,
    limit: usize,
    out: &mut [u8],
    scratch: &mut Vec<u8>,
) -> Result<Relay, RelayError> {
    let parts = parts(answer)?;
    let theirs = answer.get(HEADER..parts.question_end).ok_or(RelayError::Malformed)?;
    let ours = message.get(HEADER..query.question_end).ok_or(RelayError::Malformed)?;
    if !same_question(theirs, ours) {
        return Err(RelayError::WrongQuestion);
    }
    let extended = parts.opt.map_or(0, |opt| (opt.ttl >> 24) as u16) << 4;
    let rcode = (parts.flags & 0xf) | extended;
    let mut writer = Writer::new(message, query, rcode, limit, out);
    let kept = if query.wants_ad() { flag::AA | flag::AD } else { flag::AA };
    writer.set_flags(parts.flags & kept);
    if parts.flags & flag::TC != 0 {
        writer.truncate();
    }
    // The question is as long as theirs, so their compression pointers hold in our message.
    let [answers, authorities, additionals] = parts.counts;
    scratch.clear();
    let (body, count) = match parts.opt {
        None => (&answer[parts.question_end..parts.end], additionals),
        Some(opt) if opt.end == parts.end => (&answer[parts.question_end..opt.start], additionals - 1),
        Some(opt) => {
            scratch.extend_from_slice(&answer[parts.question_end..opt.start]);
            unpack(answer, opt.end, parts.end, scratch)?;
            (scratch.as_slice(), additionals - 1)
        }
    };
    if body.len() <= writer.room() {
        writer.records(body, [answers, authorities, count]);
    } else {
        writer.records(&answer[parts.question_end..parts.additional], [answers, authorities, 0]);
    }
    let mut errors = [0; 512];
    let passed = match parts.opt {
        Some(opt) => extended_errors(answer, opt, &mut errors),
        None => 0,
    };
    let len = writer.finish(Opt { ede: None, passed: &errors[..passed] });
    Ok(Relay { len, rcode: (parts.flags & 0xf) as u8 })
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

/// Names without case, type and class (the last four octets) exactly.
fn same_question(theirs: &[u8], ours: &[u8]) -> bool {
    match (theirs.split_last_chunk::<4>(), ours.split_last_chunk::<4>()) {
        (Some((their_name, their_type)), Some((our_name, our_type))) => {
            their_type == our_type && their_name.eq_ignore_ascii_case(our_name)
        }
        _ => false,
    }
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

/// Copies the EDE options of an OPT, whole, as far as they fit.
fn extended_errors(answer: &[u8], opt: Record, out: &mut [u8; 512]) -> usize {
    let mut len = 0;
    let mut at = opt.rdata;
    while let (Some(code), Some(size)) = (u16_at(answer, at), u16_at(answer, at + 2)) {
        let end = at + 4 + usize::from(size);
        if end > opt.end {
            break;
        }
        if code == option::EDE && len + (end - at) <= out.len() {
            out[len..len + (end - at)].copy_from_slice(&answer[at..end]);
            len += end - at;
        }
        at = end;
    }
    len
}

#[cfg(test)]
mod tests;
