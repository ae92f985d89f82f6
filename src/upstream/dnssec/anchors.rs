//! Trust anchors: what is believed without proof. The root's keys are shipped; a file may bring others.

use std::collections::HashMap;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::keys::{Signer, usable};
use crate::name::Name;

/// The root's key signing keys of 2017 and 2024, as IANA publishes them (root-anchors.xml).
const ROOT: [&str; 2] = [
    ". IN DS 20326 8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D",
    ". IN DS 38696 8 2 683D2D0ACB8C9B712A1948B27F741219298D0A450D612C483AF444A4C0FB2B16",
];
/// Octets of a file that is still one of anchors.
const MAX_FILE: u64 = 1 << 20;

/// What is believed, by the zone it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Anchors(HashMap<Name, Vec<Signer>>);

/// Why anchors cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AnchorError {
    /// The file cannot be read.
    Io(PathBuf, String),
    /// It is too large to be one.
    TooLarge(PathBuf),
    /// A line is not a DS or DNSKEY record.
    Line(PathBuf, usize, &'static str),
    /// No anchor in it can be used.
    Empty(PathBuf),
}

impl fmt::Display for AnchorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(path, error) => write!(f, "cannot read the trust anchors in {}: {error}", path.display()),
            Self::TooLarge(path) => write!(f, "{} is too large to be a file of trust anchors", path.display()),
            Self::Line(path, line, what) => {
                let path = path.display();
                write!(f, "{path}:{line}: {what}; a trust anchor is a line like `. IN DS 20326 8 2 E06D…`")
            }
            Self::Empty(path) => {
                let path = path.display();
                write!(f, "{path} has no trust anchor whose algorithm is known (8, 10, 13, 14, 15; digests 1, 2, 4)")
            }
        }
    }
}

impl std::error::Error for AnchorError {}

impl Anchors {
    /// Those of `file`, or the shipped ones.
    ///
    /// # Errors
    /// See [`AnchorError`].
    pub fn load(file: Option<&Path>) -> Result<Self, AnchorError> {
        let Some(path) = file else { return Self::parse(&ROOT.join("\n"), Path::new("")) };
        let io = |error: io::Error| AnchorError::Io(path.into(), error.to_string());
        if path.metadata().map_err(io)?.len() > MAX_FILE {
            return Err(AnchorError::TooLarge(path.into()));
        }
        Self::parse(&fs::read_to_string(path).map_err(io)?, path)
    }

    /// Reads a record a line; `;` begins a comment.
    fn parse(text: &str, path: &Path) -> Result<Self, AnchorError> {
        let mut found: HashMap<Name, Vec<Signer>> = HashMap::new();
        for (at, line) in text.lines().enumerate() {
            let line = line.split(';').next().unwrap_or_default();
            if line.trim().is_empty() {
                continue;
            }
            let (zone, signer) = record(line).map_err(|what| AnchorError::Line(path.into(), at + 1, what))?;
            found.entry(zone).or_default().push(signer);
        }
        let usable = found.into_iter().map(|(zone, signers)| (zone, usable(signers)));
        let anchors: HashMap<_, _> = usable.filter(|(_, signers)| !signers.is_empty()).collect();
        if anchors.is_empty() { Err(AnchorError::Empty(path.into())) } else { Ok(Self(anchors)) }
    }

    /// A single one, for tests.
    #[cfg(test)]
    pub fn one(zone: Name, signer: Signer) -> Self {
        Self(HashMap::from([(zone, vec![signer])]))
    }

    /// What vouches for the keys of `zone`.
    pub fn of(&self, zone: &Name) -> Option<&[Signer]> {
        self.0.get(zone).map(Vec::as_slice)
    }
}

