//! Tasks that wait for the worker that last had their key, outside of the queues of the matcher; and which worker that
//! is. Pure. It is in memory only: after a restart no worker had any key, and what was kept is queued like all else.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};

use super::matcher::Order;
use crate::fleet::task::Task;
use crate::id::{TaskId, WorkerId};

/// Most keys that are remembered: the one that was first seen longest ago is forgotten.
const KEYS_MAX: usize = 65_536;
/// Most tasks that are kept for one worker. With more of them others had better help.
const KEPT_MAX: usize = 1_024;

/// Which worker last had which key.
#[derive(Debug, Default)]
pub(super) struct Homes {
    /// By the hash of project and key: where two have the same, a hint is wrong and nothing else.
    known: HashMap<u64, WorkerId>,
    /// In the order in which they were first seen.
    seen: VecDeque<u64>,
}

/// A task that is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stay {
    /// For whom.
    pub worker: WorkerId,
    /// Until when, in microseconds UTC: then anybody may have it.
    pub until: i64,
    /// Its place among those that are kept for the same worker, and in its queue later.
    pub order: Order,
}

/// All tasks that are kept.
#[derive(Debug, Default)]
pub(super) struct Kept {
    stays: HashMap<TaskId, Stay>,
    of: HashMap<WorkerId, BTreeMap<Order, TaskId>>,
}

impl Homes {
    /// The worker that last had the key of a task.
    pub(super) fn of(&self, task: &Task) -> Option<WorkerId> {
        self.known.get(&hash(task)?).copied()
    }

    /// A worker got a task.
    pub(super) fn claimed(&mut self, task: &Task, worker: WorkerId) {
        let Some(key) = hash(task) else { return };
        if self.known.insert(key, worker).is_some() {
            return;
        }
        self.seen.push_back(key);
        if self.seen.len() > KEYS_MAX
            && let Some(oldest) = self.seen.pop_front()
        {
            self.known.remove(&oldest);
        }
    }

    /// A worker lost a task, or did not want it: nothing waits for it any more.
    pub(super) fn returned(&mut self, task: &Task, worker: WorkerId) {
        if let Some(key) = hash(task)
            && self.known.get(&key) == Some(&worker)
        {
            // Known, and at nobody: so the key is seen once, however often this happens.
            self.known.insert(key, WorkerId(uuid::Uuid::nil()));
        }
    }
}

fn hash(task: &Task) -> Option<u64> {
    let affinity = task.handling.affinity.as_ref()?;
    let mut hasher = DefaultHasher::new();
    (&task.wants.project, &affinity.key).hash(&mut hasher);
    Some(hasher.finish())
}

impl Kept {
    /// Keeps a task; false when too many are kept for the same worker.
    pub(super) fn keep(&mut self, task: TaskId, stay: Stay) -> bool {
        let of = self.of.entry(stay.worker).or_default();
        if of.len() >= KEPT_MAX {
            return false;
        }
        of.insert(stay.order, task);
        self.stays.insert(task, stay);
        true
    }

    pub(super) fn remove(&mut self, task: TaskId) -> Option<Stay> {
        let stay = self.stays.remove(&task)?;
        if let Some(of) = self.of.get_mut(&stay.worker) {
            of.remove(&stay.order);
            if of.is_empty() {
                self.of.remove(&stay.worker);
            }
        }
        Some(stay)
    }

    pub(super) fn get(&self, task: TaskId) -> Option<&Stay> {
        self.stays.get(&task)
    }

    /// Those that are kept for a worker, the first first.
    pub(super) fn of(&self, worker: WorkerId) -> impl Iterator<Item = TaskId> + '_ {
        self.of.get(&worker).into_iter().flat_map(BTreeMap::values).copied()
    }

    pub(super) fn tasks(&self) -> impl Iterator<Item = TaskId> + '_ {
        self.stays.keys().copied()
    }

    pub(super) fn len(&self) -> usize {
        self.stays.len()
    }
}

#[cfg(test)]
mod tests;
