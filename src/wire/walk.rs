//! Walking through messages: names with compression, records, the names an answer leads to.

use super::{HEADER, rtype, u16_at};
use crate::name::{MAX_LABEL, MAX_WIRE, NameBuf};

/// Where the name at `at` ends in the message (its pointer, if it has one, not followed).
pub(super) fn skip_name(message: &[u8], mut at: usize) -> Option<usize> {
    let mut octets = 0;
    loop {
        let len = usize::from(*message.get(at)?);
        match len {
            0 => return Some(at + 1),
            1..=MAX_LABEL => {
                at += 1 + len;
                octets += 1 + len;
                if octets >= MAX_WIRE {
                    return None;
                }
            }
            0xc0..=0xff => return (at + 2 <= message.len()).then_some(at + 2),
            _ => return None,
        }
    }
}

/// Reads the name at `at`, following compression pointers, which must lead backwards
/// (RFC 1035 section 4.1.4: to a prior occurrence); so every loop ends. Gives where it ends.
pub(super) fn read_name(message: &[u8], at: usize, into: &mut NameBuf) -> Option<usize> {
    into.clear();
    let mut end = None;
    let mut here = at;
    let mut lowest = at;
    loop {
        let len = usize::from(*message.get(here)?);
        match len {
            0 => return Some(end.unwrap_or(here + 1)),
            1..=MAX_LABEL => {
                into.push_label(message.get(here + 1..here + 1 + len)?).ok()?;
                here += 1 + len;
            }
            0xc0..=0xff => {
                let target = usize::from(u16_at(message, here)? & 0x3fff);
                end.get_or_insert(here + 2);
                if target >= lowest || target < HEADER {
                    return None;
                }
                lowest = target;
                here = target;
            }
            _ => return None,
        }
    }
}

/// One resource record, by its places in the message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record {
    /// Where its owner starts.
    pub start: usize,
    /// RR type.
    pub rtype: u16,
    /// The class field (payload size in an OPT).
    pub class: u16,
    /// The TTL field.
    pub ttl: u32,
    /// Where its rdata starts.
    pub rdata: usize,
    /// Where the record ends.
    pub end: usize,
}

/// Reads the record at `at` without looking into its rdata.
pub(super) fn record(message: &[u8], at: usize) -> Option<Record> {
    let fixed = skip_name(message, at)?;
    let rtype = u16_at(message, fixed)?;
    let class = u16_at(message, fixed + 2)?;
    let ttl = u32::from(u16_at(message, fixed + 4)?) << 16 | u32::from(u16_at(message, fixed + 6)?);
    let rdata = fixed + 10;
    let end = rdata + usize::from(u16_at(message, fixed + 8)?);
    (end <= message.len()).then_some(Record { start: at, rtype, class, ttl, rdata, end })
}

/// Gets each name an answer leads to; `true` stops the walk.
pub type TargetVisitor<'a> = &'a mut dyn FnMut(&NameBuf) -> bool;

/// Shows `visit` every CNAME, DNAME, HTTPS and SVCB target name in the answer section.
/// `None` if the message is malformed; what stands before the fault has been shown by then.
pub fn targets(message: &[u8], visit: TargetVisitor<'_>) -> Option<()> {
    if u16_at(message, 4)? != 1 {
        return None;
    }
    let answers = u16_at(message, 6)?;
    let mut at = skip_name(message, HEADER)? + 4;
    let mut name = NameBuf::new();
    for _ in 0..answers {
        let record = record(message, at)?;
        let place = match record.rtype {
            rtype::CNAME | rtype::DNAME => Some(record.rdata),
            rtype::HTTPS | rtype::SVCB => Some(record.rdata + 2),
            _ => None,
        };
        if let Some(place) = place {
            if read_name(message, place, &mut name)? > record.end {
                return None;
            }
            // An SVCB target of "." means the owner (RFC 9460 section 2.5), which was checked before.
            if name.label_count() > 0 && visit(&name) {
                return Some(());
            }
        }
        at = record.end;
    }
    Some(())
}
