//! Submitting tasks, one or many in one commit, each perhaps under an idempotency key.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use fleetward_runtime::Permit;
use fleetward_store::{Position, Record};
use sha2::{Digest, Sha256};

use super::Operator;
use crate::error::{Error, Refusal};
use crate::fact::Fold;
use crate::fleet::cell::OrgCell;
use crate::fleet::dispatcher::{self, NewTask, Submitted, same_request};
use crate::fleet::input;
use crate::fleet::models::ModelNames;
use crate::fleet::task::{Condition, Handling, Mode, Network, Requirement, Sandbox, Task};
use crate::id::{TaskId, WorkerId};
use crate::plane::reading::{away, state};
use crate::seal::Purpose;
use crate::system::org::Role;

/// Most tasks of one call.
pub const SUBMIT_MAX: usize = 1_000;
/// Longest idempotency key, in bytes.
const IDEMPOTENCY_KEY_MAX: usize = 255;
/// How often a submit looks again when its task may just have been closed.
const LOOKS: usize = 3;

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
    /// More that must hold for its worker's labels.
    pub selector: BTreeSet<Condition>,
    /// The least isolation that it needs.
    pub sandbox: Sandbox,
    /// How it is executed, in one word: with the level above, the least isolation.
    pub mode: Option<Mode>,
    /// The sandbox image that its worker must be able to run.
    pub image: Option<String>,
    /// The network policy that its worker must be able to enforce.
    pub network: Option<Network>,
    /// The one worker that may have it.
    pub worker: Option<WorkerId>,
    /// The handler that its worker must have registered.
    pub handler: Option<String>,
    /// How it is to be treated.
    pub handling: Handling,
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

/// A task that makes sense, on its way in.
struct Prepared {
    id: TaskId,
    wants: Arc<Requirement>,
    handling: Handling,
    payload: Bytes,
    /// Under an idempotency key: the digest of the whole request.
    request: Option<String>,
}

/// A task with its place among the answers.
type Placed = (usize, Prepared);
type Answers = Vec<Option<Result<Receipt, Error>>>;

impl Operator {
    /// Submits a task. Once this returns, the task is durable.
    ///
    /// # Errors
    /// When it makes no sense, or its idempotency key was used for another one.
    pub async fn submit(&self, new: NewSubmit) -> Result<Receipt, Error> {
        let mut answers = self.submit_many(vec![new]).await?;
        answers.pop().unwrap_or(Err(Error::OutcomeUnknown))
    }

    /// Submits many tasks in one commit. Each has an answer of its own, in their order: what is wrong with one does
    /// not touch the others.
    ///
    /// # Errors
    /// When nothing was taken in: there are too many, or there is no room for them. When the outcome is not known,
    /// it is unknown for all.
    pub async fn submit_many(
        &self,
        new: Vec<NewSubmit>,
    ) -> Result<Vec<Result<Receipt, Error>>, Error> {
        self.may(Role::Operator)?;
        if new.len() > SUBMIT_MAX {
            let detail = format!("a call submits at most {SUBMIT_MAX} tasks");
            return Err(Refusal::invalid("too_many", detail).into());
        }
        let cell = self.cell().await?;
        self.keep_pace(&cell).await?;
        let mut answers: Answers = Vec::with_capacity(new.len());
        let mut open: Vec<Placed> = Vec::with_capacity(new.len());
        let now = self.plane.shared.clock.wall_us();
        for (place, new) in new.into_iter().enumerate() {
            answers.push(match self.prepare(new, &cell.models, now) {
                Ok(prepared) => {
                    open.push((place, prepared));
                    None
                }
                Err(refusal) => Some(Err(refusal.into())),
            });
        }
        for _ in 0..LOOKS {
            if open.is_empty() {
                break;
            }
            let bytes = open.iter().map(|(_, task)| task.payload.len()).sum();
            let permit = self.plane.permit(cell.cell, bytes)?;
            let absent_at = self.answer_earlier(&mut open, &mut answers).await?;
            open = self.send(&cell, (permit, absent_at), open, &mut answers).await?;
        }
        let changing = || Err(Error::Unavailable("the task is changing; try again".to_owned()));
        Ok(answers.into_iter().map(|answer| answer.unwrap_or_else(changing)).collect())
    }

    /// Waits while the rows are too far behind: a load that does not end goes at the pace of what is slowest.
    pub(super) async fn keep_pace(&self, cell: &OrgCell) -> Result<(), Error> {
        let (config, positions) = (&self.plane.shared.config, &cell.positions);
        let enough = positions.given().saturating_sub(config.projector_lag);
        let projector = &self.plane.shared.projector;
        let passed = projector.passed(cell.cell, positions, enough, config.catch_up_within);
        passed.await.map_err(|_| Error::Behind)
    }

