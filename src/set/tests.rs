//! The set against its stupid twin: a walk over all rules.

use proptest::prelude::*;

use super::*;
use crate::name::Name;
use crate::rule::{Order, RulesBuilder};

/// A rule as the twin knows it.
#[derive(Clone, Debug)]
struct Plain {
    list: u16,
    name: Name,
    scope: Scope,
    allow: bool,
    order: Option<(Option<i64>, Option<i64>)>,
}

/// Makes parts of at most `chunk` rules each, in the order of lists; of those with more than `plain` the rules are sorted.
fn parts(rules: &[Plain], chunk: usize, plain: usize) -> Vec<Part> {
    let mut parts = Vec::new();
    for list in 0..4 {
        let of_list: Vec<_> = rules.iter().enumerate().filter(|(_, rule)| rule.list == list).collect();
        for chunk in of_list.chunks(chunk) {
            let mut builder = RulesBuilder::with_plain("file".into(), 64, plain);
            let mut buf = NameBuf::new();
            for (line, rule) in chunk {
                let order = rule.order.map(|(from, to)| {
                    builder.order(Order {
                        effective: from.map(UnixTime),
                        expires: to.map(UnixTime),
                        ..Order::default()
                    })
                });
                let effect = if rule.allow { Effect::Allow } else { Effect::Block };
                buf.set_wire(rule.name.wire()).expect("a name");
                assert!(builder.push(&buf, *line as u32, Kind { scope: rule.scope, effect, order }));
            }
            parts.push(Part::new(list, Arc::new(builder.build())));
        }
    }
    parts
}

impl Plain {
    /// Its scope covers `name`.
    fn covers(&self, name: &Name) -> bool {
        match self.scope {
            Scope::Subtree => name.is_at_or_below(&self.name),
            Scope::Exact => *name == self.name,
            Scope::Below => name.is_at_or_below(&self.name) && *name != self.name,
        }
    }

    /// In force at `now`.
    fn active(&self, now: i64) -> bool {
        self.order.is_none_or(|(from, to)| from.is_none_or(|at| at <= now) && to.is_none_or(|at| now < at))
    }
}

/// The twin: which rules cover `name` at `now`, by their index.
fn walk(rules: &[Plain], name: &Name, now: i64) -> Vec<u32> {
    walk_ever(rules, name).into_iter().filter(|&index| rules[index as usize].active(now)).collect()
}

/// The same, in force or not.
fn walk_ever(rules: &[Plain], name: &Name) -> Vec<u32> {
    let found = rules.iter().enumerate().filter(|(_, rule)| rule.covers(name));
    found.map(|(index, _)| index as u32).collect()
}

/// Names from few labels, so that they often meet, are above and below each other, and begin alike; now and then with
/// labels as long as can be, or of any octets.
fn some_name() -> impl Strategy<Value = Name> {
    let label = prop_oneof![
        8 => "[a-c]".prop_map(String::into_bytes),
        4 => "[ab]{2}".prop_map(String::into_bytes),
        4 => Just(b"com".to_vec()),
        1 => (0..3_u8).prop_map(|last| [vec![b'a'; 62], vec![b'a' + last]].concat()),
        1 => proptest::collection::vec(0..4_u8, 1..3),
        1 => proptest::collection::vec(any::<u8>(), 1..3),
    ];
    proptest::collection::vec(label, 1..5).prop_map(|labels| {
        let mut name = NameBuf::new();
        // Of more long labels than there is room for the last are left out.
        labels.iter().for_each(|label| _ = name.push_label(label));
        name.to_name()
    })
}

/// A set by table or by map, as if there were many more rules than there are.
fn some_tuning() -> impl Strategy<Value = build::Tuning> {
    (prop_oneof![Just(0), Just(1000)], 1..50_usize).prop_map(|(table, shard)| build::Tuning { table, shard })
}

/// Any rule.
fn some_rule() -> impl Strategy<Value = Plain> {
    let scope = prop_oneof![Just(Scope::Subtree), Just(Scope::Exact), Just(Scope::Below)];
    let order = proptest::option::of((proptest::option::of(0..20_i64), proptest::option::of(0..20_i64)));
    (0..4_u16, some_name(), scope, any::<bool>(), order).prop_map(|(list, name, scope, allow, order)| Plain {
        list,
        name,
        scope,
        allow,
        order,
    })
}

