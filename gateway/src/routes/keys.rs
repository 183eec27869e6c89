//! Enrollment keys: made, listed and taken back by operators.

use axum::Json as Answer;
use axum::http::StatusCode;
use fleetward_actors::Operator;
use fleetward_actors::fleet::key::{Binding, Key};
use fleetward_actors::id::KeyId;
use fleetward_actors::plane::NewEnrollmentKey;
use fleetward_wire::Done;
use fleetward_wire::keys::{KeyCreate, KeyCreated, KeyList, KeyView};

use crate::auth::{CanAdminister, InOrg};
use crate::extract::{Json, Params, PathId, page};
use crate::problem::Problem;
use crate::routes::workers::ListQuery;
use crate::times::rfc3339;

/// Makes a key; its text is answered this once.
pub(super) async fn create(
    CanAdminister(operator): CanAdminister,
    Json { value: asked, .. }: Json<KeyCreate>,
) -> Result<(StatusCode, Answer<KeyCreated>), Problem> {
    let mut pools = asked.pools.unwrap_or_default();
    pools.extend(asked.pool.filter(|pool| !pools.contains(pool)));
    let binding = Binding {
        project: asked.project_id,
        shared_with: asked.shared_with.into_iter().collect(),
        pools,
        models: asked.models.unwrap_or_default(),
        labels: asked.labels,
        auto_approve: asked.auto_approve,
    };
    let new = NewEnrollmentKey {
        name: asked.name,
        max_uses: asked.max_uses,
        expires_in_s: asked.expires_in,
        binding,
    };
    let (key, text) = operator.create_key(new).await?;
    let created = KeyCreated {
        id: key.id.to_string(),
        key: text.into(),
        name: key.name,
        max_uses: key.max_uses,
        expires_at: Some(rfc3339(key.expires_at)),
    };
    Ok((StatusCode::CREATED, Answer(created)))
}

/// The newest keys, never their texts.
pub(super) async fn list(
    InOrg(operator): InOrg,
    Params(query): Params<ListQuery>,
) -> Result<Answer<KeyList>, Problem> {
    let limit = page(query.limit.or(Some(200)))?;
    let keys = operator.keys(query.before, limit).await?;
    let total = operator.count_keys().await?;
    let more = keys.len() == limit;
    let next = keys.last().filter(|_| more).map(|key| key.created);
    let keys = keys.into_iter().map(|key| view(&operator, key)).collect();
    Ok(Answer(KeyList { keys, total, next }))
}

/// Takes a key back.
pub(super) async fn revoke(
    CanAdminister(operator): CanAdminister,
    PathId(key): PathId<KeyId>,
) -> Result<Answer<Done>, Problem> {
    operator.revoke_key(key).await?;
    Ok(Answer(Done::ok()))
}

fn view(operator: &Operator, key: Key) -> KeyView {
    KeyView {
        id: key.id.to_string(),
        org_id: operator.org().id.to_string(),
        name: key.name,
        max_uses: key.max_uses,
        current_uses: key.uses,
        expires_at: Some(rfc3339(key.expires_at)),
        allowed_pools: key.binding.pools,
        allowed_models: key.binding.models,
        labels: key.binding.labels,
        project_id: key.binding.project,
        shared_with: key.binding.shared_with.into_iter().collect(),
        auto_approve: key.binding.auto_approve,
        created_at: rfc3339(key.created_at),
        created_by: Some(key.created_by),
        revoked: key.revoked_by.is_some(),
        overused: key.overused,
        first_worker_id: key.first_worker.map(|worker| worker.to_string()),
    }
}
