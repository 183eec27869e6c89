//! What a task is and what can happen to it. Pure: no clock, no mailbox, no database.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use fleetward_store::Position;
use serde::{Deserialize, Serialize};

use crate::fact::{Fold, Stamp};
use crate::id::{TaskId, WorkerId};

/// What a task asks of a worker. Equal requirements are one class of the matcher.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Requirement {
    /// Equal on both sides; no project never means "any".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// Equal on both sides.
    pub pool: String,
    /// Among the worker's models, where one is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// All of them among the worker's labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// What a worker offers. Equal profiles are one party of the matcher.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Profile {
    /// The project it works for.
    pub project: Option<String>,
    /// The pool it stands in.
    pub pool: String,
    /// Canonical names of the models it can use.
    pub models: BTreeSet<String>,
    /// Its labels; those of its enrollment key win over its own.
    pub labels: BTreeMap<String, String>,
}

impl Profile {
    /// Whether a worker of this profile may and can run such a task.
    pub fn fits(&self, wanted: &Requirement) -> bool {
        self.project == wanted.project
            && self.pool == wanted.pool
            && wanted.model.as_ref().is_none_or(|model| self.models.contains(model))
            && wanted.labels.iter().all(|(key, value)| self.labels.get(key) == Some(value))
    }
}

/// One claim of a task by a worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// Counts the claims of the task, from 1.
    pub number: u32,
    /// Who claimed it.
    pub worker: WorkerId,
    /// The claim's own name, given by the worker: repeating it gives the same task again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
    /// When, in microseconds UTC.
    pub claimed_at: i64,
}

/// Where a task stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// In the queue.
    Waiting,
    /// Its last attempt holds the lease.
    Leased,
    /// A result was accepted, at this time.
    Completed {
        /// Microseconds UTC.
        at: i64,
    },
    /// It failed for good, at this time.
    Failed {
        /// Microseconds UTC.
        at: i64,
        /// Why.
        why: Failure,
    },
}

/// Why a task failed for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Failure {
    /// Its worker said so.
    Reported,
    /// Too many attempts ended without a report.
    AttemptsExhausted,
}

/// Why an attempt ended without a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// Nobody renewed the lease in time.
    Lapsed,
    /// The answer to the poll was never read.
    Unread,
    /// The worker gave it back.
    HandedBack,
    /// The worker was revoked.
    Revoked,
    /// The worker started anew.
    Rebooted,
    /// An older client claimed although all its seats were taken.
    Overflow,
}

impl Ending {
    /// Whether the attempt counts to the cap: one that was handed back or never read does not.
    pub fn counts(self) -> bool {
        match self {
            Self::Lapsed | Self::Rebooted | Self::Overflow => true,
            Self::Unread | Self::HandedBack | Self::Revoked => false,
        }
    }
}

/// A task, without its payload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// Its id.
    pub id: TaskId,
    /// Where its payload is: the position of its first event.
    pub submitted: Position,
    /// When, in microseconds UTC.
    pub submitted_at: i64,
    /// Who submitted it.
    pub by: String,
    /// What it asks of a worker.
    pub wants: Arc<Requirement>,
    /// Digest of the request under its idempotency key, where it came with one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
    /// Size of the payload in bytes.
    pub payload_bytes: u64,
    /// The newest attempt: the one that may report until the next claim supersedes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<Attempt>,
    /// Attempts that ended and count to the cap.
    #[serde(default)]
    pub crashes: u32,
    /// Where it stands.
    pub phase: Phase,
    /// Position of its last event.
    pub updated: Position,
}

