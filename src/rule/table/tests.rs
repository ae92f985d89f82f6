//! A file's rules against their stupid twin: a vector of what was pushed.

use proptest::prelude::*;

use super::*;

#[test]
fn what_went_in_comes_out() {
    let mut builder = RulesBuilder::new("a.txt".into(), 100);
    let order = builder.order(Order { id: "1/25".into(), ..Order::default() });
    let mut name = NameBuf::new();
    for (line, text) in ["a.example", "b.example"].into_iter().enumerate() {
        name.parse(text).expect("a name");
        let kind = Kind { scope: Scope::Subtree, effect: Effect::Block, order: Some(order) };
        assert!(builder.push(&name, line as u32 + 1, kind));
    }
    let rules = builder.build();
    assert_eq!(rules.len(), 2);
    assert_eq!(rules.kinds().len(), 1);
    let second = rules.rule(1);
    assert_eq!((second.name().wire(), second.line), (&b"\x01b\x07example\0"[..], 2));
    assert_eq!(second.order.map(|o| o.id.as_str()), Some("1/25"));
}

/// Names that begin alike and end alike, some long, some of any octets.
fn some_name() -> impl Strategy<Value = NameBuf> {
    let label = prop_oneof![
        6 => "[a-c]{1,3}".prop_map(String::into_bytes),
        2 => (0..3_u8).prop_map(|last| [vec![b'a'; 62], vec![b'a' + last]].concat()),
        1 => proptest::collection::vec(0..4_u8, 1..64),
        1 => proptest::collection::vec(any::<u8>(), 1..4),
    ];
    proptest::collection::vec(label, 0..6).prop_map(|labels| {
        let mut name = NameBuf::new();
        labels.iter().for_each(|label| _ = name.push_label(label));
        name
    })
}

/// Rules of `names`, on lines of which some are left out and some have two; kinds change now and then.
fn built(names: &[NameBuf], plain: usize) -> (FileRules, Vec<u32>) {
    let mut builder = RulesBuilder::with_plain("a.txt".into(), 100, plain);
    let line = |index: usize| (index as u32 / 2) * 300 + 1;
    for (index, name) in names.iter().enumerate() {
        let scope = if index.is_multiple_of(5) { Scope::Exact } else { Scope::Below };
        assert!(builder.push(name, line(index), Kind { scope, effect: Effect::Block, order: None }));
    }
    assert_eq!(builder.len(), names.len());
    (builder.build(), (0..names.len()).map(line).collect())
}

proptest! {
    #[test]
    fn nothing_is_lost_however_it_is_kept(
        // Often the same, and so many that they fill blocks.
        names in proptest::collection::vec(some_name(), 0..6).prop_flat_map(|few| {
            let known = (!few.is_empty()).then(|| proptest::sample::select(few).boxed());
            proptest::collection::vec(known.unwrap_or(some_name().boxed()).prop_union(some_name().boxed()), 0..60)
        }),
        strangers in proptest::collection::vec(some_name(), 0..20),
        plain in prop_oneof![0..20_usize, Just(1000)],
    ) {
        let (rules, lines) = built(&names, plain);
        prop_assert_eq!(rules.len(), names.len());
        let sorted = names.len() > plain.max(1);
        prop_assert_eq!(matches!(rules.names, Names::Sorted(_)), sorted);

        // Pushed on line, with this name and scope: all there, lines in their order.
        let scope = |index: usize| if index.is_multiple_of(5) { Scope::Exact } else { Scope::Below };
        let mut pushed: Vec<_> =
            names.iter().enumerate().map(|(at, name)| (lines[at], name.wire().to_vec(), scope(at))).collect();
        let mut got: Vec<_> = rules.iter().map(|rule| (rule.line, rule.name().wire().to_vec(), rule.kind.scope)).collect();
        prop_assert!(got.is_sorted_by_key(|rule| rule.0));
        if !sorted {
            prop_assert_eq!(&got, &pushed);
        }
        got.sort();
        pushed.sort();
        prop_assert_eq!(got, pushed);

        let mut walk = rules.names();
        let (mut walked, mut name) = (Vec::new(), NameBuf::new());
        while let Some(index) = walk.next(&mut name) {
            prop_assert_eq!(index as usize, walked.len());
            let read = rules.rule(index).name();
            prop_assert_eq!(read.wire(), name.wire());
            walked.push(name.wire().to_vec());
        }
        prop_assert_eq!(walked.len(), names.len());

        // Every name is found where it is, first the first, as whole name and as the end of a longer one.
        for (index, wire) in walked.iter().enumerate() {
            let place = rules.place_of(index as u32);
            prop_assert!(place < rules.places());
            name.set_wire(wire).expect("a name");
            let same = |&other: &usize| walked[other] == *wire && rules.place_of(other as u32) == place;
            let first = (0..walked.len()).find(same).map(|first| first as u32);
            prop_assert_eq!(rules.find(place, &name, 0), first);
            if name.set_wire(&[b"\x01w", wire.as_slice()].concat()).is_ok() {
                prop_assert_eq!(rules.find(place, &name, 1), first);
                let longer = (0..walked.len()).any(|other| walked[other] == name.wire());
                prop_assert!(longer || rules.find(place, &name, 0).is_none());
            }
        }
        for stranger in strangers.iter().filter(|name| !walked.iter().any(|wire| wire == name.wire())) {
            for place in 0..rules.places() {
                prop_assert_eq!(rules.find(place, stranger, 0), None, "{}", stranger);
            }
        }

        // Rules of one name are numbered in the order of the file.
        for pair in 1..walked.len() {
            if walked[pair - 1] == walked[pair] && sorted {
                let line = |index| rules.rule(index as u32).line;
                prop_assert!(line(pair - 1) <= line(pair));
            }
        }
    }
}

/// Runs of the real size, several of them.
#[test]
fn a_hundred_thousand_rules_come_out_sorted() {
    let count = 100_000_u32;
    let mut builder = RulesBuilder::with_plain("a.txt".into(), 100, 50_000);
    let mut name = NameBuf::new();
    // Every number once, in no order.
    let number = |line: u32| u64::from(line) * 48_271 % u64::from(count);
    for line in 0..count {
        name.parse(&format!("n{}.example", number(line))).expect("a name");
        assert!(builder.push(&name, line, Kind { scope: Scope::Exact, effect: Effect::Block, order: None }));
    }
    let rules = builder.build();
    let mut walk = rules.names();
    let (mut keys, mut seen) = (Vec::new(), vec![false; count as usize]);
    while let Some(index) = walk.next(&mut name) {
        let line = rules.rule(index).line;
        assert_eq!(name.to_string(), format!("n{}.example", number(line)));
        assert!(!std::mem::replace(&mut seen[line as usize], true));
        keys.push(name.to_string());
    }
    assert!(keys.is_sorted() && keys.len() == count as usize);
}

#[test]
fn a_file_that_takes_too_much_is_full() {
    let mut builder = RulesBuilder::with_plain("a.txt".into(), 100, 10);
    let mut name = NameBuf::new();
    name.parse("a.example").expect("a name");
    let kind = || Kind { scope: Scope::Exact, effect: Effect::Block, order: None };
    builder.room = 3 * 11 + 8;
    assert!(builder.push(&name, 1, kind()));
    assert!(!builder.push(&name, 2, kind()));
    assert_eq!(builder.build().len(), 1);
}
