//! The attempts that this worker holds: what its heartbeats name.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use fleetward_wire::workers::LostTask;
use tokio::sync::Notify;

use crate::attempt::Attempt;
use crate::clock::Moment;
use crate::execute::StopReason;

/// Filled and emptied by seats, read by the pulse.
#[derive(Default)]
pub(crate) struct Held {
    attempts: Mutex<HashMap<LostTask, Attempt>>,
    /// Rings when something was added.
    pub(crate) added: Notify,
}

impl Held {
    /// Takes an attempt in. False if it is already here: two seats must never run the same one.
    pub(crate) fn add(&self, attempt: &Attempt) -> bool {
        let mut attempts = self.attempts();
        if attempts.contains_key(&attempt.key()) {
            return false;
        }
        attempts.insert(attempt.key(), attempt.clone());
        drop(attempts);
        self.added.notify_one();
        true
    }

    pub(crate) fn remove(&self, attempt: &Attempt) {
        self.attempts().remove(&attempt.key());
    }

    /// The control plane says that this one is over.
    pub(crate) fn lose(&self, lost: &LostTask, why: StopReason) {
        let gone = self.attempts().remove(lost);
        if let Some(attempt) = gone {
            attempt.stop(why);
        }
    }

    pub(crate) fn stop_all(&self, reason: StopReason) {
        self.attempts().values().for_each(|attempt| attempt.stop(reason));
    }

    pub(crate) fn all(&self) -> Vec<Attempt> {
        self.attempts().values().cloned().collect()
    }

    /// By when a heartbeat has to be sent because of attempts that none has named yet.
    pub(crate) fn name_by(&self) -> Option<Moment> {
        self.attempts().values().filter_map(Attempt::name_by).min()
    }

    pub(crate) fn len(&self) -> usize {
        self.attempts().len()
    }

    fn attempts(&self) -> MutexGuard<'_, HashMap<LostTask, Attempt>> {
        // Inserting and removing are the only changes: a panic cannot leave one half-done.
        self.attempts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
