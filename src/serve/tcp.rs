//! DNS over TCP (RFC 7766): pipelining with answers out of order, and limits on everything.

mod connection;

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;

use crate::engine::{Engine, Peer};
use crate::event::Transport;
use crate::util::{Now, Throttle};

use super::TcpSettings;
use super::shared::Shared;

/// The first and the longest pause after accepting has failed (out of descriptors, say).
const PAUSE: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// The running listeners.
#[derive(Debug)]
pub struct Listeners {
    pub(super) tasks: Vec<JoinHandle<()>>,
    pub(super) shared: Arc<Shared>,
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
        let shared = Shared::new(engine, upstreams, settings, stopped);
        let mut tasks = Vec::new();
        for listener in listeners {
            tasks.push(tokio::spawn(accept(TcpListener::from_std(listener)?, Arc::clone(&shared))));
        }
        Ok(Self { tasks, shared })
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
                admit(stream, client, &shared);
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
fn admit(stream: TcpStream, client: SocketAddr, shared: &Arc<Shared>) {
    let Some(place) = shared.enter(client.ip()) else { return };
    let shared = Arc::clone(shared);
    tokio::spawn(async move {
        let _place = place;
        let peer = Peer::new(client, Transport::Tcp);
        let (reader, writer) = stream.into_split();
        connection::serve(reader, writer, peer, &shared).await;
    });
}
