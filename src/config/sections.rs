//! The sections that become one settings struct each: `[server]`, `[upstream]`, `[cache]`, `[local]`, `[[zone]]`, `[hits]`,
//! `[reload]`, `[orders]`.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::clients;
use super::reader::{Limits, Table};
use super::values::{self, ValueError};
use super::{OrdersSettings, ReloadSettings, host};
use crate::hits::Clients;
use crate::local::Canary;
use crate::name::Name;
use crate::upstream::{Server, ZoneSettings};
use crate::{cache, history, hits, limit, local, policy, serve, upstream};

/// Seconds as a duration, for the constants below.
const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// `listen`: a port nothing else needs rights for.
const LISTEN: [&str; 1] = ["127.0.0.1:5353"];
/// How many addresses may be listened at.
const MAX_LISTEN: usize = 64;
/// `allow_from`: this host and private networks (RFC 1918, RFC 6598, RFC 4193, link-local); never the world.
const ALLOW_FROM: [&str; 8] = [
    "127.0.0.0/8",
    "::1/128",
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "100.64.0.0/10",
    "fc00::/7",
    "fe80::/10",
];
/// `workers`: 0 is one a core.
const WORKERS: Limits<usize> = Limits { default: 0, min: 0, max: 256 };
/// `idle`: seconds, as RFC 7766 section 6.2.3 asks for.
const IDLE: Limits<Duration> = Limits { default: secs(10), min: secs(1), max: secs(3600) };
/// `total`: no connection holds its place for ever.
const TOTAL: Limits<Duration> = Limits { default: secs(600), min: secs(1), max: secs(86_400) };
/// `max_connections`
const MAX_CONNECTIONS: Limits<usize> = Limits { default: 1000, min: 1, max: 100_000 };
/// `max_per_client`: a whole office may stand behind one address.
const MAX_PER_CLIENT: Limits<usize> = Limits { default: 50, min: 1, max: 100_000 };
/// `max_in_flight` of a connection.
const MAX_PIPELINED: Limits<usize> = Limits { default: 64, min: 1, max: 1000 };
/// `servers`
const SERVERS: [Server; 1] = [Server::System];
/// How many servers one choice of them may have.
const MAX_SERVERS: usize = 16;
/// `timeout`: stub resolvers ask again after 5 s (resolv.conf(5)), we must be done well before.
const TIMEOUT: Limits<Duration> = Limits { default: secs(2), min: Duration::from_millis(100), max: secs(30) };
/// `max_in_flight` of all upstreams: ten thousand a second and more, when they take a second to answer. Each takes some
/// kilobytes, so this is a bound of memory too.
const MAX_IN_FLIGHT: Limits<usize> = Limits { default: 16_000, min: 1, max: 100_000 };
/// `size` of the cache: the names a network of some thousand clients asks for.
const CACHE_SIZE: Limits<u64> = Limits { default: 64 << 20, min: 0, max: 64 << 30 };
/// `min_ttl`: what is said is kept to.
const CACHE_MIN_TTL: Limits<Duration> = Limits { default: secs(0), min: secs(0), max: secs(3600) };
/// `max_ttl`: RFC 8767 section 4 asks for days at the most.
const CACHE_MAX_TTL: Limits<Duration> = Limits { default: secs(86_400), min: secs(1), max: secs(7 * 86_400) };
/// `max_negative_ttl`: RFC 2308 section 5 asks for one to three hours.
const CACHE_MAX_NEGATIVE: Limits<Duration> = Limits { default: secs(3600), min: secs(1), max: secs(86_400) };
/// `servfail_ttl`: one second to five minutes (RFC 9520 section 3.2).
const CACHE_SERVFAIL: Limits<Duration> = Limits { default: secs(5), min: secs(0), max: secs(300) };
/// `stale`: one to three days (RFC 8767 section 5).
const CACHE_STALE: Limits<Duration> = Limits { default: secs(86_400), min: secs(0), max: secs(7 * 86_400) };
/// `stale_after`: what RFC 8767 section 5 recommends, as clients begin to ask again after two seconds.
const CACHE_STALE_AFTER: Limits<Duration> =
    Limits { default: Duration::from_millis(1800), min: Duration::from_millis(10), max: secs(30) };
/// How many zones, of either kind, there may be.
const MAX_ZONES: usize = 1000;
/// Addresses of one own name.
const MAX_HOST_ADDRESSES: usize = 16;
/// `file` of the hit log.
const HITS_FILE: &str = "hits.jsonl";
/// `clients`, of streams as well.
pub(super) const CLIENTS: [(&str, Clients); 4] =
    [("full", Clients::Full), ("truncate", Clients::Truncate), ("hash", Clients::Hash), ("none", Clients::None)];
