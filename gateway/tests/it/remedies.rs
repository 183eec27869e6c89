//! What is done with tasks that are there, and what the record says of it.

use std::time::Duration;

use serde_json::{Value, json};

use crate::server::{Client, with_server};

/// Why a task stands where it stands, in words.
pub(crate) async fn why(admin: &Client, task: &str) -> String {
    let why = admin.get(&format!("/tasks/{task}/why")).await;
    assert_eq!(why.status, 200, "{}", why.text);
    let reasons: Vec<_> =
        why.json["reasons"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    reasons.join("; ")
}

/// Reports an attempt as failed; answers the status.
pub(crate) async fn fail(worker: &Client, claimed: &Value, error: &str) -> u16 {
    let body = json!({
        "run_id": claimed["run_id"], "status": "failed", "error": error,
        "attempt": claimed["attempt"], "claim_token": claimed["claim_token"],
    });
    worker.post("/report", &body).await.status
}

#[test]
fn cancelled_task_reaches_the_worker_that_has_it() {
    with_server(async |server| {
        let (admin, worker) = (&server.admin, server.worker("w").await);
        let running = server.submit(json!(1)).await;
        let claimed = worker.take().await;
        let waiting = server.submit(json!(2)).await;

        for task in [&waiting, &running, &running] {
            let cancelled =
                admin.post(&format!("/tasks/{task}/cancel"), &json!({"reason": "old"})).await;
            assert_eq!((cancelled.status, &cancelled.json["status"]), (200, &json!("cancelled")));
        }

        let held = json!({"tasks": [{"run_id": running, "attempt": 1, "claim_token": claimed["claim_token"]}]});
        let beat = worker.post("/heartbeat", &held).await;
        let lost = json!([{"run_id": running, "attempt": 1}]);
        assert_eq!((&beat.json["lost"], &beat.json["over"]), (&lost, &lost), "nobody else has it");
        assert_eq!(worker.complete(&claimed, json!(1)).await.problem(), (409, "task_cancelled"));
        assert_eq!(worker.claim(0).await.status, 204);
        let done = admin.post(&format!("/tasks/{running}/retry"), &json!({})).await;
        assert_eq!(done.problem(), (409, "not_dead"));
        let listed = admin.get("/tasks?status=cancelled").await;
        assert_eq!(listed.json["tasks"].as_array().unwrap().len(), 2);
    });
}

#[test]
fn dead_letters_are_grouped_and_retried_or_discarded_by_what_they_have_in_common() {
    with_server(async |server| {
        let (admin, worker) = (&server.admin, server.worker("w").await);
        let mut tasks = Vec::new();
        for error in ["disk 1 is full", "disk 2 is full", "no such file"] {
            tasks.push(server.submit(json!(error)).await);
            let claimed = worker.take().await;
            fail(&worker, &claimed, error).await;
        }

        let groups = admin.get("/dead-letters/groups").await.json;
        assert_eq!(groups["groups"][0]["count"], 2);
        assert_eq!(groups["groups"][0]["sample_error"], "disk 2 is full");
        assert_eq!(groups["groups"][1]["count"], 1);
        let full = groups["groups"][0]["group"].as_str().unwrap();
        let listed = admin.get(&format!("/dead-letters?group={full}")).await.json;
        assert_eq!(listed["tasks"].as_array().unwrap().len(), 2);

        let retry = |body: Value| async move { admin.post("/dead-letters/retry", &body).await };
        assert_eq!(retry(json!({})).await.problem(), (400, "missing_filter"));
        let preview = retry(json!({"group": full, "preview": true})).await.json;
        assert_eq!((&preview["matched"], &preview["changed"]), (&json!(2), &json!(0)));
        let outcome = retry(json!({"group": full})).await.json;
        assert_eq!((&outcome["matched"], &outcome["changed"]), (&json!(2), &json!(2)));
        for _ in 0..2 {
            let again = worker.take().await;
            assert_eq!(again["attempt"], 2);
            assert!(tasks[..2].iter().any(|task| again["run_id"] == **task));
            assert_eq!(worker.complete(&again, json!("done")).await.status, 200);
        }
        let discarded =
            admin.post("/dead-letters/discard", &json!({"all": true, "note": "known"})).await;
        assert_eq!(discarded.json["changed"], 1);

        assert_eq!(admin.get("/dead-letters").await.json["tasks"], json!([]));
        assert_eq!(admin.task(&tasks[2]).await["status"], "discarded");
        assert_eq!(admin.task(&tasks[0]).await["output"], "done");
    });
}

#[test]
fn late_report_is_refused_and_stays_on_the_record() {
    with_server(async |server| {
        let (slow, quick) = (server.worker("slow").await, server.worker("quick").await);
        let task = server.submit(json!(1)).await;
        let stale = slow.take().await;
        let back = json!({"attempt": 1, "claim_token": stale["claim_token"]});
        assert_eq!(slow.post(&format!("/tasks/{task}/release"), &back).await.status, 200);
        let claimed = quick.take().await;
        assert_eq!(claimed["attempt"], 2);
        quick.complete(&claimed, json!("in time")).await;

        for _ in 0..2 {
            assert_eq!(
                slow.complete(&stale, json!("late")).await.problem(),
                (409, "attempt_superseded")
            );
        }

        let history = server.admin.get(&format!("/tasks/{task}/history")).await.json;
        let kinds: Vec<_> = history["events"]
            .as_array()
            .unwrap()
            .iter()
            .map(|event| event["type"].as_str().unwrap())
            .collect();
        assert_eq!(
            kinds,
            [
                "task.submitted",
                "task.claimed",
                "task.returned",
                "task.claimed",
                "task.completed",
                "task.report_refused"
            ]
        );
        assert_eq!(history["events"][5]["details"]["attempt"], 1);
        assert_eq!(server.admin.task(&task).await["output"], "in time");
    });
}

#[test]
fn progress_is_shown_and_belongs_to_whoever_has_the_task() {
    with_server(async |server| {
        let (worker, other) = (server.worker("w1").await, server.worker("w2").await);
        let task = server.submit(json!(1)).await;
        let claimed = worker.take().await;
        let route = format!("/tasks/{task}/progress");
        let said = |percent: u8| {
            json!({"percent": percent, "data": {"line": percent}, "attempt": 1,
                   "claim_token": claimed["claim_token"]})
        };

        assert_eq!(worker.post(&route, &said(40)).await.status, 200);
        assert_eq!(worker.post(&route, &said(41)).await.problem(), (429, "progress_too_often"));
        server.clock.advance(Duration::from_secs(1));
        assert_eq!(worker.post(&route, &said(60)).await.status, 200);
        assert_eq!(worker.post(&route, &said(101)).await.problem(), (400, "invalid_percent"));
        assert_eq!(other.post(&route, &json!({"percent": 1})).await.problem(), (403, "not_owner"));

        let shown = server.admin.task(&task).await["progress"].clone();
        assert_eq!((&shown["percent"], &shown["data"]), (&json!(60), &json!({"line": 60})));
        assert!(why(&server.admin, &task).await.contains("(60 %)"));
        worker.complete(&claimed, json!(1)).await;
        assert_eq!(worker.post(&route, &said(80)).await.status, 409);
    });
}
