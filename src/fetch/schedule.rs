//! When a list is asked for again.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// The first try after a failure; it doubles from then on.
const FIRST_RETRY: Duration = Duration::from_secs(5);
/// A server that is out for longer is asked all the same.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(86_400);

/// How long to wait after `failures` failures in a row (none: after a success).
///
/// `random` spreads it, so that a thousand resolvers started at once do not stay in step: a tenth up or down after a
/// success, from half to all of it after a failure.
pub(super) fn delay(interval: Duration, failures: u32, retry_after: Option<Duration>, random: u64) -> Duration {
    let share = f64::from((random >> 32) as u32) / f64::from(u32::MAX);
    if failures == 0 {
        return interval.mul_f64(0.9 + 0.2 * share);
    }
    let doubled = FIRST_RETRY.saturating_mul(1 << (failures - 1).min(20));
    let wait = doubled.min(interval).mul_f64(0.5 + 0.5 * share);
    wait.max(retry_after.unwrap_or_default().min(LONGEST_RETRY_AFTER))
}

/// Another number each time; not for secrets.
pub(super) fn random() -> u64 {
    RandomState::new().hash_one(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn failures_wait_longer_each_time_but_not_longer_than_the_interval() {
        let waits: Vec<u64> = (1..15).map(|failures| delay(HOUR, failures, None, u64::MAX).as_secs()).collect();
        assert_eq!(waits[..5], [5, 10, 20, 40, 80]);
        assert_eq!(waits[10..], [3600; 4]);
        assert_eq!(delay(HOUR, u32::MAX, None, 0), HOUR / 2);
    }

    #[test]
    fn a_server_that_asks_for_rest_gets_it_within_bounds() {
        let asked = |seconds| delay(HOUR, 1, Some(Duration::from_secs(seconds)), 0);
        assert_eq!(asked(7200), 2 * HOUR);
        assert_eq!(asked(0), Duration::from_millis(2500));
        assert_eq!(asked(u64::MAX), LONGEST_RETRY_AFTER);
    }

    proptest! {
        #[test]
        fn never_at_once_and_never_out_of_bounds(seconds in 60u64..604_800, failures: u32, random: u64) {
            let interval = Duration::from_secs(seconds);
            let wait = delay(interval, failures, None, random);
            prop_assert!(wait >= FIRST_RETRY / 2 && wait <= interval.mul_f64(1.11), "{:?}", wait);
        }
    }
}
