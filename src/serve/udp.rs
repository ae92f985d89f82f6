//! The UDP workers: batch in, decide, batch out; what has to be asked for goes to the async side.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use crate::engine::{Decider, Engine, Peer, Verdict};
use crate::event::Transport;
use crate::net::{Batch, Datagram, Poller, UdpSocket};
use crate::snapshot::Snapshot;
use crate::stats::Counter;
use crate::util::{Now, Reader, Throttle};

use super::Pulse;
use super::misses::Miss;
use super::proxy::{self, FrontEnds};

/// How long an idle worker sleeps before it looks whether to stop.
const IDLE_MS: i32 = 100;
/// How long queries already in the socket are still answered after a stop.
const LAST_ROUND: Duration = Duration::from_millis(500);

/// One worker: a thread with a socket of its own for every address.
#[derive(Debug)]
pub struct Worker {
    index: usize,
    sockets: Vec<Arc<UdpSocket>>,
    snapshots: Reader<Snapshot>,
    decider: Decider,
    misses: mpsc::Sender<Miss>,
    pulse: Arc<Pulse>,
    front_ends: FrontEnds,
}

impl Worker {
    /// Ready to run.
    pub(super) fn new(
        index: usize,
        sockets: Vec<UdpSocket>,
        engine: &Arc<Engine>,
        misses: mpsc::Sender<Miss>,
        (pulse, front_ends): (&Arc<Pulse>, &FrontEnds),
    ) -> Self {
        let sockets = sockets.into_iter().map(Arc::new).collect();
        let (pulse, front_ends) = (Arc::clone(pulse), front_ends.clone());
        Self { index, sockets, snapshots: engine.snapshots(), decider: engine.decider(), misses, pulse, front_ends }
    }

    /// Serves until told to stop, and then what is still in the sockets.
    pub fn run(mut self) {
        let trouble = Throttle::new(10_000);
        let mut batch = Batch::new();
        let mut poller = Poller::new(self.sockets.iter().map(AsRef::as_ref));
        let mut last_round: Option<Instant> = None;
        loop {
            self.pulse.beats[self.index].fetch_add(1, Ordering::Relaxed);
            let mut idle = true;
            for at in 0..self.sockets.len() {
                match self.serve(at, &mut batch) {
                    Ok(()) => idle = false,
                    Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
                    Err(error) => {
                        // Nothing a socket says ends the service; but neither may it make us spin.
                        if let Some(held) = trouble.pass(Now::read()) {
                            let address = self.sockets[at].local();
                            tracing::warn!(%address, %error, held, "receiving failed; trying again");
                        }
                        std::thread::sleep(Duration::from_millis(10));
                    }
                }
            }
            if self.pulse.stopping.load(Ordering::Relaxed) {
                let since = last_round.get_or_insert_with(Instant::now);
                if idle || since.elapsed() > LAST_ROUND {
                    return;
                }
            } else if idle {
                poller.wait(IDLE_MS);
            }
        }
    }

    /// One batch of one socket.
    fn serve(&mut self, at: usize, batch: &mut Batch) -> io::Result<()> {
        let socket = &self.sockets[at];
        let snapshot = self.snapshots.current();
        let (decider, misses, front_ends) = (&mut self.decider, &self.misses, &self.front_ends);
        // Read on the first datagram: an empty round needs no time.
        let mut now = None;
        // Handed over after the batch, so that the other side is woken once.
        let mut passed = Vec::new();
        let done = batch.serve(socket, |datagram| {
            let now = *now.get_or_insert_with(Now::read);
            let Datagram { mut message, client: from, source, out } = datagram;
            let mut client = from;
            if front_ends.has(from) {
                let Some(said) = proxy::split(message, from) else {
                    front_ends.headless(from, decider);
                    return 0;
                };
                (client, message) = said;
            }
            let peer = Peer::new(client, Transport::Udp);
            match decider.decide(snapshot, message, peer, now, out) {
                Verdict::Reply(len) => len,
                Verdict::Drop => 0,
                Verdict::Resolve(busy) => match misses.try_reserve() {
                    Ok(place) => {
                        let (snapshot, socket) = (Arc::clone(snapshot), Arc::clone(socket));
                        passed
                            .push((place, Miss { snapshot, message: message.into(), peer, socket, to: from, source }));
                        0
                    }
                    Err(_) => {
                        decider.count(Counter::Overloaded);
                        decider.answered(peer, out);
                        busy
                    }
                },
            }
        })?;
        for (place, miss) in passed {
            place.send(miss);
        }
        for _ in 0..done.unsent {
            self.decider.count(Counter::SendFailed);
        }
        Ok(())
    }
}
