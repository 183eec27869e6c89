//! The existing Python worker joins unchanged.

use std::process::{Command, Stdio};

use serde_json::json;

use crate::fixture::*;

/// Set by `scripts/test`, which installs it.
const WORKER: &str = "FLEETWARD_PYTHON_WORKER";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn python_worker_runs_a_task_on_sqlite() {
    story(Place::sqlite()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn python_worker_runs_a_task_on_postgres() {
    story(Place::postgres().await).await;
}

async fn story(place: Place) {
    let program = std::env::var(WORKER)
        .unwrap_or_else(|_| panic!("{WORKER} is not set: run the tests with scripts/test"));
    let home = tempfile::tempdir().unwrap();
    let server = Server::start_with(&place.url(), &[]);
    let client = server.client();
    let key = client.key(1).await;
    let body = json!({"model": "gpt-4o", "payload": {"say": "hello"}});
    let submitted = client.post("/api/v1/fleet/tasks", body).await;
    let task = submitted["run_id"].as_str().unwrap().to_owned();

    let output = Command::new(program)
        .args(["fleet", "run", "--gateway-url", &server.base, "--name", "w1"])
        .args(["--models", "gpt-4o", "--pool", "default", "--enrollment-key", &key])
        .args(["--once", "--exec", "cat"])
        .env("HOME", home.path())
        .current_dir(home.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();

    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stdout));
    let result = client.get(&format!("/api/v1/fleet/tasks/{task}")).await;
    assert_eq!(result["status"], "completed", "{result}");
    assert!(result["output"].as_str().unwrap().contains("hello"), "{result}");
    let workers = client.get("/api/v1/fleet/workers").await;
    assert_eq!(workers["workers"][0]["name"], "w1", "{workers}");
}
