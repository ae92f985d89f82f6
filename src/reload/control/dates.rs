//! When order dates come, on a clock that may be set.

use std::time::Duration;

use crate::util::{Now, UnixTime};

/// The clock is looked at this often: it may be set meanwhile.
const NAP: Duration = Duration::from_secs(60);
/// A clock that went back less than this was only disciplined.
const BACK_MS: i64 = 1500;

/// The next date, and the latest time that was seen.
#[derive(Clone, Copy, Debug)]
pub(in crate::reload) struct Dates {
    next: Option<UnixTime>,
    seen: Now,
}

impl Dates {
    /// As worked out at `now`.
    pub(in crate::reload) fn new(next: Option<UnixTime>, now: Now) -> Self {
        Self { next, seen: now }
    }

    /// The date has come, or the clock went back so that others may lie ahead again.
    pub(in crate::reload) fn due(&self, now: Now) -> bool {
        self.next.is_some_and(|next| now.seconds() >= next) || now.unix_ms < self.seen.unix_ms - BACK_MS
    }

    /// How long there is nothing to do.
    pub(in crate::reload) fn nap(&self, now: Now) -> Duration {
        let Some(next) = self.next else { return NAP };
        let left = next.0.saturating_mul(1000).saturating_sub(now.unix_ms);
        Duration::from_millis(u64::try_from(left).unwrap_or(0)).min(NAP)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_come_at_their_second_and_again_after_the_clock_was_set_back() {
        let at = |unix_ms| Now { unix_ms };
        let dates = Dates::new(Some(UnixTime(100)), at(50_000));
        assert!(!dates.due(at(99_999)) && dates.due(at(100_000)) && dates.due(at(5_000_000)));
        assert!(!dates.due(at(49_000)), "a clock that is disciplined");
        assert!(dates.due(at(40_000)), "a clock that was set");
        assert_eq!(dates.nap(at(99_400)), Duration::from_millis(600));
        assert_eq!(dates.nap(at(50_000)), Duration::from_secs(50));
        assert_eq!(dates.nap(at(0)), NAP);
        assert_eq!(dates.nap(at(200_000)), Duration::ZERO);
        assert_eq!(Dates::new(Some(UnixTime(i64::MAX)), at(0)).nap(at(0)), NAP);
        assert_eq!(Dates::new(None, at(0)).nap(at(0)), NAP);
    }
}
