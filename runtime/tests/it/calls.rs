//! Addresses, calls, replies, and what a caller may conclude.

use std::time::Duration;

use expect_test::expect;
use fleetward_runtime::testkit::World;
use fleetward_runtime::{
    Actor, Address, CallError, ChildSpec, Context, Crash, PermitLimits, Permits, Reply, StartError,
    Strategy, SupervisorSpec, Unavailable,
};

use crate::probe::{Log, Message, Puppet, Start};

const SECOND: Duration = Duration::from_secs(1);

fn alone(puppet: &Puppet) -> SupervisorSpec {
    SupervisorSpec::new(Strategy::OneForOne).child(puppet.spec())
}

fn echo(text: &'static str) -> impl FnOnce(Reply<String>) -> Message {
    move |reply| Message::Echo { text, reply }
}

#[test]
fn an_address_leads_to_every_life_of_its_actor() {
    World::run(async |world| {
        let a = Puppet::new("a", &Log::default());
        let before = a.address.call(SECOND, echo("early")).await;
        let system = world.start("system", alone(&a)).await;
        world.expect_crash("a");
        let first = a.address.call(SECOND, echo("first")).await;
        a.send(Message::Crash);
        world.pass(SECOND).await;

        let second = a.address.call(SECOND, echo("second")).await;
        system.drain(SECOND).await;
        let after = a.address.call(SECOND, echo("late")).await;

        assert_eq!(before, Err(CallError::Unavailable));
        assert_eq!(first.as_deref(), Ok("first"));
        assert_eq!(second.as_deref(), Ok("second"));
        assert_eq!(after, Err(CallError::Unavailable));
    });
}

#[test]
fn a_call_behind_a_crash_is_lost_and_perhaps_done() {
    World::run(async |world| {
        let a = Puppet::new("a", &Log::default());
        world.start("system", alone(&a)).await;
        world.expect_crash("a");

        a.send(Message::Crash);
        let error = a.address.call(SECOND, echo("hello")).await.unwrap_err();

        assert_eq!(error, CallError::Lost);
        assert!(!error.certainly_not_done());
    });
}

#[test]
fn a_call_that_is_not_answered_in_time_is_late_and_perhaps_done() {
    World::run(async |world| {
        let a = Puppet::new("a", &Log::default());
        world.start("system", alone(&a)).await;

        let error = a.address.call(SECOND, |reply| Message::Keep { reply }).await.unwrap_err();

        assert_eq!(error, CallError::Late);
        assert!(!error.certainly_not_done());
    });
}

#[test]
fn a_starting_actor_is_unavailable_which_is_certainly_not_done() {
    World::run(async |world| {
        let a = Puppet::new("a", &Log::default());
        world.start("system", alone(&a)).await;
        world.expect_crash("a");
        a.will([Start::Slow(10 * SECOND)]);
        a.send(Message::Crash);
        world.pass(SECOND).await;

        let error = a.address.call(SECOND, echo("hello")).await.unwrap_err();

        assert_eq!(error, CallError::Unavailable);
        assert!(error.certainly_not_done());
        assert_eq!(a.address.send(Message::Say("hello")), Err(Unavailable));
    });
}

#[test]
fn a_kept_reply_is_lost_with_the_life_that_keeps_it() {
    World::run(async |world| {
        let a = Puppet::new("a", &Log::default());
        world.start("system", alone(&a)).await;
        world.expect_crash("a");
        let (reply, answered) = Reply::channel();

        a.send(Message::Keep { reply });
        a.send(Message::Panic);

        assert_eq!(answered.await, Err(CallError::Lost));
    });
}

#[test]
fn a_permit_stays_taken_until_the_answer_even_if_the_caller_left() {
    World::run(async |world| {
        let a = Puppet::new("a", &Log::default());
        world.start("system", alone(&a)).await;
        world.expect_crash("a");
        let limits = PermitLimits { count: 1, bytes: 10, share_count: 1, share_bytes: 10 };
        let permits = Permits::new(limits);
        let permit = permits.take(&"key", 10).unwrap();

        let keep = |reply| Message::Keep { reply };
        let late = a.address.call_with_permit(permit, SECOND, keep).await;
        let while_kept = permits.in_use().count;
        a.send(Message::Crash);
        world.settle().await;

        assert_eq!(late, Err(CallError::Late));
        assert_eq!((while_kept, permits.in_use().count), (1, 0));
    });
}

