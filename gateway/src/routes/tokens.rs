//! Operators' tokens: made, listed and taken back by administrators.

use axum::Json as Answer;
use axum::extract::State;
use axum::http::StatusCode;
use fleetward_actors::id::TokenId;
use fleetward_actors::plane::NewOperatorToken;
use fleetward_actors::system::org::{Role, Token};
use fleetward_wire::Done;
use fleetward_wire::tokens::{TokenCreate, TokenCreated, TokenList, TokenView};

use crate::auth::{Asking, AskingAdmin};
use crate::edge::Edge;
use crate::extract::{Json, PathId};
use crate::problem::Problem;
use crate::times::rfc3339;

/// Makes a token; its text is answered this once.
pub(super) async fn create(
    State(edge): State<Edge>,
    AskingAdmin(Asking { caller, org }): AskingAdmin,
    Json { value: asked, .. }: Json<TokenCreate>,
) -> Result<(StatusCode, Answer<TokenCreated>), Problem> {
    let role = role(asked.role.as_deref())?;
    let new = NewOperatorToken { name: asked.name, role, expires_in_s: asked.expires_in };
    let (token, text) = edge.plane.create_token(&caller, org, new).await?;
    let created = TokenCreated {
        id: token.id.to_string(),
        token: text.0.into(),
        name: token.name,
        role: token.role.as_str().to_owned(),
    };
    Ok((StatusCode::CREATED, Answer(created)))
}

/// The good tokens of an organisation, or (system token, no organisation named) of the system.
pub(super) async fn list(
    State(edge): State<Edge>,
    AskingAdmin(Asking { caller, org }): AskingAdmin,
) -> Result<Answer<TokenList>, Problem> {
    let tokens: Vec<_> = edge.plane.tokens(&caller, org).await?.into_iter().map(view).collect();
    Ok(Answer(TokenList { total: tokens.len() as u64, tokens }))
}

/// Takes a token back.
pub(super) async fn revoke(
    State(edge): State<Edge>,
    AskingAdmin(Asking { caller, .. }): AskingAdmin,
    PathId(token): PathId<TokenId>,
) -> Result<Answer<Done>, Problem> {
    edge.plane.revoke_token(&caller, token).await?;
    Ok(Answer(Done::ok()))
}

fn role(word: Option<&str>) -> Result<Role, Problem> {
    let named = word.map_or(Some(Role::Admin), Role::named);
    let detail = "role must be viewer, operator, admin or system";
    named.ok_or_else(|| Problem::unprocessable("invalid_role", detail))
}

fn view(token: Token) -> TokenView {
    TokenView {
        id: token.id.to_string(),
        name: token.name,
        role: token.role.as_str().to_owned(),
        org_id: token.org.map(|org| org.to_string()),
        created_at: rfc3339(token.created_at),
        created_by: Some(token.created_by),
        expires_at: token.expires_at.map(rfc3339),
        revoked: token.revoked,
    }
}
