//! An entry of systemd's journal, in the protocol of its own socket: `FIELD=value` a line, or, for a value with an end of
//! line in it, the field's name, the value's length in eight octets, the value.

use std::sync::Arc;

use super::encode::{Encode, orders, push_number, severity};
use super::said::Remembered;
use super::syslog::{push_reason, push_sentence};
use crate::event::{Hit, Subject, Why};
use crate::hits::{Clients, Shown, Time, push_shown, type_name};

/// Octets of orders an entry names: all of it must fit into a datagram.
const ORDERS: usize = 16 << 10;

/// Makes entries.
pub(super) struct Journal {
    time: Time,
    clients: Shown,
    said: Remembered,
    name: Vec<u8>,
    message: Vec<u8>,
}

impl Journal {
    /// With nothing remembered.
    pub(super) fn new(clients: Clients) -> Self {
        let (time, clients, said) = (Time::default(), Shown::new(clients), Remembered::default());
        Self { time, clients, said, name: Vec::new(), message: Vec::new() }
    }
}

impl Encode for Journal {
    fn encode(&mut self, hit: &Hit<'_>, why: &Arc<Why>, out: &mut Vec<u8>) {
        let said = self.said.of(why, |why, fields, reason| {
            push_fields(&why.subject, fields);
            push_reason(&why.subject, reason);
        });
        out.extend_from_slice(&said.one);
        push_field("QALQAN_TIME", self.time.show(hit.unix_ms).as_bytes(), out);
        self.name.clear();
        push_shown(hit.name, &mut self.name);
        push_field("QALQAN_NAME", &self.name, out);
        push_field("QALQAN_TYPE", type_name(hit.qtype).as_bytes(), out);
        if let Some(target) = hit.target {
            let at = self.name.len();
            push_shown(target, &mut self.name);
            push_field("QALQAN_TARGET", self.name.get(at..).unwrap_or_default(), out);
            self.name.truncate(at);
        }
        let client = self.clients.text(hit.client);
        if let Some(client) = client {
            push_field("QALQAN_CLIENT", client, out);
        }
        push_field("QALQAN_TRANSPORT", hit.transport.as_str().as_bytes(), out);
        push_field("QALQAN_ANSWER", hit.answer.as_str().as_bytes(), out);
        self.message.clear();
        push_sentence(why.subject.outcome, &self.name, hit.qtype, client, &said.two, &mut self.message);
        push_field("MESSAGE", &self.message, out);
    }
}

/// Appends the fields a rule always has.
fn push_fields(subject: &Subject, out: &mut Vec<u8>) {
    let mut severity_digits = Vec::new();
    push_number(severity(subject.outcome).into(), &mut severity_digits);
    push_field("PRIORITY", &severity_digits, out);
    push_field("SYSLOG_IDENTIFIER", b"qalqan", out);
    push_field("QALQAN_OUTCOME", subject.outcome.as_str().as_bytes(), out);
    if !subject.rule.is_empty() {
        push_field("QALQAN_LIST", subject.list.as_bytes(), out);
        push_field("QALQAN_RULE", subject.rule.as_bytes(), out);
    }
    let (named, more) = orders(subject, ORDERS);
    for order in named {
        push_field("QALQAN_ORDER", order.id.as_bytes(), out);
        if !order.authority.is_empty() {
            push_field("QALQAN_AUTHORITY", order.authority.as_bytes(), out);
        }
    }
    if more > 0 {
        push_field("QALQAN_ORDERS_MORE", more.to_string().as_bytes(), out);
    }
}

/// Appends a field, whatever octets its value has.
fn push_field(key: &str, value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(key.as_bytes());
    if value.contains(&b'\n') {
        out.push(b'\n');
        out.extend_from_slice(&(value.len() as u64).to_le_bytes());
    } else {
        out.push(b'=');
    }
    out.extend_from_slice(value);
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::stream::tests::{Hostile, hostile, sample};

    /// The fields of an entry, read as the journal does.
    fn read(mut entry: &[u8]) -> Vec<(String, Vec<u8>)> {
        let mut fields = Vec::new();
        while !entry.is_empty() {
            let line = entry.iter().position(|&byte| byte == b'\n').expect("a line");
            let head = &entry[..line];
            let (key, value, rest) = match head.iter().position(|&byte| byte == b'=') {
                Some(at) => (&head[..at], &head[at + 1..], &entry[line + 1..]),
                None => {
                    let (length, rest) = entry[line + 1..].split_first_chunk().expect("a length");
                    let (value, rest) = rest.split_at(u64::from_le_bytes(*length) as usize);
                    (head, value, rest.strip_prefix(b"\n").expect("an end"))
                }
            };
            let key = String::from_utf8(key.to_vec()).expect("a name");
            assert!(
                key.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_') && !key.starts_with('_'),
                "{key}"
            );
            fields.push((key, value.to_vec()));
            entry = rest;
        }
        fields
    }

    #[test]
    fn an_entry_as_documented() {
        let (hit, why) = sample();
        let mut out = Vec::new();
        Journal::new(Clients::Truncate).encode(&hit, &why, &mut out);
        let expected = "PRIORITY=5\nSYSLOG_IDENTIFIER=qalqan\nQALQAN_OUTCOME=blocked\nQALQAN_LIST=orders\n\
                        QALQAN_RULE=example\nQALQAN_ORDER=1/25\nQALQAN_AUTHORITY=Agency\n\
                        QALQAN_TIME=2026-01-31T12:00:00.123Z\nQALQAN_NAME=a.example\nQALQAN_TYPE=HTTPS\n\
                        QALQAN_CLIENT=192.0.2.0/24\nQALQAN_TRANSPORT=udp\nQALQAN_ANSWER=sinkhole\n\
                        MESSAGE=blocked a.example HTTPS for 192.0.2.0/24 by orders (order 1/25)\n";
        assert_eq!(String::from_utf8(out).expect("UTF-8"), expected);
        assert!(crate::stream::tests::shown("docs/streams.md").contains(expected), "docs/streams.md shows this entry");
    }

    proptest! {
        #[test]
        fn hostile_content_reads_back_to_the_octet(hostile in hostile()) {
            let Hostile { hit, why } = &hostile;
            let mut out = Vec::new();
            Journal::new(Clients::Full).encode(&hit.as_hit(), why, &mut out);
            let fields = read(&out);
            let all = |key: &str| fields.iter().filter(|(k, _)| k == key).map(|(_, v)| v.clone()).collect::<Vec<_>>();
            let (named, _) = orders(&why.subject, ORDERS);
            let ids: Vec<Vec<u8>> = named.iter().map(|order| order.id.clone().into_bytes()).collect();
            prop_assert_eq!(all("QALQAN_ORDER"), ids);
            if !why.subject.rule.is_empty() {
                prop_assert_eq!(all("QALQAN_LIST"), [why.subject.list.as_bytes().to_vec()]);
                prop_assert_eq!(all("QALQAN_RULE"), [why.subject.rule.as_bytes().to_vec()]);
            }
            prop_assert_eq!(all("QALQAN_NAME"), [hit.name_text().into_bytes()]);
            prop_assert_eq!(all("MESSAGE").len(), 1);
        }
    }
}
