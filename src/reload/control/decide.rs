//! Operators decide about held entries: in the one task that reloads, so that nobody's decision is lost.

use super::{Outcome, Target, Work};
use crate::audit::{By, Event, RuleVerdict};
use crate::gate::{Decisions, DecisionsError, Pattern, Subject, Verdict};
use crate::reload::gatekeeper::Standing;
use crate::reload::report::ListReport;
use crate::util::Now;

/// How often a decision is made anew because somebody edits decisions.json by hand just then.
const TRIES: usize = 5;
/// How many complaints, and how many near entries, an answer names.
const MAX_NAMED: usize = 10;

/// What an operator wants decided about one list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ruling {
    /// The list.
    pub list: String,
    /// What; nothing takes back what was decided.
    pub verdict: Option<Verdict>,
    /// About what: all of it, or nothing is done.
    pub subjects: Vec<Subject>,
    /// By whom.
    pub by: String,
    /// Why.
    pub reason: String,
}

/// Says that there is no such list, and which there are.
pub fn no_such_list<'a>(list: &str, known: impl Iterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.take(MAX_NAMED).collect();
    format!("no list is called \"{list}\"; there are {}", known.join(", "))
}

impl<T: Target> Work<T> {
    /// Makes one decision and keeps it.
    pub(super) fn rule(&self, ruling: &Ruling) -> Outcome {
        let path = self.loader.decisions_path().to_owned();
        let mut changed = None;
        for _ in 0..TRIES {
            let mut decisions = Decisions::load(&path).map_err(|error| error.to_string())?;
            let events = self.enter(ruling, &mut decisions)?;
            match decisions.save(&path) {
                Ok(()) => {
                    let Ruling { list, by, .. } = ruling;
                    tracing::info!(list, by, "{} about held entries, kept", count(events.len()));
                    events.into_iter().for_each(|event| self.note(By::Cli(by.as_str().into()), event));
                    return Ok(());
                }
                Err(error @ DecisionsError::Changed { .. }) => changed = Some(error.to_string()),
                Err(error) => return Err(error.to_string()),
            }
        }
        Err(changed.unwrap_or_default())
    }

    /// Enters a ruling whole, or says everything that is wrong with it. What it comes to, for the audit log.
    fn enter(&self, ruling: &Ruling, decisions: &mut Decisions) -> Result<Vec<Event>, String> {
        let lists = self.settings.lists.iter().map(|list| list.spec.name.as_str());
        if ruling.verdict.is_some() && !lists.clone().any(|list| list == ruling.list) {
            return Err(no_such_list(&ruling.list, lists));
        }
        let parse = |subject: &Subject| match subject {
            Subject::Pattern(text) => Pattern::parse(text).ok(),
            Subject::Version(_) => None,
        };
        let patterns: Vec<Option<Pattern>> = ruling.subjects.iter().map(parse).collect();
        let wanted: Vec<Pattern> = patterns.iter().flatten().cloned().collect();
        let standing = self.loader.standing(&self.settings, &ruling.list, &wanted);
        let (mut events, mut wrong) = (Vec::new(), Vec::new());
        for (subject, pattern) in ruling.subjects.iter().zip(&patterns) {
            let standing = pattern.as_ref().and_then(|pattern| standing.get(pattern));
            let entered = match ruling.verdict {
                Some(verdict) => self.enter_one(ruling, verdict, subject, standing, decisions),
                None => withdraw(ruling, subject, decisions),
            };
            match entered {
                Ok(event) => events.push(event),
                Err(why) => wrong.push(why),
            }
        }
        if wrong.is_empty() {
            return Ok(events);
        }
        let more = wrong.len().saturating_sub(MAX_NAMED);
        wrong.truncate(MAX_NAMED);
        if more > 0 {
            wrong.push(format!("and {more} more like these"));
        }
        if ruling.subjects.len() > 1 {
            wrong.push("nothing was decided".into());
        }
        Err(wrong.join("\n"))
    }

