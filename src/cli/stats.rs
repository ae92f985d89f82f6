//! `stats`: how much was asked for and blocked, when, and what most.

mod text;

use std::collections::BTreeMap;

use serde::Serialize;

use super::args::{By, StatsArgs};
use super::lists::json;
use super::output::{self, Style, complain};
use super::{Exit, settings};
use crate::event::Outcome;
use crate::store::read::{self, Filter, Level, Ranked, ReadError, Reader, Span, Subjects, Timeline};
use crate::util::Now;

/// Lines of a ranking beside others.
const SHORT: usize = 10;
/// Lines of a ranking alone.
const LONG: usize = 20;
/// What is called now, in minutes: the one that is under way is not whole.
const RECENT: i64 = 5;
/// Rankings that are shown if none is asked for.
const RANKINGS: [By; 4] = [By::Name, By::Order, By::List, By::Type];

/// Everything that is shown; `--json` is this.
#[derive(Debug, Serialize)]
struct Told {
    /// What the figures cover, `to` not included.
    from: String,
    to: String,
    time_zone: String,
    /// Numbers of clients below it are shown as `<5`.
    threshold: u64,
    /// Queries by the names of their counters.
    queries: BTreeMap<String, u64>,
    /// Queries and hits in the last whole minutes, if the time goes until now.
    #[serde(skip_serializing_if = "Option::is_none")]
    now: Option<Recent>,
    all: Line,
    timeline: Bars,
    /// One ranking for each question.
    top: BTreeMap<&'static str, Ranking>,
}

/// The last minutes.
#[derive(Debug, Serialize)]
struct Recent {
    minutes: i64,
    queries: u64,
    hits: u64,
}

/// A ranking.
#[derive(Debug, Serialize)]
struct Ranking {
    /// The first of them.
    lines: Vec<Line>,
    /// How many there are in all.
    count: usize,
}

/// One line of it, and of the head of a report.
#[derive(Debug, Serialize)]
pub(in crate::cli) struct Line {
    #[serde(skip_serializing_if = "String::is_empty")]
    key: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    authority: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    legal_basis: String,
    hits: u64,
    blocked: u64,
    shadow: u64,
    excepted: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    attempts: Option<u64>,
    unexamined: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    names: Option<u64>,
    /// As people read it; the numbers are there if they may be shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    clients: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    clients_low: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    clients_high: Option<u64>,
}

/// The timeline.
#[derive(Debug, Serialize)]
struct Bars {
    step: &'static str,
    bars: Vec<OneBar>,
}

/// One step of it.
#[derive(Debug, Serialize)]
struct OneBar {
    start: String,
    hits: u64,
    attempts: u64,
}

/// Runs the verb.
pub(super) fn run(args: &StatsArgs) -> Exit {
    let settings = match settings(&args.config) {
        Ok(settings) => settings,
        Err(exit) => return exit,
    };
    let path = crate::store::path(&settings.state_dir);
    let now = Now::read().unix_ms.div_euclid(60_000);
    let told = match Reader::open(&path).and_then(|reader| look(&reader, args, now)) {
        Ok(Ok(told)) => told,
        Ok(Err(why)) => return complain(&why),
        Err(error) => return complain(&error),
    };
    if args.json {
        json(&told, Exit::Fine)
    } else {
        output::print(&text::show(&told, Style::of_stdout(), text::width()), Exit::Fine)
    }
}

/// Reads what is asked for; the inner error is a question that makes no sense.
fn look(reader: &Reader, args: &StatsArgs, now: i64) -> Result<Result<Told, &'static str>, ReadError> {
    let from = args.since.start(now, reader.days());
    if from > now {
        return Ok(Err("--since is in the future"));
    }
    // The minute that is under way belongs to it.
    let wanted = Span { from, to: now + 1 };
    let plan = reader.plan(wanted);
    let subjects = reader.subjects()?;
    let filter = Filter::default();
    let about = reader.about();
    let line = |ranked: Ranked| Line::of(ranked, about.threshold);
    let limit = args.limit.unwrap_or(if args.by.is_some() { LONG } else { SHORT });
    let mut top = BTreeMap::new();
    for by in args.by.map_or(RANKINGS.to_vec(), |by| vec![by]) {
        let ranked = reader.top(&plan, by.into(), &subjects, &filter)?;
        let count = ranked.len();
        top.insert(name(by), Ranking { lines: ranked.into_iter().take(limit).map(line).collect(), count });
    }
    let all = reader.all(&plan, &subjects, &filter)?;
    let bars = reader.timeline(wanted, &subjects, &filter)?;
    Ok(Ok(Told {
        from: reader.days().text(plan.span.from),
        to: reader.days().text(plan.span.to),
        time_zone: about.time_zone.clone(),
        threshold: about.threshold,
        queries: reader.totals(&plan)?,
        now: recent(reader, now, &subjects)?,
        all: line(all),
        timeline: Bars::of(&bars, reader),
        top,
    }))
}

/// The last minutes.
fn recent(reader: &Reader, now: i64, subjects: &Subjects) -> Result<Option<Recent>, ReadError> {
    let wanted = Span { from: now - RECENT, to: now };
    let plan = reader.plan(wanted);
    if plan.span != wanted {
        return Ok(None);
    }
    let queries = reader.totals(&plan)?.get("received").copied();
    let hits = reader.all(&plan, subjects, &Filter::default())?.total();
    Ok(queries.map(|queries| Recent { minutes: RECENT, queries, hits }))
}

/// What a ranking is called in JSON.
fn name(by: By) -> &'static str {
    match by {
        By::Name => "names",
        By::Order => "orders",
        By::Authority => "authorities",
        By::List => "lists",
        By::Type => "types",
        By::Answer => "answers",
        By::Transport => "transports",
        By::Outcome => "outcomes",
    }
}

impl Line {
    /// What of it may be shown.
    pub(in crate::cli) fn of(ranked: Ranked, threshold: u64) -> Self {
        let hits = ranked.total();
        let of = |outcome: Outcome| ranked.hits[outcome as usize];
        let clients = ranked.clients.map(|clients| clients.shown(threshold));
        Self {
            hits,
            blocked: of(Outcome::Blocked),
            shadow: of(Outcome::Shadow),
            excepted: of(Outcome::Excepted),
            attempts: ranked.attempts,
            unexamined: ranked.unexamined,
            names: ranked.names,
            clients: clients.map(|clients| clients.to_string()),
            clients_low: clients.and_then(|clients| clients.low),
            clients_high: clients.and_then(|clients| clients.high),
            key: ranked.key,
            authority: ranked.authority,
            legal_basis: ranked.legal_basis,
        }
    }
}

impl Bars {
    /// With times as text.
    fn of(timeline: &Timeline, reader: &Reader) -> Self {
        let bar = |bar: &read::Bar| OneBar {
            start: reader.days().text(bar.start),
            hits: bar.counts.hits,
            attempts: bar.counts.attempts,
        };
        Self { step: Level::as_str(timeline.step), bars: timeline.bars.iter().map(bar).collect() }
    }
}
