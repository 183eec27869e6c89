//! Running workflows of this program: workers in this process that have its handlers, and handles of runs.

use std::marker::PhantomData;
use std::time::Duration;

use fleetward_actors::id::RunId;
use fleetward_actors::plane::{Against, Enrollment, NewRunStart, Replayed};
use fleetward_actors::workflows::run::{Key, Phase, Run, Wait};
use fleetward_actors::{ControlPlane, Error, Operator};
use fleetward_worker::{Handlers, Worker, WorkerOptions};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

use super::Workflow;
use crate::in_process::{InProcess, Running};

/// How long one look for the end of a run waits.
const LOOK: Duration = Duration::from_secs(20);

/// Why a run has no result.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// It failed: retry it from there, or discard it.
    #[error("the run failed{}: {code}{}", at(.node), told(.text))]
    Failed {
        /// At which node.
        node: Option<String>,
        /// Why, as a stable code.
        code: String,
        /// Why, in words.
        text: Option<String>,
    },
    /// Somebody ended it.
    #[error("the run was {0}")]
    Ended(&'static str),
    /// The input or the output is no JSON, or not of this type.
    #[error("what flows does not fit: {0}")]
    Shape(#[from] serde_json::Error),
    /// What is sealed of it does not open.
    #[error("the result cannot be read: {0}")]
    Unreadable(String),
    /// The control plane refused, or is not available.
    #[error(transparent)]
    Plane(#[from] Error),
}

fn at(node: &Option<String>) -> String {
    node.as_ref().map_or(String::new(), |node| format!(" at {node}"))
}

fn told(text: &Option<String>) -> String {
    text.as_ref().map_or(String::new(), |text| format!(": {text}"))
}

/// A run that was started.
pub struct RunHandle<O> {
    operator: Operator,
    id: RunId,
    types: PhantomData<fn() -> O>,
}

/// Workers in this process that run steps.
#[derive(Debug)]
pub struct Workers(Running);

impl Workers {
    /// Enrols and approves a worker of the operator's organisation that has these handlers, and runs it in this process.
    ///
    /// # Errors
    /// When the organisation does not take it.
    pub async fn start(
        plane: &ControlPlane,
        operator: &Operator,
        name: &str,
        seats: u32,
        handlers: &Handlers,
    ) -> Result<Self, Error> {
        let enrollment = Enrollment {
            name: name.to_owned(),
            max_concurrent: seats,
            handlers: handlers.names(),
            ..Enrollment::default()
        };
        let transport = InProcess::join(plane, operator, enrollment).await?;
        let options = WorkerOptions { seats: seats as usize, ..WorkerOptions::default() };
        let stop = CancellationToken::new();
        let worker = Worker::new(transport, handlers.clone(), options);
        let ended = tokio::spawn(worker.run(stop.clone()));
        Ok(Self(Running::new(stop, ended)))
    }

    /// Claims nothing more and lets running steps end.
    pub async fn stop(self) {
        self.0.stop().await;
    }
}

impl<I: Serialize, O: DeserializeOwned> Workflow<I, O> {
    /// Starts a run: under a name, starting again starts once. The definition is applied where it is not yet.
    ///
    /// # Errors
    /// When the control plane refuses.
    pub async fn start(
        &self,
        operator: &Operator,
        run_id: Option<&str>,
        input: &I,
    ) -> Result<RunHandle<O>, RunError> {
        let applied = operator.apply_workflow(self.definition().clone()).await?;
        let run_id = run_id.map(str::parse).transpose().map_err(|bad| {
            let bad: fleetward_actors::id::BadRunId = bad;
            let refusal = fleetward_actors::Refusal::invalid("invalid_run_id", bad.to_string());
            RunError::Plane(refusal.into())
        })?;
        let new = NewRunStart {
            workflow: self.definition().name.clone(),
            version: Some(applied.latest.clone()),
            run_id,
            input: serde_json::to_vec(input)?.into(),
            ..NewRunStart::default()
        };
        let started = operator.start_run(new).await?;
        Ok(RunHandle { operator: operator.clone(), id: started.run, types: PhantomData })
    }

    /// Whether the history of a run fits this program: what a change to it would have done otherwise. Changes nothing.
    ///
    /// # Errors
    /// When there is no such run, or it is of another workflow.
    pub async fn replay(&self, operator: &Operator, run: &RunId) -> Result<Replayed, RunError> {
        let against = Against::Definition(Box::new(self.definition().clone()));
        Ok(operator.replay_run(run, against, None).await?)
    }

    /// Starts a run and waits for its result.
    ///
    /// # Errors
    /// When the control plane refuses, or the run has no result.
    pub async fn run(&self, operator: &Operator, input: &I) -> Result<O, RunError> {
        self.start(operator, None, input).await?.result().await
    }
}

impl<O: DeserializeOwned> RunHandle<O> {
    /// The id of the run.
    pub fn id(&self) -> &RunId {
        &self.id
    }

    /// The run as it is now.
    ///
    /// # Errors
    /// When the control plane is not available.
    pub async fn state(&self) -> Result<Run, RunError> {
        Ok(self.operator.run(&self.id).await?.run)
    }

    /// The handle of a run that was started before, by this program or another: with the rights of this caller.
    pub fn of(operator: &Operator, id: RunId) -> Self {
        Self { operator: operator.clone(), id, types: PhantomData }
    }

    /// Waits until the gate of this name is open, and says whether it is: the run may end before.
    ///
    /// # Errors
    /// When the control plane is not available.
    pub async fn gate_opens(&self, gate: &str) -> Result<bool, RunError> {
        let mut past = 0;
        loop {
            let run = self.operator.run_past(&self.id, past, LOOK).await?.run;
            let open = |(key, wait): (&Key, &Wait)| {
                matches!(wait, Wait::Gate(_)) && (key.node() == gate || key.as_str() == gate)
            };
            if run.waits.iter().any(open) {
                return Ok(true);
            }
            if run.is_closed() {
                return Ok(false);
            }
            past = run.updated;
        }
    }

    /// Waits for the end of the run, however long it takes.
    ///
    /// # Errors
    /// When it has no result.
    pub async fn result(&self) -> Result<O, RunError> {
        loop {
            let seen = self.operator.run_when_closed(&self.id, LOOK).await?;
            let opened = || {
                let opened = seen.result.as_ref().map(|sealed| sealed.open());
                opened.transpose().map_err(|error| RunError::Unreadable(error.to_string()))
            };
            match &seen.run.phase {
                Phase::Running | Phase::Paused => {}
                Phase::Completed { .. } => {
                    let output = opened()?.unwrap_or_default();
                    return Ok(serde_json::from_slice(&output)?);
                }
                Phase::Failed { key, code, .. } => {
                    let text = opened()?;
                    let text = text.map(|text| String::from_utf8_lossy(&text).into_owned());
                    let node = key.as_ref().map(ToString::to_string);
                    return Err(RunError::Failed { node, code: code.clone(), text });
                }
                Phase::Cancelled { .. } => return Err(RunError::Ended("cancelled")),
                Phase::Discarded { .. } => return Err(RunError::Ended("discarded")),
                Phase::Deleted => return Err(RunError::Ended("deleted")),
            }
        }
    }

    /// Approves the gate of this name.
    ///
    /// # Errors
    /// When it is not open, or the caller may not.
    pub async fn approve(&self, gate: &str, reason: Option<&str>) -> Result<(), RunError> {
        let why = (reason.map(str::to_owned), None);
        self.operator.decide_gate(&self.id, gate, true, why).await?;
        Ok(())
    }

    /// Rejects the gate of this name.
    ///
    /// # Errors
    /// When it is not open, or the caller may not.
    pub async fn reject(&self, gate: &str, reason: Option<&str>) -> Result<(), RunError> {
        let why = (reason.map(str::to_owned), None);
        self.operator.decide_gate(&self.id, gate, false, why).await?;
        Ok(())
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// When the run is closed.
    pub async fn signal(&self, name: &str, payload: &impl Serialize) -> Result<(), RunError> {
        let payload = serde_json::to_vec(payload)?.into();
        self.operator.signal_run(&self.id, name, payload).await?;
        Ok(())
    }
}
