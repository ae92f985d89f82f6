//! Hears of changes to configuration and lists, whichever way they are made.
//!
//! Files are never watched themselves: after the first rename into place such a watch is dead. Watched are the
//! folders whose entries a path goes through at its end and at every symbolic link ([`Plan`]). An event is only a
//! reason to look; what changed is found by stat and hash.

mod plan;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use plan::Plan;

/// How often the watches are set again because something moved meanwhile.
const ROUNDS: usize = 3;

/// The watches.
#[derive(Debug)]
pub(super) struct Watch {
    watcher: Option<RecommendedWatcher>,
    plan: Arc<Mutex<Arc<Plan>>>,
    warned: bool,
}

/// Where a [`Watch`] is heard.
#[derive(Debug)]
pub(super) struct Events(mpsc::Receiver<()>);

impl Watch {
    /// Watches nothing yet.
    pub(super) fn new() -> (Self, Events) {
        // One place: that something happened is all an event says, twice is not more.
        let (sender, receiver) = mpsc::channel(1);
        let plan = Arc::new(Mutex::new(Arc::new(Plan::default())));
        let heard = Arc::clone(&plan);
        let handler = move |event: notify::Result<Event>| {
            let plan = Arc::clone(&heard.lock().unwrap_or_else(PoisonError::into_inner));
            if event.map_or(true, |event| matters(&event, &plan)) {
                let _ = sender.try_send(());
            }
        };
        let mut watch = Self { watcher: None, plan, warned: false };
        match notify::recommended_watcher(handler) {
            Ok(watcher) => watch.watcher = Some(watcher),
            Err(error) => watch.warn("start watching", &error),
        }
        (watch, Events(receiver))
    }

    /// Watches everything these paths depend on as it is now, and nothing else. Blocks shortly.
    ///
    /// Files are to be read after this, not before: then no change falls in between.
    pub(super) fn arm<'a>(&mut self, paths: impl Iterator<Item = &'a Path> + Clone) {
        let mut plan = Arc::new(Plan::of(paths.clone()));
        for _ in 0..ROUNDS {
            self.set(&plan);
            // A link that was changed before its folder was watched was not heard.
            let again = Plan::of(paths.clone());
            if again == *plan {
                break;
            }
            plan = Arc::new(again);
        }
        if plan.cut && !self.warned {
            self.warned = true;
            tracing::warn!(
                "lists depend on more than {} folders or links; changes in the others are noticed by the rescan only",
                plan::MAX_FOLDERS
            );
        }
    }

    /// Replaces all watches.
    fn set(&mut self, plan: &Arc<Plan>) {
        let old = {
            let mut current = self.plan.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *current, Arc::clone(plan))
        };
        let Some(watcher) = &mut self.watcher else { return };
        for folder in old.folders.keys() {
            // All of them, also those that stay: if a folder was replaced by another of its name, notify still has the
            // old one under that name, and when that is deleted takes the watch off the new one. Fails where the folder
            // is gone and notify noticed.
            let _ = watcher.unwatch(folder);
        }
        let failures: Vec<notify::Error> =
            plan.folders.keys().filter_map(|folder| watcher.watch(folder, RecursiveMode::NonRecursive).err()).collect();
        // A folder that went away meanwhile is another change, which its parent tells.
        if let Some(error) = failures.iter().find(|error| !is_gone(error)) {
            self.warn("watch all folders", error);
        }
    }

    /// Says once that only the rescan will notice changes.
    fn warn(&mut self, what: &str, error: &notify::Error) {
        if !self.warned {
            self.warned = true;
            tracing::warn!(
                "cannot {what}: {error}; changed lists are noticed by the rescan only (see sysctl \
                 fs.inotify.max_user_watches and max_user_instances)"
            );
        }
    }
}

impl Events {
    /// Returns when something was heard. Cancel safe.
    pub(super) async fn heard(&mut self) {
        if self.0.recv().await.is_none() {
            // There is no watcher: the rescan does all.
            std::future::pending::<()>().await;
        }
    }

    /// Returns when nothing was heard for `quiet`, or after four times that: an endless writer must not keep the
    /// other lists from being read. Cancel safe.
    pub(super) async fn quiet(&mut self, quiet: Duration) {
        let end = Instant::now() + quiet * 4;
        while let Ok(Some(())) = timeout_at(end.min(Instant::now() + quiet), self.0.recv()).await {}
    }
}

/// Whether an event may mean that something we depend on changed.
fn matters(event: &Event, plan: &Plan) -> bool {
    match event.kind {
        // Our own reading is an event too.
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => {}
        EventKind::Access(_) => return false,
        _ => {}
    }
    event.need_rescan() || event.paths.is_empty() || event.paths.iter().any(|path| plan.concerns(path))
}

/// The folder does not exist (any more).
fn is_gone(error: &notify::Error) -> bool {
    match &error.kind {
        notify::ErrorKind::PathNotFound => true,
        notify::ErrorKind::Io(error) => error.kind() == std::io::ErrorKind::NotFound,
        _ => false,
    }
}

/// The paths a [`Watch`] is armed with, absolute.
pub(super) fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}
