//! What is held, what is not, and what an operator's word changes.

use std::sync::Arc;

use super::*;
use crate::name::NameBuf;
use crate::rule::{Effect, FileRules, Kind, Order, RpzAction, RulesBuilder, Scope};
use crate::util::UnixTime;

/// Rules as a `domains` list writes them, one a line; `@@` in front allows.
fn rules(lines: &[&str]) -> Arc<FileRules> {
    let mut builder = RulesBuilder::new("list.txt".into(), 64);
    let mut name = NameBuf::new();
    for (line, text) in lines.iter().enumerate() {
        let (effect, text) = match text.strip_prefix("@@") {
            Some(text) => (Effect::Allow, text),
            None => (Effect::Block, *text),
        };
        let pattern = Pattern::parse(text).expect("a pattern");
        name.set_wire(pattern.name.wire()).expect("a name");
        assert!(builder.push(&name, line as u32 + 1, Kind { scope: pattern.scope, effect, order: None }));
    }
    Arc::new(builder.build())
}

/// A gate over guarded names, ranks and allow rules.
fn gate(guarded: &[(&str, Why)], ranks: &str, allow: &[&str]) -> Gate {
    let guarded = guarded
        .iter()
        .map(|(text, why)| Guarded { pattern: Pattern::parse(text).expect("a pattern"), why: why.clone() });
    let popular = (!ranks.is_empty())
        .then(|| (Arc::new(Popular::read(ranks.as_bytes(), 100).expect("ranks")), Arc::from("top.csv")));
    Gate::new(Inputs { guarded: guarded.collect(), popular, allow: vec![rules(allow)] })
}

/// Patterns that are held, each with its check.
fn held(gate: &Gate, checks: &Checks, lines: &[&str]) -> Vec<String> {
    let rules = rules(lines);
    let settled = gate.settle("l", &rules, &gate.examine(checks, &rules), &Decisions::default(), 100);
    assert_eq!(settled.held.len(), settled.shown.len());
    settled.shown.iter().map(|held| format!("{} {}", held.pattern, held.check)).collect()
}

const RANKS: &str = "1,google.com\n2,www.medium.com\n3,bitcoin.org\n4,example.co.uk\n";

#[test]
fn what_is_too_broad_is_held() {
    let gate = gate(&[], "", &[]);
    let lines = [
        ".",
        "com",
        "=com",
        "*.kz",
        "lan",
        "=wpad",
        "myshopify.com",
        "=us.com",
        "*.github.io",
        "co.uk",
        "shop.myshopify.com",
        "example.com",
        "compute-1.amazonaws.com",
        "ec2-1-2-3-4.compute-1.amazonaws.com",
        "@@com",
    ];
    let expected = [
        ". top_level",
        "com top_level",
        "=com top_level",
        "*.kz top_level",
        "lan top_level",
        "myshopify.com public_suffix",
        "=us.com public_suffix",
        "*.github.io public_suffix",
        "co.uk public_suffix",
        "compute-1.amazonaws.com public_suffix",
    ];
    assert_eq!(held(&gate, &Checks::default(), &lines), expected);
    let off = Checks { public_suffixes: false, ..Checks::default() };
    assert_eq!(held(&gate, &off, &lines), [""; 0]);
}

#[test]
fn guarded_names_and_their_parents_are_held() {
    let guarded = [
        ("gov.kz", Why::NeverBlock),
        ("=router.lan.example", Why::Host),
        ("zone.example", Why::Zone),
        ("*.below.example", Why::Cname),
    ];
    let gate = gate(&guarded, "", &[]);
    let lines = [
        "kz",
        "gov.kz",
        "=gov.kz",
        "*.gov.kz",
        "egov.gov.kz",
        "notgov.kz",
        "router.lan.example",
        "*.lan.example",
        "=lan.example",
        "x.router.lan.example",
        "a.zone.example",
        "=below.example",
        "a.below.example",
    ];
    let expected = [
        "kz never_block",
        "gov.kz never_block",
        "=gov.kz never_block",
        "*.gov.kz never_block",
        "egov.gov.kz never_block",
        "router.lan.example own_name",
        "*.lan.example own_name",
        "a.zone.example own_name",
        "a.below.example own_name",
    ];
    let checks = Checks { public_suffixes: false, ..Checks::default() };
    assert_eq!(held(&gate, &checks, &lines), expected);
    let foreign = Checks { own_names: false, ..checks };
    assert_eq!(held(&gate, &foreign, &lines), expected[..5]);
}

#[test]
fn popular_domains_are_held_whatever_part_of_them_is_listed() {
    let gate = gate(&[], RANKS, &[]);
    let lines = [
        "google.com",
        "=ads.google.com",
        "medium.com",
        "x.bitcoin.org",
        "notgoogle.com",
        "other.co.uk",
        "a.example.co.uk",
    ];
    let expected = [
        "google.com popular",
        "=ads.google.com popular",
        "medium.com popular",
        "x.bitcoin.org popular",
        "a.example.co.uk popular",
    ];
    assert_eq!(held(&gate, &Checks::default(), &lines), expected);
    assert_eq!(held(&gate, &Checks { top: 1, ..Checks::default() }, &lines), expected[..2]);
    assert_eq!(held(&gate, &Checks { top: 0, ..Checks::default() }, &lines), [""; 0]);
}

