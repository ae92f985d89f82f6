//! What operators want done to lists, before the reload that puts it in force.

use jiff::Timestamp;

use super::decide::no_such_list;
use super::{Asks, Done, Operation, Outcome, Target, Work};
use crate::audit::{By, Event, Rollback, VersionChange};
use crate::history::{History, HistoryError, Pin, Version};
use crate::util::Digest;

impl<T: Target> Work<T> {
    /// Does it, one after another.
    pub(super) fn operate(&mut self, asks: Asks) -> Done {
        asks.into_iter().map(|(operation, reply)| (self.one(operation), reply)).collect()
    }

    /// One operation.
    fn one(&mut self, operation: Operation) -> Outcome {
        match operation {
            Operation::Reload => Ok(()),
            Operation::Decide(ruling) => self.rule(&ruling),
            Operation::Rollback { list, version, reason, by } => self.rollback(&list, version, &reason, &by),
            Operation::Promote(order) => self.loader.promote(&order.list, &order.reason, order.by),
            Operation::Withdraw(order) => self.loader.withdraw(&order.list, &order.reason, order.by),
            Operation::Unpin { list, reason, by } => self.unpin(&list, &reason, &by),
        }
    }

    /// Keeps a list at a version.
    fn rollback(&self, list: &str, version: Option<u64>, reason: &str, by: &str) -> Outcome {
        let history = self.history(list)?;
        let say = |error: crate::history::HistoryError| error.to_string();
        let before = self.in_force(&history, list)?;
        // With a full disk, what is in force need not be in the history: then the newest that is comes before it.
        let kept = self.chronicle.digest(list).is_none_or(|sha256| sha256 == before.sha256);
        let number = match version {
            Some(number) => number,
            None if !kept => before.number,
            None => {
                // What only some clients ever had is for all only if somebody names it.
                let older = history.versions(list).map_err(say)?.whole;
                let older = older.iter().rev().find(|older| older.number < before.number && older.is_for_all());
                older.map(|older| older.number).ok_or_else(|| {
                    format!(
                        "version {} of list \"{list}\" is its oldest; there is nothing to go back to",
                        before.number
                    )
                })?
            }
        };
        let after = history.version(list, number).map_err(say)?;
        // What cannot be read back must not be promised.
        for file in &after.what.files {
            history.bytes(list, file).map_err(say)?;
        }
        let pin = Pin { number, since: Timestamp::now(), by: by.to_owned(), reason: reason.to_owned() };
        history.pin(list, &pin).map_err(say)?;
        tracing::info!(
            list,
            version = number,
            by,
            reason,
            "rolled back; the list stays at this version until it is unpinned"
        );
        let event = Rollback {
            list: list.into(),
            from: before.number,
            to: after.number,
            before_sha256: before.sha256,
            after_sha256: after.sha256,
            entries_before: before.what.counts.entries,
            entries: after.what.counts.entries,
            reason: reason.into(),
        };
        self.note(By::Cli(by.into()), Event::RolledBack(event));
        Ok(())
    }

    /// Lets a list follow its source.
    fn unpin(&self, list: &str, reason: &str, by: &str) -> Outcome {
        let history = self.history(list)?;
        let pin = match history.unpin(list) {
            Ok(Some(pin)) => pin,
            Ok(None) => return Err(format!("list \"{list}\" is not pinned: it follows its source")),
            // It is gone all the same, and what that brings into force has to be written down.
            Err(error @ HistoryError::Damaged { .. }) => {
                tracing::warn!(list, "the pin that is taken away could not be read: {error}");
                Pin { number: 0, since: Timestamp::now(), by: String::new(), reason: String::new() }
            }
            Err(error) => return Err(error.to_string()),
        };
        tracing::info!(list, by, reason, "unpinned; the list follows its source again");
        let sha256 = history.version(list, pin.number).map_or(Digest::ZERO, |version| version.sha256);
        let event = VersionChange { list: list.into(), version: pin.number, sha256, reason: reason.into() };
        self.note(By::Cli(by.into()), Event::Unpinned(event));
        Ok(())
    }

    /// The history, for a list that is configured.
    fn history(&self, list: &str) -> Result<History, String> {
        let mut names = self.settings.lists.iter().map(|list| list.spec.name.as_str());
        if !names.clone().any(|name| name == list) {
            return Err(no_such_list(list, &mut names));
        }
        Ok(History::new(&self.settings.state_dir, self.settings.history))
    }

    /// The version that is in force.
    fn in_force(&self, history: &History, list: &str) -> Result<Version, String> {
        let pinned = history.pinned(list).ok().flatten();
        let version = match pinned {
            Some(pin) => history.version(list, pin.number).map(Some),
            None => history.settled(list),
        };
        version.map_err(|error| error.to_string())?.ok_or_else(|| format!("no version of list \"{list}\" is kept yet"))
    }
}
