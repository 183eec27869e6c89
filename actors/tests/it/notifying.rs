//! Alerts reach their sinks in paused time: in order, at least once, and not for ever.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use fleetward_actors::Config;
use fleetward_actors::fleet::registry::rules::Verdict;
use fleetward_actors::plane::{Outbound, Outgoing, Session};
use fleetward_runtime::testkit::World;
use fleetward_store::memory::Memory;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use crate::fixture::*;

/// What was sent, and whether it is taken.
#[derive(Default)]
pub(crate) struct Wire {
    sent: Mutex<Vec<(String, String)>>,
    broken: Mutex<bool>,
}

impl Outbound for Wire {
    fn check(&self, url: &str) -> Result<String, String> {
        url.starts_with("https://").then(|| url.to_owned()).ok_or("no https".to_owned())
    }

    fn post(&self, message: Outgoing) -> BoxFuture<'static, Result<(), String>> {
        let body: serde_json::Value = serde_json::from_slice(&message.body).unwrap();
        let header = |name: &str| {
            message.headers.iter().find(|(known, _)| *known == name).unwrap().1.clone()
        };
        assert!(header("webhook-signature").starts_with("v1,"));
        let broken = *self.broken.lock().unwrap();
        if !broken {
            let kind = body["data"]["kind"].as_str().unwrap().to_owned();
            self.sent.lock().unwrap().push((header("webhook-id"), kind));
        }
        async move { if broken { Err("no answer".to_owned()) } else { Ok(()) } }.boxed()
    }
}

impl Wire {
    pub(crate) fn kinds(&self) -> Vec<String> {
        self.sent.lock().unwrap().iter().map(|(_, kind)| kind.clone()).collect()
    }

    pub(crate) fn ids(&self) -> Vec<String> {
        self.sent.lock().unwrap().iter().map(|(id, _)| id.clone()).collect()
    }

    pub(crate) fn broken(&self, broken: bool) {
        *self.broken.lock().unwrap() = broken;
    }
}

/// A worker that only sends heartbeats until it is deaf.
async fn deafen(world: &World, worker: &Session) {
    for _ in 0..36 {
        worker.heartbeat(holding(&[])).await.unwrap();
        world.pass(Duration::from_secs(10)).await;
    }
}

async fn with_sink(world: &World) -> (Plane, Arc<Wire>) {
    let wire = Arc::new(Wire::default());
    let config = Config { notify_for: Duration::from_secs(3_600), ..Config::default() };
    let plane = start_sending(world, &Memory::new(), config, wire.clone()).await;
    let (sink, _) = plane.operator.create_sink("pager", "https://example.com/x").await.unwrap();
    assert_eq!(sink.name, "pager");
    (plane, wire)
}

#[test]
fn alerts_are_delivered_once_in_order_with_ids_of_their_own() {
    World::run(async |world| {
        let (plane, wire) = with_sink(world).await;
        let (first, second) = (plane.worker("first").await, plane.worker("second").await);
        deafen(world, &first).await;
        deafen(world, &second).await;
        assert_eq!(wire.kinds(), ["worker.deaf", "worker.suspected", "worker.deaf"]);

        let open = plane.operator.alerts(Some("open"), None, 10).await.unwrap();
        let ids: Vec<_> = open.iter().rev().map(|alert| alert.id.to_string()).collect();
        assert_eq!(wire.ids(), ids);
        let alert = plane.operator.acknowledge(open[0].id, Some("seen".into())).await.unwrap();
        assert_eq!(alert.note.as_deref(), Some("seen"));
        let again = plane.operator.acknowledge(open[0].id, None).await.unwrap();
        assert_eq!(again, alert, "the first word stays");
        assert_eq!(plane.operator.alerts(Some("open"), None, 10).await.unwrap().len(), 2);
        assert_eq!(plane.operator.sinks().await.unwrap()[0].delivered, 3);
    });
}

#[test]
fn what_is_not_taken_is_tried_again_through_crashes() {
    World::run(async |world| {
        let (plane, wire) = with_sink(world).await;
        let worker = plane.worker("w").await;
        wire.broken(true);
        deafen(world, &worker).await;
        world.pass(Duration::from_secs(60)).await;
        assert!(wire.kinds().is_empty());
        world.expect_crash("watch/courier");
        world.faults().panic_next("watch/courier", "Wake");
        world.pass(Duration::from_secs(90)).await;
        world.expect_crash("cells/1/alerts");
        world.faults().panic_next("cells/1/alerts", "Sinks");
        let _ = plane.operator.sinks().await;
        world.pass(Duration::from_secs(10)).await;

        wire.broken(false);
        world.pass(Duration::from_secs(1_000)).await;

        assert_eq!(wire.kinds(), ["worker.deaf", "worker.suspected"]);
        let sinks = plane.operator.sinks().await.unwrap();
        assert_eq!((sinks[0].delivered, sinks[0].given_up), (2, 0));
    });
}

#[test]
fn nothing_is_tried_for_ever() {
    World::run(async |world| {
        let (plane, wire) = with_sink(world).await;
        let worker = plane.worker("w").await;
        wire.broken(true);
        deafen(world, &worker).await;
        world.pass(Duration::from_secs(2 * 3_600)).await;
        let sinks = plane.operator.sinks().await.unwrap();
        assert_eq!((sinks[0].delivered, sinks[0].given_up), (0, 2));
        assert_eq!(sinks[0].last_error.as_deref(), Some("no answer"));

        wire.broken(false);
        let tested = plane.operator.test_sink(sinks[0].id).await.unwrap();
        assert_eq!((tested, wire.kinds()), (Ok(()), vec!["sink.test".to_owned()]));
        plane.operator.remove_sink(sinks[0].id).await.unwrap();
        assert_eq!(code(plane.operator.remove_sink(sinks[0].id).await), "not_found");
        let refused = plane.operator.create_sink("x", "ftp://example.com").await;
        assert_eq!(code(refused.map(drop)), "invalid_url");
    });
}

#[test]
fn who_decides_needs_no_alert_about_it() {
    World::run(async |world| {
        let plane = start(world, &Memory::new()).await;
        let worker = plane.worker("w").await;
        plane.operator.decide(worker.worker(), Verdict::Quarantine, None).await.unwrap();
        plane.revoke(&worker).await;
        assert!(plane.operator.alerts(None, None, 10).await.unwrap().is_empty());
    });
}
