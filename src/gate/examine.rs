//! One entry after the other: structure, allow rules, popularity.

use std::sync::Arc;

use super::Checks;
use super::cover::{Cover, blocks, cover};
use super::guard::{Guard, Guarded};
use super::popular::Popular;
use super::suffix::{Labels, Suffix};
use crate::name::NameBuf;
use crate::rule::{Effect, FileRules, Kind, Scope};

/// What entries are compared with, besides themselves.
#[derive(Clone, Debug, Default)]
pub struct Inputs {
    /// Names that must not be blocked: the operator's, and qalqan's own.
    pub guarded: Arc<[Guarded]>,
    /// The rank list, and what it is called.
    pub popular: Option<(Arc<Popular>, Arc<str>)>,
    /// Files with rules that make exceptions, of lists that enforce.
    pub allow: Vec<Arc<FileRules>>,
}

/// Everything an entry is compared with, made ready. Does not change: another one is another gate.
#[derive(Debug, Default)]
pub struct Gate {
    inputs: Inputs,
    own: Guard,
    /// Number of each pattern of `own` among all that are guarded.
    own_numbers: Vec<u32>,
    never: Guard,
    never_numbers: Vec<u32>,
    allow: Guard,
}

/// Why an entry is held; [`Gate::tell`] spells it out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Every name there is.
    Root,
    /// A top-level domain.
    TopLevel,
    /// A name below which anybody can have one.
    PublicSuffix,
    /// Shares a name with this one of [`Inputs::guarded`].
    Guarded(u32),
    /// Its registrable domain has this rank.
    Popular(u32),
}

/// What the checks say of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// Nothing.
    Pass,
    /// Allow rules leave nothing of it.
    Excepted,
    /// It is held.
    Held(Reason),
}

/// A rule that is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Its number in its file.
    pub rule: u32,
    /// Why.
    pub reason: Reason,
}

/// What the checks say of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Held rules, by number.
    pub findings: Vec<Finding>,
    /// Entries that allow rules leave nothing of.
    pub excepted: u64,
}

impl PartialEq for Inputs {
    /// Whether a gate made of one is as good as one made of the other: looks at what is shared, not through it.
    fn eq(&self, other: &Self) -> bool {
        let same_ranks = match (&self.popular, &other.popular) {
            (Some((mine, _)), Some((theirs, _))) => Arc::ptr_eq(mine, theirs),
            (mine, theirs) => mine.is_none() && theirs.is_none(),
        };
        let same_allow = self.allow.len() == other.allow.len();
        self.guarded == other.guarded
            && same_ranks
            && same_allow
            && self.allow.iter().zip(&other.allow).all(|(mine, theirs)| Arc::ptr_eq(mine, theirs))
    }
}

impl Gate {
    /// Makes the inputs ready.
    pub fn new(inputs: Inputs) -> Self {
        let mut gate = Self { inputs, ..Self::default() };
        for (number, Guarded { pattern, why }) in gate.inputs.guarded.iter().enumerate() {
            let (guard, numbers) = match why.is_own() {
                true => (&mut gate.own, &mut gate.own_numbers),
                false => (&mut gate.never, &mut gate.never_numbers),
            };
            guard.add(pattern.name.wire(), pattern.scope);
            numbers.push(number as u32);
        }
        for rules in &gate.inputs.allow {
            if !rules.kinds().iter().any(|kind| excepts(kind, rules)) {
                continue;
            }
            let (mut names, mut name) = (rules.names(), NameBuf::new());
            while let Some(number) = names.next(&mut name) {
                let (_, kind) = rules.kind(number);
                if excepts(kind, rules) {
                    gate.allow.add(name.wire(), kind.scope);
                }
            }
        }
        gate
    }

    /// What it was made of.
    pub fn inputs(&self) -> &Inputs {
        &self.inputs
    }

    /// Whether anything could come of looking at the entries of a list.
    pub fn has_work(&self, checks: &Checks) -> bool {
        checks.public_suffixes
            || self.ranks(checks).is_some()
            || !self.never.is_empty()
            || self.guards_own(checks)
            || !self.allow.is_empty()
    }

    /// Looks at every rule of a file that blocks.
    pub fn examine(&self, checks: &Checks, rules: &FileRules) -> Outcome {
        let mut outcome = Outcome::default();
        let blocking: Vec<bool> = rules.kinds().iter().map(|kind| blocks(&kind.effect)).collect();
        if !self.has_work(checks) || !blocking.contains(&true) {
            return outcome;
        }
        let (mut names, mut name) = (rules.names(), NameBuf::new());
        while let Some(number) = names.next(&mut name) {
            let (kind_index, kind) = rules.kind(number);
            if !blocking.get(kind_index as usize).copied().unwrap_or(false) {
                continue;
            }
            match self.look(checks, kind.scope, name.wire()) {
                Look::Pass => {}
                Look::Excepted => outcome.excepted += 1,
                Look::Held(reason) => outcome.findings.push(Finding { rule: number, reason }),
            }
        }
        outcome
    }

