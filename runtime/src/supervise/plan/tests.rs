//! Plays plans against imaginary children: whatever happens, in whatever order, some things hold.

use std::time::Duration;

use proptest::prelude::{Just, prop, prop_assert, prop_assert_eq, prop_oneof, proptest};
use proptest::strategy::Strategy as Generate;
use tokio::time::Instant;

use super::*;

/// Children that do what they are ordered to, when the test lets them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    Down,
    Starting,
    Up,
    Stopping,
    Waiting,
    /// It will not run again in this plan.
    Out,
}

/// What happens next, to the unit with this number, if it can.
#[derive(Debug, Clone, Copy)]
enum Step {
    Proceed(usize),
    Crash(usize),
    Away(usize),
    Stop(usize),
    Halt(usize),
}

struct Play {
    strategy: Strategy,
    restart: Restart,
    plan: Plan,
    units: Vec<Unit>,
    now: Instant,
    left: Option<End>,
}

impl Play {
    fn new(strategy: Strategy, count: usize, restart: Restart) -> Self {
        let budget = Budget { restarts: 1_000, within: Duration::from_secs(1) };
        let mut plan = Plan::new(strategy, budget, Exhausted::Escalate, vec![restart; count]);
        plan.begin();
        let units = vec![Unit::Down; count];
        let now = Instant::now();
        let mut play = Self { strategy, restart, plan, units, now, left: None };
        play.obey();
        play
    }

    fn step(&mut self, step: Step) {
        let count = self.units.len();
        match step {
            Step::Proceed(unit) => self.proceed(unit % count),
            Step::Crash(unit) => self.end(unit % count, End::Crashed("crash".to_owned())),
            Step::Away(unit) if self.units[unit % count] == Unit::Starting => {
                self.end(unit % count, End::Unavailable("away".to_owned()));
            }
            Step::Away(_) => {}
            Step::Stop(unit) if self.units[unit % count] == Unit::Up => {
                self.end(unit % count, End::Normal);
            }
            Step::Stop(_) => {}
            Step::Halt(unit) => self.end(unit % count, End::Halted("halt".to_owned())),
        }
        self.obey();
    }

    fn proceed(&mut self, unit: usize) {
        match self.units[unit] {
            Unit::Starting => {
                self.units[unit] = Unit::Up;
                self.plan.up(unit);
            }
            Unit::Stopping => self.ended(unit, End::Killed),
            Unit::Waiting => {
                self.units[unit] = Unit::Down;
                self.plan.retry(unit);
            }
            Unit::Down | Unit::Up | Unit::Out => {}
        }
    }

    fn end(&mut self, unit: usize, end: End) {
        if matches!(self.units[unit], Unit::Starting | Unit::Up | Unit::Stopping) {
            self.ended(unit, end);
        }
    }

    fn ended(&mut self, unit: usize, end: End) {
        self.units[unit] = Unit::Down;
        self.plan.ended(unit, end, self.now);
    }

    fn obey(&mut self) {
        while let Some(order) = self.plan.next() {
            match order {
                Order::Start(unit) => self.start(unit),
                Order::Stop(unit, _) => self.stop(unit),
                Order::Wait { child, .. } => self.units[child] = Unit::Waiting,
                Order::Finished(unit) | Order::Halted(unit, _) => self.units[unit] = Unit::Out,
                Order::Up => assert!(self.all_settled(self.units.len())),
                Order::Leave(end) => self.leave(end),
            }
        }
    }

    fn start(&mut self, unit: usize) {
        assert!(matches!(self.units[unit], Unit::Down | Unit::Waiting | Unit::Out));
        if self.strategy != Strategy::OneForOne {
            assert!(self.all_settled(unit), "{unit} started too early");
        }
        self.units[unit] = Unit::Starting;
    }

    fn stop(&mut self, unit: usize) {
        assert!(self.left.is_none());
        let runs = |unit: &Unit| matches!(unit, Unit::Starting | Unit::Up | Unit::Stopping);
        assert!(runs(&self.units[unit]));
        assert!(!self.units[unit + 1..].iter().any(runs), "{unit} stopped before those after it");
        self.units[unit] = Unit::Stopping;
    }

    fn leave(&mut self, end: End) {
        let runs = |unit: &Unit| matches!(unit, Unit::Starting | Unit::Up | Unit::Stopping);
        assert!(!self.units.iter().any(runs), "left while something ran");
        assert!(self.left.is_none(), "left twice");
        self.left = Some(end);
    }

    /// Whether the first so many run or are not to.
    fn all_settled(&self, count: usize) -> bool {
        self.units[..count].iter().all(|unit| match unit {
            Unit::Up | Unit::Out => true,
            // Stopped for the sake of a sibling, a temporary one is not started again.
            Unit::Down | Unit::Waiting => self.restart == Restart::Temporary,
            Unit::Starting | Unit::Stopping => false,
        })
    }

    /// Lets everything proceed as far as it goes by itself.
    fn come_to_rest(&mut self) {
        for _ in 0..4 * self.units.len() {
            (0..self.units.len()).for_each(|unit| self.step(Step::Proceed(unit)));
        }
    }
}

fn strategies() -> impl Generate<Value = Strategy> {
    prop_oneof![Just(Strategy::OneForOne), Just(Strategy::RestForOne), Just(Strategy::OneForAll)]
}

fn restarts() -> impl Generate<Value = Restart> {
    prop_oneof![Just(Restart::Permanent), Just(Restart::Transient), Just(Restart::Temporary)]
}

fn steps() -> impl Generate<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => (0usize..8).prop_map(Step::Proceed),
        2 => (0usize..8).prop_map(Step::Crash),
        1 => (0usize..8).prop_map(Step::Away),
        1 => (0usize..8).prop_map(Step::Stop),
        1 => (0usize..8).prop_map(Step::Halt),
    ];
    prop::collection::vec(step, 0..80)
}

proptest! {
    #[test]
    fn whatever_happens_everything_comes_up_again(
        strategy in strategies(), restart in restarts(), count in 1usize..5, steps in steps(),
    ) {
        let mut play = Play::new(strategy, count, restart);

        steps.into_iter().for_each(|step| play.step(step));
        play.come_to_rest();

        prop_assert!(play.left.is_none());
        prop_assert!(play.all_settled(count), "{:?}", play.units);
        prop_assert!(play.plan.was_up());
    }

    #[test]
    fn whenever_it_is_told_to_leave_it_leaves_once_and_nothing_runs(
        strategy in strategies(), restart in restarts(), count in 1usize..5, steps in steps(),
        more in steps(),
    ) {
        let mut play = Play::new(strategy, count, restart);

        steps.into_iter().for_each(|step| play.step(step));
        play.plan.leave(Manner::Drain, End::Normal);
        play.obey();
        more.into_iter().for_each(|step| play.step(step));
        play.plan.leave(Manner::Kill, End::Killed);
        play.obey();
        play.come_to_rest();

        prop_assert_eq!(play.left, Some(End::Normal));
    }

    #[test]
    fn a_crash_too_many_ends_it(strategy in strategies(), count in 1usize..5) {
        let mut play = Play::new(strategy, count, Restart::Permanent);
        play.come_to_rest();

        for _ in 0..=1_000 {
            play.step(Step::Crash(0));
            play.come_to_rest();
        }

        let reason = "restart budget is spent, at last by: crash".to_owned();
        prop_assert_eq!(play.left, Some(End::GaveUp(reason)));
    }
}
