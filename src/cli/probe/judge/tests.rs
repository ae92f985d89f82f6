//! Answers weighed, and the reader held against hickory-proto's.

use std::net::{Ipv4Addr, Ipv6Addr};

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::opt::EdnsOption;
use hickory_proto::rr::rdata::{A, AAAA, CNAME, NULL, SOA};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use proptest::prelude::*;

use super::*;
use crate::cli::probe::once::question_of;
use crate::cli::probe::oracle::Oracle;
use crate::cli::probe::testing::{List, snapshot};
use crate::cli::why::query;
use crate::event::Transport;
use crate::list::Format;
use crate::policy::AnswerMode;
use crate::util::Now;

/// `www.a.example`
const ASKED: &[u8] = b"\x03www\x01a\x07example\0";

/// The question for it.
fn question(qtype: u16) -> Vec<u8> {
    let query = query(ASKED, qtype);
    question_of(&query, ASKED.len()).to_vec()
}

/// What an answer is made of.
#[derive(Clone, Debug, Default)]
struct Parts {
    rcode: u8,
    truncated: bool,
    answers: Vec<RData>,
    ours: bool,
    errors: Vec<u16>,
}

/// One on the wire.
fn message(parts: &Parts) -> Vec<u8> {
    let owner = Name::from_ascii("WWW.a.example.").expect("a name");
    let mut message = Message::response(0x1234, OpCode::Query);
    message.metadata.message_type = MessageType::Response;
    message.metadata.response_code = ResponseCode::from(0, parts.rcode);
    message.metadata.truncation = parts.truncated;
    message.add_query(Query::query(owner.clone(), RecordType::A));
    for data in &parts.answers {
        message.add_answer(Record::from_rdata(owner.clone(), 30, data.clone()));
    }
    let mname = if parts.ours { "qalqan.invalid." } else { "ns.a.example." };
    let mname = Name::from_ascii(mname).expect("a name");
    let soa = SOA::new(mname.clone(), mname, 1, 1, 1, 1, 1);
    message.add_authority(Record::from_rdata(Name::root(), 30, RData::SOA(soa)));
    if !parts.errors.is_empty() {
        let mut edns = Edns::new();
        for code in &parts.errors {
            let data = [&code.to_be_bytes()[..], b"why"].concat();
            edns.options_mut().insert(EdnsOption::Unknown(15, data));
        }
        message.set_edns(edns);
    }
    message.to_vec().expect("a message")
}

/// An address of that kind.
fn a(address: [u8; 4]) -> RData {
    RData::A(A(Ipv4Addr::from(address)))
}

/// One with these records.
fn with(answers: &[RData]) -> Parts {
    Parts { answers: answers.to_vec(), ..Parts::default() }
}

/// Reads it as the answer to `www.a.example A`.
fn said(parts: &Parts) -> Said {
    Said::read(&message(parts), &question(1)).expect("an answer")
}

/// Sinkhole 192.0.2.80.
fn rules(any: bool) -> Rules {
    Rules { sinkholes: [[192, 0, 2, 80].into()].into(), any }
}

