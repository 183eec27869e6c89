//! The rules of supervision: what to start, stop and wait for next. Pure: no clock, no actors.
//!
//! A crew tells it what happened and carries out the orders it gives.

use std::collections::VecDeque;

use tokio::time::Instant;

use super::budget::Ledger;
use super::{Budget, Exhausted, Restart, Strategy};
use crate::life::{End, Manner};

/// What to do next. Children are named by their place in the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Order {
    Start(usize),
    Stop(usize, Manner),
    /// Come back with [`Plan::retry`] after the back-off for this attempt.
    Wait {
        child: usize,
        attempt: u32,
        reason: String,
    },
    /// This child is not to run.
    Finished(usize),
    /// This child stays down.
    Halted(usize, String),
    /// All children run, for the first time.
    Up,
    /// All children are down and the whole unit is to end.
    Leave(End),
}

/// Where one child stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Down,
    Starting,
    Up,
    Stopping,
    Waiting,
    Finished,
    Halted,
}

#[derive(Debug)]
struct Child {
    restart: Restart,
    phase: Phase,
    /// To be brought down, whatever comes then.
    doomed: bool,
    /// Starts alone: neither waits for those before it nor holds up those after it.
    alone: bool,
    /// Starts that found something away, one after the other.
    outages: u32,
}

/// The state of a supervisor's children, and what follows from it.
#[derive(Debug)]
pub(crate) struct Plan {
    strategy: Strategy,
    exhausted: Exhausted,
    ledger: Ledger,
    children: Vec<Child>,
    leaving: Option<(Manner, End)>,
    was_up: bool,
    left: bool,
    orders: VecDeque<Order>,
}

impl Plan {
    pub(crate) fn new(
        strategy: Strategy,
        budget: Budget,
        exhausted: Exhausted,
        children: impl IntoIterator<Item = Restart>,
    ) -> Self {
        let child = |restart| Child {
            restart,
            phase: Phase::Down,
            doomed: false,
            alone: false,
            outages: 0,
        };
        Self {
            strategy,
            exhausted,
            ledger: Ledger::new(budget),
            children: children.into_iter().map(child).collect(),
            leaving: None,
            was_up: false,
            left: false,
            orders: VecDeque::new(),
        }
    }

    /// The next thing to do, if there is one now.
    pub(crate) fn next(&mut self) -> Option<Order> {
        self.orders.pop_front()
    }

    /// Whether all children have run at the same time.
    pub(crate) fn was_up(&self) -> bool {
        self.was_up
    }

    pub(crate) fn begin(&mut self) {
        self.advance();
    }

    /// A child runs.
    pub(crate) fn up(&mut self, child: usize) {
        let child = &mut self.children[child];
        child.outages = 0;
        if child.phase == Phase::Starting {
            child.phase = Phase::Up;
        }
        self.advance();
    }

    /// The back-off of a child has passed.
    pub(crate) fn retry(&mut self, child: usize) {
        if self.children[child].phase == Phase::Waiting {
            self.children[child].phase = Phase::Down;
            self.advance();
        }
    }

    /// A life of a child has ended.
    pub(crate) fn ended(&mut self, child: usize, end: End, now: Instant) {
        let before = self.children[child].phase;
        if before == Phase::Stopping {
            self.children[child].phase = Phase::Down;
        } else {
            self.ended_by_itself(child, end, now);
        }
        self.advance();
    }

    /// Brings everything down and ends. Asking again in a harder manner hurries it.
    pub(crate) fn leave(&mut self, manner: Manner, end: End) {
        match &mut self.leaving {
            Some((now, _)) if *now >= manner => return,
            Some((now, _)) => *now = manner,
            None => self.leaving = Some((manner, end)),
        }
        for (place, child) in self.children.iter_mut().enumerate() {
            child.doomed = true;
            if child.phase == Phase::Stopping {
                self.orders.push_back(Order::Stop(place, manner));
            }
        }
        self.advance();
    }

    fn ended_by_itself(&mut self, child: usize, end: End, now: Instant) {
        let restart = self.children[child].restart;
        match end {
            End::Unavailable(reason) => self.wait_out(child, reason),
            End::Halted(reason) => {
                self.children[child].phase = Phase::Halted;
                self.orders.push_back(Order::Halted(child, reason));
            }
            _ if restart == Restart::Temporary => self.finish(child),
            End::Normal if restart == Restart::Transient => self.finish(child),
            End::Hopeless(reason) => {
                self.children[child].phase = Phase::Down;
                self.give_up(reason, End::Hopeless);
            }
            End::Normal | End::Killed => self.restart(child, "stopped".to_owned(), now),
            End::Crashed(reason) | End::GaveUp(reason) => self.restart(child, reason, now),
        }
    }

