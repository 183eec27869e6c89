//! What is done about a run that has ended: it is held against what it should have come to, tried again, forked.

use fleetward_actors::workflows::conductor::Remedy;
use fleetward_actors::workflows::run::{Outcome, Phase};
use serde_json::Value;

use super::Stage;
use crate::fixture::code;
use crate::model::definitions::{Reference, plain};

impl Stage<'_> {
    /// Lets the run end, and holds it against what it should come to.
    pub(in crate::model) async fn comes_to(&mut self, expected: &Reference) {
        let run = self.finish().await;
        let result = match &run.phase {
            Phase::Completed { .. } => Ok(plain(&self.plane.only_output(&self.run).await)),
            _ => Err(()),
        };
        assert_eq!(result, expected.result, "{run:?}");
        self.plane.fits(&self.run).await;
    }

    /// Somebody mends what was wrong, and the run goes on from where it failed.
    pub(in crate::model) async fn retry(&mut self) {
        self.script.mended = true;
        // What it had not heard of when it failed is done again: it wanted none of it any more.
        let failed = self.plane.operator.run(&self.run).await.unwrap().run;
        let completed = |key: &str| {
            let mut done = failed.done.iter().filter(|(at, _)| at.as_str() == key);
            done.any(|(_, done)| matches!(done.outcome, Outcome::Completed { .. }))
        };
        self.done.retain(|(run, key), _| *run != failed.id || completed(key));
        let retried = self.plane.operator.amend_run(&self.run, Remedy::Retry).await;
        assert_eq!(code(retried), "ok");
        self.tell().await;
    }

    /// Somebody mends what was wrong, and another run goes on from a node of this one.
    pub(in crate::model) async fn fork(&mut self, node: &str, input: Option<&Value>) {
        self.script.mended = true;
        let id = "f".parse().unwrap();
        let input = input.map(|input| input.to_string().into());
        let operator = &self.plane.operator;
        let forked = operator.fork_run(&self.run, node, Some(id), input).await.unwrap();
        self.run = forked.run.clone();
        self.mine.insert(forked.run);
        self.tell().await;
    }
}
