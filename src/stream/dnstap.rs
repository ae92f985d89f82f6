//! dnstap: a protocol buffer a hit, with the policy that was applied.
//!
//! A hit holds no octets of the query or the answer, but readers show nothing of a message without one. So there is one
//! with what is known for certain: header and question. An answer of ours is a CLIENT_RESPONSE with its response code; where
//! there was none of ours (shadow lists, exceptions, drops) the hit is a CLIENT_QUERY.

mod proto;

use std::net::IpAddr;
use std::sync::Arc;

use prost::Message as _;
use serde::Serialize;

use self::proto::{Dnstap, MESSAGE, Message, Policy, QNAME, action, message};
use super::encode::{Encode, host, orders};
use super::said::Remembered;
use crate::event::{AnswerKind, Hit, Subject, Transport, Why};
use crate::hits::{Clients, Shown};
use crate::name::Name;

/// The policy's type: what decided was a rule of one of our lists.
const POLICY: &str = "qalqan";
/// Octets of orders a message names: readers take frames of 64 KiB at least.
const ORDERS: usize = 16 << 10;
/// Other lists a message names.
const ALSO: usize = 64;
/// Bits of the second half of a DNS header's flags and of its first.
const QR: u8 = 0x80;
const TC: u8 = 0x02;
const RD: u8 = 0x01;
const RA: u8 = 0x80;

/// Makes such messages, in one that is filled in again and again.
pub(super) struct Tap {
    tap: Dnstap,
    clients: Shown,
    said: Remembered,
}

