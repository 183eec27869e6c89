//! Claims of workers, and what they are answered with.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::payload_keys::SealedValue;
use crate::workers::{NetworkPolicy, SandboxLevel};
use crate::{Labels, Secret, Timestamp};

/// `POST /api/v1/fleet/claim`: a worker has a free seat. The body may be empty.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Claim {
    /// How long to wait for work, in seconds; 0 looks once. Default 5, clamped to 0..60.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub poll_timeout: Option<f64>,
    /// Names this claim: repeating it after a lost answer gives the same task again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub claim_request_id: Option<String>,
    /// Different in every life of the worker's process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub boot_id: Option<String>,
    /// Most tasks that the worker takes, 1..=1000. With it the answer is [`ClaimedMany`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_tasks: Option<u32>,
    /// The numbers of the organisation's keys that the worker holds: payloads then come as `payload_sealed`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub org_keys: Vec<u32>,
}

/// The answer to [`Claim`], 200; where there is no work it is 204 without a body.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Claimed<V = Value> {
    /// The task.
    pub run_id: String,
    /// The organisation it belongs to.
    pub org_id: String,
    /// The project it belongs to.
    pub project_id: Option<String>,
    /// The pool it was submitted to.
    pub pool: String,
    /// The model it needs, by its canonical name.
    pub model: Option<String>,
    /// The labels it asked for.
    pub labels: Labels,
    /// What to do. Null for a worker that holds the organisation's key.
    pub payload: Secret<V>,
    /// What to do, for a worker that holds the organisation's key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload_sealed: Option<SealedValue>,
    /// Who claimed it.
    pub worker_id: String,
    /// When, by the server's clock.
    pub claimed_at: Timestamp,
    /// Which claim of this task it is; the first is 1.
    pub attempt: u32,
    /// Proof of this claim, presented with every word about it.
    pub claim_token: Secret,
    /// How long the attempt stays this worker's without a heartbeat, in seconds.
    pub lease_seconds: f64,
    /// The handler that it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handler: Option<String>,
    /// It must be run with at least this isolation: the worker said that it can. Absent: none is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sandbox: Option<SandboxLevel>,
    /// The sandbox image that it must be run in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// What it may reach at most. Absent: nothing is said about that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<NetworkPolicy>,
    /// The step of a workflow's run that it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<ClaimedStep>,
    /// At how many positions its durable function has something to read: see
    /// [`ReadCheckpoints`](super::ReadCheckpoints).
    #[serde(default, skip_serializing_if = "is_zero")]
    pub checkpoints: u32,
}

fn is_zero(value: &u32) -> bool {
    *value == 0
}

/// The step of a workflow's run that a task is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimedStep {
    /// The id of the run; `run_id` of the task is the task's own.
    pub workflow_run_id: String,
    /// Which step: `draft`, or `refine[2]/draft` inside the second time of a loop.
    pub key: String,
}

/// The answer to a [`Claim`] with `max_tasks`, 200; where there is no work it is 204 without a body.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ClaimedMany<V = Value> {
    /// At least one; no more than were asked for, nor than the worker has free seats.
    pub tasks: Vec<Claimed<V>>,
}
