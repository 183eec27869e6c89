//! A seat: claims a task, runs it, says how it ended, and claims the next.

use std::sync::Arc;
use std::time::Duration;

use fleetward_wire::tasks::{Claim, Claimed};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::task::AbortOnDropHandle;

use crate::attempt::Attempt;
use crate::backoff::Backoff;
use crate::crew::Crew;
use crate::delivery;
use crate::execute::{Execute, Outcome, StopReason, TaskContext};
use crate::transport::{Transport, TransportError};
use crate::worker::WorkerError;

/// How long a task that must stop may take for it before its future is dropped.
pub const ABORT_AFTER: Duration = Duration::from_secs(15);

/// The longest poll that a control plane parks.
const LONGEST_POLL: Duration = Duration::from_secs(60);
/// An empty answer that came sooner is no long poll: without a pause the seat would spin.
const QUICK: Duration = Duration::from_millis(100);
/// So many refused claims in a row are no accident.
const REFUSALS: u32 = 5;

/// Works until the worker drains or is turned away.
pub(crate) async fn work<T: Transport, X: Execute>(crew: Arc<Crew<T, X>>) {
    // A task that is given back is offered again at once, and an attempt given back counts
    // against nobody: a worker that can run none of them must not spin.
    let mut unfit = Backoff::default();
    while let Some((task, holding)) = claim(&crew).await {
        let attempt = &holding.attempt;
        tracing::info!(run_id = attempt.run_id(), attempt = attempt.number(), "task claimed");
        let end = run(&crew, task, attempt).await;
        let given_back = matches!(end, End::Reached(Outcome::GiveBack(_)));
        match end {
            End::Reached(outcome) => delivery::deliver(&crew, attempt, outcome).await,
            End::Stopped(reason) => delivery::stopped(&crew, attempt, reason).await,
        }
        drop(holding);
        if crew.options.once {
            crew.draining.cancel();
        } else if given_back {
            crew.draining.run_until_cancelled(sleep(unfit.next(None))).await;
        } else {
            unfit.reset();
        }
    }
}

/// Keeps an attempt among the held ones for as long as the seat is busy with it.
struct Holding<T, X> {
    crew: Arc<Crew<T, X>>,
    attempt: Attempt,
}

impl<T, X> Drop for Holding<T, X> {
    fn drop(&mut self) {
        self.crew.held.remove(&self.attempt);
    }
}

/// Waits for a task as long as it takes; `None` when there will be no more.
async fn claim<T: Transport, X>(crew: &Arc<Crew<T, X>>) -> Option<(Claimed, Holding<T, X>)> {
    let draining = &crew.draining;
    draining.run_until_cancelled(claim_undrained(crew)).await.flatten()
}

async fn claim_undrained<T, X>(crew: &Arc<Crew<T, X>>) -> Option<(Claimed, Holding<T, X>)>
where
    T: Transport,
{
    let mut idle = Backoff::default();
    let mut refusals = 0;
    loop {
        let asked = Instant::now();
        // Of the first request of this logical claim: the lease may have begun with its answer,
        // even if that was lost and the task came with the answer to a repetition.
        let sent = crew.clock.now();
        match claim_once(crew).await {
            Ok(Some(task)) => {
                let attempt = Attempt::new(&task, sent, crew.clock.clone());
                if crew.held.add(&attempt) {
                    return Some((task, Holding { crew: crew.clone(), attempt }));
                }
                tracing::error!(run_id = task.run_id, "the same attempt was given out twice");
                sleep(idle.next(None)).await;
            }
            Ok(None) if asked.elapsed() < QUICK => sleep(idle.next(None)).await,
            Ok(None) => idle.reset(),
            Err(Hopeless::Rejected { status, detail }) => {
                crew.rejected(status, detail);
                return None;
            }
            Err(Hopeless::Refused { code, detail }) => {
                tracing::error!(code, detail, "claim refused");
                refusals += 1;
                if refusals == REFUSALS {
                    crew.give_up(WorkerError::Refused { code, detail });
                    return None;
                }
                sleep(idle.next(None)).await;
                continue;
            }
        }
        refusals = 0;
    }
}

