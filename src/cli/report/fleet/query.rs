//! What is asked of the fleet's ClickHouse, and how its answers are read. Statements are kept to what 18.16 knows.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};

use crate::event::Outcome;
use crate::ship::{Server, ShipError};
use crate::store::read::{Bar, Clients, Counts, Days, Filter, Level, OrderName, Ranked, Span, Step, Subject, Timeline};

/// The most of an answer that is read: a month of 3,500 names by the hour has about half of that.
const MAX_ANSWER: u64 = 1 << 30;
/// Rows of a report, as for one machine; one more says that there are more.
const MAX_ROWS: usize = crate::store::read::MAX_ROWS;
/// Hours of a timeline before it goes by the day.
const MAX_BARS: i64 = 200;

/// What clients, or hits, are told apart by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    /// By nothing.
    All,
    /// By the rule.
    Name,
    /// By order and authority.
    Order,
    /// By every list that matched.
    List,
    /// By what was asked for.
    Type,
    /// By what the client got.
    Answer,
}

/// What hits of one period have in common, and how many there are.
#[derive(Debug)]
pub(super) struct Sum {
    /// Its first minute.
    pub(super) period: i64,
    pub(super) subject: Subject,
    pub(super) counts: Counts,
    /// First minutes of the first and the last hour with a hit.
    pub(super) first: i64,
    pub(super) last: i64,
}

/// All of a report.
#[derive(Debug)]
pub(super) struct AllSums {
    pub(super) sums: Vec<Sum>,
    /// There are more.
    pub(super) cut: bool,
}

/// The clients of one thing on one day.
#[derive(Debug)]
pub(super) struct DayClients {
    /// First minute of the day.
    pub(super) day: i64,
    /// What it is, and of an order the authority.
    pub(super) key: (String, String),
    pub(super) clients: Clients,
}

/// A fleet that is asked about a time.
pub(super) struct Fleet {
    server: Server,
    span: Span,
    days: Days,
}

impl Fleet {
    /// About whole hours.
    pub(super) fn new(server: Server, span: Span, days: Days) -> Self {
        Self { server, span, days }
    }

    /// The days of the report.
    pub(super) fn days(&self) -> &Days {
        &self.days
    }

    /// Sums by period and subject.
    pub(super) fn subjects(&mut self, step: Step, filter: &Filter) -> Result<AllSums, FleetError> {
        let period = self.period(step);
        let sql = format!(
            "SELECT {period} AS p, outcome, rule, list, lists, orders, authorities, bases, sum(hits) AS n, \
             sum(unexamined) AS u, uniqCombinedMerge(attempts) AS a, min(toUInt32(hour)) AS f, max(toUInt32(hour)) AS l \
             FROM hits_hour WHERE {} GROUP BY p, outcome, rule, list, lists, orders, authorities, bases \
             ORDER BY p LIMIT {} FORMAT JSONEachRow",
            self.condition(filter),
            MAX_ROWS + 1
        );
        let mut names = Names::default();
        let mut rows: Vec<SumRow> = self.ask(&sql)?;
        let cut = rows.len() > MAX_ROWS;
        rows.truncate(MAX_ROWS);
        let sums = rows.into_iter().map(|row| row.read(&mut names)).collect::<Result<Vec<_>, _>>()?;
        Ok(AllSums { sums: sums.into_iter().filter(|sum| filter.takes(&sum.subject)).collect(), cut })
    }

