//! An organisation whose record cannot be understood is down, and everything says so but the others' work; its webhook too.

use fleetward_store::{CellAppend, CellId, Codec, Event};
use serde_json::json;

use crate::alerts::{next, receiver};
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
    let (url, mut received) = receiver().await;
    let mut server = Server::start_with(&place.url(), &["--allow-private-webhooks"]);
    let client = server.client();
    client.post("/api/v1/orgs", json!({"name": "other"})).await;
    let sink = ["sink", "create", "--name", "pager", &url, "--output", "json"];
    let secret = said(&run(&server.base, &sink))["secret"].as_str().unwrap().to_owned();
    let ok = run(&server.base, &["doctor"]);
    assert!(ok.status.success(), "{}", String::from_utf8_lossy(&ok.stdout));
    server.process.kill9();
    spoil(&place.url()).await;

    server.crash_and_restart();

    let told = next(&mut received).await;
    let alert = told.checked(&secret)["data"].clone();
    assert_eq!((&alert["kind"], &alert["severity"]), (&json!("cell.halted"), &json!("critical")));
    assert_eq!(
        (&alert["organisation"], &alert["subject_kind"]),
        (&json!("default"), &json!("organisation"))
    );
    assert!(alert["why"].as_str().unwrap().contains("riddle/1"), "{alert}");
    told.answer.send(500).unwrap();
    let again = next(&mut received).await;
    assert_eq!(
        again.header("webhook-id"),
        alert["id"].as_str().unwrap(),
        "the same message, for receivers to see"
    );
    let first = again.header("webhook-id").to_owned();
    again.answer.send(204).unwrap();
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

    server.crash_and_restart();
    let next_life = next(&mut received).await;
    let alert = next_life.checked(&secret)["data"].clone();
    assert_eq!(alert["kind"], "cell.halted");
    assert_ne!(next_life.header("webhook-id"), first, "it is another life");
    next_life.answer.send(204).unwrap();
}
