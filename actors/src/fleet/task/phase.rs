//! Where a task stands, and how its attempts end. Pure.

use serde::{Deserialize, Serialize};

use crate::id::{RunId, WorkerId};
use crate::workflows::run::Key;

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
    /// It was reported as failed, and the task is to be tried again.
    #[serde(default, skip_serializing_if = "is_false")]
    pub failed: bool,
}

/// The step of a run that a task is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepRef {
    /// The run.
    pub run: RunId,
    /// Its step.
    pub key: Key,
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
    /// Its durable function waits since this time: another task goes on.
    Suspended {
        /// Microseconds UTC.
        at: i64,
    },
    /// Somebody took it back, at this time.
    Cancelled {
        /// Microseconds UTC.
        at: i64,
    },
    /// It had failed, and somebody let it go, at this time.
    Discarded {
        /// Microseconds UTC.
        at: i64,
    },
    /// Nothing is left of it but its events.
    Deleted,
}

/// Why a task failed for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Failure {
    /// Its worker said so, as often as it is tried.
    Reported,
    /// Too many attempts ended without a report.
    AttemptsExhausted,
    /// It was not done by its deadline.
    DeadlineExceeded,
    /// Its last attempt took too long.
    TimedOut,
}

impl Phase {
    /// Since when it is closed, in microseconds UTC.
    pub fn closed_at(&self) -> Option<i64> {
        match self {
            Self::Waiting | Self::Leased | Self::Deleted => None,
            Self::Completed { at }
            | Self::Failed { at, .. }
            | Self::Suspended { at }
            | Self::Cancelled { at }
            | Self::Discarded { at } => Some(*at),
        }
    }

    /// Why there is no result, as a word, of one that is closed without.
    pub fn failure(&self) -> Option<&'static str> {
        match self {
            Self::Waiting | Self::Leased | Self::Completed { .. } | Self::Suspended { .. } => None,
            Self::Failed { why, .. } => Some(why.as_str()),
            Self::Cancelled { .. } => Some("cancelled"),
            Self::Discarded { .. } => Some("discarded"),
            Self::Deleted => Some("deleted"),
        }
    }
}

impl Failure {
    /// The word on the wire and in lists.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reported => "reported",
            Self::AttemptsExhausted => "attempts_exhausted",
            Self::DeadlineExceeded => "deadline_exceeded",
            Self::TimedOut => "timed_out",
        }
    }
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

fn is_false(value: &bool) -> bool {
    !value
}
