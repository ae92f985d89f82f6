//! Relayed answers, decoded by hickory-proto and compared with what the upstream said.

use hickory_proto::op::{Edns as HickoryEdns, Message, MessageType, OpCode, Query as Question, ResponseCode};
use hickory_proto::rr::rdata::opt::EdnsOption;
use hickory_proto::rr::rdata::{A, CNAME, MX, NS, SOA, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use hickory_proto::serialize::binary::{BinDecodable, BinEncodable};
use proptest::prelude::*;

use super::super::{HEADER, STREAM_MAX, UDP_EDNS, answers_in_full, parse, targets};
use super::*;
use crate::name::NameBuf;

fn name(text: &str) -> Name {
    Name::from_ascii(text).expect("a name")
}

/// A client's query in its own case.
fn client(edns: bool) -> Vec<u8> {
    let mut message = vec![0xab, 0xcd, 0x01, 0, 0, 1, 0, 0, 0, 0, 0, u8::from(edns)];
    message.extend_from_slice(b"\x03wWw\x07eXample\x03com\0\0\x01\0\x01");
    if edns {
        message.extend_from_slice(b"\0\0\x29\x10\0\0\0\x80\0\0\0");
    }
    message
}

/// An upstream's answer with `count` addresses.
fn upstream(count: u8, edns: bool) -> Message {
    let mut message = Message::new(7, MessageType::Response, OpCode::Query);
    message.metadata.recursion_available = true;
    message.metadata.authentic_data = true;
    message.add_query(Question::query(name("www.example.com."), RecordType::A));
    for last in 0..count {
        message.add_answer(Record::from_rdata(name("www.example.com."), 60, RData::A(A::new(192, 0, 2, last))));
    }
    let soa = SOA::new(name("ns.example.com."), name("root.example.com."), 1, 2, 3, 4, 5);
    message.add_authority(Record::from_rdata(name("example.com."), 60, RData::SOA(soa)));
    message.add_additional(Record::from_rdata(name("ns.example.com."), 60, RData::A(A::new(192, 0, 2, 53))));
    if edns {
        let mut opt = HickoryEdns::new();
        opt.options_mut().insert(EdnsOption::Unknown(15, b"\0\x03stale".to_vec()));
        opt.options_mut().insert(EdnsOption::Unknown(10, vec![1; 8]));
        message.set_edns(opt);
    }
    message
}

/// Relays to a client and decodes what it gets.
fn through(answer: &[u8], query: &[u8], limit: usize) -> Result<Message, RelayError> {
    let parsed = parse(query, &mut NameBuf::new()).expect("a query");
    let mut out = vec![0; STREAM_MAX];
    let relayed = relay(answer, query, &parsed, limit, &mut out, &mut Vec::new())?;
    assert!(relayed.len <= limit, "{} octets where {limit} were allowed", relayed.len);
    let end = parsed.question_end;
    assert_eq!(&out[HEADER..end], &query[HEADER..end], "the question keeps its case");
    Ok(Message::from_bytes(&out[..relayed.len]).expect("a message"))
}

#[test]
fn records_go_through_and_header_and_opt_are_ours() {
    let answer = upstream(3, true);
    let bytes = answer.to_bytes().expect("bytes");
    let got = through(&bytes, &client(true), UDP_EDNS).expect("relayed");
    assert_eq!(got.metadata.id, 0xabcd);
    assert!(got.metadata.authentic_data && got.metadata.recursion_available && !got.metadata.truncation);
    assert_eq!(
        (&got.answers, &got.authorities, &got.additionals),
        (&answer.answers, &answer.authorities, &answer.additionals)
    );
    let opt = got.edns.expect("an OPT");
    assert!(opt.flags().dnssec_ok && usize::from(opt.max_payload()) == UDP_EDNS);
    let options: Vec<_> = opt.options().as_ref().iter().map(|(code, _)| u16::from(*code)).collect();
    assert_eq!(options, [15], "extended errors go on, cookies of others do not");

    let plain = through(&bytes, &client(false), UDP_EDNS).expect("relayed");
    assert!(plain.edns.is_none() && !plain.metadata.authentic_data, "AD only for who knows it (RFC 6840)");
    assert_eq!(plain.answers, answer.answers);
}

#[test]
fn too_large_loses_the_additional_section_first_and_then_all() {
    let bytes = upstream(28, false).to_bytes().expect("bytes");
    let full = through(&bytes, &client(false), STREAM_MAX).expect("relayed");
    assert_eq!((full.answers.len(), full.additionals.len()), (28, 1));
    let trimmed = through(&bytes, &client(false), bytes.len() - 1).expect("relayed");
    assert_eq!((trimmed.answers.len(), trimmed.additionals.len()), (28, 0));
    assert!(!trimmed.metadata.truncation);
    let cut = through(&bytes, &client(false), 400).expect("relayed");
    assert!(cut.metadata.truncation && cut.answers.is_empty() && cut.authorities.is_empty());
}

#[test]
fn an_opt_that_is_not_the_last_record_is_taken_out_cleanly() {
    let mut bytes = upstream(1, true).to_bytes().expect("bytes");
    // Behind the OPT: an MX and a TXT whose names point into the message before it and behind it.
    let pointer = [0xc0, HEADER as u8 + 4];
    let mx_at = bytes.len();
    for (rtype, rdata) in [
        (15_u8, [&[0, 10, 2, b'm', b'x'][..], &pointer].concat()),
        (15, vec![0, 20, 0xc0 | (mx_at >> 8) as u8, (mx_at + 14) as u8]),
        (16, b"\x02hi".to_vec()),
    ] {
        bytes.extend_from_slice(&pointer);
        bytes.extend_from_slice(&[0, rtype, 0, 1, 0, 0, 0, 60, 0, rdata.len() as u8]);
        bytes.extend_from_slice(&rdata);
    }
    bytes[11] += 3;
    let got = through(&bytes, &client(true), UDP_EDNS).expect("relayed");
    assert_eq!(got.additionals.len(), 4);
    assert_eq!(got.additionals[1].data, RData::MX(MX::new(10, name("mx.example.com."))));
    assert_eq!(got.additionals[2].data, RData::MX(MX::new(20, name("mx.example.com."))));
    assert_eq!(got.additionals[3].data, RData::TXT(TXT::new(vec!["hi".into()])));
}

#[test]
fn extended_response_codes_and_truncation_go_on() {
    let mut answer = upstream(0, true);
    answer.metadata.response_code = ResponseCode::BADCOOKIE;
    let got = through(&answer.to_bytes().expect("bytes"), &client(true), UDP_EDNS).expect("relayed");
    assert_eq!(got.metadata.response_code, ResponseCode::BADCOOKIE);
    answer.metadata.truncation = true;
    let got = through(&answer.to_bytes().expect("bytes"), &client(true), UDP_EDNS).expect("relayed");
    assert!(got.metadata.truncation);
}

#[test]
fn another_question_is_no_answer() {
    let mut other = upstream(1, false);
    other.queries[0].set_query_type(RecordType::AAAA);
    let error = through(&other.to_bytes().expect("bytes"), &client(false), UDP_EDNS).expect_err("type");
    assert_eq!(error, RelayError::WrongQuestion);
    // Types 65 and 97 differ as letters do by case; they are still not the same type.
    let mut bytes = upstream(1, false).to_bytes().expect("bytes");
    let mut query = client(false);
    let end = query.len();
    (bytes[end - 3], query[end - 3]) = (65, 97);
    assert_eq!(through(&bytes, &query, UDP_EDNS).expect_err("type"), RelayError::WrongQuestion);
}

#[test]
fn targets_are_shown_in_order() {
    let mut message = Message::new(7, MessageType::Response, OpCode::Query);
    message.add_query(Question::query(name("www.example.com."), RecordType::A));
    let cname = |from: &str, to: &str| Record::from_rdata(name(from), 60, RData::CNAME(CNAME(name(to))));
    message.add_answer(cname("www.example.com.", "CDN.example.net."));
    message.add_answer(cname("cdn.example.net.", "edge.example.org."));
    message.add_answer(Record::from_rdata(name("edge.example.org."), 60, RData::NS(NS(name("no.target.")))));
    let https: RData = RData::try_from_str(RecordType::HTTPS, "1 svc.example.net. alpn=h2").expect("HTTPS");
    message.add_answer(Record::from_rdata(name("edge.example.org."), 60, https));
    let own: RData = RData::try_from_str(RecordType::HTTPS, "1 . alpn=h2").expect("HTTPS");
    message.add_answer(Record::from_rdata(name("edge.example.org."), 60, own));
    let mut bytes = message.to_bytes().expect("bytes");
    let mut shown = Vec::new();
    assert!(
        targets(&bytes, &mut |target| {
            shown.push(target.to_string());
            false
        })
        .is_some()
    );
    assert_eq!(shown, ["cdn.example.net", "edge.example.org", "svc.example.net"]);
    bytes.truncate(bytes.len() - 1);
    assert!(targets(&bytes, &mut |_| false).is_none(), "cut short");
}

proptest! {
    #[test]
    fn any_answer_is_survived(
        mut bytes in proptest::collection::vec(any::<u8>(), 0..300),
        damage in proptest::collection::vec((any::<u16>(), any::<u8>()), 0..8),
        real in any::<bool>(),
    ) {
        if real {
            bytes = upstream(3, true).to_bytes().expect("bytes");
        }
        for (at, value) in damage {
            if let Some(byte) = bytes.get_mut(usize::from(at) % 300) {
                *byte = value;
            }
        }
        let query = client(true);
        let parsed = parse(&query, &mut NameBuf::new()).expect("a query");
        let mut out = vec![0; STREAM_MAX];
        let limit = 600;
        if let Ok(relayed) = relay(&bytes, &query, &parsed, limit, &mut out, &mut Vec::new()) {
            prop_assert!(relayed.len <= limit);
        }
        let _ = answers_in_full(&bytes, &mut Vec::new());
        let _ = targets(&bytes, &mut |_| false);
    }
}
