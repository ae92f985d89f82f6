//! Keeps a repeating message from filling the log.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use super::Now;

/// Lets one message through a period and counts the ones it held back.
#[derive(Debug)]
pub struct Throttle {
    period_ms: i64,
    next_ms: AtomicI64,
    held: AtomicU64,
}

impl Throttle {
    /// At most one message every `period_ms` milliseconds.
    pub const fn new(period_ms: i64) -> Self {
        Self { period_ms, next_ms: AtomicI64::new(i64::MIN), held: AtomicU64::new(0) }
    }

    /// `Some(n)`: log now, `n` like it were held back since the last one. `None`: stay silent.
    pub fn pass(&self, now: Now) -> Option<u64> {
        let next = self.next_ms.load(Ordering::Relaxed);
        // A clock set back must not silence us for the length of the jump.
        let due = now.unix_ms >= next || next.saturating_sub(now.unix_ms) > self.period_ms;
        let won = due
            && self
                .next_ms
                .compare_exchange(
                    next,
                    now.unix_ms.saturating_add(self.period_ms),
                    Ordering::Relaxed,
                    Ordering::Relaxed,
                )
                .is_ok();
        if won {
            Some(self.held.swap(0, Ordering::Relaxed))
        } else {
            self.held.fetch_add(1, Ordering::Relaxed);
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_a_period_and_the_rest_counted() {
        let throttle = Throttle::new(1000);
        assert_eq!(throttle.pass(Now { unix_ms: 5000 }), Some(0));
        assert_eq!(throttle.pass(Now { unix_ms: 5100 }), None);
        assert_eq!(throttle.pass(Now { unix_ms: 5999 }), None);
        assert_eq!(throttle.pass(Now { unix_ms: 6000 }), Some(2));
        assert_eq!(throttle.pass(Now { unix_ms: 100 }), Some(0), "a clock set back speaks again");
    }
}
