//! The life of a task, from a key to a result.

use std::time::Duration;

use fleetward_actors::fleet::key::Binding;
use fleetward_actors::fleet::registry::rules::Verdict;
use fleetward_actors::fleet::task::Phase;
use fleetward_actors::plane::{AuditQuery, NewSubmit};
use fleetward_actors::{Config, Error};
use fleetward_runtime::testkit::World;
use fleetward_store::memory::Memory;

use crate::fixture::*;

#[test]
fn worker_joins_is_approved_takes_a_task_and_reports() {
    World::run(async |world| {
        let plane = start(world, &Memory::new()).await;
        let worker = plane.join(&plane.operator, Binding::default(), enrollment("w1")).await;
        assert_eq!(code(worker.claim(plain(0)).await), "worker_not_approved");
        let forged = plane.plane.session(&worker.worker().to_string(), "fws_1_wrong").await;
        assert_eq!(code(forged), "unknown_worker");

        plane.operator.decide(worker.worker(), Verdict::Approve, None).await.unwrap();
        let claim = tokio::spawn({
            let worker = worker.clone();
            async move { take(&worker, named("c1")).await }
        });
        world.settle().await;
        let parked_at = world.clock().now();
        let task = plane.submit("hello").await;
        let taken = claim.await.unwrap().expect("the poll is woken");
        assert_eq!((taken.task, taken.attempt, taken.payload.as_str()), (task, 1, "\"hello\""));
        assert!(world.clock().now() - parked_at < Duration::from_secs(1), "woken at once");
        assert_eq!(plane.phase(task).await, Phase::Leased);

        complete(&worker, &taken).await.unwrap();
        complete(&worker, &taken).await.expect("a repeat is answered alike");
        let view = plane.view(task).await;
        assert!(matches!(view.task.phase, Phase::Completed { .. }));
        assert_eq!(view.result.unwrap().open().unwrap(), "\"hello\"");
        let kinds: Vec<_> = plane
            .operator
            .audit(&AuditQuery { limit: 10, ..AuditQuery::default() })
            .await
            .unwrap()
            .entries
            .into_iter()
            .map(|entry| entry.kind)
            .collect();
        let mut expected = [
            "key.created",
            "key.used",
            "worker.registered",
            "worker.approved",
            "task.submitted",
            "task.claimed",
            "task.completed",
        ];
        expected.reverse();
        assert_eq!(kinds, expected);
    });
}

#[test]
fn look_once_answers_at_once_whether_there_is_work_or_not() {
    World::run(async |world| {
        let plane = start(world, &Memory::new()).await;
        let worker = plane.worker("w1").await;
        let begun = world.clock().now();
        assert!(take(&worker, plain(0)).await.is_none());
        assert!(world.clock().now() - begun < Duration::from_millis(100));

        let task = plane.submit("x").await;
        assert_eq!(take(&worker, plain(0)).await.unwrap().task, task);
    });
}

#[test]
fn tasks_of_one_class_are_taken_first_in_first_out() {
    World::run(async |world| {
        let plane = start(world, &Memory::new()).await;
        let worker = plane.worker("w1").await;
        let mut submitted = Vec::new();
        for n in 0..5 {
            submitted.push(plane.submit(&n.to_string()).await);
        }

        let mut done = Vec::new();
        while let Some(taken) = take(&worker, plain(0)).await {
            complete(&worker, &taken).await.unwrap();
            done.push(taken.task);
        }

        assert_eq!(done, submitted);
    });
}

