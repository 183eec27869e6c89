//! Handlers by name: what a worker offers to steps of workflows, and to tasks that name one.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::sync::Arc;

use async_trait::async_trait;
use fleetward_wire::tasks::Claimed;
use fleetward_wire::workers::{NetworkPolicy, SandboxLevel};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::execute::{Execute, Outcome, TaskContext};
use crate::function::Journal;

/// A registry of handlers. It runs each task by the handler that the task names.
///
/// ```
/// use fleetward_worker::{HandlerError, Handlers, StepContext};
///
/// let handlers = Handlers::new()
///     .on("shout", |text: String, _cx: StepContext| async move { Ok(text.to_uppercase()) })
///     .on("half", |number: u64, _cx: StepContext| async move {
///         if number % 2 == 1 {
///             return Err(HandlerError::fatal("odd numbers have no half"));
///         }
///         Ok(number / 2)
///     });
/// assert_eq!(handlers.names(), ["half", "shout"]);
/// ```
#[derive(Clone, Default)]
pub struct Handlers {
    by_name: BTreeMap<String, Arc<dyn Execute>>,
    /// What runs tasks that name no handler.
    other: Option<Arc<dyn Execute>>,
}

/// What a handler may know of the step that it runs, and what makes it a durable function: [`step`](Self::step),
/// [`sleep`](Self::sleep), [`wait_signal`](Self::wait_signal), [`approval`](Self::approval).
#[derive(Clone)]
pub struct StepContext {
    task: TaskContext,
    pub(crate) journal: Arc<Journal>,
    idempotency_key: String,
    run_id: Option<String>,
    key: Option<String>,
    attempt: u32,
    model: Option<String>,
    isolation: Isolation,
}

/// How a task is to be executed: the worker said that it can, and whoever runs the task does it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Isolation {
    /// At least so much; none: none is asked for.
    pub sandbox: Option<SandboxLevel>,
    /// In this image.
    pub image: Option<String>,
    /// It may reach no more than this; none: nothing is said about that.
    pub network: Option<NetworkPolicy>,
}

/// Why a handler has no result.
///
/// Any error becomes one that may be tried again with `?`; [`fatal`](Self::fatal) makes one that is not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandlerError {
    text: String,
    fatal: bool,
}

impl HandlerError {
    /// Another attempt may do better.
    pub fn retryable(text: impl fmt::Display) -> Self {
        Self { text: text.to_string(), fatal: false }
    }

    /// Every other attempt would fail too.
    pub fn fatal(text: impl fmt::Display) -> Self {
        Self { text: text.to_string(), fatal: true }
    }

    /// Whether every other attempt would fail too.
    pub fn is_fatal(&self) -> bool {
        self.fatal
    }

    fn outcome(self) -> Outcome {
        match self.fatal {
            true => Outcome::FailedForGood(self.text),
            false => Outcome::Failed(self.text),
        }
    }
}

/// No `std::error::Error` itself, so that every error can become one.
impl<E: std::error::Error> From<E> for HandlerError {
    fn from(error: E) -> Self {
        Self::retryable(error)
    }
}

impl fmt::Display for HandlerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl StepContext {
    pub(crate) fn of(task: &Claimed, cx: TaskContext, journal: Arc<Journal>) -> Self {
        let step = task.step.as_ref();
        let of_step = step.map(|step| format!("{}/{}", step.workflow_run_id, step.key));
        Self {
            task: cx,
            journal,
            idempotency_key: of_step.unwrap_or_else(|| task.run_id.clone()),
            run_id: task.step.as_ref().map(|step| step.workflow_run_id.clone()),
            key: task.step.as_ref().map(|step| step.key.clone()),
            attempt: task.attempt,
            model: task.model.clone(),
            isolation: Isolation {
                sandbox: task.sandbox,
                image: task.image.clone(),
                network: task.network,
            },
        }
    }

    /// The id of the workflow's run; none for a task that is no step of one.
    pub fn run_id(&self) -> Option<&str> {
        self.run_id.as_deref()
    }

    /// Which step of the run it is: `draft`, or `refine[2]/draft` inside the second time of a loop.
    pub fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }

    /// Which attempt this is, from 1.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// The same on every attempt of the step, and when its run is retried: what is done elsewhere under this key is done once.
    pub fn idempotency_key(&self) -> &str {
        &self.idempotency_key
    }

    /// The model that the step asks for, by its canonical name.
    pub fn model(&self) -> Option<&str> {
        self.model.as_deref()
    }

    /// How the step is to be executed.
    pub fn isolation(&self) -> &Isolation {
        &self.isolation
    }

    /// Progress, and whether to stop.
    pub fn task(&self) -> &TaskContext {
        &self.task
    }
}

impl Handlers {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Registers a function under a name: it is given the step's input and answers its output. Input that does not fit is a
    /// failure that is not tried again.
    #[must_use]
    pub fn on<I, O, F, R>(self, name: impl Into<String>, run: F) -> Self
    where
        I: DeserializeOwned + Send + 'static,
        O: Serialize + Send + 'static,
        F: Fn(I, StepContext) -> R + Send + Sync + 'static,
        R: Future<Output = Result<O, HandlerError>> + Send,
    {
        self.with(name, Typed { run, types: std::marker::PhantomData })
    }

