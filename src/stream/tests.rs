//! What the tests of all kinds of streams share.

use std::net::{IpAddr, Ipv6Addr};

use proptest::prelude::*;

use super::*;
use crate::event::{AnswerKind, Subject, Transport};
use crate::rule::Order;

/// Counters of nothing in particular.
pub(super) fn counters() -> Arc<Counters> {
    Arc::new(Counters::new(&settings(Kind::Json, Target::Stdout)))
}

/// A stream with room for everything.
pub(super) fn settings(kind: Kind, to: Target) -> Settings {
    Settings {
        kind,
        to,
        shown: "-".into(),
        clients: Clients::Full,
        queue: 4 << 20,
        lists: Vec::new(),
        outcomes: Vec::new(),
        max_size: 64 << 20,
        max_age: Duration::ZERO,
        keep: 7,
    }
}

/// Why `example` is blocked, under this number.
pub(super) fn why(id: u64) -> Arc<Why> {
    let order = Order { id: "1/25".into(), authority: "Agency".into(), ..Order::default() };
    let subject = Subject {
        outcome: Outcome::Blocked,
        rule: "example".into(),
        list: "orders".into(),
        also: Box::default(),
        orders: [Arc::new(order)].into(),
    };
    Arc::new(Why { id, subject, causes: Box::default(), group: None })
}

/// The hit that docs/streams.md shows in every format.
pub(super) fn sample() -> (Hit<'static>, Arc<Why>) {
    let hit = Hit {
        unix_ms: 1_769_860_800_123,
        generation: 1,
        client: [192, 0, 2, 7].into(),
        transport: Transport::Udp,
        group: 0,
        qtype: 65,
        outcome: Outcome::Blocked,
        answer: AnswerKind::Sinkhole,
        rule: 0,
        alone: true,
        name: b"\x01a\x07example\0",
        target: None,
    };
    (hit, why(1))
}

/// Hands so many hits to a stream, ends it, and gives its counters.
fn fed(settings: Settings, hits: u64) -> StreamCounters {
    let (streams, mut sinks) = Streams::start(&[settings]).expect("started");
    let (hit, why) = sample();
    for _ in 0..hits {
        sinks[0].take(&hit, &why);
    }
    sinks[0].finish(Now { unix_ms: 0 });
    let counters = streams.counters();
    streams.close();
    // Nobody writes what comes too late, but it is counted.
    sinks[0].take(&hit, &why);
    sinks[0].rest(Now { unix_ms: 0 });
    let now = counters[0].read();
    assert_eq!(now.sent + now.lost_full + now.lost_write, hits + 1, "{now:?}");
    assert!(now.lost_full > 0 && !now.connected);
    now
}

#[test]
fn every_hit_is_in_the_file_or_counted() {
    let folder = tempfile::tempdir().expect("a folder");
    for (kind, hits) in [(Kind::Rpz, 1000), (Kind::Cef, 5000), (Kind::Json, 100)] {
        let path = folder.path().join(kind.as_str());
        let now = fed(Settings { queue: 128 << 10, ..settings(kind, Target::File(path.clone())) }, hits);
        let lines = std::fs::read_to_string(&path).expect("a file").lines().count() as u64;
        assert_eq!((lines, now.lost_write), (now.sent, 0), "{kind:?}");
    }
}

#[test]
fn a_place_nobody_ever_opens_loses_everything_and_says_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let to = Target::Unix(folder.path().join("nobody"));
    let now = fed(Settings { queue: 64 << 10, ..settings(Kind::Dnstap, to) }, 1000);
    assert_eq!((now.sent, now.connects), (0, 0));
    assert!(now.lost_write > 100 && now.lost_full > 100, "{now:?}");
}

#[test]
fn only_hits_that_are_wanted_are_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let to = |name: &str| Target::File(folder.path().join(name));
    let all = [
        (Settings { lists: vec!["orders".into()], ..settings(Kind::Rpz, to("1")) }, 3),
        (Settings { lists: vec!["more".into()], ..settings(Kind::Rpz, to("2")) }, 1),
        (Settings { lists: vec!["none".into()], ..settings(Kind::Rpz, to("3")) }, 0),
        (Settings { outcomes: vec![Outcome::Shadow], ..settings(Kind::Rpz, to("4")) }, 1),
        (settings(Kind::Rpz, to("5")), 3),
    ];
    let (hit, why) = sample();
    let of = |id, outcome, also: &[&str]| {
        let also = also.iter().map(|&list| list.into()).collect();
        Arc::new(Why {
            id,
            subject: Subject { outcome, also, ..why.subject.clone() },
            causes: Box::default(),
            group: None,
        })
    };
    let whys = [of(1, Outcome::Blocked, &[]), of(2, Outcome::Shadow, &[]), of(3, Outcome::Blocked, &["other", "more"])];
    let (streams, mut sinks) = Streams::start(&all.clone().map(|(settings, _)| settings)).expect("started");
    for sink in &mut sinks {
        whys.iter().for_each(|why| sink.take(&hit, why));
        sink.finish(Now { unix_ms: 0 });
    }
    let counters = streams.counters();
    streams.close();
    let sent: Vec<u64> = counters.iter().map(|counters| counters.read().sent).collect();
    assert_eq!(sent, all.map(|(_, sent)| sent));
}

