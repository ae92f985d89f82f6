//! dnsmasq's `address=/a/b/0.0.0.0`, `server=/a/`, `local=/a/`: the names and all below.

use std::net::IpAddr;

use super::entry::{Reason, Top};
use super::sink::{Pattern, Sink};
use super::text::{Line, Lines};
use crate::rule::Scope;

/// Reads a `dnsmasq` file.
pub(super) fn read(text: &str, sink: &mut Sink<'_>) {
    for line in Lines::new(text) {
        let body = without_comment(line.text);
        let option = body.trim();
        if option.is_empty() {
            continue;
        }
        sink.line();
        let start = body.len() - body.trim_start().len();
        match names(option) {
            Ok((at, names)) => entries(sink, line, start + at, names),
            Err((at, why)) => sink.reject(line, start + at, option, Reason::Other(why)),
        }
    }
}

/// `#` starts a comment at the start of a line or behind a blank: `address=/a/#` has none.
fn without_comment(line: &str) -> &str {
    let comment = line
        .match_indices('#')
        .map(|(at, _)| at)
        .find(|&at| line.get(..at).is_some_and(|before| before.is_empty() || before.ends_with([' ', '\t'])));
    comment.and_then(|at| line.get(..at)).unwrap_or(line)
}

/// Adds the names between the slashes; `at` is where they start.
fn entries(sink: &mut Sink<'_>, line: Line<'_>, mut at: usize, names: &str) {
    let pattern = Pattern { scope: Scope::Subtree, marked: false, top: Top::Accepted };
    for name in names.split('/') {
        // dnsmasq takes `/.example.com/` for `/example.com/`.
        let bare = name.strip_prefix('.').filter(|rest| !rest.is_empty()).unwrap_or(name);
        let from = at + name.len() - bare.len();
        match bare {
            "#" => sink.reject(line, from, bare, Reason::Root),
            "" => sink.reject(line, from, bare, Reason::Other("unsupported: names without a dot (`//`)")),
            _ => sink.entry(line, from, bare, pattern, sink.effect()),
        }
        at += name.len() + 1;
    }
}

/// The names of an option that blocks, and where they start; or what else it is.
fn names(option: &str) -> Result<(usize, &str), (usize, &'static str)> {
    const OTHER: &str = "unsupported: only `address=/…/`, `server=/…/` and `local=/…/` block names";
    let (key, value) = option.split_once('=').ok_or((0, OTHER))?;
    let key = key.trim_end();
    let is_address = match key {
        "address" => true,
        "server" | "local" => false,
        _ => return Err((0, OTHER)),
    };
    let value = value.trim_start();
    let at = option.len() - value.len();
    let inner = value.strip_prefix('/').ok_or((at, "unsupported: no name between slashes"))?;
    let (names, target) = inner.rsplit_once('/').ok_or((option.len(), "the closing slash is missing"))?;
    let target_at = option.len() - target.len();
    let blocks = match target {
        "" => true,
        "#" if is_address => true,
        "#" => return Err((target_at, "unsupported: `#` hands these names to the usual servers, it blocks nothing")),
        address => is_address && address.parse::<IpAddr>().is_ok(),
    };
    match (blocks, is_address) {
        (true, _) => Ok((at + 1, names)),
        (false, true) => Err((target_at, "not an address behind the last slash")),
        (false, false) => Err((target_at, "unsupported: this forwards names, it does not block them")),
    }
}
