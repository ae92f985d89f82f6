//! Resolution from the root, by hickory's recursor. What it does well and where it falls short stands in
//! docs/recursion.md; what can be put right from outside is put right here.

mod servers;

use std::fmt;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{DNSClass, Name as ProtoName, RData, Record, RecordType};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder};
use hickory_resolver::recursor::{DnssecPolicy, Recursor, RecursorError, RecursorOptions};

use super::merge::Outcome;
use super::{Ask, Failure, Reply};
use crate::wire;
use servers::Servers;

/// Root servers and their addresses, as IANA publishes them (named.root of 2023-11-28).
const ROOTS: [&str; 26] = [
    "198.41.0.4",
    "2001:503:ba3e::2:30",
    "170.247.170.2",
    "2801:1b8:10::b",
    "192.33.4.12",
    "2001:500:2::c",
    "199.7.91.13",
    "2001:500:2d::d",
    "192.203.230.10",
    "2001:500:a8::e",
    "192.5.5.241",
    "2001:500:2f::f",
    "192.112.36.4",
    "2001:500:12::d0d",
    "198.97.190.53",
    "2001:500:1::53",
    "192.36.148.17",
    "2001:7fe::53",
    "192.58.128.30",
    "2001:503:c27::2:30",
    "193.0.14.129",
    "2001:7fd::1",
    "199.7.83.42",
    "2001:500:9f::42",
    "202.12.27.33",
    "2001:dc3::35",
];
/// Octets of a file that is still one of root hints.
const MAX_HINTS: u64 = 1 << 20;
/// Answers the recursor remembers; ours remembers more.
const ANSWERS: u64 = 20_000;
/// Zones whose servers are remembered, and servers.
const ZONES: usize = 10_000;
/// Steps of one resolution. A reverse lookup of IPv6 has 34 labels, and each may be a step.
const DEPTH: u8 = 64;
/// Servers that may be silent before the time of a question is over.
const SERVERS: u32 = 4;
/// Aliases followed.
const ALIASES: usize = 12;

/// A block of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// The first.
    pub address: IpAddr,
    /// Bits all of them share.
    pub bits: u8,
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

/// How to resolve from the root.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecursionSettings {
    /// A file of root hints in place of the shipped ones.
    pub root_hints: Option<PathBuf>,
    /// Private networks in which name servers are asked all the same.
    pub allow_servers: Vec<Network>,
    /// Addresses no name leads to: records with them are left out.
    pub deny_answers: Vec<Network>,
}

/// Why resolution from the root cannot begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecursionError {
    /// The hints cannot be read.
    Io(PathBuf, String),
    /// They are too large to be any.
    TooLarge(PathBuf),
    /// There is no address in them.
    Empty(PathBuf),
    /// hickory does not take the settings.
    Refused(String),
}

impl fmt::Display for RecursionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(path, error) => write!(f, "cannot read the root hints in {}: {error}", path.display()),
            Self::TooLarge(path) => write!(f, "{} is too large to be a file of root hints", path.display()),
            Self::Empty(path) => {
                let path = path.display();
                write!(f, "{path} has no A or AAAA record; IANA's is https://www.internic.net/domain/named.root")
            }
            Self::Refused(why) => write!(f, "cannot resolve from the root: {why}"),
        }
    }
}

impl std::error::Error for RecursionError {}

/// Resolves from the root.
pub(super) struct Roots {
    hints: Vec<IpAddr>,
    recursor: Recursor<Servers>,
}

impl Roots {
    /// Asks nobody yet. A question may take `limit`.
    pub(super) fn new(settings: &RecursionSettings, limit: Duration, mix_case: bool) -> Result<Self, RecursionError> {
        let roots = match &settings.root_hints {
            Some(path) => hints(path)?,
            None => ROOTS.iter().filter_map(|text| text.parse().ok()).collect(),
        };
        let options = RecursorOptions {
            ns_cache_size: ZONES,
            response_cache_size: ANSWERS,
            recursion_limit: DEPTH,
            ns_recursion_limit: DEPTH,
            case_randomization: mix_case,
            edns_payload_len: wire::UDP_EDNS as u16,
            allow_server: networks(&settings.allow_servers),
            deny_answers: networks(&settings.deny_answers),
            ..RecursorOptions::default()
        };
        // Signatures are fetched and handed on; who validates is `dnssec`.
        let policy = DnssecPolicy::ValidationDisabled;
        let recursor = Recursor::new(&roots, policy, None, options, Servers::new(limit / SERVERS));
        Ok(Self { recursor: recursor.map_err(|error| RecursionError::Refused(error.to_string()))?, hints: roots })
    }

