//! Runs that failed for good: what they have in common, what became of their attempts, and what is done with many of
//! them at once.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use fleetward_store::{Position, Query};
use futures_util::StreamExt;

use super::RunView;
use crate::error::{Error, Refusal};
use crate::fact::Fold;
use crate::fleet::dispatcher::remedy as of_task;
use crate::fleet::input;
use crate::id::{RunId, TaskId};
use crate::plane::Envelope;
use crate::plane::operator::remedies::{AMEND_MAX, DEAD_SCAN};
use crate::plane::operator::{Operator, TaskView};
use crate::plane::reading::{PAGE_MAX, state};
use crate::seal::Purpose;
use crate::system::org::Role;
use crate::workflows::conductor::Remedy;
use crate::workflows::run::{Outcome, Phase, Run};

/// Runs that are changed at a time by one call.
const AT_ONCE: usize = 16;

/// Which failed runs are meant: those that every part of it fits.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeadRuns {
    /// Of this workflow.
    pub workflow: Option<String>,
    /// With this error group.
    pub group: Option<String>,
    /// That failed for this reason.
    pub code: Option<String>,
    /// That failed at this node.
    pub node: Option<String>,
    /// That failed before this time, in microseconds UTC.
    pub before: Option<i64>,
}

/// Failed runs that have their workflow, their reason and their error in common.
#[derive(Debug, Clone)]
pub struct DeadRunGroup {
    /// What names the error.
    pub group: Option<String>,
    /// Of which workflow they are.
    pub workflow: String,
    /// Why they failed, as a stable code.
    pub code: String,
    /// How many.
    pub count: usize,
    /// When the first of them failed, in microseconds UTC.
    pub first_at: i64,
    /// When the last did.
    pub last_at: i64,
    /// That one.
    pub sample: RunView,
}

/// A failed run, and what became of the step that it failed at.
pub struct DeadRun {
    /// The run.
    pub run: RunView,
    /// The step, where it failed at one that was a task.
    pub step: Option<FailedStep>,
}

/// The step that a run failed at.
pub struct FailedStep {
    /// Its task.
    pub task: TaskView,
    /// What it was given.
    pub input: Option<Envelope>,
    /// Its attempts, oldest first.
    pub attempts: Vec<FailedAttempt>,
}

/// One attempt at a step.
pub struct FailedAttempt {
    /// Which.
    pub number: u32,
    /// Who had it.
    pub worker: Option<String>,
    /// When, in microseconds UTC.
    pub claimed_at: i64,
    /// When it ended.
    pub ended_at: Option<i64>,
    /// Why it ended without a report, if so.
    pub why: Option<String>,
    /// What its worker said.
    pub error: Option<Envelope>,
}

impl DeadRuns {
    /// Whether it says nothing, and so means all of them.
    pub fn is_all(&self) -> bool {
        *self == Self::default()
    }

    fn fits(&self, run: &Run) -> bool {
        let Phase::Failed { at, key, code, group, .. } = &run.phase else { return false };
        let is = |asked: &Option<String>, has: Option<&str>| {
            asked.as_deref().is_none_or(|asked| Some(asked) == has)
        };
        is(&self.workflow, Some(&run.workflow))
            && is(&self.group, group.as_deref())
            && is(&self.code, Some(code))
            && is(&self.node, key.as_ref().map(|key| key.node()))
            && self.before.is_none_or(|before| *at < before)
    }
}

impl Operator {
    /// Failed runs, newest first. `before` is the `started` position of the last one of the page before. Says whether there
    /// may be more.
    ///
    /// # Errors
    /// When the rows cannot be read.
    pub async fn dead_runs(
        &self,
        which: &DeadRuns,
        before: Option<Position>,
        limit: usize,
    ) -> Result<(Vec<RunView>, bool), Error> {
        let mut found = Vec::new();
        let more = self
            .scan_dead_runs(before, |view| {
                if which.fits(&view.run) {
                    found.push(view);
                }
                found.len() < limit
            })
            .await?;
        self.note_shown(found.iter()).await?;
        Ok((found, more))
    }

    /// Failed runs by what they have in common, the largest group first; and whether there are more than were looked at.
    ///
    /// # Errors
    /// When the rows cannot be read.
    pub async fn dead_run_groups(
        &self,
        which: &DeadRuns,
    ) -> Result<(Vec<DeadRunGroup>, bool), Error> {
        let mut groups: BTreeMap<(Option<String>, String, String), DeadRunGroup> = BTreeMap::new();
        let more = self
            .scan_dead_runs(None, |view| {
                let Phase::Failed { at, code, group, .. } = &view.run.phase else { return true };
                if !which.fits(&view.run) {
                    return true;
                }
                let (at, code, group) = (*at, code.clone(), group.clone());
                let workflow = view.run.workflow.clone();
                let key = (group.clone(), workflow.clone(), code.clone());
                let of = groups.entry(key).or_insert_with(|| DeadRunGroup {
                    group,
                    workflow,
                    code,
                    count: 0,
                    first_at: at,
                    last_at: at,
                    sample: view.clone(),
                });
                of.count += 1;
                of.first_at = of.first_at.min(at);
                if at > of.last_at {
                    (of.last_at, of.sample) = (at, view);
                }
                true
            })
            .await?;
        let mut groups: Vec<_> = groups.into_values().collect();
        groups.sort_by_key(|group| std::cmp::Reverse((group.count, group.last_at)));
        self.note_shown(groups.iter().map(|group| &group.sample)).await?;
        Ok((groups, more))
    }