#[test]
fn task_waits_for_a_worker_that_fits_and_a_foreign_one_goes_away_empty() {
    World::run(async |world| {
        let plane = start(world, &Memory::new()).await;
        let other = plane.plane.create_org(&plane.caller, "other", None).await.unwrap().0;
        let others = plane.plane.operator(&plane.caller, Some(other.id)).await.unwrap();
        let foreign = plane.worker_of(&others, enrollment("foreign")).await;
        let binding =
            Binding { project: Some("finance".into()), auto_approve: true, ..Binding::default() };
        let finance = plane.join(&plane.operator, binding, enrollment("finance")).await;
        let task = plane.submit("x").await;

        assert!(take(&foreign, plain(5)).await.is_none());
        assert!(take(&finance, plain(5)).await.is_none());
        assert_eq!(plane.phase(task).await, Phase::Waiting);
        assert_eq!(code(others.task(task).await.map(drop)), "not_found");

        let project = NewSubmit { project: Some("finance".into()), ..new_task("y") };
        let theirs = plane.operator.submit(project).await.unwrap().task;
        assert_eq!(take(&finance, plain(0)).await.unwrap().task, theirs);
        let model = NewSubmit { model: Some("GPT-4o".into()), ..new_task("z") };
        plane.operator.submit(model).await.unwrap();
        assert!(take(&plane.worker("w").await, plain(0)).await.is_some());
    });
}

#[test]
fn same_idempotency_key_submits_once_and_another_request_is_refused() {
    World::run(async |world| {
        let plane = start(world, &Memory::new()).await;
        let worker = plane.worker("w1").await;
        let keyed = |payload| NewSubmit { idempotency_key: Some("k".into()), ..new_task(payload) };
        let first = plane.operator.submit(keyed("a")).await.unwrap();
        let second = plane.operator.submit(keyed("a")).await.unwrap();
        assert_eq!((second.task, second.repeated), (first.task, true));
        assert_eq!(code(plane.operator.submit(keyed("b")).await), "idempotency_key_reused");

        // Closed and gone from memory: the record still knows.
        let taken = take(&worker, plain(0)).await.unwrap();
        complete(&worker, &taken).await.unwrap();
        world.pass(Duration::from_secs(60)).await;
        let third = plane.operator.submit(keyed("a")).await.unwrap();
        assert_eq!((third.task, third.repeated), (first.task, true));
        assert_eq!(code(plane.operator.submit(keyed("b")).await), "idempotency_key_reused");
        complete(&worker, &taken).await.expect("a repeat is answered from the record");
    });
}

#[test]
fn key_is_used_once_and_what_it_said_is_said_again_from_its_record() {
    World::run(async |world| {
        let plane = start(world, &Memory::new()).await;
        let new =
            fleetward_actors::plane::NewEnrollmentKey { name: "k".into(), ..Default::default() };
        let (key, text) = plane.operator.create_key(new).await.unwrap();
        plane.plane.register(&text, enrollment("w1")).await.unwrap();
        for _ in 0..2 {
            let second = plane.plane.register(&text, enrollment("w2")).await;
            assert_eq!(code(second.map(drop)), "bad_enrollment_key");
            world.pass(Duration::from_secs(60)).await;
        }
        plane.operator.revoke_key(key.id).await.unwrap();
        let forged = format!("{}x", &text[..text.len() - 1]);
        assert_eq!(
            code(plane.plane.register(&forged, enrollment("w")).await.map(drop)),
            "bad_enrollment_key"
        );
        assert_eq!(plane.operator.keys(None, 10).await.unwrap()[0].uses, 1);
    });
}

#[test]
fn nothing_is_revealed_before_it_is_durable() {
    World::run(async |world| {
        let store = Memory::new();
        let plane = start(world, &store).await;
        let worker = plane.worker("w1").await;
        let claim = tokio::spawn({
            let worker = worker.clone();
            async move { take(&worker, named("c")).await }
        });
        world.settle().await;

        let held = store.control().hold();
        let submit = tokio::spawn({
            let operator = plane.operator.clone();
            async move { operator.submit(new_task("x")).await }
        });
        held.until_waiting(1).await;
        world.pass(Duration::from_secs(2)).await;
        assert!(!submit.is_finished() && !claim.is_finished());
        drop(held);

        submit.await.unwrap().unwrap();
        assert!(claim.await.unwrap().is_some());
    });
}

