//! Workflows and their runs, as operators apply, start, see and decide about them.

mod diff;
mod lint;
mod replay;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Raw, Secret, Timestamp};
pub use diff::{DiffChange, DiffFirst, DiffNode, DiffRun, DiffSeen, RunDiff};
pub use lint::{WorkflowLint, WorkflowLinted, WorkflowProblem};
pub use replay::{RunDivergence, RunReplay, RunReplayAgainst, RunSignalKept, RunValue, RunWant};

/// `POST /api/v1/workflows`: what new runs of a workflow get.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct WorkflowApply {
    /// The definition, as YAML or JSON text.
    pub document: String,
}

/// A workflow.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct WorkflowView {
    /// Its name.
    pub name: String,
    /// What it is for, in words.
    pub description: Option<String>,
    /// The version that new runs get: the hash of the definition.
    pub version: String,
    /// `active` or `retired`.
    pub status: String,
    /// Every version that it ever had, oldest first.
    pub versions: Vec<WorkflowVersion>,
}

/// One version of a workflow.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct WorkflowVersion {
    /// The hash of the definition.
    pub version: String,
    /// When it was applied for the first time.
    pub applied_at: Timestamp,
    /// By whom.
    pub applied_by: String,
}

/// The answer to `GET /api/v1/workflows/{name}`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct WorkflowShown {
    /// The workflow.
    #[serde(flatten)]
    pub workflow: WorkflowView,
    /// The version that is shown.
    pub shown: String,
    /// What it says, as a document.
    pub definition: Value,
}

/// `GET /api/v1/workflows`, by name.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct WorkflowList {
    /// All of them.
    pub workflows: Vec<WorkflowView>,
}

/// `POST /api/v1/runs`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(bound(deserialize = "V: Deserialize<'de> + Default"))]
pub struct RunStart<V = Raw> {
    /// The name of the workflow.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub workflow: String,
    /// Instead of a workflow: the handler that is a durable function. A workflow of that one step is made for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub function: Option<String>,
    /// Of a function: how it is run, where its workflow is to say otherwise for this run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub options: Option<FunctionOptions>,
    /// Its version, or its first characters. Absent: the newest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The id of the run: starting again under it starts once. Absent: a fresh one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_id: Option<String>,
    /// What it is given.
    #[serde(default)]
    pub input: Secret<V>,
}

/// What one start of a durable function says of its step, as steps say it in a document. Absent: as its workflow says.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FunctionOptions {
    /// How often a failed attempt is tried again: 0 to 99.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retries: Option<u32>,
    /// Longest wait before the first retry: `5s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_delay: Option<String>,
    /// How long one attempt may take: `10m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<String>,
    /// The pool whose workers run it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
}

/// The answer to [`RunStart`] and [`RunFork`]: 201, or 200 where it was started before.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RunStarted {
    /// The id of the run.
    pub run_id: String,
    /// The version that it keeps.
    pub version: String,
    /// Whether it was started before, under the same id.
    pub repeated: bool,
    /// Where the request waited (`?wait=20`): the run when it had ended, or when the wait was over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunView>,
}

/// `POST /api/v1/runs/{id}/fork`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RunFork<V = Raw> {
    /// The node of the top level to begin from: what ran before it is taken over.
    pub from: String,
    /// The id of the new run. Absent: a fresh one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_id: Option<String>,
    /// Another input. Absent: the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<Secret<V>>,
}

/// `POST /api/v1/runs/purge`: failed runs that leave the dead letters.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RunPurge {
    /// Those that failed at least so many seconds ago.
    pub older_than_seconds: u64,
    /// Of this workflow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workflow: Option<String>,
    /// With this error group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Why, for the record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Where the call before ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<u64>,
}

/// What became of a purge.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RunsPurged {
    /// How many left.
    pub discarded: usize,
    /// `before` of the next call, if there may be more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
}

/// A run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RunView {
    /// Its id.
    pub run_id: String,
    /// The name of its workflow.
    pub workflow: String,
    /// The version that it keeps.
    pub version: String,
    /// `running`, `waiting` (for people, times or signals only), `paused`, `completed`, `failed`, `cancelled` or
    /// `discarded`.
    pub status: String,
    /// When it was started.
    pub started_at: Timestamp,
    /// By whom.
    pub started_by: String,
    /// When something happened to it for the last time.
    pub updated_at: Timestamp,
    /// The position of that event: `?wait=20&after=` this waits for the next one.
    pub updated_seq: u64,
    /// Why it does not go on by itself, if somebody should look at it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stuck: Option<String>,
    /// The run and the node that it is a child of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<RunParent>,
    /// The run that it was forked from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forked_from: Option<String>,
    /// The tick of a schedule that it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<RunSchedule>,
    /// Its nodes that have ended or run, by key.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<NodeView>,
    /// What it waits for besides tasks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waits: Vec<WaitView>,
    /// Its steps that are durable functions and have not ended. Only where one run is asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub functions: Vec<FunctionView>,
    /// Of a completed one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Secret<Value>>,
    /// Of a failed one: why, as a stable code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_code: Option<String>,
    /// Of a failed one: at which node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed_at: Option<String>,
    /// Of a failed one: why, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Secret>,
    /// Of a failed one: what its error has in common with others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_group: Option<String>,
}

