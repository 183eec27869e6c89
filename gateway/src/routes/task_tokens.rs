//! Task tokens: asked for by workers, looked at and taken back by administrators.

use axum::Json as Answer;
use axum::extract::State;
use fleetward_actors::id::{TaskTokenId, WorkerId};
use fleetward_actors::plane;
use fleetward_wire::task_tokens::{
    RevokedTaskToken, RevokedTaskTokens, TaskTokenAnswer, TaskTokenList, TaskTokenRequest,
    TaskTokenRevoked, TaskTokenView,
};
use fleetward_wire::workers::Decision;

use crate::auth::{AskedBy, CanAdminister, InOrg, ShownCertificate};
use crate::edge::Edge;
use crate::extract::{Json, MaybeJson, PathId};
use crate::problem::Problem;
use crate::times::rfc3339;

/// Issues a token to a worker that proves its key.
pub(super) async fn issue(
    State(edge): State<Edge>,
    AskedBy(origin): AskedBy,
    ShownCertificate(certificate): ShownCertificate,
    PathId(worker): PathId<WorkerId>,
    Json { value: asked, .. }: Json<TaskTokenRequest>,
) -> Result<Answer<TaskTokenAnswer>, Problem> {
    let TaskTokenRequest { org_id, generation, signature, scopes } = asked;
    let org = org_id.parse().map_err(|_| {
        Problem::unprocessable("invalid_body", "org_id is not the id of an organisation")
    })?;
    let request =
        plane::TaskTokenRequest { org, worker, generation, signature, scopes, origin, certificate };
    let issued = edge.plane.issue_task_token(request).await?;
    Ok(Answer(TaskTokenAnswer {
        token: issued.text.0.into(),
        token_type: "Bearer".to_owned(),
        generation: issued.generation,
        expires_in: issued.good_for.as_secs_f64(),
        scopes: issued.scopes.words(),
    }))
}

/// The tokens of a worker that are not over.
pub(super) async fn list(
    InOrg(operator): InOrg,
    PathId(worker): PathId<WorkerId>,
) -> Result<Answer<TaskTokenList>, Problem> {
    let tokens = operator.task_tokens(worker).await?.into_iter();
    let tokens: Vec<_> = tokens
        .map(|(token, revoked)| TaskTokenView {
            id: token.id.to_string(),
            generation: token.generation,
            issued_at: rfc3339(token.at),
            expires_at: rfc3339(token.expires_at),
            signed_by: token.signed_by.to_string(),
            revoked,
        })
        .collect();
    Ok(Answer(TaskTokenList { total: tokens.len() as u64, tokens }))
}

/// The tokens of the organisation that were taken back and would still be good.
pub(super) async fn revoked(InOrg(operator): InOrg) -> Result<Answer<RevokedTaskTokens>, Problem> {
    let tokens = operator.revoked_task_tokens().await?.into_iter();
    let tokens: Vec<_> = tokens
        .map(|(worker, token)| RevokedTaskToken {
            id: token.id.to_string(),
            worker_id: worker.to_string(),
            revoked_at: rfc3339(token.at),
            expires_at: rfc3339(token.expires_at),
        })
        .collect();
    Ok(Answer(RevokedTaskTokens { total: tokens.len() as u64, tokens }))
}

/// Takes a token back.
pub(super) async fn revoke(
    CanAdminister(operator): CanAdminister,
    PathId(token): PathId<TaskTokenId>,
    MaybeJson(decision): MaybeJson<Decision>,
) -> Result<Answer<TaskTokenRevoked>, Problem> {
    let worker = operator.revoke_task_token(token, decision.reason).await?;
    Ok(Answer(TaskTokenRevoked { status: "ok".to_owned(), worker_id: worker.to_string() }))
}
