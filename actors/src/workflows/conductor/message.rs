//! What a conductor can be told.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use fleetward_runtime::Reply;
use fleetward_store::Position;
use serde_json::Value;

use crate::cause::Cause;
use crate::error::Error;
use crate::fleet::task::history::{Entry, Pending};
use crate::id::{RunId, TaskId};
use crate::schedules::schedule::StartedFor;
use crate::seal::Sealed;
use crate::workflows::definition::Definition;
use crate::workflows::gate::Voter;
use crate::workflows::run::{Inherited, Key, Parent, Place, Run, Seen};

/// A run to be started.
#[derive(Debug)]
pub struct NewRun {
    /// Its id.
    pub id: RunId,
    /// The version that it keeps.
    pub version: String,
    /// What that says.
    pub definition: Arc<Definition>,
    /// Digest of the request.
    pub request: String,
    /// What it is given, sealed.
    pub input: Sealed,
    /// Its keyed digest.
    pub digest: String,
    /// The same in the open: its first steps are about to be given it.
    pub value: Arc<Value>,
    /// What it is a child of.
    pub parent: Option<Parent>,
    /// What it takes over from another run.
    pub inherited: Option<Box<Inherited>>,
    /// The tick of a schedule that it is for.
    pub schedule: Option<Box<StartedFor>>,
    /// Whether whoever starts it waits for its result.
    pub awaited: bool,
}

/// A run as its watchers see it end.
#[derive(Debug)]
pub struct Ended {
    /// The run.
    pub run: Box<Run>,
    /// Its output or error text, as it was sealed a moment ago.
    pub sealed: Option<Sealed>,
}

/// What became of a start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begun {
    /// It runs.
    Started,
    /// The same request had started it before.
    Repeated,
}

/// A task of a run is closed, says the dispatcher.
#[derive(Debug)]
pub struct StepEnded {
    /// Which step.
    pub key: Key,
    /// Which task.
    pub task: TaskId,
    /// `None`: it has a result. Else why it failed, as a stable code.
    pub failed: Option<String>,
    /// Position of the event that result or error text is sealed beside, if there is one.
    pub at: Option<Position>,
    /// The result, where it is at hand.
    pub sealed: Option<Sealed>,
    /// What it went through.
    pub seen: Seen,
    /// What its durable function has done in it.
    pub steps: Vec<Entry>,
    /// That function waits for these, and has not ended.
    pub waits: Option<Vec<Pending>>,
}

/// A child run is closed, says its conductor.
#[derive(Debug)]
pub struct ChildEnded {
    /// Of which node.
    pub key: Key,
    /// Which run.
    pub run: RunId,
    /// `None`: it has a result. Else why it failed, as a stable code.
    pub failed: Option<String>,
    /// Position of the event that result or error text is sealed beside, if there is one.
    pub at: Option<Position>,
}

/// Somebody's decision at a gate.
#[derive(Debug)]
pub struct Decision {
    /// Which gate: its key, or the name of its node where that is the only open one.
    pub gate: String,
    /// Whether it is approved.
    pub approve: bool,
    /// Why, in words.
    pub reason: Option<String>,
    /// Digest of what they saw.
    pub digest: Option<String>,
    /// Who.
    pub voter: Voter,
    /// Who, by which request.
    pub by: Cause,
}

/// What an operator wants of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Remedy {
    /// It shall begin nothing new.
    Pause {
        /// Why.
        reason: Option<String>,
    },
    /// It shall go on.
    Resume,
    /// It shall end.
    Cancel {
        /// Why.
        reason: Option<String>,
    },
    /// It failed, and shall go on from there.
    Retry,
    /// It failed, and shall leave the dead letters.
    Discard {
        /// Why.
        reason: Option<String>,
    },
}

/// A run that is over shall be no more.
#[derive(Debug)]
pub struct Deletion {
    /// Only if it ended before this time, in microseconds UTC.
    pub closed_before: Option<i64>,
    /// Whether the schedule that it is of knows: it would start it again where it finds none.
    pub schedule_knows: bool,
    /// Who, by which request.
    pub by: Cause,
}

/// A run as it is now.
pub type View = Option<Box<Run>>;

/// Values that were read, by position, as bytes in the open.
pub(crate) type ReadValues = Result<Vec<(Place, Result<Bytes, String>)>, String>;

/// What the dispatcher and the rows say of tasks.
#[derive(Debug)]
pub enum Stands {
    /// It is open.
    Open,
    /// It is a task that no worker has taken yet.
    Unclaimed,
    /// It is closed.
    Ended(Box<StepEnded>),
    /// There was none when the rows stood here.
    Absent(Position),
    /// The child is closed.
    ChildEnded(Box<ChildEnded>),
    /// There is no such child.
    NoChild,
    /// The child has begun.
    Born(RunId),
}

