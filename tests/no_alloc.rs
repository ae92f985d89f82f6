//! The hot path's promise: a decided query costs no allocation. A counting allocator proves it.
#![expect(unsafe_code, reason = "an allocator cannot be written without")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;

use qalqan::cache::{Cache, Key};
use qalqan::engine::{Decider, Peer, Verdict};
use qalqan::event::Transport;
use qalqan::hits::{self, HitLog, Takers};
use qalqan::limit::{Acl, Doors, Prefixes, Settings};
use qalqan::name::{Name, NameBuf};
use qalqan::policy::{Answer, AnswerMode, AnswerSettings, Host, HostSettings, ListPolicy};
use qalqan::rule::{Effect, Kind, Mode, Order, Role, RulesBuilder, Scope};
use qalqan::set::Part;
use qalqan::snapshot::{Clients, Group, Lists, Snapshot};
use qalqan::stats::Stats;
use qalqan::util::{Now, UnixTime};
use qalqan::wire;

thread_local! {
    /// Allocations of this thread; the hit log's own thread may do as it likes.
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

/// The system's allocator, counting.
struct Counting;

// SAFETY: every call goes to the system's allocator unchanged; counting touches a const-initialised
// thread-local without a destructor, which never allocates.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.with(|count| count.set(count.get() + 1));
        // SAFETY: as the caller promised.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as the caller promised.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// A list that blocks `name` with `mode`.
fn list(index: u16, name: &str, mode: AnswerMode) -> (ListPolicy, Part) {
    let mut rules = RulesBuilder::new("list".into(), 32);
    let order = rules.order(Order {
        id: "25/4".into(),
        authority: "Agency \"A\"".into(),
        contact: vec!["mailto:a@example.com".into()],
        ..Order::default()
    });
    let mut buf = NameBuf::new();
    buf.parse(name).expect("a name");
    assert!(rules.push(&buf, 1, Kind { scope: Scope::Subtree, effect: Effect::Block, order: Some(order) }));
    let answer = Answer::new(&AnswerSettings {
        mode,
        ipv4: vec![[0, 0, 0, 0].into()],
        ipv6: vec![[0; 16].into()],
        cname: None,
        ttl: 30,
        ede: Some(16),
        text: "Blocked by order {order} of {authority}".into(),
        language: "en".into(),
    });
    let policy =
        ListPolicy { name: name.into(), role: Role::Block, mode: Mode::Enforce, answer, slot: usize::from(index) };
    (policy, Part::new(index, Arc::new(rules.build())))
}

/// Two groups with all lists and an answer of their own: of some addresses among a hundred thousand others, and of a door.
fn clients(doors: &Doors) -> Clients {
    let group = |name: &str, slot| Group {
        name: name.into(),
        lists: Lists::only(0..5),
        answers: Some([0, 0, 0, 0, 1].into()),
        exempt: false,
        statistics: true,
        slot,
    };
    let answer = |mode| list(0, "any.test", mode).0.answer;
    let block = |n: u32| (format!("127.{}.{}.{}", 128 | n >> 16, n >> 8 & 255, n & 255).parse().expect("a block"), 1);
    Clients {
        prefixes: Arc::new(Prefixes::new((0..100_000).map(block), 0)),
        doors: vec![0; doors.open("kids").number()].into_iter().chain([2]).collect(),
        groups: [group("many", 0), group("door", 1)].into(),
        answers: [answer(AnswerMode::Nxdomain), answer(AnswerMode::Drop)].into(),
    }
}

/// A cache with room.
fn cache() -> Cache {
    let settings = qalqan::cache::Settings {
        size: 1 << 20,
        min_ttl: 0,
        max_ttl: 3600,
        max_negative_ttl: 3600,
        servfail_ttl: 5,
        stale: 0,
        stale_after: std::time::Duration::from_millis(1800),
    };
    Cache::new(&settings).expect("a size")
}

#[test]
fn a_decided_query_allocates_nothing() {
    let modes = [
        ("sinkhole.test", AnswerMode::Sinkhole),
        ("nxdomain.test", AnswerMode::Nxdomain),
        ("nodata.test", AnswerMode::Nodata),
        ("refused.test", AnswerMode::Refused),
        ("drop.test", AnswerMode::Drop),
    ];
    let (policies, parts) =
        modes.iter().enumerate().map(|(index, (name, mode))| list(index as u16, name, *mode)).unzip();
    let acl = Acl::new(&Settings { allow_from: vec!["127.0.0.0/8".parse().expect("a block")] });
    let snapshot = Snapshot::compile(1, policies, parts, acl, UnixTime(0)).expect("few rules");
    let told = HostSettings { cookies: true, nsid: "ns1".into(), ..HostSettings::default() };
    let secret = wire::Secret::new([3; 16]);
    let host = Host::new(&told, Some(wire::Cookies::new(secret, Some(secret))), std::time::Duration::from_secs(10));
    let snapshot = snapshot.with_host(&Arc::new(host));
    let folder = tempfile::tempdir().expect("a folder");
    let settings = hits::Settings {
        file: Some(folder.path().join("hits.jsonl")),
        clients: hits::Clients::Full,
        max_size: 1 << 30,
        max_age: std::time::Duration::from_secs(86_400),
        keep: 1,
    };
    let log = HitLog::start(&settings, Takers::default()).expect("a hit log");
    let cache = Arc::new(cache());
    let (refresh, _wanted) = tokio::sync::mpsc::channel(1);
    let mut decider =
        Decider::new(Stats::default().counters(), Some(log.sender())).with_cache(Arc::clone(&cache), refresh);

    let mut messages = Vec::new();
    for (name, _) in modes {
        for qtype in [1, 28, 16, 65, 255] {
            let name = Name::parse(&format!("www.{name}")).expect("a name");
            let plain = wire::question(name.wire(), qtype);
            for options in [&[][..], &[0, 26, 0, 0]] {
                let mut edns = plain.clone();
                edns[11] = 1;
                edns.extend_from_slice(&[0, 0, 41, 4, 208, 0, 0, 128, 0, 0, options.len() as u8]);
                edns.extend_from_slice(options);
                messages.push(edns);
            }
            messages.push(plain);
        }
    }
    // What the answer brings along: a cookie for a new client and for one whose cookie is not ours, and who we are.
    for server in [&[][..], &[1; 16]] {
        let mut cookie = wire::question(Name::parse("cookie.sinkhole.test").expect("a name").wire(), 1);
        cookie[11] = 1;
        let len = 16 + server.len() as u8;
        cookie.extend_from_slice(&[0, 0, 41, 4, 208, 0, 0, 128, 0, 0, len, 0, 3, 0, 0, 0, 10, 0, len - 8]);
        cookie.extend_from_slice(&[7; 8]);
        cookie.extend_from_slice(server);
        let peer = Peer::new("127.0.0.1:4000".parse().expect("an address"), Transport::Udp);
        let mut out = [0; wire::UDP_EDNS];
        let verdict = decider.decide(&snapshot, &cookie, peer, Now { unix_ms: 1 }, &mut out);
        assert!(matches!(verdict, Verdict::Reply(len) if out[len - 35..len].starts_with(&[0, 10, 0, 24, 7, 7])));
        messages.push(cookie);
    }
    let peer = Peer::new("127.0.0.1:4000".parse().expect("an address"), Transport::Udp);
    let doors = Doors::default();
    let one_of_many = Peer::new("127.129.3.7:4000".parse().expect("an address"), Transport::Udp);
    let through = peer.through(doors.open("kids"));
    let stranger = Peer::new("192.0.2.1:4000".parse().expect("an address"), Transport::Udp);
    // In the cache: what leads nowhere, and an alias, which is checked against the rules once a generation.
    let blocked = messages.len();
    for name in ["plain.cached", "alias.cached"] {
        let name = Name::parse(name).expect("a name");
        let message = wire::question(name.wire(), 1);
        let mut answer = message.clone();
        (answer[2], answer[3]) = (0x81, 0x80);
        if name.wire()[1] == b'a' {
            answer[7] += 1;
            answer.extend_from_slice(b"\xc0\x0c\0\x05\0\x01\0\0\0\x3c\0\x08\x06target\0");
        }
        answer[7] += 1;
        answer.extend_from_slice(b"\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04\xc0\0\x02\x01");
        let mut buf = NameBuf::new();
        let query = wire::parse(&message, &mut buf).expect("a query");
        let key = Key::new(buf.wire(), &query, false);
        assert!(cache.insert(&key, &answer, 0, cache.epoch(), UnixTime(0)));
        messages.push(message);
    }
    let mut out = vec![0; wire::UDP_EDNS];
    let mut decided = 0;
    // Each round is another generation, so the alias is checked anew in each.
    let grouped = snapshot.at(3, UnixTime(0)).with_clients(Some(Arc::new(clients(&doors))));
    for (peer, number) in [(peer, 0), (one_of_many, 1), (through, 2)] {
        assert_eq!(grouped.of(peer.address.ip(), peer.door).number(), number);
    }
    let snapshots = [snapshot.at(2, UnixTime(0)), snapshot, grouped];
    let mut rounds = 0;
    let mut round = || {
        rounds += 1;
        let snapshot = &snapshots[rounds % 3];
        for (at, message) in messages.iter().enumerate() {
            for peer in [peer, stranger, one_of_many, through] {
                let verdict = decider.decide(snapshot, message, peer, Now { unix_ms: 1 }, &mut out);
                assert!(
                    !matches!(verdict, Verdict::Resolve(_)),
                    "message {at} of {blocked} blocked ones and cached ones"
                );
                decided += 1;
            }
        }
    };
    // The first use of the ring makes it.
    round();
    let before = COUNT.with(Cell::get);
    for _ in 0..20 {
        round();
    }
    let allocated = COUNT.with(Cell::get) - before;
    assert_eq!(allocated, 0, "allocations over {decided} decided queries");
    assert!(COUNT.with(Cell::get) > 100, "the allocator does count");
}