    /// Something is away: try again for as long as it takes. Nobody else is concerned, because
    /// nobody could have relied on a child that does not run.
    fn wait_out(&mut self, child: usize, reason: String) {
        let state = &mut self.children[child];
        let attempt = state.outages;
        state.outages = attempt.saturating_add(1);
        state.phase = Phase::Waiting;
        self.orders.push_back(Order::Wait { child, attempt, reason });
    }

    fn restart(&mut self, child: usize, reason: String, now: Instant) {
        let was_up = self.children[child].phase == Phase::Up;
        let Some(attempt) = self.ledger.spend(now) else {
            self.children[child].phase = Phase::Down;
            self.give_up(format!("restart budget is spent, at last by: {reason}"), End::GaveUp);
            return;
        };
        self.children[child].phase = Phase::Waiting;
        let affected = match self.strategy {
            Strategy::OneForOne => 0..0,
            Strategy::RestForOne => child + 1..self.children.len(),
            Strategy::OneForAll => 0..self.children.len(),
        };
        if was_up && self.strategy == Strategy::OneForOne {
            self.children[child].alone = true;
        }
        for other in affected.filter(|other| *other != child) {
            self.children[other].doomed = true;
        }
        self.orders.push_back(Order::Wait { child, attempt, reason });
    }

    fn give_up(&mut self, reason: String, escalated: fn(String) -> End) {
        let end = match self.exhausted {
            Exhausted::Halt => End::Halted(reason),
            Exhausted::Escalate => escalated(reason),
        };
        // If it is leaving already, it keeps leaving as it was told.
        if self.leaving.is_none() {
            self.leave(Manner::Kill, end);
        }
    }

    fn finish(&mut self, child: usize) {
        self.children[child].phase = Phase::Finished;
        self.orders.push_back(Order::Finished(child));
    }

    fn advance(&mut self) {
        if self.left || !self.bring_down() {
            return;
        }
        if let Some((_, end)) = &self.leaving {
            self.left = true;
            self.orders.push_back(Order::Leave(end.clone()));
            return;
        }
        self.bring_up();
        let settled = |child: &Child| child.phase.is_settled();
        if !self.was_up && self.children.iter().all(settled) {
            self.was_up = true;
            self.orders.push_back(Order::Up);
        }
    }

    /// Stops what is doomed, from the last, each when the one after it is down. Tells whether all
    /// of it is.
    fn bring_down(&mut self) -> bool {
        let manner = self.leaving.as_ref().map_or(Manner::Kill, |(manner, _)| *manner);
        for (place, child) in self.children.iter_mut().enumerate().rev() {
            if !child.doomed {
                continue;
            }
            match child.phase {
                Phase::Starting | Phase::Up => {
                    child.phase = Phase::Stopping;
                    self.orders.push_back(Order::Stop(place, manner));
                    return false;
                }
                Phase::Stopping => return false,
                Phase::Down | Phase::Waiting | Phase::Finished | Phase::Halted => {
                    child.brought_down();
                }
            }
        }
        true
    }

    /// Starts what is down, from the first, each when the one before it is up.
    fn bring_up(&mut self) {
        let waits = |child: &Child| child.phase == Phase::Waiting;
        if self.strategy == Strategy::OneForAll && self.children.iter().any(waits) {
            // They come up together, so one's back-off is everybody's.
            return;
        }
        let mut held_up = false;
        for (place, child) in self.children.iter_mut().enumerate() {
            if child.phase == Phase::Down && (child.alone || !held_up) {
                child.phase = Phase::Starting;
                self.orders.push_back(Order::Start(place));
            }
            held_up |= !child.alone && !child.phase.is_settled();
        }
    }
}

impl Child {
    fn brought_down(&mut self) {
        self.doomed = false;
        self.alone = false;
        self.phase = match self.phase {
            Phase::Halted => Phase::Halted,
            _ if self.restart == Restart::Temporary => Phase::Finished,
            _ => Phase::Down,
        };
    }
}

impl Phase {
    fn is_settled(self) -> bool {
        matches!(self, Self::Up | Self::Finished | Self::Halted)
    }
}

#[cfg(test)]
mod tests;
