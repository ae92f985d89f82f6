//! What in the lists somebody should look at: entries that do nothing, and entries that do far more than was meant.

use std::collections::HashSet;
use std::fmt;

use serde::Serialize;

use crate::gate::{self, Decisions, Verdict};
use crate::name::NameBuf;
use crate::rule::{Effect, Mode, Scope, show_pattern};
use crate::set::Match;
use crate::snapshot::Snapshot;

/// How many findings of a sort are shown; all are counted.
pub const MAX_FINDINGS: usize = 100;

/// What was found in the rules in force. Every count is exact.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Review {
    /// Block entries that allow rules leave nothing of.
    pub shadowed: Found<Shadowed>,
    /// Block entries that allow rules make exceptions to; usually that is what the exceptions are for. Of entries that
    /// a list repeats only the first is counted.
    pub partly_shadowed: u64,
    /// Entries under which anybody can have a name (`com`, `us.com`, `myshopify.com`): allow entries, and block entries of
    /// lists whose gate does not hold them.
    pub public_suffixes: Found<Place>,
    /// One a list, in config order.
    pub lists: Vec<ListReview>,
}

/// Findings that are only counted, since they do no harm.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ListReview {
    /// The list's name.
    pub list: String,
    /// The same entry stands in the list before, and the first such rests on the same order or, as this one, on none.
    pub repeated: u64,
    /// The same entry stands in the list before, and the first such rests on another order.
    pub further_orders: u64,
    /// The same entry stands in a list that comes first.
    pub in_earlier_list: u64,
    /// Another entry of the list with the same effect covers everything this one does.
    pub redundant: u64,
}

/// A sort of finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Found<T> {
    /// How many there are.
    pub count: u64,
    /// The first of them, at most [`MAX_FINDINGS`].
    pub shown: Vec<T>,
}

/// Where an entry stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Place {
    /// The list's name.
    pub list: String,
    /// The file.
    pub file: String,
    /// The line, from 1.
    pub line: u32,
    /// The pattern as a `domains` list writes it.
    pub rule: String,
}

/// A block entry without effect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Shadowed {
    /// The entry.
    pub entry: Place,
    /// The allow entry that takes its effect away; where it takes two of them, the one for the name itself.
    pub allow: Place,
}

/// Looks through all rules in force. Takes about a microsecond a rule: for reloads and reports.
///
/// What the operator has released is no finding any more; what the gate holds is not in force, and reported by it.
pub fn review(snapshot: &Snapshot, decisions: &Decisions) -> Review {
    let lists = snapshot.lists().iter().map(|list| ListReview { list: list.name.to_string(), ..ListReview::default() });
    let mut review = Review { lists: lists.collect(), ..Review::default() };
    let mut partly = HashSet::new();
    let (mut shadowed, mut public_suffixes) = (First::default(), First::default());
    snapshot.set().each(|rule, name| {
        let list = snapshot.lists().get(usize::from(rule.list)).map_or("", |list| &list.name);
        let decided = || decisions.of(list, rule.kind.scope, name.wire()).map(|decision| decision.verdict);
        if gate::is_public_suffix(name.wire()) && decided() != Some(Verdict::Released) {
            public_suffixes.add(snapshot, &rule, || place(snapshot, &rule));
        }
        if let Some(counts) = review.lists.get_mut(usize::from(rule.list)) {
            count(snapshot, &rule, name, counts);
        }
        if excepts(snapshot, &rule) {
            snapshot.set().holders(name, |above| {
                let partial = above.below > 0 && above.kind.scope != Scope::Exact;
                if partial && is_block(&above) {
                    partly.insert(above.id);
                }
            });
        } else if is_block(&rule) {
            match Allowed::of(snapshot, name).of_scope(rule.kind.scope) {
                Cover::Whole(allow) => {
                    let make = || Shadowed { entry: place(snapshot, &rule), allow: place(snapshot, &allow) };
                    shadowed.add(snapshot, &rule, make);
                }
                Cover::Part => _ = partly.insert(rule.id),
                Cover::None => {}
            }
        }
    });
    partly.retain(|&id| {
        let rule = snapshot.set().rule(id);
        !matches!(Allowed::of(snapshot, &rule.name()).of_scope(rule.kind.scope), Cover::Whole(_))
    });
    review.shadowed = shadowed.found();
    review.public_suffixes = public_suffixes.found();
    review.partly_shadowed = partly.len() as u64;
    review
}

impl Review {
    /// Something was found that is probably a mistake.
    pub fn needs_a_look(&self) -> bool {
        self.shadowed.count > 0 || self.public_suffixes.count > 0
    }

    /// One line for the log; `None` if there is nothing to look at.
    pub fn summary(&self) -> Option<String> {
        use fmt::Write;
        let mut text = String::new();
        // Writing to a String cannot fail.
        if let Some(first) = self.shadowed.shown.first() {
            let Shadowed { entry, allow } = first;
            let _ = write!(text, "{} without effect because of allow entries", entries(self.shadowed.count));
            let _ = write!(text, " (first: {entry}, because of {allow})");
        }
        if let Some(first) = self.public_suffixes.shown.first() {
            let join = if text.is_empty() { "" } else { "; " };
            let _ = write!(text, "{join}{} under which anybody can have a name", entries(self.public_suffixes.count));
            let _ = write!(text, " (first: {first})");
        }
        (!text.is_empty()).then_some(text)
    }
}

/// Where an entry stands, as numbers: list, file, line.
type Rank = (u16, u32, u32);

/// The first of many findings by list, file and line, in whatever order they come.
struct First<T> {
    count: u64,
    held: Vec<(Rank, T)>,
    /// What does not come before this need not be held.
    before: Option<Rank>,
}

