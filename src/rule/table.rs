//! The rules of one file in as few bytes as possible; a set refers to them where they lie.

use std::collections::HashMap;
use std::sync::Arc;

use super::names::{Names, Plain, Walk};
use super::runs::{Facts, RUN, Runs};
use super::{Effect, Order, Scope};
use crate::name::NameBuf;
use crate::util::Packed;

/// The most rules of a file whose names are kept as they came.
const PLAIN: usize = 1 << 17;

/// What many rules of a file have in common, stored once.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Kind {
    /// Which names the pattern covers.
    pub scope: Scope,
    /// What happens to a match.
    pub effect: Effect,
    /// Index into [`FileRules::orders`].
    pub order: Option<u32>,
}

/// The rules of one file (or of one last good copy of it), immutable.
///
/// Rules are numbered from 0: in the order of the file where there are few, by name (labels from the top down) where
/// there are many. Rules of one name are always numbered in the order of the file.
#[derive(Debug)]
pub struct FileRules {
    path: Arc<str>,
    names: Names,
    lines: Packed,
    kind_of: Packed,
    kinds: Box<[Kind]>,
    orders: Box<[Arc<Order>]>,
}

/// One rule of a [`FileRules`].
#[derive(Clone, Copy, Debug)]
pub struct RuleView<'a> {
    rules: &'a FileRules,
    index: u32,
    /// Line in the file, from 1.
    pub line: u32,
    /// Index into [`FileRules::kinds`].
    pub kind_index: u32,
    /// Scope, effect and order.
    pub kind: &'a Kind,
    /// The order it rests on, if it names one.
    pub order: Option<&'a Arc<Order>>,
}

impl RuleView<'_> {
    /// The pattern's name. May have to be put together from its neighbours: for reports, not for queries.
    pub fn name(&self) -> NameBuf {
        let mut name = NameBuf::new();
        self.rules.name(self.index, &mut name);
        name
    }
}

impl FileRules {
    /// The file as the operator wrote it in the configuration (joined with the folder's entry).
    pub fn path(&self) -> &Arc<str> {
        &self.path
    }

    /// How many rules.
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// No rules.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Rule number `index`, which must be below [`Self::len`].
    pub fn rule(&self, index: u32) -> RuleView<'_> {
        let (kind_index, kind) = self.kind(index);
        let order = kind.order.map(|order| &self.orders[order as usize]);
        RuleView { rules: self, index, line: self.lines.get(index as usize), kind_index, kind, order }
    }

    /// Writes only the name of rule number `index`.
    pub fn name(&self, index: u32, name: &mut NameBuf) {
        self.names.name(index, name);
    }

    /// Only the kind of rule number `index`, and its number.
    pub fn kind(&self, index: u32) -> (u32, &Kind) {
        let number = self.kind_of.get(index as usize);
        (number, &self.kinds[number as usize])
    }

    /// All rules in the order of their lines.
    pub fn iter(&self) -> impl Iterator<Item = RuleView<'_>> {
        let mut order: Vec<u32> = (0..self.len() as u32).collect();
        order.sort_by_key(|&index| self.lines.get(index as usize));
        order.into_iter().map(|index| self.rule(index))
    }

    /// All names by their numbers: much quicker than one by one.
    pub fn names(&self) -> Walk<'_> {
        self.names.walk()
    }

    /// How many places an index over names can point at.
    pub fn places(&self) -> u32 {
        self.names.places()
    }

    /// The place of rule number `index`.
    pub fn place_of(&self, index: u32) -> u32 {
        self.names.place_of(index)
    }

    /// The first rule at `place` whose name is `name` from its `skip`-th label on.
    #[inline]
    pub fn find(&self, place: u32, name: &NameBuf, skip: usize) -> Option<u32> {
        self.names.find(place, name, skip)
    }

    /// The distinct kinds.
    pub fn kinds(&self) -> &[Kind] {
        &self.kinds
    }

    /// The orders of the file.
    pub fn orders(&self) -> &[Arc<Order>] {
        &self.orders
    }

    /// Heap bytes of names, lines and kind numbers: what grows with every rule.
    pub fn bytes(&self) -> usize {
        self.names.heap() + self.lines.bytes() + self.kind_of.bytes()
    }
}

/// Collects the rules of one file.
#[derive(Debug)]
pub struct RulesBuilder {
    path: Arc<str>,
    /// What came since the last run was closed.
    names: Plain,
    facts: Facts,
    runs: Runs,
    /// Room for so many rules in `names` and `facts`.
    limit: usize,
    /// What the names may take at most.
    room: u64,
    kinds: Vec<Kind>,
    kind_index: HashMap<Kind, u32>,
    last_kind: Option<u32>,
    orders: Vec<Arc<Order>>,
    order_index: HashMap<Arc<Order>, u32>,
}

