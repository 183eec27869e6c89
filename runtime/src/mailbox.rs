//! What lies in a mailbox, and the numbers kept about it.
//!
//! Addresses fill mailboxes and actor hosts empty them; both keep the gauge, and observers read it
//! without sending anything.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use tokio::time::Instant;

use crate::Reply;

/// One thing for an actor to do.
pub(crate) enum Envelope<M> {
    /// A message, counted as waiting until the ticket is dropped.
    Message { message: M, ticket: Ticket },
    /// A question for a view of the state; not counted.
    Inspect(Reply<serde_json::Value>),
}

impl<M> Envelope<M> {
    pub(crate) fn new(message: M, gauge: &Arc<Gauge>) -> Self {
        Self::Message { message, ticket: Ticket::new(gauge) }
    }
}

/// Counts of one actor over all of its lives.
///
/// The numbers are for people and dashboards, so relaxed atomics do: each is exact on its own, and
/// nothing is decided by comparing them.
pub(crate) struct Gauge {
    waiting: AtomicUsize,
    handled: AtomicU64,
    /// When the oldest unfinished message was sent, in µs since `origin`. Only means something
    /// while messages wait.
    oldest_us: AtomicU64,
    origin: Instant,
}

impl Gauge {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            waiting: AtomicUsize::new(0),
            handled: AtomicU64::new(0),
            oldest_us: AtomicU64::new(0),
            origin: Instant::now(),
        })
    }

    /// Messages sent and not finished, including the one being handled.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Relaxed)
    }

    /// Messages handled to the end.
    pub(crate) fn handled(&self) -> u64 {
        self.handled.load(Relaxed)
    }

    /// How long the oldest unfinished message has been there.
    pub(crate) fn oldest(&self) -> Option<Duration> {
        let sent = Duration::from_micros(self.oldest_us.load(Relaxed));
        (self.waiting() > 0).then(|| self.origin.elapsed().saturating_sub(sent))
    }

    fn set_oldest(&self, sent: Instant) {
        let us = sent.saturating_duration_since(self.origin).as_micros();
        self.oldest_us.store(u64::try_from(us).unwrap_or(u64::MAX), Relaxed);
    }
}

/// One message's place in the gauge, for as long as the message is unfinished.
pub(crate) struct Ticket {
    gauge: Arc<Gauge>,
    sent: Instant,
}

impl Ticket {
    fn new(gauge: &Arc<Gauge>) -> Self {
        let sent = Instant::now();
        if gauge.waiting.fetch_add(1, Relaxed) == 0 {
            gauge.set_oldest(sent);
        }
        Self { gauge: Arc::clone(gauge), sent }
    }

    /// The actor has taken the message: mailboxes are first in, first out, so it is the oldest.
    pub(crate) fn begin(&self) {
        self.gauge.set_oldest(self.sent);
    }

    /// The message was handled to the end.
    pub(crate) fn finish(self) {
        self.gauge.handled.fetch_add(1, Relaxed);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.gauge.waiting.fetch_sub(1, Relaxed);
    }
}
