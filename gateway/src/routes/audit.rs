//! The record of what happened, in an organisation and in the system.

use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::{FromRequestParts, State};
use axum::http::header::{CONTENT_TYPE, HeaderValue};
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use fleetward_actors::Error;
use fleetward_actors::id::{TaskId, WorkerId};
use fleetward_actors::plane::{
    AuditEntry, AuditQuery, AuditSpan, AuditTrail, Content, Export, Start, Unsealed,
};
use fleetward_actors::seal::Sealed;
use fleetward_actors::system::signer::{self, FormerKey, PublicKey};
use fleetward_wire::audit::{
    AuditEvent, AuditHead, AuditKey, AuditList, AuditQuery as Asked, ExportOpening, FormerAuditKey,
    SealedPart, UnsealedEvent, UnsealedList, UnsealedQuery,
};
use futures_util::stream;
use serde::Deserialize;

use crate::auth::{AskingSystem, CanAdminister, InOrg};
use crate::edge::Edge;
use crate::extract::{Params, page};
use crate::problem::Problem;
use crate::routes::worker_protocol::wait;
use crate::times::{micros, rfc3339};
use crate::translate::{exported, signed_head};

/// The record that a caller may see: of its organisation.
pub(super) struct OfOrg(AuditTrail);

/// The record of the system.
pub(super) struct OfSystem(AuditTrail);

impl FromRequestParts<Edge> for OfOrg {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, edge: &Edge) -> Result<Self, Problem> {
        let InOrg(operator) = InOrg::from_request_parts(parts, edge).await?;
        Ok(Self(operator.audit_trail().await?))
    }
}

impl FromRequestParts<Edge> for OfSystem {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, edge: &Edge) -> Result<Self, Problem> {
        let AskingSystem(asking) = AskingSystem::from_request_parts(parts, edge).await?;
        Ok(Self(edge.plane.system_trail(&asking.caller)?))
    }
}

/// A page of the record.
pub(super) async fn list(
    State(edge): State<Edge>,
    OfOrg(trail): OfOrg,
    Params(asked): Params<Asked>,
) -> Result<Json<AuditList>, Problem> {
    shown(&edge, &trail, asked).await
}

/// A page of the record of the system.
pub(super) async fn list_of_system(
    State(edge): State<Edge>,
    OfSystem(trail): OfSystem,
    Params(asked): Params<Asked>,
) -> Result<Json<AuditList>, Problem> {
    shown(&edge, &trail, asked).await
}

/// What the record is now, signed.
pub(super) async fn head(OfOrg(trail): OfOrg) -> Result<Json<AuditHead>, Problem> {
    Ok(Json(signed_head(&trail.head().await?)))
}

/// What the record of the system is now, signed.
pub(super) async fn head_of_system(OfSystem(trail): OfSystem) -> Result<Json<AuditHead>, Problem> {
    Ok(Json(signed_head(&trail.head().await?)))
}

/// What heads are signed with.
pub(super) async fn key(OfOrg(trail): OfOrg) -> Result<Json<AuditKey>, Problem> {
    audit_key(trail.keys().await?)
}

/// Lets another key sign heads.
pub(super) async fn rotate_key(
    State(edge): State<Edge>,
    AskingSystem(asking): AskingSystem,
) -> Result<Json<AuditKey>, Problem> {
    audit_key(edge.plane.rotate_audit_key(&asking.caller).await?)
}

fn audit_key(known: signer::AuditKey) -> Result<Json<AuditKey>, Problem> {
    let read = |text: &str| {
        text.parse::<PublicKey>().map_err(|error| Error::Unavailable(error.to_string()))
    };
    let former = |former: FormerKey| {
        let key = read(&former.public_key)?;
        let (id, public_key, pem) = (key.id(), key.to_base64(), key.to_pem());
        Ok::<_, Error>(FormerAuditKey { id, public_key, pem, until: rfc3339(former.until) })
    };
    let key = read(&known.public_key)?;
    Ok(Json(AuditKey {
        id: key.id(),
        algorithm: "Ed25519".to_owned(),
        public_key: key.to_base64(),
        pem: key.to_pem(),
        former: known.former.into_iter().map(former).collect::<Result<_, _>>()?,
    }))
}

/// Which stretch of the record is wanted.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Stretch {
    after: u64,
    until: Option<u64>,
}

/// A stretch of the record as it is stored, a line for each event.
pub(super) async fn export(
    CanAdminister(operator): CanAdminister,
    Params(Stretch { after, until }): Params<Stretch>,
) -> Result<Response, Problem> {
    lines(operator.audit_trail().await?.export(after, until).await?)
}

/// The same of the system.
pub(super) async fn export_of_system(
    OfSystem(trail): OfSystem,
    Params(Stretch { after, until }): Params<Stretch>,
) -> Result<Response, Problem> {
    lines(trail.export(after, until).await?)
}

