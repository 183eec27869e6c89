//! How long what is over is kept, and what is deleted at once.

use axum::Json as Answer;
use fleetward_actors::Operator;
use fleetward_actors::fleet::policy::{Change, Retention};
use fleetward_actors::id::{RunId, TaskId};
use fleetward_wire::retention::{
    Deleted, RetentionRound, RetentionSwept, RetentionTerms, RetentionView,
};

use crate::auth::{CanAdminister, InOrg};
use crate::extract::{Json, PathId};
use crate::problem::Problem;
use crate::times::rfc3339;

/// The terms, and what they led to.
pub(super) async fn get(InOrg(operator): InOrg) -> Result<Answer<RetentionView>, Problem> {
    let retention = operator.policy().await?.retention;
    shown(&operator, retention).await
}

/// Other terms.
pub(super) async fn put(
    CanAdminister(operator): CanAdminister,
    Json { value: asked, .. }: Json<RetentionTerms>,
) -> Result<Answer<RetentionView>, Problem> {
    let RetentionTerms { tasks_seconds, runs_seconds, failed_seconds } = asked;
    let retention = Retention { tasks: tasks_seconds, runs: runs_seconds, failed: failed_seconds };
    let policy = operator.govern(Change::Retain(retention)).await?;
    shown(&operator, policy.retention).await
}

/// Deletes now what is kept long enough.
pub(super) async fn sweep(
    CanAdminister(operator): CanAdminister,
) -> Result<Answer<RetentionSwept>, Problem> {
    Ok(Answer(match operator.sweep().await? {
        Some(swept) => RetentionSwept { ended: true, tasks: swept.tasks, runs: swept.runs },
        None => RetentionSwept::default(),
    }))
}

/// Deletes a task that is over.
pub(super) async fn delete_task(
    CanAdminister(operator): CanAdminister,
    PathId(id): PathId<TaskId>,
) -> Result<Answer<Deleted>, Problem> {
    operator.delete_task(id).await?;
    Ok(Answer(Deleted::new(id.to_string())))
}

/// Deletes a run that has ended.
pub(super) async fn delete_run(
    CanAdminister(operator): CanAdminister,
    PathId(id): PathId<RunId>,
) -> Result<Answer<Deleted>, Problem> {
    operator.delete_run(&id).await?;
    Ok(Answer(Deleted::new(id.to_string())))
}

async fn shown(
    operator: &Operator,
    retention: Retention,
) -> Result<Answer<RetentionView>, Problem> {
    let standing = operator.retention_standing().await?;
    let Retention { tasks, runs, failed } = retention;
    Ok(Answer(RetentionView {
        terms: RetentionTerms { tasks_seconds: tasks, runs_seconds: runs, failed_seconds: failed },
        running: standing.running,
        last: standing.last.map(|swept| RetentionRound {
            ended_at: rfc3339(swept.at),
            tasks: swept.tasks,
            runs: swept.runs,
            held_up: swept.away,
        }),
        next_at: standing.next_at.map(rfc3339),
    }))
}
