//! Workers in the process of the control plane: ordinary workers whose connection has no wire.
//!
//! They register, are approved, claim, renew and report like any other, through the same connection actor; only
//! the HTTP between is left out.

use std::time::Duration;

use async_trait::async_trait;
use fleetward_actors::fleet::key::Binding;
use fleetward_actors::plane::{self, Enrollment, NewEnrollmentKey, Offers};
use fleetward_actors::{ControlPlane, Error, Operator, Refusal, Session};
use fleetward_gateway::translate;
use fleetward_wire::tasks::{
    Checkpoint, Checkpoints, Claim, Claimed, HandBack, Progress, ReadCheckpoints, ReportMany,
};
use fleetward_wire::workers::{Heartbeat, HeartbeatAnswer};
use fleetward_worker::{
    Execute, Summary, Transport, TransportError, Worker, WorkerError, WorkerOptions,
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// A worker's way to the control plane of its own process.
#[derive(Debug, Clone)]
pub struct InProcess {
    plane: ControlPlane,
    session: Session,
}

/// A worker that runs in this process. Dropping it leaves it running until the process ends.
#[derive(Debug)]
pub struct Running {
    stop: CancellationToken,
    ended: JoinHandle<Result<Summary, WorkerError>>,
}

impl Running {
    pub(crate) fn new(
        stop: CancellationToken,
        ended: JoinHandle<Result<Summary, WorkerError>>,
    ) -> Self {
        Self { stop, ended }
    }

    /// Claims nothing more, lets running tasks end, and says what the worker did.
    pub async fn stop(self) -> Option<Summary> {
        self.stop.cancel();
        self.ended.await.ok().and_then(Result::ok)
    }
}

/// Enrols and approves a worker of the operator's organisation, and runs it in this process.
///
/// # Errors
/// When the operator's organisation does not take it.
pub async fn start(
    plane: &ControlPlane,
    operator: &Operator,
    name: &str,
    seats: u32,
    execute: impl Execute,
) -> Result<Running, Error> {
    let enrollment =
        Enrollment { name: name.to_owned(), max_concurrent: seats, ..Enrollment::default() };
    let transport = InProcess::join(plane, operator, enrollment).await?;
    let options = WorkerOptions { seats: seats as usize, ..WorkerOptions::default() };
    let stop = CancellationToken::new();
    let ended = tokio::spawn(Worker::new(transport, execute, options).run(stop.clone()));
    Ok(Running { stop, ended })
}

impl InProcess {
    /// The way of a worker that registered before.
    pub fn new(plane: ControlPlane, session: Session) -> Self {
        Self { plane, session }
    }

    /// Registers a worker with a key of its own, approved by the operator who asks for it.
    ///
    /// # Errors
    /// When the operator's organisation does not take it.
    pub async fn join(
        plane: &ControlPlane,
        operator: &Operator,
        enrollment: Enrollment,
    ) -> Result<Self, Error> {
        let binding = Binding { auto_approve: true, ..Binding::default() };
        let name = format!("in-process worker {}", enrollment.name);
        let new = NewEnrollmentKey { name, binding, ..NewEnrollmentKey::default() };
        let (_, key) = operator.create_key(new).await?;
        let enrollment = Enrollment { in_process: true, proof: None, ..enrollment };
        let joined = plane.register(&key, enrollment).await?;
        let secret = joined.secret.unwrap_or_default();
        let session = plane.session(&joined.worker.id.to_string(), &secret).await?;
        Ok(Self::new(plane.clone(), session))
    }
}

#[async_trait]
impl Transport for InProcess {
    async fn claim_many(&self, claim: Claim) -> Result<Vec<Claimed>, TransportError> {
        let seconds = claim.poll_timeout.unwrap_or(5.0);
        let wait = Duration::try_from_secs_f64(seconds).unwrap_or_default();
        let most = claim.max_tasks.map_or(1, |most| most as usize);
        let claim = plane::Claim { wait, request: claim.claim_request_id, boot: claim.boot_id };
        let offers = self.session.claim_many(claim, most).await.map_err(told)?;
        let Some(Offers { tasks, delivery }) = offers else { return Ok(Vec::new()) };
        delivery.written();
        let lease = self.plane.config().lease;
        let claimed = tasks.into_iter();
        Ok(claimed.map(|offer| translate::claimed(&self.session, lease, offer)).collect())
    }

    async fn heartbeat(&self, beat: Heartbeat) -> Result<HeartbeatAnswer, TransportError> {
        let every = self.plane.config().heartbeat;
        let now_us = self.plane.clock().wall_us();
        translate::heartbeat(&self.session, every, now_us, beat).await.map_err(told)
    }

    async fn leave(&self) -> Result<(), TransportError> {
        self.session.leave().await.map_err(told)
    }

    async fn report_many(
        &self,
        reports: ReportMany,
    ) -> Result<Vec<Result<(), TransportError>>, TransportError> {
        let mut good = Vec::new();
        let mut read = Vec::with_capacity(reports.reports.len());
        for report in reports.reports {
            let reported = translate::reported(&self.session, report);
            read.push(reported.map(|reported| good.push(reported)));
        }
        let said = self.session.report_many(good).await.map_err(told)?;
        let mut said = said.into_iter().map(|said| said.map_err(told));
        let lost = || Err(TransportError::unavailable("no word about this report"));
        let verdict = |read: Result<(), Refusal>| match read {
            Ok(()) => said.next().unwrap_or_else(lost),
            Err(refusal) => Err(told(refusal.into())),
        };
        Ok(read.into_iter().map(verdict).collect())
    }

    async fn release(&self, back: HandBack) -> Result<(), TransportError> {
        let task = back.run_id.parse().map_err(no_id)?;
        let token = back.claim_token.expose();
        let said = self.session.hand_back(task, Some(back.attempt), Some(token)).await;
        said.map_err(told)
    }

    async fn progress(&self, run_id: &str, progress: Progress) -> Result<(), TransportError> {
        let task = run_id.parse().map_err(no_id)?;
        let data =
            translate::Json::stored(progress.data.expose(), "data").map_err(|r| told(r.into()))?;
        let token = progress.claim_token.as_ref().map(|token| token.expose().as_str());
        let claim = (progress.attempt, token);
        self.session.progress(task, claim, progress.percent, data).await.map_err(told)
    }

    async fn checkpoint(&self, run_id: &str, done: Checkpoint) -> Result<(), TransportError> {
        let task = run_id.parse().map_err(no_id)?;
        translate::checkpointed(&self.session, task, done).await.map_err(told)
    }

    async fn recorded(
        &self,
        run_id: &str,
        asked: ReadCheckpoints,
    ) -> Result<Checkpoints, TransportError> {
        let task = run_id.parse().map_err(no_id)?;
        translate::recorded(&self.session, task, asked).await.map_err(told)
    }
}

/// What an error means for the worker.
fn told(error: Error) -> TransportError {
    match error {
        Error::Refused(refusal) => match refusal.standing {
            Some("pending") => TransportError::Pending,
            Some(_) => TransportError::Rejected { status: 403, detail: refusal.detail },
            None if refusal.code == "unknown_worker" => {
                TransportError::Rejected { status: 401, detail: refusal.detail }
            }
            None => {
                TransportError::Refused { code: refusal.code.to_owned(), detail: refusal.detail }
            }
        },
        error => TransportError::unavailable(error.to_string()),
    }
}

fn no_id(_: impl std::error::Error) -> TransportError {
    TransportError::Refused {
        code: "not_found".to_owned(),
        detail: "there is no such task".to_owned(),
    }
}
