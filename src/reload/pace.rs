//! How long each list's version took from the first sight of a change to its publish.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::report::{Digest, ListReport};
use crate::util::Now;

/// A moment on both clocks: one to tell, one to measure with, which nobody sets.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    told: Now,
    at: Instant,
}

impl Moment {
    /// Now.
    pub(super) fn now() -> Self {
        Self { told: Now::read(), at: Instant::now() }
    }
}

/// When the version of a list that all have came into force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Enforced {
    /// When its source was first seen changed, in milliseconds since 1970; `None` for what the server started with.
    pub seen_ms: Option<i64>,
    /// When it was published, likewise.
    pub published_ms: i64,
    /// From the one to the other, measured on a clock that nobody sets.
    pub took: Option<Duration>,
}

impl Enforced {
    /// Of something published just now.
    fn just(seen: Option<Moment>) -> Self {
        Self {
            seen_ms: seen.map(|seen| seen.told.unix_ms),
            published_ms: Now::read().unix_ms,
            took: seen.map(|seen| seen.at.elapsed()),
        }
    }
}

/// Measures publishes, list by list.
#[derive(Debug, Default)]
pub(super) struct Pace {
    lists: HashMap<String, Known>,
    /// When a change was first heard of that no load has looked at yet.
    heard: Option<Moment>,
    enforced: Arc<HashMap<String, Enforced>>,
}

/// What is known of a list.
#[derive(Debug, Default)]
struct Known {
    /// Of the files in force.
    files: Vec<Digest>,
    /// Its source has changed, and the change could not be taken yet.
    seen: Option<Moment>,
}

impl Pace {
    /// Something was heard.
    pub(super) fn hear(&mut self, at: Moment) {
        self.heard.get_or_insert(at);
    }

    /// A load has looked at everything: what is still being written counts from now on, or from when it was heard of.
    pub(super) fn looked(&mut self, began: Moment, reports: &[ListReport]) -> Moment {
        let seen = self.heard.take().unwrap_or(began);
        self.lists.retain(|name, _| reports.iter().any(|report| report.name == *name));
        for report in reports {
            let known = self.lists.entry(report.name.clone()).or_default();
            let in_flux = report.files.iter().any(|file| file.state.why().is_some_and(super::LoadError::passes));
            if in_flux {
                known.seen = known.seen.or(Some(seen));
            }
        }
        seen
    }

    /// A publish has just come into force. `contents` gives the files that all have of a list; `seen`: when it was
    /// first known that something had changed, `None` for the first publish. How long it took, if anything is new.
    pub(super) fn published(
        &mut self,
        seen: Option<Moment>,
        reports: &[ListReport],
        contents: impl Fn(&str) -> Vec<Digest>,
    ) -> Enforced {
        let mut enforced = HashMap::clone(&self.enforced);
        enforced.retain(|name, _| self.lists.contains_key(name));
        let mut first = seen;
        for report in reports {
            let files = contents(&report.name);
            let known = self.lists.entry(report.name.clone()).or_default();
            let in_flux = report.files.iter().any(|file| file.state.why().is_some_and(super::LoadError::passes));
            let since = if in_flux { known.seen } else { known.seen.take() }.or(seen);
            if known.files != files || !enforced.contains_key(&report.name) {
                known.files = files;
                first = earlier(first, since);
                enforced.insert(report.name.clone(), Enforced::just(since));
            }
        }
        self.enforced = Arc::new(enforced);
        Enforced::just(first)
    }

    /// When each list's version came into force.
    pub(super) fn enforced(&self) -> Arc<HashMap<String, Enforced>> {
        Arc::clone(&self.enforced)
    }
}

/// The earlier of two.
fn earlier(a: Option<Moment>, b: Option<Moment>) -> Option<Moment> {
    [a, b].into_iter().flatten().min_by_key(|moment| moment.at)
}

#[cfg(test)]
mod tests {
    use super::super::report::{FileState, GateReport, LoadError, State};
    use super::*;
    use crate::rule::{Mode, Role};

    /// A list that is in this state.
    fn report(state: State) -> ListReport {
        let file =
            FileState { path: "l".into(), sha256: None, accepted: None, state: state.clone(), report: Arc::default() };
        ListReport {
            name: "l".into(),
            source: "l".into(),
            role: Role::Block,
            mode: Mode::Enforce,
            state,
            files: vec![file],
            entries: 0,
            rejected: 0,
            error: None,
            refused: None,
            trial: None,
            pinned: None,
            gate: GateReport::default(),
            took: Duration::ZERO,
        }
    }

    #[test]
    fn what_counts_is_when_a_change_was_first_seen() {
        let base = Instant::now();
        let at = |ms: u64| Moment { told: Now { unix_ms: ms as i64 }, at: base + Duration::from_millis(ms) };
        let told = |pace: &Pace| pace.enforced().get("l").and_then(|enforced| enforced.seen_ms);
        let (one, two) = (Digest::of(b"1"), Digest::of(b"2"));
        let mut pace = Pace::default();
        let fresh = [report(State::Fresh)];
        let started = pace.published(None, &fresh, |_| vec![one]);
        assert!(started.seen_ms.is_none() && started.took.is_none() && told(&pace).is_none());
        // Heard twice, still being written at the first look, read at the second.
        pace.hear(at(10));
        pace.hear(at(20));
        let flux = [report(State::LastGood { why: LoadError::Unsettled("l".into()), since: Default::default() })];
        let seen = pace.looked(at(30), &flux);
        assert_eq!(seen.told.unix_ms, 10);
        let seen = pace.looked(at(40), &fresh);
        assert_eq!(seen.told.unix_ms, 40, "nothing was heard since");
        let last = pace.published(Some(seen), &fresh, |_| vec![two]);
        assert_eq!((told(&pace), last.seen_ms), (Some(10), Some(10)));
        // A publish for others leaves it alone.
        let seen = pace.looked(at(50), &fresh);
        pace.published(Some(seen), &fresh, |_| vec![two]);
        assert_eq!(told(&pace), Some(10));
        // One that is gone is forgotten.
        pace.looked(at(60), &[]);
        pace.published(Some(at(60)), &[], |_| Vec::new());
        assert!(pace.enforced().is_empty());
    }
}