impl RulesBuilder {
    /// For the file called `path`, with room for about `bytes` of text.
    pub fn new(path: Arc<str>, bytes: usize) -> Self {
        Self::with_plain(path, bytes, PLAIN)
    }

    /// The same with another limit than [`PLAIN`], which tests cannot wait for.
    pub(crate) fn with_plain(path: Arc<str>, bytes: usize, plain: usize) -> Self {
        let rules = (bytes / 24).min(plain);
        let mut offsets = Vec::with_capacity(rules + 1);
        offsets.push(0);
        Self {
            path,
            names: Plain { bytes: Vec::with_capacity(bytes.min(24 * plain)), offsets },
            facts: Facts { lines: Vec::with_capacity(rules), kinds: Vec::with_capacity(rules) },
            runs: Runs::default(),
            limit: plain.max(1),
            room: u64::from(u32::MAX),
            kinds: Vec::new(),
            kind_index: HashMap::new(),
            last_kind: None,
            orders: Vec::new(),
            order_index: HashMap::new(),
        }
    }

    /// Adds an order and gives the index rules refer to it by; an equal one is stored once.
    pub fn order(&mut self, order: Order) -> u32 {
        // Registers repeat an order on neighbouring rows, where comparing is cheaper than hashing.
        if let Some(last) = self.orders.last()
            && **last == order
        {
            return self.orders.len() as u32 - 1;
        }
        if let Some(&known) = self.order_index.get(&order) {
            return known;
        }
        let index = self.orders.len() as u32;
        let order = Arc::new(order);
        self.orders.push(Arc::clone(&order));
        self.order_index.insert(order, index);
        index
    }

    /// The orders so far, by index.
    pub fn orders(&self) -> &[Arc<Order>] {
        &self.orders
    }

    /// Adds a rule. Returns false, adding nothing, if the file's names no longer fit 4 GiB.
    #[must_use]
    pub fn push(&mut self, name: &NameBuf, line: u32, kind: Kind) -> bool {
        // However odd its bytes are, a name never takes more than this, lengths included.
        let Some(room) = self.room.checked_sub(3 * name.wire().len() as u64 + 8) else { return false };
        self.room = room;
        if self.facts.lines.len() == self.limit {
            self.close();
        }
        let kind = match self.last_kind {
            Some(last) if self.kinds[last as usize] == kind => last,
            _ => match self.kind_index.get(&kind) {
                Some(&known) => known,
                None => {
                    let new = self.kinds.len() as u32;
                    self.kinds.push(kind.clone());
                    self.kind_index.insert(kind, new);
                    new
                }
            },
        };
        self.last_kind = Some(kind);
        self.names.bytes.extend_from_slice(name.wire());
        self.names.offsets.push(self.names.bytes.len() as u32);
        self.facts.lines.push(line);
        self.facts.kinds.push(kind);
        true
    }

    /// How many rules so far.
    pub fn len(&self) -> usize {
        self.runs.len() + self.facts.lines.len()
    }

    /// No rules so far.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Closes the table.
    pub fn build(mut self) -> FileRules {
        let (names, lines, kind_of) = if self.runs.len() == 0 {
            let Plain { mut bytes, mut offsets } = self.names;
            bytes.shrink_to_fit();
            offsets.shrink_to_fit();
            let (lines, kind_of) = (Packed::of(&self.facts.lines), Packed::of(&self.facts.kinds));
            (Names::Plain(Plain { bytes, offsets }), lines, kind_of)
        } else {
            self.close();
            // Not needed for what comes, and large.
            drop((self.names, self.facts));
            let (blocks, lines, kind_of) = self.runs.merge();
            (Names::Sorted(blocks), lines, kind_of)
        };
        let (kinds, orders) = (self.kinds.into_boxed_slice(), self.orders.into_boxed_slice());
        FileRules { path: self.path, names, lines, kind_of, kinds, orders }
    }

    /// Sorts what came since the last call.
    fn close(&mut self) {
        self.runs.add(&self.names, &self.facts);
        self.names.bytes.clear();
        self.names.offsets.truncate(1);
        self.facts.lines.clear();
        self.facts.kinds.clear();
        if self.limit > RUN {
            self.limit = RUN;
            self.names.bytes.shrink_to(24 * RUN);
            self.names.offsets.shrink_to(RUN + 1);
            self.facts.lines.shrink_to(RUN);
            self.facts.kinds.shrink_to(RUN);
        }
    }
}

#[cfg(test)]
mod tests;
