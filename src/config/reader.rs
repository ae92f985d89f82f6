//! Walks a parsed TOML document key by key. Whatever will not do is noted with its place and replaced by
//! the default, so that one reading finds every problem.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::units;
use super::wording::{MAX_QUOTE, describe, did_you_mean, kind_of, quote};

/// A setting's default and the range it must be in: the one place where these numbers stand.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits<T> {
    /// Without the key.
    pub default: T,
    /// The least that is accepted.
    pub min: T,
    /// The most that is accepted.
    pub max: T,
}

/// How many problems are kept; a file with more of them is no configuration.
pub(super) const MAX_PROBLEMS: usize = 1000;

/// A section and a key in it, like `("server.tcp", "idle")`.
pub(super) type Key = (String, &'static str);

/// Collects what a reading finds.
#[derive(Debug, Default)]
pub(super) struct Sink {
    /// The first [`MAX_PROBLEMS`] problems by byte offset, and how many came after them.
    problems: RefCell<Vec<(usize, String)>>,
    more: Cell<usize>,
    /// Keys that were asked for, and those among them the file has.
    asked: RefCell<BTreeSet<Key>>,
    found: RefCell<BTreeSet<Key>>,
}

impl Sink {
    /// Notes a problem at a byte offset.
    pub(super) fn problem(&self, at: usize, message: impl fmt::Display) {
        let mut problems = self.problems.borrow_mut();
        if problems.len() < MAX_PROBLEMS {
            problems.push((at, message.to_string()));
        } else {
            self.more.set(self.more.get() + 1);
        }
    }

    /// The problems in the order they were found, and how many more there were.
    pub(super) fn into_problems(self) -> (Vec<(usize, String)>, usize) {
        (self.problems.into_inner(), self.more.get())
    }

    /// Every key there is, and every key the file has.
    #[cfg(test)]
    pub(super) fn keys(&self) -> (BTreeSet<Key>, BTreeSet<Key>) {
        (self.asked.borrow().clone(), self.found.borrow().clone())
    }
}

/// A table being read. [`Self::finish`] must be called, as it is what refuses unknown keys, unless the keys are
/// the operator's own ([`Self::entries`]).
#[derive(Debug)]
#[must_use]
pub(super) struct Table<'a> {
    sink: &'a Sink,
    table: Option<&'a DeTable<'a>>,
    /// Where problems of the table as a whole are shown.
    at: usize,
    /// Like `server.tcp`; empty at the top.
    section: String,
    /// Like `[server.tcp]`.
    shown: String,
    known: Vec<&'static str>,
}

impl<'a> Table<'a> {
    /// The whole document.
    pub(super) fn top(sink: &'a Sink, document: &'a DeTable<'a>) -> Self {
        Self { sink, table: Some(document), at: 0, section: String::new(), shown: String::new(), known: Vec::new() }
    }

    /// Whether the file has the table at all.
    pub(super) fn is_there(&self) -> bool {
        self.table.is_some()
    }

    /// Notes a problem of the table as a whole.
    pub(super) fn problem(&self, message: impl fmt::Display) {
        self.sink.problem(self.at, format_args!("{}: {message}", self.shown));
    }

    /// The value of `key`, which is known from then on.
    pub(super) fn field(&mut self, key: &'static str) -> Option<Field<'a>> {
        if !self.known.contains(&key) {
            self.known.push(key);
        }
        self.sink.asked.borrow_mut().insert((self.section.clone(), key));
        let item = self.table?.get(key)?;
        self.sink.found.borrow_mut().insert((self.section.clone(), key));
        Some(self.field_at(key, item))
    }

    /// A key that must be there.
    pub(super) fn required(&mut self, key: &'static str, example: &str) -> Option<Field<'a>> {
        let field = self.field(key);
        if field.is_none() {
            self.problem(format_args!("`{key}` is missing; write it like {key} = {example}"));
        }
        field
    }

    /// `true` or `false`.
    pub(super) fn flag(&mut self, key: &'static str, default: bool) -> bool {
        let Some(field) = self.field(key) else { return default };
        match field.item.get_ref() {
            DeValue::Boolean(flag) => *flag,
            _ => {
                field.wrong_type("true or false");
                default
            }
        }
    }

    /// A whole number within limits.
    pub(super) fn count(&mut self, key: &'static str, limits: Limits<usize>) -> usize {
        let Some(field) = self.field(key) else { return limits.default };
        let DeValue::Integer(number) = field.item.get_ref() else {
            field.wrong_type("a whole number");
            return limits.default;
        };
        let value = usize::from_str_radix(number.as_str(), number.radix()).ok();
        value.filter(|v| (limits.min..=limits.max).contains(v)).unwrap_or_else(|| {
            field.wrong(format_args!("must be from {} to {}", limits.min, limits.max));
            limits.default
        })
    }

    /// A duration within limits.
    pub(super) fn duration(&mut self, key: &'static str, limits: Limits<Duration>) -> Duration {
        self.quantity(key, limits, units::duration, units::show_duration)
    }

    /// A size within limits.
    pub(super) fn size(&mut self, key: &'static str, limits: Limits<u64>) -> u64 {
        self.quantity(key, limits, units::size, units::show_size)
    }

    /// One of a few words.
    pub(super) fn choice<T: Copy>(&mut self, key: &'static str, choices: &[(&'static str, T)], default: T) -> T {
        self.field(key).and_then(|field| field.choice(choices)).unwrap_or(default)
    }

