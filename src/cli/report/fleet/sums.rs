//! Sums of a fleet become the rows and rankings of a report, in the same way as those of one machine.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::LEVEL;
use super::query::{AllSums, DayClients, Sum};
use crate::cli::report::data::{Key, Row};
use crate::event::Outcome;
use crate::store::read::{Clients, Filter, OrderName, Ranked, Span, Step, Subject};

/// What a report says, still by subject.
pub(super) struct Sums<'a> {
    sums: &'a [Sum],
    filter: &'a Filter,
}

impl<'a> Sums<'a> {
    /// Of what has been asked.
    pub(super) fn new(all: &'a AllSums, filter: &'a Filter) -> Self {
        Self { sums: &all.sums, filter }
    }

    /// A row for each period and order; what rests on none has one, too.
    pub(super) fn rows(&self) -> (Vec<Key>, Vec<Row>) {
        type Id = (Arc<str>, Option<Arc<OrderName>>, Arc<str>, Outcome);
        let mut also: BTreeMap<Id, BTreeSet<Arc<str>>> = BTreeMap::new();
        let mut found: BTreeMap<(i64, Id), Row> = BTreeMap::new();
        for sum in self.sums {
            let Subject { outcome, rule, list, lists, orders } = &sum.subject;
            let mut orders: Vec<_> =
                orders.iter().filter(|order| self.filter.takes_order(order)).cloned().map(Some).collect();
            if orders.is_empty() {
                orders.push(None);
            }
            for order in orders {
                let id = (Arc::clone(rule), order, Arc::clone(list), *outcome);
                also.entry(id.clone()).or_default().extend(lists.iter().filter(|other| *other != list).cloned());
                let new = Row {
                    period: sum.period,
                    key: 0,
                    counts: sum.counts,
                    clients: None,
                    first: (sum.first, LEVEL),
                    last: (sum.last, LEVEL),
                };
                let same = |row: &mut Row| {
                    row.counts.add(sum.counts);
                    row.first = row.first.min(new.first);
                    row.last = row.last.max(new.last);
                };
                found.entry((sum.period, id)).and_modify(same).or_insert(new);
            }
        }
        let mut keys = Vec::with_capacity(also.len());
        let mut numbers: BTreeMap<Id, u32> = BTreeMap::new();
        for (id, lists) in also {
            numbers.insert(id.clone(), u32::try_from(keys.len()).unwrap_or(u32::MAX));
            let (name, order, list, outcome) = id;
            keys.push(Key { name, order, list, also: lists.into_iter().collect(), outcome });
        }
        let number = |((_, id), row): ((i64, Id), Row)| Row { key: numbers.get(&id).copied().unwrap_or(0), ..row };
        (keys, found.into_iter().map(number).collect())
    }

    /// All together, and how many rules had hits.
    pub(super) fn all(&self, clients: &[DayClients]) -> Ranked {
        let mut all = self.ranked(|_| vec![("", "", "")], clients);
        all.pop().unwrap_or_else(|| Ranked::new("", "", ""))
    }

    /// By the rule.
    pub(super) fn names(&self, clients: &[DayClients]) -> Vec<Ranked> {
        self.ranked(|subject| vec![(&*subject.rule, "", "")], clients)
    }

    /// By order and authority.
    pub(super) fn orders(&self, clients: &[DayClients]) -> Vec<Ranked> {
        let keys = |subject: &'a Subject| {
            let orders = subject.orders.iter().filter(|order| self.filter.takes_order(order));
            orders.map(|order| (&*order.number, &*order.authority, &*order.legal_basis)).collect()
        };
        self.ranked(keys, clients)
    }

    /// By every list that matched.
    pub(super) fn lists(&self, clients: &[DayClients]) -> Vec<Ranked> {
        self.ranked(|subject| subject.lists.iter().map(|list| (&**list, "", "")).collect(), clients)
    }

    /// The most hits first.
    fn ranked(
        &self,
        keys: impl Fn(&'a Subject) -> Vec<(&'a str, &'a str, &'a str)>,
        clients: &[DayClients],
    ) -> Vec<Ranked> {
        let mut found: HashMap<(&str, &str), (Ranked, BTreeSet<&str>)> = HashMap::new();
        for Sum { subject, counts, .. } in self.sums {
            for (key, authority, basis) in keys(subject) {
                let new = || (Ranked::new(key, authority, basis), BTreeSet::new());
                let (ranked, names) = found.entry((key, authority)).or_insert_with(new);
                let hits = &mut ranked.hits[subject.outcome as usize];
                *hits = hits.saturating_add(counts.hits);
                ranked.attempts = ranked.attempts.map(|attempts| attempts.saturating_add(counts.attempts));
                ranked.unexamined = ranked.unexamined.saturating_add(counts.unexamined);
                names.insert(&subject.rule);
            }
        }
        let mut of_key: HashMap<(&str, &str), Clients> = HashMap::new();
        for DayClients { key: (key, authority), clients, .. } in clients {
            let known = of_key.entry((key, authority)).or_default();
            *known = known.join(*clients);
        }
        let finish = |(id, (mut ranked, names)): (_, (Ranked, BTreeSet<&str>))| {
            ranked.names = Some(names.len() as u64);
            ranked.clients = of_key.get(&id).copied();
            ranked
        };
        sorted(found.into_iter().map(finish).collect())
    }
}

