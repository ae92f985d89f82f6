//! Making the ledger: one walk over the rules that rest on orders, and one over their fingerprints.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::{Entry, Gaps, Ledger, ListFacts, Share, Source, key, pattern};
use crate::list::Format;
use crate::name::NameBuf;
use crate::reload::report::{ListReport, LoadError, State};
use crate::rule::{Effect, Mode, Order, OrderState, Role, RpzAction, Scope};
use crate::set::Match;
use crate::snapshot::Snapshot;
use crate::util::{Digest, UnixTime};

/// No share.
const NONE: u32 = u32::MAX;

/// What becomes of a pattern. Of several rules with the same one, the first of these counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fate {
    /// It is blocked.
    Enforced,
    /// It would be, at its time.
    Later,
    /// Another rule takes it back.
    Excepted,
    /// Hits are only counted.
    Shadow,
    /// The gate holds it.
    Held,
    /// And an operator wants it so.
    Dismissed,
    /// Its time is over.
    Over,
    /// And the gate held it.
    HeldOver,
}

/// A pattern of a share: number of the share, fingerprint, fate.
type Seen = (u32, [u8; 16], Fate);

impl Ledger {
    /// Of what `snapshot` has in force at `now`, and what the load that made it found in the files.
    ///
    /// For each rule on an order it takes a hash, and a look at the rules above where there are exceptions: about a
    /// microsecond. For reloads and reports.
    pub fn new(snapshot: &Snapshot, reports: &[ListReport], now: UnixTime) -> Self {
        let lists = snapshot.lists().iter().map(|list| ListFacts {
            name: Arc::clone(&list.name),
            role: list.role,
            mode: list.mode,
        });
        let mut draft = Draft { lists: lists.collect(), ..Draft::default() };
        draft.sources(snapshot, reports);
        draft.waiting(reports);
        let numbers = draft.sort();
        let mut seen = draft.patterns(&numbers, snapshot, &dismissed(reports), now);
        let entries = draft.entries(&mut seen, now);
        Self { lists: draft.lists, sources: draft.sources, entries }
    }
}

/// A ledger in the making.
#[derive(Default)]
struct Draft {
    lists: Vec<ListFacts>,
    sources: Vec<Source>,
    shares: Vec<Share>,
    known: HashMap<(u16, Arc<Order>), u32>,
    /// For each source and kind, its share.
    of_kind: Vec<Vec<u32>>,
}

impl Draft {
    /// Takes down all files and the shares they have.
    fn sources(&mut self, snapshot: &Snapshot, reports: &[ListReport]) {
        let mut files = HashMap::new();
        for (list, report) in (0_u16..).zip(reports) {
            files.extend(report.files.iter().map(|file| ((list, &*file.path), file)));
        }
        for part in snapshot.set().parts() {
            let file = files.remove(&(part.list, &**part.rules.path()));
            let rules = &part.rules;
            let source = self.sources.len() as u32;
            let mut of_order = vec![NONE; rules.orders().len()];
            let mut of_kind = Vec::with_capacity(rules.kinds().len());
            for (kind, number) in rules.kinds().iter().zip(0_u32..) {
                let at = kind.order.filter(|_| blocks(&kind.effect)).map(|order| order as usize);
                let share = match at.and_then(|at| Some((of_order.get_mut(at)?, rules.orders().get(at)?))) {
                    Some((known, order)) => {
                        if *known == NONE {
                            *known = self.share(part.list, order);
                        }
                        self.shares[*known as usize].kinds.push((source, number));
                        *known
                    }
                    None => NONE,
                };
                of_kind.push(share);
            }
            self.of_kind.push(of_kind);
            let report = file.map(|file| &file.report);
            // An order file may name nothing yet; its order, the last of the file, is known all the same.
            if report.is_some_and(|report| report.format == Some(Format::Orders))
                && let (Some(order), Some(&NONE)) = (rules.orders().last(), of_order.last())
            {
                self.reject(part.list, order, source, 0);
            }
            for (order, count) in report.into_iter().flat_map(|report| &report.rejected_of) {
                self.reject(part.list, order, source, *count);
            }
            self.sources.push(Source {
                list: part.list,
                path: Arc::clone(rules.path()),
                sha256: file.and_then(|file| file.sha256),
                accepted: file.and_then(|file| file.accepted),
                format: report.and_then(|report| report.format),
                refused: file.is_some_and(|file| is_refused(&file.state)),
                rules: Some(Arc::clone(rules)),
                held: Arc::clone(&part.held),
            });
        }
        // Of what is not in force at all, the orders are known if it could be read.
        let mut rest: Vec<_> = files.into_iter().filter(|(_, file)| !file.report.rejected_of.is_empty()).collect();
        rest.sort_by_key(|&(place, _)| place);
        for ((list, _), file) in rest {
            let source = self.sources.len() as u32;
            for (order, count) in &file.report.rejected_of {
                self.reject(list, order, source, *count);
            }
            self.of_kind.push(Vec::new());
            self.sources.push(Source {
                list,
                path: Arc::clone(&file.path),
                sha256: file.sha256,
                accepted: file.accepted,
                format: file.report.format,
                refused: is_refused(&file.state),
                rules: None,
                held: Arc::default(),
            });
        }
    }

