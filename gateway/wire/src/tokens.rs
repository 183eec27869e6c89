//! Bearer tokens of operators.

use serde::{Deserialize, Serialize};

use crate::{Secret, Timestamp};

/// `POST /api/v1/tokens`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TokenCreate {
    /// A name for people: who or what will hold it.
    pub name: String,
    /// What it may do. Absent: the server's default.
    #[serde(default)]
    pub role: Option<String>,
    /// Seconds until it expires. Absent: never.
    #[serde(default)]
    pub expires_in: Option<u64>,
}

/// The answer to [`TokenCreate`], 201.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TokenCreated {
    /// Its id.
    pub id: String,
    /// The token itself, shown this once.
    pub token: Secret,
    /// Its name for people.
    pub name: String,
    /// What it may do.
    pub role: String,
}

/// One token in `GET /api/v1/tokens`; never the token itself, nor its hash.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TokenView {
    /// Its id.
    pub id: String,
    /// Its name for people.
    pub name: String,
    /// What it may do.
    pub role: String,
    /// The organisation it is good for; none for a token of the system.
    #[serde(default)]
    pub org_id: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Who made it.
    #[serde(default)]
    pub created_by: Option<String>,
    /// When it stops working.
    #[serde(default)]
    pub expires_at: Option<Timestamp>,
    /// It was taken back.
    pub revoked: bool,
}

/// `GET /api/v1/tokens`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TokenList {
    /// The tokens of the caller's organisation.
    pub tokens: Vec<TokenView>,
    /// How many there are.
    pub total: u64,
}
