//! What a scheduler can be told.

use std::collections::BTreeSet;

use fleetward_runtime::Reply;

use crate::cause::Cause;
use crate::error::Error;
use crate::id::{RunId, ScheduleId};
use crate::schedules::schedule::Schedule;
use crate::schedules::spec::Spec;
use crate::seal::Sealed;
use crate::workflows::conductor::Begun;

/// What a schedule shall do.
#[derive(Debug)]
pub struct Put {
    /// The id that its input is sealed for: of the schedule of this name, or a fresh one.
    pub id: ScheduleId,
    /// Its name.
    pub name: String,
    /// What it does, and when.
    pub spec: Box<Spec>,
    /// Keyed digest of the input.
    pub digest: String,
    /// The input of its runs.
    pub input: Sealed,
}

/// What became of that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Placed {
    /// It is new.
    Created(Box<Schedule>),
    /// It does that now, or did already.
    Kept(Box<Schedule>),
    /// Another id has this name by now: seal for that.
    Moved,
}

/// What an operator wants of a schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Nothing shall fire by itself.
    Pause {
        /// Why.
        reason: Option<String>,
    },
    /// It shall go on, from now.
    Resume,
    /// It shall be no more. Its runs go on.
    Delete,
}

/// A run that somebody wants now.
#[derive(Debug)]
pub struct RunNow {
    /// Which schedule.
    pub id: ScheduleId,
    /// The id of the run.
    pub run: RunId,
    /// Another input.
    pub input: Option<Sealed>,
}

/// A run that somebody wanted, and that has begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ran {
    /// The run.
    pub run: RunId,
    /// The version that it keeps.
    pub version: String,
    /// Whether it had begun before.
    pub repeated: bool,
}

/// Some schedules by name, and whether there are more.
pub type Listed = (Vec<Schedule>, bool);

/// The protocol.
#[derive(Debug)]
pub enum Message {
    /// From an operator.
    Put {
        /// What.
        put: Put,
        /// Who, by which request.
        by: Cause,
        /// What became of it.
        reply: Reply<Result<Placed, Error>>,
    },
    /// From an operator.
    Amend {
        /// Its name.
        name: String,
        /// What to do.
        change: Change,
        /// Who, by which request.
        by: Cause,
        /// As it is then.
        reply: Reply<Result<Box<Schedule>, Error>>,
    },
    /// From an operator.
    RunNow {
        /// What.
        wanted: RunNow,
        /// Who, by which request.
        by: Cause,
        /// The run, once it has begun.
        reply: Reply<Result<Ran, Error>>,
    },
    /// From a caller that asks for one.
    Look {
        /// Its name.
        name: String,
        /// As it is now.
        reply: Reply<Option<Box<Schedule>>>,
    },
    /// From a caller that lists them.
    List {
        /// The last name of the page before.
        after: Option<String>,
        /// Most of them.
        limit: usize,
        /// They.
        reply: Reply<Listed>,
    },
    /// From the conductor of a run that it wanted: that is closed.
    RunEnded {
        /// The schedule.
        schedule: ScheduleId,
        /// The run.
        run: RunId,
    },
    /// From the conductor of a run that it wanted: that is about to be deleted.
    RunDeleted {
        /// The schedule.
        schedule: ScheduleId,
        /// The run.
        run: RunId,
        /// Once that is on the record: whoever finds no such run then knows why.
        reply: Reply<()>,
    },
    /// Timer: something may be due.
    Due,
    /// From itself: which of the runs that were asked after are open.
    Looked {
        /// Of which schedule.
        schedule: ScheduleId,
        /// Which were asked after.
        asked: Vec<RunId>,
        /// Those that are open; an error: the store is away.
        open: Result<Vec<RunId>, String>,
    },
    /// From itself: what became of a start.
    Began {
        /// Of which schedule.
        schedule: ScheduleId,
        /// Which run.
        run: RunId,
        /// What became of it.
        began: Result<Begun, Error>,
    },
    /// Timer: a start that was not possible is tried again.
    Again {
        /// Of which schedule.
        schedule: ScheduleId,
        /// Which run.
        run: RunId,
    },
    /// From itself: runs that were wanted in an earlier life and have begun; an error: the store is away.
    Recovered {
        /// They.
        begun: Result<BTreeSet<RunId>, String>,
    },
    /// Timer: look for those again.
    Recover,
}

impl Message {
    pub(super) fn label(&self) -> &'static str {
        match self {
            Self::Put { .. } => "Put",
            Self::Amend { .. } => "Amend",
            Self::RunNow { .. } => "RunNow",
            Self::Look { .. } => "Look",
            Self::List { .. } => "List",
            Self::RunEnded { .. } => "RunEnded",
            Self::RunDeleted { .. } => "RunDeleted",
            Self::Due => "Due",
            Self::Looked { .. } => "Looked",
            Self::Began { .. } => "Began",
            Self::Again { .. } => "Again",
            Self::Recovered { .. } => "Recovered",
            Self::Recover => "Recover",
        }
    }
}
