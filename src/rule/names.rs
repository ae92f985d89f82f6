//! The names of a file: as they came where there are few, sorted and coded where there are many.

use super::blocks::{Blocks, Reader};
use crate::name::NameBuf;

/// Names by rule number. A *place* is what an index over several files points at; a few rules may share one.
#[derive(Debug)]
pub enum Names {
    /// In the order of the file; each has a place of its own. Found and read at once.
    Plain(Plain),
    /// Sorted; the names of a block share a place. A third of the room, some 40 ns more to be found.
    Sorted(Blocks),
}

/// Names on the wire, one after the other.
#[derive(Debug)]
pub struct Plain {
    /// The names.
    pub bytes: Vec<u8>,
    /// Where each starts, and where the last one ends.
    pub offsets: Vec<u32>,
}

impl Plain {
    /// Name number `index` on the wire.
    pub fn name(&self, index: u32) -> &[u8] {
        let at = index as usize;
        &self.bytes[self.offsets[at] as usize..self.offsets[at + 1] as usize]
    }
}

impl Names {
    /// How many places there are.
    pub fn places(&self) -> u32 {
        match self {
            Self::Plain(plain) => plain.offsets.len() as u32 - 1,
            Self::Sorted(blocks) => blocks.blocks(),
        }
    }

    /// The place of rule number `index`.
    pub fn place_of(&self, index: u32) -> u32 {
        match self {
            Self::Plain(_) => index,
            Self::Sorted(_) => Blocks::block_of(index),
        }
    }

    /// The first rule at `place` whose name is `name` from its `skip`-th label on.
    #[inline]
    pub fn find(&self, place: u32, name: &NameBuf, skip: usize) -> Option<u32> {
        match self {
            Self::Plain(plain) => (plain.name(place) == name.suffix(skip)).then_some(place),
            Self::Sorted(blocks) => blocks.find(place, name, skip),
        }
    }

    /// Writes the name of rule number `index`.
    pub fn name(&self, index: u32, name: &mut NameBuf) {
        match self {
            Self::Plain(plain) => set(name, plain.name(index)),
            Self::Sorted(blocks) => blocks.name(index, name),
        }
    }

    /// All names by their numbers.
    pub fn walk(&self) -> Walk<'_> {
        match self {
            Self::Plain(plain) => Walk::Plain(plain, 0),
            Self::Sorted(blocks) => Walk::Sorted(blocks.read_from(0)),
        }
    }

    /// Heap bytes.
    pub fn heap(&self) -> usize {
        match self {
            Self::Plain(plain) => plain.bytes.len() + 4 * plain.offsets.len(),
            Self::Sorted(blocks) => blocks.heap(),
        }
    }
}

/// A walk over all names.
pub enum Walk<'a> {
    /// The names, and the number of the next one.
    Plain(&'a Plain, u32),
    /// A reader.
    Sorted(Reader<'a>),
}

impl Walk<'_> {
    /// Writes the next name, and gives the number of its rule.
    pub fn next(&mut self, name: &mut NameBuf) -> Option<u32> {
        match self {
            Self::Plain(plain, next) => {
                let index = *next;
                if index as usize + 1 >= plain.offsets.len() {
                    return None;
                }
                *next += 1;
                set(name, plain.name(index));
                Some(index)
            }
            Self::Sorted(reader) => reader.next(name),
        }
    }
}

/// Writes a name that was one before.
fn set(name: &mut NameBuf, wire: &[u8]) {
    let set = name.set_wire(wire);
    debug_assert!(set.is_ok(), "no name: {wire:?}");
}
