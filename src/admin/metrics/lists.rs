//! Lists, orders, reloads, and the log of what was decided.

use std::fmt;

use super::{Facts, Page};
use crate::admin::api::{ListLine, Orders};

/// All of it.
pub(super) fn write(page: &mut Page<'_>, facts: &Facts) -> fmt::Result {
    reloads(page, facts)?;
    lists(page, &facts.status.lists)?;
    fetches(page, facts)?;
    orders(page, facts)?;
    audit(page, facts)
}

/// What is in force, since when.
fn reloads(page: &mut Page<'_>, Facts { status, reloads, .. }: &Facts) -> fmt::Result {
    let results = [("published", reloads.published), ("unchanged", reloads.unchanged), ("failed", reloads.failed)];
    let results = results.map(|(result, count)| ([("result", result)], count));
    page.counters("qalqan_reloads", "Looks at configuration and lists, by what came of them", results)?;
    let last = reloads.last.0 as f64;
    page.gauge(
        "qalqan_reload_last_timestamp_seconds",
        "When configuration and lists were last looked at; 0: never",
        last,
    )?;
    let help = "How long the last reload took that put something in force; 0: there was none";
    page.gauge("qalqan_reload_last_duration_seconds", help, reloads.took.as_secs_f64())?;
    let help = "From when a change was first seen until the last publish had put it in force";
    let took = status.publish_to_enforced_ms.map(seconds);
    page.optional("qalqan_publish_to_enforced_seconds", help, took)?;
    page.gauge("qalqan_reload_failing", "1: what was read last cannot be put in force", flag(status.failed.is_some()))?;
    let help = "1: the configuration file cannot be used as it is; the settings in force stay";
    page.gauge("qalqan_config_broken", help, flag(reloads.config_broken))?;
    page.gauge("qalqan_generation", "Counts what was put in force since the start", status.generation as f64)?;
    page.gauge("qalqan_published_timestamp_seconds", "When that was", status.published as f64)
}

/// Each list.
fn lists(page: &mut Page<'_>, lists: &[ListLine]) -> fmt::Result {
    let info = lists.iter().map(|list| {
        let labels = [("list", list.name.as_str()), ("role", list.role.as_str()), ("mode", list.mode.as_str())];
        (labels, 1.0)
    });
    page.gauges("qalqan_list_info", "Role and mode of a list", info)?;
    let mut each = |name: &str, help: &str, value: &dyn Fn(&ListLine) -> Option<f64>| {
        let rows = lists.iter().filter_map(|list| Some(([("list", list.name.as_str())], value(list)?)));
        page.gauges(name, help, rows)
    };
    each("qalqan_list_entries", "Entries in force", &|list| Some(list.entries as f64))?;
    each("qalqan_list_rejected", "Entries that could not be used", &|list| Some(list.rejected as f64))?;
    let help = "Entries the gate holds, about which nobody has decided";
    each("qalqan_list_held", help, &|list| Some(list.held as f64))?;
    let help = "When the newest content in force was accepted";
    each("qalqan_list_accepted_timestamp_seconds", help, &|list| list.accepted.map(|at| at as f64))?;
    let help = "The version in force, as qalqan counts them";
    each("qalqan_list_version", help, &|list| list.version.map(|version| version as f64))?;
    let help = "From when a change of the list was first seen until its newest version that all have was enforced";
    let took = |list: &ListLine| list.publish_to_enforced_ms.map(seconds);
    each("qalqan_list_publish_to_enforced_seconds", help, &took)?;
    let help = "1: something of the list could not be taken as its source says";
    each("qalqan_list_error", help, &|list| Some(flag(list.error.is_some())))?;
    let help = "1: a version is not taken because it changes the list too much";
    each("qalqan_list_refused", help, &|list| Some(flag(list.refused.is_some())))?;
    let help = "1: nothing of the list, or an older content than its source has, is in force";
    each("qalqan_list_behind", help, &|list| Some(flag(list.state != "current")))?;
    let help = "1: only some clients have the newest version yet";
    each("qalqan_list_canary", help, &|list| Some(flag(list.canary.is_some())))?;
    let help = "1: an operator keeps the list at its version";
    each("qalqan_list_pinned", help, &|list| Some(flag(list.pinned)))
}

/// Lists from the web.
fn fetches(page: &mut Page<'_>, Facts { fetches, .. }: &Facts) -> fmt::Result {
    let name = |fetch: &'_ crate::fetch::Status| -> String { fetch.list.clone() };
    let names: Vec<String> = fetches.iter().map(name).collect();
    let all = || names.iter().map(String::as_str).zip(fetches);
    let tried = all().filter_map(|(name, fetch)| Some(([("list", name)], fetch.last_try? as f64)));
    page.gauges("qalqan_list_fetch_try_timestamp_seconds", "When a list from the web was last asked for", tried)?;
    let done = all().filter_map(|(name, fetch)| Some(([("list", name)], fetch.last_success? as f64)));
    let help = "When its server last gave it, or said that it had not changed";
    page.gauges("qalqan_list_fetch_success_timestamp_seconds", help, done)?;
    let failed = all().map(|(name, fetch)| ([("list", name)], f64::from(fetch.failures)));
    page.gauges("qalqan_list_fetch_failures", "Fetches that failed since the last that did not", failed)?;
    let serials = all().filter_map(|(name, fetch)| Some(([("list", name)], fetch.serial? as f64)));
    page.gauges("qalqan_list_serial", "SOA serial of a list that is a zone", serials)
}

/// What is ordered.
fn orders(page: &mut Page<'_>, Facts { status, now, .. }: &Facts) -> fmt::Result {
    let Orders { in_force, pending, expired, revoked, due, overdue, conflicts, next_deadline, .. } = &status.orders;
    let states = [("in_force", in_force), ("pending", pending), ("expired", expired), ("revoked", revoked)];
    let states = states.map(|(state, count)| ([("state", state)], *count as f64));
    page.gauges("qalqan_orders", "Orders by state", states)?;
    let help = "Orders whose deadline is near while something of them is not enforced";
    page.gauge("qalqan_orders_due", help, *due as f64)?;
    let help = "Orders whose deadline has passed while something of them is not enforced";
    page.gauge("qalqan_orders_overdue", help, *overdue as f64)?;
    page.gauge("qalqan_orders_conflicting", "Orders that files tell differently", *conflicts as f64)?;
    let next = next_deadline.map(|at| at.saturating_sub(now.0) as f64);
    page.optional("qalqan_orders_next_deadline_seconds", "Time to the next deadline of any order, met or not", next)
}

/// The log of what was decided.
fn audit(page: &mut Page<'_>, Facts { audit, .. }: &Facts) -> fmt::Result {
    page.gauge("qalqan_audit_trouble", "1: the audit log cannot be written just now", flag(audit.trouble))?;
    page.counter("qalqan_audit_events", "Events written to the audit log", audit.written)?;
    page.gauge("qalqan_audit_events_waiting", "Events that wait for the disk", audit.waiting as f64)?;
    page.counter("qalqan_audit_events_lost", "Events that were given up", audit.lost)
}

/// Milliseconds as seconds.
fn seconds(milliseconds: u64) -> f64 {
    milliseconds as f64 / 1000.0
}

/// Yes or no as a figure.
fn flag(yes: bool) -> f64 {
    f64::from(u8::from(yes))
}
