//! Texts of one setting become values: addresses, names, dates.

use std::fmt;
use std::net::{AddrParseError, IpAddr, SocketAddr};

use crate::name::{Name, NameError};
use crate::util::UnixTime;

/// A text that is not what its setting needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ValueError {
    /// An IP address without a port.
    NoPort,
    /// Not an address and a port.
    Listen,
    /// Not an IP address of the family.
    Address(&'static str),
    /// Not a domain name.
    Name(NameError),
    /// Not a name with a scope.
    Pattern,
    /// Not a date.
    Date,
    /// A date and time of which it is not known where.
    DateWithoutOffset,
    /// Not a language tag.
    Language,
    /// An empty text where something is needed.
    Empty,
    /// A URL where a file is needed.
    Url,
    /// A name that would need quotes in a statement.
    Word,
    /// A list's name that would be a nuisance in commands and logs.
    ListName,
    /// Control characters.
    Control,
    /// Longer than this many bytes.
    TooLong(usize),
}

impl fmt::Display for ValueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoPort => f.write_str("the port is missing; write it like 127.0.0.1:53 or [::1]:53"),
            Self::Listen => {
                f.write_str("not an IP address and port; write it like 127.0.0.1:53, 0.0.0.0:53 or [::1]:53")
            }
            Self::Address(example) => write!(f, "not an address of this family (like {example})"),
            Self::Name(error) => write!(f, "not a domain name: {error}"),
            Self::Pattern => {
                f.write_str("not a name; write it like example.com (with all below it), =example.com or *.example.com")
            }
            Self::Date => {
                f.write_str("not a date; write it like 2025-01-05 (midnight UTC) or 2025-01-06T00:00:00+05:00")
            }
            Self::DateWithoutOffset => {
                f.write_str("a time of day needs its offset from UTC, as in 2025-01-06T00:00:00+05:00")
            }
            Self::Language => f.write_str("not a language tag (RFC 5646); write it like kk, ru, en or pt-BR"),
            Self::Empty => f.write_str("must not be empty"),
            Self::Url => f.write_str("a file or a folder is needed, not a URL"),
            Self::Word => f.write_str("a name has 1 to 64 of a-z, A-Z, 0-9, `-`, `_` and `.`"),
            Self::ListName => f.write_str("a name has 1 to 64 letters, digits, `-`, `_` or `.`"),
            Self::Control => f.write_str("control characters are not allowed here"),
            Self::TooLong(most) => write!(f, "longer than {most} bytes"),
        }
    }
}

impl std::error::Error for ValueError {}

/// An address and port to listen at.
pub(super) fn listen(text: &str) -> Result<SocketAddr, ValueError> {
    text.parse().map_err(|_: AddrParseError| match bare_ip(text) {
        Some(_) => ValueError::NoPort,
        None => ValueError::Listen,
    })
}

/// A domain name (IDN as people write it).
pub(super) fn name(text: &str) -> Result<Name, ValueError> {
    Name::parse(text).map_err(ValueError::Name)
}

/// A date: midnight UTC of a day, or a moment with its offset.
pub(super) fn date(text: &str) -> Result<UnixTime, ValueError> {
    use jiff::Timestamp;
    use jiff::civil::{Date, DateTime};
    use jiff::tz::TimeZone;

    let seconds = |time: Timestamp| UnixTime(time.as_second());
    if text.len() == "2025-01-05".len() {
        let day: Date = text.parse().map_err(|_| ValueError::Date)?;
        let midnight = day.to_zoned(TimeZone::UTC).map_err(|_| ValueError::Date)?;
        return Ok(seconds(midnight.timestamp()));
    }
    text.parse().map(seconds).map_err(|_| match text.parse::<DateTime>() {
        Ok(_) => ValueError::DateWithoutOffset,
        Err(_) => ValueError::Date,
    })
}

/// A language tag, by its shape only: subtags of 1 to 8 letters and digits, the first of 2 to 8 letters.
pub(super) fn language(text: &str) -> Result<String, ValueError> {
    let mut subtags = text.split('-');
    let first =
        subtags.next().is_some_and(|tag| (2..=8).contains(&tag.len()) && tag.bytes().all(|b| b.is_ascii_alphabetic()));
    let others = subtags.all(|tag| (1..=8).contains(&tag.len()) && tag.bytes().all(|b| b.is_ascii_alphanumeric()));
    if first && others && text.len() <= 35 { Ok(text.into()) } else { Err(ValueError::Language) }
}

/// A text of one line that says something, of at most `most` bytes.
pub(super) fn line(text: &str, most: usize) -> Result<String, ValueError> {
    if text.trim().is_empty() {
        Err(ValueError::Empty)
    } else if text.chars().any(char::is_control) {
        Err(ValueError::Control)
    } else if text.len() > most {
        Err(ValueError::TooLong(most))
    } else {
        Ok(text.into())
    }
}

/// A file or folder as written.
pub(super) fn path(text: &str) -> Result<String, ValueError> {
    if text.contains("://") { Err(ValueError::Url) } else { line(text, 4096) }
}

/// The name of a list.
pub(super) fn list_name(text: &str) -> Result<String, ValueError> {
    let good = text.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '_' | '.'));
    if good && (1..=64).contains(&text.chars().count()) { Ok(text.into()) } else { Err(ValueError::ListName) }
}

/// An IP address without a port; IPv6 in brackets or bare.
fn bare_ip(text: &str) -> Option<IpAddr> {
    let inner = text.strip_prefix('[').and_then(|t| t.strip_suffix(']'));
    inner.unwrap_or(text).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listening_needs_a_port() {
        assert!(listen("[::1]:0").is_ok());
        assert_eq!(listen("127.0.0.1"), Err(ValueError::NoPort));
        assert_eq!(listen("::1"), Err(ValueError::NoPort));
        assert_eq!(listen("localhost:53"), Err(ValueError::Listen));
    }

    #[test]
    fn a_date_is_midnight_utc_or_has_an_offset() {
        assert_eq!(date("1970-01-02"), Ok(UnixTime(86_400)));
        assert_eq!(date("1970-01-02T05:00:00+05:00"), Ok(UnixTime(86_400)));
        assert_eq!(date("1970-01-02 00:00:00Z"), Ok(UnixTime(86_400)));
        assert_eq!(date("1970-01-02T05:00:00"), Err(ValueError::DateWithoutOffset));
        for text in ["", "05.01.2025", "2025-02-30", "2025", "12:00:00", "кккккккккк"] {
            assert_eq!(date(text), Err(ValueError::Date), "{text}");
        }
    }

    #[test]
    fn languages_and_names_by_their_shape() {
        assert!(["kk", "ru", "pt-BR", "zh-Hant-TW"].iter().all(|t| language(t).is_ok()));
        assert!(["", "k", "русский", "en_US", "en-", "toolonglanguage"].iter().all(|t| language(t).is_err()));
        assert!(["orders", "приказы-2025", "a.b_c"].iter().all(|t| list_name(t).is_ok()));
        assert!(["", "a b", "a/b", &"x".repeat(65)].iter().all(|t| list_name(t).is_err()));
    }
}
