//! The checks between a freshly read list and the snapshot.
//!
//! ```text
//! list::parse ─► structure ─► allow rules ─► popularity ─► entries held, entries in force
//!      whole list: size change ─► the new version, or the last good one
//! ```
//! A *held* entry is not enforced: it is shown with its reason until the operator releases or dismisses it
//! ([`Decisions`]). Nothing is dropped silently and nothing doubtful is enforced silently. All of it is functions of
//! rules and settings; only [`Decisions`] touches a file.

mod cover;
mod decisions;
mod examine;
mod guard;
mod held;
mod pattern;
mod popular;
mod size;
mod suffix;
#[cfg(test)]
mod tests;

pub use cover::{Cover, blocks, cover};
pub use decisions::{DecideError, Decision, Decisions, DecisionsError, MAX_DECISIONS, Subject, Verdict};
pub use examine::{Finding, Gate, Inputs, Look, Outcome, Reason};
pub use guard::{Guarded, Why};
pub use held::{Held, MAX_HELD, Settled};
pub use pattern::{Pattern, PatternError};
pub use popular::Popular;
pub use size::{Limit, SizeChange, SizeLimits};
pub use suffix::is_public_suffix;

use std::path::PathBuf;

/// `[gate]`: what holds for all lists, and the checks of a list that says nothing of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// The checks of a list.
    pub checks: Checks,
    /// Names no list may block.
    pub never_block: Vec<Pattern>,
    /// A file of more of them.
    pub never_block_file: Option<NamedFile>,
    /// The rank list, and how much of it counts.
    pub popular: Option<PopularSettings>,
    /// Names of qalqan's own, from the other sections.
    pub own: Vec<(Pattern, Why)>,
}

/// What is checked in one list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checks {
    /// Hold the root, top-level domains and public suffixes.
    pub public_suffixes: bool,
    /// Hold names of qalqan's own.
    pub own_names: bool,
    /// Hold domains that stand in the rank list among the first so many; 0: none.
    pub top: u32,
    /// How much the list may change at once.
    pub size: SizeLimits,
}

impl Checks {
    /// Default of [`Checks::top`].
    pub const DEFAULT_TOP: u32 = 10_000;
}

impl Default for Checks {
    fn default() -> Self {
        Self { public_suffixes: true, own_names: true, top: Self::DEFAULT_TOP, size: SizeLimits::default() }
    }
}

/// A file beside the lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedFile {
    /// Joined with the folder of the configuration file.
    pub path: PathBuf,
    /// As the operator wrote it.
    pub shown: String,
}

/// `[gate.popular]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PopularSettings {
    /// The rank list.
    pub file: NamedFile,
    /// How many names of it are kept.
    pub top: u32,
}
