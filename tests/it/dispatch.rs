//! Priorities, retries, pauses and dead letters with real workers, on both stores, through kill -9 of the server.

use serde_json::{Value, json};

use crate::fixture::*;

/// Fails the first attempt of everything, and every attempt of what is doomed.
const EXEC: &str = r#"task=$(cat); case "$task" in *'"attempt":1,'*|*doomed*) echo "boom 17" >&2; exit 3;; esac; echo '"ok"'"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_to_run_next_survives_the_server_on_sqlite() {
    story(Place::sqlite()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_to_run_next_survives_the_server_on_postgres() {
    story(Place::postgres().await).await;
}

async fn story(place: Place) {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::start(&place.url());
    let client = server.client();
    assert!(run(&server.base, &["pause"]).status.success());
    let retry = json!({"max_attempts": 3, "initial_seconds": 0, "max_seconds": 0});
    let submit = async |payload: &str, priority: u8| {
        let body = json!({"payload": payload, "priority": priority, "retry": retry});
        let made = client.post("/api/v1/fleet/tasks", body).await;
        made["run_id"].as_str().unwrap().to_owned()
    };
    let (patient, urgent) = (submit("patient", 1).await, submit("urgent", 9).await);
    let doomed = submit("doomed", 9).await;
    let tomorrow = chrono::Utc::now() + chrono::TimeDelta::days(1);
    let later = said(&run(
        &server.base,
        &[
            "task",
            "submit",
            "--payload",
            "1",
            "--not-before",
            &tomorrow.to_rfc3339(),
            "--output",
            "json",
        ],
    ));

    let caps = folder.path().join("caps.json");
    std::fs::write(&caps, r#"{"caps": [{"pool": "default", "max": 7}]}"#).unwrap();
    assert!(run(&server.base, &["policy", "set", caps.to_str().unwrap()]).status.success());
    server.crash_and_restart();
    let why = run(&server.base, &["task", "why", &urgent]);
    assert!(String::from_utf8_lossy(&why.stdout).contains("the organisation is paused"), "{why:?}");
    let held = r#"fleetward_tasks_held{cell="1",by="pause"} 3"#;
    let metrics = reqwest::get(format!("{}/metrics", server.base)).await.unwrap();
    let metrics = metrics.text().await.unwrap();
    assert!(metrics.contains(held), "{metrics}");
    for shown in
        [r#"max{cell="1",cap="pool:default"} 7"#, r#"running{cell="1",cap="pool:default"} 0"#]
    {
        assert!(metrics.contains(&format!("fleetward_cap_{shown}")), "{metrics}");
    }
    let doctor = run(&server.base, &["doctor", "--server", &server.base]);
    assert!(String::from_utf8_lossy(&doctor.stdout).contains("note  the organisation is paused"));
    let key = client.key(1).await;
    let base = server.base.clone();
    let worker = WorkerProcess {
        server: &base,
        key: &key,
        folder: folder.path(),
        name: "w1",
        seats: 1,
        exec: EXEC,
    };
    let (_worker, log) = worker.start();
    log.until("registered");
    assert!(run(&server.base, &["resume"]).status.success());

    for task in [&urgent, &patient] {
        let result = client.result(task).await;
        assert_eq!((&result["status"], &result["attempt"]), (&json!("completed"), &json!(2)));
    }
    let failed = client.result(&doomed).await;
    assert_eq!(
        (&failed["status"], &failed["attempt"], &failed["failures"]),
        (&json!("failed"), &json!(3), &json!(2))
    );
    assert!(claimed_at(&client, &urgent).await < claimed_at(&client, &patient).await);

    server.crash_and_restart();
    let groups = said(&run(&server.base, &["dead-letter", "groups", "--output", "json"]));
    assert_eq!((&groups["groups"][0]["count"], &groups["groups"][1]), (&json!(1), &Value::Null));
    let preview = said(&run(
        &server.base,
        &["dead-letter", "retry", "--all", "--preview", "--output", "json"],
    ));
    assert_eq!((&preview["matched"], &preview["changed"]), (&json!(1), &json!(0)));
    let retried = said(&run(&server.base, &["dead-letter", "retry", "--all", "--output", "json"]));
    assert_eq!(retried["changed"], 1);
    let failed = client.result(&doomed).await;
    assert_eq!((&failed["status"], &failed["attempt"]), (&json!("failed"), &json!(6)));
    let gone = said(&run(
        &server.base,
        &["dead-letter", "discard", &doomed, "--note", "known", "--output", "json"],
    ));
    assert_eq!(gone["changed"], 1);
    let later = later["run_id"].as_str().unwrap();
    assert!(run(&server.base, &["task", "cancel", later]).status.success());

    let listed = said(&run(&server.base, &["task", "list", "--output", "json"]));
    let mut words: Vec<_> = listed["tasks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|task| task["status"].as_str().unwrap())
        .collect();
    words.sort_unstable();
    assert_eq!(words, ["cancelled", "completed", "completed", "discarded"]);
    verify(&events(&place.url()).await);
}

/// Where the record says that a task was first claimed.
async fn claimed_at(client: &Client, task: &str) -> u64 {
    let history = client.get(&format!("/api/v1/fleet/tasks/{task}/history")).await;
    let mut events = history["events"].as_array().unwrap().iter();
    events.find(|event| event["type"] == "task.claimed").unwrap()["position"].as_u64().unwrap()
}
