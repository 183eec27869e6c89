//! The time that actors see: one clock for a system, real or moved by hand.
//!
//! Actors read it and set timers on it. Supervision itself (back-off, budgets, deadlines of calls
//! and drains) runs on tokio's time, so that a frozen clock stops the story and not the machinery.

use std::fmt;
use std::ops::{Add, Sub};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;
use tokio::time::Instant;

/// How far wall time may stray from the operating system's before it is set right. Slewing stays
/// below this; setting the clock or suspending the machine does not.
const STRAY_US: i64 = 100_000;

/// If tokio's time is within this of the operating system's, it is not paused. Paused time stands
/// still, so it falls behind by more than this as soon as a test does anything.
const TOGETHER: Duration = Duration::from_millis(20);

/// A point in monotonic time. Moments of different clocks do not compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(Duration);

/// Where time comes from. Clones are the same clock.
#[derive(Clone)]
pub struct Clock {
    source: Arc<Source>,
}

enum Source {
    Real(Real),
    Manual { now: watch::Sender<Duration>, start_wall_us: i64 },
}

struct Real {
    origin: Instant,
    /// Wall time at the origin, as seen now: it changes when the wall clock is set.
    origin_wall_us: AtomicI64,
    follows_system: bool,
}

impl Clock {
    /// The real time, as tokio has it: where a test pauses tokio's clock, this one and its wall
    /// time stand still and jump with it.
    #[must_use]
    pub fn real() -> Self {
        Self::tokio(system_wall_us(), true)
    }

    /// tokio's time, with a wall time that starts at `start_wall_us` (µs since 1970) whatever the
    /// operating system says. For tests in paused time that name times.
    #[must_use]
    pub fn starting_at(start_wall_us: i64) -> Self {
        Self::tokio(start_wall_us, false)
    }

    fn tokio(start_wall_us: i64, follows_system: bool) -> Self {
        let (origin, origin_wall_us) = (Instant::now(), AtomicI64::new(start_wall_us));
        Self { source: Arc::new(Source::Real(Real { origin, origin_wall_us, follows_system })) }
    }

    /// A frozen clock that only [`advance`](Self::advance) moves. For stories over real sockets,
    /// where tokio's paused clock would run ahead of the network.
    #[must_use]
    pub fn manual(start_wall_us: i64) -> Self {
        let (now, _) = watch::channel(Duration::ZERO);
        Self { source: Arc::new(Source::Manual { now, start_wall_us }) }
    }

    /// This moment.
    #[must_use]
    pub fn now(&self) -> Moment {
        match &*self.source {
            Source::Real(real) => Moment(real.origin.elapsed()),
            Source::Manual { now, .. } => Moment(*now.borrow()),
        }
    }

    /// Wall time, in µs since 1970. It may go back when somebody sets the machine's clock.
    #[must_use]
    pub fn wall_us(&self) -> i64 {
        match &*self.source {
            Source::Real(real) => real.wall_us(),
            Source::Manual { now, start_wall_us } => start_wall_us + micros(*now.borrow()),
        }
    }

    /// Waits until `moment`; returns at once if it has passed.
    pub async fn sleep_until(&self, moment: Moment) {
        match &*self.source {
            Source::Real(real) => tokio::time::sleep_until(real.origin + moment.0).await,
            // Boxed: it is larger than a real sleep, and is nowhere but in tests.
            Source::Manual { now, .. } => Box::pin(advanced(now, moment)).await,
        }
    }

    /// Waits for `wait`.
    pub async fn sleep(&self, wait: Duration) {
        self.sleep_until(self.now() + wait).await;
    }

    /// Moves a manual clock on by `step`; whoever slept until then is woken.
    ///
    /// # Panics
    /// On a real clock: nobody can move that.
    pub fn advance(&self, step: Duration) {
        match &*self.source {
            Source::Real(_) => panic!("only a manual clock can be advanced"),
            Source::Manual { now, .. } => now.send_modify(|now| *now += step),
        }
    }
}

impl Real {
    /// Counted from the monotonic clock, so that equal moments have equal wall times, and set right
    /// when the operating system's wall clock was changed under us.
    fn wall_us(&self) -> i64 {
        let now = Instant::now();
        let behind = std::time::Instant::now().checked_duration_since(now.into_std());
        let since_origin_us = micros(now.duration_since(self.origin));
        let wall_us = self.origin_wall_us.load(Relaxed) + since_origin_us;
        if !self.follows_system || behind.is_none_or(|behind| behind > TOGETHER) {
            return wall_us;
        }
        let system_us = system_wall_us();
        if (system_us - wall_us).abs() <= STRAY_US {
            return wall_us;
        }
        self.origin_wall_us.store(system_us - since_origin_us, Relaxed);
        system_us
    }
}

impl Add<Duration> for Moment {
    type Output = Self;

    fn add(self, wait: Duration) -> Self {
        Self(self.0.saturating_add(wait))
    }
}

impl Sub for Moment {
    type Output = Duration;

    /// The time from `earlier` to `self`, or nothing if `earlier` is later.
    fn sub(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl Sub<Duration> for Moment {
    type Output = Self;

    /// An earlier moment, at the earliest the beginning of the clock.
    fn sub(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(by))
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match &*self.source {
            Source::Real(_) => "real",
            Source::Manual { .. } => "manual",
        };
        f.debug_struct("Clock").field("kind", &kind).field("now", &self.now()).finish()
    }
}

/// Waits until a manual clock shows `moment`.
async fn advanced(now: &watch::Sender<Duration>, moment: Moment) {
    let mut now = now.subscribe();
    // Cannot fail: the sender is borrowed here.
    let _ = now.wait_for(|now| *now >= moment.0).await;
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

fn system_wall_us() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, micros)
}
