//! What a worker does with a task: the one trait that its owner implements.

use std::future::Future;
use std::sync::Arc;

use async_trait::async_trait;
use fleetward_wire::Secret;
use fleetward_wire::tasks::{Checkpoint, Checkpoints, Claimed, Progress, ReadCheckpoints};
use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::attempt::Attempt;
use crate::backoff::Backoff;
use crate::function::Suspension;
use crate::transport::TransportError;

/// Runs tasks. [`Command`](crate::Command) does it with a shell command, [`from_fn`] with a
/// closure.
#[async_trait]
pub trait Execute: Send + Sync + 'static {
    /// Runs one attempt of a task to its end.
    ///
    /// It may run more than once for the same task (dispatch is at least once). When
    /// [`TaskContext::cancelled`] resolves it should return within seconds; after
    /// [`ABORT_AFTER`](crate::ABORT_AFTER) the future is dropped. A panic is a failed task.
    async fn execute(&self, task: &Claimed, cx: TaskContext) -> Outcome;
}

#[async_trait]
impl Execute for Box<dyn Execute> {
    async fn execute(&self, task: &Claimed, cx: TaskContext) -> Outcome {
        (**self).execute(task, cx).await
    }
}

/// How an attempt ended.
#[derive(Clone, PartialEq)]
pub enum Outcome {
    /// It has a result.
    Completed(Value),
    /// It waits for something, and goes on in another attempt: what a durable function answers by itself.
    Suspended(Suspension),
    /// It has an error. It is tried again as often as its submitter said.
    Failed(String),
    /// It has an error that every other attempt would have too: the task fails.
    FailedForGood(String),
    /// It was not finished and may run elsewhere; why, for the record, without a word of the task.
    GiveBack(String),
}

/// Why an attempt must stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopReason {
    /// Its lease could not be renewed in time: soon another worker may have it.
    Fenced,
    /// The control plane says that this worker does not hold it any more.
    Lost,
    /// The task is over: cancelled, or past its deadline. Nobody else runs it, so there is a moment to clean up.
    Cancelled,
    /// The worker is shutting down and the time to finish is up.
    Draining,
    /// The control plane turned the whole worker away.
    Rejected,
}

/// What an attempt may know about its own standing.
#[derive(Clone)]
pub struct TaskContext {
    attempt: Attempt,
    /// None: nobody is told.
    tell: Option<Arc<dyn Tell>>,
}

/// Takes a word of progress to the control plane.
#[async_trait]
pub(crate) trait Tell: Send + Sync {
    async fn tell(&self, run_id: &str, progress: Progress) -> Result<(), TransportError>;
    /// A step of a durable function is done.
    async fn checkpoint(&self, run_id: &str, done: Checkpoint) -> Result<(), TransportError>;
    /// What a durable function has done.
    async fn recorded(
        &self,
        run_id: &str,
        asked: ReadCheckpoints,
    ) -> Result<Checkpoints, TransportError>;
}

impl TaskContext {
    pub(crate) fn of(attempt: Attempt, tell: Option<Arc<dyn Tell>>) -> Self {
        Self { attempt, tell }
    }

    /// A context outside of any worker, to try a handler out, and what stops it. Its deadline is
    /// a day away.
    pub fn detached() -> (Self, Stop) {
        let attempt = Attempt::detached();
        (Self::of(attempt.clone(), None), Stop(attempt))
    }

    /// Resolves when the attempt must stop. Its outcome is then no longer wanted, except where
    /// the reason is [`StopReason::Draining`] and it completed all the same.
    pub async fn cancelled(&self) -> StopReason {
        self.attempt.stopped().await
    }

    /// Why the attempt must stop, if it must.
    pub fn stop_reason(&self) -> Option<StopReason> {
        self.attempt.stop_reason()
    }

