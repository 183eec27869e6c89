//! Where the sealed values of runs are, and what they are bound to. Pure.

use fleetward_store::Position;
use serde::{Deserialize, Serialize};

use crate::id::{RunId, TaskId};

/// Where a sealed value of a run is, and what it is bound to.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Place {
    /// Position of the event that it is sealed beside.
    pub at: Position,
    /// What it is.
    #[serde(flatten)]
    pub what: What,
}

/// What a sealed value is, and so what it is bound to.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "of")]
pub enum What {
    /// The output of a task.
    Result {
        /// Which.
        task: TaskId,
    },
    /// The error text of a task.
    Error {
        /// Which.
        task: TaskId,
    },
    /// The input of a run.
    Input {
        /// Which.
        run: RunId,
    },
    /// The output of a run.
    Output {
        /// Which.
        run: RunId,
    },
    /// The error text of a run.
    Failure {
        /// Which.
        run: RunId,
    },
    /// The payload of a signal.
    Signal {
        /// To which run.
        run: RunId,
    },
    /// What is asked at a gate.
    Gate {
        /// Of which run.
        run: RunId,
    },
    /// What a step of a durable function resulted in.
    Checkpoint {
        /// In which task.
        task: TaskId,
    },
    /// What a durable function asks people.
    Asked {
        /// In which task.
        task: TaskId,
    },
}
