//! Times, counted in buckets 1.6 % wide.

/// Buckets for each doubling.
const STEPS: u64 = 64;
/// Doublings of nanoseconds counted: up to 18 minutes.
const DOUBLINGS: usize = 40;

/// How many times fell where.
pub struct Histogram {
    /// A count for each bucket.
    counts: Vec<u64>,
    /// All of them.
    total: u64,
}

impl Histogram {
    /// No times yet.
    pub fn new() -> Self {
        Self { counts: vec![0; DOUBLINGS * STEPS as usize], total: 0 }
    }

    /// Counts one time.
    pub fn add(&mut self, nanoseconds: u64) {
        let value = nanoseconds.max(STEPS);
        let doubling = u64::from(value.ilog2() - STEPS.ilog2());
        let bucket = doubling * STEPS + ((value >> doubling) - STEPS);
        let bucket = (bucket as usize).min(self.counts.len() - 1);
        self.counts[bucket] += 1;
        self.total += 1;
    }

    /// The time that a share of all times (0.99 for p99) stays under, in microseconds.
    pub fn share(&self, share: f64) -> f64 {
        let rank = (self.total as f64 * share).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (bucket, &count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                let (doubling, step) = (bucket as u64 / STEPS, bucket as u64 % STEPS);
                return ((STEPS + step) << doubling) as f64 / 1000.0;
            }
        }
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_near_the_truth() {
        let mut histogram = Histogram::new();
        for microseconds in 1..=1000 {
            histogram.add(microseconds * 1000);
        }
        for (share, truth) in [(0.5, 500.0), (0.99, 990.0), (0.999, 999.0)] {
            let found = histogram.share(share);
            assert!((found / truth - 1.0).abs() < 0.02, "{share}: {found}");
        }
    }
}
