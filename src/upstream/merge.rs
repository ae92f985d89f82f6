//! Identical questions under way are asked once; different ones are bounded.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::{Ask, Failure, Reply};

/// How a question ended, for all who asked it.
pub(super) type Outcome = Result<Reply, Failure>;

/// The questions under way.
pub(super) struct Pending {
    limit: usize,
    asks: Mutex<HashMap<Ask, watch::Receiver<Option<Outcome>>>>,
}

/// What became of a question that came in.
pub(super) enum Joined {
    /// It is new: the caller has to ask and [`Lead::finish`].
    Leading(Lead, Waiting),
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
    pub(super) fn join(self: &Arc<Self>, ask: &Ask) -> Joined {
        let mut asks = self.lock();
        if let Some(receiver) = asks.get(ask) {
            return Joined::Following(Waiting(receiver.clone()));
        }
        if asks.len() >= self.limit {
            return Joined::Full;
        }
        let (sender, receiver) = watch::channel(None);
        asks.insert(ask.clone(), receiver.clone());
        Joined::Leading(Lead { pending: Arc::clone(self), ask: ask.clone(), sender }, Waiting(receiver))
    }

    /// How many are under way.
    pub(super) fn len(&self) -> usize {
        self.lock().len()
    }

    /// The map holds whatever a panicking holder left, which is always whole: one insert or remove.
    fn lock(&self) -> MutexGuard<'_, HashMap<Ask, watch::Receiver<Option<Outcome>>>> {
        self.asks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The duty to answer a question. Dropped without an outcome (the runtime stops), all who wait get [`Failure::Dead`].
pub(super) struct Lead {
    pending: Arc<Pending>,
    ask: Ask,
    sender: watch::Sender<Option<Outcome>>,
}

impl Lead {
    /// Tells everybody. Who asks from now on starts anew.
    pub(super) fn finish(self, outcome: Outcome) {
        self.pending.lock().remove(&self.ask);
        self.sender.send_replace(Some(outcome));
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        let mut asks = self.pending.lock();
        // After `finish` the same question may be under way again under another lead: that one stays.
        if asks.get(&self.ask).is_some_and(|receiver| receiver.same_channel(&self.sender.subscribe())) {
            asks.remove(&self.ask);
        }
    }
}

/// A place in the queue for an outcome.
pub(super) struct Waiting(watch::Receiver<Option<Outcome>>);

impl Waiting {
    /// Waits for it.
    pub(super) async fn outcome(mut self) -> Outcome {
        match self.0.wait_for(Option::is_some).await {
            Ok(outcome) => (*outcome).clone().unwrap_or(Err(Failure::Dead)),
            Err(_) => Err(Failure::Dead),
        }
    }
}
