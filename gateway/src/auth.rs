//! Who asks: operators by bearer token, workers by id and secret. Proved before anything of the body is read.

use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;
use fleetward_actors::plane::Caller;
use fleetward_actors::{Operator, Session};

use crate::Edge;
use crate::problem::{Answer, Failure};

/// Names the organisation that a system token means; by default the one named `default`.
const ORG: &str = "x-fleetward-org";

/// Somebody with a good token.
pub(crate) struct Known(pub(crate) Caller);

/// Somebody with a good token, inside one organisation.
pub(crate) struct Inside(pub(crate) Operator);

/// A worker with a good id and secret.
pub(crate) struct Worker(pub(crate) Session);

impl FromRequestParts<Edge> for Known {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, edge: &Edge) -> Answer<Self> {
        let bearer = header(parts, "authorization").and_then(|value| {
            let (scheme, token) = value.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
        });
        let token = bearer.ok_or_else(|| {
            let detail = "send an operator's token: `Authorization: Bearer TOKEN`";
            Failure::new(StatusCode::UNAUTHORIZED, "no_token", detail)
        })?;
        Ok(Self(edge.plane.authenticate(token)?))
    }
}

impl FromRequestParts<Edge> for Inside {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, edge: &Edge) -> Answer<Self> {
        let Known(caller) = Known::from_request_parts(parts, edge).await?;
        let org = asked_org(parts)?;
        Ok(Self(edge.plane.operator(&caller, org).await?))
    }
}

impl FromRequestParts<Edge> for Worker {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, edge: &Edge) -> Answer<Self> {
        let (id, secret) = (header(parts, "x-worker-id"), header(parts, "x-worker-secret"));
        let (Some(id), Some(secret)) = (id, secret) else {
            let detail = "send the worker's id and secret: X-Worker-Id and X-Worker-Secret";
            return Err(Failure::new(StatusCode::UNAUTHORIZED, "no_worker_credentials", detail));
        };
        Ok(Self(edge.plane.session(id, secret).await?))
    }
}

/// The organisation that the caller asks for, if any.
pub(crate) fn asked_org(parts: &Parts) -> Answer<Option<fleetward_actors::id::OrgId>> {
    match header(parts, ORG) {
        None => Ok(None),
        Some(text) => text.parse().map(Some).map_err(|_| Failure::not_found("organisation")),
    }
}

pub(crate) fn header<'a>(parts: &'a Parts, name: &str) -> Option<&'a str> {
    parts.headers.get(name)?.to_str().ok()
}
