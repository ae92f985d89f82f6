//! Where every format puts what it finds: rules, rejections and their counts, the verdict on the file.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::entry::{self, Problem, Reason, Top};
use super::text::{Line, Lines};
use super::{FileReport, Format, MAX_SHOWN, Parsed, Refusal, Rejection, Spec, detect};
use crate::name::NameBuf;
use crate::rule::{Effect, Kind, Order, Role, RulesBuilder, Scope};

/// So many lines are written by a machine.
const MACHINE_MADE: u64 = 1000;
/// The most characters of an entry that are shown.
const MAX_ENTRY_SHOWN: usize = 80;

/// Collects one file.
pub(super) struct Sink<'a> {
    spec: &'a Spec,
    format: Format,
    rules: RulesBuilder,
    report: FileReport,
    /// Reused for every entry.
    name: NameBuf,
    /// Index of the list's own order.
    list_order: Option<u32>,
    /// What a plain entry does.
    effect: Effect,
    /// By index of the order.
    rejected_of: BTreeMap<u32, u64>,
    rejected_lines: u64,
    last_rejected_line: u32,
    full: bool,
}

/// How an entry is to be read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pattern {
    /// The scope it was marked with, or the format's own.
    pub scope: Scope,
    /// It carries a mark, so that the list's `scope` does not apply.
    pub marked: bool,
    /// Whether a single label needs a trailing dot.
    pub top: Top,
}

impl<'a> Sink<'a> {
    /// For the file called `shown`, of `bytes` bytes of text.
    pub fn new(spec: &'a Spec, shown: &Arc<str>, format: Format, bytes: usize) -> Self {
        let mut rules = RulesBuilder::new(Arc::clone(shown), bytes);
        let list_order = spec.order.clone().map(|order| rules.order(order));
        let effect = match spec.role {
            Role::Block => Effect::Block,
            Role::Allow => Effect::Allow,
        };
        let report = FileReport { format: Some(format), ..FileReport::default() };
        Self {
            spec,
            format,
            rules,
            report,
            name: NameBuf::new(),
            list_order,
            effect,
            rejected_of: BTreeMap::new(),
            rejected_lines: 0,
            last_rejected_line: 0,
            full: false,
        }
    }

