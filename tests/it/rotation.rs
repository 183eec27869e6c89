//! The keys of an organisation are rotated while tasks run, with kill -9 of the server in the middle.

use serde_json::{Value, json};

use crate::fixture::*;

/// Enough that sealing them again takes many pages.
const WAITING: usize = 3_000;
const KEYS: &str = "/api/v1/fleet/payload-keys";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_rotated_under_load_and_kill_9_on_sqlite() {
    story(Place::sqlite()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_rotated_under_load_and_kill_9_on_postgres() {
    story(Place::postgres().await).await;
}

async fn story(place: Place) {
    let mut server = Server::start(&place.url());
    let client = server.client();
    let folder = tempfile::tempdir().unwrap();
    let (key, exec) = (client.key(1).await, "cat");
    let worker = WorkerProcess {
        server: &server.base,
        key: &key,
        folder: folder.path(),
        name: "w",
        seats: 4,
        exec,
    };
    let (_worker, _log) = worker.start();
    let waiting = submit(&client, "nobody-yet", WAITING).await;
    let before = submit(&client, "default", 40).await;
    assert_eq!(client.result(&before[0]).await["status"], "completed");

    let key = |args: &[&str]| run(&server.base, &[&["org", "key"], args].concat());
    assert!(key(&["add"]).status.success());
    assert!(key(&["promote", "2"]).status.success());
    let primary = key(&["retire", "2"]);
    let in_use = key(&["retire", "1"]);
    for (refused, code) in [(primary, "key_is_primary"), (in_use, "key_in_use")] {
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!((refused.status.code(), said.contains(code)), (Some(2), true), "{said}");
    }
    let during = submit(&client, "default", 40).await;
    let started = client.post(&format!("{KEYS}/reencrypt"), json!({})).await;
    assert_eq!((&started["number"], &started["state"]), (&json!(2), &json!("primary")));
    server.crash_and_restart();
    let key = |args: &[&str]| run(&server.base, &[&["org", "key"], args].concat());
    assert!(key(&["reencrypt", "--wait"]).status.success(), "it goes on by itself");
    let retired = key(&["retire", "1"]);
    assert!(retired.status.success(), "{}", String::from_utf8_lossy(&retired.stderr));

    let states: Vec<Value> = client.get(KEYS).await["keys"].as_array().unwrap().clone();
    assert_eq!((&states[0]["state"], &states[1]["state"]), (&json!("retired"), &json!("primary")));
    assert_eq!(states[1]["reencryption"]["broken"], 0);
    assert!(states[1]["reencryption"]["resealed"].as_u64().unwrap() >= WAITING as u64);
    for task in before.iter().chain(&during) {
        let result = client.result(task).await;
        assert!(result["output"].as_str().unwrap().contains(task_mark(&result)), "{result}");
    }
    // What has waited since before the rotation goes to a worker whose connection is the first in its pool.
    let payload = first_payload(&client, &server.base).await;
    assert!(payload["mark"].as_str().unwrap().starts_with("nobody-yet"), "{payload}");

    server.process.kill9();
    let events = events(&place.url()).await;
    verify(&events);
    let numbers = events.iter().filter_map(|event| event.event.sealed.as_ref());
    assert!(numbers.clone().count() > waiting.len());
    for sealed in numbers {
        assert_eq!(sealed[..5], [1, 0, 0, 0, 2], "everything is sealed with the second key");
    }
}

/// Submits tasks whose payload says which they are.
async fn submit(client: &Client, pool: &str, tasks: usize) -> Vec<String> {
    let task = |n: usize| json!({"pool": pool, "payload": {"mark": format!("{pool}-{n}")}});
    let mut ids = Vec::new();
    for first in (0..tasks).step_by(1_000) {
        let batch: Vec<Value> = (first..tasks.min(first + 1_000)).map(task).collect();
        let answer = client.post("/api/v1/fleet/tasks/batch", json!({"tasks": batch})).await;
        let results = answer["results"].as_array().unwrap().clone();
        ids.extend(results.iter().map(|one| one["run_id"].as_str().unwrap().to_owned()));
    }
    ids
}

fn task_mark(task: &Value) -> &str {
    task["pool"].as_str().unwrap()
}

/// Joins the pool where nobody stood, and claims once.
async fn first_payload(client: &Client, server: &str) -> Value {
    let key = client.key(1).await;
    let register = json!({"name": "late", "pool": "nobody-yet", "enrollment_key": key});
    let joined = client.post("/api/v1/fleet/register", register).await;
    let claimed = reqwest::Client::new()
        .post(format!("{server}/api/v1/fleet/claim"))
        .header("X-Worker-Id", joined["worker_id"].as_str().unwrap())
        .header("X-Worker-Secret", joined["worker_secret"].as_str().unwrap())
        .json(&json!({"poll_timeout": 30}))
        .send()
        .await
        .unwrap();
    claimed.json::<Value>().await.unwrap()["payload"].clone()
}