    /// Registers anything that runs tasks under a name.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, run: impl Execute) -> Self {
        self.by_name.insert(name.into(), Arc::new(run));
        self
    }

    /// What runs tasks that name no handler; without it they fail.
    #[must_use]
    pub fn otherwise(mut self, run: impl Execute) -> Self {
        self.other = Some(Arc::new(run));
        self
    }

    /// The handlers of both; where both have one of a name, the others' counts.
    #[must_use]
    pub fn and(mut self, others: Self) -> Self {
        self.by_name.extend(others.by_name);
        self.other = others.other.or(self.other);
        self
    }

    /// Their names: what the worker says when it registers.
    pub fn names(&self) -> Vec<String> {
        self.by_name.keys().cloned().collect()
    }
}

#[async_trait]
impl Execute for Handlers {
    async fn execute(&self, task: &Claimed, cx: TaskContext) -> Outcome {
        let found = match &task.handler {
            Some(name) => self.by_name.get(name),
            None => self.other.as_ref(),
        };
        match (found, &task.handler) {
            (Some(run), _) => run.execute(task, cx).await,
            (None, Some(name)) => Outcome::GiveBack(format!("this worker has no handler {name:?}")),
            (None, None) => {
                let why = "this worker runs tasks that name a handler; this one names none";
                Outcome::FailedForGood(why.to_owned())
            }
        }
    }
}

impl fmt::Debug for Handlers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.by_name.keys()).finish()
    }
}

struct Typed<F, I, O> {
    run: F,
    types: std::marker::PhantomData<fn(I) -> O>,
}

#[async_trait]
impl<I, O, F, R> Execute for Typed<F, I, O>
where
    I: DeserializeOwned + Send + 'static,
    O: Serialize + Send + 'static,
    F: Fn(I, StepContext) -> R + Send + Sync + 'static,
    R: Future<Output = Result<O, HandlerError>> + Send,
{
    async fn execute(&self, task: &Claimed, cx: TaskContext) -> Outcome {
        let input = match serde_json::from_value::<I>(task.payload.expose().clone()) {
            Ok(input) => input,
            Err(error) => {
                return Outcome::FailedForGood(format!("the input does not fit: {error}"));
            }
        };
        let journal = match Journal::open(task, cx.clone()).await {
            Ok(journal) => Arc::new(journal),
            Err(error) => return error.outcome(),
        };
        let run = (self.run)(input, StepContext::of(task, cx, journal.clone()));
        let ended = journal.run(run, |ended| match ended.map(serde_json::to_value) {
            Ok(Ok(value)) => Outcome::Completed(value),
            Ok(Err(error)) => Outcome::FailedForGood(format!("the output is no JSON: {error}")),
            Err(error) => error.outcome(),
        });
        ended.await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn task(handler: Option<&str>, payload: Value) -> Claimed {
        let mut task = json!({
            "run_id": "t", "org_id": "o", "pool": "p", "labels": {}, "payload": payload,
            "worker_id": "w", "claimed_at": "2026-01-01T00:00:00Z", "attempt": 2,
            "claim_token": "c", "lease_seconds": 60.0,
        });
        task["handler"] = handler.into();
        task["sandbox"] = "container".into();
        task["image"] = "python:3.12".into();
        task["network"] = "none".into();
        serde_json::from_value(task).unwrap()
    }

    #[tokio::test]
    async fn task_is_run_by_the_handler_that_it_names() {
        let handlers = Handlers::new()
            .on("double", |number: i64, cx: StepContext| async move {
                assert_eq!((cx.attempt(), cx.idempotency_key(), cx.run_id()), (2, "t", None));
                let image = Some("python:3.12".to_owned());
                let (sandbox, network) = (Some(SandboxLevel::Container), Some(NetworkPolicy::None));
                assert_eq!(*cx.isolation(), Isolation { sandbox, image, network });
                Ok(number * 2)
            })
            .on("nap", |(): (), cx: StepContext| async move {
                let kept: u32 = cx.step("one", || async { Ok(1) }).await?;
                cx.sleep(std::time::Duration::from_secs(1)).await?;
                Ok(kept)
            })
            .on("fail", |(): (), _cx: StepContext| async move {
                Err::<(), _>(HandlerError::retryable("not now"))
            });
        let table = [
            (Some("double"), json!(21), "Completed(42)"),
            (Some("double"), json!("x"), "FailedForGood"),
            (Some("fail"), json!(null), "Failed(not now)"),
            (Some("nap"), json!(null), "Suspended"),
            (Some("other"), json!(1), "GiveBack"),
            (None, json!(1), "FailedForGood"),
        ];
        for (handler, payload, expected) in table {
            let (cx, _stop) = TaskContext::detached();
            let said = match handlers.execute(&task(handler, payload.clone()), cx).await {
                Outcome::Completed(value) => format!("Completed({value})"),
                Outcome::Suspended(_) => "Suspended".to_owned(),
                Outcome::Failed(why) => format!("Failed({why})"),
                Outcome::FailedForGood(_) => "FailedForGood".to_owned(),
                Outcome::GiveBack(_) => "GiveBack".to_owned(),
            };
            assert_eq!(said, expected, "{handler:?} {payload}");
        }
    }
}
