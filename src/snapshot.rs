//! What one decision needs, swapped together: the set, the policy of each list and of each group of clients, who may
//! ask; and whom new versions of lists are tried on.

mod policy;

pub use policy::{Clients, Group, Lists, MAX_GROUPS, Policy};

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::event::{Attribution, Cause, Outcome};
use crate::limit::{Acl, Door};
use crate::name::NameBuf;
use crate::policy::{Host, ListPolicy};
use crate::rule::{Effect, Mode, RpzAction, Scope, show_pattern};
use crate::set::{Match, Part, Set, TooManyRules};
use crate::util::UnixTime;

/// The most rules named for one hit; a name listed more often than that is a mistake in a list.
const MAX_CAUSES: usize = 1000;

/// Set, policy and generation.
#[derive(Clone, Debug)]
pub struct Snapshot {
    generation: u64,
    set: Set,
    lists: Box<[ListPolicy]>,
    acl: Acl,
    /// `None`: the same holds for all.
    clients: Option<Arc<Clients>>,
    host: Arc<Host>,
    canaries: Box<[Canary]>,
}

/// Clients for whom other rules hold: new versions of lists, on trial.
#[derive(Clone, Debug)]
pub struct Canary {
    clients: Acl,
    /// The lists whose versions are on trial: who is not concerned by any has no part in it.
    lists: Box<[u16]>,
    /// Without canaries of its own.
    snapshot: Arc<Snapshot>,
    queries: Arc<AtomicU64>,
}

impl Canary {
    /// `snapshot`, with other versions of `lists`, holds for `clients`; `queries` counts what they ask.
    pub fn new(clients: Acl, lists: &[u16], snapshot: Arc<Snapshot>, queries: Arc<AtomicU64>) -> Self {
        Self { clients, lists: lists.into(), snapshot, queries }
    }

    /// What holds for them.
    pub fn snapshot(&self) -> &Arc<Snapshot> {
        &self.snapshot
    }
}

/// What the rules say of a name.
#[derive(Clone, Copy, Debug, Default)]
pub struct Decision<'a> {
    /// An allow rule covers it: nothing else counts.
    pub allow: Option<Match<'a>>,
    /// The enforced rule that decides; an RPZ passthru decides for the ordinary answer.
    pub block: Option<Match<'a>>,
    /// The rule of a shadow list that would.
    pub shadow: Option<Match<'a>>,
    /// Just one rule was seen to match.
    pub alone: bool,
    /// Some rule was seen to match, if only of a list that does not hold for this client.
    pub known: bool,
}

impl<'a> Decision<'a> {
    /// The rule to answer by, if the name is blocked.
    pub fn blocked(&self) -> Option<Match<'a>> {
        self.block.filter(|found| self.allow.is_none() && !is_passthru(found))
    }

    /// A rule would have blocked it but for an exception.
    pub fn excepted(&self) -> bool {
        self.block.is_some() && self.blocked().is_none()
    }

    /// The shadow rule to count.
    pub fn shadowed(&self) -> Option<Match<'a>> {
        self.shadow.filter(|found| self.allow.is_none() && !is_passthru(found))
    }
}

impl Snapshot {
    /// Compiles `parts` (whose `list` is an index into `lists`) as of `now`.
    ///
    /// # Errors
    /// More rules than a set can hold.
    pub fn compile(
        generation: u64,
        lists: Vec<ListPolicy>,
        parts: Vec<Part>,
        acl: Acl,
        now: UnixTime,
    ) -> Result<Self, TooManyRules> {
        let set = Set::build(parts, now)?;
        Ok(Self {
            generation,
            set,
            lists: lists.into(),
            acl,
            host: Arc::default(),
            clients: None,
            canaries: Box::default(),
        })
    }

    /// With this told of the server, to all clients.
    pub fn with_host(mut self, host: &Arc<Host>) -> Self {
        for canary in &mut self.canaries {
            Arc::make_mut(&mut canary.snapshot).host = Arc::clone(host);
        }
        Self { host: Arc::clone(host), ..self }
    }

    /// With these clients apart; of two that a client belongs to, the first counts.
    pub fn with_canaries(self, canaries: Vec<Canary>) -> Self {
        Self { canaries: canaries.into(), ..self }
    }

    /// With groups of clients that are apart.
    pub fn with_clients(self, clients: Option<Arc<Clients>>) -> Self {
        Self { clients, ..self }
    }

