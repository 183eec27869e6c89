//! Reports that wait to be sent, and which of them go together. Filled by seats, emptied by the
//! reporter.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};

use fleetward_wire::tasks::Report;
use tokio::sync::{Notify, oneshot};

use crate::transport::TransportError;

/// Most reports of one request. A control plane takes more, but their answers come together.
const REPORTS: usize = 100;
/// About as many bytes has one request, so that it is no slower than the largest single report;
/// one that is larger goes alone.
const BYTES: usize = 1024 * 1024;

/// What became of a report.
pub(crate) type Verdict = Result<(), TransportError>;

/// In the order in which attempts ended. Bounded by the seats: each waits for its verdict.
#[derive(Default)]
pub(crate) struct Outbox {
    waiting: Mutex<VecDeque<Waiting>>,
    /// Rings when something was added.
    added: Notify,
}

/// A report whose seat waits for a verdict.
pub(crate) struct Waiting {
    pub(crate) report: Report,
    /// Its length as JSON.
    bytes: usize,
    /// A request with others was refused as a whole, perhaps because of this one.
    alone: bool,
    verdict: oneshot::Sender<Verdict>,
}

impl Outbox {
    /// Has a report sent once. Whoever stops waiting takes it out again, if it was not sent yet.
    pub(crate) async fn deliver(&self, report: Report) -> Verdict {
        let (verdict, told) = oneshot::channel();
        let bytes = json_length(&report);
        self.waiting().push_back(Waiting { report, bytes, alone: false, verdict });
        self.added.notify_one();
        let nothing_said = || Err(TransportError::unavailable("the answer leaves this report out"));
        told.await.unwrap_or_else(|_| nothing_said())
    }

    /// Waits until there is something to send, and takes as much as goes into one request.
    pub(crate) async fn next(&self) -> Vec<Waiting> {
        loop {
            let batch = self.take();
            if !batch.is_empty() {
                return batch;
            }
            self.added.notified().await;
        }
    }

    /// Nothing became of these: they go first with the next request.
    pub(crate) fn put_back(&self, batch: Vec<Waiting>) {
        let mut waiting = self.waiting();
        for report in batch.into_iter().rev() {
            waiting.push_front(report);
        }
    }

    fn take(&self) -> Vec<Waiting> {
        let mut waiting = self.waiting();
        waiting.retain(|waiting| !waiting.verdict.is_closed());
        let together = together(waiting.iter().map(|waiting| (waiting.bytes, waiting.alone)));
        waiting.drain(..together).collect()
    }

    fn waiting(&self) -> MutexGuard<'_, VecDeque<Waiting>> {
        // A panic between two of its changes can at most leave reports out, and these seats are
        // then told that nothing became of theirs.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    pub(crate) fn alone(self) -> Self {
        Self { alone: true, ..self }
    }

    /// Tells the seat, if it still waits.
    pub(crate) fn told(self, verdict: Verdict) {
        let _ = self.verdict.send(verdict);
    }
}

/// How many of the first reports go into one request, by the length of each and whether it goes
/// alone.
fn together(waiting: impl Iterator<Item = (usize, bool)>) -> usize {
    let (mut count, mut total) = (0, 0);
    for (bytes, alone) in waiting.take(REPORTS) {
        total += bytes;
        if count > 0 && (alone || total > BYTES) {
            break;
        }
        count += 1;
        if alone {
            break;
        }
    }
    count
}

fn json_length(report: &Report) -> usize {
    struct Counter(usize);

    impl Write for Counter {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    let mut counter = Counter(0);
    // What is no JSON fails where it is sent, and then shall do so alone.
    serde_json::to_writer(&mut counter, report).map_or(BYTES, |()| counter.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_go_together_as_one_request_has_room_for() {
        const HALF: usize = BYTES / 2;
        let small = [(1, false); 2 * REPORTS];
        let cases: [(&[(usize, bool)], usize); 9] = [
            (&[], 0),
            (&[(1, false)], 1),
            (&[(1, false), (1, false), (1, false)], 3),
            (&small, REPORTS),
            (&[(HALF, false), (HALF, false), (1, false)], 2),
            (&[(BYTES + 1, false), (1, false)], 1),
            (&[(1, false), (BYTES + 1, false)], 1),
            (&[(1, true), (1, true)], 1),
            (&[(1, false), (1, true)], 1),
        ];
        for (waiting, expected) in cases {
            assert_eq!(together(waiting.iter().copied()), expected, "{waiting:?}");
        }
    }
}
