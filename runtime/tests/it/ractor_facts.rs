//! What we rest on in ractor, which is pinned exactly: an upgrade that changes one of these facts
//! fails here, and not in production.

use std::time::Duration;

use expect_test::expect;
use ractor::{Actor, ActorProcessingErr, ActorRef, ActorStatus, SpawnErr, SupervisionEvent};
use tokio::sync::oneshot;

use crate::probe::Log;

/// Does as it is told.
struct Child;

enum Order {
    Note(&'static str),
    Sleep(Duration),
    Ask(oneshot::Sender<()>),
    Panic,
    Fail,
}

#[derive(Clone, Copy, PartialEq)]
enum Begin {
    Well,
    Panicking,
    Failing,
}

impl Actor for Child {
    type Msg = Order;
    type State = Log;
    type Arguments = (Begin, Log);

    async fn pre_start(
        &self,
        _me: ActorRef<Order>,
        (begin, log): Self::Arguments,
    ) -> Result<Log, ActorProcessingErr> {
        match begin {
            Begin::Well => Ok(log),
            Begin::Panicking => panic!("in pre_start"),
            Begin::Failing => Err("no pre_start".into()),
        }
    }

    async fn handle(
        &self,
        _me: ActorRef<Order>,
        order: Order,
        log: &mut Log,
    ) -> Result<(), ActorProcessingErr> {
        match order {
            Order::Note(text) => log.add(text),
            Order::Sleep(time) => {
                tokio::time::sleep(time).await;
                log.add("slept");
            }
            Order::Ask(reply) => drop(reply.send(())),
            Order::Panic => panic!("boom"),
            Order::Fail => return Err("failed".into()),
        }
        Ok(())
    }

    async fn post_stop(
        &self,
        _me: ActorRef<Order>,
        log: &mut Log,
    ) -> Result<(), ActorProcessingErr> {
        log.add("post_stop");
        Ok(())
    }
}

/// Writes down what it hears of its children.
struct Parent;

impl Actor for Parent {
    type Msg = ();
    type State = Log;
    type Arguments = Log;

    async fn pre_start(&self, _me: ActorRef<()>, log: Log) -> Result<Log, ActorProcessingErr> {
        Ok(log)
    }

    async fn handle_supervisor_evt(
        &self,
        _me: ActorRef<()>,
        event: SupervisionEvent,
        log: &mut Log,
    ) -> Result<(), ActorProcessingErr> {
        log.add(match event {
            SupervisionEvent::ActorStarted(_) => "heard: started".to_owned(),
            SupervisionEvent::ActorFailed(_, error) => format!("heard: failed, {error}"),
            SupervisionEvent::ActorTerminated(_, state, reason) => {
                format!("heard: terminated, state {}, {reason:?}", state.is_some())
            }
            SupervisionEvent::ProcessGroupChanged(_) => "heard: group changed".to_owned(),
        });
        Ok(())
    }
}

/// A parent that leaves supervision to ractor.
struct Careless;

impl Actor for Careless {
    type Msg = ();
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, _me: ActorRef<()>, (): ()) -> Result<(), ActorProcessingErr> {
        Ok(())
    }
}

async fn parent_and_child(log: &Log) -> (ActorRef<()>, ActorRef<Order>) {
    let parent = Actor::spawn(None, Parent, log.clone()).await.expect("it starts well").0;
    let begin = (Begin::Well, log.clone());
    let child = Actor::spawn_linked(None, Child, begin, parent.get_cell()).await;
    (parent, child.expect("it starts well").0)
}

async fn settle() {
    tokio::time::sleep(Duration::from_secs(1)).await;
}

#[tokio::test(start_paused = true)]
async fn a_busy_actor_takes_any_number_of_messages() {
    let (_, child) = parent_and_child(&Log::default()).await;

    let sent = (0..100_000).filter(|_| child.send_message(Order::Note("")).is_ok()).count();

    assert_eq!(sent, 100_000);
}

#[tokio::test(start_paused = true)]
async fn a_start_that_fails_or_panics_is_told_to_the_spawner_and_to_nobody_else() {
    let log = Log::default();
    let (parent, _) = Actor::spawn(None, Parent, log.clone()).await.unwrap();

    for begin in [Begin::Failing, Begin::Panicking] {
        let begin = (begin, log.clone());
        let spawned = Actor::spawn_linked(None, Child, begin, parent.get_cell()).await;
        assert!(matches!(spawned, Err(SpawnErr::StartupFailed(_))));
    }

    settle().await;
    assert_eq!(log.take(), "");
}

#[tokio::test(start_paused = true)]
async fn a_supervisor_stops_by_default_when_a_child_stops_even_normally() {
    let (parent, _) = Actor::spawn(None, Careless, ()).await.unwrap();
    let begin = (Begin::Well, Log::default());
    let (child, _) = Actor::spawn_linked(None, Child, begin, parent.get_cell()).await.unwrap();

    child.stop(None);
    settle().await;

    assert_eq!(parent.get_status(), ActorStatus::Stopped);
}

