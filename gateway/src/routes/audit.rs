//! The record of what happened.

use axum::Json;
use fleetward_actors::plane::{AuditEntry, AuditQuery};
use fleetward_wire::audit::{self, AuditEvent, AuditList};

use crate::auth::Inside;
use crate::extract::{Query, id};
use crate::problem::{Answer, Failure};
use crate::times::{micros, rfc3339};

/// Events in a page, unless the caller says otherwise.
const PAGE: u32 = 50;

pub(super) async fn list(
    Inside(operator): Inside,
    Query(query): Query<audit::AuditQuery>,
) -> Answer<Json<AuditList>> {
    let since = query.since.map(|text| {
        micros(&text).ok_or_else(|| {
            Failure::invalid("invalid_since", "since is a time like 2026-01-31T12:00:00Z")
        })
    });
    let query = AuditQuery {
        kind: query.r#type,
        worker: query.worker_id.map(|worker| id("worker", &worker)).transpose()?,
        since: since.transpose()?,
        before: None,
        limit: query.limit.unwrap_or(PAGE) as usize,
    };
    let events: Vec<_> = operator.audit(&query).await?.into_iter().map(event).collect();
    let total = events.len() as u64;
    Ok(Json(AuditList { events, total }))
}

fn event(entry: AuditEntry) -> AuditEvent {
    let named = entry.body.get("worker").and_then(|worker| worker.as_str()).map(str::to_owned);
    let itself = (entry.subject_kind == "worker").then(|| entry.subject.clone());
    let mut details = entry.body;
    if let Some(fields) = details.as_object_mut() {
        // Hashes of secrets are no secret, and nobody's business.
        fields.remove("secret_hash");
        fields.remove("hash");
        fields.insert("subject".to_owned(), entry.subject.into());
    }
    AuditEvent {
        position: entry.seq,
        r#type: entry.kind,
        at: rfc3339(entry.at),
        by: entry.by,
        worker_id: itself.or(named),
        details,
        hash: Some(entry.hash),
    }
}
