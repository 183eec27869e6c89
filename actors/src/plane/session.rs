//! One worker's way in: claim, heartbeat, report, hand back.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use fleetward_runtime::{Address, CallError, Reply};
use subtle::ConstantTimeEq;

use super::ControlPlane;
use super::delivery::{Delivery, ParkedPoll, first_of};
use super::reading::state;
use crate::error::{Error, Kind, Refusal};
use crate::fact::Fold;
use crate::fleet::cell::OrgCell;
use crate::fleet::connection::{self, Beat, Grant, Poll, PollAnswer};
use crate::fleet::credentials;
use crate::fleet::dispatcher::{
    self,
    report::{Claimant, Judgement, Status, judge},
};
use crate::fleet::input;
use crate::fleet::registry::Asked;
use crate::fleet::task::{Requirement, Task};
use crate::fleet::worker::{Standing, Worker};
use crate::id::{OrgId, TaskId, WorkerId};
use crate::seal::Sealed;
use crate::system::principals::KnownOrg;

/// Longest name that a worker gives a claim or a start of its process, in characters.
const TAG_MAX: usize = 64;
/// Most tasks that one heartbeat names.
const HELD_MAX: usize = 4_096;
/// How much longer than its poll a claim is waited for.
const POLL_GRACE: Duration = Duration::from_secs(5);

/// Numbers polls through all lives of all connections, so that a late grant finds only its own.
static POLLS: AtomicU64 = AtomicU64::new(1);

/// One authenticated worker. It may be held for long: each call looks at what is true of the worker then.
#[derive(Clone)]
pub struct Session {
    plane: ControlPlane,
    known: Arc<KnownOrg>,
    worker: WorkerId,
    secret_hash: String,
}

/// A request for work.
#[derive(Debug, Clone, Default)]
pub struct Claim {
    /// How long to wait; zero looks once. Cut to the configured most.
    pub wait: Duration,
    /// The claim's own name: repeating it gives the same task again.
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
    /// To be told what became of the answer.
    pub delivery: Delivery,
}

/// A sign of life.
#[derive(Debug, Clone, Default)]
pub struct Heartbeat {
    /// The tasks that the worker has, with attempt and claim token; `None` from older clients.
    pub held: Option<Vec<(TaskId, u32, String)>>,
    /// Which start of the worker's process this is.
    pub boot: Option<String>,
}

/// What a worker says of a task.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// It is done; the output is JSON.
    Completed(Bytes),
    /// It failed, with this text.
    Failed(String),
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Session({} in {})", self.worker, self.known.org.name)
    }
}

impl ControlPlane {
    /// Checks a worker's id and secret.
    ///
    /// # Errors
    /// Unauthenticated when they do not belong together; forbidden, and final, when the worker was rejected or
    /// revoked; unavailable while its organisation starts.
    pub async fn session(&self, worker: &str, secret: &str) -> Result<Session, Error> {
        let worker: WorkerId = worker.parse().map_err(|_| unknown_worker())?;
        let cell = credentials::cell_of_secret(secret).ok_or_else(unknown_worker)?;
        let known = self.shared.principals.org_of(cell).ok_or_else(unknown_worker)?;
        let secret_hash = credentials::hash(secret);
        let session = Session { plane: self.clone(), known, worker, secret_hash };
        session.enter().await?;
        Ok(session)
    }
}

impl Session {
    /// The worker.
    pub fn worker(&self) -> WorkerId {
        self.worker
    }

    /// Its organisation.
    pub fn org(&self) -> OrgId {
        self.known.org.id
    }

    /// Whether it may work, as far as it is durable.
    ///
    /// # Errors
    /// Unauthenticated or finally forbidden, as when the session was made; unavailable while its organisation
    /// starts.
    pub async fn standing(&self) -> Result<Standing, Error> {
        self.enter().await.map(|(_, standing)| standing)
    }

    /// Waits for a task. `None`: there was none in time. A caller that leaves is un-parked at once.
    ///
    /// # Errors
    /// When the worker may not work, or its organisation is not available.
    pub async fn claim(&self, claim: Claim) -> Result<Option<Offer>, Error> {
        let cell = self.approved().await?;
        for tag in [&claim.request, &claim.boot].into_iter().flatten() {
            input::printable("claim_request_id and boot_id", tag, TAG_MAX)?;
        }
        self.plane.accepting()?;
        let connection = self.connection(&cell).await?;
        let wait = claim.wait.min(self.plane.shared.config.poll_max);
        let id = POLLS.fetch_add(1, Ordering::Relaxed);
        let poll = Poll { id, wait, request: claim.request, boot: claim.boot };
        let (reply, answered) = Reply::channel();
        connection.send(connection::Message::Poll { poll, reply }).map_err(CallError::from)?;
        let parked = ParkedPoll { connection: &connection, id, waiting: true };
        let clock = &self.plane.shared.clock;
        let answer = first_of(answered, clock.sleep(wait + POLL_GRACE)).await;
        parked.done();
        match answer {
            Some(Ok(PollAnswer::Granted(grant))) => self.offer(*grant, connection).await.map(Some),
            Some(Ok(PollAnswer::Empty)) => Ok(None),
            Some(Ok(PollAnswer::Refused(standing))) => {
                Err(Refusal::standing(standing.as_str()).into())
            }
            Some(Err(_)) => Err(Error::Unavailable("the connection started anew".to_owned())),
            None => Err(Error::Unavailable("the connection does not answer".to_owned())),
        }
    }

