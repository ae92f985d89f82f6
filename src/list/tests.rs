//! Every format with its traps, and properties no input may break.

mod formats;
mod properties;
mod real;
mod records;
mod zones;

use std::path::PathBuf;

use super::{Format, Parsed, Refusal, Spec, parse};
use crate::rule::{Effect, show_pattern};

/// A list of `format` with defaults.
fn spec(format: Format) -> Spec {
    Spec::new("test", PathBuf::from("test.txt"), format)
}

/// Parses text as `spec` says.
fn read(spec: &Spec, text: &str) -> Result<Parsed, Refusal> {
    parse(spec, &"test.txt".into(), text.as_bytes())
}

/// Parses text that must not be refused, however much of it is rejected.
fn lenient(format: Format, text: &str) -> Parsed {
    let spec = Spec { max_rejected: 10_000, ..spec(format) };
    read(&spec, text).unwrap_or_else(|refusal| panic!("{refusal}"))
}

/// Every rule as `line pattern`, an exception with `@@` in front.
fn rules(parsed: &Parsed) -> Vec<String> {
    let show = |rule: crate::rule::RuleView<'_>| {
        let mark = if rule.kind.effect == Effect::Allow { "@@" } else { "" };
        let mut shown = format!("{} {mark}", rule.line);
        show_pattern(rule.name().wire(), rule.kind.scope, &mut shown).expect("a string takes all");
        shown
    };
    parsed.rules.iter().map(show).collect()
}

/// Every rejection as `line:column entry`.
fn rejected(parsed: &Parsed) -> Vec<String> {
    parsed.report.rejections.iter().map(|r| format!("{}:{} {}", r.line, r.column, r.entry)).collect()
}
