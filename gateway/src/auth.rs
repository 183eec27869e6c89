//! Who asks: operators by bearer token, workers by task token or by id and secret. Proved, and checked against what the route needs,
//! before a body is read; the control plane checks again.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use fleetward_actors::id::OrgId;
use fleetward_actors::plane::Caller;
use fleetward_actors::system::org::Role;
use fleetward_actors::{Error, Operator, Origin, Refusal, Session};

use crate::edge::Edge;
use crate::problem::Problem;
use crate::socket::Wire;
use crate::trail::{origin, proved};

/// Which organisation a system token means: its id, or its name.
const ORG_HEADER: &str = "x-fleetward-org";
const WORKER_ID: &str = "x-worker-id";
const WORKER_SECRET: &str = "x-worker-secret";

/// A caller with a good token, and the organisation it asked for.
pub(crate) struct Asking {
    pub(crate) caller: Caller,
    pub(crate) org: Option<OrgId>,
}

/// A caller inside one organisation.
pub(crate) struct InOrg(pub(crate) Operator);

/// The same, who may change what happens to tasks.
pub(crate) struct CanOperate(pub(crate) Operator);

/// The same, who may change everything in the organisation.
pub(crate) struct CanAdminister(pub(crate) Operator);

/// A caller who may change tokens, of the organisation it asked for or of the system.
pub(crate) struct AskingAdmin(pub(crate) Asking);

/// A caller who may change the system.
pub(crate) struct AskingSystem(pub(crate) Asking);

/// What the events that a request causes say of it, for callers that prove nothing.
pub(crate) struct AskedBy(pub(crate) Option<Arc<Origin>>);

/// A worker.
pub(crate) struct AsWorker(pub(crate) Session);

/// The identity of the client's certificate, where it showed one.
pub(crate) struct ShownCertificate(pub(crate) Option<Arc<str>>);

impl FromRequestParts<Edge> for Asking {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, edge: &Edge) -> Result<Self, Problem> {
        let caller = edge.plane.authenticate(bearer(&parts.headers)?)?;
        let caller = caller.by_request(origin(parts));
        if let Some(cell) = edge.plane.cell_of(&caller) {
            proved(parts, cell);
        }
        edge.plane.sign_in(&caller);
        let org = match text(&parts.headers, ORG_HEADER)? {
            Some(org) => Some(asked_for(edge, &caller, org)?),
            None => None,
        };
        Ok(Self { caller, org })
    }
}

impl FromRequestParts<Edge> for InOrg {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, edge: &Edge) -> Result<Self, Problem> {
        let Asking { caller, org } = Asking::from_request_parts(parts, edge).await?;
        let operator = edge.plane.operator(&caller, org).await?;
        proved(parts, operator.org().cell());
        Ok(Self(operator))
    }
}

impl FromRequestParts<Edge> for CanOperate {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, edge: &Edge) -> Result<Self, Problem> {
        in_org(parts, edge, Role::Operator).await.map(Self)
    }
}

impl FromRequestParts<Edge> for CanAdminister {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, edge: &Edge) -> Result<Self, Problem> {
        in_org(parts, edge, Role::Admin).await.map(Self)
    }
}

impl FromRequestParts<Edge> for AskingAdmin {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, edge: &Edge) -> Result<Self, Problem> {
        asking(parts, edge, Role::Admin).await.map(Self)
    }
}

impl FromRequestParts<Edge> for AskingSystem {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, edge: &Edge) -> Result<Self, Problem> {
        asking(parts, edge, Role::System).await.map(Self)
    }
}

impl FromRequestParts<Edge> for AsWorker {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, edge: &Edge) -> Result<Self, Problem> {
        if let Some(token) = task_token(&parts.headers) {
            return Ok(Self(
                edge.plane.session_by_token(token, origin(parts), certificate(parts)).await?,
            ));
        }
        let given = |name| parts.headers.get(name).and_then(|value| value.to_str().ok());
        let (Some(worker), Some(secret)) = (given(WORKER_ID), given(WORKER_SECRET)) else {
            let detail = "send a task token as `Authorization: Bearer TOKEN`, or the headers X-Worker-Id \
                          and X-Worker-Secret as registering answered them";
            return Err(Problem::unauthenticated("missing_credentials", detail));
        };
        let session = match edge.plane.session_over(worker, secret, certificate(parts)).await {
            Ok(session) => session,
            Err(error) => {
                // Whoever is told of a standing has proved whose it is.
                if let Error::Refused(Refusal { standing: Some(_), .. }) = &error
                    && let Some(cell) = edge.plane.cell_of_secret(secret)
                {
                    proved(parts, cell);
                }
                return Err(error.into());
            }
        };
        proved(parts, session.cell_number());
        Ok(Self(session.by_request(origin(parts))))
    }
}

impl FromRequestParts<Edge> for AskedBy {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &Edge) -> Result<Self, Infallible> {
        Ok(Self(origin(parts)))
    }
}

impl FromRequestParts<Edge> for ShownCertificate {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &Edge) -> Result<Self, Infallible> {
        Ok(Self(certificate(parts)))
    }
}

/// The identity of the client certificate that the request's connection began with.
fn certificate(parts: &Parts) -> Option<Arc<str>> {
    let peer = parts.extensions.get::<Arc<Wire>>()?.guest.as_ref()?;
    Some(peer.identity.clone())
}

async fn in_org(parts: &mut Parts, edge: &Edge, needed: Role) -> Result<Operator, Problem> {
    let InOrg(operator) = InOrg::from_request_parts(parts, edge).await?;
    operator.may(needed)?;
    Ok(operator)
}

async fn asking(parts: &mut Parts, edge: &Edge, needed: Role) -> Result<Asking, Problem> {
    let asking = Asking::from_request_parts(parts, edge).await?;
    asking.caller.role.may(needed)?;
    Ok(asking)
}

/// A header that is text; one that is not is refused rather than ignored.
pub(crate) fn text<'a>(
    headers: &'a HeaderMap,
    name: &'static str,
) -> Result<Option<&'a str>, Problem> {
    let Some(value) = headers.get(name) else { return Ok(None) };
    let text = std::str::from_utf8(value.as_bytes());
    text.map(Some)
        .map_err(|_| Problem::bad_request("invalid_header", format!("{name} is not UTF-8")))
}

/// A worker's task token. An operator's token is none: it says nothing about which worker asks.
fn task_token(headers: &HeaderMap) -> Option<&str> {
    let token = bearer(headers).ok()?;
    (token.bytes().filter(|byte| *byte == b'.').count() == 2).then_some(token)
}

fn bearer(headers: &HeaderMap) -> Result<&str, Problem> {
    let value = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = value.and_then(|value| {
        let (scheme, token) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    });
    token.filter(|token| !token.is_empty()).ok_or_else(|| {
        let detail = "send an operator's token as `Authorization: Bearer TOKEN`";
        Problem::unauthenticated("missing_token", detail)
    })
}

fn asked_for(edge: &Edge, caller: &Caller, asked: &str) -> Result<OrgId, Problem> {
    if let Ok(id) = asked.parse() {
        return Ok(id);
    }
    let named = edge.plane.orgs(caller)?.into_iter().find(|org| org.name == asked);
    named.map(|org| org.id).ok_or_else(|| Problem::not_found("organisation"))
}
