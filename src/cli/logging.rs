//! The operator's log, on stderr. Query data never goes through it.

use std::env;
use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;

use super::output::Style;

/// Without `RUST_LOG`: what happened, in our words; the libraries only when something is wrong.
/// hickory's resolver and its connections say "something is wrong" of every name that is not there, with the name.
const DEFAULT: &str = "info,hickory_server=warn,hickory_net=off,hickory_proto=warn,hickory_resolver=off";

/// Starts it; may be called once.
pub(super) fn start() {
    let wanted = env::var("RUST_LOG").ok().filter(|text| !text.trim().is_empty());
    let (filter, wrong) = match wanted.map(|text| EnvFilter::try_new(&text).map_err(|error| (text, error))) {
        Some(Ok(filter)) => (filter, None),
        Some(Err(wrong)) => (EnvFilter::new(DEFAULT), Some(wrong)),
        None => (EnvFilter::new(DEFAULT), None),
    };
    let colours = Style::of(&io::stderr()).has_colours();
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_ansi(colours);
    let log = log.with_target(false);
    // The journal stamps every line itself. A shell inside a service inherits the variable, but shows a terminal.
    let journal = env::var_os("JOURNAL_STREAM").is_some() && !io::stderr().is_terminal();
    // Fails only if there is a log already, as in tests.
    let _ = if journal { log.without_time().try_init() } else { log.try_init() };
    if let Some((text, error)) = wrong {
        tracing::warn!("RUST_LOG=\"{text}\" is not a filter ({error}); the default is used: {DEFAULT}");
    }
}