proptest! {
    #[test]
    fn finds_what_a_walk_over_all_rules_finds(
        rules in proptest::collection::vec(some_rule(), 0..60),
        names in proptest::collection::vec(some_name(), 1..20),
        chunk in prop_oneof![1..8_usize, Just(100)],
        plain in prop_oneof![Just(0), 0..10_usize, Just(1000)],
        tuning in some_tuning(),
        now in 0..20_i64,
    ) {
        let set = Set::tuned(parts(&rules, chunk, plain), UnixTime(0), tuning).expect("few rules").at(UnixTime(now));
        prop_assert_eq!(matches!(set.index.lookup, Lookup::Map { .. }), rules.len() > tuning.table);
        for name in names {
            let mut buf = NameBuf::new();
            buf.set_wire(name.wire()).expect("a name");
            let expected = walk(&rules, &name, now);
            let mut every = Vec::new();
            set.all(&buf, |found| every.push(set.rule(found.id).line));
            every.sort_unstable();
            prop_assert_eq!(&every, &expected, "all rules of {}", name);

            let (mut known, mut in_force) = (Vec::new(), Vec::new());
            set.known(&buf, |found, active| {
                let line = set.rule(found.id).line;
                known.push(line);
                in_force.extend(active.then_some(line));
            });
            known.sort_unstable();
            in_force.sort_unstable();
            prop_assert_eq!(&known, &walk_ever(&rules, &name), "known rules of {}", name);
            prop_assert_eq!(&in_force, &expected, "known rules in force of {}", name);

            // One of each list, name, scope and sort of effect is enough to decide, and none is missing.
            let say = |&index: &u32| {
                let rule = &rules[index as usize];
                (rule.list, rule.name.clone(), rule.scope, rule.allow)
            };
            let mut deciding = Vec::new();
            set.matches(&buf, |found| deciding.push(set.rule(found.id).line));
            for line in &deciding {
                prop_assert!(expected.contains(line), "{} does not cover {}", line, name);
            }
            let mut left: Vec<_> = deciding.iter().map(say).collect();
            let mut right: Vec<_> = expected.iter().map(say).collect();
            left.sort();
            right.sort();
            right.dedup();
            prop_assert_eq!(left, right, "deciding rules of {}", name);

            // The same for rules on the name and above it, whatever their scopes.
            let above = rules.iter().enumerate().filter(|(_, rule)| name.is_at_or_below(&rule.name) && rule.active(now));
            let mut right: Vec<_> = above.map(|(index, _)| say(&(index as u32))).collect();
            let mut left = Vec::new();
            set.holders(&buf, |found| left.push(say(&set.rule(found.id).line)));
            left.sort();
            right.sort();
            right.dedup();
            prop_assert_eq!(left, right, "holders of {}", name);
        }
        let mut each = Vec::new();
        set.each(|found, name| {
            let line = set.rule(found.id).line;
            assert_eq!(name.wire(), rules[line as usize].name.wire());
            assert_eq!(set.rule(found.id).name().wire(), name.wire());
            each.push(line);
        });
        each.sort_unstable();
        let active = rules.iter().enumerate().filter(|(_, rule)| rule.active(now)).map(|(index, _)| index as u32);
        prop_assert_eq!(each, active.collect::<Vec<_>>());
        let changes = rules.iter().filter_map(|rule| rule.order).flat_map(|(from, to)| [from, to]).flatten();
        let next = changes.filter(|&at| at > now).min();
        prop_assert_eq!(set.next_change(UnixTime(now)).map(|at| at.0), next);
    }
}

#[test]
fn a_name_listed_a_hundred_thousand_times_is_looked_at_once() {
    let name = Name::parse("example.com").expect("a name");
    let rule = Plain { list: 0, name: name.clone(), scope: Scope::Subtree, allow: false, order: None };
    let rules = vec![rule; 100_000];
    for (plain, table) in [(1 << 17, 1 << 17), (1000, 1 << 17), (1000, 1000)] {
        let tuning = build::Tuning { table, ..build::Tuning::default() };
        let set = Set::tuned(parts(&rules, 50_000, plain), UnixTime(0), tuning).expect("few rules");
        assert_eq!((set.size().rules, set.size().names), (100_000, 1));
        let mut buf = NameBuf::new();
        buf.set_wire(name.wire()).expect("a name");
        let (mut shown, mut all) = (Vec::new(), 0);
        set.matches(&buf, |found| shown.push(set.rule(found.id).line));
        set.all(&buf, |_| all += 1);
        assert_eq!((shown, all), (vec![0], 100_000), "the first by line decides");
    }
}

