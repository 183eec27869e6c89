//! kill -9 of the server under load: nothing acknowledged is lost or doubled, and the workers come back by themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rand::RngExt;
use serde_json::json;

use crate::fixture::*;

/// How often the server is killed in one story.
const KILLS: usize = 4;
const SUBMITTERS: usize = 4;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn server_killed_under_load_loses_and_doubles_nothing_on_sqlite() {
    story(Place::sqlite()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn server_killed_under_load_loses_and_doubles_nothing_on_postgres() {
    story(Place::postgres().await).await;
}

async fn story(place: Place) {
    let url = place.url();
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::start(&url);
    let client = server.client();
    let key = client.key(3).await;
    let _workers: Vec<_> = (0..3)
        .map(|n| worker(&server.base, &key, folder.path(), &format!("w{n}"), 4, "cat"))
        .collect();

    let (stop, stopped) = tokio::sync::watch::channel(false);
    let submitters: Vec<_> = (0..SUBMITTERS)
        .map(|n| tokio::spawn(submit_until(client.clone(), n, stopped.clone())))
        .collect();
    for _ in 0..KILLS {
        // The random moment is the point: the load must be hit anywhere.
        let pause = rand::rng().random_range(300..1_200);
        tokio::time::sleep(Duration::from_millis(pause)).await;
        server.crash_and_restart();
    }
    stop.send(true).unwrap();
    let mut acknowledged = BTreeMap::new();
    for submitter in submitters {
        acknowledged.extend(submitter.await.unwrap());
    }

    for (task, payload) in &acknowledged {
        let result = client.result(task).await;
        assert_eq!(result["status"], "completed", "{result}");
        let output: serde_json::Value =
            serde_json::from_str(result["output"].as_str().unwrap()).unwrap();
        assert_eq!(output["payload"], *payload);
    }
    server.process.kill9();
    check_journal(&url, &acknowledged.into_keys().collect()).await;
}

async fn submit_until(
    client: Client,
    submitter: usize,
    stopped: tokio::sync::watch::Receiver<bool>,
) -> BTreeMap<String, serde_json::Value> {
    let mut acknowledged = BTreeMap::new();
    let mut n = 0;
    while !*stopped.borrow() {
        let payload = json!({"submitter": submitter, "n": n});
        let task = client.submit_surely(&format!("{submitter}/{n}"), &payload).await;
        assert!(acknowledged.insert(task, payload).is_none(), "every key makes a task of its own");
        n += 1;
    }
    acknowledged
}

/// From the journal alone: every task once, one result each, no attempt number given twice.
async fn check_journal(url: &str, acknowledged: &BTreeSet<String>) {
    let events = events(url).await;
    verify(&events);
    let mut seen: BTreeSet<(String, String)> = BTreeSet::new();
    let mut submitted = BTreeSet::new();
    let mut completed = BTreeSet::new();
    for stored in &events {
        let body: serde_json::Value = serde_json::from_slice(&stored.event.body).unwrap();
        let Some(task) = stored.event.stream.strip_prefix("task/") else { continue };
        let kind = stored.event.kind.as_ref();
        let attempt = body["attempt"].to_string();
        match kind {
            "task.submitted" => assert!(submitted.insert(task.to_owned()), "{task} twice"),
            "task.completed" => assert!(completed.insert(task.to_owned()), "{task} two results"),
            "task.claimed" => {
                assert!(seen.insert((task.to_owned(), attempt)), "{task}: an attempt given twice");
            }
            _ => {}
        }
    }
    assert!(acknowledged.is_subset(&submitted) && acknowledged.is_subset(&completed));
}
