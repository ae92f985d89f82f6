//! From the UDP workers to the async side and back: a bounded channel, a thread with a runtime of its own where every
//! query that has to be asked for is resolved, and answers sent in batches through the socket that was asked.
//!
//! One thread, so that handing over from query to upstream socket and back is a push to a queue and no system call; what
//! gathers while it is busy is taken, sent and answered together.

use std::future::poll_fn;
use std::io;
use std::mem;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::thread::JoinHandle;

use tokio::runtime::{Builder, Handle};
use tokio::sync::{Semaphore, mpsc};

use crate::engine::{Decider, Engine, Peer};
use crate::net::{Outbox, Source, UdpSocket};
use crate::snapshot::Snapshot;
use crate::stats::Counter;

/// Queries on their way to the async side.
const QUEUE: usize = 4096;
/// Queries under way there, those that wait for another one's answer included.
const IN_FLIGHT: usize = 20_000;
/// Queries taken out of the channel at once.
const BATCH: usize = 64;

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
    /// Where it goes: to the client, or to the front end that asked for it.
    pub to: SocketAddr,
    /// The address it goes out from.
    pub source: Option<Source>,
}

/// The async side.
#[derive(Debug)]
pub struct Misses {
    sender: mpsc::Sender<Miss>,
    runtime: Handle,
    thread: JoinHandle<()>,
}

impl Misses {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system refuses it.
    pub fn start(engine: &Arc<Engine>) -> io::Result<Self> {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let engine = Arc::clone(engine);
        let thread = std::thread::Builder::new()
            .name("misses".into())
            .spawn(move || runtime.block_on(dispatch(engine, receiver)))?;
        Ok(Self { sender, runtime: handle, thread })
    }

    /// A worker's end of the channel.
    pub fn sender(&self) -> mpsc::Sender<Miss> {
        self.sender.clone()
    }

    /// Where upstreams are asked. Other runtimes may ask too, but pay for the way between threads.
    pub fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// Waits until everything under way is answered; the workers have ended before.
    pub async fn finish(self) {
        drop(self.sender);
        let thread = self.thread;
        let _ = tokio::task::spawn_blocking(|| thread.join()).await;
    }
}

/// Starts a task for each query, and at the end waits for all of them.
async fn dispatch(engine: Arc<Engine>, mut receiver: mpsc::Receiver<Miss>) {
    let places = Arc::new(Semaphore::new(IN_FLIGHT));
    let decider = engine.decider();
    let answers = Arc::new(Answers::default());
    tokio::spawn(send(Arc::clone(&answers), decider.clone()));
    let mut batch = Vec::with_capacity(BATCH);
    while receiver.recv_many(&mut batch, BATCH).await > 0 {
        for miss in batch.drain(..) {
            // While all places are taken the channel fills, and the workers answer SERVFAIL.
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            let (engine, answers) = (Arc::clone(&engine), Arc::clone(&answers));
            let mut decider = decider.clone();
            tokio::spawn(async move {
                let _place = place;
                let Miss { snapshot, message, peer, socket, to, source } = miss;
                if let Some(bytes) = engine.resolve(&snapshot, &message, peer, &mut decider).await {
                    decider.answered(peer, &bytes);
                    answers.put(Answer { bytes, socket, to, source });
                }
            });
        }
    }
    let _ = places.acquire_many(IN_FLIGHT as u32).await;
    answers.send(&mut Vec::new(), &mut Outbox::default(), &decider);
}

/// An answer to be sent.
struct Answer {
    bytes: Vec<u8>,
    socket: Arc<UdpSocket>,
    to: SocketAddr,
    source: Option<Source>,
}

/// Answers that have gathered. No more than there are places for queries.
#[derive(Default)]
struct Answers(Mutex<Gathered>);

/// What is behind the lock.
#[derive(Default)]
struct Gathered {
    answers: Vec<Answer>,
    /// The task that sends, while it sleeps.
    sender: Option<Waker>,
}

impl Answers {
    /// One more.
    fn put(&self, answer: Answer) {
        let sender = {
            let mut gathered = self.lock();
            gathered.answers.push(answer);
            gathered.sender.take()
        };
        if let Some(sender) = sender {
            sender.wake();
        }
    }

    /// Sends all there are.
    fn send(&self, answers: &mut Vec<Answer>, outbox: &mut Outbox, decider: &Decider) {
        mem::swap(&mut self.lock().answers, answers);
        let mut failed = |_, _| decider.count(Counter::SendFailed);
        let mut last: Option<Arc<UdpSocket>> = None;
        for Answer { bytes, socket, to, source } in answers.drain(..) {
            if let Some(other) = last.take_if(|last| outbox.is_full() || !Arc::ptr_eq(last, &socket)) {
                outbox.send(&*other, &mut failed);
            }
            if !outbox.push(&bytes, Some((to, source))) {
                decider.count(Counter::SendFailed);
            }
            last.get_or_insert(socket);
        }
        if let Some(last) = last {
            outbox.send(&*last, &mut failed);
        }
    }

    /// The lock is only ever held for a moment here.
    fn lock(&self) -> MutexGuard<'_, Gathered> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sends what has gathered each time this task's turn comes: by then the tasks before it have added theirs.
async fn send(answers: Arc<Answers>, decider: Decider) {
    let (mut taken, mut outbox) = (Vec::new(), Outbox::default());
    poll_fn(|cx| -> Poll<()> {
        answers.send(&mut taken, &mut outbox, &decider);
        let mut gathered = answers.lock();
        if gathered.answers.is_empty() {
            gathered.sender = Some(cx.waker().clone());
        } else {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    })
    .await;
}
