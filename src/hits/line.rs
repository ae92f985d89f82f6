//! A hit as a line of JSON.

use jiff::Timestamp;

use super::Clients;
use super::client::Shown;
use super::name::push_name;
use super::rrtype::type_name;
use crate::event::{Hit, Transport};

/// Writes lines, with the memory that takes.
pub struct Lines {
    clients: Shown,
    time: Time,
}

impl Lines {
    /// With nothing remembered.
    pub fn new(clients: Clients) -> Self {
        Self { clients: Shown::new(clients), time: Time::default() }
    }

    /// Appends the line of `hit`, newline included; the order of the fields here is their order in the file.
    ///
    /// A busy server writes a hundred thousand lines a second beside its workers, so what a rule always says was made
    /// into JSON once (`fields`, see [`json_fields`](super::json_fields)), as was how a client is shown, and the
    /// rest is put together by hand.
    pub fn push(&mut self, hit: &Hit<'_>, fields: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"time\":\"");
        out.extend_from_slice(self.time.show(hit.unix_ms).as_bytes());
        out.extend_from_slice(b"\",\"client\":");
        out.extend_from_slice(self.clients.json(hit.client));
        out.extend_from_slice(match hit.transport {
            Transport::Udp => b",\"transport\":\"udp\",\"name\":\"",
            Transport::Tcp => b",\"transport\":\"tcp\",\"name\":\"",
            Transport::Dot => b",\"transport\":\"dot\",\"name\":\"",
            Transport::Doh => b",\"transport\":\"doh\",\"name\":\"",
            Transport::Doh3 => b",\"transport\":\"doh3\",\"name\":\"",
            Transport::Doq => b",\"transport\":\"doq\",\"name\":\"",
        });
        push_name(hit.name, out);
        out.extend_from_slice(b"\",\"type\":\"");
        out.extend_from_slice(type_name(hit.qtype).as_bytes());
        if let Some(target) = hit.target {
            out.extend_from_slice(b"\",\"target\":\"");
            push_name(target, out);
        }
        out.extend_from_slice(b"\",");
        out.extend_from_slice(fields);
        out.extend_from_slice(hit.answer.as_str().as_bytes());
        out.extend_from_slice(b"\"}\n");
    }
}

/// RFC 3339, UTC, milliseconds; within a second only the last digits are written anew.
#[derive(Default)]
pub struct Time {
    text: String,
    /// The second that `text` stands for.
    second: Option<i64>,
    /// The millisecond, if the second is known.
    unix_ms: i64,
}

impl Time {
    /// The time as text; one that no calendar knows becomes the nearest one it does.
    pub fn show(&mut self, unix_ms: i64) -> &str {
        if self.unix_ms == unix_ms && self.second.is_some() {
            return &self.text;
        }
        self.unix_ms = unix_ms;
        let (second, millisecond) = (unix_ms.div_euclid(1000), unix_ms.rem_euclid(1000));
        if self.second == Some(second) {
            // `…:08.123Z`: the digits stand before the last character.
            self.text.truncate(self.text.len() - 4);
            let digit = |value: i64| char::from(b'0' + (value % 10) as u8);
            self.text.extend([digit(millisecond / 100), digit(millisecond / 10), digit(millisecond), 'Z']);
            return &self.text;
        }
        let time = Timestamp::from_millisecond(unix_ms);
        self.second = time.is_ok().then_some(second);
        let time = time.unwrap_or(if unix_ms < 0 { Timestamp::MIN } else { Timestamp::MAX });
        self.text.clear();
        // Writing to a String cannot fail.
        let _ = std::fmt::Write::write_fmt(&mut self.text, format_args!("{time:.3}"));
        &self.text
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::event::{AnswerKind, Attribution, Cause, Outcome, Transport};
    use crate::hits::attribution::Attributions;
    use crate::hits::reason::Reasons;
    use crate::hits::tests::order;
    use crate::rule::Mode;

    /// Answers with what it was made with, for any name.
    struct Always(Vec<Cause>);

    impl Attribution for Always {
        fn causes(&self, _: &[u8], _: Mode, _: u16) -> Vec<Cause> {
            self.0.clone()
        }

        fn causes_of(&self, rule: u32) -> Option<Vec<Cause>> {
            (rule == 7).then(|| self.0.clone())
        }

        fn rules(&self) -> u32 {
            8
        }

        fn causes_at(&self, rule: u32) -> Option<(Outcome, Vec<Cause>)> {
            self.causes_of(rule).map(|causes| (Outcome::Blocked, causes))
        }
    }

    fn hit(name: &[u8]) -> Hit<'_> {
        Hit {
            unix_ms: 1_769_860_800_123,
            generation: 1,
            client: [192, 0, 2, 7].into(),
            transport: Transport::Udp,
            group: 0,
            qtype: 65,
            outcome: Outcome::Blocked,
            answer: AnswerKind::Sinkhole,
            rule: 0,
            alone: false,
            name,
            target: None,
        }
    }

    fn line(hit: &Hit<'_>, causes: Vec<Cause>) -> String {
        let attributions = Attributions::default();
        attributions.announce(1, Arc::new(Always(causes)));
        let mut out = Vec::new();
        Reasons::new(true).of(hit, &attributions, |known| Lines::new(Clients::Full).push(hit, &known.fields, &mut out));
        String::from_utf8(out).expect("UTF-8")
    }

