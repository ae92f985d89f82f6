//! `[stats]`: what is counted, by which days, and for how long it is kept.

use std::path::Path;
use std::time::Duration;

use super::clickhouse;
use super::reader::{Limits, Table};
use crate::ship;
use crate::store::Settings;
use crate::util::Zone;

/// Days as a duration.
const fn days(days: u64) -> Duration {
    Duration::from_secs(days * 86_400)
}

/// `window`: resolvers ask again within seconds, pages load for half a minute; people come back later.
const WINDOW: Limits<Duration> =
    Limits { default: Duration::from_secs(60), min: Duration::from_secs(1), max: Duration::from_secs(3600) };
/// `threshold`: smaller groups of clients are not told exactly.
const THRESHOLD: Limits<usize> = Limits { default: 5, min: 0, max: 1000 };
/// `minutes`: yesterday evening can still be looked into.
const MINUTES: Limits<Duration> = Limits { default: days(2), min: Duration::from_secs(3600), max: days(366) };
/// `hours`: a year and the month in which it is reported.
const HOURS: Limits<Duration> = Limits { default: days(400), min: days(2), max: days(3660) };
/// `days`
const DAYS: Limits<Duration> = Limits { default: days(3650), min: days(2), max: days(36_600) };
/// `max_size`
const MAX_SIZE: Limits<u64> = Limits { default: 2 << 30, min: 16 << 20, max: 1 << 44 };

/// Reads `[stats]`, and where hits are shipped; `folder` is that of the configuration file.
pub(super) fn read(mut table: Table<'_>, folder: &Path, state_dir: &Path) -> (Settings, Option<ship::Settings>) {
    let settings = Settings {
        enabled: table.flag("enabled", true),
        window: table.duration("window", WINDOW),
        zone: table.text("time_zone", Zone::find).unwrap_or_else(Zone::utc),
        threshold: table.count("threshold", THRESHOLD) as u64,
        minutes: table.duration("minutes", MINUTES),
        hours: table.duration("hours", HOURS),
        days: table.duration("days", DAYS),
        max_size: table.size("max_size", MAX_SIZE),
    };
    if settings.hours < settings.minutes {
        table.problem("`hours` is shorter than `minutes`: what is finer is kept for less long");
    }
    if settings.days < settings.hours {
        table.problem("`days` is shorter than `hours`: what is finer is kept for less long");
    }
    let ship = clickhouse::read(table.table("clickhouse"), &settings, folder, state_dir);
    table.finish();
    (settings, ship)
}
