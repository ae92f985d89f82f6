//! The rules of one file in as few bytes as possible; a set refers to them where they lie.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Effect, Order, Scope};
use crate::name::NameBuf;

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
#[derive(Debug, Default)]
pub struct FileRules {
    path: Arc<str>,
    names: Box<[u8]>,
    offsets: Box<[u32]>,
    lines: Box<[u32]>,
    kind_of: Box<[u32]>,
    kinds: Box<[Kind]>,
    orders: Box<[Arc<Order>]>,
}

/// One rule of a [`FileRules`].
#[derive(Clone, Copy, Debug)]
pub struct RuleView<'a> {
    /// The pattern's name: lower-case wire bytes, root octet included.
    pub name: &'a [u8],
    /// Line in the file, from 1.
    pub line: u32,
    /// Index into [`FileRules::kinds`].
    pub kind_index: u32,
    /// Scope, effect and order.
    pub kind: &'a Kind,
    /// The order it rests on, if it names one.
    pub order: Option<&'a Arc<Order>>,
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
        let at = index as usize;
        let (kind_index, kind) = self.kind(index);
        let order = kind.order.map(|order| &self.orders[order as usize]);
        RuleView { name: self.name(index), line: self.lines[at], kind_index, kind, order }
    }

    /// Only the name of rule number `index`.
    pub fn name(&self, index: u32) -> &[u8] {
        let at = index as usize;
        &self.names[self.offsets[at] as usize..self.offsets[at + 1] as usize]
    }

    /// Only the kind of rule number `index`, and its number.
    pub fn kind(&self, index: u32) -> (u32, &Kind) {
        let number = self.kind_of[index as usize];
        (number, &self.kinds[number as usize])
    }

    /// All rules in file order.
    pub fn iter(&self) -> impl Iterator<Item = RuleView<'_>> {
        (0..self.len() as u32).map(|index| self.rule(index))
    }

    /// The distinct kinds.
    pub fn kinds(&self) -> &[Kind] {
        &self.kinds
    }

    /// The orders of the file.
    pub fn orders(&self) -> &[Arc<Order>] {
        &self.orders
    }

    /// Heap bytes of names, offsets, lines and kind numbers: what grows with every rule.
    pub fn bytes(&self) -> usize {
        self.names.len() + 4 * (self.offsets.len() + self.lines.len() + self.kind_of.len())
    }
}

/// Collects the rules of one file.
#[derive(Debug)]
pub struct RulesBuilder {
    path: Arc<str>,
    names: Vec<u8>,
    offsets: Vec<u32>,
    lines: Vec<u32>,
    kind_of: Vec<u32>,
    kinds: Vec<Kind>,
    kind_index: HashMap<Kind, u32>,
    last_kind: Option<u32>,
    orders: Vec<Arc<Order>>,
    order_index: HashMap<Arc<Order>, u32>,
}

impl RulesBuilder {
    /// For the file called `path`, with room for about `bytes` of text.
    pub fn new(path: Arc<str>, bytes: usize) -> Self {
        let rules = bytes / 24;
        Self {
            path,
            names: Vec::with_capacity(bytes),
            offsets: Vec::with_capacity(rules),
            lines: Vec::with_capacity(rules),
            kind_of: Vec::with_capacity(rules),
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
        let Ok(offset) = u32::try_from(self.names.len()) else { return false };
        if u32::try_from(self.names.len() + crate::name::MAX_WIRE).is_err() {
            return false;
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
        self.names.extend_from_slice(name.wire());
        self.offsets.push(offset);
        self.lines.push(line);
        self.kind_of.push(kind);
        true
    }

    /// How many rules so far.
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// No rules so far.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Closes the table.
    pub fn build(mut self) -> FileRules {
        self.offsets.push(self.names.len() as u32);
        FileRules {
            path: self.path,
            names: self.names.into_boxed_slice(),
            offsets: self.offsets.into_boxed_slice(),
            lines: self.lines.into_boxed_slice(),
            kind_of: self.kind_of.into_boxed_slice(),
            kinds: self.kinds.into_boxed_slice(),
            orders: self.orders.into_boxed_slice(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_went_in_comes_out() {
        let mut builder = RulesBuilder::new("a.txt".into(), 100);
        let order = builder.order(Order { id: "1/25".into(), ..Order::default() });
        let mut name = NameBuf::new();
        for (line, text) in ["a.example", "b.example"].into_iter().enumerate() {
            name.parse(text).expect("a name");
            let kind = Kind { scope: Scope::Subtree, effect: Effect::Block, order: Some(order) };
            assert!(builder.push(&name, line as u32 + 1, kind));
        }
        let rules = builder.build();
        assert_eq!(rules.len(), 2);
        assert_eq!(rules.kinds().len(), 1);
        let second = rules.rule(1);
        assert_eq!((second.name, second.line), (&b"\x01b\x07example\0"[..], 2));
        assert_eq!(second.order.map(|o| o.id.as_str()), Some("1/25"));
    }
}
