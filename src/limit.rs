//! Who may ask: the access list; and who somebody is: address blocks, doors. (Rate limits will stand here too.)

mod door;
mod prefixes;

pub use door::{Door, Doors, MAX_DOOR, NotADoor, door_name};
pub use prefixes::Prefixes;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// An address block. One of IPv4-mapped addresses is that of the IPv4 addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
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
        let block = Self::around(address, prefix);
        if block.address != address {
            return Err(CidrError::HostBits);
        }
        Ok(block.canonical())
    }
}

impl Cidr {
    /// The block of this length that an address lies in.
    pub fn around(address: IpAddr, prefix: u8) -> Self {
        let prefix = prefix.min(if address.is_ipv4() { 32 } else { 128 });
        let address = match address {
            IpAddr::V4(v4) => IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() & mask4(prefix))),
            IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & mask6(prefix))),
        };
        Self { address, prefix }
    }

    /// Whether an address lies in it.
    pub fn covers(&self, address: IpAddr) -> bool {
        Self::around(address, self.prefix).address == self.address
    }

    /// IPv4, if all its addresses are IPv4-mapped.
    fn canonical(self) -> Self {
        match (self.address.to_canonical(), self.prefix.checked_sub(96)) {
            (address @ IpAddr::V4(_), Some(prefix)) if self.address.is_ipv6() => Self { address, prefix },
            _ => self,
        }
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
    blocks: std::sync::Arc<Prefixes<bool>>,
}

impl Acl {
    /// From settings.
    pub fn new(settings: &Settings) -> Self {
        let blocks = settings.allow_from.iter().map(|&block| (block, true));
        Self { blocks: Prefixes::new(blocks, false).into() }
    }

    /// Whether `client` may ask. An IPv4-mapped address counts as IPv4.
    pub fn allows(&self, client: IpAddr) -> bool {
        self.blocks.find(client)
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
        assert_eq!(read("::ffff:10.0.0.0/104"), Ok("10.0.0.0/8".into()));
        assert_eq!(read("::ffff:0.0.0.0/95"), Err(CidrError::HostBits));
        assert_eq!(read("::ffff:192.0.2.1"), Ok("192.0.2.1/32".into()));
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
