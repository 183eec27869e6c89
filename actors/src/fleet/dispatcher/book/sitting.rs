//! A worker that may work: what it offers, what it holds, and its polls. Pure.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use fleetward_store::{Origin, Position};

use crate::fleet::anomaly::rules::Tally;
use crate::fleet::dispatcher::balance::{Berth, TURNS, Turns, berth, free_slot};
use crate::fleet::dispatcher::matcher::Poll;
use crate::fleet::policy::Balancing;
use crate::fleet::registry::Seat;
use crate::fleet::task::Profile;
use crate::id::{TaskId, WorkerId};

/// A poll as its connection tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parked {
    /// Its number; unique in this process.
    pub poll: u64,
    /// The claim's own name.
    pub request: Option<String>,
    /// It looks once and does not wait.
    pub once: bool,
    /// Most tasks that it takes.
    pub max: usize,
    /// By which request.
    pub origin: Option<Arc<Origin>>,
}

/// A worker that may work.
#[derive(Debug)]
pub(super) struct Sitting {
    pub(super) profile: Arc<Profile>,
    /// How the record names it.
    pub(super) by: Arc<str>,
    /// How many tasks it may run; 0 while it is paused.
    pub(super) seats: usize,
    pub(super) declared: u32,
    pub(super) paused: bool,
    /// Models that it declared and does not see now.
    pub(super) gone: BTreeSet<String>,
    /// Those that none of its endpoints names though all answer, and since when, in microseconds UTC.
    pub(super) lacking: BTreeMap<String, i64>,
    pub(super) as_of: Position,
    /// Attempts it holds.
    pub(super) leases: BTreeMap<TaskId, u32>,
    /// Its polls that wait in the matcher, by number.
    pub(super) parked: BTreeMap<u64, Berth>,
    /// How its pool chooses among those that wait.
    pub(super) balancing: Balancing,
    /// Its last turn, where they take turns.
    pub(super) turn: u64,
    /// Its polls that wait for a free seat.
    pub(super) seatless: VecDeque<Parked>,
    /// Its polls that a task is on its way to.
    pub(super) served: BTreeSet<u64>,
    /// What was counted of it since it sat down.
    pub(super) tally: Tally,
}

/// A worker that may work.
#[derive(Debug, Clone, Copy)]
pub struct Seated<'a> {
    /// Who.
    pub worker: WorkerId,
    /// What it offers.
    pub profile: &'a Profile,
    /// Models that it declared and does not see now.
    pub gone: &'a BTreeSet<String>,
    /// How many tasks it may run.
    pub seats: usize,
    /// It gets no new ones.
    pub paused: bool,
    /// How many it runs.
    pub leases: usize,
    /// How many polls it has waiting.
    pub polls: usize,
}

impl Sitting {
    /// A worker that has just sat down, with the attempts that it held before.
    pub(super) fn new(seat: Seat, seats: usize, leases: BTreeMap<TaskId, u32>) -> Self {
        let Seat { worker, profile, seats: declared, paused, gone, lacking, as_of } = seat;
        Self {
            profile: Arc::new(profile),
            by: format!("worker:{worker}").into(),
            seats,
            declared,
            paused,
            gone,
            lacking,
            as_of,
            leases,
            parked: BTreeMap::new(),
            balancing: Balancing::default(),
            turn: 0,
            seatless: VecDeque::new(),
            served: BTreeSet::new(),
            tally: Tally::default(),
        }
    }

    /// As others see it.
    pub(super) fn seen(&self, worker: WorkerId) -> Seated<'_> {
        Seated {
            worker,
            profile: &self.profile,
            gone: &self.gone,
            seats: self.seats,
            paused: self.paused,
            leases: self.leases.len(),
            polls: self.parked.len() + self.seatless.len(),
        }
    }

    /// Where a poll of it stands that parks now.
    pub(super) fn berth(&self, turns: &Turns, seq: u64) -> Berth {
        let (first, last) = match self.balancing {
            Balancing::LongestWaiting => (0, 0),
            Balancing::LeastLoaded => (self.leases.len() as u64, u64::MAX),
            Balancing::RoundRobin => {
                let now = turns.now(&self.profile.pool);
                (now.max(self.turn + 1), now + TURNS - 1)
            }
        };
        let taken: BTreeSet<_> = self.parked.values().map(|berth| berth.slot).collect();
        berth(self.balancing, free_slot(first, &taken).min(last), self.seats, seq)
    }

    /// Whether its polls may stand for other seats than those that are free, once its load has changed.
    pub(super) fn stands_by_load(&self) -> bool {
        self.balancing == Balancing::LeastLoaded && !self.parked.is_empty()
    }

    /// One of its polls that stands for a seat which is taken, or for one behind another that is free; or at a turn that it
    /// has had.
    pub(super) fn misplaced(&self) -> Option<u64> {
        let first = self.leases.len() as u64;
        let free = first..first + self.parked.len() as u64;
        let is_off = |(_, berth): &(&u64, &Berth)| match self.balancing {
            Balancing::LongestWaiting => false,
            Balancing::LeastLoaded => !free.contains(&berth.slot),
            Balancing::RoundRobin => berth.place.order.rank.unsigned_abs() <= self.turn,
        };
        self.parked.iter().find(is_off).map(|(poll, _)| *poll)
    }

    /// How many tasks a poll that is not parked may take: within `most`, its own limit and the free seats.
    pub(super) fn room(&self, poll: &Poll, most: usize) -> usize {
        let taken = self.leases.len() + self.parked.len();
        let most = poll.max.min(most).max(1);
        self.seats.saturating_sub(taken).clamp(1, most)
    }
}
