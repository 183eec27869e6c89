//! What a cell shows of its tasks in metrics. Told by the dispatcher every few seconds.
//!
//! The series are bounded: the first thousand cells have their own, all others share one. So do the first thousand caps
//! that there were since the process began: a series never goes away again.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Mutex, PoisonError};

use metrics::{Gauge, gauge};

use super::book::{Book, Depth};

/// Cells that have series of their own.
const NAMED: i64 = 1_000;
/// Caps that have series of their own.
const CAPS_NAMED: usize = 1_000;
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
    /// The number of the cell.
    cell: String,
    caps: BTreeMap<String, Cap>,
}

/// What is shown of a cap.
struct Cap {
    max: Shown,
    running: Shown,
}

/// One gauge, to which others may add.
struct Shown {
    gauge: Gauge,
    value: f64,
}

impl Gauges {
    pub(super) fn of(number: &str) -> Self {
        let cell = number;
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
            cell: number.to_owned(),
            caps: BTreeMap::new(),
        }
    }

    /// Shows how things stand; `now` is in microseconds UTC.
    pub(super) fn show(&mut self, book: &Book, now: i64) {
        self.show_depth(book.depth(), now);
        // What is not a cap any more takes back what it showed.
        let mut before = std::mem::take(&mut self.caps);
        for (of, max, running) in book.caps() {
            let name = of.to_string();
            let mut cap = before.remove(&name).unwrap_or_else(|| Cap::of(&self.cell, &name));
            cap.max.set(f64::from(max));
            cap.running.set(running as f64);
            self.caps.insert(name, cap);
        }
    }

    fn show_depth(&mut self, depth: Depth, now: i64) {
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

impl Cap {
    fn of(cell: &str, name: &str) -> Self {
        let (cell, cap) = if is_cap_named(cell, name) { (cell, name) } else { (OTHERS, OTHERS) };
        let (cell, cap) = (cell.to_owned(), cap.to_owned());
        Self {
            max: Shown::of(
                gauge!("fleetward_cap_max", "cell" => cell.clone(), "cap" => cap.clone()),
            ),
            running: Shown::of(gauge!("fleetward_cap_running", "cell" => cell, "cap" => cap)),
        }
    }
}

/// Whether a cap is among the first that there were. Tenants name them, and may do so again and again.
fn is_cap_named(cell: &str, name: &str) -> bool {
    static NAMES: Mutex<Option<HashSet<(String, String)>>> = Mutex::new(None);
    let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    let names = names.get_or_insert_default();
    let key = (cell.to_owned(), name.to_owned());
    names.contains(&key) || (names.len() < CAPS_NAMED && names.insert(key))
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
