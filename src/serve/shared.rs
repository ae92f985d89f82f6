//! What all connections share, whatever they speak: the engine, the limits, and who has how many places.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::engine::{Decider, Engine, Peer, Verdict};
use crate::limit::Door;
use crate::snapshot::Snapshot;
use crate::stats::Counter;
use crate::util::{Now, Throttle};
use crate::wire::STREAM_MAX;

use super::proxy::FrontEnds;
use super::{Settings, TcpSettings};

thread_local! {
    /// Room for the longest answer, one a runtime thread: idle connections hold no such buffer.
    static OUT: RefCell<Vec<u8>> = RefCell::new(vec![0; STREAM_MAX]);
}

/// What all connections share.
#[derive(Debug)]
pub(super) struct Shared {
    /// Answers.
    pub engine: Arc<Engine>,
    /// Where queries are resolved.
    pub upstreams: Handle,
    /// To be cloned by each connection.
    pub decider: Decider,
    /// The limits.
    pub settings: TcpSettings,
    /// Who says for whom it asks.
    pub front_ends: FrontEnds,
    /// True once nothing is taken any more.
    pub stopped: watch::Receiver<bool>,
    places: Arc<Semaphore>,
    clients: Mutex<HashMap<IpAddr, usize>>,
    trouble: Throttle,
}

/// A place for one connection, given back on drop.
#[derive(Debug)]
pub(super) struct Place {
    _place: OwnedSemaphorePermit,
    _seat: Seat,
}

/// One of the connections a client may have, given back on drop.
#[derive(Debug)]
pub(super) struct Seat {
    shared: Arc<Shared>,
    ip: IpAddr,
}

impl Shared {
    /// No connection yet.
    pub fn new(
        engine: &Arc<Engine>,
        upstreams: &Handle,
        settings: &Settings,
        stopped: &watch::Receiver<bool>,
    ) -> Arc<Self> {
        Arc::new(Self {
            engine: Arc::clone(engine),
            upstreams: upstreams.clone(),
            decider: engine.decider(),
            settings: settings.tcp.clone(),
            front_ends: FrontEnds::new(&settings.proxy_from),
            stopped: stopped.clone(),
            places: Arc::new(Semaphore::new(settings.tcp.max_connections)),
            clients: Mutex::default(),
            trouble: Throttle::new(10_000),
        })
    }

    /// A place for a connection of this client, if there is one; a refusal is counted and said.
    pub fn enter(self: &Arc<Self>, client: IpAddr) -> Option<Place> {
        self.seat(client)?.enter()
    }

    /// The first half of [`Self::enter`], for a connection that cannot ask yet.
    pub fn seat(self: &Arc<Self>, client: IpAddr) -> Option<Seat> {
        let ip = client.to_canonical();
        if self.places.available_permits() == 0 {
            self.refused("max_connections");
        } else if self.one_more(ip) {
            return Some(Seat { shared: Arc::clone(self), ip });
        } else {
            self.refused("max_per_client");
        }
        None
    }

    /// A connection is closed for a limit.
    fn refused(&self, limit: &str) {
        self.decider.count(Counter::ConnectionRefused);
        if let Some(held) = self.trouble.pass(Now::read()) {
            tracing::warn!(limit, held, "connection closed: [server.tcp] limit reached");
        }
    }

    /// Who asked, by the server's name that it gave in the TLS handshake: its first label may be a door.
    pub fn named(&self, peer: Peer, server_name: Option<&str>) -> Peer {
        self.through(peer, server_name.map(|name| name.split_once('.').map_or(name, |(first, _)| first)))
    }

    /// Who asked, through the door of this name, if it is one.
    pub fn through(&self, peer: Peer, door: Option<&str>) -> Peer {
        let door = door.map_or(Door::default(), |name| self.engine.doors().find(name));
        if door == Door::default() { peer } else { peer.through(door) }
    }

    /// The places for connections.
    pub fn places(&self) -> Arc<Semaphore> {
        Arc::clone(&self.places)
    }

    /// What to do with a message; `take` gets the answer too, if there is one.
    pub fn decided<T>(
        &self,
        decider: &mut Decider,
        snapshot: &Snapshot,
        message: &[u8],
        peer: Peer,
        take: impl FnOnce(Verdict, Option<&[u8]>) -> T,
    ) -> T {
        OUT.with_borrow_mut(|out| {
            let verdict = decider.decide(snapshot, message, peer, Now::read(), out);
            let reply = if let Verdict::Reply(len) = verdict { out.get(..len) } else { None };
            take(verdict, reply)
        })
    }

    /// One more for `ip`, if it may have it.
    fn one_more(&self, ip: IpAddr) -> bool {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let count = clients.entry(ip).or_insert(0);
        let room = *count < self.settings.max_per_client;
        *count += usize::from(room);
        room
    }
}

impl Seat {
    /// A place among all connections, if there is one; a refusal is counted and said.
    pub fn enter(self) -> Option<Place> {
        match Arc::clone(&self.shared.places).try_acquire_owned() {
            Ok(_place) => Some(Place { _place, _seat: self }),
            Err(_) => {
                self.shared.refused("max_connections");
                None
            }
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut clients = self.shared.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = clients.get_mut(&self.ip) {
            *count -= 1;
            if *count == 0 {
                clients.remove(&self.ip);
            }
        }
    }
}
