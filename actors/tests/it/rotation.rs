//! Rotation of keys reaches everything that is kept anywhere in memory.

use std::sync::Arc;
use std::time::Duration;

use fleetward_actors::ControlPlane;
use fleetward_actors::fleet::task::{Handling, Retry};
use fleetward_actors::plane::{BootError, Content, NewSubmit, Outcome};
use fleetward_actors::seal::{KeyState, MasterKey, Sealed};
use fleetward_actors::system::rotation;
use fleetward_runtime::testkit::World;
use fleetward_store::Sealing;
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
fn rotation_of_the_master_key_that_was_broken_off_goes_on() {
    World::run(async |world| {
        let store = Memory::new();
        let plane = start(world, &store).await;
        plane.plane.create_org(&plane.caller, "other", None).await.unwrap();
        plane.plane.drain(Duration::from_secs(5)).await;
        let old = MasterKey::parse(MASTER_KEY).unwrap();
        let new = MasterKey::fresh();
        let refused = async |old: &MasterKey, new: &MasterKey| {
            rotation::rotate(&store, old, new, 0).await.unwrap_err().to_string()
        };
        assert!(refused(&new, &MasterKey::fresh()).await.contains("neither"));
        assert!(refused(&old, &old).await.contains("is the old one"));
        // One value was sealed again, and then there was no power.
        let cell = fleetward_store::CellId(0);
        let page = store.sealed_parts(cell, 0).await.unwrap();
        let (seq, part) = page.parts[0].clone();
        let again = old.reseal(&Sealed::from_bytes(part.clone()), &new).unwrap().into_bytes();
        let change = fleetward_store::Resealed { seq, old: part, new: again };
        assert_eq!(store.reseal(cell, vec![change]).await.unwrap(), 1);

        assert!(rotation::rotate(&store, &old, &new, 0).await.unwrap() > 4);
        assert_eq!(rotation::rotate(&store, &old, &new, 0).await.unwrap(), 0);

        let with = |master: &MasterKey| fleetward_actors::Options {
            master_key: Some(master.clone()),
            ..options(world)
        };
        let started = ControlPlane::start(Arc::new(store.clone()), with(&old)).await;
        assert!(matches!(started, Err(BootError::WrongMasterKey(_))));
        let plane = ControlPlane::start(Arc::new(store), with(&new)).await.unwrap();
        world.adopt(plane.system());
        let caller = plane.authenticate(ADMIN).unwrap();
        plane.operator(&caller, None).await.unwrap().submit(new_task("x")).await.unwrap();
    });
}

#[test]
fn sealed_value_that_was_moved_is_not_opened_for_anybody() {
    World::run(async |world| {
        let store = Memory::new();
        let plane = start(world, &store).await;
        plane.submit("one").await;
        plane.submit("two").await;
        let cell = fleetward_store::CellId(1);
        let parts = store.sealed_parts(cell, 0).await.unwrap().parts;
        let [(first, _), (second, theirs)] = &parts[..] else { panic!("{} parts", parts.len()) };
        let old = parts[0].1.clone();
        let moved = fleetward_store::Resealed { seq: *first, old, new: theirs.clone() };
        assert_eq!(store.reseal(cell, vec![moved]).await.unwrap(), 1);

        let page = plane.operator.unsealed(0, 200).await.unwrap();

        let content = |seq| {
            let found = page.events.iter().find(|event| event.stored.seq == seq);
            found.unwrap().content.clone()
        };
        assert!(matches!(content(*first), Content::Unreadable(_)));
        assert!(matches!(content(*second), Content::Open(inside) if inside == "\"two\""));
    });
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
