//! What is over goes when it is kept long enough, with what belongs to it; nothing else goes, and nothing comes back.

use std::time::Duration;

use fleetward_actors::fleet::dispatcher::remedy::Remedy as TaskRemedy;
use fleetward_actors::fleet::policy::{Change, Retention};
use fleetward_actors::id::{RunId, TaskId};
use fleetward_actors::plane::{NewSubmit, Outcome, RunFilter};
use fleetward_actors::schedules::spec::{Spec, Timing};
use fleetward_actors::workflows::conductor::Remedy;
use fleetward_actors::{Config, Session};
use fleetward_runtime::testkit::World;
use fleetward_store::memory::Memory;
use fleetward_store::{CellId, Journal, ReadLimit};
use serde_json::json;

use crate::fixture::*;

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3_600);
/// Until the janitor has begun a round by itself.
const ROUND: Duration = Duration::from_secs(601);

const ABOVE: &str = "name: above\nsteps:\n  - step: own\n  - child: below\n    workflow: below\n";
const BELOW: &str = "name: below\nsteps:\n  - step: work\n";

impl Plane {
    async fn keep(&self, tasks: Option<u64>, runs: Option<u64>, failed: Option<u64>) {
        let retention = Retention { tasks, runs, failed };
        self.operator.govern(Change::Retain(retention)).await.unwrap();
    }

    async fn swept(&self) -> (u64, u64) {
        let swept = self.operator.sweep().await.unwrap().unwrap();
        (swept.tasks, swept.runs)
    }

    async fn has_task(&self, id: TaskId) -> bool {
        match code(self.operator.task(id).await).as_str() {
            "ok" => true,
            "not_found" => false,
            other => panic!("{other}"),
        }
    }

    async fn has_run(&self, id: &RunId) -> bool {
        match code(self.operator.run(id).await).as_str() {
            "ok" => true,
            "not_found" => false,
            other => panic!("{other}"),
        }
    }

    async fn has(&self, runs: &[&RunId]) -> Vec<bool> {
        let mut has = Vec::new();
        for run in runs {
            has.push(self.has_run(run).await);
        }
        has
    }

    async fn all_tasks(&self) -> usize {
        self.operator.tasks(None, None, 200).await.unwrap().len()
    }
}

async fn finish_all(hand: &Session) -> usize {
    let mut done = 0;
    while let Some(taken) = take(hand, plain(2)).await {
        complete(hand, &taken).await.unwrap();
        done += 1;
    }
    done
}

async fn fail(hand: &Session, taken: &Taken) {
    let outcome = Outcome::Failed { error: "no".into(), retryable: false };
    hand.report(taken.task, Some(taken.attempt), Some(&taken.token), outcome).await.unwrap();
}

/// How many events of a kind there are.
async fn events(store: &Memory, kind: &str) -> usize {
    let limit = ReadLimit { events: 1_000_000, bytes: usize::MAX };
    let events = store.read(CellId(1), 0, limit).await.unwrap();
    events.iter().filter(|stored| stored.event.kind == kind).count()
}

#[test]
fn tasks_go_when_they_are_over_for_longer_than_they_are_kept() {
    World::run(async |world| {
        let store = Memory::new();
        let plane = start(world, &store).await;
        let hand = plane.hand("h").await;
        let named = || NewSubmit { idempotency_key: Some("once".into()), ..new_task("a") };
        let done = plane.operator.submit(named()).await.unwrap().task;
        assert_eq!(finish_all(&hand).await, 1);
        let dead = plane.submit("b").await;
        let taken = take(&hand, plain(1)).await.unwrap();
        fail(&hand, &taken).await;
        let cancelled = plane.submit("c").await;
        let cancel = TaskRemedy::Cancel { reason: None };
        plane.operator.amend(&[cancelled], cancel).await.unwrap();
        let open = plane.submit("d").await;

        world.pass(2 * HOUR).await;
        assert_eq!(plane.swept().await, (0, 0), "for ever, where nothing is said");
        plane.keep(Some(7 * 3_600), None, None).await;
        assert_eq!(plane.swept().await, (0, 0), "they are not over for long enough");

        world.pass(6 * HOUR).await;

        for (task, there) in [(done, false), (cancelled, false), (dead, true), (open, true)] {
            assert_eq!(plane.has_task(task).await, there, "{task}");
        }
        assert_eq!(plane.all_tasks().await, 2);
        assert_eq!(events(&store, "task.deleted").await, 2);

        // What is said of one that is gone, by people and by a worker that comes late.
        for remedy in [TaskRemedy::Retry, TaskRemedy::Cancel { reason: None }] {
            let said = plane.operator.amend(&[done], remedy).await.unwrap().pop().unwrap();
            assert_eq!(code(said), "not_found");
        }
        let late = Taken { task: done, ..taken };
        assert_eq!(
            code(hand.report(done, None, None, Outcome::Completed("1".into())).await),
            "not_found"
        );
        assert_ne!(code(complete(&hand, &late).await), "ok");
        assert_eq!(code(plane.operator.explain(done).await), "not_found");

        // Its key makes another, which stays through a restart.
        let again = plane.operator.submit(named()).await.unwrap();
        assert_eq!(again.task, done, "the id follows from the key");
        plane.plane.drain(SECOND).await;
        let plane = start(world, &store).await;
        assert_eq!(plane.view(done).await.task.attempts(), 0);
        assert_eq!(plane.all_tasks().await, 3);

        // The dead go by a term of their own.
        plane.keep(None, None, Some(60)).await;
        world.pass(ROUND).await;
        assert_eq!((plane.has_task(dead).await, plane.has_task(done).await), (false, true));
    });
}

