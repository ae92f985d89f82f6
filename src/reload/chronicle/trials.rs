//! Versions on trial, written down: their numbers, what came of them, and who had them.

use super::{Change, Known, Latest, Written};
use crate::audit::{By, Canary, CanaryEnd, CanaryOutcome, Event, Names, VersionChange};
use crate::config::ListSettings;
use crate::history::{self, Accepted, Counts, FileEntry, History, Trial};
use crate::reload::loader::{Loader, Tried};
use crate::reload::report::{Digest, ListReport};
use crate::reload::trial::News;
use crate::util::UnixTime;

/// What stands for the number of a version that could not be kept: numbers begin with 1.
const UNNUMBERED: u64 = 0;

/// What happened to the trial of a list, and the operator who did it, if one did.
pub(in crate::reload) type TrialNews = (String, Option<By>, News);

impl Known {
    /// The version the history says is tried, as the server finds it.
    pub(super) fn found_running(history: &History, list: &str) -> Option<Latest> {
        let newest = history.newest(list).ok().flatten()?;
        (newest.trial == Some(Trial::Running)).then(|| Latest::of(&newest))
    }

    /// What happened to the trial of a list: as it was told, then as it stands, for a crash may have kept it from being
    /// told.
    pub(super) fn trials(
        &mut self,
        to: (&History, &ListSettings),
        loader: &Loader,
        report: &ListReport,
        told: Vec<(Option<By>, News)>,
        now: UnixTime,
        written: &mut Written,
    ) {
        let (history, list) = to;
        let tried = loader.tried(&report.name);
        for (operator, news) in told {
            let by = news.by(super::brought_by(list, report), operator);
            match news {
                News::Started { version, others } => {
                    let running = tried.as_ref().is_some_and(|tried| tried.version == version);
                    if running && self.running.is_none_or(|known| known.sha256 != version) {
                        self.started(to, loader, report, (version, others), now, written);
                    }
                }
                News::Ended { version, outcome, reason } => {
                    self.ended(history, list, (version, outcome, &reason), by, written);
                }
                News::Revived { version, reason } => {
                    let newest = history.newest(&report.name).ok().flatten();
                    let number = newest.filter(|kept| kept.sha256 == version).map(|kept| kept.number);
                    let change = VersionChange {
                        list: report.name.as_str().into(),
                        version: number.unwrap_or(UNNUMBERED),
                        sha256: version,
                        reason: reason.as_str().into(),
                    };
                    written.events.push((by, Event::Promoted(change)));
                }
            }
        }
        self.reconcile(to, loader, report, tried.as_ref(), now, written);
    }

    /// Writes down what is so though nobody told.
    fn reconcile(
        &mut self,
        to: (&History, &ListSettings),
        loader: &Loader,
        report: &ListReport,
        tried: Option<&Tried>,
        now: UnixTime,
        written: &mut Written,
    ) {
        let on_trial = tried.filter(|tried| tried.withdrawn.is_none());
        if let Some(running) = self.running.filter(|known| on_trial.is_none_or(|tried| tried.version != known.sha256)) {
            let version = running.sha256;
            let withdrawn = tried.filter(|tried| tried.version == version).and_then(|tried| tried.withdrawn.clone());
            let for_all = loader.contents(&report.name).into_iter().map(|(file, _)| file).collect::<Vec<_>>();
            let (outcome, reason) = match withdrawn {
                Some(reason) => (CanaryOutcome::RolledBack, reason.to_string()),
                None if history::whole(&for_all) == version => (CanaryOutcome::Completed, "all have it".into()),
                None => (CanaryOutcome::Superseded, "it is no longer tried".into()),
            };
            let reason = format!("{reason}; found so, the server had been stopped before it could tell more");
            self.ended(to.0, to.1, (version, outcome, &reason), By::System, written);
        }
        let Some(tried) = on_trial.filter(|_| report.trial.is_some()) else { return };
        match self.running {
            None => self.started(to, loader, report, (tried.version, tried.others), now, written),
            // It could not be kept; perhaps there is room by now.
            Some(Latest { number: UNNUMBERED, .. }) => self.running = self.keep(to, loader, report, now, written),
            Some(_) => {}
        }
    }

