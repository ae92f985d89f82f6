//! Attempts: retries and the A, AAAA and HTTPS queries of one click count once.
//!
//! An attempt is one client and one matched rule. It lasts for a window from the query that began it; the first query
//! after that begins the next. A clock that is set back by more than a window begins new ones too.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// Places that a pair may have its entry in.
const WAYS: usize = 8;
/// Groups of places: with all entries four megabytes, room for half a million attempts under way.
const BUCKETS: usize = 1 << 16;
/// Low bits of an entry are when the attempt began, in milliseconds modulo two years …
const TIME_BITS: u32 = 36;
const TIME: u64 = (1 << TIME_BITS) - 1;
/// … and the longest window is far shorter than that.
const MAX_WINDOW: i64 = 1 << (TIME_BITS - 4);

/// Attempts under way.
pub(super) struct Attempts {
    /// Entries of 28 bits of a pair's hash and the time; 0: free. In 200 million queries one is taken for the retry of
    /// another pair's.
    buckets: Box<[Bucket]>,
    window: i64,
    key: [u64; 3],
    evicted: u64,
}

/// A cache line.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Bucket([u64; WAYS]);

/// What a query is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// The first of an attempt.
    New,
    /// Another of the attempt that began at this time.
    Again(i64),
}

impl Attempts {
    /// None under way; a key of its own, so that nobody can make entries collide.
    pub(super) fn new(window: Duration) -> Self {
        Self::sized(window, BUCKETS)
    }

    /// With as many buckets, which tests choose: a power of two up to 2³⁶.
    fn sized(window: Duration, buckets: usize) -> Self {
        let seed = RandomState::new();
        Self {
            buckets: vec![Bucket([0; WAYS]); buckets.next_power_of_two()].into(),
            window: i64::try_from(window.as_millis()).unwrap_or(MAX_WINDOW).clamp(1, MAX_WINDOW),
            key: [seed.hash_one(0), seed.hash_one(1), seed.hash_one(2) | 1],
            evicted: 0,
        }
    }

    /// A query of `client` that matched `rule` (both as numbers).
    pub(super) fn ask(&mut self, client: u64, rule: u64, unix_ms: i64) -> Asked {
        let hash = fold(fold(client ^ self.key[0], rule ^ self.key[1]), self.key[2]);
        let place = hash as usize & (self.buckets.len() - 1);
        let print = (hash >> TIME_BITS).max(1);
        let fresh = print << TIME_BITS | unix_ms as u64 & TIME;
        let bucket = &mut self.buckets[place].0;
        if let Some(entry) = bucket.iter_mut().find(|entry| **entry >> TIME_BITS == print) {
            let age = age(*entry, unix_ms);
            if age.abs() < self.window {
                return Asked::Again(unix_ms.wrapping_sub(age));
            }
            *entry = fresh;
            return Asked::New;
        }
        self.evicted += u64::from(replace(bucket, fresh, unix_ms, self.window));
        Asked::New
    }

    /// Attempts that were forgotten before their window ended: at most so many were counted twice.
    pub(super) fn evicted(&self) -> u64 {
        self.evicted
    }
}

/// Puts an entry where there is none, or one whose window has ended, or else in place of the oldest: then true.
fn replace(bucket: &mut [u64; WAYS], fresh: u64, unix_ms: i64, window: i64) -> bool {
    let (mut oldest, mut oldest_age) = (0, i64::MIN);
    for (at, &entry) in bucket.iter().enumerate() {
        let age = if entry == 0 { i64::MAX } else { age(entry, unix_ms) };
        if age.saturating_abs() >= window {
            bucket[at] = fresh;
            return false;
        }
        if age > oldest_age {
            (oldest, oldest_age) = (at, age);
        }
    }
    bucket[oldest] = fresh;
    true
}

