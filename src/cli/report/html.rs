//! A report as one page that prints well and needs nothing else: no script, no font, no picture from anywhere.

mod chart;

use std::io::{self, Write};

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::data::{Data, Key, Row};
use super::lang::Texts;
use crate::event::Outcome;
use crate::name::unicode;
use crate::store::read::{Clients, Level, Ranked, Step};

/// Rows of the long table; further ones are for machines to read.
const MAX_ROWS: usize = 5000;
/// Lines of the other tables.
const MAX_LINES: usize = 500;
/// Names in the chart of names.
const TOP: usize = 20;
/// Nothing but the page itself may be used, even if a name got markup past the escaping.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'";
const STYLE: &str = include_str!("html/style.css");

/// Writes the page.
pub(super) fn write(data: &Data, texts: &Texts, to: &mut dyn Write) -> io::Result<()> {
    let page = Page { data, texts };
    let markup = html! {
        (DOCTYPE)
        html lang=(texts.code) {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                meta name="viewport" content="width=device-width";
                meta name="generator" content=(data.about.software);
                title { (texts.title) " " (page.period()) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                h1 { (texts.title) }
                (page.head())
                (page.summary())
                (page.over_time())
                (page.top())
                (page.groups(texts.by_order, &data.orders, Some(texts.order)))
                (page.groups(texts.by_list, &data.lists, None))
                @if !data.types.is_empty() {
                    div.beside { (page.kinds(texts.by_type, &data.types)) (page.kinds(texts.by_answer, &data.answers)) }
                }
                (page.rows())
                (page.in_force())
                (page.notes())
                footer { (texts.check) }
            }
        }
    };
    to.write_all(markup.into_string().as_bytes())
}

/// What all parts need.
struct Page<'d> {
    data: &'d Data,
    texts: &'d Texts,
}