/// Gives each row the clients of its name; by the hour they are not told, as on one machine.
pub(super) fn give_clients(keys: &[Key], rows: &mut [Row], clients: &[DayClients], step: Step, span: Span) {
    if step == Step::Hour {
        return;
    }
    let mut known: HashMap<(i64, &str), Clients> = HashMap::new();
    for DayClients { day, key: (name, _), clients } in clients {
        let period = if step == Step::Total { span.from } else { *day };
        let sum = known.entry((period, name)).or_default();
        *sum = sum.join(*clients);
    }
    for row in rows {
        let name = keys.get(row.key as usize).map_or("", |key| &*key.name);
        row.clients = known.get(&(row.period, name)).copied();
    }
}

/// A ranking of single hits, if it has all of them.
pub(super) fn whole(kinds: Vec<Ranked>, total: u64) -> Vec<Ranked> {
    if kinds.iter().map(Ranked::total).sum::<u64>() == total { sorted(kinds) } else { Vec::new() }
}

/// The most hits first; those with as many by their keys.
fn sorted(mut ranked: Vec<Ranked>) -> Vec<Ranked> {
    Ranked::sort(&mut ranked);
    ranked
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::read::Counts;

    /// One sum of `hits` in the hour `period`, resting on these orders.
    fn sum(period: i64, rule: &str, hits: u64, orders: &[&str]) -> Sum {
        let order = |number: &&str| {
            Arc::new(OrderName { number: (*number).into(), authority: "Agency".into(), legal_basis: "".into() })
        };
        let subject = Subject {
            outcome: Outcome::Blocked,
            rule: rule.into(),
            list: "one".into(),
            lists: ["one".into(), "two".into()].into(),
            orders: orders.iter().map(order).collect(),
        };
        let counts = Counts { hits, attempts: hits, unexamined: 0 };
        Sum { period, subject, counts, first: period, last: period + 60 }
    }

    #[test]
    fn a_hit_is_in_the_row_of_each_of_its_orders_and_once_in_all() {
        let sums = vec![
            sum(0, "a.example", 5, &["1", "2"]),
            sum(0, "a.example", 2, &["2"]),
            sum(0, "b.example", 9, &[]),
            sum(60, "a.example", 1, &["1"]),
        ];
        let all = AllSums { sums, cut: false };
        let filter = Filter::default();
        let sums = Sums::new(&all, &filter);
        let (keys, rows) = sums.rows();
        let shown: Vec<_> = rows
            .iter()
            .map(|row| {
                let key = &keys[row.key as usize];
                let order = key.order.as_ref().map_or("", |order| &*order.number);
                (row.period, &*key.name, order, row.counts.hits)
            })
            .collect();
        let expected =
            [(0, "a.example", "1", 5), (0, "a.example", "2", 7), (0, "b.example", "", 9), (60, "a.example", "1", 1)];
        assert_eq!(shown, expected);
        assert!(keys.iter().all(|key| *key.also == ["two".into()]));
        let all = sums.all(&[]);
        assert_eq!((all.total(), all.attempts, all.names), (17, Some(17), Some(2)));
        let orders: Vec<_> = sums.orders(&[]).iter().map(|order| (order.key.clone(), order.total())).collect();
        assert_eq!(orders, [("2".into(), 7), ("1".into(), 6)]);
        assert_eq!(sums.lists(&[]).iter().map(Ranked::total).collect::<Vec<_>>(), [17, 17]);
        let one = Filter { order: Some("1".into()), ..Filter::default() };
        assert!(Sums::new(&AllSums { sums: vec![sum(0, "a", 5, &["1", "2"])], cut: false }, &one).rows().1.len() == 1);
    }

    #[test]
    fn clients_of_a_day_are_a_number_and_of_several_a_range() {
        let day = |day, number| DayClients {
            day,
            key: ("a.example".into(), String::new()),
            clients: Clients { low: number, high: number },
        };
        let clients = [day(0, 7), day(1440, 9)];
        let of = |step, sums: Vec<Sum>| {
            let all = AllSums { sums, cut: false };
            let filter = Filter::default();
            let (keys, mut rows) = Sums::new(&all, &filter).rows();
            give_clients(&keys, &mut rows, &clients, step, Span { from: 0, to: 2880 });
            rows.iter().map(|row| row.clients.map(|clients| (clients.low, clients.high))).collect::<Vec<_>>()
        };
        let days = || vec![sum(0, "a.example", 1, &[]), sum(1440, "a.example", 1, &[])];
        assert_eq!(of(Step::Day, days()), [Some((7, 7)), Some((9, 9))]);
        assert_eq!(of(Step::Total, vec![sum(0, "a.example", 2, &[])]), [Some((9, 16))]);
        assert_eq!(of(Step::Hour, days()), [None, None]);
        let kinds = || vec![Ranked::new("A", "", "")];
        assert!(whole(kinds(), 1).is_empty() && whole(kinds(), 0).len() == 1);
    }
}
