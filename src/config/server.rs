//! Upstream servers as one text each: `udp://9.9.9.9`, `tls://9.9.9.9#dns.quad9.net`, `https://dns.example/dns-query`.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use crate::name::Name;
use crate::upstream::{Host, Protocol, Secure, Server};
use crate::util::Digest;

/// Where DNS is asked when no port is given (RFC 1035 section 4.2).
const DNS_PORT: u16 = 53;
/// The path of HTTP requests without one (RFC 8484 names none, all use this).
const PATH: &str = "/dns-query";
/// Keys of one server: the one in use, the next one, and some to spare.
const MAX_PINS: usize = 16;

/// A text that is no server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ServerError {
    /// A host name where an address is needed.
    IsName,
    /// A way of asking that is not known.
    Scheme,
    /// Not a server at all.
    Shape,
    /// An address nobody can be reached at.
    Address,
    /// Port 0, or none at all.
    Port,
    /// An address at which qalqan itself listens.
    Ourselves,
    /// Encrypted, but nothing to check who answers by; the scheme and the address.
    Nameless(&'static str, String),
    /// Neither a host name nor an address behind `#`.
    Name,
    /// A path where there is no HTTP.
    Path(&'static str),
    /// A path that cannot be sent.
    BadPath,
    /// Something else than pins behind `?`.
    Query,
    /// Not the SHA-256 of a key.
    Pin,
    /// Too many of those.
    Pins,
    /// A name or a pin where nothing is encrypted.
    Plain,
    /// An encrypted server where one over UDP is needed.
    Bootstrap,
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::IsName => {
                "an IP address is needed over UDP and TCP, where a forged look-up would go unnoticed; write it like \
                 udp://9.9.9.9, or tls://dns.quad9.net"
            }
            Self::Scheme => {
                "this way of asking is not supported; choices are system, udp://IP, tcp://IP, tls://HOST, \
                 https://HOST/PATH, h3://HOST/PATH, quic://HOST"
            }
            Self::Shape => {
                "not a server; choices are system, udp://IP[:PORT], tcp://IP[:PORT], IP[:PORT], \
                 tls://HOST[:PORT][#NAME], https://HOST[:PORT]/PATH, h3://HOST[:PORT]/PATH, quic://HOST[:PORT][#NAME] \
                 (IPv6 with a port: [IP]:PORT)"
            }
            Self::Address => "nobody answers at this address (unspecified or multicast)",
            Self::Port => "the port must be from 1 to 65535",
            Self::Ourselves => "this is an address in [server] listen: qalqan would ask itself for ever",
            Self::Nameless(scheme, host) => {
                return write!(
                    f,
                    "the name to check the certificate by is missing; write it like {scheme}://{host}#dns.example, or \
                     pin the key: {scheme}://{host}?pin=sha256:BASE64"
                );
            }
            Self::Name => "behind `#` stands the name or the address the certificate must be for",
            Self::Path(scheme) => return write!(f, "{scheme}:// has no path; https:// and h3:// have one"),
            Self::BadPath => "a path is of visible ASCII characters; write others as %XX",
            Self::Query => "behind `?` only pins may stand, as in ?pin=sha256:BASE64&pin=sha256:BASE64",
            Self::Pin => "a pin is the SHA-256 of a public key in base64, as in ?pin=sha256: and 44 characters",
            Self::Pins => return write!(f, "at most {MAX_PINS} pins may be given"),
            Self::Plain => "udp:// and tcp:// know neither names nor pins, as nothing is encrypted; use tls://",
            Self::Bootstrap => "an address that is asked over UDP is needed here, like 9.9.9.9 or [2620:fe::fe]:53",
        })
    }
}

impl std::error::Error for ServerError {}

/// `system`, a URL, or an address alone, which means UDP.
pub(super) fn server(text: &str) -> Result<Server, ServerError> {
    if text == "system" {
        return Ok(Server::System);
    }
    match text.split_once("://") {
        None => plain(text).map(Server::Udp),
        Some(("udp", rest)) => plain(rest).map(Server::Udp),
        Some(("tcp", rest)) => plain(rest).map(Server::Tcp),
        Some(("tls", rest)) => secure(Protocol::Tls, rest),
        Some(("https", rest)) => secure(Protocol::Https, rest),
        Some(("h3", rest)) => secure(Protocol::H3, rest),
        Some(("quic", rest)) => secure(Protocol::Quic, rest),
        Some(_) => Err(ServerError::Scheme),
    }
}

/// An address that knows those of other servers.
pub(super) fn bootstrap(text: &str) -> Result<SocketAddr, ServerError> {
    match server(text)? {
        Server::Udp(address) => Ok(address),
        Server::System | Server::Tcp(_) | Server::Secure(_) => Err(ServerError::Bootstrap),
    }
}

/// An address with or without a port.
fn plain(text: &str) -> Result<SocketAddr, ServerError> {
    if text.contains(['#', '?']) {
        return Err(ServerError::Plain);
    }
    let (host, port) = host_and_port(text, DNS_PORT)?;
    match host {
        Host::Address(ip) => Ok(SocketAddr::new(ip, port)),
        Host::Name(_) => Err(ServerError::IsName),
    }
}