#[test]
fn our_own_answers_are_what_we_expect_and_show_as_blocks() {
    use AnswerMode::{Cname, Nodata, Nxdomain, Refused, Sinkhole};
    for (answer, ede) in
        [Sinkhole, Nxdomain, Nodata, Refused, Cname].into_iter().flat_map(|m| [(m, None), (m, Some(16))])
    {
        let snapshot = snapshot(&[List { answer, ede, ..List::new("a.example\n") }]);
        let other = snapshot_of_other_answer(answer);
        for qtype in [1, 28, 65, 16] {
            let message = query(ASKED, qtype);
            let mut oracle = Oracle::new(&snapshot, Now { unix_ms: 0 });
            let expect = oracle.expect(&message, &question(qtype), Transport::Udp).expect("blocked");
            let (Expect::Exact(said) | Expect::Chased(said)) = &expect else { panic!("{expect:?}") };
            assert_eq!(rules(false).judge(&expect, said), Verdict::Expected, "{expect:?}");
            if answer == Cname {
                assert!(matches!(expect, Expect::Chased(_)));
                continue;
            }
            assert_eq!(rules(true).judge(&expect, said), Verdict::Expected, "{expect:?}");
            let mut oracle = Oracle::new(&other, Now { unix_ms: 0 });
            let expect = oracle.expect(&message, &question(qtype), Transport::Udp).expect("blocked");
            let open = answer == Refused && ede.is_none();
            let verdict = if open { Verdict::Open } else { Verdict::Different };
            let same = answer == Nodata && qtype != 1 && qtype != 28;
            if !(same || answer == Sinkhole && said.records.is_empty()) {
                let sinkholes = ["192.0.2.80", "2001:db8::80"].map(|text| text.parse().expect("an address"));
                let rules = Rules { sinkholes: sinkholes.into(), any: false };
                assert_eq!(rules.judge(&expect, said), verdict, "{answer:?} {qtype}: {said}; {expect}");
            }
        }
    }
}

/// The same name, blocked in another way.
fn snapshot_of_other_answer(answer: AnswerMode) -> crate::snapshot::Snapshot {
    let other = if answer == AnswerMode::Nxdomain { AnswerMode::Sinkhole } else { AnswerMode::Nxdomain };
    snapshot(&[List { answer: other, ede: None, ..List::new("a.example\n") }])
}

#[test]
fn nothing_is_expected_of_dropped_names_and_passing_ones() {
    let zone = "$TTL 60\n@ SOA a. b. 1 1 1 1 1\n@ NS a.\nwww.a.example CNAME rpz-tcp-only.\n";
    let drop = snapshot(&[List { answer: AnswerMode::Drop, ..List::new("a.example\n") }]);
    let tcp = snapshot(&[List { format: Format::Rpz, ..List::new(zone) }]);
    let message = query(ASKED, 1);
    let expect =
        |snapshot, transport| Oracle::new(snapshot, Now { unix_ms: 0 }).expect(&message, &question(1), transport);
    assert_eq!(expect(&drop, Transport::Udp), Some(Expect::Silence));
    assert_eq!(expect(&tcp, Transport::Tcp), None);
    let Some(Expect::Exact(said)) = expect(&tcp, Transport::Udp) else { panic!("truncated") };
    assert!(said.truncated);
}

#[test]
fn what_counts_as_a_block() {
    let null = || a([0, 0, 0, 0]);
    let page = || a([192, 0, 2, 80]);
    let real = || a([198, 51, 100, 7]);
    let alias = || RData::CNAME(CNAME(Name::from_ascii("b.example.").expect("a name")));
    let rcode = |rcode| Parts { rcode, ..Parts::default() };
    let error = |parts: Parts, code: u16| Parts { errors: vec![code], ..parts };
    // The answer, plainly a block, anything like a block.
    let table = [
        (with(&[null()]), true, true),
        (with(&[page(), null()]), true, true),
        (with(&[alias(), page()]), true, true),
        (with(&[real()]), false, false),
        (with(&[page(), real()]), false, false),
        (with(&[alias()]), false, false),
        (with(&[]), false, true),
        (Parts { ours: true, ..rcode(3) }, true, true),
        (rcode(3), false, true),
        (rcode(5), false, true),
        (rcode(2), false, false),
        (rcode(1), false, false),
        (error(rcode(5), 18), false, false),
        (error(with(&[real()]), 17), true, true),
        (error(rcode(2), 15), true, true),
        (error(rcode(2), 22), false, false),
        (Parts { truncated: true, ..with(&[]) }, false, false),
    ];
    for (parts, plainly, at_all) in table {
        let said = said(&parts);
        assert_eq!((rules(false).is_plainly_block(&said), rules(false).is_block(&said)), (plainly, at_all), "{said}");
        let verdict = |any| rules(any).judge(&Expect::Block, &said);
        let of = |blocked| if blocked { Verdict::Expected } else { Verdict::Open };
        assert_eq!((verdict(false), verdict(true)), (of(plainly), of(at_all)), "{said}");
    }
}

