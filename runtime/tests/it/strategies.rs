//! Who else is restarted when a child crashes, and in which order.

use std::time::Duration;

use expect_test::{Expect, expect};
use fleetward_runtime::testkit::World;
use fleetward_runtime::{Restart, Strategy, SupervisorSpec};

use crate::probe::{Log, Message, Puppet};

#[test]
fn one_for_one_restarts_the_crashed_child_alone() {
    crash_the_middle(
        Strategy::OneForOne,
        expect![[r#"
            b ended
            b started, life 2"#]],
    );
}

#[test]
fn rest_for_one_stops_from_the_last_and_starts_from_the_crashed() {
    crash_the_middle(
        Strategy::RestForOne,
        expect![[r#"
            b ended
            c ended
            b started, life 2
            c started, life 2"#]],
    );
}

#[test]
fn one_for_all_stops_in_reverse_order_and_starts_in_order() {
    crash_the_middle(
        Strategy::OneForAll,
        expect![[r#"
            b ended
            c ended
            a ended
            a started, life 2
            b started, life 2
            c started, life 2"#]],
    );
}

fn crash_the_middle(strategy: Strategy, expected: Expect) {
    World::run(async |world| {
        let log = Log::default();
        let [a, b, c] = ["a", "b", "c"].map(|name| Puppet::new(name, &log));
        let spec = SupervisorSpec::new(strategy).child(a.spec()).child(b.spec()).child(c.spec());
        world.start("system", spec).await;
        assert_eq!(log.take(), "a started, life 1\nb started, life 1\nc started, life 1");
        world.expect_crash("b");

        b.send(Message::Crash);
        world.pass(Duration::from_secs(1)).await;

        expected.assert_eq(&log.take());
        assert!([a, b, c].iter().all(|puppet| puppet.address.is_alive()));
    });
}

#[test]
fn queues_of_siblings_are_dropped_when_they_are_restarted() {
    World::run(async |world| {
        let log = Log::default();
        let [a, b] = ["a", "b"].map(|name| Puppet::new(name, &log));
        let spec = SupervisorSpec::new(Strategy::OneForAll).child(a.spec()).child(b.spec());
        world.start("system", spec).await;
        world.expect_crash("a");
        log.take();

        a.send(Message::Panic);
        a.send(Message::Say("is heard"));
        world.pass(Duration::from_secs(1)).await;

        let expected = expect![[r#"
            a ended
            b ended
            a started, life 2
            b started, life 2"#]];
        expected.assert_eq(&log.take());
    });
}

#[test]
fn a_child_that_stops_by_itself_is_restarted_only_if_it_is_permanent() {
    World::run(async |world| {
        let log = Log::default();
        let [p, q, r] = ["permanent", "transient", "temporary"].map(|n| Puppet::new(n, &log));
        let spec = SupervisorSpec::new(Strategy::OneForOne)
            .child(p.spec())
            .child(q.spec().restart(Restart::Transient))
            .child(r.spec().restart(Restart::Temporary));
        world.start("system", spec).await;
        log.take();

        for puppet in [&p, &q, &r] {
            puppet.send(Message::Stop);
            world.pass(Duration::from_secs(1)).await;
        }

        let expected = expect![[r#"
            permanent is stopped
            permanent ended
            permanent started, life 2
            transient is stopped
            transient ended
            temporary is stopped
            temporary ended"#]];
        expected.assert_eq(&log.take());
    });
}

#[test]
fn a_crash_restarts_a_transient_child_and_not_a_temporary_one() {
    World::run(async |world| {
        let log = Log::default();
        let [q, r] = ["transient", "temporary"].map(|name| Puppet::new(name, &log));
        let spec = SupervisorSpec::new(Strategy::OneForAll)
            .child(q.spec().restart(Restart::Transient))
            .child(r.spec().restart(Restart::Temporary));
        world.start("system", spec).await;
        world.expect_crash("transient");
        world.expect_crash("temporary");
        log.take();

        r.send(Message::Crash);
        world.pass(Duration::from_secs(1)).await;
        q.send(Message::Crash);
        world.pass(Duration::from_secs(1)).await;

        let expected = expect![[r#"
            temporary ended
            transient ended
            transient started, life 2"#]];
        expected.assert_eq(&log.take());
    });
}

#[test]
fn children_of_a_supervisor_go_and_come_with_it() {
    World::run(async |world| {
        let log = Log::default();
        let [a, b, c] = ["a", "b", "c"].map(|name| Puppet::new(name, &log));
        let inner = SupervisorSpec::new(Strategy::OneForOne).child(b.spec()).child(c.spec());
        let spec = SupervisorSpec::new(Strategy::RestForOne)
            .child(a.spec())
            .child(fleetward_runtime::ChildSpec::supervisor("inner", inner));
        world.start("system", spec).await;
        world.expect_crash("a");
        log.take();

        a.send(Message::Crash);
        world.pass(Duration::from_secs(1)).await;

        let expected = expect![[r#"
            a ended
            c ended
            b ended
            a started, life 2
            b started, life 2
            c started, life 2"#]];
        expected.assert_eq(&log.take());
    });
}
