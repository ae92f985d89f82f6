//! The lines BIND logs of its response policy zones, for whoever reads those already.
//!
//! `31-Jan-2026 12:00:00.123 rpz: info: client @0x000000000000 192.0.2.0#0 (a.example): rpz QNAME Local-Data rewrite
//! a.example/HTTPS/IN via example.orders`: time, category and severity as in a file of BIND's with `print-time`,
//! `print-category` and `print-severity`; without them in a syslog message.

use std::sync::Arc;

use super::encode::Encode;
use super::said::Remembered;
use super::syslog::Envelope;
use crate::event::{AnswerKind, Hit, Outcome, Why};
use crate::hits::{Clients, Shown, Time, push_shown, type_name};

/// The months as BIND writes them.
const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Writes such lines.
pub(super) struct Rpz {
    /// `None` in a file.
    envelope: Option<Envelope>,
    time: Time,
    clients: Shown,
    said: Remembered,
}

impl Rpz {
    /// With nothing remembered.
    pub(super) fn new(clients: Clients, envelope: Option<Envelope>) -> Self {
        let (time, clients, said) = (Time::default(), Shown::new(clients), Remembered::default());
        Self { envelope, time, clients, said }
    }
}

impl Encode for Rpz {
    fn encode(&mut self, hit: &Hit<'_>, why: &Arc<Why>, out: &mut Vec<u8>) {
        match &mut self.envelope {
            Some(envelope) => {
                envelope.push(hit, why.subject.outcome, "rpz", out);
                out.extend_from_slice(b"- ");
            }
            None => {
                push_time(self.time.show(hit.unix_ms), out);
                out.extend_from_slice(b" rpz: info: ");
            }
        }
        // Where BIND has the address of something in its memory, and a port, nothing is to be said.
        out.extend_from_slice(b"client @0x000000000000 ");
        let text = self.clients.text(hit.client).unwrap_or(b"0.0.0.0");
        // A network is written by its first address: those who read this expect an address.
        let address = text.iter().position(|&byte| byte == b'/').and_then(|end| text.get(..end));
        out.extend_from_slice(address.unwrap_or(text));
        out.extend_from_slice(b"#0 (");
        push_shown(hit.name, out);
        out.extend_from_slice(if why.subject.outcome == Outcome::Shadow {
            b"): disabled rpz QNAME "
        } else {
            b"): rpz QNAME "
        });
        out.extend_from_slice(policy(hit.answer).as_bytes());
        out.extend_from_slice(b" rewrite ");
        push_shown(hit.target.unwrap_or(hit.name), out);
        out.push(b'/');
        out.extend_from_slice(type_name(hit.qtype).as_bytes());
        out.extend_from_slice(b"/IN via ");
        out.extend_from_slice(&self.said.of(why, |why, via, _| push_via(why, via)).one);
    }
}

/// BIND's word for what the client got.
fn policy(answer: AnswerKind) -> &'static str {
    match answer {
        AnswerKind::Sinkhole | AnswerKind::Local => "Local-Data",
        AnswerKind::Nxdomain => "NXDOMAIN",
        AnswerKind::Nodata => "NODATA",
        AnswerKind::Drop => "DROP",
        AnswerKind::Cname => "CNAME",
        AnswerKind::Truncated => "TCP-ONLY",
        AnswerKind::Passed => "PASSTHRU",
        // BIND's policy zones cannot do this.
        AnswerKind::Refused => "REFUSED",
    }
}

/// Appends `31-Jan-2026 12:00:00.123`, made of `2026-01-31T12:00:00.123Z`.
fn push_time(rfc3339: &str, out: &mut Vec<u8>) {
    let parts = || {
        let (year, rest) = rfc3339.split_once('-')?;
        let (month, rest) = rest.split_once('-')?;
        let (day, time) = rest.split_once('T')?;
        let month = MONTHS.get(month.parse::<usize>().ok()?.checked_sub(1)?)?;
        Some([day, "-", month, "-", year, " ", time.strip_suffix('Z')?])
    };
    match parts() {
        Some(parts) => parts.iter().for_each(|part| out.extend_from_slice(part.as_bytes())),
        // Years before our calendar.
        None => out.extend_from_slice(rfc3339.as_bytes()),
    }
}

