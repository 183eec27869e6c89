//! Budgets, back-off, outages and starts that fail.

use std::time::Duration;

use expect_test::expect;
use fleetward_runtime::testkit::World;
use fleetward_runtime::{
    Backoff, Budget, CallError, ChildSpec, Exhausted, LifeState, StartError, Strategy,
    SupervisorSpec, System,
};

use crate::probe::{Log, Message, Puppet, Start};

const SECOND: Duration = Duration::from_secs(1);

/// Two restarts in ten seconds, without waiting in between.
fn frugal(strategy: Strategy) -> SupervisorSpec {
    SupervisorSpec::new(strategy)
        .budget(Budget { restarts: 2, within: 10 * SECOND })
        .backoff(Backoff::doubling(Duration::ZERO, Duration::ZERO))
}

fn state_of(system: &System, path: &str) -> LifeState {
    let tree = system.observe();
    tree.into_iter().find(|unit| unit.path == path).expect("the unit is in the tree").state
}

#[test]
fn a_spent_budget_ends_the_system() {
    World::run(async |world| {
        let a = Puppet::new("a", &Log::default());
        let system = world.start("system", frugal(Strategy::OneForOne).child(a.spec())).await;
        world.expect_crash("a");

        for _ in 0..3 {
            a.send(Message::Crash);
            world.settle().await;
        }

        let reason = system.ended().await;
        assert_eq!(reason, "restart budget is spent, at last by: told to");
        assert_eq!(a.address.send(Message::Say("hello")), Err(fleetward_runtime::Unavailable));
    });
}

#[test]
fn restarts_that_are_far_apart_spend_no_budget() {
    World::run(async |world| {
        let a = Puppet::new("a", &Log::default());
        world.start("system", frugal(Strategy::OneForOne).child(a.spec())).await;
        world.expect_crash("a");

        for _ in 0..10 {
            a.send(Message::Crash);
            world.pass(6 * SECOND).await;
        }

        assert!(a.address.is_alive());
    });
}

