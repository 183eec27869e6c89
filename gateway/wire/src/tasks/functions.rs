//! Durable functions on workers: what they have done, and what they wait for.
//!
//! The calls of a function have positions, counted from 0 in the order in which the code makes them. A worker that goes on with
//! a task whose claim says `checkpoints` reads what stands at them first, and runs nothing that is done.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::payload_keys::SealedValue;
use crate::{Secret, Timestamp, null_is_default};

/// `POST /api/v1/fleet/tasks/{run_id}/checkpoints`: a step of a durable function is done, for good. Harmless twice.
///
/// The value has 1 MiB at most; a function has 1,000 positions and 8 MiB of values at most.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(bound(deserialize = "V: Deserialize<'de> + Default"))]
#[serde(default)]
pub struct Checkpoint<V = Value> {
    /// Its position.
    pub index: u32,
    /// Its name, without `/`, `[` and `]`.
    pub name: String,
    /// What it resulted in: any JSON.
    #[serde(deserialize_with = "null_is_default")]
    pub value: Secret<V>,
    /// The same, from a worker that holds the organisation's key: `[index, value]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value_sealed: Option<SealedValue>,
    /// How long it took, in milliseconds: shown in timelines.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub took_ms: Option<u64>,
    /// Which claim of the task.
    pub attempt: Option<u32>,
    /// Proof of the claim.
    pub claim_token: Option<Secret>,
}

/// `POST /api/v1/fleet/tasks/{run_id}/checkpoints/read`: what a durable function has done, in any attempt on any worker.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ReadCheckpoints {
    /// From this position on.
    pub from: u32,
    /// Which claim of the task.
    pub attempt: Option<u32>,
    /// Proof of the claim.
    pub claim_token: Option<Secret>,
    /// The numbers of the organisation's keys that the worker holds: values then come as `value_sealed`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub org_keys: Vec<u32>,
}

/// The answer to [`ReadCheckpoints`], 200.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Checkpoints<V = Value> {
    /// By their positions.
    pub entries: Vec<Recorded<V>>,
    /// Where the next page begins; none on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<u32>,
}

/// What stands at one position.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Recorded<V = Value> {
    /// The position.
    pub index: u32,
    /// What the code asked for.
    pub what: Called,
    /// Under which name.
    pub name: String,
    /// Whether something came of it.
    pub status: RecordedStatus,
    /// Why it failed: `rejected`, `gate_expired`, `signal_timeout`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// The value of a step, the payload of a signal.
    #[serde(default = "none", skip_serializing_if = "Option::is_none")]
    pub value: Option<Secret<V>>,
    /// The same, for a worker that holds the organisation's key: `[index, value]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_sealed: Option<SealedValue>,
    /// Who decided about an approval; of one that was rejected the last one rejected it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub decisions: Vec<DecidedBy>,
    /// Of a wait: which of the tasks that went on with the function was the first to know how it ended, from 1. A replay
    /// learns of it where nothing but waits is left of what the tasks before that one knew.
    #[serde(default, skip_serializing_if = "is_first")]
    pub known_from: u32,
}

fn is_first(known_from: &u32) -> bool {
    *known_from == 0
}

fn none<V>() -> Option<Secret<V>> {
    None
}

/// What a durable function asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Called {
    /// Something to be done once.
    Step,
    /// A time.
    Sleep,
    /// A signal.
    Signal,
    /// People.
    Approval,
}

/// Whether something came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RecordedStatus {
    /// It is done.
    Done,
    /// It ended without what was asked for.
    Failed,
    /// It is waited for.
    Waiting,
}

/// Who decided about an approval.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DecidedBy {
    /// The name of their token.
    pub name: String,
    /// Why, in their words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What a suspended function waits for: `waits` of a [`Report`](super::Report) whose status is `suspended`. One of them is
/// reason enough to go on; what is still wanted then is asked for again, at the same position.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct WaitFor {
    /// The position.
    pub index: u32,
    /// `sleep`, `signal` or `approval`.
    pub what: Called,
    /// The name; of a signal: the signal's.
    pub name: String,
    /// Of a sleep: how long, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
    /// Of a sleep: until when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// Of a signal: at most so long, in seconds; of an approval: without a decision by then it expires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<f64>,
    /// Of an approval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<Box<AskPeople>>,
    /// `prompt` and `context` of the approval, from a worker that holds the organisation's key:
    /// `[index, {"prompt": ..., "context": ...}]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked_sealed: Option<SealedValue>,
}

/// What people are asked, and who.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct AskPeople {
    /// The question.
    pub prompt: Secret,
    /// What they are shown besides.
    pub context: Secret<Value>,
    /// Whether administrators alone may decide.
    pub admins: bool,
    /// Names of the operators' tokens that may; none: all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub people: Vec<String>,
    /// How many approvals it takes. Absent: 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quorum: Option<u32>,
    /// Whether whoever started the run may approve.
    pub requester_may_approve: bool,
    /// Whether its expiry counts as approved, and not as rejected.
    pub expiry_approves: bool,
    /// How often it is said again, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remind_seconds: Option<f64>,
}
