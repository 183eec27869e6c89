//! Durable functions: what is done stays done, waiting holds no worker, and code that does not fit is told so.

use std::time::Duration;

use fleetward_actors::Session;
use fleetward_actors::fleet::task::history::{Awaited, Called, Pending};
use fleetward_actors::plane::{NewCheckpoint, Offer, Outcome};
use fleetward_actors::workflows::conductor::Remedy;
use fleetward_actors::workflows::definition::{Approvers, OnExpiry};
use fleetward_actors::workflows::run;
use fleetward_runtime::testkit::World;
use fleetward_store::memory::Memory;
use serde_json::{Value, json};

use crate::fixture::*;

const ORDER: &str = "name: order\nsteps:\n  - step: order\n    retries: 3\n    retry_delay: 1s\n";

/// A worker that says by hand what a function would.
struct Hand(Session);

/// One attempt that it has.
struct Leg<'a>(&'a Session, Offer);

impl Hand {
    async fn take(&self) -> Leg<'_> {
        let (offer, delivery) = self.0.claim(plain(60)).await.unwrap().expect("there is work");
        delivery.written();
        Leg(&self.0, offer)
    }

    async fn nothing(&self) -> bool {
        self.0.claim(plain(1)).await.unwrap().is_none()
    }
}

impl Leg<'_> {
    fn claim(&self) -> (Option<u32>, Option<&str>) {
        (Some(self.1.attempt), Some(&self.1.claim_token))
    }

    async fn checkpoint(&self, index: u32, name: &str, value: Value) -> String {
        let value = value.to_string().into();
        let new = NewCheckpoint { index, name: name.to_owned(), value, took_ms: Some(5) };
        code(self.0.checkpoint(self.1.task, self.claim(), new).await)
    }

    async fn report(&self, outcome: Outcome) -> String {
        let (attempt, token) = self.claim();
        code(self.0.report(self.1.task, attempt, token, outcome).await)
    }

    async fn wait(&self, waits: Vec<Pending>) -> String {
        let asked = |wait: Pending| {
            let asked = (wait.called() == Called::Approval).then(|| json!({"prompt": "Ship it?"}));
            (wait, asked)
        };
        self.report(Outcome::Suspended(waits.into_iter().map(asked).collect())).await
    }

    async fn complete(&self, output: Value) -> String {
        self.report(Outcome::Completed(output.to_string().into())).await
    }

    /// What was done before, in words.
    async fn recorded(&self) -> Vec<String> {
        let page = self.0.recorded(self.1.task, self.claim(), 0).await.unwrap();
        assert_eq!(page.entries.len(), self.1.checkpoints);
        let told = |known: &fleetward_actors::plane::Recorded| {
            let entry = &known.entry;
            let value =
                known.value.as_deref().map(|value| String::from_utf8_lossy(value).into_owned());
            let outcome = match &entry.outcome {
                None => "waits".to_owned(),
                Some(run::Outcome::Completed { .. }) => value.unwrap_or_else(|| "done".to_owned()),
                Some(run::Outcome::Failed { code, .. }) => code.clone(),
            };
            let by: Vec<_> = entry.votes.iter().map(|vote| vote.name.as_str()).collect();
            format!(
                "{} {} {}: {outcome} {}",
                entry.index,
                entry.what.as_str(),
                entry.name,
                by.join(",")
            )
            .trim_end()
            .to_owned()
        };
        page.entries.iter().map(told).collect()
    }
}

fn sleep(index: u32, seconds: u64) -> Pending {
    Pending { index, name: "sleep".into(), wait: Awaited::Sleep { ms: seconds * 1_000 } }
}

fn signal(index: u32, name: &str) -> Pending {
    Pending { index, name: name.into(), wait: Awaited::Signal { timeout_ms: None } }
}

fn approval(index: u32, name: &str) -> Pending {
    let approvers = Approvers { requester_may_approve: true, ..Approvers::default() };
    let (expires_ms, on_expiry, remind_ms) = (None, OnExpiry::Reject, None);
    let wait = Awaited::Approval { approvers, expires_ms, on_expiry, remind_ms };
    Pending { index, name: name.into(), wait }
}

