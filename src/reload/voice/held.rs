//! What the log says of held entries: each news once.

use std::fmt::Write;

use super::Voice;
use crate::reload::report::{ListReport, Loaded};

impl Voice {
    /// Tells of held entries and of files of the gate that cannot be used. `all`: also what was said before.
    pub(in crate::reload) fn tell_gate(&mut self, loaded: &Loaded, all: bool) {
        for trouble in &loaded.gate_troubles {
            if all || !self.gate_troubles.contains(trouble) {
                tracing::warn!("{trouble}");
            }
        }
        self.gate_troubles.clone_from(&loaded.gate_troubles);
        for report in &loaded.reports {
            let said = self.held.get(&report.name);
            match sentence(report) {
                Some(text) if all || said != Some(&text) => {
                    tracing::warn!(list = report.name, "{text}");
                    self.held.insert(report.name.clone(), text);
                }
                None if said.is_some() => {
                    tracing::info!(list = report.name, "no entry waits for a decision any more");
                    self.held.remove(&report.name);
                }
                _ => {}
            }
            // Only the load that does it knows of it, so it is never a repetition.
            if report.gate.taken_back > 0 {
                tracing::warn!(
                    list = report.name,
                    "{} enforced until now and held from now on: a check is new, or what it compares with",
                    entries(report.gate.taken_back, "was", "were")
                );
            }
            if report.gate.let_go > 0 {
                tracing::warn!(
                    list = report.name,
                    "{} held until now and enforced from now on: no check finds them any more, for [gate] or what it \
                     compares with has changed",
                    entries(report.gate.let_go, "was", "were")
                );
            }
        }
        self.held.retain(|name, _| loaded.reports.iter().any(|report| report.name == *name));
    }
}

/// What is held in a list and waits for a decision; `None` if nothing is.
fn sentence(report: &ListReport) -> Option<String> {
    let gate = &report.gate;
    if gate.open == 0 {
        return None;
    }
    let mut text = format!("{} held and not enforced", entries(gate.open, "is", "are"));
    // Writing to a String cannot fail.
    if let Some(first) = gate.entries.iter().find(|held| held.is_open()) {
        let _ = write!(text, ", e.g. {} ({}:{}): {}", first.pattern, first.file, first.line, first.reason);
    }
    text.push_str("; see `qalqan held`");
    Some(text)
}

/// `1 entry is`, `2 entries are`.
fn entries(count: u64, one: &str, many: &str) -> String {
    if count == 1 { format!("1 entry {one}") } else { format!("{count} entries {many}") }
}
