//! A hit as a line of JSON.

use std::borrow::Cow;

use jiff::Timestamp;
use serde::Serialize;

use super::Clients;
use super::client::Mask;
use super::reason::{Attributions, Reason, Reasons};
use super::rrtype::type_name;
use crate::event::Hit;
use crate::name;

/// Writes lines, with the memory that takes.
pub(super) struct Lines {
    mask: Mask,
    reasons: Reasons,
    time: String,
    client: String,
    name: String,
}

/// The line; the order of its fields is the order in the file.
#[derive(Serialize)]
struct Line<'a> {
    time: &'a str,
    client: Option<&'a str>,
    transport: &'static str,
    name: &'a str,
    r#type: Cow<'static, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<String>,
    #[serde(flatten)]
    reason: &'a Reason,
    mode: String,
    answer: &'static str,
}

impl Lines {
    /// With nothing remembered.
    pub(super) fn new(clients: Clients) -> Self {
        Self {
            mask: Mask::new(clients),
            reasons: Reasons::default(),
            time: String::new(),
            client: String::new(),
            name: String::new(),
        }
    }

    /// Appends the line of `hit`, newline included.
    pub(super) fn push(&mut self, hit: &Hit, attributions: &Attributions, out: &mut Vec<u8>) {
        let matched = hit.target.as_ref().map_or(hit.name.wire(), |target| target.wire());
        let reason = self.reasons.of(matched, hit.mode, hit.generation, attributions);
        show_time(hit.unix_ms, &mut self.time);
        let client = self.mask.show(hit.client, &mut self.client).then_some(self.client.as_str());
        self.name.clear();
        // Writing to a String cannot fail.
        let _ = name::show(hit.name.wire(), &mut self.name);
        let line = Line {
            time: &self.time,
            client,
            transport: hit.transport.as_str(),
            name: &self.name,
            r#type: type_name(hit.qtype),
            target: hit.target.as_ref().map(|target| target.to_string()),
            reason: &reason,
            mode: hit.mode.to_string(),
            answer: hit.answer.as_str(),
        };
        // Strings, numbers and arrays of them into memory: serde_json has nothing to refuse here.
        let _ = serde_json::to_writer(&mut *out, &line);
        out.push(b'\n');
    }
}

