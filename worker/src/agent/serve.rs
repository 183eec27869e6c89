//! Tasks that are answered by agents.

use std::time::Duration;

use async_trait::async_trait;
use fleetward_wire::tasks::Claimed;
use serde_json::Value;
use tokio::time::timeout;

use super::answer::Answer;
use super::call::{AgentCall, Input};
use super::context::{Respond, run_for};
use super::error::AgentError;
use crate::execute::{Execute, Outcome, TaskContext};

/// How long a task of agents may take unless it is told otherwise.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10 * 60);

/// Runs tasks whose payload is an [`AgentCall`], and hands all others to somebody else, if there is one.
///
/// The result is an [`Answer`]. Has to be run [`with_credentials`](super::with_credentials).
pub struct Agents {
    timeout: Duration,
    other: Option<Box<dyn Execute>>,
}

impl Agents {
    /// For agent calls alone: any other task fails for good.
    pub fn new() -> Self {
        Self { timeout: DEFAULT_TIMEOUT, other: None }
    }

    /// How long one call may take.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// What has no field `agent` is run by `other`.
    #[must_use]
    pub fn or(mut self, other: impl Execute) -> Self {
        self.other = Some(Box::new(other));
        self
    }
}

impl Default for Agents {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl Execute for Agents {
    async fn execute(&self, task: &Claimed, cx: TaskContext) -> Outcome {
        let payload = task.payload.expose();
        match &self.other {
            Some(other) if !AgentCall::is_meant(payload) => other.execute(task, cx).await,
            _ => called(payload, task.model.clone(), (self.timeout, &cx)).await,
        }
    }
}

/// The handler `agent`: what becomes of one [`AgentCall`], for whoever finds handlers by their names.
///
/// Has to be run [`with_credentials`](super::with_credentials). Whoever calls it sees to its time.
pub async fn call(payload: &Value, cx: &TaskContext) -> Outcome {
    called(payload, None, (Duration::MAX, cx)).await
}

async fn called(
    payload: &Value,
    task_model: Option<String>,
    within: (Duration, &TaskContext),
) -> Outcome {
    match AgentCall::read(payload) {
        Ok(AgentCall { agent, input }) => answer(&agent, &input, task_model, within).await,
        Err(bad) => AgentError::from(bad).into(),
    }
}

/// Tasks that are answered by `respond`: their payload is the input, or has it as its field `input`.
///
/// Has to be run [`with_credentials`](super::with_credentials).
pub fn handler(respond: impl Respond) -> Responder {
    Responder { respond: Box::new(respond), timeout: DEFAULT_TIMEOUT }
}

/// See [`handler`].
pub struct Responder {
    respond: Box<dyn Respond>,
    timeout: Duration,
}

impl Responder {
    /// How long one answer may take.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }
}

#[async_trait]
impl Execute for Responder {
    async fn execute(&self, task: &Claimed, cx: TaskContext) -> Outcome {
        let payload = task.payload.expose();
        let input = match payload.as_object() {
            Some(fields) if fields.len() == 1 => fields.get("input").unwrap_or(payload),
            _ => payload,
        };
        match Input::read(input) {
            Ok(input) => {
                answer(&*self.respond, &input, task.model.clone(), (self.timeout, &cx)).await
            }
            Err(bad) => AgentError::from(bad).into(),
        }
    }
}

async fn answer(
    respond: &dyn Respond,
    input: &Input,
    task_model: Option<String>,
    (limit, cx): (Duration, &TaskContext),
) -> Outcome {
    match timeout(limit, run_for(respond, input, task_model, cx)).await {
        Ok(answered) => answered.map_or_else(Outcome::from, Outcome::from),
        Err(_) => Outcome::Failed(format!("timed out after {limit:?}")),
    }
}

impl From<Answer> for Outcome {
    fn from(answer: Answer) -> Self {
        match serde_json::to_value(answer) {
            Ok(value @ Value::Object(_)) => Self::Completed(value),
            // Unreachable: all its keys are texts.
            _ => Self::Failed("the answer cannot be written as JSON".to_owned()),
        }
    }
}
