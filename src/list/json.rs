//! A register in JSON: an array of objects, alone or as the only such member of an object, or an object a line.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Deserializer, Value};

use super::register::{self, Cursor, same};
use super::sink::Sink;
use super::{Columns, OrderProblem, Refusal, Spec};
use crate::rule::Order;

/// How many characters have a say in what a file is.
const LOOKED_AT: usize = 64 << 10;

/// A record, its values as they stand in the text.
type Record<'t> = BTreeMap<Cow<'t, str>, &'t RawValue>;

/// Between the parts of a text that stands for several, as in a csv.
const PARTS: &str = "|";

/// Reads a `json` file.
///
/// # Errors
/// It is no JSON, or nothing in it looks like a register.
pub(super) fn read(text: &str, sink: &mut Sink<'_>) -> Result<(), Refusal> {
    let mut cursor = Cursor::new(text);
    for record in records(text)? {
        cursor.advance(offset(text, record.get()));
        sink.line();
        match serde_json::from_str::<Record<'_>>(record.get()) {
            Ok(members) => read_record(text, &members, &mut cursor, sink),
            Err(_) => sink.reject_because(cursor.line(), 0, record.get(), "not an object with a name in it"),
        }
    }
    Ok(())
}

/// Whether a line may be the first of such a file.
pub(super) fn is_start(line: &str) -> bool {
    let mut signs = line.chars().filter(|c| !c.is_whitespace());
    match (signs.next(), signs.next()) {
        (Some('{'), None | Some('"' | '}')) => true,
        (Some('['), next) => matches!(next, None | Some('{' | '"' | ']')),
        _ => false,
    }
}

/// Whether the member with the name stands in the beginning of a file.
pub(super) fn has_names(text: &str, spec: &Spec) -> bool {
    let start: String = text.chars().take(LOOKED_AT).collect();
    start.to_lowercase().contains(&format!("\"{}\"", spec.columns.domain.to_lowercase()))
}

/// The records in their order.
fn records(text: &str) -> Result<Vec<&RawValue>, Refusal> {
    let mut values = Deserializer::from_str(text).into_iter::<&RawValue>();
    let first = values.next().ok_or(Refusal::Empty)?.map_err(|error| broken(text, 0, &error))?;
    let mut found = vec![first];
    for more in values {
        found.push(more.map_err(|error| broken(text, 0, &error))?);
    }
    if found.len() > 1 {
        return Ok(found);
    }
    let at = offset(text, first.get());
    let whole = |error: serde_json::Error| broken(text, at, &error);
    match first.get().as_bytes().first() {
        Some(b'[') => serde_json::from_str(first.get()).map_err(whole),
        Some(b'{') => {
            let members: Record<'_> = serde_json::from_str(first.get()).map_err(whole)?;
            let mut arrays = members.values().filter(|value| is_array_of_objects(value.get()));
            match (arrays.next(), arrays.next()) {
                (Some(array), None) => serde_json::from_str(array.get()).map_err(whole),
                (Some(_), Some(_)) => {
                    Err(no_register(text, "several arrays of objects; which is the register is unclear"))
                }
                // One entry, written without its array.
                (None, _) => Ok(found),
            }
        }
        _ => Err(no_register(text, "neither an array nor an object")),
    }
}

/// `[{ …`
fn is_array_of_objects(raw: &str) -> bool {
    raw.strip_prefix('[').is_some_and(|rest| rest.trim_start().starts_with('{'))
}

