//! The audit trail: every decision of an organisation, as events of its journal.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Secret, Timestamp};

/// Query of `GET /api/v1/fleet/audit`. With `after` a page goes forward, oldest first; else back, newest first.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct AuditQuery {
    /// Only events of these types, separated by commas; `worker.*` stands for all that begin so.
    pub r#type: Option<String>,
    /// Only events about this worker.
    pub worker_id: Option<String>,
    /// Only events of this task.
    pub run_id: Option<String>,
    /// Only what this actor did: `token:<id>`, `worker:<id>`, `key:<id>` or `system`.
    pub by: Option<String>,
    /// Only what came with the request of this id.
    pub request_id: Option<String>,
    /// Only events from this time on: RFC 3339.
    pub since: Option<Timestamp>,
    /// Only events before this time: RFC 3339.
    pub until: Option<Timestamp>,
    /// At most so many, 1..200.
    pub limit: Option<u32>,
    /// Only events before this position: `next` of the page before.
    pub before: Option<u64>,
    /// Only events after this position: `next` of the page before; 0 begins with the record.
    pub after: Option<u64>,
    /// With `after`: seconds to wait for an event, 0..60.
    pub wait: Option<f64>,
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
    /// The events, newest first, or oldest first with `after`.
    pub events: Vec<AuditEvent>,
    /// How many are in this answer.
    pub total: u64,
    /// What `before` or `after` takes for the next page. A page may be empty and have a next one: a filter looks through
    /// a bounded part of the record at a time. Going back, none: there is nothing more.
    #[serde(default)]
    pub next: Option<u64>,
}

/// `GET /api/v1/fleet/audit/head`, and the beginning of an export: what the record was, signed.
///
/// The signature is Ed25519 over these lines, each ended by a line feed: `fleetward audit head 1`, then `org`, `cell`,
/// `after`, `after_hash`, `position`, `hash` and `at_us`, as they stand here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditHead {
    /// Whose record: the id of an organisation, or `system`.
    pub org: String,
    /// The number of its cell.
    pub cell: i64,
    /// The position before its first event; 0: it begins with the record.
    pub after: u64,
    /// The hash of the record up to there, hex.
    pub after_hash: String,
    /// Its last position.
    pub position: u64,
    /// The hash of the record up to there, hex.
    pub hash: String,
    /// When this was true, in microseconds UTC.
    pub at_us: i64,
    /// The key that signed it, 32 bytes in base64. Compare it with one that you know.
    pub public_key: String,
    /// In base64.
    pub signature: String,
}

/// `GET /api/v1/fleet/audit/key`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditKey {
    /// Its short name.
    pub id: String,
    /// How it signs: `Ed25519`.
    pub algorithm: String,
    /// Its 32 bytes, base64.
    pub public_key: String,
    /// The same as other programs read it.
    pub pem: String,
    /// Those that signed before it, oldest first: heads that they signed stay good.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub former: Vec<FormerAuditKey>,
}

/// A key that signed heads before another took its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FormerAuditKey {
    /// Its short name.
    pub id: String,
    /// Its 32 bytes, base64.
    pub public_key: String,
    /// The same as other programs read it.
    pub pem: String,
    /// When another took its place: what it signed later is none of ours.
    pub until: Timestamp,
}

/// The first line of an export.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExportOpening {
    /// The version of the format: 1.
    pub fleetward_audit_export: u32,
    /// What the lines that follow are a copy of.
    pub head: AuditHead,
}

/// Any other line of an export: one event, with everything that its hash is made of.
///
/// The hash is SHA-256 over the hash before it and, each after its length as 8 bytes (big-endian, as all numbers): cell (8),
/// position (8), stream, type, version (2), codec (2), time (8), actor, body, and where it came with a request: the
/// request's id, and the bytes of the address. Before the first event stands SHA-256 of `fleetward journal chain 2` and
/// the cell (8).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExportEvent {
    /// Its position.
    pub position: u64,
    /// When, in microseconds UTC.
    pub at_us: i64,
    /// What happened.
    pub r#type: String,
    /// Who did it.
    pub by: String,
    /// The id of the request that it came with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// The address that the request came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The thing it happened to.
    pub stream: String,
    /// The version of the body's shape.
    pub version: u16,
    /// How the body is written: 1 is JSON.
    pub codec: i16,
    /// The body, exactly as it is stored. Nothing sealed is in it.
    pub body: String,
    /// The hash of the record up to here, hex.
    pub hash: String,
}

/// Query of `GET /api/v1/fleet/audit/unsealed`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct UnsealedQuery {
    /// Only events after this position: `next` of the page before.
    pub after: u64,
    /// At most so many, 1..200. A page of large payloads is shorter.
    pub limit: Option<u32>,
}

/// `GET /api/v1/fleet/audit/unsealed`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct UnsealedList {
    /// The oldest first.
    pub events: Vec<UnsealedEvent>,
    /// What `after` takes for the next page; none: these were all.
    #[serde(default)]
    pub next: Option<u64>,
}

/// An event, and what is sealed beside it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct UnsealedEvent {
    /// The event, as an export has it.
    pub event: ExportEvent,
    /// What stands sealed beside it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sealed: Option<SealedPart>,
}

/// Something sealed. Without `text` and `unreadable` it is a key, or what is secret about a sink: these stay sealed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SealedPart {
    /// Its size, as stored.
    pub bytes: u64,
    /// The number of the key that it needs; 0 is the master key. None: a newer build sealed it.
    #[serde(default)]
    pub key: Option<u32>,
    /// What is inside: a payload, an output or progress as JSON, or an error text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<Secret>,
    /// Why it does not open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unreadable: Option<String>,
}
