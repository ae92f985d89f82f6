//! Orders as people read them.

use std::fmt::{self, Write};

use super::names::{OrderOn, Outlook, Resting};
use super::{OrderDetail, OrderRow};
use crate::cli::output::{Plain, Style, counted, table};

/// A table; `total` orders were asked for.
pub(super) fn rows(rows: &[OrderRow], total: usize, none: &str, style: Style) -> String {
    if rows.is_empty() {
        return format!("{none}\n");
    }
    let head = ["order", "authority", "state", "names", "enforced", "effective", "deadline", "expires", "lists"];
    let mut cells = vec![head.map(str::to_owned).to_vec()];
    cells.extend(rows.iter().map(row));
    let mut text = String::new();
    for (index, line) in table(&cells, &[false, false, false, true, true]).lines().enumerate() {
        let behind = index.checked_sub(1).and_then(|at| rows.get(at)).map_or("", |row| &*row.standing);
        text += &match behind {
            _ if index == 0 => style.strong(line).to_string(),
            "overdue" => style.bad(line).to_string(),
            "due" => style.look(line).to_string(),
            _ => line.to_owned(),
        };
        text.push('\n');
    }
    let more = total - rows.len();
    if more > 0 {
        text += &format!("… and {}; --all shows them\n", counted(more as u64, "more order"));
    }
    let behind: Vec<&OrderRow> = rows.iter().filter(|row| !row.missing.is_empty() || row.conflict).collect();
    for (index, row) in behind.iter().enumerate() {
        let gap = if index == 0 { "\n" } else { "" };
        let differ = if row.conflict { "its files tell it differently" } else { "" };
        let join = if row.conflict && !row.missing.is_empty() { "; " } else { "" };
        let what = format!("{}{join}{differ}", row.missing);
        text += &format!("{gap}{} of {}: {}\n", Plain(&row.id), Plain(&row.authority), style.look(Plain(&what)));
    }
    text
}

/// One order of it.
fn row(row: &OrderRow) -> Vec<String> {
    let date = |date: &Option<String>| date.clone().unwrap_or_else(|| "–".into());
    let state = match &*row.standing {
        "fine" => row.state.to_owned(),
        standing => format!("{}, {standing}", row.state),
    };
    let plain = |text: &str| Plain(text).to_string();
    let (names, enforced) = (row.names.to_string(), row.enforced.to_string());
    let dates = [date(&row.effective), date(&row.deadline), date(&row.expires)];
    let words = [plain(&row.id), plain(&row.authority), state, names, enforced];
    words.into_iter().chain(dates).chain([plain(&row.lists.join(", "))]).collect()
}

/// Everything about one.
pub(super) fn detail(detail: &OrderDetail, style: Style) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = write_detail(&mut text, detail, style);
    text
}

/// Writes it line by line.
fn write_detail(to: &mut String, detail: &OrderDetail, style: Style) -> fmt::Result {
    let row = &detail.row;
    let of = format!("{} of {}", row.id, row.authority);
    write!(to, "{}: {}", style.strong(Plain(&of)), row.state)?;
    match &*row.standing {
        "fine" => writeln!(to)?,
        standing => writeln!(to, ", {}", style.bad(standing))?,
    }
    let (reference, contact) = (detail.reference.join(", "), detail.contact.join(", "));
    let none = String::new();
    let known = |date: &'_ Option<String>| date.clone().unwrap_or_else(|| none.clone());
    let fields = [
        ("requested by", detail.requested_by.clone()),
        ("legal basis", detail.legal_basis.clone()),
        ("reference", reference),
        ("issued", known(&detail.issued)),
        ("effective", known(&row.effective)),
        ("deadline", known(&row.deadline)),
        ("expires", known(&row.expires)),
        ("revoked", known(&row.revoked)),
        ("contact", contact),
        ("url", detail.url.clone()),
    ];
    for (label, value) in fields.iter().filter(|(_, value)| !value.is_empty()) {
        field(to, label, value)?;
    }
    field(to, "names", &format!("{}, {} enforced", row.names, row.enforced))?;
    if !row.missing.is_empty() {
        writeln!(to, "  {:<13} {}", "missing", style.bad(Plain(&row.missing)))?;
    }
    for conflict in &detail.conflicts {
        let said = conflict.values.iter().map(|said| {
            let value = if said.value.is_empty() { "nothing" } else { &said.value };
            format!("{value} in {} (list {})", said.file, said.list)
        });
        let said = said.collect::<Vec<_>>().join(", ");
        writeln!(to, "  {:<13} {}: {}", "differs", conflict.field, style.look(Plain(&said)))?;
    }
    for file in &detail.files {
        let refused = if file.refused { ", present content refused" } else { "" };
        field(to, "file", &format!("{}, list {} ({}){refused}", file.file, file.list, file.mode))?;
        field(to, "", &file.version.to_string())?;
    }
    for name in &detail.places {
        field(to, "name", &format!("{}, {}:{}", name.rule, name.file, name.line))?;
    }
    match detail.more_names {
        0 => Ok(()),
        more => field(to, "", &format!("… and {}; --all shows them", counted(more, "more entry"))),
    }
}

/// What a name rests on.
pub(super) fn resting(resting: &Resting, style: Style) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = write_resting(&mut text, resting, style);
    text
}

/// Writes it line by line.
fn write_resting(to: &mut String, resting: &Resting, style: Style) -> fmt::Result {
    let Resting { name, blocked, outlook, at, orders, more, without_order } = resting;
    let at = at.as_deref().unwrap_or_default();
    let state = if *blocked { style.bad("blocked").to_string() } else { "not blocked".to_owned() };
    let until = match outlook {
        Outlook::Lifts => format!(" until {at}, when the last order in force ends"),
        Outlook::Open => "; no date lifts it, for an order in force has no end".into(),
        Outlook::WithoutOrder => "; no date lifts it, for a rule rests on no order".into(),
        Outlook::Begins => format!("; it will be from {at} on"),
        Outlook::NotBlocked => String::new(),
        Outlook::Excepted => "; an exception takes it back".into(),
    };
    writeln!(to, "{}: {state}{until}", style.strong(Plain(name)))?;
    if orders.is_empty() {
        writeln!(to, "  it rests on no order")?;
    }
    for order in orders {
        self::order(to, order)?;
    }
    if *more > 0 {
        writeln!(to, "  … and {}; --all shows them", counted(*more, "more rule"))?;
    }
    match without_order {
        Some(place) => field(to, "no order", &format!("{place}, list {}", place.list)),
        None => Ok(()),
    }
}

/// A rule on an order.
fn order(to: &mut String, on: &OrderOn) -> fmt::Result {
    let dates = [("effective", &on.effective), ("expires", &on.expires), ("revoked", &on.revoked)];
    let dates = dates.into_iter().filter_map(|(label, date)| date.as_ref().map(|date| format!(", {label} {date}")));
    let dates: String = dates.collect();
    writeln!(to, "  {} of {}: {}{dates}", Plain(&on.id), Plain(&on.authority), on.state)?;
    let place = &on.place;
    writeln!(to, "    {}, list {} ({})", Plain(&place.to_string()), Plain(&place.list), on.mode)
}

/// `  label   text`
fn field(to: &mut String, label: &str, text: &str) -> fmt::Result {
    writeln!(to, "  {label:<13} {}", Plain(text))
}
