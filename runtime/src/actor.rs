//! What somebody writes to have an actor: the trait, and the two ways in which a life can fail.
//!
//! Supervisors start actors and read these errors; nobody else does.

use std::fmt;

use crate::Context;

/// Something with private state that handles one message at a time.
///
/// An actor has many *lives*. A crash ends one life; the supervisor starts the next from the same
/// [`Args`](Actor::Args), and the [`Address`](crate::Address) that others hold leads to the new
/// life. Whatever was queued at the moment of the crash is gone, and its callers are told
/// [`CallError::Lost`](crate::CallError::Lost).
pub trait Actor: Sized + Send + 'static {
    /// What every life starts from. Absolute deadlines rather than durations: it is cloned for
    /// each life.
    type Args: Clone + Send + Sync + 'static;

    /// What may be sent to it.
    type Message: Send + 'static;

    /// Loads the state; may wait. Until it returns, the address answers
    /// [`Unavailable`](crate::Unavailable), except that what the actor sends itself through `cx`
    /// is queued, and handled before anything from outside.
    ///
    /// # Errors
    /// [`StartError`] says whether starting again is worth anything. A panic counts as
    /// [`StartError::Failed`].
    fn start(
        args: Self::Args,
        cx: &mut Context<Self::Message>,
    ) -> impl Future<Output = Result<Self, StartError>> + Send;

    /// Handles one message. Synchronous on purpose: nothing may wait inside a handler; what has to
    /// wait goes to [`Context::spawn`] and comes back as a message.
    ///
    /// # Errors
    /// [`Crash`] ends this life. It is for broken invariants, not for refusing a request.
    fn handle(
        &mut self,
        message: Self::Message,
        cx: &mut Context<Self::Message>,
    ) -> Result<(), Crash>;

    /// Called after the last message of an orderly stop (a drain). Not called on a crash or when
    /// the life is ended because a sibling crashed.
    fn stopped(&mut self, _cx: &mut Context<Self::Message>) {}

    /// A short name of a message, for logs and for fault injection.
    fn label(_message: &Self::Message) -> &'static str {
        "message"
    }

    /// A cheap view of the state for [`Address::inspect`](crate::Address::inspect).
    fn inspect(&self) -> serde_json::Value {
        serde_json::Value::Null
    }
}

/// Why an actor gave up its life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Crash(String);

impl Crash {
    /// Gives up, with a reason for the log.
    pub fn new(reason: impl fmt::Display) -> Self {
        Self(reason.to_string())
    }
}

impl fmt::Display for Crash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Crash {}

/// Why a life could not begin, by what the supervisor does about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    /// Something it depends on is away. Retried with back-off for as long as it takes, and spends
    /// no restart budget.
    #[error("unavailable: {0}")]
    Unavailable(String),
    /// A failure like any other: counted against the restart budget.
    #[error("failed to start: {0}")]
    Failed(String),
    /// Starting again cannot help. Never retried: the unit halts.
    #[error("halted: {0}")]
    Halt(String),
}
