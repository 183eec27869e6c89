//! Runs that only wait: nobody has them in memory, and whatever they wait for finds them.

use std::time::Duration;

use fleetward_actors::fact::Fold;
use fleetward_actors::id::RunId;
use fleetward_actors::plane::{NewRunStart, RunFilter};
use fleetward_actors::workflows::conductor::Remedy;
use fleetward_actors::workflows::definition::document;
use fleetward_runtime::testkit::World;
use fleetward_store::memory::Memory;
use serde_json::{Value, json};

use crate::fixture::*;

const SECOND: Duration = Duration::from_secs(1);
/// After it whoever has nothing to do has left.
const LONG: Duration = Duration::from_secs(30);

const WORKFLOWS: [&str; 6] = [
    "name: nap\nsteps:\n  - sleep: doze\n    for: 2h\n",
    "name: word\nsteps:\n  - wait_signal: word\n",
    "name: ask\nsteps:\n  - approval: gate\n    prompt: '\"?\"'\n    approvers: {requester_may_approve: true}\n",
    "name: above\nsteps:\n  - child: below\n    workflow: word\n",
    "name: both\nsteps:\n  - parallel: both\n    branches:\n      - wait_signal: word\n      - sleep: doze\n        for: 2h\n",
    "name: count\nsteps:\n  - loop: again\n    max: 30\n    must_hold: false\n    steps:\n      - wait_signal: word\n",
];

impl Plane {
    async fn with_workflows(world: &World, store: &Memory) -> Self {
        let plane = start(world, store).await;
        for workflow in WORKFLOWS {
            let definition = document::parse(workflow).unwrap_or_else(|wrong| panic!("{wrong}"));
            plane.operator.apply_workflow(definition).await.unwrap();
        }
        plane
    }

    async fn starts(&self, workflow: &str, id: &str) -> RunId {
        let run_id = Some(id.parse().unwrap());
        let input = json!(id).to_string().into();
        let new =
            NewRunStart { workflow: workflow.into(), run_id, input, ..NewRunStart::default() };
        self.operator.start_run(new).await.unwrap().run
    }

    /// The runs that an actor has in memory.
    fn awake(&self) -> Vec<String> {
        let units = self.plane.observe();
        let run = |path: &str| Some(path.split_once("/runs/")?.1.to_owned());
        let mut awake: Vec<_> = units.iter().filter_map(|unit| run(&unit.path)).collect();
        awake.sort();
        awake
    }

    async fn stands(&self, id: &RunId) -> &'static str {
        self.operator.run(id).await.unwrap().run.status()
    }

    async fn says(&self, id: &RunId, word: Value) -> String {
        code(self.operator.signal_run(id, "word", word.to_string().into()).await)
    }

    async fn count(&self, status: &str) -> usize {
        let filter = RunFilter { status: Some(status.to_owned()), ..RunFilter::default() };
        let (mut count, mut before) = (0, None);
        loop {
            let page = self.operator.runs(&filter, before, 200).await.unwrap();
            count += page.runs.len();
            match page.next {
                Some(next) => before = Some(next),
                None => return count,
            }
        }
    }
}

#[test]
fn run_that_only_waits_is_in_nobodys_memory_and_is_found_by_what_it_waits_for() {
    World::run(async |world| {
        let store = Memory::new();
        let mut plane = Plane::with_workflows(world, &store).await;
        let nap = plane.starts("nap", "n").await;
        let word = plane.starts("word", "w").await;
        let ask = plane.starts("ask", "a").await;
        let above = plane.starts("above", "c").await;
        let both = plane.starts("both", "b").await;
        let paused = plane.starts("word", "p").await;
        plane.operator.amend_run(&paused, Remedy::Pause { reason: None }).await.unwrap();
        let all = [&nap, &word, &ask, &above, &both, &paused];

        for restarted in [false, true] {
            if restarted {
                plane.plane.drain(SECOND).await;
                plane = start(world, &store).await;
                world.settle().await;
            } else {
                world.pass(LONG).await;
            }
            assert_eq!(plane.awake(), [""; 0], "restarted: {restarted}");
            assert_eq!((plane.count("waiting").await, plane.count("paused").await), (6, 1));
            for run in all {
                assert!(!plane.operator.explain_run(run).await.unwrap().1.is_empty());
            }
        }

        let child = plane.operator.run(&above).await.unwrap().run;
        let fleetward_actors::workflows::run::Wait::Child { run: child, .. } =
            child.waits.values().next().unwrap()
        else {
            panic!("{child:?}")
        };
        for run in [&word, child, &paused, &both] {
            assert_eq!(plane.says(run, json!(7)).await, "ok");
        }
        let gates = plane.operator.run(&ask).await.unwrap().run;
        assert_eq!(plane.operator.gates(&gates).await.unwrap().len(), 1);
        plane.operator.decide_gate(&ask, "gate", true, (None, None)).await.unwrap();
        plane.operator.amend_run(&paused, Remedy::Resume).await.unwrap();
        world.pass(LONG).await;
        for run in [&word, child, &paused, &ask, &above] {
            assert_eq!(plane.stands(run).await, "completed", "{run}");
        }
        assert_eq!(plane.stands(&both).await, "waiting");
        assert_eq!(plane.awake(), [""; 0]);

        world.pass(Duration::from_secs(7_200)).await;
        for run in [&nap, &both] {
            assert_eq!(plane.stands(run).await, "completed", "{run}");
        }
    });
}

