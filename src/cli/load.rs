//! What a server started now with a configuration would have in force; for verbs that ask about it.

use std::fmt;

use serde::Serialize;

use super::Exit;
use super::output::{self, Progress, complain};
use crate::app;
use crate::config::Settings;
use crate::limit::{self, Doors};
use crate::reload::{self, Loaded, Loader};
use crate::snapshot::Snapshot;
use crate::stats::Stats;
use crate::util::{Digest, Now, UnixTime};

/// Rules in force, and where they come from.
pub(super) struct InForce {
    /// As of `now`.
    pub(super) snapshot: Snapshot,
    /// What was read, list by list.
    pub(super) loaded: Loaded,
    /// The doors that clients may come through.
    pub(super) doors: Doors,
    /// When orders were looked at.
    pub(super) now: Now,
    /// When reading began.
    began: UnixTime,
}

/// The version of a file that is in force.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Version {
    /// Of its content, which is what a version is told by.
    pub(super) sha256: Option<String>,
    /// When a server accepted that; nothing if none has, or it is not known.
    pub(super) accepted: Option<String>,
    /// The same, to compare.
    #[serde(skip)]
    pub(super) accepted_at: Option<UnixTime>,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.sha256 {
            Some(sha256) => write!(f, "version {sha256}")?,
            None => return f.write_str("nothing of it is in force"),
        }
        match &self.accepted {
            Some(accepted) => write!(f, ", accepted {accepted}"),
            None => f.write_str(", which no server has accepted yet, as far as state_dir tells"),
        }
    }
}

impl InForce {
    /// What is known of a version.
    pub(super) fn version(&self, sha256: Option<Digest>, accepted: Option<UnixTime>) -> Version {
        // What was accepted by this very reading says nothing about a server.
        let accepted_at = accepted.filter(|&at| at < self.began);
        let accepted = accepted_at.map(|at| at.to_string());
        Version { sha256: sha256.map(|digest| digest.to_string()), accepted, accepted_at }
    }

    /// The version of a file of a list.
    pub(super) fn version_of(&self, list: u16, file: &str) -> Version {
        let files = self.loaded.reports.get(usize::from(list)).into_iter().flat_map(|report| &report.files);
        let file = files.into_iter().find(|known| *known.path == *file);
        file.map(|file| self.version(file.sha256, file.accepted)).unwrap_or_default()
    }
}

/// Reads the lists, with the last good copies where it has to; says why if a server would not start.
/// (What is wrong with the files of `[[clients]]` is said with other troubles.)
pub(super) fn lists(settings: &Settings) -> Result<Loaded, Exit> {
    let progress = Progress::show(&format!("reading {}", output::counted(settings.lists.len() as u64, "list")));
    // Only `Loader::keep` would write.
    let mut loader = Loader::new(Some(settings.state_dir.clone()));
    let loaded = loader.load(settings);
    drop(progress);
    if !loaded.missing.is_empty() && !settings.start_without_lists {
        return Err(complain(&reload::StartError { missing: loaded.missing, clients: Vec::new() }));
    }
    for report in &loaded.reports {
        if let Some(why) = &report.error {
            output::note(&format_args!("list \"{}\": {why}", report.name));
        }
    }
    for trouble in &loaded.gate_troubles {
        output::note(trouble);
    }
    Ok(loaded)
}

/// The same, and what would decide queries.
pub(super) fn in_force(settings: &Settings) -> Result<InForce, Exit> {
    let began = Now::read().seconds();
    let loaded = lists(settings)?;
    let now = Now::read();
    let doors = Doors::default();
    let snapshot = app::compile_all(1, settings, &loaded, (&Stats::default(), &doors), now.seconds());
    let snapshot = snapshot.map_err(|error| complain(&error))?;
    Ok(InForce { snapshot, loaded, doors, now, began })
}

/// An access list that has everybody on it: for questions about names, not about clients.
pub(super) fn anybody() -> limit::Settings {
    limit::Settings { allow_from: ["0.0.0.0/0", "::/0"].iter().filter_map(|block| block.parse().ok()).collect() }
}
