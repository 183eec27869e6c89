//! What is suspicious of workers, in paused time: raised, shown, reset, and acted upon within limits.

use std::time::Duration;

use fleetward_actors::fleet::policy::{Change, Policy};
use fleetward_actors::fleet::probes::{Endpoint, Seen};
use fleetward_actors::fleet::suspicion::{Kind, Thresholds};
use fleetward_actors::fleet::worker::{Standing, Worker};
use fleetward_actors::plane::{AuditQuery, Heartbeat, NewSubmit, Outcome, Reported, Session};
use fleetward_runtime::testkit::World;
use fleetward_store::memory::Memory;

use crate::fixture::*;

/// Takes tasks and reports them as failed.
async fn fail(plane: &Plane, worker: &Session, times: usize) {
    for _ in 0..times {
        plane.submit("x").await;
        let taken = take(worker, plain(0)).await.unwrap();
        let failed = Outcome::Failed { error: "boom".into(), retryable: false };
        worker.report(taken.task, Some(taken.attempt), Some(&taken.token), failed).await.unwrap();
    }
}

/// Time passes in which these are alive: they poll and send heartbeats.
async fn alive(world: &World, workers: &[&Session], seconds: u64) {
    for _ in 0..seconds / 10 {
        for worker in workers {
            let _ = worker.heartbeat(holding(&[])).await;
            let _ = worker.claim(plain(0)).await.map(|offer| offer.map(read));
        }
        world.pass(Duration::from_secs(10)).await;
    }
}

async fn look(plane: &Plane, worker: &Session) -> Worker {
    plane.operator.worker(worker.worker()).await.unwrap().0
}

fn kinds(worker: &Worker) -> Vec<Kind> {
    worker.suspicions.iter().map(|suspicion| suspicion.finding.suspicion).collect()
}

async fn count(plane: &Plane, kind: &str) -> usize {
    let query = AuditQuery { kinds: vec![kind.to_owned()], limit: 100, ..AuditQuery::default() };
    plane.operator.audit(&query).await.unwrap().entries.len()
}

async fn govern(plane: &Plane, anomaly: Thresholds) {
    let policy = Policy { anomaly, ..Policy::default() };
    plane.operator.govern(Change::Set(Box::new(policy))).await.unwrap();
}

#[test]
fn worker_that_fails_and_falls_silent_is_revoked_and_its_task_goes_on() {
    World::run(async |world| {
        let plane = start(world, &Memory::new()).await;
        let (bad, good) = (plane.worker("bad").await, plane.worker("good").await);
        alive(world, &[&bad, &good], 60).await;
        fail(&plane, &bad, 20).await;
        // Not at the next look, but at once.
        world.pass(Duration::from_secs(6)).await;
        assert_eq!(kinds(&look(&plane, &bad).await), [Kind::ExcessiveFailures]);
        let held = plane.submit("held").await;
        take(&bad, named("c")).await.unwrap();

        alive(world, &[&good], 120).await;

        let worker = look(&plane, &bad).await;
        assert_eq!(worker.standing, Standing::Revoked);
        assert_eq!(worker.decided_by.as_deref(), Some("system"));
        let reason = worker.reason.clone().unwrap();
        assert!(reason.contains("100 %") && reason.contains("heartbeats in a row"), "{reason}");
        assert_eq!(kinds(&worker), [Kind::ExcessiveFailures, Kind::MissedHeartbeats]);
        assert_ne!(code(bad.claim(plain(0)).await), "ok");
        assert!(plane.view(held).await.task.attempts() > 1, "the other had it");
        assert!(look(&plane, &good).await.suspicions.is_empty());
        assert_eq!(count(&plane, "worker.suspected").await, 2);
    });
}

#[test]
fn fleet_cannot_be_talked_into_revoking_itself() {
    World::run(async |world| {
        let plane = start(world, &Memory::new()).await;
        govern(&plane, Thresholds { min_samples: 5, ..Thresholds::default() }).await;
        let mut workers = Vec::new();
        for n in 0..5 {
            workers.push(plane.worker(&n.to_string()).await);
        }
        let all: Vec<_> = workers.iter().collect();
        alive(world, &all, 60).await;
        for worker in &workers[..4] {
            fail(&plane, worker, 5).await;
            // Each for itself, so that none is worse than the others at the same time.
            alive(world, &[&workers[4]], 90).await;
            alive(world, &all, 660).await;
        }
        let standings = async || {
            let mut standings = Vec::new();
            for worker in &workers {
                standings.push(look(&plane, worker).await.standing);
            }
            standings
        };
        use Standing::{Approved, Quarantined, Revoked};
        assert_eq!(standings().await, [Revoked, Revoked, Revoked, Quarantined, Approved]);

        // What was counted survives the registry; after an hour there is room again.
        world.expect_crash("cells/1/registry");
        world.faults().panic_next("cells/1/registry", "Look");
        let _ = plane.operator.worker(workers[0].worker()).await;
        world.pass(Duration::from_secs(10)).await;
        let fifth = &workers[4];
        alive(world, &[fifth], 60).await;
        fail(&plane, fifth, 5).await;
        world.pass(Duration::from_secs(120)).await;
        assert_eq!(look(&plane, fifth).await.standing, Quarantined);
        let sixth = plane.worker("6").await;
        alive(world, &[&sixth], 3_600).await;
        fail(&plane, &sixth, 5).await;
        world.pass(Duration::from_secs(120)).await;
        assert_eq!(look(&plane, &sixth).await.standing, Revoked);
    });
}

