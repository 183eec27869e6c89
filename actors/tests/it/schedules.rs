//! Schedules: their ticks start runs, one each, whatever crashes or is paused, retired or changed meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fleetward_actors::Config;
use fleetward_actors::id::RunId;
use fleetward_actors::plane::ScheduleView;
use fleetward_actors::schedules::scheduler::Change;
use fleetward_actors::schedules::spec::{CatchUp, Missed, Overlap, Spec, Timing};
use fleetward_actors::workflows::conductor::Remedy;
use fleetward_actors::workflows::definition::document;
use fleetward_runtime::testkit::World;
use fleetward_store::memory::Memory;
use fleetward_store::{CellId, Journal, ReadLimit};
use serde_json::Value;

use crate::fixture::*;

const NAP: &str = "name: nap\nsteps:\n  - sleep: doze\n    for: 25s\n";
const QUICK: &str = "name: quick\nsteps:\n  - sleep: blink\n    for: 1ms\n";

impl Plane {
    async fn workflow(&self, document: &str) {
        let definition = document::parse(document).unwrap_or_else(|wrong| panic!("{wrong}"));
        self.operator.apply_workflow(definition).await.unwrap();
    }

    async fn put(&self, name: &str, spec: Spec) -> ScheduleView {
        self.operator.put_schedule(name, spec, "7".into()).await.unwrap().0
    }

    async fn shown(&self, name: &str) -> ScheduleView {
        self.operator.schedule(name).await.unwrap()
    }

    async fn amend(&self, name: &str, change: Change) -> ScheduleView {
        self.operator.amend_schedule(name, change).await.unwrap()
    }

    /// The newest ticks, the oldest first: how each run stands, or why there is none.
    async fn told(&self, name: &str) -> Vec<String> {
        let mut told = self.shown(name).await.recent;
        told.reverse();
        let say =
            |(of, status): (fleetward_actors::schedules::schedule::Occasion, Option<&str>)| {
                of.refused.map_or_else(|| status.unwrap_or("none").to_owned(), |why| why.code)
            };
        told.into_iter().map(say).collect()
    }
}

fn every(workflow: &str, seconds: i64) -> Spec {
    Spec::new(workflow, Timing::Every { seconds })
}

/// What the record says: every tick that fired with its run, and how often each run was started.
async fn record(store: &Memory) -> (Vec<(i64, RunId)>, BTreeMap<RunId, usize>) {
    let limit = ReadLimit { events: 1_000_000, bytes: usize::MAX };
    let events = store.read(CellId(1), 0, limit).await.unwrap();
    let (mut fired, mut started) = (Vec::new(), BTreeMap::new());
    for stored in events {
        let body: Value = serde_json::from_slice(&stored.event.body).unwrap();
        let run = || body["run"].as_str().unwrap().parse::<RunId>().unwrap();
        match stored.event.kind.as_ref() {
            "schedule.fired" => fired.push((body["tick"].as_i64().unwrap(), run())),
            "run.started" => *started.entry(run()).or_default() += 1,
            _ => {}
        }
    }
    (fired, started)
}

#[test]
fn ticks_start_runs_with_the_input_and_the_newest_version() {
    World::run(async |world| {
        let plane = start(world, &Memory::new()).await;
        plane.workflow(QUICK).await;
        let seen = plane.put("beat", every("quick", 10)).await;
        assert_eq!(seen.upcoming.len(), 5);
        assert!(seen.upcoming.windows(2).all(|pair| pair[1].0 - pair[0].0 == 10_000_000));

        world.pass(Duration::from_secs(15)).await;
        plane
            .workflow("name: quick\nsteps:\n  - sleep: again\n    for: 1ms\noutput: input\n")
            .await;
        world.pass(Duration::from_secs(10)).await;

        let seen = plane.shown("beat").await;
        let told: Vec<_> = seen.recent.iter().rev().collect();
        assert!(told.len() >= 2 && told.iter().all(|(_, status)| *status == Some("completed")));
        let (first, last) = (&told[0].0, &told[told.len() - 1].0);
        assert_ne!(first.version, last.version);
        let run = plane.operator.run(last.run.as_ref().unwrap()).await.unwrap();
        assert_eq!(run.run.by, "schedule:beat");
        let of = run.run.schedule.unwrap();
        assert_eq!((of.name.as_str(), of.tick), ("beat", last.tick));
        assert_eq!(run.result.unwrap().open().unwrap(), "7");
        let input = plane.operator.schedule_input("beat").await.unwrap().unwrap();
        assert_eq!(input.open().unwrap(), "7");
    });
}

