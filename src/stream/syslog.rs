//! RFC 5424: the header every message over a network has, and messages with structured data.

use std::sync::Arc;

use super::encode::{Encode, host, orders, push_char, push_number, push_visible, severity, visible};
use super::said::Remembered;
use crate::event::{Hit, Outcome, Subject, Why};
use crate::hits::{Clients, Shown, Time, push_shown, type_name};

/// "System daemons".
const FACILITY: u8 = 3;
/// The structured data's name. 32473 is the number RFC 5612 sets aside for those who have none of their own.
const SD_ID: &str = "qalqan@32473";
/// Octets of orders a message names: it must stay below the 2048 octets every receiver should take (RFC 5425 section 4.3.1, RFC 5426 section 3.2).
const ORDERS: usize = 800;

/// The header: `<29>1 2026-01-31T12:00:00.123Z dns1 qalqan 4711 hit`.
pub(super) struct Envelope {
    time: Time,
    /// Host, program and process, between spaces.
    sender: Vec<u8>,
}

impl Envelope {
    /// Of this host and process.
    pub(super) fn new() -> Self {
        let sender = format!(" {} qalqan {} ", host(), std::process::id());
        Self { time: Time::default(), sender: sender.into() }
    }

    /// Appends the header with the kind of message; structured data or `-` comes next.
    pub(super) fn push(&mut self, hit: &Hit<'_>, outcome: Outcome, kind: &str, out: &mut Vec<u8>) {
        out.push(b'<');
        push_number((FACILITY * 8 + severity(outcome)).into(), out);
        out.extend_from_slice(b">1 ");
        out.extend_from_slice(self.time.show(hit.unix_ms).as_bytes());
        out.extend_from_slice(&self.sender);
        out.extend_from_slice(kind.as_bytes());
        out.push(b' ');
    }
}

/// Messages with everything in structured data, and a sentence for people.
pub(super) struct Syslog {
    envelope: Envelope,
    clients: Shown,
    said: Remembered,
    name: Vec<u8>,
}

impl Syslog {
    /// With nothing remembered.
    pub(super) fn new(clients: Clients) -> Self {
        let (clients, said) = (Shown::new(clients), Remembered::default());
        Self { envelope: Envelope::new(), clients, said, name: Vec::new() }
    }
}

impl Encode for Syslog {
    fn encode(&mut self, hit: &Hit<'_>, why: &Arc<Why>, out: &mut Vec<u8>) {
        let outcome = why.subject.outcome;
        let said = self.said.of(why, |why, data, reason| {
            push_data(&why.subject, data);
            push_reason(&why.subject, reason);
        });
        self.envelope.push(hit, outcome, "hit", out);
        out.extend_from_slice(&said.one);
        self.name.clear();
        push_shown(hit.name, &mut self.name);
        push_known("name", &self.name, out);
        push_known("type", type_name(hit.qtype).as_bytes(), out);
        if let Some(target) = hit.target {
            let at = self.name.len();
            push_shown(target, &mut self.name);
            push_known("target", self.name.get(at..).unwrap_or_default(), out);
            self.name.truncate(at);
        }
        let client = self.clients.text(hit.client);
        if let Some(client) = client {
            push_known("client", client, out);
        }
        push_known("transport", hit.transport.as_str().as_bytes(), out);
        push_known("answer", hit.answer.as_str().as_bytes(), out);
        out.extend_from_slice(b"] ");
        push_sentence(outcome, &self.name, hit.qtype, client, &said.two, out);
    }
}

/// Appends a sentence: `blocked a.example A for 192.0.2.0/24 by orders (order 1/25)`.
pub(super) fn push_sentence(
    outcome: Outcome,
    name: &[u8],
    qtype: u16,
    client: Option<&[u8]>,
    reason: &[u8],
    out: &mut Vec<u8>,
) {
    for (word, text) in [
        ("", outcome.as_str().as_bytes()),
        (" ", name),
        (" ", type_name(qtype).as_bytes()),
        (if client.is_some() { " for " } else { "" }, client.unwrap_or_default()),
        ("", reason),
    ] {
        out.extend_from_slice(word.as_bytes());
        out.extend_from_slice(text);
    }
}

/// Appends the end of the sentence: the list, the first order, and how many more.
pub(super) fn push_reason(subject: &Subject, out: &mut Vec<u8>) {
    if subject.rule.is_empty() {
        return;
    }
    out.extend_from_slice(b" by ");
    push_visible(&subject.list, out);
    let (named, _) = orders(subject, ORDERS);
    if let Some(order) = named.first() {
        out.extend_from_slice(b" (order ");
        push_visible(&order.id, out);
        let more = subject.orders.len() - 1;
        if more > 0 {
            out.extend_from_slice(b" and ");
            push_number(more as i64, out);
            out.extend_from_slice(b" more");
        }
        out.push(b')');
    }
}

/// Appends the structured data a rule always has, left open for what a hit adds.
fn push_data(subject: &Subject, out: &mut Vec<u8>) {
    out.push(b'[');
    out.extend_from_slice(SD_ID.as_bytes());
    push_param("outcome", subject.outcome.as_str(), out);
    if !subject.rule.is_empty() {
        push_param("list", &subject.list, out);
        push_param("rule", &subject.rule, out);
    }
    let (named, more) = orders(subject, ORDERS);
    for order in named {
        push_param("order", &order.id, out);
        push_param("authority", &order.authority, out);
    }
    if more > 0 {
        push_param("orders_more", &more.to_string(), out);
    }
}