impl Page<'_> {
    /// The time of the report.
    fn period(&self) -> String {
        let (from, to) = (self.time(self.data.from, Level::Minute), self.time(self.data.to, Level::Minute));
        format!("{from} {} {to}", self.texts.until)
    }

    /// Who made it of what.
    fn head(&self) -> Markup {
        let (texts, about) = (self.texts, &self.data.about);
        let filter = &self.data.filter;
        let only = [
            (texts.only_order, &filter.order),
            (texts.only_authority, &filter.authority),
            (texts.only_list, &filter.list),
        ];
        let rows = [
            (texts.period, format!("{} ({})", self.period(), texts.not_included)),
            (texts.time_zone, super::zone_name(self.data)),
            (texts.generated_at, self.data.moment(about.generated_at)),
            (texts.hosts, about.hosts.join(", ")),
            (texts.made_by, about.software.clone()),
            (texts.config, about.config_sha256.clone()),
        ];
        html! {
            table.head {
                @for (what, value) in only.iter().filter_map(|(what, value)| Some((what, value.as_ref()?))) {
                    tr { th { (what) } td { strong { (value) } } }
                }
                @for (what, value) in &rows {
                    tr { th { (what) } td { (value) } }
                }
            }
        }
    }

    /// The figures of everything, and what is special about them.
    fn summary(&self) -> Markup {
        let (data, texts) = (self.data, self.texts);
        let of = |outcome: Outcome| data.all.hits[outcome as usize];
        let blocked = of(Outcome::Blocked);
        let share = data.queries.map(|queries| texts.share(blocked, queries));
        let remarks = texts.remarks(data);
        html! {
            h2 { (texts.summary) }
            div.figures {
                (self.figure(&texts.number(data.all.total()), texts.hits, ""))
                @if let Some(attempts) = data.all.attempts {
                    (self.figure(&texts.number(attempts), texts.attempts, ""))
                }
                @if let Some(clients) = data.all.clients {
                    (self.figure(&self.clients(clients), texts.clients, ""))
                }
                @if let Some(names) = data.all.names {
                    (self.figure(&texts.number(names), texts.names, ""))
                }
                @for outcome in Outcome::ALL.into_iter().filter(|&outcome| of(outcome) > 0 && of(outcome) < data.all.total()) {
                    (self.figure(&texts.number(of(outcome)), texts.outcome(outcome), ""))
                }
                @if let Some(queries) = data.queries {
                    (self.figure(&texts.number(queries), texts.queries, &share.unwrap_or_default()))
                }
            }
            @if !remarks.is_empty() {
                div.remarks {
                    strong { (texts.remarks_head) }
                    ul { @for remark in &remarks { li { (remark) } } }
                }
            }
        }
    }

    /// One large number.
    fn figure(&self, number: &str, what: &str, more: &str) -> Markup {
        html! {
            div.figure {
                div.number { (number) }
                div.what { (what) }
                @if !more.is_empty() { div.what { (self.texts.outcome(Outcome::Blocked)) ": " (more) } }
            }
        }
    }

    /// The timeline.
    fn over_time(&self) -> Markup {
        let (texts, timeline) = (self.texts, &self.data.timeline);
        let bars: Vec<(String, u64)> =
            timeline.bars.iter().map(|bar| (self.time(bar.start, timeline.step), bar.counts.hits)).collect();
        let highest = bars.iter().map(|(_, hits)| *hits).max().unwrap_or(0);
        if highest == 0 {
            return html! {};
        }
        html! {
            h2 { (texts.over_time) }
            (chart::bars(&bars, |hits| texts.number(hits)))
            p.small { (texts.hits) "; " (texts.bar[timeline.step as usize]) ", " (texts.highest) ": " (texts.number(highest)) }
        }
    }

    /// The names with the most hits.
    fn top(&self) -> Markup {
        let (texts, names) = (self.texts, &self.data.names);
        let highest = names.first().map_or(1, Ranked::total);
        html! {
            @if !names.is_empty() {
                h2 { (texts.top_names) }
                table {
                    thead { tr {
                        th { (texts.name) } th.bar {} th.n { (texts.hits) } th.n { (texts.attempts) } th.n { (texts.clients) }
                    } }
                    @for name in names.iter().take(TOP) {
                        tr {
                            td { (self.name(&name.key)) }
                            td.bar { (chart::line(name.total(), highest)) }
                            (self.numbers(name))
                        }
                    }
                }
            }
        }
    }

    /// A table of orders or lists.
    fn groups(&self, title: &str, groups: &[Ranked], order: Option<&str>) -> Markup {
        let texts = self.texts;
        html! {
            @if !groups.is_empty() {
                h2 { (title) }
                table {
                    thead { tr {
                        th { (order.unwrap_or(texts.list)) }
                        @if order.is_some() { th { (texts.authority) } th { (texts.legal_basis) } }
                        th.n { (texts.names) } th.n { (texts.hits) } th.n { (texts.attempts) } th.n { (texts.clients) }
                    } }
                    @for group in groups.iter().take(MAX_LINES) {
                        tr {
                            td { (group.key) }
                            @if order.is_some() { td { (group.authority) } td { (group.legal_basis) } }
                            td.n { @if let Some(names) = group.names { (texts.number(names)) } }
                            (self.numbers(group))
                        }
                    }
                }
                (self.more(groups.len(), MAX_LINES))
            }
        }
    }

    /// A small table of types or answers.
    fn kinds(&self, title: &str, kinds: &[Ranked]) -> Markup {
        let texts = self.texts;
        let all = kinds.iter().map(Ranked::total).sum();
        html! {
            div {
                h2 { (title) }
                table {
                    thead { tr { th { (texts.kind) } th.n { (texts.hits) } th.n { "%" } } }
                    @for kind in kinds.iter().take(TOP) {
                        tr { td { (kind.key) } td.n { (texts.number(kind.total())) } td.n { (texts.share(kind.total(), all)) } }
                    }
                }
            }
        }
    }

    /// Hits, attempts, clients.
    fn numbers(&self, ranked: &Ranked) -> Markup {
        let texts = self.texts;
        html! {
            td.n { (texts.number(ranked.total())) }
            td.n { @if let Some(attempts) = ranked.attempts { (texts.number(attempts)) } }
            td.n { @if let Some(clients) = ranked.clients { (self.clients(clients)) } }
        }
    }

    /// The long table: by time, or else the most hits first.
    fn rows(&self) -> Markup {
        let (data, texts) = (self.data, self.texts);
        let mut rows: Vec<&Row> = data.rows.iter().collect();
        let timed = data.step != Step::Total;
        if !timed {
            rows.sort_by_key(|row| std::cmp::Reverse(row.counts.hits));
        }
        // Where all were blocked, a column says nothing.
        let outcomes = data.keys.iter().any(|key| key.outcome != Outcome::Blocked);
        html! {
            @if !rows.is_empty() {
                h2 { (texts.rows) }
                table.long {
                    thead { tr {
                        @if timed { th { (texts.from) } }
                        th { (texts.name) } th { (texts.order) } th { (texts.list) }
                        @if outcomes { th { (texts.outcome) } }
                        th.n { (texts.hits) } th.n { (texts.attempts) } th.n { (texts.clients) }
                        th { (texts.first_hit) } th { (texts.last_hit) }
                    } }
                    @for row in rows.iter().take(MAX_ROWS) {
                        @if let Some(key) = data.keys.get(row.key as usize) { (self.row(row, key, timed, outcomes)) }
                    }
                }
                (self.more(rows.len(), MAX_ROWS))
            }
        }
    }

    /// One row of it.
    fn row(&self, row: &Row, key: &Key, timed: bool, outcomes: bool) -> Markup {
        let texts = self.texts;
        let level = if self.data.step == Step::Day { Level::Day } else { Level::Hour };
        html! {
            tr {
                @if timed { td.t { (self.time(row.period, level)) } }
                td.of { (self.name(&key.name)) }
                td {
                    @match &key.order {
                        Some(order) => { (order.number) br; span.small { (order.authority) } }
                        None => { span.small { (texts.no_order) } }
                    }
                }
                td { (key.list) @for list in &key.also { ", " (list) } }
                @if outcomes { td { (texts.outcome(key.outcome)) } }
                td.n { (texts.number(row.counts.hits)) }
                td.n { (texts.number(row.counts.attempts)) }
                td.n { @if let Some(clients) = row.clients { (self.clients(clients)) } }
                td.t { (self.time(row.first.0, row.first.1)) }
                td.t { (self.time(row.last.0, row.last.1)) }
            }
        }
    }

    /// The list versions.
    fn in_force(&self) -> Markup {
        let (data, texts) = (self.data, self.texts);
        html! {
            h2 { (texts.in_force) }
            @if data.versions.is_empty() { p { (texts.none) } } @else {
                table.long {
                    thead { tr {
                        th { (texts.list) } th.n { (texts.version) } th { (texts.from) } th { (texts.to) } th { (texts.mode) }
                        th.n { (texts.entries) } th { "SHA-256" }
                    } }
                    @for one in data.versions.iter().take(MAX_LINES) {
                        tr {
                            td { (one.list) }
                            td.n { @if let Some(version) = one.version { (version) } }
                            td.t { (self.moment(one.from)) }
                            td.t { (self.moment(one.to)) }
                            td { (texts.modes[usize::from(one.mode != "enforce")]) }
                            td.n { @if let Some(entries) = one.entries { (texts.number(entries)) } }
                            td.hash { (one.sha256) }
                        }
                    }
                }
                (self.more(data.versions.len(), MAX_LINES))
            }
        }
    }

    /// How figures are counted.
    fn notes(&self) -> Markup {
        html! {
            section.notes {
                h2 { (self.texts.notes_head) }
                dl { @for (about, text) in self.texts.notes(self.data) { dt { (about) } dd { (text) } } }
            }
        }
    }

    /// What a table leaves out.
    fn more(&self, all: usize, shown: usize) -> Markup {
        html! {
            @if all > shown { p.small { ((self.texts.more_rows)((all - shown) as u64)) } }
        }
    }

    /// A name, and what it says in its own script.
    fn name(&self, name: &str) -> Markup {
        html! {
            span.name { (name) }
            @if let Some(unicode) = unicode(name) { br; span.small { (unicode) } }
        }
    }

    /// A number of clients as the language writes it.
    fn clients(&self, clients: Clients) -> String {
        let texts = self.texts;
        let shown = clients.shown(self.data.threshold);
        match (shown.low, shown.high) {
            (Some(low), Some(high)) if low == high => texts.number(low),
            (Some(low), Some(high)) => format!("{}–{}", texts.number(low), texts.number(high)),
            (_, None) => format!("<{}", shown.threshold),
            (None, Some(high)) => format!("<{}–{}", shown.threshold, texts.number(high)),
        }
    }

    /// A moment in the zone of the report, to the second.
    fn moment(&self, at: jiff::Timestamp) -> String {
        at.to_zoned(self.data.zone().clone()).strftime("%Y-%m-%d %H:%M:%S").to_string()
    }

    /// A time in the zone of the report, as far as it is known.
    fn time(&self, minute: i64, level: Level) -> String {
        let zoned = crate::store::read::timestamp(minute).to_zoned(self.data.zone().clone());
        let format = if level == Level::Day { "%Y-%m-%d" } else { "%Y-%m-%d %H:%M" };
        zoned.strftime(format).to_string()
    }
}
