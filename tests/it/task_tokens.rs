//! Workers with key pairs and tokens that live for seconds, through kill -9 of server and worker, on both stores.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::fixture::*;

const TERMS: [&str; 8] = [
    "--lease-seconds",
    "6",
    "--start-lease-seconds",
    "3",
    "--heartbeat-seconds",
    "1",
    "--task-token-seconds",
    "3",
];
/// A task outlives the token that its worker had when it began.
const EXEC: &str = "sleep 4; cat";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_with_short_tokens_go_on_through_crashes_on_sqlite() {
    story(Place::sqlite()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_with_short_tokens_go_on_through_crashes_on_postgres() {
    story(Place::postgres().await).await;
}

async fn story(place: Place) {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::start_with(&place.url(), &TERMS);
    let client = server.client();
    let base = server.base.clone();
    let off = run(&base, &["org", "set", "--legacy-headers", "off", "--output", "json"]);
    assert_eq!(said(&off)["legacy_headers"], false);
    let key = client.key(1).await;
    let start = |key: &str| {
        let (server, folder) = (base.as_str(), folder.path());
        WorkerProcess { server, key, folder, name: "w1", seats: 1, exec: EXEC }.start()
    };
    let (mut worker, log) = start(&key);
    log.until("registered");

    let first = client.submit("first", &json!(1)).await;
    let added = run(&base, &["signing-key", "add", "--promote", "--output", "json"]);
    assert_eq!(said(&added)["state"], "active");
    let keys = said(&run(&base, &["signing-key", "list", "--output", "json"]));
    let before = keys["keys"][0]["id"].as_str().unwrap().to_owned();
    let early = run(&base, &["signing-key", "retire", &before]);
    assert_eq!(early.status.code(), Some(2), "tokens of it are in use");
    assert_eq!(client.result(&first).await["status"], "completed");
    server.crash_and_restart();
    let second = client.submit("second", &json!(2)).await;
    // The worker shows a token of the key that ends now, and asks for another.
    let retired = run(&base, &["signing-key", "retire", &before, "--force", "--output", "json"]);
    assert_eq!(said(&retired)["state"], "retired");
    assert_eq!(client.result(&second).await["status"], "completed");
    worker.kill9();
    let (mut worker, log) = start("");
    log.until("registered");
    let third = client.submit("third", &json!(3)).await;
    assert_eq!(client.result(&third).await["status"], "completed");

    let id = only_worker(&base);
    let shown = said(&run(&base, &["worker", "show", &id, "--output", "json"]));
    assert!(
        shown["fingerprint"].as_str().is_some_and(|text| text.starts_with("sha256:")),
        "{shown}"
    );
    assert!(run(&base, &["worker", "revoke", &id]).status.success());
    assert_eq!(worker.wait(), Some(2), "a revoked worker ends with the documented code");
    let identity = folder.path().join("w1.json");
    let private = forget_registration(&identity);
    let (mut again, _log) = start(&client.key(1).await);
    assert_eq!(again.wait(), Some(2), "its key pair does not come back with another key");
    server.process.kill9();
    check_journal(&place.url(), &private).await;
}

fn only_worker(base: &str) -> String {
    let listed = said(&run(base, &["worker", "list", "--output", "json"]));
    assert_eq!(listed["total"], 1, "{listed}");
    listed["workers"][0]["id"].as_str().unwrap().to_owned()
}

/// Leaves the key pair and nothing else in the identity; answers its private half.
fn forget_registration(identity: &Path) -> String {
    let kept: Value = serde_json::from_slice(&fs::read(identity).unwrap()).unwrap();
    let begun = json!({"server": kept["server"], "private_key": kept["private_key"]});
    // In place: the file keeps its permissions.
    fs::write(identity, begun.to_string()).unwrap();
    kept["private_key"].as_str().unwrap().to_owned()
}

/// Tokens came and went, nobody was locked, and the journal knows no secret of it.
async fn check_journal(url: &str, private: &str) {
    let events = events(url).await;
    verify(&events);
    let count = |kind: &str| events.iter().filter(|stored| stored.event.kind == kind).count();
    assert!(count("worker.token_issued") >= 4, "{}", count("worker.token_issued"));
    assert_eq!((count("worker.registered"), count("worker.locked")), (1, 0));
    for stored in &events {
        let body = String::from_utf8_lossy(&stored.event.body);
        // The beginning of every token's text.
        assert!(!body.contains(private) && !body.contains("eyJ0eXAi"), "{body}");
    }
}
