//! The dispatcher's memory: open tasks, who sits where, and the queues between them. Pure.

mod census;
mod serving;
mod sitting;

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use fleetward_store::Position;
use foldhash::HashMap;

use super::agenda::{Agenda, avoids};
use super::balance::Turns;
pub use super::kept::Stay;
use super::kept::{Homes, Kept};
use super::matcher::{Limit, Matcher, Order};
use crate::fact::{Fold, Stamp};
use crate::fleet::anomaly::rules::Tally;
use crate::fleet::policy::{Capped, Policy};
use crate::fleet::registry::Seat;
use crate::fleet::task::{self, Phase, Requirement, Task};
use crate::id::{TaskId, WorkerId};
use crate::seal::Sealed;
use crate::small;
use serving::move_poll;
pub use serving::{Match, Served};
use sitting::Sitting;
pub use sitting::{Parked, Seated};

/// What the dispatcher knows.
#[derive(Debug, Default)]
pub struct Book {
    /// Boxed: a map has up to two places for each of its entries.
    tasks: HashMap<TaskId, Box<Task>>,
    sittings: HashMap<WorkerId, Sitting>,
    /// Attempts of workers that have no sitting.
    orphans: HashMap<WorkerId, BTreeMap<TaskId, u32>>,
    matcher: Matcher,
    turns: Turns,
    homes: Homes,
    kept: Kept,
    /// Tasks that are kept no more, to be placed anew.
    released: Vec<TaskId>,
    agenda: Agenda,
    policy: Policy,
    /// What a priority is worth, in microseconds of waiting.
    priority_step: i64,
    /// Workers that tasks are pinned to.
    pinned: HashSet<WorkerId>,
    polls: u64,
    /// Closed tasks, oldest last event first: they leave once the rows contain them.
    closed: VecDeque<(Position, TaskId)>,
    /// The last event of the newest task that left.
    forgotten: Position,
    payloads: HashMap<TaskId, Sealed>,
    payload_bytes: usize,
    /// Tasks that failed for good.
    dead: u64,
    /// Workers whose reports the anomaly detector shall look at soon.
    noticed: BTreeSet<WorkerId>,
    /// Who submitted last: a million tasks of one submitter say so with one text.
    submitter: Option<Arc<str>>,
}

impl Book {
    /// The book that tasks from the store make. Nothing is queued before [`Book::queue_all`].
    pub fn open(tasks: Vec<Task>, priority_step: Duration) -> Self {
        let priority_step = i64::try_from(priority_step.as_micros()).unwrap_or(i64::MAX / 10);
        let mut book = Self { priority_step, ..Self::default() };
        book.tasks.reserve(tasks.len());
        for task in tasks {
            if task.is_closed() {
                book.closed.push_back((task.updated, task.id));
            }
            if let Some(lease) = task.lease() {
                book.orphans.entry(lease.worker).or_default().insert(task.id, lease.number);
            }
            book.enter(task);
        }
        book.closed.make_contiguous().sort_unstable();
        book
    }

    fn enter(&mut self, mut task: Task) {
        match &self.submitter {
            Some(submitter) if *submitter == task.by => task.by = submitter.clone(),
            _ => self.submitter = Some(task.by.clone()),
        }
        self.tasks.insert(task.id, Box::new(task));
    }

    /// Puts every task that waits for work into its queue, and every time into the agenda.
    pub fn queue_all(&mut self, now: i64) {
        self.tasks.values().for_each(|task| self.agenda.enter(task, now));
        let ready = self.tasks.values().filter(|task| task.is_ready(now)).map(|task| task.id);
        ready.collect::<Vec<_>>().into_iter().for_each(|id| self.queue(id, now));
    }

    /// From now on this policy counts, for everything but the seats of workers: those are seated anew.
    pub fn govern(&mut self, policy: Policy) {
        let running = self.tasks.values().filter(|task| task.lease().is_some());
        let running = running.map(|task| &*task.wants);
        self.matcher.govern(policy.gates(), &policy.weights, running);
        self.turns.govern(&policy);
        self.policy = policy;
        for (worker, sitting) in &mut self.sittings {
            let seats = self.policy.seats(*worker, sitting.declared, sitting.paused);
            let balancing = self.policy.balancing(&sitting.profile.pool);
            if (seats, balancing) != (sitting.seats, sitting.balancing) {
                (sitting.seats, sitting.balancing) = (seats, balancing);
                for (poll, old) in std::mem::take(&mut sitting.parked) {
                    move_poll(
                        (poll, old.place),
                        sitting,
                        &mut self.matcher,
                        &self.turns,
                        &mut self.polls,
                    );
                }
            }
        }
    }

