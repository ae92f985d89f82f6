//! Who is told of hits: the hit log, the counts for the store, streams, and what is shipped.

use std::sync::Arc;
use std::sync::mpsc::Receiver;

use super::AppError;
use crate::config::Settings;
use crate::event::{Count, Sink};
use crate::hits::{HitLog, Takers};
use crate::ship::Ship;
use crate::stats::{Delta, Live, Stats, Tally, TallySettings};
use crate::store;
use crate::stream::Streams;

/// All of them.
pub struct Told {
    pub hits: Arc<HitLog>,
    /// What is counted of hits, for who keeps it …
    pub counts: Option<Receiver<Delta>>,
    /// … and for who looks.
    pub live: Arc<Live>,
    pub streams: Streams,
    pub ship: Option<Ship>,
}

/// Starts them, or tells everything that is wrong.
pub fn start(settings: &Settings, keep: &mut dyn FnMut(AppError)) -> Option<Told> {
    let streams = Streams::start(&settings.streams).map_err(|error| keep(AppError::Stream(error))).ok();
    let (streams, sinks) = streams.unzip();
    let shipping = settings.ship.clone().map(Ship::start).transpose();
    let shipping = shipping.map(Option::unzip).map_err(|error| keep(AppError::Ship(error))).ok();
    let (sink, ship) = shipping.unzip();
    let mut sinks = sinks.unwrap_or_default();
    sinks.extend(sink.flatten().map(|sink| Box::new(sink) as Box<dyn Sink>));
    let how = TallySettings { window: settings.stats.window, zone: settings.stats.zone.time_zone().clone() };
    let counted = settings.stats.enabled.then(|| Tally::new(how));
    let (count, counts, live) = match counted {
        Some((tally, counts, live)) => (Some(Box::new(tally) as Box<dyn Count>), Some(counts), live),
        None => (None, None, Arc::default()),
    };
    let hits = HitLog::start(&settings.hits, Takers { count, sinks }).map_err(|error| keep(AppError::Hits(error)));
    Some(Told { hits: Arc::new(hits.ok()?), counts, live, streams: streams?, ship: ship? })
}

/// Keeps what is counted of hits, if it is counted.
pub fn keep_counts(
    settings: &Settings,
    counts: Option<Receiver<Delta>>,
    stats: &Arc<Stats>,
) -> Result<Option<store::Writer>, AppError> {
    let stats = Arc::clone(stats);
    let totals = move || stats.totals().queries;
    let start =
        |counts| store::Writer::start(&store::path(&settings.state_dir), settings.stats.clone(), counts, totals);
    counts.map(start).transpose().map_err(|error| AppError::System("cannot start keeping statistics", error))
}
