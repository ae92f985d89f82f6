//! `lists` and what can be done with the kept versions of one.

use clap::{Args as ArgGroup, Subcommand};

use super::ServerArgs;

/// Shown by `lists versions --help`.
const VERSIONS_EXAMPLES: &str = "\
Examples:
  qalqan lists versions orders
  qalqan lists versions feed --json | jq '.versions[0]'

Reads state_dir, whether or not a server runs. Exit status: 0, 1 a version is damaged, 2 no such list.";

/// Shown by `lists diff --help`.
const DIFF_EXAMPLES: &str = "\
Examples:
  qalqan lists diff feed                   what the newest version changed
  qalqan lists diff feed 17                from version 17 to the newest
  qalqan lists diff feed 17 20 --all

Reads state_dir, whether or not a server runs.";

/// Shown by `lists rollback --help`.
const ROLLBACK_EXAMPLES: &str = "\
Examples:
  qalqan lists rollback feed --reason 'blocks the tax office'      the version before
  qalqan lists rollback feed 17 --reason 'last one that was checked'

In force when the command comes back. The list then stays at that version, whatever its source says, until it is unpinned.

Exit status: 0 in force, 1 in force but somebody should look at it, 2 not done.";

/// Shown by `lists unpin --help`.
const UNPIN_EXAMPLES: &str = "\
Example:
  qalqan lists unpin feed --reason 'mended by the authority'";

/// What to do with lists.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum ListsVerb {
    /// Show the kept versions of a list
    #[command(after_help = VERSIONS_EXAMPLES)]
    Versions(VersionsArgs),
    /// Show what two versions of a list differ in
    #[command(after_help = DIFF_EXAMPLES)]
    Diff(DiffArgs),
    /// Put an older version of a list in force, and keep the list there
    #[command(after_help = ROLLBACK_EXAMPLES)]
    Rollback(RollbackArgs),
    /// Let a list follow its source again
    #[command(after_help = UNPIN_EXAMPLES)]
    Unpin(UnpinArgs),
    /// Give the version that is tried on canary clients, or was withdrawn, to all now
    Promote(TrialArgs),
    /// Take the version that is tried on canary clients back, until its source changes
    Withdraw(TrialArgs),
}

/// Which trial to end.
#[derive(Debug, ArgGroup)]
pub(in crate::cli) struct TrialArgs {
    /// The list
    #[arg(value_name = "NAME")]
    pub(in crate::cli) list: String,
    /// Why, for the log
    #[arg(long, value_name = "TEXT", default_value = "an operator wants it so")]
    pub(in crate::cli) reason: String,
    #[command(flatten)]
    pub(in crate::cli) server: ServerArgs,
}

/// `lists versions`
#[derive(Debug, ArgGroup)]
pub(in crate::cli) struct VersionsArgs {
    /// The list
    #[arg(value_name = "NAME")]
    pub(in crate::cli) list: String,
    #[command(flatten)]
    pub(in crate::cli) server: ServerArgs,
}

/// `lists diff`
#[derive(Debug, ArgGroup)]
pub(in crate::cli) struct DiffArgs {
    /// The list
    #[arg(value_name = "NAME")]
    pub(in crate::cli) list: String,
    /// The older version [default: the one before the newest]
    #[arg(value_name = "A")]
    pub(in crate::cli) from: Option<u64>,
    /// The newer version [default: the newest]
    #[arg(value_name = "B")]
    pub(in crate::cli) to: Option<u64>,
    /// Show every rule, not only the first 20 of each side
    #[arg(long)]
    pub(in crate::cli) all: bool,
    #[command(flatten)]
    pub(in crate::cli) server: ServerArgs,
}

/// `lists rollback`
#[derive(Debug, ArgGroup)]
pub(in crate::cli) struct RollbackArgs {
    /// The list
    #[arg(value_name = "NAME")]
    pub(in crate::cli) list: String,
    /// The version [default: the one before that in force]
    #[arg(value_name = "VERSION")]
    pub(in crate::cli) version: Option<u64>,
    /// Why; it stands in the audit log
    #[arg(long, value_name = "TEXT")]
    pub(in crate::cli) reason: String,
    #[command(flatten)]
    pub(in crate::cli) server: ServerArgs,
}

/// `lists unpin`
#[derive(Debug, ArgGroup)]
pub(in crate::cli) struct UnpinArgs {
    /// The list
    #[arg(value_name = "NAME")]
    pub(in crate::cli) list: String,
    /// Why; it stands in the audit log
    #[arg(long, value_name = "TEXT")]
    pub(in crate::cli) reason: String,
    #[command(flatten)]
    pub(in crate::cli) server: ServerArgs,
}
