//! How a server has been doing: plain atomics, time as a value.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use super::latency::{Latency, LatencyCounts};

/// So many failures in a row put a server aside.
const FAILURES: u32 = 3;
/// For how long at first, in milliseconds; it doubles each time.
const ASIDE_MIN: u64 = 1_000;
/// And at most.
const ASIDE_MAX: u64 = 60_000;
/// Round trips up to this many microseconds count as equally fast.
const FAST: u32 = 20_000;
/// A measurement loses one step of [`Health::step`] each so many milliseconds, so that a slow server is tried again.
const FORGET: u64 = 30_000;

/// Whether a server is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerState {
    /// Yes.
    Serving,
    /// It failed several times in a row and is asked again later, or when all others are aside too.
    Aside,
}

/// Why a query to a server failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Fault {
    /// Silence.
    Timeout,
    /// It could not be reached.
    Unreachable,
    /// It answered with nonsense, or with an error that another server did not give.
    BadAnswer,
    /// Its certificate or key is not what it must be.
    Untrusted,
}

impl Fault {
    /// All of them, in the order of their counters.
    pub const ALL: [Self; 4] = [Self::Timeout, Self::Unreachable, Self::BadAnswer, Self::Untrusted];

    /// In a word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Unreachable => "unreachable",
            Self::BadAnswer => "bad_answer",
            Self::Untrusted => "untrusted",
        }
    }
}

/// How one server is doing.
#[derive(Clone, Debug, PartialEq)]
pub struct ServerHealth {
    /// As the configuration writes it, like `udp://192.0.2.1:53` or `tls://dns.example`; without pins.
    pub server: Arc<str>,
    /// `udp`, `tcp`, `tls`, `https`, `h3` or `quic`.
    pub transport: &'static str,
    /// Whether it is used.
    pub state: ServerState,
    /// Smoothed round trip; `None` before the first reply.
    pub rtt: Option<Duration>,
    /// Queries sent to it.
    pub asked: u64,
    /// Of these, how many failed (silence, unreachable, or an error another server did not give).
    pub failed: u64,
    /// The same by reason.
    pub faults: [(Fault, u64); Fault::ALL.len()],
    /// Probes sent to it while it was aside; these are not among the queries.
    pub probes: u64,
    /// What its answers took, the useless ones included.
    pub latency: LatencyCounts,
}

/// The state of one server. Times are milliseconds since a moment all calls agree on.
#[derive(Debug, Default)]
pub(super) struct Health {
    /// Microseconds; 0: unknown.
    rtt: AtomicU32,
    measured: AtomicU64,
    in_a_row: AtomicU32,
    aside_since: AtomicU64,
    /// 0: not aside.
    aside_until: AtomicU64,
    asked: AtomicU64,
    failed: AtomicU64,
    probes: AtomicU64,
    faults: [AtomicU64; Fault::ALL.len()],
    latency: Latency,
}

impl Health {
    /// A query is about to be sent.
    pub(super) fn asked(&self) {
        self.asked.fetch_add(1, Ordering::Relaxed);
    }

    /// A reply came.
    pub(super) fn good(&self, rtt: Duration, now: u64) {
        self.in_a_row.store(0, Ordering::Relaxed);
        self.aside_until.store(0, Ordering::Relaxed);
        self.measure(rtt, now);
    }

    /// An answer came, good or not.
    pub(super) fn answered(&self, took: Duration) {
        self.latency.record(took);
    }