    /// The policy that counts.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// A task that is open, or closed a moment ago.
    pub fn task(&self, id: TaskId) -> Option<&Task> {
        self.tasks.get(&id).map(Box::as_ref)
    }

    /// The same while it waits for work, and not for its time.
    pub fn ready(&self, id: TaskId, now: i64) -> Option<&Task> {
        self.task(id).filter(|task| task.is_ready(now))
    }

    /// All tasks in memory.
    pub fn tasks(&self) -> impl Iterator<Item = &Task> {
        self.tasks.values().map(Box::as_ref)
    }

    /// Whether a task that is not here may have been closed and forgotten since its record was read as absent
    /// at `position`.
    pub fn may_have_forgotten_since(&self, position: Position) -> bool {
        self.forgotten > position
    }

    /// Applies a fact about a task. Queues change by [`Book::queue`] and the matching functions.
    pub fn apply(&mut self, id: TaskId, event: &task::Event, stamp: Stamp<'_>) {
        let before = self.task(id).and_then(Task::lease).map(|lease| lease.worker);
        match self.tasks.get_mut(&id) {
            Some(task) => {
                let moves = task.phase == Phase::Waiting && moves(event);
                let may_be_kept = moves && task.handling.affinity.is_some();
                let stay = if may_be_kept { self.kept.remove(id) } else { None };
                match stay {
                    Some(stay) => self.agenda.also(task, stay.until, false),
                    None if moves => {
                        let order = order(task, self.priority_step);
                        self.matcher.unqueue_task(&task.wants, order);
                    }
                    None => {}
                }
                self.agenda.leave(task);
                task.evolve(event, stamp);
            }
            None => Task::begin(event, stamp).into_iter().for_each(|task| self.enter(task)),
        }
        if *event == (task::Event::Deleted {}) {
            // Whoever read its row before this looks again.
            self.tasks.remove(&id);
            self.forgotten = self.forgotten.max(stamp.seq);
            return;
        }
        let Some(task) = self.tasks.get(&id) else { return };
        self.agenda.enter(task, stamp.at);
        match event {
            task::Event::Claimed { worker, .. } => self.homes.claimed(task, *worker),
            task::Event::Returned { worker, .. } => self.homes.returned(task, *worker),
            _ => {}
        }
        let after = task.lease().map(|lease| (lease.worker, lease.number));
        let mut unsettled = None;
        if let Some(sitting) = before.and_then(|worker| self.sittings.get_mut(&worker)) {
            sitting.leases.remove(&id);
            small::trim(&mut sitting.leases);
            if census::count(&mut sitting.tally, event) {
                self.noticed.extend(before);
            }
            unsettled = before.filter(|_| after.is_none() && sitting.stands_by_load());
        }
        self.dead += u64::from(matches!(event, task::Event::Failed { .. }));
        match after {
            Some((worker, attempt)) => {
                if let Some(sitting) = self.sittings.get_mut(&worker) {
                    sitting.leases.insert(id, attempt);
                    unsettled = Some(worker).filter(|_| sitting.stands_by_load());
                }
            }
            None if before.is_some() => self.matcher.ended(&task.wants),
            None => {}
        }
        if task.is_closed() {
            self.closed.push_back((task.updated, id));
            self.take_payload(id);
        }
        if let Some(worker) = unsettled {
            self.settle(worker);
        }
    }

    /// Takes back a closed task that had left.
    pub fn readmit(&mut self, task: Task) {
        self.closed.push_back((task.updated, task.id));
        self.enter(task);
    }

    /// A task whose time has come.
    pub fn take_due(&mut self, now: i64) -> Option<TaskId> {
        self.agenda.take_due(now)
    }

    /// When the time of the next one comes, in microseconds UTC.
    pub fn next_due(&self) -> Option<i64> {
        self.agenda.next()
    }

