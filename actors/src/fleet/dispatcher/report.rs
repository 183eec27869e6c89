//! Whether a report is accepted: one result per task, from the newest attempt. Pure.

use crate::error::{Kind, Refusal};
use crate::fleet::task::{Failure, Phase, Task};
use crate::id::WorkerId;

/// What a worker says of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It is done.
    Completed,
    /// It failed.
    Failed,
    /// Its durable function waits.
    Suspended,
}

/// Who reports what.
#[derive(Debug, Clone, Copy)]
pub struct Claimant {
    /// The worker.
    pub worker: WorkerId,
    /// The attempt it names; older clients name none and mean the last one they received.
    pub attempt: Option<u32>,
    /// It proved that it was given that attempt.
    pub proved: bool,
}

/// What becomes of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judgement {
    /// It is the result, of this attempt.
    Accept {
        /// Which.
        attempt: u32,
    },
    /// It was accepted before.
    Repeat,
}

/// Decides on a report.
///
/// # Errors
/// When the claimant does not hold the newest attempt, or said something else before.
pub fn judge(task: &Task, claimant: Claimant, status: Status) -> Result<Judgement, Refusal> {
    let attempt = owned(task, claimant)?;
    let failed = task.attempt.as_ref().is_some_and(|attempt| attempt.failed);
    let closed = |code, why| Err(conflict(code, why));
    let said = match task.phase {
        Phase::Waiting if failed => Status::Failed,
        Phase::Waiting | Phase::Leased => return Ok(Judgement::Accept { attempt }),
        Phase::Completed { .. } => Status::Completed,
        Phase::Suspended { .. } => Status::Suspended,
        Phase::Failed { why: Failure::Reported, .. } => Status::Failed,
        Phase::Failed { why: Failure::AttemptsExhausted, .. } => {
            return closed("task_closed", "the task failed: too many attempts were lost");
        }
        Phase::Failed { why: Failure::TimedOut, .. } => {
            return closed("task_closed", "the task failed: its last attempt took too long");
        }
        Phase::Failed { why: Failure::DeadlineExceeded, .. } => {
            return closed("task_closed", "the task failed: it was not done by its deadline");
        }
        Phase::Cancelled { .. } => {
            return closed("task_cancelled", "the task was cancelled; stop working on it");
        }
        Phase::Discarded { .. } => {
            return closed("task_closed", "the task had failed and was discarded");
        }
        Phase::Deleted => return Err(Refusal::not_found("task")),
    };
    if said == status {
        return Ok(Judgement::Repeat);
    }
    Err(conflict("already_reported", "another result was accepted for this attempt"))
}

/// What becomes of a task whose attempt failed: tried again at this time, in microseconds UTC, or `None`: it failed
/// for good. `roll` is a random number of 0 to 1.
pub fn try_again(task: &Task, retryable: bool, now: i64, roll: f64) -> Option<i64> {
    let wait = task.handling.retry.wait_us(task.failures + 1, roll).filter(|_| retryable)?;
    let ready_at = now.saturating_add(wait);
    task.handling.deadline.is_none_or(|deadline| ready_at < deadline).then_some(ready_at)
}

/// Whether a refused report belongs on the task's record: each attempt that was given out once, by the worker that
/// proved it had it.
pub fn is_noteworthy(task: &Task, claimant: Claimant, refusal: &Refusal) -> Option<u32> {
    let late = ["attempt_superseded", "task_closed", "task_cancelled"].contains(&refusal.code);
    let attempt = claimant.attempt.filter(|_| late && claimant.proved)?;
    (attempt > task.refused && attempt <= task.attempts()).then_some(attempt)
}

/// The attempt that the claimant holds, or held until now: a lapse alone takes nothing away.
///
/// # Errors
/// When somebody else has the newest attempt.
pub fn owned(task: &Task, claimant: Claimant) -> Result<u32, Refusal> {
    let newest = task.attempt.as_ref();
    match newest.filter(|attempt| attempt.worker == claimant.worker) {
        Some(newest) => match claimant.attempt {
            Some(named) if named != newest.number => Err(superseded(named, newest.number)),
            _ => Ok(newest.number),
        },
        None => match (claimant.attempt, newest) {
            (Some(named), Some(newest)) if named < newest.number => {
                Err(superseded(named, newest.number))
            }
            _ => {
                let detail = "the task was not given to this worker";
                Err(Refusal::new(Kind::Forbidden, "not_owner", detail))
            }
        },
    }
}

fn superseded(named: u32, newest: u32) -> Refusal {
    let detail = format!("attempt {named} was superseded by attempt {newest}; stop working on it");
    conflict("attempt_superseded", detail)
}

