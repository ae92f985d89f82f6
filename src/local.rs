//! Names that are answered here and never forwarded: own names, special-use names, empty reverse zones,
//! the operator's zone files, the names that lead to this server's encrypted transports.
//!
//! hickory-server's catalog and in-memory zones answer; its listeners are not used. A changed zone file means a new
//! [`Local`].

mod builtin;
mod canary;
mod discovery;
mod respond;
#[cfg(test)]
mod tests;
mod zone;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use hickory_server::net::runtime::TokioTime;
use hickory_server::net::xfer::Protocol;
use hickory_server::server::{Request, RequestHandler};
use hickory_server::zone_handler::Catalog;

pub use canary::Canary;
pub use discovery::Designated;

use crate::event::Transport;
use crate::name::{Name, NameBuf};
use crate::wire::{Query, rtype};
use builtin::{EMPTY_REVERSE, PARENT_PROVES, SPECIAL_USE};
use discovery::Announced;
use respond::Capture;
use zone::Zone;

/// What is answered locally.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Own names and their addresses.
    pub hosts: Vec<(Name, Vec<IpAddr>)>,
    /// RFC 6761 and its kin: localhost, invalid, test, onion, local, home.arpa, service.arpa, alt, resolver.arpa.
    pub special_use: bool,
    /// Empty zones for private reverse lookups (RFC 6303).
    pub empty_zones: bool,
    /// Master files.
    pub zones: Vec<ZoneFile>,
    /// Clients may learn of encrypted transports (RFC 9462) …
    pub discovery: bool,
    /// … which are these. No file says it: addresses are known when they are bound.
    pub designated: Option<Designated>,
    /// Clients that are told to use this resolver and no other.
    pub canaries: Vec<Canary>,
}

/// A zone of the operator's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZoneFile {
    /// The apex.
    pub name: Name,
    /// RFC 1035 master file, already joined with the folder of the configuration file.
    pub file: PathBuf,
}

/// Why local zones cannot be served as configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LocalError {
    /// A zone file cannot be read.
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// A zone file is not a master file.
    Syntax {
        /// The file.
        file: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What the parser said.
        reason: String,
    },
    /// A record of a zone file is not in its zone.
    Outside {
        /// The file.
        file: PathBuf,
        /// The zone's apex.
        zone: Name,
        /// The record's owner.
        name: String,
    },
    /// A zone file without SOA at the apex.
    NoSoa {
        /// The file.
        file: PathBuf,
        /// The zone's apex.
        zone: Name,
    },
    /// Two zones with one apex.
    Twice {
        /// The apex.
        zone: Name,
    },
    /// hickory does not take the records.
    Zone {
        /// The zone's apex.
        zone: Name,
        /// What hickory said.
        reason: String,
    },
}

impl fmt::Display for LocalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { file, reason } => write!(f, "{}: cannot read zone file: {reason}", file.display()),
            Self::Syntax { file, line, reason } => write!(f, "{}:{line}: {reason}", file.display()),
            Self::Outside { file, zone, name } => {
                write!(f, "{}: {name} is not in zone {zone}; check $ORIGIN and trailing dots", file.display())
            }
            Self::NoSoa { file, zone } => write!(f, "{}: no SOA record for {zone}; add one", file.display()),
            Self::Twice { zone } => write!(f, "zone {zone} is configured twice; keep one"),
            Self::Zone { zone, reason } => write!(f, "zone {zone}: {reason}"),
        }
    }
}

impl std::error::Error for LocalError {}

/// What holds for a name, and mostly for names below it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Cover {
    /// The name itself is one of the operator's own.
    exact: bool,
    /// A local zone starts here.
    zone: bool,
    /// Forwarding to servers of its own starts here.
    forwarded: bool,
    /// The zone is that of a canary name.
    canary: bool,
    /// The zone is one of which the parent is asked for DS.
    parent_proves: bool,
}

/// As what a query is answered here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// A local zone knows the name.
    Local,
    /// It is a canary name, to which the operator has us say no.
    Canary,
}

/// The local zones, ready to answer. Immutable.
pub struct Local {
    catalog: Catalog,
    covers: HashMap<Box<[u8]>, Cover>,
    /// Last labels of everything in `covers`: most names are let through after one look here.
    tops: HashSet<Box<[u8]>>,
    wildcards: HashSet<Name>,
    announced: Option<Announced>,
}

