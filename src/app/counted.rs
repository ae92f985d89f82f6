//! Who takes hits: the counts for the store, and streams.

use std::sync::Arc;
use std::sync::mpsc::Receiver;

use super::AppError;
use crate::config::Settings;
use crate::event::Sink;
use crate::hits::Takers;
use crate::stats::{Delta, Live, Stats, Tally, TallySettings};
use crate::store;

/// The takers, what they count for who keeps it, and for who looks.
pub fn takers(settings: &store::Settings, sinks: Vec<Box<dyn Sink>>) -> (Takers, Option<Receiver<Delta>>, Arc<Live>) {
    if !settings.enabled {
        return (Takers { count: None, sinks }, None, Arc::default());
    }
    let how = TallySettings { window: settings.window, zone: settings.zone.time_zone().clone() };
    let (tally, counts, live) = Tally::new(how);
    (Takers { count: Some(Box::new(tally)), sinks }, Some(counts), live)
}

/// Keeps what is counted of hits, if it is counted.
pub fn keep(
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
