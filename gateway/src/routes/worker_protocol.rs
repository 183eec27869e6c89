//! What workers call: register, claim, heartbeat, report, hand back.

use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use fleetward_actors::Session;
use fleetward_actors::fleet::worker::Standing;
use fleetward_actors::plane::{Claim, Enrollment, Heartbeat, Offer, Outcome};
use fleetward_wire::tasks::{Claimed, Complete, Fail, HandBack, Report, ReportStatus};
use fleetward_wire::workers::{
    Capabilities, HeartbeatAnswer, LostTask, Register, Registered, WorkerStatus,
};
use fleetward_wire::{Done, Secret, tasks, workers};
use serde_json::Value;

use crate::Edge;
use crate::auth::Worker;
use crate::body::Delivered;
use crate::extract::{Body, BodyOrNone, id};
use crate::problem::{Answer, Failure};
use crate::times::rfc3339;

/// A poll without a time waits this long.
const DEFAULT_POLL_S: f64 = 5.0;
/// Polls that end because the server drains are answered spread over this time, so that their workers do not
/// come back all at once.
const DRAIN_SPREAD: Duration = Duration::from_millis(500);

pub(super) async fn register(
    State(edge): State<Edge>,
    headers: HeaderMap,
    Body(body): Body<Register>,
) -> Answer<Response> {
    let said = headers.get("x-enrollment-key").and_then(|key| key.to_str().ok());
    let in_body = body.enrollment_key.map(Secret::into_exposed);
    let Some(key) = said.map(str::to_owned).or(in_body).filter(|key| !key.is_empty()) else {
        let detail = "send an enrollment key: X-Enrollment-Key or `enrollment_key`";
        return Err(Failure::new(StatusCode::UNAUTHORIZED, "bad_enrollment_key", detail));
    };
    let enrollment = Enrollment {
        name: body.name,
        pool: body.pool,
        models: body.models,
        labels: body.labels,
        max_concurrent: body.max_concurrent,
    };
    let registered = edge.plane.register(&key, enrollment).await?;
    let worker = registered.worker;
    let config = edge.plane.config();
    let answer = Registered {
        worker_id: worker.id.to_string(),
        worker_secret: registered.secret.into(),
        status: status(worker.standing),
        capabilities: Capabilities {
            models: worker.declared_models,
            pool: worker.profile.pool,
            labels: worker.profile.labels,
            max_concurrent: worker.seats,
        },
        heartbeat_seconds: config.heartbeat.as_secs_f64(),
        lease_seconds: config.lease.as_secs_f64(),
    };
    Ok((StatusCode::CREATED, Json(answer)).into_response())
}

pub(super) async fn claim(
    State(edge): State<Edge>,
    Worker(session): Worker,
    BodyOrNone(body): BodyOrNone<tasks::Claim>,
) -> Answer<Response> {
    let seconds = body.poll_timeout.unwrap_or(DEFAULT_POLL_S);
    if !seconds.is_finite() || seconds < 0.0 {
        let detail = "poll_timeout is a number of seconds, 0 or more";
        return Err(Failure::invalid("invalid_poll_timeout", detail));
    }
    let wait = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
    let claim = Claim { wait, request: body.claim_request_id, boot: body.boot_id };
    let offer = tokio::select! {
        biased;
        offer = session.claim(claim) => offer?,
        () = drained(&edge) => None,
    };
    match offer {
        Some(offer) => claimed(&edge, &session, offer),
        None => Ok(StatusCode::NO_CONTENT.into_response()),
    }
}

/// Resolves a little after the server began to drain.
async fn drained(edge: &Edge) {
    edge.draining.cancelled().await;
    edge.plane.clock().sleep(DRAIN_SPREAD.mul_f64(rand::random())).await;
}

fn claimed(edge: &Edge, session: &Session, offer: Offer) -> Answer<Response> {
    let Offer { task, attempt, claim_token, wants, payload, claimed_at, delivery } = offer;
    let payload: Value = serde_json::from_slice(&payload).unwrap_or(Value::Null);
    let answer = Claimed {
        run_id: task.to_string(),
        org_id: session.org().to_string(),
        project_id: wants.project.clone(),
        pool: wants.pool.clone(),
        model: wants.model.clone(),
        labels: wants.labels.clone(),
        payload: payload.into(),
        worker_id: session.worker().to_string(),
        claimed_at: rfc3339(claimed_at),
        attempt,
        claim_token: claim_token.into(),
        lease_seconds: edge.plane.config().lease.as_secs_f64(),
    };
    let bytes = serde_json::to_vec(&answer).expect("a claim has string keys only");
    let body = axum::body::Body::new(Delivered::new(bytes.into(), delivery));
    Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response())
}

