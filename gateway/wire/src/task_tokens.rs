//! Task tokens: what a worker with a key pair shows instead of a secret, for minutes.

use serde::{Deserialize, Serialize};

use crate::{Secret, Timestamp};

/// What a process signs that registers with an enrollment key and a key pair. `key_hash` is the SHA-256 of the enrollment
/// key's text, in hex; `public_key` is as in the request.
pub fn registration_text(key_hash: &str, public_key: &str) -> String {
    format!("fleetward registration\n{key_hash}\n{public_key}")
}

/// What a worker signs that asks for a token. Each generation is answered once, so a copy of the request is worthless.
pub fn token_text(org_id: &str, worker_id: &str, generation: u32) -> String {
    format!("fleetward task token\n{org_id}\n{worker_id}\n{generation}")
}

/// `POST /api/v1/fleet/workers/{id}/token`: a worker that may work asks for its next token.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TaskTokenRequest {
    /// Its organisation, as registering answered it.
    pub org_id: String,
    /// The newest generation that it knows of; 0 for its first token. Where there is a newer one, the answer is a 409
    /// with `generation`: sign that one.
    pub generation: u32,
    /// Its signature over [`token_text`], in base64url.
    pub signature: String,
    /// What the token is for, some of `worker:heartbeat` and `worker:claim`. Absent: everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scopes: Option<Vec<String>>,
}

/// The answer to [`TaskTokenRequest`], 200. The token before it stays good until this one was used.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TaskTokenAnswer {
    /// The token, shown this once: `Authorization: Bearer`.
    pub token: Secret,
    /// Always `Bearer`.
    pub token_type: String,
    /// Its generation.
    pub generation: u32,
    /// For how many seconds it is good from now on.
    pub expires_in: f64,
    /// What it is for.
    pub scopes: Vec<String>,
}

/// One token in `GET /api/v1/fleet/workers/{id}/tokens`; never its text.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TaskTokenView {
    /// Its id, the `jti`.
    pub id: String,
    /// Its generation.
    pub generation: u32,
    /// When it was issued.
    pub issued_at: Timestamp,
    /// When it ends.
    pub expires_at: Timestamp,
    /// The key that signed it, the `kid`.
    pub signed_by: String,
    /// It was taken back.
    pub revoked: bool,
}

/// `GET /api/v1/fleet/workers/{id}/tokens`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TaskTokenList {
    /// Those that are not over, oldest first.
    pub tokens: Vec<TaskTokenView>,
    /// How many there are.
    pub total: u64,
}

/// One token in `GET /api/v1/fleet/task-tokens/revoked`; never its text.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RevokedTaskToken {
    /// Its id, the `jti`.
    pub id: String,
    /// Whose it was.
    pub worker_id: String,
    /// When it was taken back.
    pub revoked_at: Timestamp,
    /// When it would have ended.
    pub expires_at: Timestamp,
}

/// `GET /api/v1/fleet/task-tokens/revoked`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RevokedTaskTokens {
    /// Those of the organisation that would still be good, the one that was taken back last first; at most 1,000.
    pub tokens: Vec<RevokedTaskToken>,
    /// How many are in this answer.
    pub total: u64,
}

/// The answer to `DELETE /api/v1/fleet/task-tokens/{id}`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TaskTokenRevoked {
    /// Always `ok`.
    pub status: String,
    /// Whose it was.
    pub worker_id: String,
}
