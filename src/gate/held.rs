//! Findings and the operator's decisions together: what is not enforced, and what is asked about.

use std::sync::Arc;

use serde::Serialize;

use super::decisions::{DecideError, Decision, Decisions, Verdict};
use super::examine::{Finding, Gate, Outcome};
use crate::rule::{FileRules, show_pattern};
use crate::util::UnixTime;

/// How many entries of a list are told one by one; all are counted.
pub const MAX_HELD: usize = 10_000;

/// An entry the gate did not let pass.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Held {
    /// The list.
    pub list: String,
    /// The file.
    pub file: String,
    /// The line, from 1.
    pub line: u32,
    /// The entry, as a `domains` list writes it.
    pub pattern: String,
    /// The check that holds it: `top_level`, `public_suffix`, `own_name`, `never_block`, `popular`.
    pub check: &'static str,
    /// Why, in words.
    pub reason: String,
    /// What to do instead of releasing it, where that is not possible.
    pub instead: Option<String>,
    /// What the operator said.
    pub decided: Option<Decision>,
}

/// What became of the findings in a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settled {
    /// Numbers of the rules that are not enforced, sorted.
    pub held: Arc<[u32]>,
    /// Held, and nobody has decided.
    pub open: u64,
    /// Held for good.
    pub dismissed: u64,
    /// Enforced by the operator's word.
    pub released: u64,
    /// The first of them, whatever was decided.
    pub shown: Vec<Held>,
}

impl Held {
    /// It is not enforced.
    pub fn is_held(&self) -> bool {
        self.instead.is_some() || self.decided.as_ref().is_none_or(|decided| decided.verdict == Verdict::Dismissed)
    }

    /// Somebody has to decide.
    pub fn is_open(&self) -> bool {
        self.is_held() && self.decided.as_ref().is_none_or(|decided| decided.verdict == Verdict::Released)
    }

    /// Decides about it.
    ///
    /// # Errors
    /// It cannot be released, or as [`Decisions::decide`] says.
    pub fn decide(
        &self,
        decisions: &mut Decisions,
        verdict: Verdict,
        by: &str,
        reason: &str,
        now: UnixTime,
    ) -> Result<Decision, DecideError> {
        if let (Verdict::Released, Some(instead)) = (verdict, &self.instead) {
            let (pattern, reason, instead) = (self.pattern.clone(), self.reason.clone(), instead.clone());
            return Err(DecideError::NotReleasable { pattern, reason, instead });
        }
        decisions.decide(&self.list, &self.pattern, verdict, by, reason, now)
    }
}

impl Gate {
    /// Lets the operator's decisions act on what was found in a file of `list`; of `room` entries the text is kept.
    pub fn settle(
        &self,
        list: &str,
        rules: &FileRules,
        outcome: &Outcome,
        decisions: &Decisions,
        room: usize,
    ) -> Settled {
        let mut settled = Settled::default();
        let mut held = Vec::new();
        for &finding in &outcome.findings {
            let view = rules.rule(finding.rule);
            let decided = decisions.of(list, view.kind.scope, view.name().wire()).map(|decision| decision.verdict);
            let released = decided == Some(Verdict::Released) && self.instead(finding.reason).is_none();
            match decided {
                _ if released => settled.released += 1,
                Some(Verdict::Dismissed) => settled.dismissed += 1,
                _ => settled.open += 1,
            }
            if !released {
                held.push(finding.rule);
            }
            if settled.shown.len() < room {
                settled.shown.push(self.held(list, rules, finding, decisions));
            }
        }
        settled.held = held.into();
        settled
    }

    /// A finding, told in full.
    pub fn held(&self, list: &str, rules: &FileRules, finding: Finding, decisions: &Decisions) -> Held {
        let Finding { rule, reason } = finding;
        let view = rules.rule(rule);
        let mut pattern = String::new();
        // Writing to a String cannot fail.
        let name = view.name();
        let _ = show_pattern(name.wire(), view.kind.scope, &mut pattern);
        Held {
            list: list.to_owned(),
            file: rules.path().to_string(),
            line: view.line,
            pattern,
            check: self.check_of(reason),
            reason: self.tell(reason),
            instead: self.instead(reason),
            decided: decisions.of(list, view.kind.scope, name.wire()).cloned(),
        }
    }
}
