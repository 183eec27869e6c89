//! Durable functions as runs: started by the name of their handler, and what they have done so far.

use super::EXPLAINED;
use crate::error::{Error, Kind, Refusal};
use crate::fleet::dispatcher;
use crate::fleet::input;
use crate::fleet::task::history::History;
use crate::plane::operator::Operator;
use crate::system::org::Role;
use crate::workflows::definition::Definition;
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

impl Operator {
    /// The workflow whose runs are those of a durable function, by the name of its handler. It is made, of that one step, unless
    /// there is one: that may say more, about retries or where it runs.
    ///
    /// # Errors
    /// When another workflow has its name.
    pub async fn workflow_of_function(&self, handler: &str) -> Result<String, Error> {
        self.may(Role::Operator)?;
        input::name("function", handler)?;
        let definition = Definition::of_function(handler);
        let workflow = definition.name.clone();
        match self.cell().await?.workflows.shelf.get(&workflow) {
            None => drop(self.apply_workflow(definition).await?),
            Some(known) if known.definition.is_function(handler) => {}
            Some(_) => {
                let detail = format!(
                    "the workflow {workflow:?} is not the function {handler:?} alone; apply a workflow of another name with \
                     that step, and start it"
                );
                return Err(Refusal::new(Kind::Conflict, "not_a_function", detail).into());
            }
        }
        Ok(workflow)
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
