//! The store goes away and comes back.

use std::time::Duration;

use fleetward_actors::fleet::task::Phase;
use fleetward_runtime::testkit::World;
use fleetward_store::memory::Memory;

use crate::fixture::*;

#[test]
fn outage_refuses_at_once_spends_nothing_and_no_lease_lapses() {
    World::run(async |world| {
        let store = Memory::new();
        let plane = start(world, &store).await;
        let w1 = plane.worker("w1").await;
        let task = plane.submit("x").await;
        let taken = take(&w1, named("a")).await.unwrap();
        w1.heartbeat(holding(&[&taken])).await.unwrap();

        store.control().set_away(true);
        let begun = world.clock().now();
        assert_eq!(code(plane.operator.submit(new_task("y")).await), "outcome_unknown");
        assert!(world.clock().now() - begun < Duration::from_secs(6));
        let at_once = world.clock().now();
        assert_eq!(code(plane.operator.submit(new_task("z")).await), "unavailable");
        assert_eq!(code(complete(&w1, &taken).await), "unavailable");
        assert_eq!(world.clock().now(), at_once);
        for _ in 0..30 {
            world.pass(Duration::from_secs(10)).await;
            w1.heartbeat(holding(&[])).await.expect("heartbeats are always taken");
        }
        store.control().set_away(false);
        world.pass(Duration::from_secs(20)).await;

        assert_eq!(plane.phase(task).await, Phase::Leased, "a fresh term after the outage");
        complete(&w1, &taken).await.unwrap();
        let waiting = plane.operator.tasks(Some("pending"), None, 10).await.unwrap();
        assert_eq!(waiting.len(), 1, "what was accepted before is there once");
        assert!(plane.plane.observe().iter().all(|unit| unit.restarts == 0));
    });
}

#[test]
fn lost_answers_of_the_store_change_nothing() {
    World::run(async |world| {
        let store = Memory::new();
        let plane = start(world, &store).await;
        let worker = plane.worker("w").await;
        let mut tasks = Vec::new();
        for n in 0..20 {
            store.control().lose_answer_next(n % 3);
            let new = fleetward_actors::plane::NewSubmit {
                idempotency_key: Some(n.to_string()),
                ..new_task("x")
            };
            while code(plane.operator.submit(new.clone()).await) != "ok" {
                world.pass(Duration::from_secs(1)).await;
            }
            world.pass(Duration::from_secs(12)).await;
        }
        while let Some(taken) = take(&worker, plain(0)).await {
            complete(&worker, &taken).await.unwrap();
            tasks.push(taken.task);
        }
        assert_eq!(tasks.len(), 20);
        tasks.sort();
        tasks.dedup();
        assert_eq!(tasks.len(), 20);
    });
}
