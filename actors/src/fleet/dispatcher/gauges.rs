//! What a cell shows of its tasks in metrics. Told by the dispatcher every few seconds.
//!
//! The series are bounded: the first thousand cells have their own, all others share one.

use metrics::{Gauge, gauge};

use super::book::Depth;

/// Cells that have series of their own.
const NAMED: i64 = 1_000;
/// What the others are called.
const OTHERS: &str = "other";

/// The gauges of one cell. What it showed is taken back when it ends.
pub(super) struct Gauges {
    waiting: Shown,
    paused: Shown,
    capped: Shown,
    leased: Shown,
    parked: Shown,
    /// An age adds up with no other: only named cells have one.
    oldest: Option<Gauge>,
}

/// One gauge, to which others may add.
struct Shown {
    gauge: Gauge,
    value: f64,
}

impl Gauges {
    pub(super) fn of(cell: &str) -> Self {
        let is_named = cell.parse().is_ok_and(|cell: i64| cell <= NAMED);
        let cell = if is_named { cell } else { OTHERS }.to_owned();
        let held =
            |by| Shown::of(gauge!("fleetward_tasks_held", "cell" => cell.clone(), "by" => by));
        let oldest = || gauge!("fleetward_queue_oldest_seconds", "cell" => cell.clone());
        Self {
            waiting: Shown::of(gauge!("fleetward_queue_depth", "cell" => cell.clone())),
            paused: held("pause"),
            capped: held("cap"),
            leased: Shown::of(gauge!("fleetward_tasks_leased", "cell" => cell.clone())),
            parked: Shown::of(gauge!("fleetward_polls_parked", "cell" => cell.clone())),
            oldest: is_named.then(oldest),
        }
    }

    /// From now on it is this; `now` is in microseconds UTC.
    pub(super) fn show(&mut self, depth: Depth, now: i64) {
        self.waiting.set(depth.waiting as f64);
        self.paused.set(depth.paused as f64);
        self.capped.set(depth.capped as f64);
        self.leased.set(depth.leased as f64);
        self.parked.set(depth.parked as f64);
        if let Some(oldest) = &self.oldest {
            oldest.set(depth.oldest.map_or(0, |at| now - at).max(0) as f64 / 1e6);
        }
    }
}

impl Shown {
    fn of(gauge: Gauge) -> Self {
        Self { gauge, value: 0.0 }
    }

    fn set(&mut self, value: f64) {
        self.gauge.increment(value - self.value);
        self.value = value;
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        self.gauge.decrement(self.value);
    }
}
