//! The thread that takes hits out of the rings, explains them, and hands them to all who want them.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::attribution::{Announced, Source};
use super::overflow::Table;
use super::reason::{Known, Reasons};
use super::ring::{Consumer, Scratch};
use super::writer::Writer;
use super::{DRAIN, Shared, Takers};
use crate::event::{Count, Hit, Outcome, Sink};
use crate::util::Now;

/// How often the rings are looked into if no worker wakes the pump, which one does whose ring is a quarter full: few
/// hits come at most this much late, and many are taken out thousands at a time.
const POLL: Duration = Duration::from_millis(100);
/// How often sinks are let rest, and what could only be counted is taken over, while hits keep coming.
const REST: Duration = Duration::from_millis(50);
/// How soon it is looked again whether there is room now for what was refused.
const AGAIN: Duration = Duration::from_millis(5);
/// How long it is tried at the end to count what there was no room for.
const LAST: Duration = Duration::from_millis(300);
/// Snapshots that are kept only because hits of theirs wait to be counted; those of more are counted under no rule.
const MAX_RETIRED: usize = 2;

/// Everything the thread owns.
pub(super) struct Pump {
    shared: Arc<Shared>,
    rings: Vec<Consumer>,
    scratch: Scratch,
    reasons: Reasons,
    outlets: Outlets,
    retired: Vec<Announced>,
    rest_at: Instant,
    /// When once-a-second work is due again.
    tick_at: Instant,
}

/// Who takes hits.
struct Outlets {
    shared: Arc<Shared>,
    file: Option<Writer>,
    count: Option<Box<dyn Count>>,
    sinks: Vec<Box<dyn Sink>>,
}

impl Outlets {
    /// Hands a hit to everybody; the file gets no exceptions.
    fn take(&mut self, hit: &Hit<'_>, known: &Known) {
        if let Some(file) = &mut self.file
            && hit.outcome != Outcome::Excepted
        {
            file.push(hit, &known.fields);
        }
        self.take_unwritten(hit, known);
    }

    /// Hands a hit to everybody but the file.
    fn take_unwritten(&mut self, hit: &Hit<'_>, known: &Known) {
        if let Some(count) = &mut self.count
            && !count.take(hit, &known.why)
        {
            self.shared.count_later(hit);
        }
        for sink in &mut self.sinks {
            sink.take(hit, &known.why);
        }
    }
}

impl Pump {
    /// Ready to run.
    pub(super) fn new(shared: Arc<Shared>, file: Option<Writer>, takers: Takers) -> Self {
        let Takers { count, sinks } = takers;
        let now = Instant::now();
        Self {
            rings: Vec::new(),
            scratch: Scratch::new(),
            reasons: Reasons::new(file.is_some()),
            outlets: Outlets { shared: Arc::clone(&shared), file, count, sinks },
            retired: Vec::new(),
            rest_at: now,
            tick_at: now,
            shared,
        }
    }

    /// Works until the hit log is closed.
    pub(super) fn run(mut self) {
        while !self.shared.closing.load(Ordering::Acquire) {
            let idle = self.drain() == 0;
            if let Some(file) = &mut self.outlets.file {
                file.rest(idle);
            }
            let (now, mut pause) = (Instant::now(), POLL);
            if idle || now >= self.rest_at {
                self.rest_at = now + REST;
                if !self.rest(Now::read()) {
                    pause = AGAIN;
                }
            }
            if now >= self.tick_at {
                self.tick_at = now + Duration::from_secs(1);
                self.shared.attributions.forget_late(now);
                if let Some(file) = &mut self.outlets.file {
                    file.tick();
                }
            }
            std::thread::park_timeout(pause);
        }
        self.finish(DRAIN);
    }

    /// Hands on what is in the rings, and says how many hits that were.
    fn drain(&mut self) -> usize {
        // Rings of workers that have come since the last look.
        if let Some(new) = self.shared.new_rings().as_mut() {
            self.rings.append(new);
        }
        let Self { shared, rings, scratch, reasons, outlets, .. } = self;
        let mut all = 0;
        rings.retain_mut(|ring| {
            let take = |hit: &Hit<'_>| reasons.of(hit, &shared.attributions, |known| outlets.take(hit, known));
            let taken = ring.drain(scratch, take);
            all += taken.unwrap_or(0);
            taken.is_some()
        });
        if all > 0 {
            reasons.rest();
        }
        all
    }

