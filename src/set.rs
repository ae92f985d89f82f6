//! The compiled, immutable lookup structure of all rules.
//!
//! Names stay where they lie in their files ([`FileRules`]); what is here leads from a name's keyed hash to its place
//! there. Up to a hundred thousand rules that is an open-addressing table of `u32` slots, each with some bits of the
//! hash and the number of the rule; above it a [`Map`] of half that size, of whose bytes a name that is not listed
//! touches three. The name itself is compared on every candidate, so a collision can cost time but never block the
//! wrong name. Suffixes with so many labels as no listed name has are not looked for at all. Names of several rules
//! have them all in a sorted side array.

mod build;
mod hash;
mod map;
mod table;

use std::sync::Arc;

use crate::name::NameBuf;
use crate::rule::{Effect, FileRules, Kind, RuleView, Scope};
use crate::util::UnixTime;

use hash::HashKey;
use map::Map;
use table::{Slot, Table};

/// The rules of one file, and the list they belong to.
#[derive(Clone, Debug)]
pub struct Part {
    /// Index of the list in configuration order: lower ones go first.
    pub list: u16,
    /// The rules.
    pub rules: Arc<FileRules>,
    /// Numbers of the rules that are not entered, sorted: the gate holds them.
    pub held: Arc<[u32]>,
}

impl Part {
    /// All rules of a file.
    pub fn new(list: u16, rules: Arc<FileRules>) -> Self {
        Self { list, rules, held: Arc::default() }
    }

    /// Whether this rule is not entered.
    pub fn holds(&self, rule: u32) -> bool {
        self.held.binary_search(&rule).is_ok()
    }

    /// The first rule at `place` that is not held and whose name is `name` from its `skip`-th label on.
    #[inline]
    fn find(&self, place: u32, name: &NameBuf, skip: usize) -> Option<u32> {
        let rule = self.rules.find(place, name, skip)?;
        if self.held.is_empty() { Some(rule) } else { self.find_free(rule, name, skip) }
    }

    /// The first of `rule` and those behind it with its name that is not held. A name that is not entered at all may
    /// come here too: a map takes one in 256 for some other.
    fn find_free(&self, mut rule: u32, name: &NameBuf, skip: usize) -> Option<u32> {
        let mut other = NameBuf::new();
        while self.holds(rule) {
            rule += 1;
            if rule as usize >= self.rules.len() {
                return None;
            }
            // Where a place stands for several names, those of one name stand together.
            self.rules.name(rule, &mut other);
            if other.wire() != name.suffix(skip) {
                return None;
            }
        }
        Some(rule)
    }
}

/// All rules, ready to be asked, with those in force at one moment marked.
#[derive(Clone, Debug)]
pub struct Set {
    index: Arc<Index>,
    /// For each part and kind: is its order (if any) in force?
    active: Box<[Box<[bool]>]>,
    /// Names with several rules: (number of the first, number of each), one a list, scope and sort of effect.
    several: Box<[(u32, u32)]>,
}

/// What does not change with time.
#[derive(Debug)]
struct Index {
    parts: Box<[Part]>,
    /// Number of the first rule of each part, and of one past the last.
    starts: Box<[u32]>,
    key: HashKey,
    /// Which numbers of labels the names have, a bit each.
    depths: u128,
    lookup: Lookup,
    /// Every rule of names with several: (number of the first, number of each), sorted.
    groups: Box<[(u32, u32)]>,
}

/// From hashes to rules.
#[derive(Debug)]
enum Lookup {
    /// To rule numbers.
    Table(Table),
    /// To places in files.
    Map {
        /// Twice the place's number, and one more if the name has several rules.
        map: Map,
        /// Number of the first place of each part, and of one past the last.
        places: Box<[u32]>,
    },
}

/// A rule that covers a name.
#[derive(Clone, Copy, Debug)]
pub struct Match<'a> {
    /// Number of the rule within the set.
    pub id: u32,
    /// Index of its list.
    pub list: u16,
    /// Index of its file among the parts.
    pub part: u32,
    /// Scope, effect and order.
    pub kind: &'a Kind,
    /// How many labels of the name the pattern leaves out on the left.
    pub below: u8,
}

/// What a set takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    /// Rules.
    pub rules: usize,
    /// Distinct names.
    pub names: usize,
    /// Heap bytes, all told: names, lines, attribution and table.
    pub bytes: usize,
}

impl Set {
    /// Compiles the rules of all parts, marking those in force at `now`.
    ///
    /// # Errors
    /// More than 2³⁰ rules.
    pub fn build(parts: Vec<Part>, now: UnixTime) -> Result<Self, TooManyRules> {
        Self::tuned(parts, now, build::Tuning::default())
    }

