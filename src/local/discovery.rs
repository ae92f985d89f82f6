//! Discovery of encrypted transports (RFC 9462): who asks over plain DNS learns where the same is to be had encrypted.

use std::net::{IpAddr, SocketAddr};

use hickory_proto::op::{Message, MessageType, OpCode};
use hickory_proto::rr::rdata::svcb::{Alpn, IpHint, SvcParamKey, SvcParamValue, Unknown};
use hickory_proto::rr::rdata::{A, AAAA, SVCB};
use hickory_proto::rr::{RData, Record, RecordType};
use hickory_server::server::Request;

use super::zone::{HOST_TTL, proto};
use crate::name::Name;

/// The port of DoT and DoQ (RFC 7858, RFC 9250).
const DOT_PORT: u16 = 853;
/// The port of DoH.
const DOH_PORT: u16 = 443;
/// `dohpath` (RFC 9461 section 5), which hickory has no name for.
const DOHPATH: u16 = 7;
/// The name that asks for the resolver a client has, whatever its name is.
const ANY_RESOLVER: &str = "_dns.resolver.arpa";

/// The encrypted listeners of this server, as clients shall know them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Designated {
    /// The name in the certificate.
    pub name: Option<Name>,
    /// DNS over TLS.
    pub dot: Vec<SocketAddr>,
    /// DNS over HTTPS.
    pub doh: Vec<SocketAddr>,
    /// DNS over HTTP/3.
    pub doh3: Vec<SocketAddr>,
    /// DNS over QUIC.
    pub doq: Vec<SocketAddr>,
    /// The path of DoH.
    pub doh_path: String,
}

/// What is answered about them.
pub(super) struct Announced {
    /// Whom to ask about.
    pub(super) owners: Vec<Name>,
    /// One record for each way in.
    pub(super) services: Vec<SVCB>,
    /// The addresses of the name, as far as they are known here.
    glue: Vec<Record>,
}

/// A way in, and where.
struct Way<'a> {
    protocols: Vec<&'static str>,
    port: u16,
    addresses: Vec<IpAddr>,
    /// Of DoH.
    path: Option<&'a str>,
}

impl Announced {
    /// From what listens; `own` are the addresses the operator has given the name. `None`: nothing can be told without
    /// a name to hold a certificate against.
    pub(super) fn new(designated: &Designated, own: Option<&[IpAddr]>) -> Option<Self> {
        let name = designated.name.as_ref()?;
        let target = proto(name);
        let ways = ways(designated, own);
        if ways.is_empty() {
            return None;
        }
        let mut addresses: Vec<IpAddr> = ways.iter().flat_map(|way| &way.addresses).copied().collect();
        addresses.sort_unstable();
        addresses.dedup();
        let record = |address| match address {
            IpAddr::V4(v4) => Record::from_rdata(target.clone(), HOST_TTL, RData::A(A(v4))),
            IpAddr::V6(v6) => Record::from_rdata(target.clone(), HOST_TTL, RData::AAAA(AAAA(v6))),
        };
        let glue = addresses.into_iter().map(record).collect();
        let services = (1..).zip(&ways).map(|(priority, way)| SVCB::new(priority, target.clone(), way.params()));
        let ours = Name::parse(&format!("_dns.{name}")).ok();
        let owners = Name::parse(ANY_RESOLVER).ok().into_iter().chain(ours).collect();
        Some(Self { owners, services: services.collect(), glue })
    }

    /// The answer to a question for them, with addresses beside it, which a zone does not give (RFC 9462 section 4).
    pub(super) fn answer(&self, request: &Request) -> Option<Vec<u8>> {
        let info = request.request_info().ok()?;
        let query = info.query.original();
        let owner = super::zone::ours(query.name())?;
        if query.query_type() != RecordType::SVCB || !self.owners.contains(&owner) {
            return None;
        }
        let mut message = Message::new(info.metadata.id, MessageType::Response, OpCode::Query);
        message.metadata.authoritative = true;
        message.metadata.recursion_desired = info.metadata.recursion_desired;
        message.metadata.recursion_available = true;
        message.add_query(query.clone());
        for service in &self.services {
            message.add_answer(Record::from_rdata(query.name().clone(), HOST_TTL, RData::SVCB(service.clone())));
        }
        message.add_additionals(self.glue.iter().cloned());
        message.to_vec().ok()
    }
}

