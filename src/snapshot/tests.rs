//! Precedence, held against a walk over all rules that spells out DESIGN section 2.

mod groups;

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::limit::Acl;
use crate::name::Name;
use crate::policy::{Answer, AnswerMode, AnswerSettings};
use crate::rule::{Kind, Order, Role, RulesBuilder};

/// A rule as the twin knows it; its line is its index.
#[derive(Clone, Debug)]
struct Plain {
    list: u16,
    name: Name,
    scope: Scope,
    effect: Effect,
}

/// Lists 1 and 3 are shadow lists.
fn mode(list: u16) -> Mode {
    if list % 2 == 1 { Mode::Shadow } else { Mode::Enforce }
}

/// A policy for one list.
fn list_policy(list: u16) -> ListPolicy {
    let answer = AnswerSettings {
        mode: AnswerMode::Nxdomain,
        ipv4: Vec::new(),
        ipv6: Vec::new(),
        cname: None,
        ttl: 30,
        ede: None,
        text: String::new(),
        language: "en".into(),
    };
    ListPolicy {
        name: format!("list{list}").into(),
        role: Role::Block,
        mode: mode(list),
        answer: Answer::new(&answer),
        slot: list.into(),
    }
}

/// Compiles; each list is one file.
fn compile(rules: &[Plain]) -> Snapshot {
    compile_some(rules, |_| true)
}

/// The same with nothing in lists that are not `wanted`.
fn compile_some(rules: &[Plain], wanted: impl Fn(u16) -> bool) -> Snapshot {
    let mut parts = Vec::new();
    for list in (0..4).filter(|&list| wanted(list)) {
        let mut builder = RulesBuilder::new(format!("file{list}").into(), 64);
        let order = builder.order(Order { id: format!("order{list}"), ..Order::default() });
        let mut buf = NameBuf::new();
        for (line, rule) in rules.iter().enumerate().filter(|(_, rule)| rule.list == list) {
            buf.set_wire(rule.name.wire()).expect("a name");
            let kind = Kind { scope: rule.scope, effect: rule.effect.clone(), order: Some(order) };
            assert!(builder.push(&buf, line as u32, kind));
        }
        parts.push(Part::new(list, Arc::new(builder.build())));
    }
    let lists = (0..4).map(list_policy).collect();
    Snapshot::compile(1, lists, parts, Acl::default(), UnixTime(0)).expect("few rules")
}

/// The line that decides about `name` among the enforced rules, `None` if it passes.
fn twin(rules: &[Plain], name: &Name, enforced: bool) -> Option<usize> {
    let covers = |rule: &Plain| match rule.scope {
        Scope::Subtree => name.is_at_or_below(&rule.name),
        Scope::Exact => *name == rule.name,
        Scope::Below => name.is_at_or_below(&rule.name) && *name != rule.name,
    };
    let covering: Vec<_> = rules.iter().enumerate().filter(|(_, rule)| covers(rule)).collect();
    // Allow beats block, whatever is more specific; an exception on trial excepts nothing.
    if covering.iter().any(|(_, rule)| rule.effect == Effect::Allow && mode(rule.list) == Mode::Enforce) {
        return None;
    }
    let wanted = if enforced { Mode::Enforce } else { Mode::Shadow };
    let mut blocking: Vec<_> =
        covering.into_iter().filter(|(_, rule)| rule.effect != Effect::Allow && mode(rule.list) == wanted).collect();
    // Config order, then the longest pattern, then the exact one, then the first.
    blocking.sort_by_key(|(line, rule)| {
        (rule.list, usize::MAX - rule.name.labels().count(), rule.scope != Scope::Exact, *line)
    });
    let &(line, rule) = blocking.first()?;
    (rule.effect != Effect::Rpz(RpzAction::Passthru)).then_some(line)
}

/// Names from few labels, so that they often meet.
fn some_name() -> impl Strategy<Value = Name> {
    proptest::collection::vec("[a-c]", 1..4).prop_map(|labels| Name::parse(&labels.join(".")).expect("a name"))
}

