//! Proofs against the plain truth of small zones.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::super::testing::{name, nsec, set, types};
use super::*;

/// A zone `z` by owner; names between are there too.
type Truth = BTreeMap<String, Vec<u16>>;

/// Small zones: names of up to three labels out of few, so that they collide, stand below each other and below wildcards.
fn zones() -> impl Strategy<Value = Truth> {
    let label = prop::sample::select(vec!["a", "b", "c", "*"]);
    let owner = prop::collection::vec(label, 1..4).prop_map(|labels| format!("{}.z", labels.join(".")));
    let kinds = prop::sample::select(vec![
        vec![rtype::A],
        vec![rtype::AAAA],
        vec![rtype::A, rtype::AAAA],
        vec![rtype::CNAME],
        vec![rtype::NS],
    ]);
    prop::collection::btree_map(owner, kinds, 0..6).prop_map(|mut zone| {
        zone.insert("z".into(), vec![rtype::SOA, rtype::NS]);
        // A wildcard delegates nothing, and nothing stands below a delegation.
        let cuts: Vec<String> = zone
            .iter()
            .filter(|(owner, with)| *owner != "z" && with.contains(&rtype::NS))
            .map(|(owner, _)| owner.clone())
            .collect();
        zone.retain(|owner, with| {
            let below = cuts.iter().any(|cut| owner.len() > cut.len() && owner.ends_with(&format!(".{cut}")));
            !(below || owner.starts_with('*') && with.contains(&rtype::NS))
        });
        zone
    })
}

fn questions() -> impl Strategy<Value = String> {
    let label = prop::sample::select(vec!["a", "b", "c", "d"]);
    prop::collection::vec(label, 0..4).prop_map(|labels| {
        let mut labels = labels;
        labels.push("z");
        labels.join(".")
    })
}

/// What is true of a name.
#[derive(Debug, PartialEq, Eq)]
enum Fact {
    /// It has the type, or leads on.
    There,
    /// It is there without it.
    NoData,
    /// It is not there.
    NxDomain,
    /// It is another zone's.
    Away,
}

/// Looks it up, step by step.
fn look(zone: &Truth, asked: &str, qtype: u16) -> Fact {
    let above = |at: &str| at.split_once('.').map(|(_, rest)| rest.to_owned());
    let mut at = Some(asked.to_owned());
    while let Some(here) = at {
        let cut = here != "z" && zone.get(&here).is_some_and(|with| with.contains(&rtype::NS));
        if cut && (here != asked || qtype != rtype::DS) {
            return Fact::Away;
        }
        at = above(&here);
    }
    let exists = |at: &str| zone.keys().any(|owner| owner == at || owner.ends_with(&format!(".{at}")));
    let says = |with: &[u16]| {
        if with.contains(&qtype) || with.contains(&rtype::CNAME) { Fact::There } else { Fact::NoData }
    };
    if exists(asked) {
        return zone.get(asked).map_or(Fact::NoData, |with| says(with));
    }
    let mut closest = above(asked);
    while let Some(here) = closest.take_if(|here| !exists(here)) {
        closest = above(&here);
    }
    let star = format!("*.{}", closest.unwrap_or_default());
    if exists(&star) { zone.get(&star).map_or(Fact::NoData, |with| says(with)) } else { Fact::NxDomain }
}

/// All NSEC of the zone.
fn plain<'a>(apex: &'a Name, zone: &Truth) -> Proofs<'a> {
    let mut owners: Vec<&String> = zone.keys().collect();
    owners.sort_by(|a, b| order(&name(a), &name(b)));
    let mut proofs = Proofs::new(apex);
    for (at, owner) in owners.iter().enumerate() {
        let next = owners[(at + 1) % owners.len()];
        let data = [name(next).wire(), &types(&zone[*owner])].concat();
        proofs.add(&set(&name(owner), rtype::NSEC, &[&data]));
    }
    proofs
}

