//! The command line as clap reads it; help, completions and the man page come from here.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::{Args as ArgGroup, CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

/// Shown below the list of verbs.
const EXAMPLES: &str = "\
Examples:
  qalqan serve                             serve with ./config.toml
  qalqan check                             what the lists hold, and what could not be used
  qalqan why www.coinbase.com              is it blocked, why, and what does a client get

Exit status: 0 all is well, 1 somebody should look at what was printed, 2 it cannot start or the input is wrong.";

/// Shown by `serve --help`.
const SERVE_EXAMPLES: &str = "\
Examples:
  qalqan serve
  qalqan serve --config /etc/qalqan/config.toml
  RUST_LOG=debug qalqan serve              a chattier log

Signals: HUP reads configuration and lists again, TERM and INT end it after answering what is under way.
Changes of the configuration and of list files are noticed by themselves.";

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
        writeln!(to, ".SH \"qalqan {}\"", verb.get_name())?;
        let page = clap_mangen::Man::new(verb.clone());
        page.render_description_section(to)?;
        page.render_options_section(to)?;
        page.render_extra_section(to)?;
    }
    page.render_extra_section(to)?;
    page.render_version_section(to)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }
}
