//! Queries, answers, the cache, upstream servers, and what waits or was dropped on the way.

use std::fmt;

use super::{Facts, Page};
use crate::stats::{Counter, GroupTotals};
use crate::upstream::ServerState;

/// What may happen to a query. Each is one of these, but for the last three: a hit of a shadow list or of an exception is
/// answered like any other, and what is not in the cache becomes something else too.
const OUTCOMES: [Counter; 15] = [
    Counter::Ignored,
    Counter::Invalid,
    Counter::NotAllowed,
    Counter::NotServed,
    Counter::Blocked,
    Counter::BadCookie,
    Counter::Local,
    Counter::Canary,
    Counter::Cached,
    Counter::Stale,
    Counter::Forwarded,
    Counter::Failed,
    Counter::Overloaded,
    Counter::Excepted,
    Counter::Shadow,
];
/// What the cookie of a query may be.
const COOKIES: [(&str, Counter); 4] = [
    ("new", Counter::CookieNew),
    ("valid", Counter::CookieValid),
    ("expired", Counter::CookieExpired),
    ("wrong", Counter::CookieWrong),
];
/// Response codes that are told also when none was given: those resolvers give, and BADVERS.
const USUAL: [&str; 7] = ["noerror", "formerr", "servfail", "nxdomain", "notimp", "refused", "badvers"];

/// All of it.
pub(super) fn write(page: &mut Page<'_>, facts: &Facts) -> fmt::Result {
    queries(page, facts)?;
    blocked(page, facts)?;
    cache(page, facts)?;
    upstream(page, facts)?;
    encrypted(page, facts)?;
    dropped(page, facts)
}

/// What came in and what became of it.
fn queries(page: &mut Page<'_>, Facts { totals, .. }: &Facts) -> fmt::Result {
    let received = totals.transports.iter().map(|row| ([("transport", row.transport)], row.received));
    page.counters("qalqan_queries", "DNS messages that came in, by transport", received)?;
    let answers = totals.transports.iter().flat_map(|row| {
        let told = row.rcodes.iter().filter(|(code, count)| *count > 0 || USUAL.contains(code));
        told.map(|&(code, count)| ([("transport", row.transport), ("rcode", code)], count))
    });
    page.counters("qalqan_answers", "Answers made, by transport and response code", answers)?;
    let outcomes = OUTCOMES.iter().filter_map(|&counter| {
        let &(name, count) = totals.queries.get(counter as usize)?;
        Some(([("outcome", name)], count))
    });
    page.counters("qalqan_query_outcomes", "Queries by what happened to them", outcomes)?;
    let cookies = COOKIES.map(|(state, counter)| ([("state", state)], totals.query(counter)));
    page.counters("qalqan_cookies", "Queries with a cookie, by what it was", cookies)
}

/// Hits.
fn blocked(page: &mut Page<'_>, Facts { totals, list_hits, .. }: &Facts) -> fmt::Result {
    let answers = totals.answers.iter().map(|&(answer, count)| ([("answer", answer)], count));
    page.counters("qalqan_blocked", "Blocked queries by what was answered", answers)?;
    let stage = |canary| if canary { "canary" } else { "all" };
    let rows = |pick: fn(&super::ListHits) -> u64| {
        list_hits.iter().map(move |hits| ([("list", hits.list.as_str()), ("stage", stage(hits.canary))], pick(hits)))
    };
    let help = "Queries answered as a list says; stage canary: by a version that only some clients have or had";
    page.counters("qalqan_list_blocked", help, rows(|hits| hits.blocked))?;
    let help = "Queries that a list in shadow mode would have blocked";
    page.counters("qalqan_list_shadow", help, rows(|hits| hits.shadow))?;
    groups(page, &totals.groups)
}

/// Groups of clients.
fn groups(page: &mut Page<'_>, groups: &[GroupTotals]) -> fmt::Result {
    let rows = |pick: fn(&GroupTotals) -> u64| {
        groups.iter().map(move |group| ([("clients", group.name.as_str())], pick(group)))
    };
    let help = "DNS messages that came in from clients of a group";
    page.counters("qalqan_clients_queries", help, rows(|group| group.queries))?;
    page.counters("qalqan_clients_blocked", "Of these, answered as a list says", rows(|group| group.blocked))?;
    let help = "Of these, known to a list in shadow mode";
    page.counters("qalqan_clients_shadow", help, rows(|group| group.shadow))
}

