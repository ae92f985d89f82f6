//! The record of a finished query, and who can say why it matched.

use std::net::IpAddr;
use std::sync::Arc;

use crate::rule::{Mode, Order};
use crate::util::Now;

/// How a query came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// DNS over UDP.
    Udp,
    /// DNS over TCP.
    Tcp,
    /// DNS over TLS (RFC 7858).
    Dot,
    /// DNS over HTTPS, by HTTP/1.1 or 2 (RFC 8484).
    Doh,
    /// DNS over HTTPS, by HTTP/3.
    Doh3,
    /// DNS over QUIC (RFC 9250).
    Doq,
}

impl Transport {
    /// All of them, in the order of their counters.
    pub const ALL: [Self; 6] = [Self::Udp, Self::Tcp, Self::Dot, Self::Doh, Self::Doh3, Self::Doq];

    /// As it stands in the hit log and the ready file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Dot => "dot",
            Self::Doh => "doh",
            Self::Doh3 => "doh3",
            Self::Doq => "doq",
        }
    }

    /// An answer is one datagram, so its size is bounded, and whoever asks may have forged the address.
    pub fn is_datagram(self) -> bool {
        self == Self::Udp
    }

    /// Nobody on the way can read along.
    pub fn is_encrypted(self) -> bool {
        !matches!(self, Self::Udp | Self::Tcp)
    }
}

/// What a matched query got.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AnswerKind {
    /// The configured addresses, or NODATA where a family has none.
    Sinkhole,
    /// NXDOMAIN.
    Nxdomain,
    /// NOERROR without records.
    Nodata,
    /// REFUSED.
    Refused,
    /// Nothing.
    Drop,
    /// A CNAME, with the target's records where they could be had.
    Cname,
    /// RPZ local data.
    Local,
    /// RPZ `rpz-tcp-only.` over UDP: an empty answer with TC.
    Truncated,
    /// The ordinary answer (shadow lists, `rpz-tcp-only.` over TCP).
    Passed,
}

impl AnswerKind {
    /// All of them, in the order of their counters.
    pub const ALL: [Self; 9] = [
        Self::Sinkhole,
        Self::Nxdomain,
        Self::Nodata,
        Self::Refused,
        Self::Drop,
        Self::Cname,
        Self::Local,
        Self::Truncated,
        Self::Passed,
    ];

    /// As it stands in the hit log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sinkhole => "sinkhole",
            Self::Nxdomain => "nxdomain",
            Self::Nodata => "nodata",
            Self::Refused => "refused",
            Self::Drop => "drop",
            Self::Cname => "cname",
            Self::Local => "local",
            Self::Truncated => "truncated",
            Self::Passed => "passed",
        }
    }
}

/// One query that matched a rule.
#[derive(Clone, Copy, Debug)]
pub struct Hit<'a> {
    /// Milliseconds since the epoch.
    pub unix_ms: i64,
    /// The snapshot that decided; its [`Attribution`] explains the hit.
    pub generation: u64,
    /// Who asked.
    pub client: IpAddr,
    /// How.
    pub transport: Transport,
    /// The number of the client's group in that snapshot; 0: it is in none.
    pub group: u16,
    /// RR type asked for.
    pub qtype: u16,
    /// What became of the query.
    pub outcome: Outcome,
    /// What the client got.
    pub answer: AnswerKind,
    /// The number of the rule that decided.
    pub rule: u32,
    /// No other that could be seen matched: then [`Attribution::causes_of`] explains the hit, and all others of that
    /// rule alike.
    pub alone: bool,
    /// The query name: lower-case wire bytes.
    pub name: &'a [u8],
    /// The name in an upstream's answer that matched, if it was not the query name.
    pub target: Option<&'a [u8]>,
}

/// Explains the hits of one snapshot; asked off the query path.
pub trait Attribution: Send + Sync {
    /// Every rule in force that matches `name` (lower-case wire bytes) in lists of `mode` which hold for clients of
    /// group number `group`, the one that decided first.
    fn causes(&self, name: &[u8], mode: Mode, group: u16) -> Vec<Cause>;

    /// The same for every name of which rule number `rule` was the only one seen to match; `None` if only
    /// [`Self::causes`] can say.
    fn causes_of(&self, rule: u32) -> Option<Vec<Cause>>;

    /// How many rules there are: their numbers are all below.
    fn rules(&self) -> u32;

    /// What can be said of a hit of which only the rule that decided is known: what became of the query, and the
    /// rules that must have matched (of an exception, itself alone). `None`: there is no such rule.
    fn causes_at(&self, rule: u32) -> Option<(Outcome, Vec<Cause>)>;

    /// The name of group number `group`, if there is one.
    fn group(&self, _group: u16) -> Option<Arc<str>> {
        None
    }
}

/// One rule that matched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// The list's name.
    pub list: String,
    /// The file the rule stands in.
    pub file: String,
    /// The line there.
    pub line: u32,
    /// The pattern as a `domains` list writes it.
    pub rule: String,
    /// The orders in force it rests on.
    pub orders: Vec<Arc<Order>>,
}

/// What became of a query that matched a rule: what hits are counted by first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Outcome {
    /// Answered as an enforcing list says.
    Blocked,
    /// Would have been, by a list in shadow mode.
    Shadow,
    /// Would have been, but an allow rule covers the name.
    Excepted,
}

impl From<Mode> for Outcome {
    /// Of a query that a list of this mode blocks.
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Enforce => Self::Blocked,
            Mode::Shadow => Self::Shadow,
        }
    }
}