    /// Decides about one entry or version.
    fn enter_one(
        &self,
        ruling: &Ruling,
        verdict: Verdict,
        subject: &Subject,
        standing: Option<&Standing>,
        decisions: &mut Decisions,
    ) -> Result<Event, String> {
        let Ruling { list, by, reason, .. } = ruling;
        let now = Now::read().seconds();
        let decision = match (subject, standing) {
            (Subject::Version(version), _) => {
                let posted = self.board.read();
                let report = posted.reports.iter().find(|report| report.name == *list);
                let refused = report.and_then(|report| report.refused.as_ref());
                if verdict != Verdict::Released || refused.is_none_or(|change| change.version != *version) {
                    return Err(format!("version {version} of list {list} is not refused, or not any more"));
                }
                decisions.accept(list, version, by, reason, now)
            }
            (Subject::Pattern(_), Some(Standing::Held(held))) => held.decide(decisions, verdict, by, reason, now),
            (Subject::Pattern(pattern), Some(Standing::Free { file, line })) => {
                return Err(format!("{pattern} is not held: no check holds {file}:{line} of list {list}"));
            }
            (Subject::Pattern(pattern), None) => return Err(self.nothing_like(list, pattern)),
        };
        let decision = decision.map_err(|error| error.to_string())?;
        let (rule, reason) = (decision.subject.to_string().into(), decision.reason.into());
        let verdict = RuleVerdict { list: list.as_str().into(), rule, reason };
        Ok(match decision.verdict {
            Verdict::Released => Event::Released(verdict),
            Verdict::Dismissed => Event::Dismissed(verdict),
        })
    }

    /// Says that no such entry is held, and which ones near it are.
    fn nothing_like(&self, list: &str, pattern: &str) -> String {
        let posted = self.board.read();
        let mut near = Vec::new();
        for report in posted.reports.iter() {
            near.extend(near_entries(report, pattern, report.name == list));
        }
        near.truncate(MAX_NAMED);
        let why = format!("list {list} has no held entry {pattern}");
        match near.is_empty() {
            true => format!("{why}; `qalqan held {list}` shows what is held"),
            false => format!("{why}; held are {}", near.join(", ")),
        }
    }
}

/// Held entries of a list on the same name, above it or below it; of the list that is meant (`own`), else others too
/// that somebody has to decide about.
fn near_entries(report: &ListReport, pattern: &str, own: bool) -> Vec<String> {
    let Ok(meant) = Pattern::parse(pattern) else { return Vec::new() };
    let related = |text: &str| {
        let Ok(held) = Pattern::parse(text) else { return false };
        held.name.is_at_or_below(&meant.name) || meant.name.is_at_or_below(&held.name)
    };
    let near = report.gate.entries.iter().filter(|held| related(&held.pattern)).take(MAX_NAMED);
    let told = |pattern: &str| match own {
        true => pattern.to_owned(),
        false => format!("{pattern} (list {})", report.name),
    };
    let near: Vec<String> = near.map(|held| told(&held.pattern)).collect();
    if !near.is_empty() || !own {
        return near;
    }
    let open = report.gate.entries.iter().filter(|held| held.is_open()).take(3);
    open.map(|held| held.pattern.clone()).collect()
}

/// Takes a decision back.
fn withdraw(ruling: &Ruling, subject: &Subject, decisions: &mut Decisions) -> Result<Event, String> {
    let list = &ruling.list;
    let meant = |decided: &Subject| match (decided, subject) {
        (Subject::Version(decided), Subject::Version(begin)) => decided.starts_with(begin.as_str()),
        (decided, subject) => decided == subject,
    };
    let found = decisions.iter().filter(|decision| decision.list == *list && meant(&decision.subject)).last().cloned();
    let Some(decision) = found else {
        return Err(match subject {
            Subject::Pattern(pattern) => format!("nothing is decided about {pattern} in list {list}"),
            Subject::Version(_) => format!("no such version of list {list} was accepted"),
        });
    };
    decisions.withdraw(list, &decision.subject);
    let was = format!("{} by {}: {}", decision.verdict, decision.by, decision.reason);
    let reason = match ruling.reason.trim() {
        "" => was,
        reason => format!("{reason} (was {was})"),
    };
    let rule = decision.subject.to_string().into();
    Ok(Event::Undecided(RuleVerdict { list: list.as_str().into(), rule, reason: reason.into() }))
}

/// `1 decision`, `2 decisions`.
fn count(decisions: usize) -> String {
    if decisions == 1 { "1 decision".into() } else { format!("{decisions} decisions") }
}
