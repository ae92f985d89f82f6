//! `auto`: tells the formats apart from content.

use super::adblock::is_comment;
use super::csv;
use super::domains::without_comment;
use super::hosts::{is_address, words};
use super::json;
use super::orders::is_key;
use super::text::Lines;
use super::{Format, Spec};

/// How many lines with content have a say.
const LOOKED_AT: usize = 500;

/// Formats in the order in which they win a tie: the ones whose lines look like no other first.
const BY_RANK: [Format; 5] = [Format::Rpz, Format::Dnsmasq, Format::Adblock, Format::Hosts, Format::Domains];

/// The format most lines look like; `None` if no line looks like any. Never [`Format::Auto`].
pub(super) fn detect(text: &str, spec: &Spec) -> Option<Format> {
    let mut votes = [0usize; BY_RANK.len()];
    let mut comment = None;
    let mut first = true;
    let mut looked_at = 0;
    for line in Lines::new(text) {
        let body = line.text.trim();
        if body.is_empty() {
            continue;
        }
        // Before comments: `[` opens the header of an adblock list as well.
        if first && json::is_start(body) && json::has_names(text, spec) {
            return Some(Format::Json);
        }
        if let Some(style) = comment_style(body) {
            comment = comment.or(Some(style));
            continue;
        }
        if first {
            first = false;
            if is_order_key(body) {
                return Some(Format::Orders);
            }
            if csv::is_header(body, spec) {
                return Some(Format::Csv);
            }
        }
        if let Some(format) = vote(line.text)
            && let Some(rank) = BY_RANK.iter().position(|&known| known == format)
        {
            votes[rank] += 1;
        }
        looked_at += 1;
        if looked_at == LOOKED_AT {
            break;
        }
    }
    // Only comments: an emptied list, of the format that has such comments.
    if looked_at == 0 {
        return comment;
    }
    let most = votes.iter().copied().max().filter(|&most| most > 0)?;
    votes.iter().position(|&count| count == most).and_then(|rank| BY_RANK.get(rank).copied())
}

/// The format that has a comment like this, if it is one.
fn comment_style(body: &str) -> Option<Format> {
    if body.starts_with(';') {
        return Some(Format::Rpz);
    }
    if !is_comment(body) {
        return None;
    }
    Some(if body.starts_with('#') { Format::Domains } else { Format::Adblock })
}

/// `key = …` with a key of an order file, as its first line.
fn is_order_key(body: &str) -> bool {
    body.split_once('=').is_some_and(|(key, value)| {
        is_key(key.trim()) && value.trim_start().starts_with(|c: char| "\"'[".contains(c) || c.is_ascii_digit())
    })
}

/// What one line looks like.
fn vote(line: &str) -> Option<Format> {
    let body = without_comment(line).trim();
    if ["address=/", "server=/", "local=/"].iter().any(|start| body.starts_with(start)) {
        return Some(Format::Dnsmasq);
    }
    if body.starts_with("||") || body.starts_with("@@") || body.contains("##") {
        return Some(Format::Adblock);
    }
    let zone = body.split(';').next().unwrap_or_default();
    if body.starts_with("$TTL") || body.starts_with("$ORIGIN") || is_record(zone, line) {
        return Some(Format::Rpz);
    }
    let mut words = words(body);
    match (words.next(), words.next()) {
        (Some((_, address)), Some(_)) if is_address(address) => Some(Format::Hosts),
        (Some((_, name)), None) if looks_like_name(name) => Some(Format::Domains),
        _ => None,
    }
}

/// An owner, perhaps TTL and class, then a type and data.
fn is_record(zone: &str, line: &str) -> bool {
    const TYPES: [&str; 8] = ["CNAME", "SOA", "NS", "A", "AAAA", "TXT", "MX", "PTR"];
    let owner = usize::from(!line.starts_with(char::is_whitespace));
    let mut words = words(zone).map(|(_, word)| word).skip(owner).take(4).peekable();
    while let Some(word) = words.next() {
        if TYPES.iter().any(|known| known.eq_ignore_ascii_case(word)) {
            return words.peek().is_some();
        }
        let between = word.eq_ignore_ascii_case("IN") || word.starts_with(|c: char| c.is_ascii_digit());
        if !between {
            return false;
        }
    }
    false
}

/// One word that could be a name, a marked name or a URL; the entry parser has the last word.
fn looks_like_name(word: &str) -> bool {
    word.contains(['.', '\u{3002}', '\u{ff0e}', '\u{ff61}'])
        && !word.contains(['<', '>', '{', '}', '"', '(', ')', ',', ';', '|', '$', '^'])
        && (!word.contains('=') || word.starts_with('='))
}
