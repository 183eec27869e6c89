//! One run, the workers and people around it, and the lives of the server: plays moves, then lets everybody do what they
//! should until the run has ended.

mod after;
mod leg;
mod people;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fleetward_actors::fleet::key::Binding;
use fleetward_actors::id::{RunId, TaskId};
use fleetward_actors::plane::{
    Claim, Enrollment, Heartbeat, NewEnrollmentKey, NewOperatorToken, Outcome, RunFilter,
};
use fleetward_actors::system::org::Role;
use fleetward_actors::workflows::conductor::Remedy;
use fleetward_actors::workflows::definition::{Definition, Kind};
use fleetward_actors::workflows::run::{Run, Wait};
use fleetward_actors::{Config, Operator, Session};
use fleetward_runtime::Budget;
use fleetward_runtime::testkit::World;
use fleetward_store::memory::Memory;
use fleetward_store::{CellId, Journal, Position};
use serde_json::Value;

use super::definitions::{PEOPLE, Said, Script, inner, payload};
use super::moves::Move;
use crate::fixture::*;
use leg::Leg;

pub(super) const CELL: CellId = CellId(1);

/// What an answer is when the server cannot give one now.
const AWAY: [&str; 4] = ["unavailable", "outcome_unknown", "busy", "internal"];

/// Panics, and messages between actors that are lost.
const FAULTS: [(bool, &str, &str); 18] = [
    (true, "runs/r", "StepEnded"),
    (true, "runs/r", "ChildEnded"),
    (true, "runs/r", "SubmitUnsure"),
    (true, "runs/r", "Found"),
    (true, "runs/r", "Read"),
    (true, "runs/r", "Decide"),
    (true, "runs/r", "Signal"),
    (true, "runs/r", "Due"),
    (true, "runs/r", "TendDue"),
    (true, "runs/r", "LingerOver"),
    (true, "cells/1/dispatcher", "Submit"),
    (true, "cells/1/dispatcher", "Report"),
    (true, "cells/1/dispatcher", "Polls"),
    (true, "projector", "Folded"),
    (false, "runs/r", "StepEnded"),
    (false, "runs/r", "ChildEnded"),
    (false, "clockwork", "Asleep"),
    (false, "cells/1/dispatcher", "Amend"),
];

/// What a worker was given.
#[derive(Debug, Clone)]
struct Held {
    task: TaskId,
    attempt: u32,
    token: String,
    run: RunId,
    key: String,
    input: Value,
}

struct Worker {
    id: String,
    secret: String,
    session: Session,
    held: Vec<Held>,
    /// What it has spoken of, and may speak of again.
    past: Vec<Held>,
}

pub(super) struct Stage<'w> {
    world: &'w World,
    pub(super) store: Memory,
    pub(super) plane: Plane,
    workers: Vec<Worker>,
    /// Who decides at gates: their tokens, and who they are for this life of the server.
    tokens: Vec<String>,
    people: Vec<Operator>,
    /// The run that this is about, and those before it.
    pub(super) run: RunId,
    pub(super) mine: BTreeSet<RunId>,
    pub(super) script: Script,
    signals: Vec<String>,
    /// Up to here the journal holds what somebody was told of.
    told: Position,
    /// Steps whose completion was acknowledged, and by which task.
    done: BTreeMap<(RunId, String), TaskId>,
    /// What the steps of functions came to, as far as that was acknowledged or seen again.
    values: BTreeMap<(RunId, String, u32), Value>,
    claims: u64,
}

fn config() -> Config {
    let budget = Budget { restarts: 1_000, within: Duration::from_secs(1) };
    // How often attempts may be lost is not what this is about. That ids are new is told without the store where it can.
    Config { budget, attempt_cap: 1_000, used_ids_after: 0, ..Config::default() }
}

