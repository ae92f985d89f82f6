//! Validation of whole answers in a world of our own; `tests/process/dnssec.rs` does it with real servers.

use hickory_proto::op::Message as Decoded;
use proptest::prelude::*;

use super::keys::{Keys, signed, tag};
use super::testing::*;
use super::*;
use crate::wire::{flag, rcode, rtype};

/// One more type.
const MX: u16 = 15;

/// What a client sees of a reply.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    rcode: u16,
    authentic: bool,
    answers: usize,
    signatures: usize,
    error: Option<u16>,
}

fn seen(reply: &Reply) -> Seen {
    let message = Decoded::from_vec(&reply.bytes).expect("a message hickory reads");
    let flags = u16::from_be_bytes([reply.bytes[2], reply.bytes[3]]);
    let all = message.answers.iter().chain(&message.authorities);
    let signatures = all.filter(|record| record.record_type() == 46.into()).count();
    let answers = message.answers.iter().filter(|record| record.record_type() != 46.into()).count();
    let edns = message.edns.as_ref().and_then(|edns| edns.options().as_ref().first().cloned());
    let error = edns.map(|(_, option)| {
        let data = Vec::<u8>::try_from(&option).expect("an option");
        u16::from_be_bytes([data[0], data[1]])
    });
    Seen { rcode: flags & 0xf, authentic: flags & flag::AD != 0, answers, signatures, error }
}

fn ask(text: &str, qtype: u16) -> Ask {
    Ask { name: name(text), qtype, qclass: 1, dnssec_ok: false, checking_disabled: false }
}

async fn judged(world: &World, validator: &Validator, ask: &Ask) -> Seen {
    seen(&validator.ask(world, ask, NOW).await.expect("an answer"))
}

/// Root, `test` and `secure.test` signed, `insecure.test` not.
struct Earth {
    root: Zone,
    tld: Zone,
    zone: Zone,
    world: World,
}

fn earth() -> Earth {
    let (root, tld, zone) = (Zone::new("."), Zone::new("test"), Zone::new("secure.test"));
    let mut world = World::default();
    world.keys(&root, Flaw::None);
    world.delegate(&root, &tld);
    world.delegate(&tld, &zone);
    world.no_ds(&tld, "insecure.test", true);
    world.no_ds(&zone, "www.secure.test", false);
    Earth { root, tld, zone, world }
}

const BOGUS: Seen = Seen { rcode: rcode::SERVFAIL, authentic: false, answers: 0, signatures: 0, error: Some(6) };

#[tokio::test]
async fn do_ad_and_cd_by_how_a_zone_stands() {
    let Earth { root, zone, mut world, .. } = earth();
    world.put("www.secure.test", rtype::A, 0, &[zone.sign(a("www.secure.test"), Flaw::None)], &[]);
    world.put("bad.secure.test", rtype::A, 0, &[zone.sign(a("bad.secure.test"), Flaw::Wrong)], &[]);
    // An unsigned zone may have signatures, which nobody vouches for.
    world.put(
        "www.insecure.test",
        rtype::A,
        0,
        &[Zone::new("insecure.test").sign(a("www.insecure.test"), Flaw::None)],
        &[],
    );
    let validator = validator(&root, &[]);
    for (host, good, authentic) in
        [("www.secure.test", true, true), ("www.insecure.test", true, false), ("bad.secure.test", false, false)]
    {
        for dnssec_ok in [false, true] {
            for checking_disabled in [false, true] {
                let ask = Ask { dnssec_ok, checking_disabled, ..ask(host, rtype::A) };
                let got = judged(&world, &validator, &ask).await;
                let whole = Seen {
                    rcode: 0,
                    authentic: authentic && !checking_disabled,
                    answers: 1,
                    signatures: usize::from(dnssec_ok),
                    error: None,
                };
                let expected = if good || checking_disabled { whole } else { BOGUS };
                assert_eq!(got, expected, "{ask:?}");
            }
        }
    }
    let counts = Validations { secure: 2, insecure: 2, bogus: 2, indeterminate: 0 };
    assert_eq!(validator.counts(), counts, "CD=1 is not validated");
}