#[test]
fn a_supervisor_that_gives_up_is_a_crash_for_the_one_above() {
    World::run(async |world| {
        let log = Log::default();
        let [a, b] = ["a", "b"].map(|name| Puppet::new(name, &log));
        let inner = frugal(Strategy::OneForOne).child(b.spec());
        let spec = frugal(Strategy::OneForAll)
            .child(a.spec())
            .child(ChildSpec::supervisor("inner", inner));
        let system = world.start("system", spec).await;
        world.expect_crash("b");
        log.take();

        for _ in 0..3 {
            b.send(Message::Crash);
            world.settle().await;
        }

        let expected = expect![[r#"
            b ended
            b started, life 2
            b ended
            b started, life 3
            b ended
            a ended
            a started, life 2
            b started, life 4"#]];
        expected.assert_eq(&log.take());
        assert_eq!(state_of(&system, "system/inner"), LifeState::Running);
    });
}

#[test]
fn a_unit_that_halts_stays_down_with_its_reason_and_siblings_notice_nothing() {
    World::run(async |world| {
        let log = Log::default();
        let [a, b, c] = ["a", "b", "c"].map(|name| Puppet::new(name, &log));
        let inner = frugal(Strategy::OneForAll).exhausted(Exhausted::Halt);
        let spec = frugal(Strategy::OneForAll)
            .child(a.spec())
            .child(ChildSpec::supervisor("inner", inner.child(b.spec()).child(c.spec())));
        let system = world.start("system", spec).await;
        world.expect_crash("b");
        log.take();

        for _ in 0..3 {
            b.send(Message::Crash);
            world.settle().await;
        }

        assert!(a.address.is_alive() && !c.address.is_alive());
        assert!(!log.take().contains("a "));
        let reason = "restart budget is spent, at last by: told to".to_owned();
        assert_eq!(state_of(&system, "system/inner"), LifeState::Halted { reason });
    });
}

#[test]
fn restarts_back_off_further_each_time() {
    World::run(async |world| {
        let a = Puppet::new("a", &Log::default());
        let backoff = Backoff::doubling(10 * SECOND, 40 * SECOND);
        let spec = SupervisorSpec::new(Strategy::OneForOne).backoff(backoff);
        let budget = Budget { restarts: 9, within: 1_000 * SECOND };
        let system = world.start("system", spec.budget(budget).child(a.spec())).await;
        world.expect_crash("a");

        for bound in [10, 20, 40, 40] {
            a.send(Message::Crash);
            tokio::task::yield_now().await;
            world.pass(bound * SECOND + Duration::from_millis(5)).await;
            assert!(a.address.is_alive(), "back within {bound} s");
        }

        let restarts = system.observe().iter().map(|unit| unit.restarts).sum::<u64>();
        assert_eq!(restarts, 4);
    });
}

#[test]
fn between_lives_the_tree_says_why() {
    World::run(async |world| {
        let a = Puppet::new("a", &Log::default());
        let hour = Duration::from_secs(3_600);
        let spec = SupervisorSpec::new(Strategy::OneForOne)
            .backoff(Backoff::doubling(hour * 1_000, hour * 1_000));
        let system = world.start("system", spec.child(a.spec())).await;
        world.expect_crash("a");

        a.send(Message::Panic);
        world.settle().await;

        let reason = "panic: told to".to_owned();
        assert_eq!(state_of(&system, "system/a"), LifeState::Waiting { reason });
        let call = a.address.call(SECOND, |reply| Message::Echo { text: "", reply }).await;
        assert_eq!(call, Err(CallError::Unavailable));
    });
}

#[test]
fn starts_that_fail_or_panic_are_counted() {
    World::run(async |world| {
        let log = Log::default();
        let a = Puppet::new("a", &log);
        a.will([Start::Fail, Start::Panic]);
        world.expect_crash("a");

        let system = world.start("system", frugal(Strategy::OneForOne).child(a.spec())).await;

        assert_eq!(log.take(), "a started, life 3");
        let reasons: Vec<_> = system.crashes().into_iter().map(|crash| crash.reason).collect();
        assert_eq!(reasons, ["failed to start: told to", "failed to start: told to"]);
    });
}

#[test]
fn a_system_whose_starts_spend_the_budget_does_not_start() {
    World::run(async |world| {
        let a = Puppet::new("a", &Log::default());
        a.will([Start::Fail, Start::Fail, Start::Fail]);

        let spec = frugal(Strategy::OneForOne).child(a.spec());
        let error = world.try_start("system", spec).await.unwrap_err();

        assert!(matches!(error, StartError::Failed(reason) if reason.contains("told to")));
    });
}

#[test]
fn an_outage_is_waited_out_and_spends_no_budget() {
    World::run(async |world| {
        let log = Log::default();
        let [a, b] = ["a", "b"].map(|name| Puppet::new(name, &log));
        b.will((0..50).map(|_| Start::Away));
        let backoff = Backoff::doubling(SECOND, 10 * SECOND);
        let spec = frugal(Strategy::OneForAll).backoff(backoff);

        let system = world.start("system", spec.child(a.spec()).child(b.spec())).await;

        assert_eq!(log.take(), "a started, life 1\nb started, life 51");
        assert!(system.crashes().is_empty());
    });
}

#[test]
fn children_after_one_that_is_away_are_not_started() {
    World::run(async |world| {
        let log = Log::default();
        let [a, b] = ["a", "b"].map(|name| Puppet::new(name, &log));
        a.will([Start::Slow(5 * SECOND), Start::Away]);
        let spec = frugal(Strategy::RestForOne).child(a.spec()).child(b.spec());

        world.start("system", spec).await;

        assert_eq!(log.take(), "a started, life 1\nb started, life 1");
    });
}

#[test]
fn a_start_that_cannot_be_helped_is_not_tried_again() {
    World::run(async |world| {
        let log = Log::default();
        let [a, b] = ["a", "b"].map(|name| Puppet::new(name, &log));
        a.will([Start::Halt]);
        let unit = frugal(Strategy::OneForOne).exhausted(Exhausted::Halt).child(a.spec());
        let spec =
            frugal(Strategy::RestForOne).child(ChildSpec::supervisor("unit", unit)).child(b.spec());
        world.expect_crash("a");

        let system = world.start("system", spec).await;

        assert_eq!(log.take(), "b started, life 1");
        let reason = "told to".to_owned();
        assert_eq!(state_of(&system, "system/unit"), LifeState::Halted { reason });
    });
}

#[test]
fn a_start_that_nobody_waits_for_any_more_is_stopped() {
    World::run(async |world| {
        let log = Log::default();
        let [a, b] = ["a", "b"].map(|name| Puppet::new(name, &log));
        b.will([Start::Slow(100 * SECOND)]);
        let spec = frugal(Strategy::RestForOne).child(a.spec()).child(b.spec());

        let start = tokio::time::timeout(SECOND, world.try_start("system", spec)).await;
        world.pass(1_000 * SECOND).await;

        assert!(start.is_err());
        assert_eq!(log.take(), "a started, life 1\na ended");
    });
}
