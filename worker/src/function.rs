//! A durable function on a worker: what it has done is read before it begins and kept as it goes, and where it waits, the
//! attempt ends. Its calls ([`calls`]) have positions, counted in the order in which the code makes them.

mod ask;
mod calls;

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fleetward_wire::Secret;
use fleetward_wire::tasks::{Called, Checkpoint, Claimed, Recorded, RecordedStatus, WaitFor};
use serde_json::Value;
use tokio::sync::Notify;

use crate::execute::{Outcome, TaskContext};
use crate::handlers::HandlerError;
use crate::transport::TransportError;
pub use ask::{Ask, Decision, Retries};

/// What a function waits for. It is made by its calls alone.
#[derive(Clone)]
pub struct Suspension(Vec<WaitFor>);

/// What one attempt of a function knows and asks.
pub(crate) struct Journal {
    cx: TaskContext,
    state: Mutex<State>,
    /// Rings when a step ended, or something is waited for.
    changed: Notify,
    /// Rings when the replay comes to what a later task knew.
    turned: Notify,
}

#[derive(Default)]
struct State {
    recorded: BTreeMap<u32, Recorded>,
    /// The position of the next call.
    next: u32,
    /// Steps that run now.
    running: u32,
    asked: Vec<WaitFor>,
    /// How often something was asked.
    asks: u64,
    /// Up to which of the function's tasks the replay has come: how waits ended that later ones knew of is not known yet.
    turn: u32,
    /// The code does not fit the history: nothing that it results in counts.
    broken: Option<String>,
}

/// Where a call stands.
struct Position {
    index: u32,
    name: String,
    recorded: Option<Recorded>,
}

/// A step that runs.
struct Running<'a>(&'a Journal);

impl Suspension {
    pub(crate) fn into_waits(self) -> Vec<WaitFor> {
        self.0
    }

    /// What for: the kind and the name of each wait.
    pub fn waits(&self) -> impl Iterator<Item = (Called, &str)> {
        self.0.iter().map(|wait| (wait.what, wait.name.as_str()))
    }
}

/// By what is waited for; what people are asked is not compared.
impl PartialEq for Suspension {
    fn eq(&self, other: &Self) -> bool {
        self.waits().eq(other.waits())
    }
}

