//! Children by key.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::task::Poll;
use std::time::Duration;

use expect_test::expect;
use fleetward_runtime::testkit::World;
use fleetward_runtime::{
    Backoff, Budget, CallError, ChildSpec, Exhausted, Family, FamilySpec, LifeState, Restart,
    StartError, Strategy, SupervisorSpec, UnitKind,
};

use crate::probe::{Log, Message, Puppet, Start};

const SECOND: Duration = Duration::from_secs(1);

fn rules() -> FamilySpec {
    FamilySpec {
        budget: Budget { restarts: 1, within: 100 * SECOND },
        backoff: Backoff::doubling(Duration::ZERO, Duration::ZERO),
        exhausted: Exhausted::Halt,
    }
}

/// Lets those go first who are ready already, and nobody who becomes so meanwhile: tokio's own yield lets everybody.
async fn next_in_line() {
    let mut first = true;
    std::future::poll_fn(|cx| {
        if !std::mem::take(&mut first) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// A family of probes whose every start goes as `starts` says; without those, well.
fn probes(rules: FamilySpec, log: &Log, starts: fn() -> Vec<Start>) -> Family<u32, Puppet> {
    let log = log.clone();
    Family::new(rules, move |key| {
        let puppet = Puppet::new(&format!("p{key}"), &log);
        puppet.will(starts());
        let spec = puppet.spec();
        (puppet, spec.restart(Restart::Transient))
    })
}

fn holding(family: &Family<u32, Puppet>) -> SupervisorSpec {
    let spec = SupervisorSpec::new(Strategy::OneForAll);
    spec.child(ChildSpec::family("probes", family))
}

#[test]
fn a_child_is_started_on_demand_and_found_afterwards() {
    World::run(async |world| {
        let log = Log::default();
        let family = probes(rules(), &log, Vec::new);
        let system = world.start("system", holding(&family)).await;
        assert!(family.get(&7).is_none());

        let puppet = family.get_or_start(7).await.unwrap();

        puppet.send(Message::Say("speaks"));
        family.get(&7).unwrap().send(Message::Say("is found"));
        world.settle().await;
        assert_eq!(log.take(), "p7 started, life 1\np7 speaks\np7 is found");
        assert_eq!((family.keys(), family.state(&7)), (vec![7], Some(LifeState::Running)));
        let paths: Vec<_> = system.observe().into_iter().map(|u| (u.path, u.kind)).collect();
        assert_eq!(paths[1], ("system/probes".to_owned(), UnitKind::Family));
        assert_eq!(paths[2], ("system/probes/7".to_owned(), UnitKind::Actor));
    });
}

#[test]
fn callers_at_the_same_time_share_one_start() {
    World::run(async |world| {
        let log = Log::default();
        let family = probes(rules(), &log, || vec![Start::Slow(SECOND)]);
        world.start("system", holding(&family)).await;

        let callers = (0..10).map(|_| family.get_or_start(1));
        let all = futures_util::future::join_all(callers).await;

        assert!(all.iter().all(Result::is_ok));
        assert_eq!(log.take(), "p1 started, life 1");
    });
}

#[test]
fn children_start_side_by_side() {
    World::run(async |world| {
        let log = Log::default();
        let family = probes(rules(), &log, || vec![Start::Slow(10 * SECOND)]);
        world.start("system", holding(&family)).await;
        let before = world.clock().now();

        let callers = (0..100).map(|key| family.get_or_start(key));
        futures_util::future::join_all(callers).await;

        let took = world.clock().now() - before;
        assert!(took < 11 * SECOND, "took {took:?}");
    });
}

/// Wherever the order to leave is on its way, somebody asks for a child just then.
#[test]
fn a_child_that_is_asked_for_as_the_family_is_told_to_leave_does_not_keep_it() {
    for turns in 0..20 {
        World::run(async move |world| {
            let log = Log::default();
            let family = probes(rules(), &log, Vec::new);
            let sibling = Puppet::new("sibling", &log);
            let spec = SupervisorSpec::new(Strategy::RestForOne);
            let spec = spec.child(sibling.spec()).child(ChildSpec::family("probes", &family));
            world.start("system", spec).await;
            family.get_or_start(1).await.unwrap();
            world.expect_crash("sibling");

            sibling.send(Message::Crash);
            let asked = family.clone();
            let asking = async move {
                for _ in 0..turns {
                    next_in_line().await;
                }
                asked.start(2);
            };
            tokio::spawn(asking).await.unwrap();
            world.pass(SECOND).await;

            assert!(sibling.address.is_alive(), "after {turns} turns");
            assert!(family.get_or_start(3).await.is_ok(), "after {turns} turns");
        });
    }
}

#[test]
fn a_crash_concerns_one_child_only() {
    World::run(async |world| {
        let log = Log::default();
        let family = probes(rules(), &log, Vec::new);
        world.start("system", holding(&family)).await;
        let [one, two] = [family.get_or_start(1).await, family.get_or_start(2).await];
        world.expect_crash("probes/1");
        log.take();

        one.unwrap().send(Message::Crash);
        world.pass(SECOND).await;

        assert_eq!(log.take(), "p1 ended\np1 started, life 2");
        assert!(two.unwrap().address.is_alive());
    });
}

#[test]
fn a_child_that_spends_its_budget_halts_until_it_is_removed() {
    World::run(async |world| {
        let family = probes(rules(), &Log::default(), Vec::new);
        world.start("system", holding(&family)).await;
        let [one, two] = [family.get_or_start(1).await, family.get_or_start(2).await];
        world.expect_crash("probes/1");
        for _ in 0..2 {
            one.as_ref().unwrap().send(Message::Crash);
            world.pass(SECOND).await;
        }

        let halted = family.get_or_start(1).await;
        let state = family.state(&1);
        let removed = [family.remove(&1), family.remove(&1), family.remove(&2)];
        let again = family.get_or_start(1).await;

        let reason = "restart budget is spent, at last by: told to".to_owned();
        assert_eq!(halted.err(), Some(StartError::Halt(reason.clone())));
        assert_eq!(state, Some(LifeState::Halted { reason }));
        assert_eq!(removed, [true, false, false]);
        assert!(again.is_ok() && two.unwrap().address.is_alive());
    });
}

#[test]
fn escalation_ends_the_whole_family_and_it_starts_empty() {
    World::run(async |world| {
        let rules = FamilySpec { exhausted: Exhausted::Escalate, ..rules() };
        let family = probes(rules, &Log::default(), Vec::new);
        world.start("system", holding(&family)).await;
        let [one, two] = [family.get_or_start(1).await, family.get_or_start(2).await];
        world.expect_crash("probes/1");

        for _ in 0..2 {
            one.as_ref().unwrap().send(Message::Crash);
            world.pass(SECOND).await;
        }

        assert!(family.keys().is_empty() && !two.unwrap().address.is_alive());
        assert!(family.get_or_start(2).await.is_ok());
    });
}

#[test]
fn callers_are_told_of_an_outage_at_once_while_the_family_keeps_trying() {
    World::run(async |world| {
        let rules = FamilySpec { backoff: Backoff::doubling(SECOND, SECOND), ..rules() };
        let family = probes(rules, &Log::default(), || vec![Start::Away, Start::Away]);
        world.start("system", holding(&family)).await;
        let before = world.clock().now();

        let first = family.get_or_start(1).await.err();
        let second = family.get_or_start(1).await.err();
        let took = world.clock().now() - before;
        world.pass(3 * SECOND).await;
        let third = family.get_or_start(1).await;

        let away = Some(StartError::Unavailable("told to".to_owned()));
        assert_eq!((first, second, took), (away.clone(), away, Duration::ZERO));
        assert!(third.is_ok());
    });
}

#[test]
fn callers_are_told_when_a_start_fails_or_halts() {
    World::run(async |world| {
        // Full jitter makes it as good as certain that the next start comes later.
        let backoff = Backoff::doubling(1_000_000 * SECOND, 1_000_000 * SECOND);
        let slow = FamilySpec { backoff, ..rules() };
        let failing = probes(slow, &Log::default(), || vec![Start::Fail]);
        let halting = probes(rules(), &Log::default(), || vec![Start::Halt]);
        let spec = holding(&failing).child(ChildSpec::family("others", &halting));
        world.start("system", spec).await;
        world.expect_crash("probes/1");
        world.expect_crash("others/1");

        let failed = failing.get_or_start(1).await.err();
        let halted = halting.get_or_start(1).await.err();
        world.pass(1_000_000 * SECOND).await;

        let reason = "failed to start: told to".to_owned();
        assert_eq!(failed, Some(StartError::Failed(reason)));
        assert_eq!(halted, Some(StartError::Halt("told to".to_owned())));
        assert!(failing.get_or_start(1).await.is_ok());
        assert!(halting.get_or_start(1).await.is_err());
    });
}

#[test]
fn a_stopped_child_works_off_its_queue_and_is_forgotten() {
    World::run(async |world| {
        let log = Log::default();
        let family = probes(rules(), &log, Vec::new);
        let system = world.start("system", holding(&family)).await;
        let puppet = family.get_or_start(1).await.unwrap();

        puppet.send(Message::Say("has work"));
        family.stop(&1).await;

        let expected = expect![[r#"
            p1 started, life 1
            p1 has work
            p1 is stopped
            p1 ended"#]];
        expected.assert_eq(&log.take());
        assert!(family.keys().is_empty() && family.state(&1).is_none());
        assert_eq!(system.observe().len(), 2);
        family.stop(&1).await;
    });
}

#[test]
fn who_wants_a_child_that_is_stopping_gets_its_next_life_after_the_end() {
    World::run(async |world| {
        let log = Log::default();
        let family = probes(rules(), &log, Vec::new);
        world.start("system", holding(&family)).await;
        family.get_or_start(1).await.unwrap().send(Message::Say("has work"));

        let (_, again) = tokio::join!(family.stop(&1), async {
            tokio::task::yield_now().await;
            family.get_or_start(1).await
        });

        assert!(again.unwrap().address.is_alive());
        let expected = expect![[r#"
            p1 started, life 1
            p1 has work
            p1 is stopped
            p1 ended
            p1 started, life 1"#]];
        expected.assert_eq(&log.take());
    });
}

#[test]
fn what_comes_as_a_dismissed_child_leaves_is_worked_off_or_comes_back() {
    World::run(async |world| {
        let log = Log::default();
        let family = probes(rules(), &log, Vec::new);
        world.start("system", holding(&family)).await;
        let puppet = family.get_or_start(1).await.unwrap();

        family.dismiss(&1);
        puppet.send(Message::Say("is in time"));
        world.settle().await;
        assert!(family.get(&1).is_none());
        let back = puppet.address.offer(Message::Say("is late")).unwrap_err();
        assert!(matches!(back, Message::Say("is late")));

        let expected = expect![[r#"
            p1 started, life 1
            p1 is in time
            p1 is stopped
            p1 ended"#]];
        expected.assert_eq(&log.take());
    });
}

#[test]
fn child_that_is_wanted_while_it_leaves_is_started_anew_though_nobody_waits() {
    World::run(async |world| {
        let log = Log::default();
        let family = probes(rules(), &log, Vec::new);
        world.start("system", holding(&family)).await;
        family.get_or_start(1).await.unwrap();

        family.dismiss(&1);
        while family.get(&1).is_some() {
            tokio::task::yield_now().await;
        }
        family.start(1);
        world.settle().await;

        assert!(family.get_or_start(1).await.unwrap().address.is_alive());
        let expected = expect![[r#"
            p1 started, life 1
            p1 is stopped
            p1 ended
            p1 started, life 1"#]];
        expected.assert_eq(&log.take());
    });
}

#[test]
fn a_transient_child_that_stops_itself_is_forgotten() {
    World::run(async |world| {
        let family = probes(rules(), &Log::default(), Vec::new);
        world.start("system", holding(&family)).await;

        family.get_or_start(1).await.unwrap().send(Message::Stop);
        world.settle().await;

        assert!(family.get(&1).is_none());
    });
}

#[test]
fn failing_a_child_counts_and_restarts_and_halting_keeps_it_down() {
    World::run(async |world| {
        let log = Log::default();
        let family = probes(rules(), &log, Vec::new);
        let system = world.start("system", holding(&family)).await;
        let puppet = family.get_or_start(1).await.unwrap();
        world.expect_crash("probes/1");

        family.fail(&1, "its journal refused");
        world.pass(SECOND).await;
        family.halt(&1, "an event cannot be read");
        world.pass(SECOND).await;

        assert_eq!(log.take(), "p1 started, life 1\np1 ended\np1 started, life 2\np1 ended");
        assert_eq!(system.crashes()[0].reason, "its journal refused");
        let reason = "an event cannot be read".to_owned();
        assert_eq!(family.state(&1), Some(LifeState::Halted { reason: reason.clone() }));
        assert_eq!(family.get_or_start(1).await.err(), Some(StartError::Halt(reason)));
        assert!(!puppet.address.is_alive());
        family.stop(&1).await;
        assert_eq!(family.keys(), [1]);
    });
}

#[test]
fn a_family_that_is_restarted_is_empty_and_what_callers_held_is_dead() {
    World::run(async |world| {
        let a = Puppet::new("a", &Log::default());
        let family = probes(rules(), &Log::default(), Vec::new);
        world.start("system", holding(&family).child(a.spec())).await;
        let puppet = family.get_or_start(1).await.unwrap();
        world.expect_crash("a");

        a.send(Message::Crash);
        world.pass(SECOND).await;

        let echo = |reply| Message::Echo { text: "hello", reply };
        assert_eq!(puppet.address.call(SECOND, echo).await, Err(CallError::Unavailable));
        assert!(family.get(&1).is_none());
        assert!(family.get_or_start(1).await.is_ok());
    });
}

#[test]
fn a_family_that_does_not_run_is_unavailable() {
    World::run(async |world| {
        let family = probes(rules(), &Log::default(), Vec::new);
        let before = family.get_or_start(1).await.err();
        let system = world.start("system", holding(&family)).await;
        family.start(2);
        let started = family.keys();
        system.drain(SECOND).await;

        family.start(3);
        family.fail(&2, "nobody is there");
        let after = family.get_or_start(1).await.err();

        let away = Some(StartError::Unavailable("the family is not running".to_owned()));
        assert_eq!((before, after, started), (away.clone(), away, vec![2]));
        assert!(family.keys().is_empty());
    });
}

#[test]
fn a_child_may_be_a_subtree_that_fails_and_halts_as_one() {
    World::run(async |world| {
        let log = Log::default();
        let made = Arc::new(AtomicU32::new(0));
        let (shared, count) = (log.clone(), Arc::clone(&made));
        let cells = Family::new(rules(), move |key: &u32| {
            count.fetch_add(1, SeqCst);
            let pair = ["x", "y"].map(|name| Puppet::new(&format!("{name}{key}"), &shared));
            let spec = SupervisorSpec::new(Strategy::OneForAll)
                .budget(Budget { restarts: 0, within: SECOND });
            let spec = spec.child(pair[0].spec()).child(pair[1].spec());
            (pair, ChildSpec::supervisor("cell", spec))
        });
        let spec = SupervisorSpec::new(Strategy::OneForOne);
        let spec = spec.child(ChildSpec::family("cells", &cells));
        let system = world.start("system", spec).await;
        let [x, y] = cells.get_or_start(3).await.unwrap();
        world.expect_crash("cells/3/x3");
        log.take();

        x.send(Message::Crash);
        world.pass(SECOND).await;
        assert!(x.address.is_alive() && y.address.is_alive());
        x.send(Message::Crash);
        world.pass(SECOND).await;

        let expected = expect![[r#"
            x3 ended
            y3 ended
            x3 started, life 2
            y3 started, life 2
            x3 ended
            y3 ended"#]];
        expected.assert_eq(&log.take());
        assert!(matches!(cells.state(&3), Some(LifeState::Halted { .. })));
        assert!(system.observe().iter().any(|unit| unit.path == "system/cells/3/y3"));
        assert_eq!(made.load(SeqCst), 1);
    });
}

#[test]
fn a_subtree_that_halts_at_its_first_start_is_down_for_whoever_asks() {
    World::run(async |world| {
        let log = Log::default();
        let cells = Family::new(rules(), move |key: &u32| {
            let puppet = Puppet::new(&format!("x{key}"), &log);
            puppet.will(if *key == 1 { vec![Start::Halt] } else { Vec::new() });
            let spec = SupervisorSpec::new(Strategy::OneForAll).exhausted(Exhausted::Halt);
            let spec = spec.child(puppet.spec());
            (puppet, ChildSpec::supervisor("cell", spec))
        });
        let halts = cells.halts();
        let spec = SupervisorSpec::new(Strategy::OneForOne);
        let spec = spec.child(ChildSpec::family("cells", &cells));
        world.start("system", spec).await;
        world.expect_crash("cells/1/x1");

        let first = cells.get_or_start(1).await;
        let again = cells.get_or_start(1).await;
        let other = cells.get_or_start(2).await;

        let why = StartError::Halt("told to".to_owned());
        assert_eq!((first.err(), again.err()), (Some(why.clone()), Some(why)));
        assert!(other.is_ok());
        assert_eq!(cells.halted(), [(1, "told to".to_owned())]);
        assert!(halts.has_changed().unwrap());
    });
}
