//! A cell that stays down is on the record of the system.

use std::sync::Arc;
use std::time::Duration;

use fleetward_actors::ControlPlane;
use fleetward_actors::plane::{AuditQuery, Start};
use fleetward_runtime::testkit::World;
use fleetward_store::memory::Memory;
use fleetward_store::{CellAppend, CellId, Codec, Event, Journal};

use crate::fixture::*;

/// Puts an event into a cell that no build knows.
async fn spoil(store: &Memory, cell: CellId) {
    let head = store.open(cell).await.unwrap();
    let event = Event {
        stream: "riddle/1".into(),
        kind: "riddle.posed".into(),
        version: 1,
        codec: Codec::Json,
        at: i64::MAX / 2,
        by: "somebody".into(),
        origin: None,
        body: "{}".into(),
        sealed: None,
    };
    let append = CellAppend { head, events: [event].into() };
    store.append(vec![append]).await.remove(0).unwrap();
}

#[test]
fn organisation_that_is_down_is_on_the_record_of_the_system_and_concerns_no_other() {
    World::run(async |world| {
        let store = Memory::new();
        let first = start(world, &store).await;
        first.submit("before").await;
        let other = first.plane.create_org(&first.caller, "other", None).await.unwrap().0;
        first.plane.drain(Duration::from_secs(5)).await;
        spoil(&store, CellId(1)).await;
        world.expect_crash("cells/1/keeper");

        let plane = ControlPlane::start(Arc::new(store), options(world)).await.unwrap();
        world.adopt(plane.system());
        let caller = plane.authenticate(ADMIN).unwrap();
        let query = AuditQuery {
            kinds: vec!["cell.halted".into()],
            start: Start::After(0),
            limit: 10,
            ..AuditQuery::default()
        };
        let trail = plane.system_trail(&caller).unwrap();
        let said = trail.tail(&query, Duration::from_secs(30)).await.unwrap().entries;
        assert_eq!(said.len(), 1, "{said:?}");
        assert_eq!(said[0].body["cell"], 1);
        assert!(said[0].body["why"].as_str().unwrap().contains("riddle/1"), "{said:?}");
        let halted = plane.halted();
        assert!(halted.len() == 1 && halted[0].0 == CellId(1), "{halted:?}");
        plane.readiness().await.unwrap();
        let others = plane.operator(&caller, Some(other.id)).await.unwrap();
        others.submit(new_task("theirs")).await.unwrap();
    });
}
