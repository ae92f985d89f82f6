//! Who is let in: by address when they connect, by the name they call the server when they ask.

use std::net::IpAddr;

use super::HttpSettings;
use crate::limit::{self, Acl};

/// The rules of `[admin]`.
#[derive(Debug)]
pub(super) struct Door {
    acl: Acl,
    hosts: Vec<String>,
}

impl Door {
    /// As configured.
    pub(super) fn new(settings: &HttpSettings) -> Self {
        let acl = Acl::new(&limit::Settings { allow_from: settings.allow_from.clone() });
        Self { acl, hosts: settings.hosts.clone() }
    }

    /// Whether this address may connect.
    pub(super) fn admits(&self, client: IpAddr) -> bool {
        self.acl.allows(client)
    }

    /// Whether this server goes by the name in a `Host` header. An address is no name: a web page can have a browser come
    /// here only under the page's own name.
    pub(super) fn answers_to(&self, host: &str) -> bool {
        let Some(name) = without_port(host) else { return false };
        if name.parse::<IpAddr>().is_ok() {
            return true;
        }
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        name == "localhost" || self.hosts.contains(&name)
    }
}

/// The host of `host[:port]`, an IPv6 address without its brackets.
fn without_port(host: &str) -> Option<&str> {
    let port = |text: &str| text.is_empty() || text.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok());
    if let Some(rest) = host.strip_prefix('[') {
        let (address, rest) = rest.split_once(']')?;
        return (address.parse::<std::net::Ipv6Addr>().is_ok() && port(rest)).then_some(address);
    }
    let end = host.find(':').unwrap_or(host.len());
    let (name, rest) = host.split_at_checked(end)?;
    (!name.is_empty() && port(rest)).then_some(name)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// The stupid twin: the host in front of a port, read by the standard library or compared as a whole.
        #[test]
        fn a_host_is_an_address_a_known_name_or_refused(host in "(localhost|127\\.0\\.0\\.1|\\[::1\\]|[a-z.:\\[\\]0-9]{0,12}|\\PC{0,8})", port in "(:[0-9]{1,6})?") {
            let door = Door::new(&HttpSettings::default());
            let text = format!("{host}{port}");
            let as_socket = |text: &str| text.parse::<std::net::SocketAddr>().is_ok();
            // Given some port, an address stays one; without, it gets one.
            let address = as_socket(&text) || as_socket(&format!("{text}:1")) || as_socket(&format!("{text}1"));
            let name = ["localhost", "localhost."].iter().any(|name| {
                let rest = text.strip_prefix(name);
                let port = |rest: &str| rest.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok());
                rest.is_some_and(|rest| rest.is_empty() || port(rest))
            });
            prop_assert!(!door.answers_to(&text) || address || name, "{text} is let in");
            prop_assert!(door.answers_to(&text) || !(as_socket(&text) || name), "{text} is refused");
        }
    }

    #[test]
    fn only_addresses_and_known_names_are_answered() {
        let hosts = vec!["resolver.lan".to_owned()];
        let door = Door::new(&HttpSettings { hosts, ..HttpSettings::default() });
        for good in [
            "127.0.0.1",
            "127.0.0.1:8053",
            "192.0.2.1:80",
            "[::1]",
            "[2001:db8::1]:8053",
            "localhost",
            "LOCALHOST:1",
            "resolver.lan",
            "Resolver.LAN.:8053",
        ] {
            assert!(door.answers_to(good), "{good}");
        }
        for bad in [
            "",
            ":",
            ":8053",
            "evil.example",
            "evil.example:8053",
            "localhost.evil.example",
            "xlocalhost",
            "resolver.lan.evil.example",
            "127.0.0.1.evil.example",
            "127.0.0.1:x",
            "127.0.0.1:99999",
            "[::1",
            "[localhost]",
            "[::1]x",
            "user@127.0.0.1",
            "127.0.0.1/",
            "кириллица",
            "::1",
        ] {
            assert!(!door.answers_to(bad), "{bad}");
        }
    }
}
