//! What a report says, wherever it comes from: one machine's statistics or a fleet's. Writers read nothing else.

use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::event::Outcome;
use crate::store::read::{Clients, Counts, Days, Filter, Level, OrderName, Ranked, Step, Timeline};

/// Everything a report says.
#[derive(Debug)]
pub(in crate::cli) struct Data {
    /// Who made it of what.
    pub(in crate::cli) about: About,
    /// What was asked for.
    pub(in crate::cli) filter: Filter,
    /// Rows are cut by it.
    pub(in crate::cli) step: Step,
    /// First minute, and the minute after the last (since 1970, UTC): what the figures really cover.
    pub(in crate::cli) from: i64,
    pub(in crate::cli) to: i64,
    /// The days of the time zone that times are shown in.
    pub(in crate::cli) days: Days,
    /// Numbers of clients below it are hidden.
    pub(in crate::cli) threshold: u64,
    /// All rows together, each hit once.
    pub(in crate::cli) all: Ranked,
    /// Queries of any kind, blocked or not, where these are known.
    pub(in crate::cli) queries: Option<u64>,
    /// Hits along the time.
    pub(in crate::cli) timeline: Timeline,
    /// Rankings, the most hits first, uncut. Under a filter there are none by type, answer and transport.
    pub(in crate::cli) orders: Vec<Ranked>,
    pub(in crate::cli) lists: Vec<Ranked>,
    pub(in crate::cli) names: Vec<Ranked>,
    pub(in crate::cli) types: Vec<Ranked>,
    pub(in crate::cli) answers: Vec<Ranked>,
    /// What rows are about; [`Row::key`] is an index.
    pub(in crate::cli) keys: Vec<Key>,
    /// By time, then by key.
    pub(in crate::cli) rows: Vec<Row>,
    /// List versions that were in force in that time.
    pub(in crate::cli) versions: Vec<InForce>,
    /// When a server counted: parts of the time, in order.
    pub(in crate::cli) runs: Vec<(i64, i64)>,
    /// What is special about this one, beside what is always noted.
    pub(in crate::cli) remarks: Vec<Remark>,
}

/// Who made a report of what.
#[derive(Clone, Debug)]
pub(in crate::cli) struct About {
    /// When it says it was made.
    pub(in crate::cli) generated_at: Timestamp,
    /// Version of qalqan that made it.
    pub(in crate::cli) software: String,
    /// The machine, or the machines, that counted.
    pub(in crate::cli) hosts: Vec<String>,
    /// SHA-256 of the configuration file.
    pub(in crate::cli) config_sha256: String,
    /// Queries of one client for one rule within so many seconds are one attempt.
    pub(in crate::cli) window: u64,
    /// Where the figures come from.
    pub(in crate::cli) source: Source,
}

/// Where figures come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) enum Source {
    /// The statistics of this machine.
    Local,
    /// A fleet's, from ClickHouse.
    #[allow(dead_code, reason = "made by the reports of a fleet")]
    Fleet,
}

/// What a row is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) struct Key {
    /// The pattern of the rule that decided.
    pub(in crate::cli) name: Arc<str>,
    /// One of the orders it rests on, if it rests on any.
    pub(in crate::cli) order: Option<Arc<OrderName>>,
    /// The list of that rule.
    pub(in crate::cli) list: Arc<str>,
    /// Other lists that matched, sorted.
    pub(in crate::cli) also: Vec<Arc<str>>,
    /// What became of the queries.
    pub(in crate::cli) outcome: Outcome,
}

/// One row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) struct Row {
    /// The first minute of its time.
    pub(in crate::cli) period: i64,
    /// Index of its key.
    pub(in crate::cli) key: u32,
    /// What was counted.
    pub(in crate::cli) counts: Counts,
    /// Clients of its name, where they are known for such a time.
    pub(in crate::cli) clients: Option<Clients>,
    /// The minute (or the first minute of the hour or day) of the first and the last hit.
    pub(in crate::cli) first: (i64, Level),
    pub(in crate::cli) last: (i64, Level),
}

/// A version of a list that was in force.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::cli) struct InForce {
    /// Its list.
    pub(in crate::cli) list: String,
    /// From when on, but not before the time of the report.
    pub(in crate::cli) from: Timestamp,
    /// Until when, but not beyond the time of the report.
    pub(in crate::cli) to: Timestamp,
    /// Its number in the history of the list.
    pub(in crate::cli) version: Option<u64>,
    /// SHA-256 of it.
    pub(in crate::cli) sha256: String,
    /// `enforce` or `shadow`.
    pub(in crate::cli) mode: &'static str,
    /// Its entries, if the history still knows it.
    pub(in crate::cli) entries: Option<u64>,
    /// When it was accepted, likewise.
    pub(in crate::cli) accepted: Option<Timestamp>,
}

/// Something about this report that whoever reads it must know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) enum Remark {
    /// What is kept is too coarse for the time that was asked for.
    Widened,
    /// Clients are those of whole days, which this time does not consist of.
    WholeDays,
    /// So many hits gave no attempt and no client.
    Unexamined(u64),
    /// For so many minutes of it no server counted.
    Gaps(i64),
    /// Only names of some orders or lists.
    Filtered,
    /// The audit log was changed: what was in force is not proven.
    AuditBroken,
    /// The audit log does not go back to the beginning of the time, or there is none.
    AuditShort,
    /// The time has not ended yet.
    Unfinished,
    /// More rows than a report holds: these are not all.
    Cut,
    /// Figures of a fleet, which are counted a little differently.
    Fleet,
}

impl Data {
    /// A minute in the time zone of the report.
    pub(in crate::cli) fn text(&self, minute: i64) -> String {
        self.days.text(minute)
    }

    /// Its time zone.
    pub(in crate::cli) fn zone(&self) -> &TimeZone {
        self.days.zone()
    }

    /// A moment in the time zone of the report, to the second.
    pub(in crate::cli) fn moment(&self, at: Timestamp) -> String {
        let zoned = at.to_zoned(self.zone().clone());
        let offset = if zoned.offset().is_zero() { "Z" } else { "%:z" };
        zoned.strftime(&format!("%Y-%m-%dT%H:%M:%S{offset}")).to_string()
    }
}
