//! Claiming: a poll is parked at the worker's connection and answered with tasks, or with nothing in its time.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use fleetward_runtime::{Address, CallError, Reply};

use super::{Session, TAG_MAX};
use crate::error::{Error, Refusal};
use crate::fleet::connection::{self, Grant, Granted, Poll, PollAnswer};
use crate::fleet::input;
use crate::fleet::task::{Requirement, StepRef};
use crate::id::TaskId;
use crate::plane::delivery::{Delivery, ParkedPoll, first_of};
use crate::plane::envelope::unreadable;
use crate::seal::{Purpose, Sealed};

/// Most tasks that one claim takes.
pub const CLAIM_MAX: usize = 1_000;
/// How much longer than its poll a claim is waited for.
const POLL_GRACE: Duration = Duration::from_secs(5);

/// Numbers polls through all lives of all connections, so that a late grant finds only its own.
static POLLS: AtomicU64 = AtomicU64::new(1);

/// A request for work.
#[derive(Debug, Clone, Default)]
pub struct Claim {
    /// How long to wait; zero looks once. Cut to the configured most.
    pub wait: Duration,
    /// The claim's own name: repeating it gives the same tasks again.
    pub request: Option<String>,
    /// Which start of the worker's process this is.
    pub boot: Option<String>,
}

/// A task for the worker.
#[derive(Debug)]
pub struct Offer {
    /// The task.
    pub task: TaskId,
    /// Which claim of it this is.
    pub attempt: u32,
    /// Proves this claim in heartbeats and reports.
    pub claim_token: String,
    /// What it asked for.
    pub wants: Arc<Requirement>,
    /// What to do: JSON.
    pub payload: Bytes,
    /// When, in microseconds UTC.
    pub claimed_at: i64,
    /// The step of a run that it is.
    pub step: Option<StepRef>,
    /// How much its durable function has done.
    pub checkpoints: usize,
}

/// Tasks for the worker: at least one.
#[derive(Debug)]
pub struct Offers {
    /// In the order in which they were taken from their queues.
    pub tasks: Vec<Offer>,
    /// To be told what became of the answer.
    pub delivery: Delivery,
}

impl Session {
    /// Waits for a task. `None`: there was none in time. A caller that leaves is un-parked at once.
    ///
    /// # Errors
    /// When the worker may not work, or its organisation is not available.
    pub async fn claim(&self, claim: Claim) -> Result<Option<(Offer, Delivery)>, Error> {
        let offers = self.claim_many(claim, 1).await?;
        Ok(offers.and_then(|Offers { mut tasks, delivery }| Some((tasks.pop()?, delivery))))
    }

    /// Waits for tasks: as many as wait when it is served, up to `most` and to the worker's free seats.
    /// A claim that had to wait is answered as soon as there is one.
    ///
    /// # Errors
    /// When the worker may not work, asks for none or for too many, or its organisation is not available.
    pub async fn claim_many(&self, claim: Claim, most: usize) -> Result<Option<Offers>, Error> {
        // What is needed only before and behind the wait is boxed: thousands wait at a time.
        let (cell, known) = Box::pin(self.enter_approved()).await?;
        check(&claim, most)?;
        self.plane.accepting()?;
        self.plane.admit(&known.presence)?;
        let clock = &self.plane.shared.clock;
        let polling = known.presence.poll(|| clock.wall_us());
        let connection = Box::pin(self.connection(&cell)).await?;
        let wait = claim.wait.min(self.plane.shared.config.poll_max);
        let id = POLLS.fetch_add(1, Ordering::Relaxed);
        let Claim { request, boot, .. } = claim;
        let poll = Poll { id, wait, max: most, request, boot, origin: self.origin.clone() };
        let (reply, answered) = Reply::channel();
        connection.send(connection::Message::Poll { poll, reply }).map_err(CallError::from)?;
        let parked = ParkedPoll { connection: &connection, id, waiting: true };
        // Pinned here: a future that is handed over has room for it twice.
        let too_late = pin!(clock.sleep(wait + POLL_GRACE));
        let answer = first_of(answered, too_late).await;
        parked.done();
        drop(polling);
        match answer {
            Some(Ok(PollAnswer::Granted(grant))) => {
                Box::pin(self.offers(*grant, connection)).await.map(Some)
            }
            Some(Ok(PollAnswer::Empty)) => Ok(None),
            Some(Ok(PollAnswer::Refused(standing))) => {
                Err(Refusal::standing(standing.as_str()).into())
            }
            Some(Err(_)) => Err(Error::Unavailable("the connection started anew".to_owned())),
            None => Err(Error::Unavailable("the connection does not answer".to_owned())),
        }
    }