    /// The same rules with the order dates looked at anew. The canaries get the generations that follow.
    pub fn at(&self, generation: u64, now: UnixTime) -> Self {
        let later = |(number, canary): (u64, &Canary)| Canary {
            snapshot: Arc::new(canary.snapshot.at(number, now)),
            ..canary.clone()
        };
        Self {
            generation,
            set: self.set.at(now),
            lists: self.lists.clone(),
            acl: self.acl.clone(),
            clients: self.clients.clone(),
            host: Arc::clone(&self.host),
            canaries: (generation + 1..).zip(&self.canaries).map(later).collect(),
        }
    }

    /// What holds for this client.
    pub fn of(&self, client: IpAddr, door: Door) -> Policy<'_> {
        let policy = Policy::of_client(self, client, door);
        self.canary_of(client, &policy).map_or(policy, |canary| policy.under(&canary.snapshot))
    }

    /// The same, for a query that just came in: it is counted.
    pub fn enter(&self, client: IpAddr, door: Door) -> Policy<'_> {
        let policy = Policy::of_client(self, client, door);
        match self.canary_of(client, &policy) {
            Some(canary) => {
                canary.queries.fetch_add(1, Ordering::Relaxed);
                policy.under(&canary.snapshot)
            }
            None => policy,
        }
    }

    /// What holds for clients for whom nothing special does.
    pub fn of_all(&self) -> Policy<'_> {
        Policy::of_all(self)
    }

    /// The versions of lists tried on this client.
    fn canary_of(&self, client: IpAddr, policy: &Policy<'_>) -> Option<&Canary> {
        let concerned = |canary: &&Canary| !policy.is_exempt() && canary.lists.iter().any(|&list| policy.has(list));
        self.canaries.iter().find(|canary| canary.clients.allows(client)).filter(concerned)
    }

    /// Clients for whom other rules hold.
    pub fn canaries(&self) -> &[Canary] {
        &self.canaries
    }

    /// The last generation it takes up, its canaries' included.
    pub fn last_generation(&self) -> u64 {
        self.generation + self.canaries.len() as u64
    }

    /// The next moment after `now` at which a rule starts or ends for anybody.
    pub fn next_change(&self, now: UnixTime) -> Option<UnixTime> {
        let sets = std::iter::once(&self.set).chain(self.canaries.iter().map(|canary| &canary.snapshot.set));
        sets.filter_map(|set| set.next_change(now)).min()
    }

    /// Counts publishes.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The compiled rules.
    pub fn set(&self) -> &Set {
        &self.set
    }

    /// The policies of the lists, in configuration order.
    pub fn lists(&self) -> &[ListPolicy] {
        &self.lists
    }

    /// Who may ask.
    pub fn acl(&self) -> &Acl {
        &self.acl
    }

    /// What the server says of itself.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Groups of clients that are apart.
    pub fn clients(&self) -> Option<&Arc<Clients>> {
        self.clients.as_ref()
    }

    /// Decides about a name, for clients for whom nothing special holds.
    pub fn decide(&self, name: &NameBuf) -> Decision<'_> {
        self.of_all().decide(name)
    }

    /// A group by its number.
    fn group_of(&self, number: u16) -> Option<&Group> {
        self.clients.as_ref()?.group(number)
    }

    /// Whether list `other` holds for everybody for whom list `one` does and whose hits are told.
    fn hold_together(&self, one: u16, other: u16) -> bool {
        let groups = self.clients.iter().flat_map(|clients| &*clients.groups);
        let mut told = groups.filter(|group| group.statistics && !group.exempt && group.lists.has(one));
        one == other || told.all(|group| group.lists.has(other))
    }
}

impl Attribution for Snapshot {
    fn causes(&self, name: &[u8], mode: Mode, group: u16) -> Vec<Cause> {
        let mut buf = NameBuf::new();
        if buf.set_wire(name).is_err() {
            return Vec::new();
        }
        let group = self.group_of(group);
        let holds = |list: u16| group.is_none_or(|group| group.lists.has(list));
        let mut found = Vec::new();
        self.set.all(&buf, |rule| {
            let list = &self.lists[usize::from(rule.list)];
            if list.mode == mode && rule.kind.effect != Effect::Allow && holds(rule.list) {
                found.push(rule);
            }
        });
        self.explain(&buf, found)
    }