impl Tap {
    /// With nothing remembered.
    pub(super) fn new(clients: Clients) -> Self {
        let policy = Policy { r#type: Some(POLICY.into()), r#match: Some(QNAME), ..Policy::default() };
        let tap = Dnstap {
            identity: Some(host().into()),
            version: Some(concat!("qalqan ", env!("CARGO_PKG_VERSION")).into()),
            extra: None,
            message: Some(Message { policy: Some(policy), ..Message::default() }),
            r#type: MESSAGE,
        };
        Self { tap, clients: Shown::new(clients), said: Remembered::default() }
    }
}

impl Encode for Tap {
    fn encode(&mut self, hit: &Hit<'_>, why: &Arc<Why>, out: &mut Vec<u8>) {
        let said = self.said.of(why, |why, extra, owner| {
            push_extra(&why.subject, extra);
            push_owner(&why.subject.rule, owner);
        });
        let message = self.tap.message.get_or_insert_default();
        let address = self.clients.address(hit.client);
        let extra = refill(&mut self.tap.extra);
        extra.extend_from_slice(&said.one);
        extra.extend_from_slice(hit.answer.as_str().as_bytes());
        extra.extend_from_slice(b"\",\"client\":");
        extra.extend_from_slice(self.clients.json(hit.client));
        extra.push(b'}');
        message.socket_family = Some(if hit.client.to_canonical().is_ipv4() { 1 } else { 2 });
        message.socket_protocol = Some(match hit.transport {
            Transport::Udp => 1,
            Transport::Tcp => 2,
            Transport::Dot => 3,
            Transport::Doh | Transport::Doh3 => 4,
            Transport::Doq => 7,
        });
        match address {
            Some(IpAddr::V4(v4)) => refill(&mut message.query_address).extend(v4.octets()),
            Some(IpAddr::V6(v6)) => refill(&mut message.query_address).extend(v6.octets()),
            None => message.query_address = None,
        }
        let seconds = u64::try_from(hit.unix_ms.div_euclid(1000)).unwrap_or(0);
        let nanoseconds = hit.unix_ms.rem_euclid(1000) as u32 * 1_000_000;
        (message.query_time_sec, message.query_time_nsec) = (Some(seconds), Some(nanoseconds));
        let was = message.query_message.take().or_else(|| message.response_message.take());
        let mut octets = was.unwrap_or_default();
        octets.clear();
        match header(hit.answer) {
            Some(flags) => {
                message.r#type = message::CLIENT_RESPONSE;
                (message.response_time_sec, message.response_time_nsec) = (Some(seconds), Some(nanoseconds));
                push_dns(flags, hit, &mut octets);
                message.response_message = Some(octets);
            }
            None => {
                message.r#type = message::CLIENT_QUERY;
                (message.response_time_sec, message.response_time_nsec) = (None, None);
                push_dns([RD, 0], hit, &mut octets);
                message.query_message = Some(octets);
            }
        }
        let policy = message.policy.get_or_insert_default();
        policy.action = action(hit.answer);
        refill(&mut policy.value).extend_from_slice(hit.target.unwrap_or(hit.name));
        if said.two.is_empty() {
            policy.rule = None;
        } else {
            refill(&mut policy.rule).extend_from_slice(&said.two);
        }
        self.tap.encode_raw(out);
    }
}

/// An empty field, with the memory it had.
fn refill(field: &mut Option<Vec<u8>>) -> &mut Vec<u8> {
    let octets = field.get_or_insert_default();
    octets.clear();
    octets
}

/// The flags of an answer of ours; `None` if there was none.
fn header(answer: AnswerKind) -> Option<[u8; 2]> {
    /// Response codes.
    const NXDOMAIN: u8 = 3;
    const REFUSED: u8 = 5;
    match answer {
        AnswerKind::Sinkhole | AnswerKind::Nodata | AnswerKind::Cname | AnswerKind::Local => Some([QR | RD, RA]),
        AnswerKind::Nxdomain => Some([QR | RD, RA | NXDOMAIN]),
        AnswerKind::Refused => Some([QR | RD, RA | REFUSED]),
        AnswerKind::Truncated => Some([QR | TC | RD, RA]),
        AnswerKind::Drop | AnswerKind::Passed => None,
    }
}

/// dnstap's word for what the client got; it has none for REFUSED.
fn action(answer: AnswerKind) -> Option<i32> {
    match answer {
        AnswerKind::Sinkhole | AnswerKind::Cname | AnswerKind::Local => Some(action::LOCAL_DATA),
        AnswerKind::Nxdomain => Some(action::NXDOMAIN),
        AnswerKind::Nodata => Some(action::NODATA),
        AnswerKind::Drop => Some(action::DROP),
        AnswerKind::Truncated => Some(action::TRUNCATE),
        AnswerKind::Passed => Some(action::PASS),
        AnswerKind::Refused => None,
    }
}

/// Appends a DNS message with these flags, id 0, and nothing but the question.
fn push_dns(flags: [u8; 2], hit: &Hit<'_>, out: &mut Vec<u8>) {
    out.extend([0, 0]);
    out.extend(flags);
    out.extend([0, 1, 0, 0, 0, 0, 0, 0]);
    out.extend_from_slice(hit.name);
    out.extend(hit.qtype.to_be_bytes());
    out.extend([0, 1]);
}

/// Appends the owner of a rule in a policy zone: a name, or `*` below one. Nothing if the pattern is none of ours.
fn push_owner(rule: &str, out: &mut Vec<u8>) {
    let (star, name) = match (rule.strip_prefix("*."), rule.strip_prefix('=')) {
        (Some(below), _) => (true, below),
        (_, Some(exact)) => (false, exact),
        _ => (false, rule),
    };
    if let Ok(name) = Name::parse(name) {
        out.extend_from_slice(if star { b"\x01*" } else { b"" });
        out.extend_from_slice(name.wire());
    }
}

/// What `extra` says of a rule.
#[derive(Serialize)]
struct Extra<'a> {
    outcome: &'a str,
    list: Option<&'a str>,
    rule: Option<&'a str>,
    orders: Vec<Named<'a>>,
    #[serde(skip_serializing_if = "is_zero")]
    orders_more: usize,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    also: &'a [Box<str>],
    answer: &'a str,
}

/// An order there.
#[derive(Serialize)]
struct Named<'a> {
    id: &'a str,
    authority: &'a str,
}

/// For serde.
fn is_zero(number: &usize) -> bool {
    *number == 0
}

/// Appends the beginning of `extra`: an object up to the answer's opening quote.
fn push_extra(subject: &Subject, out: &mut Vec<u8>) {
    let (named, orders_more) = orders(subject, ORDERS);
    let known = (!subject.rule.is_empty()).then_some(());
    let extra = Extra {
        outcome: subject.outcome.as_str(),
        list: known.map(|()| &*subject.list),
        rule: known.map(|()| &*subject.rule),
        orders: named.iter().map(|order| Named { id: &order.id, authority: &order.authority }).collect(),
        orders_more,
        also: subject.also.get(..ALSO).unwrap_or(&subject.also),
        answer: "",
    };
    // Strings and numbers into memory: serde_json has nothing to refuse here.
    let json = serde_json::to_vec(&extra).unwrap_or_default();
    out.extend_from_slice(json.strip_suffix(b"\"}").unwrap_or_default());
}

#[cfg(test)]
mod tests;
