//! Queries as we send them, written by hand, and whether a message answers one.

use rand::Rng;

use super::Ask;
use crate::name::MAX_WIRE;
use crate::wire::{HEADER, Subnet, UDP_EDNS, flag, rtype};

/// The longest query: header, name, type, class, OPT, a client's subnet.
pub(super) const MAX_QUERY: usize = HEADER + MAX_WIRE + 4 + OPT + Subnet::MAX;
/// Octets of an OPT without options.
const OPT: usize = 11;
/// Encrypted queries are a multiple of so many octets long (RFC 8467 section 4.1).
const BLOCK: usize = 128;
/// The option that fills them up (RFC 7830).
const PADDING: u16 = 12;

/// A query in a fixed buffer. Its id is set by who sends it.
#[derive(Clone, Copy)]
pub(super) struct Question {
    bytes: [u8; MAX_QUERY],
    len: u16,
    end: u16,
}

/// How a message relates to a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Match {
    /// It repeats the question.
    Exact,
    /// It repeats the question in other letter case.
    OtherCase,
    /// It is a header with an error code, without any question.
    Bare(u16),
    /// Its question cannot be read.
    Broken,
    /// It answers something else, or nothing.
    No,
}

impl Question {
    /// RD and AD set, CD as asked; with an OPT if `edns`.
    pub(super) fn new(ask: &Ask, edns: bool) -> Self {
        let mut question = Self { bytes: [0; MAX_QUERY], len: 0, end: 0 };
        let cd = if ask.checking_disabled { flag::CD } else { 0 };
        let [high, low] = (flag::RD | flag::AD | cd).to_be_bytes();
        question.put(&[0, 0, high, low, 0, 1, 0, 0, 0, 0, 0, u8::from(edns)]);
        question.put(ask.name.wire());
        question.put(&ask.qtype.to_be_bytes());
        question.put(&ask.qclass.to_be_bytes());
        question.end = question.len;
        if edns {
            let [type_high, type_low] = rtype::OPT.to_be_bytes();
            // No fragments (DNS flag day 2020).
            let [size_high, size_low] = (UDP_EDNS as u16).to_be_bytes();
            let dnssec_ok = if ask.dnssec_ok { 0x80 } else { 0 };
            question.put(&[0, type_high, type_low, size_high, size_low, 0, 0, dnssec_ok, 0, 0, 0]);
        }
        question
    }

    /// The same with the letters of its name in random case (draft-vixie-dnsext-dns0x20).
    pub(super) fn mix_case(&mut self, rng: &mut impl Rng) {
        let name = HEADER..usize::from(self.end).saturating_sub(4);
        for eight in self.bytes.get_mut(name).unwrap_or_default().chunks_mut(32) {
            let mut coins = rng.next_u32();
            for byte in eight {
                // Length octets are below the letters.
                if byte.is_ascii_alphabetic() && coins & 1 == 1 {
                    *byte ^= 0x20;
                }
                coins >>= 1;
            }
        }
    }

    /// Sets the id.
    pub(super) fn set_id(&mut self, id: u16) {
        self.bytes[..2].copy_from_slice(&id.to_be_bytes());
    }

    /// The message.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// The same on behalf of a client's network; it must have an OPT, and no option yet.
    pub(super) fn add_subnet(&mut self, subnet: &Subnet) {
        let mut option = [0; Subnet::MAX];
        let len = subnet.write(&mut option);
        self.put(&option[..len]);
        let rdlen = self.rdlen();
        self.bytes[rdlen].copy_from_slice(&(len as u16).to_be_bytes());
    }

    /// Where the OPT, which comes last, says how long its options are.
    fn rdlen(&self) -> std::ops::Range<usize> {
        let end = usize::from(self.end) + OPT;
        end - 2..end
    }

    /// The message filled up to whole blocks, so that its length says little of the name; as it is without an OPT.
    pub(super) fn padded(&self) -> Vec<u8> {
        let mut message = self.bytes().to_vec();
        if self.len <= self.end {
            return message;
        }
        let fill = (message.len() + 4).next_multiple_of(BLOCK) - message.len() - 4;
        let options = message.len() - usize::from(self.end) - OPT + 4 + fill;
        message[self.rdlen()].copy_from_slice(&(options as u16).to_be_bytes());
        message.extend(PADDING.to_be_bytes());
        message.extend((fill as u16).to_be_bytes());
        message.resize(message.len() + fill, 0);
        message
    }

