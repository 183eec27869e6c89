//! Durable functions as runs: started by the name of their handler, and what they have done so far.

use super::EXPLAINED;
use crate::error::{Error, Kind, Refusal};
use crate::fleet::dispatcher;
use crate::fleet::input;
use crate::fleet::task::history::History;
use crate::plane::operator::Operator;
use crate::system::org::Role;
use crate::workflows::definition::{Definition, Invalid, Step};
use crate::workflows::run::{Key, Run};

/// A step that is a durable function and has not ended.
#[derive(Debug, Clone)]
pub struct FunctionState {
    /// Which step.
    pub key: Key,
    /// Whether it waits, on no worker.
    pub suspended: bool,
    /// What it has done.
    pub history: History,
}

/// What one start of a durable function says of its step. What is not said is as its workflow says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FunctionOptions {
    /// How often a failed attempt is tried again, at most 99 times.
    pub retries: Option<u32>,
    /// Longest wait before the first retry, in milliseconds; at most a day.
    pub retry_delay_ms: Option<u64>,
    /// How long one attempt may take, in milliseconds.
    pub timeout_ms: Option<u64>,
    /// The pool whose workers run it.
    pub pool: Option<String>,
}

impl FunctionOptions {
    fn apply(&self, step: &mut Step) {
        let retry = &mut step.retry;
        if let Some(retries) = self.retries {
            retry.max_attempts = retries.saturating_add(1);
        }
        if let Some(delay) = self.retry_delay_ms {
            (retry.initial_ms, retry.max_ms) = (delay, retry.max_ms.max(delay));
        }
        step.timeout_ms = self.timeout_ms.or(step.timeout_ms);
        step.routing.pool = self.pool.clone().or(step.routing.pool.take());
    }
}

impl Operator {
    /// The workflow whose runs are those of a durable function, by the name of its handler, and the version for these options:
    /// none, where nothing is said. The workflow is made, of that one step, unless there is one: that may say more, and what it
    /// says counts where the options say nothing.
    ///
    /// # Errors
    /// When another workflow has its name, or the options make no sense.
    pub async fn workflow_of_function(
        &self,
        handler: &str,
        options: &FunctionOptions,
    ) -> Result<(String, Option<String>), Error> {
        self.may(Role::Operator)?;
        input::name("function", handler)?;
        let mut definition = Definition::of_function(handler);
        let workflow = definition.name.clone();
        match self.cell().await?.workflows.shelf.get(&workflow) {
            None => drop(self.apply_workflow(definition.clone()).await?),
            Some(known) => definition = Definition::clone(&known.definition),
        }
        let Some(step) = definition.function(handler) else {
            let detail = format!(
                "the workflow {workflow:?} is not the function {handler:?} alone; apply a workflow of another name with \
                 that step, and start it"
            );
            return Err(Refusal::new(Kind::Conflict, "not_a_function", detail).into());
        };
        if *options == FunctionOptions::default() {
            return Ok((workflow, None));
        }
        options.apply(step);
        if let Err(wrong) = definition.check() {
            let said = |wrong: &Invalid| wrong.to_string().replace("steps[0].", "");
            let said: Vec<_> = wrong.iter().map(said).collect();
            return Err(Refusal::invalid("invalid_options", said.join("; ")).into());
        }
        let version = definition.version();
        self.apply_version(definition, true).await?;
        Ok((workflow, Some(version)))
    }

    /// What the durable functions of a run have done that have not ended: the first of those that run now, and all that wait.
    ///
    /// # Errors
    /// When the organisation is not available.
    pub async fn functions(&self, run: &Run) -> Result<Vec<FunctionState>, Error> {
        let mut found = Vec::new();
        for key in run.functions.keys().filter(|key| !run.scheduled.contains_key(*key)) {
            let history = run.history_of(key).into_iter().collect();
            found.push(FunctionState { key: key.clone(), suspended: !run.is_closed(), history });
        }
        let dispatcher = self.cell().await?.dispatcher;
        let within = self.plane.shared.config.answer_within;
        for (key, step) in run.scheduled.iter().take(EXPLAINED) {
            let task = step.task;
            let look = |reply| dispatcher::Message::Look { task, reply };
            let known = dispatcher.call(within, look).await?;
            let function = known.and_then(|task| task.function);
            let history = function.map(|function| function.history);
            let running = |history| FunctionState { key: key.clone(), suspended: false, history };
            found.extend(history.map(running));
        }
        Ok(found)
    }
}
