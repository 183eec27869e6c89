//! What operators may do with a task: cancel it, try a dead one again, let it go, delete what is left of it. Pure.

use crate::error::{Kind, Refusal};
use crate::fleet::task::{Event, Phase, Task};

/// What an operator wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Remedy {
    /// It shall not be done any more.
    Cancel {
        /// Why.
        reason: Option<String>,
    },
    /// It failed for good and shall be tried again from the beginning.
    Retry,
    /// It failed for good and shall leave the dead-letter queue.
    Discard {
        /// Why.
        reason: Option<String>,
    },
    /// It is over, and its row shall go.
    Delete {
        /// Only if that was before this time, in microseconds UTC.
        closed_before: Option<i64>,
    },
}

/// What that does to the task: nothing, where it is so already.
///
/// # Errors
/// When the task does not stand where this makes sense, or it is for its run to try it again.
pub fn decide(task: &Task, remedy: Remedy) -> Result<Option<Event>, Refusal> {
    let dead = || match task.phase {
        Phase::Failed { .. } => Ok(()),
        _ => Err(conflict(
            "not_dead",
            "only a task that failed for good can be retried or discarded; this one",
            task,
        )),
    };
    match (remedy, &task.phase) {
        (Remedy::Cancel { reason }, Phase::Waiting | Phase::Leased) => {
            Ok(Some(Event::Cancelled { reason }))
        }
        (Remedy::Cancel { .. }, Phase::Cancelled { .. })
        | (Remedy::Discard { .. }, Phase::Discarded { .. }) => Ok(None),
        (Remedy::Cancel { .. }, _) => {
            Err(conflict("task_closed", "only an open task can be cancelled; this one", task))
        }
        (Remedy::Retry, Phase::Failed { .. }) if task.step.is_some() => Err(of_run(task)),
        (Remedy::Retry, _) => dead().map(|()| Some(Event::Revived {})),
        (Remedy::Discard { reason }, _) => dead().map(|()| Some(Event::Discarded { reason })),
        (Remedy::Delete { closed_before }, phase) => {
            let open =
                || conflict("task_open", "only a task that is over can be deleted; this one", task);
            let closed_at = phase.closed_at().ok_or_else(open)?;
            match closed_before {
                Some(before) if closed_at >= before => {
                    Err(conflict("not_old_enough", "it was closed a short while ago; it", task))
                }
                _ => Ok(Some(Event::Deleted {})),
            }
        }
    }
}

/// A run waits for its task no more once that has failed: it makes another when it goes on.
fn of_run(task: &Task) -> Refusal {
    let step = task.step.as_ref();
    let (run, key) = step.map(|step| (step.run.as_str(), step.key.as_str())).unwrap_or_default();
    let detail = format!(
        "the task is step {key} of run {run}; let the run go on from its failure instead: \
         `fleetward run retry {run}`"
    );
    Refusal::new(Kind::Conflict, "task_of_run", detail)
}

fn conflict(code: &'static str, why: &str, task: &Task) -> Refusal {
    use crate::fact::Fold;
    Refusal::new(Kind::Conflict, code, format!("{why} is {}", task.status()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fact::Fold;
    use crate::fleet::task::{Failure, StepRef, sample};

    #[test]
    fn step_of_a_run_is_tried_again_by_its_run() {
        let step = StepRef { run: "ants-1".parse().unwrap(), key: "draft".into() };
        let phase = Phase::Failed { at: 1, why: Failure::Reported };
        let task = Task { phase, step: Some(step), ..sample() };

        let refused = decide(&task, Remedy::Retry).unwrap_err();

        assert_eq!(refused.code, "task_of_run");
        assert!(refused.detail.contains("step draft of run ants-1"), "{}", refused.detail);
        assert!(refused.detail.contains("`fleetward run retry ants-1`"), "{}", refused.detail);
        assert!(decide(&task, Remedy::Discard { reason: None }).unwrap().is_some());
    }

    #[test]
    fn remedies_fit_where_the_task_stands() {
        let phases = [
            Phase::Waiting,
            Phase::Leased,
            Phase::Completed { at: 1 },
            Phase::Failed { at: 1, why: Failure::Reported },
            Phase::Cancelled { at: 1 },
            Phase::Discarded { at: 1 },
        ];
        let table = [
            (
                Remedy::Cancel { reason: None },
                ["done", "done", "task_closed", "task_closed", "nothing", "task_closed"],
            ),
            (Remedy::Retry, ["not_dead", "not_dead", "not_dead", "done", "not_dead", "not_dead"]),
            (
                Remedy::Discard { reason: None },
                ["not_dead", "not_dead", "not_dead", "done", "not_dead", "nothing"],
            ),
            (
                Remedy::Delete { closed_before: None },
                ["task_open", "task_open", "done", "done", "done", "done"],
            ),
            (
                Remedy::Delete { closed_before: Some(2) },
                ["task_open", "task_open", "done", "done", "done", "done"],
            ),
            (
                Remedy::Delete { closed_before: Some(1) },
                [
                    "task_open",
                    "task_open",
                    "not_old_enough",
                    "not_old_enough",
                    "not_old_enough",
                    "not_old_enough",
                ],
            ),
        ];
        for (remedy, expected) in table {
            for (phase, expected) in phases.iter().zip(expected) {
                let task = Task { phase: phase.clone(), ..sample() };
                let outcome = match decide(&task, remedy.clone()) {
                    Ok(Some(_)) => "done",
                    Ok(None) => "nothing",
                    Err(refusal) => refusal.code,
                };
                assert_eq!(outcome, expected, "{remedy:?} of a task that is {}", task.status());
            }
        }
    }
}
