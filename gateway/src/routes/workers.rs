//! Workers as operators see them and decide about them.

use axum::Json;
use axum::extract::Path;
use fleetward_actors::Operator;
use fleetward_actors::fleet::registry::rules::Verdict;
use fleetward_actors::fleet::worker::{Standing, Worker};
use fleetward_wire::workers::{
    CapabilitiesView, Decision, StatusAnswer, WorkerDetail, WorkerList, WorkerView,
};
use serde::Deserialize;

use super::worker_protocol::status;
use crate::auth::Inside;
use crate::extract::{BodyOrNone, Query, id};
use crate::problem::{Answer, Failure};
use crate::times::rfc3339;

/// Workers in a page, unless the caller says otherwise.
const PAGE: usize = 200;

#[derive(Deserialize)]
pub(super) struct Page {
    status: Option<String>,
    limit: Option<usize>,
}

pub(super) async fn list(
    Inside(operator): Inside,
    Query(page): Query<Page>,
) -> Answer<Json<WorkerList>> {
    let words = ["pending", "approved", "rejected", "revoked"];
    if page.status.as_deref().is_some_and(|status| !words.contains(&status)) {
        let detail = format!("status is one of {words:?}");
        return Err(Failure::invalid("invalid_status", detail));
    }
    let limit = page.limit.unwrap_or(PAGE);
    let found = operator.workers(page.status.as_deref(), None, limit).await?;
    let workers = found.into_iter().map(|(worker, seen)| view(&operator, worker, seen)).collect();
    Ok(Json(WorkerList { workers, total: operator.count_workers().await? }))
}

pub(super) async fn get(
    Inside(operator): Inside,
    Path(worker): Path<String>,
) -> Answer<Json<WorkerDetail>> {
    let (worker, seen) = operator.worker(id("worker", &worker)?).await?;
    Ok(Json(WorkerDetail {
        id: worker.id.to_string(),
        name: worker.name,
        project_id: worker.profile.project,
        status: status(worker.standing),
        pool: worker.profile.pool,
        models: worker.declared_models,
        labels: worker.profile.labels,
        max_concurrent: worker.seats,
        last_heartbeat: seen.map(rfc3339),
        registered_at: rfc3339(worker.registered_at),
    }))
}

pub(super) async fn approve(
    inside: Inside,
    worker: Path<String>,
    body: BodyOrNone<Decision>,
) -> Answer<Json<StatusAnswer>> {
    decide(inside, worker, body, Verdict::Approve).await
}

pub(super) async fn reject(
    inside: Inside,
    worker: Path<String>,
    body: BodyOrNone<Decision>,
) -> Answer<Json<StatusAnswer>> {
    decide(inside, worker, body, Verdict::Reject).await
}

pub(super) async fn revoke(
    inside: Inside,
    worker: Path<String>,
    body: BodyOrNone<Decision>,
) -> Answer<Json<StatusAnswer>> {
    decide(inside, worker, body, Verdict::Revoke).await
}

async fn decide(
    Inside(operator): Inside,
    Path(worker): Path<String>,
    BodyOrNone(body): BodyOrNone<Decision>,
    verdict: Verdict,
) -> Answer<Json<StatusAnswer>> {
    let worker = operator.decide(id("worker", &worker)?, verdict, body.reason).await?;
    let status = status(worker.standing);
    Ok(Json(StatusAnswer { status, worker_id: worker.id.to_string() }))
}

fn view(operator: &Operator, worker: Worker, seen: Option<i64>) -> WorkerView {
    let approved = worker.standing == Standing::Approved;
    let decided_at = worker.decided_at.filter(|_| approved);
    WorkerView {
        id: worker.id.to_string(),
        name: worker.name,
        org_id: operator.org().id.to_string(),
        project_id: worker.profile.project,
        capabilities: CapabilitiesView {
            models_supported: worker.declared_models,
            models_canonical: worker.profile.models.into_iter().collect(),
            max_concurrent: worker.seats,
            labels: worker.profile.labels,
            pool: worker.profile.pool,
            sdk_version: None,
        },
        approval_status: status(worker.standing),
        last_heartbeat: seen.map(rfc3339),
        last_probe_at: None,
        probe_status: None,
        registered_at: rfc3339(worker.registered_at),
        approved_at: decided_at.map(rfc3339),
        approved_by: worker.decided_by.filter(|_| approved),
        reason: worker.reason,
    }
}
