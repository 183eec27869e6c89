//! Rotation of keys reaches everything that is kept anywhere in memory.

use std::time::Duration;

use fleetward_actors::fleet::task::{Handling, Retry};
use fleetward_actors::plane::{NewSubmit, Outcome};
use fleetward_actors::seal::KeyState;
use fleetward_runtime::testkit::World;
use fleetward_store::memory::Memory;

use crate::fixture::*;

/// Promotes a new key, seals everything with it, and retires the first.
async fn rotate(plane: &Plane) {
    let added = plane.operator.add_payload_key().await.unwrap();
    assert_eq!((added.number, added.state), (2, KeyState::Added));
    plane.operator.promote_payload_key(2).await.unwrap();
    assert_eq!(code(plane.operator.retire_payload_key(2).await), "key_is_primary");
    assert_eq!(code(plane.operator.retire_payload_key(3).await), "not_found");
    plane.operator.reencrypt().await.unwrap();
    while plane.operator.payload_keys().await.unwrap().0[1].is_reencrypting() {
        // The clock stands still but for this.
        plane.plane.clock().sleep(Duration::from_millis(1)).await;
    }
    let retired = plane.operator.retire_payload_key(1).await.unwrap();
    assert_eq!(retired.state, KeyState::Retired);
}

#[test]
fn payload_in_memory_and_row_in_the_projector_survive_a_rotation() {
    World::run(async |world| {
        let store = Memory::new();
        let plane = start(world, &store).await;
        let worker = plane.worker("w").await;
        let retry = Retry { max_attempts: 3, initial_ms: 1, ..Retry::default() };
        let handling = Handling { retry, ..Handling::default() };
        let task = NewSubmit { handling, ..new_task("again") };
        let task = plane.operator.submit(task).await.unwrap().task;
        let taken = take(&worker, plain(5)).await.unwrap();
        let failed = Outcome::Failed { error: "no luck".into(), retryable: true };
        worker.report(task, Some(1), Some(&taken.token), failed).await.unwrap();
        let waiting = plane.submit("waiting").await;

        rotate(&plane).await;

        // Its row is written again by an event that has nothing sealed.
        let taken = take(&worker, plain(5)).await.unwrap();
        let error = |view: fleetward_actors::plane::TaskView| view.result.unwrap().open().unwrap();
        assert_eq!(error(plane.view(task).await), "no luck");
        complete(&worker, &taken).await.unwrap();
        let other = take(&worker, plain(5)).await.unwrap();
        complete(&worker, &other).await.unwrap();
        let payloads = [taken.payload.as_str(), other.payload.as_str()];
        assert!(payloads.contains(&"\"again\"") && payloads.contains(&"\"waiting\""));
        assert_eq!(error(plane.view(task).await), "\"again\"");
        assert_eq!(error(plane.view(waiting).await), "\"waiting\"");
    });
}

#[test]
fn rotation_is_known_to_the_next_life() {
    World::run(async |world| {
        let store = Memory::new();
        let plane = start(world, &store).await;
        let task = plane.submit("hello").await;
        rotate(&plane).await;
        plane.plane.drain(Duration::from_secs(5)).await;

        let plane = start(world, &store).await;
        let worker = plane.worker("w").await;
        let taken = take(&worker, plain(5)).await.unwrap();

        assert_eq!((taken.task, taken.payload.as_str()), (task, "\"hello\""));
        let (keys, _) = plane.operator.payload_keys().await.unwrap();
        let states: Vec<_> = keys.iter().map(|key| key.state).collect();
        assert_eq!(states, [KeyState::Retired, KeyState::Primary]);
        assert_eq!(plane.operator.add_payload_key().await.unwrap().number, 3);
    });
}
