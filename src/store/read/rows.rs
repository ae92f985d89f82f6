//! The rows of a report: names by order and list, with the first and the last hit of each.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::error::Why;
use super::{Clients, Counts, Filter, Level, Of, OrderName, Plan, ReadError, Reader, Span, Subjects, plan_of};
use crate::event::Outcome;

/// The most rows whose first and last hit are looked up in finer levels.
const MAX_REFINED: usize = 20_000;
/// The most rows of a report: more would not fit into memory on the machines it is made on.
pub const MAX_ROWS: usize = 5_000_000;

/// How a report cuts its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Not at all.
    Total,
    /// Into days.
    Day,
    /// Into hours.
    Hour,
}

/// What a row is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// The pattern of the rule that decided.
    pub rule: Arc<str>,
    /// One of the orders it rests on, if it rests on any.
    pub order: Option<Arc<OrderName>>,
    /// The list of that rule.
    pub list: Arc<str>,
    /// What became of the queries.
    pub outcome: Outcome,
    /// Other lists that matched, sorted.
    pub also: Vec<Arc<str>>,
}

/// When something was, as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The first minute of that time.
    pub minute: i64,
    /// How long the time is that it was in.
    pub level: Level,
}

/// One row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// The first minute of its time.
    pub period: i64,
    /// Index of its key.
    pub key: u32,
    /// Index of its clients, if these are known.
    pub clients: Option<u32>,
    /// What was counted.
    pub counts: Counts,
    /// The first hit.
    pub first: Moment,
    /// The last one.
    pub last: Moment,
}

/// All of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rows {
    /// What it really covers.
    pub plan: Plan,
    /// Sorted.
    pub keys: Vec<Key>,
    /// By time, then by key.
    pub rows: Vec<Row>,
    /// Of rows.
    pub clients: Vec<Clients>,
    /// There are more than [`MAX_ROWS`]: these are not all.
    pub cut: bool,
}

impl Reader {
    /// The rows of a time; nothing if they are not kept so finely any more.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn report(
        &self,
        wanted: Span,
        step: Step,
        subjects: &Subjects,
        filter: &Filter,
    ) -> Result<Option<Rows>, ReadError> {
        let coarsest = if step == Step::Hour { Level::Hour } else { Level::Day };
        let Some(plan) = plan_of(wanted, self.kept, &self.days, coarsest) else { return Ok(None) };
        let (keys, of_subject) = keys(subjects, filter);
        let mut rows = self.whole(|| self.collect(&plan, step, &of_subject))?;
        let cut = rows.len() > MAX_ROWS;
        rows.truncate(MAX_ROWS);
        if step != Step::Hour && rows.len() <= MAX_REFINED {
            self.whole(|| self.refine(&mut rows, &of_subject))?;
        }
        let clients = self.clients_of(&plan, step, &keys, &mut rows)?;
        Ok(Some(Rows { plan, keys, rows, clients, cut }))
    }

    /// Sums up.
    fn collect(&self, plan: &Plan, step: Step, of_subject: &HashMap<i64, Vec<u32>>) -> Result<Vec<Row>, Why> {
        let mut rows: Vec<Row> = Vec::new();
        let mut days = (i64::MAX, 0);
        let mut sorted = 0;
        self.each(plan, |minute, level, subject, counts| {
            let period = match step {
                Step::Total => plan.span.from,
                Step::Hour => minute.div_euclid(60) * 60,
                Step::Day if level == Level::Day => minute,
                Step::Day => {
                    // Rows come hour by hour: looking into the calendar for each would take longer than all else.
                    if days.0 != minute {
                        days = (minute, self.days.floor(minute));
                    }
                    days.1
                }
            };
            let moment = Moment { minute, level };
            for &key in of_subject.get(&subject).into_iter().flatten() {
                rows.push(Row { period, key, clients: None, counts, first: moment, last: moment });
            }
            // A report by the total must not hold every hour of a year meanwhile.
            if rows.len() >= 2 * sorted + (1 << 20) {
                merge(&mut rows);
                sorted = rows.len();
            }
        })?;
        merge(&mut rows);
        Ok(rows)
    }

    /// Looks first and last hits up where they are known better.
    fn refine(&self, rows: &mut [Row], of_subject: &HashMap<i64, Vec<u32>>) -> Result<(), Why> {
        let mut subjects: HashMap<u32, Vec<i64>> = HashMap::new();
        for (&subject, keys) in of_subject {
            keys.iter().for_each(|&key| subjects.entry(key).or_default().push(subject));
        }
        for row in rows {
            let of_row = subjects.get(&row.key).map(Vec::as_slice).unwrap_or_default();
            row.first = self.finer(row.first, of_row, false)?;
            row.last = self.finer(row.last, of_row, true)?;
        }
        Ok(())
    }

    /// The first (or last) hit of these subjects in the time a moment stands for.
    fn finer(&self, moment: Moment, subjects: &[i64], last: bool) -> Result<Moment, Why> {
        let mut moment = moment;
        if moment.level == Level::Day {
            let end = self.days.start(self.days.of(moment.minute) + 1);
            // An hour that belongs to two days does not say to which its hits do.
            if moment.minute % 60 != 0 || end % 60 != 0 {
                return Ok(moment);
            }
            let (from, to) = (moment.minute.div_euclid(60), end.div_euclid(60));
            // What goes first is the beginning: whatever is left has the last hit.
            let hour = if last || from >= self.kept.hours { self.hour(from, to, subjects, last)? } else { None };
            let Some(hour) = hour else { return Ok(moment) };
            moment = Moment { minute: hour * 60, level: Level::Hour };
        }
        let hour = moment.minute.div_euclid(60);
        if moment.level == Level::Hour && (last || hour * 60 >= self.kept.minutes) {
            let mut found = None;
            let mut statement = self.db.prepare_cached("SELECT 1 FROM minute WHERE at = ?1 AND subject = ?2")?;
            for at in 0..60 {
                let minute = hour * 60 + if last { 59 - at } else { at };
                for &subject in subjects {
                    if found.is_none() && statement.exists((minute, subject))? {
                        found = Some(minute);
                    }
                }
            }
            moment = found.map_or(moment, |minute| Moment { minute, level: Level::Minute });
        }
        Ok(moment)
    }

    /// The first (or last) hour with hits.
    fn hour(&self, from: i64, to: i64, subjects: &[i64], last: bool) -> Result<Option<i64>, Why> {
        const SQL: &str =
            "SELECT hits0, hits1, hits2, hits3, hits4, hits5 FROM hour_block WHERE block = ?1 AND subject = ?2";
        let mut statement = self.db.prepare_cached(SQL)?;
        let mut blocks: Vec<i64> = (from.div_euclid(6)..=(to - 1).div_euclid(6)).collect();
        if last {
            blocks.reverse();
        }
        for block in blocks {
            let mut hours = BTreeSet::new();
            for &subject in subjects {
                let mut found = statement.query((block, subject))?;
                if let Some(row) = found.next()? {
                    let hit = |hour: &usize| row.get::<_, i64>(*hour).is_ok_and(|hits| hits > 0);
                    hours.extend((0..6).filter(hit).map(|hour| block * 6 + hour as i64));
                }
            }
            let inside = hours.range(from..to);
            if let Some(&hour) = if last { inside.last() } else { { inside }.next() } {
                return Ok(Some(hour));
            }
        }
        Ok(None)
    }

    /// The clients of the rows' names; known for whole days only.
    fn clients_of(&self, plan: &Plan, step: Step, keys: &[Key], rows: &mut [Row]) -> Result<Vec<Clients>, ReadError> {
        let mut known: HashMap<(i64, &str), u32> = HashMap::new();
        let mut clients: Vec<Clients> = Vec::new();
        if step == Step::Hour {
            return Ok(clients);
        }
        let rules: HashMap<&str, ()> = keys.iter().map(|key| (&*key.rule, ())).collect();
        self.clients_by_day(Of::Rule, plan.span, |day, (rule, _), more| {
            let Some((&rule, ())) = rules.get_key_value(&*rule) else { return };
            let period = if step == Step::Total { plan.span.from } else { self.days.start(day) };
            let index = *known.entry((period, rule)).or_insert_with(|| {
                clients.push(Clients::default());
                u32::try_from(clients.len() - 1).unwrap_or(u32::MAX)
            });
            if let Some(sum) = clients.get_mut(index as usize) {
                *sum = sum.join(more);
            }
        })?;
        for row in rows {
            // Those of names are of what was blocked.
            let key = keys.get(row.key as usize).filter(|key| key.outcome == Outcome::Blocked);
            row.clients = key.and_then(|key| known.get(&(row.period, &*key.rule)).copied());
        }
        Ok(clients)
    }
}