    async fn offers(
        &self,
        grant: Grant,
        connection: Address<connection::Message>,
    ) -> Result<Offers, Error> {
        let tasks = grant.tasks.iter().map(|granted| (granted.task, granted.attempt)).collect();
        // From here on whoever leaves, or fails, gives the attempts back.
        let delivery = Delivery { connection, tasks, whole: false };
        let mut granted = grant.tasks;
        self.read_payloads(&mut granted).await?;
        let tasks = granted.into_iter().map(|granted| self.offer(granted));
        Ok(Offers { tasks: tasks.collect::<Result<_, _>>()?, delivery })
    }

    fn offer(&self, granted: Granted) -> Result<Offer, Error> {
        let Granted { task, attempt, wants, payload, claimed_at, step, checkpoints, .. } = granted;
        let sealed = payload.ok_or_else(|| internal(&"a task has no payload"))?;
        let opened = self.known.ring.open(Purpose::Payload, task.0.as_bytes(), &sealed);
        let payload = opened.map_err(|error| unreadable(task, error))?;
        let claim_token = self.claim_token(task, attempt);
        Ok(Offer { task, attempt, claim_token, wants, payload, claimed_at, step, checkpoints })
    }

    /// Reads the payloads that were not in memory, all at once. One that has been in memory for so long that its key
    /// is retired was sealed again in the store.
    async fn read_payloads(&self, granted: &mut [Granted]) -> Result<(), Error> {
        for granted in granted.iter_mut() {
            granted.payload = granted.payload.take().filter(|sealed| self.known.ring.knows(sealed));
        }
        let missing = |granted: &&Granted| granted.payload.is_none();
        let mut positions: Vec<_> =
            granted.iter().filter(missing).map(|granted| granted.submitted).collect();
        if positions.is_empty() {
            return Ok(());
        }
        positions.sort_unstable();
        let store = &self.plane.shared.store;
        let events = store
            .read_at(self.known.org.cell(), &positions)
            .await
            .map_err(|error| Error::Unavailable(format!("store: {error}")))?;
        for granted in granted.iter_mut().filter(|granted| granted.payload.is_none()) {
            let found = events.binary_search_by_key(&granted.submitted, |stored| stored.seq).ok();
            let sealed = found.and_then(|at| events[at].event.sealed.clone());
            granted.payload = sealed.map(Sealed::from_bytes);
        }
        Ok(())
    }
}

fn check(claim: &Claim, most: usize) -> Result<(), Refusal> {
    for tag in [&claim.request, &claim.boot].into_iter().flatten() {
        input::printable("claim_request_id and boot_id", tag, TAG_MAX)?;
    }
    if most == 0 || most > CLAIM_MAX {
        let detail = format!("a claim takes 1 to {CLAIM_MAX} tasks");
        return Err(Refusal::invalid("invalid_max_tasks", detail));
    }
    Ok(())
}

fn internal(error: &dyn std::fmt::Display) -> Error {
    let id = uuid::Uuid::now_v7().to_string();
    tracing::error!(%id, %error, "a task cannot be handed out");
    Error::Internal(id)
}
