//! Dead letters: tasks and runs that failed for good, looked at and decided about by operators.

use serde::{Deserialize, Serialize};

use crate::problem::Problem;
use crate::tasks::ReportResult;
use crate::workflows::RunView;
use crate::{Secret, Timestamp};

/// Query of `GET /api/v1/fleet/dead-letters` and its groups: those that every part fits.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct DeadLetterQuery {
    /// With this error group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Of this pool.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    /// Of this project.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub project_id: Option<String>,
    /// For this model, in any spelling.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// That failed for this reason: `reported`, `attempts_exhausted`, `deadline_exceeded` or `timed_out`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// At most so many, 1..200.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Only those before this one: [`TaskList::next`](crate::tasks::TaskList::next) of the page before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<u64>,
}

/// `GET /api/v1/fleet/dead-letters/groups`: the largest first.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DeadLetterGroups {
    /// What dead letters have in common.
    pub groups: Vec<DeadLetterGroup>,
    /// There are more dead letters than the newest 10,000, which were looked at.
    pub more: bool,
}

/// Dead letters that have their error in common.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DeadLetterGroup {
    /// What names it; none where no worker said what went wrong.
    pub group: Option<String>,
    /// Why they failed.
    pub reason: String,
    /// How many there are.
    pub count: u64,
    /// When the newest failed.
    pub newest_at: Timestamp,
    /// The newest.
    pub sample_run_id: String,
    /// Its error.
    pub sample_error: Option<Secret>,
}

/// `POST /api/v1/fleet/dead-letters/retry` and `/discard`: the ones that `run_ids` names, or that the filter fits.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct DeadLetterAction {
    /// These, 1,000 at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_ids: Option<Vec<String>>,
    /// Those that every part of it fits.
    #[serde(flatten)]
    pub filter: DeadLetterQuery,
    /// All of them: needed where neither ids nor a filter are given.
    pub all: bool,
    /// Only say how many there are.
    pub preview: bool,
    /// Why they are discarded, for the record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// The answer to [`DeadLetterAction`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DeadLetterOutcome {
    /// How many were meant.
    pub matched: u64,
    /// With how many it was done; 0 in a preview.
    pub changed: u64,
    /// There are more of them; ask again.
    pub more: bool,
    /// With which it was not done, and why.
    pub problems: Vec<ReportResult>,
}

/// Which failed runs are meant: those that every part of it fits. Query of `GET /api/v1/dead-letters` and its groups.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct DeadRunQuery {
    /// Of this workflow.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workflow: Option<String>,
    /// With this error group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// That failed for this reason: a stable code, as `reported` or `rejected`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// That failed at this node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// That failed longer ago than this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub older_than_seconds: Option<f64>,
    /// At most so many, 1..200.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Only those before this one: `next` of the page before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<u64>,
}

/// `GET /api/v1/dead-letters/groups`: the largest first.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DeadRunGroups {
    /// What failed runs have in common.
    pub groups: Vec<DeadRunGroup>,
    /// There are more failed runs than the newest 10,000, which were looked at.
    pub more: bool,
}

/// Failed runs that have their workflow, their reason and their error in common.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DeadRunGroup {
    /// What names the error; none where nobody said what went wrong.
    pub group: Option<String>,
    /// Of which workflow they are.
    pub workflow: String,
    /// Why they failed, as a stable code.
    pub code: String,
    /// How many there are.
    pub count: u64,
    /// When the first of them failed.
    pub first_at: Timestamp,
    /// When the last did.
    pub last_at: Timestamp,
    /// That one.
    pub sample_run_id: String,
    /// At which node it failed.
    pub sample_failed_at: Option<String>,
    /// Its error.
    pub sample_error: Option<Secret>,
}

/// The answer to `GET /api/v1/runs/{id}/failure`: a failed run, and the step that it failed at.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DeadRunShown {
    /// The run.
    pub run: RunView,
    /// The task of the step, where it failed at one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_id: Option<String>,
    /// What the step was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<Secret<serde_json::Value>>,
    /// Its attempts, oldest first.
    pub attempts: Vec<DeadRunAttempt>,
}

/// One attempt at the step that a run failed at.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DeadRunAttempt {
    /// Which.
    pub attempt: u32,
    /// Who had it.
    pub worker_id: Option<String>,
    /// When it began.
    pub claimed_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// Why it ended without a report, or for good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// What its worker said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Secret>,
}

/// `POST /api/v1/dead-letters/retry` and `/discard`: the runs that `run_ids` names, or that the filter fits.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct DeadRunAction {
    /// These, 1,000 at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_ids: Option<Vec<String>>,
    /// Those that every part of it fits.
    #[serde(flatten)]
    pub filter: DeadRunQuery,
    /// All of them: needed where neither ids nor a filter are given.
    pub all: bool,
    /// Only say how many there are.
    pub preview: bool,
    /// Why they are discarded, for the record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// The answer to [`DeadRunAction`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DeadRunOutcome {
    /// How many were meant.
    pub matched: u64,
    /// With how many it was done; 0 in a preview.
    pub changed: u64,
    /// There are more of them; ask again.
    pub more: bool,
    /// With which it was not done, and why.
    pub problems: Vec<RunResult>,
}

/// What was answered about one run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RunResult {
    /// Which.
    pub run_id: String,
    /// The status that it alone would have been answered with.
    pub status: u16,
    /// Why.
    pub problem: Problem,
}
