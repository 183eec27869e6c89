//! Operators' tokens.

use axum::Json;
use axum::extract::{FromRequestParts, Path, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use fleetward_actors::id::OrgId;
use fleetward_actors::plane::NewOperatorToken;
use fleetward_actors::system::org::Role;
use fleetward_wire::Done;
use fleetward_wire::tokens::{TokenCreate, TokenCreated, TokenList, TokenView};

use crate::Edge;
use crate::auth::{Known, asked_org};
use crate::extract::{Body, id};
use crate::problem::{Answer, Failure};
use crate::times::rfc3339;

/// The organisation that a system token names, if it names one.
pub(super) struct Asked(Option<OrgId>);

impl FromRequestParts<Edge> for Asked {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _edge: &Edge) -> Answer<Self> {
        asked_org(parts).map(Self)
    }
}

pub(super) async fn create(
    State(edge): State<Edge>,
    Known(caller): Known,
    Asked(org): Asked,
    Body(body): Body<TokenCreate>,
) -> Answer<Response> {
    let role = match body.role.as_deref() {
        None | Some("admin") => Role::Admin,
        Some("system") => Role::System,
        Some(_) => {
            return Err(Failure::invalid("invalid_role", "role is `admin` or `system`"));
        }
    };
    let new = NewOperatorToken { name: body.name, role, expires_in_s: body.expires_in };
    let (token, text) = edge.plane.create_token(&caller, org, new).await?;
    let answer = TokenCreated {
        id: token.id.to_string(),
        token: text.0.into(),
        name: token.name,
        role: token.role.as_str().to_owned(),
    };
    Ok((StatusCode::CREATED, Json(answer)).into_response())
}

pub(super) async fn list(
    State(edge): State<Edge>,
    Known(caller): Known,
    Asked(org): Asked,
) -> Answer<Json<TokenList>> {
    let tokens: Vec<_> = edge
        .plane
        .tokens(&caller, org)
        .await?
        .into_iter()
        .map(|token| TokenView {
            id: token.id.to_string(),
            name: token.name,
            role: token.role.as_str().to_owned(),
            created_at: rfc3339(token.created_at),
            created_by: Some(token.created_by),
            expires_at: token.expires_at.map(rfc3339),
            revoked: token.revoked,
        })
        .collect();
    let total = tokens.len() as u64;
    Ok(Json(TokenList { tokens, total }))
}

pub(super) async fn revoke(
    State(edge): State<Edge>,
    Known(caller): Known,
    Path(token): Path<String>,
) -> Answer<Json<Done>> {
    edge.plane.revoke_token(&caller, id("token", &token)?).await?;
    Ok(Json(Done::ok()))
}
