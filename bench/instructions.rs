//! Decisions for callgrind to count: `instructions blocked|cookies|grouped|cached|passed`, run by `bench/instructions.py`.
//!
//! Only what [`measured_decisions`] calls is to be counted; it runs in the main thread, beside which the hit log's writes
//! lines. Hash keys are random, so there are several rounds with new ones, of many names each. How many decisions
//! were measured is printed.
#![expect(clippy::print_stdout, reason = "a benchmark prints")]

mod made;

use std::hint::black_box;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use qalqan::cache::{self, Cache, Key};
use qalqan::engine::{Decider, Peer, Verdict};
use qalqan::event::Transport;
use qalqan::hits::{self, HitLog, Takers};
use qalqan::limit::{Acl, Prefixes, Settings};
use qalqan::name::NameBuf;
use qalqan::policy::{Answer, AnswerMode, AnswerSettings, Host, HostSettings, ListPolicy};
use qalqan::rule::{Effect, Kind, Mode, Order, Role, RulesBuilder, Scope};
use qalqan::set::Part;
use qalqan::snapshot::{Clients, Group, Lists, Snapshot};
use qalqan::stats::Stats;
use qalqan::util::{Now, UnixTime};
use qalqan::wire::{self, Cookies, Secret};

use made::{Random, TOPS, made_up};

/// Rounds, each with other hash keys.
const ROUNDS: usize = 100;
/// How often the messages are decided about in a round.
const TURNS: u64 = 2;
/// Names on the list.
const LISTED: usize = 3500;
/// Decisions a round: fewer than the hit log's ring holds.
const ASKED: usize = 400;

fn main() {
    let kind = std::env::args().nth(1).unwrap_or_default();
    let expect = match kind.as_str() {
        "blocked" | "cookies" | "grouped" | "cached" => |verdict| matches!(verdict, Verdict::Reply(_)),
        "passed" => |verdict| matches!(verdict, Verdict::Resolve(_)),
        // `cargo bench` and `cargo test` run every benchmark; without valgrind there is nothing to measure.
        _ => {
            println!("nothing is measured here: see bench/instructions.py");
            return;
        }
    };
    let blocked = matches!(kind.as_str(), "blocked" | "cookies" | "grouped");
    let hits = if blocked { ASKED as u64 } else { 0 };
    let mut random = Random(7);
    let listed: Vec<String> = (0..LISTED).map(|_| made_up(&mut random, "", TOPS)).collect();
    let passed: Vec<String> = (0..ASKED).map(|_| made_up(&mut random, "free-", TOPS)).collect();
    let mut messages: Vec<Vec<u8>> = match blocked {
        true => listed[..ASKED].iter().enumerate().map(|(at, name)| query(name, at % 2 == 0)).collect(),
        false => passed.iter().map(|name| query(name, false)).collect(),
    };
    if kind == "cookies" {
        messages.iter_mut().for_each(add_cookie);
    }
    let folder = tempfile::tempdir().expect("a folder");
    let groups = (kind == "grouped").then(groups);
    for _ in 0..ROUNDS {
        let log = hit_log(&folder);
        let mut decider = decider(&log, &messages, kind == "cached");
        let snapshot = snapshot(&listed).with_clients(groups.clone());
        for turn in 1..=TURNS {
            assert_eq!(measured_decisions(&mut decider, &snapshot, &messages, expect), ASKED, "not all were {kind}");
            // The ring has room again for the next turn.
            while log.counters().written < turn * hits {
                thread::sleep(Duration::from_millis(5));
            }
        }
        let counters = log.close();
        assert_eq!((counters.written, counters.dropped_full), (TURNS * hits, 0), "every hit was taken");
    }
    println!("{}", ROUNDS * TURNS as usize * ASKED);
}

/// What is counted: a decision about each message; gives how many were as expected.
#[inline(never)]
fn measured_decisions(
    decider: &mut Decider,
    snapshot: &Snapshot,
    messages: &[Vec<u8>],
    expect: fn(Verdict) -> bool,
) -> usize {
    let peer = Peer::new(([127, 0, 0, 1], 4000).into(), Transport::Udp);
    let mut out = [0; wire::UDP_EDNS];
    let mut fits = 0;
    for message in messages {
        let verdict = decider.decide(snapshot, black_box(message), peer, Now { unix_ms: 1 }, &mut out);
        fits += usize::from(expect(black_box(verdict)));
        black_box(&out);
    }
    fits
}

