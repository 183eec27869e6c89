//! Attempts, leases and what ends them.

use std::time::Duration;

use fleetward_actors::fleet::task::{Failure, Phase};
use fleetward_actors::plane::{Claim, Heartbeat};
use fleetward_runtime::testkit::World;
use fleetward_store::memory::Memory;

use crate::fixture::*;

#[test]
fn silent_worker_loses_its_task_to_another() {
    World::run(async |world| {
        let plane = start(world, &Memory::new()).await;
        let (w1, w2) = (plane.worker("w1").await, plane.worker("w2").await);
        let task = plane.submit("x").await;
        let first = take(&w1, named("a")).await.unwrap();
        w1.heartbeat(holding(&[&first])).await.unwrap();

        world.pass(Duration::from_secs(44)).await;
        assert_eq!(plane.phase(task).await, Phase::Leased);
        world.pass(Duration::from_secs(2)).await;
        assert_eq!(plane.phase(task).await, Phase::Waiting);

        let second = take(&w2, named("b")).await.unwrap();
        assert_eq!((second.task, second.attempt), (task, 2));
        assert_eq!(code(complete(&w1, &first).await), "attempt_superseded");
        let lost = w1.heartbeat(holding(&[&first])).await.unwrap();
        assert_eq!(lost, [(task, 1)]);
        complete(&w2, &second).await.unwrap();
    });
}

#[test]
fn late_report_counts_until_the_task_is_claimed_again() {
    World::run(async |world| {
        let plane = start(world, &Memory::new()).await;
        let w1 = plane.worker("w1").await;
        let task = plane.submit("x").await;
        let taken = take(&w1, named("a")).await.unwrap();
        world.pass(Duration::from_secs(100)).await;
        assert_eq!(plane.phase(task).await, Phase::Waiting);

        complete(&w1, &taken).await.unwrap();

        assert!(matches!(plane.phase(task).await, Phase::Completed { .. }));
        let w2 = plane.worker("w2").await;
        assert!(take(&w2, plain(0)).await.is_none(), "it left the queue");
    });
}

#[test]
fn heartbeats_keep_a_task_for_as_long_as_it_takes() {
    World::run(async |world| {
        let plane = start(world, &Memory::new()).await;
        let (w1, old) = (plane.worker("w1").await, plane.worker("old").await);
        let task = plane.submit("x").await;
        let taken = take(&w1, named("a")).await.unwrap();
        let older = plane.submit("y").await;
        take(&old, plain(5)).await.unwrap();
        for _ in 0..60 {
            world.pass(Duration::from_secs(10)).await;
            assert_eq!(w1.heartbeat(holding(&[&taken])).await.unwrap(), []);
            old.heartbeat(Heartbeat::default()).await.unwrap();
        }
        assert_eq!(plane.phase(task).await, Phase::Leased);
        assert_eq!(plane.phase(older).await, Phase::Leased);
    });
}

#[test]
fn answer_that_is_not_read_goes_to_another_at_once_and_does_not_count() {
    World::run(async |world| {
        let plane = start(world, &Memory::new()).await;
        let (w1, w2) = (plane.worker("w1").await, plane.worker("w2").await);
        let task = plane.submit("x").await;
        for _ in 0..10 {
            let offer = w1.claim(plain(0)).await.unwrap().expect("it is there again");
            drop(offer);
            world.settle().await;
        }

        let taken = take(&w2, plain(0)).await.unwrap();

        assert_eq!((taken.task, taken.attempt), (task, 11));
        assert_eq!(plane.view(task).await.task.crashes, 0);
    });
}

#[test]
fn caller_that_hangs_up_is_given_nothing() {
    World::run(async |world| {
        let plane = start(world, &Memory::new()).await;
        let (w1, w2) = (plane.worker("w1").await, plane.worker("w2").await);
        let poll = tokio::spawn({
            let w1 = w1.clone();
            async move { take(&w1, named("a")).await }
        });
        world.settle().await;
        poll.abort();
        world.settle().await;

        let task = plane.submit("x").await;

        assert_eq!(plane.phase(task).await, Phase::Waiting);
        assert_eq!(take(&w2, plain(0)).await.unwrap().attempt, 1);
    });
}

