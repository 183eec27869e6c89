//! Tasks: submitted and looked at by operators; claimed, reported and handed back by workers.

mod claims;
mod functions;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::problem::Problem;
use crate::workers::{NetworkPolicy, SandboxLevel};
pub use claims::{Claim, Claimed, ClaimedMany, ClaimedStep};
pub use functions::{
    AskPeople, Called, Checkpoint, Checkpoints, DecidedBy, ReadCheckpoints, Recorded,
    RecordedStatus, WaitFor,
};

use crate::{Done, Labels, Secret, Timestamp, null_is_default, payload_keys::SealedValue};

/// How an attempt ended, in the words of the worker.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ReportStatus {
    /// It has a result.
    #[default]
    Completed,
    /// It has an error.
    Failed,
    /// Its durable function waits, and holds no seat meanwhile.
    Suspended,
}

/// What is said of a status that is none.
pub const INVALID_STATUS: &str = "status must be completed, failed or suspended";

impl<'de> Deserialize<'de> for ReportStatus {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Whatever it is instead, the same is said of it.
        match Value::deserialize(deserializer)?.as_str() {
            Some("completed") => Ok(Self::Completed),
            Some("failed") => Ok(Self::Failed),
            Some("suspended") => Ok(Self::Suspended),
            _ => Err(D::Error::custom(INVALID_STATUS)),
        }
    }
}

/// `POST /api/v1/fleet/report`: an attempt ended. Harmless twice.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(bound(deserialize = "V: Deserialize<'de> + Default"))]
pub struct Report<V = Value> {
    /// The task.
    pub run_id: String,
    /// How it ended.
    #[serde(default)]
    pub status: ReportStatus,
    /// The result: any JSON, a string from older workers.
    #[serde(default)]
    pub output: Option<Secret<V>>,
    /// What went wrong.
    #[serde(default)]
    pub error: Option<Secret>,
    /// The result, from a worker that holds the organisation's key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_sealed: Option<SealedValue>,
    /// What went wrong, from a worker that holds the organisation's key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_sealed: Option<SealedValue>,
    /// Of a failure: false where another attempt cannot do better. Absent: true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retryable: Option<bool>,
    /// Which claim of the task. Absent from older workers.
    #[serde(default)]
    pub attempt: Option<u32>,
    /// Proof of the claim. Absent from older workers.
    #[serde(default)]
    pub claim_token: Option<Secret>,
    /// The model that it used, where the worker says so: one that it does not have makes it suspicious.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Of a suspension: what its function waits for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waits: Vec<WaitFor>,
}

/// The answer to [`Report`].
pub type ReportAnswer = Done;

/// `POST /api/v1/fleet/reports`: the ends of many attempts, in one commit.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(bound(deserialize = "V: Deserialize<'de> + Default"))]
pub struct ReportMany<V = Value> {
    /// At most 1,000.
    pub reports: Vec<Report<V>>,
}

/// The answer to [`ReportMany`], 200: one result for each report, in their order.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ReportsAnswer {
    /// What became of each.
    pub results: Vec<ReportResult>,
}

/// What became of one report of many.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ReportResult {
    /// The task.
    pub run_id: String,
    /// The status that this report alone would have been answered with: 200, or that of the problem.
    pub status: u16,
    /// Why it was not accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<Problem>,
}

/// `POST /api/v1/fleet/tasks/{run_id}/complete`: the same as a [`Report`] that completed.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(bound(deserialize = "V: Deserialize<'de> + Default"))]
#[serde(default)]
pub struct Complete<V = Value> {
    /// The result: any JSON.
    pub output: Option<Secret<V>>,
    /// Which claim of the task.
    pub attempt: Option<u32>,
    /// Proof of the claim.
    pub claim_token: Option<Secret>,
}

/// `POST /api/v1/fleet/tasks/{run_id}/fail`: the same as a [`Report`] that failed.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Fail {
    /// What went wrong.
    pub error: Option<Secret>,
    /// False where another attempt cannot do better. Absent: true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retryable: Option<bool>,
    /// Which claim of the task.
    pub attempt: Option<u32>,
    /// Proof of the claim.
    pub claim_token: Option<Secret>,
}

/// `POST /api/v1/fleet/tasks/{run_id}/release`: the worker will not finish this attempt.
///
/// The task goes back to its queue at once, and the attempt does not count against it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct HandBack {
    /// The task; the path names it too.
    #[serde(default)]
    pub run_id: String,
    /// Which claim of it.
    pub attempt: u32,
    /// Proof of the claim.
    pub claim_token: Secret,
    /// Why, for the record: never a word of the task itself.
    #[serde(default)]
    pub reason: Option<String>,
}

