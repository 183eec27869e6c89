//! Workers that come all at once are let in one after the other, and all get work in the end.

use serde_json::json;

use crate::fixture::*;

/// One worker a second.
const TERMS: [&str; 6] =
    ["--admit-per-second", "1", "--heartbeat-seconds", "1", "--start-lease-seconds", "3"];
const WORKERS: usize = 4;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_that_come_at_once_are_let_in_one_by_one_on_sqlite() {
    story(Place::sqlite()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_that_come_at_once_are_let_in_one_by_one_on_postgres() {
    story(Place::postgres().await).await;
}

async fn story(place: Place) {
    let mut server = Server::start_with(&place.url(), &TERMS);
    let (client, folder) = (server.client(), tempfile::tempdir().unwrap());
    let key = client.key(WORKERS as u32).await;
    let names: Vec<_> = (0..WORKERS).map(|n| format!("w{n}")).collect();
    // Each task takes a worker away for a while, so all of them are needed.
    let workers: Vec<_> = names
        .iter()
        .map(|name| {
            let (server, folder) = (server.base.as_str(), folder.path());
            let exec = "sleep 5; cat";
            WorkerProcess { server, key: &key, folder, name, seats: 1, exec }.start()
        })
        .collect();
    workers.iter().for_each(|(_, log)| drop(log.until("registered")));
    assert!(refused(&server.base).await > 0, "not all at once");

    server.crash_and_restart();
    let mut tasks = Vec::new();
    for n in 0..WORKERS {
        tasks.push(client.submit(&n.to_string(), &json!(n)).await);
    }
    let mut by = Vec::new();
    for task in &tasks {
        let result = client.result(task).await;
        assert_eq!(result["status"], "completed");
        by.push(result["worker_id"].as_str().unwrap().to_owned());
    }
    by.sort_unstable();
    by.dedup();
    assert!(by.len() > 1, "{by:?}");
}

/// How often a worker was told to come again.
async fn refused(base: &str) -> u64 {
    let metrics = reqwest::get(format!("{base}/metrics")).await.unwrap().text().await.unwrap();
    let mut lines = metrics.lines();
    let found = lines.find_map(|line| line.strip_prefix("fleetward_admissions_refused_total "));
    found.map_or(0, |count| count.parse().unwrap())
}
