//! Writes the answer to a query that a rule has matched.

use crate::event::{AnswerKind, Transport};
use crate::name::{Name, NameBuf};
use crate::rule::{CnameTarget, Effect, LocalData, Order, RpzAction};
use crate::wire::{Ede, Opt, Owner, Query, Section, Writer, rcode, rtype};

use super::{Answer, AnswerMode, ListPolicy};

/// The most octets of EXTRA-TEXT as plain text.
const TEXT_MAX: usize = 255;
/// The most octets of EXTRA-TEXT as I-JSON.
const JSON_MAX: usize = 1000;
/// SOA of negative answers: MNAME `qalqan.invalid.`, RNAME `nobody.invalid.` (RFC 2308 needs one to be cached by).
const SOA_NAMES: &[u8] = b"\x06qalqan\x07invalid\0\x06nobody\x07invalid\0";

/// A query as it came.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The message.
    pub message: &'a [u8],
    /// The message, parsed.
    pub query: &'a Query,
    /// Its name in lower case.
    pub name: &'a NameBuf,
    /// How it came in.
    pub transport: Transport,
    /// The most octets the answer may have.
    pub limit: usize,
}

/// Why it is blocked.
#[derive(Clone, Copy, Debug)]
pub struct Blocked<'a> {
    /// The list of the rule that decided.
    pub list: &'a ListPolicy,
    /// Its answer, or the one that the client's group gets instead.
    pub answer: &'a Answer,
    /// What the rule says.
    pub effect: &'a Effect,
    /// The order it rests on.
    pub order: Option<&'a Order>,
    /// How many labels of the query name the matched pattern leaves out on the left;
    /// 0 too when not the query name but a target of its answer matched.
    pub below: usize,
    /// Generation of the snapshot: serial of the SOA.
    pub serial: u32,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Respond<'a> {
    /// The answer stands in the buffer: octets, and what it is.
    Reply(usize, AnswerKind),
    /// No answer at all.
    Drop,
    /// The answer as it would be without the rule (`rpz-tcp-only.` over TCP).
    Pass,
    /// A CNAME whose target's records have to be fetched: [`respond_chased`] adds them. The buffer
    /// holds the answer with the CNAME alone, of this many octets.
    Chase(&'a CnameTarget, usize, AnswerKind),
}

/// Writes the answer into `out`.
pub fn respond<'a>(asked: &Asked<'_>, blocked: &Blocked<'a>, out: &mut [u8]) -> Respond<'a> {
    let structured = asked.query.edns.is_some_and(|edns| edns.structured_error);
    let done = |len, kind| Respond::Reply(len, kind);
    match plan(blocked) {
        Plan::Drop => Respond::Drop,
        Plan::TcpOnly if asked.transport.is_datagram() => {
            let mut writer = Writer::new(asked.message, asked.query, rcode::NOERROR, asked.limit, out);
            writer.truncate();
            done(writer.finish(Opt::default()), AnswerKind::Truncated)
        }
        Plan::TcpOnly => Respond::Pass,
        Plan::Refused => done(error(asked, blocked, rcode::REFUSED, out), AnswerKind::Refused),
        Plan::Nxdomain => done(negative(asked, blocked, rcode::NXDOMAIN, out), AnswerKind::Nxdomain),
        Plan::Nodata => done(negative(asked, blocked, rcode::NOERROR, out), AnswerKind::Nodata),
        // A client that understands why it is blocked is never lied to.
        Plan::Sinkhole | Plan::Cname(_) | Plan::Local(_) if structured => {
            done(negative(asked, blocked, rcode::NOERROR, out), AnswerKind::Nodata)
        }
        Plan::Sinkhole => done(sinkhole(asked, blocked, out), AnswerKind::Sinkhole),
        Plan::Cname(target) => cname(asked, blocked, target, AnswerKind::Cname, out),
        Plan::Local(data) => local(asked, blocked, data, out),
    }
}

/// What is to be done, with list and rule taken together.
enum Plan<'a> {
    Sinkhole,
    Nxdomain,
    Nodata,
    Refused,
    Drop,
    TcpOnly,
    Cname(&'a CnameTarget),
    Local(&'a LocalData),
}

/// A rule's own action goes before its list's answer.
fn plan<'a>(blocked: &Blocked<'a>) -> Plan<'a> {
    let answer = blocked.answer;
    match blocked.effect {
        Effect::Rpz(RpzAction::Nxdomain) => Plan::Nxdomain,
        Effect::Rpz(RpzAction::Nodata) => Plan::Nodata,
        Effect::Rpz(RpzAction::Drop) => Plan::Drop,
        Effect::Rpz(RpzAction::TcpOnly) => Plan::TcpOnly,
        Effect::Rpz(RpzAction::Local(data)) => Plan::Local(data),
        Effect::Block | Effect::Allow | Effect::Rpz(RpzAction::Passthru) => match answer.mode {
            AnswerMode::Sinkhole => Plan::Sinkhole,
            AnswerMode::Nxdomain => Plan::Nxdomain,
            AnswerMode::Nodata => Plan::Nodata,
            AnswerMode::Refused => Plan::Refused,
            AnswerMode::Drop => Plan::Drop,
            AnswerMode::Cname => answer.cname.as_ref().map_or(Plan::Nodata, Plan::Cname),
        },
    }
}

