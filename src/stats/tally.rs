//! Counts hits for the store and for metrics: exactly by subject and minute and by form, as attempts, and as clients.
//!
//! All of it is bounded. Subjects that are not heard of are forgotten, and get another number when they come again;
//! when the store takes nothing for long, hits are still counted, if need be under an earlier minute; and hits of a
//! subject that there is no room for are handed back, to be counted later ([`Count::take`]).

mod attempts;
mod forms;
mod live;
mod sketches;
mod subjects;

pub use live::{Live, LiveCounts, OTHERS};

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use jiff::tz::TimeZone;

use super::Delta;
use crate::event::{Count, Form, Hit, Why};
use crate::util::Now;
use attempts::{Asked, Attempts};
use forms::Forms;
use sketches::{Sketches, client_number};
use subjects::{Added, Subjects};

/// How often counts are handed over, in milliseconds: what is killed loses a second, the way to here (a tenth) and to the
/// disk included …
const PERIOD: i64 = 800;
/// … and estimates of clients.
const CLIENTS_PERIOD: i64 = 60_000;
/// What the channel holds. More would only be more memory: what finds no room is merged.
const QUEUE: usize = 2;
/// How long the last counts are offered at the end.
const PATIENCE: Duration = Duration::from_millis(500);
const MINUTE_MS: i64 = 60_000;

/// How hits are counted.
#[derive(Clone, Debug)]
pub struct TallySettings {
    /// How long an attempt lasts.
    pub window: Duration,
    /// Whose days clients are counted by.
    pub zone: TimeZone,
}

impl Default for TallySettings {
    fn default() -> Self {
        Self { window: Duration::from_secs(60), zone: TimeZone::UTC }
    }
}

/// Counts. It lives on the thread that takes hits from their rings.
pub struct Tally {
    to: SyncSender<Delta>,
    /// What is counted in minutes that are over, and subjects that were forgotten.
    delta: Delta,
    /// What the channel had no room for.
    waiting: Option<Delta>,
    subjects: Subjects,
    forms: Forms,
    attempts: Attempts,
    sketches: Sketches,
    live: Arc<Live>,
    minute: Minute,
    handed_over: i64,
    clients_told: i64,
}

/// The minute of the last hit, most often also that of the next.
#[derive(Default)]
struct Minute {
    number: i64,
    start: i64,
}

impl Minute {
    /// The number of a time's minute.
    fn of(&mut self, unix_ms: i64) -> i64 {
        if unix_ms.wrapping_sub(self.start) as u64 >= MINUTE_MS as u64 {
            self.number = unix_ms.div_euclid(MINUTE_MS);
            self.start = self.number.saturating_mul(MINUTE_MS);
        }
        self.number
    }
}

impl Tally {
    /// Ready to count; where the counts come out, and how anybody can look at them.
    pub fn new(settings: TallySettings) -> (Self, Receiver<Delta>, Arc<Live>) {
        let (to, counts) = sync_channel(QUEUE);
        let live = Arc::<Live>::default();
        let tally = Self {
            to,
            delta: Delta::default(),
            waiting: None,
            subjects: Subjects::new(),
            forms: Forms::new(),
            attempts: Attempts::new(settings.window),
            sketches: Sketches::new(settings.zone),
            live: Arc::clone(&live),
            minute: Minute::default(),
            handed_over: 0,
            clients_told: 0,
        };
        (tally, counts, live)
    }

    /// A client was seen with a hit of this subject.
    #[cold]
    fn see(&mut self, number: u32, client: u64, unix_ms: i64) {
        if let Some(known) = self.subjects.known(number) {
            self.sketches.see(client, unix_ms, &known.why.subject, &mut known.places);
        }
    }