#[test]
fn what_allow_rules_take_back_is_counted_and_not_held_again() {
    let gate = gate(&[], RANKS, &["@@google.com", "@@=medium.com"]);
    let rules =
        rules(&["google.com", "drive.google.com", "=x.google.com", "medium.com", "=medium.com", "free.example"]);
    let outcome = gate.examine(&Checks::default(), &rules);
    assert_eq!(outcome.excepted, 4, "suffix-aware: names below an allowed one are allowed");
    let found: Vec<_> = outcome.findings.iter().map(|finding| finding.rule).collect();
    assert_eq!(found, [3], "of medium.com with all below it only a part is allowed");
}

#[test]
fn an_exception_that_may_end_does_not_count() {
    let mut builder = RulesBuilder::new("allow.txt".into(), 64);
    let order = builder.order(Order { id: "1".into(), expires: Some(UnixTime(1)), ..Order::default() });
    let mut name = NameBuf::new();
    name.parse("google.com").expect("a name");
    assert!(builder.push(&name, 1, Kind { scope: Scope::Subtree, effect: Effect::Allow, order: Some(order) }));
    let popular = Popular::read(RANKS.as_bytes(), 100).expect("ranks");
    let allow = vec![Arc::new(builder.build())];
    let gate = Gate::new(Inputs { popular: Some((Arc::new(popular), "top".into())), allow, ..Inputs::default() });
    assert_eq!(held(&gate, &Checks::default(), &["google.com"]), ["google.com popular"]);
}

#[test]
fn only_what_blocks_is_looked_at() {
    let gate = gate(&[("a.example", Why::NeverBlock)], "", &[]);
    for (effect, is_held) in [
        (Effect::Block, true),
        (Effect::Rpz(RpzAction::Nxdomain), true),
        (Effect::Rpz(RpzAction::Drop), true),
        (Effect::Rpz(RpzAction::Passthru), false),
        (Effect::Allow, false),
    ] {
        let mut builder = RulesBuilder::new("zone.rpz".into(), 64);
        let mut name = NameBuf::new();
        name.parse("a.example").expect("a name");
        assert!(builder.push(&name, 1, Kind { scope: Scope::Exact, effect, order: None }));
        let outcome = gate.examine(&Checks::default(), &builder.build());
        assert_eq!(!outcome.findings.is_empty(), is_held);
    }
}

#[test]
fn decisions_release_and_dismiss_but_never_a_guarded_name() {
    let gate = gate(&[("gov.kz", Why::NeverBlockFile("never.txt".into(), 3))], RANKS, &[]);
    let rules = rules(&["google.com", "medium.com", "bitcoin.org", "gov.kz", "x.gov.kz"]);
    let outcome = gate.examine(&Checks::default(), &rules);
    let mut decisions = Decisions::default();
    let settle = |decisions: &Decisions| gate.settle("l", &rules, &outcome, decisions, 100);
    let before = settle(&decisions);
    assert_eq!((before.open, before.held.len()), (5, 5));
    let now = UnixTime(0);
    before.shown[1].decide(&mut decisions, Verdict::Released, "me", "ordered", now).expect("released");
    before.shown[2].decide(&mut decisions, Verdict::Dismissed, "me", "a mistake", now).expect("dismissed");
    let error = before.shown[3].decide(&mut decisions, Verdict::Released, "me", "so there", now).expect_err("never");
    let said = error.to_string();
    assert!(said.contains("remove gov.kz from never_block_file, never.txt:3"), "{said}");
    // Whoever writes it into the file all the same changes nothing.
    decisions.decide("l", "gov.kz", Verdict::Released, "me", "by hand", now).expect("decided");
    before.shown[4].decide(&mut decisions, Verdict::Dismissed, "me", "seen", now).expect("dismissed");
    let after = settle(&decisions);
    assert_eq!((after.open, after.dismissed, after.released), (2, 2, 1));
    assert_eq!(*after.held, [0, 2, 3, 4]);
    let open: Vec<_> = after.shown.iter().filter(|held| held.is_open()).map(|held| held.pattern.as_str()).collect();
    assert_eq!(open, ["google.com", "gov.kz"]);
    assert!(!after.shown[1].is_held() && after.shown[2].is_held() && !after.shown[2].is_open());
    let other = gate.settle("other", &rules, &outcome, &decisions, 2);
    assert_eq!((other.open, other.shown.len()), (5, 2), "another list's decisions are its own; text is bounded");
}

#[test]
fn reasons_name_the_place_to_look_at() {
    let gate = gate(&[("gov.kz", Why::NeverBlock), ("=dns.example", Why::Cname)], RANKS, &[]);
    let tell = |name: &str| {
        let pattern = Pattern::parse(name).expect("a pattern");
        match gate.look(&Checks::default(), pattern.scope, pattern.name.wire()) {
            Look::Held(reason) => gate.tell(reason),
            other => format!("{other:?}"),
        }
    };
    assert_eq!(tell("a.gov.kz"), "it would block gov.kz, which stands in never_block in [gate]");
    assert_eq!(tell("dns.example"), "it would block =dns.example, which stands in `cname` of an answer");
    assert!(tell("www.medium.com").starts_with("its domain is number 2 in top.csv"));
    assert!(tell("us.com").starts_with("a public suffix"));
    assert_eq!(tell("fine.example"), "Pass");
}

#[test]
fn a_feed_with_a_third_of_redundant_entries_is_checked_entry_by_entry() {
    let gate = gate(&[], RANKS, &[]);
    let lines = ["x.example", "a.x.example", "x.example", "google.com", "google.com", "mail.google.com"];
    assert_eq!(held(&gate, &Checks::default(), &lines).len(), 3, "each line is accounted for");
}
