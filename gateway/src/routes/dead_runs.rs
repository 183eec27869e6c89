//! Runs that failed for good, as operators look at them and decide about them.

use std::time::Duration;

use axum::Json as Answer;
use axum::extract::State;
use fleetward_actors::id::RunId;
use fleetward_actors::plane::{AMEND_MAX, DEAD_SCAN, DeadRunGroup, DeadRuns, FailedAttempt};
use fleetward_actors::workflows::conductor::Remedy;
use fleetward_actors::{Operator, fleet::input};
use fleetward_wire::Secret;
use fleetward_wire::dead_letters::{
    DeadRunAction, DeadRunAttempt, DeadRunGroups, DeadRunOutcome, DeadRunQuery, DeadRunShown,
    RunResult,
};
use fleetward_wire::workflows::RunList;

use super::run_shapes::{opened_json, opened_text, view};
use crate::auth::{CanOperate, InOrg};
use crate::edge::Edge;
use crate::extract::{MaybeJson, Params, PathId, page};
use crate::problem::Problem;
use crate::times::rfc3339;

/// Failed runs, newest first.
pub(super) async fn list(
    State(edge): State<Edge>,
    InOrg(operator): InOrg,
    Params(asked): Params<DeadRunQuery>,
) -> Result<Answer<RunList>, Problem> {
    let limit = page(asked.limit)?;
    let (found, more) = operator.dead_runs(&which(&edge, &asked)?, asked.before, limit).await?;
    let next = found.last().filter(|_| more).map(|view| view.run.started);
    let runs = found.into_iter().map(view).collect::<Result<_, _>>()?;
    Ok(Answer(RunList { runs, next }))
}

/// Failed runs by what they have in common.
pub(super) async fn groups(
    State(edge): State<Edge>,
    InOrg(operator): InOrg,
    Params(asked): Params<DeadRunQuery>,
) -> Result<Answer<DeadRunGroups>, Problem> {
    let (groups, more) = operator.dead_run_groups(&which(&edge, &asked)?).await?;
    let groups = groups.into_iter().map(group).collect::<Result<_, _>>()?;
    Ok(Answer(DeadRunGroups { groups, more }))
}

/// One failed run, with the attempts at the step that it failed at.
pub(super) async fn get(
    InOrg(operator): InOrg,
    PathId(id): PathId<RunId>,
) -> Result<Answer<DeadRunShown>, Problem> {
    let dead = operator.dead_run(&id).await?;
    let run = view(dead.run)?;
    let Some(step) = dead.step else {
        return Ok(Answer(DeadRunShown { run, task_id: None, input: None, attempts: Vec::new() }));
    };
    Ok(Answer(DeadRunShown {
        run,
        task_id: Some(step.task.task.id.to_string()),
        input: step.input.as_ref().map(opened_json).transpose()?.map(Secret::new),
        attempts: step.attempts.iter().map(attempt).collect::<Result<_, _>>()?,
    }))
}

/// Lets many failed runs go on from their failures.
pub(super) async fn retry(
    State(edge): State<Edge>,
    CanOperate(operator): CanOperate,
    MaybeJson(asked): MaybeJson<DeadRunAction>,
) -> Result<Answer<DeadRunOutcome>, Problem> {
    many(&edge, &operator, &asked, Remedy::Retry).await
}

/// Lets many failed runs go.
pub(super) async fn discard(
    State(edge): State<Edge>,
    CanOperate(operator): CanOperate,
    MaybeJson(asked): MaybeJson<DeadRunAction>,
) -> Result<Answer<DeadRunOutcome>, Problem> {
    many(&edge, &operator, &asked, Remedy::Discard { reason: asked.note.clone() }).await
}

async fn many(
    edge: &Edge,
    operator: &Operator,
    asked: &DeadRunAction,
    remedy: Remedy,
) -> Result<Answer<DeadRunOutcome>, Problem> {
    let (runs, more) = meant(edge, operator, asked).await?;
    let matched = runs.len() as u64;
    let mut outcome = DeadRunOutcome { matched, changed: 0, more, problems: Vec::new() };
    if asked.preview {
        return Ok(Answer(outcome));
    }
    for runs in runs.chunks(AMEND_MAX) {
        let said = operator.amend_runs(runs, &remedy).await?;
        for (run, said) in runs.iter().zip(said) {
            match said {
                Ok(_) => outcome.changed += 1,
                Err(error) => {
                    let problem = Problem::from(error);
                    let (run_id, status) = (run.to_string(), problem.status.as_u16());
                    let problem = problem.wire(None);
                    outcome.problems.push(RunResult { run_id, status, problem });
                }
            }
        }
    }
    Ok(Answer(outcome))
}

/// The runs that a request means, and whether there are more of them.
async fn meant(
    edge: &Edge,
    operator: &Operator,
    asked: &DeadRunAction,
) -> Result<(Vec<RunId>, bool), Problem> {
    if let Some(ids) = &asked.run_ids {
        input::at_most("run_ids", ids.len(), AMEND_MAX).map_err(Problem::from)?;
        let parsed = ids.iter().map(|id| id.parse().map_err(|_| Problem::not_found("run")));
        return Ok((parsed.collect::<Result<_, _>>()?, false));
    }
    let which = which(edge, &asked.filter)?;
    if which.is_all() && !asked.all {
        let detail = "name run_ids or a filter, or say all: true";
        return Err(Problem::bad_request("missing_filter", detail));
    }
    let (found, more) = operator.dead_runs(&which, None, DEAD_SCAN).await?;
    Ok((found.into_iter().map(|view| view.run.id).collect(), more))
}

fn which(edge: &Edge, asked: &DeadRunQuery) -> Result<DeadRuns, Problem> {
    let before = |seconds: f64| {
        let age = Duration::try_from_secs_f64(seconds).ok().filter(|age| !age.is_zero());
        let age = age.and_then(|age| i64::try_from(age.as_micros()).ok());
        let age = age.ok_or_else(|| {
            let detail = "older_than_seconds must be positive";
            Problem::unprocessable("invalid_age", detail)
        })?;
        Ok::<_, Problem>(edge.plane.clock().wall_us().saturating_sub(age))
    };
    Ok(DeadRuns {
        workflow: asked.workflow.clone(),
        group: asked.group.clone(),
        code: asked.code.clone(),
        node: asked.node.clone(),
        before: asked.older_than_seconds.map(before).transpose()?,
    })
}

fn group(group: DeadRunGroup) -> Result<fleetward_wire::dead_letters::DeadRunGroup, Problem> {
    let sample = view(group.sample)?;
    Ok(fleetward_wire::dead_letters::DeadRunGroup {
        group: group.group,
        workflow: group.workflow,
        code: group.code,
        count: group.count as u64,
        first_at: rfc3339(group.first_at),
        last_at: rfc3339(group.last_at),
        sample_run_id: sample.run_id,
        sample_failed_at: sample.failed_at,
        sample_error: sample.error,
    })
}

fn attempt(attempt: &FailedAttempt) -> Result<DeadRunAttempt, Problem> {
    Ok(DeadRunAttempt {
        attempt: attempt.number,
        worker_id: attempt.worker.clone(),
        claimed_at: rfc3339(attempt.claimed_at),
        ended_at: attempt.ended_at.map(rfc3339),
        why: attempt.why.clone(),
        error: attempt.error.as_ref().map(opened_text).transpose()?.map(Secret::new),
    })
}
