//! Who is suspicious, deaf or mute, as operators see it and take it back.

use axum::Json;
use fleetward_actors::fleet::suspicion::{Suspicion, Thresholds};
use fleetward_actors::fleet::worker::Worker;
use fleetward_actors::id::WorkerId;
use fleetward_wire::suspicions::{self as wire, SuspectList, SuspectView, SuspicionView};
use fleetward_wire::workers::{Decision, StatusAnswer};

use crate::auth::{CanAdminister, InOrg};
use crate::extract::{MaybeJson, PathId};
use crate::problem::Problem;
use crate::times::rfc3339;
use crate::translate::status;

/// Everyone who is.
pub(super) async fn list(InOrg(operator): InOrg) -> Result<Json<SuspectList>, Problem> {
    let workers = operator.suspects().await?.into_iter().map(view).collect();
    Ok(Json(SuspectList { workers }))
}

/// What was seen of a worker means nothing.
pub(super) async fn reset(
    CanAdminister(operator): CanAdminister,
    PathId(id): PathId<WorkerId>,
    MaybeJson(decision): MaybeJson<Decision>,
) -> Result<Json<StatusAnswer>, Problem> {
    let worker = operator.reset_suspicions(id, decision.reason).await?;
    Ok(Json(StatusAnswer { status: status(worker.standing), worker_id: worker.id.to_string() }))
}

fn view(worker: Worker) -> SuspectView {
    SuspectView {
        worker_id: worker.id.to_string(),
        name: worker.name,
        status: status(worker.standing),
        suspicions: views(worker.suspicions),
        deaf_since: worker.deaf_since.map(rfc3339),
        mute_since: worker.mute_since.map(rfc3339),
    }
}

/// The suspicions of one worker.
pub(super) fn views(suspicions: Vec<Suspicion>) -> Vec<SuspicionView> {
    let view = |Suspicion { finding, at }: Suspicion| SuspicionView {
        kind: finding.suspicion.as_str().to_owned(),
        why: finding.why,
        observed: finding.observed,
        limit: finding.limit,
        samples: finding.samples,
        at: rfc3339(at),
    };
    suspicions.into_iter().map(view).collect()
}

/// What an operator asks for; what is absent is the default.
pub(super) fn thresholds(asked: wire::Thresholds) -> Thresholds {
    let default = Thresholds::default();
    Thresholds {
        enabled: asked.enabled.unwrap_or(default.enabled),
        automatic: asked.automatic.unwrap_or(default.automatic),
        missed_heartbeats: asked.missed_heartbeats.unwrap_or(default.missed_heartbeats),
        min_samples: asked.min_samples.unwrap_or(default.min_samples),
        failure_percent: asked.failure_percent.unwrap_or(default.failure_percent),
        spike_factor: asked.spike_factor.unwrap_or(default.spike_factor),
        spike_min_per_minute: asked.spike_min_per_minute.unwrap_or(default.spike_min_per_minute),
        mismatches: asked.mismatches.unwrap_or(default.mismatches),
        deaf_after_seconds: asked.deaf_after_seconds.unwrap_or(default.deaf_after_seconds),
        mute_after_seconds: asked.mute_after_seconds.unwrap_or(default.mute_after_seconds),
        dead_letters: asked.dead_letters.unwrap_or(default.dead_letters),
    }
}

/// The thresholds in force.
pub(super) fn thresholds_view(now: &Thresholds) -> wire::Thresholds {
    wire::Thresholds {
        enabled: Some(now.enabled),
        automatic: Some(now.automatic),
        missed_heartbeats: Some(now.missed_heartbeats),
        min_samples: Some(now.min_samples),
        failure_percent: Some(now.failure_percent),
        spike_factor: Some(now.spike_factor),
        spike_min_per_minute: Some(now.spike_min_per_minute),
        mismatches: Some(now.mismatches),
        deaf_after_seconds: Some(now.deaf_after_seconds),
        mute_after_seconds: Some(now.mute_after_seconds),
        dead_letters: Some(now.dead_letters),
    }
}
