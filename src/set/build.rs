//! Compiling: every rule that is not held is entered once, names met again go to the side arrays.

use super::table::{MAX_RULES, Table};
use super::{Index, Part, TooManyRules, same_say};

/// Enters all rules of all parts.
pub fn index(mut parts: Vec<Part>) -> Result<Index, TooManyRules> {
    // Config order decides between lists, and equal names keep the order of their parts.
    parts.sort_by_key(|part| part.list);
    let total: u64 = parts.iter().map(|part| part.rules.len() as u64).sum();
    if total >= MAX_RULES {
        return Err(TooManyRules(total));
    }
    let mut starts = Vec::with_capacity(parts.len() + 1);
    let mut next = 0_u32;
    for part in &parts {
        starts.push(next);
        next += part.rules.len() as u32;
    }
    starts.push(next);
    let table = Table::new(total as usize, total);
    let mut index = Index { parts: parts.into(), starts: starts.into(), table, groups: Box::default() };
    let mut table = std::mem::replace(&mut index.table, Table::new(0, 0));
    let mut groups = Vec::new();
    for (part, &start) in index.parts.iter().zip(&index.starts) {
        let mut held = part.held.iter().peekable();
        for local in 0..part.rules.len() as u32 {
            if held.next_if_eq(&&local).is_some() {
                continue;
            }
            let name = part.rules.name(local);
            let hash = table.hash(name);
            if let Some(first) = table.insert(hash, start + local, |rule| index.name(rule) == name) {
                groups.push((first, start + local));
            }
        }
    }
    groups.sort_unstable();
    index.table = table;
    index.groups = groups.into();
    Ok(index)
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
