//! A register with a header row: a name a row and whatever order columns there are.

use csv::{ReaderBuilder, StringRecord};

use super::entry::Reason;
use super::register::{self, Cursor, same};
use super::sink::{Sink, shorten};
use super::text::Lines;
use super::{Refusal, Spec};
use crate::name::NameProblem;
use crate::rule::Order;

/// The most columns a register may have; bounds the work for a header of megabytes.
const MAX_COLUMNS: usize = 1000;

/// The characters that may stand between fields.
const DELIMITERS: [char; 3] = [';', ',', '\t'];

/// Reads a `csv` file.
///
/// # Errors
/// The header has no column for the name, or lacks one the configuration maps, or a quote is never
/// closed: what follows it would be lost without a word.
pub(super) fn read(text: &str, sink: &mut Sink<'_>) -> Result<(), Refusal> {
    let (start, delimiter) = header(text).ok_or_else(|| Refusal::BadCsv("no header row".to_owned()))?;
    let mut reader = ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .delimiter(delimiter as u8)
        .from_reader(text.get(start..).unwrap_or_default().as_bytes());
    let mut record = StringRecord::new();
    let mut columns = None;
    let mut cursor = Cursor::new(text);
    loop {
        let row = start.saturating_add(usize::try_from(reader.position().byte()).unwrap_or(usize::MAX));
        match reader.read_record(&mut record) {
            Ok(true) => {}
            Ok(false) => break,
            Err(error) => return Err(Refusal::BadCsv(error.to_string())),
        }
        cursor.advance(row);
        let Some(columns) = &columns else {
            columns = Some(Places::find(&record, sink.spec())?);
            continue;
        };
        if record.iter().any(|cell| !cell.trim().is_empty()) {
            read_row(&record, columns, delimiter, cursor, sink);
        }
    }
    // The last row is the only one a quote can be left open in.
    if locate(cursor.rest(), delimiter, usize::MAX).is_none() {
        let why = format!("a quote opened in the row that starts on line {} is never closed", cursor.line);
        return Err(Refusal::BadCsv(why));
    }
    Ok(())
}

/// Whether a line is the header of a register with the name column `spec` asks for.
pub(super) fn is_header(line: &str, spec: &Spec) -> bool {
    is_excel_hint(line)
        || line
            .split(delimiter_of(line))
            .take(MAX_COLUMNS)
            .any(|cell| same(cell.trim().trim_matches('"'), &spec.columns.domain))
}

/// Where the header starts, behind comments and Excel's `sep=;`, and its delimiter.
fn header(text: &str) -> Option<(usize, char)> {
    let mut hint = None;
    for line in Lines::new(text) {
        let body = line.text.trim();
        if is_excel_hint(body) {
            hint = body.chars().last();
        } else if !body.is_empty() && !body.starts_with('#') {
            // Both are parts of one text, so their addresses give the offset.
            let start = (line.text.as_ptr() as usize).saturating_sub(text.as_ptr() as usize);
            return Some((start, hint.unwrap_or_else(|| delimiter_of(body))));
        }
    }
    None
}

/// `sep=;`
fn is_excel_hint(line: &str) -> bool {
    line.strip_prefix("sep=").is_some_and(|rest| rest.chars().count() == 1 && rest.contains(DELIMITERS))
}

/// The delimiter there is most of outside quotes.
fn delimiter_of(header: &str) -> char {
    let count = |wanted: char| {
        let mut quoted = false;
        header
            .chars()
            .filter(|&c| {
                quoted ^= c == '"';
                !quoted && c == wanted
            })
            .count()
    };
    DELIMITERS.into_iter().rev().max_by_key(|&delimiter| count(delimiter)).unwrap_or(',')
}

/// Where each column stands.
struct Places {
    domain: usize,
    scope: Option<usize>,
    /// By index into [`Order::FIELDS`].
    order: [Option<usize>; Order::FIELDS.len()],
}

