//! What is written down of a client's address.

use std::fmt::Write as _;
use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use sha2::{Digest, Sha256};

use super::Clients;

/// Clients (or their networks) whose text is remembered; each has one place.
const REMEMBERED: usize = 512;
/// The longest text: an IPv6 network in quotes.
const TEXT: usize = "\"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/56\"".len();

/// Says what may be written of a client.
pub struct Shown {
    mask: Mask,
    known: Box<[Known]>,
    text: String,
}

/// A remembered text.
#[derive(Clone)]
struct Known {
    client: Option<IpAddr>,
    len: u8,
    text: [u8; TEXT],
}

impl Shown {
    /// With a key of its own for hashes.
    pub fn new(clients: Clients) -> Self {
        let nobody = Known { client: None, len: 0, text: [0; TEXT] };
        Self { mask: Mask::new(clients), known: vec![nobody; REMEMBERED].into(), text: String::new() }
    }

    /// As much of the address as may be known; `None` where nothing may, or only a hash.
    pub fn address(&self, client: IpAddr) -> Option<IpAddr> {
        self.mask.cut(client).filter(|_| self.mask.clients != Clients::Hash)
    }

    /// What [`Self::json`] has between its quotes, if anything.
    pub fn text(&mut self, client: IpAddr) -> Option<&[u8]> {
        self.json(client).strip_prefix(b"\"")?.strip_suffix(b"\"")
    }

    /// A string, or `null`.
    pub fn json(&mut self, client: IpAddr) -> &[u8] {
        let Some(client) = self.mask.cut(client) else { return b"null" };
        let known = &mut self.known[place(client)];
        if known.client != Some(client) {
            self.mask.text(client, &mut self.text);
            let text = self.text.as_bytes();
            let len = text.len().min(TEXT);
            known.text[..len].copy_from_slice(&text[..len]);
            (known.client, known.len) = (Some(client), len as u8);
        }
        &known.text[..usize::from(known.len)]
    }
}

/// Where the text of a client is remembered. Who chooses addresses can only make himself be written anew each time.
fn place(client: IpAddr) -> usize {
    let bits = match client {
        IpAddr::V4(v4) => v4.to_bits().into(),
        IpAddr::V6(v6) => (v6.to_bits() >> 64) as u64 ^ v6.to_bits() as u64,
    };
    (bits.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (u64::BITS - REMEMBERED.ilog2())) as usize
}

/// Turns addresses into what may be written.
struct Mask {
    clients: Clients,
    key: [u8; 32],
}

impl Mask {
    /// With a key of its own, so that the hashes of two runs cannot be joined.
    fn new(clients: Clients) -> Self {
        // std seeds each thread's hashers with 128 bits from the system; that is this key's strength.
        let seed = RandomState::new();
        let mut key = [0; 32];
        for (part, chunk) in key.chunks_exact_mut(8).enumerate() {
            chunk.copy_from_slice(&seed.hash_one(part).to_be_bytes());
        }
        Self { clients, key }
    }

    /// As much of an address as may be known; `None` if nothing may be said. An IPv4-mapped address counts as IPv4.
    fn cut(&self, client: IpAddr) -> Option<IpAddr> {
        Some(match (self.clients, client.to_canonical()) {
            (Clients::None, _) => return None,
            (Clients::Full | Clients::Hash, client) => client,
            (Clients::Truncate, IpAddr::V4(v4)) => Ipv4Addr::from_bits(v4.to_bits() & (u32::MAX << 8)).into(),
            (Clients::Truncate, IpAddr::V6(v6)) => Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 72)).into(),
        })
    }

    /// Makes `out` what [`Self::cut`] left, in quotes: addresses, networks and hashes hold nothing that JSON would escape.
    fn text(&self, cut: IpAddr, out: &mut String) {
        out.clear();
        out.push('"');
        // Writing to a String cannot fail.
        let _ = match (self.clients, cut) {
            (Clients::Hash, _) => self.hash(cut, out),
            (_, IpAddr::V4(v4)) => {
                push_v4(v4, out);
                Ok(())
            }
            (_, IpAddr::V6(v6)) => write!(out, "{v6}"),
        };
        out.push_str(match (self.clients, cut) {
            (Clients::Truncate, IpAddr::V4(_)) => "/24\"",
            (Clients::Truncate, IpAddr::V6(_)) => "/56\"",
            _ => "\"",
        });
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

/// An IPv4 address as `Display` writes it, for a tenth of the time.
fn push_v4(address: Ipv4Addr, out: &mut String) {
    for (at, octet) in address.octets().into_iter().enumerate() {
        if at > 0 {
            out.push('.');
        }
        for power in [100, 10, 1] {
            if octet >= power || power == 1 {
                out.push(char::from(b'0' + octet / power % 10));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(mask: &Mask, client: &str) -> Option<String> {
        let mut out = "left over".into();
        mask.text(mask.cut(client.parse().expect("an address"))?, &mut out);
        Some(out.strip_prefix('"')?.strip_suffix('"')?.to_owned())
    }

    proptest! {
        #[test]
        fn what_is_remembered_is_what_is_written_anew(
            addresses in prop::collection::vec((any::<bool>(), 0..4_u128, any::<u32>()), 1..50),
        ) {
            for clients in [Clients::Full, Clients::Truncate, Clients::None] {
                let mut running = Shown::new(clients);
                for &(v6, high, low) in &addresses {
                    // Many fall into one place: 4 networks of many hosts.
                    let low = low % 4096;
                    let client = if v6 {
                        IpAddr::from(Ipv6Addr::from_bits(high << 80 | u128::from(low)))
                    } else {
                        IpAddr::from(Ipv4Addr::from_bits((high as u32) << 24 | low << 8 | low))
                    };
                    let plain = client.to_canonical();
                    let expected = match (clients, plain) {
                        (Clients::Full, _) => format!("\"{plain}\""),
                        (Clients::Truncate, IpAddr::V4(v4)) => {
                            let [a, b, c, _] = v4.octets();
                            format!("\"{}/24\"", Ipv4Addr::new(a, b, c, 0))
                        }
                        (Clients::Truncate, IpAddr::V6(v6)) => {
                            let [a, b, c, d, ..] = v6.segments();
                            format!("\"{}/56\"", Ipv6Addr::new(a, b, c, d & 0xff00, 0, 0, 0, 0))
                        }
                        _ => "null".to_owned(),
                    };
                    prop_assert_eq!(std::str::from_utf8(running.json(client)), Ok(expected.as_str()));
                }
            }
        }
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