    /// Lets everybody do what is not done hit by hit, and counts what could only be counted. False: there was no room
    /// for all of it.
    fn rest(&mut self, now: Now) -> bool {
        let all = self.recount(now);
        if let Some(count) = &mut self.outlets.count {
            count.rest(now);
        }
        for sink in &mut self.outlets.sinks {
            sink.rest(now);
        }
        all
    }

    /// Takes over what workers could only count. False: there was no room for all.
    fn recount(&mut self, now: Now) -> bool {
        let Self { shared, reasons, outlets, retired, .. } = self;
        retired.append(&mut shared.attributions.retired());
        let Some(count) = &mut outlets.count else {
            retired.clear();
            return true;
        };
        let mut take = |source: &Source, table: &Table| {
            reasons.lend(source.clone());
            let taken = table.drain(|rule, hits| {
                reasons.of_decided((source.0, rule), None, &shared.attributions, |known| {
                    count.unexamined(&known.why, hits, now)
                })
            });
            reasons.rest();
            taken
        };
        let mut all = true;
        for Announced { source, table, .. } in shared.attributions.known() {
            all &= take(&source, &table);
        }
        for Announced { source, table, at } in std::mem::take(retired) {
            // Workers hold a table for as long as an addition takes. When none does, none ever will again, and what is
            // found then is all.
            let (table, whole) = match Arc::try_unwrap(table) {
                Ok(table) => (Arc::new(table), true),
                Err(table) => (table, false),
            };
            if !take(&source, &table) || !whole {
                all = false;
                retired.push(Announced { source, table, at });
            }
        }
        while retired.len() > MAX_RETIRED {
            let Announced { source, table, .. } = retired.remove(0);
            table.drain(|rule, hits| {
                let outcome = source.1.causes_at(rule).map_or(Outcome::Blocked, |(outcome, _)| outcome);
                shared.rest.add_unknown(outcome, hits);
                true
            });
        }
        shared.rest.drain_forms(|form, hits| count.forms(form, hits, now));
        let mut take = |outcome, hits| reasons.of_unknown(outcome, |known| count.unexamined(&known.why, hits, now));
        all & shared.rest.drain_unknown(&mut take)
    }

    /// Hands on what there is, for the file as long as there is time, and ends everything.
    fn finish(mut self, time: Duration) {
        let end = Instant::now() + time;
        while Instant::now() < end && self.drain() > 0 {}
        self.rings.extend(self.shared.new_rings().take().into_iter().flatten());
        let Self { shared, rings, scratch, reasons, outlets, .. } = &mut self;
        let mut unwritten = 0;
        for ring in rings {
            ring.close(scratch, |hit| {
                unwritten += u64::from(hit.outcome != Outcome::Excepted);
                reasons.of(hit, &shared.attributions, |known| outlets.take_unwritten(hit, known));
            });
        }
        if let Some(file) = outlets.file.take() {
            file.finish(unwritten);
        }
        let patience = Instant::now() + LAST;
        while !self.recount(Now::read()) {
            if Instant::now() >= patience {
                tracing::error!("the statistics lack some of the last hits: what takes them does not answer");
                break;
            }
            self.outlets.count.iter_mut().for_each(|count| count.rest(Now::read()));
            std::thread::sleep(Duration::from_millis(1));
        }
        let now = Now::read();
        self.outlets.count.iter_mut().for_each(|count| count.finish(now));
        self.outlets.sinks.iter_mut().for_each(|sink| sink.finish(now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hits::file::LogFile;
    use crate::hits::{Clients, HitLogCounters, ring, tests};

    #[test]
    fn what_there_is_no_time_for_is_counted() {
        let folder = tempfile::tempdir().expect("a folder");
        let settings = tests::settings(&folder.path().join("hits.jsonl"));
        let path = settings.file.as_deref().expect("a file");
        let shared = Arc::new(Shared::default());
        let file = LogFile::open(path, &settings, Arc::clone(&shared.counters), Now::read()).expect("opened");
        let (mut ring, hits) = ring(1 << 10, None);
        *shared.new_rings() = Some(vec![hits]);
        for number in 0..10 {
            assert!(ring.push(&tests::hit(&tests::name(number))), "room");
        }
        let writer = Writer::new(Arc::clone(&shared.counters), file, Clients::Full);
        Pump::new(Arc::clone(&shared), Some(writer), Takers::default()).finish(Duration::ZERO);
        assert_eq!(shared.counters.read(), HitLogCounters { dropped_write: 10, ..HitLogCounters::default() });
    }
}
