//! One zone: its records, from a file or from the registry, and hickory's handler over them.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::sync::Arc;

use hickory_proto::rr::rdata::{A, AAAA, NS, PTR, SOA, SVCB, TXT};
use hickory_proto::rr::{LowerName, Name as ProtoName, RData, RecordSet, RecordType, RrKey};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder};
use hickory_proto::serialize::txt::Parser;
use hickory_server::store::in_memory::InMemoryZoneHandler;
use hickory_server::zone_handler::{AxfrPolicy, ZoneHandler, ZoneType};

use super::LocalError;
use super::builtin::{Builtin, Data};
use crate::name::Name;

/// TTL of records made here, and of negative answers of zones made here (RFC 6303 section 3).
const TTL: u32 = 10_800;
/// TTL of own names: they change when the operator changes them.
pub(super) const HOST_TTL: u32 = 300;
/// A larger zone file is refused.
const MAX_FILE: u64 = 64 << 20;

/// A zone being built.
pub(super) struct Zone {
    apex: Name,
    records: BTreeMap<RrKey, RecordSet>,
}

impl Zone {
    /// SOA and NS only, as RFC 6303 section 3 wants them.
    pub(super) fn empty(apex: &Name) -> Self {
        Self::nothing(apex, TTL)
    }

    /// The same for a name whose answer may be another tomorrow.
    pub(super) fn canary(apex: &Name) -> Self {
        Self::nothing(apex, HOST_TTL)
    }

    /// A zone of nothing, which may be remembered for so long.
    fn nothing(apex: &Name, ttl: u32) -> Self {
        let owner = proto(apex);
        let contact = ProtoName::from_ascii("nobody.invalid.").unwrap_or_default();
        let mut zone = Self { apex: apex.clone(), records: BTreeMap::new() };
        zone.add(owner.clone(), ttl, RData::SOA(SOA::new(owner.clone(), contact, 1, 3_600, 1_200, 604_800, ttl)));
        zone.add(owner.clone(), ttl, RData::NS(NS(owner)));
        zone
    }

    /// A zone of the registry; `apex` is its parsed name.
    pub(super) fn builtin(apex: &Name, builtin: &Builtin) -> Self {
        let mut zone = Self::empty(apex);
        for (label, data) in builtin.records {
            let owner = match *label {
                "@" => Ok(proto(apex)),
                label => ProtoName::from_ascii(label).and_then(|label| label.append_domain(&proto(apex))),
            };
            // The registry is ours and a test reads all of it.
            let Ok(owner) = owner else { continue };
            let data = match data {
                Data::Loopback4 => RData::A(A(Ipv4Addr::LOCALHOST)),
                Data::Loopback6 => RData::AAAA(AAAA(Ipv6Addr::LOCALHOST)),
                Data::Localhost => RData::PTR(PTR(ProtoName::from_ascii("localhost.").unwrap_or_default())),
                Data::Text(text) => RData::TXT(TXT::new(vec![(*text).to_owned()])),
            };
            zone.add(owner, TTL, data);
        }
        zone
    }

    /// Reads a master file.
    pub(super) fn read(apex: &Name, file: &Path) -> Result<Self, LocalError> {
        let text = read_text(file)
            .map_err(|error| LocalError::Unreadable { file: file.to_owned(), reason: error.to_string() })?;
        if let Some(line) = lone_quote(&text) {
            let reason = "a value that is nothing but a quotation mark".to_owned();
            return Err(LocalError::Syntax { file: file.to_owned(), line, reason });
        }
        let parse = |text: &str| Parser::new(text, Some(file.to_owned()), Some(proto(apex))).parse();
        let records = match parse(&text) {
            Ok((_, records)) => records,
            Err(error) => {
                let reason = error.to_string();
                let line =
                    first_bad_line(&text, |part| parse(part).err().is_some_and(|error| error.to_string() == reason));
                return Err(LocalError::Syntax { file: file.to_owned(), line, reason });
            }
        };
        let lower = LowerName::new(&proto(apex));
        if let Some(key) = records.keys().find(|key| !lower.zone_of(key.name())) {
            return Err(LocalError::Outside {
                file: file.to_owned(),
                zone: apex.clone(),
                name: key.name().to_string(),
            });
        }
        if !records.contains_key(&RrKey::new(lower, RecordType::SOA)) {
            return Err(LocalError::NoSoa { file: file.to_owned(), zone: apex.clone() });
        }
        Ok(Self { apex: apex.clone(), records })
    }

    /// Adds an address of an own name.
    pub(super) fn add_host(&mut self, name: &Name, address: IpAddr) {
        let data = match address {
            IpAddr::V4(v4) => RData::A(A(v4)),
            IpAddr::V6(v6) => RData::AAAA(AAAA(v6)),
        };
        self.add(proto(name), HOST_TTL, data);
    }

