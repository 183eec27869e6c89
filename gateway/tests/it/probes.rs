//! What workers see of their models' endpoints decides what they are given, and is shown.

use serde_json::{Value, json};

use crate::server::{Client, with_server};

/// A heartbeat that says what the worker's endpoints offer; one that is away offers nothing.
async fn says(worker: &Client, round: u64, endpoints: &[Option<&[&str]>]) {
    let endpoint = |(at, models): (usize, &Option<&[&str]>)| {
        json!({
            "kind": "openai", "endpoint": format!("http://h{at}"), "available": models.is_some(),
            "latency_ms": 12, "models": models.unwrap_or_default(),
            "error": models.is_none().then_some("cannot connect"),
        })
    };
    let endpoints: Vec<Value> = endpoints.iter().enumerate().map(endpoint).collect();
    let body = json!({"probes": {"round": round, "age_seconds": 1, "endpoints": endpoints}});
    let said = worker.post("/heartbeat", &body).await;
    assert_eq!(said.status, 200, "{}", said.text);
}

#[test]
fn model_that_is_gone_is_not_asked_of_the_worker_until_it_is_seen_again() {
    with_server(async |server| {
        let body = json!({"name": "w", "models": ["gpt-4o", "llama3"]});
        let worker = server.worker_of(&server.admin, body).await;
        let id = worker.header("x-worker-id").to_owned();
        // Names of endpoints are names of models like any others.
        says(&worker, 1, &[Some(&["openai/gpt-4o-2024-08-06", "LLaMA3:latest"])]).await;
        let first = server.admin.submit(json!({"payload": 1, "model": "llama3"})).await;
        let claimed = worker.take().await;
        assert_eq!(claimed["run_id"], json!(first));
        worker.complete(&claimed, json!(1)).await;

        let parked = worker.park().await;
        says(&worker, 2, &[Some(&["gpt-4o"]), None]).await;
        let waits = server.admin.submit(json!({"payload": 2, "model": "llama3"})).await;
        let other = server.admin.submit(json!({"payload": 3, "model": "gpt-4o"})).await;

        assert_eq!(parked.await.unwrap().json["run_id"], json!(other));
        let why = server.admin.get(&format!("/tasks/{waits}/why")).await.text;
        assert!(
            why.contains(
                "1 worker declares model \\\"llama3\\\", but its endpoints do not offer it now"
            ),
            "{why}"
        );
        let shown = server.admin.get(&format!("/workers/{id}")).await.json;
        assert_eq!(shown["probe_status"], "degraded");
        assert_eq!(shown["models_gone"], json!(["llama3"]));
        assert_eq!(shown["probes"][0]["latency_ms"], 12);
        assert_eq!(shown["probes"][1]["error"], "cannot connect");
        let listed = server.admin.get("/workers").await.json;
        assert_eq!(listed["workers"][0]["probe_status"], "degraded");
        assert!(listed["workers"][0]["last_probe_at"].is_string());

        says(&worker, 3, &[Some(&["gpt-4o"]), Some(&["llama3"])]).await;
        let tail =
            server.worker_of(&server.admin, json!({"name": "w2", "models": ["llama3"]})).await;
        says(&tail, 1, &[None]).await;
        assert_eq!(tail.claim(0).await.status, 204, "its own endpoint is away");
        says(&tail, 2, &[Some(&["llama3"])]).await;
        assert_eq!(tail.take().await["run_id"], json!(waits), "seen again");
        let metrics = server.anybody().send("GET", "/metrics", None).await.text;
        assert!(metrics.contains("fleetward_probe_seconds"), "{metrics}");
    });
}

#[test]
fn worker_that_says_nothing_of_its_models_has_all_of_them() {
    with_server(async |server| {
        let worker = server.worker_of(&server.admin, json!({"name": "w", "models": ["m"]})).await;
        says(&worker, 1, &[None]).await;
        let task = server.admin.submit(json!({"payload": 1, "model": "m"})).await;
        assert_eq!(worker.claim(0).await.status, 204);

        // The next start of the process has no probes.
        worker.post("/heartbeat", &json!({})).await;

        assert_eq!(worker.take().await["run_id"], json!(task));
        let id = worker.header("x-worker-id");
        let shown = server.admin.get(&format!("/workers/{id}")).await.json;
        assert_eq!(shown["probe_status"], Value::Null);
    });
}

#[test]
fn what_an_endpoint_may_be_said_to_offer_is_bounded() {
    with_server(async |server| {
        let worker = server.worker("w").await;
        let endpoint = |models: Vec<String>| json!({"kind": "ollama", "endpoint": "http://h", "available": true, "latency_ms": 1, "models": models});
        let many: Vec<_> = (0..600).map(|n| format!("m{n}")).collect();
        for (endpoints, code) in [
            (vec![endpoint(many)], "too_many"),
            (vec![endpoint(vec!["x".repeat(200)])], "too_long"),
            (vec![endpoint(Vec::new()); 40], "too_many"),
        ] {
            let body = json!({"probes": {"round": 1, "age_seconds": 0, "endpoints": endpoints}});
            let refused = worker.post("/heartbeat", &body).await;
            assert_eq!((refused.status / 100, refused.code()), (4, code), "{}", refused.text);
        }
    });
}
