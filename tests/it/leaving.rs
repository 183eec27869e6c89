//! Who stops on purpose is missed by nobody; who is killed is.

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::fixture::*;

const TERMS: [&str; 4] = ["--anomaly-seconds", "1", "--heartbeat-seconds", "2"];
/// Long enough for a heartbeat in the middle.
const EXEC: &str = "sleep 3; cat";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn worker_that_stops_on_purpose_is_not_missed_on_sqlite() {
    story(Place::sqlite()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn worker_that_stops_on_purpose_is_not_missed_on_postgres() {
    story(Place::postgres().await).await;
}

async fn story(place: Place) {
    let server = Server::start_with(&place.url(), &TERMS);
    let (client, folder) = (server.client(), tempfile::tempdir().unwrap());
    let key = client.key(2).await;
    let start = |name| {
        let (server, folder, key) = (server.base.as_str(), folder.path(), key.as_str());
        WorkerProcess { server, key, folder, name, seats: 1, exec: EXEC }.start()
    };
    let shown = async |name: &str| -> Value {
        let listed = client.get("/api/v1/fleet/workers").await;
        let workers = listed["workers"].as_array().unwrap().iter();
        workers.clone().find(|worker| worker["name"] == name).unwrap().clone()
    };
    let (mut polite, _log) = start("polite");
    let task = client.submit("one", &json!(1)).await;
    client.result(&task).await;

    polite.signal(Signal::SIGTERM);
    assert_eq!(polite.wait(), Some(0));
    assert!(shown("polite").await["left_at"].is_string());
    let (mut killed, _log) = start("killed");
    let task = client.submit("two", &json!(2)).await;
    client.result(&task).await;
    killed.kill9();

    let suspected = "/api/v1/fleet/audit?type=worker.suspected&after=0&wait=60";
    let found = client.get(suspected).await["events"].clone();
    assert_eq!(found.as_array().unwrap().len(), 1, "{found}");
    assert_eq!(found[0]["worker_id"], shown("killed").await["id"]);
    assert_eq!(found[0]["details"]["suspicion"], "missed_heartbeats");
    let (_polite, _log) = start("polite");
    let task = client.submit("three", &json!(3)).await;
    assert_eq!(client.result(&task).await["status"], "completed");
    let polite = shown("polite").await;
    assert_eq!((&polite["left_at"], &polite["suspicions"]), (&Value::Null, &Value::Null));
}
