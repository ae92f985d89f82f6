//! What holds for a group, held against a snapshot that has its lists and no others.

use std::net::{IpAddr, Ipv4Addr};

use super::*;
use crate::limit::{Cidr, Doors, Prefixes};

/// The address of a client of group number `number`, 0 being none.
fn client(number: u16) -> IpAddr {
    Ipv4Addr::new(10, number as u8, 0, 1).into()
}

/// A group of these lists.
fn group(number: u16, lists: Lists) -> Group {
    let name = format!("group{number}").into();
    Group { name, lists, answers: None, exempt: false, statistics: true, slot: number.into() }
}

/// Groups, each with the addresses that [`client`] says.
fn clients(groups: Vec<Group>) -> Clients {
    let block = |number: u16| (Cidr::around(client(number), 16), number);
    let prefixes = Arc::new(Prefixes::new((1..=groups.len() as u16).map(block), 0));
    Clients { prefixes, groups: groups.into(), ..Clients::default() }
}

/// A snapshot with groups.
fn grouped(rules: &[Plain], groups: Vec<Group>) -> Snapshot {
    compile(rules).with_clients(Some(Arc::new(clients(groups))))
}

/// What a decision says, by lines of rules.
fn said(snapshot: &Snapshot, decision: &Decision<'_>) -> [Option<u32>; 5] {
    let line = |found: Option<Match<'_>>| found.map(|found| snapshot.set().rule(found.id).line);
    let alone = Some(u32::from(decision.alone));
    [line(decision.allow), line(decision.block), line(decision.blocked()), line(decision.shadowed()), alone]
}

proptest! {
    #[test]
    fn a_group_has_what_a_server_with_its_lists_alone_would_have(
        rules in proptest::collection::vec(some_rule(), 0..12),
        names in proptest::collection::vec(some_name(), 1..12),
        masks in proptest::collection::vec(0..16_u8, 1..4),
    ) {
        let has = |mask: u8, list: u16| mask >> list & 1 == 1;
        let places = |mask: u8| (0..4).filter(move |&list| has(mask, list as u16));
        let groups = (1..).zip(&masks).map(|(number, &mask)| group(number, Lists::only(places(mask)))).collect();
        let snapshot = grouped(&rules, groups);
        let whole = compile(&rules);
        for (number, mask) in (0..).zip(std::iter::once(0b1111).chain(masks.iter().copied())) {
            let alone = compile_some(&rules, |list| has(mask, list));
            let policy = snapshot.of(client(number), Door::default());
            prop_assert_eq!(policy.number(), number);
            for name in &names {
                let mut buf = NameBuf::new();
                buf.set_wire(name.wire()).expect("a name");
                let decision = policy.decide(&buf);
                prop_assert_eq!(said(&snapshot, &decision), said(&alone, &alone.decide(&buf)), "{} for {}", name, number);
                let mut known = false;
                whole.set().matches(&buf, |_| known = true);
                prop_assert_eq!(decision.known, known);
                for (found, mode) in [(decision.blocked(), Mode::Enforce), (decision.shadowed(), Mode::Shadow)] {
                    let causes = snapshot.causes(name.wire(), mode, number);
                    prop_assert_eq!(&causes, &alone.causes(name.wire(), mode, 0));
                    let Some(found) = found else { continue };
                    if decision.alone {
                        prop_assert_eq!(snapshot.causes_of(found.id), Some(causes.clone()), "{} for {}", name, number);
                    }
                    // Of whom the client was is not known any more: nothing is said that need not be so.
                    let (outcome, least) = snapshot.causes_at(found.id).expect("it decided");
                    prop_assert_eq!(outcome, Outcome::from(mode));
                    prop_assert!(least.iter().all(|cause| causes.contains(cause)), "{name}: {least:?} of {causes:?}");
                }
            }
        }
    }
}

#[test]
fn a_list_is_one_of_a_thousand() {
    let lists = Lists::only([0, 63, 64, 999]);
    let has: Vec<u16> = (0..2000).filter(|&list| lists.has(list)).collect();
    assert_eq!(has, [0, 63, 64, 999]);
    assert!(Lists::ALL.has(u16::MAX) && !Lists::only([]).has(0));
}

