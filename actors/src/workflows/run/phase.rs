//! The state machine of a run: every phase, every command, and where it leads. Pure.

use serde::{Deserialize, Serialize};

use super::{Event, Key, Place, What};
use crate::error::{Kind, Refusal};
use crate::fact::Stamp;
use crate::id::RunId;

/// Where a run stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "phase")]
pub enum Phase {
    /// It goes on: tasks, times, people or signals move it.
    Running,
    /// What is begun goes on; nothing new begins.
    Paused,
    /// It has a result.
    Completed {
        /// Since when, in microseconds UTC.
        at: i64,
        /// Where the result is.
        output: Place,
    },
    /// It failed, and stands among the dead letters.
    Failed {
        /// Since when, in microseconds UTC.
        at: i64,
        /// At which node.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<Key>,
        /// Why, as a stable code.
        code: String,
        /// What its error text has in common with others of its kind.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        group: Option<String>,
        /// Where the text is.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<Place>,
    },
    /// Somebody ended it.
    Cancelled {
        /// Since when, in microseconds UTC.
        at: i64,
    },
    /// It had failed, and somebody let it go.
    Discarded {
        /// Since when, in microseconds UTC.
        at: i64,
    },
    /// Nothing is left of it but its events: there is no such run any more.
    Deleted,
}

/// What is asked of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Command {
    /// From its plan, its tasks and its times: to go on.
    Advance,
    /// From people: to approve or reject at a gate.
    Decide,
    /// From anybody outside: to take a signal.
    Signal,
    /// To begin nothing new.
    Pause,
    /// To begin new things again.
    Resume,
    /// To end.
    Cancel,
    /// To go on from its failure.
    Retry,
    /// To be let go.
    Discard,
    /// To be no more.
    Delete,
}

/// What becomes of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is done.
    Taken,
    /// It was done before: nothing happens, and that is fine.
    Already,
    /// It makes no sense any more.
    Refused,
}

/// Every phase and command. A pair that is not here does not exist.
#[rustfmt::skip]
pub const TRANSITIONS: &[(&str, Command, Verdict)] = &[
    // phase        command            what becomes of it     and the phase after it
    ("running",    Command::Advance,  Verdict::Taken),     // running, completed or failed
    ("running",    Command::Decide,   Verdict::Taken),     // running
    ("running",    Command::Signal,   Verdict::Taken),     // running
    ("running",    Command::Pause,    Verdict::Taken),     // paused
    ("running",    Command::Resume,   Verdict::Already),   // running
    ("running",    Command::Cancel,   Verdict::Taken),     // cancelled
    ("running",    Command::Retry,    Verdict::Refused),
    ("running",    Command::Discard,  Verdict::Refused),
    ("running",    Command::Delete,   Verdict::Refused),
    ("paused",     Command::Advance,  Verdict::Taken),     // paused: ends are noted, nothing new begins
    ("paused",     Command::Decide,   Verdict::Taken),     // paused
    ("paused",     Command::Signal,   Verdict::Taken),     // paused
    ("paused",     Command::Pause,    Verdict::Already),   // paused
    ("paused",     Command::Resume,   Verdict::Taken),     // running
    ("paused",     Command::Cancel,   Verdict::Taken),     // cancelled
    ("paused",     Command::Retry,    Verdict::Refused),
    ("paused",     Command::Discard,  Verdict::Refused),
    ("paused",     Command::Delete,   Verdict::Refused),
    ("completed",  Command::Advance,  Verdict::Already),
    ("completed",  Command::Decide,   Verdict::Refused),
    ("completed",  Command::Signal,   Verdict::Refused),
    ("completed",  Command::Pause,    Verdict::Refused),
    ("completed",  Command::Resume,   Verdict::Refused),
    ("completed",  Command::Cancel,   Verdict::Refused),
    ("completed",  Command::Retry,    Verdict::Refused),
    ("completed",  Command::Discard,  Verdict::Refused),
    ("completed",  Command::Delete,   Verdict::Taken),     // deleted
    ("failed",     Command::Advance,  Verdict::Already),
    ("failed",     Command::Decide,   Verdict::Refused),
    ("failed",     Command::Signal,   Verdict::Refused),
    ("failed",     Command::Pause,    Verdict::Refused),
    ("failed",     Command::Resume,   Verdict::Refused),
    ("failed",     Command::Cancel,   Verdict::Refused),
    ("failed",     Command::Retry,    Verdict::Taken),     // running
    ("failed",     Command::Discard,  Verdict::Taken),     // discarded
    ("failed",     Command::Delete,   Verdict::Taken),     // deleted
    ("cancelled",  Command::Advance,  Verdict::Already),
    ("cancelled",  Command::Decide,   Verdict::Refused),
    ("cancelled",  Command::Signal,   Verdict::Refused),
    ("cancelled",  Command::Pause,    Verdict::Refused),
    ("cancelled",  Command::Resume,   Verdict::Refused),
    ("cancelled",  Command::Cancel,   Verdict::Already),
    ("cancelled",  Command::Retry,    Verdict::Refused),
    ("cancelled",  Command::Discard,  Verdict::Refused),
    ("cancelled",  Command::Delete,   Verdict::Taken),     // deleted
    ("discarded",  Command::Advance,  Verdict::Already),
    ("discarded",  Command::Decide,   Verdict::Refused),
    ("discarded",  Command::Signal,   Verdict::Refused),
    ("discarded",  Command::Pause,    Verdict::Refused),
    ("discarded",  Command::Resume,   Verdict::Refused),
    ("discarded",  Command::Cancel,   Verdict::Refused),
    ("discarded",  Command::Retry,    Verdict::Refused),
    ("discarded",  Command::Discard,  Verdict::Already),
    ("discarded",  Command::Delete,   Verdict::Taken),     // deleted
];

