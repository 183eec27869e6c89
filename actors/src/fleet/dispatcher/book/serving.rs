//! The polls of workers in the book: where they stand, and what they get. Pure.

use std::collections::BTreeSet;
use std::sync::Arc;

use foldhash::HashMap;

use super::sitting::{Parked, Sitting};
use super::{Book, order};
use crate::fleet::dispatcher::agenda::avoids;
use crate::fleet::dispatcher::balance::Turns;
use crate::fleet::dispatcher::kept::{Kept, Stay};
use crate::fleet::dispatcher::matcher::{Matcher, Place, Poll};
use crate::fleet::policy::Balancing;
use crate::fleet::task::{Profile, Requirement, Task};
use crate::id::{TaskId, WorkerId};

/// Tasks found for a poll.
#[derive(Debug, PartialEq, Eq)]
pub struct Match {
    /// Where they go.
    pub poll: Poll,
    /// At least one, within the poll's own limit and the free seats.
    pub tasks: Vec<TaskId>,
}

/// What became of the polls of a worker.
#[derive(Debug, PartialEq, Eq)]
pub enum Served {
    /// One has tasks: apply their claims, then ask again.
    Match(Match),
    /// None has, for now; these look once and are done.
    Empty(Vec<u64>),
}

impl Book {
    /// Makes the polls of a worker those that its connection has. Polls that are gone leave the queues; new ones
    /// wait for [`Book::serve`].
    pub fn set_polls(&mut self, worker: WorkerId, polls: &[Parked]) {
        let Some(sitting) = self.sittings.get_mut(&worker) else { return };
        sitting.tally.polls += u64::from(!polls.is_empty());
        let there = |poll: u64| polls.iter().any(|parked| parked.poll == poll);
        let gone: Vec<u64> = sitting.parked.keys().copied().filter(|poll| !there(*poll)).collect();
        for poll in gone {
            if let Some(berth) = sitting.parked.remove(&poll) {
                self.matcher.unpark(&sitting.profile, berth.place);
            }
        }
        sitting.served.retain(|poll| there(*poll));
        let fresh = |parked: &&Parked| {
            !sitting.parked.contains_key(&parked.poll) && !sitting.served.contains(&parked.poll)
        };
        sitting.seatless = polls.iter().filter(fresh).cloned().collect();
    }

    /// Gives the polls of a worker that have a free seat a task, or a place in the queue. One match at a
    /// time: its claim is applied before the next is looked for.
    pub fn serve(&mut self, worker: WorkerId) -> Served {
        let mut empty = Vec::new();
        let Some(sitting) = self.sittings.get_mut(&worker) else { return Served::Empty(empty) };
        while sitting.leases.len() + sitting.parked.len() < sitting.seats
            && let Some(Parked { poll, request, once, max, origin }) = sitting.seatless.pop_front()
        {
            let poll = Poll { worker, poll, request, max, origin };
            let room = sitting.room(&poll, usize::MAX);
            let mut tasks = take_kept(worker, room, &self.kept, &self.tasks, &mut self.matcher);
            let next = || self.matcher.take_task(&sitting.profile, worker);
            tasks.extend(std::iter::from_fn(next).take(room - tasks.len()));
            if !tasks.is_empty() {
                sitting.served.insert(poll.poll);
                if sitting.balancing == Balancing::RoundRobin {
                    let turn = sitting.berth(&self.turns, 0).slot;
                    self.had_turn(worker, turn);
                }
                // Nothing is lost in `empty`: a profile that found nothing finds nothing after it.
                return Served::Match(Match { poll, tasks });
            }
            if once {
                empty.push(poll.poll);
                continue;
            }
            self.polls += 1;
            let berth = sitting.berth(&self.turns, self.polls);
            sitting.parked.insert(poll.poll, berth);
            self.matcher.park(&sitting.profile, berth.place, poll);
        }
        empty.extend(sitting.seatless.iter().filter(|parked| parked.once).map(|p| p.poll));
        sitting.seatless.retain(|parked| !parked.once);
        sitting.seatless.shrink_to_fit();
        Served::Empty(empty)
    }

    /// The poll that gets a task of this kind at once, if one is parked.
    pub fn poll_for(&mut self, wants: &Arc<Requirement>) -> Option<Poll> {
        let poll = self.matcher.take_poll(wants)?;
        if let Some(sitting) = self.sittings.get_mut(&poll.worker) {
            let berth = sitting.parked.remove(&poll.poll);
            sitting.served.insert(poll.poll);
            if sitting.balancing == Balancing::RoundRobin {
                self.had_turn(poll.worker, berth.map_or(0, |berth| berth.slot));
            }
        }
        Some(poll)
    }

    /// A worker gets something to do.
    fn had_turn(&mut self, worker: WorkerId, turn: u64) {
        let Some(sitting) = self.sittings.get_mut(&worker) else { return };
        if sitting.balancing == Balancing::RoundRobin {
            sitting.turn = sitting.turn.max(turn);
            self.turns.had(&sitting.profile.pool, turn);
            self.settle(worker);
        }
    }

    /// The parked poll that may take queued tasks of this kind, and what it takes.
    pub fn match_for(&mut self, wants: &Arc<Requirement>) -> Option<Match> {
        let poll = self.poll_for(wants)?;
        let sitting = self.sittings.get(&poll.worker)?;
        // What comes together is spread over those that wait.
        let most = match sitting.balancing {
            _ if poll.max <= 1 => 1,
            Balancing::LongestWaiting => usize::MAX,
            _ => self.matcher.queued_per_poll(wants, &sitting.profile),
        };
        let room = sitting.room(&poll, most);
        let next = || self.matcher.take_task(&sitting.profile, poll.worker);
        let tasks: Vec<_> = std::iter::from_fn(next).take(room).collect();
        (!tasks.is_empty()).then_some(Match { poll, tasks })
    }

