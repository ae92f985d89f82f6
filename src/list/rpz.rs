//! Response policy zones as zone text (draft-vixie-dnsop-dns-rpz-00), QNAME triggers only. Read
//! record by record with our own tokenizer: hickory's zone parser stops at the first error.

mod data;
mod gather;
mod token;

use data::Data;
use gather::Gathered;
use hickory_proto::serialize::txt::parse_ttl;
use token::{Record, Records, Token};

use super::Urls;
use super::entry::{self, Reason, Top};
use super::sink::Sink;
use crate::name::{Name, NameBuf, is_at_or_below};
use crate::rule::{CnameTarget, LocalRecord, RpzAction, Scope};

/// TTL of local data where neither record nor zone says one, in seconds.
const DEFAULT_TTL: u32 = 30;
/// The longest TTL there is (RFC 2181 section 8).
const MAX_TTL: u32 = i32::MAX as u32;

/// A reason with the token it is about.
type Bad<'a> = (Token<'a>, Reason);

/// Reads an `rpz` file.
pub(super) fn read(text: &str, sink: &mut Sink<'_>) {
    let mut zone = Zone::default();
    let mut gathered = Gathered::default();
    let mut records = Records::new(text);
    let mut record = Record::default();
    while let Some(outcome) = records.next(&mut record) {
        sink.line();
        let outcome = outcome.and_then(|()| zone.record(&record, sink, &mut gathered));
        match outcome {
            Ok(()) => {}
            Err((token, reason)) => sink.reject(token.line, token.at, token.text, reason),
        }
    }
    gathered.finish(sink);
}

/// Whom the records at hand are about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Owner {
    /// No record yet.
    #[default]
    None,
    /// The zone itself.
    Apex,
    /// The names [`Zone::name`] and its scope say.
    Trigger(Scope),
    /// An owner that was not used, and why.
    Bad(Reason),
}

/// What earlier lines said.
#[derive(Default)]
struct Zone {
    /// What relative names are relative to; `None`: no one said, names are taken as they stand.
    origin: Option<Name>,
    /// The name of the zone: the SOA's owner, before that the first `$ORIGIN`.
    apex: Option<Name>,
    ttl: Option<u32>,
    last_ttl: Option<u32>,
    owner: Owner,
    name: NameBuf,
}

