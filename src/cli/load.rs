//! What a server started now with a configuration would have in force; for verbs that ask about it.

use super::Exit;
use super::output::{self, Progress, complain};
use crate::app;
use crate::config::Settings;
use crate::limit;
use crate::reload::{self, Loaded, Loader};
use crate::snapshot::Snapshot;
use crate::stats::Stats;
use crate::util::Now;

/// Rules in force, and where they come from.
pub(super) struct InForce {
    /// As of `now`.
    pub(super) snapshot: Snapshot,
    /// What was read, list by list.
    pub(super) loaded: Loaded,
    /// When orders were looked at.
    pub(super) now: Now,
}

/// Reads the lists, with the last good copies where it has to; says why if a server would not start.
pub(super) fn in_force(settings: &Settings) -> Result<InForce, Exit> {
    let progress = Progress::show(&format!("reading {}", output::counted(settings.lists.len() as u64, "list")));
    // Only `Loader::keep` would write.
    let mut loader = Loader::new(Some(settings.state_dir.clone()));
    let loaded = loader.load(settings);
    drop(progress);
    if !loaded.missing.is_empty() && !settings.start_without_lists {
        return Err(complain(&reload::StartError { missing: loaded.missing }));
    }
    for report in &loaded.reports {
        if let Some(why) = &report.error {
            output::note(&format_args!("list \"{}\": {why}", report.name));
        }
    }
    for trouble in &loaded.gate_troubles {
        output::note(trouble);
    }
    let now = Now::read();
    let snapshot = app::compile_all(1, settings, &loaded, &Stats::default(), now.seconds());
    let snapshot = snapshot.map_err(|error| complain(&error))?;
    Ok(InForce { snapshot, loaded, now })
}

/// An access list that has everybody on it: for questions about names, not about clients.
pub(super) fn anybody() -> limit::Settings {
    limit::Settings { allow_from: ["0.0.0.0/0", "::/0"].iter().filter_map(|block| block.parse().ok()).collect() }
}