    /// Orders in versions that are not taken as a whole: most of them may be in force nowhere.
    fn waiting(&mut self, reports: &[ListReport]) {
        for (list, report) in (0_u16..).zip(reports) {
            for (order, count) in report.refused.iter().flat_map(|change| &change.orders) {
                if self.lists.get(usize::from(list)).is_some_and(|list| list.role == Role::Block) {
                    let share = self.share(list, order);
                    self.shares[share as usize].waiting += count;
                }
            }
        }
    }

    /// The share of a list in an order.
    fn share(&mut self, list: u16, order: &Arc<Order>) -> u32 {
        *self.known.entry((list, Arc::clone(order))).or_insert_with(|| {
            let order = Arc::clone(order);
            let (kinds, rejected) = (Vec::new(), Vec::new());
            self.shares.push(Share { list, order, names: 0, print: [0; 16], kinds, rejected, waiting: 0 });
            self.shares.len() as u32 - 1
        })
    }

    /// Entries of an order that could not be used. An allow list withholds nothing that way.
    fn reject(&mut self, list: u16, order: &Arc<Order>, source: u32, count: u64) {
        if self.lists.get(usize::from(list)).is_some_and(|list| list.role == Role::Block) {
            let share = self.share(list, order);
            self.shares[share as usize].rejected.push((source, count));
        }
    }

    /// Puts the shares of an order side by side. Gives the new number of each.
    fn sort(&mut self) -> Vec<u32> {
        self.known = HashMap::new();
        let mut order: Vec<u32> = (0..self.shares.len() as u32).collect();
        let by = |&at: &u32| {
            let share = &self.shares[at as usize];
            (key(&share.order), share.list, at)
        };
        order.sort_unstable_by(|a, b| by(a).cmp(&by(b)));
        let mut numbers = vec![0; order.len()];
        for (new, &old) in (0_u32..).zip(&order) {
            numbers[old as usize] = new;
        }
        let mut shares: Vec<Option<Share>> = std::mem::take(&mut self.shares).into_iter().map(Some).collect();
        self.shares = order.iter().filter_map(|&old| shares[old as usize].take()).collect();
        numbers
    }

