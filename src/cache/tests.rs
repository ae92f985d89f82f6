//! What is kept, for how long, and what goes first; compared with the relay, a plain map and a plain LRU.

use std::collections::{HashMap, VecDeque};

use proptest::prelude::*;

use super::*;
use crate::name::NameBuf;
use crate::wire::{self, UDP_EDNS, rcode, rtype};

const SETTINGS: Settings = Settings {
    size: 4 << 20,
    min_ttl: 0,
    max_ttl: 86_400,
    max_negative_ttl: 3600,
    servfail_ttl: 5,
    stale: 86_400,
    stale_after: std::time::Duration::from_millis(1800),
};
const T: i64 = 1_000_000;

fn cache(settings: Settings) -> Cache {
    Cache::new(&settings).expect("not of size 0")
}

fn name(text: &str) -> Name {
    Name::parse(text).expect("a name")
}

/// A query for `text` as it stands, case and all.
fn query(text: &str, qtype: u16, edns: bool) -> (Vec<u8>, Query, NameBuf) {
    let mut message = vec![0xab, 0xcd, 1, 0, 0, 1, 0, 0, 0, 0, 0, u8::from(edns)];
    for label in text.split('.') {
        message.push(label.len() as u8);
        message.extend_from_slice(label.as_bytes());
    }
    message.push(0);
    message.extend_from_slice(&[(qtype >> 8) as u8, qtype as u8, 0, 1]);
    if edns {
        message.extend_from_slice(&[0, 0, 41, 16, 0, 0, 0, 0, 0, 0, 0]);
    }
    let mut buf = NameBuf::new();
    let query = wire::parse(&message, &mut buf).expect("a query");
    (message, query, buf)
}

/// Section, type, TTL, data of a record of the question's name.
type Rec<'a> = (usize, u16, u32, &'a [u8]);

/// An SOA's data with this minimum.
fn soa(minimum: u32) -> Vec<u8> {
    let mut data = vec![0; 18];
    data.extend_from_slice(&minimum.to_be_bytes());
    data
}

