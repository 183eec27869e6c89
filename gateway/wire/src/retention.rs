//! How long an organisation keeps what is over.

use serde::{Deserialize, Serialize};

/// How long what is over is kept, in seconds after its end, 60 at least; absent: for ever.
///
/// What belongs to something goes with it, and not before: the tasks of a run, and the runs that are its children.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RetentionTerms {
    /// Tasks that are completed, cancelled or discarded.
    pub tasks_seconds: Option<u64>,
    /// Runs that are completed, cancelled or discarded.
    pub runs_seconds: Option<u64>,
    /// Dead letters: tasks and runs that failed.
    pub failed_seconds: Option<u64>,
}

/// `GET /api/v1/fleet/retention`; `PUT` takes [`RetentionTerms`] and answers this.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetentionView {
    /// The terms: `PUT` replaces all three.
    #[serde(flatten)]
    pub terms: RetentionTerms,
    /// Whether something is being deleted now.
    pub running: bool,
    /// What the last round did, where there was one since the server started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<RetentionRound>,
    /// When the next one begins by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_at: Option<String>,
}

/// What a round of deleting did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetentionRound {
    /// When it ended.
    pub ended_at: String,
    /// Tasks that it deleted.
    pub tasks: u64,
    /// Runs that it deleted.
    pub runs: u64,
    /// Why it ended early; the next one goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_up: Option<String>,
}

/// `POST /api/v1/fleet/retention/sweep`: deletes now what is over for longer than it is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetentionSwept {
    /// Whether it has ended; otherwise it goes on by itself.
    pub ended: bool,
    /// Tasks that it deleted.
    pub tasks: u64,
    /// Runs that it deleted.
    pub runs: u64,
}

/// `DELETE /api/v1/fleet/tasks/{run_id}` and `DELETE /api/v1/runs/{run_id}`: what is over is no more.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deleted {
    /// Which.
    pub run_id: String,
    /// `deleted`.
    pub status: String,
}

impl Deleted {
    /// This one was deleted.
    pub fn new(run_id: String) -> Self {
        Self { run_id, status: "deleted".to_owned() }
    }
}
