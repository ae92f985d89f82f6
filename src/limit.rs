//! Who may ask: the access list; and who somebody is: address blocks, doors. (Rate limits will stand here too.)

mod door;

pub use door::{Door, Doors, MAX_DOOR, NotADoor, door_name};

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// An address block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cidr {
    address: IpAddr,
    prefix: u8,
}

/// A text that is not an address block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CidrError {
    /// Not an IP address before the slash.
    Address,
    /// Not a number of bits the family has.
    Prefix,
    /// Bits are set behind the prefix: which block is meant is unclear.
    HostBits,
}

impl fmt::Display for CidrError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Address => "not an IP address or address block (like 10.0.0.0/8 or fc00::/7)",
            Self::Prefix => "the prefix length is not a number the address family has",
            Self::HostBits => "bits are set behind the prefix",
        })
    }
}

impl std::error::Error for CidrError {}

impl FromStr for Cidr {
    type Err = CidrError;

    fn from_str(text: &str) -> Result<Self, CidrError> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| CidrError::Address)?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            Some(digits) => digits.parse().ok().filter(|&p| p <= width).ok_or(CidrError::Prefix)?,
            None => width,
        };
        let block = Self { address, prefix };
        let network = match address {
            IpAddr::V4(v4) => IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() & mask4(prefix))),
            IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & mask6(prefix))),
        };
        if network == address { Ok(block) } else { Err(CidrError::HostBits) }
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// The access list as settings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Clients in one of these blocks are answered, all others get REFUSED with EDE 18.
    pub allow_from: Vec<Cidr>,
}

/// The access list, ready to ask.
#[derive(Clone, Debug, Default)]
pub struct Acl {
    v4: Box<[(u32, u32)]>,
    v6: Box<[(u128, u128)]>,
}

impl Acl {
    /// From settings.
    pub fn new(settings: &Settings) -> Self {
        let mut v4 = Vec::new();
        let mut v6 = Vec::new();
        for block in &settings.allow_from {
            match block.address {
                IpAddr::V4(a) => v4.push((a.to_bits(), mask4(block.prefix))),
                IpAddr::V6(a) => v6.push((a.to_bits(), mask6(block.prefix))),
            }
        }
        Self { v4: v4.into(), v6: v6.into() }
    }

    /// Whether `client` may ask. An IPv4-mapped address counts as IPv4.
    pub fn allows(&self, client: IpAddr) -> bool {
        match client.to_canonical() {
            IpAddr::V4(a) => self.v4.iter().any(|&(net, mask)| a.to_bits() & mask == net),
            IpAddr::V6(a) => self.v6.iter().any(|&(net, mask)| a.to_bits() & mask == net),
        }
    }
}

/// Netmask of an IPv4 prefix.
fn mask4(prefix: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0)
}

/// Netmask of an IPv6 prefix.
fn mask6(prefix: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_read_strictly() {
        let read = |text: &str| text.parse::<Cidr>().map(|c| c.to_string());
        assert_eq!(read("10.0.0.0/8"), Ok("10.0.0.0/8".into()));
        assert_eq!(read("192.0.2.1"), Ok("192.0.2.1/32".into()));
        assert_eq!(read("::/0"), Ok("::/0".into()));
        assert_eq!(read("10.0.0.1/8"), Err(CidrError::HostBits));
        assert_eq!(read("10.0.0.0/33"), Err(CidrError::Prefix));
        assert_eq!(read("ten/8"), Err(CidrError::Address));
    }

    #[test]
    fn only_listed_blocks_may_ask() {
        let allow_from = ["10.0.0.0/8", "fe80::/10"].map(|t| t.parse().expect("a block")).to_vec();
        let acl = Acl::new(&Settings { allow_from });
        let asks = |text: &str| acl.allows(text.parse().expect("an address"));
        assert!(asks("10.255.0.1") && asks("::ffff:10.0.0.1") && asks("fe80::1"));
        assert!(!asks("11.0.0.1") && !asks("::1") && !asks("2001:db8::1"));
    }
}