    /// Adds ways to this server under `owner`; texts there were in place of them.
    pub(super) fn announce(&mut self, owner: &Name, services: &[SVCB]) {
        let owner = proto(owner);
        self.records.remove(&RrKey::new(LowerName::new(&owner), RecordType::TXT));
        for service in services {
            self.add(owner.clone(), HOST_TTL, RData::SVCB(service.clone()));
        }
    }

    /// Adds the name of an own address.
    pub(super) fn add_pointer(&mut self, reverse: &Name, name: &Name) {
        self.add(proto(reverse), HOST_TTL, RData::PTR(PTR(proto(name))));
    }

    /// Names directly below which a `*` stands.
    pub(super) fn wildcards(&self) -> impl Iterator<Item = Name> {
        let owners = self.records.keys().map(RrKey::name).filter(|name| name.is_wildcard());
        owners.filter_map(|name| ours(&ProtoName::from(&name.base_name())))
    }

    /// hickory's handler, with its apex.
    pub(super) fn handler(self) -> Result<(LowerName, Arc<dyn ZoneHandler>), LocalError> {
        let apex = proto(&self.apex);
        let lower = LowerName::new(&apex);
        let handler: InMemoryZoneHandler =
            InMemoryZoneHandler::new(apex, self.records, ZoneType::Primary, AxfrPolicy::Deny)
                .map_err(|reason| LocalError::Zone { zone: self.apex, reason })?;
        Ok((lower, Arc::new(handler)))
    }

    /// Adds a record to its set.
    fn add(&mut self, owner: ProtoName, ttl: u32, data: RData) {
        let rtype = data.record_type();
        let key = RrKey::new(LowerName::new(&owner), rtype);
        let set = self.records.entry(key).or_insert_with(|| RecordSet::with_ttl(owner, rtype, ttl));
        set.add_rdata(data);
    }
}

/// A file of bounded size as text.
fn read_text(file: &Path) -> io::Result<String> {
    let mut text = String::new();
    let read = File::open(file)?.take(MAX_FILE + 1).read_to_string(&mut text)?;
    if read as u64 > MAX_FILE {
        return Err(io::Error::other(format!("larger than {} MiB", MAX_FILE >> 20)));
    }
    Ok(text)
}

/// The line of a service parameter whose value is a single quotation mark, on which hickory-proto 0.26.3 panics
/// (it takes both quotes off a text of one). Other records may have such a text between quotes of their own.
fn lone_quote(text: &str) -> Option<usize> {
    let upper = text.to_ascii_uppercase();
    if !upper.contains("SVCB") && !upper.contains("HTTPS") {
        return None;
    }
    text.lines().position(has_lone_quote).map(|line| line + 1)
}

/// A word of the line, outside quotes, ends in `="`.
fn has_lone_quote(line: &str) -> bool {
    // A quote opens a text at the start of a word only, closes it unless escaped, and is else one that strayed in.
    let (mut quoted, mut strayed) = (false, false);
    let mut before = [' ', ' '];
    for c in line.chars().chain([' ']) {
        if strayed && before == ['=', '"'] && c.is_ascii_whitespace() {
            return true;
        }
        let quote = c == '"' && before[1] != '\\';
        strayed = quote && !quoted && !before[1].is_ascii_whitespace();
        quoted ^= quote && !strayed;
        before = [before[1], c];
    }
    false
}

/// hickory's parser says what is wrong but not where. It stops at the first error, so the shortest run of lines that
/// ends in the same error ends with the line at fault.
fn first_bad_line(text: &str, same_error: impl Fn(&str) -> bool) -> usize {
    let ends: Vec<usize> = text
        .split_inclusive('\n')
        .scan(0, |at, line| {
            *at += line.len();
            Some(*at)
        })
        .collect();
    ends.partition_point(|&end| !text.get(..end).is_some_and(&same_error)).min(ends.len().saturating_sub(1)) + 1
}

/// A name for hickory. Every name of ours is one of hickory's; the root stands in for what cannot be.
pub(super) fn proto(name: &Name) -> ProtoName {
    ProtoName::read(&mut BinDecoder::new(name.wire())).unwrap_or_default()
}

/// A name from hickory.
pub(super) fn ours(name: &ProtoName) -> Option<Name> {
    let mut wire = Vec::with_capacity(crate::name::MAX_WIRE);
    for label in name.iter() {
        wire.push(u8::try_from(label.len()).ok()?);
        wire.extend_from_slice(label);
    }
    wire.push(0);
    Name::from_wire(&wire)
}