    /// Why a query failed, beside [`Self::bad`].
    pub(super) fn fault(&self, fault: Fault) {
        self.faults[fault as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// No reply came to a query sent at `sent`, or none of use. `true`: this has put it aside.
    pub(super) fn bad(&self, sent: u64, now: u64) -> bool {
        self.failed.fetch_add(1, Ordering::Relaxed);
        self.failing(sent, now)
    }

    /// Whoever answers there is somebody else: it is aside at the first time.
    pub(super) fn distrust(&self) {
        self.in_a_row.fetch_max(FAILURES - 1, Ordering::Relaxed);
    }

    /// A probe is about to be sent.
    pub(super) fn probed(&self) {
        self.probes.fetch_add(1, Ordering::Relaxed);
    }

    /// One more failure in a row, at what was sent at `sent`.
    pub(super) fn failing(&self, sent: u64, now: u64) -> bool {
        // Queries that were under way when it was put aside say nothing new: a burst must not count as many failures.
        if self.aside_until.load(Ordering::Relaxed) != 0 && sent <= self.aside_since.load(Ordering::Relaxed) {
            return false;
        }
        let row = self.in_a_row.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        let Some(over) = row.checked_sub(FAILURES) else { return false };
        let wait = ASIDE_MIN.checked_shl(over.min(16)).unwrap_or(ASIDE_MAX).min(ASIDE_MAX);
        self.aside_since.store(now, Ordering::Relaxed);
        self.aside_until.store(now.saturating_add(wait), Ordering::Relaxed);
        true
    }

    /// From when until when it is aside, if it is.
    pub(super) fn aside(&self) -> Option<(u64, u64)> {
        let until = self.aside_until.load(Ordering::Relaxed);
        (until != 0).then(|| (self.aside_since.load(Ordering::Relaxed), until))
    }

    /// It has been silent for `waited`, and another server was faster: it takes at least so long.
    pub(super) fn slower_than(&self, waited: Duration, now: u64) {
        self.measure(waited, now);
    }

    /// Whether it is to be used now. When its time aside is over, exactly one caller gets `true` and tries it;
    /// that one's result decides for all.
    pub(super) fn admits(&self, now: u64) -> bool {
        let until = self.aside_until.load(Ordering::Relaxed);
        if until == 0 {
            return true;
        }
        now >= until
            && self
                .aside_until
                .compare_exchange(until, now.saturating_add(ASIDE_MIN), Ordering::Relaxed, Ordering::Relaxed)
                .is_ok_and(|_| self.in_a_row.load(Ordering::Relaxed) >= FAILURES)
    }

    /// How slow it is in coarse steps, so that only a clearly faster server is preferred to an earlier one.
    pub(super) fn step(&self, now: u64) -> u32 {
        let slow = self.rtt.load(Ordering::Relaxed) / FAST;
        let step = u32::BITS - slow.leading_zeros();
        let age = now.saturating_sub(self.measured.load(Ordering::Relaxed)) / FORGET;
        step.saturating_sub(u32::try_from(age).unwrap_or(u32::MAX))
    }

    /// For the operator.
    pub(super) fn report(&self, server: &Arc<str>, transport: &'static str, now: u64) -> ServerHealth {
        let rtt = self.rtt.load(Ordering::Relaxed);
        ServerHealth {
            server: Arc::clone(server),
            transport,
            state: if now < self.aside_until.load(Ordering::Relaxed) {
                ServerState::Aside
            } else {
                ServerState::Serving
            },
            rtt: (rtt > 0).then(|| Duration::from_micros(u64::from(rtt))),
            asked: self.asked.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
            faults: Fault::ALL.map(|fault| (fault, self.faults[fault as usize].load(Ordering::Relaxed))),
            probes: self.probes.load(Ordering::Relaxed),
            latency: self.latency.read(),
        }
    }

    /// Smooths as TCP does (RFC 6298: one eighth of the new value). Two writers at once may lose a sample; that is harmless.
    fn measure(&self, rtt: Duration, now: u64) {
        let sample = u32::try_from(rtt.as_micros()).unwrap_or(u32::MAX).max(1);
        let old = self.rtt.load(Ordering::Relaxed);
        let new = if old == 0 { sample } else { old - old / 8 + sample / 8 };
        self.rtt.store(new.max(1), Ordering::Relaxed);
        self.measured.store(now, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_in_a_row_put_aside_for_a_growing_time() {
        let health = Health::default();
        health.bad(1, 10);
        health.bad(2, 10);
        assert!(health.admits(10));
        health.bad(3, 10);
        assert!(!health.admits(10) && !health.admits(1_009));
        health.bad(4, 500);
        assert!(health.admits(1_010), "a failure of a query sent before does not lengthen it; one caller may try");
        assert!(!health.admits(1_010), "and only one");
        let mut now = 1_010;
        for wait in [2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000] {
            health.bad(now, now + 100);
            now += 100;
            assert!(!health.admits(now + wait - 1), "{wait}");
            now += wait;
            assert!(health.admits(now), "{wait}");
        }
        health.good(Duration::from_millis(5), now);
        assert!(health.admits(now) && health.admits(now));
    }

    #[test]
    fn a_good_reply_ends_the_row() {
        let health = Health::default();
        for now in 1..100 {
            health.bad(now, now);
            health.bad(now, now);
            health.good(Duration::from_millis(1), now);
        }
        assert!(health.admits(100));
        assert_eq!(health.failed.load(Ordering::Relaxed), 198);
    }

    #[test]
    fn small_differences_do_not_matter_and_old_ones_are_forgotten() {
        let step = |ms| {
            let health = Health::default();
            health.good(Duration::from_millis(ms), 0);
            (health.step(0), health.step(FORGET), health.step(100 * FORGET))
        };
        assert_eq!(step(1), (0, 0, 0));
        assert_eq!(step(15), (0, 0, 0));
        assert_eq!(step(25), (1, 0, 0));
        assert_eq!(step(100), (3, 2, 0));
    }
}
