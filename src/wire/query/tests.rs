//! The parser against hickory-proto, and against what people send to break one.

use hickory_proto::op::{Edns as HickoryEdns, Message, MessageType, OpCode, Query as Question};
use hickory_proto::rr::rdata::opt::EdnsOption;
use hickory_proto::rr::{DNSClass, Name as HickoryName, RecordType};
use hickory_proto::serialize::binary::{BinDecodable, BinEncodable};
use proptest::prelude::*;

use super::*;

/// A query for `www.Example.com A` with some flags and an OPT, if `edns`.
fn sample(edns: bool) -> Vec<u8> {
    let mut message = vec![0x12, 0x34, 0x01, 0x10, 0, 1, 0, 0, 0, 0, 0, u8::from(edns)];
    message.extend_from_slice(b"\x03www\x07Example\x03com\0\0\x01\0\x01");
    if edns {
        message.extend_from_slice(b"\0\0\x29\x10\0\0\0\x80\0\0\x04\0\x1a\0\0");
    }
    message
}

/// How `message` is answered, if it is no proper query.
fn rcode_of(message: &[u8]) -> Option<u16> {
    match parse(message, &mut NameBuf::new()) {
        Err(Invalid::Answer { rcode, .. }) => Some(rcode),
        Err(Invalid::Silent) => None,
        Ok(query) => panic!("a proper query: {query:?}"),
    }
}

#[test]
fn a_query_is_read_as_it_is() {
    let mut name = NameBuf::new();
    let query = parse(&sample(true), &mut name).expect("a query");
    assert_eq!(name.to_string(), "www.example.com");
    assert_eq!((query.id, query.qtype, query.qclass, query.question_end), (0x1234, 1, 1, 33));
    assert!(query.recursion_desired() && query.checking_disabled() && query.dnssec_ok());
    let edns = Edns { payload: 4096, dnssec_ok: true, structured_error: true, ..Edns::default() };
    assert_eq!(query.edns, Some(edns));
    assert_eq!(query.udp_limit(), UDP_EDNS);
    assert_eq!(parse(&sample(false), &mut name).expect("a query").udp_limit(), UDP_PLAIN);
}

#[test]
fn what_is_no_query_gets_silence() {
    assert_eq!(rcode_of(&[]), None);
    assert_eq!(rcode_of(&sample(false)[..11]), None);
    let mut answer = sample(false);
    answer[2] |= 0x80;
    assert_eq!(rcode_of(&answer), None, "an answer is never answered");
}

#[test]
fn what_is_a_bad_query_gets_its_response_code() {
    let with = |at: usize, value: u8| {
        let mut message = sample(true);
        message[at] = value;
        message
    };
    assert_eq!(rcode_of(&with(2, 0x21)), Some(rcode::NOTIMP), "NOTIFY");
    assert_eq!(rcode_of(&with(2, 0x79)), Some(rcode::NOTIMP), "opcode 15");
    assert_eq!(rcode_of(&with(5, 0)), Some(rcode::FORMERR), "QDCOUNT 0");
    assert_eq!(rcode_of(&with(5, 2)), Some(rcode::FORMERR), "QDCOUNT 2");
    assert_eq!(rcode_of(&with(7, 1)), Some(rcode::FORMERR), "an answer in a query");
    assert_eq!(rcode_of(&with(11, 2)), Some(rcode::FORMERR), "records that are not there");
    assert_eq!(rcode_of(&with(12, 0xc0)), Some(rcode::FORMERR), "a pointer to itself");
    assert_eq!(rcode_of(&with(12, 0x40)), Some(rcode::FORMERR), "a reserved label type");
    assert_eq!(rcode_of(&with(33, 1)), Some(rcode::FORMERR), "an OPT that is not at the root");
    assert_eq!(rcode_of(&with(39, 1)), Some(rcode::BADVERS), "EDNS version 1");
    assert_eq!(rcode_of(&with(47, 200)), Some(rcode::FORMERR), "an option past its record");
    for end in 12..33 {
        assert_eq!(rcode_of(&sample(false)[..end]), Some(rcode::FORMERR), "cut at {end}");
    }
    let mut two = sample(true);
    two[11] = 2;
    two.extend_from_slice(b"\0\0\x29\x10\0\0\0\0\0\0\0");
    assert_eq!(rcode_of(&two), Some(rcode::FORMERR), "two OPTs");
}

#[test]
fn names_end_at_255_octets() {
    let query = |labels: &[usize]| {
        let mut message = sample(false)[..12].to_vec();
        for &len in labels {
            message.push(len as u8);
            message.extend(std::iter::repeat_n(b'a', len));
        }
        message.extend_from_slice(b"\0\0\x01\0\x01");
        parse(&message, &mut NameBuf::new()).is_ok()
    };
    assert!(query(&[63, 63, 63, 61]), "255 octets");
    assert!(!query(&[63, 63, 63, 62]), "256 octets");
    assert!(query(&[1; 127]), "127 labels");
    assert!(!query(&[1; 128]), "128 labels");
}

proptest! {
    #[test]
    fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let _ = parse(&bytes, &mut NameBuf::new());
    }

    #[test]
    fn a_damaged_query_is_survived(at in 0..48_usize, value in any::<u8>(), end in 0..48_usize) {
        let mut message = sample(true);
        let len = message.len();
        message[at % len] = value;
        let _ = parse(&message[..end.min(len)], &mut NameBuf::new());
    }

    #[test]
    fn reads_what_hickory_writes(
        id in any::<u16>(),
        labels in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..20), 0..8),
        qtype in any::<u16>().prop_filter("types with a meaning of their own", |t| *t != 41 && *t != 251),
        flags in any::<[bool; 3]>(),
        edns in proptest::option::of((any::<u16>(), any::<bool>(), any::<bool>())),
    ) {
        let mut message = Message::new(id, MessageType::Query, OpCode::Query);
        message.metadata.recursion_desired = flags[0];
        message.metadata.checking_disabled = flags[1];
        message.metadata.authentic_data = flags[2];
        let name = HickoryName::from_labels(labels.iter().map(Vec::as_slice)).expect("labels");
        let mut question = Question::query(name.clone(), RecordType::from(qtype));
        question.set_query_class(DNSClass::IN);
        message.add_query(question);
        if let Some((payload, dnssec_ok, structured)) = edns {
            let mut opt = HickoryEdns::new();
            opt.set_max_payload(payload);
            opt.set_dnssec_ok(dnssec_ok);
            if structured {
                opt.options_mut().insert(EdnsOption::Unknown(26, Vec::new()));
            }
            message.set_edns(opt);
        }
        let bytes = message.to_bytes().expect("a message");
        let back = Message::from_bytes(&bytes).expect("a message");
        let mut buf = NameBuf::new();
        let query = parse(&bytes, &mut buf).expect("a query");
        prop_assert_eq!(query.id, back.metadata.id);
        prop_assert_eq!(query.qtype, u16::from(back.queries[0].query_type()));
        prop_assert_eq!(query.recursion_desired(), flags[0]);
        prop_assert_eq!(query.checking_disabled(), flags[1]);
        let lower = name.to_lowercase().to_bytes().expect("a name");
        prop_assert_eq!(buf.wire(), &lower[..]);
        let expected = back.edns.as_ref().map(|opt| (opt.max_payload(), opt.flags().dnssec_ok));
        prop_assert_eq!(query.edns.map(|opt| (opt.payload, opt.dnssec_ok)), expected);
        prop_assert_eq!(query.edns.map(|opt| opt.structured_error), edns.map(|(_, _, structured)| structured));
    }
}