#[test]
fn ttls_and_texts_do_not_matter_records_and_codes_do() {
    let wanted = Parts { errors: vec![16], ..with(&[a([192, 0, 2, 80])]) };
    let expect = Expect::Exact(said(&wanted));
    let verdict = |parts: &Parts| rules(false).judge(&expect, &said(parts));
    assert_eq!(verdict(&wanted), Verdict::Expected);
    assert_eq!(verdict(&Parts { errors: vec![16, 3], ..wanted.clone() }), Verdict::Expected);
    assert_eq!(verdict(&Parts { errors: vec![17], ..wanted.clone() }), Verdict::Different);
    assert_eq!(verdict(&Parts { errors: vec![], ..wanted.clone() }), Verdict::Different);
    assert_eq!(verdict(&Parts { answers: vec![a([0, 0, 0, 0])], ..wanted }), Verdict::Different);
    assert_eq!(verdict(&with(&[a([198, 51, 100, 7])])), Verdict::Open);
    // An empty answer is no proof of a block: the name may have no such record.
    assert_eq!(verdict(&with(&[])), Verdict::Open);
}

#[test]
fn only_answers_to_the_question_are_read() {
    let good = message(&with(&[a([0, 0, 0, 0])]));
    assert!(Said::read(&good, &question(1)).is_ok());
    assert_eq!(Said::read(&good, &question(28)), Err(Unread::Foreign));
    let other = question_of(&query(b"\x01a\x07example\0", 1), 11).to_vec();
    assert_eq!(Said::read(&good, &other), Err(Unread::Foreign));
    assert_eq!(Said::read(&query(ASKED, 1), &question(1)), Err(Unread::Foreign));
    assert_eq!(Said::read(&good[..good.len() - 1], &question(1)), Err(Unread::Malformed));
    assert_eq!(Said::read(&[], &question(1)), Err(Unread::Foreign));
    let header = |flags: u16| [&[0x12, 0x34][..], &flags.to_be_bytes(), &[0; 8]].concat();
    let bare = Said::read(&header(0x8005), &question(1)).expect("a refusal");
    assert!(bare.bare && !rules(true).is_block(&bare));
    assert_eq!(Said::read(&header(0x8003), &question(1)), Err(Unread::Foreign));
    assert_eq!(Said::read(&header(0x8000), &question(1)), Err(Unread::Foreign));
}

/// The stupid twin of [`Rules::is_block`], on hickory's reading.
fn twin_is_block(message: &Message, code: u16, sinkholes: &HashSet<IpAddr>) -> bool {
    let errors = twin_errors(message);
    if errors.iter().any(|code| (15..=17).contains(code)) {
        return true;
    }
    let ours = Name::from_ascii("qalqan.invalid.").expect("a name");
    if message.authorities.iter().any(|record| matches!(&record.data, RData::SOA(soa) if soa.mname == ours)) {
        return true;
    }
    let addresses: Vec<Option<IpAddr>> = message
        .answers
        .iter()
        .filter(|record| record.record_type() != RecordType::CNAME)
        .map(|record| match &record.data {
            RData::A(address) => Some(IpAddr::V4(address.0)),
            RData::AAAA(address) => Some(IpAddr::V6(address.0)),
            _ => None,
        })
        .collect();
    let dead = |address: &IpAddr| address.is_unspecified() || sinkholes.contains(address);
    match code {
        0 if message.answers.is_empty() => !message.metadata.truncation,
        0 => !addresses.is_empty() && addresses.iter().all(|address| address.as_ref().is_some_and(dead)),
        3 => true,
        5 => !errors.contains(&18),
        _ => false,
    }
}

/// The extended errors hickory sees.
fn twin_errors(message: &Message) -> Vec<u16> {
    let options = message.edns.iter().flat_map(|edns| &edns.options().options);
    let mut codes = Vec::new();
    for (_, option) in options {
        if let EdnsOption::Unknown(15, data) = option
            && let Some((code, _)) = data.split_first_chunk()
        {
            codes.push(u16::from_be_bytes(*code));
        }
    }
    codes
}