/// A stretch of the record with what is sealed beside it. That it was asked for is on the record before it is answered.
pub(super) async fn unsealed(
    CanAdminister(operator): CanAdminister,
    Params(UnsealedQuery { after, limit }): Params<UnsealedQuery>,
) -> Result<Json<UnsealedList>, Problem> {
    let found = operator.unsealed(after, page(limit)?).await?;
    let events = found.events.into_iter().map(opened).collect();
    Ok(Json(UnsealedList { events, next: found.next }))
}

fn opened(Unsealed { stored, content }: Unsealed) -> UnsealedEvent {
    let part = |bytes| {
        let sealed = Sealed::from_bytes(bytes);
        let (text, unreadable) = match content {
            Content::Nothing | Content::Secret => (None, None),
            Content::Open(content) => match String::from_utf8(content.into()) {
                Ok(text) => (Some(text.into()), None),
                Err(_) => (None, Some("it is no text".to_owned())),
            },
            Content::Unreadable(error) => (None, Some(error.to_string())),
        };
        SealedPart { bytes: sealed.len() as u64, key: sealed.key().ok(), text, unreadable }
    };
    UnsealedEvent { event: exported(&stored), sealed: stored.event.sealed.clone().map(part) }
}

/// An answer that reads a page when the one before was taken. If the journal cannot be read any more it breaks off.
fn lines(export: Export) -> Result<Response, Problem> {
    let head = signed_head(export.head());
    let opening = line(&ExportOpening { fleetward_audit_export: 1, head });
    let pages = stream::try_unfold((Some(opening), export), async |(opening, mut export)| {
        if let Some(opening) = opening {
            return Ok(Some((opening, (None, export))));
        }
        let page = export.next_page().await.map_err(|error| {
            tracing::warn!(%error, "an export breaks off");
            error
        })?;
        let text = page.iter().flat_map(|stored| line(&exported(stored))).collect::<Vec<u8>>();
        Ok::<_, fleetward_actors::Error>((!page.is_empty()).then_some((text, (None, export))))
    });
    let json = HeaderValue::from_static("application/x-ndjson");
    Ok(([(CONTENT_TYPE, json)], Body::from_stream(pages)).into_response())
}

fn line(value: &impl serde::Serialize) -> Vec<u8> {
    let mut text = serde_json::to_vec(value).expect("lines have string keys only");
    text.push(b'\n');
    text
}

async fn shown(edge: &Edge, trail: &AuditTrail, asked: Asked) -> Result<Json<AuditList>, Problem> {
    let longest = wait("invalid_wait", asked.wait, Duration::ZERO)?;
    let query = query(asked)?;
    let page = tokio::select! {
        biased;
        page = trail.tail(&query, longest) => page?,
        () = edge.dismissed() => trail.page(&query).await?,
    };
    let events: Vec<_> = page.entries.into_iter().map(event).collect();
    Ok(Json(AuditList { total: events.len() as u64, events, next: page.next }))
}

fn query(asked: Asked) -> Result<AuditQuery, Problem> {
    let start = match (asked.before, asked.after) {
        (None, None) => Start::Newest,
        (Some(before), None) => Start::Before(before),
        (None, Some(after)) => Start::After(after),
        (Some(_), Some(_)) => {
            let detail = "give before, to go back, or after, to go forward";
            return Err(Problem::bad_request("invalid_position", detail));
        }
    };
    let kinds = asked.r#type.unwrap_or_default();
    let kinds: Vec<String> =
        kinds.split(',').map(str::trim).filter(|kind| !kind.is_empty()).map(Into::into).collect();
    if kinds.len() > fleetward_actors::plane::KINDS_MAX {
        return Err(Problem::bad_request("too_many", "that are too many types in one question"));
    }
    Ok(AuditQuery {
        kinds,
        worker: asked.worker_id.as_deref().map(worker).transpose()?,
        task: asked.run_id.as_deref().map(task).transpose()?,
        by: asked.by,
        request: asked.request_id,
        span: AuditSpan {
            since: asked.since.as_deref().map(|text| time("since", text)).transpose()?,
            until: asked.until.as_deref().map(|text| time("until", text)).transpose()?,
        },
        start,
        limit: page(asked.limit)?,
    })
}

fn time(name: &'static str, text: &str) -> Result<i64, Problem> {
    let code = if name == "since" { "invalid_since" } else { "invalid_until" };
    let detail = format!("{name} must be a time of RFC 3339");
    micros(text).ok_or_else(|| Problem::bad_request(code, detail))
}

fn worker(text: &str) -> Result<WorkerId, Problem> {
    text.parse().map_err(|_| Problem::not_found("worker"))
}

fn task(text: &str) -> Result<TaskId, Problem> {
    text.parse().map_err(|_| Problem::not_found("task"))
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