    /// A failed run with the attempts at the step that it failed at.
    ///
    /// # Errors
    /// When there is no such run, or it has not failed.
    pub async fn dead_run(&self, id: &RunId) -> Result<DeadRun, Error> {
        let view = self.run(id).await?;
        let Phase::Failed { key, .. } = &view.run.phase else {
            let detail =
                format!("the run is {}; only failed runs are dead letters", view.run.status());
            return Err(Refusal::new(crate::Kind::Conflict, "not_dead", detail).into());
        };
        let done = key.as_ref().and_then(|key| view.run.done.get(key));
        let step = match done.and_then(|done| done.task) {
            Some(task) => Some(self.failed_step(task).await?),
            None => None,
        };
        self.note_run_reads(vec![id.clone()]).await?;
        Ok(DeadRun { run: view, step })
    }

    /// Does the same with many failed runs. Each has an answer of its own, in their order.
    ///
    /// # Errors
    /// When nothing was done: there are too many, or the caller may not.
    pub async fn amend_runs(
        &self,
        runs: &[RunId],
        remedy: &Remedy,
    ) -> Result<Vec<Result<Run, Error>>, Error> {
        self.may(Role::Operator)?;
        input::at_most("run_ids", runs.len(), AMEND_MAX)?;
        let each: Vec<_> = runs.iter().map(|run| self.amend_run(run, remedy.clone())).collect();
        Ok(futures_util::stream::iter(each).buffered(AT_ONCE).collect().await)
    }

    /// What a failed run leaves among the dead tasks goes with it: nobody may try it again alone.
    pub(super) async fn leave_dead_tasks(&self, before: &Run, what: &'static str) {
        let failed =
            before.done.values().filter(|done| matches!(done.outcome, Outcome::Failed { .. }));
        let tasks: Vec<TaskId> = failed.filter_map(|done| done.task).take(AMEND_MAX).collect();
        if tasks.is_empty() {
            return;
        }
        let reason = Some(format!("its run was {what}"));
        // Those that were cancelled are not among them, and say so.
        if let Err(error) = self.amend(&tasks, of_task::Remedy::Discard { reason }).await {
            tracing::debug!(run = %before.id, %error, "tasks of a run stay among the dead letters");
        }
    }

    async fn failed_step(&self, task: TaskId) -> Result<FailedStep, Error> {
        let view = self.task(task).await?;
        let input = self.sealed_at(view.task.submitted, task, Purpose::Payload).await?;
        let mut attempts: Vec<FailedAttempt> = Vec::new();
        for entry in self.history(task).await? {
            let number = entry.body.get("attempt").and_then(serde_json::Value::as_u64);
            let text = |field: &str| {
                entry.body.get(field).and_then(serde_json::Value::as_str).map(str::to_owned)
            };
            if entry.kind == "task.claimed" {
                attempts.push(FailedAttempt {
                    number: number.unwrap_or_default() as u32,
                    worker: text("worker"),
                    claimed_at: entry.at,
                    ended_at: None,
                    why: None,
                    error: None,
                });
                continue;
            }
            let ends = matches!(
                &*entry.kind,
                "task.retry_scheduled" | "task.failed" | "task.returned" | "task.cancelled"
            );
            let Some(last) = attempts.last_mut().filter(|last| ends && last.ended_at.is_none())
            else {
                continue;
            };
            last.ended_at = Some(entry.at);
            last.why = text("why");
            if text("digest").is_some() {
                last.error = self.sealed_at(entry.seq, task, Purpose::Error).await?;
            }
        }
        Ok(FailedStep { task: view, input, attempts })
    }

    async fn note_shown<'v>(&self, views: impl Iterator<Item = &'v RunView>) -> Result<(), Error> {
        let shown = views.filter(|view| view.result.is_some());
        let shown: BTreeSet<_> = shown.map(|view| view.run.id.clone()).collect();
        self.note_run_reads(shown.into_iter().collect()).await
    }

    /// Shows failed runs to `take`, newest first, until it has enough. Says whether there may be more.
    async fn scan_dead_runs(
        &self,
        mut before: Option<Position>,
        mut take: impl FnMut(RunView) -> bool,
    ) -> Result<bool, Error> {
        self.caught_up().await?;
        let mut seen = 0;
        while seen < DEAD_SCAN {
            let query = Query {
                cell: self.number(),
                kind: Cow::Borrowed(Run::KIND),
                status: Some("failed".to_owned()),
                before,
                limit: PAGE_MAX,
            };
            let rows = self.plane.rows(query).await?;
            let Some(last) = rows.last() else { return Ok(false) };
            before = Some(last.created);
            seen += rows.len();
            for row in &rows {
                if !take(self.row_view(row, state::<Run>(row)?)) {
                    return Ok(true);
                }
            }
        }
        Ok(true)
    }
}
