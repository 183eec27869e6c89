//! Random programs as durable functions: whatever dies while they run, and in whatever order what they wait for comes, they
//! come to what they come to when they are run straight through, nothing that was kept is done twice, and a program that was
//! changed is told at which position.
//!
//! They are run by the worker's own library, on a control plane in the same process, in paused time.

mod program;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use fleetward::plane::{AdminToken, Operator, Options};
use fleetward::workflow::{RunHandle, Workers};
use fleetward::{ControlPlane, StepContext, Workflow};
use fleetward_actors::workflows::run::{Run, Wait};
use fleetward_runtime::testkit::World;
use fleetward_store::memory::Memory;
use proptest::prelude::*;

use crate::fixture::ADMIN;
use program::{Attempt, Change, Notes, Op, agrees, ops, straight};

/// `PROPTEST_CASES` asks for more of them.
fn config() -> ProptestConfig {
    let asked = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    ProptestConfig {
        cases: asked.unwrap_or(48),
        max_shrink_iters: 256,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn program_comes_to_what_it_comes_to_straight_through(
        ops in ops(),
        input in 0_u64..1_000,
        crashes in prop::collection::btree_set(0_u32..60, 0..6),
        choices in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        World::run(async |world| {
            let mut stage = Stage::set(world, ops.clone(), input, Notes::crashing(crashes)).await;

            stage.go_on(world, &choices, |_| false).await;
            let came_to = stage.run.result().await.map_err(|error| error.to_string());

            let notes = stage.notes.lock().unwrap().clone();
            assert_eq!(came_to, Ok(straight(&ops, input, &notes)));
            stage.end().await;
        });
    }

    #[test]
    fn changed_program_is_told_where_it_parts_from_what_was_done(
        ops in ops(),
        input in 0_u64..1_000,
        at in any::<prop::sample::Index>(),
        ends in any::<bool>(),
        choices in prop::collection::vec(any::<u8>(), 0..20),
    ) {
        World::run(async |world| {
            let mut stage = Stage::set(world, ops, input, Notes::default()).await;
            let legs = choices.len() as u32 % 4;
            stage.go_on(world, &choices, |run| {
                run.functions.values().any(|function| function.leg > legs)
            })
            .await;
            let run = stage.run.state().await.unwrap();
            let known: Vec<_> = run.functions.keys().flat_map(|key| run.history_of(key)).collect();
            if !run.is_closed() && !known.is_empty() {
                let entry = &known[at.index(known.len())];
                let change = Change { at: entry.index, ends };
                stage.notes.lock().unwrap().change = Some(change);

                stage.go_on(world, &[], |_| false).await;

                let said = stage.run.result().await.unwrap_err().to_string();
                let history = format!(
                    "at position {} the history has the {} {:?}",
                    entry.index, entry.what.as_str(), entry.name,
                );
                assert!(said.contains(&history), "{history}: {said}");
            }
            stage.end().await;
        });
    }
}

/// A control plane with one worker, and a run of the program.
struct Stage {
    plane: ControlPlane,
    operator: Operator,
    workers: Workers,
    run: RunHandle<u64>,
    notes: Arc<Mutex<Notes>>,
}

impl Stage {
    async fn set(world: &World, ops: Vec<Op>, input: u64, notes: Notes) -> Self {
        let options = Options {
            clock: Some(world.clock().clone()),
            faults: world.faults().clone(),
            admin_token: Some(AdminToken(ADMIN.to_owned())),
            ..Options::default()
        };
        let plane = ControlPlane::start(Arc::new(Memory::new()), options).await.unwrap();
        world.adopt(plane.system());
        let operator = plane.operator(&plane.authenticate(ADMIN).unwrap(), None).await.unwrap();
        let (notes, ops) = (Arc::new(Mutex::new(notes)), Arc::new(ops));
        let attempt = {
            let notes = notes.clone();
            move |input: u64, cx: StepContext| {
                let attempt = Attempt::new(cx, notes.clone());
                let ops = ops.clone();
                async move { attempt.run(&ops, input).await }
            }
        };
        let function = Workflow::function("random", attempt)
            .retries(8)
            .retry_delay(Duration::from_millis(100));
        let workflow: Workflow<u64, u64> = function.build().unwrap();
        let workers = Workers::start(&plane, &operator, "w", 1, workflow.handlers()).await.unwrap();
        let run = workflow.start(&operator, Some("r"), &input).await.unwrap();
        Self { plane, operator, workers, run, notes }
    }

    /// Whatever the run waits for comes, in the order of the choices, until it has ended or something holds for it.
    async fn go_on(&mut self, world: &World, choices: &[u8], holds: impl Fn(&Run) -> bool) {
        let mut choices = choices.iter();
        for _ in 0..400 {
            world.settle().await;
            let run = self.run.state().await.unwrap();
            if run.is_closed() || holds(&run) {
                return;
            }
            let waits: Vec<_> = run.waits.iter().collect();
            match choices.next() {
                // Nobody says anything for a while.
                Some(choice) if waits.is_empty() || choice % 4 == 0 => {
                    world.pass(Duration::from_millis(u64::from(*choice) * 100)).await;
                }
                Some(choice) => {
                    let (key, wait) = waits[usize::from(choice / 4) % waits.len()];
                    self.answer(key.as_str(), wait).await;
                }
                None => {
                    for (key, wait) in waits {
                        self.answer(key.as_str(), wait).await;
                    }
                    world.pass(Duration::from_secs(5)).await;
                }
            }
        }
        panic!("it does not end: {:?}", self.run.state().await);
    }

    async fn answer(&self, key: &str, wait: &Wait) {
        match wait {
            Wait::Gate(_) => {
                let name = key.rsplit('/').next().unwrap_or(key);
                let decided =
                    self.operator.decide_gate(self.run.id(), key, agrees(name), (None, None));
                drop(decided.await);
            }
            Wait::Signal { name, .. } => {
                let value = program::hash(name) % 1_000;
                drop(self.operator.signal_run(self.run.id(), name, value.to_string().into()).await);
            }
            Wait::Timer { .. } | Wait::Child { .. } => {}
        }
    }

    async fn end(self) {
        self.workers.stop().await;
        self.plane.drain(Duration::from_secs(5)).await;
    }
}