    /// How `reply`, whose id is right, relates to it.
    pub(super) fn compare(&self, reply: &[u8]) -> Match {
        let asked = &self.bytes[HEADER..usize::from(self.end)];
        let Some((header, body)) = reply.split_first_chunk::<HEADER>() else { return Match::No };
        if header[2] & 0x80 == 0 {
            return Match::No;
        }
        match u16::from_be_bytes([header[4], header[5]]) {
            0 if header[3] & 0xf != 0 => return Match::Bare(u16::from(header[3] & 0xf)),
            1 => {}
            _ => return Match::No,
        }
        let Some(theirs) = body.get(..asked.len()) else { return broken_or_other(body) };
        if theirs == asked {
            return Match::Exact;
        }
        let (Some((name, kind)), Some((their_name, their_kind))) =
            (asked.split_last_chunk::<4>(), theirs.split_last_chunk::<4>())
        else {
            return Match::No;
        };
        // Length octets are below the letters, so ignoring case cannot make two different names equal.
        if kind == their_kind && name.eq_ignore_ascii_case(their_name) {
            return Match::OtherCase;
        }
        broken_or_other(body)
    }

    /// Appends octets that are known to fit: a name has at most [`MAX_WIRE`].
    fn put(&mut self, bytes: &[u8]) {
        let at = usize::from(self.len);
        self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len() as u16;
    }
}

