//! Workers as operators see them, and what operators decide about them.

use axum::Json;
use axum::extract::State;
use fleetward_actors::Operator;
use fleetward_actors::fleet::presence::Seen;
use fleetward_actors::fleet::probes::Endpoint;
use fleetward_actors::fleet::registry::rules::Verdict;
use fleetward_actors::fleet::worker::{Standing, Worker};
use fleetward_actors::id::WorkerId;
use fleetward_actors::plane::ModelsSeen;
use fleetward_wire::workers::{
    CapabilitiesView, Decision, EndpointKind, EndpointSeen, StatusAnswer, WorkerDetail, WorkerList,
    WorkerProof, WorkerView,
};
use serde::Deserialize;

use super::suspicions;
use crate::auth::{CanAdminister, InOrg};
use crate::edge::Edge;
use crate::extract::{MaybeJson, Params, PathId, page};
use crate::problem::Problem;
use crate::times::rfc3339;
use crate::translate::status;

/// Query of a list.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ListQuery {
    pub(super) status: Option<String>,
    pub(super) limit: Option<u32>,
    /// The `next` of the page before.
    pub(super) before: Option<u64>,
}

/// The newest workers.
pub(super) async fn list(
    State(edge): State<Edge>,
    InOrg(operator): InOrg,
    Params(query): Params<ListQuery>,
) -> Result<Json<WorkerList>, Problem> {
    let status = query.status.as_deref();
    if status.is_some_and(|word| !is_standing(word)) {
        let detail = "status must be pending, approved, quarantined, locked, rejected or revoked";
        return Err(Problem::unprocessable("invalid_status", detail));
    }
    // Older clients name no limit and mean all of them.
    let limit = page(query.limit.or(Some(200)))?;
    let workers = operator.workers(status, query.before, limit).await?;
    let total = operator.count_workers().await?;
    let more = workers.len() == limit;
    let next = workers.last().filter(|_| more).map(|(worker, _)| worker.created);
    let now = edge.plane.clock().wall_us();
    let mut views = Vec::with_capacity(workers.len());
    for (worker, seen) in workers {
        let models = operator.models_seen(&worker).await?;
        views.push(view(&operator, worker, Ages::of(seen, now), models));
    }
    Ok(Json(WorkerList { workers: views, total, next }))
}

/// One worker.
pub(super) async fn get(
    State(edge): State<Edge>,
    InOrg(operator): InOrg,
    PathId(id): PathId<WorkerId>,
) -> Result<Json<WorkerDetail>, Problem> {
    let (worker, seen) = operator.worker(id).await?;
    let models = operator.models_seen(&worker).await?;
    let [tasks_completed, tasks_failed] = operator.own_counts(id).await?;
    let ages = Ages::of(seen, edge.plane.clock().wall_us());
    let proof = proof(&worker);
    Ok(Json(WorkerDetail {
        id: worker.id.to_string(),
        name: worker.name,
        project_id: worker.profile.project,
        status: status(worker.standing),
        pool: worker.profile.pool,
        models: worker.declared_models,
        labels: worker.profile.labels,
        max_concurrent: worker.seats,
        last_heartbeat: ages.last_heartbeat,
        heartbeat_age_seconds: ages.heartbeat,
        last_poll: ages.last_poll,
        poll_age_seconds: ages.poll,
        left_at: ages.left_at,
        registered_at: rfc3339(worker.registered_at),
        paused: worker.paused,
        suspicions: suspicions::views(worker.suspicions),
        deaf_since: worker.deaf_since.map(rfc3339),
        mute_since: worker.mute_since.map(rfc3339),
        tasks_completed,
        tasks_failed,
        last_probe_at: models.as_ref().map(|models| rfc3339(models.seen.at)),
        probe_status: models.as_ref().map(|models| models.status.to_owned()),
        probes: models.iter().flat_map(|models| &models.seen.endpoints).map(endpoint).collect(),
        models_gone: models.into_iter().flat_map(|models| models.gone).collect(),
        certificate: worker.certificate,
        reason: worker.reason,
        proof,
    }))
}

/// Lets a worker work.
pub(super) async fn approve(
    CanAdminister(operator): CanAdminister,
    PathId(id): PathId<WorkerId>,
    MaybeJson(decision): MaybeJson<Decision>,
) -> Result<Json<StatusAnswer>, Problem> {
    decide(&operator, id, Verdict::Approve, decision).await
}

/// Never lets it in.
pub(super) async fn reject(
    CanAdminister(operator): CanAdminister,
    PathId(id): PathId<WorkerId>,
    MaybeJson(decision): MaybeJson<Decision>,
) -> Result<Json<StatusAnswer>, Problem> {
    decide(&operator, id, Verdict::Reject, decision).await
}