/// How long ago an entry's attempt began; negative if the clock was set back since.
fn age(entry: u64, unix_ms: i64) -> i64 {
    let age = (unix_ms as u64).wrapping_sub(entry) & TIME;
    // The upper half are negative numbers of so many bits.
    if age > TIME >> 1 { age as i64 - TIME as i64 - 1 } else { age as i64 }
}

/// Both halves of a product: each bit of either number moves half of them.
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    (product >> 64) as u64 ^ product as u64
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    const WINDOW: i64 = 60_000;

    /// Remembers everything.
    #[derive(Default)]
    struct Twin(HashMap<(u64, u64), i64>);

    impl Twin {
        fn ask(&mut self, client: u64, rule: u64, unix_ms: i64) -> Asked {
            match self.0.get(&(client, rule)) {
                Some(&began) if (unix_ms - began).abs() < WINDOW => Asked::Again(began),
                _ => {
                    self.0.insert((client, rule), unix_ms);
                    Asked::New
                }
            }
        }
    }

    proptest! {
        #[test]
        fn with_room_for_all_it_is_what_one_that_remembers_everything_says(
            asked in prop::collection::vec((0..20_u64, 0..5_u64, 0..50_000_i64), 1..300),
            start in prop_oneof![Just(0), Just(1_769_860_800_000_i64), Just((1 << TIME_BITS) - 5), -5_000_000..0_i64],
        ) {
            let mut attempts = Attempts::sized(Duration::from_millis(WINDOW as u64), 1 << 12);
            let mut twin = Twin::default();
            let mut now = start;
            for (client, rule, step) in asked {
                now += step;
                prop_assert_eq!(attempts.ask(client, rule, now), twin.ask(client, rule, now));
            }
            prop_assert_eq!(attempts.evicted(), 0);
        }

        #[test]
        fn when_full_it_counts_at_most_as_many_too_many_as_it_says(
            asked in prop::collection::vec((0..60_u64, 0..3_u64, 0..2_000_i64), 1..2_000),
        ) {
            // 32 places for 180 pairs.
            let mut attempts = Attempts::sized(Duration::from_millis(WINDOW as u64), 4);
            let mut twin = Twin::default();
            let (mut counted, mut truth, mut now) = (0, 0, 1_769_860_800_000);
            for (client, rule, step) in asked {
                now += step;
                counted += u64::from(attempts.ask(client, rule, now) == Asked::New);
                truth += u64::from(twin.ask(client, rule, now) == Asked::New);
            }
            prop_assert!(truth <= counted && counted <= truth + attempts.evicted(),
                "{counted} counted, {truth} in truth, {} forgotten", attempts.evicted());
        }
    }

    #[test]
    fn a_clock_set_back_begins_attempts_anew_and_one_that_wavers_does_not() {
        let mut attempts = Attempts::sized(Duration::from_secs(60), 1);
        let noon = 1_769_860_800_000;
        assert_eq!(attempts.ask(1, 1, noon), Asked::New);
        assert_eq!(attempts.ask(1, 1, noon - 59_999), Asked::Again(noon));
        assert_eq!(attempts.ask(1, 1, noon - 3_600_000), Asked::New);
        assert_eq!(attempts.ask(1, 1, noon - 3_540_001), Asked::Again(noon - 3_600_000));
        assert_eq!(attempts.ask(1, 1, noon), Asked::New);
        for wild in [i64::MIN, i64::MAX, 0, -1] {
            attempts.ask(1, 1, wild);
        }
    }

    #[test]
    fn ordinary_traffic_finds_room() {
        let mut attempts = Attempts::new(Duration::from_secs(60));
        // 200,000 pairs in twenty seconds: a few buckets overflow by chance, one in 300 pairs gives way.
        let new = (0..200_000_u64).filter(|at| attempts.ask(at % 5000, at / 5000, (at / 10) as i64) == Asked::New);
        assert_eq!(new.count(), 200_000);
        assert!(attempts.evicted() < 800, "{}", attempts.evicted());
        assert_eq!(size_of_val(&*attempts.buckets), 4 << 20);
    }
}