impl<'w> Stage<'w> {
    /// A server, three workers, and a run of the definition.
    pub(super) async fn set(world: &'w World, definition: &Definition, input: &Value) -> Self {
        let store = Memory::new();
        let plane = start_with(world, &store, config()).await;
        for workflow in inner().into_iter().chain([definition.clone()]) {
            plane.operator.apply_workflow(workflow).await.unwrap();
        }
        let mut workers = Vec::new();
        for name in ["a", "b", "c"] {
            workers.push(Worker::join(&plane, name).await);
        }
        let mut tokens = Vec::new();
        for one in 0..PEOPLE {
            let new = NewOperatorToken {
                name: format!("p{one}"),
                role: Role::Operator,
                expires_in_s: None,
            };
            tokens.push(plane.plane.create_token(&plane.caller, None, new).await.unwrap().1.0);
        }
        let run = plane.begin(&definition.name, "r", input.clone()).await;
        let signal = |kind: &Kind| match kind {
            Kind::WaitSignal { signal, .. } => Some(signal.clone()),
            _ => None,
        };
        let signals = definition.all_nodes().filter_map(|placed| signal(&placed.node.kind));
        let signals = signals.collect();
        let (done, values, claims, told) = (BTreeMap::new(), BTreeMap::new(), 0, 0);
        let (mine, script) = ([run.clone()].into(), Script::of(definition));
        let mut stage = Self {
            world,
            store,
            plane,
            workers,
            tokens,
            people: Vec::new(),
            run,
            mine,
            script,
            signals,
            told,
            done,
            values,
            claims,
        };
        stage.meet().await;
        stage.tell().await;
        stage
    }

    pub(super) async fn play(&mut self, moves: Vec<Move>) {
        for one in moves {
            self.make(one).await;
        }
    }

    async fn make(&mut self, one: Move) {
        match one {
            Move::Claim { worker, lost } => drop(self.claim(worker, lost).await),
            Move::Report { worker, which, lost } => {
                if let Some(held) = self.workers[worker].pick(which) {
                    self.report(worker, held, lost).await;
                }
            }
            Move::ReportAgain { worker, which } => {
                let past = &mut self.workers[worker].past;
                if !past.is_empty() {
                    let held = past.remove(which % past.len());
                    self.report(worker, held, false).await;
                }
            }
            Move::HandBack { worker, which, lost } => self.hand_back(worker, which, lost).await,
            Move::Forget { worker, which } => drop(self.workers[worker].pick(which)),
            Move::Beat { worker } => self.workers[worker].beat().await,
            Move::Decide { which, lost } => self.decide(which, lost).await,
            Move::Signal { which, lost } => {
                if !self.signals.is_empty() {
                    let name = self.signals[which % self.signals.len()].clone();
                    self.signal(&self.run.clone(), &name, lost).await;
                }
            }
            Move::Pause => self.amend(Remedy::Pause { reason: None }).await,
            Move::Resume => self.amend(Remedy::Resume).await,
            Move::Pass(seconds) => self.world.pass(Duration::from_secs(seconds)).await,
            Move::Fault(which) => {
                let (panics, actor, label) = FAULTS[which % FAULTS.len()];
                match panics {
                    true => self.world.faults().panic_next(actor, label),
                    false => self.world.faults().drop_next(actor, label),
                }
            }
            Move::Restart => {
                self.plane.plane.drain(Duration::from_secs(5)).await;
                self.start().await;
            }
            Move::Kill { at } => self.kill(at).await,
            Move::KillAtReport { worker, which, at } => {
                self.tell().await;
                if let Some(held) = self.workers[worker].pick(which) {
                    self.report(worker, held, true).await;
                    self.world.settle().await;
                }
                self.kill(at).await;
            }
            Move::KillAtDecision { which, at } => {
                self.tell().await;
                self.decide(which, true).await;
                self.world.settle().await;
                self.kill(at).await;
            }
        }
    }

    /// Nobody does anything wrong any more, until the run and all that it began have ended.
    pub(super) async fn finish(&mut self) -> Run {
        for _ in 0..200 {
            self.settle().await;
            if let Some(run) = self.look().await.filter(Run::is_closed) {
                self.all_end().await;
                return run;
            }
        }
        let why = self.plane.operator.explain_run(&self.run).await;
        panic!("the run does not end: {:?} {why:?}", self.look().await);
    }

    /// Everything that can be done is done, and some time passes.
    async fn settle(&mut self) {
        for worker in 0..self.workers.len() {
            let mut claims = 0;
            while self.report_all(worker).await && self.claim(worker, false).await {
                claims += 1;
                assert!(claims < 1_000, "work that leads nowhere: {:?}", self.workers[worker].held);
            }
        }
        // What is left of a run that has ended is not helped on.
        if self.look().await.is_some_and(|run| !run.is_closed()) {
            self.amend(Remedy::Resume).await;
            self.answer_waits().await;
        }
        self.world.pass(Duration::from_secs(20)).await;
    }

