//! The clock of leases: monotonic, and it goes on while the machine is suspended.
//!
//! The control plane does not sleep with us, so a lease must age during a suspend. Tokio's clock
//! stops then; what it missed is the growth of `CLOCK_BOOTTIME - CLOCK_MONOTONIC`, added here.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

/// Time since the worker started, suspends included. Follows tokio's paused clock in tests.
#[derive(Clone)]
pub(crate) struct Clock {
    start: Instant,
    suspended_before: Duration,
    suspended: Arc<dyn Fn() -> Duration + Send + Sync>,
}

/// A reading of a [`Clock`]; only comparable with others of the same clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(Duration);

impl Clock {
    pub(crate) fn new() -> Self {
        Self::with(suspended_since_boot)
    }

    /// `suspended` tells how long the machine has ever been suspended.
    fn with(suspended: impl Fn() -> Duration + Send + Sync + 'static) -> Self {
        let suspended_before = suspended();
        Self { start: Instant::now(), suspended_before, suspended: Arc::new(suspended) }
    }

    pub(crate) fn now(&self) -> Moment {
        let missed = (self.suspended)().saturating_sub(self.suspended_before);
        Moment(self.start.elapsed() + missed)
    }
}

impl Moment {
    pub(crate) fn saturating_since(self, earlier: Moment) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl std::ops::Add<Duration> for Moment {
    type Output = Moment;

    fn add(self, wait: Duration) -> Moment {
        Moment(self.0.saturating_add(wait))
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn suspended_since_boot() -> Duration {
    use nix::time::{ClockId, clock_gettime};

    // Monotonic first: being interrupted in between then errs towards an older lease.
    let awake = clock_gettime(ClockId::CLOCK_MONOTONIC).map(Duration::from);
    let total = clock_gettime(ClockId::CLOCK_BOOTTIME).map(Duration::from);
    match (awake, total) {
        (Ok(awake), Ok(total)) => total.saturating_sub(awake),
        // A sandbox that forbids these clocks also forbids suspending from within.
        _ => Duration::ZERO,
    }
}

/// Elsewhere a suspend is not seen; the next heartbeat after it says what was lost.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn suspended_since_boot() -> Duration {
    Duration::ZERO
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn time_goes_on_while_the_machine_is_suspended() {
        let slept = Arc::new(AtomicU64::new(100));
        let source = slept.clone();
        let clock = Clock::with(move || Duration::from_secs(source.load(Ordering::Relaxed)));
        let before = clock.now();

        tokio::time::advance(Duration::from_secs(3)).await;
        slept.store(3_700, Ordering::Relaxed);

        assert_eq!(clock.now().saturating_since(before), Duration::from_secs(3_603));
    }
}