    /// Hands everything over, or as much as the channel has room for.
    fn hand_over(&mut self, clients: bool) {
        if let Some(waiting) = self.waiting.take() {
            self.send(waiting);
        }
        self.forms.hand_over(&mut self.delta, &self.live);
        if self.waiting.is_some() {
            // The counts stay with their subjects, where hits of the same minute add up; metrics need not wait.
            self.subjects.show();
        } else {
            self.subjects.hand_over(&mut self.delta);
            if clients {
                self.delta.clients.append(&mut self.sketches.estimates());
            }
            if !self.delta.is_empty() {
                let delta = std::mem::take(&mut self.delta);
                self.subjects.forget(&mut self.delta);
                self.send(delta);
            }
        }
        let show = |number: &AtomicU64, value| number.store(value, Ordering::Relaxed);
        show(&self.live.evicted, self.attempts.evicted());
        show(&self.live.clients_refused, self.sketches.refused());
        show(&self.live.coarse, self.subjects.coarse());
    }

    /// Sends, or keeps what there is no room for. With the store gone, nobody will ever want it.
    fn send(&mut self, delta: Delta) {
        match self.to.try_send(delta) {
            Ok(()) => {}
            Err(TrySendError::Full(delta)) => self.waiting = Some(delta),
            Err(TrySendError::Disconnected(delta)) => {
                self.live.lost.fetch_add(delta.hits(), Ordering::Relaxed);
            }
        }
    }
}

impl Count for Tally {
    fn take(&mut self, hit: &Hit<'_>, why: &Arc<Why>) -> bool {
        let minute = self.minute.of(hit.unix_ms);
        self.forms.add(Form::of(hit), minute, 1, (&mut self.delta, &self.live));
        let Some(number) = self.subjects.number(why, || self.live.labels(&why.subject)) else { return false };
        let client = client_number(hit.client);
        let asked = self.attempts.ask(client, self.subjects.counts(number).key, hit.unix_ms);
        let attempts = u64::from(asked == Asked::New);
        self.subjects.add(number, minute, Added { hits: 1, attempts, unexamined: 0 }, &mut self.delta);
        match asked {
            Asked::New => {
                self.live.attempts.store(self.live.attempts.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
                self.see(number, client, hit.unix_ms);
            }
            // On a new day every client is a new one, whenever its attempt began.
            Asked::Again(began) if began < self.sketches.began() => self.see(number, client, hit.unix_ms),
            Asked::Again(_) => {}
        }
        true
    }

    fn unexamined(&mut self, why: &Arc<Why>, hits: u64, now: Now) -> bool {
        let minute = self.minute.of(now.unix_ms);
        let Some(number) = self.subjects.number(why, || self.live.labels(&why.subject)) else { return false };
        self.subjects.add(number, minute, Added { hits, attempts: 0, unexamined: hits }, &mut self.delta);
        self.live.unexamined.fetch_add(hits, Ordering::Relaxed);
        true
    }

    fn forms(&mut self, form: Form, hits: u64, now: Now) {
        let minute = self.minute.of(now.unix_ms);
        self.forms.add(form, minute, hits, (&mut self.delta, &self.live));
    }

    fn rest(&mut self, now: Now) {
        // `abs`: a clock set back must not keep anybody waiting for the length of the jump.
        let since = |then: i64| now.unix_ms.saturating_sub(then).saturating_abs();
        if since(self.handed_over) < PERIOD && !self.subjects.crowded() {
            return;
        }
        let clients = since(self.clients_told) >= CLIENTS_PERIOD && self.delta.clients.is_empty();
        if clients && self.waiting.is_none() {
            self.clients_told = now.unix_ms;
        }
        self.handed_over = now.unix_ms;
        self.hand_over(clients);
    }

    fn finish(&mut self, _: Now) {
        let start = Instant::now();
        self.hand_over(true);
        while self.waiting.is_some() && start.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(2));
            self.hand_over(true);
        }
        if let Some(waiting) = self.waiting.take() {
            self.subjects.hand_over(&mut self.delta);
            let hits = waiting.hits() + self.delta.hits();
            self.live.lost.fetch_add(hits, Ordering::Relaxed);
            tracing::error!("the store does not answer: {hits} hits of the last seconds are missing in the statistics");
        }
    }
}

#[cfg(test)]
mod tests;