#[tokio::test]
async fn each_flaw_has_its_extended_error() {
    for (flaw, code) in
        [(Flaw::Wrong, 6), (Flaw::Expired, 7), (Flaw::Early, 8), (Flaw::OtherKey, 9), (Flaw::Missing, 10)]
    {
        let Earth { root, zone, mut world, .. } = earth();
        world.put("www.secure.test", rtype::A, 0, &[zone.sign(a("www.secure.test"), flaw)], &[]);
        let got = judged(&world, &validator(&root, &[]), &ask("www.secure.test", rtype::A)).await;
        assert_eq!(got, Seen { error: Some(code), ..BOGUS }, "{flaw:?} on the record");
        // On the keys, it is the same for all names of the zone.
        let Earth { root, zone, mut world, .. } = earth();
        world.put("www.secure.test", rtype::A, 0, &[zone.sign(a("www.secure.test"), Flaw::None)], &[]);
        world.keys(&zone, flaw);
        let got = judged(&world, &validator(&root, &[]), &ask("www.secure.test", rtype::A)).await;
        assert_eq!(got, Seen { error: Some(code), ..BOGUS }, "{flaw:?} on the keys");
    }
    // Nothing proves that there is nothing.
    let Earth { root, zone, mut world, .. } = earth();
    world.put("no.secure.test", rtype::A, rcode::NXDOMAIN, &[], &[zone.sign(soa("secure.test"), Flaw::None)]);
    let got = judged(&world, &validator(&root, &[]), &ask("no.secure.test", rtype::A)).await;
    assert_eq!(got, Seen { error: Some(12), ..BOGUS });
}

#[tokio::test]
async fn another_key_than_the_parent_vouches_for_is_not_believed() {
    let Earth { root, mut world, .. } = earth();
    let thief = Zone::new("secure.test");
    world.keys(&thief, Flaw::None);
    world.put("www.secure.test", rtype::A, 0, &[thief.sign(a("www.secure.test"), Flaw::None)], &[]);
    let got = judged(&world, &validator(&root, &[]), &ask("www.secure.test", rtype::A)).await;
    assert_eq!(got, Seen { error: Some(9), ..BOGUS });
    // Nor another root.
    let Earth { mut world, zone, .. } = earth();
    world.put("www.secure.test", rtype::A, 0, &[zone.sign(a("www.secure.test"), Flaw::None)], &[]);
    let got = judged(&world, &validator(&Zone::new("."), &[]), &ask("www.secure.test", rtype::A)).await;
    assert_eq!(got, Seen { error: Some(9), ..BOGUS });
}

#[tokio::test]
async fn what_the_parent_does_not_prove_to_be_unsigned_must_be_signed() {
    let Earth { root, tld, mut world, .. } = earth();
    world.put("www.insecure.test", rtype::A, 0, &[a("www.insecure.test")], &[]);
    // Somebody has taken the proof away, and the delegation with it.
    world.put("insecure.test", rtype::DS, 0, &[], &[]);
    let got = judged(&world, &validator(&root, &[]), &ask("www.insecure.test", rtype::A)).await;
    assert_eq!(got, Seen { error: Some(12), ..BOGUS });
    // Or given another one, about a name without a delegation.
    world.no_ds(&tld, "insecure.test", false);
    world.put("www.insecure.test", rtype::DS, rcode::NXDOMAIN, &[], &[]);
    let got = judged(&world, &validator(&root, &[]), &ask("www.insecure.test", rtype::A)).await;
    assert_eq!(got.rcode, rcode::SERVFAIL);
}

#[tokio::test]
async fn nothing_is_validated_below_a_negative_trust_anchor() {
    let Earth { root, zone, mut world, .. } = earth();
    world.put("www.secure.test", rtype::A, 0, &[zone.sign(a("www.secure.test"), Flaw::Wrong)], &[]);
    world.put("no.secure.test", rtype::A, rcode::NXDOMAIN, &[], &[]);
    let validator = validator(&root, &["secure.test"]);
    let got = judged(&world, &validator, &ask("www.secure.test", rtype::A)).await;
    assert_eq!(got, Seen { rcode: 0, answers: 1, error: None, ..BOGUS });
    let got = judged(&world, &validator, &ask("no.secure.test", rtype::A)).await;
    assert_eq!(got, Seen { rcode: rcode::NXDOMAIN, error: None, ..BOGUS });
}

