//! The records of a zone by owner: several lines of local data are one rule.

use std::sync::Arc;

use super::token::Token;
use crate::list::entry::Reason;
use crate::list::rpz::data::Data;
use crate::list::sink::Sink;
use crate::name::NameBuf;
use crate::rule::{Effect, LocalData, Role, RpzAction, Scope};

/// The most records of one owner: more would not fit an answer.
const MAX_RECORDS: usize = 256;

/// One record of a trigger.
struct Entry<'a> {
    /// Where its name starts in the arena.
    start: usize,
    len: u8,
    scope: Scope,
    token: Token<'a>,
    data: Data,
}

/// All records so far, in file order.
#[derive(Default)]
pub(super) struct Gathered<'a> {
    /// Wire names, one behind the other.
    names: Vec<u8>,
    entries: Vec<Entry<'a>>,
}

impl<'a> Gathered<'a> {
    /// One more record; `token` is what a rejection shows.
    pub fn push(&mut self, name: &NameBuf, scope: Scope, token: Token<'a>, data: Data) {
        let start = self.names.len();
        self.names.extend_from_slice(name.wire());
        self.entries.push(Entry { start, len: name.wire().len() as u8, scope, token, data });
    }

    /// Brings the records of each owner together and makes rules of them, in the order of their first lines.
    pub fn finish(mut self, sink: &mut Sink<'_>) {
        let names = std::mem::take(&mut self.names);
        let name = |entry: &Entry<'_>| names.get(entry.start..entry.start + usize::from(entry.len)).unwrap_or_default();
        // Stable, so that the records of an owner stay in file order.
        self.entries.sort_by(|a, b| (name(a), a.scope).cmp(&(name(b), b.scope)));
        let mut rules = Vec::new();
        for group in self.entries.chunk_by(|a, b| a.scope == b.scope && name(a) == name(b)) {
            let Some(first) = group.first() else { continue };
            let action = merge(group, sink);
            match effect(action, sink.spec().role) {
                Ok(effect) => rules.push((first, effect)),
                Err(reason) => sink.reject(first.token.line, first.token.at, first.token.text, reason),
            }
        }
        rules.sort_by_key(|(first, _)| first.start);
        let mut buffer = NameBuf::new();
        for (first, effect) in rules {
            // The names come from a `NameBuf`, so this cannot fail.
            if buffer.set_wire(name(first)).is_err() {
                continue;
            }
            // Like every format: a list's own `scope` goes for what carries no mark.
            let scope = match sink.spec().scope {
                Some(scope) if first.scope == Scope::Exact => scope,
                _ => first.scope,
            };
            sink.add(&buffer, first.token.line.number, scope, effect, None);
        }
    }
}

/// The action of one owner: its first record decides what may stand beside it.
fn merge(group: &[Entry<'_>], sink: &mut Sink<'_>) -> RpzAction {
    let mut decided: Option<RpzAction> = None;
    let mut local = LocalData::default();
    for entry in group {
        let reason = match (&entry.data, &decided) {
            (Data::Action(action), None) if local == LocalData::default() => {
                decided = Some(action.clone());
                continue;
            }
            (Data::Cname(target), None) if local == LocalData::default() => {
                local.cname = Some(target.clone());
                continue;
            }
            (Data::Record(record), None) if local.cname.is_none() && local.records.len() < MAX_RECORDS => {
                if local.records.contains(record) {
                    sink.skip();
                } else {
                    local.records.push(record.clone());
                }
                continue;
            }
            (Data::Action(action), Some(known)) if action == known => {
                sink.skip();
                continue;
            }
            (Data::Cname(target), None) if local.cname.as_ref() == Some(target) => {
                sink.skip();
                continue;
            }
            (Data::Record(_), None) if local.cname.is_none() => "more than 256 records of one owner",
            (Data::Record(_), _) => "local data beside a CNAME of the same owner, which stands first and is used",
            (_, None) if local.cname.is_none() => {
                "a CNAME beside local data of the same owner, which stands first and is used"
            }
            _ => "a second, different CNAME of the same owner; the first is used",
        };
        sink.reject(entry.token.line, entry.token.at, entry.token.text, Reason::Other(reason));
    }
    decided.unwrap_or_else(|| RpzAction::Local(Arc::new(local)))
}

/// What an action does in a list of this role.
fn effect(action: RpzAction, role: Role) -> Result<Effect, Reason> {
    match (role, action) {
        (Role::Block, action) => Ok(Effect::Rpz(action)),
        (Role::Allow, RpzAction::Passthru) => Ok(Effect::Allow),
        (Role::Allow, _) => Err(Reason::Other("in an allow list only `CNAME rpz-passthru.` means something")),
    }
}
