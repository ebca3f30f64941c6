//! Ages of delivered updates, counted in buckets: they take the same memory however many there are.

use std::time::Duration;

/// Number of buckets for each doubling of an age: one is 4 % wide at most.
const STEPS: u32 = 32;
/// Number of doublings. Ages from 2^32 µs on, more than an hour, are in the last bucket.
const DOUBLINGS: u32 = 32;

/// Counts of ages.
#[derive(Debug)]
pub(super) struct Ages {
    counts: Vec<u64>,
    total: u64,
    max: Duration,
}

impl Default for Ages {
    fn default() -> Ages {
        Ages { counts: vec![0; ((DOUBLINGS + 1) * STEPS) as usize], total: 0, max: Duration::ZERO }
    }
}

impl Ages {
    pub(super) fn add(&mut self, age: Duration) {
        let us = (age.as_micros() as u64).clamp(1, (1 << DOUBLINGS) - 1);
        self.counts[bucket(us)] += 1;
        self.total += 1;
        self.max = self.max.max(age);
    }

    pub(super) fn total(&self) -> u64 {
        self.total
    }

    /// Percentile of the ages, in milliseconds: this share of them is not above it. `None` if there
    /// are none.
    pub(super) fn percentile_ms(&self, share: f64) -> Option<f64> {
        let rank = (self.total as f64 * share).ceil().max(1.0) as u64;
        let mut seen = 0;
        let place = self.counts.iter().position(|count| {
            seen += count;
            seen >= rank
        })?;
        Some(upper_us(place).min(self.max.as_secs_f64() * 1e6) / 1000.0)
    }

    pub(super) fn max_ms(&self) -> Option<f64> {
        (self.total > 0).then_some(self.max.as_secs_f64() * 1000.0)
    }
}

fn bucket(us: u64) -> usize {
    let doubling = us.ilog2();
    let step = ((us - (1 << doubling)) * u64::from(STEPS)) >> doubling;
    (doubling * STEPS) as usize + step as usize
}

/// The upper end of a bucket, in microseconds.
fn upper_us(bucket: usize) -> f64 {
    let (doubling, step) = (bucket as u32 / STEPS, bucket as u32 % STEPS);
    f64::from(2u32).powf(f64::from(doubling)) * (1.0 + f64::from(step + 1) / f64::from(STEPS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_right_to_four_percent() {
        let mut ages = Ages::default();
        assert_eq!((ages.percentile_ms(0.5), ages.max_ms()), (None, None));
        (1..=1000).for_each(|ms| ages.add(Duration::from_millis(ms)));
        for (share, expect) in [(0.5, 500.0), (0.99, 990.0), (1.0, 1000.0)] {
            let found = ages.percentile_ms(share).unwrap();
            assert!((expect..=expect * 1.04).contains(&found), "{share}: {found}");
        }
        assert_eq!((ages.max_ms(), ages.total()), (Some(1000.0), 1000));
    }

    #[test]
    fn no_age_is_too_small_or_too_great() {
        let mut ages = Ages::default();
        ages.add(Duration::ZERO);
        ages.add(Duration::from_secs(1 << 40));
        assert_eq!(ages.total(), 2);
        assert!(ages.percentile_ms(0.5).unwrap() <= 0.002);
    }
}
