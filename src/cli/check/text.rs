//! The report of `check` as people read it: aligned, short, the verdict last.

use std::fmt::{self, Display, Write};

use super::{ListLine, Remark, Report, Verdict};
use crate::cli::output::{Plain, Style, counted, table};
use crate::gate::Held;
use crate::reload::{Found, ListReview, Place};

/// How many rejected entries and unusable files are shown without `--all`.
const SHOWN: usize = 20;

/// The whole report.
pub fn show(report: &Report, all: bool, style: Style) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = write(&mut text, report, all, style);
    text
}

/// Writes it section by section.
fn write(to: &mut String, report: &Report, all: bool, style: Style) -> fmt::Result {
    writeln!(to, "{} is valid", Plain(&report.config))?;
    lists(to, report, style)?;
    clients(to, report, style)?;
    let limit = if all { usize::MAX } else { SHOWN };
    lines(to, "unusable, and not in force", &report.unusable, limit, style)?;
    remarks(to, "rejected", report.rejected, &report.rejections, limit, style)?;
    remarks(to, "used, but worth a look", report.warnings.len() as u64, &report.warnings, limit, style)?;
    held(to, report, limit, style)?;
    lines(to, "too large a change to be taken by itself", &report.size_changes, limit, style)?;
    lines(to, "cannot be used as it is", &report.gate_troubles, limit, style)?;
    findings(to, report, style)?;
    heading(to, style, "would not start", report.errors.len() as u64)?;
    for line in &report.errors {
        writeln!(to, "  {}", style.bad(Plain(line)))?;
    }
    verdict(to, report, style)
}

/// Sentences that each stand for themselves.
fn lines(to: &mut String, title: &str, all: &[String], limit: usize, style: Style) -> fmt::Result {
    heading(to, style, title, all.len() as u64)?;
    for line in all.iter().take(limit) {
        writeln!(to, "  {}", style.bad(Plain(line)))?;
    }
    more(to, all.len() as u64, all.len().min(limit), "; --all shows them")
}

