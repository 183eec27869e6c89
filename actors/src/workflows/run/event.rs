//! What can happen to a run. Persisted: variants and fields are added, never changed. Pure.

use std::collections::{BTreeMap, BTreeSet};

use fleetward_store::Position;
use serde::{Deserialize, Serialize};

use super::{Done, Key, Parent, Place, Seen, Stuck, Wait};
use crate::fleet::task::history::{Entry, Pending};
use crate::id::{RunId, TaskId};
use crate::schedules::schedule::StartedFor;
use crate::workflows::gate::{Gate, Vote};

/// What can happen to a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Event {
    /// It began. Its input is sealed beside it.
    #[serde(rename = "run.started")]
    Started {
        /// Its id.
        run: RunId,
        /// The name of its workflow.
        workflow: String,
        /// The version that it keeps.
        version: String,
        /// Digest of the request.
        request: String,
        /// Keyed digest of the input.
        digest: String,
        /// What it is a child of.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        parent: Option<Parent>,
        /// What it takes over from the run that it was forked from.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        inherited: Option<Box<Inherited>>,
        /// Whether the request that started it waits for its end: it is answered with the result, and this is what the
        /// record says of that read.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        awaited: bool,
        /// The tick of a schedule that it is for.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        schedule: Option<Box<StartedFor>>,
    },
    /// Steps became tasks.
    #[serde(rename = "run.scheduled")]
    Scheduled {
        /// Which.
        steps: Vec<Scheduled>,
    },
    /// A step's task has a result.
    #[serde(rename = "run.step_completed")]
    StepCompleted {
        /// Which step.
        key: Key,
        /// Its task.
        task: TaskId,
        /// Position of the event that the output is sealed beside.
        at: Position,
        /// What its task went through.
        #[serde(flatten)]
        seen: Seen,
    },
    /// A step is a durable function that waits: another task goes on with it when there is a reason to.
    #[serde(rename = "run.step_suspended")]
    StepSuspended {
        /// Which step.
        key: Key,
        /// Its task.
        task: TaskId,
        /// Position of the event that what it asks people is sealed beside.
        at: Position,
        /// What its task went through.
        #[serde(flatten)]
        seen: Seen,
        /// What it has done in that task.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        steps: Vec<Entry>,
        /// What it waits for: one of these is reason enough to go on.
        waits: Vec<Pending>,
    },
    /// A step's task failed for good.
    #[serde(rename = "run.step_failed")]
    StepFailed {
        /// Which step.
        key: Key,
        /// Its task.
        task: TaskId,
        /// Position of the event that the error text is sealed beside.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        at: Option<Position>,
        /// Why, as a stable code.
        code: String,
        /// What its task went through.
        #[serde(flatten)]
        seen: Seen,
        /// What its durable function had done in that task.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        steps: Vec<Entry>,
    },
    /// What a node waited for is not wanted any more: another branch failed.
    #[serde(rename = "run.step_dropped")]
    StepDropped {
        /// Which node.
        key: Key,
    },
    /// A node waits for a time, a signal or another run.
    #[serde(rename = "run.waiting")]
    Waiting {
        /// Which node.
        key: Key,
        /// For what.
        wait: Wait,
        /// Whether nothing is to be done now but to wait.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        rests: bool,
    },
    /// A time came.
    #[serde(rename = "run.timer_fired")]
    TimerFired {
        /// Of which node.
        key: Key,
    },
    /// People are asked. What they are asked is sealed beside it.
    #[serde(rename = "run.gate_opened")]
    GateOpened {
        /// At which node.
        key: Key,
        /// Who may decide, by when.
        gate: Box<Gate>,
        /// Whether nothing is to be done now but to wait.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        rests: bool,
    },
    /// Nothing is to be done but to wait.
    #[serde(rename = "run.rested")]
    Rested {},
    /// Somebody approved.
    #[serde(rename = "run.gate_approved")]
    GateApproved {
        /// At which node.
        key: Key,
        /// Who, and why.
        vote: Vote,
    },
    /// Somebody rejected.
    #[serde(rename = "run.gate_rejected")]
    GateRejected {
        /// At which node.
        key: Key,
        /// Who, and why.
        vote: Vote,
    },
    /// Nobody decided in time.
    #[serde(rename = "run.gate_expired")]
    GateExpired {
        /// At which node.
        key: Key,
        /// Whether that opens it.
        approved: bool,
    },
    /// It was said again that people are asked.
    #[serde(rename = "run.gate_reminded")]
    GateReminded {
        /// At which node.
        key: Key,
    },
    /// A signal came. Its payload is sealed beside it.
    #[serde(rename = "run.signalled")]
    Signalled {
        /// Its name.
        name: String,
        /// Keyed digest of the payload.
        digest: String,
    },
    /// A node took a signal.
    #[serde(rename = "run.signal_taken")]
    SignalTaken {
        /// Which node.
        key: Key,
        /// Position of the signal.
        at: Position,
    },
    /// No signal came in time.
    #[serde(rename = "run.signal_missed")]
    SignalMissed {
        /// For which node.
        key: Key,
    },
    /// A child run has a result.
    #[serde(rename = "run.child_completed")]
    ChildCompleted {
        /// Of which node.
        key: Key,
        /// The child.
        run: RunId,
        /// Position of the event that its output is sealed beside.
        at: Position,
    },
    /// A child run failed, or was cancelled.
    #[serde(rename = "run.child_failed")]
    ChildFailed {
        /// Of which node.
        key: Key,
        /// The child.
        run: RunId,
        /// Position of the event that its error text is sealed beside.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        at: Option<Position>,
        /// Why, as a stable code.
        code: String,
    },
    /// Nothing new begins until it is resumed.
    #[serde(rename = "run.paused")]
    Paused {
        /// Why, in words.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// It goes on.
    #[serde(rename = "run.resumed")]
    Resumed {},
    /// Somebody ended it.
    #[serde(rename = "run.cancelled")]
    Cancelled {
        /// Why, in words.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// It has a result, sealed beside this.
    #[serde(rename = "run.completed")]
    Completed {
        /// Keyed digest of the output.
        digest: String,
    },
    /// It failed. The error text, where there is one, is sealed beside it.
    #[serde(rename = "run.failed")]
    Failed {
        /// At which node.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<Key>,
        /// Why, as a stable code.
        code: String,
        /// Keyed digest of what the error text has in common with others of its kind.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        group: Option<String>,
        /// Whether there is a text.
        #[serde(default)]
        told: bool,
    },
    /// It does not go on by itself: somebody should look at it.
    #[serde(rename = "run.stuck")]
    Stuck {
        /// Why, as a stable code.
        reason: Stuck,
        /// Why, in words.
        why: String,
    },
    /// It was stuck, and is not any more.
    #[serde(rename = "run.unstuck")]
    Unstuck {},
    /// The run above it has noted its end.
    #[serde(rename = "run.parent_told")]
    ParentTold {},
    /// A child run that it does not want any more is ended.
    #[serde(rename = "run.orphan_ended")]
    OrphanEnded {
        /// Which.
        run: RunId,
    },
    /// It had failed, and goes on from there.
    #[serde(rename = "run.revived")]
    Revived {
        /// Failures that stay, because something was done with what was collected of them.
        #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
        settled: BTreeSet<Key>,
    },
    /// It had failed, and nobody will try it again.
    #[serde(rename = "run.discarded")]
    Discarded {
        /// Why, in words.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// It had ended, and its row goes: by the organisation's retention, or because somebody wants it.
    #[serde(rename = "run.deleted")]
    Deleted {},
}

/// A step that became a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scheduled {
    /// Which step.
    pub key: Key,
    /// The task.
    pub task: TaskId,
}

/// What a fork takes over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inherited {
    /// From which run.
    pub run: RunId,
    /// Where the input is, if it is not a new one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<Place>,
    /// What became of its nodes.
    pub done: BTreeMap<Key, Done>,
}

