//! The ledger against its stupid twin, and what an operator asks of it one by one.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::audit::Why;
use crate::gate::Verdict;
use crate::limit::Acl;
use crate::list::FileReport;
use crate::name::{Name, NameBuf};
use crate::policy::{Answer, AnswerMode, AnswerSettings, ListPolicy};
use crate::reload::report::{FileState, GateReport, ListReport, State};
use crate::rule::{Effect, Kind, RulesBuilder, Scope};
use crate::set::Part;
use crate::snapshot::Snapshot;

/// A rule as the twin knows it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Plain {
    list: u16,
    file: u8,
    allow: bool,
    id: u8,
    dates: [Option<i64>; 4],
    scope: Scope,
    name: String,
}

/// `effective`, `deadline`, `expires`, `revoked`.
fn order(id: u8, dates: [Option<i64>; 4]) -> Order {
    let [effective, deadline, expires, revoked] = dates.map(|date| date.map(UnixTime));
    Order { id: id.to_string(), authority: "A".into(), effective, deadline, expires, revoked, ..Order::default() }
}

/// Lists in the modes given; a file of a list for each of `file`.
fn snapshot(rules: &[Plain], modes: &[Mode], now: i64) -> Snapshot {
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
    let policies = modes.iter().enumerate().map(|(slot, &mode)| ListPolicy {
        name: format!("list{slot}").into(),
        role: Role::Block,
        mode,
        answer: Answer::new(&answer),
        slot,
    });
    let mut files: BTreeMap<(u16, u8), RulesBuilder> = BTreeMap::new();
    let mut name = NameBuf::new();
    for (line, rule) in (1..).zip(rules) {
        let path = format!("list{}/file{}", rule.list, rule.file);
        let builder = files.entry((rule.list, rule.file)).or_insert_with(|| RulesBuilder::new(path.into(), 64));
        let order = Some(builder.order(order(rule.id, rule.dates)));
        let effect = if rule.allow { Effect::Allow } else { Effect::Block };
        name.parse(&rule.name).expect("a name");
        assert!(builder.push(&name, line, Kind { scope: rule.scope, effect, order }));
    }
    let parts = files.into_iter().map(|((list, _), builder)| Part::new(list, Arc::new(builder.build())));
    Snapshot::compile(1, policies.collect(), parts.collect(), Acl::default(), UnixTime(now)).expect("few rules")
}

/// A ledger without anything to tell of files.
fn ledger(rules: &[Plain], modes: &[Mode], now: i64) -> Ledger {
    Ledger::new(&snapshot(rules, modes, now), &[], UnixTime(now))
}

/// A rule, with its order's dates.
fn rule(list: u16, id: u8, dates: [Option<i64>; 4], name: &str) -> Plain {
    Plain { list, file: id, allow: false, id, dates, scope: Scope::Subtree, name: name.into() }
}

/// What is told of a list with these files.
fn report(files: Vec<FileState>) -> ListReport {
    ListReport {
        name: "list0".into(),
        source: "list0".into(),
        role: Role::Block,
        mode: Mode::Enforce,
        state: State::Fresh,
        files,
        entries: 1,
        rejected: 4,
        error: None,
        refused: None,
        trial: None,
        pinned: None,
        gate: GateReport::default(),
        took: Duration::ZERO,
    }
}

/// Two that enforce.
const BOTH: [Mode; 2] = [Mode::Enforce, Mode::Enforce];

/// The only order there is.
fn only(ledger: &Ledger) -> &Entry {
    assert_eq!(ledger.entries().len(), 1, "{ledger:?}");
    &ledger.entries()[0]
}

