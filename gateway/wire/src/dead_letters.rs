//! Dead letters: tasks that failed for good, looked at and decided about by operators.

use serde::{Deserialize, Serialize};

use crate::tasks::ReportResult;
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
