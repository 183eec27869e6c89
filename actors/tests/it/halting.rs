//! A cell that stays down is on the record of the system, and its organisation's sinks hear of it.

use std::sync::Arc;
use std::time::Duration;

use fleetward_actors::plane::{AuditQuery, Start};
use fleetward_actors::{Config, ControlPlane, Options};
use fleetward_runtime::testkit::World;
use fleetward_store::memory::Memory;
use fleetward_store::{CellAppend, CellId, Codec, Event, Journal};

use crate::fixture::*;
use crate::notifying::Wire;

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

/// A life of a control plane in which the first organisation halts.
async fn halted(world: &World, store: &Memory, wire: &Arc<Wire>) -> ControlPlane {
    world.expect_crash("cells/1/keeper");
    let config = Config { notify_for: Duration::from_secs(3_600), ..Config::default() };
    let options = Options { config, outbound: Some(wire.clone()), ..options(world) };
    let plane = ControlPlane::start(Arc::new(store.clone()), options).await.unwrap();
    world.adopt(plane.system());
    plane
}

/// Two sinks of an organisation that is not down yet.
async fn with_sinks(world: &World, store: &Memory, wire: &Arc<Wire>) {
    let plane = start_sending(world, store, Config::default(), wire.clone()).await;
    for name in ["pager", "chat"] {
        plane.operator.create_sink(name, "https://example.com/x").await.unwrap();
    }
    let (removed, _) = plane.operator.create_sink("old", "https://example.com/x").await.unwrap();
    plane.operator.remove_sink(removed.id).await.unwrap();
    plane.plane.drain(Duration::from_secs(5)).await;
    spoil(store, CellId(1)).await;
}

#[test]
fn organisation_that_is_down_is_told_to_each_of_its_sinks_and_again_in_the_next_life() {
    World::run(async |world| {
        let (store, wire) = (Memory::new(), Arc::new(Wire::default()));
        with_sinks(world, &store, &wire).await;
        wire.broken(true);
        let plane = halted(world, &store, &wire).await;
        world.pass(Duration::from_secs(60)).await;
        assert!(wire.kinds().is_empty());
        wire.broken(false);
        world.pass(Duration::from_secs(1_000)).await;
        assert_eq!(wire.kinds(), ["cell.halted", "cell.halted"]);
        assert_eq!(wire.ids()[0], wire.ids()[1], "one alert at two sinks");
        world.pass(Duration::from_secs(10_000)).await;
        assert_eq!(wire.kinds().len(), 2, "once is enough");

        plane.drain(Duration::from_secs(5)).await;
        let _plane = halted(world, &store, &wire).await;
        world.pass(Duration::from_secs(60)).await;

        assert_eq!(wire.kinds().len(), 4);
        assert_ne!(wire.ids()[1], wire.ids()[2], "it is another life");
    });
}

#[test]
fn nobody_is_told_for_ever_that_an_organisation_is_down() {
    World::run(async |world| {
        let (store, wire) = (Memory::new(), Arc::new(Wire::default()));
        with_sinks(world, &store, &wire).await;
        wire.broken(true);
        let _plane = halted(world, &store, &wire).await;
        world.pass(Duration::from_secs(2 * 3_600)).await;
        wire.broken(false);
        world.pass(Duration::from_secs(2 * 3_600)).await;

        assert!(wire.kinds().is_empty(), "{:?}", wire.kinds());
    });
}
