//! Listeners: bytes in, the engine's bytes out.

mod bind;
mod desk;
mod doh;
mod misses;
mod proxy;
mod quic;
mod ready;
mod shared;
mod tcp;
mod tls;
mod udp;

pub use bind::{BindError, Bound};
pub use ready::{ReadyError, write as write_ready_file};
pub use tls::{Certificates, Leaf, Reread, Standing, TlsError};

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, mpsc, watch};

use crate::engine::Engine;
use crate::event::Transport;
use crate::limit::Cidr;
use crate::name::Name;
use crate::net;

/// How long queries under way may take to finish after a stop.
pub const DRAIN: Duration = Duration::from_secs(2);

/// Without `[tls]` these are front ends that have not said for whom they ask: how many, and for how long.
const HANDSHAKES: (usize, Duration) = (1000, Duration::from_secs(5));

/// `[server]` without its access list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// UDP and TCP addresses; port 0 picks one.
    pub listen: Vec<SocketAddr>,
    /// UDP worker threads; 0: one a core.
    pub workers: usize,
    /// Each UDP worker stays on one CPU.
    pub pin: bool,
    /// Where the bound addresses are written as JSON; `None`: nowhere.
    pub ready_file: Option<PathBuf>,
    /// Front ends that say for whom they ask (PROXY protocol, version 2).
    pub proxy_from: Vec<Cidr>,
    /// TCP limits.
    pub tcp: TcpSettings,
    /// Encrypted listeners, if there are any.
    pub tls: Option<TlsSettings>,
}

/// `[server.tcp]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TcpSettings {
    /// A connection without a query for this long is closed.
    pub idle: Duration,
    /// A connection is closed after this long, busy or not.
    pub total: Duration,
    /// Connections in all.
    pub max_connections: usize,
    /// Connections of one client address.
    pub max_per_client: usize,
    /// Unanswered queries of one connection.
    pub max_in_flight: usize,
}

/// `[tls]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsSettings {
    /// The certificate and those between it and the root, PEM.
    pub certificate: PathBuf,
    /// Its key, PEM.
    pub key: PathBuf,
    /// The name clients check; `None`: the first DNS name of the certificate.
    pub name: Option<Name>,
    /// Addresses for DNS over TLS; port 0 picks one, here and below.
    pub dot: Vec<SocketAddr>,
    /// Addresses for DNS over HTTPS, by HTTP/1.1 and 2.
    pub doh: Vec<SocketAddr>,
    /// Addresses for DNS over HTTPS, by HTTP/3.
    pub doh3: Vec<SocketAddr>,
    /// Addresses for DNS over QUIC.
    pub doq: Vec<SocketAddr>,
    /// Where DNS is asked over HTTPS.
    pub doh_path: String,
    /// A handshake that takes longer is given up.
    pub handshake: Duration,
    /// Unfinished handshakes at once; more, and the oldest is given up.
    pub max_handshakes: usize,
}

/// Running listeners.
#[derive(Debug)]
pub struct Serving {
    workers: Vec<JoinHandle<()>>,
    pulse: Arc<Pulse>,
    stop: watch::Sender<bool>,
    misses: misses::Misses,
    tcp: tcp::Listeners,
    addresses: Vec<(Transport, SocketAddr)>,
}

/// What the UDP workers and the rest of the process tell each other.
#[derive(Debug)]
struct Pulse {
    stopping: AtomicBool,
    /// One beat counter a worker; a worker that no longer beats hangs.
    beats: Box<[AtomicU64]>,
}

/// The pulse of the UDP workers, readable from anywhere.
#[derive(Clone, Debug)]
pub struct Beats(Arc<Pulse>);

impl Beats {
    /// One number a worker, each growing at least ten times a second.
    pub fn read(&self) -> Vec<u64> {
        self.0.beats.iter().map(|beat| beat.load(Ordering::Relaxed)).collect()
    }
}

/// How much waits, readable from anywhere.
#[derive(Clone, Debug)]
pub struct Load {
    connections: Arc<Semaphore>,
    max_connections: usize,
    misses: mpsc::WeakSender<misses::Miss>,
}

/// What waits at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// Open TCP connections.
    pub connections: usize,
    /// Queries on their way to where upstreams are asked.
    pub misses: usize,
    /// How many these may be.
    pub max_misses: usize,
}

