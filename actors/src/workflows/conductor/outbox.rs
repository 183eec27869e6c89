//! What leaves a conductor behind its events: tasks that it wants or does not want any more, child runs, its own end.

use std::sync::Arc;

use fleetward_runtime::{CallError, Context, Reply};
use fleetward_store::Position;
use serde_json::Value;

use super::message::{Message, NewRun};
use super::{State, reading};
use crate::cause::Cause;
use crate::error::Error;
use crate::fleet::dispatcher::{self, NewTask, Subject, Submitted, remedy};
use crate::fleet::task::history::Entry;
use crate::fleet::task::{Handling, Requirement, StepRef};
use crate::id::{RunId, TaskId};
use crate::schedules::scheduler;
use crate::seal::Purpose;
use crate::system::principals::KnownOrg;
use crate::workflows::run::Parent;

/// What stands for the request of a task that a run wants: its id says all of it.
const STEP_REQUEST: &str = "run step";

/// What leaves the conductor behind its events.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    /// Tasks that are wanted.
    pub(super) tasks: Vec<Wanted>,
    /// Tasks that are not wanted any more.
    pub(super) unwanted: Vec<TaskId>,
    /// Child runs that are wanted.
    pub(super) children: Vec<Birth>,
    /// Child runs that are not wanted any more.
    pub(super) orphans: Vec<RunId>,
    /// Whether the run above it, and the schedule that it was for, are to be told of its end.
    pub(super) ended: bool,
}

/// A task that is wanted. Its payload is sealed when it is sent, so that nobody waits for that behind the cell's order.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) id: TaskId,
    pub(super) wants: Requirement,
    pub(super) handling: Handling,
    pub(super) payload: Vec<u8>,
    pub(super) absent_at: Position,
    pub(super) step: StepRef,
    pub(super) history: Vec<Entry>,
}

/// A child run that is wanted.
#[derive(Debug)]
pub(super) struct Birth {
    pub(super) id: RunId,
    pub(super) workflow: String,
    pub(super) version: Option<String>,
    pub(super) input: Arc<Value>,
    pub(super) parent: Parent,
}

impl Wanted {
    fn sealed(self, known: &KnownOrg) -> NewTask {
        let Self { id, wants, handling, payload, absent_at, step, history } = self;
        NewTask {
            id,
            wants: Arc::new(wants),
            handling,
            digest: known.key.digest(&payload),
            payload_bytes: payload.len() as u64,
            payload: known.ring.seal(Purpose::Payload, id.0.as_bytes(), &payload),
            request: Some(STEP_REQUEST.to_owned()),
            absent_at,
            step: Some(step),
            history,
        }
    }
}

impl State {
    /// Sends what the events before it stand for.
    pub(super) fn send(&mut self, out: Outbox, cx: &Context<Message>) {
        let Outbox { tasks, unwanted, children, orphans, ended } = out;
        if !tasks.is_empty() {
            self.submit(tasks, cx);
        }
        if !unwanted.is_empty() {
            self.withdraw(unwanted);
        }
        let family = self.args.runs.get();
        for child in children {
            self.bear(child, cx);
        }
        for orphan in orphans {
            if let Some(runs) = family {
                reading::cancel_child(runs.clone(), orphan, cx);
            }
        }
        if ended {
            self.tell_scheduler();
            self.tell_parent(cx);
        }
    }

    /// Tells the schedule that the run was for that it has ended.
    fn tell_scheduler(&self) {
        let Some(of) = self.run.as_ref().and_then(|run| run.schedule.as_ref()) else { return };
        let (schedule, run) = (of.schedule, self.args.run.clone());
        // One that does not hear of it looks at times.
        let _ = self.args.scheduler.send(scheduler::Message::RunEnded { schedule, run });
    }

    /// Asks the dispatcher for tasks.
    fn submit(&self, tasks: Vec<Wanted>, cx: &Context<Message>) {
        let by = self.cause();
        let tasks = tasks.into_iter().map(|task| task.sealed(&self.known)).collect();
        // Where it does not say that it has them all, they are looked for; so too where it is between two lives.
        let reply = cx.reply(|said| (!has_all(&said)).then_some(Message::SubmitUnsure));
        let _ = self.args.dispatcher.send(dispatcher::Message::Submit { tasks, by, reply });
    }

    fn withdraw(&self, tasks: Vec<TaskId>) {
        let subjects = tasks.into_iter().map(|task| Subject { task, known: None }).collect();
        let remedy = remedy::Remedy::Cancel { reason: Some("its run goes on without it".into()) };
        let (reply, _) = Reply::channel();
        let by = self.cause();
        // One that is lost runs on for nothing, and its end changes nothing.
        let _ =
            self.args.dispatcher.send(dispatcher::Message::Amend { subjects, remedy, by, reply });
    }

    /// How the record names a run that makes tasks.
    pub(super) fn cause(&self) -> Cause {
        Cause::of(format!("run:{}", self.args.run))
    }

    /// Begins a child run, or finds that it has begun.
    pub(super) fn bear(&self, child: Birth, cx: &Context<Message>) {
        let Birth { id, workflow, version, input, parent } = child;
        let Some(runs) = self.args.runs.get().cloned() else { return };
        let bytes = serde_json::to_vec(&*input).expect("JSON is written as JSON");
        let bound = id.as_str().as_bytes();
        let sealed = self.known.ring.seal(Purpose::RunInput, bound, &bytes);
        let digest = self.known.key.digest(&bytes);
        let (shelf, store, cell) =
            (self.args.shelf.clone(), self.args.store.clone(), self.args.cell);
        let by = self.cause();
        let key = parent.key.clone();
        let begun = async move {
            let known = shelf.get(&workflow).filter(|known| !known.retired);
            let version = version.or_else(|| known.map(|known| known.latest.clone()));
            let none = || reading::child_failed(&key, &id, "no_such_workflow");
            let Some(version) = version else { return none() };
            let named = (workflow.as_str(), version.as_str());
            let definition = match shelf.definition(store.as_ref(), cell, named).await {
                Ok(Some(definition)) => definition,
                Ok(None) => return none(),
                Err(error) => return Err(error.to_string()),
            };
            let new = Box::new(NewRun {
                id: id.clone(),
                version,
                definition,
                request: format!("child of {}", parent.run),
                input: sealed,
                digest,
                value: input,
                parent: Some(parent),
                inherited: None,
                awaited: false,
                schedule: None,
            });
            reading::start_child(&runs, &key, id, new, by).await
        };
        cx.spawn(begun, |found| Message::Found { found });
    }
}

/// Whether the dispatcher took the tasks, or had them.
fn has_all(said: &Result<Vec<Result<Submitted, Error>>, CallError>) -> bool {
    let sure = |said: &Result<Submitted, Error>| {
        matches!(said, Ok(Submitted::Accepted | Submitted::Repeated))
    };
    matches!(said, Ok(said) if said.iter().all(sure))
}
