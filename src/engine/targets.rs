//! The names an answer leads to, and what the rules say of them.

use crate::name::NameBuf;
use crate::set::Match;
use crate::snapshot::Policy;
use crate::wire;

/// What the rules say.
#[expect(clippy::large_enum_variant, reason = "it lives on the stack for a moment, where nothing may be allocated")]
pub(super) enum Targets<'a> {
    /// No rule that blocks or counts knows any of the names. So it is for everybody, if no rule knows them at all: this
    /// stamp stands for those who need not ask again.
    Unknown(u64),
    /// Rules of shadow lists know some; they were shown.
    Shadowed,
    /// This name is blocked, by this rule.
    Blocked(Match<'a>, NameBuf),
    /// The answer is malformed.
    Broken,
}

/// Asks the rules about every name that `answer` leads to, in order, until one is blocked, or expressly allowed, which
/// lets the rest pass. `shadowed` is shown the rules of shadow lists that know one.
pub(super) fn check<'a>(
    policy: Policy<'a>,
    answer: &[u8],
    shadowed: &mut dyn FnMut(&Match<'a>, &NameBuf),
) -> Targets<'a> {
    let mut found = Targets::Unknown(policy.stamp_of_all());
    let walked = wire::targets(answer, &mut |target| {
        let decision = policy.decide(target);
        if decision.known && matches!(found, Targets::Unknown(_)) {
            found = Targets::Unknown(policy.stamp());
        }
        if let Some(shadow) = decision.shadowed() {
            shadowed(&shadow, target);
            found = Targets::Shadowed;
        }
        if decision.allow.is_some() {
            return true;
        }
        match decision.blocked() {
            Some(rule) => {
                found = Targets::Blocked(rule, target.clone());
                true
            }
            None => false,
        }
    });
    match found {
        // What stands before the fault counts.
        Targets::Blocked(..) => found,
        _ if walked.is_none() => Targets::Broken,
        _ => found,
    }
}
