//! Runs and the lives of servers: what one commit holds, and that whatever a killed server left leads to the same end.

use fleetward_actors::Config;
use fleetward_actors::plane::RunFilter;
use fleetward_store::{CellId, Store};

use super::*;

#[test]
fn run_goes_on_in_the_next_life_of_the_server_wherever_it_was() {
    World::run(async |world| {
        let store = Memory::new();
        let mut done = Vec::new();
        let (mut lives, run) = (0, "a1".parse::<RunId>().unwrap());
        loop {
            let plane = start(world, &store).await;
            lives += 1;
            if lives == 1 {
                plane.apply(ARTICLE).await;
                plane.begin("article", "a1", json!("ants")).await;
            }
            let hand = plane.hand(&format!("h{lives}")).await;
            if let Some((offer, delivery)) = hand.claim(plain(5)).await.unwrap() {
                delivery.written();
                let key = offer.step.as_ref().unwrap().key.to_string();
                let input: Value = serde_json::from_slice(&offer.payload).unwrap();
                let outcome = Outcome::Completed(echo(&key, &input).unwrap().to_string().into());
                hand.report(offer.task, Some(offer.attempt), Some(&offer.claim_token), outcome)
                    .await
                    .unwrap();
                done.push(key);
            } else if plane.status(&run).await == "waiting" {
                assert_eq!(plane.approve(&run, "review").await, "ok");
            } else {
                assert_eq!(plane.status(&run).await, "completed");
                break;
            }
            plane.plane.drain(Duration::from_secs(1)).await;
            assert!(lives < 20);
        }

        assert_eq!(done, ["research", "draft", "publish"]);
        assert!(lives >= 5, "{lives}");
    });
}

/// Every moment at which a server can be killed is a prefix of the journal.
#[test]
fn run_goes_on_to_the_same_end_from_every_prefix_of_the_journal() {
    let (whole, run) = (Memory::new(), "a1".parse::<RunId>().unwrap());
    let (cell, mut started, mut end) = (CellId(1), 0, 0);
    World::run(async |world| {
        let plane = start(world, &whole).await;
        plane.apply(ARTICLE).await;
        plane.begin("article", "a1", json!("ants")).await;
        started = plane.run(&run).await.updated;
        let hand = plane.hand("first").await;
        work(&hand, echo).await;
        plane.approve(&run, "review").await;
        work(&hand, echo).await;
        plane.output(&run).await;
        end = plane.run(&run).await.updated;
    });

    for killed_at in started..=end {
        World::run(async |world| {
            let plane = start(world, &whole.killed_at(cell, killed_at)).await;
            let since = world.clock().now();
            let hand = plane.hand("second").await;
            while plane.status(&run).await != "completed" {
                work(&hand, echo).await;
                if plane.status(&run).await == "waiting" {
                    assert_eq!(plane.approve(&run, "review").await, "ok");
                }
            }
            let draft = "draft({findings:research(ants),topic:ants})";
            let published = format!("publish({draft})");
            assert_eq!(plane.output(&run).await, json!({"draft": draft, "published": published}));
            // As long as what the first worker held was leased to it, and not until somebody looks by chance.
            let took = world.clock().now() - since;
            assert!(took < Duration::from_secs(55), "killed at {killed_at}: {took:?}");
        });
    }
}

/// A server that is killed after a run was cancelled, and before its child was; and a child that is told in vain.
#[test]
fn child_that_nobody_wants_any_more_ends_whatever_is_lost() {
    for killed in [true, false] {
        World::run(async |world| {
            let store = Memory::new();
            let mut plane = start(world, &store).await;
            plane.apply("name: inner\nsteps:\n  - wait_signal: word\n").await;
            plane.apply("name: outer\nsteps:\n  - child: call\n    workflow: inner\n").await;
            let run = plane.begin("outer", "o", json!(1)).await;
            world.pass(Duration::from_secs(30)).await;
            let child = plane.operator.runs(&RunFilter::default(), None, 1).await.unwrap();
            let child = child.runs[0].run.id.clone();
            world.faults().drop_next(&format!("runs/{child}"), "Amend");

            let cancel = Remedy::Cancel { reason: None };
            let cancelled = plane.operator.amend_run(&run, cancel).await.unwrap();
            if killed {
                let left = store.killed_at(CellId(1), cancelled.updated);
                plane.plane.drain(Duration::from_secs(5)).await;
                plane = start(world, &left).await;
            }
            world.pass(Duration::from_secs(90)).await;

            assert_eq!(plane.status(&child).await, "cancelled", "killed: {killed}");
            plane.fits(&run).await;
        });
    }
}

#[test]
fn start_under_a_new_id_asks_the_store_nothing_once_the_used_ids_are_known() {
    World::run(async |world| {
        let (store, mut earlier) = (Memory::new(), Vec::<RunId>::new());
        for life in ["a", "b", "c"] {
            let config = Config { used_ids_after: 0, ..Config::default() };
            let plane = start_with(world, &store, config).await;
            plane.apply("name: waits\nsteps: [{wait_signal: word}]").await;
            let start = async |id: String| {
                let new = NewRunStart {
                    workflow: "waits".to_owned(),
                    run_id: Some(id.parse().unwrap()),
                    input: "1".into(),
                    ..NewRunStart::default()
                };
                plane.operator.start_run(new).await.unwrap()
            };

            earlier.push(start(format!("{life}-first")).await.run);
            // Its ids are read, and it rests.
            world.pass(Duration::from_secs(60)).await;
            let before = store.statements();
            let fresh = start(format!("{life}-fresh")).await;
            world.settle().await;

            assert!(!fresh.repeated);
            assert_eq!(store.statements() - before, 2, "its events are written, and its row");
            earlier.push(fresh.run);
            for run in &earlier {
                assert!(start(run.to_string()).await.repeated, "{run} in life {life}");
            }
            world.pass(Duration::from_secs(60)).await;
            for run in &earlier {
                assert!(start(run.to_string()).await.repeated, "{run} has rested in life {life}");
                plane.fits(run).await;
            }
            plane.plane.drain(Duration::from_secs(5)).await;
        }
    });
}

#[test]
fn report_and_all_that_follows_from_it_are_one_commit() {
    World::run(async |world| {
        let store = Memory::new();
        let plane = start(world, &store).await;
        plane.apply("name: three\nsteps: [{step: one}, {step: two}, {step: three}]").await;
        let (mut working, mut parked) = (plane.hand("a").await, plane.hand("b").await);
        let claim = |hand: &Session| {
            let hand = hand.clone();
            tokio::spawn(async move { hand.claim(plain(60)).await.unwrap().unwrap() })
        };
        let mut next = claim(&working);
        world.settle().await;
        let before = store.control().appends();

        let run = plane.begin("three", "r1", json!(1)).await;
        for _ in 0..3 {
            let taken = read(next.await.unwrap());
            next = claim(&parked);
            world.settle().await;
            complete(&working, &taken).await.unwrap();
            std::mem::swap(&mut working, &mut parked);
        }
        plane.output(&run).await;

        // It began, and three times a step ended, the next was made of that, and a worker had it.
        assert_eq!(store.control().appends() - before, 4);
        next.abort();
    });
}
