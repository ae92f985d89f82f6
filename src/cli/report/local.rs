//! The figures of this machine's own statistics.

use std::fs;

use jiff::Timestamp;

use super::data::{About, Data, Key, Remark, Row, Source};
use super::versions;
use crate::cli::args::{ReportArgs, Step};
use crate::cli::load;
use crate::cli::output::{Plain, complain};
use crate::cli::{Exit, settings};
use crate::config::Settings;
use crate::history::History;
use crate::reload::Ledger;
use crate::store::read::{self, By, Filter, ReadError, Reader, Rows, Span, Subjects, timestamp};
use crate::util::{Digest, Now, nearest};

/// What is asked of what.
struct Desk<'a> {
    args: &'a ReportArgs,
    settings: Settings,
    reader: Reader,
    subjects: Subjects,
    filter: Filter,
    /// The minute that is under way.
    now: i64,
}

/// Gathers a report, or says why there is none.
pub(super) fn gather(args: &ReportArgs) -> Result<Data, Exit> {
    let settings = settings(&args.config)?;
    let told = |error: ReadError| complain(&error);
    let reader = Reader::open(&crate::store::path(&settings.state_dir)).map_err(told)?;
    let subjects = reader.subjects().map_err(told)?;
    let filter = Filter {
        order: args.order.clone(),
        authority: args.authority.clone(),
        list: args.list.clone(),
        ..Filter::default()
    };
    let now = Now::read().unix_ms.div_euclid(60_000);
    let desk = Desk { args, settings, reader, subjects, filter, now };
    let wanted = desk.wanted()?;
    desk.known()?;
    desk.data(wanted).map_err(told)?
}

