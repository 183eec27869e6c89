//! Reporting: what a worker says of the tasks that it holds, and giving them back.

use bytes::Bytes;
use serde_json::Value;

use super::{Session, functions};
use crate::error::{Error, Kind, Refusal};
use crate::fact::Fold;
use crate::fleet::cell::OrgCell;
use crate::fleet::dispatcher::{
    self, Known,
    report::{Claimant, Judgement, Status, is_noteworthy, judge},
};
use crate::fleet::fingerprint::fingerprint;
use crate::fleet::input;
use crate::fleet::models::ModelNames;
use crate::fleet::registry::Asked;
use crate::fleet::task::{Task, history::Pending};
use crate::id::TaskId;
use crate::plane::reading::state;
use crate::seal::{Purpose, Sealed};

/// Most reports of one call.
pub const REPORT_MAX: usize = 1_000;

/// Bytes of what names a group of errors.
const GROUP_BYTES: usize = 8;
/// Longest word of progress, in bytes: partial output belongs there, and the output itself into the report.
const PROGRESS_BYTES_MAX: usize = 64 << 10;

/// What a worker says of a task.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// It is done; the output is JSON.
    Completed(Bytes),
    /// It failed.
    Failed {
        /// Why, in words.
        error: String,
        /// Whether another attempt may do better; if not, the task fails for good.
        retryable: bool,
    },
    /// Its durable function waits: each for something, and what people are asked, as JSON, where it is people.
    Suspended(Vec<(Pending, Option<Value>)>),
}

/// The end of one attempt.
#[derive(Debug, Clone)]
pub struct Reported {
    /// Of which task.
    pub task: TaskId,
    /// Which attempt; older clients name none and mean the last one they received.
    pub attempt: Option<u32>,
    /// Proof of the claim.
    pub claim_token: Option<String>,
    /// How it ended.
    pub outcome: Outcome,
    /// The model that it says it used, in any spelling.
    pub model: Option<String>,
}

impl Session {
    /// Reports on a task. Once this returns, the result is durable; a repeat is answered alike.
    ///
    /// # Errors
    /// When the worker does not hold the newest attempt, or said something else before.
    pub async fn report(
        &self,
        task: TaskId,
        attempt: Option<u32>,
        claim_token: Option<&str>,
        outcome: Outcome,
    ) -> Result<(), Error> {
        let claim_token = claim_token.map(str::to_owned);
        let reported = Reported { task, attempt, claim_token, outcome, model: None };
        let mut said = self.report_many(vec![reported]).await?;
        said.pop().unwrap_or(Err(Error::OutcomeUnknown))
    }

    /// Reports on many tasks in one commit. Each has an answer of its own, in their order: what is wrong with one
    /// does not touch the others.
    ///
    /// # Errors
    /// When nothing was taken in: the worker may not work, there are too many reports, or no room for them.
    pub async fn report_many(
        &self,
        reports: Vec<Reported>,
    ) -> Result<Vec<Result<(), Error>>, Error> {
        let cell = self.approved().await?;
        if reports.len() > REPORT_MAX {
            let detail = format!("a call reports on at most {REPORT_MAX} tasks");
            return Err(Refusal::invalid("too_many", detail).into());
        }
        let mut answers = Vec::with_capacity(reports.len());
        let (mut taken, mut asked) = (Vec::new(), Vec::new());
        for report in reports {
            match self.prepare(report, &cell.models) {
                Ok(report) => {
                    asked.push((answers.len(), report.task, report.claimant, report.status));
                    taken.push(report);
                    answers.push(Ok(()));
                }
                Err(refusal) => answers.push(Err(refusal.into())),
            }
        }
        if taken.is_empty() {
            return Ok(answers);
        }
        let said = self.send_reports(&cell, taken).await?;
        for ((index, task, claimant, status), said) in asked.into_iter().zip(said) {
            answers[index] = match said {
                Ok(Asked::Found(())) => Ok(()),
                Ok(Asked::NotHere) => self.judge_closed(&cell, task, claimant, status).await,
                Err(error) => Err(error),
            };
        }
        Ok(answers)
    }

    /// Gives an attempt back: the task goes to another worker, and the attempt does not count.
    ///
    /// # Errors
    /// When the worker does not hold the newest attempt.
    pub async fn hand_back(
        &self,
        task: TaskId,
        attempt: Option<u32>,
        claim_token: Option<&str>,
    ) -> Result<(), Error> {
        let cell = self.approved().await?;
        let claimant = self.claimant(task, attempt, claim_token)?;
        let permit = self.plane.permit(cell.cell, 0)?;
        let within = self.plane.shared.config.answer_within;
        let origin = self.origin.clone();
        let say = |reply| dispatcher::Message::HandBack { task, claimant, origin, reply };
        match cell.dispatcher.call_with_permit(permit, within, say).await?? {
            Asked::Found(()) => Ok(()),
            Asked::NotHere => self.closed(&cell, task).await.map(drop),
        }
    }