/// `clients`: what tells networks apart but not people.
pub(super) const HITS_CLIENTS: Clients = Clients::Truncate;
/// `max_size` of the hit log.
pub(super) const HITS_SIZE: Limits<u64> = Limits { default: 100 << 20, min: 1 << 10, max: 1 << 40 };
/// `max_age` of the hit log.
pub(super) const HITS_AGE: Limits<Duration> = Limits { default: secs(86_400), min: secs(60), max: secs(366 * 86_400) };
/// `keep`
pub(super) const HITS_KEEP: Limits<usize> = Limits { default: 7, min: 0, max: 10_000 };
/// `versions` of each list: a year of working days.
const HISTORY_VERSIONS: Limits<usize> = Limits { default: 250, min: 1, max: 100_000 };
/// `size` of each list's history: hundreds of versions of the largest lists, compressed.
const HISTORY_SIZE: Limits<u64> = Limits { default: 256 << 20, min: 1 << 20, max: 1 << 40 };
/// `quiet`: a list written in pieces has pauses shorter than this; enforced within a second all the same.
const QUIET: Limits<Duration> =
    Limits { default: Duration::from_millis(300), min: Duration::from_millis(10), max: secs(60) };
/// `rescan`
const RESCAN: Limits<Duration> = Limits { default: secs(30), min: secs(1), max: secs(86_400) };

/// `warn`: a working day before, for courts give two.
const WARN: Limits<Duration> = Limits { default: secs(12 * 3600), min: secs(0), max: secs(90 * 86_400) };

/// `[server]`, its access list and what it tells clients apart; `[tls]` is added later.
pub(super) fn server(mut table: Table<'_>, folder: &Path) -> (serve::Settings, limit::Settings, policy::HostSettings) {
    let listen = table.texts("listen", 1..=MAX_LISTEN, values::listen);
    let listen = listen.unwrap_or_else(|| LISTEN.iter().filter_map(|text| values::listen(text).ok()).collect());
    let allow_from = table.field("allow_from").map(|field| clients::blocks(&field, 1..=clients::MAX_BLOCKS));
    let allow_from = allow_from.map(|blocks| blocks.into_iter().map(|(block, _)| block).collect());
    let allow_from = allow_from.unwrap_or_else(|| ALLOW_FROM.iter().filter_map(|text| text.parse().ok()).collect());
    let workers = table.count("workers", WORKERS);
    let pin = table.flag("pin", false);
    let ready_file = table.text("ready_file", optional_path(folder)).flatten();
    let proxy_from = table.field("proxy_from").map(|field| clients::blocks(&field, 0..=clients::MAX_BLOCKS));
    let proxy_from = proxy_from.into_iter().flatten().map(|(block, _)| block).collect();
    let tcp = tcp(table.table("tcp"));
    let host = host::read(&mut table, folder);
    table.finish();
    let server = serve::Settings { listen, workers, pin, ready_file, proxy_from, tcp, tls: None };
    (server, limit::Settings { allow_from }, host)
}

/// `[server.tcp]`
fn tcp(mut table: Table<'_>) -> serve::TcpSettings {
    let settings = serve::TcpSettings {
        idle: table.duration("idle", IDLE),
        total: table.duration("total", TOTAL),
        max_connections: table.count("max_connections", MAX_CONNECTIONS),
        max_per_client: table.count("max_per_client", MAX_PER_CLIENT),
        max_in_flight: table.count("max_in_flight", MAX_PIPELINED),
    };
    if settings.total < settings.idle {
        table.problem("`total` is shorter than `idle`, which could then never be reached");
    }
    table.finish();
    settings
}

/// `[upstream]`; `listen` is what no server may be.
pub(super) fn upstream(mut table: Table<'_>, listen: &[SocketAddr]) -> upstream::Settings {
    let server = |text: &str| match values::server(text)? {
        Server::Udp(address) | Server::Tcp(address) if is_us(address, listen) => Err(ValueError::Ourselves),
        server => Ok(server),
    };
    table.choice("mode", &[("forward", ())], ());
    let servers = table.texts("servers", 1..=MAX_SERVERS, server).unwrap_or_else(|| SERVERS.to_vec());
    let timeout = table.duration("timeout", TIMEOUT);
    let max_in_flight = table.count("max_in_flight", MAX_IN_FLIGHT);
    let mix_case = table.flag("mix_case", false);
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
    upstream::Settings { servers, zones, timeout, max_in_flight, mix_case }
}

/// `[cache]`
pub(super) fn cache(mut table: Table<'_>) -> cache::Settings {
    let mut seconds = |key, limits| u32::try_from(table.duration(key, limits).as_secs()).unwrap_or(u32::MAX);
    let (min_ttl, max_ttl) = (seconds("min_ttl", CACHE_MIN_TTL), seconds("max_ttl", CACHE_MAX_TTL));
    let max_negative_ttl = seconds("max_negative_ttl", CACHE_MAX_NEGATIVE);
    let servfail_ttl = seconds("servfail_ttl", CACHE_SERVFAIL);
    let stale = seconds("stale", CACHE_STALE);
    let stale_after = table.duration("stale_after", CACHE_STALE_AFTER);
    let size = usize::try_from(table.size("size", CACHE_SIZE)).unwrap_or(usize::MAX);
    if min_ttl > max_ttl {
        table.problem("`min_ttl` is longer than `max_ttl`");
    }
    table.finish();
    cache::Settings { size, min_ttl, max_ttl, max_negative_ttl, servfail_ttl, stale, stale_after }
}

