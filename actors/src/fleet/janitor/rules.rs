//! What may be deleted, and from where on rows are to be looked at. Pure.

use std::collections::BTreeMap;

use fleetward_store::Position;

use crate::fleet::policy::Retention;
use crate::fleet::task::Task;
use crate::workflows::run::Run;

/// Statuses of tasks that are over.
pub(super) const TASKS: [&str; 5] = ["completed", "cancelled", "discarded", "suspended", "failed"];
/// Statuses of runs that are over.
pub(super) const RUNS: [&str; 4] = ["completed", "cancelled", "discarded", "failed"];

/// Rows created up to these positions were looked at and stay, as long as the retention is what it was.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cursors {
    /// What they were found for.
    pub(super) found_for: Retention,
    /// By kind and status.
    pub(super) after: BTreeMap<(&'static str, &'static str), Position>,
}

/// The times before which what is over goes, in microseconds UTC; none: it stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Terms {
    pub(super) tasks: Option<i64>,
    pub(super) runs: Option<i64>,
    pub(super) failed: Option<i64>,
}

/// What becomes of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It goes.
    Goes,
    /// It goes once what it belongs to is gone.
    Follows,
    /// It stays for now: it is not over for long enough.
    Young,
    /// It stays.
    Stays,
}

impl Terms {
    pub(super) fn new(retention: &Retention, now: i64) -> Self {
        let before = |seconds: u64| {
            let kept = i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(1_000_000);
            now.saturating_sub(kept)
        };
        Self {
            tasks: retention.tasks.map(before),
            runs: retention.runs.map(before),
            failed: retention.failed.map(before),
        }
    }

    /// The time before which runs of this status go.
    pub(super) fn of_runs(&self, status: &str) -> Option<i64> {
        if status == "failed" { self.failed } else { self.runs }
    }

    /// The time before which tasks of this status go that are no step of a run.
    pub(super) fn of_tasks(&self, status: &str) -> Option<i64> {
        if status == "failed" { self.failed } else { self.tasks }
    }

    /// No row of a task that was made at this time or later needs to be looked at.
    pub(super) fn latest_task(&self, status: &str) -> Option<i64> {
        [self.of_tasks(status), self.runs, self.failed].into_iter().flatten().max()
    }

    pub(super) fn task(&self, task: &Task) -> Fate {
        use crate::fact::Fold;
        let Some(at) = task.phase.closed_at() else { return Fate::Stays };
        match self.of_tasks(task.status()) {
            _ if task.step.is_some() => Fate::Follows,
            None => Fate::Stays,
            Some(before) if at < before => Fate::Goes,
            Some(_) => Fate::Young,
        }
    }

    pub(super) fn run(&self, run: &Run) -> Fate {
        use crate::fact::Fold;
        let Some(at) = run.phase.closed_at() else { return Fate::Stays };
        match self.of_runs(run.status()) {
            None => Fate::Stays,
            // Others have yet to hear of its end.
            Some(_) if run.open() => Fate::Young,
            Some(before) if at >= before => Fate::Young,
            Some(_) => Fate::Goes,
        }
    }
}

impl Cursors {
    pub(super) fn of(&self, kind: &'static str, status: &'static str) -> Position {
        self.after.get(&(kind, status)).copied().unwrap_or(0)
    }

    pub(super) fn set(&mut self, kind: &'static str, status: &'static str, after: Position) {
        self.after.insert((kind, status), after);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::task::{Failure, Phase, StepRef, sample};

    const NOW: i64 = 1_000_000_000;

    #[test]
    fn tasks_go_by_their_age_their_status_and_what_they_belong_to() {
        let keep = |tasks, failed| {
            let retention = Retention { tasks, runs: None, failed };
            Terms::new(&retention, NOW)
        };
        let (old, young) = (NOW - 100_000_001, NOW - 99_000_000);
        let before = NOW - 100_000_000;
        let completed = |at| Phase::Completed { at };
        let failed = |at| Phase::Failed { at, why: Failure::Reported };
        let table = [
            (keep(Some(100), None), completed(old), Fate::Goes),
            (keep(Some(100), None), completed(before), Fate::Young),
            (keep(Some(100), None), completed(young), Fate::Young),
            (keep(Some(100), None), failed(old), Fate::Stays),
            (keep(None, Some(100)), failed(old), Fate::Goes),
            (keep(None, Some(100)), completed(old), Fate::Stays),
            (keep(Some(100), None), Phase::Cancelled { at: old }, Fate::Goes),
            (keep(Some(100), None), Phase::Discarded { at: old }, Fate::Goes),
            (keep(Some(100), Some(100)), Phase::Waiting, Fate::Stays),
            (keep(Some(100), Some(100)), Phase::Leased, Fate::Stays),
            (keep(None, None), completed(old), Fate::Stays),
        ];
        for (terms, phase, fate) in table {
            let task = Task { phase: phase.clone(), ..sample() };
            assert_eq!(terms.task(&task), fate, "{terms:?} {phase:?}");
        }

        let step = StepRef { run: "ants-1".parse().unwrap(), key: "draft".into() };
        let of_run = Task { phase: completed(old), step: Some(step), ..sample() };
        assert_eq!(keep(Some(100), None).task(&of_run), Fate::Follows);
    }
}
