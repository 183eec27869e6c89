//! The two ends of a claim that a caller may walk away from: the parked poll, and the answer on its way out.

use fleetward_runtime::Address;

use crate::fleet::connection;
use crate::id::TaskId;

/// Watches over the answer to a claim until it was written whole. Dropped before that, the attempts go back.
#[derive(Debug)]
pub struct Delivery {
    pub(super) connection: Address<connection::Message>,
    pub(super) tasks: Vec<(TaskId, u32)>,
    pub(super) whole: bool,
}

impl Delivery {
    /// The answer was written whole.
    pub fn written(mut self) {
        self.whole = true;
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        let (tasks, whole) = (std::mem::take(&mut self.tasks), self.whole);
        // A connection between two lives gives the attempt a start term of its own.
        let _ = self.connection.send(connection::Message::Delivered { tasks, whole });
    }
}

/// Un-parks the poll when its caller leaves.
pub(super) struct ParkedPoll<'a> {
    pub(super) connection: &'a Address<connection::Message>,
    pub(super) id: u64,
    pub(super) waiting: bool,
}

impl ParkedPoll<'_> {
    pub(super) fn done(mut self) {
        self.waiting = false;
    }
}

impl Drop for ParkedPoll<'_> {
    fn drop(&mut self) {
        if self.waiting {
            let _ = self.connection.send(connection::Message::Left { poll: self.id });
        }
    }
}

/// The answer, or `None` when the time is over first.
pub(super) async fn first_of<T>(
    answer: impl Future<Output = T>,
    time: impl Future<Output = impl Sized>,
) -> Option<T> {
    let mut answer = std::pin::pin!(answer);
    let mut time = std::pin::pin!(time);
    std::future::poll_fn(|cx| {
        if let std::task::Poll::Ready(value) = answer.as_mut().poll(cx) {
            return std::task::Poll::Ready(Some(value));
        }
        time.as_mut().poll(cx).map(|_| None)
    })
    .await
}