impl Load {
    /// Now.
    pub fn read(&self) -> Waiting {
        let connections = self.max_connections.saturating_sub(self.connections.available_permits());
        // Held for a moment only: the queue ends with its last sender.
        let misses = self.misses.upgrade();
        let max_misses = misses.as_ref().map_or(0, mpsc::Sender::max_capacity);
        let misses = max_misses - misses.as_ref().map_or(0, mpsc::Sender::capacity).min(max_misses);
        Waiting { connections, misses, max_misses }
    }
}

impl Bound {
    /// Starts answering; encrypted listeners show `certificates`. Call within the runtime that TCP and resolving shall run on.
    ///
    /// # Errors
    /// A thread cannot be started, or a listener cannot join the runtime.
    pub fn start(
        self,
        settings: &Settings,
        engine: &Arc<Engine>,
        certificates: Option<&Arc<Certificates>>,
    ) -> std::io::Result<Serving> {
        let (stop, stopped) = watch::channel(false);
        let misses = misses::Misses::start(engine)?;
        let beats = self.udp.iter().map(|_| AtomicU64::new(0)).collect();
        let pulse = Arc::new(Pulse { stopping: AtomicBool::new(false), beats });
        let addresses = self.addresses.clone();
        let front_ends = proxy::FrontEnds::new(&settings.proxy_from);
        let mut workers = Vec::new();
        for (index, sockets) in self.udp.into_iter().enumerate() {
            let worker = udp::Worker::new(index, sockets, engine, misses.sender(), (&pulse, &front_ends));
            let pin = settings.pin;
            let run = move || {
                if pin && let Err(error) = net::pin_thread(index) {
                    tracing::warn!(worker = index, %error, "a UDP worker cannot be kept on one CPU; it serves all the same");
                }
                worker.run();
            };
            workers.push(std::thread::Builder::new().name(format!("udp-{index}")).spawn(run)?);
        }
        let shown = certificates.map(|certificates| certificates.leaf());
        let name = settings.tls.as_ref().and_then(|tls| tls.name.as_ref()).map(ToString::to_string);
        let name = name.as_deref().or_else(|| shown.as_ref().and_then(Leaf::name));
        let shared = shared::Shared::new(engine, misses.runtime(), (settings, name), &stopped);
        let (most, time) = settings.tls.as_ref().map_or(HANDSHAKES, |tls| (tls.max_handshakes, tls.handshake));
        let greeter = tls::Greeter::new(&shared, tls::Handshakes::new(most, time));
        let mut tcp = tcp::Listeners::new(&shared, &greeter);
        tcp.plain(self.tcp)?;
        if let (Some(tls), Some(certificates)) = (&settings.tls, certificates) {
            let bind::Encrypted { dot, doh, doh3, doq } = self.encrypted;
            tcp.dot(dot, certificates.server(&[b"dot"]).map_err(std::io::Error::other)?)?;
            let site = doh::Site::new(&tls.doh_path, &doh3);
            tcp.doh(doh, certificates.server(&doh::PROTOCOLS).map_err(std::io::Error::other)?, &site)?;
            tcp.tasks.extend(quic::start_all(doh3, doq, &site, certificates, tls, &shared)?);
        }
        Ok(Serving { workers, pulse, stop, misses, tcp, addresses })
    }
}

impl Serving {
    /// The addresses that answer.
    pub fn addresses(&self) -> &[(Transport, SocketAddr)] {
        &self.addresses
    }

    /// Where upstreams are asked.
    pub fn runtime(&self) -> &tokio::runtime::Handle {
        self.misses.runtime()
    }

    /// How much waits.
    pub fn load(&self) -> Load {
        let (connections, max_connections) = self.tcp.places();
        Load { connections, max_connections, misses: self.misses.sender().downgrade() }
    }

    /// How often each UDP worker has gone round; for the watchdog.
    pub fn pulse(&self) -> Beats {
        Beats(Arc::clone(&self.pulse))
    }

    /// Takes no more queries, lets those under way finish for at most [`DRAIN`], and ends the workers.
    pub async fn stop(self) {
        let deadline = Instant::now() + DRAIN;
        let _ = self.stop.send(true);
        self.pulse.stopping.store(true, Ordering::Relaxed);
        let workers = tokio::task::spawn_blocking(|| {
            for worker in self.workers {
                // A worker that panicked has said so already.
                let _ = worker.join();
            }
        });
        let _ = tokio::time::timeout_at(deadline.into(), workers).await;
        let _ = tokio::time::timeout_at(deadline.into(), self.tcp.finish()).await;
        let _ = tokio::time::timeout_at(deadline.into(), self.misses.finish()).await;
    }
}
