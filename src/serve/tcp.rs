//! Streams: DNS over TCP (RFC 7766) and over TLS (RFC 7858), and the listeners of all that comes over TCP.

mod connection;

use std::convert::identity;
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use crate::event::Transport;
use crate::util::{Now, Throttle};

use super::doh::{self, Gather, Site, Version};
use super::shared::Shared;
use super::tls::Greeter;

/// The first and the longest pause after accepting has failed (out of descriptors, say).
const PAUSE: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// The running listeners.
#[derive(Debug)]
pub struct Listeners {
    pub(super) tasks: Vec<JoinHandle<()>>,
    shared: Arc<Shared>,
    greeter: Greeter,
}

impl Listeners {
    /// None yet.
    pub(super) fn new(shared: &Arc<Shared>, greeter: &Greeter) -> Self {
        Self { tasks: Vec::new(), shared: Arc::clone(shared), greeter: greeter.clone() }
    }

    /// Starts DNS over TCP on the current runtime.
    pub(super) fn plain(&mut self, listeners: Vec<StdListener>) -> io::Result<()> {
        let (shared, greeter) = (Arc::clone(&self.shared), self.greeter.clone());
        self.listen(listeners, move |stream, from| {
            let shared = Arc::clone(&shared);
            greeter.plain(stream, from, async move |stream, peer| connection::serve(stream, peer, &shared).await);
        })
    }

    /// Starts DNS over TLS.
    pub(super) fn dot(&mut self, listeners: Vec<StdListener>, config: ServerConfig) -> io::Result<()> {
        let (shared, greeter, config) = (Arc::clone(&self.shared), self.greeter.clone(), Arc::new(config));
        self.listen(listeners, move |stream, from| {
            let shared = Arc::clone(&shared);
            let config = (Transport::Dot, Arc::clone(&config));
            greeter.encrypted(stream, from, config, identity, async move |stream, peer| {
                connection::serve(stream, peer, &shared).await;
            });
        })
    }

    /// Starts DNS over HTTPS, by HTTP/1.1 and 2.
    pub(super) fn doh(
        &mut self,
        listeners: Vec<StdListener>,
        config: ServerConfig,
        site: &Arc<Site>,
    ) -> io::Result<()> {
        let (shared, greeter, config) = (Arc::clone(&self.shared), self.greeter.clone(), Arc::new(config));
        let site = Arc::clone(site);
        self.listen(listeners, move |stream, from| {
            let (shared, site) = (Arc::clone(&shared), Arc::clone(&site));
            let config = (Transport::Doh, Arc::clone(&config));
            greeter.encrypted(stream, from, config, Gather::over, async move |stream, peer| {
                let (below, session) = stream.get_ref();
                let (below, version) = (below.gathering(), Version::agreed(session.alpn_protocol()));
                doh::serve(stream, below, version, peer, &shared, &site).await;
            });
        })
    }

    /// Starts accepting; `admit` must not wait.
    pub(super) fn listen(
        &mut self,
        listeners: Vec<StdListener>,
        admit: impl Fn(TcpStream, SocketAddr) + Clone + Send + 'static,
    ) -> io::Result<()> {
        for listener in listeners {
            let listener = TcpListener::from_std(listener)?;
            self.tasks.push(tokio::spawn(accept(listener, Arc::clone(&self.shared), admit.clone())));
        }
        Ok(())
    }

    /// The places for connections, and how many there are.
    pub fn places(&self) -> (Arc<Semaphore>, usize) {
        (self.shared.places(), self.shared.settings.max_connections)
    }

    /// Waits until every connection has ended, after a stop.
    pub async fn finish(self) {
        for task in self.tasks {
            let _ = task.await;
        }
        let _ = self.shared.places().acquire_many(self.shared.settings.max_connections as u32).await;
    }
}

/// Accepts until stopped.
async fn accept(listener: TcpListener, shared: Arc<Shared>, admit: impl Fn(TcpStream, SocketAddr)) {
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
                admit(stream, client);
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
