//! How much of a block entry allow rules take away.

use crate::rule::{Effect, RpzAction, Scope};

/// How much of a pattern is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cover {
    /// All of it.
    Whole,
    /// Some of it.
    Part,
    /// Nothing, as far as rules on the name and above it go.
    None,
}

/// How much of a pattern of this scope is allowed, where allow rules cover the name `itself` and everything `below` it.
pub fn cover(scope: Scope, itself: bool, below: bool) -> Cover {
    match (scope, itself, below) {
        (Scope::Exact, true, _) | (Scope::Below, _, true) | (Scope::Subtree, true, true) => Cover::Whole,
        (Scope::Subtree, true, false) | (Scope::Subtree, false, true) => Cover::Part,
        _ => Cover::None,
    }
}

/// A rule that changes what a client gets, which an exception can take the effect of.
pub fn blocks(effect: &Effect) -> bool {
    !matches!(effect, Effect::Allow | Effect::Rpz(RpzAction::Passthru))
}