#[test]
fn runs_go_with_their_tasks_and_children_and_not_before_what_they_belong_to() {
    World::run(async |world| {
        let store = Memory::new();
        let plane = start(world, &store).await;
        plane.apply(ABOVE).await;
        plane.apply(BELOW).await;
        plane.apply("name: waits\nsteps:\n  - child: below\n    workflow: below\n  - wait_signal: word\n").await;
        let hand = plane.hand("h").await;
        let above = plane.begin("above", "above-1", json!(1)).await;
        let waits = plane.begin("waits", "waits-1", json!(1)).await;
        assert_eq!(finish_all(&hand).await, 3);
        let failed = plane.begin("below", "failed-1", json!(1)).await;
        fail(&hand, &take(&hand, plain(5)).await.unwrap()).await;
        let plain_task = plane.submit("alone").await;
        assert_eq!(finish_all(&hand).await, 1);
        let filter = RunFilter::default();
        let all = plane.operator.runs(&filter, None, 200).await.unwrap().runs;
        let child_of = |parent: &RunId| {
            let of = |run: &&fleetward_actors::plane::RunView| {
                run.run.parent.as_ref().is_some_and(|of| of.run == *parent)
            };
            all.iter().find(of).unwrap().run.id.clone()
        };
        let (child, kept_child) = (child_of(&above), child_of(&waits));
        assert_eq!((all.len(), plane.all_tasks().await), (5, 5));

        plane.keep(None, Some(3_600), None).await;
        world.pass(2 * HOUR).await;

        let runs = [&above, &child, &waits, &kept_child, &failed];
        assert_eq!(plane.has(&runs).await, [false, false, true, true, true]);
        assert!(plane.has_task(plain_task).await, "tasks of no run have a term of their own");
        assert_eq!(plane.all_tasks().await, 3, "those of the runs that are there, and that");
        assert_eq!(plane.status(&kept_child).await, "completed");

        // The parent ends, and is over for long enough: its child goes too.
        let word = plane.operator.signal_run(&waits, "word", "1".into()).await;
        assert_eq!(code(word), "ok");
        world.pass(2 * HOUR).await;
        // It ended long after it began: that is seen once a day, or when somebody asks for it.
        assert_eq!(plane.swept().await, (1, 2));
        assert_eq!(plane.has(&runs).await, [false, false, false, false, true]);

        // A failed run may go on from its failure until it is gone.
        plane.keep(None, Some(3_600), Some(3_600)).await;
        plane.operator.amend_run(&failed, Remedy::Retry).await.unwrap();
        assert_eq!(finish_all(&hand).await, 1);
        assert_eq!(plane.swept().await, (0, 0));
        assert_eq!(plane.status(&failed).await, "completed");
        world.pass(2 * HOUR).await;
        assert_eq!((plane.has_run(&failed).await, plane.all_tasks().await), (false, 2));
        assert_eq!(plane.swept().await, (1, 0), "the task that had failed, of a run that is gone");

        // Its id begins another run.
        let again = plane.begin("below", "failed-1", json!(2)).await;
        assert_eq!(again, failed);
        assert_eq!(finish_all(&hand).await, 1);
        assert_eq!(plane.output(&again).await, json!(2));
        plane.plane.drain(SECOND).await;
        let plane = start(world, &store).await;
        assert_eq!(plane.output(&again).await, json!(2));
    });
}

