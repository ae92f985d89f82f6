//! Connections that cannot ask yet: a handshake is under way, or a front end has not said for whom. They are bounded apart
//! from those that can: who opens many and finishes none pushes out their own kind, the oldest first, for a handshake
//! that is meant takes a fraction of a second.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::sleep;

/// All that are under way.
#[derive(Debug)]
pub(in crate::serve) struct Handshakes {
    most: usize,
    time: Duration,
    under_way: Mutex<UnderWay>,
}

/// By age.
#[derive(Debug, Default)]
struct UnderWay {
    next: u64,
    all: BTreeMap<u64, oneshot::Sender<Infallible>>,
}

/// One of them.
#[derive(Debug)]
pub(in crate::serve) struct Handshake {
    id: u64,
    pushed_out: oneshot::Receiver<Infallible>,
    all: Arc<Handshakes>,
}

/// Why one was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::serve) enum GivenUp {
    /// It took too long.
    Late,
    /// It was the oldest of too many.
    PushedOut,
}

impl Handshakes {
    /// None yet; `most` at once, each for `time` at most.
    pub fn new(most: usize, time: Duration) -> Arc<Self> {
        Arc::new(Self { most, time, under_way: Mutex::default() })
    }

    /// One begins. If that is one too many, the oldest ends.
    pub fn begin(self: &Arc<Self>) -> Handshake {
        let (sender, pushed_out) = oneshot::channel();
        let mut under_way = self.lock();
        let id = under_way.next;
        under_way.next += 1;
        under_way.all.insert(id, sender);
        if under_way.all.len() > self.most {
            under_way.all.pop_first();
        }
        Handshake { id, pushed_out, all: Arc::clone(self) }
    }

    /// How many there are.
    #[cfg(test)]
    fn len(&self) -> usize {
        self.lock().all.len()
    }

    /// The lock is only ever held for a moment here.
    fn lock(&self) -> MutexGuard<'_, UnderWay> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Handshake {
    /// Does `work`, which is what the handshake consists of.
    ///
    /// # Errors
    /// It was given up.
    pub async fn during<T>(mut self, work: impl Future<Output = T>) -> Result<T, GivenUp> {
        tokio::select! {
            biased;
            done = work => Ok(done),
            _ = &mut self.pushed_out => Err(GivenUp::PushedOut),
            () = sleep(self.all.time) => Err(GivenUp::Late),
        }
    }
}

impl Drop for Handshake {
    fn drop(&mut self) {
        self.all.lock().all.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::{pending, ready};

    #[tokio::test]
    async fn the_oldest_ends_when_there_are_too_many() {
        let all = Handshakes::new(3, Duration::from_secs(3600));
        let [a, b, c] = [all.begin(), all.begin(), all.begin()];
        assert_eq!(b.during(ready(7)).await, Ok(7));
        assert_eq!(all.len(), 2);
        let d = all.begin();
        let e = all.begin();
        assert_eq!(all.len(), 3);
        assert_eq!(a.during(pending::<()>()).await, Err(GivenUp::PushedOut));
        let f = all.begin();
        assert_eq!(c.during(pending::<()>()).await, Err(GivenUp::PushedOut));
        assert_eq!(d.during(ready(())).await, Ok(()));
        drop((e, f));
        assert_eq!(all.len(), 0);
    }

    #[tokio::test]
    async fn one_that_takes_too_long_is_given_up() {
        let all = Handshakes::new(3, Duration::from_millis(1));
        assert_eq!(all.begin().during(pending::<()>()).await, Err(GivenUp::Late));
        assert_eq!(all.len(), 0);
    }
}