impl Zone {
    /// One record or directive.
    fn record<'a>(
        &mut self,
        record: &Record<'a>,
        sink: &mut Sink<'_>,
        gathered: &mut Gathered<'a>,
    ) -> Result<(), Bad<'a>> {
        let Some(&first) = record.tokens.first() else { return Ok(()) };
        if !record.inherits && first.text.starts_with('$') && !first.quoted {
            self.directive(record, first)?;
            sink.skip();
            return Ok(());
        }
        let mut at = usize::from(!record.inherits);
        let mut ttl = None;
        let rtype = loop {
            let token = record.tokens.get(at).copied().ok_or((first, Reason::Other("no record type")))?;
            at += 1;
            if ttl.is_none() && token.text.starts_with(|c: char| c.is_ascii_digit()) {
                let seconds = parse_ttl(token.text).map_err(|_| (token, Reason::Other("not a TTL")))?;
                ttl = Some(seconds.min(MAX_TTL));
            } else if let Some(class) = token::class(token.text) {
                if class != 1 {
                    return Err((token, Reason::Other("unsupported: a class other than IN")));
                }
            } else {
                break token;
            }
        };
        let rdata = record.tokens.get(at..).unwrap_or_default();
        let is_soa = rtype.text.eq_ignore_ascii_case("SOA");
        if !record.inherits {
            self.set_owner(first, is_soa);
        }
        self.last_ttl = ttl.or(self.last_ttl);
        let scope = match self.owner {
            Owner::None => return Err((first, Reason::Other("no owner: nothing stands above to inherit it from"))),
            Owner::Bad(reason) => return Err((first, reason)),
            Owner::Apex => {
                if is_soa {
                    check_serial(rdata, sink);
                }
                sink.skip();
                return Ok(());
            }
            Owner::Trigger(scope) => scope,
        };
        let number = data::type_number(rtype.text).ok_or((rtype, Reason::Other("unknown record type")))?;
        if data::is_dnssec(number) {
            sink.skip();
            return Ok(());
        }
        let data = match number {
            data::SOA => return Err((rtype, Reason::Other("an SOA below the zone's name"))),
            data::CNAME => self.action(rtype, rdata, ttl)?,
            _ => {
                let rdata = data::encode(number, rtype, rdata, self)?;
                let ttl = ttl.or(self.ttl).or(self.last_ttl).unwrap_or(DEFAULT_TTL);
                Data::Record(LocalRecord { rtype: number, ttl, rdata })
            }
        };
        gathered.push(&self.name, scope, if record.inherits { rtype } else { first }, data);
        Ok(())
    }

    /// `$ORIGIN` and `$TTL`.
    fn directive<'a>(&mut self, record: &Record<'a>, first: Token<'a>) -> Result<(), Bad<'a>> {
        let value = record.tokens.get(1).copied();
        if first.text.eq_ignore_ascii_case("$ORIGIN") {
            let value = value.ok_or((first, Reason::Other("`$ORIGIN` without a name")))?;
            let origin = self.absolute(value)?.to_name();
            self.apex.get_or_insert_with(|| origin.clone());
            self.origin = Some(origin);
            Ok(())
        } else if first.text.eq_ignore_ascii_case("$TTL") {
            let value = value.ok_or((first, Reason::Other("`$TTL` without a time")))?;
            let ttl = parse_ttl(value.text).map_err(|_| (value, Reason::Other("not a TTL")))?;
            self.ttl = Some(ttl.min(MAX_TTL));
            Ok(())
        } else {
            Err((first, Reason::Other("unsupported: only `$ORIGIN` and `$TTL`")))
        }
    }

    /// Takes the owner of a record over.
    fn set_owner(&mut self, token: Token<'_>, is_soa: bool) {
        self.owner = if is_soa {
            if token.text != "@"
                && let Ok(apex) = self.absolute(token)
            {
                self.apex = Some(apex.to_name());
            } else if self.origin.is_some() {
                self.apex.clone_from(&self.origin);
            }
            Owner::Apex
        } else {
            self.trigger(token).unwrap_or_else(|reason| {
                self.name.clear();
                Owner::Bad(reason)
            })
        };
    }

    /// The owner a token stands for; its name goes to `self.name`, without the zone's.
    fn trigger(&mut self, token: Token<'_>) -> Result<Owner, Reason> {
        let (text, scope) = match token.text.strip_prefix("*.") {
            Some(rest) if !token.quoted => (rest, Scope::Below),
            _ => (token.text, Scope::Exact),
        };
        if token.text == "@" && self.origin == self.apex {
            return Ok(Owner::Apex);
        }
        if token.text == "*" {
            return Err(Reason::Root);
        }
        let is_absolute = text.ends_with('.') && !text.ends_with("\\.");
        // The usual case: a name relative to the zone is the trigger as it stands.
        if !is_absolute && self.origin == self.apex && text != "@" {
            parse_labels(text, &mut self.name)?;
        } else {
            let full = self.absolute(Token { text, ..token }).map_err(|(_, reason)| reason)?;
            let apex = self.apex.as_ref().map_or(&[0][..], |apex| apex.wire());
            if !is_at_or_below(full.wire(), apex) {
                return Err(Reason::Other("outside the zone"));
            }
            let labels = full.label_count().saturating_sub(crate::name::labels(apex).count());
            self.name.clear();
            for label in crate::name::labels(full.wire()).take(labels) {
                self.name.push_label(label).map_err(Reason::Name)?;
            }
        }
        let labels = self.name.label_count();
        if labels == 0 {
            return if scope == Scope::Below { Err(Reason::Root) } else { Ok(Owner::Apex) };
        }
        match self.name.label(labels - 1) {
            b"rpz-ip" | b"rpz-client-ip" | b"rpz-nsdname" | b"rpz-nsip" => {
                Err(Reason::Other("unsupported trigger: only query names are matched"))
            }
            _ if is_number(self.name.label(labels - 1)) => Err(Reason::Name(crate::name::NameProblem::NumericTop)),
            _ if has_star(&self.name) => Err(Reason::Wildcard),
            _ => Ok(Owner::Trigger(scope)),
        }
    }

    /// The full name a token stands for.
    fn absolute<'a>(&self, token: Token<'a>) -> Result<NameBuf, Bad<'a>> {
        let mut name = NameBuf::new();
        if token.text == "." {
            return Ok(name);
        }
        if token.text != "@" {
            parse_labels(token.text, &mut name).map_err(|reason| (token, reason))?;
        }
        let is_absolute = token.text.ends_with('.') && !token.text.ends_with("\\.");
        if !is_absolute && let Some(origin) = &self.origin {
            for label in origin.labels() {
                name.push_label(label).map_err(|problem| (token, Reason::Name(problem)))?;
            }
        }
        Ok(name)
    }

    /// What a CNAME says.
    fn action<'a>(&self, rtype: Token<'a>, rdata: &[Token<'a>], ttl: Option<u32>) -> Result<Data, Bad<'a>> {
        let &[target] = rdata else {
            return Err((rtype, Reason::Other("a CNAME needs exactly one target")));
        };
        let is = |text: &str| target.text.eq_ignore_ascii_case(text);
        let action = if is(".") {
            RpzAction::Nxdomain
        } else if is("*.") {
            RpzAction::Nodata
        } else if is("rpz-passthru.") {
            RpzAction::Passthru
        } else if is("rpz-drop.") {
            RpzAction::Drop
        } else if is("rpz-tcp-only.") {
            RpzAction::TcpOnly
        } else if ["rpz-passthru", "rpz-drop", "rpz-tcp-only"].into_iter().any(is) {
            return Err((target, Reason::Other("an action needs its trailing dot")));
        } else {
            let (text, prefix_query) = match target.text.strip_prefix("*.") {
                Some(rest) => (rest, true),
                None => (target.text, false),
            };
            let name = self.absolute(Token { text, ..target })?.to_name();
            if name.labels().count() == 1 && target.text.get(..4).is_some_and(|s| s.eq_ignore_ascii_case("rpz-")) {
                return Err((target, Reason::Other("unknown action")));
            }
            // The old way to write passthru: a CNAME to the trigger itself.
            if !prefix_query && name.wire() == self.name.wire() {
                RpzAction::Passthru
            } else {
                return Ok(Data::Cname(CnameTarget { name, prefix_query, ttl: ttl.or(self.ttl) }));
            }
        };
        Ok(Data::Action(action))
    }
}

