//! How long a server takes, as a histogram: plain atomics, recorded where answers of upstreams are booked.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The upper bounds of the buckets in microseconds: from a cache in the next room to a recursion that barely got through.
const BOUNDS: [u64; 14] = [
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 5_000_000,
    10_000_000,
];

/// The histogram of one server.
#[derive(Debug, Default)]
pub(super) struct Latency {
    /// One more than there are bounds: the last is for all that is slower.
    buckets: [AtomicU64; BOUNDS.len() + 1],
    micros: AtomicU64,
}

/// What a server's answers took so far.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LatencyCounts {
    /// Upper bounds in seconds, the last of them infinity, and how many answers came within each but not the one before.
    pub buckets: Vec<(f64, u64)>,
    /// All of them together.
    pub seconds: f64,
}

impl Latency {
    /// One more answer.
    pub(super) fn record(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let at = BOUNDS.partition_point(|&bound| bound < micros);
        if let Some(bucket) = self.buckets.get(at) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        self.micros.fetch_add(micros, Ordering::Relaxed);
    }

    /// The counts now.
    pub(super) fn read(&self) -> LatencyCounts {
        let bounds = BOUNDS.iter().map(|&bound| bound as f64 / 1e6).chain([f64::INFINITY]);
        let counts = self.buckets.iter().map(|count| count.load(Ordering::Relaxed));
        LatencyCounts {
            buckets: bounds.zip(counts).collect(),
            seconds: self.micros.load(Ordering::Relaxed) as f64 / 1e6,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_answer_falls_into_the_first_bucket_it_fits() {
        let latency = Latency::default();
        for micros in [0, 500, 501, 1_000, 9_999_999, 10_000_000, 10_000_001, 3_600_000_000] {
            latency.record(Duration::from_micros(micros));
        }
        let LatencyCounts { buckets, seconds } = latency.read();
        let full: Vec<_> = buckets.iter().filter(|(_, count)| *count > 0).copied().collect();
        assert_eq!(full, [(0.0005, 2), (0.001, 2), (10.0, 2), (f64::INFINITY, 2)]);
        assert!(buckets.iter().is_sorted_by(|a, b| a.0 < b.0));
        assert!((seconds - 3_630.002_001).abs() < 1e-6, "{seconds}");
    }
}