impl Desk<'_> {
    /// The time that is asked for.
    fn wanted(&self) -> Result<Span, Exit> {
        let days = self.reader.days();
        let from = self.args.from.start(self.now, days);
        let to = self.args.to.map_or(self.now + 1, |to| to.end(self.now, days));
        if from >= to {
            let to = self.args.to.map_or("now".into(), |_| format!("--to, {}", days.text(to)));
            return Err(complain(&format_args!("--from is {}, which is not before {to}", days.text(from))));
        }
        Ok(Span { from, to })
    }

    /// Refuses orders, authorities and lists that nobody knows.
    fn known(&self) -> Result<(), Exit> {
        let unknown = |what: &str, word: &str, near: Option<&str>, all: &str| {
            let near = near.map(|near| format!("; perhaps \"{}\" is meant", Plain(near))).unwrap_or_default();
            Err(complain(&format_args!("there is no {what} {}{near}; {all}", Plain(word))))
        };
        if let Some(list) = &self.filter.list {
            let configured = self.settings.lists.iter().map(|known| known.spec.name.as_str());
            let counted = self.subjects.by_id.values().flat_map(|subject| &subject.lists).map(|list| &**list);
            let mut all = configured.chain(counted);
            if !all.clone().any(|known| known == list) {
                return unknown("list", list, nearest(list, &mut all), "`qalqan lists` shows all");
            }
        }
        let takes = |order: &read::OrderName| self.filter.takes_order(order);
        if !self.filter.asks_for_orders() || self.subjects.orders.iter().any(|order| takes(order)) {
            return Ok(());
        }
        // One without any hit is worth a report, too.
        let loaded = load::in_force(&self.settings)?;
        let ledger = Ledger::new(&loaded.snapshot, &loaded.loaded.reports, loaded.now.seconds());
        let order = |entry: &crate::reload::ledger::Entry| read::OrderName {
            number: entry.id().into(),
            authority: entry.authority().into(),
            legal_basis: "".into(),
        };
        let listed: Vec<read::OrderName> = ledger.entries().iter().map(order).collect();
        if listed.iter().any(takes) {
            return Ok(());
        }
        let all = || self.subjects.orders.iter().map(|order| &**order).chain(&listed);
        let (number, authority) = (self.filter.order.as_deref(), self.filter.authority.as_deref());
        let orders = "`qalqan orders` shows all";
        match (number, authority) {
            (Some(number), None) => {
                unknown("order", number, nearest(number, all().map(|order| &*order.number)), orders)
            }
            (None, Some(name)) => {
                unknown("order of", name, nearest(name, all().map(|order| &*order.authority)), orders)
            }
            (Some(number), Some(name)) => unknown("order", &format!("{number} of {name}"), None, orders),
            (None, None) => Ok(()),
        }
    }

    /// All of it; the inner error has been told already.
    fn data(&self, wanted: Span) -> Result<Result<Data, Exit>, ReadError> {
        let Self { args, reader, subjects, filter, .. } = self;
        let step = match args.by {
            Step::Total => read::Step::Total,
            Step::Day => read::Step::Day,
            Step::Hour => read::Step::Hour,
        };
        let runs = reader.runs(wanted)?;
        let Some(rows) = reader.report(wanted, step, subjects, filter)? else {
            let since = reader.kept().hours.saturating_mul(60);
            let since = if since == i64::MAX {
                "none are left".into()
            } else {
                format!("they begin {}", reader.days().text(since))
            };
            return Ok(Err(complain(&format_args!("hours are not kept for all of that time: {since}; use --by day"))));
        };
        let plan = &rows.plan;
        let all = reader.all(plan, subjects, filter)?;
        if all.total() == 0 && runs.is_empty() {
            let first = reader.first().map_or("nothing was ever counted".into(), |first| {
                format!("statistics begin {}", reader.days().text(first))
            });
            let (from, to) = (reader.days().text(wanted.from), reader.days().text(wanted.to));
            return Ok(Err(complain(&format_args!("no server counted from {from} to {to}: {first}"))));
        }
        let top = |by| reader.top(plan, by, subjects, filter);
        let kinds = |by| if filter.is_all() { top(by) } else { Ok(Vec::new()) };
        let totals = reader.totals(plan)?;
        let mut data = Data {
            about: self.about(),
            filter: filter.clone(),
            step,
            from: plan.span.from,
            to: plan.span.to,
            days: reader.days().clone(),
            threshold: reader.about().threshold,
            queries: totals.get("received").copied().filter(|_| filter.is_all()),
            timeline: reader.timeline(plan.span, subjects, filter)?,
            orders: top(By::Order)?,
            lists: top(By::List)?,
            names: top(By::Name)?,
            types: kinds(By::Type)?,
            answers: kinds(By::Answer)?,
            keys: Vec::new(),
            rows: Vec::new(),
            versions: Vec::new(),
            runs,
            remarks: Vec::new(),
            all,
        };
        self.remark(&mut data, wanted, &rows);
        self.fill(&mut data, rows);
        Ok(Ok(data))
    }

    /// Who makes it.
    fn about(&self) -> About {
        let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let config = fs::read(&self.settings.path).map_or(Digest::ZERO, |bytes| Digest::of(&bytes));
        About {
            generated_at: self.args.generated_at.unwrap_or_else(|| timestamp_now()),
            software: format!("qalqan {}", env!("CARGO_PKG_VERSION")),
            hosts: vec![host.trim().to_owned()],
            config_sha256: config.to_string(),
            window: String::new(),
            source: Source::Local,
        }
    }

    /// What is special about it.
    fn remark(&self, data: &mut Data, wanted: Span, rows: &Rows) {
        let days = self.reader.days();
        let span = Span { from: data.from, to: data.to };
        let mut say = |remark: Remark, if_so: bool| data.remarks.extend(Some(remark).filter(|_| if_so));
        say(Remark::Widened, span != wanted);
        say(Remark::Unfinished, span.to > self.now);
        say(Remark::Filtered, !self.filter.is_all());
        say(
            Remark::WholeDays,
            days.floor(span.from) != span.from || days.ceil(span.to) != span.to && span.to <= self.now,
        );
        say(Remark::Unexamined(data.all.unexamined), data.all.unexamined > 0);
        let until = span.to.min(self.now + 1);
        let gap = until - span.from - covered(&data.runs);
        // A start takes a moment, and minutes are whole here.
        say(Remark::Gaps(gap), gap > 2);
        say(Remark::Cut, rows.cut);
        let history = History::new(&self.settings.state_dir, self.settings.history);
        let (from, to) = (timestamp(span.from), timestamp(until));
        let (versions, remark) = versions::in_force(&self.settings.state_dir, &history, from, to);
        data.versions = versions;
        data.remarks.extend(remark);
    }

    /// Rows and what they are about.
    fn fill(&self, data: &mut Data, rows: Rows) {
        let key = |key: read::Key| Key {
            name: key.rule,
            order: key.order,
            list: key.list,
            also: key.also,
            outcome: key.outcome,
        };
        data.keys = rows.keys.into_iter().map(key).collect();
        let clients = |index: u32| rows.clients.get(index as usize).copied();
        data.rows = rows
            .rows
            .iter()
            .map(|row| Row {
                period: row.period,
                key: row.key,
                counts: row.counts,
                clients: row.clients.and_then(clients),
                first: (row.first.minute, row.first.level),
                last: (row.last.minute, row.last.level),
            })
            .collect();
    }
}

/// The minutes of these parts, which may overlap.
fn covered(runs: &[(i64, i64)]) -> i64 {
    let (mut sum, mut end) = (0, i64::MIN);
    for &(from, to) in runs {
        sum += (to - from.max(end)).max(0);
        end = end.max(to);
    }
    sum
}

/// The clock, to the second.
fn timestamp_now() -> Timestamp {
    Timestamp::from_second(Now::read().seconds().0).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlapping_runs_count_once() {
        assert_eq!(covered(&[(0, 10), (5, 12), (6, 7), (20, 21)]), 13);
        assert_eq!(covered(&[]), 0);
    }
}
