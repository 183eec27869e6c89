//! The keys that task tokens are signed with: changed by administrators of the system, published to everybody.

use axum::Json as Answer;
use axum::extract::State;
use axum::http::StatusCode;
use fleetward_actors::fleet::public_key::PublicKey;
use fleetward_actors::id::SigningKeyId;
use fleetward_actors::system::signing_key::SigningKey;
use fleetward_wire::signing_keys::{
    Jwk, Jwks, SigningKeyAdd, SigningKeyList, SigningKeyRetire, SigningKeyView,
};

use crate::auth::{Asking, AskingSystem};
use crate::edge::Edge;
use crate::extract::{MaybeJson, PathId};
use crate::problem::Problem;
use crate::times::rfc3339;

/// The keys that may be used.
pub(super) async fn list(
    State(edge): State<Edge>,
    AskingSystem(Asking { caller, .. }): AskingSystem,
) -> Result<Answer<SigningKeyList>, Problem> {
    let keys: Vec<_> = edge.plane.signing_keys(&caller).await?.into_iter().map(view).collect();
    Ok(Answer(SigningKeyList { total: keys.len() as u64, keys }))
}

/// Adds a key.
pub(super) async fn add(
    State(edge): State<Edge>,
    AskingSystem(Asking { caller, .. }): AskingSystem,
    MaybeJson(asked): MaybeJson<SigningKeyAdd>,
) -> Result<(StatusCode, Answer<SigningKeyView>), Problem> {
    let key = edge.plane.add_signing_key(&caller, asked.promote).await?;
    Ok((StatusCode::CREATED, Answer(view(key))))
}

/// Lets a key sign.
pub(super) async fn promote(
    State(edge): State<Edge>,
    AskingSystem(Asking { caller, .. }): AskingSystem,
    PathId(id): PathId<SigningKeyId>,
) -> Result<Answer<SigningKeyView>, Problem> {
    Ok(Answer(view(edge.plane.promote_signing_key(&caller, id).await?)))
}

/// Ends a key.
pub(super) async fn retire(
    State(edge): State<Edge>,
    AskingSystem(Asking { caller, .. }): AskingSystem,
    PathId(id): PathId<SigningKeyId>,
    MaybeJson(asked): MaybeJson<SigningKeyRetire>,
) -> Result<Answer<SigningKeyView>, Problem> {
    Ok(Answer(view(edge.plane.retire_signing_key(&caller, id, asked.force).await?)))
}

/// The public halves.
pub(super) async fn jwks(State(edge): State<Edge>) -> Answer<Jwks> {
    let jwk = |(id, key): (SigningKeyId, PublicKey)| Jwk {
        kty: "OKP".to_owned(),
        crv: "Ed25519".to_owned(),
        x: key.to_string(),
        kid: id.to_string(),
        alg: "EdDSA".to_owned(),
        r#use: "sig".to_owned(),
    };
    Answer(Jwks { keys: edge.plane.published_keys().into_iter().map(jwk).collect() })
}

fn view(key: SigningKey) -> SigningKeyView {
    SigningKeyView {
        id: key.id.to_string(),
        state: key.state.as_str().to_owned(),
        fingerprint: key.public_key.fingerprint(),
        demoted_at: key.demoted_at.map(rfc3339),
        created_at: rfc3339(key.created_at),
        created_by: key.created_by,
    }
}
