//! The numbers that observers see, without a message being sent.

use std::time::Duration;

use expect_test::expect;
use fleetward_runtime::testkit::World;
use fleetward_runtime::{ChildSpec, Snapshot, Strategy, SupervisorSpec, System};

use crate::probe::{Log, Message, Puppet};

const SECOND: Duration = Duration::from_secs(1);

fn of(system: &System, path: &str) -> Snapshot {
    let tree = system.observe();
    tree.into_iter().find(|unit| unit.path == path).expect("the unit is in the tree")
}

#[test]
fn a_tree_is_seen_depth_first_and_in_order() {
    World::run(async |world| {
        let [a, b, c] = ["a", "b", "c"].map(|name| Puppet::new(name, &Log::default()));
        let inner = SupervisorSpec::new(Strategy::OneForOne).child(b.spec());
        let spec = SupervisorSpec::new(Strategy::OneForOne)
            .child(a.spec())
            .child(ChildSpec::supervisor("inner", inner))
            .child(c.spec());
        let system = world.start("system", spec).await;

        let paths: Vec<_> = system.observe().into_iter().map(|unit| unit.path).collect();

        assert_eq!(paths, ["system", "system/a", "system/inner", "system/inner/b", "system/c"]);
    });
}

#[test]
fn waiting_oldest_and_handled_are_counted() {
    World::run(async |world| {
        let a = Puppet::new("a", &Log::default());
        let spec = SupervisorSpec::new(Strategy::OneForOne).child(a.spec());
        let system = world.start("system", spec).await;
        let idle = of(&system, "system/a");

        // Nobody runs in between: this is one thread, and nothing here waits.
        a.send(Message::Say("one"));
        a.send(Message::Say("two"));
        tokio::time::advance(3 * SECOND).await;
        a.send(Message::Say("three"));
        let busy = of(&system, "system/a");
        world.settle().await;
        let done = of(&system, "system/a");

        assert_eq!((idle.waiting, idle.oldest, idle.handled), (0, None, 0));
        assert_eq!((busy.waiting, busy.handled), (1, 2));
        assert_eq!((done.waiting, done.oldest, done.handled), (0, None, 3));
    });
}

#[test]
fn the_oldest_message_ages() {
    World::run(async |world| {
        let a = Puppet::new("a", &Log::default());
        let spec = SupervisorSpec::new(Strategy::OneForOne).child(a.spec());
        let system = world.start("system", spec).await;

        // `advance` moves the clock and only then lets others run; we look in between.
        a.send(Message::Say("one"));
        let moving = tokio::time::advance(3 * SECOND);
        let looking = async { of(&system, "system/a") };
        let ((), seen) = tokio::join!(biased; moving, looking);

        assert_eq!((seen.waiting, seen.oldest), (1, Some(3 * SECOND)));
    });
}

#[test]
fn messages_lost_in_a_crash_wait_no_more_and_restarts_are_counted() {
    World::run(async |world| {
        let a = Puppet::new("a", &Log::default());
        let spec = SupervisorSpec::new(Strategy::OneForOne).child(a.spec());
        let system = world.start("system", spec).await;
        world.expect_crash("a");

        a.send(Message::Say("handled"));
        a.send(Message::Crash);
        a.send(Message::Say("lost"));
        world.pass(SECOND).await;

        let seen = of(&system, "system/a");
        assert_eq!((seen.waiting, seen.oldest, seen.handled, seen.restarts), (0, None, 1, 1));
    });
}

#[test]
fn a_snapshot_is_readable_json() {
    World::run(async |world| {
        let a = Puppet::new("a", &Log::default());
        let spec = SupervisorSpec::new(Strategy::OneForOne).child(a.spec());
        let system = world.start("system", spec).await;
        a.send(Message::Say("one"));

        let json = serde_json::to_string(&of(&system, "system/a")).unwrap();

        let expected = expect![[r#"
            {"path":"system/a","kind":"actor","state":{"is":"running"},
            "waiting":1,"oldest_ms":0,"restarts":0,"handled":0}"#]];
        expected.assert_eq(&json.replace(r#","waiting""#, ",\n\"waiting\""));
    });
}
