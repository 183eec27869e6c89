//! Runs of random definitions with random failures, delays, crashes, duplicate and late reports, against a plain recursion
//! over their trees: the same result, and each recorded completion applied once.
//!
//! A failing seed is printed and written to `actors/tests/proptest-regressions`; it belongs into the commit that repairs it.

mod definitions;
mod functions;
mod moves;
mod stage;

use std::collections::{BTreeMap, BTreeSet};

use fleetward_actors::fact;
use fleetward_actors::workflows::definition::Definition;
use fleetward_actors::workflows::run::{Event, Run};
use fleetward_runtime::testkit::World;
use fleetward_store::{Journal, ReadLimit, StoredEvent};
use proptest::prelude::*;
use serde_json::{Value, json};

use definitions::{Reference, choose, definitions};
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
        moves in moves(60),
        retried in prop::option::of(moves(20)),
        forked in prop::option::of((any::<usize>(), prop::option::of(0_i64..1_000), moves(20))),
    ) {
        let forked = forked.map(|(at, input, moves)| {
            let at = at % definition.nodes.len();
            // Another input would lead past what was done.
            let input = input.filter(|_| !choose(&definition.nodes[..at]));
            (at, input.map(|n| json!({ "n": n })), moves)
        });
        check(&definition, &json!({ "n": start }), (moves, retried, forked));
    }
}

/// What happens until the run has ended; then, where it failed, it may be tried again from the failure, and then forked from
/// one of its nodes, with its input or another.
type Story = (Vec<Move>, Option<Vec<Move>>, Option<(usize, Option<Value>, Vec<Move>)>);

fn check(definition: &Definition, input: &Value, (moves, retried, forked): Story) {
    World::run(async |world| {
        let mut stage = Stage::set(world, definition, input).await;
        let mut expected = Reference::of(definition, &stage.script, input);
        stage.play(moves).await;
        stage.comes_to(&expected).await;
        let mut runs = BTreeMap::new();

        if let Some(moves) = retried.filter(|_| expected.result.is_err()) {
            let first = expected.steps;
            stage.retry().await;
            expected = Reference::of(definition, &stage.script, input);
            expected.steps.extend(first);
            stage.play(moves).await;
            stage.comes_to(&expected).await;
        }
        runs.insert("run/r", expected);
        if let Some((at, other, moves)) = forked {
            let before = stage.script.clone();
            stage.fork(&definition.nodes[at].name, other.as_ref()).await;
            let with = other.as_ref().unwrap_or(input);
            let forked =
                Reference::of_fork(definition, at, (&before, input), (&stage.script, with));
            stage.play(moves).await;
            stage.comes_to(&forked).await;
            runs.insert("run/f", forked);
        }

        stage.own_up();
        let limit = ReadLimit { events: usize::MAX, bytes: usize::MAX };
        applied_once(&stage.store.read(CELL, 0, limit).await.unwrap(), &runs);
    });
}

/// One result of each task, one end of each node, and each step's result is its task's. Whatever failed may end once more
/// after somebody tried it again; what was done may not.
fn applied_once(events: &[StoredEvent], expected: &BTreeMap<&str, Reference>) {
    let mut results = BTreeMap::new();
    let mut ends: BTreeMap<(String, String), (u64, bool)> = BTreeMap::new();
    let mut votes = BTreeMap::new();
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
                    let reference = expected.get(&*stream);
                    let of_it = reference.is_none_or(|run| run.steps.contains(key.as_str()));
                    assert!(of_it, "{key} is no step of {stream}");
                }
                if let Event::Revived { settled } = &event {
                    let stays = |key: &str| settled.iter().any(|settled| settled.as_str() == key);
                    ends.retain(|(of, key), (_, done)| *of != stream || *done || stays(key));
                }
                match &event {
                    Event::GateOpened { key, gate, .. } => {
                        let left = gate.approvers.quorum;
                        votes.insert((stream.clone(), key.to_string()), (left, BTreeSet::new()));
                    }
                    Event::GateApproved { key, vote } => {
                        let gate = (stream.clone(), key.to_string());
                        let (left, voters) = votes.get_mut(&gate).expect("it was opened");
                        assert!(voters.insert(vote.by.clone()), "{} votes twice", vote.name);
                        *left -= 1;
                        if *left > 0 {
                            continue;
                        }
                    }
                    _ => {}
                }
                if let Some((key, done)) = ended(&event) {
                    let before = ends.insert((stream, key.clone()), (stored.seq, done));
                    assert_eq!(before, None, "{key} ends twice, last at {}", stored.seq);
                }
            }
            _ => {}
        }
    }
}

/// The node that an event ends, and whether it is done then.
fn ended(event: &Event) -> Option<(String, bool)> {
    match event {
        Event::StepCompleted { key, .. }
        | Event::TimerFired { key }
        | Event::GateApproved { key, .. }
        | Event::GateExpired { key, approved: true }
        | Event::SignalTaken { key, .. }
        | Event::ChildCompleted { key, .. } => Some((key.to_string(), true)),
        Event::StepFailed { key, .. }
        | Event::StepDropped { key }
        | Event::GateRejected { key, .. }
        | Event::GateExpired { key, approved: false }
        | Event::ChildFailed { key, .. } => Some((key.to_string(), false)),
        _ => None,
    }
}