/// Whether a run in this phase takes a command: true when it is done now, false when it was done before.
///
/// # Errors
/// When it makes no sense any more.
pub fn allowed(phase: &Phase, command: Command) -> Result<bool, Refusal> {
    let row = TRANSITIONS.iter().find(|(name, of, _)| *name == phase.as_str() && *of == command);
    match row.map_or(Verdict::Refused, |(_, _, verdict)| *verdict) {
        Verdict::Taken => Ok(true),
        Verdict::Already => Ok(false),
        Verdict::Refused => {
            let detail = format!("the run is {}: {}", phase.as_str(), why_not(command));
            let code = if phase.is_closed() { "run_closed" } else { "run_open" };
            Err(Refusal::new(Kind::Conflict, code, detail))
        }
    }
}

fn why_not(command: Command) -> &'static str {
    match command {
        Command::Advance => "it does not go on",
        Command::Decide => "nobody is asked any more",
        Command::Signal => "it takes no signals any more",
        Command::Pause | Command::Resume => "there is nothing to pause or to resume",
        Command::Cancel => "there is nothing to cancel",
        Command::Retry => "only a failed run is tried again",
        Command::Discard => "only a failed run is discarded",
        Command::Delete => "only a run that has ended is deleted; cancel it first",
    }
}

impl Phase {
    /// The word in lists.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Completed { .. } => "completed",
            Self::Failed { .. } => "failed",
            Self::Cancelled { .. } => "cancelled",
            Self::Discarded { .. } => "discarded",
            Self::Deleted => "deleted",
        }
    }

    /// Whether it ended, if not for ever.
    pub fn is_closed(&self) -> bool {
        !matches!(self, Self::Running | Self::Paused)
    }

    /// Since when it has ended, in microseconds UTC.
    pub fn closed_at(&self) -> Option<i64> {
        match self {
            Self::Running | Self::Paused | Self::Deleted => None,
            Self::Completed { at, .. }
            | Self::Failed { at, .. }
            | Self::Cancelled { at }
            | Self::Discarded { at } => Some(*at),
        }
    }

    /// The phase that an event leads to.
    pub(super) fn after(&self, event: &Event, stamp: Stamp<'_>, run: &RunId) -> Self {
        let place = |what| Place { at: stamp.seq, what };
        match event {
            Event::Paused { .. } => Self::Paused,
            Event::Resumed {} => Self::Running,
            Event::Cancelled { .. } => Self::Cancelled { at: stamp.at },
            Event::Discarded { .. } => Self::Discarded { at: stamp.at },
            Event::Deleted {} => Self::Deleted,
            Event::Completed { .. } => {
                let output = place(What::Output { run: run.clone() });
                Self::Completed { at: stamp.at, output }
            }
            Event::Failed { key, code, group, told } => Self::Failed {
                at: stamp.at,
                key: key.clone(),
                code: code.clone(),
                group: group.clone(),
                error: told.then(|| place(What::Failure { run: run.clone() })),
            },
            _ => self.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    const COMMANDS: [Command; 9] = [
        Command::Advance,
        Command::Decide,
        Command::Signal,
        Command::Pause,
        Command::Resume,
        Command::Cancel,
        Command::Retry,
        Command::Discard,
        Command::Delete,
    ];

    fn phases() -> Vec<Phase> {
        let place = || Place { at: 1, what: What::Output { run: "r".parse().unwrap() } };
        vec![
            Phase::Running,
            Phase::Paused,
            Phase::Completed { at: 1, output: place() },
            Phase::Failed { at: 1, key: None, code: "c".into(), group: None, error: None },
            Phase::Cancelled { at: 1 },
            Phase::Discarded { at: 1 },
        ]
    }

    #[test]
    fn table_has_each_pair_once_and_every_transition_is_crossed() {
        let mut crossed = BTreeSet::new();
        for phase in phases() {
            for command in COMMANDS {
                let verdict = match allowed(&phase, command) {
                    Ok(true) => "taken",
                    Ok(false) => "already",
                    Err(refusal) => {
                        assert!(!refusal.detail.is_empty());
                        "refused"
                    }
                };
                assert!(crossed.insert((phase.as_str(), command)), "{phase:?} {command:?} twice");
                eprintln!("{:10} {command:?}: {verdict}", phase.as_str());
            }
        }

        let table: BTreeSet<_> =
            TRANSITIONS.iter().map(|(phase, command, _)| (*phase, *command)).collect();
        assert_eq!(table, crossed);
        assert_eq!(TRANSITIONS.len(), crossed.len());
        for closed in phases().iter().filter(|phase| phase.is_closed()) {
            assert!(allowed(closed, Command::Signal).is_err(), "a late signal revives nothing");
        }
    }
}