async fn hand(plane: &Plane, name: &str) -> Hand {
    Hand(plane.hand(name).await)
}

#[test]
fn function_waits_on_no_worker_and_goes_on_with_all_that_it_did() {
    World::run(async |world| {
        let store = Memory::new();
        let plane = start(world, &store).await;
        plane.apply(ORDER).await;
        let run = plane.begin("order", "o1", json!({"item": "lamp"})).await;
        let worker = hand(&plane, "h").await;

        let leg = worker.take().await;
        assert_eq!(leg.recorded().await, [""; 0]);
        assert_eq!(leg.checkpoint(0, "charge", json!("paid")).await, "ok");
        assert_eq!(leg.checkpoint(0, "charge", json!("paid")).await, "ok", "a repeat");
        assert_eq!(leg.checkpoint(0, "charge", json!("free")).await, "checkpoint_taken");
        assert_eq!(leg.checkpoint(0, "ship", json!("paid")).await, "nondeterminism");
        assert_eq!(leg.wait(vec![sleep(1, 7_200)]).await, "ok");
        assert_eq!(leg.wait(vec![sleep(1, 7_200)]).await, "ok", "a repeat");
        assert_eq!(leg.checkpoint(2, "late", json!(1)).await, "attempt_over");
        assert_eq!(plane.status(&run).await, "waiting");
        assert!(worker.nothing().await, "it sleeps");
        plane.plane.drain(Duration::from_secs(1)).await;

        let plane = start(world, &store).await;
        let worker = hand(&plane, "h2").await;
        world.clock().sleep(Duration::from_secs(7_100)).await;
        assert!(worker.nothing().await, "it sleeps on in the next life of the server");
        world.clock().sleep(Duration::from_secs(120)).await;
        let leg = worker.take().await;
        assert_eq!(leg.recorded().await, ["0 step charge: \"paid\"", "1 sleep sleep: done"]);
        let payload: Value = serde_json::from_slice(&leg.1.payload).unwrap();
        assert_eq!(payload, json!({"item": "lamp"}), "every leg is given the same");
        assert_eq!(leg.wait(vec![approval(2, "review"), signal(3, "stop")]).await, "ok");
        world.clock().sleep(Duration::from_secs(1)).await;

        let gates = plane.operator.gates(&plane.run(&run).await).await.unwrap();
        let asked: Value = serde_json::from_slice(&gates[0].2.open().unwrap()).unwrap();
        assert_eq!(
            (gates[0].0.as_str(), &asked["prompt"]),
            ("order[2]/review", &json!("Ship it?"))
        );
        assert_eq!(plane.approve(&run, "review").await, "ok");
        let leg = worker.take().await;
        let before = ["0 step charge: \"paid\"", "1 sleep sleep: done"];
        let waits = ["2 approval review: done administrator", "3 signal stop: waits"];
        assert_eq!(leg.recorded().await, [before, waits].concat());
        assert_eq!(leg.complete(json!("shipped")).await, "ok");

        assert_eq!(plane.output(&run).await, json!("shipped"));
        let seen = plane.run(&run).await;
        assert!(seen.functions.is_empty() && seen.waits.is_empty(), "nothing of it costs memory");
        assert_eq!(seen.done[&"order".into()].attempts, 3, "one of each leg");
    });
}

