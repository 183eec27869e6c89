//! What the dispatcher can be told.

use std::sync::Arc;

use fleetward_runtime::{Address, Reply};
use fleetward_store::{Origin, Position};

use super::book::Parked;
use super::remedy::Remedy;
use super::report::{Claimant, Status};
use crate::cause::Cause;
use crate::error::{Error, Refusal};
use crate::fleet::anomaly::Census;
use crate::fleet::connection;
use crate::fleet::policy::Policy;
use crate::fleet::registry::{Asked, Roster, Seat};
use crate::fleet::task::history::{Entry, Pending};
use crate::fleet::task::{Ending, Handling, Requirement, StepRef, Task};
use crate::id::{TaskId, WorkerId};
use crate::seal::Sealed;

/// A task to be queued.
#[derive(Debug)]
pub struct NewTask {
    /// Its id.
    pub id: TaskId,
    /// What it asks of a worker.
    pub wants: Arc<Requirement>,
    /// How it is to be treated.
    pub handling: Handling,
    /// What the worker gets.
    pub payload: Sealed,
    /// Keyed digest of the payload.
    pub digest: String,
    /// Size of the payload in bytes.
    pub payload_bytes: u64,
    /// Under an idempotency key: the digest of the whole request.
    pub request: Option<String>,
    /// Under an idempotency key: there was no record of the task when the rows stood here.
    pub absent_at: Position,
    /// The step of a run that it is.
    pub step: Option<StepRef>,
    /// What its durable function has done.
    pub history: Vec<Entry>,
}

/// What became of a submit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Submitted {
    /// It is in the queue, or on its way to a worker.
    Accepted,
    /// The same request was accepted before.
    Repeated,
    /// It may have been accepted and closed since its record was looked for: look again.
    LookAgain,
}

/// What a worker says.
#[derive(Debug)]
pub struct Report {
    /// Of which task.
    pub task: TaskId,
    /// Who.
    pub claimant: Claimant,
    /// What.
    pub status: Status,
    /// The output, or the error text.
    pub sealed: Option<Sealed>,
    /// Its keyed digest.
    pub digest: Option<String>,
    /// Of a failure: keyed digest of what the error text has in common with others of its kind.
    pub group: Option<String>,
    /// Of a failure: whether another attempt may do better.
    pub retryable: bool,
    /// Canonical name of the model that it says it used.
    pub model: Option<String>,
    /// Of a suspension: what for.
    pub waits: Vec<Pending>,
}

/// A step that a durable function has done.
#[derive(Debug)]
pub struct Checkpoint {
    /// Its position.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its value.
    pub sealed: Sealed,
    /// The value's keyed digest.
    pub digest: String,
    /// The value's size.
    pub bytes: u64,
    /// How long it took, in milliseconds, as the worker says.
    pub took_ms: Option<u64>,
}

/// A task that something is to be done with.
#[derive(Debug)]
pub struct Subject {
    /// Which.
    pub task: TaskId,
    /// Where it is not in memory: what its record said.
    pub known: Option<Known>,
}

/// A task as its record said.
#[derive(Debug, Clone)]
pub struct Known {
    /// The task.
    pub task: Box<Task>,
    /// The rows stood here when it was read.
    pub as_of: Position,
}

/// What became of a task that something was to be done with.
#[derive(Debug)]
pub enum Amended {
    /// As it is now.
    Done(Box<Task>),
    /// Not in memory: its record is needed.
    NotHere,
    /// It may have changed since its record was read: look again.
    LookAgain,
}