    /// Whatever the run and its children wait for of people comes.
    async fn answer_waits(&mut self) {
        let runs = self.plane.operator.runs(&RunFilter::default(), None, 200).await;
        let runs: Vec<_> =
            runs.into_iter().flat_map(|page| page.runs).map(|view| view.run).collect();
        for run in &runs {
            for (key, wait) in &run.waits {
                match wait {
                    // Nobody comes to a gate that ends by itself.
                    Wait::Gate(gate) if gate.expires_at.is_some() => {}
                    Wait::Gate(gate) => {
                        for person in 0..PEOPLE {
                            self.decide_at(&run.id, (key.as_str(), gate), person, false).await;
                        }
                    }
                    Wait::Signal { name, .. } => self.signal(&run.id, name, false).await,
                    Wait::Timer { .. } | Wait::Child { .. } => {}
                }
            }
        }
    }

    /// Whether all that it holds was answered.
    async fn report_all(&mut self, worker: usize) -> bool {
        while let Some(held) = self.workers[worker].held.pop() {
            if !self.report(worker, held, false).await {
                return false;
            }
        }
        true
    }

    /// What the run left behind ends too: nobody works on for nothing.
    async fn all_end(&mut self) {
        let filter = RunFilter::default();
        for _ in 0..20 {
            self.settle().await;
            let runs = self.plane.operator.runs(&filter, None, 200).await.unwrap().runs;
            let tasks = self.plane.operator.tasks(None, None, 200).await.unwrap();
            let closed = runs.iter().all(|view| view.run.is_closed())
                && tasks.iter().all(|view| view.task.is_closed());
            if closed {
                return;
            }
        }
        let runs = self.plane.operator.runs(&filter, None, 200).await.unwrap().runs;
        let open: Vec<_> = runs.iter().filter(|view| !view.run.is_closed()).collect();
        panic!("the run has ended, and this is left: {open:?}");
    }

    /// Somebody was told of everything that is in the journal now.
    async fn tell(&mut self) {
        self.told = self.head().await;
    }

    async fn head(&self) -> Position {
        let cells = self.store.cells().await.unwrap();
        cells.iter().find(|head| head.cell == CELL).map_or(0, |head| head.head)
    }

    async fn kill(&mut self, at: u8) {
        let head = self.head().await;
        let untold = head - self.told.min(head);
        let left = self.store.killed_at(CELL, head - untold * u64::from(at) / 255);
        // Whatever the old server does from now on, nobody hears of.
        self.plane.plane.drain(Duration::from_secs(5)).await;
        self.store = left;
        self.start().await;
    }

    async fn start(&mut self) {
        self.plane = start_with(self.world, &self.store, config()).await;
        for worker in &mut self.workers {
            let session = self.plane.plane.session(&worker.id, &worker.secret).await;
            worker.session = session.unwrap();
        }
        self.meet().await;
    }

    /// Whether there was work.
    async fn claim(&mut self, worker: usize, lost: bool) -> bool {
        self.claims += 1;
        let request = Some(format!("c{}", self.claims));
        let claim = Claim { wait: Duration::ZERO, request, boot: None };
        let offered = self.workers[worker].session.claim(claim).await;
        let (offer, delivery) = match offered {
            Ok(Some(offered)) if !lost => offered,
            Ok(_) => return false,
            Err(error) => {
                let code = code::<()>(Err(error));
                assert!(AWAY.contains(&code.as_str()), "a claim is answered {code}");
                return false;
            }
        };
        delivery.written();
        self.tell().await;
        let step = offer.step.clone().expect("it is a step");
        let held = Held {
            task: offer.task,
            attempt: offer.attempt,
            token: offer.claim_token.clone(),
            run: step.run,
            key: step.key.to_string(),
            input: serde_json::from_slice(&offer.payload).unwrap(),
        };
        let known = self.done.get(&(held.run.clone(), held.key.clone()));
        assert_eq!(known, None, "{held:?} runs again, though its completion was acknowledged");
        self.workers[worker].held.push(held);
        true
    }