/// All NSEC3 of the zone, names between included.
fn hashed<'a>(apex: &'a Name, zone: &Truth, opt_out: bool, rounds: u16) -> Proofs<'a> {
    let mut all: BTreeMap<Vec<u8>, Vec<u16>> = BTreeMap::new();
    let salt = [0xab, 0xcd];
    for (owner, with) in zone {
        let mut at = Some(name(owner));
        let mut with = with.clone();
        while let Some(here) = at.filter(|here| here.is_at_or_below(apex)) {
            let hash = Digest::iterated(&salt, here.wire(), DigestType::SHA1, rounds).expect("a hash");
            all.entry(hash.as_ref().to_vec()).or_default().append(&mut with);
            at = here.parent();
        }
    }
    let hashes: Vec<&Vec<u8>> = all.keys().collect();
    let mut proofs = Proofs::new(apex);
    for (at, hash) in hashes.iter().enumerate() {
        let next = hashes[(at + 1) % hashes.len()];
        let owner = format!("{}.z", data_encoding::BASE32HEX_NOPAD.encode(hash).to_ascii_lowercase());
        let [high, low] = rounds.to_be_bytes();
        let mut data = vec![1, u8::from(opt_out), high, low, 2, 0xab, 0xcd, 20];
        data.extend_from_slice(next);
        data.extend(types(&all[*hash]));
        proofs.add(&set(&name(&owner), rtype::NSEC3, &[&data]));
    }
    proofs
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// With all records of a zone at hand, what is true can be proven, and what is not cannot.
    #[test]
    fn only_the_truth_can_be_proven(
        zone in zones(), asked in questions(), qtype in prop::sample::select(vec![rtype::A, rtype::AAAA, rtype::DS])
    ) {
        let apex = name("z");
        prop_assume!(!(asked == "z" && qtype == rtype::DS));
        let at = name(&asked);
        let fact = look(&zone, &asked, qtype);
        for proofs in [plain(&apex, &zone), hashed(&apex, &zone, false, 3)] {
            let none = proofs.deny(&at, qtype, true, &Work::new());
            let no_data = proofs.deny(&at, qtype, false, &Work::new());
            prop_assert_eq!(none.is_ok(), fact == Fact::NxDomain, "{:?} {:?} {:?}", fact, none, proofs);
            prop_assert_eq!(no_data.is_ok(), fact == Fact::NoData, "{:?} {:?} {:?}", fact, no_data, proofs);
            let cut = asked != "z" && zone.get(&asked).is_some_and(|with| with.contains(&rtype::NS));
            if let Ok(denial) = no_data {
                prop_assert_eq!(denial, Denial::NoData { delegation: cut });
            }
        }
    }

    /// With any half of the records, nothing untrue can be proven.
    #[test]
    fn with_fewer_records_nothing_else_can_be_proven(
        zone in zones(), asked in questions(), keep in any::<u16>(), hashing: bool
    ) {
        let apex = name("z");
        let mut proofs = if hashing { hashed(&apex, &zone, false, 0) } else { plain(&apex, &zone) };
        let mut coin = 0;
        proofs.plain.retain(|_| { coin += 1; keep >> (coin % 16) & 1 == 1 });
        proofs.hashed.retain(|_| { coin += 1; keep >> (coin % 16) & 1 == 1 });
        let at = name(&asked);
        let fact = look(&zone, &asked, rtype::A);
        if proofs.deny(&at, rtype::A, true, &Work::new()).is_ok() {
            prop_assert_eq!(&fact, &Fact::NxDomain);
        }
        if proofs.deny(&at, rtype::A, false, &Work::new()).is_ok() {
            prop_assert_eq!(&fact, &Fact::NoData);
        }
    }
}

/// CVE-2023-50868: the work is bounded by making such zones unsigned, and by a purse.
#[test]
fn too_many_rounds_make_a_zone_unsigned() {
    let apex = name("z");
    let zone = Truth::from([("z".to_owned(), vec![rtype::SOA, rtype::NS])]);
    let deny = |rounds, work: &Work| hashed(&apex, &zone, false, rounds).deny(&name("a.z"), rtype::A, true, work);
    assert_eq!(deny(100, &Work::new()), Ok(Denial::NxDomain));
    assert_eq!(deny(101, &Work::new()), Ok(Denial::Costly));
    let spent = Work::new();
    while spent.hash() {}
    assert_eq!(deny(1, &spent).expect_err("no hash left").code, Why::INDETERMINATE);
}

#[test]
fn an_unsigned_delegation_may_stand_in_an_opted_out_gap() {
    let apex = name("z");
    let zone = Truth::from([("z".to_owned(), vec![rtype::SOA, rtype::NS])]);
    let proofs = hashed(&apex, &zone, true, 0);
    assert_eq!(proofs.deny(&name("a.z"), rtype::DS, false, &Work::new()), Ok(Denial::OptOut));
    assert_eq!(proofs.deny(&name("a.z"), rtype::A, true, &Work::new()), Ok(Denial::OptOut));
    let closed = hashed(&apex, &zone, false, 0);
    assert!(closed.deny(&name("a.z"), rtype::DS, false, &Work::new()).is_err());
}

#[test]
fn a_parents_record_says_nothing_of_what_it_delegated() {
    let apex = name("z");
    let mut proofs = Proofs::new(&apex);
    proofs.add(&nsec("a.z", "c.z", &[rtype::NS]));
    assert!(proofs.deny(&name("a.z"), rtype::A, false, &Work::new()).is_err());
    assert!(proofs.deny(&name("b.a.z"), rtype::A, true, &Work::new()).is_err());
    let ds = proofs.deny(&name("a.z"), rtype::DS, false, &Work::new());
    assert_eq!(ds, Ok(Denial::NoData { delegation: true }));
}
