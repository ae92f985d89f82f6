//! The very bytes a client would get, made by the code that makes them, and read by another.

use hickory_proto::op::Message;
use hickory_proto::rr::Record;
use hickory_proto::rr::rdata::opt::{EdnsCode, EdnsOption};
use serde::Serialize;

use crate::engine::{Decider, Peer, Verdict};
use crate::hits::type_name;
use crate::name::NameBuf;
use crate::snapshot::Snapshot;
use crate::util::Now;
use crate::wire::{UDP_EDNS, option, question, rtype};

/// What a client gets.
#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Reply {
    /// This message.
    Message(Told),
    /// Nothing.
    Nothing,
    /// Whatever the server asked says.
    Asked,
    /// This message, with the records of the CNAME target put in, which have to be asked for.
    Chased(Told),
    /// A message that cannot be read: a bug.
    Unreadable { reason: String },
}

/// A message, told.
#[derive(Debug, Serialize)]
pub struct Told {
    /// `NOERROR` and so on.
    pub rcode: String,
    /// TC: to be asked again over TCP.
    pub truncated: bool,
    /// As in a zone file.
    pub answer: Vec<String>,
    /// As in a zone file.
    pub authority: Vec<String>,
    /// The extended error, if there is one.
    pub ede: Option<Ede>,
}

/// Extended DNS error (RFC 8914).
#[derive(Debug, Serialize)]
pub struct Ede {
    /// INFO-CODE
    pub code: u16,
    /// EXTRA-TEXT
    pub text: String,
}

/// Asks the engine as a client with EDNS would.
pub fn ask(decider: &mut Decider, snapshot: &Snapshot, name: &NameBuf, qtype: u16, peer: Peer, now: Now) -> Reply {
    let mut out = [0; UDP_EDNS];
    let told = |bytes: Option<&[u8]>| tell(bytes.unwrap_or_default());
    match decider.decide(snapshot, &query(name.wire(), qtype), peer, now, &mut out) {
        Verdict::Reply(len) => match told(out.get(..len)) {
            Ok(told) => Reply::Message(told),
            Err(reason) => Reply::Unreadable { reason },
        },
        Verdict::Drop => Reply::Nothing,
        // Blocked all the same: with a CNAME whose target has to be looked up.
        Verdict::Resolve(len) => match told(out.get(..len)) {
            Ok(told) if !told.answer.is_empty() => Reply::Chased(told),
            _ => Reply::Asked,
        },
    }
}

/// A query as `dig` sends it: RD, and an OPT record that takes 1232 octets.
pub fn query(name: &[u8], qtype: u16) -> Vec<u8> {
    let mut message = question(name, qtype);
    if let Some(additional) = message.get_mut(11) {
        *additional = 1;
    }
    message.push(0);
    for word in [rtype::OPT, UDP_EDNS as u16, 0, 0, 0] {
        message.extend_from_slice(&word.to_be_bytes());
    }
    message
}

/// Reads a message.
fn tell(bytes: &[u8]) -> Result<Told, String> {
    let message = Message::from_vec(bytes).map_err(|error| error.to_string())?;
    let ede = message.edns.as_ref().and_then(|edns| edns.option(EdnsCode::Unknown(option::EDE)));
    let ede = ede.and_then(|option| match option {
        EdnsOption::Unknown(_, data) => data.split_first_chunk().map(|(code, text)| Ede {
            code: u16::from_be_bytes(*code),
            text: String::from_utf8_lossy(text).into_owned(),
        }),
        _ => None,
    });
    Ok(Told {
        rcode: rcode_name(message.metadata.response_code.into()),
        truncated: message.metadata.truncation,
        answer: message.answers.iter().map(record).collect(),
        authority: message.authorities.iter().map(record).collect(),
        ede,
    })
}

/// One record as a zone file has it, but for types hickory does not know.
fn record(record: &Record) -> String {
    let rtype = type_name(record.record_type().into());
    format!("{} {} {} {rtype} {}", record.name.to_ascii(), record.ttl, record.dns_class, record.data)
}

/// The code's mnemonic (IANA DNS RCODEs).
pub fn rcode_name(code: u16) -> String {
    match code {
        0 => "NOERROR".to_owned(),
        1 => "FORMERR".to_owned(),
        2 => "SERVFAIL".to_owned(),
        3 => "NXDOMAIN".to_owned(),
        4 => "NOTIMP".to_owned(),
        5 => "REFUSED".to_owned(),
        other => format!("RCODE{other}"),
    }
}
