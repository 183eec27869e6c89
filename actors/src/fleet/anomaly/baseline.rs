//! What is usual for a worker: exponentially weighted mean and variance of its rate of requests. Pure.
//!
//! The chart of moving averages is S. W. Roberts's ("Control chart tests based on geometric moving averages",
//! Technometrics 1(3), 1959); the incremental form for mean and variance together is T. Finch's ("Incremental calculation of
//! weighted mean and variance", University of Cambridge, 2009, section 9).

/// The weight of the newest observation: half of the memory is gone after about seven looks.
const ALPHA: f64 = 0.1;
/// Looks before the baseline says anything.
const WARM_UP: u32 = 10;
/// How far from the mean, in standard deviations, an observation must lie to be unusual.
const SIGMAS: f64 = 4.0;

/// The usual rate of one worker.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Baseline {
    mean: f64,
    variance: f64,
    looks: u32,
}

impl Baseline {
    /// The mean.
    pub fn mean(&self) -> f64 {
        self.mean
    }

    /// How many observations it rests on.
    pub fn looks(&self) -> u32 {
        self.looks
    }

    /// From which rate on an observation is unusual, with at least `factor` times the mean; none: too few
    /// observations to say.
    pub fn limit(&self, factor: f64) -> Option<f64> {
        let far = self.mean + SIGMAS * self.variance.sqrt();
        (self.looks >= WARM_UP).then(|| far.max(self.mean * factor))
    }

    /// Learns from an observation. One beyond `most` counts as `most`: a spike shall not make itself usual at once, and
    /// a new habit shall become usual in the end.
    pub fn learn(&mut self, observed: f64, most: Option<f64>) {
        let observed = most.filter(|_| self.looks >= WARM_UP).map_or(observed, |m| observed.min(m));
        if self.looks == 0 {
            self.mean = observed;
        } else {
            let difference = observed - self.mean;
            let step = ALPHA * difference;
            self.mean += step;
            self.variance = (1.0 - ALPHA) * (self.variance + difference * step);
        }
        self.looks = self.looks.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn after(rates: &[f64]) -> Baseline {
        let mut baseline = Baseline::default();
        for rate in rates {
            let limit = baseline.limit(5.0);
            baseline.learn(*rate, limit);
        }
        baseline
    }

    #[test]
    fn nothing_is_unusual_before_there_are_enough_observations() {
        assert_eq!(after(&[10.0; 9]).limit(5.0), None);
        assert_eq!(after(&[10.0; 10]).limit(5.0), Some(50.0));
    }

    #[test]
    fn new_habit_becomes_usual_in_the_end() {
        let mut rates = vec![10.0; 20];
        rates.extend([1_000.0; 60]);
        let baseline = after(&rates);

        assert!(after(&rates[..21]).limit(5.0) < Some(1_000.0), "not at once");
        assert!(baseline.limit(5.0) > Some(1_000.0), "{baseline:?}");
    }

    proptest! {
        /// Mean and variance are those of the same weights computed the long way.
        #[test]
        fn incremental_form_is_the_weighted_mean_and_variance(
            rates in proptest::collection::vec(0.0..1_000.0_f64, 1..10),
        ) {
            let mut baseline = Baseline::default();
            rates.iter().for_each(|rate| baseline.learn(*rate, None));
            let last = rates.len() - 1;
            let weight = |n: usize| {
                let fresh = if n == 0 { 1.0 } else { ALPHA };
                fresh * (1.0 - ALPHA).powi((last - n) as i32)
            };
            let weighted = rates.iter().enumerate();
            let mean: f64 = weighted.clone().map(|(n, rate)| weight(n) * rate).sum();
            let variance: f64 = weighted.map(|(n, rate)| weight(n) * (rate - mean).powi(2)).sum();
            prop_assert!((baseline.mean - mean).abs() < 1e-6 * (1.0 + mean));
            prop_assert!((baseline.variance - variance).abs() < 1e-6 * (1.0 + variance));
        }
    }
}
