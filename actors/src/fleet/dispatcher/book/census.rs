//! What the dispatcher counts of each worker for the anomaly detector: a few additions per event, looked at once a minute.
//! Pure.

use super::Book;
use super::sitting::Sitting;
use crate::fleet::anomaly::rules::{Account, Tally};
use crate::fleet::task::{Event, Failure};
use crate::id::{TaskId, WorkerId};

/// A result that comes within this time after its model was last there, in microseconds, was given by it: what a task does
/// after it has asked its model may take a while.
const LACKING_US: i64 = 120_000_000;

/// Counts the end of an attempt; answers whether it is one to look at soon.
pub(super) fn count(tally: &mut Tally, event: &Event) -> bool {
    match event {
        Event::Completed { .. } | Event::Suspended { .. } => {
            tally.completed += 1;
            false
        }
        Event::RetryScheduled { .. } | Event::Failed { why: Failure::Reported, .. } => {
            tally.failed += 1;
            true
        }
        _ => false,
    }
}

impl Book {
    /// Everyone who may work, and how many tasks failed for good since the book was opened.
    pub fn census(&self) -> (Vec<Account>, u64) {
        let accounts = self.sittings.iter().map(|(worker, sitting)| account(*worker, sitting));
        (accounts.collect(), self.dead)
    }

    /// Those whose reports may be suspicious, since this was last asked.
    pub fn take_noticed(&mut self) -> Vec<Account> {
        let noticed = std::mem::take(&mut self.noticed).into_iter();
        let known = |worker| Some(account(worker, self.sittings.get(&worker)?));
        noticed.filter_map(known).collect()
    }

    /// Counts a report on a task for a model that the worker does not have. One that is only out of its sight is its own.
    pub fn note_model(&mut self, worker: WorkerId, model: &str) {
        let Some(sitting) = self.sittings.get_mut(&worker) else { return };
        if !sitting.profile.models.contains(model) && !sitting.gone.contains(model) {
            sitting.tally.mismatched += 1;
            self.noticed.insert(worker);
        }
    }

    /// Counts a result that the models of its worker cannot have given: all of its endpoints answer, and none has named the
    /// model that it says it used, or that the task asks for, for a while (`now` in microseconds UTC).
    pub fn note_result(&mut self, worker: WorkerId, task: TaskId, said: Option<&str>, now: i64) {
        let Some(sitting) = self.sittings.get_mut(&worker) else { return };
        if sitting.lacking.is_empty() {
            return;
        }
        let asked = self.tasks.get(&task).and_then(|task| task.wants.model.as_deref());
        let since = said.or(asked).and_then(|model| sitting.lacking.get(model));
        if since.is_some_and(|since| now - since >= LACKING_US) {
            sitting.tally.mismatched += 1;
            self.noticed.insert(worker);
        }
    }
}

fn account(worker: WorkerId, sitting: &Sitting) -> Account {
    Account {
        worker,
        able: !sitting.paused && sitting.leases.len() < sitting.seats,
        parked: !sitting.parked.is_empty() || !sitting.seatless.is_empty(),
        tally: sitting.tally,
    }
}
