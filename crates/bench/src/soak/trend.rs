//! A test of whether a series of samples stays as it is.

/// The trend of a quantity.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Trend {
    pub(super) middle: f64,
    /// Change in a minute.
    pub(super) slope: f64,
    pub(super) verdict: Verdict,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Flat,
    Grows,
    Falls,
    TooFew,
}

impl Verdict {
    pub(super) fn name(self) -> &'static str {
        match self {
            Verdict::Flat => "flat",
            Verdict::Grows => "GROWS",
            Verdict::Falls => "falls",
            Verdict::TooFew => "too few samples",
        }
    }
}

/// The least number of samples for a verdict.
const SAMPLES_MIN: usize = 8;
/// A change over the whole time that does not matter, as a share of the median.
const SHARE_MAX: f64 = 0.05;
/// A series without a trend exceeds this by chance in one of a hundred.
const SURE: f64 = 2.58;

impl Trend {
    /// Judges points of `(minutes, value)`. The series is flat if by its slope it would change by
    /// less than a twentieth or than `slack` from the first to the last sample, or if a series
    /// without any trend may well look like it.
    ///
    /// The slope is the median of those between all pairs (Theil and Sen), so that single outliers
    /// have no effect. The share of pairs that rise shows how sure it is (Mann and Kendall).
    pub(super) fn of(points: &[(f64, f64)], slack: f64) -> Trend {
        let mut values: Vec<f64> = points.iter().map(|(_, value)| *value).collect();
        values.sort_unstable_by(f64::total_cmp);
        let middle = values.get(values.len() / 2).copied().unwrap_or(f64::NAN);
        let (mut slopes, mut rising) = (Vec::new(), 0i64);
        for (place, before) in points.iter().enumerate() {
            for after in &points[place + 1..] {
                let rise = after.1 - before.1;
                slopes.push(rise / (after.0 - before.0));
                rising += i64::from(rise > 0.0) - i64::from(rise < 0.0);
            }
        }
        slopes.sort_unstable_by(f64::total_cmp);
        let slope = slopes.get(slopes.len() / 2).copied().unwrap_or(f64::NAN);
        let (Some(first), Some(last), true) =
            (points.first(), points.last(), points.len() >= SAMPLES_MIN)
        else {
            return Trend { middle, slope, verdict: Verdict::TooFew };
        };
        let count = points.len() as f64;
        let deviation = (count * (count - 1.0) * (2.0 * count + 5.0) / 18.0).sqrt();
        let change = slope * (last.0 - first.0);
        let is_flat = change.abs() <= slack.max(middle.abs() * SHARE_MAX)
            || (rising as f64).abs() <= SURE * deviation;
        let verdict = match is_flat {
            true => Verdict::Flat,
            false if change > 0.0 => Verdict::Grows,
            false => Verdict::Falls,
        };
        Trend { middle, slope, verdict }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fastrand::Rng;

    /// The trend of a hundred samples, ten seconds apart.
    fn trend(mut value: impl FnMut(f64) -> f64, slack: f64) -> Trend {
        let points: Vec<(f64, f64)> =
            (0..100).map(|n| f64::from(n) / 6.0).map(|t| (t, value(t))).collect();
        Trend::of(&points, slack)
    }

    #[test]
    fn a_leak_is_told_from_noise() {
        let mut random = Rng::with_seed(1);
        assert_eq!(trend(|_| 100.0, 0.0).verdict, Verdict::Flat);
        assert_eq!(trend(|_| 100.0 + 60.0 * (random.f64() - 0.5), 0.0).verdict, Verdict::Flat);
        let leak = trend(|t| 100.0 + t + 6.0 * (random.f64() - 0.5), 0.0);
        assert_eq!(leak.verdict, Verdict::Grows);
        assert!((0.9..1.1).contains(&leak.slope), "{leak:?}");
        assert_eq!(trend(|t| 100.0 - t, 0.0).verdict, Verdict::Falls);
    }

    #[test]
    fn what_is_too_little_to_matter_is_flat() {
        assert_eq!(trend(|t| 100.0 + t / 10.0, 0.0).verdict, Verdict::Flat);
        assert_eq!(trend(|t| 1.0 + t / 10.0, 4.0).verdict, Verdict::Flat);
        assert_eq!(trend(|t| 1.0 + t / 10.0, 1.0).verdict, Verdict::Grows);
        // A single outlier does not count.
        assert_eq!(trend(|t| if t > 16.0 { 1000.0 } else { 100.0 }, 0.0).verdict, Verdict::Flat);
    }

    #[test]
    fn few_samples_prove_nothing() {
        assert_eq!(Trend::of(&[], 0.0).verdict, Verdict::TooFew);
        assert_eq!(Trend::of(&[(0.0, 1.0), (1.0, 2.0)], 0.0).verdict, Verdict::TooFew);
    }
}