/// Answers that are remembered.
fn cache(page: &mut Page<'_>, Facts { totals, cache, .. }: &Facts) -> fmt::Result {
    let (fill, size) = cache.unwrap_or_default();
    page.gauge("qalqan_cache_entries", "Answers in the cache", fill.entries as f64)?;
    page.gauge("qalqan_cache_bytes", "Memory of the cache in use", fill.bytes as f64)?;
    page.gauge("qalqan_cache_limit_bytes", "Memory the cache may use; 0: there is no cache", size as f64)?;
    let hits = [("fresh", Counter::Cached), ("stale", Counter::Stale)];
    let hits = hits.map(|(age, counter)| ([("age", age)], totals.query(counter)));
    page.counters(
        "qalqan_cache_hits",
        "Queries answered from the cache; stale: after their time, as upstreams failed",
        hits,
    )?;
    let missed = totals.query(Counter::CacheMissed);
    page.counter("qalqan_cache_misses", "Queries not in the cache for which upstreams were asked", missed)?;
    page.counter("qalqan_cache_evictions", "Answers that had to make room for others", fill.evicted)
}

/// Who is asked.
fn upstream(page: &mut Page<'_>, Facts { servers, asked, .. }: &Facts) -> fmt::Result {
    let names: Vec<String> =
        servers.iter().map(|server| format!("{}://{}", server.transport, server.address)).collect();
    let all = || names.iter().map(String::as_str).zip(servers);
    let up =
        all().map(|(name, server)| ([("upstream", name)], f64::from(u8::from(server.state == ServerState::Serving))));
    page.gauges(
        "qalqan_upstream_up",
        "1: the upstream server is used, 0: it failed and is left aside for a while",
        up,
    )?;
    let sent = all().map(|(name, server)| ([("upstream", name)], server.asked));
    page.counters("qalqan_upstream_queries", "Queries sent to an upstream server, repetitions included", sent)?;
    let faults = all().flat_map(|(name, server)| {
        server.faults.iter().map(move |(fault, count)| ([("upstream", name), ("reason", fault.as_str())], *count))
    });
    page.counters("qalqan_upstream_failures", "Queries that came to nothing, by reason", faults)?;
    let took = all().map(|(name, server)| ([("upstream", name)], &server.latency));
    page.histograms("qalqan_upstream_latency_seconds", "Time from a query to the answer of an upstream server", took)?;
    page.counter("qalqan_upstream_questions", "Questions for upstream servers", asked.asked)?;
    page.counter("qalqan_upstream_questions_merged", "Of these, joined to the same one under way", asked.merged)?;
    page.counter("qalqan_upstream_questions_rejected", "Of these, turned away by max_in_flight", asked.busy)?;
    page.counter("qalqan_upstream_questions_failed", "Of these, ended without an answer", asked.failed)?;
    page.gauge("qalqan_upstream_in_flight", "Different questions under way", asked.in_flight as f64)?;
    let help = "Datagrams from upstream addresses that answered no question under way: late or forged";
    page.counter("qalqan_upstream_strange_datagrams", help, asked.strange)?;
    let help = "Questions asked again over TCP because too many wrong answers came: somebody guesses";
    page.counter("qalqan_upstream_attacked_questions", help, asked.attacked)
}

/// What was wrong with clients of DoH and DoQ.
fn encrypted(page: &mut Page<'_>, Facts { totals, .. }: &Facts) -> fmt::Result {
    let refused = [("4xx", Counter::HttpRefused), ("5xx", Counter::HttpFailed)];
    let refused = refused.map(|(class, counter)| ([("class", class)], totals.query(counter)));
    page.counters("qalqan_doh_refused", "DoH requests that got a status other than 200, by its class", refused)?;
    let cut_off = totals.query(Counter::HttpCutOff);
    page.counter(
        "qalqan_doh_cut_off",
        "DoH connections that ended because the client broke the rules of HTTP",
        cut_off,
    )?;
    let refused = totals.query(Counter::QuicRefused);
    page.counter("qalqan_quic_handshakes_refused", "QUIC handshakes not begun, as too many were under way", refused)?;
    let failed = totals.query(Counter::QuicHandshakeFailed);
    page.counter("qalqan_quic_handshakes_failed", "QUIC handshakes that failed or took too long", failed)?;
    let misused = totals.query(Counter::DoqMisused);
    page.counter(
        "qalqan_doq_protocol_errors",
        "DoQ connections closed because the client broke the rules of DoQ",
        misused,
    )
}

