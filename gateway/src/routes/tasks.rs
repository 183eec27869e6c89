//! Tasks as operators see them.

use std::time::Duration;

use axum::Json;
use axum::extract::Path;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use fleetward_actors::fleet::task::{Failure as TaskFailure, Phase};
use fleetward_actors::plane::{self, NewSubmit};
use fleetward_wire::Secret;
use fleetward_wire::tasks::{TaskList, TaskStatus, TaskSubmit, TaskSubmitted, TaskView};
use serde::Deserialize;
use serde_json::Value;

use crate::auth::Inside;
use crate::extract::{Body, Query, id};
use crate::problem::{Answer, Failure};
use crate::times::rfc3339;

/// Tasks in a page, unless the caller says otherwise.
const PAGE: usize = 50;

/// How long a question about one task may wait for its end.
#[derive(Deserialize)]
pub(super) struct Wait {
    wait: Option<f64>,
}

#[derive(Deserialize)]
pub(super) struct Page {
    status: Option<String>,
    limit: Option<usize>,
}

pub(super) async fn submit(
    Inside(operator): Inside,
    headers: HeaderMap,
    Body(body): Body<TaskSubmit>,
) -> Answer<Response> {
    let new = NewSubmit {
        project: text(&headers, "x-project-id")?,
        pool: body.pool,
        model: body.model,
        labels: body.labels,
        payload: body.payload.expose().to_string().into(),
        idempotency_key: text(&headers, "idempotency-key")?,
    };
    let receipt = operator.submit(new).await?;
    let answer = TaskSubmitted {
        run_id: receipt.task.to_string(),
        pool: receipt.wants.pool.clone(),
        model: receipt.wants.model.clone(),
    };
    Ok((StatusCode::CREATED, Json(answer)).into_response())
}

pub(super) async fn get(
    Inside(operator): Inside,
    Path(task): Path<String>,
    Query(Wait { wait }): Query<Wait>,
) -> Answer<Json<TaskView>> {
    let task = id("task", &task)?;
    let found = match wait {
        None => operator.task(task).await?,
        Some(seconds) => {
            let wait = Duration::try_from_secs_f64(seconds).map_err(|_| {
                Failure::invalid("invalid_wait", "wait is a number of seconds, 0 or more")
            })?;
            operator.task_when_closed(task, wait).await?
        }
    };
    view(&found).map(Json)
}

pub(super) async fn list(
    Inside(operator): Inside,
    Query(page): Query<Page>,
) -> Answer<Json<TaskList>> {
    let words = ["pending", "claimed", "completed", "failed"];
    if page.status.as_deref().is_some_and(|status| !words.contains(&status)) {
        let detail = format!("status is one of {words:?}");
        return Err(Failure::invalid("invalid_status", detail));
    }
    let limit = page.limit.unwrap_or(PAGE);
    let found = operator.tasks(page.status.as_deref(), None, limit).await?;
    let tasks = found.iter().map(view).collect::<Answer<Vec<_>>>()?;
    Ok(Json(TaskList { tasks }))
}

/// A header's text: absent, or fit to be read.
fn text(headers: &HeaderMap, name: &str) -> Answer<Option<String>> {
    let read = |value: &axum::http::HeaderValue| {
        value
            .to_str()
            .map(str::to_owned)
            .map_err(|_| Failure::invalid("invalid_header", format!("{name} is not readable text")))
    };
    headers.get(name).map(read).transpose()
}

fn view(found: &plane::TaskView) -> Answer<TaskView> {
    let plane::TaskView { task, result } = found;
    let opened = result.as_ref().map(|sealed| sealed.open()).transpose().map_err(|error| {
        Failure::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", error.to_string())
    })?;
    let text = opened.as_deref().map(String::from_utf8_lossy);
    let (status, reported_at, output, error) = match task.phase {
        Phase::Waiting => (TaskStatus::Pending, None, None, None),
        Phase::Leased => (TaskStatus::Claimed, None, None, None),
        Phase::Completed { at } => {
            let output = opened.as_deref().and_then(|bytes| serde_json::from_slice(bytes).ok());
            (TaskStatus::Completed, Some(at), output.filter(|output| *output != Value::Null), None)
        }
        Phase::Failed { at, why: TaskFailure::Reported } => {
            (TaskStatus::Failed, Some(at), None, text.map(String::from))
        }
        Phase::Failed { at, why: TaskFailure::AttemptsExhausted } => {
            let why = "too many attempts ended without a report".to_owned();
            (TaskStatus::Failed, Some(at), None, Some(why))
        }
    };
    let attempt = task.attempt.as_ref().filter(|_| task.phase != Phase::Waiting);
    Ok(TaskView {
        run_id: task.id.to_string(),
        status,
        project_id: task.wants.project.clone(),
        pool: task.wants.pool.clone(),
        model: task.wants.model.clone(),
        labels: task.wants.labels.clone(),
        worker_id: attempt.map(|attempt| attempt.worker.to_string()),
        claimed_at: attempt.map(|attempt| rfc3339(attempt.claimed_at)),
        attempt: task.attempts(),
        error: error.map(Secret::new),
        output: output.map(Secret::new),
        reported_at: reported_at.map(rfc3339),
        created_at: rfc3339(task.submitted_at),
    })
}