/// `POST /api/v1/fleet/tasks/{run_id}/progress`: how far an attempt is.
///
/// Taken twice a second at most for each task; the last one is shown with the task.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(bound(deserialize = "V: Deserialize<'de> + Default"))]
#[serde(default)]
pub struct Progress<V = Value> {
    /// How much is done, 0 to 100.
    pub percent: Option<u8>,
    /// Whatever there is to say, partial output included: any JSON, 64 KiB at most.
    #[serde(deserialize_with = "null_is_default")]
    pub data: Secret<V>,
    /// The same, from a worker that holds the organisation's key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_sealed: Option<SealedValue>,
    /// Which claim of the task.
    pub attempt: Option<u32>,
    /// Proof of the claim.
    pub claim_token: Option<Secret>,
}

/// One condition on the labels of a worker, in the words of Kubernetes' label selectors.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabelCondition {
    /// Name of the label.
    pub key: String,
    /// What must hold for it.
    pub operator: LabelOperator,
    /// The values that `in` and `not_in` speak of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
}

/// What must hold for a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LabelOperator {
    /// The worker has it, with one of the values.
    In,
    /// The worker does not have it with any of the values.
    NotIn,
    /// The worker has it.
    Exists,
    /// The worker does not have it.
    NotExists,
}

/// How often a task is tried whose attempts are reported as failed.
///
/// The wait before each is random between zero and a longest that grows from `initial_seconds` by `factor` up to
/// `max_seconds`. Attempts that are lost with their worker have a cap of their own and no wait.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RetryPolicy {
    /// Attempts that may fail, with the first, 1 to 100. Absent: 1, it is not tried again.
    pub max_attempts: u32,
    /// Absent: 1.
    pub initial_seconds: f64,
    /// 1 to 100. Absent: 2.
    pub factor: f64,
    /// A day at most. Absent: 300.
    pub max_seconds: f64,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self { max_attempts: 1, initial_seconds: 1.0, factor: 2.0, max_seconds: 300.0 }
    }
}

/// How something is executed. What needs secrets that are lent to sandboxes is refused: those do not exist yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExecutionMode {
    /// By the worker, without isolation.
    Bare,
    /// At least as `sandbox: process` says.
    Sandboxed,
    /// Refused: in a sandbox with an identity of its own.
    Identity,
    /// Refused: in a sandbox with credentials of an agent.
    Agent,
    /// Refused: in a sandbox with credentials that are made for the attempt.
    AgentJit,
}

/// `POST /api/v1/fleet/tasks`: work to be done once.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(bound(deserialize = "V: Deserialize<'de> + Default"))]
#[serde(default)]
pub struct TaskSubmit<V = Value> {
    /// The model it needs. Absent: none.
    pub model: Option<String>,
    /// The pool that may take it. Absent: `default`.
    pub pool: Option<String>,
    /// Labels that its worker must have.
    #[serde(deserialize_with = "null_is_default")]
    pub labels: Labels,
    /// More that must hold for its worker's labels.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub selector: Vec<LabelCondition>,
    /// The least isolation that it needs. Absent: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sandbox: Option<SandboxLevel>,
    /// How it is executed, in one word. Absent: `bare`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<ExecutionMode>,
    /// The sandbox image that its worker must be able to run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// The handler that its worker must have registered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub handler: Option<String>,
    /// The network policy that its worker must be able to enforce.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<NetworkPolicy>,
    /// The one worker that may have it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub worker_id: Option<String>,
    /// 0 to 9, the highest first. Absent: 5. A step is worth a minute of waiting, so nothing waits for ever.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<u8>,
    /// It does not start before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Timestamp>,
    /// It fails unless it is done by then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Timestamp>,
    /// How long one attempt may take, in seconds; then it counts as failed. Absent: as long as its lease is renewed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<f64>,
    /// What happens when an attempt fails. Absent: the task fails.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry: Option<RetryPolicy>,
    /// A worker whose attempt failed or was lost does not get it next, for five minutes.
    #[serde(deserialize_with = "null_is_default")]
    pub spread: bool,
    /// Tasks with the same key, 1 to 256 bytes, go to the worker that last had it, if it may have them soon. Not a secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub affinity: Option<String>,
    /// How long it waits for that worker, 300 at most; then anybody may have it. Absent: 5.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub affinity_seconds: Option<f64>,
    /// What to do.
    #[serde(deserialize_with = "null_is_default")]
    pub payload: Secret<V>,
    /// Repeating a submit under the same key submits once; the header `Idempotency-Key` says the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
}

/// `POST /api/v1/fleet/tasks/batch`: many tasks in one commit.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(bound(deserialize = "V: Deserialize<'de> + Default"))]
pub struct TaskSubmitMany<V = Value> {
    /// At most 1,000.
    pub tasks: Vec<TaskSubmit<V>>,
}

