//! Tasks as operators see them: submitted, looked at, listed.

use std::time::Duration;

use axum::Json as Answer;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};
use fleetward_actors::id::TaskId;
use fleetward_actors::plane::Receipt;
use fleetward_wire::tasks::{
    SubmitResult, TaskList, TaskQuery, TaskSubmit, TaskSubmitMany, TaskSubmitted, TaskView as Wire,
    TasksSubmitted,
};
use fleetward_wire::{Raw, Secret};
use serde::Deserialize;
use serde_json::Value;

use super::task_shapes::{new_submit, opened, view};
use crate::auth::{CanOperate, InOrg, text};
use crate::edge::Edge;
use crate::extract::{Json, Params, PathId, page};
use crate::problem::Problem;
use crate::routes::worker_protocol::wait;
use crate::translate::Json as _;

/// Says that a submit was answered from what was submitted before under its key.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// Submits a task. Once this is answered, it is durable.
pub(super) async fn submit(
    CanOperate(operator): CanOperate,
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
    CanOperate(operator): CanOperate,
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
    let said = operator.progress(&task.task).await?;
    let mut shown = view(task)?;
    if let (Some(progress), Some(said)) = (&mut shown.progress, said) {
        progress.data = Some(Secret::new(Value::read(&opened(&shown.run_id, &said)?)));
    }
    Ok(Answer(shown))
}

/// The newest tasks.
pub(super) async fn list(
    InOrg(operator): InOrg,
    Params(query): Params<TaskQuery>,
) -> Result<Answer<TaskList>, Problem> {
    let status = query.status.as_deref();
    if status.is_some_and(|word| !is_status(word)) {
        let detail =
            "status must be pending, claimed, completed, failed, suspended, cancelled or discarded";
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
    let known =
        ["pending", "claimed", "completed", "failed", "suspended", "cancelled", "discarded"];
    known.contains(&word)
}
