//! When a worker last asked for work, whether it was let in, and whether it said goodbye. In memory only: a server that starts knows nothing of
//! it. Pure: times are arguments, in microseconds UTC.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32};

/// What the polls of one worker leave behind.
#[derive(Debug, Default)]
pub struct Presence {
    polled: AtomicI64,
    /// Polls that wait now.
    polling: AtomicU32,
    /// It was let in since this server started.
    admitted: AtomicBool,
    /// When it said goodbye; 0: it did not, or came back since.
    left: AtomicI64,
    /// When it came back.
    back: AtomicI64,
}

/// When a worker was last heard of, since this server started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Seen {
    /// By a heartbeat.
    pub heartbeat: Option<i64>,
    /// Asking for work: now, if a poll of it waits.
    pub poll: Option<i64>,
    /// Saying goodbye, and nothing since.
    pub left: Option<i64>,
}

/// A poll that waits: dropped with whoever waits for it.
#[derive(Debug)]
pub(crate) struct Polling<F: Fn() -> i64> {
    presence: Arc<Presence>,
    now: F,
}

impl Presence {
    /// It asks for work until the answer is dropped; `now` says when that is.
    pub(crate) fn poll<F: Fn() -> i64>(self: &Arc<Self>, now: F) -> Polling<F> {
        self.polling.fetch_add(1, Relaxed);
        self.come_back(&now);
        Polling { presence: self.clone(), now }
    }

    /// Whether it was let in since this server started.
    pub(crate) fn is_admitted(&self) -> bool {
        self.admitted.load(Relaxed)
    }

    /// It was let in.
    pub(crate) fn admit(&self) {
        self.admitted.store(true, Relaxed);
    }

    /// It ends on purpose.
    pub(crate) fn leave(&self, at: i64) {
        self.left.store(at.max(1), Relaxed);
    }

    /// It was heard of, if it had left; `now` says when that is.
    pub(crate) fn come_back(&self, now: impl Fn() -> i64) {
        if self.left.load(Relaxed) != 0 && self.left.swap(0, Relaxed) != 0 {
            self.back.store(now(), Relaxed);
        }
    }

    /// When it said goodbye, if it was not heard of since and no poll of it waits.
    pub fn left(&self) -> Option<i64> {
        let left = Some(self.left.load(Relaxed)).filter(|at| *at > 0);
        left.filter(|_| self.polling.load(Relaxed) == 0)
    }

    /// When it last came back after a goodbye; 0: never. What it did not send before that is no silence.
    pub fn back(&self) -> i64 {
        self.back.load(Relaxed)
    }

    /// When it last asked for work: `now`, if a poll waits.
    pub fn polled(&self, now: i64) -> Option<i64> {
        if self.polling.load(Relaxed) > 0 {
            return Some(now);
        }
        Some(self.polled.load(Relaxed)).filter(|at| *at > 0)
    }
}

impl<F: Fn() -> i64> Drop for Polling<F> {
    fn drop(&mut self) {
        self.presence.polled.fetch_max((self.now)(), Relaxed);
        self.presence.polling.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn poll_is_as_old_as_the_end_of_its_wait() {
        let presence = Arc::new(Presence::default());
        assert_eq!(presence.polled(5), None);

        let polling = presence.poll(|| 20);
        assert_eq!(presence.polled(10), Some(10));
        drop(polling);

        assert_eq!(presence.polled(30), Some(20));
    }

    #[test]
    fn goodbye_stands_until_the_worker_is_heard_of() {
        let presence = Arc::new(Presence::default());
        assert_eq!((presence.left(), presence.back()), (None, 0));

        presence.leave(10);
        assert_eq!(presence.left(), Some(10));
        presence.come_back(|| 20);
        presence.come_back(|| 30);
        assert_eq!((presence.left(), presence.back()), (None, 20));

        presence.leave(40);
        drop(presence.poll(|| 50));
        assert_eq!((presence.left(), presence.back()), (None, 50));
    }
}