    /// Renews what the worker holds. Answers what it names and does not hold any more.
    ///
    /// # Errors
    /// When it names too much. A heartbeat is taken even while the store is away.
    pub async fn heartbeat(&self, beat: Heartbeat) -> Result<Vec<(TaskId, u32)>, Error> {
        let (cell, standing) = self.enter().await?;
        if standing != Standing::Approved {
            return Ok(Vec::new());
        }
        if let Some(boot) = &beat.boot {
            input::printable("boot_id", boot, TAG_MAX)?;
        }
        let named = beat.held.as_ref().map_or(0, Vec::len);
        if named > HELD_MAX {
            let detail = format!("a heartbeat names at most {HELD_MAX} tasks");
            return Err(Refusal::invalid("too_many", detail).into());
        }
        let (held, forged) = self.proved(beat.held);
        let beat = Beat { held, boot: beat.boot };
        let connection = self.connection(&cell).await?;
        let within = self.plane.shared.config.answer_within;
        let say = |reply| connection::Message::Beat { beat, reply };
        let mut lost = connection.call(within, say).await?;
        lost.extend(forged);
        Ok(lost)
    }

    /// Reports on a task. Once this returns, the result is durable; a repeat is answered alike.
    ///
    /// # Errors
    /// When the worker does not hold the newest attempt, or said something else before.
    pub async fn report(
        &self,
        task: TaskId,
        attempt: Option<u32>,
        claim_token: Option<&str>,
        outcome: Outcome,
    ) -> Result<(), Error> {
        let cell = self.approved().await?;
        let claimant = self.claimant(task, attempt, claim_token)?;
        let (status, bytes, field) = match outcome {
            Outcome::Completed(output) => (Status::Completed, output, "output"),
            Outcome::Failed(error) => (Status::Failed, Bytes::from(error), "error"),
        };
        input::size(field, bytes.len(), self.plane.shared.config.payload_max)?;
        let permit = self.plane.permit(cell.cell, bytes.len())?;
        let report = Box::new(dispatcher::Report {
            task,
            claimant,
            status,
            sealed: Some(Sealed::seal(&bytes)),
            digest: Some(self.known.key.digest(&bytes)),
        });
        let within = self.plane.shared.config.answer_within;
        let say = |reply| dispatcher::Message::Report { report, reply };
        match cell.dispatcher.call_with_permit(permit, within, say).await?? {
            Asked::Found(()) => Ok(()),
            Asked::NotHere => self.judge_closed(&cell, task, claimant, status).await,
        }
    }

    /// Gives an attempt back: the task goes to another worker, and the attempt does not count.
    ///
    /// # Errors
    /// When the worker does not hold the newest attempt.
    pub async fn hand_back(
        &self,
        task: TaskId,
        attempt: Option<u32>,
        claim_token: Option<&str>,
    ) -> Result<(), Error> {
        let cell = self.approved().await?;
        let claimant = self.claimant(task, attempt, claim_token)?;
        let permit = self.plane.permit(cell.cell, 0)?;
        let within = self.plane.shared.config.answer_within;
        let say = |reply| dispatcher::Message::HandBack { task, claimant, reply };
        match cell.dispatcher.call_with_permit(permit, within, say).await?? {
            Asked::Found(()) => Ok(()),
            Asked::NotHere => self.closed(&cell, task).await.map(drop),
        }
    }

    /// The cell in its present life, and what is true of the worker there.
    async fn enter(&self) -> Result<(OrgCell, Standing), Error> {
        let cell = self.plane.cell(&self.known).await?;
        let Some(known) = cell.credentials.get(self.worker) else {
            return Err(self.refuse_from_record(&cell).await?);
        };
        if !same(&known.credential.secret_hash, &self.secret_hash) {
            return Err(unknown_worker().into());
        }
        known.touch(self.plane.shared.clock.wall_us());
        Ok((cell, known.credential.standing))
    }

    /// What to say to a worker that is not in the index: only its record may say no for good.
    async fn refuse_from_record(&self, cell: &OrgCell) -> Result<Error, Error> {
        self.plane.caught_up(cell.cell, &cell.positions).await?;
        let row = self.plane.row(cell.cell, Worker::KIND, self.worker.to_string()).await?;
        let Some(worker) = row.as_ref().map(state::<Worker>).transpose()? else {
            return Ok(unknown_worker().into());
        };
        Ok(match worker.standing {
            _ if !same(&worker.secret_hash, &self.secret_hash) => unknown_worker().into(),
            standing if standing.is_final() => Refusal::standing(standing.as_str()).into(),
            _ => Error::Unavailable("the organisation is starting".to_owned()),
        })
    }