    /// Distinct clients by day and key. Sketches of servers with one key are joined; those of others lie in a range.
    pub(super) fn clients(&mut self, by: By) -> Result<Vec<DayClients>, FleetError> {
        let (key, authority, join) = match by {
            By::Order => ("o", "au", "ARRAY JOIN orders AS o, authorities AS au"),
            By::List => ("li", "''", "ARRAY JOIN arrayConcat([list], lists) AS li"),
            By::Name => ("rule", "''", ""),
            By::All | By::Type | By::Answer => ("''", "''", ""),
        };
        let sql = format!(
            "SELECT {} AS p, {key} AS k, {authority} AS w, key AS secret, uniqCombinedMerge(clients) AS n \
             FROM hits_hour {join} WHERE {} GROUP BY p, k, w, secret FORMAT JSONEachRow",
            self.period(Step::Day),
            self.condition(&Filter::default())
        );
        let mut found: BTreeMap<(i64, String, String), Clients> = BTreeMap::new();
        for row in self.ask::<ClientRow>(&sql)? {
            let known = found.entry((minute(row.p), row.k, row.w)).or_default();
            *known = known.join(Clients { low: row.n, high: row.n });
        }
        let read = |((day, key, authority), clients)| DayClients { day, key: (key, authority), clients };
        Ok(found.into_iter().map(read).collect())
    }

    /// Hits by type or answer, from single hits.
    pub(super) fn kinds(&mut self, by: By) -> Result<Vec<Ranked>, FleetError> {
        let column = if by == By::Type { "type" } else { "answer" };
        let (from, to) = (self.span.from * 60, self.span.to * 60);
        let sql = format!(
            "SELECT {column} AS k, outcome, count() AS n FROM hits WHERE {} AND toUInt32(time) >= {from} \
             AND toUInt32(time) < {to} GROUP BY k, outcome FORMAT JSONEachRow",
            self.partitions()
        );
        let mut found: BTreeMap<String, [u64; Outcome::ALL.len()]> = BTreeMap::new();
        for row in self.ask::<KindRow>(&sql)? {
            let hits = &mut found.entry(row.k).or_default()[outcome(&row.outcome)? as usize];
            *hits = hits.saturating_add(row.n);
        }
        let rank = |(key, hits)| Ranked {
            key,
            authority: String::new(),
            legal_basis: String::new(),
            hits,
            attempts: None,
            unexamined: 0,
            names: None,
            clients: None,
        };
        Ok(found.into_iter().map(rank).collect())
    }

    /// Hits along the time, by the hour or the day.
    pub(super) fn timeline(&mut self, filter: &Filter) -> Result<Timeline, FleetError> {
        let Span { from, to } = self.span;
        let hours = (to - from) / 60;
        let (level, step) = if hours <= MAX_BARS { (Level::Hour, Step::Hour) } else { (Level::Day, Step::Day) };
        let bar = |start| Bar { start, counts: Counts::default() };
        let mut bars: Vec<Bar> = match level {
            Level::Day => self.day_starts().into_iter().map(bar).collect(),
            _ => (0..hours).map(|hour| bar(from + hour * 60)).collect(),
        };
        for sum in self.subjects(step, filter)?.sums {
            let after = bars.partition_point(|bar| bar.start <= sum.period);
            if let Some(bar) = after.checked_sub(1).and_then(|at| bars.get_mut(at)) {
                bar.counts.add(sum.counts);
            }
        }
        Ok(Timeline { step: level, span: self.span, bars })
    }

    /// Who has reported in that time.
    pub(super) fn hosts(&mut self) -> Result<Vec<String>, FleetError> {
        let sql = format!(
            "SELECT DISTINCT server FROM hits_hour WHERE {} ORDER BY server LIMIT 10000 FORMAT JSONEachRow",
            self.condition(&Filter::default())
        );
        Ok(self.ask::<HostRow>(&sql)?.into_iter().map(|row| row.server).collect())
    }

    /// The expression for the first second of the period an hour is in. Days are those of a calendar the server need not
    /// know, so it is given their beginnings.
    fn period(&self, step: Step) -> String {
        match step {
            Step::Total => format!("toUInt32({})", self.span.from * 60),
            Step::Hour => "toUInt32(hour)".into(),
            Step::Day => {
                let starts: Vec<String> = self.day_starts().iter().map(|start| (start * 60).to_string()).collect();
                format!("arrayReduce('max', arrayFilter(s -> s <= toUInt32(hour), [{}]))", starts.join(", "))
            }
        }
    }

