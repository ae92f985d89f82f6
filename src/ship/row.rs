//! A hit as a row of `RowBinary`, ClickHouse's own way to write rows without names and quotes.

use std::collections::HashMap;
use std::sync::Arc;

use super::who::Who;
use crate::event::{Hit, Why};
use crate::hits::type_name;
use crate::name;

/// The columns in the order they are written, with their types.
pub(super) const COLUMNS: &str = "row UInt32, time DateTime, ms UInt16, client String, who UInt64, transport String, \
     name String, target String, type String, answer String, outcome String, rule String, list String, \
     lists Array(String), orders Array(String), authorities Array(String), bases Array(String)";

/// Reasons whose columns are remembered …
const REMEMBERED: usize = 16_384;
/// … unless they are long.
const REMEMBERED_BYTES: usize = 4 << 20;

/// Writes rows, with the memory that takes.
pub(super) struct Rows {
    who: Who,
    whys: HashMap<u64, Box<[u8]>>,
    bytes: usize,
    name: String,
}

impl Rows {
    /// With nothing remembered.
    pub(super) fn new(who: Who) -> Self {
        Self { who, whys: HashMap::new(), bytes: 0, name: String::new() }
    }

    /// Appends row number `row`.
    pub(super) fn push(&mut self, row: u32, hit: &Hit<'_>, why: &Arc<Why>, out: &mut Vec<u8>) {
        let (second, ms) = moment(hit.unix_ms);
        out.extend_from_slice(&row.to_le_bytes());
        out.extend_from_slice(&second.to_le_bytes());
        out.extend_from_slice(&ms.to_le_bytes());
        self.who.push(hit.client, second.into(), out);
        push_text(hit.transport.as_str(), out);
        self.push_name(hit.name, out);
        match hit.target {
            Some(target) => self.push_name(target, out),
            None => push_text("", out),
        }
        push_text(&type_name(hit.qtype), out);
        push_text(hit.answer.as_str(), out);
        self.push_why(why, out);
    }

    /// Appends a name as people read it.
    fn push_name(&mut self, wire: &[u8], out: &mut Vec<u8>) {
        self.name.clear();
        // Writing to a String cannot fail.
        let _ = name::show(wire, &mut self.name);
        push_text(&self.name, out);
    }

    /// Appends the columns that all hits of a reason share.
    fn push_why(&mut self, why: &Arc<Why>, out: &mut Vec<u8>) {
        if let Some(columns) = self.whys.get(&why.id) {
            return out.extend_from_slice(columns);
        }
        let before = out.len();
        let subject = &why.subject;
        push_text(subject.outcome.as_str(), out);
        push_text(&subject.rule, out);
        push_text(&subject.list, out);
        push_texts(subject.also.iter().map(|list| &**list), out);
        push_texts(subject.orders.iter().map(|order| order.id.as_str()), out);
        push_texts(subject.orders.iter().map(|order| order.authority.as_str()), out);
        push_texts(subject.orders.iter().map(|order| order.legal_basis.as_str()), out);
        let columns: Box<[u8]> = out.get(before..).unwrap_or_default().into();
        if self.whys.len() >= REMEMBERED || self.bytes >= REMEMBERED_BYTES {
            self.whys.clear();
            self.bytes = 0;
        }
        self.bytes += columns.len();
        self.whys.insert(why.id, columns);
    }
}

/// The second and millisecond of a hit; one that ClickHouse's calendar does not know becomes the nearest it does.
pub(super) fn moment(unix_ms: i64) -> (u32, u16) {
    let ms = unix_ms.clamp(0, i64::from(u32::MAX) * 1000 + 999);
    (u32::try_from(ms / 1000).unwrap_or(u32::MAX), u16::try_from(ms % 1000).unwrap_or(0))
}

/// Appends a String.
pub(super) fn push_text(text: &str, out: &mut Vec<u8>) {
    push_length(text.len(), out);
    out.extend_from_slice(text.as_bytes());
}