#[test]
fn an_order_in_several_files_and_lists_is_one_and_what_they_differ_on_is_told() {
    let mut rules = vec![
        rule(0, 1, [None; 4], "a.example"),
        rule(0, 1, [None; 4], "b.example"),
        rule(1, 1, [None, None, Some(50), None], "b.example"),
        rule(1, 1, [None, None, Some(50), None], "c.example"),
    ];
    rules[3].file = 9;
    let ledger = ledger(&rules, &BOTH, 10);
    let entry = only(&ledger);
    assert_eq!((entry.names, entry.enforced, entry.lists(), entry.files().len()), (3, 3, vec![0, 1], 3));
    let conflicts = entry.conflicts(&ledger);
    assert_eq!(conflicts.len(), 1, "{conflicts:?}");
    let told: Vec<_> = conflicts[0].values.iter().map(|(value, list, file)| (&**value, &**list, &**file)).collect();
    assert_eq!(told, [("", "list0", "list0/file1"), ("1970-01-01T00:00:50Z", "list1", "list1/file1")]);
    assert_eq!(conflicts[0].field, "expires");
    assert_eq!(entry.state(UnixTime(60)), OrderState::InForce, "one file still asks for it");
    let (places, count) = ledger.names_of(entry, 2);
    assert_eq!((places.len(), count, &*places[1].pattern, places[1].line), (2, 4, "b.example", 2));
    let numbers = ledger.numbers(UnixTime(10), Duration::ZERO);
    assert_eq!((numbers.in_force, numbers.conflicts, numbers.next_change), (1, 1, Some(UnixTime(50))));
}

#[test]
fn a_deadline_is_a_clock_for_what_is_not_enforced() {
    const WARN: Duration = Duration::from_secs(10);
    let due = [None, Some(100), None, None];
    let standings = |ledger: &Ledger| [89, 90, 99, 100].map(|now| only(ledger).standing(UnixTime(now), WARN));
    use Standing::{Due, Fine, Overdue};
    let whole = ledger(&[rule(0, 1, due, "a.example")], &BOTH, 0);
    assert_eq!(standings(&whole), [Fine; 4]);
    let shadow = ledger(&[rule(0, 1, due, "a.example")], &[Mode::Shadow], 0);
    assert_eq!(standings(&shadow), [Fine, Due, Due, Overdue]);
    assert_eq!(only(&shadow).missing(&shadow, UnixTime(0)), "1 name only in shadow mode (list list0)");
    assert_eq!(shadow.next_change(UnixTime(0), WARN), Some(UnixTime(90)));
    assert_eq!(shadow.next_change(UnixTime(90), WARN), Some(UnixTime(100)));
    let numbers = shadow.numbers(UnixTime(100), WARN);
    assert_eq!((numbers.due, numbers.overdue, numbers.alerts.len(), numbers.next_change), (0, 1, 1, None));
    // The other list has it, too.
    let rules = [rule(0, 1, due, "a.example"), rule(1, 1, due, "a.example")];
    assert_eq!(standings(&ledger(&rules, &[Mode::Shadow, Mode::Enforce], 0)), [Fine; 4]);
    let late = ledger(&[rule(0, 1, [Some(120), Some(100), None, None], "a.example")], &BOTH, 0);
    assert_eq!(standings(&late), [Fine, Due, Due, Overdue]);
    assert!(only(&late).missing(&late, UnixTime(0)).contains("not effective before 1970-01-01T00:02:00Z"));
    let soon = ledger(&[rule(0, 1, [Some(95), Some(100), None, None], "a.example")], &BOTH, 0);
    assert_eq!(standings(&soon), [Fine; 4], "it will be, by itself");
    let over = ledger(&[rule(0, 1, [None, Some(100), None, Some(50)], "a.example")], &[Mode::Shadow], 60);
    assert_eq!(standings(&over), [Fine; 4], "a revoked order asks for nothing");
}

#[test]
fn an_allow_rule_that_takes_a_name_back_is_a_gap_and_an_exception_below_it_is_none() {
    let gaps = |allowed: &str, scope| {
        let allow = Plain { allow: true, scope, ..rule(1, 7, [None; 4], allowed) };
        let ledger = ledger(&[rule(0, 1, [None; 4], "a.example"), allow], &BOTH, 0);
        (only(&ledger).enforced, only(&ledger).gaps.excepted)
    };
    assert_eq!(gaps("a.example", Scope::Exact), (0, 1));
    assert_eq!(gaps("a.example", Scope::Below), (0, 1));
    assert_eq!(gaps("example", Scope::Subtree), (0, 1));
    assert_eq!(gaps("www.a.example", Scope::Subtree), (1, 0));
    assert_eq!(gaps("b.example", Scope::Subtree), (1, 0));
}

