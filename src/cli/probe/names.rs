//! Which names are asked: patterns in force, shown one by one and never kept.

use super::pace::{Sample, mixed};
use crate::name::{Name, NameBuf};
use crate::rule::{Effect, FileRules, Mode, OrderState, Role, RpzAction, RuleView, Scope};
use crate::snapshot::Snapshot;
use crate::util::UnixTime;

/// Stands for the list of names that were given.
pub const NAMED: u16 = u16::MAX;

/// What may be asked.
pub struct Names<'a> {
    /// The rules in force, if a configuration is used.
    pub snapshot: Option<&'a Snapshot>,
    /// Names that were given: then only these are asked.
    pub named: Option<&'a FileRules>,
    /// Only these lists, by index; all if empty.
    pub lists: Vec<u16>,
    /// Only what rests on these orders; all if empty.
    pub orders: Vec<String>,
    /// Of the labels put in front.
    pub seed: u64,
    /// When orders are looked at.
    pub now: UnixTime,
}

/// What there is to ask.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Patterns with a name to ask.
    pub patterns: u64,
    /// Names to ask.
    pub names: u64,
    /// Patterns that stand further up too.
    pub repeated: u64,
    /// Patterns whose order is not in force.
    pub not_in_force: u64,
    /// Names that exceptions let pass.
    pub excepted: u64,
    /// Names of entries that the gate holds.
    pub held: u64,
    /// Names below a pattern that would be too long.
    pub too_long: u64,
}

/// The names of one pattern.
pub struct Picked {
    /// Index of its list, or [`NAMED`].
    pub list: u16,
    /// What to ask.
    pub names: Vec<Name>,
}

/// How many names of a rule are not asked, and why.
#[derive(Default)]
struct Aside {
    excepted: u64,
    held: u64,
    too_long: u64,
}

/// What is to be done with a rule.
enum Sort {
    /// To be asked, but for some.
    Ask(Vec<Name>, Aside),
    Repeated,
    NotInForce,
    /// No block, or not chosen.
    Other,
}

impl<'a> Names<'a> {
    /// Counts everything once.
    pub fn census(&self) -> Census {
        let mut census = Census::default();
        let mut cursor = self.cursor(None);
        while let Some((_, sort)) = cursor.sorted() {
            match sort {
                Sort::Ask(names, aside) => {
                    census.patterns += u64::from(!names.is_empty());
                    census.names += names.len() as u64;
                    census.excepted += aside.excepted;
                    census.held += aside.held;
                    census.too_long += aside.too_long;
                }
                Sort::Repeated => census.repeated += 1,
                Sort::NotInForce => census.not_in_force += 1,
                Sort::Other => {}
            }
        }
        census
    }

