//! What tasks and child runs were given, by the digests on record. Pure.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value;

use crate::id::{RunId, TaskId};
use crate::seal::CellKey;
use crate::workflows::run::Scheduled;

/// What the record says of the tasks and children of a run: what they were given. What is not here is not compared.
#[derive(Debug, Clone, Default)]
pub struct Recorded {
    /// Handler and digest of the payload, by task.
    pub tasks: HashMap<TaskId, (Option<String>, String)>,
    /// Workflow and digest of the input, by child run.
    pub children: HashMap<RunId, (String, String)>,
}

impl Recorded {
    /// What is wrong with what a step was given.
    pub(super) fn step(
        &self,
        step: &Scheduled,
        (handler, input): (Option<&String>, &Arc<Value>),
        key: &CellKey,
    ) -> Option<String> {
        let (had, digest) = self.tasks.get(&step.task)?;
        if had.as_ref() != handler {
            let named = |handler: Option<&String>| match handler {
                Some(handler) => format!("the handler {handler}"),
                None => "any handler".to_owned(),
            };
            let (had, wanted) = (named(had.as_ref()), named(handler));
            return Some(format!("it was for {had}, and was to be for {wanted}"));
        }
        other_input(input, digest, key)
    }

    /// What is wrong with what a child run was given.
    pub(super) fn child(
        &self,
        run: &RunId,
        (workflow, input): (&String, &Arc<Value>),
        key: &CellKey,
    ) -> Option<String> {
        let (had, digest) = self.children.get(run)?;
        if had != workflow {
            return Some(format!("it was of {had}, and was to be of {workflow}"));
        }
        other_input(input, digest, key)
    }
}

fn other_input(input: &Value, digest: &str, key: &CellKey) -> Option<String> {
    let bytes = serde_json::to_vec(input).expect("JSON is written as JSON");
    (key.digest(&bytes) != digest).then(|| "it was to be given another input".to_owned())
}