/// A decider as a UDP worker has it; with `filled`, its cache knows the answers.
fn decider(log: &HitLog, messages: &[Vec<u8>], filled: bool) -> Decider {
    let settings = cache::Settings {
        size: 64 << 20,
        min_ttl: 0,
        max_ttl: 86_400,
        max_negative_ttl: 3600,
        servfail_ttl: 5,
        stale: 86_400,
        stale_after: Duration::from_millis(1800),
    };
    let cache = Cache::new(&settings).expect("a size");
    for message in messages.iter().filter(|_| filled) {
        let mut buf = NameBuf::new();
        let query = wire::parse(message, &mut buf).expect("a query");
        let mut answer = wire::question(buf.wire(), 1);
        (answer[2], answer[3], answer[7]) = (0x81, 0x80, 1);
        answer.extend_from_slice(b"\xc0\x0c\0\x01\0\x01\0\0\x0e\x10\0\x04\xc0\0\x02\x01");
        assert!(cache.insert(&Key::new(buf.wire(), &query, false), &answer, 0, cache.epoch(), UnixTime(0)));
    }
    let (refresh, _) = tokio::sync::mpsc::channel(1);
    Decider::new(Stats::default().counters(), Some(log.sender())).with_cache(Arc::new(cache), refresh)
}

/// A hit log, as by default on.
fn hit_log(folder: &tempfile::TempDir) -> HitLog {
    let settings = hits::Settings {
        file: Some(folder.path().join("hits.jsonl")),
        clients: hits::Clients::Truncate,
        max_size: 1 << 30,
        max_age: Duration::from_secs(86_400),
        keep: 1,
    };
    HitLog::start(&settings, Takers::default()).expect("a hit log")
}

/// One list with an order, as `config.toml` would make it.
fn snapshot(listed: &[String]) -> Snapshot {
    let mut rules = RulesBuilder::new("bench".into(), listed.len() * 24);
    let order =
        rules.order(Order { id: "25-01-25/4".into(), authority: "Ministry of Examples".into(), ..Order::default() });
    let mut buf = NameBuf::new();
    for (line, name) in listed.iter().enumerate() {
        buf.parse(name).expect("a name");
        let kind = Kind { scope: Scope::Subtree, effect: Effect::Block, order: Some(order) };
        assert!(rules.push(&buf, line as u32 + 1, kind));
    }
    let answer = Answer::new(&AnswerSettings {
        mode: AnswerMode::Sinkhole,
        ipv4: vec![[0, 0, 0, 0].into()],
        ipv6: vec![[0; 16].into()],
        cname: None,
        ttl: 30,
        ede: Some(16),
        text: "Blocked by order {order} of {authority}".into(),
        language: "en".into(),
    });
    let policy = ListPolicy { name: "bench".into(), role: Role::Block, mode: Mode::Enforce, answer, slot: 0 };
    let acl = Acl::new(&Settings { allow_from: vec!["127.0.0.0/8".parse().expect("a block")] });
    let parts = vec![Part::new(0, Arc::new(rules.build()))];
    let told = HostSettings { cookies: true, ..HostSettings::default() };
    let host = Host::new(&told, Some(Cookies::new(Secret::new([7; 16]), None)), Duration::from_secs(10));
    let snapshot = Snapshot::compile(1, vec![policy], parts, acl, UnixTime(0)).expect("few rules");
    snapshot.with_host(&Arc::new(host))
}

/// The cookie of a client that asks for the first time.
fn add_cookie(query: &mut Vec<u8>) {
    query.extend_from_slice(&[0, 10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8]);
    let opt_len = query.len() - 13;
    query[opt_len] = 12;
}

/// A hundred thousand address blocks of two groups, of which one has the client's.
fn groups() -> Arc<Clients> {
    let group = |name: &str| Group {
        name: name.into(),
        lists: Lists::only([0]),
        answers: Some([0].into()),
        exempt: false,
        statistics: true,
        slot: 0,
    };
    let answer = Answer::new(&AnswerSettings {
        mode: AnswerMode::Sinkhole,
        ipv4: vec![[192, 0, 2, 1].into()],
        ipv6: Vec::new(),
        cname: None,
        ttl: 30,
        ede: Some(16),
        text: "Blocked by order {order} of {authority}".into(),
        language: "en".into(),
    });
    let block = |n: u32| {
        let [_, a, b, c] = (2 * n).to_be_bytes();
        (format!("127.{a}.{b}.{c}/31").parse().expect("a block"), 1 + (n % 2) as u16)
    };
    let prefixes = Arc::new(Prefixes::new((0..100_000).map(block), 0));
    let groups = ["one", "other"].map(group).into();
    Arc::new(Clients { prefixes, groups, answers: [answer].into(), ..Clients::default() })
}

/// A query for A with EDNS, for the name or one below it.
fn query(name: &str, below: bool) -> Vec<u8> {
    let mut buf = NameBuf::new();
    buf.parse(&format!("{}{name}", if below { "www." } else { "" })).expect("a name");
    let mut message = wire::question(buf.wire(), 1);
    message[11] = 1;
    message.extend_from_slice(&[0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0]);
    message
}
