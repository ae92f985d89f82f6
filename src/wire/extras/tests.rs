//! Answers with options, read by hickory-proto; what queries ask for.

use hickory_proto::op::{Edns as HickoryEdns, Message, MessageType, OpCode, Query as Question};
use hickory_proto::rr::rdata::opt::EdnsOption;
use hickory_proto::rr::{Name as HickoryName, RecordType};
use hickory_proto::serialize::binary::BinEncodable;
use proptest::prelude::*;

use super::*;
use crate::name::NameBuf;
use crate::wire::{Asks, Ede, Invalid, Opt, Owner, Query, STREAM_MAX, Section, UDP_EDNS, Writer, parse, rcode, rtype};

/// A query with these options.
fn query(options: &[(u16, Vec<u8>)]) -> Vec<u8> {
    let mut message = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1];
    message.extend_from_slice(b"\x03www\x07example\x03com\0\0\x01\0\x01\0\0\x29\x04\xd0\0\0\0\0");
    let rdata: Vec<u8> = options
        .iter()
        .flat_map(|(code, data)| [&code.to_be_bytes()[..], &(data.len() as u16).to_be_bytes(), data].concat())
        .collect();
    message.extend_from_slice(&(rdata.len() as u16).to_be_bytes());
    message.extend_from_slice(&rdata);
    message
}

/// What a query with these options asks for, or how it is refused.
fn asks(message: &[u8]) -> Result<Asks, u16> {
    match parse(message, &mut NameBuf::new()) {
        Ok(query) => Ok(query.edns.expect("it has an OPT").asks),
        Err(Invalid::Answer { rcode, .. }) => Err(rcode),
        Err(Invalid::Silent) => panic!("a query"),
    }
}

#[test]
fn the_options_of_a_query_are_seen() {
    let message = query(&[(3, vec![]), (10, vec![7; 24]), (11, vec![]), (12, vec![0; 30]), (4711, vec![1])]);
    let all = asks(&message).expect("a query");
    assert!(all.any && all.nsid && all.keepalive && all.padding);
    assert_eq!(all.cookie(&message), Some((&[7; 8], &[7; 16][..])));
    let message = query(&[(4711, vec![1, 2]), (26, vec![]), (15, vec![0, 1])]);
    assert_eq!(asks(&message), Ok(Asks::default()), "none of these wants an answer");
    let two = query(&[(10, vec![1; 8]), (10, vec![2; 9])]);
    assert_eq!(asks(&two).expect("the first counts").cookie(&two), Some((&[1; 8], &[][..])));
}

#[test]
fn a_cookie_of_a_wrong_length_is_a_fault() {
    for len in 0..=60 {
        let message = query(&[(10, vec![9; len])]);
        let good = len == 8 || (16..=40).contains(&len);
        assert_eq!(asks(&message).map(|asks| asks.any), if good { Ok(true) } else { Err(rcode::FORMERR) }, "{len}");
    }
}

#[test]
fn no_question_but_a_cookie_asks_for_one() {
    let without_question = |options: &[(u16, Vec<u8>)], version: u8| {
        let mut message = query(options);
        message.drain(12..33);
        (message[5], message[18]) = (0, version);
        asks(&message)
    };
    assert_eq!(without_question(&[(10, vec![1; 8])], 0), Err(rcode::NOERROR));
    assert_eq!(without_question(&[(10, vec![1; 40])], 0), Err(rcode::NOERROR));
    for wrong in [vec![], vec![(3, vec![])], vec![(10, vec![1; 9])]] {
        assert_eq!(without_question(&wrong, 0), Err(rcode::FORMERR), "{wrong:?}");
    }
    assert_eq!(without_question(&[(10, vec![1; 8])], 1), Err(rcode::FORMERR));
}

#[test]
fn there_is_room_for_one_of_each() {
    let mut extras = Extras::default();
    assert!(extras.is_empty());
    extras.cookie(&[1; 8], &[2; 16]);
    extras.nsid(&[3; MAX_NSID]);
    extras.keepalive(100);
    assert_eq!(usize::from(extras.len()), ROOM);
    extras.nsid(b"more");
    assert_eq!(usize::from(extras.len()), ROOM);
    extras.clear();
    assert!(extras.is_empty());
    // Nothing that is shorter is written to.
    extras.nsid(b"here");
    let mut short = [0xff; 3];
    extras.fill(&mut short);
    assert_eq!(short, [0xff; 3]);
}

/// Which options an answer shall have.
#[derive(Clone, Debug)]
struct Wanted {
    cookie: Option<([u8; 8], [u8; 16])>,
    nsid: Option<Vec<u8>>,
    keepalive: Option<u16>,
    pad: bool,
}

fn wanted() -> impl Strategy<Value = Wanted> {
    let nsid = proptest::option::of(proptest::collection::vec(any::<u8>(), 1..=MAX_NSID));
    (proptest::option::of(any::<([u8; 8], [u8; 16])>()), nsid, proptest::option::of(any::<u16>()), any::<bool>())
        .prop_map(|(cookie, nsid, keepalive, pad)| Wanted { cookie, nsid, keepalive, pad })
}

