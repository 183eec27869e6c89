//! How long to wait before trying again: exponential growth, full jitter.
//!
//! Pure; the supervisors use it between lives, and anybody who retries may. The scheme is the
//! "full jitter" of the AWS Architecture Blog, "Exponential Backoff And Jitter" (2015).

use std::time::Duration;

use rand::{Rng, RngExt};

/// A bound on waiting that grows with every attempt; the wait itself is drawn below the bound.
///
/// Full jitter spreads the retries of many callers over the whole interval, so that what failed
/// together does not come back together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Backoff {
    /// The bound for the first attempt.
    pub first: Duration,
    /// The bound never grows past this.
    pub max: Duration,
    /// What the bound is multiplied by after each attempt; values below 1 count as 1.
    pub factor: f64,
}

impl Backoff {
    /// Growth by two, from `first` to `max`.
    #[must_use]
    pub const fn doubling(first: Duration, max: Duration) -> Self {
        Self { first, max, factor: 2.0 }
    }

    /// The longest that attempt number `attempt` may wait; the first attempt is number 0.
    #[must_use]
    pub fn bound(&self, attempt: u32) -> Duration {
        let growth = self.factor.max(1.0).powf(f64::from(attempt));
        let seconds = self.first.as_secs_f64() * growth;
        // A large attempt overflows to infinity, which is simply the longest wait.
        Duration::try_from_secs_f64(seconds).map_or(self.max, |bound| bound.min(self.max))
    }

    /// A wait for attempt number `attempt`, drawn evenly between nothing and the bound.
    #[must_use]
    pub fn delay(&self, attempt: u32, random: &mut impl Rng) -> Duration {
        self.bound(attempt).mul_f64(random.random::<f64>())
    }
}

impl Default for Backoff {
    /// From 10 ms, which a person does not notice, to 10 s, which keeps well within the time in
    /// which somebody expects a server to be back after its database is.
    fn default() -> Self {
        Self::doubling(Duration::from_millis(10), Duration::from_secs(10))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BACKOFF: Backoff =
        Backoff::doubling(Duration::from_millis(100), Duration::from_millis(1_000));

    #[test]
    fn bound_doubles_up_to_its_maximum() {
        let bounds: Vec<_> = (0..6).map(|attempt| BACKOFF.bound(attempt).as_millis()).collect();

        assert_eq!(bounds, [100, 200, 400, 800, 1_000, 1_000]);
    }

    #[test]
    fn an_absurd_attempt_waits_the_maximum() {
        assert_eq!(BACKOFF.bound(u32::MAX), BACKOFF.max);
        assert_eq!(Backoff { factor: 0.0, ..BACKOFF }.bound(9), BACKOFF.first);
    }

    #[test]
    fn delays_spread_over_the_whole_interval() {
        let mut random = rand::rng();

        let delays: Vec<_> = (0..1_000).map(|_| BACKOFF.delay(2, &mut random)).collect();

        assert!(delays.iter().all(|delay| *delay <= BACKOFF.bound(2)));
        assert!(delays.iter().any(|delay| *delay < Duration::from_millis(100)));
        assert!(delays.iter().any(|delay| *delay > Duration::from_millis(300)));
    }
}
