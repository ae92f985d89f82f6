//! The thread that writes a store.

use std::io;
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use serde::Serialize;

use super::Settings;
use super::worker::{Tuning, Worker};
use crate::stats::Delta;
use crate::util::Now;

/// How often counters are looked at, and what waits is written, when nothing comes.
const PERIOD: Duration = Duration::from_secs(1);
/// What is taken before it is written.
const MOST: usize = 100;

/// How a store fares.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Status {
    /// Why nothing can be written just now; hits are counted all the same.
    pub error: Option<String>,
    /// Why another file than `statistics.db` is written.
    pub elsewhere: Option<String>,
    /// Hits that wait in memory.
    pub waiting: u64,
    /// Hits that were written without their names, as too many waited, since the start.
    pub nameless: u64,
    /// Failed attempts to write since the start.
    pub failures: u64,
    /// Damaged files that were moved aside since the start.
    pub moved_aside: u64,
    /// Bytes of the file.
    pub bytes: u64,
}

impl Status {
    /// What somebody should look at, if anything.
    pub fn trouble(&self) -> Option<String> {
        let Self { error, elsewhere, waiting, nameless, moved_aside, .. } = self;
        let mut said = Vec::new();
        if let Some(error) = error {
            said.push(format!("nothing can be written ({error}); counting goes on, {waiting} hits wait in memory"));
        }
        if *nameless > 0 {
            said.push(format!("{nameless} hits were kept without their names, as too much had to wait"));
        }
        said.extend(elsewhere.clone());
        if *moved_aside > 0 {
            said.push("the file was damaged: it was moved aside, and a new one was begun".into());
        }
        (!said.is_empty()).then(|| said.join("; "))
    }
}

/// A store that is being written.
#[derive(Debug)]
pub struct Writer {
    status: Arc<Mutex<Status>>,
    done: Mutex<Receiver<()>>,
}

impl Writer {
    /// Starts the thread, which opens the store at `path`, or goes on trying. It ends when all senders of `deltas` are gone.
    /// `totals` gives counters that only grow.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(
        path: &Path,
        settings: Settings,
        deltas: Receiver<Delta>,
        totals: impl FnMut() -> Vec<(&'static str, u64)> + Send + 'static,
    ) -> io::Result<Self> {
        let mut worker = Worker::new(path, settings, Tuning::default(), Now::read());
        let status = Arc::<Mutex<Status>>::default();
        let shown = Arc::clone(&status);
        let (finished, done) = sync_channel(1);
        thread::Builder::new().name("statistics".into()).spawn(move || {
            run(&mut worker, &deltas, totals, &shown);
            // Nobody waiting any more is no concern of this thread.
            let _ = finished.try_send(());
        })?;
        Ok(Self { status, done: Mutex::new(done) })
    }

    /// How it fares.
    pub fn status(&self) -> Status {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until all is written, but not for long; `false` if it is not. All senders must be gone.
    pub fn finish(&self, patience: Duration) -> bool {
        let done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        // An error of another kind means that the thread is gone, which is as good as its word.
        done.recv_timeout(patience) != Err(RecvTimeoutError::Timeout)
    }
}

/// Takes and writes until there is nothing more to come.
fn run(
    worker: &mut Worker,
    deltas: &Receiver<Delta>,
    mut totals: impl FnMut() -> Vec<(&'static str, u64)>,
    shown: &Mutex<Status>,
) {
    loop {
        let mut ended = false;
        match deltas.recv_timeout(PERIOD) {
            Ok(delta) => worker.take(delta),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => ended = true,
        }
        deltas.try_iter().take(MOST).for_each(|delta| worker.take(delta));
        let now = Now::read();
        worker.sample(&totals(), now);
        if ended {
            worker.finish(now)
        } else {
            worker.tick(now)
        }
        *shown.lock().unwrap_or_else(PoisonError::into_inner) = worker.status.clone();
        if ended {
            return;
        }
    }
}
