//! The servers that are asked for everything that is not blocked: hickory's connections under our own strategy.

use std::net::SocketAddr;
use std::time::Duration;

use crate::name::Name;

/// How to reach one server.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Server {
    /// Whatever `/etc/resolv.conf` names.
    System,
    /// UDP, and TCP when an answer is truncated.
    Udp(SocketAddr),
    /// TCP only.
    Tcp(SocketAddr),
}

/// Servers of their own for one domain (conditional forwarding).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZoneSettings {
    /// Names at or below this one go to `servers`; the longest match wins.
    pub name: Name,
    /// In order of preference.
    pub servers: Vec<Server>,
}

/// What is asked where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// In order of preference; at least one.
    pub servers: Vec<Server>,
    /// Conditional forwarding.
    pub zones: Vec<ZoneSettings>,
    /// For one query, all tries together.
    pub timeout: Duration,
    /// Queries under way at once, over all servers; more are answered SERVFAIL.
    pub max_in_flight: usize,
}