/// Appends ` key="value"` with whatever needs it escaped (RFC 5424 section 6.3.3).
fn push_param(key: &str, value: &str, out: &mut Vec<u8>) {
    out.push(b' ');
    out.extend_from_slice(key.as_bytes());
    out.extend_from_slice(b"=\"");
    for c in value.chars() {
        if matches!(c, '"' | '\\' | ']') {
            out.push(b'\\');
        }
        push_char(visible(c), out);
    }
    out.push(b'"');
}

/// The same for printable ASCII.
fn push_known(key: &str, value: &[u8], out: &mut Vec<u8>) {
    out.push(b' ');
    out.extend_from_slice(key.as_bytes());
    out.extend_from_slice(b"=\"");
    let before = out.len();
    out.extend_from_slice(value);
    if value.iter().any(|byte| matches!(byte, b'"' | b'\\' | b']')) {
        out.truncate(before);
        for &byte in value {
            if matches!(byte, b'"' | b'\\' | b']') {
                out.push(b'\\');
            }
            out.push(byte);
        }
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::stream::tests::{Hostile, hostile, is_one_line, sample, shown};

    /// The parameters and the message of a line, read by the letter of RFC 5424.
    fn read(line: &str) -> (Vec<(String, String)>, String) {
        let rest = line.splitn(7, ' ').nth(6).expect("six fields of header");
        let mut chars = rest.strip_prefix("[qalqan@32473").expect("our data").chars();
        let mut params = Vec::new();
        loop {
            match chars.next() {
                Some(']') => break,
                Some(' ') => {}
                other => panic!("{other:?} in {line}"),
            }
            let key: String = chars.by_ref().take_while(|&c| c != '=').collect();
            assert_eq!(chars.next(), Some('"'));
            let mut value = String::new();
            loop {
                match chars.next().expect("an end") {
                    '"' => break,
                    '\\' => value.push(chars.next().filter(|c| "\"\\]".contains(*c)).expect("an escape we may write")),
                    c => value.push(c),
                }
            }
            params.push((key, value));
        }
        (params, chars.as_str().strip_prefix(' ').expect("a message").into())
    }

    #[test]
    fn a_message_as_documented() {
        let (hit, why) = sample();
        let mut out = Vec::new();
        let mut syslog = Syslog::new(Clients::Truncate);
        syslog.envelope.sender = b" dns1 qalqan 4711 ".to_vec();
        syslog.encode(&hit, &why, &mut out);
        let expected = concat!(
            r#"<29>1 2026-01-31T12:00:00.123Z dns1 qalqan 4711 hit [qalqan@32473 outcome="blocked" list="orders" "#,
            r#"rule="example" order="1/25" authority="Agency" name="a.example" type="HTTPS" client="192.0.2.0/24" "#,
            r#"transport="udp" answer="sinkhole"] blocked a.example HTTPS for 192.0.2.0/24 by orders (order 1/25)"#
        );
        assert_eq!(String::from_utf8(out).expect("UTF-8"), expected);
        assert!(shown("docs/streams.md").contains(expected), "docs/streams.md shows this line");
    }

    #[test]
    fn many_orders_are_counted_not_written() {
        let mut subject = sample().1.subject.clone();
        let order = |n: usize| Arc::new(crate::rule::Order { id: format!("order number {n}"), ..Default::default() });
        subject.orders = (0..1000).map(order).collect();
        let (mut data, mut reason) = (Vec::new(), Vec::new());
        push_data(&subject, &mut data);
        push_reason(&subject, &mut reason);
        let data = String::from_utf8(data).expect("UTF-8");
        let named = data.matches(" order=\"").count();
        assert!(data.len() < 3 * ORDERS && named > 40, "{named} in {} octets", data.len());
        assert!(data.ends_with(&format!(" orders_more=\"{}\"", 1000 - named)), "{data}");
        assert!(reason.ends_with(b" (order order number 0 and 999 more)"));
    }

    proptest! {
        #[test]
        fn hostile_content_stays_one_line_and_reads_back(hostile in hostile()) {
            let Hostile { hit, why } = &hostile;
            let mut out = Vec::new();
            Syslog::new(Clients::Full).encode(&hit.as_hit(), why, &mut out);
            let line = String::from_utf8(out).expect("UTF-8");
            prop_assert!(is_one_line(&line), "{:?}", line);
            let (params, _) = read(&line);
            let all = |key: &str| params.iter().filter(|(k, _)| k == key).map(|(_, v)| v.clone()).collect::<Vec<_>>();
            let seen = |text: &str| text.chars().map(visible).collect::<String>();
            let subject = &why.subject;
            let (named, _) = orders(subject, ORDERS);
            let expected: Vec<String> = named.iter().map(|order| seen(&order.id)).collect();
            prop_assert_eq!(all("order"), expected);
            if !subject.rule.is_empty() {
                prop_assert_eq!(all("list"), [seen(&subject.list)]);
                prop_assert_eq!(all("rule"), [seen(&subject.rule)]);
            }
            prop_assert_eq!(all("name"), [hit.name_text()]);
            prop_assert_eq!(all("client"), [hit.client.to_canonical().to_string()]);
        }
    }
}
