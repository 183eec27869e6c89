//! The record of what happened in an organisation.

use axum::Json;
use fleetward_actors::id::WorkerId;
use fleetward_actors::plane::{AuditEntry, AuditQuery};
use fleetward_wire::audit::{AuditEvent, AuditList, AuditQuery as Asked};

use crate::auth::InOrg;
use crate::extract::{Params, page};
use crate::problem::Problem;
use crate::times::{micros, rfc3339};

/// The newest events that fit.
pub(super) async fn list(
    InOrg(operator): InOrg,
    Params(asked): Params<Asked>,
) -> Result<Json<AuditList>, Problem> {
    let since = asked.since.as_deref().map(since).transpose()?;
    let worker = asked.worker_id.as_deref().map(worker).transpose()?;
    let query = AuditQuery {
        kind: asked.r#type,
        worker,
        since,
        before: asked.before,
        limit: page(asked.limit)?,
    };
    let events: Vec<_> = operator.audit(&query).await?.into_iter().map(event).collect();
    Ok(Json(AuditList { total: events.len() as u64, events }))
}

fn since(text: &str) -> Result<i64, Problem> {
    micros(text)
        .ok_or_else(|| Problem::bad_request("invalid_since", "since must be a time of RFC 3339"))
}

fn worker(text: &str) -> Result<WorkerId, Problem> {
    text.parse().map_err(|_| Problem::not_found("worker"))
}

/// An event, as the record shows it.
pub(super) fn event(entry: AuditEntry) -> AuditEvent {
    let named = entry.body.get("worker").and_then(|worker| worker.as_str()).map(str::to_owned);
    let worker_id = (entry.subject_kind == "worker").then(|| entry.subject.clone()).or(named);
    let mut details = entry.body;
    if let Some(fields) = details.as_object_mut() {
        // Hashes of credentials are no secret, and nobody's business.
        fields.remove("secret_hash");
        fields.remove("hash");
    }
    AuditEvent {
        position: entry.seq,
        r#type: entry.kind,
        at: rfc3339(entry.at),
        by: entry.by,
        request_id: entry.origin.as_ref().map(|origin| origin.request.to_string()),
        source: entry.origin.and_then(|origin| Some(origin.source?.to_string())),
        worker_id,
        subject_kind: entry.subject_kind,
        subject: entry.subject,
        details,
        hash: Some(entry.hash),
    }
}