/// One record.
fn read_record(text: &str, members: &Record<'_>, cursor: &mut Cursor<'_>, sink: &mut Sink<'_>) {
    let columns = &sink.spec().columns;
    let cells = cells(members, columns);
    let field = |wanted: &str| {
        Order::FIELDS.iter().zip(&cells).find(|(name, _)| **name == wanted).map_or("", |(_, cell)| cell.trim())
    };
    let order = register::order(field, sink);
    // What is no name keeps the order it stands in from being enforced as a whole.
    let of = order.as_ref().ok().and_then(|order| order.or(sink.list_order()));
    let Some(names) = member(members, &columns.domain) else {
        let why = format!("no `{}` in it", columns.domain);
        return sink.reject_of(cursor.line(), 0, "{…}", why, of);
    };
    let scope = member(members, columns.scope.as_deref().unwrap_or(register::SCOPE)).map(cell).unwrap_or_default();
    let names: Vec<&RawValue> =
        if names.get().starts_with('[') { serde_json::from_str(names.get()).unwrap_or_default() } else { vec![names] };
    if names.is_empty() {
        sink.reject_of(cursor.line(), 0, "[]", "no name in it", of);
    }
    for raw in names {
        cursor.advance(offset(text, raw.get()));
        let line = cursor.line();
        let Ok(name) = serde_json::from_str::<Cow<'_, str>>(raw.get()) else {
            sink.reject_of(line, 0, raw.get(), "the name must be a text in quotes", of);
            continue;
        };
        let name = name.trim();
        let order = match &order {
            Ok(order) => *order,
            Err(why) => {
                sink.reject_because(line, 0, name, why);
                continue;
            }
        };
        match register::pattern(name, &scope) {
            // Behind the quote; what is escaped before the name shifts the column and nothing else.
            Ok((bare, skip, pattern)) => {
                sink.entry_of_order(line, 1 + skip, bare, pattern, sink.effect(), order);
            }
            Err(why) => sink.reject_of(line, 0, name, why, order.or(sink.list_order())),
        }
    }
}

/// The cells of the order's fields, in the order of [`Order::FIELDS`].
fn cells(members: &Record<'_>, columns: &Columns) -> Vec<String> {
    let named = |field: &str| columns.order.iter().find(|(name, _)| name == field).map(|(_, member)| member.as_str());
    let find = |field: &&str| match named(field) {
        Some(name) => member(members, name),
        None if *field == "id" => member(members, "id").or_else(|| member(members, "order")),
        None => member(members, field),
    };
    Order::FIELDS.iter().map(|field| find(field).map(cell).unwrap_or_default()).collect()
}

/// The member of this name.
fn member<'t>(members: &Record<'t>, name: &str) -> Option<&'t RawValue> {
    members.get(name).or_else(|| members.iter().find(|(key, _)| same(key, name)).map(|(_, value)| value)).copied()
}

/// A value as a csv would have it: texts and numbers as they are, arrays with bars between, nothing for null.
fn cell(raw: &RawValue) -> String {
    match Value::deserialize(raw) {
        Ok(Value::String(text)) => text,
        Ok(Value::Array(parts)) => {
            let parts = parts.iter().filter(|part| !part.is_null());
            parts
                .map(|part| part.as_str().map_or_else(|| part.to_string(), str::to_owned))
                .collect::<Vec<_>>()
                .join(PARTS)
        }
        Ok(Value::Null) | Err(_) => String::new(),
        Ok(other) => other.to_string(),
    }
}

/// Where `part`, which is a piece of `text`, starts in it.
fn offset(text: &str, part: &str) -> usize {
    (part.as_ptr() as usize).saturating_sub(text.as_ptr() as usize)
}

/// What the parser says, at its place; `base` is where what it read starts.
fn broken(text: &str, base: usize, error: &serde_json::Error) -> Refusal {
    let mut cursor = Cursor::new(text);
    cursor.advance(base);
    let shown = error.to_string();
    let message = shown.rsplit_once(" at line ").map_or(shown.as_str(), |(message, _)| message).to_owned();
    let number = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
    let line = cursor.line.saturating_add(number(error.line()).saturating_sub(1));
    Refusal::BadJson(OrderProblem { line, column: number(error.column()).max(1), message })
}

/// Sound JSON that is no register.
fn no_register(text: &str, why: &str) -> Refusal {
    let mut cursor = Cursor::new(text);
    cursor.advance(text.len() - text.trim_start().len());
    Refusal::BadJson(OrderProblem { line: cursor.line, column: 1, message: why.to_owned() })
}