    fn causes_of(&self, rule: u32) -> Option<Vec<Cause>> {
        if rule >= self.set.size().rules as u32 {
            return None;
        }
        let named = self.set.rule(rule);
        let pattern = named.name();
        // Rules that were not seen are those like this one on the same name: a look at that name, or at one below it
        // for rules that only cover those, shows them, and others that are left out here.
        let below = u8::from(named.kind.scope == Scope::Below);
        let mut buf = NameBuf::new();
        let wire = if below == 1 { [b"\x01a", pattern.wire()].concat() } else { pattern.wire().to_vec() };
        buf.set_wire(&wire).ok()?;
        let like = |other: &Match<'_>| {
            other.below == below && other.kind.scope == named.kind.scope && other.kind.effect != Effect::Allow
        };
        let mut found = Vec::new();
        self.set.all(&buf, |other| {
            if like(&other) {
                found.push(other);
            }
        });
        let list = found.iter().find(|other| other.id == rule)?.list;
        found.retain(|other| other.list == list);
        Some(self.explain(&buf, found))
    }

    fn rules(&self) -> u32 {
        self.set.size().rules as u32
    }

    fn causes_at(&self, rule: u32) -> Option<(Outcome, Vec<Cause>)> {
        if rule >= self.rules() {
            return None;
        }
        let named = self.set.rule(rule);
        let pattern = named.name();
        let mut below = u8::from(named.kind.scope != Scope::Exact);
        let mut buf = NameBuf::new();
        // What covers some name below the pattern because it stands on it or above: rules that the hit must have met,
        // whatever the name was. An exact rule beside it is not among them.
        if below == 0 || buf.set_wire(&[b"\x01a", pattern.wire()].concat()).is_err() {
            below = 0;
            buf.set_wire(pattern.wire()).ok()?;
        }
        let mut found = Vec::new();
        self.set.all(&buf, |other| found.extend((other.below >= below).then_some(other)));
        let decided = *found.iter().find(|other| other.id == rule)?;
        let mode = self.lists[usize::from(decided.list)].mode;
        if decided.kind.effect == Effect::Allow || is_passthru(&decided) {
            return Some((Outcome::Excepted, self.explain(&buf, vec![decided])));
        }
        found.retain(|other| {
            let list = &self.lists[usize::from(other.list)];
            // On the pattern itself it need not have matched.
            let only_below = other.kind.scope == Scope::Below && named.kind.scope == Scope::Subtree;
            let may_miss = only_below && other.below == below;
            list.mode == mode
                && other.kind.effect != Effect::Allow
                && !may_miss
                && !goes_before(other, &decided)
                && self.hold_together(decided.list, other.list)
        });
        Some((mode.into(), self.explain(&buf, found)))
    }

    fn group(&self, group: u16) -> Option<Arc<str>> {
        self.group_of(group).map(|group| Arc::clone(&group.name))
    }
}

impl Snapshot {
    /// The causes that these rules, which cover `name`, are, the one that decided first.
    fn explain(&self, name: &NameBuf, mut found: Vec<Match<'_>>) -> Vec<Cause> {
        found.sort_by_key(|rule| (rule.list, rule.below, rule.kind.scope != Scope::Exact, rule.id));
        let mut causes: Vec<Cause> = Vec::new();
        for found in found {
            let rule = self.set.rule(found.id);
            let mut pattern = String::new();
            // Writing to a String cannot fail.
            let _ = show_pattern(name.suffix(usize::from(found.below)), rule.kind.scope, &mut pattern);
            let list = &self.lists[usize::from(found.list)].name;
            let file = self.set.parts()[found.part as usize].rules.path();
            let known = causes.iter().position(|c| *c.list == **list && *c.file == **file && c.rule == pattern);
            let order = rule.order.cloned();
            match known {
                Some(at) => {
                    let orders = &mut causes[at].orders;
                    if let Some(order) = order.filter(|order| orders.iter().all(|known| known.id != order.id)) {
                        orders.push(order);
                    }
                }
                None if causes.len() < MAX_CAUSES => causes.push(Cause {
                    list: list.to_string(),
                    file: file.to_string(),
                    line: rule.line,
                    rule: pattern,
                    orders: order.into_iter().collect(),
                }),
                None => break,
            }
        }
        causes
    }
}

/// Between lists config order decides; within one the longest name, and there the exact pattern.
fn goes_before(new: &Match<'_>, held: &Match<'_>) -> bool {
    let rank = |found: &Match<'_>| (found.list, found.below, found.kind.scope != Scope::Exact);
    rank(new) < rank(held)
}

/// The rule asks for the ordinary answer.
fn is_passthru(found: &Match<'_>) -> bool {
    matches!(found.kind.effect, Effect::Rpz(RpzAction::Passthru))
}

#[cfg(test)]
mod tests;