    /// Lets go of closed tasks that the rows contain.
    pub fn forget(&mut self, projected: Position) {
        while let Some(&(updated, id)) = self.closed.front()
            && updated <= projected
        {
            self.closed.pop_front();
            // It may have been revived, and closed again later.
            if self.tasks.get(&id).is_some_and(|task| task.is_closed() && task.updated == updated) {
                self.tasks.remove(&id);
                self.forgotten = self.forgotten.max(updated);
            }
        }
    }

    /// Keeps a payload for the claim, within the budget.
    pub fn keep_payload(&mut self, id: TaskId, payload: Sealed, budget: usize) {
        if self.payload_bytes + payload.len() <= budget {
            self.payload_bytes += payload.len();
            self.payloads.insert(id, payload);
        }
    }

    /// The payload, where it is in memory.
    pub fn take_payload(&mut self, id: TaskId) -> Option<Sealed> {
        let payload = self.payloads.remove(&id)?;
        self.payload_bytes -= payload.len();
        Some(payload)
    }

    /// A worker may work, as of a position. Older news is ignored. True when it is news.
    pub fn seat(&mut self, mut seat: Seat) -> bool {
        let (worker, as_of) = (seat.worker, seat.as_of);
        // Which models are gone is no event: of two seats as of one position the later one told is true.
        let stale = |known: &Sitting| {
            let same = || known.gone == seat.gone && known.lacking.keys().eq(seat.lacking.keys());
            known.as_of > as_of || (known.as_of == as_of && same())
        };
        if self.sittings.get(&worker).is_some_and(stale) {
            return false;
        }
        // What is parked is offered again by its connection.
        self.set_polls(worker, &[]);
        self.release(worker);
        let (leases, tally, turn) = match self.sittings.remove(&worker) {
            Some(sitting) => {
                self.matcher.leave(&sitting.profile);
                seat.lacking.iter_mut().for_each(|(model, since)| {
                    *since = sitting.lacking.get(model).map_or(*since, |known| *known.min(since));
                });
                (sitting.leases, sitting.tally, sitting.turn)
            }
            None => (self.orphans.remove(&worker).unwrap_or_default(), Tally::default(), 0),
        };
        seat.profile.pinned = self.pinned.contains(&worker).then_some(worker);
        self.matcher.join(&seat.profile);
        let seats = self.policy.seats(worker, seat.seats, seat.paused);
        let balancing = self.policy.balancing(&seat.profile.pool);
        let sitting = Sitting { tally, balancing, turn, ..Sitting::new(seat, seats, leases) };
        self.sittings.insert(worker, sitting);
        true
    }

    /// A worker may not work any more. Answers the attempts it held.
    pub fn unseat(&mut self, worker: WorkerId, as_of: Position) -> Vec<(TaskId, u32)> {
        if self.sittings.get(&worker).is_none_or(|sitting| sitting.as_of > as_of) {
            return Vec::new();
        }
        self.set_polls(worker, &[]);
        self.release(worker);
        let Some(sitting) = self.sittings.remove(&worker) else { return Vec::new() };
        self.matcher.leave(&sitting.profile);
        sitting.leases.into_iter().collect()
    }

    /// Attempts of workers that may not work: to be returned.
    pub fn take_orphans(&mut self) -> Vec<(TaskId, u32)> {
        self.orphans.drain().flat_map(|(_, leases)| leases).collect()
    }