    /// Answers those whose key made a task that has left memory. Says at which position of the rows there was none
    /// for the others.
    async fn answer_earlier(
        &self,
        open: &mut Vec<Placed>,
        answers: &mut Answers,
    ) -> Result<Position, Error> {
        let keyed = |(_, task): &&Placed| task.request.is_some();
        let ids: Vec<_> = open.iter().filter(keyed).map(|(_, task)| task.id.to_string()).collect();
        if ids.is_empty() {
            return Ok(0);
        }
        let store = &self.plane.shared.store;
        let (position, rows) =
            store.get_with_position(self.number(), Task::KIND, &ids).await.map_err(away)?;
        let rows: HashMap<String, Record> =
            rows.into_iter().map(|row| (row.id.clone(), row)).collect();
        open.retain(|(place, task)| {
            let earlier = task.request.as_ref().zip(rows.get(&task.id.to_string()));
            answers[*place] = earlier.map(|(request, row)| {
                same_request(&state::<Task>(row)?, request)?;
                Ok(task.receipt(true))
            });
            earlier.is_none()
        });
        Ok(position)
    }

    /// Sends what is open to the dispatcher; answers what must be looked for again.
    async fn send(
        &self,
        cell: &OrgCell,
        (permit, absent_at): (Permit, Position),
        open: Vec<Placed>,
        answers: &mut Answers,
    ) -> Result<Vec<Placed>, Error> {
        let new_task = |(_, task): &Placed| NewTask {
            id: task.id,
            wants: task.wants.clone(),
            handling: task.handling.clone(),
            payload: self.known.ring.seal(Purpose::Payload, task.id.0.as_bytes(), &task.payload),
            digest: self.known.key.digest(&task.payload),
            payload_bytes: task.payload.len() as u64,
            request: task.request.clone(),
            absent_at,
            step: None,
            history: Vec::new(),
        };
        let tasks = open.iter().map(new_task).collect();
        let (by, within) = (self.by.clone(), self.plane.shared.config.answer_within);
        let submit = |reply| dispatcher::Message::Submit { tasks, by, reply };
        let said = cell.dispatcher.call_with_permit(permit, within, submit).await?;
        let mut again = Vec::new();
        for ((place, task), said) in open.into_iter().zip(said) {
            answers[place] = match said {
                Ok(Submitted::Accepted) => Some(Ok(task.receipt(false))),
                Ok(Submitted::Repeated) => Some(Ok(task.receipt(true))),
                Ok(Submitted::LookAgain) => {
                    again.push((place, task));
                    None
                }
                Err(error) => Some(Err(error)),
            };
        }
        Ok(again)
    }

    fn prepare(&self, new: NewSubmit, models: &ModelNames, now: i64) -> Result<Prepared, Refusal> {
        let said = Some(new.sandbox).filter(|sandbox| !sandbox.is_none());
        if let Some(wrong) = new.mode.and_then(|mode| mode.wrong(said)) {
            return Err(Refusal::invalid("invalid_mode", wrong));
        }
        let wants = Requirement {
            project: new.project,
            pool: new.pool.unwrap_or_else(|| "default".to_owned()),
            model: new.model.as_deref().map(|name| models.canonical(name)),
            labels: new.labels,
            selector: new.selector,
            sandbox: new.mode.map_or(new.sandbox, |mode| mode.least(new.sandbox)),
            image: new.image,
            network: new.network,
            worker: new.worker,
            handler: new.handler,
        };
        input::requirement(&wants)?;
        input::handling(&new.handling, now)?;
        input::size("payload", new.payload.len(), self.plane.shared.config.payload_max)?;
        let (id, request) = match &new.idempotency_key {
            None => (TaskId::fresh(), None),
            Some(key) => self.identify(key, (&wants, &new.handling), &new.payload)?,
        };
        let (wants, handling) = (Arc::new(wants), new.handling);
        Ok(Prepared { id, wants, handling, payload: new.payload, request })
    }

    /// The id of the task under an idempotency key, and the digest of the request.
    fn identify(
        &self,
        key: &str,
        asked: (&Requirement, &Handling),
        payload: &[u8],
    ) -> Result<(TaskId, Option<String>), Refusal> {
        if key.is_empty() || key.len() > IDEMPOTENCY_KEY_MAX {
            let detail = format!("an idempotency key has 1 to {IDEMPOTENCY_KEY_MAX} bytes");
            return Err(Refusal::invalid("invalid_idempotency_key", detail));
        }
        let id = TaskId::from_digest(&self.known.key.mac("idempotency", &[key.as_bytes()]));
        let asked = serde_json::to_vec(&asked).expect("a requirement has string keys only");
        let payload = Sha256::digest(payload);
        let request = hex::encode(self.known.key.mac("request", &[&asked, &payload]));
        Ok((id, Some(request)))
    }
}

impl Prepared {
    fn receipt(&self, repeated: bool) -> Receipt {
        Receipt { task: self.id, wants: self.wants.clone(), repeated }
    }
}
