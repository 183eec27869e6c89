//! What a caller may do inside one organisation: submit tasks, see them, and decide about workers.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fleetward_runtime::Reply;
use fleetward_store::{CellId, Position, Query, Record};
use sha2::{Digest, Sha256};

use super::ControlPlane;
use super::delivery::first_of;
use super::reading::{PAGE_MAX, away, state};
use crate::error::{Error, Refusal};
use crate::fact::Fold;
use crate::fleet::cell::OrgCell;
use crate::fleet::dispatcher::{self, NewTask, Submitted, same_request};
use crate::fleet::input::{self, canonical_model};
use crate::fleet::registry::{self, Asked, rules::Verdict};
use crate::fleet::task::{Requirement, Task};
use crate::fleet::worker::Worker;
use crate::id::{TaskId, WorkerId};
use crate::seal::Sealed;
use crate::system::principals::KnownOrg;

/// Longest idempotency key, in bytes.
const IDEMPOTENCY_KEY_MAX: usize = 255;
/// How often a submit looks again when its task may just have been closed.
const LOOKS: usize = 3;
/// The way into one organisation for one caller.
#[derive(Clone)]
pub struct Operator {
    plane: ControlPlane,
    known: Arc<KnownOrg>,
    by: Arc<str>,
}

/// A task to be submitted.
#[derive(Clone, Default)]
pub struct NewSubmit {
    /// The project, or none.
    pub project: Option<String>,
    /// The pool; none: `default`.
    pub pool: Option<String>,
    /// The model it needs, in any spelling.
    pub model: Option<String>,
    /// Labels that its worker must have.
    pub labels: BTreeMap<String, String>,
    /// What the worker gets: JSON.
    pub payload: Bytes,
    /// Repeating a submit under the same key submits once.
    pub idempotency_key: Option<String>,
}

/// A submitted task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// Its id.
    pub task: TaskId,
    /// What it asks of a worker, in canonical words.
    pub wants: Arc<Requirement>,
    /// Whether it was submitted before, under the same idempotency key.
    pub repeated: bool,
}

/// A task as its organisation sees it.
#[derive(Debug, Clone)]
pub struct TaskView {
    /// The task.
    pub task: Task,
    /// The output or the error text of a closed one.
    pub result: Option<Sealed>,
}

impl std::fmt::Debug for Operator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Operator({} in {})", self.by, self.known.org.name)
    }
}

impl Operator {
    pub(super) fn new(plane: ControlPlane, known: Arc<KnownOrg>, by: Arc<str>) -> Self {
        Self { plane, known, by }
    }

    /// The organisation.
    pub fn org(&self) -> &crate::system::org::Org {
        &self.known.org
    }

    /// Submits a task. Once this returns, the task is durable.
    ///
    /// # Errors
    /// When it makes no sense, or its idempotency key was used for another one.
    pub async fn submit(&self, new: NewSubmit) -> Result<Receipt, Error> {
        let wants = self.requirement(&new)?;
        let (id, request) = self.identify(&new, &wants)?;
        let cell = self.cell().await?;
        let permit = self.plane.permit(cell.cell, new.payload.len())?;
        let mut permit = Some(permit);
        for _ in 0..LOOKS {
            let absent_at = match &request {
                Some(request) => match self.earlier(id, request).await? {
                    Ok(position) => position,
                    Err(()) => return Ok(Receipt { task: id, wants, repeated: true }),
                },
                None => 0,
            };
            let task = Box::new(NewTask {
                id,
                wants: wants.clone(),
                payload: Sealed::seal(&new.payload),
                digest: self.known.key.digest(&new.payload),
                payload_bytes: new.payload.len() as u64,
                request: request.clone(),
                absent_at,
            });
            let by = self.by.clone();
            let permit = match permit.take() {
                Some(permit) => permit,
                None => self.plane.permit(cell.cell, new.payload.len())?,
            };
            let within = self.plane.shared.config.answer_within;
            let submit = |reply| dispatcher::Message::Submit { task, by, reply };
            match cell.dispatcher.call_with_permit(permit, within, submit).await?? {
                Submitted::Accepted => return Ok(Receipt { task: id, wants, repeated: false }),
                Submitted::Repeated => return Ok(Receipt { task: id, wants, repeated: true }),
                Submitted::LookAgain => {}
            }
        }
        Err(Error::Unavailable("the task is changing; try again".to_owned()))
    }