/// `[local]` and the `[[zone]]`s of `top`.
pub(super) fn local(top: &mut Table<'_>, folder: &Path) -> local::Settings {
    let mut table = top.table("local");
    let hosts = hosts(&table.table("hosts"));
    let special_use = table.flag("special_use", true);
    let empty_zones = table.flag("empty_zones", true);
    let discovery = table.flag("discovery", true);
    let canaries = table.field("canary").map(|field| field.read_all(0..=Canary::ALL.len(), canary)).unwrap_or_default();
    table.finish();
    let mut zones: Vec<local::ZoneFile> = Vec::new();
    for mut zone in top.tables("zone", MAX_ZONES) {
        let name = zone_name(&mut zone, zones.iter().map(|known| &known.name));
        let file = zone.required("file", "\"zones/example.zone\"").and_then(|field| field.read(values::path));
        zone.finish();
        if let (Some(name), Some(file)) = (name, file) {
            zones.push(local::ZoneFile { name, file: folder.join(file) });
        }
    }
    local::Settings { hosts, special_use, empty_zones, zones, discovery, designated: None, canaries }
}

/// `[local.hosts]`: each key is a name, each value its addresses.
fn hosts(table: &Table<'_>) -> Vec<(Name, Vec<IpAddr>)> {
    let mut hosts: Vec<(Name, Vec<IpAddr>)> = Vec::new();
    let mut seen = HashSet::new();
    let address = |text: &str| text.parse::<IpAddr>().map_err(|_| ValueError::Address("192.0.2.1 or 2001:db8::1"));
    for (key, field) in table.entries() {
        if field.is_table() {
            field.wrong("a name with dots needs quotes, as in \"router.lan\" = [\"192.168.1.1\"]");
            continue;
        }
        let addresses = field.read_all(1..=MAX_HOST_ADDRESSES, address);
        match values::name(key) {
            Ok(name) if seen.insert(name.clone()) => hosts.push((name, addresses)),
            Ok(name) => field.wrong(format_args!("{name} stands here twice")),
            Err(error) => field.wrong(format_args!("the key is {error}")),
        }
    }
    hosts
}

/// `name` of a zone, which no other of its kind may have.
fn zone_name<'n>(zone: &mut Table<'_>, mut others: impl Iterator<Item = &'n Name>) -> Option<Name> {
    let field = zone.required("name", "\"corp.example\"")?;
    let name = field.read(values::name)?;
    if others.any(|other| *other == name) {
        field.wrong("this zone stands here twice");
    }
    Some(name)
}

/// `[hits]`
pub(super) fn hits(mut table: Table<'_>, folder: &Path) -> hits::Settings {
    let file = table.text("file", optional_path(folder)).unwrap_or_else(|| Some(folder.join(HITS_FILE)));
    let settings = hits::Settings {
        file,
        clients: table.choice("clients", &CLIENTS, HITS_CLIENTS),
        max_size: table.size("max_size", HITS_SIZE),
        max_age: table.duration("max_age", HITS_AGE),
        keep: table.count("keep", HITS_KEEP),
    };
    table.finish();
    settings
}

/// `[history]`
pub(super) fn history(mut table: Table<'_>) -> history::Limits {
    let limits = history::Limits {
        versions: table.count("versions", HISTORY_VERSIONS),
        bytes: table.size("size", HISTORY_SIZE),
    };
    table.finish();
    limits
}

/// `[reload]`
pub(super) fn reload(mut table: Table<'_>) -> ReloadSettings {
    let settings = ReloadSettings { quiet: table.duration("quiet", QUIET), rescan: table.duration("rescan", RESCAN) };
    table.finish();
    settings
}

/// `[orders]`
pub(super) fn orders(mut table: Table<'_>) -> OrdersSettings {
    let settings = OrdersSettings { warn: table.duration("warn", WARN) };
    table.finish();
    settings
}

/// A word of `canary`.
fn canary(text: &str) -> Result<Canary, ValueError> {
    Canary::ALL.into_iter().find(|canary| canary.as_str() == text).ok_or(ValueError::Canary)
}

/// A path relative to `folder`, or the empty text for none.
pub(super) fn optional_path(folder: &Path) -> impl Fn(&str) -> Result<Option<PathBuf>, ValueError> {
    move |text| if text.is_empty() { Ok(None) } else { values::path(text).map(|path| Some(folder.join(path))) }
}

/// Whether a query sent to `server` comes straight back here.
fn is_us(server: SocketAddr, listen: &[SocketAddr]) -> bool {
    let same = |ours: &SocketAddr| {
        let reached = ours.ip() == server.ip() || (ours.ip().is_unspecified() && server.ip().is_loopback());
        reached && ours.port() == server.port()
    };
    listen.iter().any(same)
}
