//! A run replayed from its history.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::RunView;
use crate::Secret;

/// `POST /api/v1/runs/{id}/replay`: against a definition that may be applied nowhere.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RunReplayAgainst {
    /// The definition, as YAML or JSON text.
    pub document: String,
    /// The event to replay to. Absent: to the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<u64>,
}

/// The answer to `GET` and `POST /api/v1/runs/{id}/replay`: a run as its history says, and where that parts from a
/// definition. Nothing was changed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RunReplay {
    /// The run at that point: without its result.
    pub run: RunView,
    /// The version that its history was held against.
    pub against: String,
    /// How many events were replayed; the last one is `run.updated_seq`.
    pub events: u64,
    /// Whether all of the history fits the definition.
    pub fits: bool,
    /// Where they part, in order. What comes behind the first place may follow from it.
    pub divergences: Vec<RunDivergence>,
    /// They part in more places than are told.
    pub more: bool,
    /// Why not all of it was compared, if so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incomplete: Option<String>,
    /// What the definition asks for next.
    pub next: Vec<RunWant>,
    /// Signals that nobody has taken, oldest first.
    pub signals: Vec<RunSignalKept>,
    /// What nodes to come can be given: the input and the outputs of nodes.
    pub values: Vec<RunValue>,
}

/// A place where a history and a definition part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunDivergence {
    /// The position of the event; of what never happened, of the last one.
    pub seq: u64,
    /// Its kind; none: nothing happened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// The node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// `not_wanted`, `otherwise`, `never_happened`, `impossible` or `unreadable`.
    pub how: String,
    /// In words.
    pub detail: String,
}

/// Something that a definition asks for next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunWant {
    /// `step`, `timer`, `signal`, `approval`, `child`, `take` (a signal), `drop` (what is not wanted any more), `complete`
    /// or `fail`.
    pub what: String,
    /// At which node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Of a failure: why, as a stable code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
}

/// A signal that nobody has taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunSignalKept {
    /// Its name.
    pub name: String,
    /// The position of its event.
    pub seq: u64,
}

/// A value of a run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RunValue {
    /// `input`, or the key of a node.
    pub name: String,
    /// The position of the event that it is sealed beside.
    pub seq: u64,
    /// The value; absent: it is gone, or there is too much of it to be shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Secret<Value>>,
}