    /// Every pattern of every share, sorted, each once.
    fn patterns(&self, numbers: &[u32], snapshot: &Snapshot, dismissed: &Dismissed<'_>, now: UnixTime) -> Vec<Seen> {
        let exceptions = Exceptions::of(snapshot);
        let mut seen = Vec::new();
        let mut name = NameBuf::new();
        for (source, of_kind) in self.sources.iter().zip(&self.of_kind) {
            let Some(rules) = source.rules.as_ref().filter(|_| of_kind.iter().any(|&share| share != NONE)) else {
                continue;
            };
            let mut names = rules.names();
            while let Some(index) = names.next(&mut name) {
                let (number, kind) = rules.kind(index);
                let Some(&share) = of_kind.get(number as usize).and_then(|&share| numbers.get(share as usize)) else {
                    continue;
                };
                let state = self.shares[share as usize].order.state(now);
                let fate = match source.held.binary_search(&index) {
                    Ok(_) if is_over(state) => Fate::HeldOver,
                    Ok(_) if dismissed.contains(&(source.list, pattern(&rules.rule(index)).into())) => Fate::Dismissed,
                    Ok(_) => Fate::Held,
                    Err(_) => self.fate(source.list, state, kind.scope, &name, &exceptions),
                };
                seen.push((share, fingerprint(kind.scope, &name), fate));
            }
        }
        seen.sort_unstable();
        seen.dedup_by_key(|&mut (share, print, _)| (share, print));
        seen
    }

    /// What becomes of a rule that is not held.
    fn fate(&self, list: u16, state: OrderState, scope: Scope, name: &NameBuf, exceptions: &Exceptions<'_>) -> Fate {
        let shadow = self.lists.get(usize::from(list)).is_none_or(|list| list.mode == Mode::Shadow);
        match state {
            OrderState::Expired | OrderState::Revoked => Fate::Over,
            _ if shadow => Fate::Shadow,
            _ if exceptions.take_back(list, scope, name) => Fate::Excepted,
            OrderState::Pending => Fate::Later,
            OrderState::InForce => Fate::Enforced,
        }
    }

    /// The entries, from patterns sorted by share.
    fn entries(&mut self, seen: &mut [Seen], now: UnixTime) -> Vec<Entry> {
        let mut entries = Vec::new();
        let mut shares = std::mem::take(&mut self.shares).into_iter().zip(0_u32..).peekable();
        let mut rest = seen;
        while let Some((share, number)) = shares.next() {
            let mut own = vec![share];
            while let Some((share, _)) = shares.next_if(|(next, _)| key(&next.order) == key(&own[0].order)) {
                own.push(share);
            }
            let end = number + own.len() as u32;
            let (mine, others) = rest.split_at_mut(rest.partition_point(|&(share, ..)| share < end));
            rest = others;
            for patterns in mine.chunk_by(|a, b| a.0 == b.0) {
                let Some(share) = patterns.first().and_then(|first| own.get_mut((first.0 - number) as usize)) else {
                    continue;
                };
                share.names = patterns.len() as u64;
                let free =
                    patterns.iter().filter(|(.., fate)| !matches!(fate, Fate::Held | Fate::Dismissed | Fate::HeldOver));
                let prints: Vec<u8> = free.flat_map(|&(_, print, _)| print).collect();
                share.print = half(Digest::of(&prints));
            }
            entries.push(self.entry(own, mine, now));
        }
        entries
    }

    /// One entry.
    fn entry(&self, shares: Vec<Share>, patterns: &mut [Seen], now: UnixTime) -> Entry {
        if shares.len() > 1 {
            patterns.sort_unstable_by_key(|&(_, print, fate)| (print, fate));
        }
        let mut entry = Entry { shares, names: 0, enforced: 0, gaps: Gaps::default(), dismissed: 0 };
        for same in patterns.chunk_by(|a, b| a.1 == b.1) {
            entry.names += 1;
            match same.first().map(|&(_, _, fate)| fate) {
                Some(Fate::Enforced) => entry.enforced += 1,
                Some(Fate::Excepted) => entry.gaps.excepted += 1,
                Some(Fate::Shadow) => entry.gaps.shadow += 1,
                Some(Fate::Held) => entry.gaps.held += 1,
                Some(Fate::Dismissed) => entry.dismissed += 1,
                Some(Fate::Later | Fate::Over | Fate::HeldOver) | None => {}
            }
        }
        entry.gaps.rejected = entry.live(now).map(Share::rejected).sum();
        entry.gaps.waiting = entry.live(now).map(|share| share.waiting).sum();
        let mut files: Vec<u32> = entry.live(now).flat_map(Share::files).collect();
        files.sort_unstable();
        files.dedup();
        let files = files.into_iter().filter_map(|file| self.sources.get(file as usize));
        // Of a register, what was last good is most of it, and the list itself is reported.
        entry.gaps.refused = files.filter(|file| file.refused && file.format == Some(Format::Orders)).count() as u64;
        entry
    }
}