#[test]
fn state_survives_a_restart_of_everything() {
    let store = Memory::new();
    let mut tasks = Vec::new();
    World::run(async |world| {
        let plane = start(world, &store).await;
        let worker = plane.worker("w1").await;
        for n in 0..3 {
            tasks.push(plane.submit(&n.to_string()).await);
        }
        let taken = take(&worker, plain(0)).await.unwrap();
        complete(&worker, &taken).await.unwrap();
        take(&worker, named("open")).await.unwrap();
    });
    World::run(async |world| {
        let plane = start(world, &store).await;
        assert!(matches!(plane.phase(tasks[0]).await, Phase::Completed { .. }));
        assert_eq!(plane.phase(tasks[1]).await, Phase::Leased);
        assert_eq!(plane.phase(tasks[2]).await, Phase::Waiting);
        let worker = plane.worker("w2").await;
        assert_eq!(take(&worker, plain(0)).await.unwrap().task, tasks[2]);

        // The first worker never comes back: its attempt ends, and the second worker gets the task.
        world.pass(Duration::from_secs(60)).await;
        let worker = plane.worker("w3").await;
        let taken = take(&worker, plain(0)).await.unwrap();
        assert_eq!((taken.task, taken.attempt), (tasks[1], 2));
        assert_eq!(taken.payload, "\"1\"", "read back from the journal");
    });
}

/// Its row still says that it waits: the events after the row decide.
#[test]
fn task_that_ended_before_a_restart_has_ended_although_its_row_is_behind() {
    let store = Memory::new();
    let mut task = None;
    World::run(async |world| {
        let plane = start(world, &store).await;
        task = Some(plane.submit("1").await);
        world.pass(Duration::from_secs(2)).await;
        assert_eq!(plane.phase(task.unwrap()).await, Phase::Waiting, "the row is written");
        let held = store.control().hold_projections();
        let worker = plane.worker("w1").await;
        let taken = take(&worker, plain(0)).await.unwrap();
        complete(&worker, &taken).await.unwrap();
        plane.plane.system().drain(Duration::from_secs(1)).await;
        drop(held);
    });
    World::run(async |world| {
        let plane = start(world, &store).await;
        let worker = plane.worker("w2").await;
        assert!(take(&worker, plain(0)).await.is_none());
        assert!(matches!(plane.phase(task.unwrap()).await, Phase::Completed { .. }));
    });
}

#[test]
fn caller_may_wait_for_the_end_of_a_task() {
    World::run(async |world| {
        let plane = start(world, &Memory::new()).await;
        let worker = plane.worker("w1").await;
        let task = plane.submit("x").await;
        let waiting = tokio::spawn({
            let operator = plane.operator.clone();
            async move { operator.task_when_closed(task, Duration::from_secs(30)).await }
        });
        let taken = take(&worker, plain(0)).await.unwrap();
        world.pass(Duration::from_secs(5)).await;
        assert!(!waiting.is_finished());

        complete(&worker, &taken).await.unwrap();

        assert!(waiting.await.unwrap().unwrap().task.is_closed());
        let other = plane.submit("y").await;
        let open = plane.operator.task_when_closed(other, Duration::from_secs(3)).await.unwrap();
        assert!(!open.task.is_closed(), "its time is over first");
        let again = plane.operator.task_when_closed(task, Duration::from_secs(3)).await.unwrap();
        assert!(again.task.is_closed(), "from its record");
    });
}

#[test]
fn submits_are_refused_while_the_rows_are_too_far_behind_and_reports_are_not() {
    World::run(async |world| {
        let store = Memory::new();
        let config = Config { projector_lag: 8, ..Config::default() };
        let plane = start_with(world, &store, config).await;
        let worker = plane.worker("w").await;
        let task = plane.submit("first").await;
        let taken = take(&worker, named("c1")).await.unwrap();
        plane.view(task).await;
        let held = store.control().hold_projections();

        let mut refused = None;
        for _ in 0..20 {
            refused = plane.operator.submit(new_task("more")).await.err();
            if refused.is_some() {
                break;
            }
        }

        assert_eq!(refused, Some(Error::Behind));
        complete(&worker, &taken).await.unwrap();
        drop(held);
        plane.operator.tasks(None, None, 1).await.unwrap();
        plane.submit("again").await;
    });
}