    /// One task.
    ///
    /// # Errors
    /// When this organisation has no such task.
    pub async fn task(&self, id: TaskId) -> Result<TaskView, Error> {
        let cell = self.cell().await?;
        let permit = self.plane.permit(cell.cell, 0)?;
        let within = self.plane.shared.config.answer_within;
        let look = |reply| dispatcher::Message::Look { task: id, reply };
        let live = cell.dispatcher.call_with_permit(permit, within, look).await?;
        if let Some(task) = live.filter(|task| !task.is_closed()) {
            return Ok(TaskView { task, result: None });
        }
        self.caught_up().await?;
        let row = self.plane.row(self.number(), Task::KIND, id.to_string()).await?;
        view(&row.ok_or_else(|| Refusal::not_found("task"))?)
    }

    /// One task, once it is closed or `wait` is over (cut to the longest wait of a poll).
    ///
    /// # Errors
    /// When this organisation has no such task.
    pub async fn task_when_closed(&self, id: TaskId, wait: Duration) -> Result<TaskView, Error> {
        let wait = wait.min(self.plane.shared.config.poll_max);
        let dispatcher = self.cell().await?.dispatcher;
        let (reply, closed) = Reply::channel();
        dispatcher
            .send(dispatcher::Message::Watch { task: id, reply })
            .map_err(fleetward_runtime::CallError::from)?;
        // Whether it closed or not, and even if the dispatcher started anew: what is true now is the answer.
        first_of(closed, self.plane.shared.clock.sleep(wait)).await;
        self.task(id).await
    }

    /// Tasks, newest first. `before` is the `submitted` position of the last one of the page before.
    ///
    /// # Errors
    /// When the rows cannot be read.
    pub async fn tasks(
        &self,
        status: Option<&str>,
        before: Option<Position>,
        limit: usize,
    ) -> Result<Vec<TaskView>, Error> {
        self.list::<Task>(status, before, limit).await?.iter().map(view).collect()
    }

    /// Workers, newest first, with the time each was last heard of (microseconds UTC). `before` is the `created`
    /// position of the last one of the page before.
    ///
    /// # Errors
    /// When the rows cannot be read.
    pub async fn workers(
        &self,
        status: Option<&str>,
        before: Option<Position>,
        limit: usize,
    ) -> Result<Vec<(Worker, Option<i64>)>, Error> {
        let rows = self.list::<Worker>(status, before, limit).await?;
        let seen = self.cell().await?.credentials;
        let with_time = |worker: Worker| {
            let at = seen.seen(worker.id);
            (worker, at)
        };
        rows.iter().map(|row| state::<Worker>(row).map(with_time)).collect()
    }

    /// How many workers there are in all.
    ///
    /// # Errors
    /// When the rows cannot be read.
    pub async fn count_workers(&self) -> Result<u64, Error> {
        self.plane.shared.store.count(self.number(), Worker::KIND, None).await.map_err(away)
    }

    /// One worker, and when it was last heard of.
    ///
    /// # Errors
    /// When this organisation has no such worker.
    pub async fn worker(&self, id: WorkerId) -> Result<(Worker, Option<i64>), Error> {
        let look = |reply| registry::Message::Look { worker: id, reply };
        if let Some(worker) = self.ask_registry(0, look).await? {
            let seen = self.cell().await?.credentials.seen(id);
            return Ok((worker, seen));
        }
        self.worker_row(id).await.map(|worker| (worker, None))
    }

    /// Decides about a worker.
    ///
    /// # Errors
    /// When there is no such worker, or its standing does not allow it.
    pub async fn decide(
        &self,
        worker: WorkerId,
        verdict: Verdict,
        reason: Option<String>,
    ) -> Result<Worker, Error> {
        if let Some(reason) = &reason {
            input::printable("reason", reason, input::REASON_MAX)?;
        }
        let (by, given) = (self.by.clone(), reason.clone());
        let decide =
            |reply| registry::Message::Decide { worker, verdict, reason: given, by, reply };
        match self.ask_registry(0, decide).await?? {
            Asked::Found(worker) => Ok(worker),
            // It is final: the same rule answers from its record, and can only refuse or find it so already.
            Asked::NotHere => {
                let known = self.worker_row(worker).await?;
                registry::rules::decide(&known, verdict, reason)?;
                Ok(known)
            }
        }
    }

