//! Between tasks as the wire shows them and tasks as the control plane knows them.

use bytes::Bytes;
use fleetward_actors::Refusal;
use fleetward_actors::fleet::task::{
    AFFINITY_DEFAULT_MS, Affinity, Condition, Failure, Handling, Mode, Network, Operator,
    PRIORITY_DEFAULT, Phase, Retry, Sandbox, Task,
};
use fleetward_actors::id::WorkerId;
use fleetward_actors::plane::{Envelope, NewSubmit, TaskView};
use fleetward_wire::tasks::{
    ClaimedStep, ExecutionMode, LabelCondition, LabelOperator, ProgressView, RetryPolicy,
    TaskStatus, TaskSubmit, TaskView as Wire,
};
use fleetward_wire::workers::{NetworkPolicy, SandboxLevel};
use fleetward_wire::{Raw, Secret};
use serde_json::Value;

use crate::problem::Problem;
use crate::times::{micros, rfc3339};
use crate::translate::Json as _;

/// A submit, as the control plane takes it.
pub(super) fn new_submit(
    asked: TaskSubmit<Raw>,
    project: Option<&str>,
) -> Result<NewSubmit, Refusal> {
    let handling = Handling {
        priority: asked.priority.unwrap_or(PRIORITY_DEFAULT),
        not_before: time("not_before", asked.not_before.as_deref())?,
        deadline: time("deadline", asked.deadline.as_deref())?,
        timeout_ms: asked.timeout_seconds.map(timeout).transpose()?,
        retry: asked.retry.map(retry).transpose()?.unwrap_or_default(),
        spread: asked.spread,
        affinity: affinity(asked.affinity, asked.affinity_seconds)?,
    };
    let (said, mode) = (asked.sandbox.map(sandbox), asked.mode.map(mode));
    if let Some(wrong) = mode.and_then(|mode| mode.wrong(said)) {
        return Err(Refusal::invalid("invalid_mode", wrong));
    }
    Ok(NewSubmit {
        project: project.map(str::to_owned),
        pool: asked.pool,
        model: asked.model,
        labels: asked.labels,
        selector: asked.selector.into_iter().map(condition).collect(),
        sandbox: said.unwrap_or_default(),
        mode,
        image: asked.image,
        handler: asked.handler,
        network: asked.network.map(network),
        worker: asked.worker_id.as_deref().map(worker).transpose()?,
        handling,
        payload: asked.payload.expose().stored("payload")?,
        idempotency_key: asked.idempotency_key,
    })
}

fn time(field: &str, text: Option<&str>) -> Result<Option<i64>, Refusal> {
    let read = |text| {
        let detail = format!("{field} must be a time of RFC 3339, as 2026-01-31T12:00:00Z");
        micros(text).ok_or_else(|| Refusal::invalid("invalid_time", detail))
    };
    text.map(read).transpose()
}

fn timeout(seconds: f64) -> Result<u64, Refusal> {
    if (0.001..=1e9).contains(&seconds) {
        return Ok((seconds * 1_000.0) as u64);
    }
    let detail = "timeout_seconds must be between 0.001 and 1000000000";
    Err(Refusal::invalid("invalid_timeout", detail))
}

fn affinity(key: Option<String>, seconds: Option<f64>) -> Result<Option<Box<Affinity>>, Refusal> {
    let wait_ms = match seconds {
        None => AFFINITY_DEFAULT_MS,
        Some(seconds) if key.is_some() && (0.001..=300.0).contains(&seconds) => {
            (seconds * 1_000.0) as u64
        }
        Some(_) => {
            let detail = "affinity_seconds goes with affinity, and is more than 0 and 300 at most";
            return Err(Refusal::invalid("invalid_affinity", detail));
        }
    };
    Ok(key.map(|key| Box::new(Affinity { key, wait_ms })))
}

fn retry(asked: RetryPolicy) -> Result<Retry, Refusal> {
    let numbers = [asked.initial_seconds, asked.factor, asked.max_seconds];
    if numbers.iter().any(|number| !(0.0..=1e9).contains(number)) {
        let detail = "the numbers of retry must not be negative";
        return Err(Refusal::invalid("invalid_retry", detail));
    }
    Ok(Retry {
        max_attempts: asked.max_attempts,
        initial_ms: (asked.initial_seconds * 1_000.0) as u64,
        factor_percent: (asked.factor * 100.0) as u32,
        max_ms: (asked.max_seconds * 1_000.0) as u64,
    })
}

fn condition(asked: LabelCondition) -> Condition {
    let operator = match asked.operator {
        LabelOperator::In => Operator::In,
        LabelOperator::NotIn => Operator::NotIn,
        LabelOperator::Exists => Operator::Exists,
        LabelOperator::NotExists => Operator::NotExists,
    };
    Condition { key: asked.key, operator, values: asked.values.into_iter().collect() }
}

fn mode(asked: ExecutionMode) -> Mode {
    match asked {
        ExecutionMode::Bare => Mode::Bare,
        ExecutionMode::Sandboxed => Mode::Sandboxed,
        ExecutionMode::Identity => Mode::Identity,
        ExecutionMode::Agent => Mode::Agent,
        ExecutionMode::AgentJit => Mode::AgentJit,
    }
}

