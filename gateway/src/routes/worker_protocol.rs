//! What workers say: register, claim, heartbeat, report, hand back.

use std::sync::Arc;
use std::time::Duration;

use axum::Json as Answer;
use axum::body::Body;
use axum::extract::{Extension, State};
use axum::http::header::{CONTENT_TYPE, HeaderValue};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use fleetward_actors::id::{TaskId, WorkerId};
use fleetward_actors::plane::{self, Enrollment, KeyProof, Offers, Outcome, Part};
use fleetward_actors::{Error, Session};
use fleetward_wire::tasks::{
    Checkpoint, Checkpoints, Claim, Claimed, ClaimedMany, Complete, Fail, HandBack, Progress,
    ReadCheckpoints, Report, ReportAnswer, ReportMany, ReportResult, ReportsAnswer,
};
use fleetward_wire::workers::{Capabilities, Heartbeat, HeartbeatAnswer, Register, Registered};
use fleetward_wire::{Done, Raw, Secret};

use super::task_shapes::{network, sandbox};
use crate::auth::{AsWorker, AskedBy, ShownCertificate, text};
use crate::body::DeliveryBody;
use crate::edge::Edge;
use crate::extract::{Json, MaybeJson, PathId};
use crate::problem::Problem;
use crate::socket::Wire;
use crate::translate::{self, Json as _};

/// How long a claim waits that does not say.
const DEFAULT_POLL: Duration = Duration::from_secs(5);
/// Longest wait.
const LONGEST_POLL: Duration = Duration::from_secs(60);

/// Makes a worker of a process that has an enrollment key.
pub(super) async fn register(
    State(edge): State<Edge>,
    AskedBy(origin): AskedBy,
    ShownCertificate(certificate): ShownCertificate,
    headers: HeaderMap,
    Json { value: asked, .. }: Json<Register>,
) -> Result<(StatusCode, Answer<Registered>), Problem> {
    let header = text(&headers, "x-enrollment-key")?;
    let key = asked.enrollment_key.as_ref().map(|key| key.expose().as_str()).or(header);
    let Some(key) = key.filter(|key| !key.is_empty()) else {
        let detail = "send the enrollment key as enrollment_key or in X-Enrollment-Key";
        return Err(Problem::unauthenticated("missing_enrollment_key", detail));
    };
    let proof = match (asked.public_key, asked.signature) {
        (Some(public_key), Some(signature)) => Some(KeyProof { public_key, signature }),
        (None, None) => None,
        _ => {
            let detail = "send public_key and signature together, or neither";
            return Err(Problem::unprocessable("invalid_body", detail));
        }
    };
    let enrollment = Enrollment {
        name: asked.name,
        pool: asked.pool,
        models: asked.models,
        labels: asked.labels,
        sandbox: asked.sandbox.map(sandbox).unwrap_or_default(),
        images: asked.images,
        handlers: asked.handlers,
        networks: asked.networks.into_iter().map(network).collect(),
        max_concurrent: asked.max_concurrent,
        proof,
        in_process: false,
        origin,
        certificate: certificate.map(|identity| identity.as_ref().to_owned()),
    };
    let joined = edge.plane.register(key, enrollment).await?;
    let (worker, config) = (joined.worker, edge.plane.config());
    let registered = Registered {
        worker_id: worker.id.to_string(),
        worker_secret: joined.secret.map(Secret::new),
        org_id: Some(joined.org.to_string()),
        status: translate::status(worker.standing),
        capabilities: Capabilities {
            models: worker.declared_models,
            pool: worker.profile.pool,
            labels: worker.profile.labels,
            max_concurrent: worker.seats,
        },
        heartbeat_seconds: config.heartbeat.as_secs_f64(),
        lease_seconds: config.lease.as_secs_f64(),
    };
    Ok((StatusCode::CREATED, Answer(registered)))
}

