//! What to do with a query: [`Decider::decide`] at once, [`Engine::resolve`] when somebody has to be asked.

mod decide;
mod refresh;
mod resolve;
mod targets;
mod unusual;

pub use decide::{Decider, Peer, Verdict};
pub use refresh::Wanted;

use std::sync::{Arc, Mutex, Weak};

use tokio::sync::mpsc;

use crate::cache::{Cache, Fill};
use crate::hits::HitLog;
use crate::limit::Doors;
use crate::local::Local;
use crate::name::Name;
use crate::snapshot::Snapshot;
use crate::stats::Stats;
use crate::upstream::Upstream;
use crate::util::{Handover, Reader};

/// Where queries go that the rules let pass; swapped together.
#[derive(Debug)]
pub struct Routes {
    /// Names answered here.
    pub local: Local,
    /// Everything else; its health outlives a change of the rest.
    pub upstream: Arc<Upstream>,
}

/// Everything that all listeners share.
#[derive(Debug)]
pub struct Engine {
    snapshots: Arc<Handover<Snapshot>>,
    routes: Arc<Handover<Routes>>,
    stats: Arc<Stats>,
    hits: Weak<HitLog>,
    cache: Option<Arc<Cache>>,
    doors: Arc<Doors>,
    /// What should be asked for again; [`Engine::refresh`] takes the receiving end.
    wanted: (mpsc::Sender<Wanted>, Mutex<Option<mpsc::Receiver<Wanted>>>),
}

impl Engine {
    /// Over what is published now and later. The hit log belongs to the caller, who closes it when nothing
    /// is answered any more. Who changes routes clears the `cache` afterwards.
    pub fn new(
        snapshots: Arc<Handover<Snapshot>>,
        routes: Arc<Handover<Routes>>,
        (stats, doors): (Arc<Stats>, Arc<Doors>),
        hits: &Arc<HitLog>,
        cache: Option<Arc<Cache>>,
    ) -> Arc<Self> {
        let (sender, receiver) = mpsc::channel(refresh::QUEUE);
        let wanted = (sender, Mutex::new(Some(receiver)));
        Arc::new(Self { snapshots, routes, stats, hits: Arc::downgrade(hits), cache, doors, wanted })
    }

    /// A view of the published snapshots for one thread.
    pub fn snapshots(&self) -> Reader<Snapshot> {
        self.snapshots.reader()
    }

    /// The snapshot in force, for who looks seldom and must not hold an old one meanwhile.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshots.load()
    }

    /// The doors that clients may come through. Who takes connections asks for each what [`Doors::find`] says of it.
    pub fn doors(&self) -> &Arc<Doors> {
        &self.doors
    }

    /// Forgets cached answers of a name, and of those below it with `subtree`; says of how many.
    pub fn flush(&self, name: &Name, subtree: bool) -> usize {
        self.cache.as_ref().map_or(0, |cache| cache.flush(name, subtree))
    }

    /// How full the cache is, and how large it may be.
    pub fn cache_fill(&self) -> Option<(Fill, usize)> {
        self.cache.as_ref().map(|cache| (cache.fill(), cache.size()))
    }

    /// Who is asked now.
    pub fn upstream(&self) -> Arc<Upstream> {
        Arc::clone(&self.routes.load().upstream)
    }

    /// A decider with counters of its own: one a UDP worker, one for each group of stream tasks.
    pub fn decider(&self) -> Decider {
        let decider = Decider::new(self.stats.counters(), self.hits.upgrade().map(|log| log.sender()));
        match &self.cache {
            Some(cache) => decider.with_cache(Arc::clone(cache), self.wanted.0.clone()),
            None => decider,
        }
    }
}
