//! What workers say of the attempts that they hold: the ends, and how far they are.

use std::collections::BTreeMap;
use std::sync::Arc;

use fleetward_runtime::{Context, Reply};
use fleetward_store::Origin;

use super::report::{self, Claimant, Judgement, Status};
use super::{Message, Report, State, functions};
use crate::effect::Effect;
use crate::error::{Error, Kind, Refusal};
use crate::fleet::registry::Asked;
use crate::fleet::task::{Event, Failure, Phase, Task};
use crate::guard::guarded;
use crate::id::{TaskId, WorkerId};
use crate::journal::Draft;
use crate::seal::Sealed;

/// Shortest time between two words of progress of one task, in microseconds: each is an event.
const PROGRESS_EVERY: i64 = 500_000;

/// What became of one report.
enum Said {
    Accepted { attempt: u32 },
    Before,
    NotHere,
}

impl Said {
    fn asked(self) -> Asked<()> {
        match self {
            Self::Accepted { .. } | Self::Before => Asked::Found(()),
            Self::NotHere => Asked::NotHere,
        }
    }
}

impl State {
    /// Accepts results in one entry, and gives the seats that they free to what waits.
    pub(super) fn report(
        &mut self,
        reports: Vec<Report>,
        origin: Option<Arc<Origin>>,
        reply: Reply<Vec<Result<Asked<()>, Error>>>,
        cx: &Context<Message>,
    ) {
        let log = self.log.clone();
        let mut draft = log.begin(cx.clock().wall_us()).asked_by(origin);
        let mut freed: BTreeMap<WorkerId, Vec<_>> = BTreeMap::new();
        let mut outcomes = Vec::with_capacity(reports.len());
        for report in reports {
            let (task, worker) = (report.task, report.claimant.worker);
            let outcome = self.report_one(report, &mut draft, cx);
            if let Ok(Said::Accepted { attempt }) = outcome {
                freed.entry(worker).or_default().push((task, attempt));
            }
            outcomes.push(outcome.map(Said::asked));
        }
        draft.allow(Effect::Answer(reply.with(outcomes)));
        for (worker, attempts) in freed {
            self.seats_freed(worker, attempts, &mut draft);
        }
        self.place_woken(&mut draft);
        draft.submit();
        self.book.forget(self.log.positions().projected());
    }

    fn report_one(
        &mut self,
        report: Report,
        draft: &mut Draft<'_>,
        cx: &Context<Message>,
    ) -> Result<Said, Error> {
        let Some(task) = self.book.task(report.task) else { return Ok(Said::NotHere) };
        let judge = || {
            let judgement = report::judge(task, report.claimant, report.status)?;
            if report.status == Status::Suspended && judgement != Judgement::Repeat {
                functions::may_suspend(task, &report.waits)?;
            }
            Ok::<_, Refusal>(judgement)
        };
        match guarded(cx, "decide/report", judge) {
            Ok(Judgement::Accept { attempt }) => {
                if let Some(model) = &report.model {
                    self.book.note_model(report.claimant.worker, model);
                }
                if report.status == Status::Completed {
                    let (worker, said) = (report.claimant.worker, report.model.as_deref());
                    self.book.note_result(worker, report.task, said, draft.at());
                }
                self.close(report, attempt, draft);
                Ok(Said::Accepted { attempt })
            }
            Ok(Judgement::Repeat) => Ok(Said::Before),
            Err(error) => {
                metrics::counter!("fleetward_stale_reports_total").increment(1);
                if let Error::Refused(refusal) = &error
                    && let Some(attempt) = report::is_noteworthy(task, report.claimant, refusal)
                {
                    let said = (attempt, report.claimant);
                    self.note_refusal(report.task, said, refusal.code, draft);
                }
                self.note_foreign(&report);
                Err(error)
            }
        }
    }

    /// Somebody else's task, for a model that the worker does not have: it did not come to that by mistake.
    fn note_foreign(&mut self, report: &Report) {
        let worker = report.claimant.worker;
        let Some(task) = self.book.task(report.task) else { return };
        let own = task.attempt.as_ref().is_some_and(|attempt| attempt.worker == worker);
        if let Some(model) = task.wants.model.clone().filter(|_| !own) {
            self.book.note_model(worker, &model);
        }
    }

    fn close(&mut self, report: Report, attempt: u32, draft: &mut Draft<'_>) {
        let Report { task, claimant, status, sealed, digest, group, retryable, waits, .. } = report;
        let (worker, now) = (claimant.worker, draft.at());
        let known = self.book.task(task);
        let again = || report::try_again(known?, retryable, now, rand::random());
        let event = match status {
            Status::Completed => {
                Event::Completed { attempt, worker, digest: digest.unwrap_or_default() }
            }
            Status::Suspended => {
                Event::Suspended { attempt, worker, waits, digest: digest.unwrap_or_default() }
            }
            Status::Failed => match again() {
                Some(ready_at) => {
                    Event::RetryScheduled { attempt, worker, ready_at, digest, group }
                }
                None => Event::Failed { attempt, worker, why: Failure::Reported, digest, group },
            },
        };
        let by = self.book.author(worker);
        let kept = sealed.as_ref().map(Sealed::kept);
        let stamp = draft.push::<Task>(task, &event, &by, sealed);
        self.book.apply(task, &event, stamp);
        if self.book.task(task).is_some_and(Task::is_closed) {
            self.closed(task, kept, draft);
        } else {
            self.place(&[task], draft);
        }
    }

    /// Keeps what a worker says of how far it is.
    pub(super) fn progress(
        &mut self,
        id: TaskId,
        claimant: Claimant,
        (percent, sealed, digest): (Option<u8>, Sealed, String),
        origin: Option<Arc<Origin>>,
        cx: &Context<Message>,
    ) -> Result<Asked<()>, Error> {
        let Some(task) = self.book.task(id) else { return Ok(Asked::NotHere) };
        let now = cx.clock().wall_us();
        let attempt = guarded(cx, "decide/progress", || progressing(task, claimant, now))?;
        let worker = claimant.worker;
        let log = self.log.clone();
        let mut draft = log.begin(now).asked_by(origin);
        let event = Event::Progressed { attempt, worker, percent, digest };
        let by = self.book.author(worker);
        let stamp = draft.push::<Task>(id, &event, &by, Some(sealed));
        self.book.apply(id, &event, stamp);
        draft.submit();
        Ok(Asked::Found(()))
    }
}

/// Whether a word of progress is taken, and of which attempt.
fn progressing(task: &Task, claimant: Claimant, now: i64) -> Result<u32, Refusal> {
    let attempt = report::owned(task, claimant)?;
    if task.phase != Phase::Leased {
        let detail = "the attempt is over; stop working on the task";
        return Err(Refusal::new(Kind::Conflict, "attempt_over", detail));
    }
    if task.progress.as_ref().is_some_and(|last| now < last.at + PROGRESS_EVERY) {
        let detail = "progress of a task is taken twice a second at most; send it later, or not";
        return Err(Refusal::new(Kind::TooMany, "progress_too_often", detail));
    }
    Ok(attempt)
}
