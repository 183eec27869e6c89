//! Runs of workflows over HTTP.

use serde_json::{Value, json};

use crate::server::{Client, with_server};

const RUNS: &str = "/api/v1/runs";

async fn apply(admin: &Client, document: &str) {
    let applied = json!({ "document": document });
    let applied = admin.send("POST", "/api/v1/workflows", Some(&applied)).await;
    assert_eq!(applied.status, 200, "{}", applied.text);
}

/// What the record has of a kind, newest first.
async fn recorded(admin: &Client, kind: &str) -> Vec<Value> {
    let found = admin.get(&format!("/audit?type={kind}&limit=200")).await;
    found.json["events"].as_array().unwrap_or_else(|| panic!("{}", found.text)).clone()
}

#[test]
fn start_may_wait_for_the_end_and_the_record_says_so_once() {
    with_server(async |server| {
        let admin = &server.admin;
        apply(admin, "name: w\nsteps: [{step: double}]").await;
        let worker = json!({"name": "w", "handlers": ["double"]});
        let worker = server.worker_of(admin, worker).await;
        let start = json!({"workflow": "w", "run_id": "r1", "input": 4});
        let waits = format!("{RUNS}?wait=30");
        let waiting = admin.send("POST", &waits, Some(&start));
        let work = async {
            let claimed = worker.take().await;
            assert_eq!(worker.complete(&claimed, json!(8)).await.status, 200);
        };
        let (answer, ()) = tokio::join!(waiting, work);

        assert_eq!(answer.status, 201, "{}", answer.text);
        let run = &answer.json["run"];
        assert_eq!((&run["status"], &run["output"]), (&json!("completed"), &json!(8)));
        let started = recorded(admin, "run.started").await;
        assert_eq!(started[0]["details"]["awaited"], true, "{started:?}");
        assert_eq!(recorded(admin, "payload.read").await.len(), 0);

        // Another request that is told it stands on the record for itself.
        let again = admin.send("POST", &waits, Some(&start)).await;
        assert_eq!((again.status, &again.json["repeated"]), (200, &json!(true)));
        assert_eq!(again.json["run"]["output"], 8);
        assert_eq!(recorded(admin, "payload.read").await.len(), 1);

        let wrong = admin.send("POST", &format!("{RUNS}?wait=-1"), Some(&start)).await;
        assert_eq!(wrong.problem(), (400, "invalid_wait"));
        let unawaited = json!({"workflow": "w", "input": 5});
        let unawaited = admin.send("POST", RUNS, Some(&unawaited)).await;
        assert_eq!((unawaited.status, &unawaited.json["run"]), (201, &Value::Null));
    });
}
