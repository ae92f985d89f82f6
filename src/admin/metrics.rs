//! Everything Prometheus is told. Never a domain and never a client as a label: what labels name is configured, or an
//! authority, and therefore bounded. docs/monitoring.md explains every figure; a test keeps the two equal.

mod format;
mod lists;
mod page;
mod process;
#[cfg(test)]
mod tests;
mod told;
mod traffic;

use std::fmt;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::registry::Registry;

pub use self::format::Format;
use self::page::Page;
pub use self::process::Process;
use super::api::Status;
use super::http::Refusals;
use crate::cache::Fill;
use crate::fetch;
use crate::hits::HitLogCounters;
use crate::ship;
use crate::stats::{LiveCounts, Totals};
use crate::store;
use crate::stream::StreamCounters;
use crate::upstream::{Counts, ServerHealth};
use crate::util::UnixTime;

/// All there is to say, as of a moment.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// The moment.
    pub now: UnixTime,
    /// Lists and orders.
    pub status: Status,
    /// Reloads.
    pub reloads: Reloads,
    /// The audit log.
    pub audit: AuditFacts,
    /// Queries and answers; its lists are in `list_hits`.
    pub totals: Totals,
    /// Hits by list.
    pub list_hits: Vec<ListHits>,
    /// How full the cache is, and how large it may be; none without a cache.
    pub cache: Option<(Fill, usize)>,
    /// Who is asked, in order of configuration.
    pub servers: Vec<ServerHealth>,
    /// What was asked.
    pub asked: Counts,
    /// Lines of the hit log.
    pub hit_log: HitLogCounters,
    /// What the statistics have counted.
    pub live: LiveCounts,
    /// How their store does, if they are kept.
    pub statistics: Option<store::Status>,
    /// Streams of hits by name, in order of configuration.
    pub streams: Vec<(Box<str>, StreamCounters)>,
    /// What went to ClickHouse, if anything goes there.
    pub ship: Option<ship::Totals>,
    /// Lists from the web.
    pub fetches: Vec<fetch::Status>,
    /// What waits.
    pub queues: Queues,
    /// Until when the certificate shown is valid, and whether its files cannot be used as they are now; none without
    /// encrypted listeners.
    pub certificate: Option<(UnixTime, bool)>,
    /// UDP workers, and how many of them do not move.
    pub workers: (usize, usize),
    /// What was turned away here.
    pub refused: Refusals,
    /// The process, as the system sees it.
    pub process: Process,
}

/// What came of reloads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reloads {
    /// Something was put in force.
    pub published: u64,
    /// Nothing had changed.
    pub unchanged: u64,
    /// What was read could not be put in force.
    pub failed: u64,
    /// When sources were last looked at.
    pub last: UnixTime,
    /// How long the last one took that put something in force.
    pub took: Duration,
    /// The configuration file cannot be used as it is.
    pub config_broken: bool,
}

/// How the audit log does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AuditFacts {
    /// It cannot be written just now.
    pub trouble: bool,
    /// Events on disk.
    pub written: u64,
    /// Events that wait for the disk.
    pub waiting: u64,
    /// Events given up.
    pub lost: u64,
}

/// Hits of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListHits {
    /// Its name.
    pub list: String,
    /// Hits of a version that only some clients have or had.
    pub canary: bool,
    /// Queries answered as it says.
    pub blocked: u64,
    /// Queries it would have blocked.
    pub shadow: u64,
}

/// What is open or waits, and how much of it may.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Queues {
    /// DNS connections over TCP.
    pub connections: usize,
    /// At most.
    pub max_connections: usize,
    /// Queries on their way to where upstreams are asked.
    pub misses: usize,
    /// At most.
    pub max_misses: usize,
}

/// The body of an answer.
///
/// # Errors
/// None that is known: a text has always room.
pub fn encode(facts: &Facts, format: Format) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(All { facts: facts.clone(), format }));
    let mut body = String::new();
    encode_registry(&mut body, &registry)?;
    if format == Format::OpenMetrics {
        encode_eof(&mut body)?;
    }
    Ok(body)
}

/// Facts as the encoder takes them.
#[derive(Debug)]
struct All {
    facts: Facts,
    format: Format,
}

impl Collector for All {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut page = Page::new(encoder, self.format);
        traffic::write(&mut page, &self.facts)?;
        told::write(&mut page, &self.facts)?;
        lists::write(&mut page, &self.facts)?;
        process::write(&mut page, &self.facts)
    }
}
