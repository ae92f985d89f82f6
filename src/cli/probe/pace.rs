//! A token bucket, with time as an argument; and numbers that nobody outside can guess, or everybody repeat.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::time::{Duration, Instant};

/// How much of a second may be made up for at once.
const BURST: f64 = 0.02;

/// So many questions a second and no more.
#[derive(Debug)]
pub struct Pace {
    rate: f64,
    most: f64,
    tokens: f64,
    filled: Instant,
}

impl Pace {
    /// `rate` a second, from `now` on.
    pub fn new(rate: u32, now: Instant) -> Self {
        let rate = f64::from(rate.max(1));
        Self { rate, most: (rate * BURST).max(1.0), tokens: 1.0, filled: now }
    }

    /// Whether one may be sent now; if so, it counts.
    pub fn take(&mut self, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.filled);
        self.filled = self.filled.max(now);
        self.tokens = (self.tokens + passed.as_secs_f64() * self.rate).min(self.most);
        let may = self.tokens >= 1.0;
        if may {
            self.tokens -= 1.0;
        }
        may
    }

    /// How long after the last [`Self::take`] the next one may be.
    pub fn wait(&self) -> Duration {
        Duration::from_secs_f64((1.0 - self.tokens).max(0.0) / self.rate)
    }
}

/// Message ids: keyed by the system's randomness, so that nobody can answer in a server's place.
#[derive(Debug, Default)]
pub struct Ids {
    key: RandomState,
    count: u64,
}

impl Ids {
    /// The next number.
    pub fn next(&mut self) -> u16 {
        self.count += 1;
        self.key.hash_one(self.count) as u16
    }
}

/// A seed when none is given. 32 bits, so that every JSON reader keeps it exactly.
pub fn seed() -> u32 {
    RandomState::new().hash_one(0) as u32
}

/// SplitMix64 of two numbers: the same on every machine.
pub fn mixed(seed: u64, number: u64) -> u64 {
    let mut z = seed.wrapping_mul(0xd134_2543_de82_ef95) ^ number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Takes exactly `want` of `left` that are shown one by one, each as likely as every other, in order (Knuth's
/// algorithm S), without keeping any.
#[derive(Clone, Debug)]
pub struct Sample {
    want: u64,
    left: u64,
    seed: u64,
}

impl Sample {
    /// All are taken if there are no more than are wanted.
    pub fn new(want: u64, of: u64, seed: u64) -> Self {
        Self { want: want.min(of), left: of, seed }
    }

    /// Whether the next one is taken.
    pub fn take(&mut self) -> bool {
        if self.left == 0 {
            return false;
        }
        let drawn = (u128::from(mixed(!self.seed, self.left)) * u128::from(self.left)) >> 64;
        self.left -= 1;
        let taken = drawn < u128::from(self.want);
        self.want -= u64::from(taken);
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_the_rate_and_a_burst() {
        let start = Instant::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        let mut pace = Pace::new(1000, start);
        let mut sent = 0;
        for ms in 0..1000 {
            while pace.take(at(ms)) {
                sent += 1;
            }
        }
        assert!((995..=1001).contains(&sent), "{sent}");
        // A pause is not made up for beyond the burst.
        let late = (0..1000).filter(|_| pace.take(at(60_000))).count();
        assert!((19..=20).contains(&late), "{late}");
        assert!(pace.wait() <= Duration::from_millis(1) && !pace.take(at(59_000)));
        let mut slow = Pace::new(1, start);
        assert!(slow.take(start) && !slow.take(at(900)) && slow.take(at(1001)));
    }

    #[test]
    fn samples_are_exact_reproducible_and_fair() {
        let draw = |want, of, seed| -> Vec<u64> {
            let mut sample = Sample::new(want, of, seed);
            (0..of).filter(|_| sample.take()).collect()
        };
        assert_eq!(draw(7, 1000, 42), draw(7, 1000, 42));
        assert_ne!(draw(7, 1000, 42), draw(7, 1000, 43));
        assert_eq!(draw(9, 5, 1), [0, 1, 2, 3, 4]);
        assert_eq!(draw(0, 5, 1), [0; 0]);
        let mut hits = [0_u32; 20];
        for seed in 0..4000 {
            let drawn = draw(5, 20, seed);
            assert_eq!(drawn.len(), 5);
            drawn.iter().for_each(|&index| hits[index as usize] += 1);
        }
        // 1000 of each are expected; the standard deviation is 27.
        assert!(hits.iter().all(|hits| (850..1150).contains(hits)), "{hits:?}");
    }

    #[test]
    fn ids_are_spread() {
        let mut ids = Ids::default();
        let distinct: std::collections::HashSet<u16> = (0..1000).map(|_| ids.next()).collect();
        assert!(distinct.len() > 950);
    }
}