/// Rules that take others back.
struct Exceptions<'a> {
    snapshot: &'a Snapshot,
    any: bool,
}

impl<'a> Exceptions<'a> {
    /// Of those in force.
    fn of(snapshot: &'a Snapshot) -> Self {
        let mut kinds = snapshot.set().parts().iter().flat_map(|part| part.rules.kinds());
        let any = kinds.any(|kind| !blocks(&kind.effect));
        Self { snapshot, any }
    }

    /// Whether one on a rule's name or above it leaves that name, or all below it, to everybody.
    fn take_back(&self, list: u16, scope: Scope, name: &NameBuf) -> bool {
        if !self.any {
            return false;
        }
        let (mut itself, mut below) = (false, false);
        self.snapshot.set().holders(name, |above| {
            if self.excepts(list, &above) {
                itself |= above.kind.scope.covers(usize::from(above.below));
                below |= above.kind.scope != Scope::Exact;
            }
        });
        match scope {
            Scope::Exact => itself,
            Scope::Below => below,
            Scope::Subtree => itself || below,
        }
    }

    /// Whether a rule goes before those of `list`.
    fn excepts(&self, list: u16, rule: &Match<'_>) -> bool {
        let acts = self.snapshot.lists().get(usize::from(rule.list)).is_some_and(|list| list.mode == Mode::Enforce);
        acts && match rule.kind.effect {
            Effect::Allow => true,
            Effect::Rpz(RpzAction::Passthru) => rule.list < list,
            _ => false,
        }
    }
}

/// Entries of lists that operators have dismissed.
type Dismissed<'a> = HashSet<(u16, Cow<'a, str>)>;

/// Those that are told one by one; what is beyond counts as held.
fn dismissed(reports: &[ListReport]) -> Dismissed<'_> {
    let mut found = Dismissed::new();
    for (list, report) in (0_u16..).zip(reports) {
        let entries = report.gate.entries.iter().filter(|held| held.is_held() && !held.is_open());
        found.extend(entries.map(|held| (list, Cow::Borrowed(&*held.pattern))));
    }
    found
}

/// It asks for nothing any more.
fn is_over(state: OrderState) -> bool {
    matches!(state, OrderState::Expired | OrderState::Revoked)
}

/// A rule with this effect keeps a name from being looked up.
fn blocks(effect: &Effect) -> bool {
    !matches!(effect, Effect::Allow | Effect::Rpz(RpzAction::Passthru))
}

/// What the file says now is no usable list, or nobody vouches for it.
fn is_refused(state: &State) -> bool {
    matches!(state.why(), Some(LoadError::Refused { .. } | LoadError::Signature { awaited: false, .. }))
}

/// A pattern in 16 octets, which nobody can make two patterns share.
fn fingerprint(scope: Scope, name: &NameBuf) -> [u8; 16] {
    let scope = match scope {
        Scope::Subtree => 0,
        Scope::Exact => 1,
        Scope::Below => 2,
    };
    let mut bytes = [scope; 1 + crate::name::MAX_WIRE];
    let name = name.wire();
    bytes[1..=name.len()].copy_from_slice(name);
    half(Digest::of(&bytes[..=name.len()]))
}

/// The first half.
fn half(digest: Digest) -> [u8; 16] {
    let mut half = [0; 16];
    half.copy_from_slice(&digest.0[..16]);
    half
}
