//! A run that does not go on says so: on record, in words, as an alert, and once.

use std::time::Duration;

use fleetward_actors::id::RunId;
use fleetward_actors::plane::{Enrollment, NewRunStart, Outcome};
use fleetward_actors::workflows::definition::document;
use fleetward_actors::workflows::run::Stuck;
use fleetward_runtime::testkit::World;
use fleetward_store::memory::Memory;

use crate::fixture::*;

const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn run_whose_step_nobody_takes_is_stuck_until_somebody_does() {
    World::run(async |world| {
        let plane = start(world, &Memory::new()).await;
        let workflow = "name: two\nsteps:\n  - step: a\n  - wait_signal: word\n";
        let workflow = document::parse(workflow).unwrap_or_else(|wrong| panic!("{wrong}"));
        plane.operator.apply_workflow(workflow).await.unwrap();
        let (workflow, input) = ("two".to_owned(), "1".into());
        let new = NewRunStart { workflow, input, ..NewRunStart::default() };
        let run = plane.operator.start_run(new).await.unwrap().run;
        let stuck = async |run: &RunId| plane.operator.run(run).await.unwrap().run;
        world.pass(14 * MINUTE).await;
        assert!(stuck(&run).await.stuck.is_none());

        world.pass(2 * MINUTE).await;
        let known = stuck(&run).await;
        assert_eq!(known.stuck.as_ref().unwrap().reason, Stuck::Unclaimed);
        world.pass(60 * MINUTE).await;
        assert_eq!(stuck(&run).await, known, "it is said once");
        let why = plane.operator.explain_run(&run).await.unwrap().1;
        assert!(why[0].starts_with("it is stuck: no worker has taken a since "), "{why:?}");
        let alerts = plane.operator.alerts(None, None, 10).await.unwrap();
        assert_eq!(alerts[0].about, "run.stuck");

        let handlers = vec!["*".to_owned()];
        let enrollment = Enrollment { handlers, ..enrollment("h") };
        let hand = plane.worker_of(&plane.operator, enrollment).await;
        let (offer, delivery) = hand.claim(plain(5)).await.unwrap().unwrap();
        delivery.written();
        let (task, attempt) = (offer.task, Some(offer.attempt));
        let done = Outcome::Completed("1".into());
        hand.report(task, attempt, Some(&offer.claim_token), done).await.unwrap();
        world.pass(2 * MINUTE).await;
        assert!(stuck(&run).await.stuck.is_none(), "it waits for a signal, and is not stuck");
    });
}
