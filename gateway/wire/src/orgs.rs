//! Organisations: the tenants of a server, each with a cell, tokens and workers of its own.

use serde::{Deserialize, Serialize};

use crate::{Secret, Timestamp};

/// `POST /api/v1/orgs`, with a system token.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct OrgCreate {
    /// Its name in commands and paths; unique on the server.
    pub name: String,
    /// Its name for people.
    #[serde(default)]
    pub display_name: Option<String>,
}

/// The answer to [`OrgCreate`], 201.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct OrgCreated {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its first admin token, shown this once.
    pub token: Secret,
}

/// One organisation in `GET /api/v1/orgs`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct OrgView {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its name for people.
    #[serde(default)]
    pub display_name: Option<String>,
    /// The number of its cell, by which metrics and `journal cat` name it.
    #[serde(default)]
    pub cell: i64,
    /// When it was made.
    pub created_at: Timestamp,
}

/// `GET /api/v1/orgs`, with a system token.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct OrgList {
    /// The organisations of this server.
    pub orgs: Vec<OrgView>,
    /// How many there are.
    pub total: u64,
}
