//! What is written down of a client's address.

use std::fmt::Write as _;
use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use sha2::{Digest, Sha256};

use super::Clients;

/// Turns addresses into what may be written.
pub(super) struct Mask {
    clients: Clients,
    key: [u8; 32],
}

impl Mask {
    /// With a key of its own, so that the hashes of two runs cannot be joined.
    pub(super) fn new(clients: Clients) -> Self {
        // std seeds each thread's hashers with 128 bits from the system; that is this key's strength.
        let seed = RandomState::new();
        let mut key = [0; 32];
        for (part, chunk) in key.chunks_exact_mut(8).enumerate() {
            chunk.copy_from_slice(&seed.hash_one(part).to_be_bytes());
        }
        Self { clients, key }
    }

    /// Writes `client` into the emptied `out`; false if nothing may be said. An IPv4-mapped address counts as IPv4.
    pub(super) fn show(&self, client: IpAddr, out: &mut String) -> bool {
        out.clear();
        let client = client.to_canonical();
        // Writing to a String cannot fail.
        let _ = match (self.clients, client) {
            (Clients::None, _) => return false,
            (Clients::Full, _) => write!(out, "{client}"),
            (Clients::Truncate, IpAddr::V4(v4)) => {
                write!(out, "{}/24", Ipv4Addr::from_bits(v4.to_bits() & (u32::MAX << 8)))
            }
            (Clients::Truncate, IpAddr::V6(v6)) => {
                write!(out, "{}/56", Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 72)))
            }
            (Clients::Hash, _) => self.hash(client, out),
        };
        true
    }

    /// The first 64 bits of SHA-256 over key and address: one block, whose length is fixed within a family.
    fn hash(&self, client: IpAddr, out: &mut String) -> std::fmt::Result {
        let digest = Sha256::new().chain_update(self.key);
        let digest = match client {
            IpAddr::V4(v4) => digest.chain_update(v4.octets()),
            IpAddr::V6(v6) => digest.chain_update(v6.octets()),
        };
        digest.finalize().iter().take(8).try_for_each(|byte| write!(out, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(mask: &Mask, client: &str) -> Option<String> {
        let mut out = "left over".into();
        mask.show(client.parse().expect("an address"), &mut out).then_some(out)
    }

    #[test]
    fn networks_full_addresses_and_nothing() {
        let truncate = Mask::new(Clients::Truncate);
        let cases = [
            ("192.0.2.77", "192.0.2.0/24", "192.0.2.77"),
            ("::ffff:192.0.2.77", "192.0.2.0/24", "192.0.2.77"),
            ("2001:db8:1:2ff:3::4", "2001:db8:1:200::/56", "2001:db8:1:2ff:3::4"),
            ("::1", "::/56", "::1"),
        ];
        for (client, network, full) in cases {
            assert_eq!(shown(&truncate, client).as_deref(), Some(network));
            assert_eq!(shown(&Mask::new(Clients::Full), client).as_deref(), Some(full));
            assert_eq!(shown(&Mask::new(Clients::None), client), None);
        }
    }

    #[test]
    fn a_hash_tells_clients_apart_and_says_nothing_after_a_restart() {
        let mask = Mask::new(Clients::Hash);
        let one = shown(&mask, "192.0.2.1").expect("a hash");
        assert_eq!(one.len(), 16);
        assert!(one.bytes().all(|b| b.is_ascii_hexdigit()));
        assert_eq!(shown(&mask, "::ffff:192.0.2.1").as_ref(), Some(&one));
        assert_ne!(shown(&mask, "192.0.2.2").as_ref(), Some(&one));
        assert_ne!(shown(&Mask::new(Clients::Hash), "192.0.2.1").as_ref(), Some(&one));
    }
}
