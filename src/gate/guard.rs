//! Names that must not be blocked, and every name above them, so that one walk from the top finds both.

use std::collections::HashMap;
use std::fmt;

use foldhash::fast::RandomState;

use super::pattern::Pattern;
use super::suffix::Labels;
use crate::rule::Scope;

/// Why a name must not be blocked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// `[gate] never_block`
    NeverBlock,
    /// A line of `never_block_file`: the file, the line.
    NeverBlockFile(std::sync::Arc<str>, u32),
    /// `[local.hosts]`
    Host,
    /// `[[zone]]`
    Zone,
    /// Target of an answer's CNAME.
    Cname,
}

impl Why {
    /// One of qalqan's own names, which is not on the operator's list.
    pub fn is_own(&self) -> bool {
        matches!(self, Self::Host | Self::Zone | Self::Cname)
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NeverBlock => f.write_str("never_block in [gate]"),
            Self::NeverBlockFile(file, line) => write!(f, "never_block_file, {file}:{line}"),
            Self::Host => f.write_str("[local.hosts]"),
            Self::Zone => f.write_str("a [[zone]]"),
            Self::Cname => f.write_str("`cname` of an answer"),
        }
    }
}

/// A pattern that is guarded, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guarded {
    /// What must not be blocked.
    pub pattern: Pattern,
    /// Why not.
    pub why: Why,
}

/// What is known of one name: the first guarded pattern of each scope on it, and the first below it.
#[derive(Clone, Copy, Debug, Default)]
struct Node {
    on: [Option<u32>; 3],
    below: Option<u32>,
}

/// Guarded patterns, or allow rules, by name.
#[derive(Debug, Default)]
pub(super) struct Guard {
    nodes: HashMap<Box<[u8]>, Node, RandomState>,
    len: u32,
    /// Some pattern is on the root itself.
    on_root: bool,
}

impl Guard {
    /// Adds the next pattern; it is number 0, 1, …
    pub(super) fn add(&mut self, name: &[u8], scope: Scope) {
        let number = self.len;
        self.len += 1;
        let labels = Labels::new(name);
        self.on_root |= labels.count() == 0;
        let node = self.nodes.entry(name.into()).or_default();
        node.on[slot(scope)].get_or_insert(number);
        for skip in 1..=labels.count() {
            self.nodes.entry(labels.suffix(skip).into()).or_default().below.get_or_insert(number);
        }
    }

    /// Nothing is in it.
    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The first guarded pattern that shares a name with this one.
    pub(super) fn meets(&self, labels: &Labels<'_>, scope: Scope) -> Option<u32> {
        for skip in (0..=self.top(labels)).rev() {
            // Every name above a guarded one is here as well: where the walk ends there is nothing further down.
            let node = self.nodes.get(labels.suffix(skip))?;
            let on = |scope: Scope| node.on[slot(scope)];
            let met = if skip > 0 {
                on(Scope::Subtree).or(on(Scope::Below))
            } else {
                match scope {
                    Scope::Subtree => on(Scope::Subtree).or(on(Scope::Exact)).or(on(Scope::Below)).or(node.below),
                    Scope::Exact => on(Scope::Subtree).or(on(Scope::Exact)),
                    Scope::Below => on(Scope::Subtree).or(on(Scope::Below)).or(node.below),
                }
            };
            if met.is_some() {
                return met;
            }
        }
        None
    }

    /// Where a walk begins: the root says nothing of other names, unless a pattern is on it.
    fn top(&self, labels: &Labels<'_>) -> usize {
        if self.on_root { labels.count() } else { labels.count().saturating_sub(1) }
    }

    /// Whether some patterns cover the name itself, and everything below it.
    pub(super) fn covers(&self, labels: &Labels<'_>) -> (bool, bool) {
        let (mut itself, mut below) = (false, false);
        for skip in (0..=self.top(labels)).rev() {
            let Some(node) = self.nodes.get(labels.suffix(skip)) else { break };
            let on = |scope: Scope| node.on[slot(scope)].is_some();
            below |= on(Scope::Subtree) || on(Scope::Below);
            itself |= on(Scope::Subtree) || if skip > 0 { on(Scope::Below) } else { on(Scope::Exact) };
        }
        (itself, below)
    }
}

/// Where a scope has its place in a node.
fn slot(scope: Scope) -> usize {
    match scope {
        Scope::Subtree => 0,
        Scope::Exact => 1,
        Scope::Below => 2,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::name::is_at_or_below;

    fn patterns() -> impl Strategy<Value = Vec<Pattern>> {
        proptest::collection::vec(pattern(), 0..8)
    }

    fn pattern() -> impl Strategy<Value = Pattern> {
        let name = proptest::collection::vec(prop_oneof!["a", "b", "c"], 1..4);
        (name, prop_oneof![Just(""), Just("="), Just("*.")])
            .prop_map(|(labels, mark)| Pattern::parse(&format!("{mark}{}", labels.join("."))).expect("a pattern"))
    }

    /// Whether a pattern covers a name.
    fn has(pattern: &Pattern, name: &[u8]) -> bool {
        let depth = crate::name::labels(name).count().saturating_sub(pattern.name.labels().count());
        is_at_or_below(name, pattern.name.wire()) && pattern.scope.covers(depth)
    }

    /// Every name of up to five labels over the letters: deeper ones decide nothing that these do not.
    fn world() -> Vec<Vec<u8>> {
        let mut world = Vec::new();
        let mut names = vec![vec![0_u8]];
        for _ in 0..5 {
            names = names
                .iter()
                .flat_map(|name| ["a", "b", "c"].map(|label| [&[1][..], label.as_bytes(), name].concat()))
                .collect();
            world.extend(names.iter().cloned());
        }
        world
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn walks_find_what_trying_every_name_finds(guarded in patterns(), entry in pattern()) {
            let mut guard = Guard::default();
            guarded.iter().for_each(|pattern| guard.add(pattern.name.wire(), pattern.scope));
            let world = world();
            let labels = Labels::new(entry.name.wire());
            let shared = world.iter().any(|name| has(&entry, name) && guarded.iter().any(|pattern| has(pattern, name)));
            let met = guard.meets(&labels, entry.scope);
            prop_assert_eq!(met.is_some(), shared, "{} against {:?}", entry, guarded);
            if let Some(met) = met {
                let pattern = &guarded[met as usize];
                prop_assert!(world.iter().any(|name| has(&entry, name) && has(pattern, name)));
            }
            let all = |scope: Scope| {
                let asked = Pattern { scope, ..entry.clone() };
                world.iter().filter(|name| has(&asked, name)).all(|name| guarded.iter().any(|p| {
                    // Rules on the name or above it, as the promise says.
                    is_at_or_below(entry.name.wire(), p.name.wire()) && has(p, name)
                }))
            };
            prop_assert_eq!(guard.covers(&labels), (all(Scope::Exact), all(Scope::Below)), "{} {:?}", entry, guarded);
        }
    }
}