    /// First minutes of the days that the time touches.
    fn day_starts(&self) -> Vec<i64> {
        let Span { from, to } = self.span;
        (self.days.of(from)..=self.days.of(to - 1)).map(|day| self.days.start(day).max(0)).collect()
    }

    /// Which rows are asked about; the rest of a filter is looked at here.
    fn condition(&self, filter: &Filter) -> String {
        let (from, to) = (self.span.from * 60, self.span.to * 60);
        let mut sql =
            format!("{} AND batch = '' AND toUInt32(hour) >= {from} AND toUInt32(hour) < {to}", self.partitions());
        if let Some(order) = &filter.order {
            sql += &format!(" AND has(orders, {})", literal(order));
        }
        if let Some(list) = &filter.list {
            sql += &format!(" AND has(arrayConcat([list], lists), {})", literal(list));
        }
        sql
    }

    /// Which partitions may have them.
    fn partitions(&self) -> String {
        let day = |minute: i64| crate::store::read::timestamp(minute).to_string().chars().take(10).collect::<String>();
        format!("day >= '{}' AND day <= '{}'", day(self.span.from), day(self.span.to - 1))
    }

    /// Runs a statement that answers a JSON object a line.
    fn ask<T: DeserializeOwned>(&mut self, sql: &str) -> Result<Vec<T>, FleetError> {
        let answer = self.server.ask(sql, MAX_ANSWER)?;
        let lines = answer.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
        lines.map(|line| serde_json::from_slice(line).map_err(FleetError::Answer)).collect()
    }
}

