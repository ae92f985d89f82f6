//! `ship` as clap reads it.

use clap::Subcommand;

use super::ConfigArg;

/// Shown by `ship --help`.
pub(super) const EXAMPLES: &str = "\
Examples:
  qalqan ship apply                        make database and tables, where they are not there yet
  qalqan ship ddl --old | clickhouse-client --database qalqan --multiquery
  qalqan ship status                       what has arrived, what waits, what was lost, and why

All of them read [stats.clickhouse]; ddl needs no configuration.

Exit status: 0 all is well; 1 hits were dropped, or the last try to send failed; 2 it cannot be done.";

/// What to do about ClickHouse.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum ShipVerb {
    /// Print the statements that make the tables
    Ddl {
        /// For a server before 19.6, which knows no TTL
        #[arg(long)]
        old: bool,
    },
    /// Make database and tables on the server, where they are not there yet
    Apply(ConfigArg),
    /// Show what has arrived, what waits and what was lost
    Status {
        #[command(flatten)]
        config: ConfigArg,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}