#[tokio::test]
async fn aliases_are_followed_across_zones_to_their_end() {
    let Earth { root, tld, zone, mut world } = earth();
    let other = Zone::new("other.test");
    world.delegate(&tld, &other);
    world.no_ds(&other, "host.other.test", false);
    let alias = || zone.sign(cname("www.secure.test", "host.other.test"), Flaw::None);
    let validator = validator(&root, &[]);
    world.put("www.secure.test", rtype::A, 0, &[alias(), other.sign(a("host.other.test"), Flaw::None)], &[]);
    let got = judged(&world, &validator, &ask("www.secure.test", rtype::A)).await;
    assert_eq!(got, Seen { rcode: 0, authentic: true, answers: 2, signatures: 0, error: None });
    // The end has an address only: its zone proves that, not the zone of the question.
    let denial = || {
        let proof = nsec("host.other.test", "other.test", &[rtype::A, rtype::RRSIG, rtype::NSEC]);
        [other.sign(soa("other.test"), Flaw::None), other.sign(proof, Flaw::None)]
    };
    world.put("www.secure.test", rtype::AAAA, 0, &[alias()], &denial());
    let got = judged(&world, &validator, &ask("www.secure.test", rtype::AAAA)).await;
    assert_eq!(got, Seen { rcode: 0, authentic: true, answers: 1, signatures: 0, error: None });
    // Without the proof, the rest of the chain may have been cut off.
    world.put("www.secure.test", rtype::HTTPS, 0, &[alias()], &[]);
    let got = judged(&world, &validator, &ask("www.secure.test", rtype::HTTPS)).await;
    assert_eq!(got.rcode, rcode::SERVFAIL);
    // The end is not signed, and need not be.
    world.put("www.secure.test", MX, 0, &[zone.sign(cname("www.secure.test", "www.insecure.test"), Flaw::None)], &[]);
    let got = judged(&world, &validator, &ask("www.secure.test", MX)).await;
    assert_eq!(got, Seen { rcode: 0, authentic: false, answers: 1, signatures: 0, error: None });
    // In a circle.
    let circle = [
        zone.sign(cname("x.secure.test", "y.secure.test"), Flaw::None),
        zone.sign(cname("y.secure.test", "x.secure.test"), Flaw::None),
    ];
    world.put("x.secure.test", rtype::A, 0, &circle, &[]);
    let got = judged(&world, &validator, &ask("x.secure.test", rtype::A)).await;
    assert_eq!(got, Seen { error: Some(5), ..BOGUS });
}

/// For whom an answer holds stands in its OPT, whatever else is taken out.
#[tokio::test]
async fn the_opt_is_kept() {
    let Earth { root, zone, mut world, .. } = earth();
    let asked = name("www.secure.test");
    let mut bytes = message(&asked, rtype::A, 0, [&[zone.sign(a("www.secure.test"), Flaw::None)], &[]]);
    bytes[11] = 1;
    // Client subnet 192.0.2.0/24, scope 24.
    let opt = [0, 0, 41, 4, 208, 0, 0, 0x80, 0, 0, 11, 0, 8, 0, 7, 0, 1, 24, 24, 192, 0, 2];
    bytes.extend(opt);
    world.put_bytes("www.secure.test", rtype::A, bytes);
    for negative in [&[][..], &["secure.test"]] {
        let validator = validator(&root, negative);
        let reply = validator.ask(&world, &ask("www.secure.test", rtype::A), NOW).await.expect("an answer");
        assert!(reply.bytes.ends_with(&opt) && reply.bytes[11] == 1, "{negative:?}: {reply:?}");
        let message = Decoded::from_vec(&reply.bytes).expect("a message");
        assert!(message.edns.is_some() && message.answers.len() == 1, "without signatures: {message:?}");
    }
}

