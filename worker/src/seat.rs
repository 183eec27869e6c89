//! A seat: waits for a task, runs it, says how it ended, and is free for the next.

use std::sync::Arc;
use std::time::Duration;

use fleetward_wire::tasks::Claimed;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, timeout};
use tokio_util::task::AbortOnDropHandle;

use crate::attempt::Attempt;
use crate::backoff::Backoff;
use crate::claimer::{FreeSeat, Taken};
use crate::crew::Crew;
use crate::delivery;
use crate::execute::{Execute, Outcome, StopReason, TaskContext};
use crate::transport::Transport;

/// How long a task that must stop may take for it before its future is dropped.
pub const ABORT_AFTER: Duration = Duration::from_secs(15);

/// Works until the claimer, whom it tells when it is free, has nothing more for it.
pub(crate) async fn work<T: Transport, X: Execute>(
    crew: Arc<Crew<T, X>>,
    claimer: mpsc::Sender<FreeSeat<T, X>>,
) {
    // A task that is given back is offered again at once, and an attempt given back counts
    // against nobody: a worker that can run none of them must not spin.
    let mut unfit = Backoff::default();
    while let Some((task, holding)) = next(&claimer).await {
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

/// Waits for a task as long as it takes; `None` when there will be no more.
async fn next<T, X>(claimer: &mpsc::Sender<FreeSeat<T, X>>) -> Option<Taken<T, X>> {
    let (free, task) = oneshot::channel();
    claimer.send(free).await.ok()?;
    tokio::select! {
        biased;
        task = task => task.ok(),
        // What is sent just as the receiver goes stays in the channel, and with it the other half
        // of `task`, for as long as somebody could still send: that is this seat.
        () = claimer.closed() => None,
    }
}

/// How a run ended.
enum End {
    /// With an outcome that the control plane wants to know.
    Reached(Outcome),
    /// It was stopped, and has none.
    Stopped(StopReason),
}

async fn run<T: Transport, X: Execute>(
    crew: &Arc<Crew<T, X>>,
    task: Claimed,
    attempt: &Attempt,
) -> End {
    // It may have come in just after all others were stopped.
    if crew.rejected.is_cancelled() {
        attempt.stop(StopReason::Rejected);
    }
    tokio::select! {
        biased;
        reason = over(attempt) => return End::Stopped(reason),
        // What has not begun yet shall do so where there is time for it.
        () = crew.draining.cancelled() => return End::Stopped(StopReason::Draining),
        () = attempt.ready() => {}
    }
    let execute = crew.execute.clone();
    let cx = TaskContext::of(attempt.clone(), Some(Arc::<Crew<T, X>>::clone(crew)));
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
        // It made it after all. Whether somebody else was given the task meanwhile, the control plane knows: then it
        // refuses, and the task's record says that it did.
        (Some(reason), outcome @ (Outcome::Completed(_) | Outcome::Suspended(_)))
            if reason != StopReason::Rejected =>
        {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn seat_ends_with_the_claimer_whenever_that_ends() {
        for _ in 0..20_000 {
            // The two race: without the look at `closed` a few rounds of these hang.
            let (claimer, seats) = mpsc::channel::<FreeSeat<(), ()>>(1);
            let seat = tokio::spawn(async move { next(&claimer).await.is_none() });
            let gone = tokio::spawn(async move { drop(seats) });
            gone.await.unwrap();
            assert!(seat.await.unwrap());
        }
    }
}
