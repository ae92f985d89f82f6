//! Rows as spreadsheets read them: RFC 4180, UTF-8, a header row.

use std::borrow::Cow;
use std::io::{self, Write};

use super::data::Data;
use super::line::{COLUMNS, Line, Lines};

/// Writes all rows.
pub(super) fn write(data: &Data, to: &mut dyn Write) -> io::Result<()> {
    let mut table = ::csv::WriterBuilder::new().terminator(::csv::Terminator::CRLF).from_writer(to);
    table.write_record(COLUMNS).map_err(io_error)?;
    let mut lines = Lines::of(data);
    for line in data.rows.iter().filter_map(|row| lines.line(row)) {
        row(&line, &mut |cell| table.write_field(cell)).map_err(io_error)?;
        table.write_record(None::<&[u8]>).map_err(io_error)?;
    }
    table.flush()
}

/// A line, cell by cell: a row for each hour of a month has millions of them.
fn row(line: &Line<'_>, cell: &mut dyn FnMut(&str) -> ::csv::Result<()>) -> ::csv::Result<()> {
    let number = |number: Option<u64>| number.map(|number| number.to_string()).unwrap_or_default();
    cell(&line.from)?;
    cell(&line.to)?;
    cell(&inert(line.name))?;
    for text in [line.order, line.authority, line.legal_basis, Some(line.list)] {
        cell(&inert(text.unwrap_or_default()))?;
    }
    cell(&inert(&line.other_lists.join("; ")))?;
    cell(line.outcome)?;
    for count in [line.hits, line.attempts, line.unexamined] {
        cell(&count.to_string())?;
    }
    cell(line.clients.as_deref().unwrap_or_default())?;
    cell(&number(line.clients_low))?;
    cell(&number(line.clients_high))?;
    cell(&line.first_hit)?;
    cell(&line.last_hit)?;
    cell(line.precision)
}

/// A cell that no spreadsheet takes for a formula: names and orders come from outside. What begins with a sign gets a
/// single quote before it.
fn inert(cell: &str) -> Cow<'_, str> {
    if cell.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']) { format!("'{cell}").into() } else { cell.into() }
}

/// What the system said, as it said it.
fn io_error(error: ::csv::Error) -> io::Error {
    match error.into_kind() {
        ::csv::ErrorKind::Io(error) => error,
        other => io::Error::other(format!("{other:?}")),
    }
}
