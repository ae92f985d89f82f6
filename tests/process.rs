//! Process tests: the real binary, real sockets, a mock upstream. Each test has a server and a folder of its own.

mod support;

#[path = "process/access.rs"]
mod access;
#[path = "process/admin.rs"]
mod admin;
#[path = "process/answers.rs"]
mod answers;
#[path = "process/cache.rs"]
mod cache;
#[path = "process/canary.rs"]
mod canary;
#[path = "process/certificates.rs"]
mod certificates;
#[path = "process/clickhouse.rs"]
mod clickhouse;
#[path = "process/clients.rs"]
mod clients;
#[path = "process/collectors.rs"]
mod collectors;
#[path = "process/configuration.rs"]
mod configuration;
#[path = "process/dates.rs"]
mod dates;
#[path = "process/dig.rs"]
mod dig;
#[path = "process/dnssec.rs"]
mod dnssec;
#[path = "process/doh.rs"]
mod doh;
#[path = "process/doors.rs"]
mod doors;
#[path = "process/doq.rs"]
mod doq;
#[path = "process/dot.rs"]
mod dot;
#[path = "process/fetch.rs"]
mod fetch;
#[path = "process/fetch_trust.rs"]
mod fetch_trust;
#[path = "process/flood.rs"]
mod flood;
#[path = "process/forward.rs"]
mod forward;
#[path = "process/gate.rs"]
mod gate;
#[path = "process/held.rs"]
mod held;
#[path = "process/hits.rs"]
mod hits;
#[path = "process/hostile.rs"]
mod hostile;
#[path = "process/lists.rs"]
mod lists;
#[path = "process/monitoring.rs"]
mod monitoring;
#[path = "process/niceties.rs"]
mod niceties;
#[path = "process/operate.rs"]
mod operate;
#[path = "process/orders.rs"]
mod orders;
#[path = "process/probe.rs"]
mod probe;
#[path = "process/proxy.rs"]
mod proxy;
#[path = "process/reload.rs"]
mod reload;
#[path = "process/reports.rs"]
mod reports;
#[path = "process/restart.rs"]
mod restart;
#[path = "process/signed.rs"]
mod signed;
#[path = "process/statistics.rs"]
mod statistics;
#[path = "process/stories.rs"]
mod stories;
#[path = "process/streams.rs"]
mod streams;
#[path = "process/systemd.rs"]
mod systemd;
#[path = "process/tally.rs"]
mod tally;
#[path = "process/targets.rs"]
mod targets;
#[path = "process/transports.rs"]
mod transports;
#[path = "process/upstreams.rs"]
mod upstreams;
#[path = "process/versions.rs"]
mod versions;
#[path = "process/waiting.rs"]
mod waiting;
#[path = "process/workers.rs"]
mod workers;
#[path = "process/zones.rs"]
mod zones;
