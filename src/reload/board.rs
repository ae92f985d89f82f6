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
    /// How often sources were looked at, and what came of it.
    pub looks: Looks,
}

/// What came of looking at the sources, and at the configuration, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Looks {
    /// Something was put in force.
    pub published: u64,
    /// Nothing had changed.
    pub unchanged: u64,
    /// What was read could not be put in force.
    pub failed: u64,
    /// When the last one ended.
    pub last: UnixTime,
    /// How long the last one took that put something in force, from the first look until the publish was done.
    pub took: Duration,
    /// The configuration file cannot be used as it is; the settings in force stay.
    pub config_broken: bool,
}

/// What came of one look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// Something was put in force, after so long.
    Published(Duration),
    /// Nothing had changed.
    Unchanged,
    /// What was read could not be put in force.
    Failed,
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

    /// Books a look. Nobody is told: it is no news that nothing is new.
    pub(super) fn book(&self, look: Look, config_broken: bool, now: UnixTime) {
        self.0.send_if_modified(|posted| {
            let looks = &mut posted.looks;
            match look {
                Look::Published(took) => (looks.published, looks.took) = (looks.published + 1, took),
                Look::Unchanged => looks.unchanged += 1,
                Look::Failed => looks.failed += 1,
            }
            (looks.last, looks.config_broken) = (now, config_broken);
            false
        });
    }

    /// Changes what stands there.
    pub(super) fn post(&self, change: impl FnOnce(&mut Posted)) {
        self.0.send_modify(change);
    }
}