/// What repeating a claim does not help against.
enum Hopeless {
    Rejected { status: u16, detail: String },
    Refused { code: String, detail: String },
}

/// One logical claim: repeated under the same id until there is an answer, so that a lost answer
/// gives the same task again.
async fn claim_once<T: Transport, X>(crew: &Crew<T, X>) -> Result<Option<Claimed>, Hopeless> {
    let claim = Claim {
        poll_timeout: Some(crew.options.poll_timeout.min(LONGEST_POLL).as_secs_f64()),
        claim_request_id: Some(uuid::Uuid::new_v4().to_string()),
        boot_id: Some(crew.options.boot_id.clone()),
        max_tasks: None,
    };
    let mut outage = Backoff::default();
    let mut approval = delivery::approval_backoff();
    loop {
        match crew.transport.claim(claim.clone()).await {
            Ok(answer) => return Ok(answer),
            Err(TransportError::Pending) => {
                tracing::info!("waiting for approval");
                sleep(approval.next(None)).await;
            }
            Err(TransportError::Unavailable { detail, retry_after }) => {
                let wait = outage.next(retry_after);
                tracing::warn!(detail, wait_ms = wait.as_millis() as u64, "cannot claim");
                sleep(wait).await;
            }
            Err(TransportError::Rejected { status, detail }) => {
                return Err(Hopeless::Rejected { status, detail });
            }
            Err(TransportError::Refused { code, detail }) => {
                return Err(Hopeless::Refused { code, detail });
            }
        }
    }
}

/// How a run ended.
enum End {
    /// With an outcome that the control plane wants to know.
    Reached(Outcome),
    /// It was stopped, and has none.
    Stopped(StopReason),
}

async fn run<T, X: Execute>(crew: &Crew<T, X>, task: Claimed, attempt: &Attempt) -> End {
    // It may have come in just after all others were stopped.
    if crew.rejected.is_cancelled() {
        attempt.stop(StopReason::Rejected);
    } else if crew.overdue.is_cancelled() {
        attempt.stop(StopReason::Draining);
    }
    tokio::select! {
        biased;
        reason = over(attempt) => return End::Stopped(reason),
        () = attempt.ready() => {}
    }
    let execute = crew.execute.clone();
    let cx = TaskContext::of(attempt.clone());
    // A task of its own: a panic of the owner's code ends the attempt and not the seat.
    let mut job =
        AbortOnDropHandle::new(tokio::spawn(async move { execute.execute(&task, cx).await }));
    let ended = tokio::select! {
        biased;
        ended = &mut job => Some(ended),
        _ = over(attempt) => timeout(ABORT_AFTER, &mut job).await.ok(),
    };
    let outcome = match ended {
        Some(Ok(outcome)) => outcome,
        Some(Err(_)) => Outcome::Failed("the handler panicked".to_owned()),
        None => Outcome::GiveBack("it did not stop in time".to_owned()),
    };
    match (attempt.stop_reason(), outcome) {
        (None, outcome) => End::Reached(outcome),
        // It made it after all, and no one else can have been given the task for certain.
        (Some(StopReason::Draining | StopReason::Fenced), outcome @ Outcome::Completed(_)) => {
            End::Reached(outcome)
        }
        (Some(reason), _) => End::Stopped(reason),
    }
}

/// Resolves when the attempt must stop: somebody said so, or its lease could not be renewed.
async fn over(attempt: &Attempt) -> StopReason {
    tokio::select! {
        reason = attempt.stopped() => reason,
        () = attempt.fenced() => {
            attempt.stop(StopReason::Fenced);
            attempt.stopped().await
        }
    }
}