    /// Where it begins.
    pub(super) fn hints(&self) -> &[IpAddr] {
        &self.hints
    }

    /// Resolves, in this time.
    pub(super) async fn ask(self: Arc<Self>, ask: Ask, limit: Duration) -> Outcome {
        let answered = tokio::time::timeout(limit, self.resolve(&ask)).await.unwrap_or(Err(Failure::Slow))?;
        let bytes = answered.to_vec().map_err(|_| Failure::Useless)?;
        Ok(Reply { bytes: bytes.into(), server: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)) })
    }

    /// Alias by alias: hickory forgets the aliases when their end is "no such name" or "no such record", and the proofs of
    /// all but the first.
    async fn resolve(&self, ask: &Ask) -> Result<Message, Failure> {
        let read = |wire: &[u8]| ProtoName::read(&mut BinDecoder::new(wire)).map_err(|_| Failure::Useless);
        let mut name = read(ask.name.wire())?;
        let qtype = RecordType::from(ask.qtype);
        let mut message = Message::new(0, MessageType::Response, OpCode::Query);
        message.metadata.recursion_desired = true;
        message.metadata.recursion_available = true;
        message.metadata.checking_disabled = ask.checking_disabled;
        let mut query = Query::query(name.clone(), qtype);
        query.set_query_class(DNSClass::IN);
        message.add_query(query);
        for _ in 0..ALIASES {
            match self.step(&name, qtype, ask.dnssec_ok).await? {
                Step::End { code, answers, authorities } => {
                    message.metadata.response_code = code;
                    message.answers.extend(answers);
                    message.authorities.extend(authorities);
                    return Ok(message);
                }
                Step::Alias { answers, authorities, target } => {
                    message.answers.extend(answers);
                    message.authorities.extend(authorities);
                    name = target;
                }
            }
        }
        Err(Failure::Useless)
    }

    /// What is known of one name.
    async fn step(&self, name: &ProtoName, qtype: RecordType, dnssec_ok: bool) -> Result<Step, Failure> {
        let response = match self.one(name, qtype, dnssec_ok).await? {
            Found::Records(response) => response,
            // The end of a chain whose aliases are lost: they are asked for by themselves.
            Found::Nothing { of, .. } if of != *name && qtype != RecordType::CNAME => {
                match self.one(name, RecordType::CNAME, dnssec_ok).await? {
                    Found::Records(response) => response,
                    Found::Nothing { code, authorities, .. } => return Ok(Step::end(code, authorities)),
                }
            }
            Found::Nothing { code, authorities, .. } => return Ok(Step::end(code, authorities)),
        };
        let has = |rtype: RecordType| {
            let mut answers = response.answers.iter();
            answers.any(|record| record.record_type() == rtype && record.name == *name)
        };
        if has(qtype) || !has(RecordType::CNAME) {
            let Message { metadata, answers, authorities, .. } = response;
            return Ok(Step::End { code: metadata.response_code, answers, authorities });
        }
        let mut aliases = response.answers.iter().filter(|record| record.name == *name);
        let target = aliases.find_map(|record| match &record.data {
            RData::CNAME(target) => Some(target.0.clone()),
            _ => None,
        });
        let target = target.ok_or(Failure::Useless)?;
        // What hickory has found at its other end is asked for again, and comes from its memory.
        let ours = |record: &Record| record.name == *name || record.name.zone_of(name);
        let Message { answers, authorities, .. } = response;
        let answers = answers.into_iter().filter(ours).collect();
        Ok(Step::Alias { answers, authorities: authorities.into_iter().filter(is_proof).collect(), target })
    }

    /// One question to the recursor.
    async fn one(&self, name: &ProtoName, qtype: RecordType, dnssec_ok: bool) -> Result<Found, Failure> {
        match self.recursor.resolve(Query::query(name.clone(), qtype), Instant::now(), dnssec_ok).await {
            Ok(response) => Ok(Found::Records(response)),
            Err(RecursorError::Negative(data)) => {
                let code = if data.is_nx_domain() { ResponseCode::NXDomain } else { ResponseCode::NoError };
                let soa = data.soa.map(|soa| soa.into_record_of_rdata());
                let others = data.authorities.iter().flat_map(|records| records.iter());
                let wanted = |record: &&Record| dnssec_ok && is_proof(record);
                let mut authorities: Vec<Record> = others.filter(wanted).cloned().collect();
                if let Some(soa) = soa.filter(|soa| !authorities.contains(soa)) {
                    authorities.insert(0, soa);
                }
                Ok(Found::Nothing { of: data.query.name().clone(), code, authorities })
            }
            Err(error) if error.is_timeout() => Err(Failure::Slow),
            Err(RecursorError::Timeout) => Err(Failure::Slow),
            Err(RecursorError::Io(_)) => Err(Failure::Dead),
            Err(_) => Err(Failure::Useless),
        }
    }
}

