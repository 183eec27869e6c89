//! What a task is and what can happen to it. Pure: no clock, no mailbox, no database.

mod handling;
pub mod history;
mod mode;
mod phase;
mod requirement;

use std::collections::BTreeSet;
use std::sync::Arc;

use fleetward_store::Position;
use serde::{Deserialize, Serialize};

use crate::fact::{Fold, Stamp};
use crate::id::{TaskId, WorkerId};
pub use handling::{
    AFFINITY_DEFAULT_MS, Affinity, Handling, PRIORITY_DEFAULT, PRIORITY_MAX, Retry,
};
pub use history::Function;
use history::{Entry, Pending};
pub use mode::Mode;
pub use phase::{Attempt, Ending, Failure, Phase, StepRef};
pub use requirement::{Condition, Network, Operator, Profile, Requirement, Sandbox};

/// Most workers that a task remembers to avoid.
const AVOID_MAX: usize = 16;

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
    pub by: Arc<str>,
    /// What it asks of a worker.
    pub wants: Arc<Requirement>,
    /// Digest of the request under its idempotency key, where it came with one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
    /// How it is to be treated.
    #[serde(default, skip_serializing_if = "Handling::is_default")]
    pub handling: Handling,
    /// Size of the payload in bytes.
    pub payload_bytes: u64,
    /// The newest attempt: the one that may report until the next claim supersedes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<Attempt>,
    /// Attempts that ended and count to the cap.
    #[serde(default)]
    pub crashes: u32,
    /// Attempts that were reported as failed since it was submitted or revived.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub failures: u32,
    /// Not before this time, in microseconds UTC, while it waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_at: Option<i64>,
    /// Workers whose attempt of it failed or was lost, where it is to be spread.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub avoid: BTreeSet<WorkerId>,
    /// The last word of progress of its newest attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
    /// Position of the event that the error of its last failed attempt is sealed beside, while it is tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_at: Option<Position>,
    /// What its last error has in common with others; see [`Event::Failed`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_group: Option<String>,
    /// The newest attempt whose late report was refused, so that the record has each once.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub refused: u32,
    /// The step of a run that it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<StepRef>,
    /// Of the step of a run: position of the event that its result or its last error is sealed beside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Position>,
    /// Where its handler is a durable function: what that has done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub function: Option<Box<Function>>,
    /// Where it stands.
    pub phase: Phase,
    /// Position of its last event.
    pub updated: Position,
}

/// Where the last word of progress is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Position of the event that it is sealed beside.
    pub seq: Position,
    /// When, in microseconds UTC.
    pub at: i64,
    /// How much is done, 0 to 100, where the worker says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent: Option<u8>,
}

fn is_zero(value: &u32) -> bool {
    *value == 0
}

