//! Versions on trial: looked at every few seconds, ended at their time, out of their bounds, or by operators.

use std::time::Duration;

use super::{Target, Work};
use crate::util::Now;

/// Hit rates are looked at this often.
const LOOK: Duration = Duration::from_secs(2);
/// Without a trial there is nothing to look at.
const NOTHING: Duration = Duration::from_secs(3600);

impl<T: Target> Work<T> {
    /// How long there is nothing to do for trials.
    pub(super) fn trial_nap(&self, now: Now) -> Duration {
        let Some(end) = self.loader.next_trial_end(&self.settings) else { return NOTHING };
        let left = u64::try_from(end.saturating_sub(now.unix_ms)).unwrap_or(0);
        Duration::from_millis(left).min(LOOK)
    }

    /// Ends trials whose time has come or that are out of their bounds. True: the next reload acts on it.
    pub(super) fn judge_trials(&mut self, now: Now) -> bool {
        let target = &self.target;
        self.loader.judge_trials(&self.settings, now.unix_ms, |list| target.tried(list))
    }

    /// Counts for trials that have come into force, and keeps what happened to others to be written down.
    pub(super) fn follow_trials(&mut self) {
        let target = &self.target;
        self.loader.count_trials(|list| target.tried(list));
        self.news.extend(self.loader.trial_news(&self.settings));
    }
}
