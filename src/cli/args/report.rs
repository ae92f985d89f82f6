//! `report` as clap reads it.

use std::path::PathBuf;

use clap::{Args as ArgGroup, ValueEnum};
use jiff::Timestamp;

use super::ConfigArg;
use super::period::{When, date};

/// Shown by `report --help`.
pub(super) const EXAMPLES: &str = "\
Examples:
  qalqan report --from 2026-10-01 --to 2026-10-31 --format html --lang kk --out october.html
  qalqan report --from 2026-10-01 --to 2026-10-31 --order 25-01-25/4 --format csv --out order.csv
  qalqan report --from 2026-11-23 --to 2026-11-23 --by hour --format parquet --out day.parquet
  qalqan report --from 2026-10-01 --to 2026-10-31 --from-clickhouse --format html --out fleet.html
  sha256sum -c october.html.sha256

--from and --to are days of `time_zone` in [stats], both included, or moments with their offset; these are taken to
the minute while minutes are kept, else to the hour or the day: the report says what it covers.
Beside FILE come FILE.sha256 and, with csv and parquet, FILE.about.json: what stands at the head of the other formats.
The same statistics give the same bytes if --generated-at is the same.

Exit status: 0 written; 1 written, but the audit log it takes list versions from was changed, or there are more rows
than it holds; 2 not written: no server counted in that time, no such order, the file cannot be written.";

/// What `report` is asked.
#[derive(Debug, ArgGroup)]
pub(in crate::cli) struct ReportArgs {
    /// The first day or moment: 2026-01-31, or with a time and its offset 2026-01-31T00:00:00+05:00
    #[arg(long, value_name = "DATE", value_parser = date)]
    pub(in crate::cli) from: When,
    /// The last day, itself included, or the moment it ends at [default: until now]
    #[arg(long, value_name = "DATE", value_parser = date)]
    pub(in crate::cli) to: Option<When>,
    /// For the whole fleet, from the ClickHouse of [stats.clickhouse]
    #[arg(long)]
    pub(in crate::cli) from_clickhouse: bool,
    /// Only names that rest on this order
    #[arg(long, value_name = "ID")]
    pub(in crate::cli) order: Option<String>,
    /// Only names that rest on orders of this authority
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) authority: Option<String>,
    /// Only names that this list has
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) list: Option<String>,
    /// How rows are cut along time
    #[arg(long, value_name = "STEP", default_value = "total")]
    pub(in crate::cli) by: Step,
    /// How it is written
    #[arg(long, value_name = "FORMAT")]
    pub(in crate::cli) format: Format,
    /// Where to; what is there is replaced when the report is complete
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) out: PathBuf,
    /// Language of headings and notes
    #[arg(long, value_name = "LANG", default_value = "en")]
    pub(in crate::cli) lang: Lang,
    /// The moment that stands in it as that of its making [default: now]
    #[arg(long, value_name = "TIME")]
    pub(in crate::cli) generated_at: Option<Timestamp>,
    #[command(flatten)]
    pub(in crate::cli) config: ConfigArg,
}

/// How rows are cut along time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum Step {
    /// A row for each hour.
    Hour,
    /// A row for each day.
    Day,
    /// One row for all of the time.
    Total,
}

/// How a report is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum Format {
    /// A table as spreadsheets read it (RFC 4180, UTF-8).
    Csv,
    /// One object.
    Json,
    /// One page that prints well and needs nothing else.
    Html,
    /// Columns for analysis (zstd).
    Parquet,
}

/// A language.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum Lang {
    /// Kazakh.
    Kk,
    /// Russian.
    Ru,
    /// English.
    En,
}
