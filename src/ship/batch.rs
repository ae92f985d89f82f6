//! A batch of rows, in memory and as a file of the spool.

use std::fmt;
use std::io;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use crate::fetch::Coding;
use crate::util::Digest;

/// Ends the names of batches.
const ENDING: &str = ".batch";
/// The only kind of file there is.
const VERSION: u32 = 1;
/// A longer first line is none of ours.
const MAX_HEADER: usize = 4096;

/// Rows on their way to the disk.
#[derive(Debug)]
pub(super) struct Sealed {
    /// What is said of them.
    pub(super) header: Header,
    /// As [`super::row`] writes them.
    pub(super) rows: Vec<u8>,
}

/// What is said of a batch. All of it goes into statements, so each part is checked when it is read back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Header {
    version: u32,
    /// No other batch of the fleet has it.
    pub(super) id: Box<str>,
    /// The day of all rows, UTC, like 2026-11-24.
    pub(super) day: Box<str>,
    /// How many.
    pub(super) rows: u32,
    /// Who sends them.
    pub(super) server: Box<str>,
    /// Of the key that clients were hashed with.
    pub(super) key: Box<str>,
    /// Seconds of an attempt's window.
    pub(super) window: u64,
    coding: Box<str>,
    sha256: Digest,
}

/// What the rows of a batch have in common.
pub(super) struct Common {
    pub(super) server: Box<str>,
    pub(super) key: Box<str>,
    pub(super) window: u64,
}

impl Header {
    /// Of a new batch.
    pub(super) fn new(id: Box<str>, day: i64, rows: u32, common: &Common) -> Self {
        let Common { server, key, window } = common;
        let (server, key, window) = (server.clone(), key.clone(), *window);
        let coding = Coding::Identity.as_str().into();
        Self { version: VERSION, id, day: date(day), rows, server, key, window, coding, sha256: Digest::ZERO }
    }

    /// How the rows are compressed.
    pub(super) fn coding(&self) -> Coding {
        Coding::parse(&self.coding).unwrap_or(Coding::Identity)
    }

    /// Fit to stand in a statement: nothing in it needs quoting.
    fn is_good(&self) -> bool {
        self.version == VERSION
            && is_id(&self.id)
            && self.day.len() == 10
            && self.day.bytes().all(|b| b.is_ascii_digit() || b == b'-')
            && self.rows > 0
            && is_word(&self.server)
            && self.key.len() == 16
            && self.key.bytes().all(|b| b.is_ascii_hexdigit())
            && self.window > 0
            && Coding::parse(&self.coding).is_some()
    }
}

/// A day since 1970 as ClickHouse reads it.
fn date(day: i64) -> Box<str> {
    let time = Timestamp::from_second(day.saturating_mul(86_400)).unwrap_or_default();
    time.to_zoned(TimeZone::UTC).date().to_string().into()
}

/// An id as [`super::sink`] makes them.
fn is_id(text: &str) -> bool {
    text.len() == 36 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// What a server or a database may be called.
pub(super) fn is_word(text: &str) -> bool {
    let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
    (1..=64).contains(&text.len()) && text.bytes().all(good)
}

/// A batch as it is kept and sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stored {
    /// What is said of it.
    pub(super) header: Header,
    /// Compressed.
    pub(super) body: Vec<u8>,
}

impl Stored {
    /// Compresses.
    pub(super) fn new(batch: Sealed, coding: Coding) -> io::Result<Self> {
        let Sealed { mut header, rows } = batch;
        let body = coding.encode(rows)?;
        header.coding = coding.as_str().into();
        header.sha256 = Digest::of(&body);
        Ok(Self { header, body })
    }

    /// The file's name, by which batches sort as they were made.
    pub(super) fn name(&self) -> Name {
        Name { id: self.header.id.clone(), rows: self.header.rows }
    }

    /// The file's content.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        // Strings and numbers into memory: serde_json has nothing to refuse here.
        let mut bytes = serde_json::to_vec(&self.header).unwrap_or_default();
        bytes.push(b'\n');
        bytes.extend_from_slice(&self.body);
        bytes
    }

    /// Reads a file back; `None` if it is not whole, or not one of ours.
    pub(super) fn from_bytes(mut bytes: Vec<u8>) -> Option<Self> {
        let end = bytes.iter().take(MAX_HEADER).position(|&byte| byte == b'\n')?;
        let header: Header = serde_json::from_slice(bytes.get(..end)?).ok()?;
        bytes.drain(..=end);
        (header.is_good() && header.sha256 == Digest::of(&bytes)).then_some(Self { header, body: bytes })
    }
}

/// The name of a batch's file, which says how many rows are lost if it has to go.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Name {
    pub(super) id: Box<str>,
    pub(super) rows: u32,
}

impl Name {
    /// Reads a file's name.
    pub(super) fn parse(file: &str) -> Option<Self> {
        let (id, rows) = file.strip_suffix(ENDING)?.split_once('-')?;
        let rows = rows.parse().ok().filter(|_| is_id(id) && rows.bytes().all(|b| b.is_ascii_digit()))?;
        Some(Self { id: id.into(), rows })
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}{ENDING}", self.id, self.rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_reads_back_and_a_damaged_one_does_not() {
        let common = Common { server: "ns1".into(), key: "0123456789abcdef".into(), window: 60 };
        let header = Header::new("0".repeat(36).into(), 20_781, 2, &common);
        assert_eq!(&*header.day, "2026-11-24");
        let stored = Stored::new(Sealed { header, rows: b"rows\nand rows".to_vec() }, Coding::Gzip).expect("stored");
        let bytes = stored.to_bytes();
        assert_eq!(Stored::from_bytes(bytes.clone()).as_ref(), Some(&stored));
        assert_eq!(Name::parse(&stored.name().to_string()), Some(stored.name()));
        for at in 0..bytes.len() {
            assert_eq!(Stored::from_bytes(bytes[..at].to_vec()), None, "cut at {at}");
            let mut other = bytes.clone();
            other[at] ^= 1;
            assert_ne!(Stored::from_bytes(other).as_ref(), Some(&stored), "flipped at {at}");
        }
    }

    #[test]
    fn nothing_from_a_file_can_end_a_literal() {
        let common = Common { server: "ns1".into(), key: "0123456789abcdef".into(), window: 60 };
        let good = Header::new("0".repeat(36).into(), 0, 1, &common);
        assert!(good.is_good());
        let quote: Box<str> = "'; DROP TABLE hits; --".into();
        for bad in [
            Header { id: quote.clone(), ..good.clone() },
            Header { server: quote.clone(), ..good.clone() },
            Header { day: "2026'11-24".into(), ..good.clone() },
            Header { key: quote.clone(), ..good.clone() },
            Header { window: 0, ..good.clone() },
            Header { rows: 0, ..good.clone() },
            Header { version: 2, ..good.clone() },
            Header { coding: "br".into(), ..good },
        ] {
            assert!(!bad.is_good(), "{bad:?}");
        }
        for file in ["a-1.batch", &format!("{}-x.batch", "0".repeat(36)), &format!("{}-+1.batch", "0".repeat(36))] {
            assert_eq!(Name::parse(file), None, "{file}");
        }
    }
}