#[test]
fn tick_does_beside_an_open_run_what_the_schedule_says() {
    World::run(async |world| {
        let plane = start(world, &Memory::new()).await;
        plane.workflow(NAP).await;
        let of = |overlap| Spec { overlap, ..every("nap", 10) };
        plane.put("skips", of(Overlap::Skip)).await;
        plane.put("buffers", of(Overlap::BufferOne)).await;
        plane.put("allows", of(Overlap::Allow)).await;
        plane.put("cancels", of(Overlap::CancelOther)).await;
        let first = plane.shown("skips").await.upcoming[0].0;
        let until = first - world.clock().wall_us();
        world.pass(Duration::from_micros(until.unsigned_abs()) + Duration::from_secs(31)).await;

        // Ticks after 0, 10, 20 and 30 seconds; a run takes 25.
        assert_eq!(plane.told("skips").await, ["completed", "waiting"]);
        assert_eq!(plane.told("allows").await, ["completed", "waiting", "waiting", "waiting"]);
        let cancelled = ["cancelled", "cancelled", "cancelled", "waiting"];
        assert_eq!(plane.told("cancels").await, cancelled);
        let buffers = plane.shown("buffers").await;
        assert_eq!(plane.told("buffers").await, ["completed", "waiting"]);
        let second = &buffers.recent[0].0;
        assert_eq!(second.tick, first + 10_000_000, "it waited for the end of the first");
        assert!((second.at - first - 25_000_000).abs() < 1_000_000, "and no longer");
        assert_eq!(buffers.schedule.buffered, Some(first + 30_000_000));
    });
}

#[test]
fn paused_schedule_fires_nothing_but_what_somebody_wants_now() {
    World::run(async |world| {
        let plane = start(world, &Memory::new()).await;
        plane.workflow(QUICK).await;
        let spec = Spec {
            catch_up: CatchUp { policy: Missed::All, ..CatchUp::default() },
            ..every("quick", 10)
        };
        plane.put("beat", spec.clone()).await;
        let paused = plane.amend("beat", Change::Pause { reason: Some("audit".into()) }).await;
        assert!(paused.upcoming.is_empty());
        world.pass(Duration::from_secs(65)).await;
        assert_eq!(plane.told("beat").await, [""; 0]);

        let id: RunId = "mine".parse().unwrap();
        let ran = plane.operator.run_schedule("beat", Some(id.clone()), None).await.unwrap();
        assert!(!ran.repeated);
        let again = plane.operator.run_schedule("beat", Some(id), Some("8".into())).await.unwrap();
        assert!(again.repeated, "it is wanted once under one id");
        let own = plane.operator.run_schedule("beat", None, Some("8".into())).await.unwrap();
        let run = plane.operator.run(&own.run).await.unwrap().run;
        let given = plane.operator.run_input(&run).await.unwrap().unwrap();
        assert_eq!(given.open().unwrap(), "8");
        let kept = plane.operator.put_schedule("beat", spec, "7".into()).await.unwrap();
        assert!(!kept.1 && kept.0.schedule.paused.is_some(), "the same once more changes nothing");

        plane.amend("beat", Change::Resume).await;
        world.pass(Duration::from_secs(20)).await;
        let told = plane.told("beat").await;
        assert_eq!(told.len(), 4, "two by hand, two ticks, none of the pause: {told:?}");
        plane.amend("beat", Change::Delete).await;
        assert_eq!(code(plane.operator.schedule("beat").await), "not_found");
        let anew = plane.put("beat", every("quick", 10)).await;
        assert_eq!(anew.schedule.fired, 0, "the name is free again");
    });
}