#[test]
fn what_the_gate_holds_is_named_and_not_enforced() {
    let rules =
        [rule(0, 1, [None, Some(5), None, None], "a.example"), rule(0, 1, [None, Some(5), None, None], "b.example")];
    let with = |held: &[u32], reports: &[ListReport]| {
        let whole = snapshot(&rules, &BOTH, 0);
        let part = Part { held: held.into(), ..whole.set().parts()[0].clone() };
        let held = Snapshot::compile(1, whole.lists().to_vec(), vec![part], Acl::default(), UnixTime(0));
        Ledger::new(&held.expect("few rules"), reports, UnixTime(0))
    };
    let (held, free) = (with(&[1], &[]), with(&[], &[]));
    let entry = only(&held);
    assert_eq!((entry.names, entry.enforced, entry.gaps.held), (2, 1, 1));
    assert_eq!(entry.missing(&held, UnixTime(0)), "1 name held by the gate");
    assert_eq!(entry.standing(UnixTime(5), Duration::ZERO), Standing::Overdue);
    assert_eq!(held.names_of(entry, 9).1, 2);
    let decided = |verdict| crate::gate::Held {
        list: "list0".into(),
        file: "list0/file1".into(),
        line: 2,
        pattern: "b.example".into(),
        check: "popular",
        reason: String::new(),
        instead: None,
        decided: Some(crate::gate::Decision {
            list: "list0".into(),
            subject: crate::gate::Subject::Pattern("b.example".into()),
            verdict,
            by: "me".into(),
            reason: "a typing error".into(),
            time: jiff::Timestamp::UNIX_EPOCH,
        }),
    };
    let looked_at = |verdict| {
        let entries = [decided(verdict)].into();
        let report = ListReport { gate: GateReport { entries, ..GateReport::default() }, ..report(Vec::new()) };
        with(&[1], &[report])
    };
    let dismissed = looked_at(Verdict::Dismissed);
    let entry = only(&dismissed);
    assert_eq!((entry.names, entry.enforced, entry.gaps, entry.dismissed), (2, 1, Gaps::default(), 1));
    assert_eq!(entry.missing(&dismissed, UnixTime(0)), "1 name dismissed by an operator");
    assert_eq!(entry.standing(UnixTime(5), Duration::ZERO), Standing::Fine, "somebody has looked at it");
    assert_eq!(only(&looked_at(Verdict::Released)).gaps.held, 1, "released, and held again before it is in force");
    let told = |before, after| -> Vec<(Turn, String)> {
        let found = changes(before, UnixTime(0), after, UnixTime(0));
        found.into_iter().map(|change| (change.turn, change.names.sample[0].to_string())).collect()
    };
    assert_eq!(told(&held, &free), [(Turn::InForce, "b.example".to_owned())]);
    assert_eq!(told(&free, &held), [(Turn::Lifted, "b.example".to_owned())]);
}

#[test]
fn what_was_rejected_or_refused_keeps_an_order_from_being_enforced_as_a_whole() {
    let named = Arc::new(order(1, [None; 4]));
    let unread = Arc::new(order(2, [None, Some(5), None, None]));
    let file = |path: &str, order: &Arc<Order>, state: State| FileState {
        path: path.into(),
        sha256: None,
        accepted: Some(UnixTime(3)),
        state,
        report: Arc::new(FileReport {
            format: Some(Format::Orders),
            rejected_of: vec![(Arc::clone(order), 2)],
            ..FileReport::default()
        }),
    };
    let why =
        || crate::reload::LoadError::Refused { path: "x".into(), why: Arc::new(crate::list::Refusal::NotRecognised) };
    let files = vec![
        file("list0/file1", &named, State::LastGood { why: why(), since: UnixTime(3) }),
        file("list0/file2", &unread, State::NotUsed { why: why() }),
    ];
    let report = report(files);
    let snapshot = snapshot(&[rule(0, 1, [None; 4], "a.example")], &BOTH, 0);
    let ledger = Ledger::new(&snapshot, &[report], UnixTime(0));
    let [first, second] = ledger.entries() else { panic!("{ledger:?}") };
    assert_eq!((first.names, first.enforced), (1, 1));
    assert_eq!(first.gaps, Gaps { rejected: 2, refused: 1, ..Gaps::default() });
    let source = ledger.source(first.files()[0]).expect("its file");
    assert_eq!((source.accepted, source.refused), (Some(UnixTime(3)), true));
    assert_eq!((second.id(), second.names, second.gaps.rejected), ("2", 0, 2), "known though nothing of it is used");
    assert_eq!(second.standing(UnixTime(5), Duration::ZERO), Standing::Overdue);
    let missing = second.missing(&ledger, UnixTime(5));
    assert_eq!(missing, "2 entries rejected as no usable names; 1 file whose present content is refused");
}

