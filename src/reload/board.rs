//! Where everything stands, for others to look at while reloads go on.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::ledger::Numbers;
use super::pace::Enforced;
use super::report::{ListReport, Loaded};
use crate::util::UnixTime;

/// A place to read what is in force, and to hear when that changes.
#[derive(Clone, Debug, Default)]
pub struct Board(watch::Sender<Posted>);

/// What stands on a [`Board`].
#[derive(Clone, Debug, Default)]
pub struct Posted {
    /// Of the snapshot in force.
    pub generation: u64,
    /// When it was published.
    pub published: UnixTime,
    /// The same to the millisecond, and how long the last publish took from the first sight of a change.
    pub last: Option<Enforced>,
    /// When the version of each list that all have came into force.
    pub enforced: Arc<HashMap<String, Enforced>>,
    /// Why what was read last could not be put in force.
    pub failed: Option<String>,
    /// Numbers of the versions in force, by list, as far as they are in the history.
    pub versions: Arc<HashMap<String, u64>>,
    /// Numbers of the versions on trial, likewise.
    pub tried: Arc<HashMap<String, u64>>,
    /// One a list, in config order, as of the last look at the sources.
    pub reports: Arc<[ListReport]>,
    /// Files of the gate that cannot be used as they are, as of then.
    pub gate: Arc<[String]>,
    /// So long before its deadline an order is due.
    pub warn: Duration,
    /// How the orders stand; a moment behind the rest.
    pub orders: Numbers,
}

impl Posted {
    /// Takes over what a look at the sources found.
    pub(super) fn look(&mut self, loaded: &Loaded) {
        self.reports = loaded.reports.as_slice().into();
        self.gate = loaded.gate_troubles.as_slice().into();
    }
}

impl Board {
    /// What stands there now.
    pub fn read(&self) -> Posted {
        self.0.borrow().clone()
    }

    /// Hears of every change from now on.
    pub fn subscribe(&self) -> watch::Receiver<Posted> {
        self.0.subscribe()
    }

    /// Changes what stands there.
    pub(super) fn post(&self, change: impl FnOnce(&mut Posted)) {
        self.0.send_modify(change);
    }
}
