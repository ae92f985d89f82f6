//! From the UDP workers to the async side: a bounded channel, and tasks that answer through the same socket.

use std::sync::Arc;

use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;

use crate::engine::{Engine, Peer};
use crate::net::{Source, UdpSocket};
use crate::snapshot::Snapshot;
use crate::stats::Counter;

/// Queries on their way to the async side.
const QUEUE: usize = 4096;
/// Queries under way there, those that wait for another one's answer included.
const IN_FLIGHT: usize = 20_000;

/// A query that has to be asked for.
#[derive(Debug)]
pub struct Miss {
    /// What decided that it passes.
    pub snapshot: Arc<Snapshot>,
    /// The query.
    pub message: Box<[u8]>,
    /// Who asked.
    pub peer: Peer,
    /// Where the answer goes out.
    pub socket: Arc<UdpSocket>,
    /// The address it goes out from.
    pub source: Option<Source>,
}

/// The async side.
#[derive(Debug)]
pub struct Misses {
    sender: mpsc::Sender<Miss>,
    dispatcher: JoinHandle<()>,
}

impl Misses {
    /// Starts on the current runtime.
    pub fn start(engine: &Arc<Engine>) -> Self {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let dispatcher = tokio::spawn(dispatch(Arc::clone(engine), receiver));
        Self { sender, dispatcher }
    }

    /// A worker's end of the channel.
    pub fn sender(&self) -> mpsc::Sender<Miss> {
        self.sender.clone()
    }

    /// Waits until everything under way is answered; the workers have ended before.
    pub async fn finish(self) {
        drop(self.sender);
        let _ = self.dispatcher.await;
    }
}

/// Starts a task for each query, and at the end waits for all of them.
async fn dispatch(engine: Arc<Engine>, mut receiver: mpsc::Receiver<Miss>) {
    let places = Arc::new(Semaphore::new(IN_FLIGHT));
    let decider = engine.decider();
    while let Some(miss) = receiver.recv().await {
        // While all places are taken the channel fills, and the workers answer SERVFAIL.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let engine = Arc::clone(&engine);
        let mut decider = decider.clone();
        tokio::spawn(async move {
            let _place = place;
            let Some(answer) = engine.resolve(&miss.snapshot, &miss.message, miss.peer, &mut decider).await else {
                return;
            };
            if miss.socket.send(&answer, miss.peer.address, miss.source).is_err() {
                decider.count(Counter::SendFailed);
            }
        });
    }
    let _ = places.acquire_many(IN_FLIGHT as u32).await;
}
