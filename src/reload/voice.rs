//! Says in the operator's log what a load found, and each thing once.

mod held;

use std::collections::HashMap;
use std::time::Duration;

use super::report::{ListReport, LoadError, Loaded, State};
use crate::list::Rejection;

/// Rejected entries of a list that are shown in the log.
const SHOWN: usize = 10;

/// Remembers what was said, so that a list that stays broken is not reported at every rescan.
#[derive(Debug, Default)]
pub(super) struct Voice {
    said: HashMap<String, String>,
    troubles: Vec<String>,
    history: Vec<String>,
    /// What was said of held entries, by list.
    held: HashMap<String, String>,
    gate_troubles: Vec<String>,
}

impl Voice {
    /// Tells of one load. `all`: also of lists about which there is nothing new.
    pub(super) fn tell(&mut self, reports: &[ListReport], all: bool) {
        for report in reports {
            let trouble = report.error.as_ref().map(ToString::to_string);
            let before = self.said.get(&report.name);
            let news = before != trouble.as_ref();
            let fresh = report.files.iter().any(|file| matches!(file.state, State::Fresh));
            if news || all || fresh || matches!(report.state, State::Fresh) {
                tell_list(report);
            }
            match trouble {
                Some(trouble) if news || all => {
                    tell_trouble(report);
                    self.said.insert(report.name.clone(), trouble);
                }
                None if news => {
                    tracing::info!(list = report.name, "is taken as it stands in its source again");
                    self.said.remove(&report.name);
                }
                _ => {}
            }
        }
        self.said.retain(|name, _| reports.iter().any(|report| report.name == *name));
    }

    /// Tells of versions that could not be kept; the same troubles again are not repeated.
    pub(super) fn tell_history(&mut self, troubles: &[impl ToString]) {
        let troubles: Vec<String> = troubles.iter().map(ToString::to_string).collect();
        for trouble in troubles.iter().filter(|trouble| !self.history.contains(trouble)) {
            tracing::warn!("{trouble}");
        }
        self.history = troubles;
    }

    /// Tells of copies that could not be kept or used; the same troubles again are not repeated.
    pub(super) fn tell_copies(&mut self, troubles: &[impl ToString]) {
        let troubles: Vec<String> = troubles.iter().map(ToString::to_string).collect();
        for trouble in troubles.iter().filter(|trouble| !self.troubles.contains(trouble)) {
            tracing::warn!("{trouble}");
        }
        self.troubles = troubles;
    }
}

/// One line for a publish, and what the service manager shows as status.
pub(super) fn tell_publish(generation: u64, loaded: &Loaded, took: Duration) -> String {
    let (lists, rules, behind) = (loaded.reports.len(), loaded.rules(), loaded.behind());
    let milliseconds = took.as_millis() as u64;
    tracing::info!(generation, lists, rules, behind, milliseconds, "lists published");
    status(generation, lists, rules, behind)
}

/// The status in words.
fn status(generation: u64, lists: usize, rules: usize, behind: usize) -> String {
    let good = format!("{lists} lists, {rules} rules, generation {generation}");
    if behind == 0 { good } else { format!("{good}; {behind} not as in their source, see the log") }
}

/// What a list holds, and the first entries of it that were not used.
fn tell_list(report: &ListReport) {
    tracing::info!(
        list = report.name,
        files = report.files.len(),
        entries = report.entries,
        rejected = report.rejected,
        milliseconds = report.took.as_millis() as u64,
        "{}",
        match &report.state {
            State::Fresh => "read",
            State::Unchanged => "unchanged",
            State::LastGood { .. } => "last good state",
            State::NotUsed { .. } => "not in force",
        }
    );
    // Those of files read before were shown then.
    let fresh = || report.files.iter().filter(|file| matches!(file.state, State::Fresh));
    for file in fresh() {
        for Rejection { line, column, entry, reason } in file.report.warnings.iter().take(SHOWN) {
            tracing::warn!(list = report.name, "{}:{line}:{column}: {reason}: {entry} (used all the same)", file.path);
        }
    }
    let rejections =
        fresh().flat_map(|file| file.report.rejections.iter().map(move |rejection| (&file.path, rejection)));
    for (path, Rejection { line, column, entry, reason }) in rejections.take(SHOWN) {
        tracing::warn!(list = report.name, "{path}:{line}:{column}: {reason}: {entry}");
    }
    let shown: u64 = fresh().map(|file| file.report.rejections.len() as u64).sum::<u64>().min(SHOWN as u64);
    let more = fresh().map(|file| file.report.rejected).sum::<u64>().saturating_sub(shown);
    if more > 0 {
        tracing::warn!(list = report.name, "… and {more} more; `qalqan check` shows all");
    }
}

