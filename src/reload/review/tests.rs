//! The review against its stupid twin, and the findings an operator cares about one by one.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::limit::Acl;
use crate::name::Name;
use crate::policy::{Answer, AnswerMode, AnswerSettings, ListPolicy};
use crate::rule::{Kind, Order, Role, RulesBuilder};
use crate::set::Part;
use crate::util::UnixTime;

/// A rule as tests write it.
#[derive(Clone, Debug)]
struct Plain {
    list: u16,
    name: Name,
    scope: Scope,
    allow: bool,
    order: Option<u8>,
}

/// Lists 0 to 2 enforce, list 3 is a shadow list.
fn snapshot(rules: &[Plain]) -> Snapshot {
    let answer = AnswerSettings {
        mode: AnswerMode::Nodata,
        ipv4: Vec::new(),
        ipv6: Vec::new(),
        cname: None,
        ttl: 1,
        ede: None,
        text: String::new(),
        language: "en".into(),
    };
    let policies = (0..4).map(|slot| ListPolicy {
        name: format!("list{slot}").into(),
        role: Role::Block,
        mode: if slot == 3 { Mode::Shadow } else { Mode::Enforce },
        answer: Answer::new(&answer),
        slot,
    });
    let parts = (0..4_u16).map(|list| {
        let mut builder = RulesBuilder::new(format!("file{list}").into(), 64);
        let mut name = NameBuf::new();
        for (line, rule) in rules.iter().enumerate().filter(|(_, rule)| rule.list == list) {
            let order = rule.order.map(|id| builder.order(Order { id: id.to_string(), ..Order::default() }));
            let effect = if rule.allow { Effect::Allow } else { Effect::Block };
            name.set_wire(rule.name.wire()).expect("a name");
            assert!(builder.push(&name, line as u32, Kind { scope: rule.scope, effect, order }));
        }
        Part::new(list, Arc::new(builder.build()))
    });
    Snapshot::compile(1, policies.collect(), parts.collect(), Acl::default(), UnixTime(0)).expect("few rules")
}

/// `0 block =a.example` and the like.
fn rules(lines: &[&str]) -> Vec<Plain> {
    let rule = |line: &&str| {
        let mut words = line.split(' ');
        let list = words.next().and_then(|word| word.parse().ok()).expect("a list");
        let allow = words.next() == Some("allow");
        let pattern = words.next().expect("a pattern");
        let (scope, name) = match (pattern.strip_prefix('='), pattern.strip_prefix("*.")) {
            (Some(name), _) => (Scope::Exact, name),
            (_, Some(name)) => (Scope::Below, name),
            _ => (Scope::Subtree, pattern),
        };
        let order = words.next().and_then(|word| word.parse().ok());
        Plain { list, name: Name::parse(name).expect("a name"), scope, allow, order }
    };
    lines.iter().map(rule).collect()
}

/// The review of such lines.
fn of(lines: &[&str]) -> Review {
    review(&snapshot(&rules(lines)), &Decisions::default())
}

#[test]
fn an_entry_is_shadowed_only_if_nothing_of_it_is_left() {
    let shadowed = |block: &str, allow: &[&str]| {
        let lines: Vec<_> = std::iter::once(block).chain(allow.iter().copied()).collect();
        let review = of(&lines);
        (review.shadowed.count, review.partly_shadowed)
    };
    assert_eq!(shadowed("0 block a.example", &["1 allow a.example"]), (1, 0));
    assert_eq!(shadowed("0 block a.example", &["1 allow *.example"]), (1, 0));
    assert_eq!(shadowed("0 block a.example", &["1 allow =a.example", "1 allow *.a.example"]), (1, 0));
    assert_eq!(shadowed("0 block a.example", &["1 allow =a.example"]), (0, 1));
    assert_eq!(shadowed("0 block a.example", &["1 allow www.a.example"]), (0, 1));
    assert_eq!(shadowed("0 block =a.example", &["1 allow *.a.example"]), (0, 0));
    assert_eq!(shadowed("0 block *.a.example", &["1 allow =a.example"]), (0, 0));
    assert_eq!(shadowed("0 block *.a.example", &["1 allow *.a.example"]), (1, 0));
    assert_eq!(shadowed("0 block a.example", &["1 allow aa.example"]), (0, 0));
    assert_eq!(shadowed("0 block a.example", &["3 allow a.example"]), (0, 0), "an allow list on trial does nothing");
}