/// The configured addresses, or NODATA.
fn sinkhole(asked: &Asked<'_>, blocked: &Blocked<'_>, out: &mut [u8]) -> usize {
    let answer = blocked.answer;
    let some = match asked.query.qtype {
        rtype::A => !answer.ipv4.is_empty(),
        rtype::AAAA => !answer.ipv6.is_empty(),
        _ => false,
    };
    if !some {
        return negative(asked, blocked, rcode::NOERROR, out);
    }
    let mut writer = Writer::new(asked.message, asked.query, rcode::NOERROR, asked.limit, out);
    if asked.query.qtype == rtype::A {
        for address in &answer.ipv4 {
            writer.record(Section::Answer, Owner::Question(0), rtype::A, answer.ttl, &[address]);
        }
    } else {
        for address in &answer.ipv6 {
            writer.record(Section::Answer, Owner::Question(0), rtype::AAAA, answer.ttl, &[address]);
        }
    }
    close(writer, asked, blocked)
}

/// NXDOMAIN or NODATA with the SOA clients cache it by, owned by the matched suffix.
fn negative(asked: &Asked<'_>, blocked: &Blocked<'_>, rcode: u16, out: &mut [u8]) -> usize {
    let mut writer = Writer::new(asked.message, asked.query, rcode, asked.limit, out);
    soa(&mut writer, asked, blocked);
    close(writer, asked, blocked)
}

/// The SOA record. Its minimum is the TTL: negative answers live as long as positive ones (RFC 2308 section 5).
fn soa(writer: &mut Writer<'_>, asked: &Asked<'_>, blocked: &Blocked<'_>) {
    let ttl = blocked.answer.ttl;
    let skip = asked.name.wire().len() - asked.name.suffix(blocked.below).len();
    let mut numbers = [0; 20];
    for (to, value) in numbers.chunks_exact_mut(4).zip([blocked.serial, 3600, 600, 86400, ttl]) {
        to.copy_from_slice(&value.to_be_bytes());
    }
    writer.record(Section::Authority, Owner::Question(skip), rtype::SOA, ttl, &[SOA_NAMES, &numbers]);
}

/// An answer that is nothing but a response code.
fn error(asked: &Asked<'_>, blocked: &Blocked<'_>, rcode: u16, out: &mut [u8]) -> usize {
    close(Writer::new(asked.message, asked.query, rcode, asked.limit, out), asked, blocked)
}

/// RPZ local data: the records of the type asked for, or a CNAME, or NODATA.
fn local<'a>(asked: &Asked<'_>, blocked: &Blocked<'a>, data: &'a LocalData, out: &mut [u8]) -> Respond<'a> {
    if let Some(target) = &data.cname {
        return cname(asked, blocked, target, AnswerKind::Local, out);
    }
    let wanted = |rtype| rtype == asked.query.qtype || asked.query.qtype == rtype::ANY;
    if !data.records.iter().any(|record| wanted(record.rtype)) {
        return Respond::Reply(negative(asked, blocked, rcode::NOERROR, out), AnswerKind::Local);
    }
    let mut writer = Writer::new(asked.message, asked.query, rcode::NOERROR, asked.limit, out);
    for record in data.records.iter().filter(|record| wanted(record.rtype)) {
        writer.record(Section::Answer, Owner::Question(0), record.rtype, record.ttl, &[&record.rdata]);
    }
    Respond::Reply(close(writer, asked, blocked), AnswerKind::Local)
}

/// A CNAME; unless just that was asked for, somebody has to fetch what it points to.
fn cname<'a>(
    asked: &Asked<'_>,
    blocked: &Blocked<'a>,
    target: &'a CnameTarget,
    kind: AnswerKind,
    out: &mut [u8],
) -> Respond<'a> {
    if target_len(asked.name, target) > crate::name::MAX_WIRE {
        // As for a DNAME that grows a name too long (RFC 6672 section 2.2), but blocked names stay blocked.
        return Respond::Reply(negative(asked, blocked, rcode::NXDOMAIN, out), kind);
    }
    let len = respond_chased(asked, blocked, target, &[], 0, out);
    match asked.query.qtype {
        rtype::CNAME | rtype::ANY => Respond::Reply(len, kind),
        _ => Respond::Chase(target, len, kind),
    }
}

