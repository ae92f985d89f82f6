//! What servers are told of the clients they are asked for.

use std::net::IpAddr;

use crate::wire::Subnet;

/// Bits of an address that are told: RFC 7871 section 11.1 recommends no more.
const BITS: (u8, u8) = (24, 56);

/// Whether servers are told for whom they are asked (RFC 7871).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientSubnet {
    /// Never.
    #[default]
    Off,
    /// What the client says itself.
    Forward,
    /// The client's network, /24 or /56, unless it asks not to.
    Truncate,
}

impl ClientSubnet {
    /// What is told of a client who sent `query`.
    pub(super) fn of(self, query: &[u8], client: IpAddr) -> Option<Subnet> {
        match self {
            Self::Off => None,
            Self::Forward => Subnet::in_query(query),
            Self::Truncate => match Subnet::in_query(query).filter(Subnet::is_nobody) {
                Some(nobody) => Some(nobody),
                None => is_public(client)
                    .then(|| Subnet::of(client, if client.to_canonical().is_ipv4() { BITS.0 } else { BITS.1 })),
            },
        }
    }
}

/// An address that means something elsewhere (RFC 7871 section 11.3 wants the others kept).
fn is_public(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            let shared = ip.octets()[0] == 100 && ip.octets()[1] & 0xc0 == 64;
            !(ip.is_private() || ip.is_loopback() || ip.is_link_local() || ip.is_unspecified() || shared)
        }
        IpAddr::V6(ip) => {
            !(ip.is_loopback() || ip.is_unspecified() || ip.is_unique_local() || ip.is_unicast_link_local())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_told_only_as_set_and_never_a_private_one() {
        let client = |text: &str| text.parse::<IpAddr>().expect("an address");
        let told = |mode: ClientSubnet, ip: &str| mode.of(&[], client(ip));
        let network = |ip: &str, bits| Some(Subnet::of(client(ip), bits));
        for ip in ["198.51.100.7", "2001:db8::7"] {
            assert_eq!(told(ClientSubnet::Off, ip), None);
            assert_eq!(told(ClientSubnet::Forward, ip), None, "it said nothing");
        }
        assert_eq!(told(ClientSubnet::Truncate, "198.51.100.7"), network("198.51.100.0", 24));
        assert_eq!(told(ClientSubnet::Truncate, "::ffff:198.51.100.7"), network("198.51.100.0", 24));
        assert_eq!(told(ClientSubnet::Truncate, "2001:db8:1:2345::7"), network("2001:db8:1:2300::", 56));
        for ip in [
            "127.0.0.1",
            "10.1.2.3",
            "192.168.1.1",
            "172.16.0.1",
            "100.64.0.1",
            "169.254.1.1",
            "::1",
            "fd00::1",
            "fe80::1",
        ] {
            assert_eq!(told(ClientSubnet::Truncate, ip), None, "{ip}");
        }
    }

    #[test]
    fn a_client_that_asks_not_to_be_told_is_not() {
        let mut query = vec![0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1, 0, 0, 1, 0, 1];
        query.extend([0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 8, 0, 8, 0, 4, 0, 1, 0, 0]);
        let client = IpAddr::from([198, 51, 100, 7]);
        let told = ClientSubnet::Truncate.of(&query, client).expect("it says that it says nothing");
        assert!(told.is_nobody());
        assert_eq!(ClientSubnet::Forward.of(&query, client), Some(told));
        assert_eq!(ClientSubnet::Off.of(&query, client), None);
    }
}
