//! What the admin listener shows, gathered from all parts when somebody looks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::operate::Operators;
use super::publish::CANARY;
use crate::admin::metrics::{AuditFacts, Facts, ListHits, Process, Queues, Reloads};
use crate::admin::{Health, RefusalCounts, Watched};
use crate::audit::Audit;
use crate::engine::Engine;
use crate::fetch;
use crate::hits;
use crate::reload::{Board, Looks};
use crate::serve::{Beats, Certificates, Load};
use crate::ship;
use crate::stats::{ListTotals, Live, Stats};
use crate::store;
use crate::stream;
use crate::util::Now;

/// How often the workers' pulse is felt.
const PULSE: Duration = Duration::from_secs(1);
/// A worker that has not moved for so long is stuck; idle ones move ten times a second.
const STUCK: Duration = Duration::from_secs(5);

/// The parts that are looked at.
pub struct Observed {
    /// Cache and upstream servers.
    pub engine: Arc<Engine>,
    /// Counters.
    pub stats: Arc<Stats>,
    /// The hit log.
    pub hits: Arc<hits::Counters>,
    /// What the statistics count …
    pub live: Arc<Live>,
    /// … and where they are kept.
    pub statistics: Option<Arc<store::Writer>>,
    /// Streams of hits.
    pub streams: Vec<Arc<stream::Counters>>,
    /// What is shipped.
    pub ship: Option<Arc<ship::Counters>>,
    /// The audit log.
    pub audit: Arc<Audit>,
    /// Reloads.
    pub board: Board,
    /// Lists and orders.
    pub operators: Operators,
    /// Lists from the web.
    pub fetch: fetch::Handle,
    /// What waits.
    pub load: Load,
    /// What encrypted listeners show.
    pub certificates: Option<Arc<Certificates>>,
    /// `[server.tcp] max_connections`.
    pub max_connections: usize,
    /// The workers' pulse.
    pub beats: Beats,
}

/// Looks at all parts.
pub struct Observer {
    observed: Observed,
    refused: Arc<RefusalCounts>,
    pulse: Mutex<Pulse>,
    stopping: AtomicBool,
}

impl Observer {
    /// Begins to feel the workers' pulse, for as long as anybody has the observer.
    pub fn start(observed: Observed) -> Arc<Self> {
        let pulse = Mutex::new(Pulse::new(&observed.beats.read(), Instant::now()));
        let refused = Arc::default();
        let observer = Arc::new(Self { observed, refused, pulse, stopping: AtomicBool::new(false) });
        let watching = Arc::downgrade(&observer);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(PULSE).await;
                let Some(observer) = watching.upgrade() else { return };
                let beats = observer.observed.beats.read();
                observer.pulse.lock().unwrap_or_else(PoisonError::into_inner).feel(&beats, Instant::now());
            }
        });
        observer
    }

    /// Where the listener counts what it turns away.
    pub fn refusals(&self) -> Arc<RefusalCounts> {
        Arc::clone(&self.refused)
    }

    /// From now on the server is not healthy.
    pub fn stopping(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// UDP workers that do not move.
    fn stuck(&self) -> Vec<usize> {
        self.pulse.lock().unwrap_or_else(PoisonError::into_inner).stuck()
    }
}

