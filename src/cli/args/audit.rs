//! `audit` as clap reads it.

use std::fmt;
use std::path::PathBuf;

use clap::{Args as ArgGroup, Subcommand, ValueEnum};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::{ConfigArg, ServerArgs};
use crate::audit::Head;
use crate::util::Now;

/// Shown by `audit --help`.
pub(super) const EXAMPLES: &str = "\
Examples:
  qalqan audit verify
  qalqan audit export --from 2026-01-01 --to 2026-03-31 --format csv > quarter.csv

The audit log says what was enforced when, for which order, and who decided it. It is read from state_dir, whether or not
a server runs.";

/// Shown by `audit verify --help`.
const VERIFY_EXAMPLES: &str = "\
Examples:
  qalqan audit verify
  qalqan audit verify --expect 1234:5f0c2d…    is the log still the one whose head was noted then?
  qalqan audit verify --folder /media/copy/audit --json

Note the head it prints where nobody can change it, at times: a noted head proves every event up to it.

Exit status: 0 every event is as it was written and none is missing; 1 the log was changed, or a noted head is not in it;
2 it cannot be read.";

/// Shown by `audit export --help`.
const EXPORT_EXAMPLES: &str = "\
Examples:
  qalqan audit export > audit.jsonl
  qalqan audit export --from 2026-01-31 --to 2026-01-31 | jq 'select(.event == \"order_in_force\")'
  qalqan audit export --from 2026-01-31T09:00:00+05:00 --format csv > since.csv

A date means its whole day in UTC, in --from as in --to. Lines of JSON come as they stand in the log, with their hashes.

Exit status: 0 done; 1 done, but the log was changed (see audit verify); 2 it cannot be read.";

/// Shown by `audit name --help`.
const NAME_EXAMPLES: &str = "\
Examples:
  qalqan audit name www.example.com
  qalqan audit name example.com --json

It goes through the whole log, and reads what each version of a list held from the history in state_dir. What these two
cannot say is told as uncertain, with the reason. It does not see canary clients.

Exit status: 0 done; 1 done, but the log was changed (see audit verify); 2 it cannot be read, or not a name.";

/// What to do with the audit log.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum AuditVerb {
    /// Prove that no event was changed, removed, moved or put in
    #[command(after_help = VERIFY_EXAMPLES)]
    Verify(VerifyArgs),
    /// Show when a name was enforced, on which order, and by which version of which list
    #[command(after_help = NAME_EXAMPLES)]
    Name(NameArgs),
    /// Print the events of a time
    #[command(after_help = EXPORT_EXAMPLES)]
    Export(ExportArgs),
}

/// What `audit name` is asked.
#[derive(Debug, ArgGroup)]
pub(in crate::cli) struct NameArgs {
    /// Domain name, in any script
    #[arg(value_name = "NAME")]
    pub(in crate::cli) name: String,
    #[command(flatten)]
    pub(in crate::cli) server: ServerArgs,
}

/// What `audit verify` is asked.
#[derive(Debug, ArgGroup)]
pub(in crate::cli) struct VerifyArgs {
    /// A head noted before, which must still be in the log; may be given more than once
    #[arg(long, value_name = "SEQ:HASH")]
    pub(in crate::cli) expect: Vec<Head>,
    #[command(flatten)]
    pub(in crate::cli) log: LogArg,
    /// As one JSON object
    #[arg(long)]
    pub(in crate::cli) json: bool,
}

/// What `audit export` is asked.
#[derive(Debug, ArgGroup)]
pub(in crate::cli) struct ExportArgs {
    /// The first day or moment: 2026-01-31, or with a time and its offset 2026-01-31T00:00:00+05:00
    #[arg(long, value_name = "DATE", value_parser = moment)]
    pub(in crate::cli) from: Option<Moment>,
    /// The last day or moment, itself included
    #[arg(long, value_name = "DATE", value_parser = moment)]
    pub(in crate::cli) to: Option<Moment>,
    /// As lines of JSON, or as a table
    #[arg(long, value_name = "FORMAT", default_value = "jsonl")]
    pub(in crate::cli) format: ExportFormat,
    #[command(flatten)]
    pub(in crate::cli) log: LogArg,
}

/// How events are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum ExportFormat {
    /// The lines of the log.
    Jsonl,
    /// A table with a header row.
    Csv,
}

/// Which log.
#[derive(Debug, ArgGroup)]
pub(in crate::cli) struct LogArg {
    #[command(flatten)]
    pub(in crate::cli) config: ConfigArg,
    /// The folder of a log, or of a copy, in place of the configuration's
    #[arg(long, value_name = "DIR", conflicts_with = "config")]
    pub(in crate::cli) folder: Option<PathBuf>,
}

/// A day or a millisecond.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) struct Moment {
    /// Its first millisecond.
    pub(in crate::cli) start: Now,
    /// The first one after it.
    pub(in crate::cli) end: Now,
}

/// Reads a date or an RFC 3339 date and time with its offset.
fn moment(text: &str) -> Result<Moment, BadMoment> {
    let milliseconds = |at: Timestamp| Now { unix_ms: at.as_millisecond() };
    // jiff reads other ISO 8601 forms as dates too, which could be mistaken.
    if text.len() != 10 {
        let start = milliseconds(text.parse().map_err(|_| BadMoment)?);
        return Ok(Moment { start, end: Now { unix_ms: start.unix_ms + 1 } });
    }
    let midnight = |date: Date| Some(milliseconds(date.to_zoned(TimeZone::UTC).ok()?.timestamp()));
    let date: Date = text.parse().map_err(|_| BadMoment)?;
    let start = midnight(date).ok_or(BadMoment)?;
    Ok(Moment { start, end: date.tomorrow().ok().and_then(midnight).unwrap_or(Now { unix_ms: i64::MAX }) })
}

/// Not a date that says which moment it means.
#[derive(Debug, PartialEq, Eq)]
struct BadMoment;

impl fmt::Display for BadMoment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a date; write 2026-01-31, or with a time and its offset 2026-01-31T00:00:00+05:00")
    }
}

impl std::error::Error for BadMoment {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_its_whole_day_and_a_time_its_millisecond() {
        let range = |text| moment(text).map(|moment| (moment.start.unix_ms, moment.end.unix_ms));
        assert_eq!(range("1970-01-02"), Ok((86_400_000, 172_800_000)));
        assert_eq!(range("1970-01-01T05:00:00.007+05:00"), Ok((7, 8)));
        assert_eq!(range("9999-12-30"), Ok((253_402_128_000_000, i64::MAX)));
        for text in ["", "1970-01-32", "1970-1-1", "1970-01-01T00:00:00", "01.01.1970", "soon", "20260131T0"] {
            assert_eq!(range(text), Err(BadMoment), "{text}");
        }
    }
}