#[test]
fn poll_that_waits_for_a_seat_gets_work_when_an_attempt_ends_without_a_report() {
    World::run(async |world| {
        let plane = start(world, &Memory::new()).await;
        let w1 = plane.worker("w1").await;
        let task = plane.submit("x").await;
        take(&w1, named("a")).await.unwrap();
        let poll = tokio::spawn({
            let w1 = w1.clone();
            let claim = Claim { wait: Duration::from_secs(60), ..named("b") };
            async move { take(&w1, claim).await }
        });
        world.settle().await;
        assert!(!poll.is_finished(), "its one seat is taken");

        world.pass(Duration::from_secs(46)).await;

        assert!(poll.is_finished(), "the lease has lapsed");
        let again = poll.await.unwrap().expect("a task");
        assert_eq!((again.task, again.attempt), (task, 2));
    });
}

#[test]
fn repeated_claim_gets_the_same_task_even_after_a_restart() {
    World::run(async |world| {
        let plane = start(world, &Memory::new()).await;
        let w1 = plane.worker("w1").await;
        plane.submit("x").await;
        plane.submit("y").await;
        let first = take(&w1, named("a")).await.unwrap();
        let again = take(&w1, named("a")).await.unwrap();
        assert_eq!((again.task, again.attempt), (first.task, 1));
        assert_eq!((&again.token, &again.payload), (&first.token, &first.payload));

        world.expect_crash("dispatcher");
        world.faults().panic_next("cells/1/dispatcher", "TendDue");
        world.pass(Duration::from_secs(8)).await;

        let third = take(&w1, named("a")).await.unwrap();
        assert_eq!((third.task, third.attempt), (first.task, 1));
    });
}

/// What the dispatcher says later, when nobody asked, is lost here: it must not be needed.
#[test]
fn new_life_of_a_connection_knows_what_its_worker_holds_before_it_answers() {
    World::run(async |world| {
        let plane = start(world, &Memory::new()).await;
        let w1 = plane.worker("w1").await;
        plane.submit("x").await;
        plane.submit("y").await;
        let first = take(&w1, named("a")).await.unwrap();
        let path = format!("connections/{}", w1.worker());
        let crashed = async || {
            world.expect_crash(&path);
            world.faults().panic_next(&path, "Beat");
            assert!(w1.heartbeat(holding(&[&first])).await.is_err());
            world.faults().drop_next(&path, "Holds");
            world.pass(Duration::from_secs(1)).await;
        };

        crashed().await;
        assert_eq!(w1.heartbeat(holding(&[&first])).await.unwrap(), []);

        crashed().await;
        let again = take(&w1, named("a")).await.unwrap();
        assert_eq!((again.task, again.attempt), (first.task, 1));
    });
}

#[test]
fn task_that_kills_its_workers_fails_at_the_cap() {
    World::run(async |world| {
        let plane = start(world, &Memory::new()).await;
        let task = plane.submit("poison").await;
        for attempt in 1..=5 {
            let worker = plane.worker("w").await;
            let taken = take(&worker, plain(0)).await.unwrap();
            assert_eq!(taken.attempt, attempt);
            world.pass(Duration::from_secs(60)).await;
        }
        let phase = plane.phase(task).await;
        assert!(
            matches!(phase, Phase::Failed { why: Failure::AttemptsExhausted, .. }),
            "{phase:?}"
        );
    });
}

