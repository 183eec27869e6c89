//! Small parts of a run: what it belongs to, its tasks, its signals. Pure.

use fleetward_store::Position;
use serde::{Deserialize, Serialize};

use super::Key;
use crate::id::{RunId, TaskId};

/// What a child run belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parent {
    /// The run.
    pub run: RunId,
    /// Its node.
    pub key: Key,
    /// How many runs are above the child.
    pub depth: u32,
}

/// A step that is a task now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outstanding {
    /// The task.
    pub task: TaskId,
    /// Since when, in microseconds UTC.
    pub since: i64,
}

/// A signal that nobody has taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arrived {
    /// Its name.
    pub name: String,
    /// Position of the event that its payload is sealed beside.
    pub at: Position,
}
