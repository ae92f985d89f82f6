//! Which version of a list all clients have, and which one some try: decided from hashes, counts and a given time.

use std::sync::Arc;

use super::report::Digest;
use crate::audit::{By, CanaryOutcome};
use crate::config::CanarySettings;

/// Whom the newest version of a list is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whom {
    /// Everybody.
    All,
    /// The clients it is tried on; all others keep the version before.
    Some,
    /// It was withdrawn: all keep the version before.
    Nobody,
}

/// What happened to the trials of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum News {
    /// A version is tried.
    Started {
        /// It.
        version: Digest,
        /// What all others keep.
        others: Digest,
    },
    /// It no longer is.
    Ended {
        /// It.
        version: Digest,
        /// What came of it.
        outcome: CanaryOutcome,
        /// In words.
        reason: String,
    },
    /// A version that was withdrawn goes to all after all.
    Revived {
        /// It.
        version: Digest,
        /// The operator's words.
        reason: String,
    },
}

impl News {
    /// Who brought it about: the source of the list, the clock, or the operator who did it.
    pub(super) fn by(&self, source: By, operator: Option<By>) -> By {
        match self {
            Self::Started { .. } | Self::Ended { outcome: CanaryOutcome::Superseded, .. } => source,
            Self::Ended { outcome: CanaryOutcome::Completed, .. } => By::Clock,
            Self::Ended { .. } | Self::Revived { .. } => operator.unwrap_or(By::System),
        }
    }
}

/// Where a list stands.
#[derive(Debug, Default)]
pub(super) struct Course {
    /// The version all have; `None` before the first.
    settled: Option<Digest>,
    beside: Option<Beside>,
    pub(super) news: Vec<News>,
}

/// The newest version, where not all have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Beside {
    pub(super) version: Digest,
    pub(super) started_ms: i64,
    /// Nobody has it any more, and why.
    pub(super) withdrawn: Option<Arc<str>>,
}

impl Course {
    /// As it was left: `beside` need not be what the source holds now.
    pub(super) fn resumed(settled: Digest, beside: Option<Beside>) -> Self {
        Self { settled: Some(settled), beside, news: Vec::new() }
    }

    /// The newest version, where not all have it.
    pub(super) fn beside(&self) -> Option<&Beside> {
        self.beside.as_ref()
    }

    /// The version on trial.
    pub(super) fn trial(&self) -> Option<&Beside> {
        self.beside.as_ref().filter(|beside| beside.withdrawn.is_none())
    }

    /// Whom `newest` is for. `empty`: there is nothing in it; `tried`: new versions go to some first.
    pub(super) fn look(&mut self, newest: Digest, empty: bool, tried: bool, now_ms: i64) -> Whom {
        let Some(settled) = self.settled.filter(|_| tried) else {
            match self.beside.as_ref().is_none_or(|beside| beside.version == newest) {
                true => self.end(CanaryOutcome::Completed, "the list has no canary clients any more"),
                // Kept at another version, say: nobody has it.
                false => self.end(CanaryOutcome::Superseded, "all got another version at once"),
            }
            self.settled = Some(newest).filter(|_| !empty);
            return Whom::All;
        };
        if settled == newest {
            self.end(CanaryOutcome::Superseded, "its source went back to the version all others have");
            self.settled = Some(newest).filter(|_| !empty);
            return Whom::All;
        }
        if let Some(beside) = self.beside.as_ref().filter(|beside| beside.version == newest) {
            return if beside.withdrawn.is_some() { Whom::Nobody } else { Whom::Some };
        }
        self.end(CanaryOutcome::Superseded, "a newer version came");
        self.beside = Some(Beside { version: newest, started_ms: now_ms, withdrawn: None });
        self.news.push(News::Started { version: newest, others: settled });
        Whom::Some
    }

    /// Gives the newest version to all. False: they have it.
    pub(super) fn promote(&mut self, outcome: CanaryOutcome, reason: &str) -> bool {
        let Some(Beside { version, withdrawn, .. }) = self.beside.clone() else { return false };
        match withdrawn {
            Some(_) => self.news.push(News::Revived { version, reason: reason.to_owned() }),
            None => self.end(outcome, reason),
        }
        self.beside = None;
        self.settled = Some(version);
        true
    }

    /// Takes the version on trial back. False: there is none.
    pub(super) fn withdraw(&mut self, reason: &str) -> bool {
        let Some(Beside { version, started_ms, .. }) = self.trial().cloned() else { return false };
        self.end(CanaryOutcome::RolledBack, reason);
        self.beside = Some(Beside { version, started_ms, withdrawn: Some(reason.into()) });
        true
    }

    /// Ends a trial that is over or out of its bounds; `counted` are the queries of its clients and those it blocked.
    /// True: it has ended.
    pub(super) fn judge(&mut self, settings: &CanarySettings, counted: Option<(u64, u64)>, now_ms: i64) -> bool {
        let Some(trial) = self.beside.as_mut().filter(|beside| beside.withdrawn.is_none()) else { return false };
        if now_ms < trial.started_ms {
            // The clock was set back: from here on it lasts its time, not longer.
            trial.started_ms = now_ms;
        }
        let over = now_ms >= ends(settings, trial.started_ms);
        if let Some(why) = counted.and_then(|(queries, hits)| out_of_bounds(settings, queries, hits)) {
            return self.withdraw(&why);
        }
        over && self.promote(CanaryOutcome::Completed, "its time is over")
    }

    /// A trial, if there is one, has ended.
    fn end(&mut self, outcome: CanaryOutcome, reason: &str) {
        let Some(Beside { version, withdrawn, .. }) = self.beside.take() else { return };
        if withdrawn.is_none() {
            self.news.push(News::Ended { version, outcome, reason: reason.to_owned() });
        }
    }
}

/// When a trial is over.
pub(super) fn ends(settings: &CanarySettings, started_ms: i64) -> i64 {
    started_ms.saturating_add(i64::try_from(settings.time.as_millis()).unwrap_or(i64::MAX))
}

/// What is wrong with so many hits among so many queries.
fn out_of_bounds(settings: &CanarySettings, queries: u64, hits: u64) -> Option<String> {
    if queries < settings.min_queries {
        return None;
    }
    let share = |of_10_000: u32| u128::from(queries) * u128::from(of_10_000);
    let hits_10_000 = u128::from(hits) * 10_000;
    let percent = |of_10_000: u32| format!("{}.{:02}%", of_10_000 / 100, of_10_000 % 100);
    let counted = format!("it blocked {hits} of {queries} queries of its canary clients");
    if hits_10_000 > share(settings.max_hits) {
        return Some(format!("{counted}, more than `max_hits` ({})", percent(settings.max_hits)));
    }
    if hits_10_000 < share(settings.min_hits) {
        return Some(format!("{counted}, less than `min_hits` ({})", percent(settings.min_hits)));
    }
    None
}

#[cfg(test)]
mod tests;