/// Waits for work. Whoever hangs up is un-parked, because that drops this future.
pub(super) async fn claim(
    State(edge): State<Edge>,
    wire: Option<Extension<Arc<Wire>>>,
    AsWorker(session): AsWorker,
    MaybeJson(asked): MaybeJson<Claim>,
) -> Result<Response, Problem> {
    let claim = plane::Claim {
        wait: wait("invalid_poll_timeout", asked.poll_timeout, DEFAULT_POLL)?,
        request: asked.claim_request_id,
        boot: asked.boot_id,
    };
    if !asked.org_keys.is_empty() {
        session.usable(&asked.org_keys)?;
    }
    let most = asked.max_tasks.map_or(1, |most| most as usize);
    let offers = tokio::select! {
        biased;
        offers = session.claim_many(claim, most) => offers?,
        () = edge.dismissed() => None,
    };
    let Some(Offers { tasks, delivery }) = offers else {
        return Ok(StatusCode::NO_CONTENT.into_response());
    };
    let lease = edge.plane.config().lease;
    let shown = |offer| match asked.org_keys.as_slice() {
        [] => Ok(translate::claimed(&session, lease, offer)),
        held => translate::claimed_sealed(&session, lease, offer, held),
    };
    // Whatever fails here drops the delivery, and so gives the attempts back.
    let mut tasks: Vec<Claimed<Raw>> = tasks.into_iter().map(shown).collect::<Result<_, _>>()?;
    let answer = match asked.max_tasks {
        Some(_) => serde_json::to_vec(&ClaimedMany { tasks }),
        None => serde_json::to_vec(&tasks.pop()),
    };
    let answer = answer.expect("a claim's answer has string keys only");
    let body = DeliveryBody::new(answer.into(), delivery, wire.map(|Extension(wire)| wire));
    let json = HeaderValue::from_static("application/json");
    Ok(([(CONTENT_TYPE, json)], Body::new(body)).into_response())
}

/// A sign of life; also from a worker that still waits for approval.
pub(super) async fn heartbeat(
    State(edge): State<Edge>,
    AsWorker(session): AsWorker,
    MaybeJson(beat): MaybeJson<Heartbeat>,
) -> Result<Answer<HeartbeatAnswer>, Problem> {
    let every = edge.plane.config().heartbeat;
    let now_us = edge.plane.clock().wall_us();
    Ok(Answer(translate::heartbeat(&session, every, now_us, beat).await?))
}

/// The same on a route that names the worker.
pub(super) async fn heartbeat_of(
    state: State<Edge>,
    AsWorker(session): AsWorker,
    PathId(worker): PathId<WorkerId>,
    beat: MaybeJson<Heartbeat>,
) -> Result<Answer<HeartbeatAnswer>, Problem> {
    if session.worker() != worker {
        return Err(Problem::not_found("worker"));
    }
    heartbeat(state, AsWorker(session), beat).await
}

/// The worker ends on purpose. Older ones just stop.
pub(super) async fn leave(AsWorker(session): AsWorker) -> Result<Answer<Done>, Problem> {
    session.leave().await?;
    Ok(Answer(Done::ok()))
}

/// The end of an attempt.
pub(super) async fn report(
    AsWorker(session): AsWorker,
    Json { value: said, .. }: Json<Report<Raw>>,
) -> Result<Answer<ReportAnswer>, Problem> {
    let mut answers = session.report_many(vec![translate::reported(&session, said)?]).await?;
    answers.pop().unwrap_or(Err(Error::OutcomeUnknown))?;
    Ok(Answer(ReportAnswer::ok()))
}

/// The ends of many attempts, each with an answer of its own.
pub(super) async fn reports(
    AsWorker(session): AsWorker,
    Json { value: said, .. }: Json<ReportMany<Raw>>,
) -> Result<Answer<ReportsAnswer>, Problem> {
    let mut results = Vec::with_capacity(said.reports.len());
    let (mut places, mut good) = (Vec::new(), Vec::new());
    for report in said.reports {
        let run_id = report.run_id.clone();
        match translate::reported(&session, report) {
            Ok(reported) => {
                places.push(results.len());
                good.push(reported);
                results.push(ReportResult { run_id, status: 200, problem: None });
            }
            Err(refusal) => results.push(refused(run_id, &refusal.into())),
        }
    }
    for (place, said) in places.into_iter().zip(session.report_many(good).await?) {
        if let Err(error) = said {
            let run_id = std::mem::take(&mut results[place].run_id);
            results[place] = refused(run_id, &error.into());
        }
    }
    Ok(Answer(ReportsAnswer { results }))
}

