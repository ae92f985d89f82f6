//! Identical questions under way are asked once; different ones are bounded.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::{Failure, Reply, Wish};

/// How a question ended, for all who asked it.
pub(super) type Outcome = Result<Reply, Failure>;

/// Who waits for the same answer, beside the one who asked first.
type Followers = Vec<oneshot::Sender<Outcome>>;

/// The questions under way.
pub(super) struct Pending {
    limit: usize,
    asks: Mutex<HashMap<Wish, Followers>>,
}

/// What became of a question that came in.
pub(super) enum Joined {
    /// It is new: the caller has to ask and [`Lead::finish`].
    Leading(Lead),
    /// Somebody is asking it already.
    Following(Waiting),
    /// It is new and there are too many.
    Full,
}

impl Pending {
    /// At most `limit` different questions at once.
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, asks: Mutex::new(HashMap::new()) }
    }

    /// Joins a question that is under way, or starts it.
    pub(super) fn join(self: &Arc<Self>, ask: &Wish) -> Joined {
        let mut asks = self.lock();
        if let Some(followers) = asks.get_mut(ask) {
            let (sender, receiver) = oneshot::channel();
            followers.push(sender);
            return Joined::Following(Waiting(receiver));
        }
        if asks.len() >= self.limit {
            return Joined::Full;
        }
        asks.insert(ask.clone(), Vec::new());
        Joined::Leading(Lead { pending: Arc::clone(self), ask: Some(ask.clone()) })
    }

    /// How many are under way.
    pub(super) fn len(&self) -> usize {
        self.lock().len()
    }

    /// The map holds whatever a panicking holder left, which is always whole: one insert, push or remove.
    fn lock(&self) -> MutexGuard<'_, HashMap<Wish, Followers>> {
        self.asks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The duty to answer a question. Dropped without an outcome (the runtime stops), all who follow get [`Failure::Dead`].
pub(super) struct Lead {
    pending: Arc<Pending>,
    ask: Option<Wish>,
}

impl Lead {
    /// Tells all who follow. Who asks from now on starts anew.
    pub(super) fn finish(mut self, outcome: &Outcome) {
        for follower in self.take() {
            // Who went away needs nothing.
            let _ = follower.send(outcome.clone());
        }
    }

    /// Takes the question out of those under way; its followers.
    fn take(&mut self) -> Followers {
        self.ask.take().and_then(|ask| self.pending.lock().remove(&ask)).unwrap_or_default()
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        drop(self.take());
    }
}

/// A place in the queue for an outcome.
pub(super) struct Waiting(oneshot::Receiver<Outcome>);

impl Waiting {
    /// Waits for it.
    pub(super) async fn outcome(self) -> Outcome {
        self.0.await.unwrap_or(Err(Failure::Dead))
    }
}
