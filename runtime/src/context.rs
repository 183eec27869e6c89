//! What an actor is given besides its message: its address, the time, timers and tasks.
//!
//! Its host makes one for every life. When the life ends, so does everything started through it.

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use ractor::ActorRef;
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::Instrument as _;

use crate::life::{End, Life};
use crate::mailbox::Envelope;
use crate::panics;
use crate::{Address, CallError, Clock, Faults, Moment, Reply};

/// An actor's view of its own life.
pub struct Context<M> {
    address: Address<M>,
    mailbox: ActorRef<Envelope<M>>,
    life: Arc<Life>,
}

/// A message to come. Dropping it cancels it.
#[must_use = "dropping a timer cancels it"]
#[derive(Debug)]
pub struct Timer {
    _cancel_on_drop: DropGuard,
}

impl Timer {
    /// Cancels it. The message may be in the mailbox already.
    pub fn cancel(self) {}
}

impl<M: Send + 'static> Context<M> {
    pub(crate) fn new(
        address: Address<M>,
        mailbox: ActorRef<Envelope<M>>,
        life: Arc<Life>,
    ) -> Self {
        Self { address, mailbox, life }
    }

    /// Where this actor can be reached. Not bound while it starts.
    pub fn address(&self) -> &Address<M> {
        &self.address
    }

    /// The system's clock.
    pub fn clock(&self) -> &Clock {
        &self.life.core.clock
    }

    /// The faults that tests have armed.
    pub fn faults(&self) -> &Faults {
        &self.life.core.faults
    }

    /// Which life this is; the first is 1.
    pub fn life(&self) -> u64 {
        self.life.number
    }

    /// Where this actor is in the tree, `system/cells/3/dispatcher`.
    pub fn name(&self) -> &str {
        self.life.node.path()
    }

    /// Sends `message` to this life of this actor. What it sends itself while it starts is handled
    /// before anything from outside.
    pub fn send(&self, message: M) {
        post(&self.mailbox, &self.address, message);
    }

    /// Ends this life in good order after what is in the mailbox now. Unless the actor is
    /// permanent, that is the end of it.
    pub fn stop(&self) {
        // Cannot fail in a way that matters: a life that is over has stopped.
        let _ = self.mailbox.drain();
    }

    /// Sends `message` to this life of this actor at `moment`. Dropping or cancelling the timer
    /// cancels it.
    pub fn at(&self, moment: Moment, message: M) -> Timer {
        let cancelled = self.life.over.child_token();
        let (mailbox, address) = (self.mailbox.clone(), self.address.clone());
        let clock = self.clock().clone();
        let timer = Timer { _cancel_on_drop: cancelled.clone().drop_guard() };
        tokio::spawn(async move {
            let sleep = pin!(clock.sleep_until(moment));
            if unless(&cancelled, sleep).await.is_some() {
                post(&mailbox, &address, message);
            }
        });
        timer
    }

    /// Sends `message` to this life of this actor after `wait`, see [`at`](Self::at).
    pub fn after(&self, wait: Duration, message: M) -> Timer {
        self.at(self.clock().now() + wait, message)
    }

    /// A question's reply whose answer comes to this life as the message that `into` makes of it; `None` where there is
    /// nothing to be told. It costs less than a task that waits, and has no deadline: who may never answer is asked
    /// otherwise. A reply that is dropped is [`CallError::Lost`].
    pub fn reply<T: Send + 'static>(
        &self,
        into: impl FnOnce(Result<T, CallError>) -> Option<M> + Send + 'static,
    ) -> Reply<T> {
        let (mailbox, address) = (self.mailbox.clone(), self.address.clone());
        Reply::told(move |said| {
            if let Some(message) = into(said) {
                post(&mailbox, &address, message);
            }
        })
    }

    /// Runs a future beside the actor; its output comes back as a message.
    ///
    /// It is dropped when this life ends, and the next life begins only after that. A panic inside
    /// it crashes this life.
    pub fn spawn<F, T>(&self, future: F, into: impl FnOnce(T) -> M + Send + 'static)
    where
        F: Future<Output = T> + Send + 'static,
        T: Send + 'static,
    {
        let (mailbox, address) = (self.mailbox.clone(), self.address.clone());
        let life = Arc::clone(&self.life);
        let span = life.span.clone();
        let beside = async move {
            let work = pin!(AssertUnwindSafe(future.map(into)).catch_unwind());
            match unless(&life.over, work).await {
                Some(Ok(message)) => post(&mailbox, &address, message),
                Some(Err(panic)) => {
                    let reason = panics::reason(&*panic);
                    life.will_end(End::Crashed(format!("panic in a spawned task: {reason}")));
                    mailbox.kill();
                }
                None => {}
            }
        };
        tokio::spawn(beside.instrument(span));
    }

    /// Runs a future that the end of this life does not end: for what it leaves to others. It ends with the process.
    pub fn leave_behind(&self, future: impl Future<Output = ()> + Send + 'static) {
        tokio::spawn(future.instrument(self.life.span.clone()));
    }
}

impl<M> Drop for Context<M> {
    fn drop(&mut self) {
        self.life.over.cancel();
    }
}

impl<M> fmt::Debug for Context<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Context({}, life {})", self.life.node.path(), self.life.number)
    }
}

/// Straight to one life: a later life must not get what was meant for an earlier one.
fn post<M: Send + 'static>(mailbox: &ActorRef<Envelope<M>>, address: &Address<M>, message: M) {
    // A life that is over has no use for the message.
    let _ = mailbox.send_message(Envelope::new(message, address.gauge()));
}

/// Pinned by whoever asks: a future that is handed over has room for it twice.
async fn unless<T>(
    cancelled: &CancellationToken,
    work: Pin<&mut impl Future<Output = T>>,
) -> Option<T> {
    tokio::select! {
        biased;
        () = cancelled.cancelled() => None,
        done = work => Some(done),
    }
}