impl Way<'_> {
    /// In the order of their numbers, as they have to stand (RFC 9460 section 2.2).
    fn params(&self) -> Vec<(SvcParamKey, SvcParamValue)> {
        let protocols = self.protocols.iter().map(|&protocol| protocol.to_owned()).collect();
        let mut params = vec![(SvcParamKey::Alpn, SvcParamValue::Alpn(Alpn(protocols)))];
        let usual = if self.path.is_some() { DOH_PORT } else { DOT_PORT };
        if self.port != usual {
            params.push((SvcParamKey::Port, SvcParamValue::Port(self.port)));
        }
        let v4: Vec<A> =
            self.addresses.iter().filter_map(|ip| if let IpAddr::V4(v4) = ip { Some(A(*v4)) } else { None }).collect();
        let v6: Vec<AAAA> = self
            .addresses
            .iter()
            .filter_map(|ip| if let IpAddr::V6(v6) = ip { Some(AAAA(*v6)) } else { None })
            .collect();
        if !v4.is_empty() {
            params.push((SvcParamKey::Ipv4Hint, SvcParamValue::Ipv4Hint(IpHint(v4))));
        }
        if !v6.is_empty() {
            params.push((SvcParamKey::Ipv6Hint, SvcParamValue::Ipv6Hint(IpHint(v6))));
        }
        if let Some(path) = self.path {
            let template = Unknown(format!("{path}{{?dns}}").into_bytes());
            params.push((SvcParamKey::Unknown(DOHPATH), SvcParamValue::Unknown(template)));
        }
        params
    }
}

/// All ways in, what most clients know first: DoH, with HTTP/3 where it has the same port, DoT, DoQ.
fn ways<'a>(designated: &'a Designated, own: Option<&[IpAddr]>) -> Vec<Way<'a>> {
    let path = Some(designated.doh_path.as_str());
    let mut ways: Vec<Way<'a>> = Vec::new();
    for (protocol, sockets, path) in [
        ("h2", &designated.doh, path),
        ("h3", &designated.doh3, path),
        ("dot", &designated.dot, None),
        ("doq", &designated.doq, None),
    ] {
        for socket in sockets {
            let (port, is_http) = (socket.port(), path.is_some());
            let joins = |way: &&mut Way<'_>| {
                way.port == port && way.path.is_some() == is_http && (is_http || way.protocols == [protocol])
            };
            let ip = socket.ip().to_canonical();
            match ways.iter_mut().find(joins) {
                Some(way) => {
                    way.addresses.push(ip);
                    if !way.protocols.contains(&protocol) {
                        way.protocols.push(protocol);
                    }
                }
                None => ways.push(Way { protocols: vec![protocol], port, addresses: vec![ip], path }),
            }
        }
    }
    for way in &mut ways {
        reachable(&mut way.addresses, own);
    }
    ways
}

/// Leaves what clients can reach: what the operator says, else addresses of one interface, those of this host alone only
/// where there are no others.
fn reachable(addresses: &mut Vec<IpAddr>, own: Option<&[IpAddr]>) {
    if let Some(own) = own {
        *addresses = own.to_vec();
    }
    let link_local = |ip: &IpAddr| matches!(ip, IpAddr::V6(v6) if v6.is_unicast_link_local());
    addresses.retain(|ip| !ip.is_unspecified() && !link_local(ip));
    if addresses.iter().any(|ip| !ip.is_loopback()) {
        addresses.retain(|ip| !ip.is_loopback());
    }
    addresses.sort_unstable();
    addresses.dedup();
}
