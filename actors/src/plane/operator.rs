//! What a caller may do inside one organisation: submit tasks ([`submit`]), see them, change them ([`remedies`]), and
//! decide about workers and what runs ([`governing`]).

mod alerts;
mod deletion;
mod governing;
mod remedies;
mod ring;
mod runs;
mod schedules;
mod submit;
mod suspicions;
mod workflows;

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use fleetward_runtime::Reply;
use fleetward_store::{CellId, Position, Query, Record};

use super::delivery::first_of;
use super::envelope::Envelope;
use super::reading::{PAGE_MAX, away, state};
use super::{Caller, ControlPlane};
use crate::cause::Cause;
use crate::error::{Error, Refusal};
use crate::fact::Fold;
use crate::fleet::cell::OrgCell;
use crate::fleet::dispatcher;
use crate::fleet::input;
use crate::fleet::presence::Seen;
use crate::fleet::probes;
use crate::fleet::registry::rules::{Verdict, canonical_names};
use crate::fleet::registry::{self, Asked};
use crate::fleet::task::Task;
use crate::fleet::worker::Worker;
use crate::id::{TaskId, TokenId, WorkerId};
use crate::seal::{Purpose, Sealed};
use crate::system::org::Role;
use crate::system::principals::KnownOrg;
pub use alerts::SinkSecret;
pub use remedies::{AMEND_MAX, DEAD_SCAN, DeadGroup, DeadGroups, DeadLetters, Explanation};
pub use runs::{
    Against, Compared, DeadRun, DeadRunGroup, DeadRuns, FailedAttempt, FailedStep, FunctionOptions,
    FunctionState, NewRunStart, Purge, Purged, Replayed, ReplayedValue, RunFilter, RunPage,
    RunStarted, RunView, TimelineEntry,
};
pub use schedules::{SchedulePage, ScheduleView};
pub use submit::{NewSubmit, Receipt, SUBMIT_MAX};
pub use suspicions::SUSPECTS_MAX;

/// The way into one organisation for one caller.
#[derive(Clone)]
pub struct Operator {
    plane: ControlPlane,
    known: Arc<KnownOrg>,
    by: Cause,
    role: Role,
    token: TokenId,
    name: Arc<str>,
}

/// A task as its organisation sees it.
#[derive(Debug, Clone)]
pub struct TaskView {
    /// The task.
    pub task: Task,
    /// The output or the error text of a closed one; the last error of one that is tried again.
    pub result: Option<Envelope>,
}

impl std::fmt::Debug for Operator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Operator({} in {})", self.by, self.known.org.name)
    }
}

/// What is known of the models of a worker that looks at their endpoints.
#[derive(Debug, Clone)]
pub struct ModelsSeen {
    /// What it saw.
    pub seen: Arc<probes::Seen>,
    /// Declared models, by their canonical names, that no endpoint names.
    pub gone: BTreeSet<String>,
    /// `ok`, `degraded` or `down`.
    pub status: &'static str,
}

impl Operator {
    pub(super) fn new(plane: ControlPlane, known: Arc<KnownOrg>, caller: &Caller) -> Self {
        let (by, name) = (caller.by.clone(), caller.name.clone());
        Self { plane, known, by, role: caller.role, token: caller.token, name }
    }

    /// Whether the caller may do what `needed` may. Every call asks it itself.
    ///
    /// # Errors
    /// When it may not.
    pub fn may(&self, needed: Role) -> Result<(), Refusal> {
        self.role.may(needed)
    }

    /// The organisation.
    pub fn org(&self) -> &crate::system::org::Org {
        &self.known.org
    }

    /// One task.
    ///
    /// # Errors
    /// When this organisation has no such task.
    pub async fn task(&self, id: TaskId) -> Result<TaskView, Error> {
        let view = self.look(id).await?;
        let shown = view.result.is_some() || view.task.progress.is_some();
        if shown {
            self.note_reads(vec![id]).await?;
        }
        Ok(view)
    }