impl fmt::Debug for Roots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Roots").finish_non_exhaustive()
    }
}

/// What the recursor says of one question.
enum Found {
    /// There are records, perhaps of aliases only.
    Records(Message),
    /// There is nothing, which `authorities` prove, of a name that may be the last of a chain.
    Nothing { of: ProtoName, code: ResponseCode, authorities: Vec<Record> },
}

/// One step of a chain.
enum Step {
    /// Here it ends.
    End { code: ResponseCode, answers: Vec<Record>, authorities: Vec<Record> },
    /// It goes on at another name.
    Alias { answers: Vec<Record>, authorities: Vec<Record>, target: ProtoName },
}

impl Step {
    /// With nothing.
    fn end(code: ResponseCode, authorities: Vec<Record>) -> Self {
        Self::End { code, answers: Vec::new(), authorities }
    }
}

/// It proves something, or is signed for it.
fn is_proof(record: &Record) -> bool {
    matches!(record.record_type(), RecordType::NSEC | RecordType::NSEC3 | RecordType::RRSIG | RecordType::SOA)
}

/// As hickory wants them.
fn networks<T: FromStr>(networks: &[Network]) -> Vec<T> {
    networks.iter().filter_map(|network| network.to_string().parse().ok()).collect()
}

/// The addresses in a file of root hints.
fn hints(path: &Path) -> Result<Vec<IpAddr>, RecursionError> {
    let io = |error: io::Error| RecursionError::Io(path.into(), error.to_string());
    if path.metadata().map_err(io)?.len() > MAX_HINTS {
        return Err(RecursionError::TooLarge(path.into()));
    }
    let text = fs::read_to_string(path).map_err(io)?;
    let lines = text.lines().map(|line| line.split(';').next().unwrap_or_default());
    let address = |line: &str| {
        let mut words = line.split_whitespace().rev();
        let (value, kind) = (words.next()?, words.next()?);
        let address: IpAddr = value.parse().ok()?;
        let fits = kind.eq_ignore_ascii_case(if address.is_ipv4() { "A" } else { "AAAA" });
        fits.then_some(address)
    };
    let found: Vec<_> = lines.filter_map(address).collect();
    if found.is_empty() { Err(RecursionError::Empty(path.into())) } else { Ok(found) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_are_read_and_those_without_addresses_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("hints");
        fs::write(
            &path,
            "; comment\n. 3600000 NS A.ROOT.\nA.ROOT. 3600000 A 198.41.0.4 ; old\nA.ROOT. AAAA 2001:db8::1\n",
        )
        .expect("written");
        let expected: [IpAddr; 2] = ["198.41.0.4".parse().expect("one"), "2001:db8::1".parse().expect("one")];
        assert_eq!(hints(&path).expect("hints"), expected);
        fs::write(&path, ". 3600000 NS A.ROOT.\n").expect("written");
        assert!(hints(&path).expect_err("no address").to_string().contains("has no A or AAAA record"));
        assert!(ROOTS.iter().all(|text| text.parse::<IpAddr>().is_ok()));
    }
}