/// What waits, and what there was no room for.
fn dropped(page: &mut Page<'_>, facts: &Facts) -> fmt::Result {
    let Facts { totals, hit_log, queues, workers, refused, .. } = facts;
    page.counter("qalqan_hit_log_lines", "Lines written to the hit log", hit_log.written)?;
    let lost = [("full", hit_log.dropped_full), ("write", hit_log.dropped_write)];
    let lost = lost.map(|(reason, count)| ([("reason", reason)], count));
    let help = "Hits that are counted but have no line in the hit log: no room on the way, or no room on the disk";
    page.counters("qalqan_hit_log_dropped", help, lost)?;
    page.counter("qalqan_hit_log_rotations", "Files of the hit log that were begun", hit_log.rotations)?;
    page.counter(
        "qalqan_hit_log_rotation_failures",
        "Tries to begin a new file that failed",
        hit_log.rotations_failed,
    )?;
    let full = totals.query(Counter::HitLogFull);
    page.counter("qalqan_hit_ring_full", "Hits that found the way to the hit log full", full)?;
    page.gauge("qalqan_misses_waiting", "Queries on their way to where upstreams are asked", queues.misses as f64)?;
    page.gauge(
        "qalqan_misses_limit",
        "How many of them may wait; more are answered SERVFAIL",
        queues.max_misses as f64,
    )?;
    let unsent = totals.query(Counter::SendFailed);
    page.counter("qalqan_send_failures", "Answers that could not be handed to the system", unsent)?;
    page.gauge("qalqan_tcp_connections", "DNS connections over TCP", queues.connections as f64)?;
    page.gauge("qalqan_tcp_connections_limit", "How many there may be", queues.max_connections as f64)?;
    let closed = totals.query(Counter::ConnectionRefused);
    page.counter("qalqan_tcp_connections_refused", "DNS connections closed at once because of a limit", closed)?;
    let handshakes = [
        ("done", Counter::HandshakeDone),
        ("failed", Counter::HandshakeFailed),
        ("late", Counter::HandshakeLate),
        ("pushed_out", Counter::HandshakePushedOut),
    ];
    let handshakes = handshakes.map(|(outcome, counter)| ([("outcome", outcome)], totals.query(counter)));
    page.counters("qalqan_tls_handshakes", "TLS handshakes over TCP by what came of them", handshakes)?;
    let help = "Until when the certificate that encrypted listeners show is valid; 0: there are none";
    let (until, broken) = facts.certificate.unwrap_or_default();
    page.gauge("qalqan_tls_certificate_expiry_timestamp_seconds", help, until.0 as f64)?;
    let help = "1: the certificate's files cannot be used as they are now; the last good one is shown";
    page.gauge("qalqan_tls_certificate_broken", help, f64::from(u8::from(broken)))?;
    let missing = totals.query(Counter::ProxyHeaderMissing);
    let help = "Connections and datagrams from front ends without a PROXY header of version 2";
    page.counter("qalqan_proxy_headers_missing", help, missing)?;
    let (all, stuck) = *workers;
    page.gauge("qalqan_udp_workers", "Threads that answer UDP", all as f64)?;
    page.gauge("qalqan_udp_workers_stuck", "Of these, do not move", stuck as f64)?;
    let refused = [
        ("limit", refused.limit),
        ("not_allowed", refused.not_allowed),
        ("cut_off", refused.cut_off),
        ("host", refused.host),
    ];
    let refused = refused.map(|(reason, count)| ([("reason", reason)], count));
    page.counters("qalqan_http_refused", "Connections and requests that the admin listener turned away", refused)
}
