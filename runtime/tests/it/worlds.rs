//! What the test kit lets pass, and what not.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use fleetward_runtime::testkit::World;
use fleetward_runtime::{Strategy, SupervisorSpec, System};

use crate::probe::{Log, Message, Puppet};

const SECOND: Duration = Duration::from_secs(1);

fn alone(puppet: &Puppet) -> SupervisorSpec {
    SupervisorSpec::new(Strategy::OneForOne).child(puppet.spec())
}

/// What a world says at its end about a test, if anything.
fn complaint(test: impl AsyncFnOnce(&World)) -> Option<String> {
    let panic = catch_unwind(AssertUnwindSafe(|| World::run(test))).err()?;
    Some(*panic.downcast::<String>().expect("an assertion has a message"))
}

#[test]
fn a_test_that_crashes_an_actor_without_saying_so_fails() {
    let complaint = complaint(async |world| {
        let a = Puppet::new("a", &Log::default());
        world.start("system", alone(&a)).await;

        a.send(Message::Crash);
        world.pass(SECOND).await;
    });

    assert!(complaint.unwrap().contains("system/a crashed: told to"));
}

#[test]
fn a_test_that_expects_a_crash_which_does_not_come_fails() {
    let complaint = complaint(async |world| {
        let a = Puppet::new("a", &Log::default());
        world.start("system", alone(&a)).await;

        world.expect_crash("a");
    });

    assert!(complaint.unwrap().contains("a was expected to crash, and did not"));
}

#[test]
fn a_system_that_other_code_started_is_looked_after_once_it_is_adopted() {
    let log = Log::default();
    let a = Puppet::new("a", &log);
    let complaint = complaint(async |world| {
        let system = System::start("system", alone(&a), world.options()).await.unwrap();
        world.adopt(&system);

        a.send(Message::Panic);
        world.pass(SECOND).await;
    });

    assert!(complaint.unwrap().contains("system/a crashed: panic: told to"));
    assert_eq!(log.take().lines().last(), Some("a ended"));
}

#[test]
fn a_good_test_passes_and_leaves_nobody_alive() {
    let log = Log::default();
    let a = Puppet::new("a", &log);

    let complaint = complaint(async |world| {
        world.start("system", alone(&a)).await;
        a.send(Message::Say("works"));
    });

    assert_eq!(complaint, None);
    assert_eq!(log.take(), "a started, life 1\na works\na is stopped\na ended");
}

#[test]
fn time_passes_without_anybody_waiting_for_it() {
    let before = std::time::Instant::now();

    World::run(async |world| world.pass(Duration::from_secs(86_400)).await);

    assert!(before.elapsed() < Duration::from_secs(60));
}
