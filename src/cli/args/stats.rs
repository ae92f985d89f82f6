//! `stats` as clap reads it.

use clap::{Args as ArgGroup, ValueEnum};

use super::ConfigArg;
use super::period::{When, when};
use crate::store::read;

/// Shown by `stats --help`.
pub(super) const EXAMPLES: &str = "\
Examples:
  qalqan stats                             the last 24 hours: how much, when, what most
  qalqan stats --since 7d --by order
  qalqan stats --since 2026-11-01 --by name --limit 100
  qalqan stats --since 30d --by authority --json | jq '.top[] | {key, attempts}'

It is read from state_dir, whether or not a server runs; what was counted is there a second later. Days are those
of `time_zone` in [stats]. What each figure counts, and what not, docs/statistics.md says.

Exit status: 0 shown, 2 there are no statistics, or they cannot be read.";

/// What `stats` is asked.
#[derive(Debug, ArgGroup)]
pub(in crate::cli) struct StatsArgs {
    /// From when on: how long ago (90m, 24h, 7d, 4w), a day, or a moment with its offset
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = when)]
    pub(in crate::cli) since: When,
    /// One ranking only
    #[arg(long, value_name = "WHAT")]
    pub(in crate::cli) by: Option<By>,
    /// How many lines a ranking has at most [default: 10, with --by 20]
    #[arg(long, value_name = "N")]
    pub(in crate::cli) limit: Option<usize>,
    #[command(flatten)]
    pub(in crate::cli) config: ConfigArg,
    /// As one JSON object
    #[arg(long)]
    pub(in crate::cli) json: bool,
}

/// What hits are put together by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum By {
    /// The rule that decided.
    Name,
    /// Orders a name rests on; a hit counts under each.
    Order,
    /// Authorities of these orders.
    Authority,
    /// Lists with a rule that matched; a hit counts under each.
    List,
    /// Record types asked for.
    Type,
    /// What clients got.
    Answer,
    /// How they asked.
    Transport,
    /// Blocked, shadow or excepted.
    Outcome,
}

impl From<By> for read::By {
    fn from(by: By) -> Self {
        match by {
            By::Name => Self::Name,
            By::Order => Self::Order,
            By::Authority => Self::Authority,
            By::List => Self::List,
            By::Type => Self::Type,
            By::Answer => Self::Answer,
            By::Transport => Self::Transport,
            By::Outcome => Self::Outcome,
        }
    }
}
