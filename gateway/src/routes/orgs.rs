//! Organisations: made by administrators of the system; everybody sees their own.

use axum::Json as Answer;
use axum::extract::State;
use axum::http::StatusCode;
use fleetward_actors::system::org::Org;
use fleetward_wire::orgs::{OrgCreate, OrgCreated, OrgList, OrgView};

use crate::auth::{Asking, AskingSystem};
use crate::edge::Edge;
use crate::extract::Json;
use crate::problem::Problem;
use crate::times::rfc3339;

/// Makes an organisation and its first token, which is answered this once.
pub(super) async fn create(
    State(edge): State<Edge>,
    AskingSystem(Asking { caller, .. }): AskingSystem,
    Json { value: asked, .. }: Json<OrgCreate>,
) -> Result<(StatusCode, Answer<OrgCreated>), Problem> {
    let (org, token) = edge.plane.create_org(&caller, &asked.name, asked.display_name).await?;
    let created = OrgCreated { id: org.id.to_string(), name: org.name, token: token.0.into() };
    Ok((StatusCode::CREATED, Answer(created)))
}

/// The organisations that the caller may see.
pub(super) async fn list(
    State(edge): State<Edge>,
    Asking { caller, .. }: Asking,
) -> Result<Answer<OrgList>, Problem> {
    let orgs: Vec<_> = edge.plane.orgs(&caller)?.into_iter().map(view).collect();
    Ok(Answer(OrgList { total: orgs.len() as u64, orgs }))
}

fn view(org: Org) -> OrgView {
    OrgView {
        id: org.id.to_string(),
        name: org.name,
        display_name: org.display_name,
        cell: org.cell,
        created_at: rfc3339(org.created_at),
    }
}
