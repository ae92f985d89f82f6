//! What is decided without asking anybody, message by message.

use std::sync::Arc;

use super::*;
use crate::limit::{Acl, Settings};
use crate::name::Name;
use crate::policy::{Answer, AnswerMode, AnswerSettings, ListPolicy};
use crate::rule::{Effect, Kind, Mode, Role, RulesBuilder, Scope};
use crate::set::Part;
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
