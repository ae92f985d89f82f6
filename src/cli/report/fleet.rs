//! The figures of a whole fleet, from ClickHouse. It counts by the hour, so times are taken to the hour.

mod query;
mod sums;

use std::fs;

use jiff::Timestamp;

use self::query::{By, Fleet};
use self::sums::Sums;
use super::data::{About, Data, Remark, Source};
use crate::cli::args::{ReportArgs, Step};
use crate::cli::output::{Plain, complain};
use crate::cli::{Exit, settings};
use crate::config::Settings;
use crate::ship::Server;
use crate::store::read::{self, Days, Filter, Level, Span};
use crate::util::{Digest, Now};

/// Minutes of an hour.
const HOUR: i64 = 60;

/// Gathers a report, or says why there is none.
pub(super) fn gather(args: &ReportArgs) -> Result<Data, Exit> {
    let settings = settings(&args.config)?;
    let Some(ship) = settings.ship.clone() else {
        return Err(complain(&"--from-clickhouse needs [stats.clickhouse] in the configuration"));
    };
    let days = Days::new(settings.stats.zone.time_zone().clone());
    let filter = Filter {
        order: args.order.clone(),
        authority: args.authority.clone(),
        list: args.list.clone(),
        ..Filter::default()
    };
    let now = Now::read().unix_ms.div_euclid(60_000);
    let from = args.from.start(now, &days);
    let to = args.to.map_or(now + 1, |to| to.end(now, &days));
    if from >= to {
        let message = format!("--from is {}, which is not before {}", days.text(from), days.text(to));
        return Err(complain(&message));
    }
    let wanted = Span { from, to };
    let span = Span { from: from.div_euclid(HOUR) * HOUR, to: (to + HOUR - 1).div_euclid(HOUR) * HOUR };
    let mut fleet = Fleet::new(Server::new(ship.server), span, days.clone());
    let made = data(&mut fleet, args, &settings, &filter, span);
    let mut data = made.map_err(|error| complain(&Plain(&format!("ClickHouse: {error}"))))?;
    if data.all.total() == 0 {
        let seen = fleet.hosts().is_ok_and(|hosts| !hosts.is_empty());
        if !seen {
            let (from, to) = (days.text(span.from), days.text(span.to));
            return Err(complain(&format_args!("no server of the fleet has reported anything from {from} to {to}")));
        }
    }
    remark(&mut data, wanted, now);
    Ok(data)
}

/// All of it.
fn data(
    fleet: &mut Fleet,
    args: &ReportArgs,
    settings: &Settings,
    filter: &Filter,
    span: Span,
) -> Result<Data, query::FleetError> {
    let step = match args.by {
        Step::Total => read::Step::Total,
        Step::Day => read::Step::Day,
        Step::Hour => read::Step::Hour,
    };
    let subjects = fleet.subjects(step, filter)?;
    let sums = Sums::new(&subjects, filter);
    let everything = filter.outcome.is_none() && filter.rule.is_none();
    let mut clients = |by| if everything { fleet.clients(by) } else { Ok(Vec::new()) };
    let (of_names, of_orders, of_lists) = (clients(By::Name)?, clients(By::Order)?, clients(By::List)?);
    let of_all = if filter.is_all() { clients(By::All)? } else { Vec::new() };
    let (keys, mut rows) = sums.rows();
    sums::give_clients(&keys, &mut rows, &of_names, step, span);
    let all = sums.all(&of_all);
    let kinds = |by: By, fleet: &mut Fleet| match filter.is_all() {
        // Single hits are kept for less long than sums: a ranking of a part of them would mislead.
        true => fleet.kinds(by).map(|ranked| sums::whole(ranked, all.total())),
        false => Ok(Vec::new()),
    };
    let (types, answers) = (kinds(By::Type, fleet)?, kinds(By::Answer, fleet)?);
    let host = fleet.hosts()?;
    let config = fs::read(&settings.path).map_or(Digest::ZERO, |bytes| Digest::of(&bytes));
    Ok(Data {
        about: About {
            generated_at: args.generated_at.unwrap_or_else(now),
            software: format!("qalqan {}", env!("CARGO_PKG_VERSION")),
            hosts: host,
            config_sha256: config.to_string(),
            window: settings.stats.window.as_secs(),
            source: Source::Fleet,
        },
        filter: filter.clone(),
        step,
        from: span.from,
        to: span.to,
        days: fleet.days().clone(),
        threshold: settings.stats.threshold,
        queries: None,
        timeline: fleet.timeline(filter)?,
        orders: sums.orders(&of_orders),
        lists: sums.lists(&of_lists),
        names: sums.names(&of_names),
        types,
        answers,
        keys,
        rows,
        versions: Vec::new(),
        runs: Vec::new(),
        remarks: std::iter::once(Remark::Fleet).chain(subjects.cut.then_some(Remark::Cut)).collect(),
        all,
    })
}

/// What is special about it.
fn remark(data: &mut Data, wanted: Span, now: i64) {
    let (from, to) = (data.from, data.to);
    let whole_days = data.days.floor(from) == from && (data.days.ceil(to) == to || to > now);
    let said = [
        (Remark::Widened, from != wanted.from || (to != wanted.to && to <= now)),
        (Remark::Unfinished, to > now),
        (Remark::Filtered, !data.filter.is_all()),
        (Remark::WholeDays, !whole_days),
        (Remark::Unexamined(data.all.unexamined), data.all.unexamined > 0),
    ];
    data.remarks.extend(said.into_iter().filter(|(_, so)| *so).map(|(remark, _)| remark));
}

/// The clock, to the second.
fn now() -> Timestamp {
    Timestamp::from_second(Now::read().seconds().0).unwrap_or_default()
}

/// All that is known of a time is known by the hour.
const LEVEL: Level = Level::Hour;
