//! ArcSight's Common Event Format, which most SIEMs read.

use std::net::IpAddr;
use std::sync::Arc;

use super::encode::{Encode, orders, push_char, push_number, visible};
use super::said::Remembered;
use super::syslog::Envelope;
use crate::event::{Hit, Outcome, Transport, Why};
use crate::hits::{Clients, Shown, push_shown, type_name};

/// Octets of orders an event names, ids and authorities together: a custom string may have 4000, a syslog message should stay below 2048.
const ORDERS: usize = 800;

/// Writes such events.
pub(super) struct Cef {
    /// `None` in a file.
    envelope: Option<Envelope>,
    clients: Shown,
    said: Remembered,
    name: Vec<u8>,
}

impl Cef {
    /// With nothing remembered.
    pub(super) fn new(clients: Clients, envelope: Option<Envelope>) -> Self {
        let (clients, said) = (Shown::new(clients), Remembered::default());
        Self { envelope, clients, said, name: Vec::new() }
    }

    /// Appends who asked: an address where there is one, else what is known of it as a user id.
    fn push_client(&mut self, client: IpAddr, out: &mut Vec<u8>) {
        let Some(address) = self.clients.address(client) else {
            if let Some(hash) = self.clients.text(client) {
                out.extend_from_slice(b" suid=");
                out.extend_from_slice(hash);
            }
            return;
        };
        let text = self.clients.text(client).unwrap_or_default();
        // A network is written by its first address.
        let end = text.iter().position(|&byte| byte == b'/').unwrap_or(text.len());
        let text = text.get(..end).unwrap_or(text);
        match address {
            IpAddr::V4(_) => out.extend_from_slice(b" src="),
            // The only place CEF has for it.
            IpAddr::V6(_) => out.extend_from_slice(b" c6a2Label=Source IPv6 Address c6a2="),
        }
        out.extend_from_slice(text);
    }
}

impl Encode for Cef {
    fn encode(&mut self, hit: &Hit<'_>, why: &Arc<Why>, out: &mut Vec<u8>) {
        if let Some(envelope) = &mut self.envelope {
            envelope.push(hit, why.subject.outcome, "cef", out);
            out.extend_from_slice(b"- ");
        }
        out.extend_from_slice(&self.said.of(why, |why, event, _| push_event(why, event)).one);
        out.extend_from_slice(b" rt=");
        push_number(hit.unix_ms, out);
        self.push_client(hit.client, out);
        out.extend_from_slice(match hit.transport {
            Transport::Udp => b" proto=UDP act=",
            Transport::Tcp => b" proto=TCP act=",
            Transport::Dot => b" proto=TCP qalqanTransport=dot act=",
            Transport::Doh => b" proto=TCP qalqanTransport=doh act=",
            Transport::Doh3 => b" proto=UDP qalqanTransport=doh3 act=",
            Transport::Doq => b" proto=UDP qalqanTransport=doq act=",
        });
        out.extend_from_slice(hit.answer.as_str().as_bytes());
        for (key, wire) in [(" destinationDnsDomain=", Some(hit.name)), (" cs5Label=target cs5=", hit.target)] {
            let Some(wire) = wire else { continue };
            out.extend_from_slice(key.as_bytes());
            self.name.clear();
            push_shown(wire, &mut self.name);
            push_known(&self.name, out);
        }
        out.extend_from_slice(b" cs4Label=type cs4=");
        out.extend_from_slice(type_name(hit.qtype).as_bytes());
    }
}

/// Appends the header and the fields a rule always has.
fn push_event(why: &Why, out: &mut Vec<u8>) {
    let subject = &why.subject;
    let (name, severity) = match subject.outcome {
        Outcome::Blocked => ("DNS query blocked", "5"),
        Outcome::Shadow => ("DNS query matched a shadow list", "3"),
        Outcome::Excepted => ("DNS query excepted from a block", "1"),
    };
    let version = env!("CARGO_PKG_VERSION");
    for (at, field) in
        ["CEF:0", "qalqan", "qalqan", version, subject.outcome.as_str(), name, severity].iter().enumerate()
    {
        if at > 0 {
            out.push(b'|');
        }
        push_header(field, out);
    }
    out.extend_from_slice(b"|app=DNS");
    let (named, more) = orders(subject, ORDERS);
    let ids: Vec<&str> = named.iter().map(|order| order.id.as_str()).collect();
    let mut authorities: Vec<&str> =
        named.iter().map(|order| order.authority.as_str()).filter(|a| !a.is_empty()).collect();
    authorities.dedup();
    let ids = if more > 0 { format!("{} (+{more})", ids.join(", ")) } else { ids.join(", ") };
    for (place, label, value) in [
        ("cs1", "list", &*subject.list),
        ("cs2", "rule", &*subject.rule),
        ("cs3", "orders", &*ids),
        ("cs6", "authorities", &*authorities.join(", ")),
    ] {
        if !value.is_empty() {
            out.extend_from_slice(format!(" {place}Label={label} {place}=").as_bytes());
            push_value(value, out);
        }
    }
}

/// Appends a field of the header: `|` and `\` are escaped.
fn push_header(text: &str, out: &mut Vec<u8>) {
    for c in text.chars() {
        if matches!(c, '|' | '\\') {
            out.push(b'\\');
        }
        push_char(visible(c), out);
    }
}