/// The protocol.
#[derive(Debug)]
pub enum Message {
    /// From a submitter.
    Submit {
        /// What.
        tasks: Vec<NewTask>,
        /// Who, by which request.
        by: Cause,
        /// What became of each.
        reply: Reply<Vec<Result<Submitted, Error>>>,
    },
    /// From a worker.
    Report {
        /// What it says, of one task each.
        reports: Vec<Report>,
        /// By which request.
        origin: Option<Arc<Origin>>,
        /// Each is accepted, or its record says more.
        reply: Reply<Vec<Result<Asked<()>, Error>>>,
    },
    /// From a worker that gives an attempt back.
    HandBack {
        /// Which task.
        task: TaskId,
        /// Who.
        claimant: Claimant,
        /// By which request.
        origin: Option<Arc<Origin>>,
        /// Done, or the record says more.
        reply: Reply<Result<Asked<()>, Error>>,
    },
    /// From a worker that says how far it is.
    Progress {
        /// With which task.
        task: TaskId,
        /// Who.
        claimant: Claimant,
        /// How much is done, 0 to 100.
        percent: Option<u8>,
        /// What it says.
        sealed: Sealed,
        /// Its keyed digest.
        digest: String,
        /// By which request.
        origin: Option<Arc<Origin>>,
        /// Taken, or the record says more.
        reply: Reply<Result<Asked<()>, Error>>,
    },
    /// From a worker whose durable function has done a step.
    Checkpoint {
        /// Of which task.
        task: TaskId,
        /// Who.
        claimant: Claimant,
        /// What.
        checkpoint: Checkpoint,
        /// By which request.
        origin: Option<Arc<Origin>>,
        /// Taken, or the record says more.
        reply: Reply<Result<Asked<()>, Error>>,
    },
    /// From an operator.
    Amend {
        /// With which tasks.
        subjects: Vec<Subject>,
        /// What to do.
        remedy: Remedy,
        /// Who, by which request.
        by: Cause,
        /// What became of each.
        reply: Reply<Vec<Result<Amended, Error>>>,
    },
    /// From a worker's `Handle`: its report was refused by what the record of the task says.
    RefusedFromRecord {
        /// What it says.
        known: Known,
        /// Who.
        claimant: Claimant,
        /// Why.
        refusal: Refusal,
        /// By which request.
        origin: Option<Arc<Origin>>,
    },
    /// From a caller that asks why a task stands where it stands.
    Explain {
        /// Which.
        task: TaskId,
        /// As it is now, and the reasons in words.
        reply: Reply<Option<(Task, Vec<String>)>>,
    },
    /// From a caller that asks for one task.
    Look {
        /// Which.
        task: TaskId,
        /// As it is now.
        reply: Reply<Option<Task>>,
    },
    /// From a caller that waits for the end of a task.
    Watch {
        /// Which.
        task: TaskId,
        /// Answered when it is closed, or not in memory.
        reply: Reply<()>,
    },
    /// From a connection: the polls that it has now.
    Polls {
        /// Whose.
        worker: WorkerId,
        /// Where grants go.
        connection: Address<connection::Message>,
        /// All of them.
        parked: Vec<Parked>,
    },
    /// From a connection: an attempt ended without a result.
    Ended {
        /// Whose.
        worker: WorkerId,
        /// Of which task.
        task: TaskId,
        /// Which.
        attempt: u32,
        /// Why.
        why: Ending,
    },
    /// From a connection that starts: what does this worker hold? Asked before its first poll or heartbeat is taken,
    /// which would be answered as if it held nothing.
    LeasesOf {
        /// Which worker.
        worker: WorkerId,
        /// All of it.
        reply: Reply<Vec<connection::Lease>>,
    },
    /// From a connection that is not sure: what does this worker hold?
    Held {
        /// Which worker.
        worker: WorkerId,
        /// Told with [`connection::Message::Holds`].
        connection: Address<connection::Message>,
    },
    /// From a connection: a claim was repeated, so its grant may have been lost.
    GrantAgain {
        /// Whose.
        worker: WorkerId,
        /// The claim's own name.
        request: String,
        /// Where what it got goes now.
        poll: u64,
    },
    /// From the registry: this worker may work.
    Seated {
        /// Who and what.
        seat: Box<Seat>,
    },
    /// From the registry: this worker may not work any more.
    Unseated {
        /// Who.
        worker: WorkerId,
        /// True as of this position.
        as_of: Position,
    },
    /// From the registry, now and then: everyone who may work, and the policy.
    Roster {
        /// Everyone.
        roster: Roster,
        /// True as of this position.
        as_of: Position,
    },
    /// From the registry: what the organisation lets run.
    Govern {
        /// All of it.
        policy: Box<Policy>,
    },
    /// From the anomaly detector: what was counted?
    Census {
        /// Everything.
        reply: Reply<Census>,
    },
    /// Timer: the time of a task has come.
    AgendaDue,
    /// Timer: see that each lease has a clock, and publish the sizes.
    TendDue,
}

impl Message {
    pub(super) fn label(&self) -> &'static str {
        match self {
            Self::Submit { .. } => "Submit",
            Self::Report { .. } => "Report",
            Self::HandBack { .. } => "HandBack",
            Self::Progress { .. } => "Progress",
            Self::Checkpoint { .. } => "Checkpoint",
            Self::Amend { .. } => "Amend",
            Self::RefusedFromRecord { .. } => "RefusedFromRecord",
            Self::Explain { .. } => "Explain",
            Self::Look { .. } => "Look",
            Self::Watch { .. } => "Watch",
            Self::Polls { .. } => "Polls",
            Self::Ended { .. } => "Ended",
            Self::LeasesOf { .. } => "LeasesOf",
            Self::Held { .. } => "Held",
            Self::GrantAgain { .. } => "GrantAgain",
            Self::Seated { .. } => "Seated",
            Self::Unseated { .. } => "Unseated",
            Self::Roster { .. } => "Roster",
            Self::Govern { .. } => "Govern",
            Self::Census { .. } => "Census",
            Self::AgendaDue => "AgendaDue",
            Self::TendDue => "TendDue",
        }
    }
}