    /// The list as configured.
    pub fn spec(&self) -> &'a Spec {
        self.spec
    }

    /// Index of the list's own order, if it has one.
    pub fn list_order(&self) -> Option<u32> {
        self.list_order
    }

    /// What a plain entry does: the list's role.
    pub fn effect(&self) -> Effect {
        self.effect.clone()
    }

    /// One more line (or record, or array item) that holds something.
    pub fn line(&mut self) {
        self.report.lines += 1;
    }

    /// One more entry skipped on purpose.
    pub fn skip(&mut self) {
        self.report.skipped += 1;
    }

    /// An order entries refer to; `None` stands for the list's own.
    pub fn order(&mut self, order: Order) -> u32 {
        self.rules.order(order)
    }

    /// Reads `text`, which stands at byte `at` of `line`, as a name and adds a rule, or rejects it.
    pub fn entry(&mut self, line: Line<'_>, at: usize, text: &str, pattern: Pattern, effect: Effect) {
        self.entry_of_order(line, at, text, pattern, effect, None);
    }

    /// The same for an entry that names its order.
    pub fn entry_of_order(
        &mut self,
        line: Line<'_>,
        at: usize,
        text: &str,
        pattern: Pattern,
        effect: Effect,
        order: Option<u32>,
    ) {
        match entry::parse(text, self.spec.urls, pattern.top, &mut self.name) {
            Ok(()) => {
                let scope = if pattern.marked { None } else { self.spec.scope };
                let kind = self.kind(scope.unwrap_or(pattern.scope), effect, order);
                let fits = self.rules.push(&self.name, line.number, kind);
                self.count(fits);
            }
            Err(Problem { at: inside, reason }) => {
                self.reject_of(line, at.saturating_add(inside), text, reason.about(text), order.or(self.list_order));
            }
        }
    }

    /// Adds a rule.
    pub fn add(&mut self, name: &NameBuf, line: u32, scope: Scope, effect: Effect, order: Option<u32>) {
        let kind = self.kind(scope, effect, order);
        let fits = self.rules.push(name, line, kind);
        self.count(fits);
    }

    /// A rule that names no order rests on the list's own.
    fn kind(&self, scope: Scope, effect: Effect, order: Option<u32>) -> Kind {
        Kind { scope, effect, order: order.or(self.list_order) }
    }

    /// Counts a rule, or notes that the table is full.
    fn count(&mut self, fits: bool) {
        self.report.entries += u64::from(fits);
        self.full |= !fits;
    }

    /// Rejects `text` for what stands at byte `at` of `line`.
    pub fn reject(&mut self, line: Line<'_>, at: usize, text: &str, reason: Reason) {
        self.reject_because(line, at, text, reason.about(text));
    }

    /// The same with a reason in words. Those are only spelt out for the few rejections that are kept.
    pub fn reject_because(&mut self, line: Line<'_>, at: usize, text: &str, reason: impl fmt::Display) {
        // Where entries name their orders, this one's is not known.
        let order = self.list_order.filter(|_| !matches!(self.format, Format::Csv | Format::Json | Format::Orders));
        self.reject_of(line, at, text, reason, order);
    }

    /// The same for an entry of this order.
    pub fn reject_of(&mut self, line: Line<'_>, at: usize, text: &str, reason: impl fmt::Display, order: Option<u32>) {
        self.report.rejected += 1;
        if let Some(order) = order {
            *self.rejected_of.entry(order).or_default() += 1;
        }
        if self.last_rejected_line != line.number {
            self.last_rejected_line = line.number;
            self.rejected_lines += 1;
        }
        if self.report.rejections.len() < MAX_SHOWN {
            self.report.rejections.push(rejection(line, at, text, reason));
        }
    }

    /// Reports something that is used all the same.
    pub fn warn(&mut self, line: Line<'_>, at: usize, text: &str, reason: impl fmt::Display) {
        if self.report.warnings.len() < MAX_SHOWN {
            self.report.warnings.push(rejection(line, at, text, reason));
        }
    }

    /// Machines end every line. A long list that stops within one is more likely a download that was cut; a short one, a
    /// person's. It is used all the same: how much is missing, the gate looks at.
    pub fn warn_if_cut(&mut self, text: &str) {
        if self.report.lines < MACHINE_MADE || text.ends_with(['\n', '\r', '\0', '\u{1a}']) {
            return;
        }
        let last = Lines::new(text).last().unwrap_or(Line { number: 1, text: "" });
        self.warn(last, 0, last.text, "the file ends within this line: it may have been cut off");
    }

    /// The verdict: one typing error never refuses a file, but a file of which nothing could be
    /// used, or too much could not, is more likely the wrong file.
    pub fn finish(mut self, text: &str) -> Result<Parsed, Refusal> {
        if self.full {
            return Err(Refusal::TooManyRules);
        }
        self.report.rejections.sort_by_key(|rejection| (rejection.line, rejection.column));
        let of = |(&order, &count): (&u32, &u64)| Some((Arc::clone(self.rules.orders().get(order as usize)?), count));
        self.report.rejected_of = self.rejected_of.iter().filter_map(of).collect();
        let nothing_used = self.report.entries == 0 && self.report.rejected > 0;
        // `lines` counts records; several lines of one may be rejected.
        let share = u128::from(self.rejected_lines) * 10_000
            > u128::from(self.spec.max_rejected) * u128::from(self.report.lines);
        if nothing_used || (self.rejected_lines > 1 && share) {
            let looks_like = detect::detect(text, self.spec).filter(|&format| format != self.format);
            return Err(Refusal::TooManyRejected { report: Box::new(self.report), looks_like });
        }
        Ok(Parsed { rules: Arc::new(self.rules.build()), report: self.report })
    }
}

/// A rejection spelt out.
fn rejection(line: Line<'_>, at: usize, text: &str, reason: impl fmt::Display) -> Rejection {
    Rejection { line: line.number, column: line.column(at), entry: shorten(text), reason: reason.to_string() }
}

/// At most [`MAX_ENTRY_SHOWN`] characters, none of which can play tricks on a terminal or a log.
pub(super) fn shorten(text: &str) -> String {
    let mut shown = String::new();
    let mut length = 0;
    for c in text.chars() {
        let visible = c.is_ascii_graphic() || c == ' ' || c == '\u{fffd}' || c.is_alphanumeric();
        let width = if visible { 1 } else { c.escape_debug().count() };
        if length + width >= MAX_ENTRY_SHOWN {
            shown.push('…');
            return shown;
        }
        length += width;
        if visible {
            shown.push(c);
        } else {
            shown.extend(c.escape_debug());
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_list_that_ends_within_a_line_is_remarked_on() {
        let spec = Spec::new("l", "l".into(), Format::Auto);
        let warnings = |text: &str| {
            let parsed = super::super::parse(&spec, &"l".into(), text.as_bytes()).expect("a list");
            parsed.report.warnings.into_iter().map(|warning| (warning.line, warning.entry)).collect::<Vec<_>>()
        };
        let long: String = (0..1000).map(|number| format!("n{number}.example\n")).collect();
        assert_eq!(warnings(&long), []);
        assert_eq!(warnings(&format!("{long}google.co")), [(1001, "google.co".to_owned())]);
        assert_eq!(warnings("a.example\nb.example"), [], "people forget the last line end");
    }

    #[test]
    fn what_is_shown_is_short_and_harmless() {
        assert_eq!(shorten("a b\0\u{1b}[31m\u{202e}x"), "a b\\0\\u{1b}[31m\\u{202e}x");
        assert_eq!(shorten("биржа.рф"), "биржа.рф");
        assert_eq!(shorten(&"\0".repeat(1000)).chars().count(), 79);
        assert_eq!(shorten(&"x".repeat(1000)).chars().count(), 80);
    }
}