    pub(super) fn plane(&self) -> &ControlPlane {
        &self.plane
    }

    pub(super) fn known(&self) -> &KnownOrg {
        &self.known
    }

    /// The cell in its present life: it may have been rebuilt since the last call.
    pub(super) async fn cell(&self) -> Result<OrgCell, Error> {
        self.plane.cell(&self.known).await
    }

    /// Where its events and rows are.
    pub(super) fn number(&self) -> CellId {
        self.known.org.cell()
    }

    pub(super) fn by(&self) -> &Arc<str> {
        &self.by
    }

    pub(super) async fn ask_registry<T: Send + 'static>(
        &self,
        bytes: usize,
        make: impl FnOnce(Reply<T>) -> registry::Message,
    ) -> Result<T, Error> {
        let cell = self.cell().await?;
        let permit = self.plane.permit(cell.cell, bytes)?;
        let within = self.plane.shared.config.answer_within;
        Ok(cell.registry.call_with_permit(permit, within, make).await?)
    }

    pub(super) async fn caught_up(&self) -> Result<(), Error> {
        let cell = self.cell().await?;
        self.plane.caught_up(cell.cell, &cell.positions).await
    }

    pub(super) async fn list<F: Fold>(
        &self,
        status: Option<&str>,
        before: Option<Position>,
        limit: usize,
    ) -> Result<Vec<Record>, Error> {
        self.caught_up().await?;
        let query = Query {
            cell: self.number(),
            kind: Cow::Borrowed(F::KIND),
            status: status.map(str::to_owned),
            before,
            limit: limit.clamp(1, PAGE_MAX),
        };
        self.plane.rows(query).await
    }

    async fn worker_row(&self, id: WorkerId) -> Result<Worker, Error> {
        self.caught_up().await?;
        let row = self.plane.row(self.number(), Worker::KIND, id.to_string()).await?;
        state(&row.ok_or_else(|| Refusal::not_found("worker"))?)
    }

    fn requirement(&self, new: &NewSubmit) -> Result<Arc<Requirement>, Error> {
        let wants = Requirement {
            project: new.project.clone(),
            pool: new.pool.clone().unwrap_or_else(|| "default".to_owned()),
            model: new.model.as_deref().map(canonical_model),
            labels: new.labels.clone(),
        };
        input::requirement(&wants)?;
        input::size("payload", new.payload.len(), self.plane.shared.config.payload_max)?;
        Ok(Arc::new(wants))
    }

    /// The id of the task, and under an idempotency key the digest of the request.
    fn identify(
        &self,
        new: &NewSubmit,
        wants: &Requirement,
    ) -> Result<(TaskId, Option<String>), Error> {
        let Some(key) = &new.idempotency_key else { return Ok((TaskId::fresh(), None)) };
        if key.is_empty() || key.len() > IDEMPOTENCY_KEY_MAX {
            let detail = format!("an idempotency key has 1 to {IDEMPOTENCY_KEY_MAX} bytes");
            return Err(Refusal::invalid("invalid_idempotency_key", detail).into());
        }
        let id = TaskId::from_digest(&self.known.key.mac("idempotency", &[key.as_bytes()]));
        let wants = serde_json::to_vec(wants).expect("a requirement has string keys only");
        let payload = Sha256::digest(&new.payload);
        let request = hex::encode(self.known.key.mac("request", &[&wants, &payload]));
        Ok((id, Some(request)))
    }

    /// Looks for a closed task of the same key: `Err(())` when the same request made it, else the position
    /// of the rows that did not have it.
    async fn earlier(&self, id: TaskId, request: &str) -> Result<Result<Position, ()>, Error> {
        let (position, rows) = self
            .plane
            .shared
            .store
            .get_with_position(self.number(), Task::KIND, &[id.to_string()])
            .await
            .map_err(away)?;
        match rows.first() {
            None => Ok(Ok(position)),
            Some(row) => {
                same_request(&state::<Task>(row)?, request)?;
                Ok(Err(()))
            }
        }
    }
}

fn view(row: &Record) -> Result<TaskView, Error> {
    let task = state::<Task>(row)?;
    Ok(TaskView { task, result: row.sealed.clone().map(Sealed::from_bytes) })
}