/// Any rule.
fn some_rule() -> impl Strategy<Value = Plain> {
    let scope = prop_oneof![Just(Scope::Subtree), Just(Scope::Exact), Just(Scope::Below)];
    let effect = prop_oneof![
        4 => Just(Effect::Block),
        1 => Just(Effect::Allow),
        1 => Just(Effect::Rpz(RpzAction::Passthru)),
        1 => Just(Effect::Rpz(RpzAction::Nxdomain)),
    ];
    (0..4_u16, some_name(), scope, effect).prop_map(|(list, name, scope, effect)| Plain { list, name, scope, effect })
}

proptest! {
    #[test]
    fn decides_as_the_design_says(
        rules in proptest::collection::vec(some_rule(), 0..12),
        names in proptest::collection::vec(some_name(), 1..20),
    ) {
        // Of rules alike in list, name and scope only the first counts, which the twin need not know.
        let snapshot = compile(&rules);
        for name in names {
            let mut buf = NameBuf::new();
            buf.set_wire(name.wire()).expect("a name");
            let decision = snapshot.decide(&buf);
            let line = |found: Option<Match<'_>>| found.map(|found| snapshot.set().rule(found.id).line as usize);
            prop_assert_eq!(line(decision.blocked()), twin(&rules, &name, true), "enforced, {}", name);
            prop_assert_eq!(line(decision.shadowed()), twin(&rules, &name, false), "shadow, {}", name);
        }
    }
}

proptest! {
    #[test]
    fn a_rule_seen_alone_explains_every_name_as_a_look_at_the_name_does(
        rules in proptest::collection::vec(some_rule(), 0..6),
        names in proptest::collection::vec(some_name(), 1..20),
    ) {
        // Each twice: those that are not seen beside the first count too.
        let rules: Vec<_> = rules.iter().chain(&rules).cloned().collect();
        let snapshot = compile(&rules);
        for name in names {
            let mut buf = NameBuf::new();
            buf.set_wire(name.wire()).expect("a name");
            let decision = snapshot.decide(&buf);
            for (found, mode) in [(decision.blocked(), Mode::Enforce), (decision.shadowed(), Mode::Shadow)] {
                if let Some(found) = found.filter(|_| decision.alone) {
                    prop_assert_eq!(snapshot.causes_of(found.id), Some(snapshot.causes(name.wire(), mode, 0)), "{}", name);
                }
            }
        }
        prop_assert_eq!(snapshot.causes_of(rules.len() as u32), None);
    }
}

proptest! {
    #[test]
    fn a_rule_that_decided_says_what_became_of_a_query_and_nothing_that_a_look_at_the_name_does_not(
        rules in proptest::collection::vec(some_rule(), 0..10),
        names in proptest::collection::vec(some_name(), 1..20),
    ) {
        let snapshot = compile(&rules);
        for name in names {
            let mut buf = NameBuf::new();
            buf.set_wire(name.wire()).expect("a name");
            let decision = snapshot.decide(&buf);
            for (found, mode) in [(decision.blocked(), Mode::Enforce), (decision.shadowed(), Mode::Shadow)] {
                let Some(found) = found else { continue };
                let (outcome, causes) = snapshot.causes_at(found.id).expect("it decided");
                let whole = snapshot.causes(name.wire(), mode, 0);
                prop_assert_eq!(outcome, Outcome::from(mode));
                let list = &*snapshot.lists()[usize::from(found.list)].name;
                prop_assert!(causes.first().is_some_and(|first| first.list == list), "{name}: {causes:?}");
                prop_assert!(causes.iter().all(|cause| whole.contains(cause)), "{name}: {causes:?} of {whole:?}");
            }
            if decision.excepted() {
                let found = decision.allow.or(decision.block).expect("an exception");
                let (outcome, causes) = snapshot.causes_at(found.id).expect("it decided");
                prop_assert_eq!((outcome, causes.len()), (Outcome::Excepted, 1));
            }
        }
        prop_assert_eq!(snapshot.causes_at(rules.len() as u32), None);
    }
}

