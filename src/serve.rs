//! Listeners: bytes in, the engine's bytes out.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// `[server]` without its access list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// UDP and TCP addresses; port 0 picks one.
    pub listen: Vec<SocketAddr>,
    /// UDP worker threads; 0: one a core.
    pub workers: usize,
    /// Where the bound addresses are written as JSON; `None`: nowhere.
    pub ready_file: Option<PathBuf>,
    /// TCP limits.
    pub tcp: TcpSettings,
}

/// `[server.tcp]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TcpSettings {
    /// A connection without a query for this long is closed.
    pub idle: Duration,
    /// A connection is closed after this long, busy or not.
    pub total: Duration,
    /// Connections in all.
    pub max_connections: usize,
    /// Connections of one client address.
    pub max_per_client: usize,
    /// Unanswered queries of one connection.
    pub max_in_flight: usize,
}
