//! Between the worker protocol's words and the control plane's: for the routes, and for workers in the same process.

use std::time::Duration;

use bytes::Bytes;
use fleetward_actors::fleet::worker::Standing;
use fleetward_actors::plane::{self, Offer, Outcome, Reported};
use fleetward_actors::{Error, Refusal, Session};
use fleetward_wire::Secret;
use fleetward_wire::tasks::{Claimed, Report, ReportStatus};
use fleetward_wire::workers::{Heartbeat, HeartbeatAnswer, LostTask, WorkerStatus};
use serde_json::Value;

use crate::times::rfc3339;

/// Deepest payload or output. Half of what JSON parsers commonly read, so that answers that
/// contain it are still read.
const DEPTH_MAX: usize = 64;

/// What a claim is answered with.
pub fn claimed(session: &Session, lease: Duration, offer: Offer) -> Claimed {
    let Offer { task, attempt, claim_token, wants, payload, claimed_at } = offer;
    Claimed {
        run_id: task.to_string(),
        org_id: session.org().to_string(),
        project_id: wants.project.clone(),
        pool: wants.pool.clone(),
        model: wants.model.clone(),
        labels: wants.labels.clone(),
        payload: Secret::new(json(&payload)),
        worker_id: session.worker().to_string(),
        claimed_at: rfc3339(claimed_at),
        attempt,
        claim_token: claim_token.into(),
        lease_seconds: lease.as_secs_f64(),
    }
}

/// Passes a sign of life on, and says what it is answered with.
///
/// # Errors
/// As [`Session::heartbeat`].
pub async fn heartbeat(
    session: &Session,
    every: Duration,
    beat: Heartbeat,
) -> Result<HeartbeatAnswer, Error> {
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
    let status = status(session.standing().await?);
    let heartbeat_seconds = every.as_secs_f64();
    Ok(HeartbeatAnswer { ok: true, status, heartbeat_seconds, lost, drain: false })
}

/// The end of an attempt.
///
/// # Errors
/// When it names no task, or its output is too deep.
pub fn reported(report: Report) -> Result<Reported, Refusal> {
    let task = report.run_id.parse().map_err(|_| Refusal::not_found("task"))?;
    let outcome = match report.status {
        ReportStatus::Completed => completed(report.output)?,
        ReportStatus::Failed => failed(report.error),
    };
    let claim_token = report.claim_token.map(Secret::into_exposed);
    Ok(Reported { task, attempt: report.attempt, claim_token, outcome })
}

/// The outcome of a task that has a result.
///
/// # Errors
/// When the result is too deep.
pub fn completed(output: Option<Secret<Value>>) -> Result<Outcome, Refusal> {
    let output = output.map_or(Value::Null, Secret::into_exposed);
    stored("output", &output).map(Outcome::Completed)
}

/// The outcome of a task that has none.
pub fn failed(error: Option<Secret>) -> Outcome {
    Outcome::Failed(error.map(Secret::into_exposed).unwrap_or_default())
}

/// The word on the wire.
pub fn status(standing: Standing) -> WorkerStatus {
    match standing {
        Standing::Pending => WorkerStatus::Pending,
        Standing::Approved => WorkerStatus::Approved,
        Standing::Rejected => WorkerStatus::Rejected,
        Standing::Revoked => WorkerStatus::Revoked,
    }
}

/// A tenant's JSON as it is stored.
///
/// # Errors
/// When `field` is nested deeper than clients can read.
pub fn stored(field: &str, value: &Value) -> Result<Bytes, Refusal> {
    if is_deeper(value, DEPTH_MAX) {
        let detail = format!("{field} is nested deeper than {DEPTH_MAX} levels");
        return Err(Refusal::invalid("too_deep", detail));
    }
    let bytes = serde_json::to_vec(value).expect("a JSON value has string keys only");
    Ok(bytes.into())
}

/// A tenant's bytes as JSON; those of a library user who wrote something else as a string.
pub fn json(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes)
        .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(bytes).into_owned()))
}

fn is_deeper(value: &Value, levels: usize) -> bool {
    match value {
        Value::Array(items) => levels == 0 || items.iter().any(|item| is_deeper(item, levels - 1)),
        Value::Object(members) => {
            levels == 0 || members.values().any(|member| is_deeper(member, levels - 1))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}