#[test]
fn thousands_that_are_due_at_once_all_wake_and_each_once() {
    const RUNS: usize = 2_200;
    World::run(async |world| {
        let store = Memory::new();
        let plane = Plane::with_workflows(world, &store).await;
        let at = world.clock().wall_us() + 3_600_000_000;
        let dawn =
            format!("name: dawn\nsteps:\n  - sleep_until: dawn\n    at: '{}'\n", at / 1_000_000);
        let dawn = document::parse(&dawn).unwrap_or_else(|wrong| panic!("{wrong}"));
        plane.operator.apply_workflow(dawn).await.unwrap();
        for n in 0..RUNS {
            plane.starts("dawn", &format!("r{n}")).await;
        }
        world.pass(LONG).await;
        assert_eq!(plane.awake(), [""; 0]);
        plane.plane.drain(SECOND).await;

        let plane = start(world, &store).await;
        world.settle().await;
        assert_eq!((plane.awake().len(), plane.count("waiting").await), (0, RUNS));
        world.pass(Duration::from_secs(3_600)).await;

        assert_eq!(plane.count("completed").await, RUNS);
        let again = plane.operator.run(&"r7".parse().unwrap()).await.unwrap().run;
        assert_eq!(again.events, 4, "started, waits, fired, completed");
    });
}

#[test]
fn signals_that_come_as_a_conductor_leaves_are_not_lost() {
    World::run(async |world| {
        let plane = Plane::with_workflows(world, &Memory::new()).await;
        let run = plane.starts("count", "c").await;

        for n in 0..30 {
            // It lingers for two seconds; its leaving is a matter of a few milliseconds, or of the rows' pause.
            world.clock().sleep(Duration::from_millis(1_990 + 10 * (n % 5) + 250 * (n % 3))).await;
            assert_eq!(plane.says(&run, json!(n)).await, "ok", "{n}");
        }
        world.pass(SECOND).await;

        assert_eq!(plane.stands(&run).await, "completed");
    });
}

#[test]
fn sleeping_run_can_be_waited_for() {
    World::run(async |world| {
        let plane = Plane::with_workflows(world, &Memory::new()).await;
        let run = plane.starts("word", "w").await;
        world.pass(LONG).await;
        let (operator, id) = (plane.operator.clone(), run.clone());
        let waits = tokio::spawn(async move { operator.run_when_closed(&id, 2 * LONG).await });
        world.pass(LONG / 2).await;

        assert_eq!(plane.says(&run, json!(1)).await, "ok");

        assert_eq!(waits.await.unwrap().unwrap().run.status(), "completed");
    });
}

#[test]
fn what_a_sleeping_run_waits_for_may_be_told_in_vain_once() {
    for (actor, label) in [("clockwork", "Asleep"), ("runs/c", "ChildEnded")] {
        World::run(async |world| {
            let store = Memory::new();
            let plane = Plane::with_workflows(world, &store).await;
            let short = "name: short\nsteps:\n  - sleep: doze\n    for: 40s\n";
            let short = document::parse(short).unwrap_or_else(|wrong| panic!("{wrong}"));
            plane.operator.apply_workflow(short).await.unwrap();
            world.faults().drop_next(actor, label);

            let nap = plane.starts("short", "n").await;
            let above = plane.starts("above", "c").await;
            world.pass(LONG).await;
            let child = plane.operator.runs(&RunFilter::default(), None, 1).await.unwrap();
            plane.says(&child.runs[0].run.id, json!(1)).await;
            world.pass(Duration::from_secs(180)).await;

            assert!(world.faults().fired().iter().any(|fault| fault.contains(label)), "{label}");
            assert_eq!(plane.stands(&nap).await, "completed", "{label}");
            assert_eq!(plane.stands(&above).await, "completed", "{label}");
        });
    }
}

#[test]
fn end_of_a_child_that_nobody_noted_is_told_in_the_next_life() {
    World::run(async |world| {
        let store = Memory::new();
        let plane = Plane::with_workflows(world, &store).await;
        let above = plane.starts("above", "c").await;
        world.pass(LONG).await;
        let child = plane.operator.runs(&RunFilter::default(), None, 1).await.unwrap();
        world.faults().drop_next("runs/c", "ChildEnded");
        plane.says(&child.runs[0].run.id, json!(1)).await;
        world.settle().await;
        plane.plane.drain(SECOND).await;

        let plane = start(world, &store).await;
        world.pass(LONG).await;

        assert_eq!(plane.stands(&above).await, "completed");
    });
}