/// The keys of all subjects that are asked about, and which of them each counts under.
fn keys(subjects: &Subjects, filter: &Filter) -> (Vec<Key>, HashMap<i64, Vec<u32>>) {
    type Id<'s> = (&'s str, Option<&'s Arc<OrderName>>, &'s str, Outcome);
    let mut found: BTreeMap<Id<'_>, (BTreeSet<&Arc<str>>, Vec<i64>)> = BTreeMap::new();
    for (&id, subject) in subjects.by_id.iter().filter(|(_, subject)| filter.takes(subject)) {
        let mut orders: Vec<_> = subject.orders.iter().filter(|order| filter.takes_order(order)).map(Some).collect();
        if orders.is_empty() {
            orders.push(None);
        }
        for order in orders {
            let key = (&*subject.rule, order, &*subject.list, subject.outcome);
            let (also, ids) = found.entry(key).or_default();
            also.extend(subject.lists.iter().filter(|list| **list != subject.list));
            ids.push(id);
        }
    }
    let mut keys = Vec::with_capacity(found.len());
    let mut of_subject: HashMap<i64, Vec<u32>> = HashMap::new();
    for ((rule, order, list, outcome), (also, ids)) in found {
        let index = u32::try_from(keys.len()).unwrap_or(u32::MAX);
        ids.into_iter().for_each(|id| of_subject.entry(id).or_default().push(index));
        let also = also.into_iter().cloned().collect();
        keys.push(Key { rule: rule.into(), order: order.cloned(), list: list.into(), outcome, also });
    }
    (keys, of_subject)
}

/// Sorts, and makes one row of those with the same time and key.
fn merge(rows: &mut Vec<Row>) {
    rows.sort_unstable_by_key(|row| (row.period, row.key));
    rows.dedup_by(|row, kept| {
        let same = (row.period, row.key) == (kept.period, kept.key);
        if same {
            kept.counts.add(row.counts);
            let early = |moment: &Moment| (moment.minute, moment.level);
            kept.first = kept.first.min_by(row.first, early);
            kept.last = kept.last.max_by(row.last, |moment| (moment.minute, std::cmp::Reverse(moment.level)));
        }
        same
    });
}

impl Moment {
    /// The earlier one.
    fn min_by<K: Ord>(self, other: Self, key: impl Fn(&Self) -> K) -> Self {
        if key(&other) < key(&self) { other } else { self }
    }

    /// The later one.
    fn max_by<K: Ord>(self, other: Self, key: impl Fn(&Self) -> K) -> Self {
        if key(&other) > key(&self) { other } else { self }
    }
}
