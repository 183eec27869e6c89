//! What workers say: register, claim, heartbeat, report, hand back.

use std::sync::Arc;
use std::time::Duration;

use axum::Json as Answer;
use axum::body::Body;
use axum::extract::{Extension, State};
use axum::http::header::{CONTENT_TYPE, HeaderValue};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use fleetward_actors::Session;
use fleetward_actors::id::{TaskId, WorkerId};
use fleetward_actors::plane::{self, Enrollment, Offer, Outcome};
use fleetward_wire::tasks::{Claim, Claimed, Complete, Fail, HandBack, Report, ReportAnswer};
use fleetward_wire::workers::{
    Capabilities, Heartbeat, HeartbeatAnswer, LostTask, Register, Registered,
};
use fleetward_wire::{Done, Secret};
use serde_json::Value;

use crate::auth::{AsWorker, text};
use crate::body::DeliveryBody;
use crate::edge::Edge;
use crate::extract::{Json, MaybeJson, PathId, stored, typed};
use crate::problem::Problem;
use crate::routes::{tasks, workers};
use crate::socket::Wire;
use crate::times::rfc3339;

/// How long a claim waits that does not say.
const DEFAULT_POLL: Duration = Duration::from_secs(5);
/// Longest wait.
const LONGEST_POLL: Duration = Duration::from_secs(60);

/// Makes a worker of a process that has an enrollment key.
pub(super) async fn register(
    State(edge): State<Edge>,
    headers: HeaderMap,
    Json { value: asked, .. }: Json<Register>,
) -> Result<(StatusCode, Answer<Registered>), Problem> {
    let header = text(&headers, "x-enrollment-key")?;
    let key = asked.enrollment_key.as_ref().map(|key| key.expose().as_str()).or(header);
    let Some(key) = key.filter(|key| !key.is_empty()) else {
        let detail = "send the enrollment key as enrollment_key or in X-Enrollment-Key";
        return Err(Problem::unauthenticated("missing_enrollment_key", detail));
    };
    let enrollment = Enrollment {
        name: asked.name,
        pool: asked.pool,
        models: asked.models,
        labels: asked.labels,
        max_concurrent: asked.max_concurrent,
    };
    let joined = edge.plane.register(key, enrollment).await?;
    let (worker, config) = (joined.worker, edge.plane.config());
    let registered = Registered {
        worker_id: worker.id.to_string(),
        worker_secret: joined.secret.into(),
        status: workers::status(worker.standing),
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
    let offer = tokio::select! {
        biased;
        offer = session.claim(claim) => offer?,
        () = edge.dismissed() => None,
    };
    let Some(offer) = offer else { return Ok(StatusCode::NO_CONTENT.into_response()) };
    let (claimed, delivery) = claimed(&edge, &session, offer);
    let answer = serde_json::to_vec(&claimed).expect("a claim's answer has string keys only");
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
    // What has no id of ours cannot be held.
    let mut lost = Vec::new();
    let held = beat.tasks.map(|tasks| {
        let known = tasks.into_iter().filter_map(|held| match held.run_id.parse() {
            Ok(task) => Some((task, held.attempt, held.claim_token.into_exposed())),
            Err(_) => {
                lost.push(LostTask { run_id: held.run_id, attempt: held.attempt });
                None
            }
        });
        known.collect()
    });
    let gone = session.heartbeat(plane::Heartbeat { held, boot: beat.boot_id }).await?;
    lost.extend(
        gone.into_iter().map(|(task, attempt)| LostTask { run_id: task.to_string(), attempt }),
    );
    Ok(Answer(HeartbeatAnswer {
        ok: true,
        status: workers::status(session.standing().await?),
        heartbeat_seconds: edge.plane.config().heartbeat.as_secs_f64(),
        lost,
        drain: false,
    }))
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

/// The end of an attempt.
pub(super) async fn report(
    AsWorker(session): AsWorker,
    Json { value: said, .. }: Json<Value>,
) -> Result<Answer<ReportAnswer>, Problem> {
    let status = said.get("status");
    if status.is_some_and(|word| !matches!(word.as_str(), Some("completed" | "failed"))) {
        let detail = "status must be completed or failed";
        return Err(Problem::unprocessable("invalid_status", detail));
    }
    let said: Report = typed(said)?;
    let task: TaskId = said.run_id.parse().map_err(|_| Problem::not_found("task"))?;
    let outcome = match said.status {
        fleetward_wire::tasks::ReportStatus::Completed => completed(said.output)?,
        fleetward_wire::tasks::ReportStatus::Failed => failed(said.error),
    };
    conclude(&session, task, said.attempt, said.claim_token, outcome).await
}

/// A report that a task completed.
pub(super) async fn complete(
    AsWorker(session): AsWorker,
    PathId(task): PathId<TaskId>,
    MaybeJson(said): MaybeJson<Complete>,
) -> Result<Answer<ReportAnswer>, Problem> {
    let outcome = completed(said.output)?;
    conclude(&session, task, said.attempt, said.claim_token, outcome).await
}

/// A report that a task failed.
pub(super) async fn fail(
    AsWorker(session): AsWorker,
    PathId(task): PathId<TaskId>,
    MaybeJson(said): MaybeJson<Fail>,
) -> Result<Answer<ReportAnswer>, Problem> {
    conclude(&session, task, said.attempt, said.claim_token, failed(said.error)).await
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

fn claimed(edge: &Edge, session: &Session, offer: Offer) -> (Claimed, plane::Delivery) {
    let claimed = Claimed {
        run_id: offer.task.to_string(),
        org_id: session.org().to_string(),
        project_id: offer.wants.project.clone(),
        pool: offer.wants.pool.clone(),
        model: offer.wants.model.clone(),
        labels: offer.wants.labels.clone(),
        payload: Secret::new(tasks::json(&offer.payload)),
        worker_id: session.worker().to_string(),
        claimed_at: rfc3339(offer.claimed_at),
        attempt: offer.attempt,
        claim_token: offer.claim_token.into(),
        lease_seconds: edge.plane.config().lease.as_secs_f64(),
    };
    (claimed, offer.delivery)
}

fn completed(output: Option<Secret<Value>>) -> Result<Outcome, Problem> {
    let output = output.map_or(Value::Null, Secret::into_exposed);
    stored("output", &output).map(Outcome::Completed)
}

fn failed(error: Option<Secret>) -> Outcome {
    Outcome::Failed(error.map(Secret::into_exposed).unwrap_or_default())
}

async fn conclude(
    session: &Session,
    task: TaskId,
    attempt: Option<u32>,
    token: Option<Secret>,
    outcome: Outcome,
) -> Result<Answer<ReportAnswer>, Problem> {
    let token = token.as_ref().map(|token| token.expose().as_str());
    session.report(task, attempt, token, outcome).await?;
    Ok(Answer(ReportAnswer::ok()))
}