/// Any record.
fn any_data() -> impl Strategy<Value = RData> {
    prop_oneof![
        Just(a([0, 0, 0, 0])),
        Just(a([192, 0, 2, 80])),
        any::<[u8; 4]>().prop_map(a),
        any::<[u16; 8]>().prop_map(|words| RData::AAAA(AAAA(Ipv6Addr::from(words)))),
        Just(RData::AAAA(AAAA(Ipv6Addr::UNSPECIFIED))),
        "[a-z]{1,9}"
            .prop_map(|label| RData::CNAME(CNAME(Name::from_ascii(format!("{label}.a.example.")).expect("a name")))),
        proptest::collection::vec(any::<u8>(), 1..9)
            .prop_map(|bytes| RData::Unknown { code: RecordType::Unknown(65_280), rdata: NULL::with(bytes) }),
    ]
}

/// Any answer.
fn any_parts() -> impl Strategy<Value = Parts> {
    let answers = proptest::collection::vec(any_data(), 0..5);
    let errors = proptest::collection::vec(prop_oneof![15_u16..19, any::<u16>()], 0..3);
    (prop_oneof![Just(0_u8), 0_u8..6], any::<bool>(), answers, any::<bool>(), errors)
        .prop_map(|(rcode, truncated, answers, ours, errors)| Parts { rcode, truncated, answers, ours, errors })
}

proptest! {
    /// Whole answers, read and weighed as hickory does.
    #[test]
    fn reads_and_weighs_as_the_twin(parts in any_parts()) {
        let bytes = message(&parts);
        let twin = Message::from_vec(&bytes).expect("its own message");
        let said = Said::read(&bytes, &question(1)).expect("an answer");
        prop_assert_eq!(said.records.len(), twin.answers.len());
        prop_assert_eq!(u8::try_from(said.rcode), Ok(parts.rcode));
        prop_assert!(said.records.iter().all(|record| record.owner == ASKED));
        prop_assert_eq!(said.errors.iter().map(|(code, _)| *code).collect::<Vec<_>>(), twin_errors(&twin));
        prop_assert_eq!((said.truncated, said.ours), (parts.truncated, parts.ours));
        let rules = rules(true);
        prop_assert_eq!(rules.is_block(&said), twin_is_block(&twin, said.rcode, &rules.sinkholes));
        prop_assert!(!said.to_string().is_empty());
    }

    /// Spoilt answers: never a panic, and where both can read them, the same verdict.
    #[test]
    fn spoilt_answers_are_weighed_as_the_twin(
        parts in any_parts(),
        spoil in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in proptest::option::of(any::<prop::sample::Index>()),
    ) {
        let mut bytes = message(&parts);
        for (index, byte) in spoil {
            let at = index.index(bytes.len());
            bytes[at] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        let rules = rules(true);
        let Ok(said) = Said::read(&bytes, &question(1)) else { return Ok(()) };
        prop_assert!(!said.to_string().is_empty());
        prop_assert!(rules.is_block(&said) || !rules.is_plainly_block(&said));
        // hickory looks into rdata of types that do not matter here, and may refuse them; and it keeps no two options.
        if let Ok(twin) = Message::from_vec(&bytes)
            && !said.bare
            && twin.answers.len() == said.records.len()
            && twin_errors(&twin).len() == said.errors.len()
        {
            prop_assert_eq!(rules.is_block(&said), twin_is_block(&twin, said.rcode, &rules.sinkholes));
        }
    }

    /// Any bytes at all.
    #[test]
    fn any_bytes_are_taken(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let _ = Said::read(&bytes, &question(1));
        let asked = [&[0, 0, 0x80, 0, 0, 1][..], &[0; 6], &question(1), &bytes].concat();
        if let Ok(said) = Said::read(&asked, &question(1)) {
            prop_assert_eq!(rules(true).judge(&Expect::Block, &said) == Verdict::Expected, rules(true).is_block(&said));
        }
    }
}