/// What went wrong with a list, file by file.
fn tell_trouble(report: &ListReport) {
    // What is said of the list as a whole need not be said of each file.
    let whole = |why: &LoadError| matches!(why, LoadError::Size(_) | LoadError::Withdrawn { .. });
    let files: Vec<_> = report.files.iter().filter(|file| file.state.why().is_some_and(|why| !whole(why))).collect();
    if files.is_empty() || report.refused.is_some() {
        match (&report.error, report.state.why()) {
            // Only files that are new are kept out.
            (Some(why), None) => tracing::warn!(list = report.name, "what was in force stays in force: {why}"),
            _ => tracing::warn!(list = report.name, "{}", report.state),
        }
    }
    for file in files.iter().take(SHOWN) {
        tracing::warn!(list = report.name, file = &*file.path, "{}", file.state);
    }
    if files.len() > SHOWN {
        tracing::warn!(list = report.name, "… and {} files more; `qalqan check` shows all", files.len() - SHOWN);
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};
    use std::sync::{Arc, Mutex, PoisonError};

    use super::*;
    use crate::list::FileReport;
    use crate::reload::{FileState, GateReport};
    use crate::util::UnixTime;

    /// Where the log of a test goes.
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// The log lines of `speak`.
    fn lines(speak: impl FnOnce()) -> Vec<String> {
        let log = Log::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
        tracing::subscriber::with_default(subscriber, speak);
        let bytes = log.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        String::from_utf8_lossy(&bytes).lines().map(str::to_owned).collect()
    }

    /// A list of one file.
    fn list(state: State, report: FileReport) -> ListReport {
        let path: Arc<str> = "a.txt".into();
        let error = state.why().cloned();
        let file = FileState { path, sha256: None, accepted: None, state: state.clone(), report: Arc::new(report) };
        ListReport {
            name: "l".into(),
            source: "a.txt".into(),
            role: crate::rule::Role::Block,
            mode: crate::rule::Mode::Enforce,
            state,
            entries: file.report.entries,
            rejected: file.report.rejected,
            files: vec![file],
            error,
            refused: None,
            trial: None,
            pinned: None,
            gate: GateReport::default(),
            took: Duration::ZERO,
        }
    }

    #[test]
    fn a_list_that_stays_broken_is_told_once_and_its_mending_too() {
        let mut voice = Voice::default();
        let why = LoadError::Torn("a.txt".into());
        let broken = [list(State::LastGood { why, since: UnixTime(0) }, FileReport::default())];
        let first = lines(|| voice.tell(&broken, false));
        assert!(first.iter().any(|line| line.contains("WARN") && line.contains("1970-01-01T00:00:00Z")), "{first:?}");
        let again = lines(|| voice.tell(&broken, false));
        assert!(!again.iter().any(|line| line.contains("WARN")), "{again:?}");
        let well = [list(State::Unchanged, FileReport::default())];
        let mended = lines(|| voice.tell(&well, false));
        assert!(mended.iter().any(|line| line.contains("again")), "{mended:?}");
        assert_eq!(lines(|| voice.tell(&well, false)), [""; 0]);
        assert_eq!(lines(|| voice.tell(&well, true)).len(), 1);
    }

    #[test]
    fn the_first_rejections_are_shown_and_the_rest_counted() {
        let rejection = |line| Rejection { line, column: 2, entry: "x".into(), reason: "not a name".into() };
        let rejections = (1..=20).map(rejection).collect();
        let report = FileReport { rejected: 50, rejections, ..FileReport::default() };
        let lines = lines(|| Voice::default().tell(&[list(State::Fresh, report)], false));
        assert_eq!(lines.iter().filter(|line| line.contains("not a name")).count(), 10, "{lines:?}");
        assert!(lines.iter().any(|line| line.contains("a.txt:10:2: not a name: x")), "{lines:?}");
        assert!(lines.iter().any(|line| line.contains("and 40 more; `qalqan check` shows all")), "{lines:?}");
    }

    #[test]
    fn the_status_names_trouble_only_if_there_is_some() {
        assert_eq!(status(7, 2, 300, 0), "2 lists, 300 rules, generation 7");
        assert!(status(7, 2, 300, 1).ends_with("; 1 not as in their source, see the log"));
    }
}