/// RFC 3339, UTC, milliseconds; a time no calendar knows becomes the nearest one it does.
fn show_time(unix_ms: i64, out: &mut String) {
    let edge = if unix_ms < 0 { Timestamp::MIN } else { Timestamp::MAX };
    let time = Timestamp::from_millisecond(unix_ms).unwrap_or(edge);
    out.clear();
    let _ = std::fmt::Write::write_fmt(out, format_args!("{time:.3}"));
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::event::{AnswerKind, Attribution, Cause, HitName, Transport};
    use crate::name::Name;
    use crate::rule::Mode;

    /// Answers with what it was made with, for any name.
    struct Always(Vec<Cause>);

    impl Attribution for Always {
        fn causes(&self, _: &[u8], _: Mode) -> Vec<Cause> {
            self.0.clone()
        }
    }

    fn hit(name: &[u8]) -> Hit {
        Hit {
            unix_ms: 1_769_860_800_123,
            generation: 1,
            client: [192, 0, 2, 7].into(),
            transport: Transport::Udp,
            qtype: 65,
            mode: Mode::Enforce,
            answer: AnswerKind::Sinkhole,
            name: HitName::new(name),
            target: None,
        }
    }

    fn line(hit: &Hit, causes: Vec<Cause>) -> String {
        let attributions = Attributions::default();
        attributions.announce(1, Arc::new(Always(causes)));
        let mut out = Vec::new();
        Lines::new(Clients::Full).push(hit, &attributions, &mut out);
        String::from_utf8(out).expect("UTF-8")
    }

    fn cause(list: &str, orders: &[&str]) -> Cause {
        let orders = orders.iter().map(|&o| o.into()).collect();
        Cause { list: list.into(), file: "orders/a.toml".into(), line: 9, rule: "example".into(), orders }
    }

    #[test]
    fn a_line_as_documented() {
        let written = line(&hit(b"\x01a\x07example\0"), vec![cause("orders", &["1/25"])]);
        let expected = concat!(
            r#"{"time":"2026-01-31T12:00:00.123Z","client":"192.0.2.7","transport":"udp","name":"a.example","#,
            r#""type":"HTTPS","list":"orders","rule":"example","line":9,"file":"orders/a.toml","orders":["1/25"],"#,
            r#""mode":"enforce","answer":"sinkhole"}"#,
            "\n"
        );
        assert_eq!(written, expected);
        assert!(
            std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/hits.md"))
                .expect("docs/hits.md")
                .contains(expected),
            "docs/hits.md shows this line"
        );
    }

    #[test]
    fn targets_further_rules_and_hits_nobody_can_explain() {
        let mut with_target = hit(b"\x01a\0");
        with_target.target = Name::from_wire(b"\x01b\x07example\0").map(Box::new);
        let written = line(&with_target, vec![cause("one", &["1"]), cause("two", &["1", "2"])]);
        let value: Value = serde_json::from_str(&written).expect("JSON");
        assert_eq!(value["target"], "b.example");
        assert_eq!(value["orders"], serde_json::json!(["1", "2"]));
        let two = serde_json::json!(
            [{ "list": "two", "rule": "example", "line": 9, "file": "orders/a.toml", "orders": ["1", "2"] }]
        );
        assert_eq!(value["also"], two);
        let value: Value = serde_json::from_str(&line(&hit(b"\x01a\0"), Vec::new())).expect("JSON");
        assert!(value["list"].is_null() && value["rule"].is_null() && value["line"].is_null());
        assert_eq!(value["orders"], serde_json::json!([]));
        assert_eq!(value.get("also"), None);
    }

    /// Presentation format back to labels, by RFC 1035 section 5.1 alone.
    fn unescape(text: &str) -> Vec<Vec<u8>> {
        if text == "." {
            return Vec::new();
        }
        let mut labels = vec![Vec::new()];
        let mut rest = text.as_bytes();
        while let Some((&byte, tail)) = rest.split_first() {
            rest = tail;
            let label = labels.last_mut().expect("never empty");
            match byte {
                b'.' => labels.push(Vec::new()),
                b'\\' if rest[0].is_ascii_digit() => {
                    label.push(std::str::from_utf8(&rest[..3]).expect("digits").parse().expect("an octet"));
                    rest = &rest[3..];
                }
                b'\\' => {
                    label.push(rest[0]);
                    rest = &rest[1..];
                }
                _ => label.push(byte),
            }
        }
        labels
    }

    proptest! {
        #[test]
        fn every_line_is_one_line_of_json_with_the_same_values(
            labels in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..20), 0..8),
            unix_ms in any::<i64>(),
            client in any::<u128>(),
            qtype in any::<u16>(),
            list in ".*",
            rule in ".*",
            orders in prop::collection::vec(".*", 0..4),
        ) {
            let labels: Vec<Vec<u8>> = labels.iter().map(|l| l.to_ascii_lowercase()).collect();
            let mut wire: Vec<u8> = labels.iter().flat_map(|l| [&[l.len() as u8], &l[..]].concat()).collect();
            wire.push(0);
            let mut sent = hit(&wire);
            (sent.unix_ms, sent.qtype, sent.client) = (unix_ms, qtype, std::net::Ipv6Addr::from_bits(client).into());
            let order_refs: Vec<&str> = orders.iter().map(String::as_str).collect();
            let mut why = cause(&list, &order_refs);
            why.rule = rule.clone();
            let written = line(&sent, vec![why]);
            prop_assert_eq!(written.matches('\n').count(), 1);
            let value: Value = serde_json::from_str(&written).expect("JSON");
            prop_assert_eq!(unescape(value["name"].as_str().expect("a name")), labels);
            prop_assert_eq!(value["list"].as_str(), Some(list.as_str()));
            prop_assert_eq!(value["rule"].as_str(), Some(rule.as_str()));
            let mut distinct = orders.clone();
            let mut seen = std::collections::HashSet::new();
            distinct.retain(|order| seen.insert(order.clone()));
            prop_assert_eq!(&value["orders"], &serde_json::json!(distinct));
            let time: Timestamp = value["time"].as_str().expect("a time").parse().expect("RFC 3339");
            if Timestamp::from_millisecond(unix_ms).is_ok() {
                prop_assert_eq!(time.as_millisecond(), unix_ms);
            }
            let address: std::net::IpAddr = value["client"].as_str().expect("a client").parse().expect("an address");
            prop_assert_eq!(address, sent.client.to_canonical());
        }
    }
}