    /// Goes through what is to be asked, or a sample of it.
    pub fn cursor(&self, sample: Option<Sample>) -> Cursor<'_> {
        Cursor { names: self, part: 0, rule: 0, start: 0, sample }
    }

    /// Rules of one file and their list.
    fn part(&self, index: usize) -> Option<(u16, &FileRules)> {
        match (self.named, self.snapshot) {
            (Some(named), _) => (index == 0).then_some((NAMED, named)),
            (None, Some(snapshot)) => snapshot.set().parts().get(index).map(|part| (part.list, &*part.rules)),
            (None, None) => None,
        }
    }

    /// Looks at rule number `id` of the set; `held`: the gate keeps it out of force.
    fn sort(&self, list: u16, rule: &RuleView<'_>, id: u32, held: bool) -> Sort {
        let scope = rule.kind.scope;
        if !self.is_chosen(list, rule) || !is_block(&rule.kind.effect) {
            return Sort::Other;
        }
        let name = rule.name();
        if rule.order.is_some_and(|order| order.state(self.now) != OrderState::InForce) {
            return Sort::NotInForce;
        }
        if self.is_repeated(&name, scope, id) {
            return Sort::Repeated;
        }
        let (mut names, mut aside) = (Vec::new(), Aside::default());
        // A held entry says nothing, but another one may block its name all the same.
        let mut add = |name: &NameBuf| match self.passes(name) {
            false => names.push(name.to_name()),
            true if held => aside.held += 1,
            true => aside.excepted += 1,
        };
        if scope.covers(0) {
            add(&name);
        }
        let below = scope.covers(1).then(|| self.below(name.wire(), id));
        if let Some(Some(name)) = &below {
            add(name);
        }
        aside.too_long += u64::from(matches!(below, Some(None)));
        Sort::Ask(names, aside)
    }

    /// The gate holds this rule of a part.
    fn is_held(&self, part: usize, rule: u32) -> bool {
        let part = self.snapshot.filter(|_| self.named.is_none()).and_then(|snapshot| snapshot.set().parts().get(part));
        part.is_some_and(|part| part.held.binary_search(&rule).is_ok())
    }

    /// It is asked for, and enforced by its list.
    fn is_chosen(&self, list: u16, rule: &RuleView<'_>) -> bool {
        if self.named.is_some() {
            return true;
        }
        let policy = self.snapshot.and_then(|snapshot| snapshot.lists().get(usize::from(list)));
        policy.is_some_and(|policy| policy.role == Role::Block && policy.mode == Mode::Enforce)
            && (self.lists.is_empty() || self.lists.contains(&list))
            && (self.orders.is_empty() || rule.order.is_some_and(|order| self.orders.contains(&order.id)))
    }

    /// An earlier rule among those chosen has the same pattern.
    fn is_repeated(&self, name: &NameBuf, scope: Scope, id: u32) -> bool {
        let (None, Some(snapshot)) = (self.named, self.snapshot) else { return false };
        if !self.orders.is_empty() {
            // Each order's own rules: few, and which of them is first does not matter.
            return false;
        }
        let mut earlier = false;
        snapshot.set().holders(name, |found| {
            earlier |= found.below == 0
                && found.id < id
                && found.kind.scope == scope
                && is_block(&found.kind.effect)
                && self.is_chosen(found.list, &snapshot.set().rule(found.id));
        });
        earlier
    }

    /// The configuration does not block it. Given names are asked all the same.
    fn passes(&self, name: &NameBuf) -> bool {
        self.named.is_none() && self.snapshot.is_some_and(|snapshot| snapshot.decide(name).blocked().is_none())
    }

    /// A name below, that nobody has asked for before; the same each time with the same seed.
    fn below(&self, wire: &[u8], id: u32) -> Option<NameBuf> {
        let mut name = NameBuf::new();
        let label = format!("probe-{:012x}", mixed(self.seed, u64::from(id)) >> 16);
        name.push_label(label.as_bytes()).ok()?;
        for label in crate::name::labels(wire) {
            name.push_label(label).ok()?;
        }
        Some(name)
    }
}

/// A place among the rules.
pub struct Cursor<'a> {
    names: &'a Names<'a>,
    part: usize,
    rule: u32,
    /// Number of the part's first rule.
    start: u32,
    sample: Option<Sample>,
}

impl Cursor<'_> {
    /// The next pattern to ask.
    pub fn next(&mut self) -> Option<Picked> {
        while let Some((list, sort)) = self.sorted() {
            if let Sort::Ask(names, ..) = sort
                && !names.is_empty()
                && self.sample.as_mut().is_none_or(Sample::take)
            {
                return Some(Picked { list, names });
            }
        }
        None
    }

    /// The next rule.
    fn sorted(&mut self) -> Option<(u16, Sort)> {
        loop {
            let (list, rules) = self.names.part(self.part)?;
            let len = rules.len() as u32;
            if self.rule < len {
                let (index, id) = (self.rule, self.start + self.rule);
                self.rule += 1;
                let held = self.names.is_held(self.part, index);
                return Some((list, self.names.sort(list, &rules.rule(index), id, held)));
            }
            self.part += 1;
            self.rule = 0;
            self.start += len;
        }
    }
}

/// A rule that blocks.
fn is_block(effect: &Effect) -> bool {
    !matches!(effect, Effect::Allow | Effect::Rpz(RpzAction::Passthru))
}

#[cfg(test)]
mod tests;
