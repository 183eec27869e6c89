//! Runs of workflows: started, looked at, decided about, signalled, ended, tried again.

mod dead;
mod diff;
mod functions;
mod list;
mod purge;
mod replay;
mod timeline;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fleetward_runtime::{Address, CallError, Reply};
use fleetward_store::Position;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::Operator;
use crate::error::{Error, Kind, Refusal};
use crate::fact::Fold;
use crate::fleet::input;
use crate::id::RunId;
use crate::plane::Envelope;
use crate::plane::delivery::first_of;
use crate::plane::reading::state;
use crate::seal::{Purpose, Sealed};
use crate::system::org::Role;
use crate::workflows::conductor::{Begun, Decision, Ended, Message, NewRun, Remedy, ask, hand};
use crate::workflows::definition::Definition;
use crate::workflows::gate::{Gate, Voter};
use crate::workflows::run::{Inherited, Key, Place, Run, Wait, What};
use crate::workflows::{plan, why};
pub use dead::{DeadRun, DeadRunGroup, DeadRuns, FailedAttempt, FailedStep};
pub use diff::Compared;
pub use functions::{FunctionOptions, FunctionState};
pub use list::{RunFilter, RunPage};
pub use purge::{Purge, Purged};
pub use replay::{Against, Replayed, ReplayedValue};
pub use timeline::TimelineEntry;

/// Most tasks of a run that are explained at once.
const EXPLAINED: usize = 20;
/// How often a start looks again when its run may just be changing.
const LOOKS: usize = 3;

/// A run to be started.
#[derive(Clone, Default)]
pub struct NewRunStart {
    /// The name of the workflow.
    pub workflow: String,
    /// Its version; none: the newest.
    pub version: Option<String>,
    /// The id; none: a fresh one. Starting again under the same id starts once.
    pub run_id: Option<RunId>,
    /// What it is given: JSON.
    pub input: Bytes,
    /// How long whoever starts it waits for its end; zero: not at all.
    pub wait: Duration,
}

/// What a run begins with.
struct Beginning {
    input: Bytes,
    inherited: Option<Box<Inherited>>,
    awaited: bool,
}

/// A run that was started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunStarted {
    /// Its id.
    pub run: RunId,
    /// The version that it keeps.
    pub version: String,
    /// Whether it was started before, under the same id.
    pub repeated: bool,
}

/// A run as its organisation sees it.
#[derive(Debug, Clone)]
pub struct RunView {
    /// The run.
    pub run: Run,
    /// The output or the error text of a closed one.
    pub result: Option<Envelope>,
}

impl Operator {
    /// Starts a run. Once this returns, it is durable.
    ///
    /// # Errors
    /// When there is no such workflow, the input makes no sense, or the id was used for another run.
    pub async fn start_run(&self, new: NewRunStart) -> Result<RunStarted, Error> {
        self.may(Role::Operator)?;
        let known = self.workflow(&new.workflow).await?;
        if known.retired {
            let detail = "the workflow is retired; apply it again to start runs of it";
            return Err(Refusal::new(Kind::Conflict, "workflow_retired", detail).into());
        }
        let named = (new.workflow.as_str(), new.version.as_deref());
        let (version, definition) = self.workflow_version(named.0, named.1).await?;
        let from = Beginning { input: new.input, inherited: None, awaited: !new.wait.is_zero() };
        self.begin_run(new.run_id, version, definition, from).await
    }

    /// Starts a run and waits for its end, for `new.wait` at most (cut to the longest wait of a poll) and no longer than
    /// until `enough`; what it is then is the second part. That its result is told stands on the record with the start.
    ///
    /// # Errors
    /// As [`start_run`](Self::start_run). Where the run cannot be looked at after it was started, it goes on all the same.
    pub async fn run_to_end(
        &self,
        new: NewRunStart,
        enough: impl Future<Output = ()>,
    ) -> Result<(RunStarted, RunView), Error> {
        let wait = new.wait.min(self.plane.shared.config.poll_max);
        let started = self.start_run(new).await?;
        let enough = first_of(enough, self.plane.shared.clock.sleep(wait));
        let ended = self.watch(&started.run, Position::MAX, enough).await?;
        let view = match ended.filter(|_| !started.repeated) {
            Some(ended) => self.ended(ended),
            // What another request is told of it stands on the record for itself.
            None => self.run(&started.run).await?,
        };
        Ok((started, view))
    }