/// What a child run belongs to.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RunParent {
    /// The run.
    pub run_id: String,
    /// Its node.
    pub key: String,
}

/// What a run of a schedule is for.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RunSchedule {
    /// The name of the schedule.
    pub name: String,
    /// The time of the tick.
    pub tick: Timestamp,
}

/// One node of a run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NodeView {
    /// Its name, behind the times of the loops around it: `refine[2]/draft`.
    pub key: String,
    /// `running`, `suspended`, `completed` or `failed`.
    pub status: String,
    /// Since when it waits or runs.
    pub since: Timestamp,
    /// When its last attempt was claimed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claimed_at: Option<Timestamp>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// How often it was claimed.
    #[serde(default)]
    pub attempts: u32,
    /// The task that it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_id: Option<String>,
    /// Of a failed one: why, as a stable code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_code: Option<String>,
}

/// A step that is a durable function.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FunctionView {
    /// Its key.
    pub key: String,
    /// Whether it waits, on no worker.
    pub suspended: bool,
    /// What it has done and waits for, by position.
    pub checkpoints: Vec<CheckpointView>,
}

/// One position of a durable function.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CheckpointView {
    /// The position.
    pub index: u32,
    /// `step`, `sleep`, `signal` or `approval`.
    pub what: String,
    /// Its name.
    pub name: String,
    /// `done`, `failed` or `waiting`.
    pub status: String,
}

/// Something that a run waits for besides tasks.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct WaitView {
    /// The node that waits.
    pub key: String,
    /// `timer`, `approval`, `signal` or `child`.
    pub r#for: String,
    /// Since when.
    pub since: Timestamp,
    /// When it ends by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// The name of the signal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<String>,
    /// The id of the child run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub child: Option<String>,
    /// Of an approval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gate: Option<GateView>,
}

/// A gate that waits for people.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct GateView {
    /// The least role of who may decide.
    pub role: String,
    /// Names of tokens of who may decide; empty: all of that role.
    pub people: Vec<String>,
    /// How many approvals open it.
    pub quorum: u32,
    /// Who has approved.
    pub approved_by: Vec<String>,
    /// Digest of what is approved.
    pub digest: String,
    /// `reject` or `approve`: what its expiry means.
    pub on_expiry: String,
    /// What is asked; only where one run is shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<Secret>,
    /// What is shown besides; only where one run is shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<Secret<Value>>,
}

/// `GET /api/v1/runs`, newest first.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RunList {
    /// One page.
    pub runs: Vec<RunView>,
    /// Where the next page begins (`?before=`); none on the last one.
    #[serde(default)]
    pub next: Option<u64>,
}

/// `POST /api/v1/runs/{id}/approve` and `/reject`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct GateDecision {
    /// Which gate: its key, or the name of its node. May be absent where one is open.
    pub gate: Option<String>,
    /// Why, for the record.
    pub reason: Option<String>,
    /// Digest of what was seen: another one is refused.
    pub digest: Option<String>,
}

/// `POST /api/v1/runs/{id}/signals`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(bound(deserialize = "V: Deserialize<'de> + Default"))]
pub struct RunSignal<V = Raw> {
    /// Its name.
    pub name: String,
    /// What it says.
    #[serde(default)]
    pub payload: Secret<V>,
}

/// The answer to `GET /api/v1/runs/{id}/why`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RunWhy {
    /// The id of the run.
    pub run_id: String,
    /// Its status.
    pub status: String,
    /// Why it stands where it stands, in words.
    pub reasons: Vec<String>,
}

/// The answer to `GET /api/v1/runs/{id}/timeline`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RunTimeline {
    /// The id of the run.
    pub run_id: String,
    /// Its status.
    pub status: String,
    /// Everything that happened to it and to its tasks, in order.
    pub events: Vec<TimelineEvent>,
    /// What its time went to, in seconds, by node.
    pub spans: Vec<Span>,
}

/// One thing that happened.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TimelineEvent {
    /// Its position in the organisation's record.
    pub seq: u64,
    /// When.
    pub at: Timestamp,
    /// Its kind: `run.started`, `task.claimed`.
    pub kind: String,
    /// Who.
    pub by: String,
    /// The node that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// What is in the open.
    pub body: Value,
}

/// A stretch of time of one node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Span {
    /// The node.
    pub key: String,
    /// `queued`, `running`, `step` (of a durable function, within `running`), `back_off`, `approval`, `timer`, `signal` or `child`.
    pub what: String,
    /// When it began, in seconds since the run did.
    pub from: f64,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// Of an attempt: which.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// Of an attempt: who had it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker_id: Option<String>,
}