    /// A text that `read` understands.
    pub(super) fn text<T, E: fmt::Display>(
        &mut self,
        key: &'static str,
        read: impl Fn(&str) -> Result<T, E>,
    ) -> Option<T> {
        self.field(key)?.read(read)
    }

    /// A list of `many` texts that `read` understands; `None` without the key.
    pub(super) fn texts<T: PartialEq, E: fmt::Display>(
        &mut self,
        key: &'static str,
        many: RangeInclusive<usize>,
        read: impl Fn(&str) -> Result<T, E>,
    ) -> Option<Vec<T>> {
        Some(self.field(key)?.read_all(many, read))
    }

    /// A table in this one; reads like an empty one if it is not there.
    pub(super) fn table(&mut self, key: &'static str) -> Table<'a> {
        let field = self.field(key);
        let table = field.as_ref().and_then(Field::table);
        let section = self.section_of(key);
        let shown = format!("[{section}]");
        let at = field.map_or(self.at, |f| f.at());
        Table { sink: self.sink, table, at, section, shown, known: Vec::new() }
    }

    /// The tables of a `[[key]]` of which there may be `most`.
    pub(super) fn tables(&mut self, key: &'static str, most: usize) -> Vec<Table<'a>> {
        let section = self.section_of(key);
        let shown = format!("[[{section}]]");
        let Some(field) = self.field(key) else { return Vec::new() };
        let DeValue::Array(items) = field.item.get_ref() else {
            field.wrong(format_args!("there may be several: write {shown} with two brackets"));
            return Vec::new();
        };
        if items.len() > most {
            field.wrong(format_args!("at most {most} may be given"));
        }
        let items = items.iter().take(most).map(|item| self.field_at(key, item));
        let table = |item: Field<'a>| {
            let (table, at) = (Some(item.table()?), item.at());
            Some(Table {
                sink: self.sink,
                table,
                at,
                section: section.clone(),
                shown: shown.clone(),
                known: Vec::new(),
            })
        };
        items.filter_map(table).collect()
    }

    /// All keys of a table whose keys are the operator's own.
    pub(super) fn entries(&self) -> Vec<(&'a str, Field<'a>)> {
        let entries = self.table.into_iter().flat_map(|table| table.iter());
        entries.map(|(key, item)| (key.get_ref().as_ref(), self.field_at(key.get_ref(), item))).collect()
    }

    /// Refuses every key that nothing asked for.
    pub(super) fn finish(self) {
        for (key, item) in self.table.into_iter().flat_map(|table| table.iter()) {
            let found = key.get_ref().as_ref();
            if self.known.contains(&found) {
                continue;
            }
            let place = if self.shown.is_empty() { String::new() } else { format!(" in {}", self.shown) };
            let kind = if self.shown.is_empty() && item.get_ref().is_table() { "section" } else { "key" };
            let known = self.known.join(", ");
            let hint = did_you_mean(found, self.known.iter().copied());
            let message = format!("unknown {kind} {}{place}{hint}; known are: {known}", quote(found));
            self.sink.problem(key.span().start, message);
        }
    }

    /// A value of this table with its label.
    fn field_at(&self, key: &str, item: &'a Spanned<DeValue<'a>>) -> Field<'a> {
        let space = if self.shown.is_empty() { "" } else { " " };
        let key: String = key.chars().take(MAX_QUOTE).collect();
        Field { sink: self.sink, item, label: format!("{}{space}{key}", self.shown) }
    }

    /// The name of a section below this one.
    fn section_of(&self, key: &str) -> String {
        if self.section.is_empty() { key.into() } else { format!("{}.{key}", self.section) }
    }

