//! What all kinds of frames have in common: who makes them, and how text is kept harmless.

use std::sync::Arc;

use super::cef::Cef;
use super::dnstap::Tap;
use super::frames::Framing;
use super::journald::Journal;
use super::json::Json;
use super::rpz::Rpz;
use super::syslog::{Envelope, Syslog};
use super::{Kind, Settings};
use crate::event::{Hit, Outcome, Subject, Why};
use crate::net;
use crate::rule::Order;

/// Makes frames of hits.
///
/// A busy server makes a hundred thousand a second beside its workers: what a rule always says is made once
/// (`said`), and the rest is put together by hand.
pub(super) trait Encode: Send {
    /// Appends what is said of `hit`, without what stands around it ([`Framing`]).
    fn encode(&mut self, hit: &Hit<'_>, why: &Arc<Why>, out: &mut Vec<u8>);
}

/// For a stream. What goes over a network or to the system's log wears syslog's header.
pub(super) fn new(settings: &Settings) -> Box<dyn Encode> {
    let clients = settings.clients;
    let envelope = (Framing::of(settings.kind, &settings.to) != Framing::Line).then(Envelope::new);
    match settings.kind {
        Kind::Dnstap => Box::new(Tap::new(clients)),
        Kind::Rpz => Box::new(Rpz::new(clients, envelope)),
        Kind::Cef => Box::new(Cef::new(clients, envelope)),
        Kind::Syslog => Box::new(Syslog::new(clients)),
        Kind::Journald => Box::new(Journal::new(clients)),
        Kind::Json => Box::new(Json::new(clients)),
    }
}

/// The orders of a subject whose ids and authorities fit into `most` octets, and how many more there are.
pub(super) fn orders(subject: &Subject, most: usize) -> (&[Arc<Order>], usize) {
    let mut sum = 0;
    let fit = subject.orders.iter().take_while(|order| {
        sum += order.id.len() + order.authority.len();
        sum <= most
    });
    let (fit, rest) = subject.orders.split_at(fit.count());
    (fit, rest.len())
}

/// What became of a hit's query, in syslog's severities: notice or informational (RFC 5424 section 6.2.1).
pub(super) fn severity(outcome: Outcome) -> u8 {
    match outcome {
        Outcome::Blocked => 5,
        Outcome::Shadow | Outcome::Excepted => 6,
    }
}

/// This host's name; `-` if it has none that would do in a syslog header.
pub(super) fn host() -> String {
    let name = net::host_name().unwrap_or_default();
    let good = (1..=255).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic());
    if good { name } else { "-".into() }
}

/// A character as it may stand in a line: control characters, and whatever somebody might take for the end of a line,
/// become pictures of themselves (U+2400 and following), or U+FFFD.
pub(super) fn visible(c: char) -> char {
    match c {
        '\0'..='\x1f' => char::from_u32(0x2400 + u32::from(c)).unwrap_or(char::REPLACEMENT_CHARACTER),
        '\x7f' => '\u{2421}',
        '\u{80}'..='\u{9f}' | '\u{2028}' | '\u{2029}' => char::REPLACEMENT_CHARACTER,
        c => c,
    }
}

/// Appends text in one line.
pub(super) fn push_visible(text: &str, out: &mut Vec<u8>) {
    text.chars().for_each(|c| push_char(visible(c), out));
}

/// Appends a character in UTF-8.
pub(super) fn push_char(c: char, out: &mut Vec<u8>) {
    out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
}

/// Appends a number in decimal digits.
pub(super) fn push_number(number: i64, out: &mut Vec<u8>) {
    let mut digits = [b'0'; 20];
    let mut at = digits.len();
    let mut left = number.unsigned_abs();
    while left > 0 || at == digits.len() {
        at -= 1;
        digits[at] = b'0' + (left % 10) as u8;
        left /= 10;
    }
    if number < 0 {
        out.push(b'-');
    }
    out.extend_from_slice(&digits[at..]);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::stream::tests::is_one_line;

    proptest! {
        #[test]
        fn numbers_are_as_display_has_them(number: i64) {
            for number in [number, number >> 32, 0, i64::MIN, i64::MAX] {
                let mut out = Vec::new();
                push_number(number, &mut out);
                prop_assert_eq!(String::from_utf8(out).expect("digits"), number.to_string());
            }
        }

        #[test]
        fn visible_text_is_one_line_of_the_same_length(text: String) {
            let mut out = Vec::new();
            push_visible(&text, &mut out);
            let shown = String::from_utf8(out).expect("UTF-8");
            prop_assert!(is_one_line(&shown));
            prop_assert_eq!(shown.chars().count(), text.chars().count());
            let same = |(a, b): (char, char)| a == b || !is_one_line(&a.to_string());
            prop_assert!(text.chars().zip(shown.chars()).all(same));
        }
    }

    #[test]
    fn this_host_has_a_name_for_a_header() {
        let host = host();
        assert!(!host.is_empty() && host.bytes().all(|byte| byte.is_ascii_graphic()), "{host:?}");
    }
}
