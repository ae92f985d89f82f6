//! Watch, read, compile, publish; the last good state is kept.
//!
//! ```text
//! notify on folders ─┐
//! SIGHUP, rescan ────┼─► Control ─► Loader::load, gate ─► Target::publish ─► Loader::keep
//! order dates ───────┘   (one at a time, off the runtime)   (compile, swap)   (state_dir)
//! ```
//!
//! A reload never makes things worse: a file that cannot be read, is being written or is refused leaves its
//! last good rules in force, from memory or, after a restart, from `state_dir`.

mod board;
mod chronicle;
mod clerk;
mod clientele;
mod control;
mod file;
mod gatekeeper;
mod lastgood;
pub mod ledger;
mod loader;
mod pace;
mod report;
mod review;
mod side;
#[cfg(test)]
mod testing;
mod trial;
mod voice;
mod watch;

pub use board::{Board, Looks, Posted};
pub use clerk::Clerk;
pub use clientele::Belonging;
pub use control::{
    Control, Operation, Outcome, Phase, Published, Ruling, StartError, Target, TrialOrder, Trigger, first, no_such_list,
};
pub use gatekeeper::held_over;
pub use lastgood::CopyError;
pub use ledger::Ledger;
pub use loader::{Loader, size_changes};
pub use pace::Enforced;
pub use report::{
    Digest, FileState, GateReport, Group, ListReport, LoadError, Loaded, Missing, State, TrialCounts, TrialReport,
};
pub use review::{Found, ListReview, MAX_FINDINGS, Place, Review, Shadowed, place, review};