#[test]
fn reset_takes_a_suspicion_back_and_watches_anew() {
    World::run(async |world| {
        let plane = start(world, &Memory::new()).await;
        let worker = plane.worker("w").await;
        alive(world, &[&worker], 60).await;
        fail(&plane, &worker, 20).await;
        alive(world, &[&worker], 60).await;
        assert_eq!(plane.operator.suspects().await.unwrap().len(), 1);

        let reason = Some("the tasks were broken".to_owned());
        let reset = plane.operator.reset_suspicions(worker.worker(), reason).await.unwrap();
        assert!(reset.suspicions.is_empty());
        alive(world, &[&worker], 120).await;
        assert!(plane.operator.suspects().await.unwrap().is_empty());

        fail(&plane, &worker, 20).await;
        alive(world, &[&worker], 10).await;
        assert_eq!(kinds(&look(&plane, &worker).await), [Kind::ExcessiveFailures]);
        assert_eq!(count(&plane, "worker.suspected").await, 2);
    });
}

#[test]
fn models_that_a_worker_does_not_have_are_noticed() {
    World::run(async |world| {
        let plane = start(world, &Memory::new()).await;
        let (forger, owner) = (plane.worker("forger").await, plane.worker("owner").await);
        alive(world, &[&forger, &owner], 60).await;
        for said in ["gpt4o", "llama3", "openai/llama3"] {
            plane.submit("x").await;
            let taken = take(&forger, plain(0)).await.unwrap();
            let report = Reported {
                task: taken.task,
                attempt: Some(taken.attempt),
                claim_token: Some(taken.token),
                outcome: Outcome::Completed("1".into()),
                model: Some(said.to_owned()),
            };
            forger.report_many(vec![report]).await.unwrap().pop().unwrap().unwrap();
        }
        alive(world, &[&forger, &owner], 10).await;
        assert!(look(&plane, &forger).await.suspicions.is_empty(), "its own model is its own");

        // A third mismatch: a report on somebody else's task, for a model that this one does not have.
        let binding = fleetward_actors::fleet::key::Binding {
            auto_approve: true,
            models: vec!["claude-opus-4".into()],
            ..Default::default()
        };
        let models = vec!["claude-opus-4".to_owned()];
        let other = fleetward_actors::plane::Enrollment { models, ..enrollment("other") };
        let other = plane.join(&plane.operator, binding, other).await;
        let wanted = NewSubmit { model: Some("claude-opus-4".into()), ..new_task("y") };
        let task = plane.operator.submit(wanted).await.unwrap().task;
        take(&other, plain(0)).await.unwrap();
        let forged = forger.report(task, None, None, Outcome::Completed("1".into())).await;
        assert_eq!(code(forged), "not_owner");
        alive(world, &[&forger, &owner], 10).await;

        assert_eq!(kinds(&look(&plane, &forger).await), [Kind::ModelMismatch]);
    });
}

/// A heartbeat that names what is held, and what the worker's one endpoint names; none: it does not answer.
fn probing(world: &World, round: u64, models: Option<&[&str]>, held: &[&Taken]) -> Heartbeat {
    let endpoint = Endpoint {
        kind: "openai",
        name: "http://h".into(),
        available: models.is_some(),
        models: models.unwrap_or_default().iter().map(|name| (*name).to_owned()).collect(),
        ..Endpoint::default()
    };
    let seen = Seen { round, at: world.clock().wall_us(), endpoints: vec![endpoint] };
    Heartbeat { models: Some(seen), ..holding(held) }
}