impl Local {
    /// Reads zone files. `forwarded` are the apexes that have upstream servers of their own: zones of the registry at
    /// or below them are not made, and names at or below them are not covered by a local zone above.
    ///
    /// # Errors
    /// Every problem found, see [`LocalError`].
    pub fn new(settings: &Settings, forwarded: &[Name]) -> Result<Self, Vec<LocalError>> {
        let mut zones = builtin_zones(settings, forwarded);
        let mut errors = Vec::new();
        let mut own = HashSet::new();
        for file in &settings.zones {
            if !own.insert(&file.name) {
                errors.push(LocalError::Twice { zone: file.name.clone() });
                continue;
            }
            match Zone::read(&file.name, &file.file) {
                Ok(zone) => {
                    zones.insert(file.name.clone(), zone);
                }
                Err(error) => errors.push(error),
            }
        }
        let canaries = settings.canaries.iter().flat_map(|canary| canary.names());
        let canaries: Vec<Name> = canaries.filter_map(|name| Name::parse(name).ok()).collect();
        for name in &canaries {
            zones.entry(name.clone()).or_insert_with_key(Zone::canary);
        }
        let mut local = Self {
            catalog: Catalog::new(),
            covers: HashMap::new(),
            tops: HashSet::new(),
            wildcards: HashSet::new(),
            announced: announced(settings, forwarded),
        };
        for apex in zones.keys() {
            local.cover(apex).zone = true;
        }
        for name in &canaries {
            local.cover(name).canary = true;
        }
        for apex in PARENT_PROVES.iter().filter_map(|text| Name::parse(text).ok()) {
            if zones.contains_key(&apex) && !own.contains(&apex) {
                local.cover(&apex).parent_proves = true;
            }
        }
        for apex in forwarded.iter().filter(|apex| !apex.is_root()) {
            local.cover(apex).forwarded = true;
        }
        for (name, addresses) in &settings.hosts {
            local.cover(name).exact = true;
            // A name without addresses exists, with NODATA for every type.
            enclosing(&mut zones, name);
            for &address in addresses {
                enclosing(&mut zones, name).add_host(name, address);
                if let Some(reverse) = reverse_name(address) {
                    local.cover(&reverse).exact = true;
                    enclosing(&mut zones, &reverse).add_pointer(&reverse, name);
                }
            }
        }
        if let Some(Announced { owners, services, .. }) = &local.announced {
            for owner in owners {
                enclosing(&mut zones, owner).announce(owner, services);
            }
            for owner in owners.clone() {
                local.cover(&owner).exact = true;
            }
        }
        for zone in zones.into_values() {
            local.wildcards.extend(zone.wildcards());
            match zone.handler() {
                Ok((apex, handler)) => local.catalog.upsert(apex, vec![handler]),
                Err(error) => errors.push(error),
            }
        }
        if errors.is_empty() { Ok(local) } else { Err(errors) }
    }

    /// Whether exactly the same names are answered here as by `other`.
    pub fn same_names(&self, other: &Self) -> bool {
        self.covers == other.covers
    }

    /// Whether, and as what, a query for `name` is answered here. `excepted`: a rule lets the name pass expressly, which
    /// goes before what canaries are told.
    pub fn takes(&self, name: &NameBuf, query: &Query, excepted: bool) -> Option<Taken> {
        if !self.covers(name) {
            return None;
        }
        let itself = self.covers.get(name.wire());
        if query.qtype == rtype::DS && query.dnssec_ok() && itself.is_some_and(|cover| cover.parent_proves) {
            return None;
        }
        let above = (0..=name.label_count()).filter_map(|skip| self.covers.get(name.suffix(skip)));
        let canary = above.into_iter().any(|cover| cover.canary) && itself.is_none_or(|cover| !cover.exact);
        match canary {
            true if excepted => None,
            true => Some(Taken::Canary),
            false => Some(Taken::Local),
        }
    }

    /// Whether `name` is answered here. Asked for every query before it goes upstream: no allocation, and one look
    /// for names under a top-level domain nothing local is under.
    pub fn covers(&self, name: &NameBuf) -> bool {
        let labels = name.label_count();
        // The root counts as its own top, so that a local root zone would be found.
        if !self.tops.contains(name.suffix(labels.saturating_sub(1))) && !self.tops.contains([0].as_slice()) {
            return false;
        }
        for skip in 0..=labels {
            let Some(cover) = self.covers.get(name.suffix(skip)) else { continue };
            if cover.exact && skip == 0 || cover.zone {
                return true;
            }
            if cover.forwarded {
                return false;
            }
        }
        false
    }

    /// Answers a query [`Self::covers`] said yes to; REFUSED for others. `None`: nothing is to be sent, because the
    /// bytes are no query (a response, more or less than one question, another opcode than QUERY).
    pub async fn answer(&self, query: &[u8], client: SocketAddr, transport: Transport) -> Option<Vec<u8>> {
        // hickory makes room for as many questions as the header claims: look before it reads.
        let header = query.first_chunk::<12>()?;
        let (is_query, questions) = (header[2] & 0xf8 == 0, u16::from_be_bytes([header[4], header[5]]));
        if !is_query || questions != 1 {
            return None;
        }
        let (udp, protocol) = match transport {
            Transport::Udp => (true, Protocol::Udp),
            // What hickory knows of the others makes no difference to a zone's answer.
            _ => (false, Protocol::Tcp),
        };
        let Ok(request) = Request::from_bytes(query.to_vec(), client, protocol) else {
            return Some(format_error(header));
        };
        if let Some(answer) = self.announced.as_ref().and_then(|announced| announced.answer(&request)) {
            return Some(answer);
        }
        let name = request.request_info().ok()?.query.original().name().clone();
        let capture = Capture::new(udp, self.is_below_wildcard(&name));
        self.catalog.handle_request::<_, TokioTime>(&request, capture.clone()).await;
        capture.take()
    }