#[test]
fn a_permit_is_given_back_with_the_answer_or_when_nobody_is_there() {
    World::run(async |world| {
        let a = Puppet::new("a", &Log::default());
        let limits = PermitLimits { count: 1, bytes: 10, share_count: 1, share_bytes: 10 };
        let permits = Permits::new(limits);
        let permit = permits.take(&"key", 1).unwrap();
        let nobody = a.address.call_with_permit(permit, SECOND, echo("hello")).await;
        world.start("system", alone(&a)).await;

        let permit = permits.take(&"key", 1).unwrap();
        let answer = a.address.call_with_permit(permit, SECOND, echo("hello")).await;

        assert_eq!(nobody, Err(CallError::Unavailable));
        assert_eq!(answer.as_deref(), Ok("hello"));
        assert_eq!(permits.in_use().count, 0);
    });
}

#[test]
fn an_answer_is_sent_when_it_is_released_and_lost_when_it_is_not() {
    World::run(async |_| {
        let (released, first) = Reply::channel();
        let (dropped, second) = Reply::<u8>::channel();

        released.with(7).release();
        drop(dropped.with(8));

        assert_eq!(first.await, Ok(7));
        assert_eq!(second.await, Err(CallError::Lost));
    });
}

#[test]
fn a_reply_knows_that_its_caller_has_left() {
    let (reply, answered) = Reply::<()>::channel();

    drop(answered);

    assert!(reply.is_closed());
}

#[test]
fn an_actor_can_be_asked_for_a_view_of_its_state() {
    World::run(async |world| {
        let a = Puppet::new("a", &Log::default());
        world.start("system", alone(&a)).await;
        let (reply, _answered) = Reply::channel();

        a.send(Message::Keep { reply });
        let view = a.address.inspect(SECOND).await;

        assert_eq!(view, Ok(serde_json::json!({ "kept": 1 })));
        assert_eq!(format!("{:?}", a.address), "Address(a)");
        let nowhere = Address::<Message>::new("nowhere").inspect(SECOND).await;
        assert_eq!(nowhere, Err(CallError::Unavailable));
    });
}

#[test]
fn what_an_actor_spawns_comes_back_as_a_message_and_ends_with_its_life() {
    World::run(async |world| {
        let log = Log::default();
        let a = Puppet::new("a", &log);
        world.start("system", alone(&a)).await;
        world.expect_crash("a");

        a.send(Message::Spawn { wait: SECOND, text: "has waited" });
        a.send(Message::Spawn { wait: 3 * SECOND, text: "waited too long" });
        world.pass(2 * SECOND).await;
        a.send(Message::Crash);
        world.pass(9 * SECOND).await;
        a.send(Message::SpawnPanic);
        world.pass(SECOND).await;

        let expected = expect![[r#"
            a started, life 1
            a has waited
            a ended
            a started, life 2
            a ended
            a started, life 3"#]];
        expected.assert_eq(&log.take());
    });
}

#[test]
fn what_a_starting_actor_sends_itself_is_handled_before_anything_from_outside() {
    World::run(async |world| {
        let log = Log::default();
        let a = Puppet::new("a", &log);
        a.will([Start::Talking("talks to itself", SECOND)]);

        world.start("system", alone(&a)).await;
        a.send(Message::Say("is told"));
        world.settle().await;

        assert_eq!(log.take(), "a started, life 1\na talks to itself\na is told");
    });
}

/// Panics while it is dropped, which the one above has to survive.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("dropped");
    }
}

impl Actor for Bomb {
    type Args = ();
    type Message = ();

    async fn start((): (), _cx: &mut Context<()>) -> Result<Self, StartError> {
        Ok(Self)
    }

    fn handle(&mut self, (): (), _cx: &mut Context<()>) -> Result<(), Crash> {
        Ok(())
    }
}

#[test]
fn a_state_that_panics_while_it_is_dropped_ends_nobody_else() {
    World::run(async |world| {
        let a = Puppet::new("a", &Log::default());
        let bomb = Address::new("bomb");
        let spec = SupervisorSpec::new(Strategy::RestForOne)
            .child(a.spec())
            .child(ChildSpec::actor::<Bomb>("bomb", bomb.clone(), ()));
        let system = world.start("system", spec).await;
        world.expect_crash("a");

        a.send(Message::Crash);
        world.pass(SECOND).await;

        assert!(a.address.is_alive() && bomb.is_alive());
        assert_eq!(system.observe()[0].restarts, 0);
    });
}