    fn prepare(
        &self,
        report: Reported,
        models: &ModelNames,
    ) -> Result<dispatcher::Report, Refusal> {
        let Reported { task, attempt, claim_token, outcome, model } = report;
        let model = model.map(|name| {
            input::name("model", &name)?;
            Ok::<_, Refusal>(models.canonical(&name))
        });
        let model = model.transpose()?;
        let claimant = self.claimant(task, attempt, claim_token.as_deref())?;
        let mut waits = Vec::new();
        let (status, bytes, field, group, retryable) = match outcome {
            Outcome::Suspended(asked) => {
                let bytes = functions::suspension(asked, &mut waits)?;
                (Status::Suspended, bytes, "what is asked", None, false)
            }
            Outcome::Completed(output) => (Status::Completed, output, "output", None, false),
            Outcome::Failed { error, retryable } => {
                let group = Some(self.error_group(&error));
                (Status::Failed, Bytes::from(error), "error", group, retryable)
            }
        };
        input::size(field, bytes.len(), self.plane.shared.config.payload_max)?;
        let purpose = match status {
            Status::Completed => Purpose::Result,
            Status::Failed => Purpose::Error,
            Status::Suspended => Purpose::Asked,
        };
        let digest = Some(self.known.key.digest(&bytes));
        // A run whose step it is reads it next.
        let sealed = Some(self.known.ring.seal_at_hand(purpose, task.0.as_bytes(), bytes));
        Ok(dispatcher::Report {
            task,
            claimant,
            status,
            sealed,
            digest,
            group,
            retryable,
            model,
            waits,
        })
    }

    /// Names what the error text has in common with others, without saying it.
    fn error_group(&self, error: &str) -> String {
        let mac = self.known.key.mac("error group", &[fingerprint(error).as_bytes()]);
        hex::encode(&mac[..GROUP_BYTES])
    }

    /// Says how far a task is. Once this returns, what was said is durable.
    ///
    /// # Errors
    /// When the attempt is over, the percentage is none, or it is said too often.
    pub async fn progress(
        &self,
        task: TaskId,
        (attempt, claim_token): (Option<u32>, Option<&str>),
        percent: Option<u8>,
        said: Bytes,
    ) -> Result<(), Error> {
        let cell = self.approved().await?;
        let claimant = self.claimant(task, attempt, claim_token)?;
        input::size("progress", said.len(), PROGRESS_BYTES_MAX)?;
        if percent.is_some_and(|percent| percent > 100) {
            let detail = "percent must be between 0 and 100";
            return Err(Refusal::invalid("invalid_percent", detail).into());
        }
        let sealed = self.known.ring.seal(Purpose::Progress, task.0.as_bytes(), &said);
        let digest = self.known.key.digest(&said);
        let permit = self.plane.permit(cell.cell, said.len())?;
        let within = self.plane.shared.config.answer_within;
        let origin = self.origin.clone();
        let say = |reply| dispatcher::Message::Progress {
            task,
            claimant,
            percent,
            sealed,
            digest,
            origin,
            reply,
        };
        match cell.dispatcher.call_with_permit(permit, within, say).await?? {
            Asked::Found(()) => Ok(()),
            Asked::NotHere => {
                judge(&self.closed(&cell, task).await?, claimant, Status::Completed)?;
                let detail = "the attempt is over; stop working on the task";
                Err(Refusal::new(Kind::Conflict, "attempt_over", detail).into())
            }
        }
    }

    async fn send_reports(
        &self,
        cell: &OrgCell,
        reports: Vec<dispatcher::Report>,
    ) -> Result<Vec<Result<Asked<()>, Error>>, Error> {
        let sealed = |report: &dispatcher::Report| report.sealed.as_ref().map_or(0, Sealed::len);
        let permit = self.plane.permit(cell.cell, reports.iter().map(sealed).sum())?;
        let within = self.plane.shared.config.answer_within;
        let origin = self.origin.clone();
        let say = |reply| dispatcher::Message::Report { reports, origin, reply };
        Ok(cell.dispatcher.call_with_permit(permit, within, say).await?)
    }

    pub(super) fn claimant(
        &self,
        task: TaskId,
        attempt: Option<u32>,
        token: Option<&str>,
    ) -> Result<Claimant, Refusal> {
        let proved = match (attempt, token) {
            (Some(attempt), Some(token)) => self.is_proved(task, attempt, token),
            _ => false,
        };
        if token.is_some() && !proved {
            let detail = "the claim token does not belong to this task and attempt";
            return Err(Refusal::new(Kind::Forbidden, "bad_claim_token", detail));
        }
        Ok(Claimant { worker: self.worker, attempt, proved })
    }

    /// A report on a task that has left memory: its record answers, by the same rule. The task keeps that it did.
    async fn judge_closed(
        &self,
        cell: &OrgCell,
        task: TaskId,
        claimant: Claimant,
        status: Status,
    ) -> Result<(), Error> {
        let as_of = cell.positions.projected();
        let known = self.closed(cell, task).await?;
        match judge(&known, claimant, status) {
            Ok(Judgement::Repeat) => Ok(()),
            // It is open in its record and not in memory: its cell is starting.
            Ok(Judgement::Accept { .. }) => {
                Err(Error::Unavailable("the organisation is starting".to_owned()))
            }
            Err(refusal) => {
                if is_noteworthy(&known, claimant, &refusal).is_some() {
                    let known = Known { task: Box::new(known), as_of };
                    let refusal = refusal.clone();
                    let origin = self.origin.clone();
                    let say =
                        dispatcher::Message::RefusedFromRecord { known, claimant, refusal, origin };
                    // A cell that restarts at this moment loses a line of history and no work.
                    let _ = cell.dispatcher.send(say);
                }
                Err(refusal.into())
            }
        }
    }

    pub(super) async fn closed(&self, cell: &OrgCell, task: TaskId) -> Result<Task, Error> {
        self.plane.caught_up(cell.cell, &cell.positions).await?;
        let row = self.plane.row(cell.cell, Task::KIND, task.to_string()).await?;
        state(&row.ok_or_else(|| Refusal::not_found("task"))?)
    }
}
