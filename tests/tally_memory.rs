//! Statistics take little memory, also when every name of a list of a million is hit, and lose no hit for it. What is
//! measured is a process of its own: everything that it takes more than before is theirs.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use qalqan::event::{AnswerKind, Attribution, Cause, Hit, Outcome, Transport};
use qalqan::hits::{self, Clients, HitLog, Takers};
use qalqan::rule::{Mode, Order};
use qalqan::stats::{Delta, Tally, TallySettings};

/// Names on the list.
const LISTED: u32 = 1_000_000;
/// What may be taken, without the store: its share of 64 MB is a fourth.
const MOST: usize = 48 << 20;

/// A list of many names of which each rests on one of a thousand orders.
struct List(Vec<Arc<Order>>);

impl Attribution for List {
    fn causes(&self, _: &[u8], _: Mode, _: u16) -> Vec<Cause> {
        Vec::new()
    }

    fn causes_of(&self, rule: u32) -> Option<Vec<Cause>> {
        self.causes_at(rule).map(|(_, causes)| causes)
    }

    fn rules(&self) -> u32 {
        LISTED
    }

    fn causes_at(&self, rule: u32) -> Option<(Outcome, Vec<Cause>)> {
        let cause = Cause {
            list: "register".into(),
            file: "/etc/qalqan/lists/register.csv".into(),
            line: rule,
            rule: format!("a-name-of-some-length-{rule}.example"),
            orders: vec![Arc::clone(&self.0[rule as usize % self.0.len()])],
        };
        (rule < LISTED).then(|| (Outcome::Blocked, vec![cause]))
    }
}

/// What the process holds of real memory.
fn resident() -> usize {
    let status = fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages: usize = status.split(' ').nth(1).and_then(|pages| pages.parse().ok()).expect("a number");
    pages * 4096
}

/// Hits, of which the pump takes as many as it can, and what the store was told of.
fn hit_all(
    settings: &hits::Settings,
    store: impl FnOnce(Receiver<Delta>) -> u64 + Send + 'static,
) -> (u64, u64, usize) {
    let orders: Vec<_> = (0..1000)
        .map(|at| Order { id: format!("25-01-25/{at}"), authority: "Ministry of Examples".into(), ..Order::default() })
        .map(Arc::new)
        .collect();
    let list = Arc::new(List(orders));
    let before = resident();
    let (tally, counts, live) = Tally::new(TallySettings::default());
    let log = HitLog::start(settings, Takers { count: Some(Box::new(tally)), sinks: Vec::new() }).expect("started");
    log.announce(1, list);
    let told = std::thread::spawn(move || store(counts));
    let mut sender = log.sender();
    let (mut most, mut sent) = (0, 0);
    let noon = 1_769_860_800_000;
    for number in 0..2 * LISTED {
        // As many names as can be, and for each some clients of 50,000.
        let rule = number % LISTED;
        let client = number.wrapping_mul(2_654_435_761) % 50_000;
        sender.send(&Hit {
            unix_ms: noon + i64::from(number / 50),
            generation: 1,
            client: std::net::Ipv4Addr::from_bits(0x0a00_0000 | client).into(),
            transport: Transport::Udp,
            group: 0,
            qtype: 1,
            outcome: Outcome::Blocked,
            answer: AnswerKind::Sinkhole,
            rule,
            alone: true,
            name: b"\x07example\0",
            target: None,
        });
        sent += 1;
        if number % 50_000 == 0 {
            most = most.max(resident().saturating_sub(before));
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    // What was only counted is taken over bit by bit.
    let start = Instant::now();
    while live.read().hits[0] < sent && start.elapsed() < Duration::from_secs(60) {
        most = most.max(resident().saturating_sub(before));
        std::thread::sleep(Duration::from_millis(20));
    }
    log.close();
    (sent, told.join().expect("the store"), most)
}

#[test]
fn a_million_names_that_are_all_hit_take_less_than_promised() {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = |file: Option<PathBuf>| hits::Settings {
        file,
        clients: Clients::Truncate,
        max_size: 1 << 30,
        max_age: Duration::from_secs(86_400),
        keep: 1,
    };
    qalqan::net::give_back_memory();
    let store = |from: Receiver<Delta>| from.iter().map(|delta| delta.hits()).sum();
    let (sent, told, most) = hit_all(&settings(Some(folder.path().join("hits.jsonl"))), store);
    eprintln!("{} MiB at most", most >> 20);
    assert_eq!(told, sent);
    assert!(most <= MOST, "{} MiB", most >> 20);
}
