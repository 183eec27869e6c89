//! Faults that tests arm.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use expect_test::expect;
use fleetward_runtime::testkit::World;
use fleetward_runtime::{Faults, Strategy, SupervisorSpec};

use crate::probe::{Log, Message, Puppet};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_dropped_message_is_dropped_once_and_only_where_it_was_armed() {
    World::run(async |world| {
        let log = Log::default();
        let [a, ba] = ["a", "ba"].map(|name| Puppet::new(name, &log));
        let spec = SupervisorSpec::new(Strategy::OneForOne).child(a.spec()).child(ba.spec());
        world.start("system", spec).await;
        log.take();
        world.faults().drop_next("a", "Say");

        ba.send(Message::Say("is somebody else"));
        world.settle().await;
        a.send(Message::Say("is not heard"));
        a.send(Message::Say("is heard"));
        world.settle().await;

        assert_eq!(log.take(), "ba is somebody else\na is heard");
        assert_eq!(world.faults().fired(), ["drop system/a Say"]);
    });
}

#[test]
fn an_armed_panic_crashes_the_life_before_the_message_is_handled() {
    World::run(async |world| {
        let log = Log::default();
        let a = Puppet::new("a", &log);
        let spec = SupervisorSpec::new(Strategy::OneForOne).child(a.spec());
        let system = world.start("system", spec).await;
        world.expect_crash("a");
        world.faults().panic_next("system/a", "Say");

        a.send(Message::Say("is not heard"));
        world.pass(SECOND).await;

        let expected = expect![[r#"
            a started, life 1
            a ended
            a started, life 2"#]];
        expected.assert_eq(&log.take());
        assert_eq!(system.crashes()[0].reason, "panic: fault: panic on Say");
        assert_eq!(world.faults().fired(), ["panic system/a Say"]);
    });
}

#[test]
fn a_point_panics_once_when_it_is_armed() {
    let faults = Faults::default();
    faults.hit("after the write");
    faults.panic_at("after the write");

    let hit = catch_unwind(AssertUnwindSafe(|| faults.hit("after the write")));
    faults.hit("after the write");

    assert!(hit.is_err());
    assert_eq!(faults.fired(), ["panic at after the write"]);
}
