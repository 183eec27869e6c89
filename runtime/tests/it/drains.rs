//! Ending in good order, and how that is bounded.

use std::sync::mpsc;
use std::time::Duration;

use expect_test::expect;
use fleetward_runtime::testkit::World;
use fleetward_runtime::{
    Actor, Address, ChildSpec, Context, Crash, Drained, Options, Restart, StartError, Strategy,
    SupervisorSpec, System,
};

use crate::probe::{Log, Message, Puppet, Start};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_drain_goes_bottom_to_top_and_works_off_every_queue() {
    World::run(async |world| {
        let log = Log::default();
        let [a, b, c] = ["a", "b", "c"].map(|name| Puppet::new(name, &log));
        let inner = SupervisorSpec::new(Strategy::OneForOne).child(b.spec());
        let spec = SupervisorSpec::new(Strategy::RestForOne)
            .child(a.spec())
            .child(ChildSpec::supervisor("inner", inner))
            .child(c.spec());
        let system = world.start("system", spec).await;
        log.take();
        for puppet in [&a, &b, &c] {
            puppet.send(Message::Say("works 1"));
            puppet.send(Message::Say("works 2"));
        }

        let drained = system.drain(SECOND).await;

        assert!(drained.is_clean());
        assert_eq!(system.ended().await, "drained");
        assert_eq!(system.alive(), 0);
        let stops: Vec<_> = log.take().lines().map(str::to_owned).collect();
        let stops: Vec<_> = stops.iter().filter(|line| !line.contains("works")).collect();
        let expected = expect![[r#"
            [
                "c is stopped",
                "c ended",
                "b is stopped",
                "b ended",
                "a is stopped",
                "a ended",
            ]
        "#]];
        expected.assert_debug_eq(&stops);
    });
}

#[test]
fn what_an_actor_is_doing_beside_itself_ends_with_the_drain() {
    World::run(async |world| {
        let log = Log::default();
        let a = Puppet::new("a", &log);
        let spec = SupervisorSpec::new(Strategy::OneForOne).child(a.spec());
        let system = world.start("system", spec).await;
        a.send(Message::Spawn { wait: 1_000 * SECOND, text: "never says this" });
        a.send(Message::After { wait: 1_000 * SECOND, text: "nor this" });
        let before = world.clock().now();

        let drained = system.drain(10_000 * SECOND).await;

        assert_eq!((drained.is_clean(), system.alive()), (true, 0));
        assert!(world.clock().now() - before < SECOND);
        assert_eq!(log.take(), "a started, life 1\na is stopped\na ended");
    });
}

#[test]
fn an_end_that_is_asked_for_before_the_start_is_over_is_in_good_order() {
    World::run(async |world| {
        let log = Log::default();
        let a = Puppet::new("a", &log);
        a.will([Start::Leaving("works")]);
        let child = a.spec().restart(Restart::Transient);
        let spec = SupervisorSpec::new(Strategy::OneForOne).child(child);

        let system = world.start("system", spec).await;
        world.settle().await;

        assert_eq!(system.crashes(), []);
        assert_eq!(log.take(), "a started, life 1\na works\na is stopped\na ended");
    });
}

#[test]
fn a_restart_that_is_due_does_not_hold_up_a_drain() {
    World::run(async |world| {
        let [a, b] = ["a", "b"].map(|name| Puppet::new(name, &Log::default()));
        let spec = SupervisorSpec::new(Strategy::OneForOne).child(a.spec()).child(b.spec());
        let system = world.start("system", spec).await;
        world.expect_crash("a");
        b.will([Start::Slow(1_000 * SECOND)]);
        world.expect_crash("b");
        a.send(Message::Crash);
        b.send(Message::Crash);
        world.pass(SECOND).await;
        let before = world.clock().now();

        let drained = system.drain(100 * SECOND).await;

        assert!(drained.is_clean());
        assert!(world.clock().now() - before < SECOND);
    });
}

#[test]
fn draining_twice_is_harmless_and_background_tasks_end_with_it() {
    World::run(async |world| {
        let a = Puppet::new("a", &Log::default());
        let spec = SupervisorSpec::new(Strategy::OneForOne).child(a.spec());
        let system = world.start("system", spec).await;
        let (alive, gone) = tokio::sync::oneshot::channel::<()>();
        system.spawn("beside", async move {
            let _alive = alive;
            std::future::pending().await
        });
        system.spawn("short", async {});
        system.spawn("panics", async { panic!("told to") });

        system.drain(SECOND).await;
        let again = system.drain(SECOND).await;

        assert_eq!(again, Drained::default());
        assert!(gone.await.is_err());
    });
}

#[test]
fn a_child_that_takes_too_long_is_cut_off_and_the_others_are_not() {
    World::run(async |world| {
        let log = Log::default();
        let [fast, slow] = ["fast", "slow"].map(|name| Puppet::new(name, &log));
        let spec = SupervisorSpec::new(Strategy::OneForOne)
            .child(fast.spec())
            .child(slow.spec().drain_within(Duration::ZERO));
        let system = System::start("system", spec, world.options()).await.unwrap();
        // More than tokio lets a task do in one go, so that the deadline comes in between.
        for _ in 0..10_000 {
            slow.send(Message::Say("works"));
        }
        fast.send(Message::Say("works"));

        let drained = system.drain(SECOND).await;

        assert_eq!(drained.cut_off, ["system/slow"]);
        assert!(drained.alive.is_empty());
        assert!(log.take().ends_with("fast is stopped\nfast ended"));
    });
}

#[test]
fn the_deadline_of_a_drain_bounds_it_all() {
    World::run(async |world| {
        let [a, b] = ["a", "b"].map(|name| Puppet::new(name, &Log::default()));
        let spec = SupervisorSpec::new(Strategy::OneForOne).child(a.spec()).child(b.spec());
        let system = System::start("system", spec, world.options()).await.unwrap();
        a.send(Message::Say("works"));
        for _ in 0..10_000 {
            b.send(Message::Say("works"));
        }

        let drained = system.drain(Duration::ZERO).await;

        assert_eq!(drained.cut_off, ["system/b"]);
        assert_eq!(system.ended().await, "stopped");
    });
}

/// Does one thing after the other, each when the test lets it.
struct Worker(mpsc::Receiver<()>);

#[derive(Clone)]
struct Gate(std::sync::Arc<parking_lot::Mutex<Option<mpsc::Receiver<()>>>>);

impl Actor for Worker {
    type Args = Gate;
    type Message = ();

    async fn start(gate: Gate, _cx: &mut Context<()>) -> Result<Self, StartError> {
        let gate = gate.0.lock().take();
        gate.map(Self).ok_or_else(|| StartError::Halt("this test has one life".to_owned()))
    }

    fn handle(&mut self, (): (), _cx: &mut Context<()>) -> Result<(), Crash> {
        self.0.recv().map_err(Crash::new)
    }
}

fn worker(name: &str) -> (mpsc::Sender<()>, Address<()>, ChildSpec) {
    let (open, gate) = mpsc::channel();
    let gate = Gate(std::sync::Arc::new(parking_lot::Mutex::new(Some(gate))));
    let address = Address::new(name);
    let spec = ChildSpec::actor::<Worker>(name, address.clone(), gate);
    (open, address, spec)
}

// This one has a handler that stands still, so it needs a second thread, and real time.

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_actor_that_never_returns_is_reported_alive() {
    let (open, stuck, spec) = worker("stuck");
    let spec = SupervisorSpec::new(Strategy::OneForOne).child(spec);
    let system = System::start("system", spec, Options::default()).await.unwrap();
    stuck.send(()).unwrap();

    let drained = system.drain(Duration::from_millis(1)).await;
    open.send(()).unwrap();

    assert_eq!(drained.cut_off, ["system/stuck"]);
    assert_eq!(drained.alive, ["system", "system/stuck"]);
    assert_eq!(system.ended().await, "stopped");
}
