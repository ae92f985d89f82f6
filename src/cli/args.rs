//! The command line as clap reads it; help, completions and the man page come from here.

mod audit;
mod cert;
mod held;
mod lists;
mod orders;
mod period;
mod report;
mod ship;
mod stats;

use std::fmt;
use std::io::{self, Write};
use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args as ArgGroup, CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

pub(super) use self::audit::{AuditVerb, ExportArgs, ExportFormat, LogArg, NameArgs, VerifyArgs};
pub(super) use self::cert::CertArgs;
pub(super) use self::held::{DismissArgs, HeldArgs, ReleaseArgs, UndecideArgs};
pub(super) use self::lists::{DiffArgs, ListsVerb, RollbackArgs, TrialArgs, UnpinArgs, VersionsArgs};
pub(super) use self::orders::{OrdersArgs, OrdersVerb};
pub(super) use self::report::{Format, Lang, ReportArgs, Step};
pub(super) use self::ship::ShipVerb;
pub(super) use self::stats::{By, StatsArgs};
use super::probe::{self, ProbeArgs};
use crate::hits::type_name;

/// Shown below the list of verbs.
const EXAMPLES: &str = "\
Examples:
  qalqan serve                             serve with ./config.toml
  qalqan check                             what the lists hold, and what could not be used
  qalqan fetch                             fetch lists from the web now
  qalqan why www.coinbase.com              is it blocked, why, and what does a client get
  qalqan probe                             is every enforced name really blocked by the running server
  qalqan orders                            all orders: state, names, dates, lists
  qalqan held                              what is not enforced until somebody decides
  qalqan stats                             what was asked for and blocked in the last 24 hours
  qalqan report --help                     reports for authorities: html, csv, json, parquet
  qalqan audit verify                      was the log of what was enforced changed?

Exit status: 0 all is well, 1 somebody should look at what was printed, 2 it cannot start or the input is wrong.";

/// Shown by `serve --help`.
const SERVE_EXAMPLES: &str = "\
Examples:
  qalqan serve
  qalqan serve --config /etc/qalqan/config.toml
  RUST_LOG=debug qalqan serve              a chattier log

Signals: HUP reads configuration and lists again, TERM and INT end it after answering what is under way.
Changes of the configuration and of list files are noticed by themselves.";

/// Shown by `check --help`.
const CHECK_EXAMPLES: &str = "\
Examples:
  qalqan check
  qalqan check --config /etc/qalqan/config.toml --all
  qalqan check --json | jq '.lists[] | {name, entries, rejected}'

Exit status: 0 all is well; 1 it can serve, but entries were rejected, files are unusable, blocks are taken back by
allow entries, or an entry is a public suffix; 2 it would not start.";

/// Shown by `fetch --help`.
const FETCH_EXAMPLES: &str = "\
Examples:
  qalqan fetch                             every list from the web; what has not changed is not sent again
  qalqan fetch register                    this one
  qalqan fetch register --accept-older     its publisher went back to an older version, and means it

What was fetched is written to state_dir as a whole; a running server takes it within a second. What cannot be fetched
or is refused (an empty file, a web page, a wrong signature or hash, an older serial) changes nothing.

Exit status: 0 all were fetched or have not changed, 1 some were not, 2 there is no such list.";

/// Shown by `why --help`.
const WHY_EXAMPLES: &str = "\
Examples:
  qalqan why www.coinbase.com
  qalqan why биржа.example --type AAAA
  qalqan why example.org example.net --client 192.0.2.7 --json

It decides as a server started now with this configuration would, from the same files and, where these cannot be read,
the last good copies in state_dir. It asks no other server: a name that passes may still be blocked when its answer
leads (CNAME, HTTPS) to a blocked name.

Exit status: 0 decided, 2 not a name, or the server would not start.";

/// Shown by `lists --help`.
const LISTS_EXAMPLES: &str = "\
Examples:
  qalqan lists
  qalqan lists --json | jq '.lists[] | select(.state != \"current\")'
  qalqan lists promote register            end the trial of its new version: all get it
  qalqan lists withdraw register --reason \"blocks our bank\"

It asks the running server; if none runs, it shows what the last one left in state_dir.

Exit status: 0 all lists are current; 1 one is not, or an order is due or overdue; 2 nothing is known.";

/// Shown by `reload --help`.
const RELOAD_EXAMPLES: &str = "\
Examples:
  qalqan reload                            what SIGHUP does, and wait for it

