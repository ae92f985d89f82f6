//! A report as one JSON object, and what stands at the head of it. `docs/statistics.md` describes it.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::{Value, json};

use super::data::{Data, InForce, Source};
use super::lang::Texts;
use super::line::Lines;
use crate::cli::stats;
use crate::store::read::{Ranked, Step};

/// Writes the head and all rows, a row a line.
pub(super) fn write(data: &Data, texts: &Texts, to: &mut dyn Write) -> io::Result<()> {
    let head = serde_json::to_string_pretty(&about(data, texts)).map_err(io::Error::other)?;
    // Everything but the closing brace; rows are too many to hold.
    let head = head.trim_end().trim_end_matches('}').trim_end();
    write!(to, "{head},\n  \"rows\": [")?;
    let mut lines = Lines::of(data);
    for (at, line) in data.rows.iter().filter_map(|row| lines.line(row)).enumerate() {
        to.write_all(if at == 0 { b"\n    " } else { b",\n    " })?;
        serde_json::to_writer(&mut *to, &line).map_err(io::Error::other)?;
    }
    to.write_all(b"\n  ]\n}\n")
}

/// The head alone, for formats that hold rows only.
pub(super) fn write_about(data: &Data, texts: &Texts, to: &mut dyn Write) -> io::Result<()> {
    let head = serde_json::to_string_pretty(&about(data, texts)).map_err(io::Error::other)?;
    writeln!(to, "{head}")
}

/// The head.
pub(super) fn about(data: &Data, texts: &Texts) -> Value {
    let lines = |ranked: &[Ranked]| ranked.iter().map(|ranked| line(data, ranked)).collect::<Vec<_>>();
    let bars =
        data.timeline.bars.iter().map(
            |bar| json!({ "start": data.text(bar.start), "hits": bar.counts.hits, "attempts": bar.counts.attempts }),
        );
    let runs = data.runs.iter().map(|&(from, to)| json!({ "from": data.text(from), "to": data.text(to) }));
    let note = |(term, text): &(&str, String)| json!({ "about": term, "text": text });
    let about = &data.about;
    json!({
        "format": "qalqan report 1",
        "title": texts.title,
        "language": texts.code,
        "from": data.text(data.from),
        "to": data.text(data.to),
        "time_zone": super::zone_name(data),
        "step": match data.step { Step::Total => "total", Step::Day => "day", Step::Hour => "hour" },
        "filter": { "order": data.filter.order, "authority": data.filter.authority, "list": data.filter.list },
        "generated_at": data.moment(about.generated_at),
        "software": about.software,
        "hosts": about.hosts,
        "config_sha256": about.config_sha256,
        "source": match about.source { Source::Local => "local", Source::Fleet => "fleet" },
        "threshold": data.threshold,
        "attempt_window": about.window,
        "queries": data.queries,
        "all": line(data, &data.all),
        "timeline": { "step": data.timeline.step.as_str(), "bars": bars.collect::<Vec<_>>() },
        "orders": lines(&data.orders),
        "lists": lines(&data.lists),
        "types": lines(&data.types),
        "answers": lines(&data.answers),
        "lists_in_force": data.versions.iter().map(|one| version(data, one)).collect::<Vec<_>>(),
        "servers_counted": runs.collect::<Vec<_>>(),
        "remarks": texts.remarks(data),
        "notes": texts.notes(data).iter().map(note).collect::<Vec<_>>(),
        "row_count": data.rows.len(),
    })
}

/// Figures, small numbers of clients hidden.
fn line(data: &Data, ranked: &Ranked) -> impl Serialize + use<> {
    stats::Line::of(ranked.clone(), data.threshold)
}

/// A version of a list.
fn version(data: &Data, one: &InForce) -> Value {
    json!({
        "list": one.list,
        "version": one.version,
        "sha256": one.sha256,
        "mode": one.mode,
        "from": data.moment(one.from),
        "to": data.moment(one.to),
        "entries": one.entries,
        "accepted": one.accepted.map(|at| data.moment(at)),
    })
}
