//! What is asked, and that nothing that is enforced is forgotten: held against a walk over all rules.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::cli::probe::receipt::shown;
use crate::cli::probe::testing::{List, NOW, snapshot};
use crate::list::Format;
use crate::rule::Order;
use crate::set::Match;

/// All names of this snapshot.
fn all(snapshot: &Snapshot) -> Names<'_> {
    Names { snapshot: Some(snapshot), named: None, lists: Vec::new(), orders: Vec::new(), seed: 7, now: NOW }
}

/// What is asked, `list name`, a random label as `?`.
fn asked(names: &Names<'_>, sample: Option<Sample>) -> Vec<String> {
    let mut cursor = names.cursor(sample);
    let mut asked = Vec::new();
    while let Some(picked) = cursor.next() {
        for name in picked.names {
            let text = shown(name.wire());
            let text = match text.split_once('.') {
                Some((label, rest)) if label.starts_with("probe-") => format!("?.{rest}"),
                _ => text,
            };
            asked.push(format!("{} {text}", picked.list));
        }
    }
    asked
}

#[test]
fn scopes_exceptions_shadow_lists_orders_and_repeats() {
    let later = Order { id: "late".into(), effective: Some(UnixTime(2_000)), ..Order::default() };
    let now = Order { id: "now".into(), ..Order::default() };
    let first = "a.example\n=b.example\n*.c.example\na.example\nok.example\nhalf.example\n";
    let zone = "$TTL 60\n@ SOA a. b. 1 1 1 1 1\n@ NS a.\np.example CNAME rpz-passthru.\nz.example CNAME .\n";
    let snapshot = snapshot(&[
        List::new(first),
        List { mode: Mode::Shadow, ..List::new("shadow.example\n") },
        List { role: Role::Allow, ..List::new("ok.example\n=half.example\n") },
        List { order: Some(later), ..List::new("later.example\n") },
        List { order: Some(now), ..List::new("d.example\na.example\n") },
        List { format: Format::Rpz, ..List::new(zone) },
    ]);
    let names = all(&snapshot);
    let expected = [
        "0 a.example",
        "0 ?.a.example",
        "0 b.example",
        "0 ?.c.example",
        "0 ?.half.example",
        "4 d.example",
        "4 ?.d.example",
        "5 z.example",
    ];
    assert_eq!(asked(&names, None), expected);
    let census = names.census();
    assert_eq!((census.patterns, census.names), (6, 8));
    assert_eq!((census.repeated, census.excepted, census.not_in_force, census.too_long), (2, 3, 1, 0));
    // What is chosen is asked even if it stands further up as well.
    let list = Names { lists: vec![4], ..all(&snapshot) };
    assert_eq!(asked(&list, None), ["4 d.example", "4 ?.d.example", "4 a.example", "4 ?.a.example"]);
    let order = Names { orders: vec!["now".into()], ..all(&snapshot) };
    assert_eq!(asked(&order, None), asked(&list, None));
}

#[test]
fn samples_and_labels_are_the_same_with_the_same_seed() {
    let text: String = (0..500).map(|n| format!("n{n}.example\n")).collect();
    let snapshot = snapshot(&[List::new(&text)]);
    let draw = |seed| {
        let names = Names { seed, ..all(&snapshot) };
        let census = names.census();
        let mut cursor = names.cursor(Some(Sample::new(20, census.patterns, seed)));
        let mut drawn = Vec::new();
        while let Some(picked) = cursor.next() {
            drawn.extend(picked.names);
        }
        drawn
    };
    assert_eq!(draw(1).len(), 40);
    assert_eq!(draw(1), draw(1));
    assert_ne!(draw(1), draw(2));
}

#[test]
fn given_names_are_asked_whatever_the_lists_say() {
    let snapshot = snapshot(&[List::new("a.example\n"), List { role: Role::Allow, ..List::new("b.example\n") }]);
    let spec = crate::list::Spec::new("names", "-".into(), Format::Domains);
    let given = crate::list::parse(&spec, &"-".into(), b"=a.example\nb.example\n=c.example\n").expect("a list");
    let names = Names { named: Some(&given.rules), ..all(&snapshot) };
    let expected = ["a.example", "b.example", "?.b.example", "c.example"].map(|name| format!("{NAMED} {name}"));
    assert_eq!(asked(&names, None), expected);
}

#[test]
fn a_name_as_long_as_can_be_has_nothing_below() {
    let label = "a".repeat(63);
    let long = [&label[..], &label, &label, &label[..61]].join(".");
    let snapshot = snapshot(&[List::new(&format!("{long}\n*.{long}\n"))]);
    let census = all(&snapshot).census();
    assert_eq!((census.patterns, census.names, census.too_long), (1, 1, 2));
}

proptest! {
    /// The stupid twin: every pattern in force that blocks is asked once, for its first list, unless all its names pass.
    #[test]
    fn nothing_enforced_is_forgotten(
        rules in proptest::collection::vec((0..4_usize, 0..3_usize, "[ab](\\.[ab]){0,2}"), 1..24),
    ) {
        let mut texts = [const { String::new() }; 4];
        for (list, scope, name) in &rules {
            texts[*list].push_str(&format!("{}{name}.example\n", ["", "=", "*."][*scope]));
        }
        // A file without entries is refused.
        let lists: Vec<List<'_>> = texts
            .iter()
            .enumerate()
            .map(|(at, text)| List {
                role: if at == 2 { Role::Allow } else { Role::Block },
                mode: if at == 1 { Mode::Shadow } else { Mode::Enforce },
                ..List::new(if text.is_empty() { "=unused.example\n" } else { text })
            })
            .collect();
        let snapshot = snapshot(&lists);
        let names = all(&snapshot);
        let mut expected = Vec::new();
        let mut seen = BTreeSet::new();
        snapshot.set().each(|found: Match<'_>, name: &NameBuf| {
            let wire = name.wire().to_vec();
            if matches!(found.list, 1 | 2) || !seen.insert((wire.clone(), found.kind.scope)) {
                return;
            }
            let mut name = NameBuf::new();
            name.set_wire(&wire).expect("a name");
            let mut below = NameBuf::new();
            below.push_label(b"never-heard-of").expect("a label");
            crate::name::labels(&wire).for_each(|label| below.push_label(label).expect("a label"));
            for (which, shown, wanted) in [
                (&name, shown(&wire), found.kind.scope != Scope::Below),
                (&below, format!("?.{}", shown(&wire)), found.kind.scope != Scope::Exact),
            ] {
                if wanted && snapshot.decide(which).blocked().is_some() {
                    expected.push(format!("{} {shown}", found.list));
                }
            }
        });
        prop_assert_eq!(asked(&names, None), expected.clone());
        prop_assert_eq!(names.census().names, expected.len() as u64);
    }
}
