//! An organisation whose record cannot be understood is down, and everything says so but the others' work.

use fleetward_store::{CellAppend, CellId, Codec, Event};
use serde_json::json;

use crate::fixture::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn organisation_that_is_down_is_shown_on_sqlite() {
    story(Place::sqlite()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn organisation_that_is_down_is_shown_on_postgres() {
    story(Place::postgres().await).await;
}

/// Puts an event into the default organisation that no build knows.
async fn spoil(url: &str) {
    let store = fleetward_store::connect(url).await.unwrap();
    let head = store.open(CellId(1)).await.unwrap();
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
    store.append(vec![CellAppend { head, events: [event].into() }]).await.remove(0).unwrap();
}

async fn story(place: Place) {
    let mut server = Server::start(&place.url());
    let client = server.client();
    client.post("/api/v1/orgs", json!({"name": "other"})).await;
    let ok = run(&server.base, &["doctor"]);
    assert!(ok.status.success(), "{}", String::from_utf8_lossy(&ok.stdout));
    server.process.kill9();
    spoil(&place.url()).await;

    server.crash_and_restart();

    let halted = client.get("/api/v1/system/audit?type=cell.halted&after=0&wait=60").await;
    assert_eq!((&halted["total"], &halted["events"][0]["details"]["cell"]), (&json!(1), &json!(1)));
    let ready = client.get("/readyz").await;
    assert_eq!((&ready["ready"], &ready["checks"][3]["ok"]), (&json!(true), &json!(false)));
    let looked = run(&server.base, &["doctor"]);
    let looked_at = String::from_utf8(looked.stdout).unwrap();
    assert!(looked.status.code() == Some(1) && looked_at.contains("riddle/1"), "{looked_at}");
    let metrics = reqwest::get(format!("{}/metrics", server.base)).await.unwrap();
    let metrics = metrics.text().await.unwrap();
    assert!(metrics.contains("fleetward_halted{actor=\"cell\"} 1"), "{metrics}");
    let submit = |org: &str| client.submission(&json!(1)).header("X-Fleetward-Org", org.to_owned());
    assert_eq!(client.send(submit("default")).await.status, 503);
    assert_eq!(client.send(submit("other")).await.status, 201);
}