proptest! {
    /// Whatever the answer is, the options are there, in it nothing else has changed, and it is no larger than it may be.
    #[test]
    fn options_are_in_every_answer(
        wanted in wanted(),
        texts in proptest::collection::vec(0..250_usize, 0..12),
        ede in proptest::option::of(0..300_usize),
        passed in any::<bool>(),
        limit in prop_oneof![512..1300_usize, Just(UDP_EDNS), Just(STREAM_MAX)],
    ) {
        let message = query(&[]);
        let mut query: Query = parse(&message, &mut NameBuf::new()).expect("a query");
        let mut extras = Extras::default();
        let mut expected: Vec<(u16, Vec<u8>)> = Vec::new();
        let Wanted { cookie, nsid, keepalive, pad } = &wanted;
        if let Some((client, server)) = cookie {
            extras.cookie(client, server);
            expected.push((10, [&client[..], server].concat()));
        }
        if let Some(nsid) = nsid {
            extras.nsid(nsid);
            expected.push((3, nsid.clone()));
        }
        if let Some(timeout) = keepalive {
            extras.keepalive(*timeout);
            expected.push((11, timeout.to_be_bytes().to_vec()));
        }
        let edns = query.edns.as_mut().expect("an OPT");
        (edns.reserve, edns.pad) = (extras.len(), *pad);
        let mut out = vec![0xee; limit];
        let mut writer = Writer::new(&message, &query, rcode::NOERROR, limit, &mut out);
        for len in &texts {
            let text = vec![b'x'; *len];
            writer.record(Section::Answer, Owner::Question(0), rtype::TXT, 60, &[&[*len as u8], &text]);
        }
        let text = vec![b'e'; ede.unwrap_or_default()];
        let ede = ede.map(|_| Ede { code: 16, text: &text });
        let passed: &[u8] = if passed { &[0, 15, 0, 2, 0, 22] } else { &[] };
        let len = writer.finish(Opt { ede, passed });
        prop_assert!(len <= limit, "{} of {}", len, limit);
        extras.fill(&mut out[..len]);

        let answer = Message::from_vec(&out[..len]).expect("a message");
        let sizes: usize = texts.iter().map(|len| len + 13).sum();
        let fits = 33 + 11 + usize::from(extras.len()) + sizes <= limit;
        prop_assert_eq!(answer.metadata.truncation, !fits);
        prop_assert_eq!(answer.answers.len(), if fits { texts.len() } else { 0 });
        // Read by hand: hickory keeps one option of a kind.
        let rdlength_at = 33 + if fits { sizes } else { 0 } + 9;
        let mut options = Vec::new();
        let mut at = rdlength_at + 2;
        prop_assert_eq!(usize::from(u16::from_be_bytes([out[rdlength_at], out[rdlength_at + 1]])), len - at);
        while at < len {
            let code = u16::from_be_bytes([out[at], out[at + 1]]);
            let size = usize::from(u16::from_be_bytes([out[at + 2], out[at + 3]]));
            options.push((code, out[at + 4..at + 4 + size].to_vec()));
            at += 4 + size;
        }
        let padding: Vec<_> = options.iter().filter(|(code, _)| *code == 12).cloned().collect();
        let others: Vec<_> = options.into_iter().filter(|(code, _)| !matches!(code, 12 | 15)).collect();
        prop_assert_eq!(others, expected);
        match &padding[..] {
            [] => prop_assert!(!pad || limit - len < 4, "{} of {}", len, limit),
            [(_, zeros)] => {
                prop_assert!(*pad && zeros.iter().all(|&octet| octet == 0));
                prop_assert!(len.is_multiple_of(468) || len == limit, "{} of {}", len, limit);
                prop_assert!(zeros.len() < 468);
            }
            more => prop_assert!(false, "{:?}", more),
        }
    }

    /// As hickory reads it.
    #[test]
    fn what_hickory_asks_for_is_seen(
        nsid in any::<bool>(),
        cookie in proptest::option::of((any::<[u8; 8]>(), proptest::collection::vec(any::<u8>(), 8..=32))),
        padding in proptest::option::of(0..50_usize),
    ) {
        let mut message = Message::new(7, MessageType::Query, OpCode::Query);
        message.add_query(Question::query(HickoryName::from_ascii("www.example.com.").expect("a name"), RecordType::A));
        let mut opt = HickoryEdns::new();
        let whole = cookie.as_ref().map(|(client, server)| [&client[..], server].concat());
        for (code, data) in [(3, nsid.then(Vec::new)), (10, whole), (12, padding.map(|len| vec![0; len]))] {
            if let Some(data) = data {
                opt.options_mut().insert(EdnsOption::Unknown(code, data));
            }
        }
        message.set_edns(opt);
        let bytes = message.to_bytes().expect("a message");
        let asks = asks(&bytes).expect("a query");
        prop_assert_eq!((asks.nsid, asks.padding, asks.keepalive), (nsid, padding.is_some(), false));
        let seen = asks.cookie(&bytes).map(|(client, server)| (*client, server.to_vec()));
        prop_assert_eq!(seen, cookie);
    }
}