    /// Whether an answer came.
    async fn report(&mut self, worker: usize, held: Held, lost: bool) -> bool {
        let waits = match self.leg(worker, &held, lost).await {
            Leg::Through => None,
            Leg::Waits(outcome) => Some(outcome),
            Leg::Over => return true,
            Leg::Stops => {
                self.workers[worker].held.push(held);
                return false;
            }
        };
        let (outcome, completes) = match self.said(&held) {
            _ if waits.is_some() => (waits.unwrap(), false),
            Said::Nothing => {
                self.workers[worker].past.push(held);
                return true;
            }
            Said::Value(value) => (Outcome::Completed(value.to_string().into()), true),
            Said::Failed { retryable } => {
                (Outcome::Failed { error: "it did not work".into(), retryable }, false)
            }
        };
        let session = &self.workers[worker].session;
        let claim = (Some(held.attempt), Some(held.token.as_str()));
        let code = code(session.report(held.task, claim.0, claim.1, outcome).await);
        let of = (held.run.clone(), held.key.clone());
        if lost || AWAY.contains(&code.as_str()) {
            self.workers[worker].held.push(held);
            return false;
        }
        let repeats = self.done.get(&of) == Some(&held.task);
        match code.as_str() {
            "ok" if completes => {
                let before = self.done.insert(of, held.task);
                assert!(before.is_none_or(|task| task == held.task), "{held:?} was done before");
            }
            "ok" => {}
            "attempt_superseded" => {}
            // It took too long, or it spoke of it before somebody mended what was wrong.
            "already_reported" if self.script.mended || self.script.is_timed(&held.key) => {}
            "task_closed" | "task_cancelled" if !repeats => {}
            _ => panic!("{held:?} is answered {code}"),
        }
        self.tell().await;
        self.workers[worker].past.push(held);
        true
    }

    async fn hand_back(&mut self, worker: usize, which: usize, lost: bool) {
        let Some(held) = self.workers[worker].pick(which) else { return };
        let session = &self.workers[worker].session;
        let claim = (Some(held.attempt), Some(held.token.as_str()));
        let back = session.hand_back(held.task, claim.0, claim.1).await;
        if back.is_ok() && !lost {
            self.tell().await;
        }
        self.workers[worker].past.push(held);
    }

    /// What a step of a run comes to. Children have nothing that is timed, and nobody mends them.
    fn said(&self, held: &Held) -> Said {
        let script = Script::default();
        let script = if self.mine.contains(&held.run) { &self.script } else { &script };
        script.said(&held.key, &held.input, held.attempt)
    }

    async fn signal(&mut self, run: &RunId, name: &str, lost: bool) {
        let with = payload(name).to_string().into();
        let sent = code(self.plane.operator.signal_run(run, name, with).await);
        let known = AWAY.contains(&sent.as_str()) || ["ok", "run_closed"].contains(&sent.as_str());
        assert!(known, "a signal is answered {sent}");
        if sent == "ok" && !lost {
            self.tell().await;
        }
    }

    async fn amend(&mut self, remedy: Remedy) {
        let amended = code(self.plane.operator.amend_run(&self.run, remedy).await);
        let known =
            AWAY.contains(&amended.as_str()) || ["ok", "run_closed"].contains(&amended.as_str());
        assert!(known, "a pause is answered {amended}");
        if amended == "ok" {
            self.tell().await;
        }
    }

    async fn look(&self) -> Option<Run> {
        match self.plane.operator.run(&self.run).await {
            Ok(view) => Some(view.run),
            Err(error) => {
                let code = code::<()>(Err(error));
                assert!(AWAY.contains(&code.as_str()), "the run is answered {code}");
                None
            }
        }
    }

    /// Whatever was made to panic was to crash.
    pub(super) fn own_up(&self) {
        let fired = self.world.faults().fired();
        let crashed = fired.iter().filter_map(|fault| fault.strip_prefix("panic "));
        let paths: BTreeSet<_> = crashed.filter_map(|fault| fault.split(' ').next()).collect();
        paths.into_iter().for_each(|path| self.world.expect_crash(path));
    }
}

impl Worker {
    async fn join(plane: &Plane, name: &str) -> Self {
        let binding = Binding { auto_approve: true, ..Binding::default() };
        let new = NewEnrollmentKey { name: "k".into(), binding, ..NewEnrollmentKey::default() };
        let (_, key) = plane.operator.create_key(new).await.unwrap();
        let enrollment =
            Enrollment { handlers: vec!["*".to_owned()], max_concurrent: 4, ..enrollment(name) };
        let joined = plane.plane.register(&key, enrollment).await.unwrap();
        let (id, secret) = (joined.worker.id.to_string(), joined.secret.unwrap());
        let session = plane.plane.session(&id, &secret).await.unwrap();
        Self { id, secret, session, held: Vec::new(), past: Vec::new() }
    }

    fn pick(&mut self, which: usize) -> Option<Held> {
        let len = self.held.len();
        (len > 0).then(|| self.held.remove(which % len))
    }

    async fn beat(&self) {
        let held = self.held.iter().map(|held| (held.task, held.attempt, held.token.clone()));
        let beat = Heartbeat { held: Some(held.collect()), ..Heartbeat::default() };
        drop(self.session.heartbeat(beat).await);
    }
}
