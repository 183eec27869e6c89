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
}

#[derive(Default)]
struct State {
    recorded: BTreeMap<u32, Recorded>,
    /// The position of the next call.
    next: u32,
    /// Steps that run now.
    running: u32,
    asked: Vec<WaitFor>,
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
        Ok(Self { cx, state: Mutex::new(state), changed: Notify::new() })
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

    /// Resolves when something is waited for and no step runs.
    async fn suspended(&self) {
        loop {
            let changed = self.changed.notified();
            {
                let state = self.state();
                if state.running == 0 && !state.asked.is_empty() {
                    return;
                }
            }
            changed.await;
        }
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
        match at.recorded {
            Some(known) if known.status != RecordedStatus::Waiting => known,
            _ => {
                self.state().asked.push(wait);
                self.changed.notify_one();
                std::future::pending().await
            }
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
