//! Organisations.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use fleetward_wire::orgs::{OrgCreate, OrgCreated, OrgList, OrgView};

use crate::Edge;
use crate::auth::Known;
use crate::extract::Body;
use crate::problem::Answer;
use crate::times::rfc3339;

pub(super) async fn create(
    State(edge): State<Edge>,
    Known(caller): Known,
    Body(body): Body<OrgCreate>,
) -> Answer<Response> {
    let (org, token) = edge.plane.create_org(&caller, &body.name).await?;
    let answer = OrgCreated { id: org.id.to_string(), name: org.name, token: token.0.into() };
    Ok((StatusCode::CREATED, Json(answer)).into_response())
}

pub(super) async fn list(State(edge): State<Edge>, Known(caller): Known) -> Answer<Json<OrgList>> {
    let orgs: Vec<_> = edge
        .plane
        .orgs(&caller)?
        .into_iter()
        .map(|org| OrgView {
            id: org.id.to_string(),
            display_name: None,
            created_at: rfc3339(org.created_at),
            name: org.name,
        })
        .collect();
    let total = orgs.len() as u64;
    Ok(Json(OrgList { orgs, total }))
}