#[tokio::test(start_paused = true)]
async fn panics_and_errors_are_failures_and_skip_post_stop() {
    let log = Log::default();

    for order in [Order::Panic, Order::Fail] {
        let (_, child) = parent_and_child(&log).await;
        child.send_message(order).unwrap();
        settle().await;
    }

    let expected = expect![[r#"
        heard: started
        heard: failed, boom
        heard: started
        heard: failed, failed"#]];
    expected.assert_eq(&log.take());
}

#[tokio::test(start_paused = true)]
async fn stop_drops_the_queue_and_drain_works_it_off_and_takes_no_more() {
    let log = Log::default();
    for drain in [false, true] {
        let (_, child) = parent_and_child(&log).await;
        child.send_message(Order::Sleep(Duration::from_secs(1))).unwrap();
        child.send_message(Order::Note("queued")).unwrap();
        tokio::task::yield_now().await;
        if drain {
            child.drain().unwrap()
        } else {
            child.stop(Some("asked".to_owned()))
        }
        assert_eq!(child.send_message(Order::Note("late")).is_err(), drain);
        settle().await;
        settle().await;
    }

    let expected = expect![[r#"
        heard: started
        slept
        post_stop
        heard: terminated, state true, Some("asked")
        heard: started
        slept
        queued
        post_stop
        heard: terminated, state true, Some("Drained")"#]];
    expected.assert_eq(&log.take());
}

#[tokio::test(start_paused = true)]
async fn kill_ends_a_handler_at_its_next_await_and_skips_post_stop() {
    let log = Log::default();
    let (_, child) = parent_and_child(&log).await;
    child.send_message(Order::Sleep(Duration::from_secs(100))).unwrap();
    settle().await;

    child.kill();
    settle().await;

    let expected = expect![[r#"
        heard: started
        heard: terminated, state true, Some("killed")"#]];
    expected.assert_eq(&log.take());
}

#[tokio::test(start_paused = true)]
async fn an_end_may_be_heard_of_without_a_start_before() {
    let log = Log::default();
    let (_, child) = parent_and_child(&log).await;

    // Nobody has run since it was spawned: this is one thread.
    child.kill();
    settle().await;

    assert_eq!(log.take(), r#"heard: terminated, state false, Some("killed")"#);
}

#[tokio::test(start_paused = true)]
async fn what_is_queued_behind_a_crash_is_dropped_and_its_callers_notice() {
    let (_, child) = parent_and_child(&Log::default()).await;
    let (reply, answer) = oneshot::channel();

    child.send_message(Order::Panic).unwrap();
    child.send_message(Order::Ask(reply)).unwrap();

    assert!(answer.await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_reference_to_an_ended_actor_is_dead_for_ever() {
    let (_, child) = parent_and_child(&Log::default()).await;

    child.stop(None);
    settle().await;

    assert!(child.send_message(Order::Note("")).is_err());
}

#[tokio::test(start_paused = true)]
async fn children_are_killed_when_their_supervisor_ends() {
    let log = Log::default();
    let (parent, child) = parent_and_child(&log).await;
    settle().await;

    parent.stop(None);
    settle().await;

    assert_eq!(child.get_status(), ActorStatus::Stopped);
    assert_eq!(log.take(), "heard: started");
}

#[tokio::test(start_paused = true)]
async fn names_are_taken_for_the_whole_process() {
    let name = Some("the only one".to_owned());
    let first = Actor::spawn(name.clone(), Careless, ()).await;

    let second = Actor::spawn(name, Careless, ()).await;

    assert!(first.is_ok());
    assert!(matches!(second, Err(SpawnErr::ActorAlreadyRegistered(_))));
}

#[tokio::test(start_paused = true)]
async fn a_start_can_be_killed_and_drops_its_future() {
    struct Slow;
    impl Actor for Slow {
        type Msg = ();
        type State = ();
        type Arguments = oneshot::Sender<()>;

        async fn pre_start(
            &self,
            _me: ActorRef<()>,
            _held: oneshot::Sender<()>,
        ) -> Result<(), ActorProcessingErr> {
            std::future::pending().await
        }
    }
    let (held, dropped) = oneshot::channel();
    let (actor, started) = ractor::ActorRuntime::spawn_instant(None, Slow, held).unwrap();
    settle().await;

    actor.kill();

    assert!(started.await.unwrap().is_err());
    assert!(dropped.await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_drain_before_the_link_loses_an_actor_and_one_behind_it_does_not() {
    struct Draining;
    impl Actor for Draining {
        type Msg = ();
        type State = Log;
        type Arguments = (Option<ActorRef<()>>, Log);

        async fn pre_start(
            &self,
            me: ActorRef<()>,
            (parent, log): Self::Arguments,
        ) -> Result<Log, ActorProcessingErr> {
            if let Some(parent) = parent {
                me.link(parent.get_cell());
            }
            me.drain()?;
            Ok(log)
        }

        async fn post_stop(
            &self,
            _me: ActorRef<()>,
            log: &mut Log,
        ) -> Result<(), ActorProcessingErr> {
            log.add("post_stop");
            Ok(())
        }
    }
    let log = Log::default();
    let (parent, _) = Actor::spawn(None, Parent, log.clone()).await.unwrap();

    let by_ractor = (None, log.clone());
    let late = Actor::spawn_linked(None, Draining, by_ractor, parent.get_cell()).await;
    settle().await;
    assert!(matches!(late, Err(SpawnErr::StartupFailed(_))));
    assert_eq!(log.take(), "");

    let by_itself = (Some(parent), log.clone());
    let early = Actor::spawn(None, Draining, by_itself).await;
    settle().await;
    assert!(early.is_ok());
    let expected = expect![[r#"
        post_stop
        heard: started
        heard: terminated, state true, Some("Drained")"#]];
    expected.assert_eq(&log.take());
}