#[test]
fn a_door_says_more_than_an_address_and_every_policy_has_a_stamp_of_its_own() {
    let doors = Doors::default();
    let (kids, other) = (doors.open("kids"), doors.open("other"));
    let groups = clients((1..=2).map(|number| group(number, Lists::ALL)).collect());
    let by_door = vec![0, 2].into();
    let snapshot = compile(&[]).with_clients(Some(Arc::new(Clients { doors: by_door, ..groups })));
    let number = |address, door| snapshot.of(address, door).number();
    assert_eq!([0, 1, 2].map(|at| number(client(at), Door::default())), [0, 1, 2]);
    assert_eq!([0, 1, 2].map(|at| number(client(at), kids)), [2, 2, 2]);
    assert_eq!([0, 1, 2].map(|at| number(client(at), other)), [0, 1, 2], "no longer configured");
    let stamps = [0, 1, 2].map(|at| snapshot.of(client(at), Door::default()).stamp());
    let next = snapshot.at(2, UnixTime(0));
    let all: std::collections::HashSet<u64> = stamps
        .into_iter()
        .chain([0, 1, 2].map(|at| next.of(client(at), Door::default()).stamp()))
        .chain([snapshot.of_all().stamp_of_all(), next.of_all().stamp_of_all()])
        .collect();
    assert_eq!(all.len(), 8);
}

#[test]
fn who_is_exempt_or_has_none_of_the_lists_is_no_canary() {
    let rule = |list, name: &str| Plain {
        list,
        name: Name::parse(name).expect("a name"),
        scope: Scope::Subtree,
        effect: Effect::Block,
    };
    let exempt = Group { exempt: true, ..group(1, Lists::ALL) };
    let groups = Arc::new(clients(vec![exempt, group(2, Lists::only([2])), group(3, Lists::only([0]))]));
    let (old, new) = (compile(&[rule(0, "old.example")]), compile(&[rule(0, "new.example")]));
    let new = Arc::new(new.at(2, UnixTime(0)).with_clients(Some(Arc::clone(&groups))));
    let everybody = Acl::new(&crate::limit::Settings { allow_from: vec!["10.0.0.0/8".parse().expect("a block")] });
    let queries = Arc::<AtomicU64>::default();
    let canary = Canary::new(everybody, &[0], new, Arc::clone(&queries));
    let snapshot = old.with_clients(Some(groups)).with_canaries(vec![canary]);
    let blocked = |number| {
        let policy = snapshot.enter(client(number), Door::default());
        ["old.example", "new.example"].map(|name| {
            let mut buf = NameBuf::new();
            buf.parse(name).expect("a name");
            policy.decide(&buf).blocked().is_some()
        })
    };
    assert_eq!([0, 1, 2, 3].map(blocked), [[false, true], [false; 2], [false; 2], [false, true]]);
    assert_eq!(queries.load(Ordering::Relaxed), 2);
}

#[test]
fn a_group_is_answered_what_is_said_for_it() {
    let rule = Plain {
        list: 0,
        name: Name::parse("a.example").expect("a name"),
        scope: Scope::Subtree,
        effect: Effect::Block,
    };
    let own = Group { answers: Some([0, 0, 0, 0].into()), ..group(1, Lists::ALL) };
    let own = Clients { answers: [list_policy(0).answer].into(), ..clients(vec![own]) };
    let snapshot = compile(&[rule]).with_clients(Some(Arc::new(own)));
    let mut buf = NameBuf::new();
    buf.parse("a.example").expect("a name");
    let answer = |number| {
        let policy = snapshot.of(client(number), Door::default());
        let found = policy.decide(&buf).blocked().expect("blocked");
        std::ptr::from_ref(policy.blocked(&found, 0).answer)
    };
    assert_eq!(answer(0), std::ptr::from_ref(&snapshot.lists()[0].answer));
    assert_eq!(answer(1), std::ptr::from_ref(&snapshot.clients().expect("groups").answers[0]));
}
