//! What an organisation does not keep: how long what is over stays, and what is deleted at once.

use fleetward_runtime::{CallError, Reply};

use super::Operator;
use crate::cause::Cause;
use crate::error::{Error, Kind, Refusal};
use crate::fact::Fold;
use crate::fleet::dispatcher::remedy::Remedy;
use crate::fleet::janitor::{self, Standing, Swept};
use crate::id::{RunId, TaskId};
use crate::plane::delivery::first_of;
use crate::system::org::Role;
use crate::workflows::conductor::{Deletion, Message, ask};
use crate::workflows::run::Run;

impl Operator {
    /// What the janitor of the organisation has done since its cell started, and when it begins again.
    ///
    /// # Errors
    /// When the organisation's cell does not run.
    pub async fn retention_standing(&self) -> Result<Standing, Error> {
        let cell = self.cell().await?;
        let permit = self.plane.permit(cell.cell, 0)?;
        let within = self.plane.shared.config.answer_within;
        let look = |reply| janitor::Message::Look { reply };
        Ok(cell.janitor.call_with_permit(permit, within, look).await?)
    }

    /// Deletes now what is over for longer than it is kept; `None`: it still goes on (after the longest wait of a poll).
    ///
    /// # Errors
    /// When the organisation's cell does not run, or something was away: what was deleted until then is.
    pub async fn sweep(&self) -> Result<Option<Swept>, Error> {
        self.may(Role::Admin)?;
        let cell = self.cell().await?;
        let (reply, swept) = Reply::channel();
        let sweep = janitor::Message::Sweep { reply };
        cell.janitor.send(sweep).map_err(CallError::from)?;
        let enough = self.plane.shared.clock.sleep(self.plane.shared.config.poll_max);
        match first_of(swept, enough).await {
            None => Ok(None),
            Some(Ok(Swept { away: Some(why), .. })) => Err(Error::Unavailable(why)),
            Some(Ok(swept)) => Ok(Some(swept)),
            Some(Err(_)) => Err(Error::Unavailable("the round ended early; try again".to_owned())),
        }
    }

    /// Deletes a task that is over. Its events stay in the journal. Once this returns, that is durable.
    ///
    /// # Errors
    /// When there is no such task, it is open, or it is a step of a run that is there: it goes with that.
    pub async fn delete_task(&self, id: TaskId) -> Result<(), Error> {
        self.may(Role::Admin)?;
        let task = self.look(id).await?.task;
        if let Some(step) = &task.step
            && self.plane.row(self.number(), Run::KIND, step.run.to_string()).await?.is_some()
        {
            let run = &step.run;
            let detail = format!(
                "the task is step {} of run {run}, and goes with it: `fleetward run delete {run}`",
                step.key
            );
            return Err(Refusal::new(Kind::Conflict, "task_of_run", detail).into());
        }
        let said = self.amend_as(&[id], Remedy::Delete { closed_before: None }).await?.pop();
        said.unwrap_or_else(|| Err(Refusal::not_found("task").into())).map(drop)
    }

    /// Deletes a run that has ended, with its tasks. Its events stay in the journal, and its id may be used again. Once this
    /// returns, that is durable for the run; a task of it that changes at this moment goes with the next round of retention.
    ///
    /// # Errors
    /// When there is no such run, it is open, or others have yet to hear that it ended.
    pub async fn delete_run(&self, id: &RunId) -> Result<(), Error> {
        self.may(Role::Admin)?;
        let run = self.run_state(id).await?;
        let cell = self.cell().await?;
        let within = self.plane.shared.config.answer_within;
        let permit = self.plane.permit(cell.cell, 0)?;
        let by = self.by.clone();
        let deletion = Deletion { closed_before: None, schedule_knows: false, by: by.clone() };
        let delete = |reply: Reply<_>| Message::Delete { deletion, reply: reply.holding(permit) };
        ask(&cell.workflows.runs, id, within, delete).await??;
        let tasks = run.done.values().filter_map(|done| done.task).collect();
        if let Err(error) = self.delete_tasks_of(id, tasks, by).await {
            tracing::debug!(run = %id, %error, "tasks of a deleted run stay for now");
        }
        Ok(())
    }

    async fn delete_tasks_of(
        &self,
        run: &RunId,
        tasks: Vec<TaskId>,
        by: Cause,
    ) -> Result<u64, Error> {
        self.caught_up().await?;
        let cell = self.cell().await?;
        let at = (cell.cell, self.plane.shared.store.as_ref(), &cell.dispatcher);
        let within = self.plane.shared.config.answer_within;
        janitor::delete_tasks(at, tasks, (None, Some(run), by), within).await
    }
}