/// Throws it out.
pub(super) async fn revoke(
    CanAdminister(operator): CanAdminister,
    PathId(id): PathId<WorkerId>,
    MaybeJson(decision): MaybeJson<Decision>,
) -> Result<Json<StatusAnswer>, Problem> {
    decide(&operator, id, Verdict::Revoke, decision).await
}

/// Gives it no new tasks until somebody approves it again, or revokes it.
pub(super) async fn quarantine(
    CanAdminister(operator): CanAdminister,
    PathId(id): PathId<WorkerId>,
    MaybeJson(decision): MaybeJson<Decision>,
) -> Result<Json<StatusAnswer>, Problem> {
    decide(&operator, id, Verdict::Quarantine, decision).await
}

/// Gives it no new tasks.
pub(super) async fn pause(
    CanAdminister(operator): CanAdminister,
    PathId(id): PathId<WorkerId>,
    MaybeJson(decision): MaybeJson<Decision>,
) -> Result<Json<StatusAnswer>, Problem> {
    decide(&operator, id, Verdict::Pause, decision).await
}

/// Gives it tasks again.
pub(super) async fn resume(
    CanAdminister(operator): CanAdminister,
    PathId(id): PathId<WorkerId>,
    MaybeJson(decision): MaybeJson<Decision>,
) -> Result<Json<StatusAnswer>, Problem> {
    decide(&operator, id, Verdict::Resume, decision).await
}

/// Takes back that it was locked.
pub(super) async fn unlock(
    CanAdminister(operator): CanAdminister,
    PathId(id): PathId<WorkerId>,
    MaybeJson(decision): MaybeJson<Decision>,
) -> Result<Json<StatusAnswer>, Problem> {
    decide(&operator, id, Verdict::Unlock, decision).await
}

async fn decide(
    operator: &Operator,
    id: WorkerId,
    verdict: Verdict,
    decision: Decision,
) -> Result<Json<StatusAnswer>, Problem> {
    let worker = operator.decide(id, verdict, decision.reason).await?;
    Ok(Json(StatusAnswer { status: status(worker.standing), worker_id: worker.id.to_string() }))
}

fn is_standing(word: &str) -> bool {
    let all = [
        Standing::Pending,
        Standing::Approved,
        Standing::Quarantined,
        Standing::Locked,
        Standing::Rejected,
        Standing::Revoked,
    ];
    all.iter().any(|standing| standing.as_str() == word)
}

/// How long ago a worker was heard of, on the clock of the server.
struct Ages {
    last_heartbeat: Option<String>,
    heartbeat: Option<f64>,
    last_poll: Option<String>,
    poll: Option<f64>,
    left_at: Option<String>,
}

impl Ages {
    fn of(seen: Seen, now: i64) -> Self {
        let age = |at: i64| now.saturating_sub(at).max(0) as f64 / 1e6;
        Self {
            last_heartbeat: seen.heartbeat.map(rfc3339),
            heartbeat: seen.heartbeat.map(age),
            last_poll: seen.poll.map(rfc3339),
            poll: seen.poll.map(age),
            left_at: seen.left.map(rfc3339),
        }
    }
}

/// Without its models: there may be hundreds.
fn endpoint(seen: &Endpoint) -> EndpointSeen {
    EndpointSeen {
        kind: match seen.kind {
            "ollama" => EndpointKind::Ollama,
            "openai" => EndpointKind::OpenAi,
            _ => EndpointKind::Other,
        },
        endpoint: seen.name.clone(),
        available: seen.available,
        latency_ms: seen.latency_ms,
        models: Vec::new(),
        error: seen.error.clone(),
    }
}

fn view(operator: &Operator, worker: Worker, ages: Ages, models: Option<ModelsSeen>) -> WorkerView {
    let approved = worker.standing == Standing::Approved;
    let proof = proof(&worker);
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
        last_heartbeat: ages.last_heartbeat,
        heartbeat_age_seconds: ages.heartbeat,
        last_poll: ages.last_poll,
        poll_age_seconds: ages.poll,
        left_at: ages.left_at,
        last_probe_at: models.as_ref().map(|models| rfc3339(models.seen.at)),
        probe_status: models.map(|models| models.status.to_owned()),
        registered_at: rfc3339(worker.registered_at),
        approved_at: worker.decided_at.filter(|_| approved).map(rfc3339),
        approved_by: worker.decided_by.filter(|_| approved),
        reason: worker.reason,
        paused: worker.paused,
        suspicions: suspicions::views(worker.suspicions),
        deaf_since: worker.deaf_since.map(rfc3339),
        mute_since: worker.mute_since.map(rfc3339),
        certificate: worker.certificate,
        proof,
    }
}

/// What an approver compares before deciding.
fn proof(worker: &Worker) -> WorkerProof {
    WorkerProof {
        fingerprint: worker.public_key.map(|key| key.fingerprint()),
        enrollment_key_id: Some(worker.key.to_string()),
        enrollment_key_name: worker.key_name.clone(),
        token_generation: worker.tokens.generation,
    }
}