#[test]
fn a_finding_says_where_both_entries_stand() {
    let review = of(&["0 block other.example", "0 block *.a.example", "1 allow example"]);
    let found = &review.shadowed.shown[1];
    assert_eq!(found.entry.to_string(), "*.a.example at file0:1");
    assert_eq!((&*found.allow.list, found.allow.line, &*found.allow.rule), ("list1", 2, "example"));
    let summary = review.summary().expect("something to say");
    assert!(summary.starts_with("2 entries without effect because of allow entries (first: other.example at "));
}

#[test]
fn public_suffixes_are_found_whoever_runs_them() {
    let lines = ["0 block us.com", "0 block xn--p1ai", "1 allow =myshopify.com", "0 block example.com", "0 block lan"];
    let review = of(&lines);
    let found: Vec<_> = review.public_suffixes.shown.iter().map(|place| place.rule.as_str()).collect();
    assert_eq!(found, ["us.com", "xn--p1ai", "=myshopify.com"]);
    assert!(review.needs_a_look());
    let wildcards = of(&[
        "0 block ec2-1-2-3-4.compute-1.amazonaws.com",
        "0 block compute-1.amazonaws.com",
        "0 block co.ck",
        "0 block ck",
        "0 block www.ck",
        "0 block amazonaws.com",
    ]);
    let found: Vec<_> = wildcards.public_suffixes.shown.iter().map(|place| place.rule.as_str()).collect();
    assert_eq!(
        found,
        ["compute-1.amazonaws.com", "co.ck", "ck"],
        "a customer's host is not one, its provider's zone is"
    );
    assert_eq!(of(&["0 block example.com"]).summary(), None);
}

#[test]
fn repetitions_are_told_apart() {
    let review = of(&[
        "0 block a.example 1",
        "0 block a.example 1",
        "0 block a.example 2",
        "0 block =a.example",
        "0 block x.a.example",
        "1 block a.example",
        "1 block x.a.example",
        "1 allow a.example",
    ]);
    let counts = |index: usize| {
        let list: &ListReview = &review.lists[index];
        (list.repeated, list.further_orders, list.in_earlier_list, list.redundant)
    };
    assert_eq!(counts(0), (1, 1, 0, 2));
    assert_eq!(counts(1), (0, 0, 2, 1));
}

#[test]
fn counts_go_on_where_showing_ends() {
    let lines: Vec<String> = (0..250).map(|n| format!("0 block n{n}.example")).collect();
    let mut lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    lines.push("1 allow example");
    let review = of(&lines);
    assert_eq!((review.shadowed.count, review.shadowed.shown.len()), (250, MAX_FINDINGS));
}

/// Names from few labels, so that they often meet.
fn some_rule() -> impl Strategy<Value = Plain> {
    let name =
        proptest::collection::vec("[ab]", 1..4).prop_map(|labels| Name::parse(&labels.join(".")).expect("a name"));
    let scope = prop_oneof![Just(Scope::Subtree), Just(Scope::Exact), Just(Scope::Below)];
    (0..4_u16, name, scope, any::<bool>()).prop_map(|(list, name, scope, allow)| Plain {
        list,
        name,
        scope,
        allow,
        order: None,
    })
}

/// A name on which the block decides nothing: it, a name below it, and one below that stand for all it covers.
fn all_allowed(rules: &[Plain], block: &Plain) -> bool {
    let covers = |rule: &Plain, name: &Name| match rule.scope {
        Scope::Subtree => name.is_at_or_below(&rule.name),
        Scope::Exact => *name == rule.name,
        Scope::Below => name.is_at_or_below(&rule.name) && *name != rule.name,
    };
    // "zz" stands in no rule, so nothing but a wider rule can cover these.
    let probes = ["", "zz.", "zz.zz."].map(|prefix| Name::parse(&format!("{prefix}{}", block.name)).expect("a name"));
    let mut covered = probes.iter().filter(|probe| covers(block, probe));
    covered.all(|probe| rules.iter().any(|rule| rule.allow && rule.list != 3 && covers(rule, probe)))
}

proptest! {
    #[test]
    fn shadowed_is_what_a_walk_over_all_rules_finds(rules in proptest::collection::vec(some_rule(), 0..20)) {
        let snapshot = snapshot(&rules);
        let review = review(&snapshot, &Decisions::default());
        let blocks = || rules.iter().filter(|rule| !rule.allow);
        let expected = blocks().filter(|rule| all_allowed(&rules, rule)).count();
        prop_assert_eq!(review.shadowed.count, expected as u64);
        for found in &review.shadowed.shown {
            let block = &rules[found.entry.line as usize];
            prop_assert!(!block.allow && all_allowed(&rules, block));
            prop_assert!(rules[found.allow.line as usize].allow);
        }
    }
}
