//! How attempts end, and who may hold them: the dispatcher's half that connections and the registry talk to.

use std::collections::HashSet;
use std::sync::Arc;

use fleetward_runtime::{Address, Context};
use fleetward_store::{Origin, Position};

use super::report::{self, Claimant};
use super::{Message, State};
use crate::effect::Effect;
use crate::error::Error;
use crate::fleet::connection::{self, Grant, Granted, Lease};
use crate::fleet::registry::{Asked, Roster, Seat};
use crate::fleet::task::history::History;
use crate::fleet::task::{Attempt, Ending, Event, Failure, Task};
use crate::id::{TaskId, WorkerId};
use crate::journal::Draft;

impl State {
    pub(super) fn hand_back(
        &mut self,
        id: TaskId,
        claimant: Claimant,
        origin: Option<Arc<Origin>>,
        cx: &Context<Message>,
    ) -> Result<Asked<()>, Error> {
        let Some(task) = self.book.task(id) else { return Ok(Asked::NotHere) };
        let attempt = report::owned(task, claimant)?;
        let log = self.log.clone();
        let mut draft = log.begin(cx.clock().wall_us()).asked_by(origin);
        self.end_in(&mut draft, (id, attempt), Some(claimant.worker), Ending::HandedBack);
        self.place_woken(&mut draft);
        draft.submit();
        Ok(Asked::Found(()))
    }

    /// Ends an attempt without a result, if it still holds the lease: the task goes back to the front of its
    /// queue, or fails when it has lost too many.
    pub(super) fn end(
        &mut self,
        id: TaskId,
        attempt: u32,
        worker: Option<WorkerId>,
        why: Ending,
        cx: &Context<Message>,
    ) {
        let log = self.log.clone();
        let mut draft = log.begin(cx.clock().wall_us());
        self.end_in(&mut draft, (id, attempt), worker, why);
        self.place_woken(&mut draft);
        draft.submit();
    }

    fn end_in(
        &mut self,
        draft: &mut Draft<'_>,
        (id, attempt): (TaskId, u32),
        worker: Option<WorkerId>,
        why: Ending,
    ) {
        let lease = self.book.task(id).and_then(Task::lease);
        let holds = |lease: &&Attempt| {
            lease.number == attempt && worker.is_none_or(|worker| lease.worker == worker)
        };
        let Some(worker) = lease.filter(holds).map(|lease| lease.worker) else { return };
        let by = match why {
            Ending::HandedBack => self.book.author(worker),
            _ => self.by_system.clone(),
        };
        let returned = Event::Returned { attempt, worker, why };
        let stamp = draft.push::<Task>(id, &returned, &by, None);
        self.book.apply(id, &returned, stamp);
        if why == Ending::Lapsed {
            metrics::counter!("fleetward_leases_lapsed_total").increment(1);
        }
        let crashes = self.book.task(id).map_or(0, |task| task.crashes);
        if crashes >= self.args.config.attempt_cap {
            let why = Failure::AttemptsExhausted;
            let failed = Event::Failed { attempt, worker, why, digest: None, group: None };
            let stamp = draft.push::<Task>(id, &failed, &self.by_system, None);
            self.book.apply(id, &failed, stamp);
            self.closed(id, None, draft);
        } else {
            self.place(&[id], draft);
        }
        self.seats_freed(worker, vec![(id, attempt)], draft);
    }

    /// A worker has seats again: its connection learns it, and polls that waited for a seat are served.
    pub(super) fn seats_freed(
        &mut self,
        worker: WorkerId,
        attempts: Vec<(TaskId, u32)>,
        draft: &mut Draft<'_>,
    ) {
        if let Some(connection) = self.args.connections.get(&worker) {
            let _ = connection.send(connection::Message::Over { attempts });
            self.serve(worker, &connection, draft);
        }
    }

    pub(super) fn tell_holds(&self, worker: WorkerId) {
        if let Some(connection) = self.args.connections.get(&worker) {
            self.holds(worker, &connection);
        }
    }

    pub(super) fn holds(&self, worker: WorkerId, connection: &Address<connection::Message>) {
        let leases = self.leases_of(worker);
        let _ = connection.send(connection::Message::Holds { leases });
    }

    pub(super) fn leases_of(&self, worker: WorkerId) -> Vec<connection::Lease> {
        self.book.leases(worker).filter_map(lease).collect()
    }

    pub(super) fn seated(&mut self, seat: Seat) {
        let worker = seat.worker;
        if self.book.seat(seat)
            && let Some(connection) = self.args.connections.get(&worker)
        {
            // It may have polled before this was known.
            let _ = connection.send(connection::Message::OfferAgain);
        }
    }

    /// The grant of a claim that the worker repeats: the same tasks, attempts and tokens.
    pub(super) fn grant_again(&mut self, worker: WorkerId, request: String, poll: u64) {
        let Some(to) = self.args.connections.get(&worker) else { return };
        let of_claim = |task: &Task| {
            let lease = task.lease().filter(|lease| lease.request.as_ref() == Some(&request))?;
            Some(Granted {
                task: task.id,
                attempt: lease.number,
                wants: task.wants.clone(),
                submitted: task.submitted,
                payload: None,
                claimed_at: lease.claimed_at,
                step: task.step.clone(),
                checkpoints: task.history().map_or(0, History::len),
            })
        };
        let tasks: Vec<_> = self.book.leases(worker).filter_map(of_claim).collect();
        if !tasks.is_empty() {
            let grant = Box::new(Grant { poll, request: Some(request), tasks });
            self.log.after_what_came_before(vec![Effect::Grant { to, grant }]);
        }
    }

    pub(super) fn unseat(&mut self, worker: WorkerId, as_of: Position, cx: &Context<Message>) {
        for (task, attempt) in self.book.unseat(worker, as_of) {
            self.end(task, attempt, Some(worker), Ending::Revoked, cx);
        }
        self.tell_holds(worker);
    }

    pub(super) fn roster(&mut self, roster: Roster, as_of: Position, cx: &Context<Message>) {
        self.govern(roster.policy, cx);
        let seats = roster.seats;
        let named: HashSet<_> = seats.iter().map(|seat| seat.worker).collect();
        let gone: Vec<_> = self.book.seated().filter(|worker| !named.contains(worker)).collect();
        gone.into_iter().for_each(|worker| self.unseat(worker, as_of, cx));
        seats.into_iter().for_each(|seat| self.seated(seat));
    }
}

fn lease(task: &Task) -> Option<Lease> {
    let Attempt { number, request, .. } = task.lease()?;
    Some(Lease { task: task.id, attempt: *number, request: request.clone() })
}
