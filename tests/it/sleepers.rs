//! Runs that sleep through the death of the server, all wake at one time, and each goes on once, though the server dies again
//! in the middle of that.

use std::collections::BTreeMap;

use chrono::{TimeDelta, Utc};
use fleetward_store::testing::Postgres;
use serde_json::json;

use crate::fixture::*;

const RUNS: usize = 200;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sleepers_wake_once_whatever_happens_on_sqlite() {
    story(Place::sqlite()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sleepers_wake_once_whatever_happens_on_postgres() {
    story(Place::Postgres(Postgres::shared().fresh_database().await)).await;
}

async fn story(place: Place) {
    let mut server = Server::start(&place.url());
    let client = server.client();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("dawn.yaml");
    // Long enough from now that all have been started, and the server has died, before it comes.
    let dawn = Utc::now() + TimeDelta::seconds(8);
    let workflow = format!(
        "name: dawn\nsteps:\n  - sleep_until: dawn\n    at: '\"{}\"'\n",
        dawn.to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
    );
    std::fs::write(&file, workflow).unwrap();
    said(&run(
        &server.base,
        &["workflow", "apply", "-f", file.to_str().unwrap(), "--output", "json"],
    ));
    let ids: Vec<_> = (0..RUNS).map(|n| format!("r{n:03}")).collect();
    for id in &ids {
        client.post("/api/v1/runs", json!({"workflow": "dawn", "run_id": id, "input": 1})).await;
    }

    server.crash_and_restart();
    let list = client.request("GET", "/api/v1/runs?status=waiting&limit=100");
    let waiting = client.send_surely(list).await;
    assert_eq!(waiting.body["runs"].as_array().map(Vec::len), Some(100), "{}", waiting.body);
    wakes(&client, &ids[RUNS / 3]).await;
    server.crash_and_restart();
    for id in &ids {
        wakes(&client, id).await;
    }

    let events = events(&place.url()).await;
    verify(&events);
    let mut seen = BTreeMap::<_, usize>::new();
    for stored in events.iter().filter(|stored| stored.event.kind.starts_with("run.")) {
        *seen.entry((stored.event.stream.clone(), stored.event.kind.clone())).or_default() += 1;
    }
    for id in ids {
        for kind in ["run.started", "run.waiting", "run.timer_fired", "run.completed"] {
            let of = (format!("run/{id}").into(), kind.into());
            assert_eq!(seen.get(&of), Some(&1), "{of:?}");
        }
    }
    let healthy = fleetward().args(["doctor", "--database-url", &place.url()]).output().unwrap();
    assert!(healthy.status.success(), "{}", String::from_utf8_lossy(&healthy.stdout));
}

async fn wakes(client: &Client, id: &str) {
    let done = async {
        loop {
            let path = format!("/api/v1/runs/{id}?wait=20");
            let answer = client.send_surely(client.request("GET", &path)).await;
            assert_eq!(answer.status, 200, "{}", answer.body);
            if answer.body["status"] == "completed" {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, done).await.expect("it wakes");
}