#[test]
fn what_is_done_stays_done_when_attempts_fail_are_lost_or_the_run_is_retried() {
    World::run(async |world| {
        let plane = start(world, &Memory::new()).await;
        plane.apply(ORDER).await;
        let run = plane.begin("order", "o1", json!(1)).await;
        let (lost, worker) = (hand(&plane, "lost").await, hand(&plane, "h").await);

        let first = lost.take().await;
        assert_eq!(first.checkpoint(0, "charge", json!("paid")).await, "ok");
        let second = worker.take().await;
        assert_eq!(second.1.attempt, 2, "the lease of the first has ended");
        assert_eq!(first.checkpoint(1, "pack", json!(1)).await, "attempt_superseded");
        assert_eq!(second.recorded().await, ["0 step charge: \"paid\""]);
        assert_eq!(second.checkpoint(1, "pack", json!(2)).await, "ok");
        let failed = |retryable| Outcome::Failed { error: "no lorry".into(), retryable };
        assert_eq!(second.report(failed(true)).await, "ok");
        let third = worker.take().await;
        assert_eq!(third.recorded().await, ["0 step charge: \"paid\"", "1 step pack: 2"]);
        assert_eq!(third.wait(vec![approval(2, "review")]).await, "ok");
        world.clock().sleep(Duration::from_secs(1)).await;
        let reject = || plane.operator.decide_gate(&run, "review", false, (None, None));
        reject().await.unwrap();
        let rejected = worker.take().await;
        let known = ["0 step charge: \"paid\"", "1 step pack: 2"];
        let last = ["2 approval review: rejected administrator"];
        assert_eq!(rejected.recorded().await, [&known[..], &last].concat());
        assert_eq!(rejected.report(failed(false)).await, "ok");
        assert_eq!(plane.error(&run).await, ("reported".into(), "no lorry".into()));

        plane.operator.amend_run(&run, Remedy::Retry).await.unwrap();
        let again = worker.take().await;
        let waits = ["2 approval review: waits"];
        assert_eq!(again.recorded().await, [&known[..], &waits].concat(), "people are asked again");
        assert_eq!(again.wait(vec![approval(2, "review")]).await, "ok");
        world.clock().sleep(Duration::from_secs(1)).await;
        reject().await.unwrap();
        let rejected = worker.take().await;
        assert_eq!(rejected.checkpoint(3, "refund", json!(3)).await, "ok");
        assert_eq!(rejected.report(failed(false)).await, "ok");
        plane.operator.amend_run(&run, Remedy::Retry).await.unwrap();
        let again = worker.take().await;
        let behind = ["2 approval review: rejected administrator", "3 step refund: 3"];
        assert_eq!(
            again.recorded().await,
            [&known[..], &behind].concat(),
            "it went on behind that"
        );
        assert_eq!(again.complete(json!(null)).await, "ok");
        assert_eq!(plane.status(&run).await, "completed");
    });
}

#[test]
fn function_has_limits_and_only_a_step_waits() {
    World::run(async |world| {
        let plane = start(world, &Memory::new()).await;
        plane.apply(ORDER).await;
        let worker = hand(&plane, "h").await;
        plane.submit("alone").await;
        let alone = worker.take().await;
        assert_eq!(alone.checkpoint(0, "a", json!(1)).await, "ok");
        assert_eq!(alone.wait(vec![sleep(1, 1)]).await, "not_a_step");
        assert_eq!(alone.complete(json!(1)).await, "ok");

        plane.begin("order", "o1", json!(1)).await;
        let leg = worker.take().await;
        let megabyte = json!("x".repeat(1_000_000));
        for index in 0..8 {
            assert_eq!(leg.checkpoint(index, "big", megabyte.clone()).await, "ok");
        }
        assert_eq!(leg.checkpoint(8, "big", megabyte.clone()).await, "checkpoints_too_large");
        assert_eq!(
            leg.checkpoint(8, "huge", json!("x".repeat(2 << 20))).await,
            "payload_too_large"
        );
        assert_eq!(leg.checkpoint(1_000, "a", json!(1)).await, "too_many_checkpoints");
        assert_eq!(leg.wait(vec![]).await, "invalid_wait");
        assert_eq!(leg.wait(vec![sleep(9, 1), sleep(9, 2)]).await, "invalid_wait");
        assert_eq!(leg.wait(vec![signal(0, "big")]).await, "nondeterminism");

        let (mut from, mut pages, mut read) = (Some(0), 0, 0);
        while let Some(position) = from {
            let page = worker.0.recorded(leg.1.task, leg.claim(), position).await.unwrap();
            (from, pages, read) = (page.next, pages + 1, read + page.entries.len());
        }
        assert_eq!((pages, read), (8, 8), "a page has a megabyte of values");
    });
}
