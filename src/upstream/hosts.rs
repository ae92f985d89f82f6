//! Addresses of servers that are configured by name, from bootstrap servers and never through ourselves.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hickory_proto::op::Message;
use hickory_proto::rr::RData;
use tokio::time::Instant;

use super::race::{Plan, Remote, Strategy, race};
use super::{Ask, Reply, Wish};
use crate::name::Name;
use crate::wire::{CLASS_IN, rtype};

/// For one look-up, A and AAAA beside each other.
const TIMEOUT: Duration = Duration::from_secs(2);
/// Addresses are kept for as long as they say, within these bounds.
const KEEP: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(24 * 3600));
/// After a look-up that failed the next one waits, while there are older addresses.
const AGAIN: Duration = Duration::from_secs(10);
/// Addresses of one name.
const MAX_ADDRESSES: usize = 16;

/// The servers that know the addresses of the others.
#[derive(Clone)]
pub(super) struct Bootstrap {
    /// Asked in order.
    pub(super) servers: Arc<[Arc<Remote>]>,
}

/// One name, and what is known of it.
pub(super) struct Lookup {
    name: Name,
    bootstrap: Bootstrap,
    found: Mutex<Option<Found>>,
    /// Held by who looks it up, so that the others wait for the same.
    asking: tokio::sync::Mutex<()>,
}

/// Addresses with the time they are good for.
#[derive(Clone)]
struct Found {
    addresses: Arc<[IpAddr]>,
    until: Instant,
}

impl Lookup {
    /// Asks nobody yet.
    pub(super) fn new(name: Name, bootstrap: Bootstrap) -> Self {
        Self { name, bootstrap, found: Mutex::default(), asking: tokio::sync::Mutex::default() }
    }

    /// What is looked up.
    pub(super) fn name(&self) -> &Name {
        &self.name
    }

    /// The addresses, those that worked last first; old ones when no new ones can be had. `Err` says why for the log.
    pub(super) async fn addresses(&self) -> Result<Arc<[IpAddr]>, String> {
        if let Some(found) = self.fresh() {
            return Ok(found);
        }
        let _asking = self.asking.lock().await;
        if let Some(found) = self.fresh() {
            return Ok(found);
        }
        let now = Instant::now();
        match self.ask().await {
            Ok((addresses, ttl)) => {
                let until = now + ttl.clamp(KEEP.0, KEEP.1);
                *self.lock() = Some(Found { addresses: Arc::clone(&addresses), until });
                Ok(addresses)
            }
            Err(reason) => match &mut *self.lock() {
                Some(found) => {
                    found.until = now + AGAIN;
                    Ok(Arc::clone(&found.addresses))
                }
                None => Err(reason),
            },
        }
    }

    /// A connection to this address was made: it is tried first from now on.
    pub(super) fn worked(&self, ip: IpAddr) {
        if let Some(found) = &mut *self.lock()
            && found.addresses.first() != Some(&ip)
        {
            let others = found.addresses.iter().copied().filter(|other| *other != ip);
            found.addresses = std::iter::once(ip).chain(others).collect();
        }
    }

    /// Nobody answers at these addresses: perhaps they are others by now.
    pub(super) fn doubt(&self) {
        if let Some(found) = &mut *self.lock() {
            found.until = Instant::now();
        }
    }

    /// What is known and not too old.
    fn fresh(&self) -> Option<Arc<[IpAddr]>> {
        let now = Instant::now();
        self.lock().as_ref().filter(|found| found.until > now).map(|found| Arc::clone(&found.addresses))
    }

    /// Whole whenever it is free.
    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Found>> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks for both kinds of addresses. IPv4 first: where IPv6 does not work, it mostly fails slowly.
    async fn ask(&self) -> Result<(Arc<[IpAddr]>, Duration), String> {
        let ask = |qtype| {
            let name = self.name.clone();
            Wish::from(Ask { name, qtype, qclass: CLASS_IN, dnssec_ok: false, checking_disabled: false })
        };
        let plan = Plan { strategy: Strategy::Ordered, timeout: TIMEOUT };
        let servers = || Arc::clone(&self.bootstrap.servers);
        let (v4, v6) = tokio::join!(race(servers(), ask(rtype::A), plan), race(servers(), ask(rtype::AAAA), plan));
        let mut addresses: Vec<IpAddr> = Vec::new();
        let mut ttl = KEEP.1;
        for reply in [&v4, &v6].into_iter().flatten() {
            for (address, lives) in read(reply) {
                if addresses.len() < MAX_ADDRESSES && !addresses.contains(&address) {
                    addresses.push(address);
                    ttl = ttl.min(lives);
                }
            }
        }
        if !addresses.is_empty() {
            return Ok((addresses.into(), ttl));
        }
        let name = &self.name;
        Err(match (v4, v6) {
            (Err(failure), _) | (_, Err(failure)) => {
                format!("cannot look up {name} at the bootstrap servers: {failure}; see [upstream] bootstrap")
            }
            _ => format!("the bootstrap servers know no address of {name}"),
        })
    }
}

/// Addresses in an answer, and how long each lives. A reply is known to answer the question, and bootstrap servers
/// follow aliases, so all addresses in it are the name's.
fn read(reply: &Reply) -> Vec<(IpAddr, Duration)> {
    let Ok(message) = Message::from_vec(&reply.bytes) else { return Vec::new() };
    let address = |data: &RData| match data {
        RData::A(a) => Some(IpAddr::V4(a.0)),
        RData::AAAA(aaaa) => Some(IpAddr::V6(aaaa.0)),
        _ => None,
    };
    let usable = |ip: &IpAddr| !ip.is_unspecified() && !ip.is_multicast();
    let records = message.answers.iter();
    records
        .filter_map(|record| Some((address(&record.data)?, Duration::from_secs(u64::from(record.ttl)))))
        .filter(|(ip, _)| usable(ip))
        .collect()
}
