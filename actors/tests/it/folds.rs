//! Records and the events after them are the fold from the beginning, wherever the projector is killed.

use std::collections::BTreeMap;
use std::time::Duration;

use fleetward_actors::fleet::task::Task;
use fleetward_actors::plane::NewSubmit;
use fleetward_actors::projector::Live;
use fleetward_runtime::testkit::World;
use fleetward_store::memory::Memory;
use fleetward_store::{CellId, Journal, ReadLimit, Record, Records, StoredEvent};
use proptest::prelude::*;

use crate::fixture::*;

const CELL: CellId = CellId(1);

#[derive(Debug, Clone)]
enum Op {
    Submit,
    Take(usize),
    Complete(usize),
    Abandon(usize),
    Pass(u64),
    KillProjector,
    KillDispatcher,
    LoseAnswer,
    /// Whatever is over, and is not there for the first time.
    Delete(usize),
    SubmitNamed(usize),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        4 => Just(Op::Submit),
        4 => (0..3_usize).prop_map(Op::Take),
        3 => (0..3_usize).prop_map(Op::Complete),
        1 => (0..3_usize).prop_map(Op::Abandon),
        2 => (0..60_u64).prop_map(Op::Pass),
        1 => Just(Op::KillProjector),
        1 => Just(Op::KillDispatcher),
        1 => Just(Op::LoseAnswer),
        2 => (0..3_usize).prop_map(Op::Delete),
        3 => (0..3_usize).prop_map(Op::SubmitNamed),
    ];
    proptest::collection::vec(op, 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
    #[test]
    fn rows_and_tail_are_the_fold_from_the_beginning(ops in ops(), cache in 0..3_usize) {
        let store = Memory::new();
        play(&store, ops, cache);
        let checked = tokio::runtime::Builder::new_current_thread().build().unwrap();
        checked.block_on(check(&store));
    }
}

fn play(store: &Memory, ops: Vec<Op>, projector_cache: usize) {
    World::run(async |world| {
        let config = fleetward_actors::Config {
            budget: fleetward_runtime::Budget { restarts: 1_000, within: Duration::from_secs(1) },
            projector_cache,
            ..Default::default()
        };
        let plane = start_with(world, store, config).await;
        let workers = [plane.worker("a").await, plane.worker("b").await, plane.worker("c").await];
        let mut taken: [Vec<Taken>; 3] = Default::default();
        let mut named = [None; 3];
        for op in ops {
            match op {
                Op::Submit => drop(plane.operator.submit(new_task("x")).await),
                Op::Take(n) => {
                    let offer = workers[n].claim(plain(0)).await;
                    taken[n].extend(offer.ok().flatten().map(read));
                }
                Op::Complete(n) => {
                    if let Some(last) = taken[n].pop() {
                        drop(complete(&workers[n], &last).await);
                    }
                }
                Op::Abandon(n) => drop(workers[n].claim(plain(0)).await),
                Op::Pass(seconds) => world.pass(Duration::from_secs(seconds)).await,
                Op::KillProjector => kill(world, "projector", "Folded"),
                Op::KillDispatcher => kill(world, "cells/1/dispatcher", "Submit"),
                Op::LoseAnswer => store.control().lose_answer_next(1),
                Op::Delete(n) => {
                    if let Some(task) = named[n] {
                        drop(plane.operator.delete_task(task).await);
                    }
                }
                Op::SubmitNamed(n) => {
                    let idempotency_key = Some(format!("k{n}"));
                    let new = NewSubmit { idempotency_key, ..new_task("named") };
                    if let Ok(receipt) = plane.operator.submit(new).await {
                        named[n] = Some(receipt.task);
                    }
                }
            }
        }
        // What was killed in vain must still be hit, or not be expected.
        world.pass(Duration::from_secs(30)).await;
        drop(plane.operator.submit(new_task("last")).await);
        world.pass(Duration::from_secs(30)).await;
    });
}

fn kill(world: &World, actor: &str, label: &str) {
    world.expect_crash(actor);
    world.faults().panic_next(actor, label);
}

/// From the store alone: rows at their position, plus the events after it, against all events.
async fn check(store: &Memory) {
    let limit = ReadLimit { events: 100_000, bytes: usize::MAX };
    let events = store.read(CELL, 0, limit).await.unwrap();
    let position = store.position(CELL).await.unwrap();
    let mut folded: BTreeMap<String, Live> = BTreeMap::new();
    events.iter().for_each(|event| fold(&mut folded, event));
    let mut rows: BTreeMap<String, Live> = BTreeMap::new();
    for stream in folded.keys() {
        let (kind, id) = stream.split_once('/').unwrap();
        for row in store.get(CELL, kind, &[id.to_owned()]).await.unwrap() {
            rows.insert(stream.clone(), Live::read(row).unwrap());
        }
    }
    let tail = events.iter().filter(|event| event.seq > position);
    tail.for_each(|event| fold(&mut rows, event));
    let written = |live: BTreeMap<String, Live>| -> Vec<Record> {
        live.into_values().map(|live| live.row()).collect()
    };
    let folded = written(folded);
    assert_eq!(written(rows), folded);
    for row in folded.iter().filter(|row| row.kind == "task") {
        let task: Task = serde_json::from_slice(&row.body).unwrap();
        assert_eq!(row.open, !task.is_closed());
    }
}

fn fold(live: &mut BTreeMap<String, Live>, event: &StoredEvent) {
    let stream = event.event.stream.to_string();
    let folded = match live.remove(&stream) {
        Some(mut known) => {
            known.apply(event.seq, &event.event).unwrap();
            known
        }
        None => Live::begin(event.cell, event.seq, &event.event).unwrap(),
    };
    if !folded.is_deleted() {
        live.insert(stream, folded);
    }
}
