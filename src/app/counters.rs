//! `counters.json` in the state folder: the exact counters, at most a second old.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::replace::replace;
use crate::event::Outcome;
use crate::hits;
use crate::stats::{Live, Stats, Totals};
use crate::util::{Now, Throttle};

/// How often the file is written, if something has changed.
const PERIOD: Duration = Duration::from_secs(1);

/// Keeps the file up to date.
pub struct Writer {
    stop: oneshot::Sender<()>,
    task: JoinHandle<Totals>,
}

/// The file's content.
#[derive(PartialEq, Serialize)]
struct Content {
    /// This process; counting starts anew with each.
    pid: u32,
    #[serde(flatten)]
    totals: Totals,
    hit_log: HitLog,
    hits: Hits,
}

/// What the statistics made of the hits; at most a second behind the rest.
#[derive(PartialEq, Serialize)]
struct Hits {
    blocked: u64,
    shadow: u64,
    excepted: u64,
    /// Clients' attempts, each perhaps of several queries.
    attempts: u64,
    /// Hits that could only be counted, under overload.
    unexamined: u64,
    /// At most so many attempts were counted too many.
    attempts_evicted: u64,
    /// How often a client was not counted, for lack of memory.
    clients_refused: u64,
}

/// The hit log's own counters.
#[derive(PartialEq, Serialize)]
struct HitLog {
    written: u64,
    dropped_full: u64,
    dropped_write: u64,
    rotations: u64,
}

impl Writer {
    /// Starts on the current runtime.
    pub fn start(state_dir: &Path, stats: Arc<Stats>, log: Arc<hits::Counters>, live: Arc<Live>) -> Self {
        let path = state_dir.join("counters.json");
        let (stop, mut stopped) = oneshot::channel();
        let task = tokio::spawn(async move {
            let trouble = Throttle::new(60_000);
            let mut last = None;
            loop {
                let ended = tokio::time::timeout(PERIOD, &mut stopped).await.is_ok();
                let content = content(&stats, &log, &live);
                if last.as_ref() != Some(&content) {
                    let (path, bytes) = (path.clone(), serde_json::to_vec_pretty(&content).unwrap_or_default());
                    let written = tokio::task::spawn_blocking(move || replace(&path, &bytes)).await;
                    match written {
                        Ok(Ok(())) => last = Some(content),
                        Ok(Err(error)) if trouble.pass(Now::read()).is_some() => {
                            tracing::warn!(%error, "cannot write counters.json in state_dir; counting goes on");
                        }
                        _ => {}
                    }
                }
                if ended {
                    return stats.totals();
                }
            }
        });
        Self { stop, task }
    }

    /// Writes the file a last time; gives the counters.
    pub async fn finish(self) -> Totals {
        let _ = self.stop.send(());
        self.task.await.unwrap_or_default()
    }
}

/// The counters now.
fn content(stats: &Stats, log: &hits::Counters, live: &Live) -> Content {
    let (log, live) = (log.read(), live.read());
    Content {
        pid: std::process::id(),
        totals: stats.totals(),
        hit_log: HitLog {
            written: log.written,
            dropped_full: log.dropped_full,
            dropped_write: log.dropped_write,
            rotations: log.rotations,
        },
        hits: Hits {
            blocked: live.hits[Outcome::Blocked as usize],
            shadow: live.hits[Outcome::Shadow as usize],
            excepted: live.hits[Outcome::Excepted as usize],
            attempts: live.attempts,
            unexamined: live.unexamined,
            attempts_evicted: live.attempts_evicted,
            clients_refused: live.clients_refused,
        },
    }
}