    /// A version is tried from now on.
    fn started(
        &mut self,
        (history, list): (&History, &ListSettings),
        loader: &Loader,
        report: &ListReport,
        (version, others): (Digest, Digest),
        now: UnixTime,
        written: &mut Written,
    ) {
        self.running = self.keep((history, list), loader, report, now, written);
        let canary = list.canary.as_ref();
        let clients = canary.map(|canary| canary.clients.as_slice()).unwrap_or_default();
        let event = Canary {
            list: report.name.as_str().into(),
            version: self.running.map_or(UNNUMBERED, |running| running.number),
            sha256: version,
            others: self.version.filter(|settled| settled.sha256 == others).map(|settled| settled.number),
            clients: Names::of(clients.iter().map(ToString::to_string)),
            seconds: canary.map_or(0, |canary| canary.time.as_secs()),
            reason: format!("its source has a new version; all others keep {others}").as_str().into(),
        };
        tracing::info!(
            list = report.name,
            version = event.version,
            sha256 = %version,
            seconds = event.seconds,
            "a new version is tried on the canary clients; {}",
            event.reason.as_str()
        );
        written.events.push((super::brought_by(list, report), Event::CanaryStarted(event)));
    }

    /// It is no longer tried.
    fn ended(
        &mut self,
        history: &History,
        list: &ListSettings,
        (version, outcome, reason): (Digest, CanaryOutcome, &str),
        by: By,
        written: &mut Written,
    ) {
        let name = list.spec.name.as_str();
        let number = self.running.take_if(|running| running.sha256 == version).map(|running| running.number);
        let number = number.unwrap_or(UNNUMBERED);
        let mark = match outcome {
            CanaryOutcome::Completed | CanaryOutcome::Promoted => Trial::Passed,
            CanaryOutcome::RolledBack => Trial::Withdrawn,
            CanaryOutcome::Superseded => Trial::Superseded,
        };
        if number != UNNUMBERED {
            // A mark that cannot be written is found wanting at the next start.
            written.troubles.extend(history.tried(name, number, mark).err());
        }
        if outcome == CanaryOutcome::RolledBack {
            tracing::warn!(list = name, version = number, %by, "the trial of a new version has ended, {outcome}: {reason}");
        } else {
            tracing::info!(list = name, version = number, %by, "the trial of a new version has ended, {outcome}: {reason}");
        }
        let reason = format!("{reason} (sha256 {version})").as_str().into();
        let event = CanaryEnd { list: name.into(), version: number, outcome, reason };
        written.events.push((by, Event::CanaryEnded(event)));
    }

    /// Keeps the version on trial in the history, marked as such; without a number if that cannot be done.
    fn keep(
        &self,
        (history, list): (&History, &ListSettings),
        loader: &Loader,
        report: &ListReport,
        now: UnixTime,
        written: &mut Written,
    ) -> Option<Latest> {
        let tried = loader.tried(&report.name)?;
        let settled: Vec<_> = loader.contents(&report.name).into_iter().map(|(_, rules)| rules).collect();
        let (files, rules): (Vec<FileEntry>, Vec<_>) = tried.contents.into_iter().unzip();
        let Change { added, removed } = Change::between(&settled, &rules);
        let counts = Counts {
            entries: report.entries,
            rejected: report.rejected,
            held: report.gate.held(),
            added: added.count,
            removed: removed.count,
        };
        let by = super::brought_by(list, report).to_string();
        let accepted = Accepted { source: report.source.clone(), by, counts, files };
        match history.try_out(&report.name, accepted, now, &mut |file| super::open(loader, &report.name, file)) {
            Ok(version) => {
                written.troubles.extend(history.prune(&report.name).err());
                Some(Latest::of(&version))
            }
            Err(error) => {
                written.troubles.push(error);
                Some(Latest { number: UNNUMBERED, sha256: tried.version, entries: report.entries })
            }
        }
    }
}
