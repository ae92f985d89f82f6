//! A row with everything it says: what CSV, JSON and Parquet write.

use std::collections::HashMap;
use std::rc::Rc;

use serde::{Serialize, Serializer};

use super::data::{Data, Key, Row};
use crate::store::read::{OrderName, Step};

/// The columns, in the order they are written.
pub(super) const COLUMNS: [&str; 18] = [
    "from",
    "to",
    "name",
    "order",
    "authority",
    "legal_basis",
    "list",
    "other_lists",
    "outcome",
    "hits",
    "attempts",
    "unexamined",
    "clients",
    "clients_low",
    "clients_high",
    "first_hit",
    "last_hit",
    "precision",
];

/// A row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Line<'d> {
    /// The time it counts.
    #[serde(serialize_with = "text")]
    pub(super) from: Rc<str>,
    /// The first minute that does not belong to it.
    #[serde(serialize_with = "text")]
    pub(super) to: Rc<str>,
    pub(super) name: &'d str,
    pub(super) order: Option<&'d str>,
    pub(super) authority: Option<&'d str>,
    pub(super) legal_basis: Option<&'d str>,
    pub(super) list: &'d str,
    pub(super) other_lists: Vec<&'d str>,
    pub(super) outcome: &'static str,
    pub(super) hits: u64,
    pub(super) attempts: u64,
    pub(super) unexamined: u64,
    /// As people read it: `<5`, `12`, `12-15`.
    pub(super) clients: Option<String>,
    pub(super) clients_low: Option<u64>,
    pub(super) clients_high: Option<u64>,
    /// The minute, or the first minute of the hour or day, it fell in.
    #[serde(serialize_with = "text")]
    pub(super) first_hit: Rc<str>,
    #[serde(serialize_with = "text")]
    pub(super) last_hit: Rc<str>,
    /// The coarser of both: `minute`, `hour`, `day`.
    pub(super) precision: &'static str,
}

/// Makes lines of rows; times come again and again, and the calendar is slow.
pub(super) struct Lines<'d> {
    data: &'d Data,
    texts: HashMap<i64, Rc<str>>,
    ends: HashMap<i64, i64>,
}

impl<'d> Lines<'d> {
    /// Of this report.
    pub(super) fn of(data: &'d Data) -> Self {
        Self { data, texts: HashMap::new(), ends: HashMap::new() }
    }

    /// One row. Nothing if its key is not there, which no source makes.
    pub(super) fn line(&mut self, row: &Row) -> Option<Line<'d>> {
        let key: &'d Key = self.data.keys.get(row.key as usize)?;
        let order: Option<&'d OrderName> = key.order.as_deref();
        let clients = row.clients.map(|clients| clients.shown(self.data.threshold));
        let end = self.end(row.period);
        Some(Line {
            from: self.text(row.period.max(self.data.from)),
            to: self.text(end),
            name: &key.name,
            order: order.map(|order| &*order.number),
            authority: order.map(|order| &*order.authority),
            legal_basis: order.map(|order| &*order.legal_basis),
            list: &key.list,
            other_lists: key.also.iter().map(|list| &**list).collect(),
            outcome: key.outcome.as_str(),
            hits: row.counts.hits,
            attempts: row.counts.attempts,
            unexamined: row.counts.unexamined,
            clients: clients.map(|clients| clients.to_string()),
            clients_low: clients.and_then(|clients| clients.low),
            clients_high: clients.and_then(|clients| clients.high),
            first_hit: self.text(row.first.0),
            last_hit: self.text(row.last.0),
            precision: row.first.1.max(row.last.1).as_str(),
        })
    }

    /// The minute after the time of a row.
    pub(super) fn end(&mut self, period: i64) -> i64 {
        let data = self.data;
        *self.ends.entry(period).or_insert_with(|| {
            let end = match data.step {
                Step::Total => data.to,
                Step::Day => data.days.ceil(period + 1),
                Step::Hour => period.div_euclid(60) * 60 + 60,
            };
            end.min(data.to)
        })
    }

    /// A minute as text.
    fn text(&mut self, minute: i64) -> Rc<str> {
        let data = self.data;
        Rc::clone(self.texts.entry(minute).or_insert_with(|| data.text(minute).into()))
    }
}

/// serde knows no shared texts without a feature of its own.
fn text<S: Serializer>(text: &str, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(text)
}
