//! The verbs of the command line. Results go to stdout, everything else to stderr.

mod args;
mod audit;
mod cert;
mod check;
mod fetch;
mod held;
mod lists;
mod load;
mod logging;
mod orders;
mod output;
mod probe;
mod report;
mod ship;
mod stats;
mod versions;
mod why;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use self::args::{Args, ConfigArg, ListsVerb, Verb};
use self::output::complain;
use crate::app;
use crate::config::{self, Settings};

/// Read when `--config` is not given and there is no such file in the current folder.
const SYSTEM_CONFIG: &str = "/etc/qalqan/config.toml";
/// Looked for first.
const LOCAL_CONFIG: &str = "config.toml";

/// How a run ended, for scripts and the service manager.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
enum Exit {
    /// All is well.
    Fine = 0,
    /// It works, but somebody should look at what was printed.
    Look = 1,
    /// It cannot start, or what was asked for makes no sense.
    Failed = 2,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Runs the verb the command line names.
pub fn run() -> ExitCode {
    match Args::try_parse() {
        Ok(args) => dispatch(args.verb).into(),
        Err(error) => {
            // Help goes to stdout and is no error; a reader that has seen enough of it is none either.
            let _ = error.print();
            if error.use_stderr() { Exit::Failed.into() } else { Exit::Fine.into() }
        }
    }
}

/// Runs one verb.
fn dispatch(verb: Verb) -> Exit {
    match verb {
        Verb::Serve(config) => serve(&config),
        Verb::Check { config, all, json } => check::run(&config, all, json),
        Verb::Fetch(args) => fetch::run(&args),
        Verb::Cert(args) => cert::run(&args),
        Verb::Why(args) => why::run(&args),
        Verb::Probe(args) => probe::run(&args),
        Verb::Stats(args) => stats::run(&args),
        Verb::Report(args) => report::run(&args),
        Verb::Ship { verb } => ship::run(&verb),
        Verb::Audit { verb } => audit::run(&verb),
        Verb::Orders(args) => orders::run(&args),
        Verb::Lists { verb: None, server } => lists::lists(&server),
        Verb::Lists { verb: Some(ListsVerb::Versions(args)), .. } => versions::versions(&args),
        Verb::Lists { verb: Some(ListsVerb::Diff(args)), .. } => versions::diff(&args),
        Verb::Lists { verb: Some(ListsVerb::Rollback(args)), .. } => versions::rollback(&args),
        Verb::Lists { verb: Some(ListsVerb::Unpin(args)), .. } => versions::unpin(&args),
        Verb::Held(args) => held::held(&args),
        Verb::Release(args) => held::release(args),
        Verb::Dismiss(args) => held::dismiss(args),
        Verb::Undecide(args) => held::undecide(args),
        Verb::Lists { verb: Some(ListsVerb::Promote(args)), .. } => lists::promote(&args),
        Verb::Lists { verb: Some(ListsVerb::Withdraw(args)), .. } => lists::withdraw(&args),
        Verb::Reload(args) => lists::reload(&args),
        Verb::Flush { name, subtree, server } => lists::flush(&name, subtree, &server),
        Verb::Version { json } => output::print(&version(json), Exit::Fine),
        Verb::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Args::command(), "qalqan", &mut script);
            output::print(&String::from_utf8_lossy(&script), Exit::Fine)
        }
        Verb::Man => man(),
    }
}

/// `serve`: until a signal ends it.
fn serve(config: &ConfigArg) -> Exit {
    logging::start();
    let settings = match settings(config) {
        Ok(settings) => settings,
        Err(exit) => return exit,
    };
    tracing::info!("configuration is {}", settings.path.display());
    match app::serve(settings) {
        Ok(()) => Exit::Fine,
        Err(errors) => {
            for error in &errors {
                complain(error);
            }
            Exit::Failed
        }
    }
}

/// `version`
fn version(json: bool) -> String {
    let version = env!("CARGO_PKG_VERSION");
    if json {
        format!("{}\n", serde_json::json!({ "name": "qalqan", "version": version }))
    } else {
        format!("qalqan {version}\n")
    }
}

/// `man`: one page for all verbs.
fn man() -> Exit {
    let mut page = Vec::new();
    match args::man(&mut page) {
        Ok(()) => output::print(&String::from_utf8_lossy(&page), Exit::Fine),
        Err(error) => complain(&format_args!("cannot make the man page: {error}")),
    }
}

/// The settings of the file meant by `--config`, or of the default one; if there are none, says why.
fn settings(config: &ConfigArg) -> Result<Settings, Exit> {
    let Some(path) = config.config.clone().or_else(default_config) else {
        return Err(complain(&format_args!(
            "there is no {LOCAL_CONFIG} in the current folder and no {SYSTEM_CONFIG}; name the file with --config FILE"
        )));
    };
    config::load(&path).map_err(|problems| {
        // Each line begins with file:line:col, which editors and CI systems make links of.
        output::say(&problems);
        Exit::Failed
    })
}

/// The first of the two default places that has something.
fn default_config() -> Option<PathBuf> {
    // A file that is there but cannot be read is still the one meant: the error must name it.
    let there = |path: &&str| Path::new(path).symlink_metadata().is_ok();
    [LOCAL_CONFIG, SYSTEM_CONFIG].iter().copied().find(there).map(PathBuf::from)
}