    /// Workers that may work.
    pub fn seated(&self) -> impl Iterator<Item = WorkerId> + '_ {
        self.sittings.keys().copied()
    }

    /// As of which position a worker is known to be allowed to work.
    pub fn seated_as_of(&self, worker: WorkerId) -> Option<Position> {
        self.sittings.get(&worker).map(|sitting| sitting.as_of)
    }

    /// How the record names a worker.
    pub fn author(&self, worker: WorkerId) -> Arc<str> {
        let seated = self.sittings.get(&worker).map(|sitting| sitting.by.clone());
        seated.unwrap_or_else(|| format!("worker:{worker}").into())
    }

    /// The tasks that a worker holds.
    pub fn leases(&self, worker: WorkerId) -> impl Iterator<Item = &Task> {
        let leases = self.sittings.get(&worker).map(|sitting| &sitting.leases);
        leases.into_iter().flatten().filter_map(|(task, _)| self.task(*task))
    }

    /// Workers that hold attempts.
    pub fn busy(&self) -> impl Iterator<Item = WorkerId> + '_ {
        self.sittings.iter().filter(|(_, s)| !s.leases.is_empty()).map(|(worker, _)| *worker)
    }

    /// Puts a task that waits for work into its queue, or keeps it for the worker that last had its key.
    pub fn queue(&mut self, id: TaskId, now: i64) {
        if self.ready(id, now).is_some_and(|task| task.handling.affinity.is_some()) {
            self.unkeep(id);
            if self.keep(id, now) {
                return;
            }
        }
        let Some(task) = self.tasks.get(&id).filter(|task| task.is_ready(now)) else { return };
        let (wants, order) = (task.wants.clone(), order(task, self.priority_step));
        let pin = wants.worker.filter(|worker| self.pinned.insert(*worker));
        if avoids(task, now) {
            self.matcher.avoid(id, &task.avoid);
        } else if !task.avoid.is_empty() {
            self.matcher.avoid(id, &BTreeSet::new());
        }
        let class = self.matcher.queue_task(&wants, order, id);
        // Equal requirements are one in memory while they wait.
        if let Some(task) = self.tasks.get_mut(&id) {
            task.wants = class;
        }
        pin.into_iter().for_each(|worker| self.pin(worker));
    }

    /// Requirements that a pause or a cap kept waiting and that may go on: polls may be parked for them.
    pub fn next_woken(&mut self) -> Option<Arc<Requirement>> {
        self.matcher.next_woken()
    }

    /// The limits that keep a task waiting.
    pub fn shut(&self, task: &Task) -> Vec<Limit> {
        self.matcher.shut(&task.wants)
    }

    /// How many of its kind go before a task, counted up to `most`.
    pub fn ahead(&self, task: &Task, most: usize) -> usize {
        self.matcher.ahead(&task.wants, order(task, self.priority_step), most)
    }

    /// Every worker that may work: who, what it offers, the seats it may use, the attempts it holds, its parked polls.
    pub fn sittings(&self) -> impl Iterator<Item = Seated<'_>> {
        self.sittings.iter().map(|(worker, sitting)| sitting.seen(*worker))
    }

    /// Each cap of the policy, how many tasks may run behind it, and how many do.
    pub fn caps(&self) -> impl Iterator<Item = (&Capped, u32, usize)> {
        self.policy.caps.iter().map(|cap| {
            let running = match (&cap.of, cap.of.gate()) {
                (_, Some(gate)) => self.matcher.running(&gate, cap.max as usize),
                (Capped::Worker(worker), None) => self.leases(*worker).count(),
                (_, None) => 0,
            };
            (&cap.of, cap.max, running)
        })
    }

    /// Waiting tasks, when the oldest of those that go first was submitted, leased tasks, parked polls.
    pub fn depth(&self) -> Depth {
        let (waiting, heads) = self.matcher.waiting();
        let submitted = |id| self.tasks.get(&id).map(|task| task.submitted_at);
        let oldest = heads.chain(self.kept.tasks()).filter_map(submitted).min();
        let waiting = waiting + self.kept.len();
        let leased = self.sittings.values().map(|sitting| sitting.leases.len()).sum();
        let (paused, capped) = self.matcher.held();
        Depth { waiting, paused, capped, oldest, leased, parked: self.matcher.parked() }
    }
}

/// A task's place in its queue. Its waiting begins when it may be worked on.
fn order(task: &Task, priority_step: i64) -> Order {
    let since = task.handling.not_before.map_or(task.submitted_at, |at| at.max(task.submitted_at));
    let worth = priority_step.saturating_mul(i64::from(task.handling.priority));
    Order { rank: since.saturating_sub(worth), seq: task.submitted }
}

/// Whether an event takes a waiting task out of its queue, if only to be queued anew.
fn moves(event: &task::Event) -> bool {
    use task::Event::{Checkpointed, Progressed, ReportRefused};
    !matches!(event, ReportRefused { .. } | Progressed { .. } | Checkpointed { .. })
}

/// Sizes for metrics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Depth {
    /// Waiting tasks.
    pub waiting: usize,
    /// Those of them that a pause holds back.
    pub paused: usize,
    /// Those of them that only a cap holds back.
    pub capped: usize,
    /// When the oldest of those that go first in their classes was submitted, in microseconds UTC.
    pub oldest: Option<i64>,
    /// Leased tasks.
    pub leased: usize,
    /// Parked polls.
    pub parked: usize,
}