impl Event {
    /// Its kind, as stored.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Started { .. } => "run.started",
            Self::Scheduled { .. } => "run.scheduled",
            Self::StepCompleted { .. } => "run.step_completed",
            Self::StepSuspended { .. } => "run.step_suspended",
            Self::StepFailed { .. } => "run.step_failed",
            Self::StepDropped { .. } => "run.step_dropped",
            Self::Waiting { .. } => "run.waiting",
            Self::TimerFired { .. } => "run.timer_fired",
            Self::GateOpened { .. } => "run.gate_opened",
            Self::Rested {} => "run.rested",
            Self::GateApproved { .. } => "run.gate_approved",
            Self::GateRejected { .. } => "run.gate_rejected",
            Self::GateExpired { .. } => "run.gate_expired",
            Self::GateReminded { .. } => "run.gate_reminded",
            Self::Signalled { .. } => "run.signalled",
            Self::SignalTaken { .. } => "run.signal_taken",
            Self::SignalMissed { .. } => "run.signal_missed",
            Self::ChildCompleted { .. } => "run.child_completed",
            Self::ChildFailed { .. } => "run.child_failed",
            Self::Paused { .. } => "run.paused",
            Self::Resumed {} => "run.resumed",
            Self::Cancelled { .. } => "run.cancelled",
            Self::Completed { .. } => "run.completed",
            Self::Failed { .. } => "run.failed",
            Self::Stuck { .. } => "run.stuck",
            Self::Unstuck {} => "run.unstuck",
            Self::ParentTold {} => "run.parent_told",
            Self::OrphanEnded { .. } => "run.orphan_ended",
            Self::Revived { .. } => "run.revived",
            Self::Discarded { .. } => "run.discarded",
            Self::Deleted {} => "run.deleted",
        }
    }
}
