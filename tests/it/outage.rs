//! kill -9 of PostgreSQL itself.

use std::time::{Duration, Instant};

use fleetward_store::testing::Postgres;
use serde_json::json;

use crate::fixture::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn server_outlives_its_database() {
    // A server of its own: the others must not lose theirs.
    let postgres = Postgres::start_own();
    let url = postgres.fresh_database().await;
    let server = Server::start(&url);
    let client = server.client();
    let before = client.submit_surely("before", &json!(1)).await;

    postgres.kill9();
    let submit = || client.request("POST", "/api/v1/fleet/tasks").json(&json!({"payload": 2}));
    for _ in 0..3 {
        let (status, body, retry) = client.send(submit()).await.unwrap();
        assert_eq!(status, 503, "{body}");
        assert!(retry.is_some(), "503 says when to try again");
        let code = body["code"].as_str().unwrap();
        assert!(["outcome_unknown", "unavailable"].contains(&code), "{body}");
    }
    let (status, ..) = client.send(client.request("GET", "/readyz")).await.unwrap();
    assert_eq!(status, 503);
    let (status, ..) = client.send(client.request("GET", "/healthz")).await.unwrap();
    assert_eq!(status, 200);

    postgres.start_again();
    let back = Instant::now();
    let after = client.submit_surely("after", &json!(3)).await;
    assert!(back.elapsed() < Duration::from_secs(15), "well within 15 s of its return");
    for task in [before, after] {
        client.get(&format!("/api/v1/fleet/tasks/{task}")).await;
    }
    let actors = client.get("/api/v1/system/actors").await;
    for actor in actors["actors"].as_array().unwrap() {
        assert_eq!(actor["restarts"], 0, "an outage spends no restart budget: {actor}");
    }
}