impl Watched for Observer {
    fn facts(&self) -> Facts {
        let Observed { engine, stats, hits, live, statistics, streams, ship, .. } = &self.observed;
        let Observed { certificates, audit, board, operators, fetch, load, max_connections, beats, .. } =
            &self.observed;
        let upstream = engine.upstream();
        let audit = audit.status();
        let (totals, waiting) = (stats.totals(), load.read());
        Facts {
            now: Now::read().seconds(),
            status: operators.status(),
            reloads: reloads(board.read().looks),
            audit: AuditFacts {
                trouble: audit.error.is_some(),
                written: audit.written,
                waiting: audit.waiting,
                lost: audit.lost,
            },
            list_hits: totals.lists.iter().map(list_hits).collect(),
            totals,
            cache: engine.cache_fill(),
            servers: upstream.health(),
            asked: upstream.counts(),
            hit_log: hits.read(),
            live: live.read(),
            statistics: statistics.as_ref().map(|store| store.status()),
            streams: streams.iter().map(|stream| (stream.name().into(), stream.read())).collect(),
            ship: ship.as_ref().map(|ship| ship.read()),
            fetches: fetch.status(),
            queues: Queues {
                connections: waiting.connections,
                max_connections: *max_connections,
                misses: waiting.misses,
                max_misses: waiting.max_misses,
            },
            certificate: certificates
                .as_ref()
                .map(|certificates| (certificates.leaf().until, certificates.is_broken())),
            workers: (beats.read().len(), self.stuck().len()),
            refused: self.refused.read(),
            process: Process::read(),
        }
    }

    fn health(&self) -> Health {
        if self.stopping.load(Ordering::Relaxed) {
            return Health::Stopping;
        }
        match self.stuck() {
            stuck if stuck.is_empty() => Health::Serving,
            stuck => Health::Stuck(stuck),
        }
    }
}

/// As metrics name them.
fn reloads(Looks { published, unchanged, failed, last, took, config_broken }: Looks) -> Reloads {
    Reloads { published, unchanged, failed, last, took, config_broken }
}

/// The hits of a list, or of its version on trial.
fn list_hits(ListTotals { name, blocked, shadow }: &ListTotals) -> ListHits {
    let tried = name.strip_suffix(CANARY);
    let list = tried.unwrap_or(name).to_owned();
    ListHits { list, canary: tried.is_some(), blocked: *blocked, shadow: *shadow }
}

/// When each worker was last seen to move.
struct Pulse {
    workers: Vec<(u64, Instant)>,
    felt: Instant,
}

impl Pulse {
    /// All move.
    fn new(beats: &[u64], now: Instant) -> Self {
        Self { workers: beats.iter().map(|&beat| (beat, now)).collect(), felt: now }
    }

    /// Takes note of who has moved.
    fn feel(&mut self, beats: &[u64], now: Instant) {
        self.felt = now;
        for ((last, moved), &beat) in self.workers.iter_mut().zip(beats) {
            if *last != beat {
                (*last, *moved) = (beat, now);
            }
        }
    }

    /// Who had not for too long when the pulse was last felt: that nobody felt it does not make them stuck.
    fn stuck(&self) -> Vec<usize> {
        let still = |&(_, moved): &(u64, Instant)| self.felt.saturating_duration_since(moved) >= STUCK;
        self.workers.iter().enumerate().filter(|(_, worker)| still(worker)).map(|(index, _)| index).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_that_does_not_move_is_stuck_until_it_does() {
        let start = Instant::now();
        let mut pulse = Pulse::new(&[7, 7], start);
        for second in 1..=9 {
            let now = start + Duration::from_secs(second);
            pulse.feel(&[7 + second, 7], now);
            assert_eq!(pulse.stuck(), if second < 5 { vec![] } else { vec![1] }, "second {second}");
        }
        let now = start + Duration::from_secs(10);
        pulse.feel(&[16, 8], now);
        assert!(pulse.stuck().is_empty());
        pulse.feel(&[16, 8], now + STUCK);
        assert_eq!(pulse.stuck(), [0, 1]);
    }

    #[test]
    fn hits_of_a_version_on_trial_are_told_apart() {
        let hits = |name: &str| list_hits(&ListTotals { name: name.into(), blocked: 3, shadow: 4 });
        assert_eq!(hits("a"), ListHits { list: "a".into(), canary: false, blocked: 3, shadow: 4 });
        assert_eq!(hits("a (canary)"), ListHits { list: "a".into(), canary: true, blocked: 3, shadow: 4 });
    }
}
