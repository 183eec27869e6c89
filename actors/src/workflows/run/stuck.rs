//! Why a run does not go on by itself. Pure.

use serde::{Deserialize, Serialize};

/// Why a run does not go on by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stuck {
    /// The version of its workflow that it keeps is not to be had.
    NoDefinition,
    /// A value that it needs is gone.
    ValueLost,
    /// It waits for nothing, and nothing happens.
    Idle,
    /// No worker has taken a step of it for too long.
    Unclaimed,
}

impl Stuck {
    /// The word in metrics and lists.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoDefinition => "no_definition",
            Self::ValueLost => "value_lost",
            Self::Idle => "idle",
            Self::Unclaimed => "unclaimed",
        }
    }
}

/// What is known of a run that does not go on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StuckSince {
    /// Why, as a stable code.
    pub reason: Stuck,
    /// Why, in words.
    pub why: String,
    /// Since when that is known, in microseconds UTC.
    pub since: i64,
}