#[tokio::test]
async fn a_dname_makes_the_alias_that_is_not_signed() {
    let Earth { root, zone, mut world, .. } = earth();
    let dname = || zone.sign(set(&name("old.secure.test"), rtype::DNAME, &[name("secure.test").wire()]), Flaw::None);
    let end = || zone.sign(a("www.secure.test"), Flaw::None);
    let validator = validator(&root, &[]);
    world.put(
        "www.old.secure.test",
        rtype::A,
        0,
        &[dname(), cname("www.old.secure.test", "www.secure.test"), end()],
        &[],
    );
    let got = judged(&world, &validator, &ask("www.old.secure.test", rtype::A)).await;
    assert_eq!(got, Seen { rcode: 0, authentic: true, answers: 3, signatures: 0, error: None });
    let lie = cname("www.old.secure.test", "www.insecure.test");
    world.put("www.old.secure.test", MX, 0, &[dname(), lie, end()], &[]);
    let got = judged(&world, &validator, &ask("www.old.secure.test", MX)).await;
    assert_eq!(got, BOGUS);
}

#[tokio::test]
async fn a_wildcard_needs_a_proof_that_nothing_closer_is_there() {
    let Earth { root, zone, mut world, .. } = earth();
    let mut made = a("any.secure.test");
    zone.sign_as(&mut made, Flaw::None, 2);
    let validator = validator(&root, &[]);
    world.put("any.secure.test", rtype::A, 0, &[made], &[]);
    let got = judged(&world, &validator, &ask("any.secure.test", rtype::A)).await;
    assert_eq!(got, Seen { error: Some(12), ..BOGUS });
    let mut made = a("any.secure.test");
    zone.sign_as(&mut made, Flaw::None, 2);
    let proof = zone.sign(nsec("*.secure.test", "www.secure.test", &[rtype::A]), Flaw::None);
    world.put("any.secure.test", rtype::A, 0, &[made], &[proof]);
    let got = judged(&world, &validator, &Ask { dnssec_ok: true, ..ask("any.secure.test", rtype::A) }).await;
    assert_eq!(got, Seen { rcode: 0, authentic: true, answers: 1, signatures: 2, error: None });
}

#[tokio::test]
async fn keys_are_asked_for_once() {
    let Earth { root, zone, mut world, .. } = earth();
    world.put("www.secure.test", rtype::A, 0, &[zone.sign(a("www.secure.test"), Flaw::None)], &[]);
    let validator = validator(&root, &[]);
    judged(&world, &validator, &ask("www.secure.test", rtype::A)).await;
    // The record, three sets of keys, two delegations.
    assert_eq!(world.asked.load(Ordering::Relaxed), 6);
    judged(&world, &validator, &ask("www.secure.test", rtype::A)).await;
    assert_eq!(world.asked.load(Ordering::Relaxed), 7);
    // After an hour, at the latest, again.
    let later = NOW + 3600;
    let reply = validator.ask(&world, &ask("www.secure.test", rtype::A), later).await.expect("an answer");
    assert_eq!(seen(&reply).rcode, 0, "signatures hold to the last second");
    assert_eq!(world.asked.load(Ordering::Relaxed), 13);
}

#[tokio::test]
async fn what_is_needed_and_cannot_be_had_is_no_answer() {
    let Earth { root, zone, mut world, .. } = earth();
    world.put("www.secure.test", rtype::A, 0, &[zone.sign(a("www.secure.test"), Flaw::None)], &[]);
    world.put("test", rtype::DS, rcode::SERVFAIL, &[], &[]);
    let validator = validator(&root, &[]);
    let got = judged(&world, &validator, &ask("www.secure.test", rtype::A)).await;
    assert_eq!(got, Seen { error: Some(5), ..BOGUS });
    assert_eq!(validator.counts().indeterminate, 1);
    // It was not remembered.
    let (root2, tld) = (root, Zone::new("test"));
    world.delegate(&root2, &tld);
    let got = judged(&world, &validator, &ask("www.secure.test", rtype::A)).await;
    assert_eq!(got.error, Some(9), "another key of test: its word for secure.test is not signed by it");
}

