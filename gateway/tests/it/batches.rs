//! Many tasks in one request: each has an answer of its own.

use serde_json::{Value, json};

use crate::server::with_server;

fn field<'a>(list: &'a Value, name: &str) -> Vec<&'a Value> {
    list.as_array().unwrap().iter().map(|item| &item[name]).collect()
}

#[test]
fn batch_is_submitted_claimed_and_reported_in_three_requests() {
    with_server(async |server| {
        let worker = server.worker_of(&server.admin, json!({"max_concurrent": 8})).await;
        let tasks = json!({"tasks": [
            {"payload": {"n": 1}, "idempotency_key": "k"},
            {"pool": "", "payload": 2},
            {"payload": {"n": 1}, "idempotency_key": "k"},
            {"payload": {"n": 3}},
        ]});

        let submitted = server.admin.post("/tasks/batch", &tasks).await;
        let claimed = worker.post("/claim", &json!({"poll_timeout": 0, "max_tasks": 5})).await;
        let mut reports: Vec<_> = claimed.json["tasks"].as_array().unwrap().iter().map(|task| {
            json!({"run_id": task["run_id"], "output": task["payload"], "attempt": task["attempt"],
                   "claim_token": task["claim_token"]})
        }).collect();
        reports.push(json!({"run_id": "no id", "output": 1}));
        let reported = worker.post("/reports", &json!({"reports": reports})).await;

        assert_eq!(submitted.status, 200, "{}", submitted.text);
        let results = &submitted.json["results"];
        assert_eq!(field(results, "status"), [&json!(201), &json!(400), &json!(201), &json!(201)]);
        assert_eq!(results[1]["problem"]["code"], "invalid_name");
        assert_eq!(results[0]["run_id"], results[2]["run_id"]);
        assert_eq!(field(&claimed.json["tasks"], "payload"), [&json!({"n": 1}), &json!({"n": 3})]);
        assert_eq!(
            field(&reported.json["results"], "status"),
            [&json!(200), &json!(200), &json!(404)]
        );
        let done = server.admin.task(results[3]["run_id"].as_str().unwrap()).await;
        assert_eq!((&done["status"], &done["output"]), (&json!("completed"), &json!({"n": 3})));
    });
}

#[test]
fn batch_that_makes_no_sense_is_refused_whole() {
    with_server(async |server| {
        let worker = server.worker("w").await;
        let many = |item: Value| vec![item; 1_001];

        let tasks = server.admin.post("/tasks/batch", &json!({"tasks": many(json!({}))})).await;
        let reports =
            json!({"reports": many(json!({"run_id": "0190c0de-0000-7000-8000-000000000000"}))});
        let reports = worker.post("/reports", &reports).await;
        let none = worker.post("/claim", &json!({"poll_timeout": 0, "max_tasks": 0})).await;
        let no_list = server.admin.post("/tasks/batch", &json!({})).await;

        assert_eq!(tasks.problem(), (400, "too_many"));
        assert_eq!(reports.problem(), (400, "too_many"));
        assert_eq!(none.problem(), (400, "invalid_max_tasks"));
        assert_eq!(no_list.problem(), (422, "invalid_body"));
    });
}
