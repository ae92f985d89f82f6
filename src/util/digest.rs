//! SHA-256, as an officer recomputes it with `sha256sum`.

use std::fmt;
use std::io::{self, Write};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::Digest as _;

/// A SHA-256, shown as `sha256sum` shows it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// Sixty-four zeros: the hash of nothing at all, where there is nothing before.
    pub const ZERO: Self = Self([0; 32]);

    /// Of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(sha2::Sha256::digest(bytes).into())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0; 64];
        for (pair, byte) in text.chunks_exact_mut(2).zip(self.0) {
            pair.copy_from_slice(&[hex(byte >> 4), hex(byte & 15)]);
        }
        f.pad(std::str::from_utf8(&text).unwrap_or_default())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Not 64 hexadecimal digits in lower case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadDigest;

impl fmt::Display for BadDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a SHA-256: write 64 digits 0-9 and a-f")
    }
}

impl std::error::Error for BadDigest {}

impl FromStr for Digest {
    type Err = BadDigest;

    /// One way of writing only, so that two texts are equal where two digests are.
    fn from_str(text: &str) -> Result<Self, BadDigest> {
        let mut digest = [0; 32];
        if text.len() != 64 {
            return Err(BadDigest);
        }
        for (pair, byte) in text.as_bytes().chunks_exact(2).zip(&mut digest) {
            let [high, low] = *pair else { return Err(BadDigest) };
            *byte = value(high).ok_or(BadDigest)? << 4 | value(low).ok_or(BadDigest)?;
        }
        Ok(Self(digest))
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Text)
    }
}

/// Reads a digest without a copy of its text.
struct Text;

impl de::Visitor<'_> for Text {
    type Value = Digest;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a SHA-256 in hexadecimal digits")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Digest, E> {
        text.parse().map_err(E::custom)
    }
}

/// A hexadecimal digit.
fn hex(value: u8) -> u8 {
    if value < 10 { b'0' + value } else { b'a' + value - 10 }
}

/// The value of a hexadecimal digit in lower case.
fn value(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

/// A SHA-256 under way; a clone goes on from where it stands.
#[derive(Clone, Debug, Default)]
pub struct Hasher {
    state: sha2::Sha256,
    len: u64,
}

impl Hasher {
    /// Of nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes more bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.state.update(bytes);
        self.len = self.len.saturating_add(bytes.len() as u64);
    }

    /// Bytes taken so far.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether no byte was taken yet.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The digest of all bytes taken.
    pub fn finish(self) -> Digest {
        Digest(self.state.finalize().into())
    }
}

impl Write for Hasher {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn a_digest_reads_as_sha256sum_prints_it() {
        assert_eq!(Digest::of(b"").to_string(), EMPTY);
        assert_eq!(format!("{:.8}", Digest::of(b"")), "e3b0c442");
    }

    #[test]
    fn it_is_read_in_one_way_only() {
        assert_eq!(EMPTY.parse(), Ok(Digest::of(b"")));
        let json = format!("\"{EMPTY}\"");
        assert_eq!(serde_json::to_string(&Digest::of(b"")).expect("JSON"), json);
        assert_eq!(serde_json::from_str::<Digest>(&json).expect("a digest"), Digest::of(b""));
        assert_eq!(serde_json::from_reader::<_, Digest>(json.as_bytes()).expect("a digest"), Digest::of(b""));
        for text in [&EMPTY[1..], &EMPTY.to_uppercase(), &format!("{EMPTY}0"), &format!("+{}", &EMPTY[1..]), ""] {
            assert_eq!(text.parse::<Digest>(), Err(BadDigest), "{text}");
        }
    }

    #[test]
    fn in_parts_as_in_one() {
        let mut hasher = Hasher::new();
        hasher.update(b"ab");
        let mut other = hasher.clone();
        hasher.write_all(b"c").expect("written");
        other.update(b"d");
        assert_eq!(hasher.len(), 3);
        assert_eq!((hasher.finish(), other.finish()), (Digest::of(b"abc"), Digest::of(b"abd")));
    }
}
