//! Whether a server lives, and whether it can take work.

use serde::{Deserialize, Serialize};

/// `GET /healthz`: the process runs.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Health {
    /// Always `ok`.
    pub status: String,
    /// Version of the server.
    #[serde(default)]
    pub version: String,
}

/// `GET /readyz`: 200 if ready, else 503 with the same body.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Readiness {
    /// It takes work. One organisation that is down (`cells`) concerns no other.
    pub ready: bool,
    /// What was checked.
    #[serde(default)]
    pub checks: Vec<Check>,
}

/// One thing that must work before a server is ready.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Check {
    /// What: `store`, `journal`, `cells`.
    pub name: String,
    /// It works.
    pub ok: bool,
    /// What is wrong, and nothing secret.
    #[serde(default)]
    pub detail: Option<String>,
}
