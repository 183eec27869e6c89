//! What a connection can be told.

use std::sync::Arc;
use std::time::Duration;

use fleetward_runtime::Reply;
use fleetward_store::{Origin, Position};

use crate::fleet::task::{Requirement, StepRef};
use crate::fleet::worker::Standing;
use crate::id::TaskId;
use crate::seal::Sealed;

/// Tasks on their way to a poll: at least one.
#[derive(Debug, Clone)]
pub struct Grant {
    /// Which poll.
    pub poll: u64,
    /// The claim's own name.
    pub request: Option<String>,
    /// In the order in which they were taken from their queues.
    pub tasks: Vec<Granted>,
}

/// One task of a grant.
#[derive(Debug, Clone)]
pub struct Granted {
    /// The task.
    pub task: TaskId,
    /// Which claim of it this is.
    pub attempt: u32,
    /// What it asks of a worker.
    pub wants: Arc<Requirement>,
    /// Where its payload is.
    pub submitted: Position,
    /// The payload, where it was in memory.
    pub payload: Option<Sealed>,
    /// When, in microseconds UTC.
    pub claimed_at: i64,
    /// The step of a run that it is.
    pub step: Option<StepRef>,
    /// How much its durable function has done.
    pub checkpoints: usize,
}

/// An attempt that the dispatcher says this worker holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// Of which task.
    pub task: TaskId,
    /// Which.
    pub attempt: u32,
    /// The claim's own name.
    pub request: Option<String>,
}

/// A poll as the worker makes it.
#[derive(Debug)]
pub struct Poll {
    /// Its number; unique in this process.
    pub id: u64,
    /// How long it waits; zero looks once.
    pub wait: Duration,
    /// Most tasks that it takes, at least one: as many as wait when it is served, within the free seats.
    pub max: usize,
    /// The claim's own name: repeating it gives the same tasks again.
    pub request: Option<String>,
    /// Which start of the worker's process this is.
    pub boot: Option<String>,
    /// By which request.
    pub origin: Option<Arc<Origin>>,
}

/// What becomes of a poll.
#[derive(Debug)]
pub enum PollAnswer {
    /// Tasks.
    Granted(Box<Grant>),
    /// Nothing in its time.
    Empty,
    /// This worker may not work.
    Refused(Standing),
}

/// A sign of life.
#[derive(Debug)]
pub struct Beat {
    /// What the worker has; `None` from older clients, which do not say.
    pub held: Option<Vec<(TaskId, u32)>>,
    /// Which start of the worker's process this is.
    pub boot: Option<String>,
}

/// The protocol.
#[derive(Debug)]
pub enum Message {
    /// From the worker.
    Poll {
        /// What it asks.
        poll: Poll,
        /// Answered when there is a task, or when its time is over.
        reply: Reply<PollAnswer>,
    },
    /// From the worker's `Handle`: whoever waited has left.
    Left {
        /// Which poll.
        poll: u64,
    },
    /// From the worker.
    Beat {
        /// What it says.
        beat: Beat,
        /// What it names but does not hold.
        reply: Reply<Vec<(TaskId, u32)>>,
    },
    /// From the worker's `Handle`: the answer to a poll was written whole, or was lost.
    Delivered {
        /// The tasks and their claims.
        tasks: Vec<(TaskId, u32)>,
        /// Whether it was written whole.
        whole: bool,
    },
    /// From the journal: these claims are durable.
    Granted {
        /// The tasks.
        grant: Box<Grant>,
    },
    /// From the dispatcher: there is nothing for polls that look once.
    NothingNow {
        /// Which.
        polls: Vec<u64>,
    },
    /// From the dispatcher: these attempts are over, whatever else this worker holds.
    Over {
        /// Of which task, and which.
        attempts: Vec<(TaskId, u32)>,
    },
    /// From the dispatcher: what this worker holds now.
    Holds {
        /// All of it.
        leases: Vec<Lease>,
    },
    /// From the dispatcher: it did not know this worker until now.
    OfferAgain,
    /// From the registry: what is true of this worker.
    Standing {
        /// Whether it may work.
        standing: Standing,
        /// As of this position.
        as_of: Position,
    },
    /// Timer: a poll or an attempt may be over.
    TimeCame,
}

impl Message {
    pub(super) fn label(&self) -> &'static str {
        match self {
            Self::Poll { .. } => "Poll",
            Self::Left { .. } => "Left",
            Self::Beat { .. } => "Beat",
            Self::Delivered { .. } => "Delivered",
            Self::Granted { .. } => "Granted",
            Self::NothingNow { .. } => "NothingNow",
            Self::Over { .. } => "Over",
            Self::Holds { .. } => "Holds",
            Self::OfferAgain => "OfferAgain",
            Self::Standing { .. } => "Standing",
            Self::TimeCame => "TimeCame",
        }
    }
}
