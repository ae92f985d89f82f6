//! The configuration file: text with positions in, settings that cannot be wrong out.

use std::path::PathBuf;

use crate::{hits, limit, list, local, policy, reload, serve, upstream};

/// Everything the configuration file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The file itself.
    pub path: PathBuf,
    /// Last good lists, counters; joined with the file's folder.
    pub state_dir: PathBuf,
    /// Serve unfiltered if no list can be read and there is no last good state.
    pub start_without_lists: bool,
    /// Listeners.
    pub server: serve::Settings,
    /// Who may ask.
    pub limit: limit::Settings,
    /// Who is asked.
    pub upstream: upstream::Settings,
    /// What is answered here.
    pub local: local::Settings,
    /// The default answer.
    pub answer: policy::AnswerSettings,
    /// Lists in order of precedence.
    pub lists: Vec<ListSettings>,
    /// The hit log.
    pub hits: hits::Settings,
    /// Watching.
    pub reload: reload::Settings,
}

/// One `[[list]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListSettings {
    /// What to read and how.
    pub spec: list::Spec,
    /// `[answer]` with this list's overrides.
    pub answer: policy::AnswerSettings,
}