    /// Starts a run with what another one had done before a node, and goes on from there: with the same input, or with
    /// another.
    ///
    /// # Errors
    /// When there is no such run or node.
    pub async fn fork_run(
        &self,
        from: &RunId,
        node: &str,
        run_id: Option<RunId>,
        input: Option<Bytes>,
    ) -> Result<RunStarted, Error> {
        self.may(Role::Operator)?;
        let original = self.run_state(from).await?;
        let named = (original.workflow.as_str(), Some(original.version.as_str()));
        let (version, definition) = self.workflow_version(named.0, named.1).await?;
        let kept = plan::names_before(&definition, node).ok_or_else(|| {
            let detail = format!("the workflow has no node {node:?} at its top level to fork from");
            Refusal::invalid("no_such_node", detail)
        })?;
        let top = |key: &Key| key.as_str().split(['[', '/']).next().unwrap_or_default().to_owned();
        let done = original.done.iter().filter(|(key, _)| kept.contains(top(key).as_str()));
        let done = done.map(|(key, done)| (key.clone(), done.clone())).collect();
        let place = input.is_none().then(|| original.input.clone());
        let inherited = Some(Box::new(Inherited { run: from.clone(), input: place, done }));
        let input = match input {
            Some(input) => input,
            None => self.open_place(&original.input).await?,
        };
        let from = Beginning { input, inherited, awaited: false };
        self.begin_run(run_id, version, definition, from).await
    }

