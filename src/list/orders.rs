//! One order a TOML file: every block carries its legal basis (DESIGN section 3).

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::domains::subtree_unless;
use super::sink::Sink;
use super::text::Line;
use super::{OrderProblem, Refusal, date, entry};
use crate::rule::Order;
use crate::util::UnixTime;

/// The most problems of one file that are listed.
const MAX_PROBLEMS: usize = 20;

/// The key of an order file beside [`Order::FIELDS`].
const DOMAINS: &str = "domains";

/// Whether an order file may have this key.
pub(super) fn is_key(key: &str) -> bool {
    key == DOMAINS || Order::FIELDS.contains(&key)
}

/// Reads an order file.
///
/// # Errors
/// Broken TOML, an unknown key, a value of the wrong kind or a missing key refuse the file, since
/// half an order is none. A bad domain is only a rejection.
pub(super) fn read(text: &str, sink: &mut Sink<'_>) -> Result<(), Refusal> {
    let places = Places::new(text);
    let table = DeTable::parse(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        Refusal::BadOrder(vec![places.problem(at, error.message().trim().replace('\n', ", "))])
    })?;
    let mut reader = Reader { places: &places, problems: Vec::new() };
    let (order, domains) = reader.order(table.get_ref());
    if !reader.problems.is_empty() {
        reader.problems.sort_by_key(|problem| (problem.line, problem.column));
        reader.problems.truncate(MAX_PROBLEMS);
        return Err(Refusal::BadOrder(reader.problems));
    }
    let order = sink.order(order);
    for item in domains {
        let DeValue::String(domain) = item.get_ref() else { continue };
        sink.line();
        let (line, at) = places.content(&item.span());
        let (name, skip, scope) = entry::marked(domain.trim());
        let lead = domain.len() - domain.trim_start().len();
        sink.entry_of_order(line, at + lead + skip, name, subtree_unless(scope), sink.effect(), Some(order));
    }
    Ok(())
}

/// Turns values into an [`Order`], collecting every problem.
struct Reader<'a> {
    places: &'a Places<'a>,
    problems: Vec<OrderProblem>,
}

/// A key or value with where it stands.
type Value<'i> = Spanned<DeValue<'i>>;

impl Reader<'_> {
    /// The whole file.
    fn order<'t, 'i>(&mut self, table: &'t DeTable<'i>) -> (Order, &'t [Value<'i>]) {
        let mut order = Order::default();
        let mut domains: &[Value<'i>] = &[];
        for (key, value) in table {
            match key.get_ref().as_ref() {
                "id" => order.id = self.text(value, true),
                "authority" => order.authority = self.text(value, true),
                "requested_by" => order.requested_by = self.text(value, false),
                "legal_basis" => order.legal_basis = self.text(value, false),
                "reference" => order.reference = self.texts(value),
                "issued" => order.issued = self.date(value),
                "effective" => order.effective = self.date(value),
                "deadline" => order.deadline = self.date(value),
                "expires" => order.expires = self.date(value),
                "revoked" => order.revoked = self.date(value),
                "contact" => order.contact = self.texts(value),
                "url" => order.url = self.text(value, false),
                "domains" => domains = self.domains(value),
                _ => {
                    let shown = super::sink::shorten(key.get_ref());
                    self.problem(
                        key.span(),
                        format!("unknown key `{shown}`; the keys are {}, {DOMAINS}", Order::FIELDS.join(", ")),
                    );
                }
            }
        }
        for key in ["id", "authority", "domains"] {
            if !table.contains_key(key) {
                self.problem(0..0, format!("`{key}` is missing"));
            }
        }
        (order, domains)
    }

    /// A string, which must not be blank if it is `required`.
    fn text(&mut self, value: &Value<'_>, required: bool) -> String {
        match value.get_ref() {
            DeValue::String(text) if required && text.trim().is_empty() => {
                self.problem(value.span(), "must not be empty".to_owned());
                String::new()
            }
            DeValue::String(text) => text.trim().to_owned(),
            other => self.wrong(value.span(), other, "a string"),
        }
    }

    /// Strings; a single one may stand without brackets.
    fn texts(&mut self, value: &Value<'_>) -> Vec<String> {
        match value.get_ref() {
            DeValue::Array(items) => items.iter().map(|item| self.text(item, false)).collect(),
            DeValue::String(text) => vec![text.trim().to_owned()],
            other => self.wrong(value.span(), other, "an array of strings"),
        }
    }

    /// A TOML date, a TOML date-time with its offset, or either as a string.
    fn date(&mut self, value: &Value<'_>) -> Option<UnixTime> {
        let text = match value.get_ref() {
            DeValue::Datetime(datetime) => datetime.to_string(),
            DeValue::String(text) => text.to_string(),
            other => return self.wrong(value.span(), other, "a date"),
        };
        date::parse(&text).map_err(|error| self.problem(value.span(), error.to_string())).ok()
    }

    /// The domains, all of them strings.
    fn domains<'t, 'i>(&mut self, value: &'t Value<'i>) -> &'t [Value<'i>] {
        let DeValue::Array(items) = value.get_ref() else {
            return self.wrong(value.span(), value.get_ref(), "an array of names");
        };
        for item in items.iter() {
            if !matches!(item.get_ref(), DeValue::String(_)) {
                self.wrong::<()>(item.span(), item.get_ref(), "a name in quotes");
            }
        }
        items
    }

    /// A value of the wrong kind.
    fn wrong<T: Default>(&mut self, span: Range<usize>, value: &DeValue<'_>, wanted: &str) -> T {
        self.problem(span, format!("this is a {}, it must be {wanted}", value.type_str()));
        T::default()
    }

    /// Notes a problem; a file of millions keeps no more than it needs for the first ones in order.
    fn problem(&mut self, span: Range<usize>, message: String) {
        if self.problems.len() < MAX_PROBLEMS * 5 {
            self.problems.push(self.places.problem(span.start, message));
        }
    }
}

/// Byte offsets to lines.
struct Places<'a> {
    text: &'a str,
    /// Where each line starts.
    starts: Vec<usize>,
}

impl<'a> Places<'a> {
    /// Finds the lines. TOML knows LF and CRLF only.
    fn new(text: &'a str) -> Self {
        let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { text, starts }
    }

    /// The line byte `at` stands in, and where in it.
    fn line(&self, at: usize) -> (Line<'a>, usize) {
        let index = self.starts.partition_point(|&start| start <= at).saturating_sub(1);
        let start = self.starts.get(index).copied().unwrap_or_default();
        let line = self.text.get(start..).unwrap_or_default();
        let text = line.split('\n').next().unwrap_or_default();
        (Line { number: u32::try_from(index + 1).unwrap_or(u32::MAX), text }, at.saturating_sub(start))
    }

    /// The line and offset of what stands inside a string's quotes.
    fn content(&self, span: &Range<usize>) -> (Line<'a>, usize) {
        let (line, at) = self.line(span.start);
        let multi_line = self.text.get(span.clone()).is_some_and(|s| s.starts_with("\"\"\"") || s.starts_with("'''"));
        (line, at + if multi_line { 3 } else { 1 })
    }

    /// A problem at byte `at`.
    fn problem(&self, at: usize, message: String) -> OrderProblem {
        let (line, at) = self.line(at);
        OrderProblem { line: line.number, column: line.column(at), message }
    }
}