/// What can happen to a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
        /// How it is to be treated.
        #[serde(default, skip_serializing_if = "Handling::is_default")]
        handling: Handling,
        /// The step of a run that it is.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        step: Option<StepRef>,
        /// What its durable function had done before it.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        history: Vec<Entry>,
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
    /// An attempt failed, and it is to be tried again. The error text is sealed beside it.
    #[serde(rename = "task.retry_scheduled")]
    RetryScheduled {
        /// Which attempt failed.
        attempt: u32,
        /// Whose.
        worker: WorkerId,
        /// Not before this time, in microseconds UTC.
        ready_at: i64,
        /// Keyed digest of the error text.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        digest: Option<String>,
        /// As in [`Event::Failed`].
        #[serde(default, skip_serializing_if = "Option::is_none")]
        group: Option<String>,
    },
    /// A worker said how far it is. What it said is sealed beside it.
    #[serde(rename = "task.progressed")]
    Progressed {
        /// In which attempt.
        attempt: u32,
        /// Who.
        worker: WorkerId,
        /// How much is done, 0 to 100.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        percent: Option<u8>,
        /// Keyed digest of what it said.
        digest: String,
    },
    /// Its durable function has done a step. The value is sealed beside it.
    #[serde(rename = "task.checkpointed")]
    Checkpointed {
        /// In which attempt.
        attempt: u32,
        /// Who.
        worker: WorkerId,
        /// The position of the step.
        index: u32,
        /// Its name.
        name: String,
        /// Keyed digest of the value.
        digest: String,
        /// Size of the value.
        bytes: u64,
        /// How long it took by the worker's clock, in milliseconds: to be shown, and used for nothing.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        took_ms: Option<u64>,
    },
    /// Its durable function waits: the task is over, and its run makes another when there is a reason to go on. What
    /// people are asked is sealed beside it.
    #[serde(rename = "task.suspended")]
    Suspended {
        /// In which attempt.
        attempt: u32,
        /// Whose.
        worker: WorkerId,
        /// What for.
        waits: Vec<Pending>,
        /// Keyed digest of what is sealed.
        digest: String,
    },
    /// Somebody took it back before it was done.
    #[serde(rename = "task.cancelled")]
    Cancelled {
        /// Why, in that person's words.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// It had failed for good, and is to be tried again from the beginning.
    #[serde(rename = "task.revived")]
    Revived {},
    /// It had failed for good, and nobody will try it again.
    #[serde(rename = "task.discarded")]
    Discarded {
        /// Why, in that person's words.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// It was over, and its row goes: by the organisation's retention, or because somebody wants it.
    #[serde(rename = "task.deleted")]
    Deleted {},
    /// A worker that had lost its attempt reported on it, and was refused.
    #[serde(rename = "task.report_refused")]
    ReportRefused {
        /// Which attempt.
        attempt: u32,
        /// Who.
        worker: WorkerId,
        /// The code that it was answered with.
        code: String,
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
        /// Keyed digest of what the error text has in common with others of its kind.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        group: Option<String>,
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
        !matches!(self.phase, Phase::Waiting | Phase::Leased)
    }

    /// Whether it waits for work at this time, and not for the time.
    pub fn is_ready(&self, now: i64) -> bool {
        self.phase == Phase::Waiting && self.ready_at.is_none_or(|at| at <= now)
    }

    /// Whether it stands in the dead-letter queue: it failed for good, and nobody has decided about it.
    pub fn is_dead(&self) -> bool {
        matches!(self.phase, Phase::Failed { .. })
    }

    /// Remembers a worker that shall not get it next time.
    fn spread_from(&mut self, worker: WorkerId) {
        if self.handling.spread && self.avoid.len() < AVOID_MAX {
            self.avoid.insert(worker);
        }
    }

    /// Waits again, as new.
    fn start_over(&mut self) {
        self.phase = Phase::Waiting;
        (self.crashes, self.failures, self.ready_at) = (0, 0, None);
        (self.error_at, self.error_group) = (None, None);
        self.avoid.clear();
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
            Event::RetryScheduled { .. } => "task.retry_scheduled",
            Event::Progressed { .. } => "task.progressed",
            Event::Checkpointed { .. } => "task.checkpointed",
            Event::Suspended { .. } => "task.suspended",
            Event::Cancelled { .. } => "task.cancelled",
            Event::Revived {} => "task.revived",
            Event::Discarded { .. } => "task.discarded",
            Event::Deleted {} => "task.deleted",
            Event::ReportRefused { .. } => "task.report_refused",
            Event::Failed { .. } => "task.failed",
        }
    }

    fn begin(event: &Event, stamp: Stamp<'_>) -> Option<Self> {
        let Event::Submitted {
            task, wants, request, payload_bytes, handling, step, history, ..
        } = event
        else {
            return None;
        };
        let begun = || Function { history: history.iter().cloned().collect(), waits: Vec::new() };
        Some(Self {
            id: *task,
            submitted: stamp.seq,
            submitted_at: stamp.at,
            by: stamp.by.into(),
            wants: wants.clone(),
            request: request.clone(),
            ready_at: handling.not_before,
            handling: handling.clone(),
            payload_bytes: *payload_bytes,
            attempt: None,
            crashes: 0,
            failures: 0,
            avoid: BTreeSet::new(),
            progress: None,
            error_at: None,
            error_group: None,
            refused: 0,
            step: step.clone(),
            ended: None,
            function: (!history.is_empty()).then(|| Box::new(begun())),
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
                    failed: false,
                });
                self.phase = Phase::Leased;
                (self.ready_at, self.progress) = (None, None);
            }
            Event::Returned { why, worker, .. } => {
                self.crashes += u32::from(why.counts());
                self.phase = Phase::Waiting;
                if why.counts() {
                    self.spread_from(*worker);
                }
                if !self.avoid.is_empty() {
                    self.ready_at = Some(stamp.at);
                }
            }
            Event::RetryScheduled { worker, ready_at, group, .. } => {
                self.failures += 1;
                self.phase = Phase::Waiting;
                self.ready_at = Some(*ready_at);
                let told = group.as_ref().map(|_| stamp.seq);
                (self.error_at, self.error_group) = (told, group.clone());
                self.attempt.iter_mut().for_each(|attempt| attempt.failed = true);
                self.spread_from(*worker);
            }
            Event::Progressed { percent, .. } => {
                let (seq, at, percent) = (stamp.seq, stamp.at, *percent);
                self.progress = Some(Progress { seq, at, percent });
            }
            Event::Checkpointed { index, name, digest, bytes, .. } => {
                let entry = Entry::done(*index, name, (digest, *bytes), self.id, stamp.seq);
                self.function.get_or_insert_default().history.put(entry);
            }
            Event::Suspended { waits, .. } => {
                self.phase = Phase::Suspended { at: stamp.at };
                self.ended = Some(stamp.seq);
                self.function.get_or_insert_default().waits = waits.clone();
            }
            Event::ReportRefused { attempt, .. } => self.refused = self.refused.max(*attempt),
            Event::Completed { .. } => {
                self.phase = Phase::Completed { at: stamp.at };
                self.ended = self.step.as_ref().map(|_| stamp.seq);
            }
            Event::Failed { why, group, .. } => {
                self.phase = Phase::Failed { at: stamp.at, why: *why };
                if group.is_some() {
                    self.error_group = group.clone();
                }
                let told = Some(stamp.seq).filter(|_| group.is_some()).or(self.error_at);
                self.ended = told.filter(|_| self.step.is_some());
            }
            Event::Cancelled { .. } => self.phase = Phase::Cancelled { at: stamp.at },
            Event::Discarded { .. } => self.phase = Phase::Discarded { at: stamp.at },
            Event::Deleted {} => self.phase = Phase::Deleted,
            Event::Revived {} => self.start_over(),
        }
    }

    fn open(&self) -> bool {
        !self.is_closed()
    }

    fn is_deleted(&self) -> bool {
        self.phase == Phase::Deleted
    }

    fn status(&self) -> &'static str {
        match self.phase {
            Phase::Waiting => "pending",
            Phase::Leased => "claimed",
            Phase::Completed { .. } => "completed",
            Phase::Failed { .. } => "failed",
            Phase::Suspended { .. } => "suspended",
            Phase::Cancelled { .. } => "cancelled",
            Phase::Discarded { .. } => "discarded",
            Phase::Deleted => "deleted",
        }
    }

    fn keeps_sealed(event: &Event) -> bool {
        matches!(
            event,
            Event::Completed { .. } | Event::Failed { .. } | Event::RetryScheduled { .. }
        )
    }
}

/// A waiting task for tests of rules.
#[cfg(test)]
pub(crate) fn sample() -> Task {
    let event = Event::Submitted {
        task: TaskId::fresh(),
        wants: Requirement { pool: "p".to_owned(), ..Requirement::default() }.into(),
        request: None,
        digest: String::new(),
        payload_bytes: 0,
        handling: Handling::default(),
        step: None,
        history: Vec::new(),
    };
    let stamp = Stamp { seq: 1, at: 0, by: "t" };
    Task::begin(&event, stamp).expect("a submit begins a task")
}
