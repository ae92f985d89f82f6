use hickory_proto::op::{Message as Dns, MessageType, ResponseCode};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::event::Outcome;
use crate::stream::tests::{Hostile, hostile, sample, shown};

/// What a reader makes of a frame.
fn read(hit: &Hit<'_>, why: &Arc<Why>, clients: Clients) -> (Dnstap, Value) {
    let mut out = Vec::new();
    Tap::new(clients).encode(hit, why, &mut out);
    let tap = Dnstap::decode(&out[..]).expect("a protocol buffer");
    let extra = serde_json::from_slice(tap.extra.as_deref().expect("extra")).expect("JSON");
    (tap, extra)
}

#[test]
fn an_answer_of_ours_is_a_response_with_its_policy() {
    let (hit, why) = sample();
    let (tap, extra) = read(&hit, &why, Clients::Truncate);
    assert_eq!((tap.r#type, tap.version.as_deref()), (1, Some(&b"qalqan 0.1.0"[..])));
    let message = tap.message.expect("a message");
    assert_eq!((message.r#type, message.socket_family, message.socket_protocol), (6, Some(1), Some(1)));
    assert_eq!(message.query_address.as_deref(), Some(&[192, 0, 2, 0][..]));
    let time = (message.response_time_sec, message.response_time_nsec);
    assert_eq!(time, (Some(1_769_860_800), Some(123_000_000)));
    assert_eq!((message.query_time_sec, message.query_time_nsec), time);
    let dns = Dns::from_vec(message.response_message.as_deref().expect("a response")).expect("a DNS message");
    assert_eq!((dns.metadata.message_type, dns.metadata.response_code), (MessageType::Response, ResponseCode::NoError));
    assert!(dns.metadata.recursion_desired && dns.metadata.recursion_available);
    assert_eq!(dns.queries[0].to_string(), "a.example. IN HTTPS");
    let policy = message.policy.expect("a policy");
    assert_eq!((policy.r#type.as_deref(), policy.action, policy.r#match), (Some("qalqan"), Some(6), Some(1)));
    assert_eq!(policy.rule.as_deref(), Some(&b"\x07example\0"[..]));
    assert_eq!(policy.value.as_deref(), Some(hit.name));
    let text = String::from_utf8(tap.extra.expect("extra")).expect("UTF-8");
    assert!(shown("docs/streams.md").contains(&text), "docs/streams.md shows {text}");
    let expected = json!({
        "outcome": "blocked", "list": "orders", "rule": "example", "orders": [{"id": "1/25", "authority": "Agency"}],
        "answer": "sinkhole", "client": "192.0.2.0/24",
    });
    assert_eq!(extra, expected);
}

#[test]
fn what_is_not_ours_to_answer_is_a_query() {
    let (mut hit, why) = sample();
    let mut subject = why.subject.clone();
    (subject.outcome, subject.rule, subject.also) = (Outcome::Shadow, "*.example".into(), ["more".into()].into());
    let why = Arc::new(Why { id: 1, subject, causes: Box::default(), group: None });
    hit.target = Some(b"\x01b\x07example\0");
    for (answer, number) in [(AnswerKind::Passed, 3), (AnswerKind::Drop, 4)] {
        hit.answer = answer;
        let (tap, extra) = read(&hit, &why, Clients::None);
        let message = tap.message.expect("a message");
        assert_eq!((message.r#type, &message.response_message, message.response_time_sec), (5, &None, None));
        let dns = Dns::from_vec(message.query_message.as_deref().expect("a query")).expect("a DNS message");
        assert_eq!((dns.metadata.message_type, dns.queries.len()), (MessageType::Query, 1));
        assert_eq!((message.query_address, extra["client"].clone()), (None, Value::Null));
        let policy = message.policy.expect("a policy");
        assert_eq!((policy.action, policy.value.as_deref()), (Some(number), hit.target));
        assert_eq!(policy.rule.as_deref(), Some(&b"\x01*\x07example\0"[..]));
        assert_eq!((&extra["outcome"], &extra["also"]), (&json!("shadow"), &json!(["more"])));
    }
}

#[test]
fn response_codes_and_addresses() {
    let (mut hit, why) = sample();
    let codes = [
        (AnswerKind::Nxdomain, ResponseCode::NXDomain, Some(1), false),
        (AnswerKind::Nodata, ResponseCode::NoError, Some(2), false),
        (AnswerKind::Refused, ResponseCode::Refused, None, false),
        (AnswerKind::Truncated, ResponseCode::NoError, Some(5), true),
        (AnswerKind::Cname, ResponseCode::NoError, Some(6), false),
        (AnswerKind::Local, ResponseCode::NoError, Some(6), false),
    ];
    for (answer, code, action, truncated) in codes {
        hit.answer = answer;
        let message = read(&hit, &why, Clients::Full).0.message.expect("a message");
        let dns = Dns::from_vec(&message.response_message.expect("a response")).expect("a DNS message");
        assert_eq!((dns.metadata.response_code, dns.metadata.truncation), (code, truncated), "{answer:?}");
        assert_eq!(message.policy.expect("a policy").action, action, "{answer:?}");
    }
    hit.client = "2001:db8:1:2ff::4".parse().expect("an address");
    hit.transport = Transport::Tcp;
    let message = read(&hit, &why, Clients::Truncate).0.message.expect("a message");
    assert_eq!((message.socket_family, message.socket_protocol), (Some(2), Some(2)));
    let network: std::net::Ipv6Addr = "2001:db8:1:200::".parse().expect("an address");
    assert_eq!(message.query_address, Some(network.octets().to_vec()));
    let (tap, extra) = read(&hit, &why, Clients::Hash);
    assert_eq!(tap.message.expect("a message").query_address, None);
    assert_eq!(extra["client"].as_str().map(str::len), Some(16));
}

proptest! {
    #[test]
    fn hostile_content_reads_back(hits in prop::collection::vec(hostile(), 1..5)) {
        let mut tap = Tap::new(Clients::Full);
        for Hostile { hit, why } in &hits {
            let mut out = Vec::new();
            tap.encode(&hit.as_hit(), why, &mut out);
            // Nothing is left over from the hit before.
            let mut alone = Vec::new();
            Tap::new(Clients::Full).encode(&hit.as_hit(), why, &mut alone);
            prop_assert_eq!(&out, &alone);
            let read = Dnstap::decode(&out[..]).expect("a protocol buffer");
            let extra: Value = serde_json::from_slice(read.extra.as_deref().expect("extra")).expect("JSON");
            let (named, more) = orders(&why.subject, ORDERS);
            let ids: Vec<&str> = named.iter().map(|order| order.id.as_str()).collect();
            let found: Vec<&str> = extra["orders"].as_array().expect("an array").iter().filter_map(|o| o["id"].as_str()).collect();
            prop_assert_eq!(found, ids);
            prop_assert_eq!(extra["orders_more"].as_u64().unwrap_or(0), more as u64);
            if !why.subject.rule.is_empty() {
                prop_assert_eq!(extra["list"].as_str(), Some(&*why.subject.list));
            }
            let message = read.message.expect("a message");
            let octets = message.response_message.or(message.query_message).expect("a DNS message");
            prop_assert!(octets.windows(hit.name.len()).any(|window| window == hit.name));
            let policy = message.policy.expect("a policy");
            prop_assert_eq!(policy.value.as_ref(), Some(hit.target.as_ref().unwrap_or(&hit.name)));
        }
    }
}