/// Writes a CNAME answer with `count` records of its target, which stand in `records` with all names in full.
pub fn respond_chased(
    asked: &Asked<'_>,
    blocked: &Blocked<'_>,
    target: &CnameTarget,
    records: &[u8],
    count: u16,
    out: &mut [u8],
) -> usize {
    let ttl = target.ttl.unwrap_or(blocked.answer.ttl);
    let parts = [target_front(asked.name, target), target.name.wire()];
    let mut writer = Writer::new(asked.message, asked.query, rcode::NOERROR, asked.limit, out);
    writer.record(Section::Answer, Owner::Question(0), rtype::CNAME, ttl, &parts);
    writer.records(records, [count, 0, 0]);
    close(writer, asked, blocked)
}

/// The name a CNAME answer to `name` points to; `None` if it would be too long.
pub fn target_name(name: &NameBuf, target: &CnameTarget) -> Option<Name> {
    Name::from_wire(&[target_front(name, target), target.name.wire()].concat())
}

/// What stands before the configured target: the query name without its root, if it is to be put in front.
fn target_front<'b>(name: &'b NameBuf, target: &CnameTarget) -> &'b [u8] {
    if target.prefix_query { &name.wire()[..name.wire().len() - 1] } else { &[] }
}

/// Octets of the name a CNAME answer points to.
fn target_len(name: &NameBuf, target: &CnameTarget) -> usize {
    target_front(name, target).len() + target.name.wire().len()
}

/// Adds the extended error, as text or as I-JSON, and closes the answer.
fn close(writer: Writer<'_>, asked: &Asked<'_>, blocked: &Blocked<'_>) -> usize {
    let answer = blocked.answer;
    let (Some(code), Some(edns)) = (answer.ede, asked.query.edns) else { return writer.finish(Opt::default()) };
    if edns.structured_error {
        let mut json = Text::<JSON_MAX>::new();
        structured_error(blocked, &mut json);
        return writer.finish(Opt { ede: Some(Ede { code, text: json.bytes() }), passed: &[] });
    }
    let mut text = Text::<TEXT_MAX>::new();
    answer.text.write(blocked.order, &blocked.list.name, &mut |piece| text.push(piece));
    writer.finish(Opt { ede: Some(Ede { code, text: text.bytes() }), passed: &[] })
}

/// Minified I-JSON with `c`, `j`, `o`, `l` (draft-ietf-dnsop-structured-dns-error section 4). When the
/// contacts make it too long they are left out; what is left fits, as the justification is bounded.
fn structured_error(blocked: &Blocked<'_>, out: &mut Text<JSON_MAX>) {
    let answer = blocked.answer;
    let contacts = blocked.order.map_or(&[][..], |order| &order.contact);
    let mut justification = Text::<TEXT_MAX>::new();
    answer.text.write(blocked.order, &blocked.list.name, &mut |piece| justification.push(piece));
    for contacts in [contacts, &[]] {
        out.clear();
        out.push("{\"c\":[");
        for (index, contact) in contacts.iter().enumerate() {
            if index > 0 {
                out.push(",");
            }
            out.push_json(contact);
        }
        out.push("],\"j\":");
        out.push_json(std::str::from_utf8(justification.bytes()).unwrap_or_default());
        if let Some(order) = blocked.order {
            let mut authority = Text::<TEXT_MAX>::new();
            authority.push(&order.authority);
            out.push(",\"o\":");
            out.push_json(std::str::from_utf8(authority.bytes()).unwrap_or_default());
        }
        out.push(",\"l\":");
        out.push_json(&answer.language);
        out.push("}");
        if !out.cut {
            return;
        }
    }
    // Escapes made even that too long: say nothing rather than broken JSON.
    out.clear();
}

/// Text in a fixed buffer; what doesn't fit is cut off between characters.
struct Text<const N: usize> {
    bytes: [u8; N],
    len: usize,
    cut: bool,
}

impl<const N: usize> Text<N> {
    /// Empty.
    fn new() -> Self {
        Self { bytes: [0; N], len: 0, cut: false }
    }

    /// Empties it.
    fn clear(&mut self) {
        self.len = 0;
        self.cut = false;
    }

    /// The text so far.
    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// Appends as much as fits.
    fn push(&mut self, text: &str) {
        let mut fits = text.len().min(if self.cut { 0 } else { N - self.len });
        while !text.is_char_boundary(fits) {
            fits -= 1;
        }
        self.cut |= fits < text.len();
        self.bytes[self.len..self.len + fits].copy_from_slice(&text.as_bytes()[..fits]);
        self.len += fits;
    }

    /// Appends a JSON string with its quotes (RFC 8259 section 7).
    fn push_json(&mut self, text: &str) {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        self.push("\"");
        let mut plain_from = 0;
        for (at, byte) in text.bytes().enumerate() {
            if byte >= 0x20 && byte != b'"' && byte != b'\\' {
                continue;
            }
            self.push(&text[plain_from..at]);
            plain_from = at + 1;
            match byte {
                b'"' => self.push("\\\""),
                b'\\' => self.push("\\\\"),
                _ => {
                    let digits = [HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]];
                    self.push("\\u00");
                    self.push(std::str::from_utf8(&digits).unwrap_or("00"));
                }
            }
        }
        self.push(&text[plain_from..]);
        self.push("\"");
    }
}