/// The same as [`push_value`] for printable ASCII.
fn push_known(text: &[u8], out: &mut Vec<u8>) {
    if text.iter().all(|byte| !matches!(byte, b'=' | b'\\')) {
        return out.extend_from_slice(text);
    }
    for &byte in text {
        if matches!(byte, b'=' | b'\\') {
            out.push(b'\\');
        }
        out.push(byte);
    }
}

/// Appends the value of an extension: `=` and `\` are escaped, ends of lines written as `\n` and `\r`.
fn push_value(text: &str, out: &mut Vec<u8>) {
    for c in text.chars() {
        match c {
            '=' | '\\' => out.extend([b'\\', c as u8]),
            '\n' => out.extend_from_slice(b"\\n"),
            '\r' => out.extend_from_slice(b"\\r"),
            c => push_char(visible(c), out),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::stream::tests::{Hostile, hostile, is_one_line, sample, shown};

    fn line(hit: &Hit<'_>, why: &Arc<Why>, clients: Clients) -> String {
        let mut out = Vec::new();
        Cef::new(clients, None).encode(hit, why, &mut out);
        String::from_utf8(out).expect("UTF-8")
    }

    /// Header fields and extensions, read by the letter of the format: a key is a word before an `=` that no `\` stands
    /// before, and a value reaches up to the space before the next key.
    fn read(line: &str) -> (Vec<String>, BTreeMap<String, String>) {
        let mut header = vec![String::new()];
        let mut chars = line.chars();
        while header.len() < 8 {
            match chars.next().expect("seven fields") {
                '|' => header.push(String::new()),
                '\\' => header.last_mut().expect("one").push(chars.next().expect("escaped")),
                c => header.last_mut().expect("one").push(c),
            }
        }
        let rest = chars.as_str();
        let mut keys: Vec<(usize, usize)> = Vec::new();
        let mut escaped = false;
        for (at, c) in rest.char_indices() {
            if c == '=' && !escaped {
                let start = rest[..at].rfind(' ').map_or(0, |space| space + 1);
                keys.push((start, at));
            }
            escaped = c == '\\' && !escaped;
        }
        let mut fields = BTreeMap::new();
        for (index, &(start, at)) in keys.iter().enumerate() {
            let end = keys.get(index + 1).map_or(rest.len(), |&(next, _)| next - 1);
            let mut value = String::new();
            let mut chars = rest[at + 1..end].chars();
            while let Some(c) = chars.next() {
                value.push(match c {
                    '\\' => match chars.next().expect("escaped") {
                        'n' => '\n',
                        'r' => '\r',
                        c => c,
                    },
                    c => c,
                });
            }
            assert_eq!(fields.insert(rest[start..at].to_owned(), value), None, "twice in {line}");
        }
        (header, fields)
    }

    #[test]
    fn an_event_as_documented() {
        let (hit, why) = sample();
        let written = line(&hit, &why, Clients::Truncate);
        let expected = concat!(
            "CEF:0|qalqan|qalqan|0.1.0|blocked|DNS query blocked|5|app=DNS cs1Label=list cs1=orders cs2Label=rule ",
            "cs2=example cs3Label=orders cs3=1/25 cs6Label=authorities cs6=Agency rt=1769860800123 src=192.0.2.0 ",
            "proto=UDP act=sinkhole destinationDnsDomain=a.example cs4Label=type cs4=HTTPS"
        );
        assert_eq!(written, expected);
        assert!(shown("docs/streams.md").contains(expected), "docs/streams.md shows this line");
    }

    #[test]
    fn clients_by_privacy() {
        let (mut hit, why) = sample();
        let fields = |hit: &Hit<'_>, clients| read(&line(hit, &why, clients)).1;
        assert_eq!(fields(&hit, Clients::Full)["src"], "192.0.2.7");
        assert!(!fields(&hit, Clients::None).contains_key("src"));
        let hashed = fields(&hit, Clients::Hash);
        assert!(hashed["suid"].len() == 16 && !hashed.contains_key("src"), "{hashed:?}");
        hit.client = "2001:db8:1:2ff::4".parse().expect("an address");
        assert_eq!(fields(&hit, Clients::Truncate)["c6a2"], "2001:db8:1:200::");
    }

    proptest! {
        #[test]
        fn hostile_content_stays_one_line_and_reads_back(hostile in hostile()) {
            let Hostile { hit, why } = &hostile;
            let written = line(&hit.as_hit(), why, Clients::Full);
            prop_assert!(is_one_line(&written), "{:?}", written);
            let (header, fields) = read(&written);
            prop_assert_eq!(&header[4], why.subject.outcome.as_str());
            let seen = |text: &str| {
                text.chars().map(|c| if matches!(c, '\n' | '\r') { c } else { visible(c) }).collect::<String>()
            };
            let field = |key: &str| fields.get(key).cloned().unwrap_or_default();
            prop_assert_eq!(field("cs1"), seen(&why.subject.list));
            prop_assert_eq!(field("cs2"), seen(&why.subject.rule));
            let (named, more) = orders(&why.subject, ORDERS);
            let ids = named.iter().map(|order| seen(&order.id)).collect::<Vec<_>>().join(", ");
            prop_assert_eq!(field("cs3"), if more > 0 { format!("{ids} (+{more})") } else { ids });
            prop_assert_eq!(field("destinationDnsDomain"), hit.name_text());
            prop_assert_eq!(field("rt"), hit.unix_ms.to_string());
        }
    }
}