/// Names as numbers, two hundred thousand of them: what is made above the real limits, against arithmetic.
#[test]
fn a_large_list_is_exact() {
    let name = |number: u32| Name::parse(&format!("{}.{}.example", number % 7, number * 3)).expect("a name");
    let plain = |list, number| Plain { list, name: name(number), scope: Scope::Exact, allow: false, order: None };
    let mut rules: Vec<_> = (0..200_000).rev().map(|number| plain(0, number)).collect();
    rules.extend((0..200_000).step_by(1000).map(|number| plain(1, number)));
    let set = Set::build(parts(&rules, 1 << 20, 1 << 17), UnixTime(0)).expect("few rules");
    assert!(matches!(set.index.lookup, Lookup::Map { .. }));
    assert_eq!((set.size().rules, set.size().names), (200_200, 200_000));
    let found = |name: &Name| {
        let mut buf = NameBuf::new();
        buf.set_wire(name.wire()).expect("a name");
        let mut lines = Vec::new();
        set.matches(&buf, |found| lines.push(set.rule(found.id).line));
        lines
    };
    for number in 0..200_000 {
        let mut lines = vec![199_999 - number];
        if number % 1000 == 0 {
            lines.push(200_000 + number / 1000);
        }
        assert_eq!(found(&name(number)), lines, "{number}");
        for (front, stem) in [(number % 7, number * 3 + 1), (number % 7 + 1, number * 3)] {
            let stranger = Name::parse(&format!("{front}.{stem}.example")).expect("a name");
            assert!(found(&stranger).is_empty(), "{stranger}");
        }
    }
}

#[test]
fn an_empty_set_answers() {
    let set = Set::build(Vec::new(), UnixTime(0)).expect("no rules");
    let mut buf = NameBuf::new();
    set.matches(&buf, |_| panic!("nothing is listed"));
    buf.parse("example.com").expect("a name");
    set.matches(&buf, |_| panic!("nothing is listed"));
    assert_eq!(set.size(), Size { rules: 0, names: 0, bytes: 8 });
}

proptest! {
    #[test]
    fn held_rules_are_as_if_they_were_not_there(
        rules in proptest::collection::vec((some_rule(), any::<bool>()), 0..40),
        names in proptest::collection::vec(some_name(), 1..20),
        chunk in 1..8_usize,
        plain in prop_oneof![Just(0), Just(1000)],
        tuning in some_tuning(),
    ) {
        let all: Vec<Plain> = rules.iter().map(|(rule, _)| rule.clone()).collect();
        let mut parts = parts(&all, chunk, plain);
        for part in &mut parts {
            let held = |line: u32| rules[line as usize].1;
            part.held = (0..part.rules.len() as u32).filter(|&number| held(part.rules.rule(number).line)).collect();
        }
        let set = Set::tuned(parts, UnixTime(0), tuning).expect("few rules");
        let lines = |found: Vec<u32>| {
            let mut lines: Vec<u32> = found.into_iter().map(|id| set.rule(id).line).collect();
            lines.sort_unstable();
            lines
        };
        let mut each = Vec::new();
        set.each(|rule, _| each.push(rule.id));
        let free: Vec<u32> = (0..).zip(&rules).filter(|(_, (rule, held))| rule.active(0) && !held).map(|(at, _)| at).collect();
        prop_assert_eq!(lines(each), free);
        for name in names {
            let mut buf = NameBuf::new();
            buf.set_wire(name.wire()).expect("a name");
            let mut found = Vec::new();
            set.all(&buf, |rule| found.push(rule.id));
            let mut expected = walk(&all, &name, 0);
            expected.retain(|&at| !rules[at as usize].1);
            prop_assert_eq!(lines(found), expected, "{}", name);
        }
    }
}
