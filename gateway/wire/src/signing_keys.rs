//! The keys that the server signs task tokens with.

use serde::{Deserialize, Serialize};

use crate::{Timestamp, null_is_default};

/// `POST /api/v1/signing-keys`. May be empty.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct SigningKeyAdd {
    /// It signs at once.
    #[serde(deserialize_with = "null_is_default")]
    pub promote: bool,
}

/// `POST /api/v1/signing-keys/{id}/retire`. May be empty.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct SigningKeyRetire {
    /// Although tokens of it may be in use: their workers have to ask for new ones.
    #[serde(deserialize_with = "null_is_default")]
    pub force: bool,
}

/// One signing key; never its private half.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SigningKeyView {
    /// Its id, the `kid` of its tokens.
    pub id: String,
    /// `added`, `active` (it signs), `demoted` (its tokens are still good) or `retired`.
    pub state: String,
    /// The fingerprint of its public half: `sha256:` and hex.
    pub fingerprint: String,
    /// When it stopped signing.
    #[serde(default)]
    pub demoted_at: Option<Timestamp>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Who made it.
    pub created_by: String,
}

/// `GET /api/v1/signing-keys`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SigningKeyList {
    /// Those that may be used, oldest first.
    pub keys: Vec<SigningKeyView>,
    /// How many there are.
    pub total: u64,
}

/// `GET /api/v1/fleet/jwks.json`: the public halves, as RFC 7517 and RFC 8037 write them.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Jwks {
    /// All whose tokens may be good.
    pub keys: Vec<Jwk>,
}

/// One public key.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Jwk {
    /// Always `OKP`.
    pub kty: String,
    /// Always `Ed25519`.
    pub crv: String,
    /// The key itself, base64url.
    pub x: String,
    /// Its id.
    pub kid: String,
    /// Always `EdDSA`.
    pub alg: String,
    /// Always `sig`.
    pub r#use: String,
}
