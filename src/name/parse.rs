//! Text to name: the fast way for plain ASCII, UTS 46 for everything else.

use std::fmt;

use idna::AsciiDenyList;
use idna::uts46::{DnsLength, Hyphens, Uts46};

use super::{MAX_LABEL, NameBuf};

/// Why a text is not a host name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameProblem {
    /// Nothing there.
    Empty,
    /// Two dots in a row, or one at the start.
    EmptyLabel,
    /// Over 63 octets between two dots (as A-label).
    LabelTooLong,
    /// Over 255 octets on the wire.
    NameTooLong,
    /// A character no host name has.
    BadCharacter(char),
    /// Not valid under UTS 46, or a broken `xn--` label.
    NotIdna,
    /// The last label is a number: this is an IP address or a typing error, never a name (RFC 1123 section 2.1).
    NumericTop,
}

impl fmt::Display for NameProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("no name"),
            Self::EmptyLabel => f.write_str("empty label (two dots in a row, or a dot at the start)"),
            Self::LabelTooLong => f.write_str("label longer than 63 octets"),
            Self::NameTooLong => f.write_str("name longer than 255 octets"),
            Self::BadCharacter(c) if c.is_control() || *c == '\u{fffd}' => {
                write!(f, "character U+{:04X} in a name", u32::from(*c))
            }
            Self::BadCharacter(c) => write!(f, "character `{c}` in a name"),
            Self::NotIdna => f.write_str("not a valid internationalised name (UTS 46)"),
            Self::NumericTop => f.write_str("last label is a number: an address, not a name"),
        }
    }
}

/// A text that is not a host name: what and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NameError {
    /// Byte offset into the text.
    pub at: usize,
    /// What is wrong there.
    pub problem: NameProblem,
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.problem.fmt(f)
    }
}

impl std::error::Error for NameError {}

impl NameBuf {
    /// Reads a host name: letters, digits, `-` and `_` (which real names carry), any case, IDN in
    /// Unicode or as A-labels, one trailing dot allowed.
    ///
    /// # Errors
    /// See [`NameError`]; the buffer is then unspecified but valid.
    pub fn parse(&mut self, text: &str) -> Result<(), NameError> {
        if text.is_empty() || text == "." {
            return Err(NameError { at: 0, problem: NameProblem::Empty });
        }
        let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
        if plain && !has_a_label(text.as_bytes()) {
            return self.parse_ascii(text);
        }
        if let Some((at, c)) = text.char_indices().find(|&(_, c)| forbidden(c)) {
            return Err(NameError { at, problem: NameProblem::BadCharacter(c) });
        }
        // Hyphens anywhere and underscores: names in use have them; all else is UTS 46 with STD3.
        let ascii = Uts46::new()
            .to_ascii(text.as_bytes(), AsciiDenyList::EMPTY, Hyphens::Allow, DnsLength::Ignore)
            .map_err(|_| NameError { at: 0, problem: NameProblem::NotIdna })?;
        if let Some(c) = ascii.chars().find(|&c| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))) {
            return Err(NameError { at: 0, problem: NameProblem::BadCharacter(c) });
        }
        self.parse_ascii(&ascii).map_err(|error| NameError { at: 0, ..error })
    }

    /// The plain case: bytes already known to be letters, digits, `-`, `_` and `.`.
    fn parse_ascii(&mut self, text: &str) -> Result<(), NameError> {
        self.clear();
        let body = text.strip_suffix('.').unwrap_or(text);
        let mut at = 0;
        let mut last = "";
        for label in body.split('.') {
            self.push_label(label.as_bytes()).map_err(|problem| {
                let at = if problem == NameProblem::LabelTooLong { at + MAX_LABEL } else { at };
                NameError { at, problem }
            })?;
            last = label;
            at += label.len() + 1;
        }
        if last.bytes().all(|b| b.is_ascii_digit()) {
            return Err(NameError { at: body.len() - last.len(), problem: NameProblem::NumericTop });
        }
        Ok(())
    }
}

/// Some label starts with `xn--`: its Punycode has to be looked at.
fn has_a_label(text: &[u8]) -> bool {
    text.windows(4).any(|w| w.eq_ignore_ascii_case(b"xn--"))
}

/// ASCII that no host name has, and what stands for undecodable input.
fn forbidden(c: char) -> bool {
    c == '\u{fffd}' || (c.is_ascii() && !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')))
}

#[cfg(test)]
mod tests {
    use super::super::Name;
    use super::*;

    #[test]
    fn what_people_write_becomes_wire_bytes() {
        for (text, shown) in [
            ("Example.COM", "example.com"),
            ("example.com.", "example.com"),
            ("_dmarc.example.com", "_dmarc.example.com"),
            ("r3---sn-4g5e6nez.googlevideo.com", "r3---sn-4g5e6nez.googlevideo.com"),
            ("-leading.example.com", "-leading.example.com"),
            ("биржа.рф", "xn--80abph4b.xn--p1ai"),
            ("bücher.example", "xn--bcher-kva.example"),
            ("exam\u{ad}ple.com", "example.com"),
            ("ｅｘａｍｐｌｅ。com", "example.com"),
            ("XN--BCHER-KVA.example", "xn--bcher-kva.example"),
        ] {
            assert_eq!(Name::parse(text).map(|n| n.to_string()), Ok(shown.into()), "{text}");
        }
    }

    #[test]
    fn what_is_no_host_name_is_refused_at_its_place() {
        let long = format!("{}.com", "a".repeat(64));
        let longer = ["abcdefg"; 33].join(".");
        for (text, at, problem) in [
            ("", 0, NameProblem::Empty),
            (".", 0, NameProblem::Empty),
            ("a..b", 2, NameProblem::EmptyLabel),
            (".a", 0, NameProblem::EmptyLabel),
            ("a b", 1, NameProblem::BadCharacter(' ')),
            ("ab/c", 2, NameProblem::BadCharacter('/')),
            ("a\0b.com", 1, NameProblem::BadCharacter('\0')),
            ("1.2.3.4", 6, NameProblem::NumericTop),
            ("xn--a-.com", 0, NameProblem::NotIdna),
            (&long, 63, NameProblem::LabelTooLong),
            (&longer, 248, NameProblem::NameTooLong),
        ] {
            assert_eq!(Name::parse(text), Err(NameError { at, problem }), "{text}");
        }
    }

    #[test]
    fn below_goes_by_label() {
        let parse = |text| Name::parse(text).expect("a name");
        assert!(parse("www.example.com").is_at_or_below(&parse("example.com")));
        assert!(parse("example.com").is_at_or_below(&parse("example.com")));
        assert!(!parse("notexample.com").is_at_or_below(&parse("example.com")));
        assert!(!parse("com").is_at_or_below(&parse("example.com")));
        assert!(parse("com").is_at_or_below(&Name::root()));
    }
}
