//! What surrounds an agent while it answers: the worker's credentials, and how its words become progress.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use fleetward_wire::tasks::Claimed;
use serde_json::json;
use tokio::sync::watch;
use tokio::time::Instant;

use super::answer::Answer;
use super::call::{Agent, Input};
use super::credentials::WorkerCredentials;
use super::error::AgentError;
use super::models::Models;
use crate::execute::{Execute, Outcome, TaskContext};
use crate::progress::{Said, relay};

/// How much of an answer is shown while it comes, from its end, in bytes.
const SHOWN: usize = 4 * 1024;
/// How often it is looked at: more often than words of progress go out, less often than tokens come in.
const LOOK_EVERY: Duration = Duration::from_millis(250);

tokio::task_local! {
    static MODELS: Arc<Models>;
}

/// The credentials of the worker that runs this task, for a handler that calls models by itself; `None` where the
/// worker has none ([`with_credentials`]), and in tasks of tokio's that the handler spawned.
pub fn worker_credentials() -> Option<Arc<WorkerCredentials>> {
    MODELS.try_with(|models| models.credentials().clone()).ok()
}

/// Lets the tasks that `execute` runs ask the models of these credentials.
///
/// # Errors
/// Where there can be no HTTP client.
pub fn with_credentials<X: Execute>(
    execute: X,
    credentials: WorkerCredentials,
) -> Result<WithCredentials<X>, AgentError> {
    Ok(WithCredentials { execute, models: Arc::new(Models::of(credentials)?) })
}

/// See [`with_credentials`].
pub struct WithCredentials<X> {
    execute: X,
    models: Arc<Models>,
}

#[async_trait]
impl<X: Execute> Execute for WithCredentials<X> {
    async fn execute(&self, task: &Claimed, cx: TaskContext) -> Outcome {
        MODELS.scope(self.models.clone(), self.execute.execute(task, cx)).await
    }
}

/// Answers: an [`Agent`], several of them in one of the patterns of [`compose`](super::compose), or anything else.
#[async_trait]
pub trait Respond: Send + Sync + 'static {
    /// What it is called, in progress and in results.
    fn name(&self) -> &str;

    /// Its answer. It is dropped when the task is stopped.
    async fn respond(&self, input: &Input, cx: &AgentContext) -> Result<Answer, AgentError>;
}

#[async_trait]
impl Respond for Agent {
    fn name(&self) -> &str {
        if self.name.is_empty() { "agent" } else { &self.name }
    }

    async fn respond(&self, input: &Input, cx: &AgentContext) -> Result<Answer, AgentError> {
        self.check()?;
        let target = cx.models.credentials().target(self, cx.task_model.as_deref())?;
        let mut speech = Speech::of(self.name(), cx);
        cx.models.ask(&target, self.system.as_deref(), input, &mut |text| speech.push(text)).await
    }
}

/// What an agent knows of the task that it answers in.
pub struct AgentContext {
    models: Arc<Models>,
    task_model: Option<String>,
    said: watch::Sender<Option<Said>>,
}

/// The answer of `respond`, to be called in a task's handler: its words become the task's progress, and it ends when the
/// task is stopped. Agents that name no model get the worker's default.
///
/// # Errors
/// As the agents say; [`AgentError::Refused`] where the worker has no credentials.
pub async fn run(
    respond: &dyn Respond,
    input: &Input,
    cx: &TaskContext,
) -> Result<Answer, AgentError> {
    run_for(respond, input, None, cx).await
}

/// The same in a task that was submitted for a model.
pub(super) async fn run_for(
    respond: &dyn Respond,
    input: &Input,
    task_model: Option<String>,
    cx: &TaskContext,
) -> Result<Answer, AgentError> {
    let models = MODELS.try_with(Arc::clone);
    let models =
        models.map_err(|_| AgentError::refused("this worker has no credentials for models"))?;
    let (said, newest) = watch::channel(None);
    let context = AgentContext { models, task_model, said };
    let told = async {
        relay(newest, cx).await;
        std::future::pending::<()>().await;
    };
    tokio::select! {
        biased;
        answer = respond.respond(input, &context) => answer,
        _ = cx.cancelled() => Err(AgentError::Stopped),
        () = told => Err(AgentError::Stopped),
    }
}

/// What one agent says while it says it.
struct Speech<'a> {
    agent: &'a str,
    said: &'a watch::Sender<Option<Said>>,
    /// What is shown: the end of it.
    tail: String,
    /// All of it, in bytes.
    length: usize,
    shown_at: Option<Instant>,
}

impl<'a> Speech<'a> {
    fn of(agent: &'a str, cx: &'a AgentContext) -> Self {
        Self { agent, said: &cx.said, tail: String::new(), length: 0, shown_at: None }
    }

    fn push(&mut self, text: &str) {
        self.tail.push_str(text);
        self.length += text.len();
        if self.tail.len() > SHOWN {
            let from = self.tail.ceil_char_boundary(self.tail.len() - SHOWN);
            self.tail.drain(..from);
        }
        if self.shown_at.is_none_or(|at| at.elapsed() >= LOOK_EVERY) {
            self.shown_at = Some(Instant::now());
            let data = json!({"agent": self.agent, "text": self.tail, "bytes": self.length});
            self.said.send_replace(Some(Said { percent: None, data }));
        }
    }
}

/// Runs a future as a handler runs that has these credentials.
#[cfg(test)]
pub(super) async fn with_models<R>(
    credentials: WorkerCredentials,
    future: impl Future<Output = R>,
) -> R {
    MODELS.scope(Arc::new(Models::of(credentials).unwrap()), future).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_is_shown_of_an_answer_is_its_end_and_not_every_token() {
        let (said, newest) = watch::channel(None);
        let mut speech =
            Speech { agent: "a", said: &said, tail: String::new(), length: 0, shown_at: None };

        speech.push("first");
        speech.push(" second");
        let at_once = newest.borrow().clone().unwrap().data;
        tokio::time::advance(LOOK_EVERY).await;
        speech.push(&"é".repeat(SHOWN));
        let later = newest.borrow().clone().unwrap().data;

        assert_eq!(at_once, json!({"agent": "a", "text": "first", "bytes": 5}));
        assert_eq!(later["text"], "é".repeat(SHOWN / 2));
        assert_eq!(later["bytes"], 12 + 2 * SHOWN);
    }
}
