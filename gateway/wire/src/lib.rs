//! What travels between the gateway, its workers and its operators: shapes, and no rules.
//!
//! Everything optional may be absent or null, and unknown fields are ignored, so that clients and
//! servers of different ages understand each other. Ids are opaque strings, times are RFC 3339 in
//! UTC, durations are seconds, and whatever may hold a secret is a [`Secret`].

pub mod alerts;
pub mod audit;
pub mod dead_letters;
pub mod health;
pub mod keys;
pub mod orgs;
pub mod payload_keys;
pub mod policy;
pub mod problem;
pub mod retention;
pub mod schedules;
mod secret;
pub mod signing_keys;
pub mod suspicions;
pub mod task_tokens;
pub mod tasks;
pub mod tokens;
pub mod workers;
pub mod workflows;

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

pub use secret::Secret;

/// Key and value pairs that a worker offers or a task asks for.
pub type Labels = BTreeMap<String, String>;

/// JSON that is passed on as it was written: a tenant's payload or result, which nobody on the way looks into.
pub type Raw = Box<serde_json::value::RawValue>;

/// A point in time of the server: RFC 3339, UTC. For display and comparison, never for leases.
pub type Timestamp = String;

/// The whole answer where there is nothing to say but that it was done: `{"status": "ok"}`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Done {
    /// Always `ok`.
    pub status: String,
}

impl Done {
    /// The one value this answer has.
    pub fn ok() -> Self {
        Self { status: "ok".to_owned() }
    }
}

/// Reads `null` as if the field were absent: older clients write every field they know.
pub(crate) fn null_is_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}
