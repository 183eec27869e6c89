//! kill -9 of the server under load: nothing acknowledged is lost or doubled, and the workers come
//! back by themselves.

mod load;

use std::collections::BTreeSet;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::Value;

use crate::fixture::*;
use load::Load;

/// How often the server is killed in one story.
const KILLS: usize = 5;
/// How many steps of the load pass between two kills: enough that every part of the work is under
/// way, and seldom the same part.
const STEPS: std::ops::Range<u64> = 60..300;
/// Repeats the moments of an earlier story, counted in steps. Which requests were under way then is
/// up to the machine.
const SEED: &str = "FLEETWARD_TEST_SEED";

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
    let mut moments = moments();
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::start(&url);
    let client = server.client();
    let key = client.key(3).await;
    let _workers = ["w0", "w1", "w2"].map(|name| {
        let (server, key, folder) = (server.base.as_str(), key.as_str(), folder.path());
        WorkerProcess { server, key, folder, name, seats: 4, exec: "cat" }.start()
    });

    let load = Load::start(&client);
    for _ in 0..KILLS {
        load.passes(moments.random_range(STEPS)).await;
        server.crash_and_restart();
    }
    load.passes(STEPS.end).await;
    let acknowledged = load.stop().await;

    for (task, payload) in &acknowledged {
        let result = client.result(task).await;
        assert_eq!(result["status"], "completed", "{result}");
        let output: Value = serde_json::from_str(result["output"].as_str().unwrap()).unwrap();
        assert_eq!(output["payload"], *payload);
    }
    server.process.kill9();
    check_journal(&url, &acknowledged.into_keys().collect()).await;
}

/// Where the moments of the kills are drawn from.
fn moments() -> StdRng {
    let given = std::env::var(SEED).ok().map(|text| text.parse().expect("the seed is a number"));
    let seed: u64 = given.unwrap_or_else(rand::random);
    eprintln!("to repeat the moments: {SEED}={seed}");
    StdRng::seed_from_u64(seed)
}

/// From the journal alone: every task once, one result each, no attempt number given twice.
async fn check_journal(url: &str, acknowledged: &BTreeSet<String>) {
    let events = events(url).await;
    verify(&events);
    let mut seen: BTreeSet<(String, String)> = BTreeSet::new();
    let mut submitted = BTreeSet::new();
    let mut completed = BTreeSet::new();
    for stored in &events {
        let body: Value = serde_json::from_slice(&stored.event.body).unwrap();
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
