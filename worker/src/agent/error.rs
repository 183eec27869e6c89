//! Why an agent gave no answer, told apart by what can be done about it.

use std::fmt;
use std::time::Duration;

use super::call::BadCall;
use super::credentials::ApiKey;
use crate::execute::Outcome;

/// Longest reason, in characters: what providers say in their errors can be pages.
const DETAIL_MAX: usize = 2_000;

/// Why there is no answer.
#[derive(Clone, PartialEq, Eq)]
pub enum AgentError {
    /// Each repetition would end the same way: a wrong key, an unknown model, a call that cannot be.
    Refused(String),
    /// It may work later, or elsewhere.
    Unavailable {
        /// What was seen of it.
        detail: String,
        /// How long the provider asks to wait.
        retry_after: Option<Duration>,
    },
    /// The task was stopped.
    Stopped,
}

impl AgentError {
    pub(super) fn refused(detail: impl fmt::Display) -> Self {
        Self::Refused(bounded(&detail.to_string()))
    }

    pub(super) fn unavailable(detail: impl fmt::Display) -> Self {
        Self::Unavailable { detail: bounded(&detail.to_string()), retry_after: None }
    }

    /// The same, in which nothing of a key stands: providers repeat wrong ones.
    pub(super) fn without(self, key: Option<&ApiKey>) -> Self {
        let hidden = |detail: String| match key {
            Some(key) => detail.replace(key.expose(), "[key]"),
            None => detail,
        };
        match self {
            Self::Refused(detail) => Self::Refused(hidden(detail)),
            Self::Unavailable { detail, retry_after } => {
                Self::Unavailable { detail: hidden(detail), retry_after }
            }
            Self::Stopped => Self::Stopped,
        }
    }

    /// The same with words put before it.
    pub(super) fn of(self, whose: &str) -> Self {
        match self {
            Self::Refused(detail) => Self::refused(format_args!("{whose}: {detail}")),
            Self::Unavailable { detail, retry_after } => {
                Self::Unavailable { detail: bounded(&format!("{whose}: {detail}")), retry_after }
            }
            Self::Stopped => Self::Stopped,
        }
    }
}

impl From<BadCall> for AgentError {
    fn from(bad: BadCall) -> Self {
        Self::refused(bad)
    }
}

impl From<AgentError> for Outcome {
    fn from(error: AgentError) -> Self {
        match error {
            AgentError::Refused(detail) => Self::FailedForGood(detail),
            AgentError::Unavailable { detail, .. } => Self::Failed(detail),
            AgentError::Stopped => Self::GiveBack("the agent was stopped".to_owned()),
        }
    }
}

impl fmt::Display for AgentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(detail) | Self::Unavailable { detail, .. } => f.write_str(detail),
            Self::Stopped => f.write_str("stopped"),
        }
    }
}

impl fmt::Debug for AgentError {
    /// Names the kind only: what providers say of a call may quote it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Refused(_) => "Refused(..)",
            Self::Unavailable { .. } => "Unavailable(..)",
            Self::Stopped => "Stopped",
        })
    }
}

impl std::error::Error for AgentError {}

fn bounded(detail: &str) -> String {
    detail.chars().filter(|c| *c == '\n' || !c.is_control()).take(DETAIL_MAX).collect()
}