    /// A number with a unit, within limits.
    fn quantity<T: Copy + PartialOrd>(
        &mut self,
        key: &'static str,
        limits: Limits<T>,
        read: fn(&str) -> Result<T, units::UnitError>,
        show: fn(T) -> String,
    ) -> T {
        let Some(field) = self.field(key) else { return limits.default };
        let Some(value) = field.read(read) else { return limits.default };
        if value < limits.min || value > limits.max {
            field.wrong(format_args!("must be from {} to {}", show(limits.min), show(limits.max)));
            return limits.default;
        }
        value
    }
}

/// One value of the file.
#[derive(Clone, Debug)]
pub(super) struct Field<'a> {
    sink: &'a Sink,
    item: &'a Spanned<DeValue<'a>>,
    /// Section and key, as messages name it.
    label: String,
}

impl<'a> Field<'a> {
    /// Byte offset of the value.
    pub(super) fn at(&self) -> usize {
        self.item.span().start
    }

    /// Notes that the value will not do.
    pub(super) fn wrong(&self, why: impl fmt::Display) {
        let found = describe(self.item.get_ref());
        self.sink.problem(self.at(), format_args!("{} = {found}: {why}", self.label));
    }

    /// Notes that the value is of the wrong type.
    pub(super) fn wrong_type(&self, expected: &str) {
        self.wrong(format_args!("expected {expected}, found {}", kind_of(self.item.get_ref())));
    }

    /// The value as text; another type is noted.
    pub(super) fn text(&self) -> Option<&'a str> {
        let text = self.item.get_ref().as_str();
        if text.is_none() {
            self.wrong_type("a text in quotes");
        }
        text
    }

    /// The value as a text that `read` understands.
    pub(super) fn read<T, E: fmt::Display>(&self, read: impl Fn(&str) -> Result<T, E>) -> Option<T> {
        read(self.text()?).map_err(|error| self.wrong(error)).ok()
    }

    /// The value as a date: TOML's own or one in quotes.
    pub(super) fn read_date<T, E: fmt::Display>(&self, read: impl Fn(&str) -> Result<T, E>) -> Option<T> {
        match self.item.get_ref() {
            DeValue::Datetime(date) => read(&date.to_string()).map_err(|error| self.wrong(error)).ok(),
            DeValue::String(text) => read(text).map_err(|error| self.wrong(error)).ok(),
            _ => {
                self.wrong_type("a date like 2025-01-05 or 2025-01-06T00:00:00+05:00");
                None
            }
        }
    }

    /// The value as a list of `many` different texts that `read` understands.
    pub(super) fn read_all<T: PartialEq, E: fmt::Display>(
        &self,
        many: RangeInclusive<usize>,
        read: impl Fn(&str) -> Result<T, E>,
    ) -> Vec<T> {
        let mut values = Vec::new();
        for item in self.items(many) {
            match item.read(&read) {
                Some(value) if values.contains(&value) => item.wrong("stands here twice"),
                Some(value) => values.push(value),
                None => {}
            }
        }
        values
    }

    /// The values of a list of `many`.
    pub(super) fn items(&self, many: RangeInclusive<usize>) -> Vec<Self> {
        let DeValue::Array(items) = self.item.get_ref() else {
            self.wrong_type("a list of texts like [\"a\", \"b\"]");
            return Vec::new();
        };
        if items.len() < *many.start() {
            self.wrong(format_args!("at least {} is needed", many.start()));
        }
        if items.len() > *many.end() {
            self.wrong(format_args!("at most {} may be given", many.end()));
        }
        items.iter().take(*many.end()).map(|item| Field { item, ..self.clone() }).collect()
    }

    /// One of a few words.
    pub(super) fn choice<T: Copy>(&self, choices: &[(&'static str, T)]) -> Option<T> {
        let text = self.text()?;
        let found = choices.iter().find(|(word, _)| *word == text).map(|&(_, value)| value);
        if found.is_none() {
            let words: Vec<String> = choices.iter().map(|(word, _)| format!("\"{word}\"")).collect();
            let hint = did_you_mean(text, choices.iter().map(|&(word, _)| word));
            self.wrong(format_args!("not known{hint}; choices are {}", words.join(", ")));
        }
        found
    }

    /// Whether the value is a text.
    pub(super) fn is_text(&self) -> bool {
        self.item.get_ref().is_str()
    }

    /// Whether the value is a table.
    pub(super) fn is_table(&self) -> bool {
        self.item.get_ref().is_table()
    }

    /// The value as a table; another type is noted.
    fn table(&self) -> Option<&'a DeTable<'a>> {
        let table = self.item.get_ref().as_table();
        if table.is_none() {
            self.wrong_type("a table");
        }
        table
    }
}