pub(super) async fn heartbeat(
    State(edge): State<Edge>,
    Worker(session): Worker,
    BodyOrNone(body): BodyOrNone<workers::Heartbeat>,
) -> Answer<Json<HeartbeatAnswer>> {
    let held = body.tasks.map(|tasks| {
        let named = tasks.into_iter().filter_map(|held| {
            let task = held.run_id.parse().ok()?;
            Some((task, held.attempt, held.claim_token.into_exposed()))
        });
        named.collect()
    });
    let lost = session.heartbeat(Heartbeat { held, boot: body.boot_id }).await?;
    let lost =
        lost.into_iter().map(|(task, attempt)| LostTask { run_id: task.to_string(), attempt });
    Ok(Json(HeartbeatAnswer {
        ok: true,
        status: status(session.standing().await?),
        heartbeat_seconds: edge.plane.config().heartbeat.as_secs_f64(),
        lost: lost.collect(),
        drain: false,
    }))
}

/// The same under the name that the older documents give it. The path must name the worker itself.
pub(super) async fn heartbeat_of(
    state: State<Edge>,
    Path(path): Path<String>,
    worker: Worker,
    body: BodyOrNone<workers::Heartbeat>,
) -> Answer<Json<HeartbeatAnswer>> {
    if path != worker.0.worker().to_string() {
        return Err(Failure::not_found("worker"));
    }
    heartbeat(state, worker, body).await
}

pub(super) async fn report(Worker(session): Worker, Body(body): Body<Value>) -> Answer<Json<Done>> {
    let report = read_report(body)?;
    let outcome = match report.status {
        ReportStatus::Completed => completed(report.output),
        ReportStatus::Failed => failed(report.error),
    };
    accept(&session, &report.run_id, report.attempt, report.claim_token, outcome).await
}

pub(super) async fn complete(
    Worker(session): Worker,
    Path(task): Path<String>,
    BodyOrNone(body): BodyOrNone<Complete>,
) -> Answer<Json<Done>> {
    let outcome = completed(body.output);
    accept(&session, &task, body.attempt, body.claim_token, outcome).await
}

pub(super) async fn fail(
    Worker(session): Worker,
    Path(task): Path<String>,
    BodyOrNone(body): BodyOrNone<Fail>,
) -> Answer<Json<Done>> {
    accept(&session, &task, body.attempt, body.claim_token, failed(body.error)).await
}

pub(super) async fn release(
    Worker(session): Worker,
    Path(task): Path<String>,
    Body(body): Body<HandBack>,
) -> Answer<Json<Done>> {
    let token = body.claim_token.expose();
    session.hand_back(id("task", &task)?, Some(body.attempt), Some(token)).await?;
    Ok(Json(Done::ok()))
}

/// The status is looked at by itself, so that a wrong word has a code of its own.
fn read_report(body: Value) -> Answer<Report> {
    let unprocessable = |code, detail| Failure::new(StatusCode::UNPROCESSABLE_ENTITY, code, detail);
    match body.get("status") {
        None => {}
        Some(Value::String(word)) if word == "completed" || word == "failed" => {}
        Some(_) => {
            return Err(unprocessable("invalid_status", "status is `completed` or `failed`"));
        }
    }
    serde_json::from_value(body)
        .map_err(|_| unprocessable("invalid_body", "the body is not a report"))
}

fn completed(output: Option<Secret<Value>>) -> Outcome {
    let output = output.map_or(Value::Null, Secret::into_exposed);
    Outcome::Completed(output.to_string().into())
}

fn failed(error: Option<Secret>) -> Outcome {
    Outcome::Failed(error.map(Secret::into_exposed).unwrap_or_default())
}

async fn accept(
    session: &Session,
    task: &str,
    attempt: Option<u32>,
    token: Option<Secret>,
    outcome: Outcome,
) -> Answer<Json<Done>> {
    let token = token.map(Secret::into_exposed);
    session.report(id("task", task)?, attempt, token.as_deref(), outcome).await?;
    Ok(Json(Done::ok()))
}

pub(super) fn status(standing: Standing) -> WorkerStatus {
    match standing {
        Standing::Pending => WorkerStatus::Pending,
        Standing::Approved => WorkerStatus::Approved,
        Standing::Rejected => WorkerStatus::Rejected,
        Standing::Revoked => WorkerStatus::Revoked,
    }
}