    /// The same, for what does not show what is sealed.
    pub(super) async fn look(&self, id: TaskId) -> Result<TaskView, Error> {
        let cell = self.cell().await?;
        let permit = self.plane.permit(cell.cell, 0)?;
        let within = self.plane.shared.config.answer_within;
        let look = |reply| dispatcher::Message::Look { task: id, reply };
        let live = cell.dispatcher.call_with_permit(permit, within, look).await?;
        if let Some(task) = live.filter(|task| !task.is_closed()) {
            let result = match task.error_at {
                Some(position) => self.sealed_at(position, id, Purpose::Error).await?,
                None => None,
            };
            return Ok(TaskView { task, result });
        }
        self.caught_up().await?;
        let row = self.plane.row(self.number(), Task::KIND, id.to_string()).await?;
        self.view(&row.ok_or_else(|| Refusal::not_found("task"))?)
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
        let rows = self.list::<Task>(status, before, limit).await?;
        let views = rows.iter().map(|row| self.view(row)).collect::<Result<Vec<_>, _>>()?;
        self.note_reads(shown(&views)).await?;
        Ok(views)
    }

    /// Workers, newest first, with when each was last heard of (microseconds UTC). `before` is the `created`
    /// position of the last one of the page before.
    ///
    /// # Errors
    /// When the rows cannot be read.
    pub async fn workers(
        &self,
        status: Option<&str>,
        before: Option<Position>,
        limit: usize,
    ) -> Result<Vec<(Worker, Seen)>, Error> {
        let rows = self.list::<Worker>(status, before, limit).await?;
        let seen = self.cell().await?.credentials;
        let now = self.plane.shared.clock.wall_us();
        let with_time = |worker: Worker| {
            let at = seen.signs(worker.id, now);
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
    pub async fn worker(&self, id: WorkerId) -> Result<(Worker, Seen), Error> {
        let look = |reply| registry::Message::Look { worker: id, reply };
        if let Some(worker) = self.ask_registry(0, look).await? {
            let now = self.plane.shared.clock.wall_us();
            let seen = self.cell().await?.credentials.signs(id, now);
            return Ok((worker, seen));
        }
        self.worker_row(id).await.map(|worker| (worker, Seen::default()))
    }

    /// What a worker sees of the endpoints of its models, and which of those that it declared are gone; `None`: it does not
    /// look, or was not heard of since this server started.
    ///
    /// # Errors
    /// When the organisation's cell does not run.
    pub async fn models_seen(&self, worker: &Worker) -> Result<Option<ModelsSeen>, Error> {
        let cell = self.cell().await?;
        let Some(seen) = cell.credentials.get(worker.id).and_then(|known| known.pulse.models())
        else {
            return Ok(None);
        };
        let overrides = cell.models.now();
        let gone = seen.gone(&canonical_names(&worker.declared_models, &overrides), &overrides);
        Ok(Some(ModelsSeen { status: seen.status(&gone), seen, gone }))
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
        self.may(Role::Admin)?;
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

    /// Notes that the caller is answered with what is sealed in these tasks.
    pub(super) async fn note_reads(&self, tasks: Vec<TaskId>) -> Result<(), Error> {
        self.plane.note_reads(self.number(), (self.token, &self.by), tasks).await
    }

    pub(super) fn plane(&self) -> &ControlPlane {
        &self.plane
    }

    pub(super) fn known(&self) -> &Arc<KnownOrg> {
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

    pub(super) fn by(&self) -> &Cause {
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

    /// What is sealed beside an event of a task.
    async fn sealed_at(
        &self,
        position: Position,
        task: TaskId,
        purpose: Purpose,
    ) -> Result<Option<Envelope>, Error> {
        let read = self.plane.shared.store.read_at(self.number(), &[position]).await;
        let events = read.map_err(|error| Error::Unavailable(format!("store: {error}")))?;
        let sealed = events.into_iter().next().and_then(|stored| stored.event.sealed);
        let envelope = |bytes| Envelope::new(&self.known, task, purpose, Sealed::from_bytes(bytes));
        Ok(sealed.map(envelope))
    }

    fn view(&self, row: &Record) -> Result<TaskView, Error> {
        let task = state::<Task>(row)?;
        let sealed = row.sealed.clone().map(Sealed::from_bytes);
        let result = sealed.map(|sealed| Envelope::of(&self.known, &task, sealed));
        Ok(TaskView { task, result })
    }

    async fn worker_row(&self, id: WorkerId) -> Result<Worker, Error> {
        self.caught_up().await?;
        let row = self.plane.row(self.number(), Worker::KIND, id.to_string()).await?;
        state(&row.ok_or_else(|| Refusal::not_found("worker"))?)
    }
}

/// The tasks whose output or error text is among what is shown.
fn shown(views: &[TaskView]) -> Vec<TaskId> {
    views.iter().filter(|view| view.result.is_some()).map(|view| view.task.id).collect()
}