#[test]
fn each_change_says_what_made_it() {
    let on = |id, dates| rule(0, id, dates, &format!("n{id}.example"));
    let before = [
        on(1, [Some(15), None, None, None]),
        on(2, [None, None, Some(15), None]),
        on(3, [None, None, None, Some(15)]),
        on(4, [None; 4]),
        on(5, [None; 4]),
        rule(1, 6, [None; 4], "n6.example"),
    ];
    let mut after = before.to_vec();
    // Order 4 loses its file, 5 is revoked by a new version, 7 is new.
    after[4].dates[3] = Some(12);
    after.remove(3);
    after.push(on(7, [None; 4]));
    let told = |before: &Ledger, then, after: &Ledger, now| -> Vec<(String, Turn, Why)> {
        let found = changes(before, UnixTime(then), after, UnixTime(now));
        found.into_iter().map(|change| (change.order.id.clone(), change.turn, change.reason)).collect()
    };
    let modes = [Mode::Enforce, Mode::Shadow];
    let (old, new) = (ledger(&before, &modes, 10), ledger(&after, &BOTH, 20));
    use Turn::{InForce, Lifted};
    let expected = [
        ("1", InForce, Why::Effective),
        ("2", Lifted, Why::Expired),
        ("3", Lifted, Why::Revoked),
        ("4", Lifted, Why::ListVersion),
        ("5", Lifted, Why::Revoked),
        ("6", InForce, Why::Mode),
        ("7", InForce, Why::ListVersion),
    ];
    assert_eq!(told(&old, 10, &new, 20), expected.map(|(id, turn, why)| (id.to_owned(), turn, why)));
    let by_time = told(&old, 10, &old, 20);
    assert_eq!(by_time, expected[..3].iter().map(|&(id, turn, why)| (id.to_owned(), turn, why)).collect::<Vec<_>>());
    let start = told(&Ledger::default(), 10, &old, 10);
    assert_eq!(start.len(), 4);
    assert!(start.iter().all(|(_, turn, why)| (*turn, *why) == (InForce, Why::Started)));
    let gone = told(&old, 10, &ledger(&before, &[], 10), 10);
    assert!(gone.len() == 4 && gone.iter().all(|(_, turn, why)| (*turn, *why) == (Lifted, Why::ListConfigured)));
    assert_eq!(told(&old, 10, &old, 10), []);
}

/// Some rule of few names, files, orders and dates.
fn any_rule() -> impl Strategy<Value = Plain> {
    let date = || proptest::option::weighted(0.3, 0_i64..20);
    let scope = prop_oneof![Just(Scope::Subtree), Just(Scope::Exact), Just(Scope::Below)];
    let name = prop_oneof![Just("a.example"), Just("b.a.example"), Just("b.example")];
    (0_u16..3, 0_u8..2, prop::bool::weighted(0.2), 0_u8..3, [date(), date(), date(), date()], scope, name).prop_map(
        |(list, file, allow, id, dates, scope, name)| Plain { list, file, allow, id, dates, scope, name: name.into() },
    )
}

/// The modes of three lists.
fn any_modes() -> impl Strategy<Value = Vec<Mode>> {
    prop::collection::vec(prop_oneof![Just(Mode::Enforce), Just(Mode::Shadow)], 3)
}

/// A pattern as it is written.
fn written(rule: &Plain) -> String {
    match rule.scope {
        Scope::Subtree => rule.name.clone(),
        Scope::Exact => format!("={}", rule.name),
        Scope::Below => format!("*.{}", rule.name),
    }
}

/// Whether the order of a rule is in force.
fn acts(rule: &Plain, now: i64) -> bool {
    order(rule.id, rule.dates).state(UnixTime(now)) == OrderState::InForce
}

