//! What operators do with tasks that are there: cancel, look at dead letters, try again, discard, ask why.

use axum::Json as Answer;
use fleetward_actors::Operator;
use fleetward_actors::Refusal;
use fleetward_actors::fleet::dispatcher::remedy::Remedy;
use fleetward_actors::fleet::input;
use fleetward_actors::fleet::task::Failure;
use fleetward_actors::id::TaskId;
use fleetward_actors::plane::{AMEND_MAX, DeadGroup, DeadLetters};
use fleetward_wire::dead_letters::{
    DeadLetterAction, DeadLetterGroup, DeadLetterGroups, DeadLetterOutcome, DeadLetterQuery,
};
use fleetward_wire::tasks::{History, Reason, ReportResult, TaskList, TaskView as Wire, Why};

use super::audit::event;
use super::task_shapes::{standing, view};
use crate::auth::{CanOperate, InOrg};
use crate::extract::{MaybeJson, Params, PathId, page};
use crate::problem::Problem;
use crate::times::rfc3339;

/// Takes a task back, whether somebody works on it or not.
pub(super) async fn cancel(
    CanOperate(operator): CanOperate,
    PathId(id): PathId<TaskId>,
    MaybeJson(said): MaybeJson<Reason>,
) -> Result<Answer<Wire>, Problem> {
    one(&operator, id, Remedy::Cancel { reason: said.reason }).await
}

/// Tries a dead letter again.
pub(super) async fn retry(
    CanOperate(operator): CanOperate,
    PathId(id): PathId<TaskId>,
) -> Result<Answer<Wire>, Problem> {
    one(&operator, id, Remedy::Retry).await
}

/// Lets a dead letter go.
pub(super) async fn discard(
    CanOperate(operator): CanOperate,
    PathId(id): PathId<TaskId>,
    MaybeJson(said): MaybeJson<Reason>,
) -> Result<Answer<Wire>, Problem> {
    one(&operator, id, Remedy::Discard { reason: said.reason }).await
}

async fn one(operator: &Operator, id: TaskId, remedy: Remedy) -> Result<Answer<Wire>, Problem> {
    let said = operator.amend(&[id], remedy).await?.pop();
    let task = said.unwrap_or_else(|| Err(Refusal::not_found("task").into()))?;
    view(fleetward_actors::plane::TaskView { task, result: None }).map(Answer)
}

/// Why a task stands where it stands.
pub(super) async fn why(
    InOrg(operator): InOrg,
    PathId(id): PathId<TaskId>,
) -> Result<Answer<Why>, Problem> {
    let explained = operator.explain(id).await?;
    let (status, _) = standing(&explained.task);
    Ok(Answer(Why { run_id: id.to_string(), status, reasons: explained.reasons }))
}

/// Everything that happened to a task.
pub(super) async fn history(
    InOrg(operator): InOrg,
    PathId(id): PathId<TaskId>,
) -> Result<Answer<History>, Problem> {
    let events = operator.history(id).await?.into_iter().map(event).collect();
    Ok(Answer(History { run_id: id.to_string(), events }))
}

/// Dead letters, newest first.
pub(super) async fn list(
    InOrg(operator): InOrg,
    Params(query): Params<DeadLetterQuery>,
) -> Result<Answer<TaskList>, Problem> {
    let limit = page(query.limit)?;
    let (tasks, more) = operator.dead_letters(&which(&query)?, query.before, limit).await?;
    let next = tasks.last().filter(|_| more).map(|view| view.task.submitted);
    let tasks = tasks.into_iter().map(view).collect::<Result<_, _>>()?;
    Ok(Answer(TaskList { tasks, next }))
}

/// Dead letters by what they have in common.
pub(super) async fn groups(
    InOrg(operator): InOrg,
    Params(query): Params<DeadLetterQuery>,
) -> Result<Answer<DeadLetterGroups>, Problem> {
    let found = operator.dead_groups(&which(&query)?).await?;
    let groups = found.groups.into_iter().map(group).collect::<Result<_, _>>()?;
    Ok(Answer(DeadLetterGroups { groups, more: found.more }))
}

