//! What is decided without asking anybody, message by message.

use std::sync::Arc;

use super::*;
use crate::limit::{Acl, Cidr, Prefixes, Settings};
use crate::name::Name;
use crate::policy::{Answer, AnswerMode, AnswerSettings, ListPolicy};
use crate::rule::{Effect, Kind, Mode, Role, RulesBuilder, Scope};
use crate::set::Part;
use crate::snapshot::{Clients, Group, Lists};
use crate::stats::Stats;
use crate::util::UnixTime;

/// List 0 allows `good.example.com`, list 1 blocks `example.com` with a CNAME, list 2 only counts `shadow.test`,
/// list 3 drops `drop.test`.
fn snapshot() -> Snapshot {
    let lists = [
        ("allow", Role::Allow, Mode::Enforce, AnswerMode::Sinkhole, "good.example.com"),
        ("page", Role::Block, Mode::Enforce, AnswerMode::Cname, "example.com"),
        ("trial", Role::Block, Mode::Shadow, AnswerMode::Sinkhole, "shadow.test"),
        ("drop", Role::Block, Mode::Enforce, AnswerMode::Drop, "drop.test"),
    ];
    let mut parts = Vec::new();
    let mut policies = Vec::new();
    for (index, (name, role, mode, answer, pattern)) in lists.into_iter().enumerate() {
        let mut rules = RulesBuilder::new(name.into(), 32);
        let mut buf = NameBuf::new();
        buf.parse(pattern).expect("a name");
        let effect = if role == Role::Allow { Effect::Allow } else { Effect::Block };
        assert!(rules.push(&buf, 1, Kind { scope: Scope::Subtree, effect, order: None }));
        parts.push(Part::new(index as u16, Arc::new(rules.build())));
        let answer = Answer::new(&AnswerSettings {
            mode: answer,
            ipv4: vec![[192, 0, 2, 1].into()],
            ipv6: Vec::new(),
            cname: Some(Name::parse("page.test").expect("a name")),
            ttl: 30,
            ede: Some(16),
            text: "listed".into(),
            language: "en".into(),
        });
        policies.push(ListPolicy { name: name.into(), role, mode, answer, slot: index });
    }
    let acl = Acl::new(&Settings { allow_from: vec!["192.0.2.0/24".parse().expect("a block")] });
    Snapshot::compile(1, policies, parts, acl, UnixTime(0)).expect("few rules")
}