    /// The parked poll that takes a task which waits for work, and what it takes.
    pub fn match_task(&mut self, id: TaskId, now: i64) -> Option<Match> {
        let wants = self.ready(id, now)?.wants.clone();
        match self.kept.get(id) {
            Some(stay) => self.match_kept(stay.worker),
            None => self.match_for(&wants),
        }
    }

    /// The poll of a worker that takes what is kept for it.
    fn match_kept(&mut self, worker: WorkerId) -> Option<Match> {
        let sitting = self.sittings.get_mut(&worker)?;
        let first = sitting.parked.iter().min_by_key(|(_, berth)| berth.slot);
        let (number, berth) = first.map(|(number, berth)| (*number, *berth))?;
        let poll = self.matcher.unpark(&sitting.profile, berth.place)?;
        sitting.parked.remove(&number);
        let room = sitting.room(&poll, usize::MAX);
        let tasks = take_kept(worker, room, &self.kept, &self.tasks, &mut self.matcher);
        if tasks.is_empty() {
            // Nobody saw that it was away.
            sitting.parked.insert(number, berth);
            self.matcher.park(&sitting.profile, berth.place, poll);
            return None;
        }
        sitting.served.insert(number);
        self.had_turn(worker, berth.slot);
        Some(Match { poll, tasks })
    }

    /// Keeps a task for the worker that last had its key, if that may have it soon.
    pub(super) fn keep(&mut self, id: TaskId, now: i64) -> bool {
        let Some(task) = self.tasks.get(&id) else { return false };
        let Some(affinity) = &task.handling.affinity else { return false };
        let wait = affinity.wait_ms.saturating_mul(1_000);
        let since = task.ready_at.map_or(task.submitted_at, |at| at.max(task.submitted_at));
        let until = since.saturating_add_unsigned(wait);
        let Some(worker) = self.homes.of(task).filter(|_| until > now) else { return false };
        let avoided = avoids(task, now) && task.avoid.contains(&worker);
        let able = |sitting: &Sitting| sitting.seats > 0 && sitting.profile.fits(&task.wants);
        let is_able = self.sittings.get(&worker).is_some_and(able);
        if avoided || !is_able || !self.matcher.shut(&task.wants).is_empty() {
            return false;
        }
        let order = order(task, self.priority_step);
        if !self.kept.keep(id, Stay { worker, until, order }) {
            return false;
        }
        self.matcher.unqueue_task(&task.wants, order);
        self.agenda.also(task, until, true);
        true
    }

    /// Keeps it no more.
    pub(super) fn unkeep(&mut self, id: TaskId) {
        let stay = self.kept.remove(id);
        if let (Some(stay), Some(task)) = (stay, self.tasks.get(&id)) {
            self.agenda.also(task, stay.until, false);
        }
    }

    /// A worker is no more what it was: what is kept for it is looked at again.
    pub(super) fn release(&mut self, worker: WorkerId) {
        let kept: Vec<_> = self.kept.of(worker).collect();
        kept.iter().for_each(|id| self.unkeep(*id));
        self.released.extend(kept);
    }

    /// Tasks that were kept and must be placed anew.
    pub fn take_released(&mut self) -> Vec<TaskId> {
        std::mem::take(&mut self.released)
    }

    /// For whom a task is kept.
    pub fn stay(&self, id: TaskId) -> Option<&Stay> {
        self.kept.get(id)
    }

    /// Makes a worker a party of its own.
    pub(super) fn pin(&mut self, worker: WorkerId) {
        let Some(sitting) = self.sittings.get_mut(&worker) else { return };
        let old = sitting.profile.clone();
        let profile = Profile { pinned: Some(worker), ..(*old).clone() };
        self.matcher.join(&profile);
        let places: BTreeSet<_> = sitting.parked.values().map(|berth| berth.place).collect();
        for place in places {
            if let Some(poll) = self.matcher.unpark(&old, place) {
                self.matcher.park(&profile, place, poll);
            }
        }
        self.matcher.leave(&old);
        sitting.profile = Arc::new(profile);
    }

    /// Moves the polls of a worker that do not stand where they should any more.
    pub(super) fn settle(&mut self, worker: WorkerId) {
        let Some(sitting) = self.sittings.get_mut(&worker) else { return };
        while let Some(poll) = sitting.misplaced()
            && let Some(old) = sitting.parked.remove(&poll)
        {
            move_poll((poll, old.place), sitting, &mut self.matcher, &self.turns, &mut self.polls);
        }
    }
}

/// What is kept for a worker and may start now: these tasks run as soon as their claims are applied.
fn take_kept(
    worker: WorkerId,
    room: usize,
    kept: &Kept,
    tasks: &HashMap<TaskId, Box<Task>>,
    matcher: &mut Matcher,
) -> Vec<TaskId> {
    let starts = |id: &TaskId| tasks.get(id).is_some_and(|task| matcher.start(&task.wants));
    kept.of(worker).filter(starts).take(room).collect()
}

/// Gives a poll that stood somewhere the place that it has now; at the end of its line, where it comes to another.
pub(super) fn move_poll(
    (poll, old): (u64, Place),
    sitting: &mut Sitting,
    matcher: &mut Matcher,
    turns: &Turns,
    polls: &mut u64,
) {
    *polls += 1;
    let mut berth = sitting.berth(turns, *polls);
    if berth.place.line == old.line && berth.place.order.rank == old.order.rank {
        berth.place = old;
    } else if let Some(parked) = matcher.unpark(&sitting.profile, old) {
        matcher.park(&sitting.profile, berth.place, parked);
    }
    sitting.parked.insert(poll, berth);
}
