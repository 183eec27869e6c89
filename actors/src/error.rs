//! What a caller can be told. Three kinds: refused (do something else), unavailable (try again, or ask
//! first whether it happened), and broken (an id to look for in the log).

use std::time::Duration;

use fleetward_runtime::{CallError, Full};

/// How a refusal is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The request makes no sense.
    Invalid,
    /// Nobody proved who asks.
    Unauthenticated,
    /// Who asks may not.
    Forbidden,
    /// There is no such thing, or not for who asks.
    NotFound,
    /// Not in the state that it is in.
    Conflict,
    /// Larger than the limit.
    TooLarge,
    /// More often than it may be.
    TooMany,
}

/// Refused: nothing was done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct Refusal {
    /// How it is meant.
    pub kind: Kind,
    /// Stable word for programs.
    pub code: &'static str,
    /// What is wrong and what to do, for people.
    pub detail: String,
    /// The worker's standing, where that is the reason.
    pub standing: Option<&'static str>,
    /// The newest generation of the worker's tokens, where another was named.
    pub generation: Option<u32>,
}

impl Refusal {
    /// A refusal.
    pub fn new(kind: Kind, code: &'static str, detail: impl Into<String>) -> Self {
        Self { kind, code, detail: detail.into(), standing: None, generation: None }
    }

    /// The request makes no sense.
    pub fn invalid(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(Kind::Invalid, code, detail)
    }

    /// There is none, or not for who asks: both are said alike.
    pub fn not_found(what: &str) -> Self {
        Self::new(Kind::NotFound, "not_found", format!("there is no such {what}"))
    }

    /// The worker may not work.
    pub fn standing(standing: &'static str) -> Self {
        let detail = match standing {
            "pending" => "the worker waits for approval by an administrator".to_owned(),
            "locked" => "a copy of one of the worker's tokens was used: it is locked until an \
                         administrator unlocks it"
                .to_owned(),
            other => format!("the worker is {other}; it may not work any more"),
        };
        let code = if standing == "locked" { "worker_locked" } else { "worker_not_approved" };
        let refusal = Self::new(Kind::Forbidden, code, detail);
        Self { standing: Some(standing), ..refusal }
    }
}

/// Why a command gave no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Nothing was done; do something else.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Too much in flight in all. Certainly not done; try again.
    #[error("the server is busy; try again")]
    Busy,
    /// Too much in flight for this organisation. Certainly not done; try again.
    #[error("too many requests of this organisation are in flight; try again")]
    OverShare,
    /// Many workers come back at once: it is this one's turn after that time. Certainly not done; try again then.
    #[error("many workers come at once; try again in {} s", .0.as_secs() + 1)]
    Crowded(Duration),
    /// The rows for listing are too far behind what happened. Certainly not done; try again.
    #[error("the store is behind; try again later")]
    Behind,
    /// Certainly not done; try again.
    #[error("not available: {0}")]
    Unavailable(String),
    /// Perhaps done: repeat it with the same idempotency key, or ask.
    #[error("the outcome is not known yet; repeat the request or ask for the result")]
    OutcomeUnknown,
    /// A bug: nothing was done, and the log has more under this id.
    #[error("internal error {0}")]
    Internal(String),
}

impl From<CallError> for Error {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Unavailable => Self::Unavailable("this part is starting or halted".into()),
            CallError::Lost | CallError::Late => Self::OutcomeUnknown,
        }
    }
}

impl From<Full> for Error {
    fn from(full: Full) -> Self {
        match full {
            Full::System => Self::Busy,
            Full::Share => Self::OverShare,
        }
    }
}