    async fn approved(&self) -> Result<OrgCell, Error> {
        match self.enter().await? {
            (cell, Standing::Approved) => Ok(cell),
            (_, standing) => Err(Refusal::standing(standing.as_str()).into()),
        }
    }

    async fn connection(&self, cell: &OrgCell) -> Result<Address<connection::Message>, Error> {
        let started = cell.connections.get_or_start(self.worker).await;
        started.map_err(|error| Error::Unavailable(format!("connection: {error}")))
    }

    async fn offer(
        &self,
        grant: Grant,
        connection: Address<connection::Message>,
    ) -> Result<Offer, Error> {
        let Grant { task, attempt, wants, submitted, payload, claimed_at, .. } = grant;
        let delivery = Delivery { connection, task, attempt, whole: false };
        let sealed = match payload {
            Some(payload) => payload,
            None => self.read_payload(submitted).await?,
        };
        let payload = sealed.open().map_err(|error| internal(&error))?;
        let claim_token = self.claim_token(task, attempt);
        Ok(Offer { task, attempt, claim_token, wants, payload, claimed_at, delivery })
    }

    async fn read_payload(&self, submitted: u64) -> Result<Sealed, Error> {
        let store = &self.plane.shared.store;
        let events = store
            .read_at(self.known.org.cell(), &[submitted])
            .await
            .map_err(|error| Error::Unavailable(format!("store: {error}")))?;
        let sealed = events.into_iter().next().and_then(|stored| stored.event.sealed);
        sealed.map(Sealed::from_bytes).ok_or_else(|| internal(&"a task has no payload"))
    }

    /// Proves a claim without being stored: the same after a restart.
    fn claim_token(&self, task: TaskId, attempt: u32) -> String {
        let (task, attempt) = (task.0.as_bytes(), attempt.to_be_bytes());
        let mac = self.known.key.mac("claim", &[task, &attempt, self.worker.0.as_bytes()]);
        URL_SAFE_NO_PAD.encode(mac)
    }

    fn is_proved(&self, task: TaskId, attempt: u32, token: &str) -> bool {
        self.claim_token(task, attempt).as_bytes().ct_eq(token.as_bytes()).into()
    }

    fn claimant(
        &self,
        task: TaskId,
        attempt: Option<u32>,
        token: Option<&str>,
    ) -> Result<Claimant, Refusal> {
        let fits = match (attempt, token) {
            (Some(attempt), Some(token)) => self.is_proved(task, attempt, token),
            (None, Some(_)) => false,
            (_, None) => true,
        };
        if !fits {
            let detail = "the claim token does not belong to this task and attempt";
            return Err(Refusal::new(Kind::Forbidden, "bad_claim_token", detail));
        }
        Ok(Claimant { worker: self.worker, attempt })
    }

    /// What a heartbeat may name, and what it may not.
    #[expect(clippy::type_complexity, reason = "two lists of the same pairs")]
    fn proved(
        &self,
        held: Option<Vec<(TaskId, u32, String)>>,
    ) -> (Option<Vec<(TaskId, u32)>>, Vec<(TaskId, u32)>) {
        let Some(held) = held else { return (None, Vec::new()) };
        let (good, bad): (Vec<_>, Vec<_>) = held
            .into_iter()
            .partition(|(task, attempt, token)| self.is_proved(*task, *attempt, token));
        let pair = |(task, attempt, _)| (task, attempt);
        (Some(good.into_iter().map(pair).collect()), bad.into_iter().map(pair).collect())
    }

    /// A report on a task that has left memory: its record answers, by the same rule.
    async fn judge_closed(
        &self,
        cell: &OrgCell,
        task: TaskId,
        claimant: Claimant,
        status: Status,
    ) -> Result<(), Error> {
        match judge(&self.closed(cell, task).await?, claimant, status)? {
            Judgement::Repeat => Ok(()),
            // It is open in its record and not in memory: its cell is starting.
            Judgement::Accept { .. } => {
                Err(Error::Unavailable("the organisation is starting".to_owned()))
            }
        }
    }

    async fn closed(&self, cell: &OrgCell, task: TaskId) -> Result<Task, Error> {
        self.plane.caught_up(cell.cell, &cell.positions).await?;
        let row = self.plane.row(cell.cell, Task::KIND, task.to_string()).await?;
        state(&row.ok_or_else(|| Refusal::not_found("task"))?)
    }
}

/// Compares hashes in constant time.
fn same(left: &str, right: &str) -> bool {
    left.as_bytes().ct_eq(right.as_bytes()).into()
}

fn unknown_worker() -> Refusal {
    let detail = "the worker's id and secret are not known here; register again";
    Refusal::new(Kind::Unauthenticated, "unknown_worker", detail)
}

fn internal(error: &dyn std::fmt::Display) -> Error {
    let id = uuid::Uuid::now_v7().to_string();
    tracing::error!(%id, %error, "a task cannot be handed out");
    Error::Internal(id)
}
