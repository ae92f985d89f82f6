//! The client subnet option (RFC 7871): for whom an answer was asked, and for whom it holds.

use std::net::IpAddr;

use super::walk::{record, skip_name};
use super::{HEADER, option, rtype, u16_at};

/// A network, as the option writes it. Octets behind the prefix are zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Subnet {
    v6: bool,
    prefix: u8,
    octets: [u8; 16],
}

impl Subnet {
    /// The most octets of the option, code and length included.
    pub const MAX: usize = 8 + 16;

    /// The first `prefix` bits of an address.
    pub fn of(ip: IpAddr, prefix: u8) -> Self {
        match ip.to_canonical() {
            IpAddr::V4(ip) => {
                let mut octets = [0; 16];
                octets[..4].copy_from_slice(&ip.octets());
                Self::cut(false, prefix.min(32), octets)
            }
            IpAddr::V6(ip) => Self::cut(true, prefix.min(128), ip.octets()),
        }
    }

    /// Clears what stands behind the prefix.
    fn cut(v6: bool, prefix: u8, mut octets: [u8; 16]) -> Self {
        for (index, octet) in octets.iter_mut().enumerate() {
            let bits = usize::from(prefix).saturating_sub(8 * index).min(8) as u32;
            *octet &= (0xff00_u16 >> bits) as u8;
        }
        Self { v6, prefix, octets }
    }

    /// The client does not want its network told (a prefix of no bits, RFC 7871 section 7.1.2).
    pub fn is_nobody(&self) -> bool {
        self.prefix == 0
    }

    /// The option a client sent, if it is well-formed (RFC 7871 section 6).
    pub fn in_query(query: &[u8]) -> Option<Self> {
        let (family, source, scope, octets) = find(query)?;
        let (v6, most) = match family {
            1 => (false, 32),
            2 => (true, 128),
            _ => return None,
        };
        let whole = usize::from(source).div_ceil(8);
        if source > most || scope != 0 || octets.len() != whole {
            return None;
        }
        let mut filled = [0; 16];
        filled.get_mut(..whole)?.copy_from_slice(octets);
        let subnet = Self::cut(v6, source, filled);
        (subnet.octets == filled).then_some(subnet)
    }

    /// Writes the option; gives its length.
    pub fn write(&self, out: &mut [u8; Self::MAX]) -> usize {
        let whole = usize::from(self.prefix).div_ceil(8);
        let family = if self.v6 { 2 } else { 1 };
        let len = 4 + whole as u8;
        out[..8].copy_from_slice(&[0, option::CLIENT_SUBNET as u8, 0, len, 0, family, self.prefix, 0]);
        out[8..8 + whole].copy_from_slice(&self.octets[..whole]);
        8 + whole
    }
}

/// The answer holds for a part of the world only (a scope of some bits, RFC 7871 section 7.3.1).
pub fn is_tailored(answer: &[u8]) -> bool {
    find(answer).is_some_and(|(_, _, scope, _)| scope > 0)
}

/// Family, source prefix, scope prefix and address octets of the option in a message.
fn find(message: &[u8]) -> Option<(u16, u8, u8, &[u8])> {
    let mut at = HEADER;
    for _ in 0..u16_at(message, 4)? {
        at = skip_name(message, at)? + 4;
    }
    let records = (6..12).step_by(2).map(|place| u16_at(message, place)).sum::<Option<u16>>()?;
    for _ in 0..records {
        let record = record(message, at)?;
        at = record.end;
        if record.rtype != rtype::OPT {
            continue;
        }
        let mut option = record.rdata;
        while option < record.end {
            let (code, len) = (u16_at(message, option)?, usize::from(u16_at(message, option + 2)?));
            let data = message.get(option + 4..option + 4 + len)?;
            if code == option::CLIENT_SUBNET {
                let (family, rest) = data.split_first_chunk::<2>()?;
                let ([source, scope], octets) = rest.split_first_chunk::<2>()?;
                return Some((u16::from_be_bytes(*family), *source, *scope, octets));
            }
            option += 4 + len;
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A query for `a.` with these octets as its OPT's options.
    fn query(options: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1, 1, b'a', 0, 0, 1, 0, 1];
        bytes.extend([0, 0, 41, 4, 208, 0, 0, 0, 0]);
        bytes.extend((options.len() as u16).to_be_bytes());
        bytes.extend(options);
        bytes
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(ip: IpAddr, prefix in 0..=128_u8) {
            let subnet = Subnet::of(ip, prefix);
            let mut option = [0; Subnet::MAX];
            let len = subnet.write(&mut option);
            prop_assert_eq!(Subnet::in_query(&query(&option[..len])), Some(subnet));
            // The stupid twin: bit by bit.
            let bit = |octets: &[u8], index: usize| octets[index / 8] >> (7 - index % 8) & 1;
            let octets = match ip.to_canonical() {
                IpAddr::V4(ip) => ip.octets().to_vec(),
                IpAddr::V6(ip) => ip.octets().to_vec(),
            };
            for index in 0..8 * octets.len() {
                let expected = if index < usize::from(prefix) { bit(&octets, index) } else { 0 };
                prop_assert_eq!(bit(&subnet.octets, index), expected);
            }
        }

        #[test]
        fn any_octets_can_be_looked_at(message in prop::collection::vec(any::<u8>(), 0..80), options in prop::collection::vec(any::<u8>(), 0..40)) {
            let _ = (Subnet::in_query(&message), is_tailored(&message));
            let _ = (Subnet::in_query(&query(&options)), is_tailored(&query(&options)));
        }
    }

    #[test]
    fn malformed_options_are_none() {
        let good = [0, 8, 0, 7, 0, 1, 24, 0, 192, 0, 2];
        assert_eq!(Subnet::in_query(&query(&good)), Some(Subnet::of("192.0.2.9".parse().expect("an address"), 24)));
        for (what, at, value) in [("family", 5, 3), ("scope", 7, 1), ("too long", 6, 33), ("bits behind", 6, 22)] {
            let mut bad = good;
            bad[at] = value;
            assert_eq!(Subnet::in_query(&query(&bad)), None, "{what}");
        }
        let opt_out = [0, 8, 0, 4, 0, 1, 0, 0];
        assert!(Subnet::in_query(&query(&opt_out)).is_some_and(|subnet| subnet.is_nobody()));
        assert_eq!(Subnet::in_query(&query(&[])), None);
    }

    #[test]
    fn an_answer_with_a_scope_is_not_for_all() {
        assert!(is_tailored(&query(&[0, 8, 0, 7, 0, 1, 24, 16, 192, 0, 2])));
        assert!(!is_tailored(&query(&[0, 8, 0, 7, 0, 1, 24, 0, 192, 0, 2])));
        assert!(!is_tailored(&query(&[])));
    }
}