/// Appends the owner of the rule in a zone named after its list.
fn push_via(why: &Why, out: &mut Vec<u8>) {
    let subject = &why.subject;
    if subject.rule.is_empty() {
        return out.extend_from_slice(b"unknown");
    }
    let rule = subject.rule.strip_prefix('=').unwrap_or(&subject.rule);
    let owner = rule.trim_end_matches('.');
    let list: &str = &subject.list;
    let dot = if owner.is_empty() { "" } else { "." };
    for byte in [owner, dot, list].iter().flat_map(|text| text.bytes()) {
        if byte.is_ascii_graphic() {
            out.push(byte);
        } else {
            // As a zone file has it.
            out.push(b'\\');
            out.extend([byte / 100, byte / 10 % 10, byte % 10].map(|digit| b'0' + digit));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::stream::tests::{Hostile, hostile, sample, shown};

    fn line(hit: &Hit<'_>, why: &Arc<Why>, clients: Clients) -> String {
        let mut out = Vec::new();
        Rpz::new(clients, None).encode(hit, why, &mut out);
        String::from_utf8(out).expect("UTF-8")
    }

    #[test]
    fn a_line_as_documented() {
        let (hit, why) = sample();
        let written = line(&hit, &why, Clients::Truncate);
        let expected = concat!(
            "31-Jan-2026 12:00:00.123 rpz: info: client @0x000000000000 192.0.2.0#0 (a.example): ",
            "rpz QNAME Local-Data rewrite a.example/HTTPS/IN via example.orders"
        );
        assert_eq!(written, expected);
        assert!(shown("docs/streams.md").contains(expected), "docs/streams.md shows this line");
    }

    #[test]
    fn shadow_targets_and_unknown_reasons() {
        let (mut hit, why) = sample();
        let mut shadow = Arc::clone(&why);
        let of = |outcome, rule: &str| {
            let mut subject = why.subject.clone();
            (subject.outcome, subject.rule) = (outcome, rule.into());
            Arc::new(Why { id: 9, subject, causes: Box::default(), group: None })
        };
        shadow.clone_from(&of(Outcome::Shadow, "*.example"));
        hit.answer = AnswerKind::Passed;
        hit.target = Some(b"\x01b\x07example\0");
        let written = line(&hit, &shadow, Clients::None);
        let expected = "client @0x000000000000 0.0.0.0#0 (a.example): disabled rpz QNAME PASSTHRU rewrite \
                        b.example/HTTPS/IN via *.example.orders";
        assert!(written.ends_with(expected), "{written}");
        assert!(line(&hit, &of(Outcome::Excepted, "=a.example"), Clients::None).ends_with(" via a.example.orders"));
        assert!(line(&hit, &of(Outcome::Blocked, "."), Clients::None).ends_with(" via orders"));
        assert!(line(&hit, &of(Outcome::Blocked, ""), Clients::None).ends_with(" via unknown"));
    }

    proptest! {
        #[test]
        fn hostile_content_leaves_every_field_in_its_place(hostile in hostile()) {
            let Hostile { hit, why } = &hostile;
            let written = line(&hit.as_hit(), why, Clients::Full);
            prop_assert!(written.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()), "{:?}", written);
            let fields: Vec<&str> = written.split(' ').collect();
            let shadow = usize::from(why.subject.outcome == Outcome::Shadow);
            prop_assert_eq!(fields.len(), 15 + shadow, "{}", written);
            let client = hit.client.to_canonical().to_string();
            prop_assert_eq!(fields[6].strip_suffix("#0"), Some(&*client));
            prop_assert_eq!(fields[7], format!("({}):", hit.name_text()));
            prop_assert_eq!(fields[13 + shadow], "via");
            prop_assert!(fields[12 + shadow].ends_with("/IN"));
        }
    }
}