    /// Whether some `*` of its own zone covers the name.
    fn is_below_wildcard(&self, name: &hickory_proto::rr::Name) -> bool {
        let mut at = zone::ours(name);
        while let Some(name) = at.filter(|name| !self.covers.get(name.wire()).is_some_and(|cover| cover.zone)) {
            at = name.parent();
            if at.as_ref().is_some_and(|parent| self.wildcards.contains(parent)) {
                return true;
            }
        }
        false
    }

    /// The entry of a name, made if need be.
    fn cover(&mut self, name: &Name) -> &mut Cover {
        let top = name.labels().last().map_or(0, |label| label.len() + 1);
        let wire = name.wire();
        self.tops.insert(wire.get(wire.len() - 1 - top..).unwrap_or(wire).into());
        self.covers.entry(wire.into()).or_default()
    }
}

impl fmt::Debug for Local {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Local").field("names", &self.covers.len()).finish_non_exhaustive()
    }
}

/// What clients are told of encrypted transports; nothing where the operator has others asked for it.
fn announced(settings: &Settings, forwarded: &[Name]) -> Option<Announced> {
    let designated = settings.designated.as_ref().filter(|_| settings.discovery)?;
    let own = settings.hosts.iter().find(|(name, _)| Some(name) == designated.name.as_ref());
    let mut announced = Announced::new(designated, own.map(|(_, addresses)| addresses.as_slice()))?;
    announced.owners.retain(|owner| !is_forwarded(owner, forwarded));
    Some(announced)
}

/// It has upstream servers of its own.
fn is_forwarded(apex: &Name, forwarded: &[Name]) -> bool {
    forwarded.iter().any(|other| !other.is_root() && apex.is_at_or_below(other))
}

/// The zones of the registry that are wanted and not forwarded.
fn builtin_zones(settings: &Settings, forwarded: &[Name]) -> BTreeMap<Name, Zone> {
    let mut zones = BTreeMap::new();
    let is_forwarded = |apex: &Name| is_forwarded(apex, forwarded);
    let special = SPECIAL_USE.iter().filter(|_| settings.special_use);
    let reverse = EMPTY_REVERSE.iter().filter(|_| settings.empty_zones);
    for builtin in special.chain(reverse) {
        if let Ok(apex) = Name::parse(builtin.apex)
            && !is_forwarded(&apex)
        {
            zones.insert(apex.clone(), Zone::builtin(&apex, builtin));
        }
    }
    for apex in builtin::empty_runs().filter(|_| settings.empty_zones).filter_map(|text| Name::parse(&text).ok()) {
        if !is_forwarded(&apex) {
            zones.insert(apex.clone(), Zone::empty(&apex));
        }
    }
    zones
}

/// The zone an own name's records go to: the one it is in, else one of its own.
fn enclosing<'z>(zones: &'z mut BTreeMap<Name, Zone>, name: &Name) -> &'z mut Zone {
    let mut at = Some(name.clone());
    while let Some(apex) = at {
        if zones.contains_key(&apex) {
            return zones.entry(apex).or_insert_with_key(Zone::empty);
        }
        at = apex.parent();
    }
    zones.entry(name.clone()).or_insert_with_key(Zone::empty)
}

/// The name an address is looked up under; `None` for addresses that are no host's.
fn reverse_name(address: IpAddr) -> Option<Name> {
    if address.is_loopback() || address.is_unspecified() || address.is_multicast() {
        return None;
    }
    let text = match address {
        IpAddr::V4(v4) => {
            let [a, b, c, d] = v4.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        IpAddr::V6(v6) => {
            let nibbles = v6.octets().into_iter().rev().flat_map(|octet| [octet & 0x0f, octet >> 4]);
            nibbles.map(|nibble| format!("{nibble:x}.")).chain(["ip6.arpa".to_owned()]).collect()
        }
    };
    Name::parse(&text).ok()
}

/// FORMERR to a query whose rest cannot be read: the header alone (RFC 1035 section 4.1.1).
fn format_error(header: &[u8; 12]) -> Vec<u8> {
    let mut reply = vec![0; 12];
    let flags = [header[0], header[1], 0x80 | header[2] & 0x79, 0x81];
    for (to, from) in reply.iter_mut().zip(flags) {
        *to = from;
    }
    reply
}
