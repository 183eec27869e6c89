//! Tasks as operators see them: submitted, looked at, listed.

use std::time::Duration;

use axum::Json as Answer;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};
use fleetward_actors::Refusal;
use fleetward_actors::fleet::task::{Failure, Phase, Task};
use fleetward_actors::id::TaskId;
use fleetward_actors::plane::{NewSubmit, Receipt, TaskView};
use fleetward_actors::seal::Sealed;
use fleetward_wire::tasks::{
    SubmitResult, TaskList, TaskQuery, TaskStatus, TaskSubmit, TaskSubmitMany, TaskSubmitted,
    TaskView as Wire, TasksSubmitted,
};
use fleetward_wire::{Raw, Secret};
use serde::Deserialize;
use serde_json::Value;

use crate::auth::{InOrg, text};
use crate::edge::Edge;
use crate::extract::{Json, Params, PathId, page};
use crate::problem::Problem;
use crate::routes::worker_protocol::wait;
use crate::times::rfc3339;
use crate::translate::Json as _;

/// Says that a submit was answered from what was submitted before under its key.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// Submits a task. Once this is answered, it is durable.
pub(super) async fn submit(
    InOrg(operator): InOrg,
    headers: HeaderMap,
    Json { value: asked, .. }: Json<TaskSubmit<Raw>>,
) -> Result<Response, Problem> {
    let mut new = new_submit(asked, text(&headers, "x-project-id")?)?;
    if let Some(key) = text(&headers, "idempotency-key")? {
        new.idempotency_key = Some(key.to_owned());
    }
    let receipt = operator.submit(new).await?;
    let mut response = (StatusCode::CREATED, Answer(submitted(&receipt))).into_response();
    if receipt.repeated {
        response.headers_mut().insert(REPLAYED, axum::http::HeaderValue::from_static("true"));
    }
    Ok(response)
}

/// Submits many tasks, each with an answer of its own. Once this is answered, they are durable.
pub(super) async fn submit_many(
    InOrg(operator): InOrg,
    headers: HeaderMap,
    Json { value: asked, .. }: Json<TaskSubmitMany<Raw>>,
) -> Result<Answer<TasksSubmitted>, Problem> {
    let project = text(&headers, "x-project-id")?;
    let mut results: Vec<Option<SubmitResult>> = Vec::with_capacity(asked.tasks.len());
    let mut good = Vec::with_capacity(asked.tasks.len());
    for task in asked.tasks {
        results.push(match new_submit(task, project) {
            Ok(new) => {
                good.push(new);
                None
            }
            Err(refusal) => Some(refused(&refusal.into())),
        });
    }
    let mut said = operator.submit_many(good).await?.into_iter();
    let result = |result: Option<SubmitResult>| {
        result.or_else(|| {
            Some(match said.next()? {
                Ok(receipt) => {
                    let task = Some(submitted(&receipt));
                    SubmitResult { status: StatusCode::CREATED.as_u16(), task, problem: None }
                }
                Err(error) => refused(&error.into()),
            })
        })
    };
    Ok(Answer(TasksSubmitted { results: results.into_iter().filter_map(result).collect() }))
}

fn new_submit(asked: TaskSubmit<Raw>, project: Option<&str>) -> Result<NewSubmit, Refusal> {
    Ok(NewSubmit {
        project: project.map(str::to_owned),
        pool: asked.pool,
        model: asked.model,
        labels: asked.labels,
        payload: asked.payload.expose().stored("payload")?,
        idempotency_key: asked.idempotency_key,
    })
}

fn submitted(receipt: &Receipt) -> TaskSubmitted {
    TaskSubmitted {
        run_id: receipt.task.to_string(),
        pool: receipt.wants.pool.clone(),
        model: receipt.wants.model.clone(),
    }
}

fn refused(problem: &Problem) -> SubmitResult {
    let status = problem.status.as_u16();
    SubmitResult { status, task: None, problem: Some(problem.wire(None)) }
}

/// Query of one task.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Look {
    /// Seconds to wait for its end; as long as a poll at most.
    wait: Option<f64>,
}

/// One task, at once or when it has ended.
pub(super) async fn get(
    State(edge): State<Edge>,
    InOrg(operator): InOrg,
    PathId(id): PathId<TaskId>,
    Params(look): Params<Look>,
) -> Result<Answer<Wire>, Problem> {
    let longest = wait("invalid_wait", look.wait, Duration::ZERO)?;
    let task = if longest.is_zero() {
        operator.task(id).await?
    } else {
        tokio::select! {
            biased;
            task = operator.task_when_closed(id, longest) => task?,
            () = edge.dismissed() => operator.task(id).await?,
        }
    };
    view(task).map(Answer)
}

/// The newest tasks.
pub(super) async fn list(
    InOrg(operator): InOrg,
    Params(query): Params<TaskQuery>,
) -> Result<Answer<TaskList>, Problem> {
    let status = query.status.as_deref();
    if status.is_some_and(|word| !is_status(word)) {
        let detail = "status must be pending, claimed, completed or failed";
        return Err(Problem::unprocessable("invalid_status", detail));
    }
    let limit = page(query.limit)?;
    let tasks = operator.tasks(status, query.before, limit).await?;
    let more = tasks.len() == limit;
    let next = tasks.last().filter(|_| more).map(|view| view.task.submitted);
    let tasks = tasks.into_iter().map(view).collect::<Result<_, _>>()?;
    Ok(Answer(TaskList { tasks, next }))
}

fn is_status(word: &str) -> bool {
    matches!(word, "pending" | "claimed" | "completed" | "failed")
}

fn view(view: TaskView) -> Result<Wire, Problem> {
    let TaskView { task, result } = view;
    let (status, reported_at) = match task.phase {
        Phase::Waiting => (TaskStatus::Pending, None),
        Phase::Leased => (TaskStatus::Claimed, None),
        Phase::Completed { at } => (TaskStatus::Completed, Some(at)),
        Phase::Failed { at, .. } => (TaskStatus::Failed, Some(at)),
    };
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
    })
}

type Ends = (Option<Secret<Value>>, Option<Secret>);

/// The output of a completed task, the error text of a failed one.
fn result_of(task: &Task, result: Option<Sealed>) -> Result<Ends, Problem> {
    let opened = result.map(|sealed| sealed.open()).transpose().map_err(|error| {
        let id = uuid::Uuid::now_v7().to_string();
        tracing::error!(%id, %error, task = %task.id, "a result cannot be opened");
        Problem::internal(&id)
    })?;
    let text = || opened.as_ref().map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    Ok(match &task.phase {
        Phase::Waiting | Phase::Leased => (None, None),
        Phase::Completed { .. } => (opened.as_deref().map(Value::read).map(Secret::new), None),
        Phase::Failed { why: Failure::Reported, .. } => (None, text().map(Secret::new)),
        Phase::Failed { why: Failure::AttemptsExhausted, .. } => {
            let attempts = task.attempts();
            let error = format!("given up: {attempts} attempts ended without a report");
            (None, Some(Secret::new(error)))
        }
    })
}
