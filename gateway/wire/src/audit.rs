//! The audit trail: every decision of an organisation, as events of its journal.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Timestamp;

/// Query of `GET /api/v1/fleet/audit`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct AuditQuery {
    /// Only events of this type.
    pub r#type: Option<String>,
    /// Only events about this worker.
    pub worker_id: Option<String>,
    /// Only events from this time on: RFC 3339.
    pub since: Option<Timestamp>,
    /// At most so many, 1..200.
    pub limit: Option<u32>,
    /// Only events before this position: that of the last event of the page before.
    pub before: Option<u64>,
}

/// One decision.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AuditEvent {
    /// Its position in the organisation's journal.
    pub position: u64,
    /// What happened.
    pub r#type: String,
    /// When, by the server's clock.
    pub at: Timestamp,
    /// Who did it.
    pub by: String,
    /// The id of the request that it came with.
    #[serde(default)]
    pub request_id: Option<String>,
    /// The address that the request came from.
    #[serde(default)]
    pub source: Option<String>,
    /// The worker it is about.
    #[serde(default)]
    pub worker_id: Option<String>,
    /// What kind of thing it happened to: `task`, `worker`, `key`.
    #[serde(default)]
    pub subject_kind: String,
    /// The id of that thing.
    #[serde(default)]
    pub subject: String,
    /// The particulars; nothing sealed is among them.
    #[serde(default)]
    pub details: Value,
    /// The hash of the journal up to here, in hex: what `audit verify` checks.
    #[serde(default)]
    pub hash: Option<String>,
}

/// `GET /api/v1/fleet/audit`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AuditList {
    /// The events, newest first.
    pub events: Vec<AuditEvent>,
    /// How many are in this answer.
    pub total: u64,
}