/// The answer to [`TaskSubmitMany`], 200: one result for each task, in their order.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TasksSubmitted {
    /// What became of each.
    pub results: Vec<SubmitResult>,
}

/// What became of one task of a batch.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SubmitResult {
    /// The status that a submit of this task alone would have been answered with: 201, or that of the problem.
    pub status: u16,
    /// The task, where there is one.
    #[serde(flatten)]
    pub task: Option<TaskSubmitted>,
    /// Why there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<Problem>,
}

/// The answer to [`TaskSubmit`], 201.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TaskSubmitted {
    /// The task.
    pub run_id: String,
    /// The pool it waits in.
    pub pool: String,
    /// The canonical name of the model it needs.
    pub model: Option<String>,
}

/// Where a task stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TaskStatus {
    /// Waits for a worker.
    Pending,
    /// A worker has it.
    Claimed,
    /// Has its one result.
    Completed,
    /// Ended without one: it stands in the dead-letter queue.
    Failed,
    /// Its durable function waits; another task of its run goes on.
    Suspended,
    /// Taken back by an operator.
    Cancelled,
    /// Was a dead letter, and an operator let it go.
    Discarded,
    /// Was over, and is being deleted.
    Deleted,
    /// A status of a newer server that this build has no word for. The server never sends it.
    #[serde(other)]
    Unknown,
}

/// `GET /api/v1/fleet/tasks/{run_id}`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TaskView {
    /// The task.
    pub run_id: String,
    /// Where it stands.
    pub status: TaskStatus,
    /// The project it belongs to.
    pub project_id: Option<String>,
    /// The pool it was submitted to.
    pub pool: String,
    /// The canonical name of the model it needs.
    pub model: Option<String>,
    /// Labels that its worker must have.
    #[serde(default)]
    pub labels: Labels,
    /// Who has it, or reported it; none while it waits.
    pub worker_id: Option<String>,
    /// When.
    pub claimed_at: Option<Timestamp>,
    /// How often it was claimed.
    #[serde(default)]
    pub attempt: u32,
    /// What went wrong, if it failed.
    pub error: Option<Secret>,
    /// The result, if it completed.
    pub output: Option<Secret<Value>>,
    /// When its end was reported.
    pub reported_at: Option<Timestamp>,
    /// When it was submitted.
    pub created_at: Timestamp,
    /// 0 to 9, the highest first.
    #[serde(default)]
    pub priority: u8,
    /// It does not start before: as submitted, or because an attempt failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Timestamp>,
    /// It fails unless it is done by then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Timestamp>,
    /// The step of a workflow's run that it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<ClaimedStep>,
    /// How many of its attempts were reported as failed.
    #[serde(default)]
    pub failures: u32,
    /// Why it failed: `reported`, `attempts_exhausted`, `deadline_exceeded` or `timed_out`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What names all dead letters with such an error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_group: Option<String>,
    /// The last word of its worker of how far it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<ProgressView>,
}

/// How far a task is, as its worker last said.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ProgressView {
    /// When, by the server's clock.
    pub at: Timestamp,
    /// How much is done, 0 to 100.
    pub percent: Option<u8>,
    /// What it said. Only where one task is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Secret<Value>>,
}

/// `GET /api/v1/fleet/tasks/{run_id}/why`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Why {
    /// The task.
    pub run_id: String,
    /// Where it stands.
    pub status: TaskStatus,
    /// Why it stands there, in words, the most important first.
    pub reasons: Vec<String>,
}

/// `GET /api/v1/fleet/tasks/{run_id}/history`: oldest first.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct History {
    /// The task.
    pub run_id: String,
    /// All that happened to it.
    pub events: Vec<crate::audit::AuditEvent>,
}

/// Body of `POST /api/v1/fleet/tasks/{run_id}/cancel` and `/discard`. May be empty.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Reason {
    /// Why, for the record.
    pub reason: Option<String>,
}

/// Query of `GET /api/v1/fleet/tasks`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct TaskQuery {
    /// Only tasks that stand here: a word of [`TaskStatus`].
    pub status: Option<String>,
    /// At most so many, 1..200.
    pub limit: Option<u32>,
    /// Only those before this one: [`TaskList::next`](crate::tasks::TaskList::next) of the page before.
    pub before: Option<u64>,
}

/// `GET /api/v1/fleet/tasks`: newest first.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TaskList {
    /// The tasks of the caller's organisation.
    pub tasks: Vec<TaskView>,
    /// Where the next page begins; none on the last one.
    #[serde(default)]
    pub next: Option<u64>,
}
