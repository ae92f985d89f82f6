//! What registers have in common, whatever they are written in: a name a record, and what is known of its order.

use super::date;
use super::domains::subtree_unless;
use super::entry;
use super::sink::{Pattern, Sink};
use super::text::Line;
use crate::rule::{Order, Scope};

/// The column that says which names an entry covers, unless the configuration names another.
pub(super) const SCOPE: &str = "scope";

/// Names of columns are compared without case, in any script.
pub(super) fn same(a: &str, b: &str) -> bool {
    a.eq_ignore_ascii_case(b) || a.to_lowercase() == b.trim().to_lowercase()
}

/// What a name and the scope column say together: the bare name, where it starts in `name`, and its pattern.
///
/// # Errors
/// In words: no such scope.
pub(super) fn pattern<'n>(name: &'n str, scope: &str) -> Result<(&'n str, usize, Pattern), String> {
    let (bare, skip, mark) = entry::marked(name);
    let said = match scope.trim() {
        "" => return Ok((bare, skip, subtree_unless(mark))),
        word if same(word, "subtree") => Scope::Subtree,
        word if same(word, "exact") => Scope::Exact,
        word if same(word, "below") => Scope::Below,
        word => return Err(format!("`{}` is no scope: subtree, exact or below", super::sink::shorten(word))),
    };
    Ok((bare, skip, subtree_unless(Some(said))))
}

/// The order of a record: its own, or the list's with what the record adds to it. `cell` gives a field, trimmed; empty
/// if there is none.
///
/// # Errors
/// In words: a date that is none, or one without an order.
pub(super) fn order<'c>(cell: impl Fn(&str) -> &'c str, sink: &mut Sink<'_>) -> Result<Option<u32>, String> {
    let listed = sink.spec().order.as_ref();
    let mut order = match listed {
        Some(order) if cell("id").is_empty() => order.clone(),
        _ => Order { id: cell("id").to_owned(), ..Order::default() },
    };
    let set = |to: &mut String, field| {
        if !cell(field).is_empty() {
            cell(field).clone_into(to);
        }
    };
    set(&mut order.authority, "authority");
    set(&mut order.requested_by, "requested_by");
    set(&mut order.legal_basis, "legal_basis");
    set(&mut order.url, "url");
    let many = |to: &mut Vec<String>, field| {
        if !cell(field).is_empty() {
            let parts = cell(field).split(['|', ';', '\n']).map(str::trim).filter(|part| !part.is_empty());
            *to = parts.map(str::to_owned).collect();
        }
    };
    many(&mut order.reference, "reference");
    many(&mut order.contact, "contact");
    let mut dated = false;
    let mut date = |to: &mut _, field| {
        if !cell(field).is_empty() {
            *to = Some(date::parse(cell(field)).map_err(|error| format!("`{field}`: {error}"))?);
            dated = true;
        }
        Ok::<(), String>(())
    };
    date(&mut order.issued, "issued")?;
    date(&mut order.effective, "effective")?;
    date(&mut order.deadline, "deadline")?;
    date(&mut order.expires, "expires")?;
    date(&mut order.revoked, "revoked")?;
    if order.id.is_empty() {
        // Dropping the record's dates would block it before its time, or for ever.
        return if dated { Err("a date without the id of an order".to_owned()) } else { Ok(None) };
    }
    if Some(&order) == listed {
        return Ok(None);
    }
    Ok(Some(sink.order(order)))
}

/// A place in the text with its line number.
#[derive(Clone, Copy)]
pub(super) struct Cursor<'a> {
    text: &'a str,
    at: usize,
    /// From 1.
    pub line: u32,
}

impl<'a> Cursor<'a> {
    /// At the start.
    pub fn new(text: &'a str) -> Self {
        Self { text, at: 0, line: 1 }
    }

    /// What follows.
    pub fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// The line it is at, from there on.
    pub fn line(&self) -> Line<'a> {
        let text = self.rest().split(['\n', '\r']).next().unwrap_or_default();
        Line { number: self.line, text }
    }

    /// Moves to byte `to`, and on over line ends to where the row there really starts.
    pub fn advance(&mut self, to: usize) {
        let bytes = self.text.as_bytes();
        while let Some(&byte) = bytes.get(self.at) {
            let ends_line = matches!(byte, b'\n' | b'\r');
            if self.at >= to && !ends_line {
                return;
            }
            let pair = byte == b'\r' && bytes.get(self.at + 1) == Some(&b'\n');
            self.at += if pair { 2 } else { 1 };
            self.line = self.line.saturating_add(u32::from(ends_line));
        }
    }
}