/// An upstream's answer.
fn answer(text: &str, qtype: u16, code: u16, records: &[Rec<'_>]) -> Vec<u8> {
    let mut message = wire::question(name(text).wire(), qtype);
    message[2] = 0x81;
    message[3] = 0x80 | code as u8;
    for section in 0..3 {
        for (_, rtype, ttl, data) in records.iter().filter(|record| record.0 == section) {
            message[7 + 2 * section] += 1;
            message.extend_from_slice(&[0xc0, 12]);
            message.extend_from_slice(&rtype.to_be_bytes());
            message.extend_from_slice(&[0, 1]);
            message.extend_from_slice(&ttl.to_be_bytes());
            message.extend_from_slice(&(data.len() as u16).to_be_bytes());
            message.extend_from_slice(data);
        }
    }
    message
}

/// Keeps an answer at time `T`.
fn put(cache: &Cache, text: &str, qtype: u16, bytes: &[u8]) -> bool {
    let (_, query, buf) = query(text, qtype, false);
    cache.insert(&Key::new(buf.wire(), &query, false), bytes, 1, cache.epoch(), UnixTime(T))
}

/// Asks at `T + after`, in mixed case; gives the message.
fn get_at(cache: &Cache, text: &str, qtype: u16, after: i64, upstream_failed: bool) -> Option<(Vec<u8>, Hit)> {
    let mixed: String =
        text.chars().enumerate().map(|(i, c)| if i % 2 == 0 { c.to_ascii_uppercase() } else { c }).collect();
    let (message, query, buf) = query(&mixed, qtype, true);
    let mut out = vec![0; UDP_EDNS];
    let age = Age { upstream_failed, ..Age::new(UnixTime(T + after), 1, u64::MAX) };
    let asked = Asked { message: &message, query: &query, limit: UDP_EDNS };
    let hit = cache.answer(&Key::new(buf.wire(), &query, false), &asked, &age, &mut out)?;
    out.truncate(hit.len);
    assert_eq!(out[..2], [0xab, 0xcd], "the client's id");
    assert_eq!(out[HEAD..query.question_end], message[HEAD..query.question_end], "the client's case");
    Some((out, hit))
}

const HEAD: usize = wire::HEADER;

fn get(cache: &Cache, text: &str, after: i64) -> Option<(Vec<u8>, Hit)> {
    get_at(cache, text, rtype::A, after, false)
}

/// The TTL of the first record behind the question.
fn ttl(message: &[u8], text: &str) -> u32 {
    let at = HEAD + name(text).wire().len() + 4 + 6;
    u32::from_be_bytes(*message[at..].first_chunk().expect("a record"))
}

fn a(text: &str, ttl: u32) -> Vec<u8> {
    answer(text, rtype::A, 0, &[(0, rtype::A, ttl, &[192, 0, 2, 1])])
}

#[test]
fn time_goes_down_and_ends() {
    let cache = cache(SETTINGS);
    assert!(get(&cache, "a.test", 0).is_none());
    assert!(put(&cache, "a.test", rtype::A, &a("a.test", 60)));
    for (after, left) in [(0, 60), (1, 59), (59, 1), (-5, 60)] {
        let (message, hit) = get(&cache, "a.test", after).expect("fresh");
        assert_eq!((ttl(&message, "a.test"), hit.stale, hit.checked), (left, false, true), "after {after}");
    }
    assert!(get(&cache, "a.test", 60).is_none());
    assert!(get_at(&cache, "a.test", rtype::AAAA, 0, false).is_none(), "another type");
    assert!(get(&cache, "b.test", 0).is_none(), "another name");
}

#[test]
fn answers_live_as_long_as_they_may() {
    let bounded = Settings { min_ttl: 30, max_ttl: 100, max_negative_ttl: 50, ..SETTINGS };
    let (three, long) = (soa(3), soa(7200));
    let address: &[u8] = &[192, 0, 2, 1];
    let cases: &[(&str, u16, &[Rec<'_>], Option<i64>)] = &[
        ("as it says", 0, &[(0, 1, 60, address)], Some(60)),
        ("the shortest counts", 0, &[(0, 1, 60, address), (2, 1, 40, address)], Some(40)),
        ("at least", 0, &[(0, 1, 2, address)], Some(30)),
        ("at most", 0, &[(0, 1, 5000, address)], Some(100)),
        ("zero is never kept", 0, &[(0, 1, 0, address)], None),
        ("the highest bit is zero", 0, &[(0, 1, 1 << 31, address)], None),
        ("no such name", 3, &[(1, 6, 300, &long)], Some(50)),
        ("the SOA's minimum", 3, &[(1, 6, 300, &three)], Some(3)),
        ("no such record", 0, &[(1, 6, 40, &long)], Some(40)),
        ("an alias to nothing", 0, &[(0, 5, 300, b"\x01x\0"), (1, 6, 40, &long)], Some(40)),
        ("no SOA", 3, &[], None),
        ("a referral", 0, &[(1, 2, 300, b"\x01x\0")], None),
        ("SERVFAIL", 2, &[], Some(5)),
        ("REFUSED", 5, &[], None),
        ("NOTIMP", 4, &[(0, 1, 60, address)], None),
    ];
    for (what, code, records, lives) in cases {
        let cache = cache(bounded);
        let kept = put(&cache, "a.test", rtype::A, &answer("a.test", rtype::A, *code, records));
        assert_eq!(kept, lives.is_some(), "{what}");
        if let Some(lives) = lives {
            assert!(get(&cache, "a.test", lives - 1).is_some(), "{what}: ends before {lives}");
            assert!(get(&cache, "a.test", *lives).is_none(), "{what}: lives longer than {lives}");
        }
    }
}

#[test]
fn what_is_no_answer_to_the_question_is_not_kept() {
    let cache = cache(SETTINGS);
    let good = a("a.test", 60);
    let mut cut = good.clone();
    cut[2] |= 2;
    let mut query = good.clone();
    query[2] &= 0x7f;
    let other_type = answer("a.test", rtype::AAAA, 0, &[(0, 28, 60, &[0; 16])]);
    let any = answer("a.test", rtype::ANY, 0, &[(0, 255, 60, &[0; 4])]);
    for bytes in [&cut, &query, &a("b.test", 60), &other_type, &good[..good.len() - 1].to_vec(), &Vec::new()] {
        assert!(!put(&cache, "a.test", rtype::A, bytes), "{bytes:?}");
    }
    assert!(!put(&cache, "a.test", rtype::ANY, &any));
    let epoch = cache.epoch();
    cache.clear();
    let (_, query, buf) = self::query("a.test", rtype::A, false);
    let key = Key::new(buf.wire(), &query, false);
    assert!(!cache.insert(&key, &good, 1, epoch, UnixTime(T)), "asked for before all was cleared");
    assert_eq!(cache.fill().entries, 0);
}

#[test]
fn stale_answers_are_given_when_upstreams_fail_and_held_for_a_while() {
    let cache = cache(SETTINGS);
    put(&cache, "a.test", rtype::A, &a("a.test", 60));
    put(&cache, "gone.test", rtype::A, &answer("gone.test", rtype::A, 3, &[(1, 6, 60, &soa(60))]));
    assert!(get(&cache, "a.test", 70).is_none(), "only after a failure");
    for (text, code) in [("a.test", 3), ("gone.test", 19)] {
        let (message, hit) = get_at(&cache, text, rtype::A, 70, true).expect("stale");
        assert_eq!((hit.stale, ttl(&message, text)), (true, 30));
        assert_eq!(message[message.len() - 6..], [0, 15, 0, 2, 0, code], "the extended error");
    }
    assert!(get(&cache, "a.test", 99).is_some_and(|(_, hit)| hit.stale), "nobody is asked for half a minute");
    assert!(get(&cache, "a.test", 100).is_none());
    assert!(get_at(&cache, "a.test", rtype::A, 60 + 86_400, true).is_none(), "too old");
    // An error does not take the place of an answer, but of nothing it does.
    let (_, query, buf) = query("a.test", rtype::A, false);
    let key = Key::new(buf.wire(), &query, false);
    assert!(!cache.insert_failure(&key, 22, b"dead", cache.epoch(), UnixTime(T + 70)));
    assert!(cache.insert_failure(&key, 22, b"dead", cache.epoch(), UnixTime(T + 200_000)));
    let (message, _) = get(&cache, "a.test", 200_004).expect("the failure");
    assert_eq!((message[3] & 0xf, &message[message.len() - 4..]), (rcode::SERVFAIL as u8, &b"dead"[..]));
    assert!(get_at(&cache, "a.test", rtype::A, 200_005, true).is_none(), "a failure never is stale");
}

#[test]
fn names_that_answers_lead_to_are_checked_once_a_generation() {
    let cache = cache(SETTINGS);
    let alias = answer("a.test", rtype::A, 0, &[(0, 5, 60, b"\x01x\0"), (0, 1, 60, &[0; 4])]);
    put(&cache, "a.test", rtype::A, &alias);
    let (message, query, buf) = query("a.test", rtype::A, false);
    let key = Key::new(buf.wire(), &query, false);
    let at = |generation| {
        let age = Age::new(UnixTime(T), generation, u64::MAX);
        cache.whole(&key, &message, &query, &age).expect("kept").1
    };
    assert_eq!((at(1).checked, at(2).checked), (true, false));
    let first = at(2).id;
    cache.checked(&key, first, 2);
    assert_eq!((at(1).checked, at(2).checked), (false, true));
    // What was found about an answer says nothing about the one that took its place meanwhile.
    put(&cache, "a.test", rtype::A, &alias);
    cache.checked(&key, first, 3);
    assert!(!at(3).checked);
    // Whoever is excepted is kept apart, both ways.
    let excepted = Key { excepted: true, ..key };
    let age = Age::new(UnixTime(T), 2, u64::MAX);
    assert!(cache.whole(&excepted, &message, &query, &age).is_none());
    for other in [Key { dnssec_ok: true, ..key }, Key { checking_disabled: true, ..key }] {
        assert!(cache.whole(&other, &message, &query, &age).is_none());
    }
}

#[test]
fn popular_answers_are_asked_for_again_once() {
    let cache = cache(SETTINGS);
    put(&cache, "a.test", rtype::A, &a("a.test", 100));
    let due = |after| get(&cache, "a.test", after).expect("fresh").1.refresh;
    assert!(!due(95), "asked for once only");
    assert!(!due(90), "too early");
    assert!(due(91));
    assert!(!due(92), "said before");
    put(&cache, "a.test", rtype::A, &a("a.test", 100));
    assert!(due(95), "the new one is as popular");
}

#[test]
fn flushing_forgets_names_and_subtrees() {
    let cache = cache(SETTINGS);
    let all = ["a.test", "b.a.test", "c.b.a.test", "ba.test"];
    let fill = || all.iter().for_each(|text| assert!(put(&cache, text, rtype::A, &a(text, 60))));
    fill();
    assert_eq!(cache.flush(&name("a.test"), false), 1);
    assert!(get(&cache, "a.test", 0).is_none() && get(&cache, "b.a.test", 0).is_some());
    fill();
    assert_eq!(cache.flush(&name("a.test"), true), 3);
    assert_eq!(all.map(|text| get(&cache, text, 0).is_some()), [false, false, false, true]);
    fill();
    assert_eq!(cache.fill().entries, 4);
    cache.clear();
    assert_eq!(cache.fill().entries, 0);
}

#[test]
fn a_flush_reaches_every_place_and_what_is_under_way() {
    let cache = cache(SETTINGS);
    let names: Vec<String> =
        (0..18_000).map(|number| format!("n{number}.{}.test", if number % 2 == 0 { "even" } else { "odd" })).collect();
    names.iter().for_each(|text| assert!(put(&cache, text, rtype::A, &a(text, 60))));
    let slots = cache.shards.iter().map(|shard| shard.read().expect("no panic").len()).max();
    assert!(slots > Some(FLUSH_STEP), "more than a step, {slots:?}");
    let kept = |zone: &str| names.iter().filter(|text| text.ends_with(zone) && get(&cache, text, 0).is_some()).count();
    let (even, odd) = (kept("even.test"), kept("odd.test"));
    let epoch = cache.epoch();
    assert_eq!(cache.flush(&name("even.test"), true), even);
    assert_eq!((kept("even.test"), kept("odd.test"), cache.fill().entries), (0, odd, odd));
    let (_, query, buf) = query("n0.even.test", rtype::A, false);
    let key = Key::new(buf.wire(), &query, false);
    let answer = a("n0.even.test", 60);
    assert!(!cache.insert(&key, &answer, 1, epoch, UnixTime(T)), "asked for before the flush");
    assert!(cache.insert(&key, &answer, 1, cache.epoch(), UnixTime(T)));
}

/// Asks for a name as a resolver would: what is missing is put in. Says whether it was there.
fn use_name(cache: &Cache, number: u32) -> bool {
    let text = format!("n{number}.example.test");
    if get(cache, &text, 0).is_some() {
        return true;
    }
    assert!(put(cache, &text, rtype::A, &a(&text, 60)));
    false
}

/// A plain LRU over numbers.
struct Lru(VecDeque<u32>, usize);

impl Lru {
    fn use_name(&mut self, number: u32) -> bool {
        let found = self.0.iter().position(|&known| known == number);
        if let Some(at) = found {
            self.0.remove(at);
        } else if self.0.len() == self.1 {
            self.0.pop_front();
        }
        self.0.push_back(number);
        found.is_some()
    }
}

/// A small cache, and how many of [`use_name`]'s answers fit.
fn small() -> (Cache, usize) {
    let cache = cache(Settings { size: 256 << 10, ..SETTINGS });
    (0..20_000).for_each(|number| _ = use_name(&cache, number));
    let room = cache.fill().entries;
    cache.clear();
    (cache, room)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn a_flood_of_names_does_not_flush_popular_ones(rounds in 2_usize..6, share in 2_usize..5, flood in 2_usize..6) {
        let (cache, room) = small();
        let popular = (room / share) as u32;
        let mut lru = Lru(VecDeque::new(), room);
        for number in (0..rounds).flat_map(|_| 0..popular) {
            use_name(&cache, number);
            lru.use_name(number);
        }
        for number in 0..(flood * room) as u32 {
            use_name(&cache, 1_000_000 + number);
            lru.use_name(1_000_000 + number);
        }
        let kept = (0..popular).filter(|&number| use_name(&cache, number)).count();
        let by_lru = (0..popular).filter(|&number| lru.use_name(number)).count();
        prop_assert!(kept * 100 >= popular as usize * 95, "{kept} of {popular} kept, {by_lru} by an LRU");
        prop_assert_eq!(by_lru, 0, "the flood would flush an LRU");
    }

    #[test]
    fn skewed_traffic_with_scans_fares_no_worse_than_with_an_lru(seed: u64) {
        let (cache, room) = small();
        let mut lru = Lru(VecDeque::new(), room);
        let (mut state, mut scan) = (seed, 0);
        let (mut hits, mut by_lru) = (0, 0);
        for _ in 0..20_000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let unit = (state >> 11) as f64 / (1_u64 << 53) as f64;
            // Four in five follow a power law over thrice the room, one is never seen again.
            let number = if state % 5 == 0 {
                scan += 1;
                1_000_000 + scan
            } else {
                ((room * 3) as f64).powf(unit) as u32
            };
            hits += u32::from(use_name(&cache, number));
            by_lru += u32::from(lru.use_name(number));
        }
        prop_assert!(f64::from(hits) >= f64::from(by_lru) * 0.99, "{hits} hits, {by_lru} by an LRU");
    }

    #[test]
    fn with_room_it_is_a_map(
        steps in proptest::collection::vec((0_u8..12, 0_u8..4, 1_u32..50, 0_u8..10), 1..200),
    ) {
        let cache = cache(SETTINGS);
        let mut map: HashMap<(u8, u8), (i64, u32, u8)> = HashMap::new();
        for (now, (number, kind, ttl, action)) in steps.into_iter().enumerate() {
            let now = now as i64;
            let text = format!("n{number}.z{}.test", number % 3);
            let (message, mut query, buf) = query(&text, rtype::A, true);
            query.flags |= if kind & 1 == 1 { wire::flag::CD } else { 0 };
            let key = Key::new(buf.wire(), &query, kind & 2 == 2);
            match action {
                0..4 => {
                    let bytes = answer(&text, rtype::A, 0, &[(0, 1, ttl, &[kind, number, action, 0])]);
                    prop_assert!(cache.insert(&key, &bytes, 0, cache.epoch(), UnixTime(now)));
                    map.insert((number, kind), (now, ttl, action));
                }
                4 => {
                    let zone = name(&format!("z{}.test", number % 3));
                    let before = map.len();
                    map.retain(|&(known, _), _| known % 3 != number % 3);
                    prop_assert_eq!(cache.flush(&zone, true), before - map.len());
                }
                _ => {
                    let mut out = vec![0; UDP_EDNS];
                    let age = Age::new(UnixTime(now), 0, u64::MAX);
                    let asked = Asked { message: &message, query: &query, limit: UDP_EDNS };
                    let hit = cache.answer(&key, &asked, &age, &mut out);
                    let known = map.get(&(number, kind)).filter(|(stored, ttl, _)| now < stored + i64::from(*ttl));
                    prop_assert_eq!(hit.is_some(), known.is_some());
                    if let Some((stored, ttl, action)) = known {
                        let at = query.question_end;
                        let left = u32::from_be_bytes(*out[at + 6..].first_chunk().expect("a TTL"));
                        prop_assert_eq!(i64::from(left), i64::from(*ttl) - (now - stored));
                        prop_assert_eq!(&out[at + 12..at + 16], &[kind, number, *action, 0]);
                    }
                }
            }
        }
    }

    #[test]
    fn what_was_just_kept_is_what_a_relay_would_give(
        records in proptest::collection::vec(
            (0_usize..3, prop_oneof![Just(1_u16), Just(5), Just(16), Just(41), 100_u16..105], 2_u32..1000, 0_usize..90),
            1..12,
        ),
        aa: bool, ad: bool, edns: bool, knows_ad: bool, limit in 512_usize..1500,
    ) {
        // One OPT at most, with an extended error; the rest as it comes.
        let mut opt = false;
        let errors = [0, 15, 0, 4, 0, 9, b'h', b'i', 0, 10, 0, 1, 1];
        let data = [3; 90];
        let records: Vec<Rec<'_>> = records
            .iter()
            .filter_map(|&(section, rtype, ttl, len)| match rtype {
                41 if std::mem::replace(&mut opt, true) => None,
                41 => Some((2, 41, 0, &errors[..])),
                5 => Some((section, 5, ttl, &b"\x01x\xc0\x0c"[..])),
                _ => Some((section, rtype, ttl, &data[..len])),
            })
            .collect();
        let mut bytes = answer("a.test", rtype::A, 0, &records);
        bytes[2] |= u8::from(aa) << 2;
        bytes[3] |= u8::from(ad) << 5;
        let (mut message, mut query, buf) = query("A.tEst", rtype::A, edns);
        if knows_ad {
            message[3] |= 0x20;
            query.flags |= wire::flag::AD;
        }
        let cache = cache(SETTINGS);
        let key = Key::new(buf.wire(), &query, false);
        let kept = cache.insert(&key, &bytes, 1, cache.epoch(), UnixTime(T));
        prop_assert_eq!(kept, records.iter().any(|record| record.0 == 0 && record.1 == rtype::A));
        if kept {
            let (mut relayed, mut cached) = (vec![0; 2000], vec![0; 2000]);
            let len = wire::relay(&bytes, &message, &query, limit, &mut relayed, &mut Vec::new()).expect("relayed").len;
            let age = Age::new(UnixTime(T), 1, u64::MAX);
            let asked = Asked { message: &message, query: &query, limit };
            let hit = cache.answer(&key, &asked, &age, &mut cached).expect("just kept");
            prop_assert_eq!(&cached[..hit.len], &relayed[..len], "TTLs are within bounds, so they are the same too");
            let (whole, _) = cache.whole(&key, &message, &query, &age).expect("just kept");
            let len = wire::relay(&whole, &message, &query, limit, &mut relayed, &mut Vec::new()).expect("relayed").len;
            prop_assert_eq!(&cached[..hit.len], &relayed[..len], "by way of the whole message");
        }
    }

    #[test]
    fn damaged_answers_are_survived(damage in proptest::collection::vec((any::<u16>(), any::<u8>()), 1..6)) {
        let mut bytes = answer("a.test", rtype::A, 0, &[(0, 5, 60, b"\x01x\0"), (0, 1, 60, &[0; 4]), (2, 41, 0, &[])]);
        for (at, value) in damage {
            let at = usize::from(at) % bytes.len();
            bytes[at] = value;
        }
        let cache = cache(SETTINGS);
        put(&cache, "a.test", rtype::A, &bytes);
        if let Some((message, hit)) = get_at(&cache, "a.test", rtype::A, 30, true) {
            prop_assert!(hit.len <= UDP_EDNS && message.len() == hit.len);
        }
    }
}
