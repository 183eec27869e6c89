//! Faults on demand: how a test makes the memory store behave like a bad day of a database.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use tokio::sync::watch;

use crate::{
    error::Unavailable,
    event::{CellId, Position},
};

/// The handle by which a test makes a memory store fail. Cheap to clone.
#[derive(Clone)]
pub struct Control(Arc<Faults>);

/// While it lives, what it holds does not go on.
#[must_use = "dropping it lets everything go on"]
pub struct Held(Arc<Gate>);

#[derive(Default)]
pub(super) struct Faults {
    fail: AtomicUsize,
    lose_answer: AtomicUsize,
    away: AtomicBool,
    refused: Mutex<HashSet<(CellId, Position)>>,
    asked: AtomicUsize,
    appends: Arc<Gate>,
    projections: Arc<Gate>,
}

/// Calls wait in front of it while anybody holds it shut.
struct Gate {
    holders: watch::Sender<usize>,
    waiting: watch::Sender<usize>,
}

impl Control {
    pub(super) fn new(faults: Arc<Faults>) -> Self {
        Self(faults)
    }

    /// The next `n` appends answer `Unavailable` and store nothing.
    pub fn fail_next(&self, n: usize) {
        self.0.fail.store(n, Ordering::SeqCst);
    }

    /// The next `n` appends that reach the store are stored and answer `Unavailable`.
    pub fn lose_answer_next(&self, n: usize) {
        self.0.lose_answer.store(n, Ordering::SeqCst);
    }

    /// Appends that were asked for so far: as many as commits, where none fails.
    pub fn appends(&self) -> usize {
        self.0.asked.load(Ordering::SeqCst)
    }

    /// While `away`, everything answers `Unavailable`: appends, projections and reads.
    pub fn set_away(&self, away: bool) {
        self.0.away.store(away, Ordering::SeqCst);
    }

    /// Appends that arrive from now on wait until the guard is dropped, and are stored then. One
    /// whose caller goes away meanwhile is not stored.
    pub fn hold(&self) -> Held {
        self.0.appends.hold()
    }

    /// As `hold`, for projections.
    pub fn hold_projections(&self) -> Held {
        self.0.projections.hold()
    }

    /// The next event that would get this position is refused, once.
    pub fn refuse(&self, cell: CellId, seq: Position) {
        self.0.refused().insert((cell, seq));
    }
}

impl Held {
    /// Returns once at least `calls` are waiting behind this guard.
    pub async fn until_waiting(&self, calls: usize) {
        until(&self.0.waiting, |waiting| waiting >= calls).await;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.holders.send_modify(|holders| *holders -= 1);
    }
}

impl Faults {
    pub(super) fn reach(&self) -> Result<(), Unavailable> {
        match self.away.load(Ordering::SeqCst) {
            true => Err(Unavailable::new("a test made the store go away")),
            false => Ok(()),
        }
    }

    pub(super) async fn before_append(&self) -> Result<(), Unavailable> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        if spend(&self.fail) {
            return Err(Unavailable::new("a test failed this append"));
        }
        self.appends.pass().await;
        Ok(())
    }

    pub(super) fn after_append(&self) -> Result<(), Unavailable> {
        match spend(&self.lose_answer) {
            true => Err(Unavailable::new("a test lost this answer")),
            false => Ok(()),
        }
    }

    pub(super) async fn before_project(&self) {
        self.projections.pass().await;
    }

    pub(super) fn refuses(&self, cell: CellId, seq: Position) -> bool {
        self.refused().remove(&(cell, seq))
    }

    fn refused(&self) -> std::sync::MutexGuard<'_, HashSet<(CellId, Position)>> {
        self.refused.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Gate {
    fn hold(self: &Arc<Self>) -> Held {
        self.holders.send_modify(|holders| *holders += 1);
        Held(Arc::clone(self))
    }

    async fn pass(&self) {
        let _waiting = Waiting::count(self);
        until(&self.holders, |holders| holders == 0).await;
    }
}

impl Default for Gate {
    fn default() -> Self {
        Self { holders: watch::Sender::new(0), waiting: watch::Sender::new(0) }
    }
}

/// Counts a caller out even if it gives up.
struct Waiting<'a>(&'a Gate);

impl<'a> Waiting<'a> {
    fn count(gate: &'a Gate) -> Self {
        gate.waiting.send_modify(|waiting| *waiting += 1);
        Self(gate)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.send_modify(|waiting| *waiting -= 1);
    }
}

async fn until(number: &watch::Sender<usize>, mut wanted: impl FnMut(usize) -> bool) {
    let mut seen = number.subscribe();
    // Fails only if the sender is gone, and `number` is the sender.
    let _ = seen.wait_for(|number| wanted(*number)).await;
}

/// Takes one from what is left, if anything is.
fn spend(left: &AtomicUsize) -> bool {
    left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
}