    /// The same with sizes that tests choose.
    fn tuned(parts: Vec<Part>, now: UnixTime, tuning: build::Tuning) -> Result<Self, TooManyRules> {
        let index = Arc::new(build::index(parts, tuning)?);
        Ok(Self::with(index, now))
    }

    /// The same rules at another moment: cheap, as nothing but the dates is looked at.
    pub fn at(&self, now: UnixTime) -> Self {
        Self::with(Arc::clone(&self.index), now)
    }

    /// The next moment after `now` at which a rule starts or ends.
    pub fn next_change(&self, now: UnixTime) -> Option<UnixTime> {
        let orders = self.index.parts.iter().flat_map(|part| part.rules.orders());
        orders.filter_map(|order| order.next_change(now)).min()
    }

    /// Shows `visit` the rules in force that cover `name`, from the top label down.
    ///
    /// Of several rules of one list, scope and sort of effect on one name only the first is shown:
    /// enough to decide. [`Self::all`] shows each.
    pub fn matches<'a>(&'a self, name: &NameBuf, mut visit: impl FnMut(Match<'a>)) {
        self.index.suffixes(name, |skip, slot| {
            if slot.several {
                let from = self.several.partition_point(|&(first, _)| first < slot.rule);
                for &(_, id) in self.several[from..].iter().take_while(|&&(first, _)| first == slot.rule) {
                    self.show(id, skip, &mut visit);
                }
            } else {
                self.show(slot.rule, skip, &mut visit);
            }
        });
    }

    /// Shows `visit` every single rule in force that covers `name`; for reports, not for queries.
    pub fn all<'a>(&'a self, name: &NameBuf, mut visit: impl FnMut(Match<'a>)) {
        self.index.suffixes(name, |skip, slot| {
            self.show(slot.rule, skip, &mut visit);
            for id in self.index.group(slot) {
                self.show(id, skip, &mut visit);
            }
        });
    }

    /// Shows `visit` every rule that covers `name`, with whether it is in force; for reports, not for queries.
    pub fn known<'a>(&'a self, name: &NameBuf, mut visit: impl FnMut(Match<'a>, bool)) {
        self.index.suffixes(name, |skip, slot| {
            for id in std::iter::once(slot.rule).chain(self.index.group(slot)) {
                let (found, in_force) = self.look(id, skip);
                if found.kind.scope.covers(skip) {
                    visit(found, in_force);
                }
            }
        });
    }

    /// Shows `visit` the rules in force on `name` and on every name above it, whatever their scopes, from the top label
    /// down; of several rules of one list, scope and sort of effect on one name only the first.
    pub fn holders<'a>(&'a self, name: &NameBuf, mut visit: impl FnMut(Match<'a>)) {
        self.index.suffixes(name, |skip, slot| {
            if !slot.several {
                let (found, in_force) = self.look(slot.rule, skip);
                if in_force {
                    visit(found);
                }
                return;
            }
            let from = self.several.partition_point(|&(first, _)| first < slot.rule);
            for &(_, id) in self.several[from..].iter().take_while(|&&(first, _)| first == slot.rule) {
                visit(self.look(id, skip).0);
            }
        });
    }

    /// Shows `visit` all rules in force with their names: in the order of lists and files, and there as
    /// [`FileRules`] numbers them.
    pub fn each<'a>(&'a self, mut visit: impl FnMut(Match<'a>, &NameBuf)) {
        self.index.walk(|id, name| {
            let (found, in_force) = self.look(id, 0);
            if in_force {
                visit(found, name);
            }
        });
    }