/// Reads `NAME [TTL] [IN] DS …` or `… DNSKEY …`.
fn record(line: &str) -> Result<(Name, Signer), &'static str> {
    let mut words = line.split_whitespace().filter(|word| !matches!(*word, "(" | ")"));
    let name = words.next().unwrap_or_default();
    let zone = if name == "." { Name::root() } else { Name::parse(name).map_err(|_| "the name is not valid")? };
    let mut kind = words.next();
    while kind.is_some_and(|word| word.eq_ignore_ascii_case("IN") || word.bytes().all(|byte| byte.is_ascii_digit())) {
        kind = words.next();
    }
    let kind = kind.unwrap_or_default().to_ascii_uppercase();
    let mut number = |max: u16| {
        let word = words.next()?;
        word.parse::<u16>().ok().filter(|number| *number <= max)
    };
    let numbers = (number(u16::MAX), number(u8::MAX.into()), number(u8::MAX.into()));
    let (Some(first), Some(second), Some(third)) = numbers else { return Err("three numbers are expected") };
    let mut data = first.to_be_bytes().to_vec();
    data.extend([second as u8, third as u8]);
    let rest: String = words.collect();
    match kind.as_str() {
        "DS" => {
            let digest = data_encoding::HEXLOWER_PERMISSIVE.decode(rest.as_bytes());
            data.extend(digest.map_err(|_| "the digest is not hexadecimal")?);
            let len = data.len() - 4;
            if matches!((third, len), (1, 20) | (2, 32) | (4, 48)) || !matches!(third, 1 | 2 | 4) {
                Signer::read(&data).map(|signer| (zone, signer)).ok_or("the digest is missing")
            } else {
                Err("the digest has the wrong length")
            }
        }
        "DNSKEY" => {
            let key = data_encoding::BASE64.decode(rest.as_bytes());
            data.extend(key.map_err(|_| "the key is not Base64")?);
            Signer::of_key(&zone, &data).map(|signer| (zone, signer)).ok_or("the key is missing")
        }
        _ => Err("neither DS nor DNSKEY"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The shipped anchors are those of IANA's two keys, which hickory ships as well.
    #[test]
    fn the_shipped_anchors_are_hickorys_keys() {
        use hickory_proto::dnssec::{PublicKey, TrustAnchors};
        let shipped = Anchors::load(None).expect("these are anchors");
        let theirs = TrustAnchors::default();
        let mut signers: Vec<Signer> = Vec::new();
        for at in 0..theirs.len() {
            let key = theirs.get(at).expect("as many as it says");
            let data = [&[1, 1, 3, u8::from(key.algorithm())][..], key.public_bytes()].concat();
            signers.extend(Signer::of_key(&Name::root(), &data));
        }
        assert_eq!(shipped.of(&Name::root()), Some(signers.as_slice()));
    }

    #[test]
    fn anchors_are_read_and_errors_name_the_line() {
        let read = |text: &str| Anchors::parse(text, Path::new("anchors")).map_err(|error| error.to_string());
        let text = format!("; the root\n{}\nexample. 3600 IN DS 1 13 2 {}\n", ROOT[0], "ab".repeat(32));
        let anchors = read(&text).expect("these are anchors");
        assert!(anchors.of(&Name::parse("example").expect("a name")).is_some());
        assert!(anchors.of(&Name::parse("org").expect("a name")).is_none());
        for (text, told) in [
            (". IN DS 1 8 2 xyz", "anchors:1: the digest is not hexadecimal"),
            ("\n. IN DS 1 8 2 abcd", "anchors:2: the digest has the wrong length"),
            (". IN DNSKEY 257 3 8 !!!", "anchors:1: the key is not Base64"),
            (". IN A 192.0.2.1", "anchors:1: three numbers are expected"),
            (". IN TLSA 1 1 1 ab", "anchors:1: neither DS nor DNSKEY"),
            ("; nothing", "anchors has no trust anchor whose algorithm is known"),
            (". IN DS 1 5 1 abababababababababababababababababababab", "anchors has no trust anchor"),
        ] {
            let error = read(text).expect_err(text);
            assert!(error.starts_with(told), "{text}: {error}");
        }
    }
}
