//! What is fuzzed: one plain function a target. `fuzz_targets/` hands them libFuzzer's inputs,
//! `tests/fuzz_smoke.rs` the committed corpus and mutations of it, on stable.
//!
//! A target panics on what must never be; every input is allowed to be refused.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::op::Message;
use hickory_proto::serialize::binary::BinDecodable;
use qalqan::engine::{Decider, Peer, Verdict};
use qalqan::event::Transport;
use qalqan::limit::{Acl, Settings};
use qalqan::list::{Format, Spec, Urls, parse};
use qalqan::name::NameBuf;
use qalqan::policy::{Answer, AnswerMode, AnswerSettings, Host, HostSettings, ListPolicy};
use qalqan::rule::{Effect, Kind, Mode, Order, Role, RulesBuilder, Scope};
use qalqan::set::Part;
use qalqan::snapshot::Snapshot;
use qalqan::stats::Stats;
use qalqan::util::{Now, UnixTime};
use qalqan::wire;

/// A target's name, which is its folder in `fuzz/corpus` too, and its function.
pub type Target = (&'static str, fn(&[u8]));

/// Every target. A new one gets its function below, a line here, a file in
/// `fuzz_targets/` with its `[[bin]]`, and a folder in `corpus/`.
pub const ALL: [Target; 12] = [
    ("auto", auto),
    ("domains", domains),
    ("hosts", hosts),
    ("adblock", adblock),
    ("dnsmasq", dnsmasq),
    ("rpz", rpz),
    ("orders", orders),
    ("csv", csv),
    ("json", json),
    ("wire", wire),
    ("relay", relay),
    ("decide", decide),
];

/// `format = "auto"`
pub fn auto(data: &[u8]) {
    list(Format::Auto, data);
}

/// `format = "domains"`
pub fn domains(data: &[u8]) {
    list(Format::Domains, data);
}

/// `format = "hosts"`
pub fn hosts(data: &[u8]) {
    list(Format::Hosts, data);
}

/// `format = "adblock"`
pub fn adblock(data: &[u8]) {
    list(Format::Adblock, data);
}

/// `format = "dnsmasq"`
pub fn dnsmasq(data: &[u8]) {
    list(Format::Dnsmasq, data);
}

/// `format = "rpz"`
pub fn rpz(data: &[u8]) {
    list(Format::Rpz, data);
}

/// `format = "orders"`
pub fn orders(data: &[u8]) {
    list(Format::Orders, data);
}

/// `format = "csv"`
pub fn csv(data: &[u8]) {
    list(Format::Csv, data);
}

/// `format = "json"`
pub fn json(data: &[u8]) {
    list(Format::Json, data);
}

/// Parses with the settings that take the most different ways, and checks what holds for every result.
fn list(format: Format, data: &[u8]) {
    for (role, urls) in [(Role::Block, Urls::Host), (Role::Allow, Urls::Reject)] {
        let plain = Spec::new("fuzz", PathBuf::from("fuzz"), format);
        let spec = Spec { role, urls, max_rejected: 10_000, ..plain };
        let report = match parse(&spec, &"fuzz".into(), data) {
            Ok(parsed) => {
                assert_eq!(parsed.rules.len() as u64, parsed.report.entries);
                assert!(
                    parsed.rules.iter().all(|rule| rule.line > 0 && rule.name().label_count() > 0),
                    "a rule for the root"
                );
                Some(parsed.report)
            }
            Err(refusal) => {
                assert!(!refusal.to_string().is_empty());
                refusal.report().cloned()
            }
        };
        for rejection in report.iter().flat_map(|report| &report.rejections) {
            assert!(rejection.line > 0 && rejection.column > 0 && rejection.entry.chars().count() <= 80);
            assert!(!rejection.entry.contains(char::is_control), "a control character in a report");
        }
    }
}

/// A query as it comes from the network, read like hickory-proto reads it.
pub fn wire(data: &[u8]) {
    let mut name = NameBuf::new();
    let Ok(query) = wire::parse(data, &mut name) else { return };
    // hickory looks into rdata that is none of our business, and may refuse what we accept.
    let Ok(twin) = Message::from_bytes(data) else { return };
    assert_eq!(query.id, twin.metadata.id);
    assert_eq!(query.qtype, u16::from(twin.queries[0].query_type()));
    assert_eq!(query.dnssec_ok(), twin.edns.as_ref().is_some_and(|edns| edns.flags().dnssec_ok));
    let labels: Vec<Vec<u8>> = twin.queries[0].name().iter().map(<[u8]>::to_ascii_lowercase).collect();
    let ours: Vec<Vec<u8>> = (0..name.label_count()).map(|index| name.label(index).to_vec()).collect();
    assert_eq!(ours, labels);
}

/// An upstream's answer to `www.example.com A`, passed on.
pub fn relay(data: &[u8]) {
    const QUERY: &[u8] =
        b"\0\x01\x01\0\0\x01\0\0\0\0\0\x01\x03www\x07example\x03com\0\0\x01\0\x01\0\0\x29\x04\xd0\0\0\0\0\0\0";
    let query = wire::parse(QUERY, &mut NameBuf::new()).expect("a query");
    let mut out = [0; wire::STREAM_MAX];
    for limit in [512, 1232, wire::STREAM_MAX] {
        let Ok(relayed) = wire::relay(data, QUERY, &query, limit, &mut out, &mut Vec::new()) else { return };
        assert!(relayed.len <= limit);
        assert_eq!(out[..2], QUERY[..2], "the client's id");
        assert_eq!(out[12..33], QUERY[12..33], "the client's question");
    }
    let _ = wire::answers_in_full(data, &mut Vec::new());
    let _ = wire::targets(data, &mut |name| name.label_count() > 20);
}

/// Any datagram at a server that blocks `example.com`: silence, or an answer that hickory-proto understands.
pub fn decide(data: &[u8]) {
    let mut rules = RulesBuilder::new("fuzz".into(), 32);
    let order = rules.order(Order { id: "1\"\u{1}".into(), contact: vec!["tel:1".into()], ..Order::default() });
    let mut name = NameBuf::new();
    name.parse("example.com").expect("a name");
    assert!(rules.push(&name, 1, Kind { scope: Scope::Subtree, effect: Effect::Block, order: Some(order) }));
    let answer = AnswerSettings {
        mode: AnswerMode::Sinkhole,
        ipv4: vec![[0, 0, 0, 0].into()],
        ipv6: Vec::new(),
        cname: None,
        ttl: 30,
        ede: Some(16),
        text: "order {order}".into(),
        language: "en".into(),
    };
    let (role, mode, answer) = (Role::Block, Mode::Enforce, Answer::new(&answer));
    let policy = ListPolicy { name: "fuzz".into(), role, mode, answer, slot: 0 };
    let parts = vec![Part::new(0, Arc::new(rules.build()))];
    let acl = Acl::new(&Settings { allow_from: vec!["127.0.0.0/8".parse().expect("a block")] });
    let snapshot = Snapshot::compile(1, vec![policy], parts, acl, UnixTime(0)).expect("one rule");
    let told = HostSettings { cookies: true, nsid: "id".into(), version: "v".into(), ..HostSettings::default() };
    let cookies = wire::Cookies::new(wire::Secret::new([7; 16]), None);
    let snapshot = snapshot.with_host(&Arc::new(Host::new(&told, Some(cookies), Duration::from_secs(10))));
    let mut decider = Decider::new(Stats::default().counters(), None);
    for (address, transport) in [
        ("127.0.0.1:1", Transport::Udp),
        ("127.0.0.1:1", Transport::Tcp),
        ("127.0.0.1:1", Transport::Dot),
        ("[::1]:1", Transport::Udp),
    ] {
        let peer = Peer::new(address.parse().expect("an address"), transport);
        let mut out = [0; wire::STREAM_MAX];
        let (Verdict::Reply(len) | Verdict::Resolve(len)) =
            decider.decide(&snapshot, data, peer, Now { unix_ms: 0 }, &mut out)
        else {
            continue;
        };
        assert!(len <= if transport == Transport::Udp { wire::UDP_EDNS } else { wire::STREAM_MAX });
        let reply = Message::from_bytes(&out[..len]).expect("an answer of ours");
        assert_eq!(out[..2], data[..2], "the client's id");
        assert!(reply.queries.len() <= 1);
    }
}