/// A text in quotes.
fn literal(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('\'');
    for c in text.chars() {
        if matches!(c, '\'' | '\\') {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted.push('\'');
    quoted
}

/// The minute of a second.
fn minute(second: u64) -> i64 {
    i64::try_from(second / 60).unwrap_or(0)
}

/// An outcome by its name.
fn outcome(name: &str) -> Result<Outcome, FleetError> {
    Outcome::ALL.into_iter().find(|outcome| outcome.as_str() == name).ok_or_else(|| FleetError::Outcome(name.into()))
}

/// See [`Sum`].
#[derive(Deserialize)]
struct SumRow {
    #[serde(deserialize_with = "number")]
    p: u64,
    outcome: String,
    rule: String,
    list: String,
    lists: Vec<String>,
    orders: Vec<String>,
    authorities: Vec<String>,
    bases: Vec<String>,
    #[serde(deserialize_with = "number")]
    n: u64,
    #[serde(deserialize_with = "number")]
    u: u64,
    #[serde(deserialize_with = "number")]
    a: u64,
    #[serde(deserialize_with = "number")]
    f: u64,
    #[serde(deserialize_with = "number")]
    l: u64,
}

impl SumRow {
    fn read(self, names: &mut Names) -> Result<Sum, FleetError> {
        let outcome = outcome(&self.outcome)?;
        let list = names.text(self.list);
        let lists = std::iter::once(Arc::clone(&list));
        let lists = lists.chain(self.lists.into_iter().map(|list| names.text(list))).collect();
        let orders = self.orders.into_iter().zip(self.authorities).zip(self.bases);
        let orders = orders.map(|((number, authority), basis)| names.order(number, authority, basis)).collect();
        let subject = Subject { outcome, rule: names.text(self.rule), list, lists, orders };
        let counts = Counts { hits: self.n, attempts: self.a, unexamined: self.u };
        Ok(Sum { period: minute(self.p), subject, counts, first: minute(self.f), last: minute(self.l) })
    }
}

/// Texts that many rows share.
#[derive(Default)]
struct Names {
    texts: BTreeMap<String, Arc<str>>,
    orders: BTreeMap<(String, String), Arc<OrderName>>,
}

impl Names {
    fn text(&mut self, text: String) -> Arc<str> {
        if let Some(known) = self.texts.get(&text) {
            return Arc::clone(known);
        }
        let shared: Arc<str> = text.as_str().into();
        self.texts.insert(text, Arc::clone(&shared));
        shared
    }

    /// The basis that is met first stands for an order.
    fn order(&mut self, number: String, authority: String, basis: String) -> Arc<OrderName> {
        let made = |(number, authority): &(String, String)| OrderName {
            number: number.as_str().into(),
            authority: authority.as_str().into(),
            legal_basis: basis.into(),
        };
        let key = (number, authority);
        if let Some(known) = self.orders.get(&key) {
            return Arc::clone(known);
        }
        let order = Arc::new(made(&key));
        self.orders.insert(key, Arc::clone(&order));
        order
    }
}

/// See [`DayClients`].
#[derive(Deserialize)]
struct ClientRow {
    #[serde(deserialize_with = "number")]
    p: u64,
    k: String,
    w: String,
    #[serde(deserialize_with = "number")]
    n: u64,
}

/// See [`Fleet::kinds`].
#[derive(Deserialize)]
struct KindRow {
    k: String,
    outcome: String,
    #[serde(deserialize_with = "number")]
    n: u64,
}

/// See [`Fleet::hosts`].
#[derive(Deserialize)]
struct HostRow {
    server: String,
}

/// A number, which ClickHouse writes in quotes or not, as its version or its settings have it.
fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Number {
        Plain(u64),
        Quoted(String),
    }
    match Number::deserialize(deserializer)? {
        Number::Plain(number) => Ok(number),
        Number::Quoted(text) => text.parse().map_err(serde::de::Error::custom),
    }
}

/// Why there is no report.
#[derive(Debug)]
pub(super) enum FleetError {
    /// The server could not be asked.
    Ask(ShipError),
    /// Its answer is something else.
    Answer(serde_json::Error),
    /// A newer qalqan has reported what this one does not know.
    Outcome(String),
}

impl From<ShipError> for FleetError {
    fn from(error: ShipError) -> Self {
        Self::Ask(error)
    }
}

impl fmt::Display for FleetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ask(error) => error.fmt(f),
            Self::Answer(error) => write!(f, "its answer cannot be read ({error}); are its tables of another version?"),
            Self::Outcome(name) => write!(f, "there are hits with the outcome {name}, of a newer qalqan"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_cannot_end_their_quotes() {
        assert_eq!(literal("25-01-25/4"), "'25-01-25/4'");
        assert_eq!(literal("a'b\\"), "'a\\'b\\\\'");
    }

    #[test]
    fn numbers_come_with_quotes_or_without() {
        let read = |text: &str| serde_json::from_str::<KindRow>(text).map(|row| row.n);
        assert_eq!(read(r#"{"k":"A","outcome":"blocked","n":"18446744073709551615"}"#).ok(), Some(u64::MAX));
        assert_eq!(read(r#"{"k":"A","outcome":"blocked","n":7}"#).ok(), Some(7));
        assert!(read(r#"{"k":"A","outcome":"blocked","n":"x"}"#).is_err());
    }

    #[test]
    fn days_begin_where_the_calendar_says() {
        let server = crate::ship::ServerSettings {
            address: crate::fetch::Address::parse("http://127.0.0.1:9/").expect("an address"),
            database: "qalqan".into(),
            user: "default".into(),
            password_file: None,
            ca_file: None,
            timeout: std::time::Duration::from_secs(1),
        };
        let zone = jiff::tz::TimeZone::fixed(jiff::tz::offset(5));
        let fleet = Fleet::new(Server::new(server), Span { from: 1140, to: 1140 + 2880 }, Days::new(zone));
        assert_eq!(fleet.day_starts(), [1140, 2580]);
        assert!(fleet.period(Step::Day).ends_with("[68400, 154800]))"));
        assert_eq!(fleet.partitions(), "day >= '1970-01-01' AND day <= '1970-01-03'");
    }
}
