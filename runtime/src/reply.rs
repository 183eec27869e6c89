//! One answer to one question: the sending end, the waiting end, and an answer as data.
//!
//! Messages carry the sending end; whoever asked holds the waiting end. Dropping the sending end
//! tells the asker that the answer is lost.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::sync::oneshot;

use crate::{CallError, Permit};

/// The right to answer one question, once.
pub struct Reply<T> {
    asker: Asker<T>,
    permit: Option<Permit>,
}

enum Asker<T> {
    /// Waits at the other end.
    Waiting(oneshot::Sender<T>),
    /// Goes on with other things, and is told.
    Told(Told<T>),
}

/// Tells what became of a question, at the latest when it is dropped.
struct Told<T>(Option<Tell<T>>);

type Tell<T> = Box<dyn FnOnce(Result<T, CallError>) + Send>;

/// The answer to come: resolves to it, or to [`CallError::Lost`] when the [`Reply`] was dropped.
#[must_use = "an answer is only received by waiting for it"]
pub struct Answered<T>(oneshot::Receiver<T>);

/// An answer as data: decided now, sent when it is released.
///
/// Dropping it unreleased makes the asker see [`CallError::Lost`].
#[must_use = "an answer reaches nobody until it is released"]
pub struct Answer(Box<dyn FnOnce() + Send>);

impl<T: Send + 'static> Reply<T> {
    /// A pair, for those who keep replies themselves (a parked poll).
    pub fn channel() -> (Self, Answered<T>) {
        let (sender, receiver) = oneshot::channel();
        (Self { asker: Asker::Waiting(sender), permit: None }, Answered(receiver))
    }

    /// One whose answer is told, or [`CallError::Lost`] when it is dropped.
    pub(crate) fn told(tell: impl FnOnce(Result<T, CallError>) + Send + 'static) -> Self {
        Self { asker: Asker::Told(Told(Some(Box::new(tell)))), permit: None }
    }

    /// Lets `permit` ride along: it is given back when this is answered or dropped, even if the
    /// asker left long before.
    #[must_use]
    pub fn holding(self, permit: Permit) -> Self {
        Self { permit: Some(permit), ..self }
    }

    /// Answers. An asker who has left is not an error.
    pub fn send(self, value: T) {
        // Back before the asker runs: who was answered and asks again finds the room free.
        drop(self.permit);
        match self.asker {
            Asker::Waiting(sender) => drop(sender.send(value)),
            Asker::Told(mut told) => told.tell(Ok(value)),
        }
    }

    /// Whether the asker has left, so that work only for them can be skipped.
    pub fn is_closed(&self) -> bool {
        match &self.asker {
            Asker::Waiting(sender) => sender.is_closed(),
            Asker::Told(_) => false,
        }
    }

    /// Binds the answer, to be sent later by someone who need not know what it says.
    pub fn with(self, value: T) -> Answer {
        Answer(Box::new(move || self.send(value)))
    }
}

impl<T> Told<T> {
    fn tell(&mut self, said: Result<T, CallError>) {
        if let Some(tell) = self.0.take() {
            tell(said);
        }
    }
}

impl<T> Drop for Told<T> {
    fn drop(&mut self) {
        self.tell(Err(CallError::Lost));
    }
}

impl Answer {
    /// Sends it.
    pub fn release(self) {
        (self.0)();
    }
}

impl<T> Future for Answered<T> {
    type Output = Result<T, CallError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map_err(|_| CallError::Lost)
    }
}

impl<T> fmt::Debug for Reply<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply").field("permit", &self.permit.is_some()).finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for Answered<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answered").finish_non_exhaustive()
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer").finish_non_exhaustive()
    }
}
