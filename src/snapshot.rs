//! What one decision needs, swapped together: the set, the policy of each list, who may ask.

use crate::event::{Attribution, Cause};
use crate::limit::Acl;
use crate::name::NameBuf;
use crate::policy::{Blocked, ListPolicy};
use crate::rule::{Effect, Mode, RpzAction, Scope, show_pattern};
use crate::set::{Match, Part, Set, TooManyRules};
use crate::util::UnixTime;

/// The most rules named for one hit; a name listed more often than that is a mistake in a list.
const MAX_CAUSES: usize = 1000;

/// Set, policy and generation.
#[derive(Clone, Debug)]
pub struct Snapshot {
    generation: u64,
    set: Set,
    lists: Box<[ListPolicy]>,
    acl: Acl,
}

/// What the rules say of a name.
#[derive(Clone, Copy, Debug, Default)]
pub struct Decision<'a> {
    /// An allow rule covers it: nothing else counts.
    pub allow: Option<Match<'a>>,
    /// The enforced rule that decides; an RPZ passthru decides for the ordinary answer.
    pub block: Option<Match<'a>>,
    /// The rule of a shadow list that would.
    pub shadow: Option<Match<'a>>,
}

impl<'a> Decision<'a> {
    /// The rule to answer by, if the name is blocked.
    pub fn blocked(&self) -> Option<Match<'a>> {
        self.block.filter(|found| self.allow.is_none() && !is_passthru(found))
    }

    /// A rule would have blocked it but for an exception.
    pub fn excepted(&self) -> bool {
        self.block.is_some() && self.blocked().is_none()
    }

    /// The shadow rule to count.
    pub fn shadowed(&self) -> Option<Match<'a>> {
        self.shadow.filter(|found| self.allow.is_none() && !is_passthru(found))
    }
}

impl Snapshot {
    /// Compiles `parts` (whose `list` is an index into `lists`) as of `now`.
    ///
    /// # Errors
    /// More rules than a set can hold.
    pub fn compile(
        generation: u64,
        lists: Vec<ListPolicy>,
        parts: Vec<Part>,
        acl: Acl,
        now: UnixTime,
    ) -> Result<Self, TooManyRules> {
        Ok(Self { generation, set: Set::build(parts, now)?, lists: lists.into(), acl })
    }

    /// The same rules with the order dates looked at anew.
    pub fn at(&self, generation: u64, now: UnixTime) -> Self {
        Self { generation, set: self.set.at(now), lists: self.lists.clone(), acl: self.acl.clone() }
    }

    /// Counts publishes.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The compiled rules.
    pub fn set(&self) -> &Set {
        &self.set
    }

    /// The policies of the lists, in configuration order.
    pub fn lists(&self) -> &[ListPolicy] {
        &self.lists
    }

    /// Who may ask.
    pub fn acl(&self) -> &Acl {
        &self.acl
    }

    /// Decides about a name (DESIGN section 2, precedence).
    pub fn decide(&self, name: &NameBuf) -> Decision<'_> {
        let mut decision = Decision::default();
        self.set.matches(name, |found| {
            let list = &self.lists[usize::from(found.list)];
            let place = match (&found.kind.effect, list.mode) {
                (Effect::Allow, Mode::Enforce) => &mut decision.allow,
                // An exception on trial excepts nothing.
                (Effect::Allow, Mode::Shadow) => return,
                (_, Mode::Enforce) => &mut decision.block,
                (_, Mode::Shadow) => &mut decision.shadow,
            };
            if place.as_ref().is_none_or(|held| goes_before(&found, held)) {
                *place = Some(found);
            }
        });
        decision
    }

    /// What an answer needs to know of a match; `below` is 0 when a target of the answer matched.
    pub fn blocked(&self, found: &Match<'_>, below: usize) -> Blocked<'_> {
        let rule = self.set.rule(found.id);
        Blocked {
            list: &self.lists[usize::from(found.list)],
            effect: &rule.kind.effect,
            order: rule.order.map(AsRef::as_ref),
            below,
            serial: self.generation as u32,
        }
    }
}

impl Attribution for Snapshot {
    fn causes(&self, name: &[u8], mode: Mode) -> Vec<Cause> {
        let mut buf = NameBuf::new();
        if buf.set_wire(name).is_err() {
            return Vec::new();
        }
        let mut found = Vec::new();
        self.set.all(&buf, |rule| {
            let list = &self.lists[usize::from(rule.list)];
            if list.mode == mode && rule.kind.effect != Effect::Allow {
                found.push(rule);
            }
        });
        found.sort_by_key(|rule| (rule.list, rule.below, rule.kind.scope != Scope::Exact, rule.id));
        let mut causes: Vec<Cause> = Vec::new();
        for found in found {
            let rule = self.set.rule(found.id);
            let mut pattern = String::new();
            // Writing to a String cannot fail.
            let _ = show_pattern(buf.suffix(usize::from(found.below)), rule.kind.scope, &mut pattern);
            let list = &self.lists[usize::from(found.list)].name;
            let file = self.set.parts()[found.part as usize].rules.path();
            let known = causes.iter().position(|c| *c.list == **list && *c.file == **file && c.rule == pattern);
            let order = rule.order.map(|order| order.id.clone());
            match known {
                Some(at) => {
                    let orders = &mut causes[at].orders;
                    if let Some(id) = order.filter(|id| !orders.contains(id)) {
                        orders.push(id);
                    }
                }
                None if causes.len() < MAX_CAUSES => causes.push(Cause {
                    list: list.to_string(),
                    file: file.to_string(),
                    line: rule.line,
                    rule: pattern,
                    orders: order.into_iter().collect(),
                }),
                None => break,
            }
        }
        causes
    }
}

/// Between lists config order decides; within one the longest name, and there the exact pattern.
fn goes_before(new: &Match<'_>, held: &Match<'_>) -> bool {
    let rank = |found: &Match<'_>| (found.list, found.below, found.kind.scope != Scope::Exact);
    rank(new) < rank(held)
}

/// The rule asks for the ordinary answer.
fn is_passthru(found: &Match<'_>) -> bool {
    matches!(found.kind.effect, Effect::Rpz(RpzAction::Passthru))
}

#[cfg(test)]
mod tests;
