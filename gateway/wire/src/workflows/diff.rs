//! Two runs side by side.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Secret, Timestamp};

/// The answer to `GET /api/v1/runs/{id}/diff?with=`: two runs side by side.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RunDiff {
    /// The first.
    pub a: DiffRun,
    /// The second.
    pub b: DiffRun,
    /// Whether they were given the same; absent: it is not known any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub same_input: Option<bool>,
    /// Where they first part, in the order of the first; absent: they do not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first: Option<DiffFirst>,
    /// Where their definitions differ.
    pub definition: Vec<DiffChange>,
    /// Every node that is on record in one of them, in the order in which the first ended them.
    pub nodes: Vec<DiffNode>,
}

/// One of two runs.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DiffRun {
    /// Its id.
    pub run_id: String,
    /// The name of its workflow.
    pub workflow: String,
    /// The version that it keeps.
    pub version: String,
    /// Its status.
    pub status: String,
    /// When it was started.
    pub started_at: Timestamp,
    /// From its start to its last event, in seconds.
    pub seconds: f64,
    /// What it was given; only where that is not the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<Secret<Value>>,
}

/// Where two runs first part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiffFirst {
    /// `input`; at a node its `presence`, `outcome` or `output`; or `end`: what they came to.
    pub r#where: String,
    /// The node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

/// Where two definitions differ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiffChange {
    /// The node; absent: the definition around the nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// `added`, `removed`, `moved` or `changed`.
    pub change: String,
    /// Of a changed one: what it says otherwise.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<String>,
}

/// What became of a node in two runs.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DiffNode {
    /// Its key.
    pub key: String,
    /// What is not the same: `presence`, `outcome`, `output`, `attempts`.
    pub differs: Vec<String>,
    /// In the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub a: Option<DiffSeen>,
    /// In the second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub b: Option<DiffSeen>,
}

/// What became of a node in one run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DiffSeen {
    /// `completed`, `failed`, `running` or `waiting`.
    pub status: String,
    /// Of a failed one: why, as a stable code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_code: Option<String>,
    /// When it began, in seconds since the run did.
    pub began: f64,
    /// How long it took, with waiting, in seconds; absent: it has not ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
    /// How long its last attempt took, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ran_seconds: Option<f64>,
    /// How often it was claimed.
    pub attempts: u32,
    /// Who had it last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker_id: Option<String>,
    /// Keyed digest of its output or its error text: the same for the same value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// The value itself; only where it is not the same, and not where there is too much of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Secret<Value>>,
}
