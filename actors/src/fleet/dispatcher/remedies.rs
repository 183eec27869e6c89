//! What changes a task from outside of its attempts: operators, its own times, and the organisation's policy.

use std::sync::Arc;

use fleetward_runtime::{Context, Reply};
use fleetward_store::Origin;

use super::agenda::overtime;
use super::message::{Amended, Known, Subject};
use super::remedy::{self, Remedy};
use super::report::{Claimant, try_again};
use super::{Message, State};
use crate::cause::Cause;
use crate::effect::Effect;
use crate::error::Error;
use crate::fleet::policy::Policy;
use crate::fleet::task::{Event, Failure, Phase, Task};
use crate::guard::guarded;
use crate::id::{TaskId, WorkerId};
use crate::journal::Draft;

impl State {
    /// Does the same with many tasks in one entry; each has an answer of its own.
    pub(super) fn amend(
        &mut self,
        subjects: Vec<Subject>,
        remedy: &Remedy,
        by: &Cause,
        reply: Reply<Vec<Result<Amended, Error>>>,
        cx: &Context<Message>,
    ) {
        let log = self.log.clone();
        let mut draft = log.begin(cx.clock().wall_us());
        let mut outcomes = Vec::with_capacity(subjects.len());
        let mut waiting = Vec::new();
        // All before the first change: what is deleted makes every record that was read before that doubtful.
        let admitted: Vec<_> = subjects
            .into_iter()
            .map(|Subject { task, known }| (task, self.admit(task, known)))
            .collect();
        for (task, admitted) in admitted {
            let outcome = match admitted {
                Ok(()) => self.amend_one(task, remedy.clone(), by, &mut draft, cx),
                Err(instead) => Ok(instead),
            };
            if *remedy == Remedy::Retry && matches!(outcome, Ok(Amended::Done(_))) {
                waiting.push(task);
            }
            outcomes.push(outcome);
        }
        draft.allow(Effect::Answer(reply.with(outcomes)));
        self.place(&waiting, &mut draft);
        self.place_woken(&mut draft);
        draft.submit();
    }

    /// Sees that a task is in memory: where it is not, what its record says is taken, if that is still true.
    fn admit(&mut self, task: TaskId, known: Option<Known>) -> Result<(), Amended> {
        match known {
            _ if self.book.task(task).is_some() => Ok(()),
            None => Err(Amended::NotHere),
            Some(known) if self.book.may_have_forgotten_since(known.as_of) => {
                Err(Amended::LookAgain)
            }
            Some(known) => {
                self.book.readmit(*known.task);
                Ok(())
            }
        }
    }

    fn amend_one(
        &mut self,
        id: TaskId,
        remedy: Remedy,
        by: &Cause,
        draft: &mut Draft<'_>,
        cx: &Context<Message>,
    ) -> Result<Amended, Error> {
        let Some(task) = self.book.task(id) else { return Ok(Amended::NotHere) };
        let goes = matches!(remedy, Remedy::Delete { .. });
        let deleted = goes.then(|| Task { phase: Phase::Deleted, ..task.clone() });
        let held = task.lease().map(|lease| (lease.worker, lease.number));
        let event = guarded(cx, "decide/remedy", || remedy::decide(task, remedy))?;
        if let Some(event) = event {
            let stamp = draft.push::<Task>(id, &event, by, None);
            self.book.apply(id, &event, stamp);
            if let Some((worker, attempt)) = held {
                self.seats_freed(worker, vec![(id, attempt)], draft);
            }
            if self.book.task(id).is_some_and(Task::is_closed) {
                self.closed(id, None, draft);
            }
        }
        let task = self.book.task(id).cloned().or(deleted);
        Ok(task.map_or(Amended::NotHere, |task| Amended::Done(Box::new(task))))
    }

    /// Tasks whose time has come: to start, to fail at the deadline, or to go to anybody.
    pub(super) fn agenda_due(&mut self, cx: &Context<Message>) {
        let now = cx.clock().wall_us();
        let log = self.log.clone();
        let mut draft = log.begin(now);
        while let Some(id) = self.book.take_due(now) {
            let Some(task) = self.book.task(id).filter(|task| !task.is_closed()) else { continue };
            match task.handling.deadline {
                Some(deadline) if deadline <= now => self.miss_deadline(id, &mut draft),
                _ if overtime(task).is_some_and(|at| at <= now) => {
                    self.time_out(id, &mut draft);
                }
                _ => self.place(&[id], &mut draft),
            }
        }
        self.place_woken(&mut draft);
        draft.submit();
    }