/// Groups of clients, if there are any.
fn clients(to: &mut String, report: &Report, style: Style) -> fmt::Result {
    if report.clients.is_empty() {
        return Ok(());
    }
    writeln!(to)?;
    let head = ["clients", "blocks", "via", "answer", "hits told", "lists"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for group in &report.clients {
        let or = |text: String, empty: &str| if text.is_empty() { empty.to_owned() } else { text };
        let lists = match (group.exempt, group.lists.len() == report.lists.len()) {
            (true, _) => "exempt".to_owned(),
            (false, true) => "all".to_owned(),
            (false, false) => or(group.lists.join(", "), "none"),
        };
        let answer = if group.answer { "own" } else { "as lists say" }.to_owned();
        let told = if group.statistics { "yes" } else { "no" }.to_owned();
        let via = or(group.via.join(", "), "-");
        rows.push(vec![group.name.clone(), group.blocks.to_string(), via, answer, told, lists]);
    }
    for (index, line) in table(&rows, &[false, true]).lines().enumerate() {
        if index == 0 { writeln!(to, "{}", style.strong(line))? } else { writeln!(to, "{line}")? }
    }
    Ok(())
}

/// Entries the gate does not let pass.
fn held(to: &mut String, report: &Report, limit: usize, style: Style) -> fmt::Result {
    let held = &report.held;
    heading(to, style, "held: not enforced until somebody decides", held.open)?;
    let mut shown = 0;
    for entry in held.entries.iter().filter(|entry| entry.is_open()).take(limit) {
        let Held { file, line, pattern, list, reason, instead, .. } = entry;
        let instead = instead.as_ref().map(|text| format!(" ({text})")).unwrap_or_default();
        let pattern = style.look(Plain(pattern));
        writeln!(
            to,
            "  {}:{line}  {pattern}  (list {}) {}{}",
            Plain(file),
            Plain(list),
            Plain(reason),
            Plain(&instead)
        )?;
        shown += 1;
    }
    let kept = held.entries.iter().filter(|entry| entry.is_open()).count();
    more(to, held.open, shown, if shown < kept { "; --all shows them" } else { "" })?;
    if held.dismissed + held.released > 0 {
        writeln!(to, "\ndecided {} dismissed, {} released", held.dismissed, held.released)?;
    }
    Ok(())
}

/// The lists, and what they come to.
fn lists(to: &mut String, report: &Report, style: Style) -> fmt::Result {
    writeln!(to)?;
    let head = ["list", "role", "mode", "format", "files", "entries", "rejected", "state"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for list in &report.lists {
        let formats = if list.formats.is_empty() { "-".to_owned() } else { list.formats.join("+") };
        let state = match (list.in_force, list.unusable_files) {
            (true, 0) => "ok".to_owned(),
            (true, some) => format!("{} unusable", counted(some as u64, "file")),
            (false, _) => "not in force".to_owned(),
        };
        let numbers = [list.files.to_string(), list.entries.to_string(), list.rejected.to_string()];
        let words = [Plain(&list.name).to_string(), list.role.clone(), list.mode.clone(), formats];
        rows.push(words.into_iter().chain(numbers).chain([state]).collect());
    }
    let lines = table(&rows, &[false, false, false, false, true, true, true, false]);
    for (index, line) in lines.lines().enumerate() {
        if index == 0 { writeln!(to, "{}", style.strong(line))? } else { writeln!(to, "{line}")? }
    }
    let (totals, orders) = (&report.totals, &report.orders);
    writeln!(to)?;
    writeln!(
        to,
        "total   {}, {}, {} ({} a name); read in {} ms, compiled in {} ms",
        counted(totals.rules as u64, "rule"),
        counted(totals.names as u64, "name"),
        size(totals.bytes),
        totals.bytes_per_name,
        totals.read_milliseconds,
        totals.compile_milliseconds,
    )?;
    writeln!(
        to,
        "orders  {} in force, {} pending, {} expired, {} revoked",
        orders.in_force, orders.pending, orders.expired, orders.revoked
    )?;
    if let Some(certificate) = &report.certificate {
        certificate.show(to, style)?;
    }
    for list in &report.lists {
        fetched(to, list)?;
    }
    for list in &report.review.lists {
        repetitions(to, list)?;
    }
    Ok(())
}

/// How old the local copy of a list from the web is.
fn fetched(to: &mut String, list: &ListLine) -> fmt::Result {
    let Some(fetched) = &list.fetched else { return Ok(()) };
    write!(to, "{}: ", Plain(&list.name))?;
    match (fetched.copy, fetched.age) {
        (true, Some(age)) => write!(to, "fetched {} ago", age_of(age))?,
        (true, None) => write!(to, "fetched, not known when")?,
        (false, _) => write!(to, "never fetched; a start of the server does it, and so does `qalqan fetch`")?,
    }
    match &fetched.last_error {
        Some(error) => writeln!(to, "; the last try failed: {}", Plain(error)),
        None => writeln!(to),
    }
}

/// A time in the unit that says enough.
fn age_of(seconds: i64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// What in a list is there more than once; nothing if nothing is.
fn repetitions(to: &mut String, list: &ListReview) -> fmt::Result {
    let counts = [
        (list.repeated, "repeated"),
        (list.further_orders, "repeated for another order"),
        (list.in_earlier_list, "also in an earlier list"),
        (list.redundant, "below another entry of the list"),
    ];
    let said: Vec<String> =
        counts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
    if said.is_empty() { Ok(()) } else { writeln!(to, "{}: entries {}", Plain(&list.list), said.join(", ")) }
}

/// Entries without effect and entries that are too wide.
fn findings(to: &mut String, report: &Report, style: Style) -> fmt::Result {
    let review = &report.review;
    found(to, "without effect because of allow entries", &review.shadowed, style, |found| {
        (&found.entry, format!("  <- {}  {}", spot(&found.allow), Plain(&found.allow.rule)))
    })?;
    if review.partly_shadowed > 0 {
        writeln!(to, "\n{} with exceptions by allow entries", counted(review.partly_shadowed, "block entry"))?;
    }
    found(to, "public suffixes: anybody can have a name below them", &review.public_suffixes, style, |place| {
        (place, format!("  (list {})", Plain(&place.list)))
    })
}

/// One sort of finding.
fn found<T>(
    to: &mut String,
    title: &str,
    found: &Found<T>,
    style: Style,
    line: impl Fn(&T) -> (&Place, String),
) -> fmt::Result {
    heading(to, style, title, found.count)?;
    for (place, rest) in found.shown.iter().map(line) {
        writeln!(to, "  {}  {}{rest}", spot(place), style.look(Plain(&place.rule)))?;
    }
    more(to, found.count, found.shown.len(), "")
}

/// Places with a reason.
fn remarks(to: &mut String, title: &str, count: u64, all: &[Remark], limit: usize, style: Style) -> fmt::Result {
    heading(to, style, title, count)?;
    let shown = all.len().min(limit);
    for remark in all.iter().take(shown) {
        let Remark { file, line, column, entry, reason, .. } = remark;
        let entry = style.look(Plain(entry));
        writeln!(to, "  {}:{line}:{column}  {entry}  {}", Plain(file), Plain(reason))?;
    }
    let hint = if shown < all.len() { "; --all shows those kept" } else { "" };
    more(to, count, shown, hint)
}

/// An empty line and a title with its count; nothing if there is nothing below it.
fn heading(to: &mut String, style: Style, title: &str, count: u64) -> fmt::Result {
    if count == 0 { Ok(()) } else { writeln!(to, "\n{}", style.strong(format_args!("{title} ({count})"))) }
}

/// Says what is not shown.
fn more(to: &mut String, count: u64, shown: usize, hint: &str) -> fmt::Result {
    match count.saturating_sub(shown as u64) {
        0 => Ok(()),
        hidden => writeln!(to, "  … and {hidden} more{hint}"),
    }
}

/// `file:line`, fit for a terminal.
fn spot(place: &Place) -> impl Display {
    format!("{}:{}", Plain(&place.file), place.line)
}

/// The last line.
fn verdict(to: &mut String, report: &Report, style: Style) -> fmt::Result {
    writeln!(to)?;
    match report.verdict {
        Verdict::Good => writeln!(to, "{}", style.strong("all is well")),
        Verdict::Look if report.lists.is_empty() => {
            writeln!(to, "{}", style.look("it can serve, but there are no lists: nothing is blocked"))
        }
        Verdict::Look => writeln!(to, "{}", style.look("it can serve; somebody should look at the above")),
        Verdict::CannotStart => writeln!(to, "{}", style.bad("it would not start")),
    }
}

/// A number of bytes with a unit people read.
fn size(bytes: usize) -> String {
    match bytes {
        0..10_240 => format!("{bytes} bytes"),
        10_240..10_485_760 => format!("{} KiB", bytes / 1024),
        _ => format!("{} MiB", bytes / 1_048_576),
    }
}
