//! Held entries as operators see them, and what they decide, as the reload task takes it.

use crate::admin::{
    DecidedLine, HeldLine, HeldList, HeldLists, MAX_RULED, Refused, RefusedLine, Ruled, Ruling, RulingVerb, Who,
};
use crate::gate::{Decision, Held, Pattern, SizeChange, Subject, Verdict};
use crate::reload::{self, ListReport, Operation};

use super::Operators;

/// The lists with something to decide, or something decided.
pub fn held_lists(reports: &[ListReport]) -> HeldLists {
    let concerns = |report: &&ListReport| {
        let gate = &report.gate;
        gate.open + gate.dismissed + gate.released > 0 || report.refused.is_some()
    };
    HeldLists { lists: reports.iter().filter(concerns).map(held_list).collect() }
}

impl Operators {
    /// Has something decided, and says what.
    pub(super) async fn decide(&self, ruling: Ruling, who: Who) -> Result<Ruled, Refused> {
        let subjects = self.subjects(&ruling)?;
        let names = subjects.iter().map(ToString::to_string).collect();
        let Ruling { list, verb, reason, .. } = ruling;
        let verdict = match verb {
            RulingVerb::Release => Some(Verdict::Released),
            RulingVerb::Dismiss => Some(Verdict::Dismissed),
            RulingVerb::Undecide => None,
        };
        let (by, of) = (who.user, list.clone());
        let decided = reload::Ruling { list: of, verdict, subjects: subjects.clone(), by, reason };
        self.operate(Operation::Decide(decided)).await?;
        let posted = self.board.read();
        let report = posted.reports.iter().find(|report| report.name == list);
        // Its file may just have been touched again.
        let refused = report.and_then(|report| report.refused.as_ref()).map(|change| change.version.clone());
        if let Some(version) = refused
            && verdict == Some(Verdict::Released)
            && subjects.contains(&Subject::Version(version.clone()))
        {
            return Err(Refused(format!("version {version} is accepted, but not in force yet; see `qalqan lists`")));
        }
        let open = report.map_or(0, |report| report.gate.open);
        Ok(Ruled { list, verb, subjects: names, generation: posted.generation, open })
    }

    /// What a ruling is about.
    fn subjects(&self, ruling: &Ruling) -> Result<Vec<Subject>, Refused> {
        let Ruling { list, verb, entries, whole, .. } = ruling;
        if entries.len() > MAX_RULED {
            return Err(Refused(format!("{} entries at once are too many: at most {MAX_RULED}", entries.len())));
        }
        let pattern = |entry: &String| match Pattern::parse(entry.trim()) {
            Ok(pattern) => Ok(Subject::Pattern(pattern.to_string())),
            Err(error) => Err(Refused(format!("{entry}: {error}"))),
        };
        let mut subjects = entries.iter().map(pattern).collect::<Result<Vec<_>, _>>()?;
        if let Some(hash) = whole {
            subjects.push(match verb {
                RulingVerb::Release => self.refused_version(list, hash)?,
                RulingVerb::Undecide => Subject::Version(hash.to_ascii_lowercase()),
                RulingVerb::Dismiss => {
                    return Err(Refused("a refused version stays out by itself; only entries are dismissed".into()));
                }
            });
        }
        if subjects.is_empty() { Err(Refused("nothing is named to decide about".into())) } else { Ok(subjects) }
    }

    /// The version of a list that was not taken, if its hash begins so.
    fn refused_version(&self, list: &str, hash: &str) -> Result<Subject, Refused> {
        let posted = self.board.read();
        let Some(report) = posted.reports.iter().find(|report| report.name == list) else {
            let known = posted.reports.iter().map(|report| report.name.as_str());
            return Err(Refused(reload::no_such_list(list, known)));
        };
        let Some(change) = &report.refused else {
            return Err(Refused(format!("no version of list {list} is refused for its size")));
        };
        if !change.version.starts_with(&hash.to_ascii_lowercase()) {
            let version = &change.version;
            return Err(Refused(format!(
                "the refused version of list {list} is another one by now: {version}; look at it with `qalqan held {list}`"
            )));
        }
        Ok(Subject::Version(change.version.clone()))
    }
}

/// One list.
fn held_list(report: &ListReport) -> HeldList {
    let gate = &report.gate;
    HeldList {
        name: report.name.clone(),
        open: gate.open,
        dismissed: gate.dismissed,
        released: gate.released,
        refused: report.refused.as_deref().map(refused),
        entries: gate.entries.iter().map(entry).collect(),
    }
}

/// A version that was not taken.
fn refused(change: &SizeChange) -> RefusedLine {
    let (before, after) = (change.before, change.after);
    RefusedLine { sha256: change.version.clone(), before, after, reason: change.to_string() }
}

/// An entry.
fn entry(held: &Held) -> HeldLine {
    HeldLine {
        file: held.file.clone(),
        line: held.line,
        entry: held.pattern.clone(),
        check: held.check.into(),
        reason: held.reason.clone(),
        instead: held.instead.clone(),
        open: held.is_open(),
        decided: held.decided.as_ref().map(decided),
    }
}

/// What was decided.
fn decided(decision: &Decision) -> DecidedLine {
    let Decision { verdict, by, reason, time, .. } = decision;
    DecidedLine { verdict: verdict.to_string(), by: by.clone(), reason: reason.clone(), time: time.to_string() }
}