    /// The rule of a match, with its name, line and order.
    pub fn rule(&self, id: u32) -> RuleView<'_> {
        let (part, local) = self.index.locate(id);
        self.index.parts[part].rules.rule(local)
    }

    /// The parts, in the order given.
    pub fn parts(&self) -> &[Part] {
        &self.index.parts
    }

    /// What it takes.
    pub fn size(&self) -> Size {
        let index = &self.index;
        let rules = index.starts.last().map_or(0, |&end| end as usize);
        let arenas: usize = index.parts.iter().map(|part| part.rules.bytes()).sum();
        let several = 8 * (index.groups.len() + self.several.len());
        let (names, lookup) = match &index.lookup {
            Lookup::Table(table) => (table.len(), table.bytes()),
            Lookup::Map { map, places } => (map.len(), map.bytes() + 4 * places.len()),
        };
        Size { rules, names, bytes: arenas + lookup + several + 4 * index.starts.len() }
    }

    /// Marks what is in force.
    fn with(index: Arc<Index>, now: UnixTime) -> Self {
        let active: Box<[Box<[bool]>]> = index
            .parts
            .iter()
            .map(|part| {
                let orders = part.rules.orders();
                let in_force = |order: u32| orders[order as usize].state(now) == crate::rule::OrderState::InForce;
                part.rules.kinds().iter().map(|kind| kind.order.is_none_or(in_force)).collect()
            })
            .collect();
        let several = build::several(&index, &active);
        Self { index, active, several }
    }

    /// Shows one rule, if it is in force and its scope covers a name `below` labels under it.
    fn show<'a>(&'a self, id: u32, below: usize, visit: &mut impl FnMut(Match<'a>)) {
        let (found, in_force) = self.look(id, below);
        if found.kind.scope.covers(below) && in_force {
            visit(found);
        }
    }

    /// One rule as the match of a name `below` labels under it, and whether it is in force.
    fn look(&self, id: u32, below: usize) -> (Match<'_>, bool) {
        let (part, local) = self.index.locate(id);
        let Part { list, rules, .. } = &self.index.parts[part];
        let (kind_index, kind) = rules.kind(local);
        let found = Match { id, list: *list, part: part as u32, kind, below: below as u8 };
        (found, self.active[part][kind_index as usize])
    }
}

impl Index {
    /// Shows `visit` for `name` and every name above it that some rule has: how many labels that leaves out, and the
    /// rule; from the top label down.
    #[inline]
    fn suffixes(&self, name: &NameBuf, mut visit: impl FnMut(usize, Slot)) {
        let mut hash = self.key.hasher();
        let mut depths = self.depths;
        for skip in (0..name.label_count()).rev() {
            depths >>= 1;
            if depths == 0 {
                break;
            }
            hash.label(name.label(skip));
            if depths & 1 == 1
                && let Some(slot) = self.find(hash.value(), name, skip)
            {
                visit(skip, slot);
            }
        }
    }

    /// The first rule of exactly this name from its `skip`-th label on, if some rule has it.
    #[inline]
    fn find(&self, hash: u64, name: &NameBuf, skip: usize) -> Option<Slot> {
        match &self.lookup {
            Lookup::Table(table) => table.find(hash, |rule| self.is_named(rule, name, skip)),
            Lookup::Map { map, places } => {
                let number = map.get(hash)?;
                let (part, place) = locate(places, number >> 1)?;
                let rule = self.parts[part].find(place, name, skip)?;
                Some(Slot { rule: self.starts[part] + rule, several: number & 1 == 1 })
            }
        }
    }

    /// Rule number `id`, the first of its file with its name that is not held, has the name from its `skip`-th label on.
    #[inline]
    fn is_named(&self, id: u32, name: &NameBuf, skip: usize) -> bool {
        let (part, local) = self.locate(id);
        let part = &self.parts[part];
        part.find(part.rules.place_of(local), name, skip) == Some(local)
    }

    /// Which part rule number `id` is in, and its number there.
    fn locate(&self, id: u32) -> (usize, u32) {
        // Rule numbers come from here, so that there is one.
        locate(&self.starts, id).unwrap_or_default()
    }

    /// The other rules with the name of a slot.
    fn group(&self, slot: Slot) -> impl Iterator<Item = u32> {
        let groups = if slot.several { &*self.groups } else { &[] };
        let from = groups.partition_point(|&(head, _)| head < slot.rule);
        groups[from..].iter().take_while(move |&&(head, _)| head == slot.rule).map(|&(_, id)| id)
    }
}

/// Which of several neighbours number `id` is in, and its number there, if it is in one.
#[inline]
fn locate(starts: &[u32], id: u32) -> Option<(usize, u32)> {
    // Most sets have a handful of parts; a folder of orders may have thousands.
    let part = if starts.len() == 2 { 0 } else { starts.partition_point(|&start| start <= id).checked_sub(1)? };
    (id < *starts.get(part + 1)?).then(|| (part, id - starts[part]))
}

/// More rules than a set can number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyRules(pub u64);

impl std::fmt::Display for TooManyRules {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the lists hold {} rules together; a set can hold {} (2^30)", self.0, table::MAX_RULES)
    }
}

impl std::error::Error for TooManyRules {}

/// The sort of effect that competes within a list: exceptions do not hide blocks, nor the other way round.
fn is_exception(effect: &Effect) -> bool {
    matches!(effect, Effect::Allow)
}

/// What makes two rules of one name decide alike: the earlier of them is enough.
fn same_say(kind: &Kind) -> (Scope, bool) {
    (kind.scope, is_exception(&kind.effect))
}

#[cfg(test)]
mod tests;
