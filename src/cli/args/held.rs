//! `held`, `release`, `dismiss`, `undecide` as clap reads them.

use clap::Args as ArgGroup;

use super::ServerArgs;

/// Shown by `held --help`.
pub(super) const HELD_EXAMPLES: &str = "\
Examples:
  qalqan held
  qalqan held feed --all                   also what was released and dismissed: when, by whom and why
  qalqan held --json | jq -r '.lists[].entries[] | select(.open) | .entry'

A held entry is not enforced until somebody decides. It asks the running server; if none runs, it reads the lists as one
started now would.

Exit status: 0 nothing waits for a decision, 1 something does, 2 nothing is known, or there is no such list.";

/// Shown by `release --help`.
pub(super) const RELEASE_EXAMPLES: &str = "\
Examples:
  qalqan release feed medium.com --reason 'order 7/26 names it'
  qalqan release feed medium.com '=us.com' '*.example.com' --reason 'letter of 3 May'
  qalqan release feed --whole --reason 'the register was split'           take the version refused for its size
  qalqan release feed --whole=9f86d081 --reason 'the register was split'  only if its hash begins so

It comes back when that is in force. The decision holds for all later versions of the list. Of several entries all are
released, or none.

Exit status: 0 in force, 2 not: no server runs, no such list, no such held entry, or it cannot be released.";

/// Shown by `dismiss --help`.
pub(super) const DISMISS_EXAMPLES: &str = "\
Examples:
  qalqan dismiss feed google.com --reason 'a mistake, reported to the authority'

The entry stays unenforced, in all later versions of the list too, and is not asked about any more. What was released
before is no longer enforced.

Exit status: 0 done, 2 not: no server runs, no such list, or no such held entry.";

/// Shown by `undecide --help`.
pub(super) const UNDECIDE_EXAMPLES: &str = "\
Examples:
  qalqan undecide feed medium.com          ask about it again; until then it is not enforced
  qalqan undecide feed --whole=9f86d081    that version was accepted by mistake; it stays until another one comes

Exit status: 0 done, 2 not: no server runs, or nothing was decided about it.";

/// What `held` is asked.
#[derive(Debug, ArgGroup)]
pub(in crate::cli) struct HeldArgs {
    /// Name of a list; without it, all
    #[arg(value_name = "LIST")]
    pub(in crate::cli) list: Option<String>,
    /// Show what was released and dismissed too: when, by whom and why
    #[arg(long)]
    pub(in crate::cli) all: bool,
    #[command(flatten)]
    pub(in crate::cli) server: ServerArgs,
}

/// What `release` is told.
#[derive(Debug, ArgGroup)]
pub(in crate::cli) struct ReleaseArgs {
    /// Name of the list
    #[arg(value_name = "LIST")]
    pub(in crate::cli) list: String,
    /// Entries as `held` shows them: name, =name, *.name
    #[arg(value_name = "ENTRY", required_unless_present = "whole")]
    pub(in crate::cli) entries: Vec<String>,
    /// Take the version of the list that was refused for its size; with the beginning of its hash, only that one
    #[arg(long, value_name = "SHA256", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    pub(in crate::cli) whole: Option<String>,
    /// Why, for those who read the audit log later
    #[arg(long, value_name = "TEXT")]
    pub(in crate::cli) reason: String,
    #[command(flatten)]
    pub(in crate::cli) server: ServerArgs,
}

/// What `dismiss` is told.
#[derive(Debug, ArgGroup)]
pub(in crate::cli) struct DismissArgs {
    /// Name of the list
    #[arg(value_name = "LIST")]
    pub(in crate::cli) list: String,
    /// Entries as `held` shows them: name, =name, *.name
    #[arg(value_name = "ENTRY", required = true)]
    pub(in crate::cli) entries: Vec<String>,
    /// Why, for those who read the audit log later
    #[arg(long, value_name = "TEXT")]
    pub(in crate::cli) reason: String,
    #[command(flatten)]
    pub(in crate::cli) server: ServerArgs,
}

/// What `undecide` is told.
#[derive(Debug, ArgGroup)]
pub(in crate::cli) struct UndecideArgs {
    /// Name of the list
    #[arg(value_name = "LIST")]
    pub(in crate::cli) list: String,
    /// Entries as `held --all` shows them: name, =name, *.name
    #[arg(value_name = "ENTRY", required_unless_present = "whole")]
    pub(in crate::cli) entries: Vec<String>,
    /// The version of the list that was accepted last; with the beginning of its hash, that one
    #[arg(long, value_name = "SHA256", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    pub(in crate::cli) whole: Option<String>,
    /// Why, for those who read the audit log later
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub(in crate::cli) reason: String,
    #[command(flatten)]
    pub(in crate::cli) server: ServerArgs,
}
