//! An upstream's answer becomes ours: its records as they came, our header, question and OPT.

use std::fmt;

use super::records::take_apart;
use super::{HEADER, Query};

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
    let (theirs, records) = take_apart(answer, scratch)?;
    let ours = message.get(HEADER..query.question_end).ok_or(RelayError::Malformed)?;
    if !same_question(theirs, ours) {
        return Err(RelayError::WrongQuestion);
    }
    // The question is as long as theirs, so their compression pointers hold in our message.
    let written = records.write(message, query, limit, None, out);
    Ok(Relay { len: written.len, rcode: (records.rcode & 0xf) as u8 })
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

#[cfg(test)]
mod tests;