/// A level of isolation, as the control plane knows it.
pub(super) fn sandbox(asked: SandboxLevel) -> Sandbox {
    match asked {
        SandboxLevel::None => Sandbox::None,
        SandboxLevel::Process => Sandbox::Process,
        SandboxLevel::Container => Sandbox::Container,
        SandboxLevel::Vm => Sandbox::Vm,
    }
}

/// A network policy, as the control plane knows it.
pub(super) fn network(asked: NetworkPolicy) -> Network {
    match asked {
        NetworkPolicy::None => Network::None,
        NetworkPolicy::Restricted => Network::Restricted,
        NetworkPolicy::Open => Network::Open,
    }
}

/// The id of a worker that a body names.
pub(super) fn worker(text: &str) -> Result<WorkerId, Refusal> {
    text.parse().map_err(|_| Refusal::invalid("invalid_worker_id", "worker_id must be an id"))
}

/// A task for the wire.
pub(super) fn view(view: TaskView) -> Result<Wire, Problem> {
    let TaskView { task, result } = view;
    let (status, reported_at) = standing(&task);
    let (output, error) = result_of(&task, result)?;
    // Nobody has a task that waits, whoever had it before.
    let claimed = task.attempt.as_ref().filter(|_| task.phase != Phase::Waiting);
    Ok(Wire {
        run_id: task.id.to_string(),
        status,
        project_id: task.wants.project.clone(),
        pool: task.wants.pool.clone(),
        model: task.wants.model.clone(),
        labels: task.wants.labels.clone(),
        worker_id: claimed.map(|attempt| attempt.worker.to_string()),
        claimed_at: claimed.map(|attempt| rfc3339(attempt.claimed_at)),
        attempt: task.attempts(),
        error,
        output,
        reported_at: reported_at.map(rfc3339),
        created_at: rfc3339(task.submitted_at),
        priority: task.handling.priority,
        not_before: task.ready_at.map(rfc3339),
        deadline: task.handling.deadline.map(rfc3339),
        step: task.step.as_ref().map(|step| ClaimedStep {
            workflow_run_id: step.run.to_string(),
            key: step.key.to_string(),
        }),
        failures: task.failures,
        reason: match task.phase {
            Phase::Failed { why, .. } => Some(why.as_str().to_owned()),
            _ => None,
        },
        error_group: task.error_group.clone(),
        progress: task.progress.as_ref().map(|progress| ProgressView {
            at: rfc3339(progress.at),
            percent: progress.percent,
            data: None,
        }),
    })
}

/// Where a task stands, and since when it is closed.
pub(super) fn standing(task: &Task) -> (TaskStatus, Option<i64>) {
    match task.phase {
        Phase::Waiting => (TaskStatus::Pending, None),
        Phase::Leased => (TaskStatus::Claimed, None),
        Phase::Completed { at } => (TaskStatus::Completed, Some(at)),
        Phase::Failed { at, .. } => (TaskStatus::Failed, Some(at)),
        Phase::Suspended { at } => (TaskStatus::Suspended, Some(at)),
        Phase::Cancelled { at } => (TaskStatus::Cancelled, Some(at)),
        Phase::Discarded { at } => (TaskStatus::Discarded, Some(at)),
        Phase::Deleted => (TaskStatus::Deleted, None),
    }
}

type Ends = (Option<Secret<Value>>, Option<Secret>);

/// The output of a completed task, the error text of a failed one.
fn result_of(task: &Task, result: Option<Envelope>) -> Result<Ends, Problem> {
    let opened = result.map(|sealed| opened(&task.id.to_string(), &sealed)).transpose()?;
    let text = || opened.as_ref().map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    Ok(match &task.phase {
        // The error of the attempt before, which failed and is tried again.
        Phase::Waiting | Phase::Leased => (None, text().map(Secret::new)),
        Phase::Cancelled { .. } | Phase::Suspended { .. } | Phase::Deleted => (None, None),
        Phase::Discarded { .. } => (None, text().map(Secret::new)),
        Phase::Completed { .. } => (opened.as_deref().map(Value::read).map(Secret::new), None),
        Phase::Failed { why: Failure::Reported, .. } => (None, text().map(Secret::new)),
        Phase::Failed { why: Failure::AttemptsExhausted, .. } => {
            let attempts = task.attempts();
            let error = format!("given up: {attempts} attempts ended without a report");
            (None, Some(Secret::new(error)))
        }
        Phase::Failed { why: Failure::TimedOut, .. } => {
            let error = "given up: its last attempt took too long".to_owned();
            (None, Some(Secret::new(error)))
        }
        Phase::Failed { why: Failure::DeadlineExceeded, .. } => {
            let error = "given up: it was not done by its deadline".to_owned();
            (None, Some(Secret::new(error)))
        }
    })
}

/// What is sealed of a task.
pub(super) fn opened(task: &str, sealed: &Envelope) -> Result<Bytes, Problem> {
    sealed.open().map_err(|error| {
        let id = uuid::Uuid::now_v7().to_string();
        tracing::error!(%id, %error, task, "what is sealed of a task cannot be opened");
        Problem::internal(&id)
    })
}