/// Whether nobody could take part of it for the end of a line.
pub(super) fn is_one_line(text: &str) -> bool {
    !text.chars().any(|c| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}'))
}

/// A file of the repository.
pub(super) fn shown(file: &str) -> String {
    std::fs::read_to_string(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).expect("a file of ours")
}

/// A hit that owns what it says.
#[derive(Clone, Debug)]
pub(super) struct OwnedHit {
    pub(super) unix_ms: i64,
    pub(super) client: IpAddr,
    qtype: u16,
    answer: AnswerKind,
    pub(super) name: Vec<u8>,
    pub(super) target: Option<Vec<u8>>,
}

impl OwnedHit {
    pub(super) fn as_hit(&self) -> Hit<'_> {
        let (sample, _) = sample();
        let Self { unix_ms, client, qtype, answer, .. } = *self;
        Hit { unix_ms, client, qtype, answer, name: &self.name, target: self.target.as_deref(), ..sample }
    }

    /// The name as a zone file has it.
    pub(super) fn name_text(&self) -> String {
        let mut text = String::new();
        crate::name::show(&self.name, &mut text).expect("a String takes everything");
        text
    }
}

/// A hit and its reason with whatever people and clients may put into them.
#[derive(Clone, Debug)]
pub(super) struct Hostile {
    pub(super) hit: OwnedHit,
    pub(super) why: Arc<Why>,
}

/// Names of any octets, texts with line ends, quotes, pipes, brackets and escapes.
pub(super) fn hostile() -> impl Strategy<Value = Hostile> {
    let label = prop_oneof!["[a-z0-9]{1,9}".prop_map(String::into_bytes), prop::collection::vec(any::<u8>(), 1..20)];
    let name = prop::collection::vec(label, 0..6).prop_map(|labels| {
        let mut wire: Vec<u8> = labels.iter().flat_map(|label| [&[label.len() as u8][..], label].concat()).collect();
        wire.make_ascii_lowercase();
        wire.push(0);
        wire
    });
    let text =
        prop_oneof!["[a-z.*=]{0,12}", "[\\\\\"\\]\\[|=\r\n\t\u{7f}\u{85}\u{2028} a-c]{0,12}", "\\PC{0,12}", ".{0,400}"];
    let order =
        (text.clone(), text.clone()).prop_map(|(id, authority)| Arc::new(Order { id, authority, ..Order::default() }));
    let subject = (0..3_usize, text.clone(), text, prop::collection::vec(order, 0..8));
    let subject = subject.prop_map(|(outcome, rule, list, orders)| Subject {
        outcome: Outcome::ALL[outcome],
        rule: rule.into(),
        list: if list.is_empty() { "l".into() } else { list.into() },
        also: Box::default(),
        orders: orders.into(),
    });
    let target = prop::option::of(name.clone());
    let time = prop_oneof![0..4_000_000_000_000_i64, -4_000_000_000_000..4_000_000_000_000_i64];
    let hit = (time, any::<u128>(), any::<bool>(), any::<u16>(), 0..AnswerKind::ALL.len(), name, target);
    let hit = hit.prop_map(|(unix_ms, client, v4, qtype, answer, name, target)| OwnedHit {
        unix_ms,
        client: if v4 { IpAddr::from((client as u32).to_be_bytes()) } else { Ipv6Addr::from_bits(client).into() },
        qtype,
        answer: AnswerKind::ALL[answer],
        name,
        target,
    });
    (hit, subject, any::<u64>()).prop_map(|(hit, subject, id)| {
        // As the tally has it: a hit nobody can explain has neither rule nor list.
        let subject = if subject.rule.is_empty() {
            Subject { list: "".into(), orders: Box::default(), ..subject }
        } else {
            subject
        };
        Hostile { hit, why: Arc::new(Why { id, subject, causes: Box::default(), group: None }) }
    })
}
