//! The life of a worker and its task, route by route.

use serde_json::{Value, json};

use crate::server::{FLEET, with_server};

#[test]
fn worker_registers_is_approved_takes_a_task_and_reports() {
    with_server(async |server| {
        let admin = &server.admin;
        let key = admin.key(json!({"name": "site a", "models": ["gpt-4o"]})).await;
        let joining = json!({
            "name": "w1", "models": ["GPT-4o"], "pool": "default", "labels": {"zone": "eu"},
            "max_concurrent": 1, "enrollment_key": key,
        });
        let joined = server.anybody().post("/register", &joining).await;
        let worker = server.as_worker(&joined);
        let id = joined.json["worker_id"].as_str().unwrap();
        assert_eq!(joined.json["status"], "pending");
        assert_eq!(
            joined.json["capabilities"],
            json!({"models": ["GPT-4o"], "pool": "default", "labels": {"zone": "eu"},
                   "max_concurrent": 1})
        );
        assert_eq!(joined.json["heartbeat_seconds"], 10.0);

        let waits = worker.claim(0).await;
        assert_eq!(waits.problem(), (403, "worker_not_approved"));
        assert_eq!(waits.json["status"], "pending");
        let beat = worker.post("/heartbeat", &json!({})).await;
        assert_eq!((beat.status, &beat.json["ok"]), (200, &json!(true)));
        assert_eq!(beat.json["status"], "pending");

        let approved = admin.send("PATCH", &format!("{FLEET}/workers/{id}/approve"), None).await;
        assert_eq!(approved.json, json!({"status": "approved", "worker_id": id}));
        let parked = worker.park().await;
        let task = admin.submit(json!({"model": "gpt-4O", "payload": {"n": 1}})).await;
        let claimed = parked.await.unwrap().json;
        assert_eq!(claimed["run_id"], task);
        assert_eq!(claimed["worker_id"], id);
        assert_eq!(claimed["payload"], json!({"n": 1}));
        assert_eq!(claimed["project_id"], Value::Null);
        assert_eq!((&claimed["model"], &claimed["pool"]), (&json!("gpt-4o"), &json!("default")));
        assert_eq!(claimed["claimed_at"], "2027-01-15T08:00:00.000000Z");
        assert_eq!(admin.task(&task).await["status"], "claimed");

        let held = json!({"tasks": [
            {"run_id": task, "attempt": 1, "claim_token": claimed["claim_token"]},
            {"run_id": "no id at all", "attempt": 3, "claim_token": "x"},
        ]});
        let beat = worker.post("/heartbeat", &held).await;
        assert_eq!(beat.json["lost"], json!([{"run_id": "no id at all", "attempt": 3}]));
        for _ in 0..2 {
            let done = worker.complete(&claimed, json!({"words": 7})).await;
            assert_eq!((done.status, done.json), (200, json!({"status": "ok"})));
        }
        let view = admin.task(&task).await;
        assert_eq!((&view["status"], &view["attempt"]), (&json!("completed"), &json!(1)));
        assert_eq!((&view["output"], &view["error"]), (&json!({"words": 7}), &Value::Null));
        assert_eq!(view["worker_id"], id);
    });
}

#[test]
fn task_that_fails_keeps_its_error_text() {
    with_server(async |server| {
        let worker = server.worker("w").await;
        let task = server.submit(json!("x")).await;
        let claimed = worker.take().await;

        let body = json!({"error": "no such file", "attempt": 1,
                          "claim_token": claimed["claim_token"]});
        assert_eq!(worker.post(&format!("/tasks/{task}/fail"), &body).await.status, 200);

        let view = server.admin.task(&task).await;
        assert_eq!((&view["status"], &view["error"]), (&json!("failed"), &json!("no such file")));
        let other = worker.post(&format!("/tasks/{task}/complete"), &json!({"output": 1})).await;
        assert_eq!(other.problem(), (409, "already_reported"));
    });
}

#[test]
fn task_that_is_handed_back_goes_to_another_worker() {
    with_server(async |server| {
        let (first, second) = (server.worker("w1").await, server.worker("w2").await);
        let task = server.submit(json!("x")).await;
        let claimed = first.take().await;
        let parked = second.park().await;

        let back = json!({"attempt": 1, "claim_token": claimed["claim_token"]});
        let released = first.post(&format!("/tasks/{task}/release"), &back).await;

        assert_eq!((released.status, released.json), (200, json!({"status": "ok"})));
        assert_eq!(parked.await.unwrap().json["attempt"], 2);
        let late = first.complete(&claimed, json!(1)).await;
        assert_eq!(late.problem(), (409, "attempt_superseded"));
    });
}

#[test]
fn heartbeat_has_a_route_of_its_own_for_each_worker() {
    with_server(async |server| {
        let (worker, other) = (server.worker("w1").await, server.worker("w2").await);
        let route = |of: &str| format!("{FLEET}/workers/{of}/heartbeat");

        let own = worker.send("POST", &route(worker.header("x-worker-id")), None).await;
        let foreign = worker.send("POST", &route(other.header("x-worker-id")), None).await;

        assert_eq!((own.status, &own.json["ok"]), (200, &json!(true)));
        assert_eq!(foreign.problem(), (404, "not_found"));
    });
}

#[test]
fn caller_may_wait_for_the_end_of_a_task() {
    with_server(async |server| {
        let worker = server.worker("w1").await;
        let task = server.submit(json!("x")).await;
        let admin = server.admin.clone();
        let route = format!("/tasks/{task}?wait=60");
        let waiting = tokio::spawn(async move { admin.get(&route).await });

        let claimed = worker.take().await;
        worker.complete(&claimed, json!("y")).await;

        assert_eq!(waiting.await.unwrap().json["output"], "y");
    });
}

#[test]
fn same_idempotency_key_submits_once() {
    with_server(async |server| {
        let admin = server.admin.clone().with("idempotency-key", "order-7");
        let first = admin.post("/tasks", &json!({"payload": 1})).await;
        let again = admin.post("/tasks", &json!({"payload": 1})).await;
        let other = admin.post("/tasks", &json!({"payload": 2})).await;

        assert_eq!((first.status, again.status), (201, 201));
        assert_eq!(first.json, again.json);
        assert_eq!(again.headers["idempotency-replayed"], "true");
        assert!(!first.headers.contains_key("idempotency-replayed"));
        assert_eq!(other.problem(), (422, "idempotency_key_reused"));
    });
}