impl<T> First<T> {
    /// One more, about `rule`; `make` is only called if it may have to be shown.
    fn add(&mut self, snapshot: &Snapshot, rule: &Match<'_>, make: impl FnOnce() -> T) {
        self.count += 1;
        let rank = (rule.list, rule.part, snapshot.set().rule(rule.id).line);
        if self.before.is_some_and(|before| rank >= before) {
            return;
        }
        self.held.push((rank, make()));
        if self.held.len() == 2 * MAX_FINDINGS {
            self.cut();
        }
    }

    /// Leaves only the first.
    fn cut(&mut self) {
        self.held.sort_by_key(|&(rank, _)| rank);
        self.held.truncate(MAX_FINDINGS);
        if self.held.len() == MAX_FINDINGS {
            self.before = self.held.last().map(|&(rank, _)| rank);
        }
    }

    /// What is to be shown.
    fn found(mut self) -> Found<T> {
        self.cut();
        Found { count: self.count, shown: self.held.into_iter().map(|(_, found)| found).collect() }
    }
}

impl<T> Default for First<T> {
    fn default() -> Self {
        Self { count: 0, held: Vec::new(), before: None }
    }
}

impl<T> Default for Found<T> {
    fn default() -> Self {
        Self { count: 0, shown: Vec::new() }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}:{}", self.rule, self.file, self.line)
    }
}

/// `1 entry`, `2 entries`.
fn entries(count: u64) -> String {
    if count == 1 { "1 entry".to_owned() } else { format!("{count} entries") }
}

/// Where a rule stands.
pub fn place(snapshot: &Snapshot, found: &Match<'_>) -> Place {
    let rule = snapshot.set().rule(found.id);
    let mut pattern = String::new();
    // Writing to a String cannot fail.
    let _ = show_pattern(rule.name().wire(), rule.kind.scope, &mut pattern);
    let list = snapshot.lists().get(usize::from(found.list)).map_or("", |list| &list.name);
    let file = snapshot.set().parts().get(found.part as usize).map_or("", |part| part.rules.path());
    Place { list: list.to_owned(), file: file.to_owned(), line: rule.line, rule: pattern }
}

/// What enforced allow rules say of a name and of everything below it.
#[derive(Default)]
struct Allowed<'a> {
    itself: Option<Match<'a>>,
    below: Option<Match<'a>>,
}

/// How much of a pattern is allowed, and by which rule.
enum Cover<'a> {
    /// All of it.
    Whole(Match<'a>),
    /// Some of it.
    Part,
    /// Nothing, as far as rules on the name and above it go.
    None,
}

impl<'a> Allowed<'a> {
    /// Asks the rules on `name` and above it.
    fn of(snapshot: &'a Snapshot, name: &NameBuf) -> Self {
        let mut allowed = Self::default();
        snapshot.set().holders(name, |rule| {
            if !excepts(snapshot, &rule) {
                return;
            }
            if rule.kind.scope.covers(usize::from(rule.below)) {
                allowed.itself = Some(rule);
            }
            if rule.kind.scope != Scope::Exact {
                allowed.below = Some(rule);
            }
        });
        allowed
    }

    /// How much of a pattern of this scope on the name they cover.
    fn of_scope(&self, scope: Scope) -> Cover<'a> {
        match gate::cover(scope, self.itself.is_some(), self.below.is_some()) {
            gate::Cover::Whole => {
                self.itself.filter(|_| scope != Scope::Below).or(self.below).map_or(Cover::None, Cover::Whole)
            }
            gate::Cover::Part => Cover::Part,
            gate::Cover::None => Cover::None,
        }
    }
}

/// Counts what is only counted.
fn count(snapshot: &Snapshot, rule: &Match<'_>, name: &NameBuf, counts: &mut ListReview) {
    let (mut repeated, mut other_order, mut earlier, mut redundant) = (false, false, false, false);
    let allows = rule.kind.effect == Effect::Allow;
    snapshot.set().holders(name, |other| {
        if other.id == rule.id || (other.kind.effect == Effect::Allow) != allows {
            return;
        }
        let same_pattern = other.below == 0 && other.kind.scope == rule.kind.scope;
        if same_pattern && other.list == rule.list {
            let order = |found: &Match<'_>| snapshot.set().rule(found.id).order;
            match order(&other) == order(rule) {
                true => repeated = true,
                false => other_order = true,
            }
        } else if same_pattern {
            earlier |= other.list < rule.list;
        } else if other.list == rule.list && other.kind.effect == rule.kind.effect {
            redundant |= covers(&other, rule.kind.scope);
        }
    });
    counts.repeated += u64::from(repeated);
    counts.further_orders += u64::from(other_order);
    counts.in_earlier_list += u64::from(earlier);
    counts.redundant += u64::from(redundant);
}

/// Whether a rule on a name or above it covers everything that a pattern of `scope` on that name covers.
fn covers(other: &Match<'_>, scope: Scope) -> bool {
    match scope {
        Scope::Exact => other.kind.scope.covers(usize::from(other.below)),
        Scope::Below => other.kind.scope != Scope::Exact,
        Scope::Subtree => other.kind.scope == Scope::Subtree || other.kind.scope == Scope::Below && other.below > 0,
    }
}

/// An allow rule that counts.
fn excepts(snapshot: &Snapshot, rule: &Match<'_>) -> bool {
    let enforced = || snapshot.lists().get(usize::from(rule.list)).is_some_and(|list| list.mode == Mode::Enforce);
    rule.kind.effect == Effect::Allow && enforced()
}

/// A rule an exception can take the effect of.
fn is_block(rule: &Match<'_>) -> bool {
    gate::blocks(&rule.kind.effect)
}

#[cfg(test)]
mod tests;
