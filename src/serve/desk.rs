//! Where the queries of one connection are answered that come as requests or on streams of their own: at once where
//! that is possible, else when the upstream has answered; never more of these at a time than a connection may have.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Waker};

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::engine::{Decider, Peer, Verdict};
use crate::snapshot::Snapshot;
use crate::stats::Counter;
use crate::wire::{HEADER, STREAM_MAX, flag};

use super::shared::Shared;

/// The most octets of a query that need no leave; those that browsers and stubs send have under 512.
const SMALL: usize = 4096;
/// Places for longer ones, of all connections together: what hostile clients can make us keep is bounded.
static LARGE: Semaphore = Semaphore::const_new(256);

/// The desk of one connection.
#[derive(Debug)]
pub(super) struct Desk {
    shared: Arc<Shared>,
    decider: Mutex<Decider>,
    /// One for each query whose answer is waited for. Kept until it is there, even when the client has given up the
    /// request: who asks and takes back cannot have more asked for than others.
    places: Arc<Semaphore>,
}

impl Desk {
    /// For a connection.
    pub fn new(shared: &Arc<Shared>) -> Arc<Self> {
        let places = Arc::new(Semaphore::new(shared.settings.max_in_flight));
        Arc::new(Self { shared: Arc::clone(shared), decider: Mutex::new(shared.decider.clone()), places })
    }

    /// What all connections share.
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Who asked, by the last segment of the path; if that is no door, by what the connection says.
    pub fn through(&self, peer: Peer, segment: Option<&str>) -> Peer {
        self.shared.through(peer, segment)
    }

    /// Nobody waits for an answer from upstream.
    pub fn is_idle(&self) -> bool {
        self.places.available_permits() >= self.shared.settings.max_in_flight
    }

    /// Counts a request that is refused: because of us, if `busy`, else because of what it is.
    pub fn refused(&self, busy: bool) {
        self.shared.decider.count(if busy { Counter::HttpFailed } else { Counter::HttpRefused });
    }

    /// The answer, with `front` octets free before it; `None`: there is none. Ready at once unless somebody has to be asked.
    pub async fn answer(&self, message: &[u8], peer: Peer, front: usize) -> Option<Vec<u8>> {
        let snapshot = self.shared.engine.snapshot();
        let (verdict, answer) = {
            let mut decider = self.decider.lock().unwrap_or_else(PoisonError::into_inner);
            let take = |verdict, reply: Option<&[u8]>| (verdict, reply.map(|reply| framed(front, reply)));
            self.shared.decided(&mut decider, &snapshot, message, peer, take)
        };
        match verdict {
            Verdict::Reply(_) => answer,
            Verdict::Drop => None,
            Verdict::Resolve(_) => Box::pin(self.resolve(snapshot, message.to_vec(), peer, front)).await,
        }
    }

    /// Asks upstream.
    async fn resolve(&self, snapshot: Arc<Snapshot>, message: Vec<u8>, peer: Peer, front: usize) -> Option<Vec<u8>> {
        let place = Arc::clone(&self.places).acquire_owned().await.ok()?;
        let (engine, mut decider) = (Arc::clone(&self.shared.engine), self.shared.decider.clone());
        let resolving = self.shared.upstreams.spawn(async move {
            let _place = place;
            let answer = engine.resolve(&snapshot, &message, peer, &mut decider).await?;
            decider.answered(peer, &answer);
            Some(framed(front, answer.get(..STREAM_MAX).unwrap_or(&answer)))
        });
        resolving.await.ok().flatten()
    }
}

/// A copy with `front` octets before it.
fn framed(front: usize, answer: &[u8]) -> Vec<u8> {
    let mut framed = Vec::with_capacity(front + answer.len());
    framed.resize(front, 0);
    framed.extend_from_slice(answer);
    framed
}

/// A message that a query may be: with a whole header, and no answer.
pub(super) fn may_be_query(message: &[u8]) -> bool {
    message.len() >= HEADER && message.get(2).is_some_and(|&octet| u16::from(octet) << 8 & flag::QR == 0)
}

/// There is no room for another long query just now.
#[derive(Debug)]
pub(super) struct NoRoom;

/// Leave to take in a query of `len` octets; long ones must hold it until they are answered.
pub(super) fn leave(len: usize) -> Result<Option<SemaphorePermit<'static>>, NoRoom> {
    leave_of(&LARGE, len)
}

/// See [`leave`].
fn leave_of(places: &Semaphore, len: usize) -> Result<Option<SemaphorePermit<'_>>, NoRoom> {
    if len <= SMALL {
        return Ok(None);
    }
    places.try_acquire().map(Some).map_err(|_| NoRoom)
}

/// Polls a task once where it stands and starts it on the runtime only if it has to wait. Most answers are there at
/// once, and to wake another thread for one costs more than the answer itself.
///
/// What the task has registered for with the first poll goes nowhere, but starting it polls it again, with its own waker.
#[derive(Clone, Copy, Debug)]
pub(super) struct AtOnce;

impl AtOnce {
    /// Does as said.
    pub fn run(self, task: impl Future<Output = ()> + Send + 'static) {
        let mut task: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(task);
        if task.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() {
            tokio::spawn(task);
        }
    }
}

impl<F: Future<Output = ()> + Send + 'static> hyper::rt::Executor<F> for AtOnce {
    fn execute(&self, task: F) {
        self.run(task);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::oneshot;

    use super::*;

    #[test]
    fn an_answer_or_half_a_header_is_no_query() {
        assert!(may_be_query(&[0; 12]) && !may_be_query(&[0; 11]) && !may_be_query(&[]));
        let mut answer = [0; 12];
        answer[2] = 0x80;
        assert!(!may_be_query(&answer));
    }

    #[tokio::test]
    async fn a_task_that_need_not_wait_is_done_when_run_returns_and_one_that_must_is_not_forgotten() {
        let (sender, mut receiver) = oneshot::channel();
        AtOnce.run(async move { sender.send(1).expect("the receiver is there") });
        assert_eq!(receiver.try_recv(), Ok(1));
        let (go, wait) = oneshot::channel::<()>();
        let (sender, mut receiver) = oneshot::channel();
        AtOnce.run(async move {
            wait.await.expect("a word");
            tokio::time::sleep(Duration::from_millis(1)).await;
            sender.send(2).expect("the receiver is there");
        });
        assert!(receiver.try_recv().is_err());
        go.send(()).expect("it waits");
        assert_eq!(receiver.await, Ok(2));
    }

    #[test]
    fn long_queries_need_leave_and_give_it_back() {
        let places = Semaphore::new(2);
        let held: Vec<_> = std::iter::from_fn(|| leave_of(&places, SMALL + 1).ok()).take(10).collect();
        assert!(held.len() == 2 && held.iter().all(Option::is_some), "{held:?}");
        assert!(matches!(leave_of(&places, SMALL), Ok(None)));
        drop(held);
        assert!(matches!(leave_of(&places, SMALL + 1), Ok(Some(_))));
    }
}
