//! How servers are named: by address over UDP and TCP, by address or name over what is encrypted.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use crate::name::Name;
use crate::util::Digest;

/// How to reach one server. Shown as the configuration writes it, without pins.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Server {
    /// Whatever `/etc/resolv.conf` names.
    System,
    /// UDP, and TCP when an answer is truncated.
    Udp(SocketAddr),
    /// TCP only.
    Tcp(SocketAddr),
    /// What is encrypted.
    Secure(Box<Secure>),
}

/// A server whose certificate or key is checked.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Secure {
    /// What is spoken.
    pub protocol: Protocol,
    /// Where.
    pub host: Host,
    /// At which port.
    pub port: u16,
    /// Whom the certificate must be for, a host name or an IP address; without it a pin alone decides.
    pub name: Option<String>,
    /// Path of HTTP requests; empty for the others.
    pub path: String,
    /// SHA-256 of public keys (SubjectPublicKeyInfo), one of which the certificate must have; empty: any.
    pub pins: Vec<Digest>,
}

/// Protocols that are encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// DNS over TLS (RFC 7858).
    Tls,
    /// DNS over HTTPS (RFC 8484), HTTP/2.
    Https,
    /// The same over HTTP/3.
    H3,
    /// DNS over QUIC (RFC 9250).
    Quic,
}

/// Where a server is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// There.
    Address(IpAddr),
    /// Where the bootstrap servers say.
    Name(Name),
}

impl Protocol {
    /// As the scheme of a URL.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tls => "tls",
            Self::Https => "https",
            Self::H3 => "h3",
            Self::Quic => "quic",
        }
    }

    /// The port without one (RFC 7858 section 3.1, RFC 9250 section 4.1.1, HTTPS).
    pub fn port(self) -> u16 {
        match self {
            Self::Tls | Self::Quic => 853,
            Self::Https | Self::H3 => 443,
        }
    }

    /// Requests have a path.
    pub fn is_http(self) -> bool {
        matches!(self, Self::Https | Self::H3)
    }

    /// What is agreed on in the handshake (ALPN).
    pub(super) fn alpn(self) -> &'static [u8] {
        match self {
            Self::Tls => b"dot",
            Self::Https => b"h2",
            Self::H3 => b"h3",
            Self::Quic => b"doq",
        }
    }
}

impl Server {
    /// `udp`, `tcp`, `tls`, …
    pub(super) fn transport(&self) -> &'static str {
        match self {
            Self::System | Self::Udp(_) => "udp",
            Self::Tcp(_) => "tcp",
            Self::Secure(secure) => secure.protocol.as_str(),
        }
    }

    /// Its address, if that is known beforehand.
    pub fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::System => None,
            Self::Udp(address) | Self::Tcp(address) => Some(*address),
            Self::Secure(secure) => match secure.host {
                Host::Address(ip) => Some(SocketAddr::new(ip, secure.port)),
                Host::Name(_) => None,
            },
        }
    }
}

impl Secure {
    /// Host and port as HTTP names them. The name the certificate is for where there is one: a server behind an address
    /// may have several.
    pub(super) fn authority(&self) -> String {
        let host = match (&self.name, &self.host) {
            (Some(name), _) => name.clone(),
            (None, host) => host.to_string(),
        };
        let host = if host.parse::<std::net::Ipv6Addr>().is_ok() { format!("[{host}]") } else { host };
        if self.port == self.protocol.port() { host } else { format!("{host}:{}", self.port) }
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System => f.write_str("system"),
            Self::Udp(address) => write!(f, "udp://{address}"),
            Self::Tcp(address) => write!(f, "tcp://{address}"),
            Self::Secure(secure) => secure.fmt(f),
        }
    }
}

impl fmt::Display for Secure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.protocol.as_str(), self.host)?;
        if self.port != self.protocol.port() {
            write!(f, ":{}", self.port)?;
        }
        f.write_str(&self.path)?;
        match &self.name {
            Some(name) if *name != self.host.to_string().trim_matches(['[', ']']) => write!(f, "#{name}"),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(IpAddr::V6(ip)) => write!(f, "[{ip}]"),
            Self::Address(IpAddr::V4(ip)) => ip.fmt(f),
            Self::Name(name) => name.fmt(f),
        }
    }
}