/// What stands behind the scheme of an encrypted server.
fn secure(protocol: Protocol, text: &str) -> Result<Server, ServerError> {
    let (text, name) = match text.split_once('#') {
        Some((text, name)) => (text, Some(certificate_name(name)?)),
        None => (text, None),
    };
    let (text, query) = text.split_once('?').map_or((text, None), |(text, query)| (text, Some(query)));
    let pins = query.map(pins).transpose()?.unwrap_or_default();
    let (text, path) = match (text.find('/'), protocol.is_http()) {
        (Some(at), true) => text.split_at(at),
        (Some(_), false) => return Err(ServerError::Path(protocol.as_str())),
        (None, true) => (text, PATH),
        (None, false) => (text, ""),
    };
    if !path.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'<' | b'>' | b'\\' | b'^' | b'`')) {
        return Err(ServerError::BadPath);
    }
    let (host, port) = host_and_port(text, protocol.port())?;
    let name = match (name, &host) {
        (Some(name), _) => Some(name),
        (None, Host::Name(name)) => Some(name.to_string()),
        // A pinned key needs no name, and in a URL the address is the name (RFC 9110 section 4.3.4).
        (None, Host::Address(_)) if !pins.is_empty() => None,
        (None, Host::Address(ip)) if protocol.is_http() => Some(ip.to_string()),
        (None, Host::Address(_)) => return Err(ServerError::Nameless(protocol.as_str(), text.into())),
    };
    Ok(Server::Secure(Box::new(Secure { protocol, host, port, name, path: path.into(), pins })))
}

/// A host with or without a port. An IPv6 address may go without brackets where there is no port.
fn host_and_port(text: &str, default: u16) -> Result<(Host, u16), ServerError> {
    let address = |ip: IpAddr| match ip.is_unspecified() || ip.is_multicast() {
        true => Err(ServerError::Address),
        false => Ok(Host::Address(ip)),
    };
    let inner = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    if let Ok(ip) = inner.unwrap_or(text).parse::<IpAddr>() {
        return Ok((address(ip)?, default));
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) => {
            let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
            let port = port.parse().ok().filter(|port| *port > 0 && digits);
            (host, port.ok_or(if digits || port_only(text) { ServerError::Port } else { ServerError::Shape })?)
        }
        None => (text, default),
    };
    let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    match (inner, host.parse::<IpAddr>()) {
        (Some(inner), _) => Ok((address(inner.parse().map_err(|_| ServerError::Shape)?)?, port)),
        (None, Ok(ip @ IpAddr::V4(_))) => Ok((address(ip)?, port)),
        _ => Ok((Host::Name(host_name(host).ok_or(ServerError::Shape)?), port)),
    }
}

/// A host and then a colon with nothing behind it.
fn port_only(text: &str) -> bool {
    text.ends_with(':') && text.matches(':').count() == 1
}

/// The name of a host: not one that ends in a number, which is an address that went wrong.
fn host_name(text: &str) -> Option<Name> {
    let last = text.trim_end_matches('.').rsplit('.').next().unwrap_or_default();
    if last.is_empty() || last.bytes().all(|byte| byte.is_ascii_digit()) || text.contains(['*', '_', '@', '\\']) {
        return None;
    }
    Name::parse(text).ok().filter(|name| !name.is_root())
}

/// Whom a certificate must be for.
fn certificate_name(text: &str) -> Result<String, ServerError> {
    let inner = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    if let Ok(ip) = inner.parse::<IpAddr>() {
        return Ok(ip.to_string());
    }
    host_name(text).map(|name| name.to_string()).ok_or(ServerError::Name)
}

/// `pin=sha256:BASE64`, one or several.
fn pins(query: &str) -> Result<Vec<Digest>, ServerError> {
    let mut pins = Vec::new();
    for part in query.split('&') {
        let (key, value) = part.split_once('=').ok_or(ServerError::Query)?;
        if key != "pin" {
            return Err(ServerError::Query);
        }
        let digest = value.strip_prefix("sha256:").and_then(base64_digest).ok_or(ServerError::Pin)?;
        if !pins.contains(&digest) {
            pins.push(digest);
        }
    }
    if pins.len() > MAX_PINS { Err(ServerError::Pins) } else { Ok(pins) }
}

