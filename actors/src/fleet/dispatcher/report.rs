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
}

/// Who reports what.
#[derive(Debug, Clone, Copy)]
pub struct Claimant {
    /// The worker.
    pub worker: WorkerId,
    /// The attempt it names; older clients name none and mean the last one they received.
    pub attempt: Option<u32>,
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
    let said = match task.phase {
        Phase::Waiting | Phase::Leased => return Ok(Judgement::Accept { attempt }),
        Phase::Completed { .. } => Some(Status::Completed),
        Phase::Failed { why: Failure::Reported, .. } => Some(Status::Failed),
        Phase::Failed { why: Failure::AttemptsExhausted, .. } => None,
    };
    match said {
        Some(said) if said == status => Ok(Judgement::Repeat),
        Some(_) => Err(conflict("already_reported", "another result was accepted for this task")),
        None => Err(conflict("task_closed", "the task failed: too many attempts were lost")),
    }
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
    use crate::fleet::task::Attempt;
    use crate::id::TaskId;

    fn task(phase: Phase, attempt: Option<(u32, WorkerId)>) -> Task {
        Task {
            id: TaskId::fresh(),
            submitted: 1,
            submitted_at: 0,
            by: "t".into(),
            wants: crate::fleet::task::Requirement {
                project: None,
                pool: "p".into(),
                model: None,
                labels: Default::default(),
            }
            .into(),
            request: None,
            payload_bytes: 0,
            attempt: attempt.map(|(number, worker)| Attempt {
                number,
                worker,
                request: None,
                claimed_at: 0,
            }),
            crashes: 0,
            phase,
            updated: 1,
        }
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
        ];
        for (phase, newest, named, status, expected) in table {
            let task = task(phase, newest);
            let claimant = Claimant { worker: me, attempt: named };
            let outcome = match judge(&task, claimant, status) {
                Ok(Judgement::Accept { attempt }) => format!("accept {attempt}"),
                Ok(Judgement::Repeat) => "repeat".to_owned(),
                Err(refusal) => refusal.code.to_owned(),
            };
            assert_eq!(outcome, expected, "{:?} {newest:?} {named:?} {status:?}", task.phase);
        }
    }
}
