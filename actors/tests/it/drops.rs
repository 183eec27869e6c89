//! Each message type between actors is lost once; the system still converges.

use std::time::Duration;

use fleetward_actors::Config;
use fleetward_actors::fleet::task::Phase;
use fleetward_actors::plane::NewRunStart;
use fleetward_runtime::testkit::World;
use fleetward_store::memory::Memory;

use crate::fixture::*;

/// Every message that one actor sends another, as (receiver, label). A new one belongs here.
const BETWEEN_ACTORS: &[(&str, &str)] = &[
    ("projector", "Committed"),
    ("projector", "Opened"),
    ("dispatcher", "Polls"),
    ("dispatcher", "Ended"),
    ("dispatcher", "LeasesOf"),
    ("dispatcher", "Held"),
    ("dispatcher", "GrantAgain"),
    ("dispatcher", "Seated"),
    ("dispatcher", "Unseated"),
    ("dispatcher", "Roster"),
    ("W", "Granted"),
    ("W", "NothingNow"),
    ("working W", "Over"),
    ("W", "Holds"),
    ("W", "OfferAgain"),
    ("revoked W", "Standing"),
    ("W", "Delivered"),
    ("W", "Left"),
    ("registry", "Sighted"),
    ("dispatcher", "Census"),
];

#[test]
fn every_message_between_actors_may_be_lost_once() {
    for (actor, label) in BETWEEN_ACTORS {
        World::run(async |world| {
            if *label == "Opened" {
                world.faults().drop_next(actor, label);
            }
            let config = Config { sweep: Duration::from_secs(20), ..Config::default() };
            let plane = start_with(world, &Memory::new(), config).await;
            if *label == "OfferAgain" {
                // It is sent only where the dispatcher learned late of a worker.
                world.faults().drop_next("dispatcher", "Seated");
            }
            let (w1, w2, w3) =
                (plane.worker("w1").await, plane.worker("w2").await, plane.worker("w3").await);
            let actor = match *actor {
                "W" => format!("connections/{}", w1.worker()),
                "working W" => format!("connections/{}", w2.worker()),
                "revoked W" => format!("connections/{}", w3.worker()),
                name => name.to_owned(),
            };
            if *label != "Opened" {
                world.faults().drop_next(&actor, label);
            }
            let _late = plane.worker("late").await;
            let mut tasks = vec![plane.submit("first").await];
            // One claim whose answer is lost, one that is repeated, one that nobody waits for.
            drop(w1.claim(named("lost")).await);
            let _ = w1.claim(named("again")).await.map(|offer| offer.map(read));
            let _ = w1.claim(named("again")).await.map(|offer| offer.map(read));
            let abandoned = tokio::spawn({
                let w1 = w1.clone();
                async move { w1.claim(named("abandoned")).await.map(drop) }
            });
            world.settle().await;
            abandoned.abort();
            let _ = w1.claim(plain(0)).await.map(|offer| offer.map(read));
            let _ = w1.heartbeat(holding(&[])).await;
            for n in 0..4 {
                tasks.push(plane.submit(&n.to_string()).await);
            }
            let _ = w3.claim(named("held by a revoked worker")).await.map(|offer| offer.map(read));
            plane.revoke(&w3).await;

            world.pass(Duration::from_secs(35)).await;

            // Time passes; one worker takes whatever there is until nothing is left.
            let mut rounds = 0;
            while rounds < 60 && !all_closed(&plane, &tasks).await {
                rounds += 1;
                if let Ok(Some(offer)) = w2.claim(plain(10)).await {
                    complete(&w2, &read(offer)).await.unwrap();
                }
                let _ = w1.heartbeat(holding(&[])).await;
                world.pass(Duration::from_secs(2)).await;
            }

            let fired = world.faults().fired();
            assert!(fired.iter().any(|fault| fault.contains(label)), "{label}: {fired:?}");
            for task in &tasks {
                let view = plane.view(*task).await;
                assert!(view.task.is_closed(), "{actor} {label}: {:?}", view.task);
            }
        });
    }
}

async fn all_closed(plane: &Plane, tasks: &[fleetward_actors::id::TaskId]) -> bool {
    for task in tasks {
        match plane.operator.task(*task).await {
            Ok(view) if view.task.is_closed() => {}
            _ => return false,
        }
    }
    true
}

#[test]
fn word_that_never_reaches_the_journal_loses_nothing() {
    World::run(async |world| {
        let plane = start(world, &Memory::new()).await;
        world.faults().drop_next("journal", "Append");
        assert_eq!(code(plane.operator.submit(new_task("late")).await), "outcome_unknown");

        let next = plane.submit("next").await;

        let tasks = plane.operator.tasks(None, None, 10).await.unwrap();
        assert_eq!((tasks.len(), tasks[0].task.id), (2, next));
    });
}

/// The conductor of one run crashes alone; what the others decide then does not follow on what is written.
#[test]
fn events_that_are_decided_and_not_appended_end_the_life_of_their_cell() {
    World::run(async |world| {
        let plane = start(world, &Memory::new()).await;
        plane.apply("name: one\nsteps:\n  - step: s\n").await;
        world.expect_crash("runs/lost");
        world.expect_crash("cells/1/keeper");
        world.faults().panic_at("run/decided");
        let new = |id: &str| NewRunStart {
            workflow: "one".to_owned(),
            run_id: Some(id.parse().unwrap()),
            input: "1".into(),
            ..NewRunStart::default()
        };
        assert_eq!(code(plane.operator.start_run(new("lost")).await), "outcome_unknown");

        assert_ne!(code(plane.operator.submit(new_task("next")).await), "ok");
        world.pass(Duration::from_secs(5)).await;

        assert!(!plane.operator.start_run(new("lost")).await.unwrap().repeated);
        let after = plane.submit("after").await;
        assert_eq!(plane.phase(after).await, Phase::Waiting);
    });
}
