//! The claimer: asks for as many tasks as there are free seats, and gives each of them to a seat.
//!
//! Told by the seats that they are free. While its poll is parked, seats that become free wait for
//! the next one: it is answered as soon as there is any work.

use std::sync::Arc;
use std::time::Duration;

use fleetward_wire::tasks::{Claim, Claimed};
use tokio::sync::{mpsc, oneshot};
use tokio::task::yield_now;
use tokio::time::{Instant, sleep};

use crate::attempt::Attempt;
use crate::backoff::{Backoff, approval_backoff};
use crate::clock::Moment;
use crate::crew::Crew;
use crate::transport::{Transport, TransportError};
use crate::worker::WorkerError;

/// Most tasks of one claim: an answer with so many large payloads is as much as should be lost at
/// once.
const TASKS: usize = 100;
/// The longest poll that a control plane parks.
const LONGEST_POLL: Duration = Duration::from_secs(60);
/// An empty answer that came sooner is no long poll: without a pause the claimer would spin.
const QUICK: Duration = Duration::from_millis(100);
/// So many refused claims in a row are no accident.
const REFUSALS: u32 = 5;

/// A task with the right to run it.
pub(crate) type Taken<T, X> = (Claimed, Holding<T, X>);
/// Where a free seat waits for its next task.
pub(crate) type FreeSeat<T, X> = oneshot::Sender<Taken<T, X>>;

/// Keeps an attempt among the held ones for as long as its seat is busy with it.
pub(crate) struct Holding<T, X> {
    crew: Arc<Crew<T, X>>,
    pub(crate) attempt: Attempt,
}

impl<T, X> Holding<T, X> {
    /// `None` if the attempt is held already.
    fn take(crew: &Arc<Crew<T, X>>, attempt: Attempt) -> Option<Self> {
        crew.held.add(&attempt).then(|| Self { crew: crew.clone(), attempt })
    }
}

impl<T, X> Drop for Holding<T, X> {
    fn drop(&mut self) {
        self.crew.held.remove(&self.attempt);
    }
}

/// Claims until the worker drains or is turned away. Seats that wait then get nothing more.
pub(crate) async fn claim<T, X>(crew: Arc<Crew<T, X>>, seats: mpsc::Receiver<FreeSeat<T, X>>)
where
    T: Transport,
{
    // A poll that is dropped is un-parked.
    crew.draining.run_until_cancelled(claim_undrained(&crew, seats)).await;
}

async fn claim_undrained<T: Transport, X>(
    crew: &Arc<Crew<T, X>>,
    mut seats: mpsc::Receiver<FreeSeat<T, X>>,
) {
    let mut free = Vec::new();
    let mut idle = Backoff::default();
    let mut refusals = 0;
    while gather(&mut seats, &mut free).await {
        let asked = Instant::now();
        // Of the first request of this logical claim: leases may have begun with its answer, even
        // if that was lost and the tasks came with the answer to a repetition.
        let sent = crew.clock.now();
        match claim_once(crew, free.len()).await {
            Ok(tasks) => {
                refusals = 0;
                if hand_out(crew, tasks, sent, &mut free) == 0 && asked.elapsed() < QUICK {
                    sleep(idle.next(None)).await;
                } else {
                    idle.reset();
                }
            }
            Err(Hopeless::Rejected { status, detail }) => return crew.rejected(status, detail),
            Err(Hopeless::Refused { code, detail }) => {
                tracing::error!(code, detail, "claim refused");
                refusals += 1;
                if refusals == REFUSALS {
                    return crew.give_up(WorkerError::Refused { code, detail });
                }
                sleep(idle.next(None)).await;
            }
        }
    }
}

/// Waits until there is a free seat. False if there never will be one.
async fn gather<S>(seats: &mut mpsc::Receiver<S>, free: &mut Vec<S>) -> bool {
    if free.is_empty() && seats.recv_many(free, TASKS).await == 0 {
        return false;
    }
    // Seats whose reports were accepted together are free together, if they get to say so.
    yield_now().await;
    while free.len() < TASKS
        && let Ok(seat) = seats.try_recv()
    {
        free.push(seat);
    }
    true
}

/// What repeating a claim does not help against.
enum Hopeless {
    Rejected { status: u16, detail: String },
    Refused { code: String, detail: String },
}

/// One logical claim: repeated under the same id until there is an answer, so that a lost answer
/// gives the same tasks again.
async fn claim_once<T, X>(crew: &Crew<T, X>, seats: usize) -> Result<Vec<Claimed>, Hopeless>
where
    T: Transport,
{
    let claim = Claim {
        poll_timeout: Some(crew.options.poll_timeout.min(LONGEST_POLL).as_secs_f64()),
        claim_request_id: Some(uuid::Uuid::new_v4().to_string()),
        boot_id: Some(crew.options.boot_id.clone()),
        max_tasks: Some(u32::try_from(seats).unwrap_or(u32::MAX)),
        org_keys: Vec::new(),
    };
    let mut outage = Backoff::default();
    let mut approval = approval_backoff();
    loop {
        match crew.transport.claim_many(claim.clone()).await {
            Ok(tasks) => return Ok(tasks),
            Err(TransportError::Pending) => {
                tracing::info!("waiting for approval");
                sleep(approval.next(None)).await;
            }
            Err(TransportError::Unavailable { detail, retry_after }) => {
                let wait = outage.next(retry_after);
                tracing::warn!(detail, wait_ms = wait.as_millis() as u64, "cannot claim");
                sleep(wait).await;
            }
            Err(TransportError::Rejected { status, detail }) => {
                return Err(Hopeless::Rejected { status, detail });
            }
            Err(TransportError::Refused { code, detail }) => {
                return Err(Hopeless::Refused { code, detail });
            }
        }
    }
}

/// Gives tasks to free seats; says how many. One that nobody takes is not held: its lease ends soon.
fn hand_out<T, X>(
    crew: &Arc<Crew<T, X>>,
    tasks: Vec<Claimed>,
    sent: Moment,
    free: &mut Vec<FreeSeat<T, X>>,
) -> usize {
    let mut handed_out = 0;
    for task in tasks {
        let attempt = Attempt::new(&task, sent, crew.clock.clone());
        let Some(holding) = Holding::take(crew, attempt) else {
            tracing::error!(run_id = task.run_id, "the same attempt was given out twice");
            continue;
        };
        match free.pop() {
            Some(seat) => handed_out += usize::from(seat.send((task, holding)).is_ok()),
            None => tracing::error!(run_id = task.run_id, "more tasks than were asked for"),
        }
    }
    handed_out
}
