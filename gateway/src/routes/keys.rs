//! Enrollment keys.

use axum::Json;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use fleetward_actors::fleet::key::Binding;
use fleetward_actors::plane::NewEnrollmentKey;
use fleetward_wire::Done;
use fleetward_wire::keys::{KeyCreate, KeyCreated, KeyList, KeyView};

use crate::auth::Inside;
use crate::extract::{Body, id};
use crate::problem::Answer;
use crate::times::rfc3339;

/// Keys in a list.
const PAGE: usize = 200;

pub(super) async fn create(
    Inside(operator): Inside,
    Body(body): Body<KeyCreate>,
) -> Answer<Response> {
    let mut pools = body.pools.unwrap_or_default();
    pools.extend(body.pool);
    let new = NewEnrollmentKey {
        name: body.name,
        max_uses: body.max_uses,
        expires_in_s: body.expires_in,
        binding: Binding {
            project: body.project_id,
            pools,
            models: body.models.unwrap_or_default(),
            labels: body.labels,
            auto_approve: body.auto_approve,
        },
    };
    let (key, text) = operator.create_key(new).await?;
    let answer = KeyCreated {
        id: key.id.to_string(),
        key: text.into(),
        name: key.name,
        max_uses: key.max_uses,
        expires_at: Some(rfc3339(key.expires_at)),
    };
    Ok((StatusCode::CREATED, Json(answer)).into_response())
}

pub(super) async fn list(Inside(operator): Inside) -> Answer<Json<KeyList>> {
    let found = operator.keys(PAGE).await?;
    let org = operator.org().id.to_string();
    let keys: Vec<_> = found
        .into_iter()
        .map(|key| KeyView {
            id: key.id.to_string(),
            org_id: org.clone(),
            name: key.name,
            max_uses: key.max_uses,
            current_uses: key.uses,
            expires_at: Some(rfc3339(key.expires_at)),
            allowed_pools: key.binding.pools,
            allowed_models: key.binding.models,
            labels: key.binding.labels,
            project_id: key.binding.project,
            auto_approve: key.binding.auto_approve,
            created_at: rfc3339(key.created_at),
            created_by: Some(key.created_by),
            revoked: key.revoked_by.is_some(),
        })
        .collect();
    let total = keys.len() as u64;
    Ok(Json(KeyList { keys, total }))
}

pub(super) async fn revoke(
    Inside(operator): Inside,
    Path(key): Path<String>,
) -> Answer<Json<Done>> {
    operator.revoke_key(id("enrollment key", &key)?).await?;
    Ok(Json(Done::ok()))
}