/// Appends an Array(String).
fn push_texts<'a>(texts: impl ExactSizeIterator<Item = &'a str>, out: &mut Vec<u8>) {
    push_length(texts.len(), out);
    texts.for_each(|text| push_text(text, out));
}

/// Appends a length: seven bits an octet, the lowest first (LEB128).
fn push_length(mut length: usize, out: &mut Vec<u8>) {
    while length >= 0x80 {
        out.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::{Reader, hit, why};
    use super::super::who::Key;
    use super::*;
    use crate::event::{AnswerKind, Outcome, Transport};
    use crate::hits::Clients;

    fn rows() -> Rows {
        Rows::new(Who::new(Clients::Full, Key::read(None).expect("made up"), crate::util::Zone::utc()))
    }

    #[test]
    fn a_row_holds_everything_of_a_hit_in_the_order_of_the_columns() {
        let why = why(7, Outcome::Shadow, "*.example", &[("7/2025", "Agency"), ("8", "Court")]);
        let mut out = Vec::new();
        let mut rows = rows();
        let target = Some(&b"\x01b\x07example\0"[..]);
        let first = Hit {
            unix_ms: 1_795_521_600_123,
            transport: Transport::Tcp,
            qtype: 65,
            answer: AnswerKind::Passed,
            target,
            ..hit(b"\x03a.b\x07example\0")
        };
        rows.push(0, &first, &why, &mut out);
        rows.push(300, &hit(b"\0"), &why, &mut out);
        let mut reader = Reader(&out);
        assert_eq!((reader.u32(), reader.u32(), reader.u16()), (0, 1_795_521_600, 123));
        assert_eq!(reader.text(), "192.0.2.1");
        assert_ne!(reader.u64(), 0);
        let texts: Vec<String> = (0..8).map(|_| reader.text()).collect();
        assert_eq!(texts, ["tcp", "a\\.b.example", "b.example", "HTTPS", "passed", "shadow", "*.example", "list"]);
        let arrays: Vec<Vec<String>> = (0..4).map(|_| reader.texts()).collect();
        assert_eq!(arrays, [vec!["also"], vec!["7/2025", "8"], vec!["Agency", "Court"], vec!["a law", "a law"]]);
        assert_eq!((reader.u32(), reader.u32(), reader.u16()), (300, 0, 0));
        assert_eq!((reader.text().as_str(), reader.u64() != 0), ("192.0.2.1", true));
        let texts: Vec<String> = (0..8).map(|_| reader.text()).collect();
        assert_eq!(texts, ["udp", ".", "", "A", "sinkhole", "shadow", "*.example", "list"]);
        assert_eq!((0..4).map(|_| reader.texts().len()).sum::<usize>(), 7);
        assert!(reader.0.is_empty());
    }

    #[test]
    fn what_is_remembered_is_bounded_and_the_same() {
        let mut rows = rows();
        let (mut out, mut again) = (Vec::new(), Vec::new());
        for id in 0..40_000 {
            let why = why(id, Outcome::Blocked, &format!("{id}.example"), &[]);
            out.clear();
            again.clear();
            rows.push_why(&why, &mut out);
            rows.push_why(&why, &mut again);
            assert_eq!(out, again);
            assert!(rows.whys.len() <= REMEMBERED);
        }
        assert!(rows.bytes <= REMEMBERED_BYTES + 1024);
    }

    #[test]
    fn times_no_calendar_knows_become_the_nearest() {
        assert_eq!(moment(-5), (0, 0));
        assert_eq!(moment(1_234), (1, 234));
        assert_eq!(moment(i64::MAX), (u32::MAX, 999));
    }

    proptest! {
        #[test]
        fn texts_of_any_length_read_back(text in "\\PC{0,400}", many in 0..300_usize) {
            let mut out = Vec::new();
            push_text(&text, &mut out);
            push_texts(vec!["x"; many].into_iter(), &mut out);
            let mut reader = Reader(&out);
            prop_assert_eq!(reader.text(), text);
            prop_assert_eq!(reader.texts().len(), many);
            prop_assert!(reader.0.is_empty());
        }
    }
}