/// CVE-2023-50387: keys with one tag, and signatures by that tag.
#[test]
fn tries_for_one_set_are_bounded() {
    let zone = Zone::new("secure.test");
    // The tag is a sum of words: their order does not change it.
    let same_tag = (0..16).map(|by| {
        let mut key = zone.public.clone();
        key[4..].rotate_left(2 * by);
        key
    });
    let keys: Vec<Vec<u8>> = same_tag.skip(1).collect();
    assert!(keys.iter().all(|key| tag(key) == tag(&zone.public)));
    let signers: Vec<_> = keys.iter().filter_map(|key| keys::Signer::of_key(&zone.name, key)).collect();
    let data: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
    let mut all = set(&zone.name, rtype::DNSKEY, &data);
    for _ in 0..100 {
        zone.sign_as(&mut all, Flaw::Wrong, 2);
    }
    let work = Work::new();
    let why = Keys::believe(&zone.name, &all, &signers, NOW, &work).expect_err("no key fits");
    assert!(why.text.contains("too many signatures to check"), "{why:?}");
    // One question has a purse for all its sets.
    let good = zone.sign(set(&zone.name, rtype::DNSKEY, &[&zone.public]), Flaw::None);
    let signer = [keys::Signer::of_key(&zone.name, &zone.public).expect("a key")];
    let work = Work::signatures(1);
    assert!(Keys::believe(&zone.name, &good, &signer, NOW, &work).is_ok());
    assert!(Keys::believe(&zone.name, &good, &signer, NOW, &work).is_err());
}

/// Who makes one answer dear must not make a zone bogus to others.
#[tokio::test]
async fn a_purse_that_is_empty_is_no_fault_of_the_zone() {
    let Earth { root, world, .. } = earth();
    let chain = &validator(&root, &[]).chain;
    // Root, test, test's keys; then secure.test; then its keys too: what is found is kept, that it was too much is not.
    for (signatures, enough) in [(3, false), (1, false), (2, true)] {
        let work = Work::signatures(signatures);
        let cx = Context { source: &world, now: NOW, work: &work };
        let standing = chain.standing(&cx, &name("secure.test")).await;
        match standing {
            Ok(chain::Standing::Secure(keys)) => assert!(enough && keys.zone == name("secure.test")),
            Err(Stop::Unknown(why)) => assert!(!enough && why.code == Why::INDETERMINATE, "{why:?}"),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn questions_for_one_answer_are_bounded() {
    let root = Zone::new(".");
    let mut world = World::default();
    world.keys(&root, Flaw::None);
    // A hundred and twenty labels, none of which is a zone.
    let long = vec!["a"; 120].join(".");
    let mut at = name(&long);
    world.put(&long, rtype::A, 0, &[a(&long)], &[]);
    while !at.is_root() {
        let proof = root.sign(nsec(&at.to_string(), "zzz", &[rtype::A]), Flaw::None);
        world.put(&at.to_string(), rtype::DS, 0, &[], &[proof]);
        at = at.parent().expect("not the root");
    }
    let got = judged(&world, &validator(&root, &[]), &ask(&long, rtype::A)).await;
    assert_eq!(got, Seen { error: Some(5), ..BOGUS });
    assert!(world.asked.load(Ordering::Relaxed) < 100, "{:?}", world.asked);
}

fn label() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 1..12)
}

/// A name in wire form, case as it comes.
fn wire_name() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(label(), 0..5).prop_map(|labels| {
        let mut out: Vec<u8> = labels.iter().flat_map(|label| [&[label.len() as u8][..], label].concat()).collect();
        out.push(0);
        out
    })
}

/// Data of one type, names in it.
fn data() -> impl Strategy<Value = (u16, Vec<Vec<u8>>)> {
    let name = wire_name;
    let many = |one: BoxedStrategy<Vec<u8>>| prop::collection::vec(one, 1..4);
    prop_oneof![
        many(prop::collection::vec(any::<u8>(), 4..=4).boxed()).prop_map(|data| (1, data)),
        many(name().boxed()).prop_map(|data| (2, data)),
        many((any::<u16>(), name()).prop_map(|(pref, name)| [&pref.to_be_bytes()[..], &name].concat()).boxed())
            .prop_map(|data| (15, data)),
        many((any::<[u8; 6]>(), name()).prop_map(|(lead, name)| [&lead[..], &name].concat()).boxed())
            .prop_map(|data| (33, data)),
        many((name(), name(), any::<[u8; 20]>()).prop_map(|(a, b, rest)| [&a[..], &b, &rest].concat()).boxed())
            .prop_map(|data| (6, data)),
        many(prop::collection::vec(any::<u8>(), 0..40).boxed()).prop_map(|data| (65_400, data)),
    ]
}

