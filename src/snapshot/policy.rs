//! Which lists hold for which client, and what it is answered.

use std::net::IpAddr;
use std::sync::Arc;

use super::{Decision, Snapshot, goes_before};
use crate::limit::{Door, Prefixes};
use crate::name::NameBuf;
use crate::policy::{Answer, Blocked};
use crate::rule::{Effect, Mode};
use crate::set::Match;

/// The most groups there may be.
pub const MAX_GROUPS: usize = 1000;

/// What sets the clients of one group apart.
#[derive(Clone, Debug)]
pub struct Group {
    /// Its name.
    pub name: Arc<str>,
    /// The lists that hold for it.
    pub lists: Lists,
    /// Of every list, the answer of its hits, as a place in [`Clients::answers`]; `None`: what the list says.
    pub answers: Option<Box<[u32]>>,
    /// No list holds for it, and nothing its clients ask for is a hit.
    pub exempt: bool,
    /// Its hits are for those who take hits; if not, they are only counted.
    pub statistics: bool,
    /// Its place in the counters, the same over all reloads.
    pub slot: usize,
}

/// A set of lists, by their places in the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lists(Option<Box<[u64]>>);

impl Lists {
    /// All there are.
    pub const ALL: Self = Self(None);

    /// Those at these places.
    pub fn only(places: impl IntoIterator<Item = usize>) -> Self {
        let mut bits: Vec<u64> = Vec::new();
        for place in places {
            let word = place / 64;
            if bits.len() <= word {
                bits.resize(word + 1, 0);
            }
            bits[word] |= 1 << (place % 64);
        }
        Self(Some(bits.into()))
    }

    /// Whether a list is one of them.
    pub fn has(&self, list: u16) -> bool {
        let Some(bits) = &self.0 else { return true };
        bits.get(usize::from(list) / 64).is_some_and(|word| word >> (list % 64) & 1 == 1)
    }
}

/// Whom which policy holds for.
#[derive(Clone, Debug, Default)]
pub struct Clients {
    /// Numbers of groups by address; 0: none.
    pub prefixes: Arc<Prefixes<u16>>,
    /// The same by [`Door::number`].
    pub doors: Box<[u16]>,
    /// Number 1 and those after it.
    pub groups: Box<[Group]>,
    /// What groups have answered otherwise than lists say.
    pub answers: Box<[Answer]>,
}

impl Clients {
    /// The number of the group of a client: what its door says, else what its address says; 0: it is in none.
    fn find(&self, client: IpAddr, door: Door) -> u16 {
        match self.doors.get(door.number()) {
            Some(&group) if group != 0 => group,
            _ => self.prefixes.find(client),
        }
    }

    /// By its number.
    pub(super) fn group(&self, number: u16) -> Option<&Group> {
        self.groups.get(usize::from(number).checked_sub(1)?)
    }
}

/// What holds for one client.
#[derive(Clone, Copy, Debug)]
pub struct Policy<'a> {
    snapshot: &'a Snapshot,
    group: Option<(u16, &'a Group)>,
}

impl<'a> Policy<'a> {
    /// For whom nothing special holds.
    pub(super) fn of_all(snapshot: &'a Snapshot) -> Self {
        Self { snapshot, group: None }
    }

    /// For a client.
    #[inline]
    pub(super) fn of_client(snapshot: &'a Snapshot, client: IpAddr, door: Door) -> Self {
        let Some(clients) = &snapshot.clients else { return Self::of_all(snapshot) };
        let number = clients.find(client, door);
        Self { snapshot, group: clients.group(number).map(|group| (number, group)) }
    }

    /// The same under the rules of another snapshot, of which it is a canary.
    pub(super) fn under(self, snapshot: &'a Snapshot) -> Self {
        Self { snapshot, ..self }
    }

    /// The rules and lists.
    pub fn snapshot(&self) -> &'a Snapshot {
        self.snapshot
    }

    /// The client's group, if it is in one.
    pub fn group(&self) -> Option<&'a Group> {
        self.group.map(|(_, group)| group)
    }

    /// Its number; 0: it is in none.
    pub fn number(&self) -> u16 {
        self.group.map_or(0, |(number, _)| number)
    }

    /// Nothing is blocked or counted.
    pub fn is_exempt(&self) -> bool {
        self.group().is_some_and(|group| group.exempt)
    }

    /// Stands for what was decided under this policy: it differs from that of every other policy and snapshot.
    pub fn stamp(&self) -> u64 {
        self.snapshot.generation << 16 | u64::from(self.number())
    }

    /// Stands for what every policy of this snapshot decides alike.
    pub fn stamp_of_all(&self) -> u64 {
        self.snapshot.generation << 16 | u64::from(u16::MAX)
    }

    /// Whether a list holds.
    #[inline]
    pub fn has(&self, list: u16) -> bool {
        self.group.is_none_or(|(_, group)| !group.exempt && group.lists.has(list))
    }

    /// Decides about a name (DESIGN section 2, precedence).
    pub fn decide(&self, name: &NameBuf) -> Decision<'a> {
        let mut decision = Decision::default();
        let mut seen = 0;
        self.snapshot.set.matches(name, |found| {
            decision.known = true;
            // Nothing holds for who is exempt.
            if !self.has(found.list) {
                return;
            }
            seen += 1;
            let list = &self.snapshot.lists[usize::from(found.list)];
            let place = match (&found.kind.effect, list.mode) {
                (Effect::Allow, Mode::Enforce) => &mut decision.allow,
                // An exception on trial excepts nothing.
                (Effect::Allow, Mode::Shadow) => return,
                (_, Mode::Enforce) => &mut decision.block,
                (_, Mode::Shadow) => &mut decision.shadow,
            };
            if place.as_ref().is_none_or(|held| goes_before(&found, held)) {
                *place = Some(found);
            }
        });
        decision.alone = seen == 1;
        decision
    }

    /// What an answer needs to know of a match; `below` is 0 when a target of the answer matched.
    pub fn blocked(&self, found: &Match<'_>, below: usize) -> Blocked<'a> {
        let snapshot = self.snapshot;
        let place = usize::from(found.list);
        let rule = snapshot.set.rule(found.id);
        let list = &snapshot.lists[place];
        let other = self.group().and_then(|group| group.answers.as_deref()?.get(place));
        let answers = snapshot.clients.as_ref().map(|clients| &clients.answers);
        let answer = other.and_then(|&other| answers?.get(other as usize));
        Blocked {
            list,
            answer: answer.unwrap_or(&list.answer),
            effect: &rule.kind.effect,
            order: rule.order.map(AsRef::as_ref),
            below,
            serial: snapshot.generation as u32,
        }
    }
}
