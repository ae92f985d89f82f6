//! One name a line: `name`, `=name`, `*.name`, `.name`, `#` comments.

use super::entry::{self, Top};
use super::sink::{Pattern, Sink};
use super::text::Lines;
use crate::rule::Scope;

/// Reads a `domains` file.
pub(super) fn read(text: &str, sink: &mut Sink<'_>) {
    for line in Lines::new(text) {
        let body = without_comment(line.text);
        let pattern = body.trim();
        if pattern.is_empty() {
            continue;
        }
        sink.line();
        let (name, skip, scope) = entry::marked(pattern);
        let at = body.len() - body.trim_start().len() + skip;
        sink.entry(line, at, name, subtree_unless(scope), sink.effect());
    }
}

/// The pattern of an entry that covers its subtree unless marked.
pub(super) fn subtree_unless(scope: Option<Scope>) -> Pattern {
    Pattern { scope: scope.unwrap_or(Scope::Subtree), marked: scope.is_some(), top: Top::NeedsDot }
}

/// The line up to its comment. A `#` that is part of a URL or of a cosmetic adblock rule
/// (`example.com##.ad`) starts none: cutting there would block the whole host.
pub(super) fn without_comment(line: &str) -> &str {
    let Some((body, comment)) = line.split_once('#') else { return line };
    let after_space = body.is_empty() || body.ends_with(char::is_whitespace);
    if after_space || !(comment.starts_with(['#', '@', '?', '$', '%']) || body.contains("://")) {
        return body;
    }
    // The entry goes up to the next blank; a comment may follow that.
    match line.split_once([' ', '\t']) {
        Some((entry, rest)) if rest.trim_start().starts_with('#') => entry,
        _ => line,
    }
}