/// Presentation format to labels: escapes where there are any, else a host name.
fn parse_labels(text: &str, name: &mut NameBuf) -> Result<(), Reason> {
    if text.contains('\\') {
        return token::unescape_name(text, name);
    }
    // Owners that end in a number are looked at when the zone's name is off.
    let body = text.strip_suffix('.').unwrap_or(text);
    if body.bytes().all(|b| b.is_ascii_digit() || b == b'.') && !body.is_empty() {
        name.clear();
        return body.split('.').try_for_each(|label| name.push_label(label.as_bytes())).map_err(Reason::Name);
    }
    entry::parse(text, Urls::Reject, Top::Accepted, name).map_err(|problem| problem.reason)
}

/// The label is a number: an address, not a name.
fn is_number(label: &[u8]) -> bool {
    label.iter().all(u8::is_ascii_digit)
}

/// An escaped `*` label, which is none of the patterns there are.
fn has_star(name: &NameBuf) -> bool {
    crate::name::labels(name.wire()).any(|label| label == b"*")
}

/// A serial over 32 bits breaks zone transfers, but not a file.
fn check_serial(rdata: &[Token<'_>], sink: &mut Sink<'_>) {
    if let Some(serial) = rdata.get(2)
        && serial.text.parse::<u32>().is_err()
    {
        sink.warn(
            serial.line,
            serial.at,
            serial.text,
            "the zone's serial is not a number of 32 bits; it is not used here",
        );
    }
}