/// Decides about one query for `name`; gives the verdict, the answer, and the counters that moved.
fn ask(name: &str, change: impl FnOnce(&mut Vec<u8>), client: &str) -> (Verdict, Vec<u8>, Vec<(&'static str, u64)>) {
    let stats = Stats::default();
    let mut decider = Decider::new(stats.counters(), None);
    let mut message = wire::question(Name::parse(name).expect("a name").wire(), 1);
    change(&mut message);
    let peer = Peer::new(client.parse().expect("an address"), Transport::Udp);
    let mut out = [0; wire::UDP_EDNS];
    let verdict = decider.decide(&snapshot(), &message, peer, Now::default(), &mut out);
    let len = match verdict {
        Verdict::Reply(len) | Verdict::Resolve(len) => len,
        Verdict::Drop => 0,
    };
    let moved = stats.totals().queries.into_iter().filter(|&(_, count)| count > 0).collect();
    (verdict, out[..len].to_vec(), moved)
}

/// The same snapshot for two groups beside all others: number 1 has only list 3, number 2 is exempt, number 3 has all
/// lists, and nobody is told.
fn grouped() -> Snapshot {
    let group = |name: &str, lists, exempt, statistics, slot| Group {
        name: name.into(),
        lists,
        answers: None,
        exempt,
        statistics,
        slot,
    };
    let groups = [
        group("few", Lists::only([3]), false, true, 0),
        group("exempt", Lists::ALL, true, true, 1),
        group("quiet", Lists::ALL, false, false, 2),
    ];
    let blocks = (1..=3).map(|number| (Cidr::around([192, 0, 2, number].into(), 32), u16::from(number)));
    let prefixes = Arc::new(Prefixes::new(blocks, 0));
    snapshot().with_clients(Some(Arc::new(Clients { prefixes, groups: groups.into(), ..Clients::default() })))
}

#[test]
fn what_an_answer_leads_to_is_checked_for_every_group_by_itself() {
    let settings = crate::cache::Settings {
        size: 1 << 20,
        min_ttl: 0,
        max_ttl: 3600,
        max_negative_ttl: 3600,
        servfail_ttl: 5,
        stale: 0,
        stale_after: std::time::Duration::from_millis(1800),
    };
    let cache = Arc::new(Cache::new(&settings).expect("a size"));
    let (refresh, _wanted) = mpsc::channel(1);
    let mut decider = Decider::new(Stats::default().counters(), None).with_cache(Arc::clone(&cache), refresh);
    let snapshot = grouped();
    let alias = |name: &str, target: &str| {
        let message = wire::question(Name::parse(name).expect("a name").wire(), 1);
        let mut answer = message.clone();
        (answer[2], answer[3], answer[7]) = (0x81, 0x80, 2);
        let target = Name::parse(target).expect("a name");
        answer.extend_from_slice(b"\xc0\x0c\0\x05\0\x01\0\0\0\x3c\0");
        answer.push(target.wire().len() as u8);
        answer.extend_from_slice(target.wire());
        answer.extend_from_slice(b"\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04\xc0\0\x02\x01");
        let mut buf = NameBuf::new();
        let query = wire::parse(&message, &mut buf).expect("a query");
        assert!(cache.insert(&Key::new(buf.wire(), &query, false), &answer, 0, cache.epoch(), UnixTime(0)));
        message
    };
    let mut ask = |message: &[u8], host: u8| {
        let peer = Peer::new(([192, 0, 2, host], 4000).into(), Transport::Udp);
        let mut out = [0; wire::UDP_EDNS];
        matches!(decider.decide(&snapshot, message, peer, Now::default(), &mut out), Verdict::Reply(_))
    };
    let to_blocked = alias("alias.test", "www.example.com");
    for _ in 0..2 {
        // Whoever comes in between: all but the first group have the list with the target.
        assert!(ask(&to_blocked, 1), "its lists do not know the target");
        assert!(!ask(&to_blocked, 7) && !ask(&to_blocked, 3), "what was found for one group is nothing for another");
    }
    let to_allowed = alias("other.test", "good.example.com");
    assert!(ask(&to_allowed, 7), "excepted for all who have the allow list");
    assert!(ask(&to_allowed, 1) && ask(&to_allowed, 7));
    // What no rule knows at all was found out once for all.
    let free = alias("free.test", "elsewhere.test");
    assert!(ask(&free, 1));
    let mut buf = NameBuf::new();
    let query = wire::parse(&free, &mut buf).expect("a query");
    let of = |number| snapshot.of([192, 0, 2, number].into(), Door::default());
    for number in [1, 3, 7] {
        let age = Age::new(UnixTime(0), of(number).stamp(), of(number).stamp_of_all());
        let (_, hit) = cache.whole(&Key::new(buf.wire(), &query, false), &free, &query, &age).expect("kept");
        assert!(hit.checked, "{number}");
    }
    // Exempt clients do not share what is checked for others.
    assert!(!ask(&free, 2) && !ask(&to_blocked, 2));
}

#[test]
fn groups_are_counted_apart_and_who_is_exempt_hits_nothing() {
    let stats = Stats::default();
    let names = ["few", "exempt", "quiet"].map(|name| stats.group_slot(&name.into()));
    assert_eq!(names, [0, 1, 2]);
    let mut decider = Decider::new(stats.counters(), None);
    let snapshot = grouped();
    let mut out = [0; wire::UDP_EDNS];
    for host in [1, 2, 3, 7] {
        for name in ["drop.test", "www.example.com", "shadow.test", "other.test"] {
            let message = wire::question(Name::parse(name).expect("a name").wire(), 1);
            let peer = Peer::new(([192, 0, 2, host], 4000).into(), Transport::Udp);
            decider.decide(&snapshot, &message, peer, Now::default(), &mut out);
        }
    }
    let totals = stats.totals();
    let rows: Vec<_> =
        totals.groups.iter().map(|group| (group.name.as_str(), group.queries, group.blocked, group.shadow)).collect();
    assert_eq!(rows, [("exempt", 4, 0, 0), ("few", 4, 1, 0), ("quiet", 4, 2, 1)]);
    assert_eq!((totals.query(Counter::Blocked), totals.query(Counter::Shadow)), (5, 2), "with those of nobody's");
    assert_eq!((totals.query(Counter::Received), totals.query(Counter::Excepted)), (16, 0));
}

/// The response code of an answer.
fn rcode_of(answer: &[u8]) -> u16 {
    u16::from(answer[3] & 15)
}

const FRIEND: &str = "192.0.2.7:4000";

#[test]
fn each_query_is_counted_once_for_what_it_is() {
    let (verdict, answer, moved) = ask("www.example.com", |_| (), FRIEND);
    assert_eq!((verdict, moved), (Verdict::Resolve(answer.len()), vec![("received", 1), ("blocked", 1)]));
    assert_eq!((rcode_of(&answer), answer[7]), (0, 1), "the CNAME alone, should its target not be reachable");

    let (verdict, answer, moved) = ask("www.good.example.com", |_| (), FRIEND);
    assert_eq!((verdict, moved), (Verdict::Resolve(answer.len()), vec![("received", 1), ("excepted", 1)]));
    assert_eq!(rcode_of(&answer), rcode::SERVFAIL, "what is sent when it cannot be resolved");

    let (verdict, _, moved) = ask("shadow.test", |_| (), FRIEND);
    assert!(matches!(verdict, Verdict::Resolve(_)));
    assert_eq!(moved, [("received", 1), ("shadow", 1)]);

    let (verdict, _, moved) = ask("drop.test", |_| (), FRIEND);
    assert_eq!((verdict, moved), (Verdict::Drop, vec![("received", 1), ("blocked", 1)]));

    let (verdict, _, moved) = ask("other.test", |_| (), FRIEND);
    assert!(matches!(verdict, Verdict::Resolve(_)));
    assert_eq!(moved, [("received", 1)]);
}

#[test]
fn who_may_not_ask_is_refused_whatever_is_asked() {
    for name in ["www.example.com", "other.test", "drop.test"] {
        let (verdict, answer, moved) = ask(name, |_| (), "198.51.100.1:4000");
        assert_eq!((verdict, rcode_of(&answer)), (Verdict::Reply(answer.len()), rcode::REFUSED));
        assert_eq!(moved, [("received", 1), ("not_allowed", 1)]);
    }
    // Even for them an answer is never answered.
    let (verdict, _, moved) = ask("other.test", |message| message[2] |= 0x80, "198.51.100.1:4000");
    assert_eq!((verdict, moved), (Verdict::Drop, vec![("received", 1), ("ignored", 1)]));
}

#[test]
fn classes_and_opcodes_that_are_not_served_say_so() {
    let chaos = |message: &mut Vec<u8>| *message.last_mut().expect("a class") = 3;
    let (_, answer, moved) = ask("www.example.com", chaos, FRIEND);
    assert_eq!((rcode_of(&answer), moved), (rcode::REFUSED, vec![("received", 1), ("not_served", 1)]));
    let (_, answer, moved) = ask("www.example.com", |message| message[2] |= 0x28, FRIEND);
    assert_eq!((rcode_of(&answer), moved), (rcode::NOTIMP, vec![("received", 1), ("invalid", 1)]));
}