/// 32 octets in base64, of either alphabet, padded or not.
fn base64_digest(text: &str) -> Option<Digest> {
    let text = text.strip_suffix('=').unwrap_or(text);
    if text.len() != 43 {
        return None;
    }
    let mut bits = 0_u32;
    let mut octets = Vec::with_capacity(33);
    for (index, byte) in text.bytes().enumerate() {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        if index % 4 != 0 {
            octets.push((bits >> (6 - 2 * (index % 4))) as u8);
        }
    }
    // 43 characters carry two bits more than 32 octets.
    if bits & 3 != 0 {
        return None;
    }
    octets.try_into().ok().map(Digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Base64 of 32 octets.
    const PIN: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

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
            ("dns.quad9.net", ServerError::IsName),
            ("udp://dns.quad9.net:53", ServerError::IsName),
            ("sdns://AgcAAAA", ServerError::Scheme),
            ("http://dns.quad9.net/dns-query", ServerError::Scheme),
            ("9.9.9.9:99999", ServerError::Port),
            ("9.9.9.9:0", ServerError::Port),
            ("0.0.0.0", ServerError::Address),
            ("", ServerError::Shape),
            ("udp://", ServerError::Shape),
            ("udp://9.9.9.9#dns.quad9.net", ServerError::Plain),
        ] {
            assert_eq!(server(text), Err(error), "{text}");
        }
    }

    #[test]
    fn encrypted_servers_have_a_name_or_a_pin() {
        let pin = Digest(std::array::from_fn(|index| index as u8));
        let pinned = format!("quic://192.0.2.1:8853?pin=sha256:{PIN}&pin=sha256:{}", PIN.replace('=', ""));
        for (text, protocol, host, port, name, path, pins) in [
            ("tls://9.9.9.9#dns.quad9.net", Protocol::Tls, "9.9.9.9", 853, Some("dns.quad9.net"), "", vec![]),
            ("tls://DNS.Quad9.net:8853", Protocol::Tls, "dns.quad9.net", 8853, Some("dns.quad9.net"), "", vec![]),
            ("tls://1.1.1.1#1.1.1.1", Protocol::Tls, "1.1.1.1", 853, Some("1.1.1.1"), "", vec![]),
            ("https://dns.example", Protocol::Https, "dns.example", 443, Some("dns.example"), "/dns-query", vec![]),
            ("https://dns.example/a/b", Protocol::Https, "dns.example", 443, Some("dns.example"), "/a/b", vec![]),
            ("https://9.9.9.9/q", Protocol::Https, "9.9.9.9", 443, Some("9.9.9.9"), "/q", vec![]),
            (
                "h3://[2620:fe::fe]:444/q#dns.quad9.net",
                Protocol::H3,
                "[2620:fe::fe]",
                444,
                Some("dns.quad9.net"),
                "/q",
                vec![],
            ),
            (&pinned, Protocol::Quic, "192.0.2.1", 8853, None, "", vec![pin]),
        ] {
            let Ok(Server::Secure(secure)) = server(text) else { panic!("{text}: {:?}", server(text)) };
            assert_eq!(
                (secure.protocol, secure.host.to_string().as_str(), secure.port),
                (protocol, host, port),
                "{text}"
            );
            assert_eq!((secure.name.as_deref(), secure.path.as_str(), &secure.pins), (name, path, &pins), "{text}");
        }
        for (text, error) in [
            ("tls://9.9.9.9", ServerError::Nameless("tls", "9.9.9.9".into())),
            ("quic://[2620:fe::fe]:853", ServerError::Nameless("quic", "[2620:fe::fe]:853".into())),
            ("tls://9.9.9.999", ServerError::Shape),
            ("tls://9.9.9.9#", ServerError::Name),
            ("tls://9.9.9.9#a b", ServerError::Name),
            ("tls://dns.example:0", ServerError::Port),
            ("tls://dns.example:", ServerError::Port),
            ("tls://dns.example:99999", ServerError::Port),
            ("tls://dns.example:port", ServerError::Shape),
            ("tls://", ServerError::Shape),
            ("tls://user@dns.example", ServerError::Shape),
            ("tls://dns.example/dns-query", ServerError::Path("tls")),
            ("https://dns.example/a b", ServerError::BadPath),
            ("https://dns.example/dns-query?dns", ServerError::Query),
            ("https://dns.example/dns-query?ct=1", ServerError::Query),
            ("tls://9.9.9.9?pin=sha256:short", ServerError::Pin),
            ("tls://9.9.9.9?pin=sha256:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh9=", ServerError::Pin),
            ("tls://9.9.9.9?pin=sha1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", ServerError::Pin),
        ] {
            assert_eq!(server(text), Err(error), "{text}");
        }
    }

    #[test]
    fn what_is_shown_reads_as_the_same_server() {
        for text in [
            "system",
            "udp://9.9.9.9:53",
            "tcp://[2620:fe::fe]:53",
            "tls://9.9.9.9#dns.quad9.net",
            "tls://dns.quad9.net:8853",
            "https://dns.example/dns-query",
            "https://9.9.9.9/dns-query",
            "h3://[2620:fe::fe]:444/q#dns.quad9.net",
            "quic://dns.example",
        ] {
            let read = server(text).expect("a server");
            assert_eq!(read.to_string(), text);
        }
    }

    #[test]
    fn bootstrap_servers_are_asked_over_udp() {
        assert_eq!(bootstrap("9.9.9.9"), Ok(SocketAddr::from(([9, 9, 9, 9], 53))));
        assert_eq!(bootstrap("tls://9.9.9.9#dns.quad9.net"), Err(ServerError::Bootstrap));
        assert_eq!(bootstrap("system"), Err(ServerError::Bootstrap));
        assert_eq!(bootstrap("dns.quad9.net"), Err(ServerError::IsName));
    }
}