Changes are noticed by themselves within a second; this is for who wants to know that they are in force.

Exit status: 0 in force, 1 in force but a list is not current, 2 not in force.";

/// Shown by `flush --help`.
const FLUSH_EXAMPLES: &str = "\
Examples:
  qalqan flush www.example.com             forget its answers
  qalqan flush --subtree example.com       and those of all names below it

Exit status: 0 done, 2 no server, or not a name.";

/// A DNS-level blocking resolver: answers ordered names itself, forwards all others, and writes every hit down.
#[derive(Debug, Parser)]
#[command(name = "qalqan", version, after_help = EXAMPLES, max_term_width = 100, disable_help_subcommand = true)]
pub(super) struct Args {
    /// What to do.
    #[command(subcommand)]
    pub(super) verb: Verb,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Serve DNS until a signal ends it
    #[command(after_help = SERVE_EXAMPLES)]
    Serve(ConfigArg),
    /// Read configuration and lists and say what they hold, without serving or writing anything
    #[command(after_help = CHECK_EXAMPLES)]
    Check {
        #[command(flatten)]
        config: ConfigArg,
        /// Show every unusable file and every rejected entry that was kept, not only the first 20
        #[arg(long)]
        all: bool,
        /// As one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Fetch lists from the web once, now
    #[command(after_help = FETCH_EXAMPLES)]
    Fetch(FetchArgs),
    /// Make a certificate for encrypted DNS, signed by itself, for trying
    #[command(after_help = cert::EXAMPLES)]
    Cert(CertArgs),
    /// Say what happens to a query for a name, and on which order
    #[command(after_help = WHY_EXAMPLES)]
    Why(WhyArgs),
    /// Ask a running server every enforced name, and say what is not blocked
    #[command(after_help = probe::EXAMPLES)]
    Probe(Box<ProbeArgs>),
    /// List orders: their state, names and dates, what a name rests on, what ends soon, what is overdue
    #[command(after_help = orders::EXAMPLES, disable_help_subcommand = true)]
    Orders(OrdersArgs),
    /// Show what was asked for and blocked: how much, when, which names, orders and lists most
    #[command(after_help = stats::EXAMPLES)]
    Stats(StatsArgs),
    /// Write a report of a time to a file: names by order and list, with what was in force and how it was counted
    #[command(after_help = report::EXAMPLES)]
    Report(Box<ReportArgs>),
    /// Hits of a fleet in ClickHouse: make its tables, see how sending goes
    #[command(after_help = ship::EXAMPLES)]
    Ship {
        /// What to do
        #[command(subcommand)]
        verb: ShipVerb,
    },
    /// Prove the audit log, or get events out of it
    #[command(after_help = audit::EXAMPLES, disable_help_subcommand = true)]
    Audit {
        /// What to do with it
        #[command(subcommand)]
        verb: AuditVerb,
    },
    /// Show the lists of the running server: where each stands, what it holds, what went wrong
    #[command(after_help = LISTS_EXAMPLES, args_conflicts_with_subcommands = true, disable_help_subcommand = true)]
    Lists {
        /// What to do with one of them
        #[command(subcommand)]
        verb: Option<ListsVerb>,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Show entries that are not enforced until somebody decides, and versions of lists that were not taken
    #[command(after_help = held::HELD_EXAMPLES)]
    Held(HeldArgs),
    /// Have held entries enforced, or a version of a list taken that was refused for its size
    #[command(after_help = held::RELEASE_EXAMPLES)]
    Release(ReleaseArgs),
    /// Keep held entries out for good
    #[command(after_help = held::DISMISS_EXAMPLES)]
    Dismiss(DismissArgs),
    /// Take back what was decided about held entries
    #[command(after_help = held::UNDECIDE_EXAMPLES)]
    Undecide(UndecideArgs),
    /// Have the running server read configuration and lists again, and wait until that is in force
    #[command(after_help = RELOAD_EXAMPLES)]
    Reload(ServerArgs),
    /// Have the running server forget cached answers
    #[command(after_help = FLUSH_EXAMPLES)]
    Flush {
        /// Domain name, in any script
        #[arg(value_name = "NAME")]
        name: String,
        /// All names below it too
        #[arg(long)]
        subtree: bool,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Show the version
    Version {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Print a completion script for a shell
    #[command(after_help = "Example:\n  qalqan completions bash > /etc/bash_completion.d/qalqan")]
    Completions {
        /// Which shell
        shell: Shell,
    },
    /// Print the man page
    #[command(after_help = "Example:\n  qalqan man > /usr/local/share/man/man1/qalqan.1")]
    Man,
}

/// What `fetch` is told.
#[derive(Debug, ArgGroup)]
pub(super) struct FetchArgs {
    /// Names of lists; without one, all whose source is a web address
    #[arg(value_name = "LIST")]
    pub(super) lists: Vec<String>,
    /// Take a list though its serial or signature is older than what was accepted before
    #[arg(long)]
    pub(super) accept_older: bool,
    #[command(flatten)]
    pub(super) config: ConfigArg,
    /// As a JSON array, one object a list
    #[arg(long)]
    pub(super) json: bool,
}

/// What `why` is asked.
#[derive(Debug, ArgGroup)]
pub(super) struct WhyArgs {
    /// Domain names, in any script
    #[arg(required = true, value_name = "NAME")]
    pub(super) names: Vec<String>,
    /// Ask as this client; without it, as one that may ask
    #[arg(long, value_name = "IP")]
    pub(super) client: Option<IpAddr>,
    /// Ask as one who comes through this door (`via` of [[clients]])
    #[arg(long, value_name = "DOOR")]
    pub(super) via: Option<String>,
    /// Record type, by name or number
    #[arg(long = "type", value_name = "TYPE", default_value = "A", value_parser = record_type)]
    pub(super) rtype: u16,
    #[command(flatten)]
    pub(super) config: ConfigArg,
    /// As JSON, one object a line and name
    #[arg(long)]
    pub(super) json: bool,
}

/// A record type as people write it: `AAAA`, `https`, `TYPE65`, `65`.
pub(super) fn record_type(text: &str) -> Result<u16, UnknownType> {
    let upper = text.to_ascii_uppercase();
    let digits = upper.strip_prefix("TYPE").unwrap_or(&upper);
    if let Ok(number) = digits.parse() {
        return Ok(number);
    }
    (0..=u16::MAX).find(|&number| type_name(number) == upper).ok_or(UnknownType)
}

/// Not a record type.
#[derive(Debug)]
pub(super) struct UnknownType;

impl fmt::Display for UnknownType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a record type; write a name like AAAA, HTTPS or TXT, or a number")
    }
}

impl std::error::Error for UnknownType {}

/// Which running server, and how its answer is shown.
#[derive(Debug, ArgGroup)]
pub(super) struct ServerArgs {
    #[command(flatten)]
    pub(super) config: ConfigArg,
    /// As JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// Which configuration.
#[derive(Debug, ArgGroup)]
pub(super) struct ConfigArg {
    /// Configuration file [default: config.toml in this folder, else /etc/qalqan/config.toml]
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
}

/// Writes the man page: the command's own, then one section a verb.
pub(super) fn man(to: &mut dyn Write) -> io::Result<()> {
    let mut command = Args::command();
    command.build();
    let page = clap_mangen::Man::new(command.clone());
    page.render_title(to)?;
    page.render_name_section(to)?;
    page.render_synopsis_section(to)?;
    page.render_description_section(to)?;
    page.render_subcommands_section(to)?;
    for verb in command.get_subcommands() {
        man_verb(&format!("qalqan {}", verb.get_name()), verb, to)?;
    }
    page.render_extra_section(to)?;
    page.render_version_section(to)
}

/// The section of a verb, then those of its own verbs.
fn man_verb(name: &str, verb: &clap::Command, to: &mut dyn Write) -> io::Result<()> {
    writeln!(to, ".SH \"{name}\"")?;
    let page = clap_mangen::Man::new(verb.clone());
    page.render_description_section(to)?;
    page.render_options_section(to)?;
    page.render_extra_section(to)?;
    verb.get_subcommands().try_for_each(|sub| man_verb(&format!("{name} {}", sub.get_name()), sub, to))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn record_types_have_names_and_numbers() {
        let types = ["A", "https", "TYPE65", "65", "type65280"].map(|text| record_type(text).ok());
        assert_eq!(types, [Some(1), Some(65), Some(65), Some(65), Some(65280)]);
        assert!(["", "TYPE", "AAAAA", "65536", "-1"].iter().all(|text| record_type(text).is_err()));
    }

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }
}