fn conflict(code: &'static str, detail: impl Into<String>) -> Refusal {
    Refusal::new(Kind::Conflict, code, detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::task::{Attempt, Handling, Retry, sample};

    fn task(phase: Phase, attempt: Option<(u32, WorkerId)>) -> Task {
        let attempt = attempt.map(|(number, worker)| Attempt {
            number,
            worker,
            request: None,
            claimed_at: 0,
            failed: false,
        });
        Task { phase, attempt, ..sample() }
    }

    #[test]
    fn failed_attempt_is_tried_again_while_there_are_attempts_and_time() {
        let retry = Retry { max_attempts: 3, initial_ms: 10, ..Retry::default() };
        let with = |failures, deadline| Task {
            failures,
            handling: Handling { retry: retry.clone(), deadline, ..Handling::default() },
            ..sample()
        };
        let table = [
            (with(0, None), true, Some(1_000 + 10_000)),
            (with(1, None), true, Some(1_000 + 20_000)),
            (with(2, None), true, None),
            (with(0, None), false, None),
            (with(0, Some(11_000)), true, None),
            (with(0, Some(11_001)), true, Some(11_000)),
            (sample(), true, None),
        ];
        for (task, retryable, expected) in table {
            assert_eq!(try_again(&task, retryable, 1_000, 1.0), expected, "{task:?}");
        }
    }

    #[test]
    fn late_report_is_noted_once_for_each_attempt_that_was_given_out() {
        let (me, other) = (WorkerId::fresh(), WorkerId::fresh());
        let done = task(Phase::Completed { at: 1 }, Some((2, other)));
        let late = conflict("attempt_superseded", "");
        let claimant = |attempt, proved| Claimant { worker: me, attempt, proved };

        assert_eq!(is_noteworthy(&done, claimant(Some(1), true), &late), Some(1));
        assert_eq!(is_noteworthy(&done, claimant(Some(1), false), &late), None);
        assert_eq!(is_noteworthy(&done, claimant(None, true), &late), None);
        assert_eq!(is_noteworthy(&done, claimant(Some(3), true), &late), None);
        let noted = Task { refused: 1, ..done.clone() };
        assert_eq!(is_noteworthy(&noted, claimant(Some(1), true), &late), None);
        let stranger = conflict("not_owner", "");
        assert_eq!(is_noteworthy(&done, claimant(Some(1), true), &stranger), None);
    }

    #[test]
    fn report_is_accepted_from_the_newest_attempt_only_and_once() {
        let (me, other) = (WorkerId::fresh(), WorkerId::fresh());
        let done = Phase::Completed { at: 1 };
        let failed = Phase::Failed { at: 1, why: Failure::Reported };
        let exhausted = Phase::Failed { at: 1, why: Failure::AttemptsExhausted };
        let (mine, theirs) = (Some((2, me)), Some((2, other)));
        use Status::{Completed, Failed};
        let table = [
            // phase, newest attempt, named attempt, status, outcome
            (Phase::Leased, mine, Some(2), Completed, "accept 2"),
            (Phase::Leased, mine, None, Failed, "accept 2"),
            (Phase::Leased, mine, Some(1), Completed, "attempt_superseded"),
            (Phase::Leased, theirs, Some(1), Completed, "attempt_superseded"),
            (Phase::Leased, theirs, Some(2), Completed, "not_owner"),
            (Phase::Leased, theirs, None, Completed, "not_owner"),
            (Phase::Waiting, mine, Some(2), Completed, "accept 2"),
            (Phase::Waiting, None, None, Completed, "not_owner"),
            (Phase::Waiting, None, Some(1), Completed, "not_owner"),
            (done.clone(), mine, Some(2), Completed, "repeat"),
            (done.clone(), mine, None, Completed, "repeat"),
            (done.clone(), mine, None, Failed, "already_reported"),
            (done.clone(), mine, Some(1), Completed, "attempt_superseded"),
            (done, theirs, None, Completed, "not_owner"),
            (failed.clone(), mine, Some(2), Failed, "repeat"),
            (failed, mine, Some(2), Completed, "already_reported"),
            (exhausted, mine, Some(2), Completed, "task_closed"),
            (Phase::Cancelled { at: 1 }, mine, Some(2), Completed, "task_cancelled"),
            (Phase::Discarded { at: 1 }, mine, Some(2), Failed, "task_closed"),
        ];
        for (phase, newest, named, status, expected) in table {
            let task = task(phase, newest);
            let claimant = Claimant { worker: me, attempt: named, proved: false };
            let outcome = match judge(&task, claimant, status) {
                Ok(Judgement::Accept { attempt }) => format!("accept {attempt}"),
                Ok(Judgement::Repeat) => "repeat".to_owned(),
                Err(refusal) => refusal.code.to_owned(),
            };
            assert_eq!(outcome, expected, "{:?} {newest:?} {named:?} {status:?}", task.phase);
        }
    }
}
