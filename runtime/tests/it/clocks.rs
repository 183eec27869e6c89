//! Timers, moments, and the two kinds of clock.

use std::time::Duration;

use expect_test::expect;
use fleetward_runtime::testkit::{START_WALL_US, World};
use fleetward_runtime::{Clock, Options, Strategy, SupervisorSpec, System};

use crate::probe::{Log, Message, Puppet};

const SECOND: Duration = Duration::from_secs(1);

fn alone(puppet: &Puppet) -> SupervisorSpec {
    SupervisorSpec::new(Strategy::OneForOne).child(puppet.spec())
}

#[test]
fn timers_fire_at_their_moment_and_not_when_cancelled() {
    World::run(async |world| {
        let log = Log::default();
        let a = Puppet::new("a", &log);
        world.start("system", alone(&a)).await;
        let moment = world.clock().now() + 2 * SECOND;

        a.send(Message::At { moment, text: "second" });
        a.send(Message::After { wait: SECOND, text: "first" });
        world.pass(3 * SECOND).await;
        a.send(Message::After { wait: SECOND, text: "never" });
        a.send(Message::Cancel);
        world.pass(3 * SECOND).await;

        assert_eq!(log.take(), "a started, life 1\na first\na second");
    });
}

#[test]
fn a_timer_ends_with_the_life_that_set_it() {
    World::run(async |world| {
        let log = Log::default();
        let a = Puppet::new("a", &log);
        world.start("system", alone(&a)).await;
        world.expect_crash("a");

        a.send(Message::After { wait: SECOND, text: "was told by an earlier life" });
        a.send(Message::Crash);
        world.pass(5 * SECOND).await;

        let expected = expect![[r#"
            a started, life 1
            a ended
            a started, life 2"#]];
        expected.assert_eq(&log.take());
    });
}

#[test]
fn real_time_and_its_wall_time_follow_tokios_paused_clock() {
    World::run(async |world| {
        let real = Clock::real();
        let (moment, wall_us) = (real.now(), real.wall_us());
        assert_eq!(world.clock().wall_us(), START_WALL_US);

        real.sleep(3_600 * SECOND).await;

        assert_eq!(real.now() - moment, 3_600 * SECOND);
        assert_eq!(real.wall_us() - wall_us, 3_600_000_000);
        assert_eq!(world.clock().wall_us(), START_WALL_US + 3_600_000_000);
    });
}

#[test]
fn real_wall_time_is_the_operating_systems() {
    let os = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();

    let apart = Clock::real().wall_us().abs_diff(i64::try_from(os.as_micros()).unwrap());

    assert!(apart < 10_000_000);
}

#[test]
fn moments_add_and_subtract_without_going_below_nothing() {
    let clock = Clock::manual(0);
    let early = clock.now();
    let late = early + SECOND;

    assert_eq!(late - early, SECOND);
    assert_eq!(early - late, Duration::ZERO);
    assert_eq!(early - SECOND, early);
    assert!(early < late);
}

#[test]
fn a_manual_clock_moves_only_by_hand_and_takes_timers_along() {
    World::run(async |world| {
        let log = Log::default();
        let a = Puppet::new("a", &log);
        let clock = Clock::manual(1_000);
        let options = Options { clock: clock.clone(), ..world.options() };
        let system = System::start("system", alone(&a), options).await.unwrap();
        world.adopt(&system);
        a.send(Message::After { wait: 10 * SECOND, text: "is told" });

        world.pass(100 * SECOND).await;
        assert_eq!((log.take().as_str(), clock.wall_us()), ("a started, life 1", 1_000));
        clock.advance(9 * SECOND);
        world.settle().await;
        assert_eq!(log.take(), "");
        clock.advance(SECOND);
        world.settle().await;

        assert_eq!((log.take().as_str(), clock.wall_us()), ("a is told", 10_001_000));
    });
}

#[test]
fn restarts_do_not_wait_for_a_frozen_clock() {
    World::run(async |world| {
        let a = Puppet::new("a", &Log::default());
        let options = Options { clock: Clock::manual(0), ..world.options() };
        let system = System::start("system", alone(&a), options).await.unwrap();
        world.adopt(&system);
        world.expect_crash("a");

        a.send(Message::Crash);
        world.pass(SECOND).await;

        assert!(a.address.is_alive());
    });
}

#[test]
#[should_panic(expected = "only a manual clock can be advanced")]
fn a_real_clock_cannot_be_advanced() {
    Clock::real().advance(SECOND);
}