impl Places {
    /// Finds them in the header.
    fn find(header: &StringRecord, spec: &Spec) -> Result<Self, Refusal> {
        if header.len() > MAX_COLUMNS {
            return Err(Refusal::BadCsv(format!("over {MAX_COLUMNS} columns in its header")));
        }
        let find = |name: &str| header.iter().position(|cell| same(cell.trim(), name));
        let missing = |name: &str| {
            let names = header.iter().take(30).map(|cell| format!("`{}`", shorten(cell.trim()))).collect::<Vec<_>>();
            Refusal::BadCsv(format!("no column `{name}` in its header, which has {}", names.join(", ")))
        };
        let scope = match &spec.columns.scope {
            Some(name) => Some(find(name).ok_or_else(|| missing(name))?),
            None => find(register::SCOPE),
        };
        let domain = find(&spec.columns.domain).ok_or_else(|| missing(&spec.columns.domain))?;
        let mut order = [None; Order::FIELDS.len()];
        for (field, column) in Order::FIELDS.iter().zip(&mut order) {
            let mapped = spec.columns.order.iter().find(|(name, _)| name == field).map(|(_, name)| name);
            *column = match mapped {
                Some(name) => Some(find(name).ok_or_else(|| missing(name))?),
                None if *field == "id" => find("id").or_else(|| find("order")),
                None => find(field),
            };
        }
        Ok(Self { domain, scope, order })
    }

    /// The trimmed cell of an order field; empty if there is none.
    fn cell<'r>(&self, record: &'r StringRecord, field: &str) -> &'r str {
        let index =
            Order::FIELDS.iter().zip(self.order).find(|(name, _)| **name == field).and_then(|(_, column)| column);
        index.and_then(|index| record.get(index)).unwrap_or_default().trim()
    }
}

/// One row that holds something.
fn read_row(record: &StringRecord, columns: &Places, delimiter: char, cursor: Cursor<'_>, sink: &mut Sink<'_>) {
    let cell = record.get(columns.domain).unwrap_or_default();
    if columns.domain == 0 && cell.trim_start().starts_with('#') {
        return;
    }
    sink.line();
    let line = cursor.line();
    let place = || {
        let at = locate(cursor.rest(), delimiter, columns.domain).unwrap_or_default();
        at + cell.len() - cell.trim_start().len()
    };
    let name = cell.trim();
    let scope = columns.scope.and_then(|index| record.get(index)).unwrap_or_default();
    let order = match register::order(|field| columns.cell(record, field), sink) {
        Ok(order) => order,
        Err(why) => return sink.reject_because(line, 0, name, why),
    };
    if name.is_empty() {
        // The order stands there, and its name is missing.
        let why = Reason::Name(NameProblem::Empty).about(name);
        return sink.reject_of(line, place(), name, why, order.or(sink.list_order()));
    }
    match register::pattern(name, scope) {
        Ok((bare, skip, pattern)) => {
            sink.entry_of_order(line, place() + skip, bare, pattern, sink.effect(), order);
        }
        Err(why) => sink.reject_of(line, 0, name, why, order.or(sink.list_order())),
    }
}

/// Where field `index` of the row at the start of `text` begins, or the row's end if it has fewer;
/// `None` if a quote is never closed.
fn locate(text: &str, delimiter: char, index: usize) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut at = 0;
    for _ in 0..index {
        if bytes.get(at) == Some(&b'"') {
            at += 1;
            loop {
                at += bytes.get(at..)?.iter().position(|&b| b == b'"')? + 1;
                if bytes.get(at) != Some(&b'"') {
                    break;
                }
                at += 1;
            }
        }
        let rest = bytes.get(at..)?;
        let Some(end) = rest.iter().position(|&b| b == delimiter as u8 || b == b'\n' || b == b'\r') else {
            return Some(bytes.len());
        };
        if bytes.get(at + end) != Some(&(delimiter as u8)) {
            return Some(at + end);
        }
        at += end + 1;
    }
    // Inside the quotes, if there are any.
    Some(at + usize::from(bytes.get(at) == Some(&b'"')))
}