/// Whether the question in `body` can be read at all.
fn broken_or_other(body: &[u8]) -> Match {
    let mut at = 0;
    loop {
        match body.get(at) {
            Some(0) if body.len() >= at + 5 => return Match::No,
            Some(&len @ 1..=63) => at += 1 + usize::from(len),
            _ => return Match::Broken,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use hickory_proto::op::{Edns, Message, Query};
    use hickory_proto::rr::rdata::opt::{EdnsCode, EdnsOption};
    use hickory_proto::rr::{DNSClass, Name as ProtoName, RecordType};
    use proptest::prelude::*;
    use rand::SeedableRng;

    use super::*;
    use crate::name::Name;

    /// The same by hickory.
    fn twin(ask: &Ask, edns: bool) -> Vec<u8> {
        use hickory_proto::serialize::binary::{BinDecodable, BinDecoder};
        let name = ProtoName::read(&mut BinDecoder::new(ask.name.wire())).expect("our names are names");
        let mut query = Query::query(name, RecordType::from(ask.qtype));
        query.set_query_class(DNSClass::from(ask.qclass));
        let mut message = Message::query();
        message.metadata.id = 0;
        message.metadata.recursion_desired = true;
        message.metadata.authentic_data = true;
        message.metadata.checking_disabled = ask.checking_disabled;
        message.add_query(query);
        if edns {
            let mut opt = Edns::new();
            opt.set_max_payload(1232).set_dnssec_ok(ask.dnssec_ok);
            message.set_edns(opt);
        }
        message.to_vec().expect("a query can be written")
    }

    fn asks() -> impl Strategy<Value = Ask> {
        let labels = prop::collection::vec(prop::collection::vec(any::<u8>(), 1..64), 0..8);
        (labels, any::<u16>(), any::<u16>(), any::<bool>(), any::<bool>()).prop_map(
            |(labels, qtype, qclass, dnssec_ok, checking_disabled)| {
                let mut buf = crate::name::NameBuf::new();
                for label in labels {
                    let _ = buf.push_label(&label);
                }
                Ask { name: buf.to_name(), qtype, qclass, dnssec_ok, checking_disabled }
            },
        )
    }

    proptest! {
        #[test]
        fn a_query_is_what_hickory_writes(ask in asks(), edns: bool) {
            prop_assert_eq!(Question::new(&ask, edns).bytes().to_vec(), twin(&ask, edns));
        }

        #[test]
        fn mixed_case_changes_letters_only_and_is_told_apart(ask in asks(), edns: bool, seed: u64) {
            let plain = Question::new(&ask, edns);
            let mut mixed = plain;
            mixed.mix_case(&mut rand::rngs::StdRng::seed_from_u64(seed));
            let name = HEADER..HEADER + ask.name.wire().len();
            prop_assert_eq!(mixed.bytes()[name.clone()].to_ascii_lowercase(), &plain.bytes()[name]);
            let mut reply = plain.bytes().to_vec();
            reply[2] |= 0x80;
            let same = mixed.bytes() == plain.bytes();
            prop_assert_eq!(mixed.compare(&reply), if same { Match::Exact } else { Match::OtherCase });
        }

        #[test]
        fn padded_queries_are_whole_blocks_and_say_the_same(ask in asks(), subnet in any::<Option<(IpAddr, u8)>>()) {
            let mut question = Question::new(&ask, true);
            let subnet = subnet.map(|(ip, prefix)| Subnet::of(ip, prefix));
            if let Some(subnet) = &subnet {
                question.add_subnet(subnet);
            }
            prop_assert_eq!(Subnet::in_query(question.bytes()), subnet);
            prop_assert_eq!(Subnet::in_query(&question.padded()), subnet);
            let padded = question.padded();
            prop_assert_eq!(padded.len() % BLOCK, 0);
            prop_assert!(padded.len() < question.bytes().len() + 4 + BLOCK);
            let mut message = Message::from_vec(&padded).expect("a message");
            let opt = message.edns.as_mut().expect("an OPT");
            let fill = match opt.options().as_ref() {
                [.., (EdnsCode::Padding, EdnsOption::Unknown(12, fill))] => fill.clone(),
                other => panic!("{other:?}"),
            };
            prop_assert!(fill.iter().all(|&octet| octet == 0));
            opt.options_mut().remove(EdnsCode::Padding);
            if subnet.is_none() {
                prop_assert_eq!(message.to_vec().expect("a message"), question.bytes());
            }
            let plain = Question::new(&ask, false);
            prop_assert_eq!(plain.padded(), plain.bytes());
        }

        #[test]
        fn any_bytes_can_be_compared(ask in asks(), reply in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = Question::new(&ask, true).compare(&reply);
        }
    }

    #[test]
    fn only_an_answer_to_this_question_matches() {
        let name = Name::parse("www.example").expect("a name");
        let ask = Ask { name, qtype: 1, qclass: 1, dnssec_ok: false, checking_disabled: false };
        let question = Question::new(&ask, true);
        let reply = |change: fn(&mut Vec<u8>)| {
            let mut bytes = question.bytes().to_vec();
            bytes[2] |= 0x80;
            change(&mut bytes);
            question.compare(&bytes)
        };
        assert_eq!(reply(|_| ()), Match::Exact);
        assert_eq!(reply(|bytes| bytes[2] &= 0x7f), Match::No, "not an answer");
        assert_eq!(reply(|bytes| bytes[13] = b'W'), Match::OtherCase);
        assert_eq!(reply(|bytes| bytes[13] = b'v'), Match::No, "another name");
        assert_eq!(reply(|bytes| bytes[26] = 2), Match::No, "another type");
        assert_eq!(reply(|bytes| bytes[28] = 3), Match::No, "another class");
        assert_eq!(reply(|bytes| bytes[5] = 2), Match::No, "two questions");
        assert_eq!(reply(|bytes| bytes[12] = 0xc0), Match::Broken);
        assert_eq!(reply(|bytes| bytes.truncate(20)), Match::Broken);
        let bare = |bytes: &mut Vec<u8>| {
            bytes.truncate(12);
            bytes[5] = 0;
        };
        assert_eq!(reply(bare), Match::No, "an empty answer says nothing");
        bare_error();
        fn bare_error() {
            let name = Name::root();
            let ask = Ask { name, qtype: 1, qclass: 1, dnssec_ok: false, checking_disabled: false };
            let reply = [0, 0, 0x81, 0x81, 0, 0, 0, 0, 0, 0, 0, 0];
            assert_eq!(Question::new(&ask, true).compare(&reply), Match::Bare(1));
        }
    }
}