    /// An attempt took too long: it failed, and is tried again like any other that did.
    fn time_out(&mut self, id: TaskId, draft: &mut Draft<'_>) {
        let Some(task) = self.book.task(id) else { return };
        let Some(lease) = task.lease() else { return };
        let (attempt, worker) = (lease.number, lease.worker);
        let event = match try_again(task, true, draft.at(), rand::random()) {
            Some(ready_at) => {
                Event::RetryScheduled { attempt, worker, ready_at, digest: None, group: None }
            }
            None => {
                let why = Failure::TimedOut;
                Event::Failed { attempt, worker, why, digest: None, group: None }
            }
        };
        let stamp = draft.push::<Task>(id, &event, &self.by_system, None);
        self.book.apply(id, &event, stamp);
        if self.book.task(id).is_some_and(Task::is_closed) {
            self.closed(id, None, draft);
        } else {
            self.place(&[id], draft);
        }
        self.seats_freed(worker, vec![(id, attempt)], draft);
    }

    fn miss_deadline(&mut self, id: TaskId, draft: &mut Draft<'_>) {
        let Some(task) = self.book.task(id) else { return };
        let held = task.lease().map(|lease| (lease.worker, lease.number));
        let newest = task.attempt.as_ref().map(|attempt| (attempt.number, attempt.worker));
        let (attempt, worker) = newest.unwrap_or((0, WorkerId(uuid::Uuid::nil())));
        let why = Failure::DeadlineExceeded;
        let event = Event::Failed { attempt, worker, why, digest: None, group: None };
        let stamp = draft.push::<Task>(id, &event, &self.by_system, None);
        self.book.apply(id, &event, stamp);
        self.closed(id, None, draft);
        if let Some((worker, attempt)) = held {
            self.seats_freed(worker, vec![(id, attempt)], draft);
        }
    }

    /// The registry's policy. Older news is ignored.
    pub(super) fn govern(&mut self, policy: Policy, cx: &Context<Message>) {
        if policy.as_of <= self.book.policy().as_of {
            return;
        }
        self.book.govern(policy);
        let log = self.log.clone();
        let mut draft = log.begin(cx.clock().wall_us());
        self.place_woken(&mut draft);
        let asking: Vec<_> =
            self.book.sittings().filter(|seated| seated.polls > 0).map(|s| s.worker).collect();
        for worker in asking {
            if let Some(connection) = self.args.connections.get(&worker) {
                self.serve(worker, &connection, &mut draft);
            }
        }
        draft.submit();
    }

    /// Gives tasks that a pause or a cap kept waiting to the polls that fit.
    pub(super) fn place_woken(&mut self, draft: &mut Draft<'_>) {
        while let Some(wants) = self.book.next_woken() {
            while let Some(found) = self.book.match_for(&wants) {
                self.claim(found, draft);
            }
        }
    }

    /// Notes on the record that a late report was refused, once for each attempt.
    pub(super) fn note_refusal(
        &mut self,
        id: TaskId,
        (attempt, claimant): (u32, Claimant),
        code: &'static str,
        draft: &mut Draft<'_>,
    ) {
        let worker = claimant.worker;
        let event = Event::ReportRefused { attempt, worker, code: code.to_owned() };
        let by = self.book.author(worker);
        let stamp = draft.push::<Task>(id, &event, &by, None);
        self.book.apply(id, &event, stamp);
    }

    /// The same for a task that had left memory.
    pub(super) fn refused_from_record(
        &mut self,
        known: Known,
        (claimant, origin): (Claimant, Option<Arc<Origin>>),
        refusal: &crate::error::Refusal,
        cx: &Context<Message>,
    ) {
        let id = known.task.id;
        // It may have been revived or deleted since.
        let may_differ = self.book.may_have_forgotten_since(known.as_of);
        if self.book.task(id).is_none() {
            if may_differ {
                return;
            }
            self.book.readmit(*known.task);
        }
        let Some(task) = self.book.task(id) else { return };
        let Some(attempt) = super::report::is_noteworthy(task, claimant, refusal) else { return };
        let log = self.log.clone();
        let mut draft = log.begin(cx.clock().wall_us()).asked_by(origin);
        self.note_refusal(id, (attempt, claimant), refusal.code, &mut draft);
        draft.submit();
    }
}
