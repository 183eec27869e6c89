//! How a worker talks to its control plane, and what it is to do when that fails.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use fleetward_wire::tasks::{
    Checkpoint, Checkpoints, Claim, Claimed, HandBack, Progress, ReadCheckpoints, ReportMany,
};
use fleetward_wire::workers::{Heartbeat, HeartbeatAnswer};

/// What a worker says. Over HTTP it is [`HttpTransport`](crate::HttpTransport); in one
/// process with the control plane it may be anything.
///
/// Every call must end in bounded time, and may be dropped: a dropped claim is un-parked.
#[async_trait]
pub trait Transport: Send + Sync + 'static {
    /// Waits for tasks, at most `claim.poll_timeout`. No more than `claim.max_tasks`; empty if
    /// there was none.
    async fn claim_many(&self, claim: Claim) -> Result<Vec<Claimed>, TransportError>;
    /// Says that the worker lives, and what it holds.
    async fn heartbeat(&self, beat: Heartbeat) -> Result<HeartbeatAnswer, TransportError>;
    /// Says that the worker ends on purpose. A control plane that does not know that need not be told: it is the last thing
    /// that is said, once, and nobody looks at the answer.
    async fn leave(&self) -> Result<(), TransportError> {
        Ok(())
    }
    /// Says how attempts ended: what became of each report, in their order. Harmless twice.
    ///
    /// An error is about the request as a whole: then nothing is known of any of them.
    async fn report_many(
        &self,
        reports: ReportMany,
    ) -> Result<Vec<Result<(), TransportError>>, TransportError>;
    /// Gives an attempt back unfinished. Harmless twice.
    async fn release(&self, back: HandBack) -> Result<(), TransportError>;
    /// Says how far an attempt of the task is.
    async fn progress(&self, run_id: &str, progress: Progress) -> Result<(), TransportError>;
    /// Says that a step of a durable function is done. Harmless twice. Without this a worker runs no durable functions.
    async fn checkpoint(&self, _run_id: &str, _done: Checkpoint) -> Result<(), TransportError> {
        Err(no_functions())
    }
    /// Asks what a durable function has done.
    async fn recorded(
        &self,
        _run_id: &str,
        _asked: ReadCheckpoints,
    ) -> Result<Checkpoints, TransportError> {
        Err(no_functions())
    }
}

fn no_functions() -> TransportError {
    let detail = "this way to the control plane has no durable functions".to_owned();
    TransportError::Refused { code: "no_durable_functions".to_owned(), detail }
}

/// Why a call had no answer, as what the worker does next.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransportError {
    /// The worker is not approved yet: wait, then ask again.
    #[error("the worker waits for approval")]
    Pending,
    /// The worker is unknown, rejected or revoked, and no repeat will change it: stop.
    #[error("the control plane turned the worker away ({status}): {detail}")]
    Rejected {
        /// The HTTP status, or what it would be.
        status: u16,
        /// Why, in the control plane's words.
        detail: String,
    },
    /// This one request is wrong: do not repeat it, go on with others.
    #[error("the request was refused ({code}): {detail}")]
    Refused {
        /// Stable word for the reason.
        code: String,
        /// Why, in the control plane's words.
        detail: String,
    },
    /// Not done, or not known to be: repeat the same request later.
    #[error("the control plane is unavailable: {detail}")]
    Unavailable {
        /// What was seen.
        detail: String,
        /// How long it asked to be left alone.
        retry_after: Option<Duration>,
    },
}

impl TransportError {
    /// An outage of unknown length.
    pub fn unavailable(detail: impl Into<String>) -> Self {
        Self::Unavailable { detail: detail.into(), retry_after: None }
    }
}

#[async_trait]
impl<T: Transport + ?Sized> Transport for Arc<T> {
    async fn claim_many(&self, claim: Claim) -> Result<Vec<Claimed>, TransportError> {
        (**self).claim_many(claim).await
    }

    async fn heartbeat(&self, beat: Heartbeat) -> Result<HeartbeatAnswer, TransportError> {
        (**self).heartbeat(beat).await
    }

    async fn leave(&self) -> Result<(), TransportError> {
        (**self).leave().await
    }

    async fn report_many(
        &self,
        reports: ReportMany,
    ) -> Result<Vec<Result<(), TransportError>>, TransportError> {
        (**self).report_many(reports).await
    }

    async fn release(&self, back: HandBack) -> Result<(), TransportError> {
        (**self).release(back).await
    }

    async fn progress(&self, run_id: &str, progress: Progress) -> Result<(), TransportError> {
        (**self).progress(run_id, progress).await
    }

    async fn checkpoint(&self, run_id: &str, done: Checkpoint) -> Result<(), TransportError> {
        (**self).checkpoint(run_id, done).await
    }

    async fn recorded(
        &self,
        run_id: &str,
        asked: ReadCheckpoints,
    ) -> Result<Checkpoints, TransportError> {
        (**self).recorded(run_id, asked).await
    }
}
