//! Actors crash; what was acknowledged stays, and the next cell notices nothing.

use std::time::Duration;

use fleetward_actors::fleet::task::Phase;
use fleetward_actors::plane::NewSubmit;
use fleetward_runtime::testkit::World;
use fleetward_store::memory::Memory;

use crate::fixture::*;

/// What a crash of `actor` restarts, and what it leaves alone.
async fn crash(world: &World, actor: &str, label: &str) -> (Plane, Vec<(String, u64)>) {
    let store = Memory::new();
    let plane = start(world, &store).await;
    let other = plane.plane.create_org(&plane.caller, "other", None).await.unwrap().0;
    let others = plane.plane.operator(&plane.caller, Some(other.id)).await.unwrap();
    let w1 = plane.worker("w1").await;
    let foreign = plane.worker_of(&others, enrollment("foreign")).await;
    let done = plane.submit("done").await;
    complete(&w1, &take(&w1, named("a")).await.unwrap()).await.unwrap();
    let open = plane.submit("open").await;
    let waiting =
        tokio::spawn(async move { foreign.claim(named("f")).await.map(|offer| offer.map(read)) });
    world.settle().await;

    world.expect_crash(actor);
    world.faults().panic_next(actor, label);
    // Whatever makes the actor receive such a message.
    let poke = plane.operator.submit(new_task("lost or not")).await;
    let _ = w1.claim(named("b")).await;
    let _ = w1.heartbeat(holding(&[])).await;
    let _ = plane.operator.worker(w1.worker()).await;
    world.pass(Duration::from_secs(5)).await;
    assert_eq!(world.faults().fired().len(), 1, "the fault was hit");

    assert!(matches!(plane.phase(done).await, Phase::Completed { .. }));
    assert!(!plane.view(open).await.task.is_closed());
    if let Ok(receipt) = poke {
        plane.view(receipt.task).await;
    }
    others.submit(new_task("theirs")).await.unwrap();
    let theirs = waiting.await.unwrap();
    if actor == "journal" {
        assert_eq!(code(theirs.map(drop)), "unavailable");
    } else {
        assert!(theirs.unwrap().is_some(), "the other cell notices nothing");
    }
    // Work goes on.
    let w2 = plane.worker("w2").await;
    world.pass(Duration::from_secs(60)).await;
    let mut left = Vec::new();
    while let Some(taken) = take(&w2, plain(0)).await {
        complete(&w2, &taken).await.unwrap();
        left.push(taken.task);
    }
    assert!(left.contains(&open), "{left:?}");
    let units = plane.plane.observe();
    let restarts = units
        .into_iter()
        .filter(|unit| unit.restarts > 0)
        .map(|unit| (unit.path, unit.restarts))
        .collect();
    (plane, restarts)
}

fn names(restarts: &[(String, u64)]) -> Vec<&str> {
    restarts.iter().map(|(path, _)| path.as_str()).collect()
}

#[test]
fn crash_of_the_dispatcher_restarts_its_cell_only() {
    World::run(async |world| {
        let (_plane, restarts) = crash(world, "cells/1/dispatcher", "Submit").await;
        assert!(!restarts.is_empty());
        assert!(
            names(&restarts).iter().all(|path| path.starts_with("system/cells/1")),
            "{restarts:?}"
        );
    });
}

#[test]
fn crash_of_the_registry_restarts_its_cell_only() {
    World::run(async |world| {
        let (_plane, restarts) = crash(world, "cells/1/registry", "Look").await;
        assert!(!restarts.is_empty());
        assert!(
            names(&restarts).iter().all(|path| path.starts_with("system/cells/1")),
            "{restarts:?}"
        );
    });
}

#[test]
fn crash_of_the_journal_rebuilds_every_cell() {
    World::run(async |world| {
        let (_plane, restarts) = crash(world, "journal", "Append").await;
        assert!(names(&restarts).contains(&"system/journal"), "{restarts:?}");
    });
}

#[test]
fn crash_of_a_connection_restarts_that_connection_only() {
    World::run(async |world| {
        let plane = start(world, &Memory::new()).await;
        let (w1, w2) = (plane.worker("w1").await, plane.worker("w2").await);
        let task = plane.submit("x").await;
        let taken = take(&w1, named("a")).await.unwrap();
        let path = format!("connections/{}", w1.worker());
        world.expect_crash(&path);
        world.faults().panic_next(&path, "Beat");
        assert!(w1.heartbeat(holding(&[&taken])).await.is_err());
        let parked = tokio::spawn(async move { take(&w2, named("b")).await });
        world.pass(Duration::from_secs(10)).await;

        assert_eq!(w1.heartbeat(holding(&[&taken])).await.unwrap(), []);
        complete(&w1, &taken).await.unwrap();
        assert!(matches!(plane.phase(task).await, Phase::Completed { .. }));
        plane.submit("y").await;
        assert!(parked.await.unwrap().is_some());
        let restarted: Vec<_> =
            plane.plane.observe().into_iter().filter(|unit| unit.restarts > 0).collect();
        assert!(restarted.iter().all(|unit| unit.path.ends_with(&path)), "{restarted:?}");
    });
}

#[test]
fn panic_while_deciding_is_an_error_with_an_id_and_changes_nothing() {
    World::run(async |world| {
        let plane = start(world, &Memory::new()).await;
        let worker = plane.worker("w1").await;
        world.faults().panic_at("decide/submit");
        assert_eq!(code(plane.operator.submit(new_task("x")).await), "internal");
        assert!(take(&worker, plain(0)).await.is_none());
        plane.submit("y").await;
        let taken = take(&worker, plain(0)).await.unwrap();
        world.faults().panic_at("decide/report");
        assert_eq!(code(complete(&worker, &taken).await), "internal");
        complete(&worker, &taken).await.unwrap();
        assert!(plane.plane.observe().iter().all(|unit| unit.restarts == 0));
    });
}

#[test]
fn event_that_can_never_be_stored_ends_the_life_of_its_cell_and_nothing_else() {
    World::run(async |world| {
        let store = Memory::new();
        let plane = start(world, &store).await;
        let task = plane.submit("x").await;
        world.expect_crash("cells/1/keeper");
        store.control().refuse(fleetward_store::CellId(1), 2);
        let keyed = NewSubmit { idempotency_key: Some("k".into()), ..new_task("y") };
        assert_eq!(code(plane.operator.submit(keyed.clone()).await), "outcome_unknown");
        world.pass(Duration::from_secs(5)).await;

        plane.operator.submit(keyed).await.unwrap();
        assert_eq!(plane.phase(task).await, Phase::Waiting);
        assert_eq!(plane.operator.tasks(None, None, 10).await.unwrap().len(), 2);
        assert_eq!(plane.restarts("system/journal"), 0);
    });
}
