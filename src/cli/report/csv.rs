//! Rows as spreadsheets read them: RFC 4180, UTF-8, a header row.

use std::io::{self, Write};

use super::data::Data;
use super::line::{COLUMNS, Line, Lines};

/// Writes all rows.
pub(super) fn write(data: &Data, to: &mut dyn Write) -> io::Result<()> {
    let mut table = ::csv::WriterBuilder::new().terminator(::csv::Terminator::CRLF).from_writer(to);
    table.write_record(COLUMNS).map_err(io_error)?;
    let mut lines = Lines::of(data);
    for line in data.rows.iter().filter_map(|row| lines.line(row)) {
        table.write_record(cells(&line)).map_err(io_error)?;
    }
    table.flush()
}

/// A line as cells.
fn cells(line: &Line<'_>) -> [String; COLUMNS.len()] {
    let number = |number: Option<u64>| number.map(|number| number.to_string()).unwrap_or_default();
    let text = |text: Option<&str>| inert(text.unwrap_or_default());
    [
        line.from.to_string(),
        line.to.to_string(),
        inert(line.name),
        text(line.order),
        text(line.authority),
        text(line.legal_basis),
        inert(line.list),
        inert(&line.other_lists.join("; ")),
        line.outcome.to_owned(),
        line.hits.to_string(),
        line.attempts.to_string(),
        line.unexamined.to_string(),
        line.clients.clone().unwrap_or_default(),
        number(line.clients_low),
        number(line.clients_high),
        line.first_hit.to_string(),
        line.last_hit.to_string(),
        line.precision.to_owned(),
    ]
}

/// A cell that no spreadsheet takes for a formula: names and orders come from outside. What begins with a sign gets a
/// single quote before it.
fn inert(cell: &str) -> String {
    if cell.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']) { format!("'{cell}") } else { cell.to_owned() }
}

/// What the system said, as it said it.
fn io_error(error: ::csv::Error) -> io::Error {
    match error.into_kind() {
        ::csv::ErrorKind::Io(error) => error,
        other => io::Error::other(format!("{other:?}")),
    }
}
