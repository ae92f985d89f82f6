//! The lists as the server starts.

use std::fmt;
use std::time::Duration;

use super::super::loader::Loader;
use super::super::report::{Loaded, Missing};
use crate::config::Settings;

/// The longest `quiet` a start goes by.
const LONGEST_START_QUIET: Duration = Duration::from_millis(500);

/// The lists as the server starts: from their sources, else as they were last good.
///
/// Blocks. The caller publishes what it gets and hands `loader` on to [`super::Control::new`].
///
/// # Errors
/// A list cannot be read and has no last good state, unless `start_without_lists` is set; or it cannot be told which
/// clients are of which group.
pub fn first(settings: &Settings, loader: &mut Loader) -> Result<Loaded, StartError> {
    // Nobody is answered yet: a file still being written is waited for, but not for minutes.
    let quiet = settings.reload.quiet.min(LONGEST_START_QUIET);
    loader.set_quiet(quiet, quiet * 4);
    let loaded = loader.load(settings);
    let missing = if settings.start_without_lists { Vec::new() } else { loaded.missing.clone() };
    match missing.is_empty() && loaded.clients.errors.is_empty() {
        true => Ok(loaded),
        false => Err(StartError { missing, clients: loaded.clients.errors.clone() }),
    }
}

/// Lists could not be read, and there is no last good state of them; or the files of `[[clients]]` cannot be used.
#[derive(Clone, Debug)]
pub struct StartError {
    /// Each of them.
    pub missing: Vec<Missing>,
    /// What is wrong with `[[clients]]`.
    pub clients: Vec<String>,
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.clients.join("\n"))?;
        if self.missing.is_empty() {
            return Ok(());
        }
        if !self.clients.is_empty() {
            f.write_str("\n")?;
        }
        for Missing { list, why } in &self.missing {
            writeln!(f, "list \"{list}\": {why}")?;
        }
        f.write_str(
            "no last good copy of these is kept in state_dir, and unfiltered answers are not given: mend the lists, or \
             set start_without_lists = true",
        )
    }
}

impl std::error::Error for StartError {}
