//! What is made of hits: counts by authority, the statistics' store, streams, and what is shipped.

use std::fmt;

use super::{Facts, Page};
use crate::event::Outcome;

/// All of it.
pub(super) fn write(page: &mut Page<'_>, facts: &Facts) -> fmt::Result {
    counts(page, facts)?;
    store(page, facts)?;
    streams(page, facts)?;
    shipped(page, facts)
}

/// What the statistics count; at most a second old.
fn counts(page: &mut Page<'_>, Facts { live, .. }: &Facts) -> fmt::Result {
    let blocked = live.authorities.iter();
    let blocked =
        blocked.map(|(authority, hits)| ([("authority", authority.as_ref())], hits[Outcome::Blocked as usize]));
    let help = "Blocked queries by the authority whose order they rest on; once for each where there are several";
    page.counters("qalqan_authority_blocked", help, blocked)?;
    let hits = Outcome::ALL.map(|outcome| ([("outcome", outcome.as_str())], live.hits[outcome as usize]));
    page.counters("qalqan_statistics_hits", "Hits the statistics have counted, by what became of the query", hits)?;
    let help = "Attempts: queries of a client for a name within the window of [stats] taken as one";
    page.counter("qalqan_statistics_attempts", help, live.attempts)?;
    let help = "Hits that came too fast to be more than counted: no attempt, no client, no line";
    page.counter("qalqan_statistics_unexamined", help, live.unexamined)?;
    let help = "At most so many attempts were counted too many, for lack of memory";
    page.counter("qalqan_statistics_attempts_evicted", help, live.attempts_evicted)?;
    let help = "How often a client was left out of an estimate, for lack of memory";
    page.counter("qalqan_statistics_clients_refused", help, live.clients_refused)
}

/// Where they are kept.
fn store(page: &mut Page<'_>, Facts { statistics, .. }: &Facts) -> fmt::Result {
    let store = statistics.clone().unwrap_or_default();
    let trouble = f64::from(u8::from(store.trouble().is_some()));
    page.gauge("qalqan_statistics_trouble", "1: somebody should look at the statistics' file", trouble)?;
    let help = "Hits that wait in memory because the statistics' file cannot be written";
    page.gauge("qalqan_statistics_waiting", help, store.waiting as f64)?;
    page.counter("qalqan_statistics_failures", "Tries to write the statistics' file that failed", store.failures)?;
    page.counter("qalqan_statistics_nameless", "Hits kept without their names, as too many waited", store.nameless)?;
    page.gauge("qalqan_statistics_bytes", "Size of the statistics' file", store.bytes as f64)
}

/// Who else is told of hits.
fn streams(page: &mut Page<'_>, Facts { streams, .. }: &Facts) -> fmt::Result {
    let all = || streams.iter().map(|(name, counters)| (name.as_ref(), counters));
    let connected = all().map(|(name, now)| ([("stream", name)], f64::from(u8::from(now.connected))));
    page.gauges("qalqan_stream_connected", "1: the stream has a reader or a file", connected)?;
    let sent = all().map(|(name, now)| ([("stream", name)], now.sent));
    page.counters("qalqan_stream_hits", "Hits that went into a stream", sent)?;
    let lost = all().flat_map(|(name, now)| {
        [("full", now.lost_full), ("write", now.lost_write)]
            .map(|(reason, count)| ([("stream", name), ("reason", reason)], count))
    });
    page.counters("qalqan_stream_lost", "Hits a stream lost: no room in its queue, or not written", lost)?;
    let connects = all().map(|(name, now)| ([("stream", name)], now.connects));
    page.counters("qalqan_stream_connects", "New connections or files of a stream", connects)
}

/// What goes to ClickHouse.
fn shipped(page: &mut Page<'_>, Facts { ship, .. }: &Facts) -> fmt::Result {
    let now = ship.unwrap_or_default();
    page.counter("qalqan_ship_hits", "Hits that ClickHouse has confirmed", now.shipped)?;
    page.counter("qalqan_ship_failures", "Tries to send a batch of hits to ClickHouse that failed", now.failures)?;
    let lost = [("full", now.dropped_full), ("spool", now.dropped_spool), ("refused", now.refused)];
    let lost = lost.map(|(reason, count)| ([("reason", reason)], count));
    page.counters("qalqan_ship_lost", "Hits ClickHouse will not get: no room on the way, or refused there", lost)?;
    page.gauge("qalqan_ship_waiting", "Hits that wait for ClickHouse", now.waiting as f64)?;
    page.gauge("qalqan_ship_waiting_bytes", "Bytes they take in the spool", now.waiting_bytes as f64)
}