#[test]
fn a_hit_is_attributed_to_every_rule_and_order() {
    let rule =
        |list, name: &str, scope, effect| Plain { list, name: Name::parse(name).expect("a name"), scope, effect };
    let snapshot = compile(&[
        rule(2, "example.com", Scope::Subtree, Effect::Block),
        rule(0, "com.", Scope::Below, Effect::Block),
        rule(0, "www.example.com", Scope::Exact, Effect::Block),
        rule(0, "www.example.com", Scope::Exact, Effect::Block),
        rule(1, "example.com", Scope::Subtree, Effect::Block),
        rule(2, "example.com", Scope::Exact, Effect::Block),
    ]);
    let name = Name::parse("www.example.com").expect("a name");
    let shown = |mode| -> Vec<_> {
        let causes = snapshot.causes(name.wire(), mode, 0);
        let ids = |orders: &[Arc<Order>]| orders.iter().map(|order| order.id.as_str()).collect::<Vec<_>>().join(" ");
        causes.into_iter().map(|cause| (cause.list, cause.rule, cause.line, ids(&cause.orders))).collect()
    };
    let row = |list: &str, rule: &str, line, orders: &str| (list.into(), rule.into(), line, orders.into());
    assert_eq!(
        shown(Mode::Enforce),
        [
            row("list0", "=www.example.com", 2, "order0"),
            row("list0", "*.com", 1, "order0"),
            row("list2", "example.com", 0, "order2"),
        ]
    );
    assert_eq!(shown(Mode::Shadow), [row("list1", "example.com", 4, "order1")]);
}

#[test]
fn canaries_are_whom_other_rules_hold_for() {
    let rule = |name: &str| Plain {
        list: 0,
        name: Name::parse(name).expect("a name"),
        scope: Scope::Subtree,
        effect: Effect::Block,
    };
    let acl = |block: &str| {
        let block = block.parse().expect("a block");
        Acl::new(&crate::limit::Settings { allow_from: vec![block] })
    };
    let (old, new, third) = (compile(&[rule("old.example")]), compile(&[rule("new.example")]), compile(&[]));
    let queries = Arc::<AtomicU64>::default();
    let on_trial = Canary::new(acl("10.1.0.0/16"), &[0], Arc::new(new.at(2, UnixTime(0))), Arc::clone(&queries));
    let second = Canary::new(acl("10.0.0.0/8"), &[0], Arc::new(third.at(3, UnixTime(0))), Arc::default());
    let snapshot = old.at(1, UnixTime(0)).with_canaries(vec![on_trial, second]);
    let blocked = |snapshot: &Snapshot, client: &str, name: &str| {
        let mut buf = NameBuf::new();
        buf.parse(name).expect("a name");
        let policy = snapshot.enter(client.parse().expect("an address"), Door::default());
        (policy.decide(&buf).blocked().is_some(), policy.snapshot().generation())
    };
    for at in [snapshot.clone(), snapshot.at(1, UnixTime(9))] {
        assert_eq!(blocked(&at, "10.1.2.3", "new.example"), (true, 2));
        assert_eq!(blocked(&at, "10.1.2.3", "old.example"), (false, 2));
        assert_eq!(blocked(&at, "10.2.2.3", "old.example"), (false, 3), "of two, the first counts");
        assert_eq!(blocked(&at, "192.0.2.1", "old.example"), (true, 1));
        assert_eq!(blocked(&at, "192.0.2.1", "new.example"), (false, 1));
        assert_eq!(at.last_generation(), 3);
    }
    assert_eq!(queries.load(Ordering::Relaxed), 4);
    let client = "10.1.2.3".parse().expect("an address");
    assert_eq!(snapshot.of(client, Door::default()).snapshot().generation(), 2);
    assert_eq!(queries.load(Ordering::Relaxed), 4, "only queries that come in are counted");
}