    fn cause(list: &str, orders: &[&str]) -> Cause {
        let orders = orders.iter().map(|&id| order(id)).collect();
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
        with_target.target = Some(b"\x01b\x07example\0");
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

    /// The line as serde_json writes it, from what docs/hits.md says.
    fn slow(hit: &Hit<'_>, causes: &[Cause]) -> String {
        fn json(value: impl serde::Serialize) -> String {
            serde_json::to_string(&value).expect("JSON")
        }
        let shown = |wire: &[u8]| {
            let mut text = String::new();
            crate::name::show(wire, &mut text).expect("a String takes everything");
            json(text)
        };
        let mut orders: Vec<&String> = Vec::new();
        for order in causes.iter().flat_map(|cause| &cause.orders).map(|order| &order.id) {
            if !orders.contains(&order) {
                orders.push(order);
            }
        }
        let first = causes.first();
        let time = Timestamp::from_millisecond(hit.unix_ms);
        let time = time.unwrap_or(if hit.unix_ms < 0 { Timestamp::MIN } else { Timestamp::MAX });
        let mut fields = vec![
            ("time", json(format!("{time:.3}"))),
            ("client", json(hit.client.to_canonical())),
            ("transport", json(hit.transport.as_str())),
            ("name", shown(hit.name)),
            ("type", json(type_name(hit.qtype))),
        ];
        fields.extend(hit.target.map(|target| ("target", shown(target))));
        fields.extend([
            ("list", json(first.map(|cause| &cause.list))),
            ("rule", json(first.map(|cause| &cause.rule))),
            ("line", json(first.map(|cause| cause.line))),
            ("file", json(first.map(|cause| &cause.file))),
            ("orders", json(orders)),
        ]);
        if causes.len() > 1 {
            let also = causes.iter().skip(1).map(|Cause { list, file, line, rule, orders }| {
                let orders: Vec<&String> = orders.iter().map(|order| &order.id).collect();
                let [list, file, rule, orders] = [json(list), json(file), json(rule), json(orders)];
                format!(r#"{{"list":{list},"rule":{rule},"line":{line},"file":{file},"orders":{orders}}}"#)
            });
            fields.push(("also", format!("[{}]", also.collect::<Vec<_>>().join(","))));
        }
        fields.extend([
            ("mode", json(if hit.outcome == Outcome::Shadow { "shadow" } else { "enforce" })),
            ("answer", json(hit.answer.as_str())),
        ]);
        let fields: Vec<_> = fields.into_iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
        format!("{{{}}}\n", fields.join(","))
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

    /// A wire name of plain labels or of any.
    fn some_name() -> impl Strategy<Value = Vec<u8>> {
        let plain = "[a-z0-9_-]{1,15}".prop_map(String::into_bytes);
        let any = prop::collection::vec(any::<u8>(), 1..15).prop_map(|label| label.to_ascii_lowercase());
        prop::collection::vec(prop_oneof![3 => plain, 1 => any], 0..6).prop_map(|labels| {
            let mut wire: Vec<u8> = labels.iter().flat_map(|l| [&[l.len() as u8], &l[..]].concat()).collect();
            wire.push(0);
            wire
        })
    }

    proptest! {
        #[test]
        fn lines_are_byte_for_byte_what_serde_json_would_write(
            hits in prop::collection::vec(
                (
                    (some_name(), prop::option::of(some_name()), prop::option::of(6..8_u32)),
                    (prop_oneof![Just(1), Just(28), Just(65), any::<u16>()], 0..AnswerKind::ALL.len(), any::<[bool; 3]>()),
                    (prop_oneof![1_769_860_800_000..1_769_860_803_000_i64, any::<i64>()], 0..3_u8),
                ),
                1..20,
            ),
            lists in prop::collection::vec((".*", ".*", prop::collection::vec("[1-4]", 0..3)), 0..4),
        ) {
            let causes: Vec<_> = lists
                .into_iter()
                .map(|(list, rule, orders)| (list, rule, orders.iter().map(|id| order(id)).collect()))
                .map(|(list, rule, orders): (_, _, Vec<_>)| Cause { list, rule, file: "a/b.txt".into(), line: 9, orders })
                .collect();
            let attributions = Attributions::default();
            attributions.announce(1, Arc::new(Always(causes.clone())));
            // One writer for all, or nothing would be remembered.
            let (mut lines, mut reasons) = (Lines::new(Clients::Full), Reasons::new(true));
            for ((name, target, rule), (qtype, answer, [tcp, shadow, v6]), (unix_ms, host)) in &hits {
                let hit = Hit {
                    unix_ms: *unix_ms,
                    generation: 1,
                    client: if *v6 { [*host; 16].into() } else { [192, 0, 2, *host].into() },
                    transport: if *tcp { Transport::Tcp } else { Transport::Udp },
                    group: 0,
                    qtype: *qtype,
                    outcome: if *shadow { Outcome::Shadow } else { Outcome::Blocked },
                    answer: AnswerKind::ALL[*answer],
                    rule: rule.unwrap_or(0),
                    alone: rule.is_some(),
                    name,
                    target: target.as_deref(),
                };
                let mut out = b"before".to_vec();
                reasons.of(&hit, &attributions, |known| lines.push(&hit, &known.fields, &mut out));
                reasons.rest();
                prop_assert_eq!(String::from_utf8(out).expect("UTF-8"), format!("before{}", slow(&hit, &causes)));
            }
        }
    }

    #[test]
    fn times_within_a_second_are_as_if_each_were_written_anew() {
        let mut running = Time::default();
        for unix_ms in [0, 1, 999, 1000, 1_769_860_800_123, 1_769_860_800_007, 1_769_860_801_000, -1, -1000, -999] {
            let expected = Time::default().show(unix_ms).to_owned();
            assert_eq!(running.show(unix_ms), expected, "{unix_ms}");
        }
        assert_eq!(running.show(i64::MAX), Time::default().show(i64::MAX));
        assert_eq!(running.show(i64::MAX - 1), Time::default().show(i64::MAX - 1));
    }
}