/// What can happen to a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind")]
pub enum Event {
    /// It was accepted into the queue. The payload is sealed beside it.
    #[serde(rename = "task.submitted")]
    Submitted {
        /// Its id.
        task: TaskId,
        /// What it asks of a worker.
        wants: Arc<Requirement>,
        /// Digest of the request under its idempotency key.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        request: Option<String>,
        /// Keyed digest of the payload.
        digest: String,
        /// Size of the payload.
        payload_bytes: u64,
    },
    /// A worker got it.
    #[serde(rename = "task.claimed")]
    Claimed {
        /// Which claim this is.
        attempt: u32,
        /// Whose.
        worker: WorkerId,
        /// The claim's own name.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        request: Option<String>,
    },
    /// The attempt ended without a result; the task is back in the queue.
    #[serde(rename = "task.returned")]
    Returned {
        /// Which attempt.
        attempt: u32,
        /// Whose.
        worker: WorkerId,
        /// Why.
        why: Ending,
    },
    /// A result was accepted. It is sealed beside it.
    #[serde(rename = "task.completed")]
    Completed {
        /// By which attempt.
        attempt: u32,
        /// By whom.
        worker: WorkerId,
        /// Keyed digest of the output.
        digest: String,
    },
    /// It failed for good. The error text, where there is one, is sealed beside it.
    #[serde(rename = "task.failed")]
    Failed {
        /// In which attempt.
        attempt: u32,
        /// Whose.
        worker: WorkerId,
        /// Why.
        why: Failure,
        /// Keyed digest of the error text.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        digest: Option<String>,
    },
}

impl Task {
    /// Number of the newest attempt, 0 before the first.
    pub fn attempts(&self) -> u32 {
        self.attempt.as_ref().map_or(0, |attempt| attempt.number)
    }

    /// The attempt that holds the lease.
    pub fn lease(&self) -> Option<&Attempt> {
        self.attempt.as_ref().filter(|_| self.phase == Phase::Leased)
    }

    /// Whether it ended for good.
    pub fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Completed { .. } | Phase::Failed { .. })
    }
}

impl Fold for Task {
    type Event = Event;
    const KIND: &'static str = "task";

    fn kind(event: &Event) -> &'static str {
        match event {
            Event::Submitted { .. } => "task.submitted",
            Event::Claimed { .. } => "task.claimed",
            Event::Returned { .. } => "task.returned",
            Event::Completed { .. } => "task.completed",
            Event::Failed { .. } => "task.failed",
        }
    }

    fn begin(event: &Event, stamp: Stamp<'_>) -> Option<Self> {
        let Event::Submitted { task, wants, request, payload_bytes, .. } = event else {
            return None;
        };
        Some(Self {
            id: *task,
            submitted: stamp.seq,
            submitted_at: stamp.at,
            by: stamp.by.to_owned(),
            wants: wants.clone(),
            request: request.clone(),
            payload_bytes: *payload_bytes,
            attempt: None,
            crashes: 0,
            phase: Phase::Waiting,
            updated: stamp.seq,
        })
    }

    fn evolve(&mut self, event: &Event, stamp: Stamp<'_>) {
        self.updated = stamp.seq;
        match event {
            Event::Submitted { .. } => {}
            Event::Claimed { attempt, worker, request } => {
                self.attempt = Some(Attempt {
                    number: *attempt,
                    worker: *worker,
                    request: request.clone(),
                    claimed_at: stamp.at,
                });
                self.phase = Phase::Leased;
            }
            Event::Returned { why, .. } => {
                self.crashes += u32::from(why.counts());
                self.phase = Phase::Waiting;
            }
            Event::Completed { .. } => self.phase = Phase::Completed { at: stamp.at },
            Event::Failed { why, .. } => {
                self.phase = Phase::Failed { at: stamp.at, why: *why };
            }
        }
    }

    fn open(&self) -> bool {
        !self.is_closed()
    }

    fn status(&self) -> &'static str {
        match self.phase {
            Phase::Waiting => "pending",
            Phase::Leased => "claimed",
            Phase::Completed { .. } => "completed",
            Phase::Failed { .. } => "failed",
        }
    }

    fn keeps_sealed(event: &Event) -> bool {
        matches!(event, Event::Completed { .. } | Event::Failed { .. })
    }
}