/// A report that a task completed.
pub(super) async fn complete(
    AsWorker(session): AsWorker,
    PathId(task): PathId<TaskId>,
    MaybeJson(said): MaybeJson<Complete<Raw>>,
) -> Result<Answer<ReportAnswer>, Problem> {
    let outcome = translate::completed(said.output)?;
    let token = said.claim_token.map(Secret::into_exposed);
    conclude(&session, task, said.attempt, token, outcome).await
}

/// A report that a task failed.
pub(super) async fn fail(
    AsWorker(session): AsWorker,
    PathId(task): PathId<TaskId>,
    MaybeJson(said): MaybeJson<Fail>,
) -> Result<Answer<ReportAnswer>, Problem> {
    let token = said.claim_token.map(Secret::into_exposed);
    let outcome = translate::failed(said.error, said.retryable);
    conclude(&session, task, said.attempt, token, outcome).await
}

/// How far an attempt is.
pub(super) async fn progress(
    AsWorker(session): AsWorker,
    PathId(task): PathId<TaskId>,
    Json { value: said, .. }: Json<Progress<Raw>>,
) -> Result<Answer<Done>, Problem> {
    let data = match said.data_sealed {
        Some(sealed) => {
            let opened = translate::opened(&session, Part::Progress, (task, said.attempt), sealed)?;
            Raw::read(&opened).stored("data")?
        }
        None => said.data.expose().stored("data")?,
    };
    let token = said.claim_token.as_ref().map(|token| token.expose().as_str());
    session.progress(task, (said.attempt, token), said.percent, data).await?;
    Ok(Answer(Done::ok()))
}

/// A step of a durable function is done.
pub(super) async fn checkpoint(
    AsWorker(session): AsWorker,
    PathId(task): PathId<TaskId>,
    Json { value: said, .. }: Json<Checkpoint<Raw>>,
) -> Result<Answer<Done>, Problem> {
    translate::checkpointed(&session, task, said).await?;
    Ok(Answer(Done::ok()))
}

/// What a durable function has done.
pub(super) async fn checkpoints(
    AsWorker(session): AsWorker,
    PathId(task): PathId<TaskId>,
    MaybeJson(asked): MaybeJson<ReadCheckpoints>,
) -> Result<Answer<Checkpoints<Raw>>, Problem> {
    Ok(Answer(translate::recorded(&session, task, asked).await?))
}

/// The worker will not finish this attempt: somebody else gets the task, and it does not count.
pub(super) async fn release(
    AsWorker(session): AsWorker,
    PathId(task): PathId<TaskId>,
    Json { value: said, .. }: Json<HandBack>,
) -> Result<Answer<Done>, Problem> {
    let token = said.claim_token.expose().as_str();
    session.hand_back(task, Some(said.attempt), Some(token)).await?;
    Ok(Answer(Done::ok()))
}

/// How long to wait: none below zero, cut to the longest.
pub(super) fn wait(
    code: &'static str,
    seconds: Option<f64>,
    default: Duration,
) -> Result<Duration, Problem> {
    match seconds {
        None => Ok(default),
        // Written so that what is no number fails too.
        Some(seconds) if seconds >= 0.0 => {
            Ok(Duration::from_secs_f64(seconds.min(LONGEST_POLL.as_secs_f64())))
        }
        Some(_) => Err(Problem::bad_request(code, "the time to wait must be 0 seconds or more")),
    }
}

fn refused(run_id: String, problem: &Problem) -> ReportResult {
    let status = problem.status.as_u16();
    ReportResult { run_id, status, problem: Some(problem.wire(None)) }
}

async fn conclude(
    session: &Session,
    task: TaskId,
    attempt: Option<u32>,
    token: Option<String>,
    outcome: Outcome,
) -> Result<Answer<ReportAnswer>, Problem> {
    session.report(task, attempt, token.as_deref(), outcome).await?;
    Ok(Answer(ReportAnswer::ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room<A, B, C, D, R>(_: impl Fn(A, B, C, D) -> R) -> usize {
        size_of::<R>()
    }

    /// A server of ten thousand parked workers has it ten thousand times (`benches/RESULTS.md`).
    #[test]
    fn parked_claim_has_room_for_little() {
        let claim = room(claim);
        assert!(claim <= 1_152, "{claim} bytes");
    }
}
