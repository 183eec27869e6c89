//! Which of several waiting workers gets a task: where their polls stand. Pure.
//!
//! A poll's place is chosen when it parks, and is a number, so the first is found as fast as by age alone. Each poll stands
//! for a *slot*. Least loaded: the seat that its task would take, of its worker's seats that are free; in front is the poll
//! whose seat is the smallest part of its worker's. Round robin: the turn that its task would be, by start-time fair queueing
//! over the workers of a pool (a worker that comes late is owed nothing).

use std::collections::{BTreeSet, HashMap};

use super::matcher::{Order, Place};
use crate::fleet::policy::{Balancing, Policy};

/// Levels of load that are told apart. Beyond as many seats, a few of them are one level.
const LEVELS: u64 = 64;
/// How many turns ahead polls stand: those of a worker with more of them stand at the last of these until it comes.
pub(super) const TURNS: u64 = 16;

/// A parked poll: the slot that it stands for, and its place in the matcher.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Berth {
    pub(super) slot: u64,
    pub(super) place: Place,
}

/// Which turn it is in each pool where workers take turns.
#[derive(Debug, Default)]
pub(super) struct Turns {
    pools: HashMap<String, u64>,
    /// The latest of all: where other pools begin, so that no turn comes twice.
    latest: u64,
}

impl Turns {
    pub(super) fn now(&self, pool: &str) -> u64 {
        self.pools.get(pool).copied().unwrap_or(self.latest)
    }

    /// A worker had its turn.
    pub(super) fn had(&mut self, pool: &str, turn: u64) {
        let now = self.now(pool).max(turn);
        match self.pools.get_mut(pool) {
            Some(known) => *known = now,
            None => drop(self.pools.insert(pool.to_owned(), now)),
        }
        self.latest = self.latest.max(now);
    }

    /// Forgets pools where nobody takes turns any more.
    pub(super) fn govern(&mut self, policy: &Policy) {
        self.pools.retain(|pool, _| policy.balancing(pool) == Balancing::RoundRobin);
    }
}

/// The lowest slot that none of a worker's other polls stands for.
pub(super) fn free_slot(first: u64, taken: &BTreeSet<u64>) -> u64 {
    (first..).find(|slot| !taken.contains(slot)).unwrap_or(first)
}

/// Where a poll of a worker with so many seats stands; `seq` grows from poll to poll. A turn is one of the next [`TURNS`].
pub(super) fn berth(how: Balancing, slot: u64, seats: usize, seq: u64) -> Berth {
    let (line, rank) = match how {
        Balancing::LongestWaiting => (0, 0),
        Balancing::LeastLoaded => {
            let level = (slot * LEVELS / (seats as u64).max(1)).min(LEVELS - 1);
            (level, level)
        }
        // A line has every sixteenth turn: polls of one turn are all parked before those of the next in that line, for no
        // turn comes back.
        Balancing::RoundRobin => (LEVELS + slot % TURNS, slot),
    };
    let rank = i64::try_from(rank).unwrap_or(i64::MAX);
    let line = u8::try_from(line).unwrap_or_default();
    Berth { slot, place: Place { line, order: Order { rank, seq } } }
}

#[cfg(test)]
mod tests;
