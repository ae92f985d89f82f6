//! A name with a scope, as people write it: `name`, `=name`, `*.name`.

use std::fmt;

use crate::name::{Name, NameError};
use crate::rule::{Scope, show_pattern};

/// Which names are meant.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pattern {
    /// The name.
    pub name: Name,
    /// How much around it.
    pub scope: Scope,
}

/// A text that is no pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PatternError(NameError);

impl fmt::Display for PatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not a name: {}; write it like example.com, =example.com or *.example.com", self.0)
    }
}

impl std::error::Error for PatternError {}

impl Pattern {
    /// A name alone.
    pub fn exact(name: Name) -> Self {
        Self { name, scope: Scope::Exact }
    }

    /// Reads what [`fmt::Display`] writes, and names as people write them.
    ///
    /// # Errors
    /// What follows the mark is not a name.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        let (scope, rest) = match (text.strip_prefix('='), text.strip_prefix("*.")) {
            (Some(rest), _) => (Scope::Exact, rest),
            (_, Some(rest)) => (Scope::Below, rest),
            _ => (Scope::Subtree, text),
        };
        match (rest, Name::parse(rest)) {
            (".", _) => Ok(Self { name: Name::root(), scope }),
            (_, Ok(name)) => Ok(Self { name, scope }),
            (_, Err(error)) => Err(PatternError(error)),
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show_pattern(self.name.wire(), self.scope, f)
    }
}
