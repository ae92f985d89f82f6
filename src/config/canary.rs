//! `canary` of a list: who gets its new versions first, for how long, and what share of their queries they may block.

use std::time::Duration;

use super::CanarySettings;
use super::clients;
use super::reader::{Limits, Table};
use super::units;
use crate::limit::Cidr;
use crate::rule::Role;

/// `time`: a second is for trying it out; after a month nobody remembers.
const TIME: Limits<Duration> =
    Limits { default: Duration::from_secs(3600), min: Duration::from_secs(1), max: Duration::from_secs(30 * 86_400) };
/// `max_hits`, in hundredths of a percent.
const MAX_HITS: u32 = 500;
/// `min_queries`
const MIN_QUERIES: Limits<usize> = Limits { default: 1000, min: 1, max: 1_000_000_000 };

/// Reads a list's `canary = { … }`.
pub(super) fn read(mut table: Table<'_>, role: Role) -> Option<CanarySettings> {
    let there = table.is_there();
    let clients = match there {
        true => table.required("clients", "[\"10.1.0.0/16\"]"),
        false => table.field("clients"),
    };
    let clients = clients.map(|field| clients::blocks(&field, 1..=clients::MAX_BLOCKS)).unwrap_or_default();
    let mut clients: Vec<Cidr> = clients.into_iter().map(|(block, _)| block).collect();
    // Lists with the same clients share a set, however these are written.
    clients.sort_by_key(ToString::to_string);
    let time = table.duration("time", TIME);
    let max_hits = table.text("max_hits", units::share).unwrap_or(MAX_HITS);
    let min_hits = table.text("min_hits", units::share).unwrap_or(0);
    let min_queries = table.count("min_queries", MIN_QUERIES) as u64;
    if min_hits > max_hits {
        table.problem("`min_hits` is more than `max_hits`: every version would be rolled back");
    }
    if there && role == Role::Allow {
        table.problem("an allow list blocks nothing, so its new versions cannot be judged by their hits");
    }
    table.finish();
    there.then_some(CanarySettings { clients, time, max_hits, min_hits, min_queries })
}
