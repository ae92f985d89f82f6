//! Compiling: every rule that is not held is entered once, names met again go to the side arrays.

use super::hash::HashKey;
use super::map::{self, Map, entry, hash_of};
use super::table::{MAX_RULES, Table};
use super::{Index, Lookup, Part, TooManyRules, locate, same_say};
use crate::name::NameBuf;

/// Attempts at a map with other keys, before a table has to do.
const ATTEMPTS: usize = 3;

/// The first rule of a name, and each further one.
type Groups = Vec<(u32, u32)>;

/// What is only chosen otherwise by tests.
#[derive(Clone, Copy, Debug)]
pub struct Tuning {
    /// Up to so many rules a table is made, above that a map: half the room, but six reads in place of one for a
    /// listed name.
    pub table: usize,
    /// So many names to a shard of a map.
    pub shard: usize,
}

impl Default for Tuning {
    fn default() -> Self {
        Self { table: 1 << 17, shard: 1 << 17 }
    }
}

/// Enters all rules of all parts.
pub fn index(mut parts: Vec<Part>, tuning: Tuning) -> Result<Index, TooManyRules> {
    // Config order decides between lists, and equal names keep the order of their parts.
    parts.sort_by_key(|part| part.list);
    let total: u64 = parts.iter().map(|part| part.rules.len() as u64).sum();
    if total >= MAX_RULES {
        return Err(TooManyRules(total));
    }
    let mut index = Index {
        starts: running_sum(parts.iter().map(|part| part.rules.len() as u32)),
        parts: parts.into(),
        key: HashKey::default(),
        depths: 0,
        lookup: Lookup::Table(Table::new(0, 0)),
        groups: Box::default(),
    };
    let mapped = total > tuning.table as u64 && (0..ATTEMPTS).any(|_| index.map(tuning.shard));
    if !mapped {
        index.table();
    }
    Ok(index)
}

impl Index {
    /// Makes the table.
    fn table(&mut self) {
        let total = self.starts.last().copied().unwrap_or(0);
        let mut table = Table::new(total as usize, total.into());
        let mut groups = Vec::new();
        let mut depths = 0;
        self.walk(|id, name| {
            depths |= 1 << name.label_count();
            if let Some(first) = table.insert(self.key.of(name), id, |other| self.is_named(other, name, 0)) {
                groups.push((first, id));
            }
        });
        groups.sort_unstable();
        self.depths = depths;
        self.lookup = Lookup::Table(table);
        self.groups = groups.into();
    }

    /// Makes the map; false if two names have the same hash under this key, and there is another key then.
    fn map(&mut self, shard: usize) -> bool {
        let total = self.starts.last().copied().unwrap_or(0);
        let mut entries = Vec::with_capacity(total as usize);
        let mut depths = 0;
        self.walk(|id, name| {
            depths |= 1 << name.label_count();
            entries.push(entry(self.key.of(name), id));
        });
        entries.sort_unstable();
        let Some((lookup, groups)) = self.mapped(entries, shard) else {
            self.key = HashKey::default();
            return false;
        };
        self.depths = depths;
        self.lookup = lookup;
        self.groups = groups.into();
        true
    }

    /// The map of sorted hashes and rule numbers, and the rules of names with several.
    fn mapped(&self, mut entries: Vec<map::Entry>, shard: usize) -> Option<(Lookup, Groups)> {
        let mut groups = self.same_names(&mut entries)?;
        groups.sort_unstable();
        let places = running_sum(self.parts.iter().map(|part| part.rules.places()));
        for entry in &mut entries {
            let id = entry[2];
            let several = groups.binary_search_by_key(&id, |&(first, _)| first).is_ok();
            let (part, local) = locate(&self.starts, id)?;
            let place = places[part] + self.parts[part].rules.place_of(local);
            entry[2] = place << 1 | u32::from(several);
        }
        Map::new(&entries, shard).map(|map| (Lookup::Map { map, places }, groups))
    }

    /// Takes out the entries whose names came before, and gives each with the first of its name. `None` if two
    /// different names have the same hash.
    fn same_names(&self, entries: &mut Vec<map::Entry>) -> Option<Groups> {
        let (mut first, mut other) = (NameBuf::new(), NameBuf::new());
        let (mut groups, mut told) = (Groups::new(), true);
        entries.dedup_by(|entry, kept| {
            if !told || hash_of(entry) != hash_of(kept) {
                return false;
            }
            let (head, id) = (kept[2], entry[2]);
            if groups.last().is_none_or(|&(last, _)| last != head) {
                self.read_name(head, &mut first);
            }
            self.read_name(id, &mut other);
            told = first.wire() == other.wire();
            groups.push((head, id));
            true
        });
        told.then_some(groups)
    }

    /// Shows `visit` the number and name of every rule that is not held.
    pub fn walk(&self, mut visit: impl FnMut(u32, &NameBuf)) {
        let mut name = NameBuf::new();
        for (part, &start) in self.parts.iter().zip(&self.starts) {
            let mut names = part.rules.names();
            let mut held = part.held.iter().peekable();
            while let Some(local) = names.next(&mut name) {
                if held.next_if_eq(&&local).is_none() {
                    visit(start + local, &name);
                }
            }
        }
    }

    /// Writes the name of rule number `id`.
    fn read_name(&self, id: u32, name: &mut NameBuf) {
        let (part, local) = self.locate(id);
        self.parts[part].rules.name(local, name);
    }
}

/// Where each of several neighbours of these lengths starts, and where the last one ends.
fn running_sum(lengths: impl Iterator<Item = u32>) -> Box<[u32]> {
    let mut next = 0;
    let ends = lengths.map(|length| {
        next += length;
        next
    });
    std::iter::once(0).chain(ends).collect()
}

/// For names with several rules: of those in force the first of each list, scope and sort of effect.
///
/// This bounds what a query has to look at by the number of lists, however often a name is listed.
pub fn several(index: &Index, active: &[Box<[bool]>]) -> Box<[(u32, u32)]> {
    let mut several = Vec::new();
    let mut seen = Vec::new();
    for group in index.groups.chunk_by(|a, b| a.0 == b.0) {
        let first = group[0].0;
        seen.clear();
        for id in std::iter::once(first).chain(group.iter().map(|&(_, id)| id)) {
            let (part, local) = index.locate(id);
            let (kind_index, kind) = index.parts[part].rules.kind(local);
            let say = (index.parts[part].list, same_say(kind));
            if active[part][kind_index as usize] && !seen.contains(&say) {
                seen.push(say);
                several.push((first, id));
            }
        }
    }
    several.into()
}
