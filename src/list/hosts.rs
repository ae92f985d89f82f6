//! An `/etc/hosts` file: an address, then the names it stands for, each exactly.

use std::net::IpAddr;

use super::entry::{Reason, Top};
use super::sink::{Pattern, Sink};
use super::text::{Line, Lines};
use crate::rule::Scope;

/// Names every hosts file has for the machine itself; together with everything that starts with `ip6-`.
const OWN_NAMES: [&str; 10] = [
    "localhost",
    "localhost.localdomain",
    "localhost4",
    "localhost4.localdomain4",
    "localhost6",
    "localhost6.localdomain6",
    "local",
    "loopback",
    "broadcasthost",
    // A line many published lists start with: `0.0.0.0 0.0.0.0`.
    "0.0.0.0",
];

/// Reads a `hosts` file.
pub(super) fn read(text: &str, sink: &mut Sink<'_>) {
    for line in Lines::new(text) {
        let body = line.text.split_once('#').map_or(line.text, |(body, _)| body);
        let mut words = words(body);
        let Some((at, address)) = words.next() else { continue };
        sink.line();
        if !is_address(address) {
            reject_line(sink, line, at, body.trim(), address);
            continue;
        }
        let mut names = 0;
        for (at, name) in words {
            names += 1;
            if is_own_name(name) {
                sink.skip();
            } else {
                let pattern = Pattern { scope: Scope::Exact, marked: false, top: Top::NeedsDot };
                sink.entry(line, at, name, pattern, sink.effect());
            }
        }
        if names == 0 {
            sink.reject(line, at, address, Reason::Other("an address without a name"));
        }
    }
}

/// The first word is no address: says what the line seems to be.
fn reject_line(sink: &mut Sink<'_>, line: Line<'_>, at: usize, body: &str, first: &str) {
    let digits = first.len() - first.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.').len();
    let glued = first.get(..digits).is_some_and(|start| {
        start.parse::<IpAddr>().is_ok() && first.get(digits..).is_some_and(|rest| rest.starts_with(char::is_alphabetic))
    });
    let reason = if glued { Reason::Glued } else { Reason::Other("no address at the start of a hosts line") };
    sink.reject(line, at, body, reason);
}

/// An address as hosts files write it, with a zone (`fe80::1%lo0`) too.
pub(super) fn is_address(text: &str) -> bool {
    let address = text.split_once('%').map_or(text, |(address, _)| address);
    address.parse::<IpAddr>().is_ok()
}

/// A name of the machine itself.
fn is_own_name(name: &str) -> bool {
    OWN_NAMES.iter().any(|own| own.eq_ignore_ascii_case(name))
        || name.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("ip6-"))
}

/// Words between blanks, with where they start.
pub(super) fn words(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut at = 0;
    text.split_inclusive(char::is_whitespace).filter_map(move |piece| {
        let start = at;
        at += piece.len();
        let word = piece.trim_end();
        (!word.is_empty()).then_some((start, word))
    })
}