#[test]
fn refused_start_is_on_the_record_and_the_next_tick_is_another() {
    World::run(async |world| {
        let plane = start(world, &Memory::new()).await;
        let unknown = plane.operator.put_schedule("x", every("quik", 10), "1".into()).await;
        assert_eq!(code(unknown), "unknown_workflow");
        plane.workflow(QUICK).await;
        plane.put("beat", every("quick", 10)).await;
        plane.operator.retire_workflow("quick").await.unwrap();
        assert_eq!(code(plane.operator.run_schedule("beat", None, None).await), "workflow_retired");
        world.pass(Duration::from_secs(25)).await;
        assert_eq!(plane.told("beat").await, ["workflow_retired"], "of the newest tick");

        plane.workflow(QUICK).await;
        // Somebody has the id of the next tick's run.
        let next = plane.shown("beat").await;
        let run = next.schedule.run_of(next.upcoming[0].0);
        let new = fleetward_actors::plane::NewRunStart {
            workflow: "quick".into(),
            version: None,
            run_id: Some(run),
            input: "null".into(),
            ..Default::default()
        };
        plane.operator.start_run(new).await.unwrap();
        world.pass(Duration::from_secs(20)).await;
        let told = plane.told("beat").await;
        assert_eq!(told, ["workflow_retired", "run_id_reused", "completed"]);
    });
}

#[test]
fn every_tick_has_one_run_whatever_crashes() {
    for (actor, label) in [
        ("cells/1/scheduler", "Due"),
        ("cells/1/scheduler", "Began"),
        ("cells/1/scheduler", "Looked"),
        ("cells/1/scheduler", "Recovered"),
        ("cells/1/catalogue", "Apply"),
        ("journal", "Written"),
    ] {
        World::run(async |world| {
            let store = Memory::new();
            let plane = start_with(world, &store, Config::default()).await;
            plane.workflow(QUICK).await;
            let catch_up = CatchUp { policy: Missed::All, ..CatchUp::default() };
            for (name, overlap) in [("one", Overlap::Skip), ("all", Overlap::Allow)] {
                plane.put(name, Spec { overlap, catch_up, ..every("quick", 1) }).await;
            }
            world.expect_crash(actor);
            if label == "Recovered" {
                world.faults().panic_next("cells/1/scheduler", "Due");
            }
            world.faults().panic_next(actor, label);
            world.pass(Duration::from_secs(2)).await;
            drop(plane.operator.apply_workflow(document::parse(NAP).unwrap()).await);
            world.pass(Duration::from_secs(10)).await;
            plane.plane.drain(Duration::from_secs(5)).await;
            let later = start_with(world, &store, Config::default()).await;
            // Half a second after a tick: none is just about to start.
            let past = world.clock().wall_us() % 1_000_000;
            let rest = Duration::from_micros((31_500_000 - past).unsigned_abs());
            world.pass(rest).await;
            later.plane.drain(Duration::from_secs(5)).await;

            let (fired, started) = record(&store).await;
            let ticks: BTreeSet<_> = fired.iter().map(|(_, run)| run.clone()).collect();
            assert_eq!(ticks.len(), fired.len(), "{label}: a tick fired twice");
            assert!(started.values().all(|count| *count == 1), "{label}: {started:?}");
            assert!(ticks.iter().all(|run| started.contains_key(run)), "{label}: a run is missing");
            let all = fired.iter().filter(|(_, run)| run.as_str().starts_with("all-"));
            let ticks: Vec<_> = all.map(|(tick, _)| *tick).collect();
            assert!(ticks.len() > 35, "{label}: {}", ticks.len());
            let gaps = ticks.windows(2).map(|pair| pair[1] - pair[0]);
            assert!(gaps.into_iter().all(|gap| gap == 1_000_000), "{label}: {ticks:?}");
        });
    }
}

#[test]
fn buffered_tick_outlives_the_server_and_starts_when_the_run_is_cancelled() {
    World::run(async |world| {
        let store = Memory::new();
        let plane = start(world, &store).await;
        plane.workflow("name: long\nsteps:\n  - wait_signal: never\n").await;
        plane.put("one", Spec { overlap: Overlap::BufferOne, ..every("long", 10) }).await;
        world.pass(Duration::from_secs(21)).await;
        plane.plane.drain(Duration::from_secs(5)).await;

        let plane = start(world, &store).await;
        world.pass(Duration::from_secs(1)).await;
        let seen = plane.shown("one").await;
        assert_eq!(seen.recent.len(), 1);
        assert!(seen.schedule.buffered.is_some());
        let first = seen.recent[0].0.run.clone().unwrap();
        plane.operator.amend_run(&first, Remedy::Cancel { reason: None }).await.unwrap();
        world.pass(Duration::from_secs(1)).await;

        assert_eq!(plane.told("one").await, ["cancelled", "waiting"]);
        assert_eq!(plane.shown("one").await.schedule.buffered, None);
    });
}
