//! Tasks that would rather go to the worker that had their like before: they do, and never wait for long.

use std::time::Duration;

use fleetward_actors::Session;
use fleetward_actors::fleet::dispatcher::remedy::Remedy;
use fleetward_actors::fleet::task::{Affinity, Handling};
use fleetward_actors::id::TaskId;
use fleetward_actors::plane::{NewSubmit, Outcome};
use fleetward_runtime::testkit::World;
use fleetward_store::memory::Memory;
use serde_json::json;

use crate::fixture::*;

const CHAT: &str =
    "name: chat\nsticky: true\nsteps:\n  - step: one\n  - step: two\n    retries: 1\n";
const AT_ONCE: Duration = Duration::from_millis(500);

/// Takes a step and says its run and key.
async fn step(session: &Session, seconds: u64) -> Option<(String, Taken)> {
    let (offer, delivery) = session.claim(plain(seconds)).await.unwrap()?;
    let step = offer.step.clone().expect("it is a step");
    Some((format!("{}/{}", step.run, step.key), read((offer, delivery))))
}

#[test]
fn steps_of_a_run_stay_at_its_worker_though_others_wait() {
    World::run(async |world| {
        let plane = start(world, &Memory::new()).await;
        plane.apply(CHAT).await;
        let (one, other) = (plane.hand("one").await, plane.hand("other").await);
        for run in ["r1", "r2"] {
            plane.begin("chat", run, json!(1)).await;
        }
        let mut held = vec![step(&one, 1).await.unwrap(), step(&one, 1).await.unwrap()];
        held.sort_by(|(a, _), (b, _)| a.cmp(b));
        for (_, taken) in &held {
            complete(&one, taken).await.unwrap();
        }

        assert!(step(&other, 1).await.is_none());
        let mut next = [step(&one, 1).await.unwrap(), step(&one, 1).await.unwrap()];
        next.sort_by(|(a, _), (b, _)| a.cmp(b));

        let keys = |steps: &[(String, Taken)]| steps.iter().map(|(key, _)| key.clone()).collect();
        let (held, next): (Vec<_>, Vec<_>) = (keys(&held), keys(&next));
        assert_eq!(held, ["r1/one", "r2/one"]);
        assert_eq!(next, ["r1/two", "r2/two"]);
    });
}

#[test]
fn worker_that_died_costs_its_wait_and_one_that_left_nothing() {
    World::run(async |world| {
        let plane = start(world, &Memory::new()).await;
        plane.apply(CHAT).await;
        let (one, other) = (plane.hand("one").await, plane.hand("other").await);
        for (run, waits) in [("r1", true), ("r2", false)] {
            let id = plane.begin("chat", run, json!(1)).await;
            let (_, taken) = step(&one, 1).await.unwrap();
            complete(&one, &taken).await.unwrap();
            let since = world.clock().now();
            if !waits {
                plane.revoke(&one).await;
            }

            let (key, taken) = step(&other, 30).await.unwrap();

            let waited = world.clock().now() - since;
            assert_eq!(key, format!("{run}/two"));
            let expected = if waits { Duration::from_secs(5) } else { Duration::ZERO };
            assert!((expected..expected + AT_ONCE).contains(&waited), "{waited:?}");
            complete(&other, &taken).await.unwrap();
            assert_eq!(plane.output(&id).await, json!(1));
        }
    });
}

#[test]
fn failed_step_is_tried_again_where_it_failed_and_a_lost_one_elsewhere() {
    World::run(async |world| {
        let plane = start(world, &Memory::new()).await;
        plane.apply(CHAT).await;
        let (one, other) = (plane.hand("one").await, plane.hand("other").await);
        plane.begin("chat", "r1", json!(1)).await;
        let (_, taken) = step(&one, 1).await.unwrap();
        complete(&one, &taken).await.unwrap();
        let (_, taken) = step(&one, 1).await.unwrap();
        let failed = Outcome::Failed { error: "no".to_owned(), retryable: true };
        one.report(taken.task, Some(taken.attempt), Some(&taken.token), failed).await.unwrap();

        assert!(step(&other, 2).await.is_none());
        let (key, taken) = step(&one, 1).await.unwrap();
        assert_eq!((key.as_str(), taken.attempt), ("r1/two", 2));

        one.hand_back(taken.task, Some(taken.attempt), Some(&taken.token)).await.unwrap();
        let (key, taken) = step(&other, 1).await.unwrap();
        assert_eq!((key.as_str(), taken.attempt), ("r1/two", 3));
    });
}

#[test]
fn what_was_kept_waits_for_nobody_after_a_restart_and_is_cancelled_like_all_else() {
    World::run(async |world| {
        let store = Memory::new();
        let plane = start(world, &store).await;
        let (one, other) = (plane.worker("one").await, plane.worker("other").await);
        let first = submit(&plane, "first").await;
        assert_eq!(take(&one, plain(1)).await.unwrap().task, first);
        let (second, third) = (submit(&plane, "second").await, submit(&plane, "third").await);
        assert!(take(&other, plain(1)).await.is_none());
        let cancelled = plane.operator.amend(&[second], Remedy::Cancel { reason: None }).await;
        assert!(cancelled.unwrap()[0].is_ok());
        assert!(plane.plane.drain(Duration::from_secs(5)).await.is_clean());

        let plane = start(world, &store).await;
        let other = plane.worker("another").await;
        let since = world.clock().now();
        assert_eq!(take(&other, plain(5)).await.unwrap().task, third);
        assert!(world.clock().now() - since < AT_ONCE);
    });
}

async fn submit(plane: &Plane, payload: &str) -> TaskId {
    let affinity = Some(Box::new(Affinity { key: "k".to_owned(), wait_ms: 300_000 }));
    let handling = Handling { affinity, ..Handling::default() };
    let new = NewSubmit { handling, ..new_task(payload) };
    plane.operator.submit(new).await.unwrap().task
}
