//! The adblock rules that mean something to DNS: `||name^` and `@@||name^`. Everything else is
//! reported as unsupported; a rule is never half applied.

use super::entry::{Reason, Top};
use super::sink::{Pattern, Sink};
use super::text::Lines;
use crate::rule::{Effect, Role, Scope};

/// Reads an `adblock` file.
pub(super) fn read(text: &str, sink: &mut Sink<'_>) {
    for line in Lines::new(text) {
        let rule = line.text.trim();
        if rule.is_empty() || is_comment(rule) {
            continue;
        }
        sink.line();
        let start = line.text.len() - line.text.trim_start().len();
        match split(rule) {
            Ok(found) if found.exception && sink.spec().role == Role::Allow => {
                sink.reject(line, start, rule, Reason::Other("an exception in an allow list"));
            }
            Ok(found) => {
                let effect = if found.exception { Effect::Allow } else { sink.effect() };
                let pattern = Pattern { scope: Scope::Subtree, marked: false, top: Top::NeedsDot };
                sink.entry(line, start + found.at, found.name, pattern, effect);
            }
            Err((at, why)) => sink.reject(line, start + at, rule, Reason::Other(why)),
        }
    }
}

/// A comment or a header; `##`, `#@#` and so on start cosmetic rules instead.
pub(super) fn is_comment(rule: &str) -> bool {
    rule.starts_with('!')
        || (rule.starts_with('#') && !is_cosmetic(rule))
        || (rule.starts_with('[') && rule.ends_with(']') && !rule.contains("##"))
}

/// A rule that hides parts of pages.
fn is_cosmetic(rule: &str) -> bool {
    const MARKS: [&str; 7] = ["##", "#@#", "#?#", "#$#", "#%#", "#@?#", "#@$#"];
    rule.contains("$$") || (rule.contains('#') && MARKS.iter().any(|mark| rule.contains(mark)))
}

/// A rule taken apart.
struct Found<'a> {
    exception: bool,
    name: &'a str,
    /// Where the name starts.
    at: usize,
}

/// Takes a rule apart, or says at which byte what is unsupported.
fn split(rule: &str) -> Result<Found<'_>, (usize, &'static str)> {
    if is_cosmetic(rule) {
        return Err((rule.find(['#', '$']).unwrap_or(0), "unsupported: a rule that hides parts of pages"));
    }
    let body = rule.strip_prefix("@@").unwrap_or(rule);
    let exception = body.len() < rule.len();
    let Some(anchored) = body.strip_prefix("||") else {
        let why = if body.len() > 1 && body.starts_with('/') && body.ends_with('/') {
            "unsupported: a regular expression"
        } else {
            "unsupported: only `||name^` and `@@||name^` say something about whole names"
        };
        return Err((rule.len() - body.len(), why));
    };
    let at = rule.len() - anchored.len();
    let (address, modifiers) = match anchored.split_once('$') {
        Some((address, modifiers)) => (address, Some(modifiers)),
        None => (anchored, None),
    };
    if let Some(modifiers) = modifiers
        && !modifiers.split(',').all(|modifier| modifier == "important")
    {
        return Err((at + address.len(), "unsupported: a modifier other than `$important`"));
    }
    let Some(name) = address.strip_suffix('^') else {
        let why = if address.contains('/') {
            "unsupported: a path; DNS knows only whole names"
        } else {
            "unsupported: without `^` at its end it matches longer names too"
        };
        return Err((at + address.find(['/', '^', '|']).unwrap_or(address.len()), why));
    };
    match name.find(['*', '/', '^', '|']) {
        Some(inside) if name.get(inside..).is_some_and(|rest| rest.starts_with('*')) => {
            Err((at + inside, "unsupported: a wildcard inside a rule"))
        }
        Some(inside) => Err((at + inside, "unsupported: a path; DNS knows only whole names")),
        None => Ok(Found { exception, name, at }),
    }
}