    async fn begin_run(
        &self,
        id: Option<RunId>,
        version: String,
        definition: Arc<Definition>,
        from: Beginning,
    ) -> Result<RunStarted, Error> {
        let Beginning { input, inherited, awaited } = from;
        input::size("input", input.len(), self.plane.shared.config.payload_max)?;
        let value: Value = serde_json::from_slice(&input).map_err(|error| {
            Refusal::invalid("invalid_input", format!("the input is no JSON: {error}"))
        })?;
        let value = Arc::new(value);
        let cell = self.cell().await?;
        self.keep_pace(&cell).await?;
        let forked = inherited.as_ref().map(|inherited| inherited.run.as_str().to_owned());
        let request = self.known.key.mac(
            "run request",
            &[
                definition.name.as_bytes(),
                version.as_bytes(),
                &Sha256::digest(&input),
                forked.unwrap_or_default().as_bytes(),
            ],
        );
        let request = hex::encode(request);
        let given = id.is_some();
        let id = id.unwrap_or_else(|| RunId::fresh(&definition.name));
        let done = |repeated| RunStarted { run: id.clone(), version: version.clone(), repeated };
        for _ in 0..LOOKS {
            let permit = self.plane.permit(cell.cell, input.len())?;
            // Whether there was one of a given id is looked up by its conductor.
            if !given {
                cell.workflows.nursery.expect(id.clone());
            }
            let within = self.plane.shared.config.answer_within;
            let new = Box::new(NewRun {
                id: id.clone(),
                version: version.clone(),
                definition: definition.clone(),
                request: request.clone(),
                input: self.known.ring.seal(Purpose::RunInput, id.as_str().as_bytes(), &input),
                digest: self.known.key.digest(&input),
                value: value.clone(),
                parent: None,
                inherited: inherited.clone(),
                awaited,
                schedule: None,
            });
            let by = self.by.clone();
            let conductor = self.conductor_of(&id).await?;
            let start = |reply| Message::Start { new, by, reply };
            match conductor.call_with_permit(permit, within, start).await {
                Ok(begun) => return Ok(done(begun? == Begun::Repeated)),
                // It had just ended for want of work: there is a next one.
                Err(CallError::Unavailable) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(Error::Unavailable("the run is changing; try again".to_owned()))
    }

    /// One run.
    ///
    /// # Errors
    /// When this organisation has no such run.
    pub async fn run(&self, id: &RunId) -> Result<RunView, Error> {
        let run = self.run_state(id).await?;
        self.run_view(run).await
    }

    /// One run, once it is closed or `wait` is over (cut to the longest wait of a poll).
    ///
    /// # Errors
    /// When this organisation has no such run.
    pub async fn run_when_closed(&self, id: &RunId, wait: Duration) -> Result<RunView, Error> {
        self.run_past(id, Position::MAX, wait).await
    }

    /// One run, once something has happened to it that is later than an event, it is closed, or `wait` is over (cut to the
    /// longest wait of a poll).
    ///
    /// # Errors
    /// When this organisation has no such run.
    pub async fn run_past(
        &self,
        id: &RunId,
        past: Position,
        wait: Duration,
    ) -> Result<RunView, Error> {
        let wait = wait.min(self.plane.shared.config.poll_max);
        let run = self.run_state(id).await?;
        if run.is_closed() || run.updated > past {
            return self.run_view(run).await;
        }
        match self.watch(id, past, self.plane.shared.clock.sleep(wait)).await? {
            Some(ended) => {
                self.note_run_reads(vec![id.clone()]).await?;
                Ok(self.ended(ended))
            }
            // Whether it happened or not: what is true now is the answer.
            None => self.run(id).await,
        }
    }

    /// Waits for something to happen to a run, and says how it ended where it was that.
    async fn watch(
        &self,
        id: &RunId,
        past: Position,
        enough: impl Future<Output = impl Sized>,
    ) -> Result<Option<Ended>, Error> {
        let runs = self.cell().await?.workflows.runs;
        let (reply, happened) = Reply::channel();
        let watched = hand(&runs, id, Message::Watch { past, reply }).await;
        watched.map_err(|error| Error::Unavailable(format!("run: {error}")))?;
        let happened = first_of(happened, enough).await;
        Ok(happened.and_then(Result::ok).flatten())
    }

    fn ended(&self, ended: Ended) -> RunView {
        let Ended { run, sealed } = ended;
        let place = run.result();
        let result = place.zip(sealed);
        let result = result.map(|(place, sealed)| Envelope::of_run(&self.known, &place, sealed));
        RunView { run: *run, result }
    }

    /// Approves or rejects at a gate: the first decision that settles it wins.
    ///
    /// # Errors
    /// When there is no such open gate, or the caller may not decide about it.
    pub async fn decide_gate(
        &self,
        id: &RunId,
        gate: &str,
        approve: bool,
        (reason, digest): (Option<String>, Option<String>),
    ) -> Result<Run, Error> {
        if let Some(reason) = &reason {
            input::printable("reason", reason, input::REASON_MAX)?;
        }
        let voter =
            Voter { by: self.by.by().to_string(), name: self.name.to_string(), role: self.role };
        let (gate, by) = (gate.to_owned(), self.by.clone());
        let decision = Decision { gate, approve, reason, digest, voter, by };
        self.change_run(id, 0, |reply| Message::Decide { decision, reply }).await
    }

    /// Sends a signal: a node that waits for one of this name takes it, now or when it comes to that.
    ///
    /// # Errors
    /// When there is no such run, or it is closed.
    pub async fn signal_run(&self, id: &RunId, name: &str, payload: Bytes) -> Result<Run, Error> {
        self.may(Role::Operator)?;
        input::name("signal", name)?;
        input::size("payload", payload.len(), self.plane.shared.config.payload_max)?;
        if let Err(error) = serde_json::from_slice::<serde::de::IgnoredAny>(&payload) {
            let detail = format!("the payload is no JSON: {error}");
            return Err(Refusal::invalid("invalid_payload", detail).into());
        }
        let sealed = self.known.ring.seal(Purpose::Signal, id.as_str().as_bytes(), &payload);
        let digest = self.known.key.digest(&payload);
        let (name, by) = (name.to_owned(), self.by.clone());
        let signal = |reply| Message::Signal { name, payload: sealed, digest, by, reply };
        self.change_run(id, payload.len(), signal).await
    }

    /// Pauses, resumes, cancels, tries again or discards a run.
    ///
    /// # Errors
    /// When there is no such run, or that makes no sense for it now.
    pub async fn amend_run(&self, id: &RunId, remedy: Remedy) -> Result<Run, Error> {
        self.may(Role::Operator)?;
        if let Remedy::Pause { reason: Some(reason) }
        | Remedy::Cancel { reason: Some(reason) }
        | Remedy::Discard { reason: Some(reason) } = &remedy
        {
            input::printable("reason", reason, input::REASON_MAX)?;
        }
        let leaves = match &remedy {
            Remedy::Retry => Some("tried again"),
            Remedy::Discard { .. } => Some("discarded"),
            _ => None,
        };
        let before = match leaves {
            Some(_) => Some(self.run_state(id).await?),
            None => None,
        };
        let by = self.by.clone();
        let run = self.change_run(id, 0, |reply| Message::Amend { remedy, by, reply }).await?;
        if let (Some(what), Some(before)) = (leaves, before) {
            self.leave_dead_tasks(&before, what).await;
        }
        Ok(run)
    }

    /// Gates of a run that wait for people, with what they are asked.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn gates(&self, run: &Run) -> Result<Vec<(Key, Gate, Envelope)>, Error> {
        let mut gates = Vec::new();
        for (key, wait) in &run.waits {
            let Wait::Gate(gate) = wait else { continue };
            let place = Place { at: gate.opened, what: What::Gate { run: run.id.clone() } };
            if let Some(asked) = self.envelope(&place).await? {
                gates.push((key.clone(), gate.as_ref().clone(), asked));
            }
        }
        if !gates.is_empty() {
            self.note_run_reads(vec![run.id.clone()]).await?;
        }
        Ok(gates)
    }

    /// What a run was given.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn run_input(&self, run: &Run) -> Result<Option<Envelope>, Error> {
        self.note_run_reads(vec![run.id.clone()]).await?;
        self.envelope(&run.input).await
    }