    /// Looks at one block entry.
    pub fn look(&self, checks: &Checks, scope: Scope, name: &[u8]) -> Look {
        let labels = Labels::new(name);
        let ranks = self.ranks(checks);
        // Guarded names first: they cannot be released, a public suffix among them neither.
        if self.guards_own(checks)
            && let Some(met) = self.own.meets(&labels, scope)
        {
            return Look::Held(Reason::Guarded(self.own_numbers.get(met as usize).copied().unwrap_or_default()));
        }
        if !self.never.is_empty()
            && let Some(met) = self.never.meets(&labels, scope)
        {
            return Look::Held(Reason::Guarded(self.never_numbers.get(met as usize).copied().unwrap_or_default()));
        }
        // One question to the list of suffixes serves both checks that need it.
        let suffix = (checks.public_suffixes || ranks.is_some()).then(|| labels.find());
        if checks.public_suffixes
            && let Some(reason) = structure(&labels, scope, suffix)
        {
            return Look::Held(reason);
        }
        if !self.allow.is_empty() {
            let (itself, below) = self.allow.covers(&labels);
            if cover(scope, itself, below) == Cover::Whole {
                return Look::Excepted;
            }
        }
        if let (Some(ranks), Some(Suffix::Below(at))) = (ranks, suffix)
            && let Some(rank) = name.get(at..).and_then(|domain| ranks.rank(domain))
            && rank <= checks.top
        {
            return Look::Held(Reason::Popular(rank));
        }
        Look::Pass
    }

    /// A reason in words.
    pub fn tell(&self, reason: Reason) -> String {
        match reason {
            Reason::Root => "the root: it would block every name there is".into(),
            Reason::TopLevel => "a top-level domain: it would block every name in it".into(),
            Reason::PublicSuffix => "a public suffix: anybody can have a name below it".into(),
            Reason::Guarded(number) => match self.guarded(number) {
                Some(Guarded { pattern, why }) => format!("it would block {pattern}, which stands in {why}"),
                None => "it would block a name that must not be blocked".into(),
            },
            Reason::Popular(rank) => {
                let file = self.inputs.popular.as_ref().map_or("the rank list", |(_, shown)| shown);
                format!("its domain is number {rank} in {file}: a block would be felt by very many people")
            }
        }
    }

    /// The check a reason is of, in a word.
    pub fn check_of(&self, reason: Reason) -> &'static str {
        match reason {
            Reason::Root | Reason::TopLevel => "top_level",
            Reason::PublicSuffix => "public_suffix",
            Reason::Guarded(number) if self.guarded(number).is_some_and(|guarded| guarded.why.is_own()) => "own_name",
            Reason::Guarded(_) => "never_block",
            Reason::Popular(_) => "popular",
        }
    }

    /// What to do instead of releasing an entry; `None` if it may be released.
    pub fn instead(&self, reason: Reason) -> Option<String> {
        let Reason::Guarded(number) = reason else { return None };
        let Guarded { pattern, why } = self.guarded(number)?;
        Some(format!("remove {pattern} from {why} if the block is meant"))
    }

    /// One of the guarded patterns.
    fn guarded(&self, number: u32) -> Option<&Guarded> {
        self.inputs.guarded.get(number as usize)
    }

    /// The rank list, if this list is compared with it.
    fn ranks(&self, checks: &Checks) -> Option<&Popular> {
        self.inputs.popular.as_ref().filter(|_| checks.top > 0).map(|(popular, _)| &**popular)
    }

    /// Whether this list is compared with qalqan's own names.
    fn guards_own(&self, checks: &Checks) -> bool {
        checks.own_names && !self.own.is_empty()
    }
}

/// Whether an entry is too broad for what it is.
fn structure(labels: &Labels<'_>, scope: Scope, suffix: Option<Suffix>) -> Option<Reason> {
    let public = suffix == Some(Suffix::Public);
    match labels.count() {
        0 => Some(Reason::Root),
        // `wpad` alone is a name of this network; a top-level domain is one whoever runs it.
        1 if public || scope != Scope::Exact => Some(Reason::TopLevel),
        _ => public.then_some(Reason::PublicSuffix),
    }
}

/// An allow rule that always counts: one that rests on an order with dates may end while the block goes on.
fn excepts(kind: &Kind, rules: &FileRules) -> bool {
    let order = kind.order.and_then(|order| rules.orders().get(order as usize));
    let dated = order.is_some_and(|order| order.effective.or(order.expires).or(order.revoked).is_some());
    kind.effect == Effect::Allow && !dated
}
