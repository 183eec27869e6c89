//! When which task must be looked at again: to be queued, to fail at its deadline, to lose an attempt that takes too long, to be
//! given to anybody (because it avoided somebody, or waited for somebody). Pure.

use std::collections::BTreeSet;

use crate::fleet::task::{Phase, Task};
use crate::id::TaskId;

/// How long a task that is to be spread passes over the workers that lost it, in microseconds: after that any worker
/// is better than none.
const AVOID_FOR: i64 = 5 * 60 * 1_000_000;

/// Times in microseconds UTC, and tasks.
#[derive(Debug, Default)]
pub(super) struct Agenda(BTreeSet<(i64, TaskId)>);

impl Agenda {
    /// Remembers the times of a task, beginning after `now`.
    pub(super) fn enter(&mut self, task: &Task, now: i64) {
        let later = times(task).filter(|at| *at > now || Some(*at) == task.handling.deadline);
        self.0.extend(later.map(|at| (at, task.id)));
    }

    /// Forgets the times of a task: to be called before it changes.
    pub(super) fn leave(&mut self, task: &Task) {
        for at in times(task) {
            self.0.remove(&(at, task.id));
        }
    }

    /// Remembers one more time of a task, or forgets it again.
    pub(super) fn also(&mut self, task: &Task, at: i64, is_wanted: bool) {
        if is_wanted {
            self.0.insert((at, task.id));
        } else if times(task).all(|own| own != at) {
            self.0.remove(&(at, task.id));
        }
    }

    /// When something is next due.
    pub(super) fn next(&self) -> Option<i64> {
        self.0.first().map(|(at, _)| *at)
    }

    /// A task that is due.
    pub(super) fn take_due(&mut self, now: i64) -> Option<TaskId> {
        let (at, task) = *self.0.first()?;
        (at <= now).then(|| {
            self.0.pop_first();
            task
        })
    }
}

/// Whether a task passes over the workers that lost it.
pub(super) fn avoids(task: &Task, now: i64) -> bool {
    !task.avoid.is_empty() && task.ready_at.is_none_or(|at| now < at + AVOID_FOR)
}

/// When the attempt that runs has taken too long, in microseconds UTC.
pub(super) fn overtime(task: &Task) -> Option<i64> {
    let most = task.handling.timeout_ms?.saturating_mul(1_000);
    Some(task.lease()?.claimed_at.saturating_add_unsigned(most))
}

fn times(task: &Task) -> impl Iterator<Item = i64> {
    let waits = task.phase == Phase::Waiting;
    let deadline = task.handling.deadline.filter(|_| !task.is_closed());
    let ready = task.ready_at.filter(|_| waits);
    let anybody = ready.filter(|_| !task.avoid.is_empty()).map(|at| at + AVOID_FOR);
    [deadline, ready, anybody, overtime(task)].into_iter().flatten()
}
