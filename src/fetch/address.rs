//! Addresses of lists: what is accepted, and how they are shown without what is secret in them.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use url::{Host, Url};

use crate::signature;

/// A longer address is a mistake.
const MAX_LENGTH: usize = 4096;

/// `https://…` or `http://…`, without user and password.
#[derive(Clone, PartialEq, Eq)]
pub struct Address(Url);

impl Address {
    /// Reads one.
    ///
    /// # Errors
    /// It is none, or one that must not be used.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        if text.len() > MAX_LENGTH || text.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err(AddressError::NotAnAddress);
        }
        Self::accept(Url::parse(text).map_err(|_| AddressError::NotAnAddress)?)
    }

    /// Where a redirect leads from here.
    ///
    /// # Errors
    /// As for [`Self::parse`].
    pub(super) fn join(&self, location: &str) -> Result<Self, AddressError> {
        if location.len() > MAX_LENGTH {
            return Err(AddressError::NotAnAddress);
        }
        Self::accept(self.0.join(location).map_err(|_| AddressError::NotAnAddress)?)
    }

    /// Checks what every address must fulfil.
    fn accept(mut url: Url) -> Result<Self, AddressError> {
        if !matches!(url.scheme(), "https" | "http") {
            return Err(AddressError::Scheme);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(AddressError::Credentials);
        }
        if url.host_str().is_none_or(str::is_empty) || url.port() == Some(0) {
            return Err(AddressError::NotAnAddress);
        }
        url.set_fragment(None);
        Ok(Self(url))
    }

    /// Anybody on the way can read and change what is fetched.
    pub fn is_plain(&self) -> bool {
        self.0.scheme() == "http"
    }

    /// For reports: keys that some put into the query are left out.
    pub fn shown(&self) -> String {
        let mut shown = self.0.clone();
        shown.set_query(None);
        let more = if self.0.query().is_some() { "?…" } else { "" };
        format!("{shown}{more}")
    }

    /// In full, as it is sent.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Where the signature is.
    pub(super) fn signature(&self) -> Self {
        let mut url = self.0.clone();
        url.set_path(&format!("{}{}", self.0.path(), signature::ENDING));
        Self(url)
    }

    /// The same server: who may be told a token for one may be told for the other.
    pub(super) fn same_server(&self, other: &Self) -> bool {
        self.0.origin() == other.0.origin()
    }

    /// An IP address of a private network, this host or the like stands in place of a name.
    pub(super) fn is_private_number(&self) -> bool {
        match self.0.host() {
            Some(Host::Ipv4(ip)) => is_private(ip.into()),
            Some(Host::Ipv6(ip)) => is_private(ip.into()),
            Some(Host::Domain(name)) => name.eq_ignore_ascii_case("localhost"),
            None => false,
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Address").field(&self.shown()).finish()
    }
}

/// Why an address will not do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressError {
    /// Not a URL with a host.
    NotAnAddress,
    /// Neither https nor http.
    Scheme,
    /// With user and password.
    Credentials,
}

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotAnAddress => "not the address of a list; write it like https://lists.example/domains.txt",
            Self::Scheme => "lists are fetched by https:// (or http:// with a signature or hash) only",
            Self::Credentials => {
                "user and password do not belong into an address, which stands in logs; use `token_file` in `fetch`"
            }
        })
    }
}

impl std::error::Error for AddressError {}

/// Not an address of the public internet.
pub(super) fn is_private(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_private_v4(ip),
        IpAddr::V6(ip) => match ip.to_ipv4_mapped() {
            Some(ip) => is_private_v4(ip),
            None => is_private_v6(ip),
        },
    }
}

/// RFC 6890 and multicast.
fn is_private_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    ip.is_private()
        || ip.is_loopback()
        || ip.is_link_local()
        || ip.is_multicast()
        || a == 0
        || a >= 240
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 198 && (18..20).contains(&b))
}

/// Likewise, with the prefixes that carry an IPv4 address inside.
fn is_private_v6(ip: Ipv6Addr) -> bool {
    let inner = |high: u16, low: u16| {
        let [[a, b], [c, d]] = [high, low].map(u16::to_be_bytes);
        is_private_v4(Ipv4Addr::new(a, b, c, d))
    };
    match ip.segments() {
        // NAT64 and 6to4.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => inner(high, low),
        [0x64, 0xff9b, 1, ..] => true,
        // ::, ::1, and the abandoned way to write IPv4.
        [0, 0, 0, 0, 0, 0, _, _] => true,
        [first, ..] => (first & 0xfe00) == 0xfc00 || (first & 0xff80) == 0xfe80 || (first & 0xff00) == 0xff00,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Address {
        Address::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn what_is_shown_has_no_secrets() {
        let url = address("HTTPS://Lists.Example:443/a/b.txt?key=secret#part");
        assert_eq!(url.shown(), "https://lists.example/a/b.txt?…");
        assert_eq!(url.as_str(), "https://lists.example/a/b.txt?key=secret");
        assert_eq!(url.signature().as_str(), "https://lists.example/a/b.txt.minisig?key=secret");
        assert!(!format!("{url:?}").contains("secret"));
        assert_eq!(address("https://биржа.example/").shown(), "https://xn--80abph4b.example/");
    }

    #[test]
    fn only_lists_on_the_web_are_fetched() {
        for (text, error) in [
            ("https://u:p@lists.example/", AddressError::Credentials),
            ("https://u@lists.example/", AddressError::Credentials),
            ("ftp://lists.example/", AddressError::Scheme),
            ("file:///etc/passwd", AddressError::Scheme),
            ("https://", AddressError::NotAnAddress),
            ("https://a b/", AddressError::NotAnAddress),
            ("https://a.example:0/", AddressError::NotAnAddress),
            ("https://a.example:99999/", AddressError::NotAnAddress),
            ("https://a.example/\r\nHost: b", AddressError::NotAnAddress),
            ("", AddressError::NotAnAddress),
        ] {
            assert_eq!(Address::parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn redirects_are_relative_and_servers_differ_by_port_and_scheme() {
        let url = address("https://lists.example/a/b.txt");
        let next = url.join("../c.txt?x=1").expect("an address");
        assert_eq!(next.as_str(), "https://lists.example/c.txt?x=1");
        assert!(url.same_server(&next));
        for other in ["https://lists.example:8443/", "http://lists.example/", "//other.example/a"] {
            assert!(!url.same_server(&url.join(other).expect("an address")), "{other}");
        }
        assert_eq!(url.join("file:///etc/passwd"), Err(AddressError::Scheme));
        assert_eq!(url.join("javascript:alert(1)"), Err(AddressError::Scheme));
    }

    #[test]
    fn private_networks_in_every_spelling() {
        for text in [
            "127.0.0.1",
            "10.1.2.3",
            "172.31.0.1",
            "192.168.0.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "198.18.0.1",
            "::",
            "::1",
            "fe80::1",
            "fc00::1",
            "fd12::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "::7f00:1",
            "64:ff9b:1::1",
        ] {
            assert!(is_private(text.parse().expect("an address")), "{text}");
        }
        for text in ["9.9.9.9", "172.32.0.1", "100.128.0.1", "2620:fe::fe", "::ffff:9.9.9.9", "64:ff9b::909:909"] {
            assert!(!is_private(text.parse().expect("an address")), "{text}");
        }
        for text in ["http://0x7f.1/", "http://2130706433/", "http://[::1]/", "http://LOCALHOST/", "http://127.1/"] {
            assert!(address(text).is_private_number(), "{text}");
        }
        assert!(!address("http://lists.example/").is_private_number());
    }
}
