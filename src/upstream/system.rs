//! What `system` stands for, and which addresses are our own.

use std::net::{IpAddr, SocketAddr, UdpSocket};

use hickory_resolver::system_conf::read_system_conf;

use super::{Server, UpstreamError};

/// The servers `/etc/resolv.conf` names, ourselves left out: a host that points at its own qalqan must not make it ask itself.
pub(super) fn servers(own: &[SocketAddr]) -> Result<Vec<Server>, UpstreamError> {
    let (config, _) =
        read_system_conf().map_err(|error| UpstreamError::SystemUnreadable { reason: error.to_string() })?;
    let addresses = config.name_servers().iter().map(|server| SocketAddr::new(server.ip, 53));
    let servers: Vec<_> = addresses.filter(|&address| !is_own(address, own)).map(Server::Udp).collect();
    if servers.is_empty() { Err(UpstreamError::SystemEmpty) } else { Ok(servers) }
}

/// Whether a query sent to `address` would arrive at one of our listeners.
pub(super) fn is_own(address: SocketAddr, own: &[SocketAddr]) -> bool {
    own.iter().any(|listen| {
        listen.port() != 0
            && listen.port() == address.port()
            && (listen.ip() == address.ip()
                || listen.ip().is_unspecified() && may_reach(*listen, address) && is_local(address.ip()))
    })
}

/// A wildcard listener takes its own family; `::` takes IPv4 too unless told otherwise.
fn may_reach(wildcard: SocketAddr, address: SocketAddr) -> bool {
    wildcard.is_ipv6() || address.is_ipv4()
}

/// An address this host has: one can bind to it.
fn is_local(ip: IpAddr) -> bool {
    ip.is_loopback() || UdpSocket::bind((ip, 0)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_addresses_are_recognised() {
        let at = |text: &str| text.parse::<SocketAddr>().expect("an address");
        assert!(is_own(at("127.0.0.1:53"), &[at("127.0.0.1:53")]));
        assert!(is_own(at("127.0.0.1:53"), &[at("192.0.2.1:53"), at("0.0.0.0:53")]));
        assert!(is_own(at("127.0.0.1:53"), &[at("[::]:53")]));
        assert!(!is_own(at("127.0.0.1:53"), &[at("127.0.0.1:5353")]));
        assert!(!is_own(at("127.0.0.53:53"), &[at("127.0.0.1:53")]));
        assert!(!is_own(at("192.0.2.1:53"), &[at("0.0.0.0:53")]), "not an address of this host");
        assert!(!is_own(at("[::1]:53"), &[at("0.0.0.0:53")]));
    }
}
