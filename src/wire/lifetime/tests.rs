//! The walk against hickory-proto, which reads messages whole.

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, NS, SOA};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use hickory_proto::serialize::binary::BinEncodable;
use proptest::prelude::*;

use super::*;

/// What an answer is made of.
#[derive(Clone, Debug)]
struct Made {
    rcode: u16,
    truncated: bool,
    answers: Vec<u32>,
    soa: Option<(u32, u32)>,
    ns: Option<u32>,
    edns: bool,
}

impl Made {
    /// On the wire.
    fn bytes(&self) -> Vec<u8> {
        let name = |text: &str| Name::from_ascii(text).expect("a name");
        let mut message = Message::new(0, MessageType::Response, OpCode::Query);
        message.metadata.truncation = self.truncated;
        message.metadata.response_code = ResponseCode::from((self.rcode >> 4) as u8, (self.rcode & 0xf) as u8);
        message.add_query(Query::query(name("www.example.com."), RecordType::A));
        for &ttl in &self.answers {
            message.add_answer(Record::from_rdata(name("www.example.com."), ttl, RData::A(A::new(192, 0, 2, 1))));
        }
        if let Some(ttl) = self.ns {
            message.add_authority(Record::from_rdata(
                name("example.com."),
                ttl,
                RData::NS(NS(name("ns.example.com."))),
            ));
        }
        if let Some((ttl, minimum)) = self.soa {
            let soa = SOA::new(name("ns.example.com."), name("root.example.com."), 1, 2, 3, 4, minimum);
            message.add_authority(Record::from_rdata(name("example.com."), ttl, RData::SOA(soa)));
        }
        if self.edns {
            let mut edns = Edns::new();
            edns.set_rcode_high((self.rcode >> 4) as u8);
            message.set_edns(edns);
        }
        message.to_bytes().expect("it can be written")
    }
}

/// Reads the message whole and looks at what is there.
fn stupid(bytes: &[u8]) -> Option<u32> {
    let message = Message::from_vec(bytes).ok()?;
    let high = message.edns.as_ref().map_or(0, |edns| edns.rcode_high());
    let low = bytes[3] & 0xf;
    if high != 0 || !(low == 0 || low == 3) || message.metadata.truncation || message.queries.len() != 1 {
        return None;
    }
    let sane = |ttl: u32| if ttl >= 1 << 31 { 0 } else { ttl };
    let mut all: Vec<u32> = message.answers.iter().map(|record| sane(record.ttl)).collect();
    for record in &message.authorities {
        if let RData::SOA(soa) = &record.data {
            all.push(sane(record.ttl));
            all.push(sane(soa.minimum));
        }
    }
    all.into_iter().min()
}

/// Any such answer.
fn made() -> impl Strategy<Value = Made> {
    let ttl = || prop_oneof![0..100_000u32, any::<u32>()];
    let rcode = prop_oneof![4 => Just(0u16), 3 => Just(3u16), 1 => 0..16u16, 1 => Just(16u16)];
    let answers = prop::collection::vec(ttl(), 0..4);
    let soa = prop::option::of((ttl(), ttl()));
    (rcode, prop::bool::weighted(0.1), answers, soa, prop::option::of(ttl()), any::<bool>()).prop_map(
        |(rcode, truncated, answers, soa, ns, edns)| Made {
            rcode,
            truncated,
            answers,
            soa,
            ns,
            edns: edns || rcode > 15,
        },
    )
}

#[test]
fn the_smallest_ttl_counts_and_a_failure_has_none() {
    let good = Made { rcode: 0, truncated: false, answers: vec![300, 60], soa: None, ns: Some(5), edns: true };
    assert_eq!(lifetime(&good.bytes()), Some(60));
    assert_eq!(lifetime(&Made { answers: vec![60, 1 << 31], ..good.clone() }.bytes()), Some(0));
    let negative = Made { rcode: 3, answers: Vec::new(), soa: Some((900, 30)), ..good.clone() };
    assert_eq!(lifetime(&negative.bytes()), Some(30));
    assert_eq!(lifetime(&Made { soa: Some((20, 30)), ..negative.clone() }.bytes()), Some(20));
    assert_eq!(lifetime(&Made { soa: None, ..negative.clone() }.bytes()), None, "nobody says how long");
    for rcode in [1, 2, 4, 5, 9, 16, 23] {
        assert_eq!(lifetime(&Made { rcode, ..good.clone() }.bytes()), None, "{rcode}");
    }
    assert_eq!(lifetime(&Made { truncated: true, ..good }.bytes()), None);
    assert_eq!(lifetime(&[]), None);
}

proptest! {
    #[test]
    fn it_is_what_hickory_reads(made in made()) {
        let bytes = made.bytes();
        prop_assert_eq!(lifetime(&bytes), stupid(&bytes));
    }

    #[test]
    fn bytes_that_are_cut_or_changed_never_panic(made in made(), cut in any::<prop::sample::Index>(), to in any::<u8>()) {
        let mut bytes = made.bytes();
        let at = cut.index(bytes.len());
        let _ = lifetime(&bytes[..at]);
        bytes[at] = to;
        let _ = lifetime(&bytes);
    }
}