#[test]
fn revoked_worker_gives_its_tasks_back_at_once_and_gets_nothing_more() {
    World::run(async |world| {
        let plane = start(world, &Memory::new()).await;
        let (w1, w2) = (plane.worker("w1").await, plane.worker("w2").await);
        let task = plane.submit("x").await;
        let taken = take(&w1, named("a")).await.unwrap();
        let waiting = tokio::spawn({
            let w2 = w2.clone();
            async move { take(&w2, named("b")).await }
        });
        world.settle().await;
        let revoked_at = world.clock().now();

        plane.revoke(&w1).await;

        let second = waiting.await.unwrap().expect("it goes to the other at once");
        assert_eq!((second.task, second.attempt), (task, 2));
        assert!(world.clock().now() - revoked_at < Duration::from_secs(1));
        assert_eq!(plane.view(task).await.task.crashes, 0);
        assert_eq!(code(complete(&w1, &taken).await), "worker_not_approved");
        assert_eq!(code(w1.heartbeat(holding(&[])).await), "worker_not_approved");
    });
}

#[test]
fn parked_poll_of_a_revoked_worker_is_refused() {
    World::run(async |world| {
        let plane = start(world, &Memory::new()).await;
        let w1 = plane.worker("w1").await;
        let waiting = tokio::spawn({
            let w1 = w1.clone();
            async move { w1.claim(named("b")).await.map(drop) }
        });
        world.settle().await;

        plane.revoke(&w1).await;

        assert_eq!(code(waiting.await.unwrap()), "worker_not_approved");
    });
}

#[test]
fn older_client_that_claims_with_all_seats_taken_loses_the_oldest_attempt() {
    World::run(async |world| {
        let plane = start(world, &Memory::new()).await;
        let old = plane.worker("old").await;
        let task = plane.submit("x").await;
        take(&old, plain(0)).await.unwrap();

        let again = take(&old, plain(5)).await.unwrap();

        assert_eq!((again.task, again.attempt), (task, 2));
        let _ = world;
    });
}

#[test]
fn new_start_of_a_worker_gives_back_what_the_one_before_held() {
    World::run(async |world| {
        let plane = start(world, &Memory::new()).await;
        let w1 = plane.worker("w1").await;
        let task = plane.submit("x").await;
        let boot =
            |request: &str, boot: &str| Claim { boot: Some(boot.to_owned()), ..named(request) };
        take(&w1, boot("a", "boot-1")).await.unwrap();

        let again = take(&w1, boot("b", "boot-2")).await.unwrap();

        assert_eq!((again.task, again.attempt), (task, 2));
        let _ = world;
    });
}

#[test]
fn handed_back_task_goes_to_another_and_does_not_count() {
    World::run(async |world| {
        let plane = start(world, &Memory::new()).await;
        let (w1, w2) = (plane.worker("w1").await, plane.worker("w2").await);
        let task = plane.submit("x").await;
        let taken = take(&w1, named("a")).await.unwrap();
        let stolen = w2.hand_back(task, Some(1), Some(&taken.token)).await;
        assert_eq!(code(stolen), "bad_claim_token");

        w1.hand_back(task, Some(1), Some(&taken.token)).await.unwrap();

        assert_eq!(take(&w2, plain(0)).await.unwrap().attempt, 2);
        assert_eq!(plane.view(task).await.task.crashes, 0);
        let _ = world;
    });
}

#[test]
fn caller_that_leaves_between_grant_and_answer_loses_nothing() {
    World::run(async |world| {
        let plane = start(world, &Memory::new()).await;
        let (w1, w2) = (plane.worker("w1").await, plane.worker("w2").await);
        let mut claim = Box::pin(w1.claim(named("a")));
        // It parks, and is not looked at again until it is dropped.
        assert!(
            tokio::time::timeout(std::time::Duration::from_millis(5), &mut claim).await.is_err()
        );
        let task = plane.submit("x").await;
        world.settle().await;
        assert_eq!(plane.phase(task).await, Phase::Leased);

        drop(claim);
        world.settle().await;

        let taken = take(&w2, plain(0)).await.expect("it is back at once");
        assert_eq!((taken.task, taken.attempt), (task, 2));
    });
}