impl Outcome {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Blocked, Self::Shadow, Self::Excepted];

    /// As statistics spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Blocked => "blocked",
            Self::Shadow => "shadow",
            Self::Excepted => "excepted",
        }
    }
}

/// What hits are counted under: all that is alike in the reasons of two hits.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Subject {
    /// What became of the query.
    pub outcome: Outcome,
    /// The pattern of the rule that decided, as a `domains` list writes it; empty if no snapshot knew the hit any more.
    pub rule: Box<str>,
    /// The list of that rule.
    pub list: Box<str>,
    /// The other lists with a rule that matched, each once, in the order of the configuration.
    pub also: Box<[Box<str>]>,
    /// All orders in force that the block rests on, each once.
    pub orders: Box<[Arc<Order>]>,
}

/// Why hits matched; made once for all hits of a rule and kept while they come.
#[derive(Debug)]
pub struct Why {
    /// Another for each that was made in this process; they grow.
    pub id: u64,
    /// What they are counted under.
    pub subject: Subject,
    /// Every rule that matched, the one that decided first.
    pub causes: Box<[Cause]>,
    /// The group of the clients, if they are in one.
    pub group: Option<Arc<str>>,
}

/// Takes every hit, on a thread that serves no queries. It must not wait for anything: what there is no room for is
/// dropped and counted by the sink itself.
pub trait Sink: Send {
    /// One hit, and why it matched.
    fn take(&mut self, hit: &Hit<'_>, why: &Arc<Why>);

    /// No hit is there for the moment. Called ten times a second at least, however many hits come.
    fn rest(&mut self, now: Now);

    /// No hit will come any more.
    fn finish(&mut self, now: Now);
}

/// Counts every hit, on the same thread as [`Sink`]s. It must not wait either, but may ask for some to be counted later.
pub trait Count: Send {
    /// One hit, and why it matched. False: there is no room for another subject now. Its [`Form`] is counted then,
    /// and the hit itself comes again through [`Self::unexamined`].
    fn take(&mut self, hit: &Hit<'_>, why: &Arc<Why>) -> bool;

    /// So many hits of which nothing else is known. False: there is no room now, they are kept and come again.
    fn unexamined(&mut self, why: &Arc<Why>, hits: u64, now: Now) -> bool;

    /// So many hits of one form that [`Self::take`] is not shown.
    fn forms(&mut self, form: Form, hits: u64, now: Now);

    /// See [`Sink::rest`].
    fn rest(&mut self, now: Now);

    /// No hit will come any more. It may wait for a second.
    fn finish(&mut self, now: Now);
}

/// How a query was asked and what became of it: what hits are counted by beside their subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Form {
    /// What became of the query.
    pub outcome: Outcome,
    /// RR type asked for; [`Self::OTHER_TYPE`] for all from [`Self::TYPES`] up, which nobody but who tries it out asks for.
    pub qtype: u16,
    /// What the client got.
    pub answer: AnswerKind,
    /// How it asked.
    pub transport: Transport,
}

impl Form {
    /// RR types counted apart; the registry of ordinary types ends far below.
    pub const TYPES: u16 = 383;
    /// Stands for every other type: the number 65535 is reserved.
    pub const OTHER_TYPE: u16 = u16::MAX;
    /// How many forms there are.
    pub const ALL: usize = (Self::TYPES as usize + 1) * Self::PER_TYPE;
    /// Forms of one type.
    const PER_TYPE: usize = Outcome::ALL.len() * AnswerKind::ALL.len() * Transport::ALL.len();

    /// That of a hit.
    pub fn of(hit: &Hit<'_>) -> Self {
        Self::new(hit.outcome, hit.qtype, hit.answer, hit.transport)
    }

    /// From its parts.
    pub fn new(outcome: Outcome, qtype: u16, answer: AnswerKind, transport: Transport) -> Self {
        let qtype = if qtype < Self::TYPES { qtype } else { Self::OTHER_TYPE };
        Self { outcome, qtype, answer, transport }
    }

    /// Its place among all forms.
    pub fn place(self) -> usize {
        let qtype = usize::from(self.qtype.min(Self::TYPES));
        let answer =
            (qtype * Outcome::ALL.len() + self.outcome as usize) * AnswerKind::ALL.len() + self.answer as usize;
        answer * Transport::ALL.len() + self.transport as usize
    }

    /// The form at a place; places past the last are those before again.
    pub fn at(place: usize) -> Self {
        let transport = Transport::ALL[place % Transport::ALL.len()];
        let place = place / Transport::ALL.len();
        let answer = AnswerKind::ALL[place % AnswerKind::ALL.len()];
        let place = place / AnswerKind::ALL.len();
        let outcome = Outcome::ALL[place % Outcome::ALL.len()];
        Self::new(outcome, u16::try_from(place / Outcome::ALL.len()).unwrap_or(Self::OTHER_TYPE), answer, transport)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_has_a_place_of_its_own() {
        for place in 0..Form::ALL {
            assert_eq!(Form::at(place).place(), place);
        }
        let form = |qtype| Form::new(Outcome::Excepted, qtype, AnswerKind::Passed, Transport::Tcp);
        assert_eq!((form(382).qtype, form(383).qtype, form(u16::MAX).qtype), (382, u16::MAX, u16::MAX));
        let last = Form::new(Outcome::Excepted, u16::MAX, AnswerKind::Passed, Transport::Doq);
        assert_eq!(last.place(), Form::ALL - 1);
    }
}