#[test]
fn whoever_wants_something_gone_says_so() {
    World::run(async |world| {
        let store = Memory::new();
        let plane = start(world, &store).await;
        plane.apply(ABOVE).await;
        plane.apply(BELOW).await;
        let hand = plane.hand("h").await;
        let run = plane.begin("above", "r", json!(1)).await;
        let open = plane.submit("x").await;
        assert_eq!(code(plane.operator.delete_run(&run).await), "run_open");
        assert_eq!(code(plane.operator.delete_task(open).await), "task_open");
        assert_eq!(code(plane.operator.delete_task(TaskId::fresh()).await), "not_found");
        assert_eq!(finish_all(&hand).await, 3);
        let step = plane.run(&run).await.done.values().find_map(|done| done.task).unwrap();
        assert_eq!(code(plane.operator.delete_task(step).await), "task_of_run");

        plane.operator.delete_task(open).await.unwrap();
        plane.operator.delete_run(&run).await.unwrap();

        assert_eq!(code(plane.operator.delete_task(open).await), "not_found");
        assert_eq!(code(plane.operator.delete_run(&run).await), "not_found");
        assert_eq!((plane.has_run(&run).await, plane.has_task(step).await), (false, false));
        let left = plane.operator.runs(&RunFilter::default(), None, 9).await.unwrap().runs;
        assert_eq!(left.len(), 1, "its child is there: nobody said that it shall go");

        // The same id begins at once anew, in the memory that the other has just left.
        let again = plane.begin("below", "r", json!(5)).await;
        assert_eq!(finish_all(&hand).await, 1);
        assert_eq!(plane.output(&again).await, json!(5));
        plane.operator.delete_run(&again).await.unwrap();
        world.pass(ROUND).await;
        assert!(!plane.has_run(&again).await);
    });
}

#[test]
fn run_of_a_schedule_that_was_deleted_does_not_start_again() {
    World::run(async |world| {
        let store = Memory::new();
        let plane = start(world, &store).await;
        plane.apply("name: quick\nsteps:\n  - sleep: blink\n    for: 1ms\n").await;
        let monthly = Spec::new("quick", Timing::Every { seconds: 6 * 3_600 });
        plane.operator.put_schedule("monthly", monthly, "7".into()).await.unwrap();
        plane.keep(None, Some(60), None).await;
        world.pass(9 * HOUR).await;
        let seen = plane.operator.schedule("monthly").await.unwrap();
        let run = seen.recent[0].0.run.clone().unwrap();
        assert_eq!((plane.has_run(&run).await, events(&store, "run.started").await), (false, 1));

        for _ in 0..2 {
            plane.plane.drain(SECOND).await;
            let plane = start(world, &store).await;
            world.pass(HOUR).await;
            assert!(!plane.has_run(&run).await);
            assert!(plane.operator.schedule("monthly").await.unwrap().recent[0].0.deleted);
            plane.plane.drain(SECOND).await;
        }
        assert_eq!(events(&store, "run.started").await, 1);
    });
}

#[test]
fn round_that_is_held_up_goes_on_and_a_janitor_that_crashes_hurts_nobody() {
    World::run(async |world| {
        let store = Memory::new();
        let config = Config { retention_every: 24 * HOUR, ..Config::default() };
        let plane = start_with(world, &store, config).await;
        let hand = plane.hand("h").await;
        for n in 0..600 {
            plane.submit(&n.to_string()).await;
        }
        assert_eq!(finish_all(&hand).await, 600);
        world.pass(SECOND * 100).await;
        plane.keep(Some(60), None, None).await;

        world.expect_crash("watch/janitor");
        world.faults().panic_next("cells/1/watch/janitor", "Sweep");
        assert_eq!(code(plane.operator.sweep().await), "unavailable");
        world.pass(SECOND).await;
        store.control().set_away(true);
        assert_eq!(code(plane.operator.sweep().await), "unavailable");
        store.control().set_away(false);
        world.pass(60 * SECOND).await;
        assert_eq!(plane.all_tasks().await, 200, "a page");

        assert_eq!(plane.swept().await, (600, 0));

        assert_eq!(plane.all_tasks().await, 0);
        assert_eq!(events(&store, "task.deleted").await, 600);
    });
}
