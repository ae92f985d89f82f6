//! Texts of one setting become values: addresses, upstream servers, names, dates.

use std::fmt;
use std::net::{AddrParseError, IpAddr, SocketAddr};

use crate::name::{Name, NameError};
use crate::upstream::Server;
use crate::util::UnixTime;

/// Where DNS is asked when no port is given (RFC 1035 section 4.2).
const DNS_PORT: u16 = 53;

/// A text that is not what its setting needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ValueError {
    /// An IP address without a port.
    NoPort,
    /// Not an address and a port.
    Listen,
    /// Not an IP address of the family.
    Address(&'static str),
    /// A host name where a server's address is needed.
    ServerIsName,
    /// A way of asking that is not known.
    ServerScheme,
    /// Not a server.
    Server,
    /// A server address nobody can be reached at.
    ServerAddress,
    /// A server address at which qalqan itself listens.
    Ourselves,
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
    /// No client that is known to ask for a canary name.
    Canary,
    /// Control characters.
    Control,
    /// Not the path of a URL.
    UrlPath,
    /// Longer than this many bytes.
    TooLong(usize),
}

impl fmt::Display for ValueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoPort => f.write_str("the port is missing; write it like 127.0.0.1:53 or [::1]:53"),
            Self::Listen => f.write_str("not an IP address and port; write it like 127.0.0.1:53, 0.0.0.0:53 or [::1]:53"),
            Self::Address(example) => write!(f, "not an address of this family (like {example})"),
            Self::ServerIsName => f.write_str(
                "an IP address is needed: the name of a DNS server cannot be looked up before there is a DNS server; \
                 write it like udp://9.9.9.9",
            ),
            Self::ServerScheme => {
                f.write_str("this way of asking is not supported; choices are system, udp://IP[:PORT], tcp://IP[:PORT], IP[:PORT]")
            }
            Self::Server => {
                f.write_str("not a server; choices are system, udp://IP[:PORT], tcp://IP[:PORT], IP[:PORT] (IPv6 with a port: [IP]:PORT)")
            }
            Self::ServerAddress => f.write_str("nobody answers at this address (port 0, unspecified or multicast)"),
            Self::Ourselves => f.write_str("this is an address in [server] listen: qalqan would ask itself for ever"),
            Self::Name(error) => write!(f, "not a domain name: {error}"),
            Self::Pattern => {
                f.write_str("not a name; write it like example.com (with all below it), =example.com or *.example.com")
            }
            Self::Date => f.write_str("not a date; write it like 2025-01-05 (midnight UTC) or 2025-01-06T00:00:00+05:00"),
            Self::DateWithoutOffset => f.write_str("a time of day needs its offset from UTC, as in 2025-01-06T00:00:00+05:00"),
            Self::Language => f.write_str("not a language tag (RFC 5646); write it like kk, ru, en or pt-BR"),
            Self::Empty => f.write_str("must not be empty"),
            Self::Url => f.write_str("a file or a folder is needed, not a URL"),
            Self::Word => f.write_str("a name has 1 to 64 of a-z, A-Z, 0-9, `-`, `_` and `.`"),
            Self::ListName => f.write_str("a name has 1 to 64 letters, digits, `-`, `_` or `.`"),
            Self::Canary => f.write_str("not known; choices are \"firefox\", \"icloud\""),
            Self::Control => f.write_str("control characters are not allowed here"),
            Self::UrlPath => f.write_str("not the path of a URL; write it like /dns-query (at most 200 letters)"),
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

/// `system`, `udp://IP[:PORT]`, `tcp://IP[:PORT]`, or an address alone, which means UDP.
pub(super) fn server(text: &str) -> Result<Server, ValueError> {
    if text == "system" {
        return Ok(Server::System);
    }
    let (make, rest): (fn(SocketAddr) -> Server, &str) = match text.split_once("://") {
        None => (Server::Udp, text),
        Some(("udp", rest)) => (Server::Udp, rest),
        Some(("tcp", rest)) => (Server::Tcp, rest),
        Some(_) => return Err(ValueError::ServerScheme),
    };
    let address = match (rest.parse::<SocketAddr>(), bare_ip(rest)) {
        (Ok(address), _) => address,
        (Err(_), Some(ip)) => SocketAddr::new(ip, DNS_PORT),
        (Err(_), None) => return Err(not_an_address(rest)),
    };
    let ip = address.ip();
    if address.port() == 0 || ip.is_unspecified() || ip.is_multicast() {
        return Err(ValueError::ServerAddress);
    }
    Ok(make(address))
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

/// What to say about a server that is not an address: most often it is a host name.
fn not_an_address(text: &str) -> ValueError {
    let host = match text.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
        _ => text,
    };
    if Name::parse(host).is_ok() { ValueError::ServerIsName } else { ValueError::Server }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_addresses() {
        let socket = |text: &str| text.parse::<SocketAddr>().expect("an address");
        for (text, server_is) in [
            ("system", Server::System),
            ("9.9.9.9", Server::Udp(socket("9.9.9.9:53"))),
            ("9.9.9.9:5300", Server::Udp(socket("9.9.9.9:5300"))),
            ("udp://9.9.9.9", Server::Udp(socket("9.9.9.9:53"))),
            ("tcp://[2620:fe::fe]:853", Server::Tcp(socket("[2620:fe::fe]:853"))),
            ("tcp://2620:fe::fe", Server::Tcp(socket("[2620:fe::fe]:53"))),
            ("[2620:fe::fe]", Server::Udp(socket("[2620:fe::fe]:53"))),
        ] {
            assert_eq!(server(text), Ok(server_is), "{text}");
        }
        for (text, error) in [
            ("dns.quad9.net", ValueError::ServerIsName),
            ("udp://dns.quad9.net:53", ValueError::ServerIsName),
            ("tls://9.9.9.9#dns.quad9.net", ValueError::ServerScheme),
            ("https://dns.quad9.net/dns-query", ValueError::ServerScheme),
            ("quic://9.9.9.9", ValueError::ServerScheme),
            ("9.9.9.9:99999", ValueError::Server),
            ("9.9.9.9:0", ValueError::ServerAddress),
            ("0.0.0.0", ValueError::ServerAddress),
            ("", ValueError::Server),
            ("udp://", ValueError::Server),
        ] {
            assert_eq!(server(text), Err(error), "{text}");
        }
    }

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
