//! Runs of random definitions with random failures, delays, crashes, duplicate and late reports, against a plain recursion
//! over their trees: the same result, and each recorded completion applied once.
//!
//! A failing seed is printed and written to `actors/tests/proptest-regressions`; it belongs into the commit that repairs it.

mod definitions;
mod functions;
mod moves;
mod stage;

use std::collections::BTreeMap;

use fleetward_actors::fact;
use fleetward_actors::workflows::definition::Definition;
use fleetward_actors::workflows::run::{Event, Phase, Run};
use fleetward_runtime::testkit::World;
use fleetward_store::{Journal, ReadLimit, StoredEvent};
use proptest::prelude::*;
use serde_json::{Value, json};

use definitions::{Reference, definitions, plain};
use moves::{Move, moves};
use stage::{CELL, Stage};

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
    fn run_comes_to_what_its_definition_says_whatever_happens_meanwhile(
        definition in definitions(),
        start in 0_i64..1_000,
        moves in moves(),
    ) {
        check(&definition, &json!({ "n": start }), moves);
    }
}

fn check(definition: &Definition, input: &Value, moves: Vec<Move>) {
    let expected = Reference::of(definition, input);
    World::run(async |world| {
        let mut stage = Stage::set(world, definition, input).await;

        stage.play(moves).await;
        let run = stage.finish().await;

        stage.own_up();
        let result = match &run.phase {
            Phase::Completed { .. } => Ok(plain(&stage.plane.only_output(&stage.run).await)),
            _ => Err(()),
        };
        stage.plane.fits(&stage.run).await;
        assert_eq!(result, expected.result, "{run:?}");
        let limit = ReadLimit { events: usize::MAX, bytes: usize::MAX };
        applied_once(&stage.store.read(CELL, 0, limit).await.unwrap(), &expected);
    });
}

/// One result of each task, one end of each node, and each step's result is its task's.
fn applied_once(events: &[StoredEvent], expected: &Reference) {
    let mut results = BTreeMap::new();
    let mut ends = BTreeMap::new();
    for stored in events {
        let (stream, kind) = (stored.event.stream.to_string(), stored.event.kind.as_ref());
        match kind {
            "task.completed" | "task.failed" | "task.cancelled" | "task.suspended" => {
                let before = results.insert(stream, (stored.seq, kind));
                assert_eq!(before, None, "a task ends twice, last at {}", stored.seq);
            }
            _ if stream.starts_with("run/") => {
                let event = fact::decode::<Run>(stored.seq, &stored.event).unwrap();
                if let Event::StepCompleted { key, task, at, .. } = &event {
                    let result = results.get(&format!("task/{task}"));
                    assert_eq!(result, Some(&(*at, "task.completed")), "{key}");
                    let of_it = stream != "run/r" || expected.steps.contains(key.as_str());
                    assert!(of_it, "{key} is no step of this run");
                }
                if let Some(key) = ended(&event) {
                    let before = ends.insert((stream, key.clone()), stored.seq);
                    assert_eq!(before, None, "{key} ends twice, last at {}", stored.seq);
                }
            }
            _ => {}
        }
    }
}

/// The node that an event ends.
fn ended(event: &Event) -> Option<String> {
    match event {
        Event::StepCompleted { key, .. }
        | Event::StepFailed { key, .. }
        | Event::StepDropped { key }
        | Event::TimerFired { key }
        | Event::GateApproved { key, .. }
        | Event::GateRejected { key, .. }
        | Event::SignalTaken { key, .. }
        | Event::ChildCompleted { key, .. }
        | Event::ChildFailed { key, .. } => Some(key.to_string()),
        _ => None,
    }
}