    /// Says how far the attempt is: `percent` of 0 to 100, and whatever there is to say, partial output included, up
    /// to 64 KiB. The last word is shown with the task. It is durable once this returns, and nothing depends on it:
    /// an error need not stop the work.
    ///
    /// # Errors
    /// [`TransportError::Refused`] when the attempt is over, or when it is said more often than twice a second;
    /// [`TransportError::Unavailable`] when the control plane cannot be reached.
    pub async fn progress(
        &self,
        percent: Option<u8>,
        data: impl Into<Value>,
    ) -> Result<(), TransportError> {
        let Some(tell) = &self.tell else { return Ok(()) };
        let progress = Progress {
            percent,
            data: Secret::new(data.into()),
            data_sealed: None,
            attempt: Some(self.attempt.number()),
            claim_token: Some(self.attempt.token().clone()),
        };
        tell.tell(self.attempt.run_id(), progress).await
    }

    /// Keeps what a step of a durable function resulted in; again and again until it is known to be kept or refused.
    pub(crate) async fn checkpoint(&self, done: Checkpoint) -> Result<(), TransportError> {
        let Some(tell) = &self.tell else { return Ok(()) };
        let (attempt, claim_token) = self.claim();
        let done = Checkpoint { attempt, claim_token, ..done };
        self.until_heard(|| tell.checkpoint(self.attempt.run_id(), done.clone())).await
    }

    /// What a durable function has done, from a position on.
    pub(crate) async fn recorded(&self, from: u32) -> Result<Checkpoints, TransportError> {
        let Some(tell) = &self.tell else {
            return Ok(Checkpoints { entries: Vec::new(), next: None });
        };
        let (attempt, claim_token) = self.claim();
        let asked = ReadCheckpoints { from, attempt, claim_token, org_keys: Vec::new() };
        self.until_heard(|| tell.recorded(self.attempt.run_id(), asked.clone())).await
    }

    fn claim(&self) -> (Option<u32>, Option<Secret>) {
        (Some(self.attempt.number()), Some(self.attempt.token().clone()))
    }

    /// Calls until there is an answer that stands, or the attempt must stop.
    async fn until_heard<A, F>(&self, call: impl Fn() -> F) -> Result<A, TransportError>
    where
        F: Future<Output = Result<A, TransportError>>,
    {
        let heard = async {
            let mut outage = Backoff::default();
            loop {
                match call().await {
                    Err(TransportError::Unavailable { detail, retry_after }) => {
                        tracing::debug!(detail, "a function waits for the control plane");
                        sleep(outage.next(retry_after)).await;
                    }
                    Err(TransportError::Pending) => sleep(outage.next(None)).await,
                    answer => return answer,
                }
            }
        };
        tokio::select! {
            answer = heard => answer,
            reason = self.attempt.stopped() => Err(TransportError::Refused {
                code: "attempt_over".to_owned(),
                detail: format!("the attempt must stop: {reason:?}"),
            }),
        }
    }

    /// When the attempt will be stopped unless a heartbeat renews its lease before.
    pub fn deadline(&self) -> Instant {
        self.attempt.deadline()
    }
}

/// Stops a [detached](TaskContext::detached) context.
pub struct Stop(Attempt);

impl Stop {
    /// Stops it; a later reason changes nothing.
    pub fn stop(&self, reason: StopReason) {
        self.0.stop(reason);
    }
}

/// Tasks run by a closure: the in-process worker of library users.
pub fn from_fn<F, R>(run: F) -> FromFn<F>
where
    F: Fn(Claimed, TaskContext) -> R + Send + Sync + 'static,
    R: Future<Output = Outcome> + Send,
{
    FromFn(run)
}

/// See [`from_fn`].
pub struct FromFn<F>(F);

#[async_trait]
impl<F, R> Execute for FromFn<F>
where
    F: Fn(Claimed, TaskContext) -> R + Send + Sync + 'static,
    R: Future<Output = Outcome> + Send,
{
    async fn execute(&self, task: &Claimed, cx: TaskContext) -> Outcome {
        (self.0)(task.clone(), cx).await
    }
}

impl std::fmt::Debug for Outcome {
    /// Names the kind only: results and errors belong to the tenant.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Completed(_) => "Completed(..)",
            Self::Suspended(_) => "Suspended(..)",
            Self::Failed(_) => "Failed(..)",
            Self::FailedForGood(_) => "FailedForGood(..)",
            Self::GiveBack(_) => "GiveBack(..)",
        })
    }
}
