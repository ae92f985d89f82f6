//! DNS over TCP (RFC 7766): pipelining with answers out of order, and limits on everything.

mod connection;

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener as StdListener};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;

use crate::engine::{Decider, Engine};
use crate::util::{Now, Throttle};

use super::TcpSettings;

/// The first and the longest pause after accepting has failed (out of descriptors, say).
const PAUSE: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// The running listeners.
#[derive(Debug)]
pub struct Listeners {
    tasks: Vec<JoinHandle<()>>,
    shared: Arc<Shared>,
}

/// What all connections share.
#[derive(Debug)]
struct Shared {
    engine: Arc<Engine>,
    /// Where queries are resolved.
    upstreams: Handle,
    decider: Decider,
    settings: TcpSettings,
    places: Arc<Semaphore>,
    clients: Mutex<HashMap<IpAddr, usize>>,
    stopped: watch::Receiver<bool>,
}

impl Listeners {
    /// Starts accepting on the current runtime; what has to be asked for is resolved on `upstreams`.
    pub fn start(
        listeners: Vec<StdListener>,
        settings: &TcpSettings,
        engine: &Arc<Engine>,
        upstreams: &Handle,
        stopped: &watch::Receiver<bool>,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            engine: Arc::clone(engine),
            upstreams: upstreams.clone(),
            decider: engine.decider(),
            settings: settings.clone(),
            places: Arc::new(Semaphore::new(settings.max_connections)),
            clients: Mutex::default(),
            stopped: stopped.clone(),
        });
        let mut tasks = Vec::new();
        for listener in listeners {
            tasks.push(tokio::spawn(accept(TcpListener::from_std(listener)?, Arc::clone(&shared))));
        }
        Ok(Self { tasks, shared })
    }

    /// The places for connections, and how many there are.
    pub fn places(&self) -> (Arc<Semaphore>, usize) {
        (Arc::clone(&self.shared.places), self.shared.settings.max_connections)
    }

    /// Waits until every connection has ended, after a stop.
    pub async fn finish(self) {
        for task in self.tasks {
            let _ = task.await;
        }
        let _ = self.shared.places.acquire_many(self.shared.settings.max_connections as u32).await;
    }
}

/// Accepts until stopped.
async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut stopped = shared.stopped.clone();
    let trouble = Throttle::new(10_000);
    let mut pause = PAUSE.0;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stopped.wait_for(|&stop| stop) => return,
        };
        match accepted {
            Ok((stream, client)) => {
                pause = PAUSE.0;
                admit(stream, client, &shared, &trouble);
            }
            Err(error) => {
                if let Some(held) = trouble.pass(Now::read()) {
                    tracing::warn!(%error, held, "accepting a TCP connection failed; trying again");
                }
                // Aborted connections are gone at once; out of descriptors takes time to pass.
                if error.kind() != io::ErrorKind::ConnectionAborted {
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(PAUSE.1);
                }
            }
        }
    }
}

/// Serves a connection if there is a place for it; else it is closed at once.
fn admit(stream: TcpStream, client: SocketAddr, shared: &Arc<Shared>, trouble: &Throttle) {
    let ip = client.ip().to_canonical();
    let refused = match Arc::clone(&shared.places).try_acquire_owned() {
        Err(_) => "max_connections",
        Ok(place) => match PerClient::enter(shared, ip) {
            None => "max_per_client",
            Some(held) => {
                let shared = Arc::clone(shared);
                tokio::spawn(async move {
                    let _held = (place, held);
                    connection::serve(stream, client, &shared).await;
                });
                return;
            }
        },
    };
    shared.decider.count(crate::stats::Counter::ConnectionRefused);
    if let Some(held) = trouble.pass(Now::read()) {
        tracing::warn!(limit = refused, held, "TCP connection closed: [server.tcp] limit reached");
    }
}

/// A client's share of the connections, given back on drop.
struct PerClient {
    shared: Arc<Shared>,
    ip: IpAddr,
}

impl PerClient {
    /// One more for `ip`, if it may have it.
    fn enter(shared: &Arc<Shared>, ip: IpAddr) -> Option<Self> {
        let mut clients = shared.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let count = clients.entry(ip).or_insert(0);
        if *count >= shared.settings.max_per_client {
            return None;
        }
        *count += 1;
        Some(Self { shared: Arc::clone(shared), ip })
    }
}

impl Drop for PerClient {
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
