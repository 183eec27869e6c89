//! Where an actor can be reached, across all of its lives.
//!
//! Anybody may hold one and send through it. Only the actor's host re-points it: to a life when
//! that life has started, to nothing when it ends.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use ractor::{ActorRef, MessagingErr};

use crate::mailbox::{Envelope, Gauge};
use crate::{Permit, Reply};

/// Where an actor can be reached, across all of its lives. Cheap to clone.
///
/// It can exist before its actor does, so that siblings can be given each other's addresses.
pub struct Address<M> {
    line: Arc<Line<M>>,
}

struct Line<M> {
    name: Arc<str>,
    gauge: Arc<Gauge>,
    current: RwLock<Option<Bound<M>>>,
}

struct Bound<M> {
    life: u64,
    mailbox: ActorRef<Envelope<M>>,
}

/// No life to send to: the actor is starting, between lives, halted or was stopped. The message was
/// certainly not handled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not available")]
pub struct Unavailable;

/// Why a call has no answer, by what the caller may conclude.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// There was no life to ask: certainly not done. Safe to send again.
    #[error("not available")]
    Unavailable,
    /// The life that had the question ended: perhaps done. Ask what happened, or repeat with the
    /// same idempotency key.
    #[error("the answer was lost")]
    Lost,
    /// No answer within the deadline: perhaps done, perhaps still to be done.
    #[error("no answer within the deadline")]
    Late,
}

impl CallError {
    /// Whether the caller may safely try again, because nothing happened.
    #[must_use]
    pub fn certainly_not_done(self) -> bool {
        self == Self::Unavailable
    }
}

impl From<Unavailable> for CallError {
    fn from(_: Unavailable) -> Self {
        Self::Unavailable
    }
}

impl<M: Send + 'static> Address<M> {
    /// An address that leads nowhere until a supervisor starts its actor. The name is for people.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        let line = Line { name: name.into(), gauge: Gauge::new(), current: RwLock::new(None) };
        Self { line: Arc::new(line) }
    }

    /// Sends without waiting. `Ok` means that a life had it in its mailbox, not that it will be
    /// handled: the life may end first.
    ///
    /// # Errors
    /// [`Unavailable`] when there is no life; the message was certainly not handled.
    pub fn send(&self, message: M) -> Result<(), Unavailable> {
        self.post(Envelope::new(message, &self.line.gauge)).map_err(|_| Unavailable)
    }

    /// The same, for a message that must not be lost where there is no life.
    ///
    /// # Errors
    /// The message, when there is no life; it was certainly not handled.
    pub fn offer(&self, message: M) -> Result<(), M> {
        self.post(Envelope::new(message, &self.line.gauge)).map_err(|envelope| match *envelope {
            Envelope::Message { message, .. } => message,
            Envelope::Inspect(_) => unreachable!("what was not sent is what came back"),
        })
    }

    /// Sends a question and waits for its answer, at most `deadline`.
    ///
    /// The deadline runs on tokio's clock, not on the system's [`Clock`](crate::Clock): a caller
    /// gives up even where a test has frozen the time of the actors. An actor cannot call from a
    /// handler, which cannot wait; from [`Actor::start`](crate::Actor::start) it does not reach
    /// itself.
    ///
    /// # Errors
    /// [`CallError`] says whether it may have been done.
    pub async fn call<T: Send + 'static>(
        &self,
        deadline: Duration,
        make: impl FnOnce(Reply<T>) -> M,
    ) -> Result<T, CallError> {
        let (reply, answered) = Reply::channel();
        self.send(make(reply))?;
        tokio::time::timeout(deadline, answered).await.unwrap_or(Err(CallError::Late))
    }

    /// Like [`call`](Self::call); `permit` is given back when the question is answered or dropped,
    /// even if this caller left before.
    ///
    /// # Errors
    /// [`CallError`] says whether it may have been done.
    pub async fn call_with_permit<T: Send + 'static>(
        &self,
        permit: Permit,
        deadline: Duration,
        make: impl FnOnce(Reply<T>) -> M,
    ) -> Result<T, CallError> {
        self.call(deadline, |reply| make(reply.holding(permit))).await
    }

    /// Whether there is a life to send to at this moment.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.line.current.read().is_some()
    }

    /// Asks for the actor's own view of its state; queues behind the messages before it.
    ///
    /// # Errors
    /// [`CallError`], as for any call.
    pub async fn inspect(&self, deadline: Duration) -> Result<serde_json::Value, CallError> {
        let (reply, answered) = Reply::channel();
        self.post(Envelope::Inspect(reply)).map_err(|_| Unavailable)?;
        tokio::time::timeout(deadline, answered).await.unwrap_or(Err(CallError::Late))
    }

    /// What cannot be sent comes back.
    fn post(&self, envelope: Envelope<M>) -> Result<(), Box<Envelope<M>>> {
        let current = self.line.current.read();
        let Some(bound) = current.as_ref() else { return Err(Box::new(envelope)) };
        bound.mailbox.send_message(envelope).map_err(|error| match error {
            MessagingErr::SendErr(envelope) => Box::new(envelope),
            // The type is the actor's own, and its channel is its mailbox.
            _ => unreachable!("a message of its own type reaches an actor or comes back"),
        })
    }

    pub(crate) fn gauge(&self) -> &Arc<Gauge> {
        &self.line.gauge
    }

    /// Points to a life until the binding is dropped.
    pub(crate) fn bind(&self, life: u64, mailbox: ActorRef<Envelope<M>>) -> Binding<M> {
        *self.line.current.write() = Some(Bound { life, mailbox });
        Binding { address: self.clone(), life }
    }
}

/// Keeps an address pointed to one life.
pub(crate) struct Binding<M> {
    address: Address<M>,
    life: u64,
}

impl<M> Drop for Binding<M> {
    fn drop(&mut self) {
        let mut current = self.address.line.current.write();
        // A later life may have been bound already; that binding is not ours to undo.
        if current.as_ref().is_some_and(|bound| bound.life == self.life) {
            *current = None;
        }
    }
}

impl<M> Clone for Address<M> {
    fn clone(&self) -> Self {
        Self { line: Arc::clone(&self.line) }
    }
}

impl<M> fmt::Debug for Address<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({})", self.line.name)
    }
}