/// The protocol.
#[derive(Debug)]
pub enum Message {
    /// From a caller, or from the conductor of a parent.
    Start {
        /// What.
        new: Box<NewRun>,
        /// Who, by which request.
        by: Cause,
        /// What became of it.
        reply: Reply<Result<Begun, Error>>,
    },
    /// From the dispatcher.
    StepEnded {
        /// What ended.
        ended: Box<StepEnded>,
    },
    /// From the conductor of a child.
    ChildEnded {
        /// What ended.
        ended: Box<ChildEnded>,
        /// Once that is noted, or known to be of no concern.
        reply: Reply<()>,
    },
    /// From itself: the run above it was told of its end.
    ParentTold {
        /// Whether it has noted that.
        told: bool,
    },
    /// From itself: a child run that it does not want any more was told so.
    OrphanTold {
        /// Which.
        run: RunId,
        /// Whether it is ended.
        told: bool,
    },
    /// From somebody at a gate.
    Decide {
        /// What they say.
        decision: Decision,
        /// The run as it is then.
        reply: Reply<Result<Box<Run>, Error>>,
    },
    /// From anybody with a signal.
    Signal {
        /// Its name.
        name: String,
        /// Its payload.
        payload: Sealed,
        /// The payload's keyed digest.
        digest: String,
        /// Who, by which request.
        by: Cause,
        /// The run as it is then.
        reply: Reply<Result<Box<Run>, Error>>,
    },
    /// From an operator.
    Amend {
        /// What to do.
        remedy: Remedy,
        /// Who, by which request.
        by: Cause,
        /// The run as it is then.
        reply: Reply<Result<Box<Run>, Error>>,
    },
    /// From an operator, or by the organisation's retention: what is over shall be no more.
    Delete {
        /// What.
        deletion: Deletion,
        /// There is none any more.
        reply: Reply<Result<(), Error>>,
    },
    /// From itself: the schedule of a run that was to be deleted could not be told.
    NotDeleted {
        /// Nothing has happened.
        reply: Reply<Result<(), Error>>,
    },
    /// From a caller that asks for it.
    Look {
        /// As it is now; none: there is no such run.
        reply: Reply<View>,
    },
    /// From a caller that waits for something to happen to it.
    Watch {
        /// Answered when its last event is later than this, when it is closed, or when there is none.
        past: Position,
        /// The run where it has just ended; none: it is to be looked at.
        reply: Reply<Option<Ended>>,
    },
    /// From itself: the dispatcher did not say that it has the tasks.
    SubmitUnsure,
    /// From itself: how what it waits for stands.
    Found {
        /// Each; an error: the store or the dispatcher is away.
        found: Result<Vec<(Key, Stands)>, String>,
    },
    /// From itself: values that it asked for.
    Read {
        /// Each.
        read: ReadValues,
    },
    /// From itself: the definition of a run that is to go on from its failure.
    Defined {
        /// What it says.
        definition: Result<Arc<Definition>, Error>,
        /// What is to be done then.
        remedy: Remedy,
        /// Who, by which request.
        by: Cause,
        /// The run as it is then.
        reply: Reply<Result<Box<Run>, Error>>,
    },
    /// From itself: the clockwork will start its next life in time.
    AlarmSet {
        /// At this one, in microseconds UTC; none: it does not know.
        at: Option<i64>,
    },
    /// Timer: the time of a wait has come.
    Due,
    /// Timer: ask after what nothing was heard of.
    TendDue,
    /// Timer: nothing was to be done for it for a while.
    LingerOver,
}

impl Message {
    /// Whether a conductor sends it to itself, about what is of this life alone.
    pub(super) fn is_own(&self) -> bool {
        match self {
            Self::Start { .. }
            | Self::StepEnded { .. }
            | Self::ChildEnded { .. }
            | Self::Decide { .. }
            | Self::Signal { .. }
            | Self::Amend { .. }
            | Self::Delete { .. }
            | Self::NotDeleted { .. }
            | Self::Look { .. }
            | Self::Watch { .. }
            | Self::Defined { .. } => false,
            Self::ParentTold { .. }
            | Self::OrphanTold { .. }
            | Self::SubmitUnsure
            | Self::Found { .. }
            | Self::Read { .. }
            | Self::AlarmSet { .. }
            | Self::Due
            | Self::TendDue
            | Self::LingerOver => true,
        }
    }

    pub(super) fn label(&self) -> &'static str {
        match self {
            Self::Start { .. } => "Start",
            Self::StepEnded { .. } => "StepEnded",
            Self::ParentTold { .. } => "ParentTold",
            Self::OrphanTold { .. } => "OrphanTold",
            Self::ChildEnded { .. } => "ChildEnded",
            Self::Decide { .. } => "Decide",
            Self::Signal { .. } => "Signal",
            Self::Amend { .. } => "Amend",
            Self::Delete { .. } => "Delete",
            Self::NotDeleted { .. } => "NotDeleted",
            Self::Look { .. } => "Look",
            Self::Watch { .. } => "Watch",
            Self::SubmitUnsure => "SubmitUnsure",
            Self::Found { .. } => "Found",
            Self::Read { .. } => "Read",
            Self::Defined { .. } => "Defined",
            Self::AlarmSet { .. } => "AlarmSet",
            Self::Due => "Due",
            Self::TendDue => "TendDue",
            Self::LingerOver => "LingerOver",
        }
    }
}

/// Places to be read, once each.
pub(super) type Places = BTreeSet<Place>;
