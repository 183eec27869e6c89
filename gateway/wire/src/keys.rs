//! Enrollment keys: what lets a process register, and as what.

use serde::{Deserialize, Serialize};

use crate::{Labels, Secret, Timestamp, null_is_default};

/// `POST /api/v1/fleet/enrollment-keys`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct KeyCreate {
    /// A name for people.
    pub name: String,
    /// How many workers may join with it. Absent: one.
    pub max_uses: Option<u32>,
    /// Pools its workers may serve. Absent or empty: any.
    pub pools: Option<Vec<String>>,
    /// The same for one pool.
    pub pool: Option<String>,
    /// Models its workers may declare. Absent or empty: any.
    pub models: Option<Vec<String>>,
    /// Labels its workers get, whatever they declare.
    #[serde(deserialize_with = "null_is_default")]
    pub labels: Labels,
    /// The project its workers are bound to.
    pub project_id: Option<String>,
    /// More projects that its workers take tasks of.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub shared_with: Vec<String>,
    /// Seconds until it expires. Absent: the server's default; there is no key without an end.
    pub expires_in: Option<u64>,
    /// Its workers need no operator to approve them.
    #[serde(deserialize_with = "null_is_default")]
    pub auto_approve: bool,
}

/// The answer to [`KeyCreate`], 201.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct KeyCreated {
    /// Its id.
    pub id: String,
    /// The key itself, shown this once.
    pub key: Secret,
    /// Its name for people.
    pub name: String,
    /// How many workers may join with it.
    pub max_uses: u32,
    /// When it stops working.
    pub expires_at: Option<Timestamp>,
}

/// One key in `GET /api/v1/fleet/enrollment-keys`; never the key itself, nor its hash.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct KeyView {
    /// Its id.
    pub id: String,
    /// The organisation it belongs to.
    pub org_id: String,
    /// Its name for people.
    pub name: String,
    /// How many workers may join with it.
    pub max_uses: u32,
    /// How many did.
    pub current_uses: u32,
    /// When it stops working.
    pub expires_at: Option<Timestamp>,
    /// Pools its workers may serve; empty: any.
    pub allowed_pools: Vec<String>,
    /// Models its workers may declare; empty: any.
    pub allowed_models: Vec<String>,
    /// Labels its workers get.
    #[serde(default)]
    pub labels: Labels,
    /// The project its workers are bound to.
    #[serde(default)]
    pub project_id: Option<String>,
    /// More projects that its workers take tasks of.
    #[serde(default)]
    pub shared_with: Vec<String>,
    /// Its workers need no operator to approve them.
    #[serde(default)]
    pub auto_approve: bool,
    /// When it was made.
    pub created_at: Timestamp,
    /// Who made it.
    pub created_by: Option<String>,
    /// It was taken back.
    pub revoked: bool,
    /// How often somebody tried it after it was used up or taken back.
    #[serde(default)]
    pub overused: u32,
    /// The first worker that joined with it.
    #[serde(default)]
    pub first_worker_id: Option<String>,
}

/// `GET /api/v1/fleet/enrollment-keys`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct KeyList {
    /// The keys of the caller's organisation.
    pub keys: Vec<KeyView>,
    /// How many there are.
    pub total: u64,
    /// Where the next page begins (`?before=`); none on the last one.
    #[serde(default)]
    pub next: Option<u64>,
}