/// Order, list and pattern of all that block, whatever else is said of them.
fn blocking(rules: &[Plain], modes: &[Mode], now: i64) -> BTreeSet<(String, String, String)> {
    let mut found = BTreeSet::new();
    for rule in rules.iter().filter(|rule| !rule.allow && acts(rule, now)) {
        if modes[usize::from(rule.list)] == Mode::Enforce {
            found.insert((rule.id.to_string(), format!("list{}", rule.list), written(rule)));
        }
    }
    found
}

/// Whether an enforced allow rule leaves the name of `rule`, or all below it, to everybody.
fn excepted(rule: &Plain, rules: &[Plain], modes: &[Mode], now: i64) -> bool {
    let name = |text: &str| Name::parse(text).expect("a name");
    let own = name(&rule.name);
    let (mut itself, mut below) = (false, false);
    for other in rules.iter().filter(|rule| rule.allow && acts(rule, now)) {
        let theirs = name(&other.name);
        if modes[usize::from(other.list)] == Mode::Enforce && own.is_at_or_below(&theirs) {
            itself |= other.scope == Scope::Subtree || (other.scope == Scope::Exact) == (own == theirs);
            below |= other.scope != Scope::Exact;
        }
    }
    match rule.scope {
        Scope::Exact => itself,
        Scope::Below => below,
        Scope::Subtree => itself || below,
    }
}

proptest! {
    #[test]
    fn names_and_what_is_enforced_of_them_are_as_a_walk_says(
        rules in prop::collection::vec(any_rule(), 0..12), modes in any_modes(), now in 0_i64..20,
    ) {
        let ledger = ledger(&rules, &modes, now);
        let ids: BTreeSet<u8> = rules.iter().filter(|rule| !rule.allow).map(|rule| rule.id).collect();
        prop_assert_eq!(ledger.entries().len(), ids.len());
        for (entry, id) in ledger.entries().iter().zip(ids) {
            let own = || rules.iter().filter(|rule| !rule.allow && rule.id == id);
            let names: BTreeSet<String> = own().map(written).collect();
            let enforced: BTreeSet<String> = own()
                .filter(|rule| modes[usize::from(rule.list)] == Mode::Enforce && acts(rule, now))
                .filter(|rule| !excepted(rule, &rules, &modes, now))
                .map(written)
                .collect();
            prop_assert_eq!(entry.id(), id.to_string());
            prop_assert_eq!((entry.names, entry.enforced), (names.len() as u64, enforced.len() as u64));
            let (places, count) = ledger.names_of(entry, usize::MAX);
            prop_assert_eq!(places.len() as u64, count);
            let found: BTreeSet<String> = places.into_iter().map(|place| place.pattern).collect();
            prop_assert_eq!(found, names);
            let states = own().map(|rule| order(id, rule.dates).state(UnixTime(now)));
            prop_assert_eq!(
                entry.state(UnixTime(now)) == OrderState::InForce,
                states.into_iter().any(|state| state == OrderState::InForce)
            );
        }
    }

    #[test]
    fn changes_are_what_blocks_now_and_did_not_and_the_other_way_round(
        before in prop::collection::vec(any_rule(), 0..10), after in prop::collection::vec(any_rule(), 0..10),
        keep in 0_usize..10, modes in [any_modes(), any_modes()], then in 0_i64..20, now in 0_i64..20,
    ) {
        let mut after = after;
        after.extend(before.iter().take(keep).cloned());
        let (old, new) = (ledger(&before, &modes[0], then), ledger(&after, &modes[1], now));
        let (blocked, blocks) = (blocking(&before, &modes[0], then), blocking(&after, &modes[1], now));
        let mut told = BTreeSet::new();
        for change in changes(&old, UnixTime(then), &new, UnixTime(now)) {
            prop_assert!(change.names.count > 0 && change.names.count as usize == change.names.sample.len());
            for name in &change.names.sample {
                let what = (change.order.id.clone(), change.list.to_string(), name.to_string());
                prop_assert!(told.insert((change.turn, what)), "told twice");
            }
        }
        let begun = blocks.difference(&blocked).map(|what| (Turn::InForce, what.clone()));
        let ended = blocked.difference(&blocks).map(|what| (Turn::Lifted, what.clone()));
        prop_assert_eq!(told, begun.chain(ended).collect::<BTreeSet<_>>());
    }
}
