//! `[upstream]` and its zones.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use super::dnssec;
use super::reader::{Limits, Table};
use super::sections::{optional_path, zone_name};
use super::server::{self, ServerError};
use crate::upstream::{ClientSubnet, DnssecSettings, Server, Settings, Strategy, ZoneSettings};

/// Seconds as a duration, for the constants below.
const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// `servers`
const SERVERS: [Server; 1] = [Server::System];
/// How many servers one choice of them may have.
const MAX_SERVERS: usize = 16;
/// `timeout`: stub resolvers ask again after 5 s (resolv.conf(5)), we must be done well before.
const TIMEOUT: Limits<Duration> = Limits { default: secs(2), min: Duration::from_millis(100), max: secs(30) };
/// `max_in_flight` of all upstreams: ten thousand a second and more, when they take a second to answer. Each takes some
/// kilobytes, so this is a bound of memory too.
const MAX_IN_FLIGHT: Limits<usize> = Limits { default: 16_000, min: 1, max: 100_000 };
/// `connections`: two serve any server that answers out of order; some answer one question after another.
const CONNECTIONS: Limits<usize> = Limits { default: 4, min: 1, max: 64 };
/// `strategy`
const STRATEGIES: [(&str, Strategy); 4] = [
    ("fastest", Strategy::Fastest),
    ("parallel", Strategy::Parallel),
    ("ordered", Strategy::Ordered),
    ("random", Strategy::Random),
];
/// `client_subnet`
const CLIENT_SUBNETS: [(&str, ClientSubnet); 3] =
    [("off", ClientSubnet::Off), ("forward", ClientSubnet::Forward), ("truncate", ClientSubnet::Truncate)];
/// How many zones there may be.
const MAX_ZONES: usize = 1000;

/// `[upstream]`; `listen` is what no server may be.
pub(super) fn read(mut table: Table<'_>, listen: &[SocketAddr], folder: &Path, dnssec: DnssecSettings) -> Settings {
    let server = |text: &str| match server::server(text)? {
        server if server.address().is_some_and(|address| is_us(address, listen)) => Err(ServerError::Ourselves),
        server => Ok(server),
    };
    let bootstrap = |text: &str| match server::bootstrap(text)? {
        address if is_us(address, listen) => Err(ServerError::Ourselves),
        address => Ok(address),
    };
    let recurse = table.choice("mode", &[("forward", false), ("recurse", true)], false);
    let recursion = dnssec::recursion(table.table("recursion"), folder);
    let servers = table.texts("servers", 1..=MAX_SERVERS, server).unwrap_or_else(|| SERVERS.to_vec());
    let strategy = table.choice("strategy", &STRATEGIES, Strategy::default());
    let bootstrap = table.texts("bootstrap", 0..=MAX_SERVERS, bootstrap).unwrap_or_default();
    let ca_file = table.text("ca_file", optional_path(folder)).flatten();
    let connections = table.count("connections", CONNECTIONS);
    let timeout = table.duration("timeout", TIMEOUT);
    let max_in_flight = table.count("max_in_flight", MAX_IN_FLIGHT);
    let mix_case = table.flag("mix_case", false);
    let client_subnet = table.choice("client_subnet", &CLIENT_SUBNETS, ClientSubnet::default());
    let mut zones: Vec<ZoneSettings> = Vec::new();
    for mut zone in table.tables("zone", MAX_ZONES) {
        let name = zone_name(&mut zone, zones.iter().map(|known| &known.name));
        let servers = zone.required("servers", "[\"udp://192.0.2.53\"]");
        let servers = servers.map(|field| field.read_all(1..=MAX_SERVERS, server));
        zone.finish();
        if let (Some(name), Some(servers)) = (name, servers) {
            zones.push(ZoneSettings { name, servers });
        }
    }
    table.finish();
    Settings {
        servers,
        zones,
        timeout,
        max_in_flight,
        mix_case,
        strategy,
        bootstrap,
        ca_file,
        connections,
        client_subnet,
        recursion: recurse.then_some(recursion),
        dnssec,
    }
}

/// Whether a query sent to `server` comes straight back here.
fn is_us(server: SocketAddr, listen: &[SocketAddr]) -> bool {
    let same = |ours: &SocketAddr| {
        let reached = ours.ip() == server.ip() || (ours.ip().is_unspecified() && server.ip().is_loopback());
        reached && ours.port() == server.port()
    };
    listen.iter().any(same)
}