/// Tries many dead letters again.
pub(super) async fn retry_many(
    CanOperate(operator): CanOperate,
    MaybeJson(asked): MaybeJson<DeadLetterAction>,
) -> Result<Answer<DeadLetterOutcome>, Problem> {
    many(&operator, &asked, Remedy::Retry).await
}

/// Lets many dead letters go.
pub(super) async fn discard_many(
    CanOperate(operator): CanOperate,
    MaybeJson(asked): MaybeJson<DeadLetterAction>,
) -> Result<Answer<DeadLetterOutcome>, Problem> {
    many(&operator, &asked, Remedy::Discard { reason: asked.note.clone() }).await
}

async fn many(
    operator: &Operator,
    asked: &DeadLetterAction,
    remedy: Remedy,
) -> Result<Answer<DeadLetterOutcome>, Problem> {
    let (tasks, more) = meant(operator, asked).await?;
    let matched = tasks.len() as u64;
    let mut outcome = DeadLetterOutcome { matched, changed: 0, more, problems: Vec::new() };
    if asked.preview {
        return Ok(Answer(outcome));
    }
    for tasks in tasks.chunks(AMEND_MAX) {
        let said = operator.amend(tasks, remedy.clone()).await?;
        for (task, said) in tasks.iter().zip(said) {
            match said {
                Ok(_) => outcome.changed += 1,
                Err(error) => {
                    let problem = Problem::from(error);
                    let status = problem.status.as_u16();
                    let problem = Some(problem.wire(None));
                    outcome.problems.push(ReportResult {
                        run_id: task.to_string(),
                        status,
                        problem,
                    });
                }
            }
        }
    }
    Ok(Answer(outcome))
}

/// The tasks that a request means, and whether there are more of them.
async fn meant(
    operator: &Operator,
    asked: &DeadLetterAction,
) -> Result<(Vec<TaskId>, bool), Problem> {
    if let Some(ids) = &asked.run_ids {
        input::at_most("run_ids", ids.len(), AMEND_MAX).map_err(Problem::from)?;
        let parsed = ids.iter().map(|id| id.parse().map_err(|_| Problem::not_found("task")));
        return Ok((parsed.collect::<Result<_, _>>()?, false));
    }
    let which = which(&asked.filter)?;
    if which.is_all() && !asked.all {
        let detail = "name run_ids or a filter, or say all: true";
        return Err(Problem::bad_request("missing_filter", detail));
    }
    let (found, more) =
        operator.dead_letters(&which, None, fleetward_actors::plane::DEAD_SCAN).await?;
    Ok((found.into_iter().map(|view| view.task.id).collect(), more))
}

fn which(query: &DeadLetterQuery) -> Result<DeadLetters, Problem> {
    let why = match query.reason.as_deref() {
        None => None,
        Some("reported") => Some(Failure::Reported),
        Some("attempts_exhausted") => Some(Failure::AttemptsExhausted),
        Some("deadline_exceeded") => Some(Failure::DeadlineExceeded),
        Some("timed_out") => Some(Failure::TimedOut),
        Some(_) => {
            let detail =
                "reason must be reported, attempts_exhausted, deadline_exceeded or timed_out";
            return Err(Problem::unprocessable("invalid_reason", detail));
        }
    };
    Ok(DeadLetters {
        group: query.group.clone(),
        pool: query.pool.clone(),
        project: query.project_id.clone(),
        model: query.model.clone(),
        why,
    })
}

fn group(group: DeadGroup) -> Result<DeadLetterGroup, Problem> {
    let sample = view(group.sample)?;
    Ok(DeadLetterGroup {
        group: group.group,
        reason: group.why.as_str().to_owned(),
        count: group.count as u64,
        newest_at: rfc3339(group.newest_at),
        sample_run_id: sample.run_id,
        sample_error: sample.error,
    })
}