impl Journal {
    /// Reads what the function has done before this attempt.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) async fn open(task: &Claimed, cx: TaskContext) -> Result<Self, HandlerError> {
        let mut state = State::default();
        let mut from = (task.checkpoints > 0).then_some(0);
        while let Some(position) = from {
            let page = cx.recorded(position).await.map_err(refused)?;
            from = page.next;
            state.recorded.extend(page.entries.into_iter().map(|entry| (entry.index, entry)));
        }
        let (changed, turned) = (Notify::new(), Notify::new());
        Ok(Self { cx, state: Mutex::new(state), changed, turned })
    }

    /// Runs the function until it ends, or waits and has nothing else to do.
    pub(crate) async fn run<O>(
        &self,
        function: impl Future<Output = Result<O, HandlerError>>,
        outcome: impl FnOnce(Result<O, HandlerError>) -> Outcome,
    ) -> Outcome {
        let ended = tokio::select! {
            biased;
            ended = function => Some(ended),
            () = self.suspended() => None,
        };
        let mut state = self.state();
        if let Some(Ok(_)) = ended
            && let Some((_, left)) = state.recorded.range(state.next..).next()
        {
            let said = format!(
                "the code does not fit the history: at position {} the history has the {} {:?}, and the code ended; run \
                 the code that the run began with, or start another run",
                left.index,
                word(left.what),
                left.name,
            );
            state.broken.get_or_insert(said);
        }
        match (state.broken.take(), ended) {
            (Some(said), _) => Outcome::FailedForGood(said),
            (None, Some(ended)) => outcome(ended),
            (None, None) => Outcome::Suspended(Suspension(std::mem::take(&mut state.asked))),
        }
    }

    /// Resolves when nothing but waits is left, and no task before this one knew how one of them ended.
    async fn suspended(&self) {
        loop {
            let changed = self.changed.notified();
            let Some(rests) = self.rests() else {
                changed.await;
                continue;
            };
            // Code that polls only so much at a time has not asked for everything yet.
            tokio::task::yield_now().await;
            if self.rests() == Some(rests) && !self.turn() {
                return;
            }
        }
    }

    /// Where no step runs and something is waited for: how far the code has come.
    fn rests(&self) -> Option<(u64, u32)> {
        let state = self.state();
        (state.running == 0 && !state.asked.is_empty()).then_some((state.asks, state.next))
    }

    /// Goes on to what the next task knew, if there was one. So the code learns of ends in the order in which it did at first:
    /// of several waits that are over by now, the one that was over then is.
    fn turn(&self) -> bool {
        let mut state = self.state();
        let ended = state.recorded.values().filter(|at| at.status != RecordedStatus::Waiting);
        let next = ended.map(|at| at.known_from).filter(|turn| *turn > state.turn).min();
        let Some(next) = next else { return false };
        state.turn = next;
        state.asked.clear();
        drop(state);
        self.turned.notify_waiters();
        true
    }

    /// The next call of the code: what stands at its position.
    fn call(&self, what: Called, name: &str) -> Result<Position, HandlerError> {
        let mut state = self.state();
        let index = state.next;
        state.next += 1;
        let recorded = state.recorded.get(&index).cloned();
        if let Some(known) = &recorded
            && (known.what != what || known.name != name)
        {
            let said = format!(
                "the code does not fit the history: at position {index} the history has the {} {:?}, and the code asks \
                 for the {} {name:?}; run the code that the run began with, or start another run",
                word(known.what),
                known.name,
                word(what),
            );
            state.broken.get_or_insert_with(|| said.clone());
            return Err(HandlerError::fatal(said));
        }
        Ok(Position { index, name: name.to_owned(), recorded })
    }

    fn begin(&self) -> Running<'_> {
        self.state().running += 1;
        Running(self)
    }

    /// Keeps what a step resulted in.
    async fn keep(&self, at: &Position, value: Value, took: Duration) -> Result<(), HandlerError> {
        let done = Checkpoint {
            index: at.index,
            name: at.name.clone(),
            value: Secret::new(value),
            took_ms: u64::try_from(took.as_millis()).ok(),
            ..Checkpoint::default()
        };
        self.cx.checkpoint(done).await.map_err(|error| {
            if let TransportError::Refused { code, detail } = &error
                && code == "nondeterminism"
            {
                self.state().broken.get_or_insert_with(|| detail.clone());
            }
            refused(error)
        })
    }

    /// Waits for what stands at a position. Where nothing came of it yet, this attempt ends in this call.
    async fn wait(&self, at: Position, wait: WaitFor) -> Recorded {
        loop {
            let turned = self.turned.notified();
            {
                let mut state = self.state();
                let known = at.recorded.as_ref().filter(|at| at.known_from <= state.turn);
                if let Some(known) = known.filter(|at| at.status != RecordedStatus::Waiting) {
                    return known.clone();
                }
                state.asked.push(wait.clone());
                state.asks += 1;
            }
            self.changed.notify_one();
            turned.await;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No change of it can panic half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.state().running -= 1;
        self.0.changed.notify_one();
    }
}

fn word(what: Called) -> &'static str {
    match what {
        Called::Step => "step",
        Called::Sleep => "sleep",
        Called::Signal => "signal",
        Called::Approval => "approval",
    }
}

/// What the function is told where the control plane does not take what it says.
fn refused(error: TransportError) -> HandlerError {
    match &error {
        TransportError::Refused { code, .. } if !code.starts_with("attempt_") => {
            HandlerError::fatal(error)
        }
        _ => HandlerError::retryable(error),
    }
}