proptest! {
    /// What is signed is what hickory says is signed.
    #[test]
    fn the_signed_form_is_hickorys((rtype, data) in data(), owner in wire_name(), labels in 0usize..5) {
        use hickory_proto::dnssec::rdata::sig::SigInput;
        use hickory_proto::rr::{DNSClass, Name as ProtoName, RData, Record, RecordType, SerialNumber};
        use hickory_proto::serialize::binary::{BinDecodable, BinDecoder};
        let owner = Name::from_wire(&owner).expect("a name");
        let data: Vec<&[u8]> = data.iter().map(Vec::as_slice).collect();
        let mut all = set(&owner, rtype, &data[..1]);
        let zone = Zone::new("test");
        let labels = labels.min(all.labels());
        zone.sign_as(&mut all, Flaw::None, labels);
        let proto = |wire: &[u8]| ProtoName::read(&mut BinDecoder::new(wire)).expect("a name");
        let records: Vec<Record> = data[..1].iter().map(|data| {
            let mut message = vec![0; 2];
            message.extend([0x80, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0, 1, 0, 1]);
            message.extend_from_slice(owner.wire());
            message.extend(rtype.to_be_bytes());
            message.extend([0, 1, 0, 0, 1, 44]);
            message.extend((data.len() as u16).to_be_bytes());
            message.extend_from_slice(data);
            Decoded::from_vec(&message).map(|message| message.answers).unwrap_or_default()
        }).filter_map(|mut answers| answers.pop()).collect();
        prop_assume!(!records.is_empty() && !matches!(records[0].data, RData::Update0(_)));
        let input = SigInput {
            type_covered: RecordType::from(rtype),
            algorithm: hickory_proto::dnssec::Algorithm::ED25519,
            num_labels: labels as u8,
            original_ttl: TTL,
            sig_expiration: SerialNumber::new(all.signatures[0].expires()),
            sig_inception: SerialNumber::new(all.signatures[0].begins()),
            key_tag: all.signatures[0].tag(),
            signer_name: proto(zone.name.wire()),
        };
        let theirs = hickory_proto::dnssec::TBS::from_input(&proto(owner.wire()), DNSClass::IN, &input, records.iter());
        let theirs = theirs.expect("it can be signed");
        prop_assert_eq!(signed(&all, &all.signatures[0]), theirs.as_ref());
    }

    /// Whatever comes, nothing breaks, and what goes out is a message.
    #[test]
    fn any_octets_can_be_judged(noise in prop::collection::vec(any::<u8>(), 0..200), at in 0usize..400, byte: u8) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let Earth { root, zone, mut world, .. } = earth();
        let answer = [zone.sign(cname("www.secure.test", "x.secure.test"), Flaw::None), zone.sign(a("x.secure.test"), Flaw::None)];
        let mut bytes = message(&name("www.secure.test"), 1, 0, [&answer, &[]]);
        let len = bytes.len();
        bytes[at % len] = byte;
        let validator = validator(&root, &[]);
        for bytes in [noise, bytes] {
            world.put_bytes("www.secure.test", rtype::A, bytes);
            for (dnssec_ok, checking_disabled) in [(false, false), (true, false), (false, true)] {
                let ask = Ask { dnssec_ok, checking_disabled, ..ask("www.secure.test", rtype::A) };
                if let Ok(reply) = runtime.block_on(validator.ask(&world, &ask, NOW)) {
                    let authentic = reply.bytes.get(3).is_some_and(|byte| byte & 0x20 != 0);
                    if authentic && !checking_disabled {
                        prop_assert!(Decoded::from_vec(&reply.bytes).is_ok());
                    }
                }
            }
        }
    }
}
