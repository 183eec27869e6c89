//! Two servers on one store: never both acknowledge for a cell.

use std::time::Duration;

use fleetward_runtime::LifeState;
use fleetward_runtime::testkit::World;
use fleetward_store::memory::Memory;

use crate::fixture::*;

#[test]
fn server_that_was_fenced_acknowledges_nothing_and_stays_down() {
    World::run(async |world| {
        let store = Memory::new();
        let first = start(world, &store).await;
        let before = first.submit("before").await;
        world.expect_crash("keeper");

        let second = start(world, &store).await;
        let lost = first.operator.submit(new_task("fenced")).await;
        assert_eq!(code(lost), "outcome_unknown");
        world.pass(Duration::from_secs(60)).await;
        assert_eq!(code(first.operator.submit(new_task("later")).await), "unavailable");
        let halted = first.plane.observe().into_iter().any(|unit| {
            matches!(unit.state, LifeState::Halted { .. }) && unit.path.contains("cells/1")
        });
        assert!(halted);

        let after = second.submit("after").await;
        let tasks = second.operator.tasks(None, None, 10).await.unwrap();
        let ids: Vec<_> = tasks.iter().map(|view| view.task.id).collect();
        assert_eq!(ids, [after, before], "nothing of the fenced server was stored");
    });
}
