//! Which task is submitted next, and when: as answers come, or at moments drawn beforehand.
//!
//! Open arrivals come from a thread that sleeps to the microsecond and does not look at answers.
//! A submitter that is late takes an arrival with the moment it was meant for, so the wait is in
//! its latency: nothing is left out because the server was slow.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{Mutex, mpsc};

use crate::options::Arrivals;
use crate::shape::NewTask;
use crate::tally::Tally;

/// Arrivals that may wait for a submitter before their thread has to wait too.
const WAITING_MAX: usize = 1 << 20;

/// Where submitters get their tasks.
pub(crate) struct Source {
    tally: Arc<Tally>,
    next: AtomicU64,
    until: u64,
    kind: Kind,
}

enum Kind {
    /// As fast as possible.
    Free,
    /// When there is room for open tasks.
    Closed,
    /// When their time comes.
    Open(Mutex<mpsc::Receiver<u64>>),
}

impl Source {
    /// So many tasks as fast as possible, numbered from `first`.
    pub(crate) fn free(tally: &Arc<Tally>, first: u64, count: u64) -> Self {
        Self::new(tally, first, count, Kind::Free)
    }

    /// So many tasks as `arrivals` says, numbered from `first`. Moments begin now.
    pub(crate) fn arriving(tally: &Arc<Tally>, first: u64, count: u64, arrivals: Arrivals) -> Self {
        let kind = match arrivals {
            Arrivals::Closed => Kind::Closed,
            Arrivals::Poisson { per_second } => Kind::Open(open(tally.clone(), count, per_second)),
        };
        Self::new(tally, first, count, kind)
    }

    /// The next tasks, at most so many; none when all have been taken.
    pub(crate) async fn take(&self, most: usize) -> Vec<NewTask> {
        match &self.kind {
            Kind::Free => self.now(most),
            Kind::Closed => {
                let most = u32::try_from(most).unwrap_or(u32::MAX);
                let room = self.tally.room.acquire_many(most).await;
                room.expect("it is never closed").forget();
                self.now(most as usize)
            }
            Kind::Open(due) => {
                let mut moments = Vec::with_capacity(most);
                due.lock().await.recv_many(&mut moments, most).await;
                let first = self.next.fetch_add(moments.len() as u64, Ordering::Relaxed);
                let numbered = moments.into_iter().zip(first..);
                numbered.map(|(at_us, number)| NewTask { number, at_us }).collect()
            }
        }
    }

    fn new(tally: &Arc<Tally>, first: u64, count: u64, kind: Kind) -> Self {
        let next = AtomicU64::new(first);
        Self { tally: tally.clone(), next, until: first + count, kind }
    }

    fn now(&self, most: usize) -> Vec<NewTask> {
        let first = self.next.fetch_add(most as u64, Ordering::Relaxed);
        let end = (first + most as u64).min(self.until);
        let at_us = self.tally.now_us();
        (first..end).map(|number| NewTask { number, at_us }).collect()
    }
}

/// Draws moments and tells each when it has come.
fn open(tally: Arc<Tally>, count: u64, per_second: f64) -> Mutex<mpsc::Receiver<u64>> {
    let (sender, receiver) = mpsc::channel(WAITING_MAX);
    std::thread::spawn(move || {
        let mut at_us = tally.now_us() as f64;
        for _ in 0..count {
            at_us += gap_us(rand::random(), per_second);
            let moment = at_us as u64;
            std::thread::sleep(Duration::from_micros(moment.saturating_sub(tally.now_us())));
            if sender.blocking_send(moment).is_err() {
                return;
            }
        }
    });
    Mutex::new(receiver)
}

/// Time between two arrivals of a Poisson process, for a number drawn evenly from 0 to 1.
fn gap_us(drawn: f64, per_second: f64) -> f64 {
    -(1.0 - drawn).ln() * 1e6 / per_second
}