    /// Why a run stands where it stands, in words; of its tasks too.
    ///
    /// # Errors
    /// When this organisation has no such run.
    pub async fn explain_run(&self, id: &RunId) -> Result<(Run, Vec<String>), Error> {
        let run = self.run_state(id).await?;
        let mut reasons = why::explain(&run);
        for (key, step) in run.scheduled.iter().take(EXPLAINED) {
            let said = match self.explain(step.task).await {
                Ok(said) => said.reasons,
                // The server died between the two: the run asks for it again.
                Err(Error::Refused(refusal)) if refusal.kind == Kind::NotFound => {
                    vec!["its task is about to be made".to_owned()]
                }
                Err(error) => return Err(error),
            };
            reasons.extend(said.into_iter().map(|reason| format!("{key}: {reason}")));
        }
        Ok((run, reasons))
    }

    /// A run as it is now: its conductor answers, or its record.
    pub(super) async fn run_state(&self, id: &RunId) -> Result<Run, Error> {
        let cell = self.cell().await?;
        if let Some(conductor) = cell.workflows.runs.get(id) {
            let permit = self.plane.permit(cell.cell, 0)?;
            let within = self.plane.shared.config.answer_within;
            let look = |reply| Message::Look { reply };
            if let Ok(Some(run)) = conductor.call_with_permit(permit, within, look).await {
                return Ok(*run);
            }
        }
        self.caught_up().await?;
        let row = self.plane.row(self.number(), Run::KIND, id.to_string()).await?;
        state(&row.ok_or_else(|| Refusal::not_found("run"))?)
    }

    async fn run_view(&self, run: Run) -> Result<RunView, Error> {
        let result = match run.result() {
            None => None,
            Some(place) => self.envelope(&place).await?,
        };
        if result.is_some() {
            self.note_run_reads(vec![run.id.clone()]).await?;
        }
        Ok(RunView { run, result })
    }

    async fn envelope(&self, place: &Place) -> Result<Option<Envelope>, Error> {
        let read = self.plane.shared.store.read_at(self.number(), &[place.at]).await;
        let events = read.map_err(|error| Error::Unavailable(format!("store: {error}")))?;
        let sealed = events.into_iter().next().and_then(|stored| stored.event.sealed);
        let envelope = |bytes| Envelope::of_run(&self.known, place, Sealed::from_bytes(bytes));
        Ok(sealed.map(envelope))
    }

    async fn open_place(&self, place: &Place) -> Result<Bytes, Error> {
        let found = self.envelope(place).await?.ok_or_else(|| Refusal::not_found("input"))?;
        found.open().map_err(|error| {
            let id = uuid::Uuid::now_v7().to_string();
            tracing::error!(%id, %error, "what is sealed of a run does not open");
            Error::Internal(id)
        })
    }

    async fn note_run_reads(&self, runs: Vec<RunId>) -> Result<(), Error> {
        self.plane.note_run_reads(self.number(), (self.token, &self.by), runs).await
    }

    async fn conductor_of(&self, id: &RunId) -> Result<Address<Message>, Error> {
        let runs = self.cell().await?.workflows.runs;
        let started = runs.get_or_start(id.clone()).await;
        started.map_err(|error| Error::Unavailable(format!("run: {error}")))
    }

    async fn change_run(
        &self,
        id: &RunId,
        bytes: usize,
        make: impl FnOnce(Reply<Result<Box<Run>, Error>>) -> Message,
    ) -> Result<Run, Error> {
        let cell = self.cell().await?;
        if cell.workflows.runs.get(id).is_none() {
            // Nothing is started for a run that never was.
            self.run_state(id).await?;
        }
        let permit = self.plane.permit(cell.cell, bytes)?;
        let within = self.plane.shared.config.answer_within;
        let make = |reply: Reply<_>| make(reply.holding(permit));
        Ok(*ask(&cell.workflows.runs, id, within, make).await??)
    }
}
