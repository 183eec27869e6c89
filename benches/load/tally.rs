//! What happened so far, counted by every client of a run and read by whoever measures.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock};
use std::time::Instant;

use fleetward_actors::id::TaskId;
use hdrhistogram::Histogram;
use tokio::sync::{Notify, Semaphore};

use crate::seat::Held;

/// Longest latency that is told apart: ten minutes, in microseconds.
const LONGEST_US: u64 = 600_000_000;

/// What goes wrong in a run, most of it because chaos wants it to.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Mishap {
    /// An attempt was somebody else's when it was reported.
    Superseded,
    /// A request had to be sent again.
    Retried,
    /// The server was killed.
    Crashed,
    /// A worker went away with what it had.
    Forgotten,
    /// A worker went away before its claim was answered.
    Left,
}

const TROUBLES: usize = 5;

/// The counts of one run.
pub(crate) struct Tally {
    began: Instant,
    acknowledged: Mutex<Vec<TaskId>>,
    accepted: Mutex<Vec<TaskId>>,
    /// Reports that were accepted, as many as `accepted` has.
    completed: AtomicU64,
    troubles: [AtomicU64; TROUBLES],
    /// Claims that were answered with tasks, and these tasks.
    claims: AtomicU64,
    claimed: AtomicU64,
    /// When the first task was claimed, in microseconds of this run.
    first_start: OnceLock<u64>,
    measuring: AtomicBool,
    latencies: Mutex<Latencies>,
    goal: AtomicU64,
    reached: Notify,
    /// Tasks that may still be opened: each completion makes room for one.
    pub(crate) room: Semaphore,
}

/// In microseconds, while measuring.
#[derive(Clone)]
pub(crate) struct Latencies {
    /// From the moment a submit was meant to be sent to its acknowledgement.
    pub(crate) submit: Histogram<u64>,
    /// From the moment a task was meant to be submitted until a worker has it.
    pub(crate) start: Histogram<u64>,
    /// From sending a report to its acknowledgement.
    pub(crate) report: Histogram<u64>,
}

impl Tally {
    pub(crate) fn new(room: usize) -> Self {
        Self {
            began: Instant::now(),
            acknowledged: Mutex::default(),
            accepted: Mutex::default(),
            completed: AtomicU64::new(0),
            troubles: Default::default(),
            claims: AtomicU64::new(0),
            claimed: AtomicU64::new(0),
            first_start: OnceLock::new(),
            measuring: AtomicBool::new(false),
            latencies: Mutex::new(Latencies::empty()),
            goal: AtomicU64::new(u64::MAX),
            reached: Notify::new(),
            room: Semaphore::new(room),
        }
    }

    /// Microseconds of this run.
    pub(crate) fn now_us(&self) -> u64 {
        self.began.elapsed().as_micros() as u64
    }

    /// Submits were answered, all at once; each was meant to be sent at its own moment.
    pub(crate) fn acknowledged(&self, ids: &[TaskId], at_us: impl Iterator<Item = u64>) {
        locked(&self.acknowledged).extend(ids);
        self.record(|latencies| &mut latencies.submit, at_us);
    }

    /// A worker has these tasks now.
    pub(crate) fn started(&self, held: &[Held]) {
        self.first_start.get_or_init(|| self.now_us());
        self.claims.fetch_add(1, Ordering::Relaxed);
        self.claimed.fetch_add(held.len() as u64, Ordering::Relaxed);
        self.record(|latencies| &mut latencies.start, held.iter().map(|held| held.at_us));
    }

    /// Reports that were sent at `at_us` were accepted.
    pub(crate) fn completed(&self, ids: &[TaskId], at_us: u64) {
        locked(&self.accepted).extend(ids);
        self.record(|latencies| &mut latencies.report, ids.iter().map(|_| at_us));
        self.room.add_permits(ids.len());
        let before = self.completed.fetch_add(ids.len() as u64, Ordering::AcqRel);
        let goal = self.goal.load(Ordering::Acquire);
        if before < goal && before + ids.len() as u64 >= goal {
            self.reached.notify_one();
        }
    }

    /// So much went wrong once more.
    pub(crate) fn trouble(&self, what: Mishap, count: usize) {
        self.troubles[what as usize].fetch_add(count as u64, Ordering::Relaxed);
    }

    /// Waits until so many tasks have completed since the run began. For one waiter at a time.
    pub(crate) async fn reach(&self, goal: u64) {
        self.goal.store(goal, Ordering::Release);
        while self.count() < goal {
            self.reached.notified().await;
        }
    }

    /// Begins or ends recording latencies.
    pub(crate) fn measure(&self, on: bool) {
        self.measuring.store(on, Ordering::Release);
    }

    /// Tasks that have completed.
    pub(crate) fn count(&self) -> u64 {
        self.completed.load(Ordering::Acquire)
    }

    /// Claims that were answered with tasks, and these tasks.
    pub(crate) fn claims(&self) -> (u64, u64) {
        (self.claims.load(Ordering::Relaxed), self.claimed.load(Ordering::Relaxed))
    }

    /// When the first task was claimed, in microseconds of this run.
    pub(crate) fn first_start_us(&self) -> Option<u64> {
        self.first_start.get().copied()
    }

    /// Tasks whose submit was answered.
    pub(crate) fn submitted(&self) -> u64 {
        locked(&self.acknowledged).len() as u64
    }

    /// How often something went wrong.
    pub(crate) fn troubles(&self, what: Mishap) -> u64 {
        self.troubles[what as usize].load(Ordering::Relaxed)
    }

    pub(crate) fn latencies(&self) -> Latencies {
        locked(&self.latencies).clone()
    }

    /// Every task whose submit was answered, and every one whose report was accepted.
    pub(crate) fn ledgers(&self) -> (Vec<TaskId>, Vec<TaskId>) {
        (locked(&self.acknowledged).clone(), locked(&self.accepted).clone())
    }

    fn record(
        &self,
        which: impl Fn(&mut Latencies) -> &mut Histogram<u64>,
        since_us: impl Iterator<Item = u64>,
    ) {
        if !self.measuring.load(Ordering::Acquire) {
            return;
        }
        let now = self.now_us();
        let mut latencies = locked(&self.latencies);
        let histogram = which(&mut latencies);
        since_us.for_each(|since| histogram.saturating_record(now.saturating_sub(since).max(1)));
    }
}

impl Latencies {
    fn empty() -> Self {
        let three_digits =
            || Histogram::new_with_bounds(1, LONGEST_US, 3).expect("the bounds are in order");
        Self { submit: three_digits(), start: three_digits(), report: three_digits() }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nobody panics while holding it")
}