/// Results of tasks for a model that was there at the claim: one at once after the endpoint said `then`, the others two minutes
/// later. Answers what is suspicious.
async fn results_without_the_model(world: &World, then: Option<&[&str]>) -> Vec<Kind> {
    let plane = start(world, &Memory::new()).await;
    let seats = fleetward_actors::plane::Enrollment { max_concurrent: 4, ..enrollment("w") };
    let worker = plane.worker_of(&plane.operator, seats).await;
    alive(world, &[&worker], 60).await;
    worker.heartbeat(probing(world, 1, Some(&["gpt-4o"]), &[])).await.unwrap();
    let mut taken = Vec::new();
    for n in 0..4 {
        let wanted = NewSubmit { model: Some("gpt4o".into()), ..new_task("x") };
        plane.operator.submit(wanted).await.unwrap();
        taken.push(take(&worker, named(&n.to_string())).await.unwrap());
    }
    for round in 2..16 {
        let held: Vec<_> = taken.iter().collect();
        worker.heartbeat(probing(world, round, then, &held)).await.unwrap();
        if round == 2 {
            complete(&worker, &taken.remove(0)).await.unwrap();
        }
        world.pass(Duration::from_secs(10)).await;
    }
    for taken in &taken {
        complete(&worker, taken).await.unwrap();
    }
    world.pass(Duration::from_secs(10)).await;
    kinds(&look(&plane, &worker).await)
}

#[test]
fn result_for_a_model_that_no_endpoint_names_is_a_mismatch_unless_one_does_not_answer() {
    World::run(async |world| {
        let other: &[&str] = &["llama3"];
        assert_eq!(results_without_the_model(world, Some(other)).await, [Kind::ModelMismatch]);
    });
    World::run(async |world| {
        assert_eq!(
            results_without_the_model(world, None).await,
            [],
            "it may be there for all we know"
        );
    });
}

#[test]
fn deaf_and_mute_are_episodes_that_end() {
    World::run(async |world| {
        let plane = start(world, &Memory::new()).await;
        let (deaf, mute) = (plane.worker("deaf").await, plane.worker("mute").await);
        for _ in 0..36 {
            deaf.heartbeat(holding(&[])).await.unwrap();
            take(&mute, plain(0)).await;
            world.pass(Duration::from_secs(10)).await;
        }
        let (first, second) = (look(&plane, &deaf).await, look(&plane, &mute).await);
        assert!(first.deaf_since.is_some() && first.mute_since.is_none(), "{first:?}");
        assert!(second.mute_since.is_some() && second.deaf_since.is_none(), "{second:?}");
        assert_eq!(plane.operator.suspects().await.unwrap().len(), 2);

        alive(world, &[&deaf, &mute], 120).await;

        assert!(plane.operator.suspects().await.unwrap().is_empty());
        for kind in ["worker.deaf", "worker.mute"] {
            assert_eq!(count(&plane, kind).await, 1, "{kind}");
        }
        assert_eq!(count(&plane, "worker.recovered").await, 2);
    });
}

#[test]
fn what_workers_count_themselves_is_shown_and_not_used() {
    World::run(async |world| {
        let plane = start(world, &Memory::new()).await;
        let worker = plane.worker("w").await;
        for _ in 0..30 {
            let counted = [Some(1), Some(1_000_000)];
            worker.heartbeat(Heartbeat { counted, ..holding(&[]) }).await.unwrap();
            take(&worker, plain(0)).await;
            world.pass(Duration::from_secs(10)).await;
        }
        assert!(look(&plane, &worker).await.suspicions.is_empty());
        let shown = plane.operator.own_counts(worker.worker()).await.unwrap();
        assert_eq!(shown, [Some(1), Some(1_000_000)]);
    });
}

#[test]
fn crash_of_the_detector_restarts_it_alone_and_it_goes_on() {
    World::run(async |world| {
        let plane = start(world, &Memory::new()).await;
        let worker = plane.worker("w").await;
        world.expect_crash("watch/anomaly");
        world.faults().panic_next("watch/anomaly", "SweepDue");
        alive(world, &[&worker], 180).await;
        let restarted: Vec<_> =
            plane.plane.observe().into_iter().filter(|unit| unit.restarts > 0).collect();
        assert!(!restarted.is_empty());
        assert!(restarted.iter().all(|unit| unit.path.contains("cells/1/watch")), "{restarted:?}");

        fail(&plane, &worker, 20).await;
        alive(world, &[&worker], 60).await;
        assert_eq!(kinds(&look(&plane, &worker).await), [Kind::ExcessiveFailures]);
    });
}

#[test]
fn outage_makes_nobody_silent() {
    World::run(async |world| {
        let store = Memory::new();
        let plane = start(world, &store).await;
        let worker = plane.worker("w").await;
        alive(world, &[&worker], 60).await;
        store.control().set_away(true);
        let _ = plane.operator.submit(new_task("x")).await;
        world.pass(Duration::from_secs(600)).await;
        store.control().set_away(false);
        world.pass(Duration::from_secs(20)).await;
        alive(world, &[&worker], 180).await;

        assert!(look(&plane, &worker).await.suspicions.is_empty());
        assert_eq!(count(&plane, "worker.suspected").await, 0);
    });
}
