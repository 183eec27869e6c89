//! A run that waits for another one, which sleeps until a time, on a server that dies meanwhile, on both stores; watched to its
//! end.

use chrono::{TimeDelta, Utc};
use serde_json::{Value, json};

use crate::fixture::*;

const RUN: &str = "night-1";
const NIGHT: &str =
    "name: night\nsteps:\n  - sleep_until: dawn\n    at: input.at\n  - step: wake\n";
const DAY: &str = "name: day\nsteps:\n  - child: night\n    workflow: night\n  - step: work\n";
const EXEC: &str =
    r#"case "$(cat)" in *'"handler":"wake"'*) echo '"awake"';; *) echo '"done"';; esac"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child_that_sleeps_and_the_run_above_it_outlive_the_server_on_sqlite() {
    story(Place::sqlite()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child_that_sleeps_and_the_run_above_it_outlive_the_server_on_postgres() {
    story(Place::postgres().await).await;
}

async fn story(place: Place) {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::start(&place.url());
    let client = server.client();
    for document in [NIGHT, DAY] {
        client.post("/api/v1/workflows", json!({"document": document})).await;
    }
    // Long enough from now that the server has died before it comes.
    let dawn = Utc::now() + TimeDelta::seconds(5);
    let input = json!({"at": dawn.to_rfc3339()});
    client.post("/api/v1/runs", json!({"workflow": "day", "run_id": RUN, "input": input})).await;
    client.run_until(RUN, |run| run["waits"][0]["for"] == "child").await;
    let key = client.key(1).await;
    let worker = WorkerProcess {
        server: &server.base,
        key: &key,
        folder: folder.path(),
        name: "w",
        seats: 1,
        exec: EXEC,
    };
    let (_worker, _log) = worker.start();

    server.crash_and_restart();
    server.crash_and_restart();
    let watched = run(&server.base, &["run", "watch", RUN]);

    let text = String::from_utf8(watched.stdout).unwrap();
    assert!(watched.status.success() && !text.contains('\x1b'), "no terminal, no drawing: {text}");
    let screens: Vec<_> = text.split("night-1  day  ").skip(1).collect();
    let (first, last) = (screens.first().unwrap(), screens.last().unwrap());
    assert!(first.starts_with("waiting\n  wait  night  child"), "{text}");
    let lines: Vec<_> = last.lines().collect();
    assert_eq!((lines.len(), lines[0]), (3, "completed"), "{text}");
    for (line, node) in lines[1..].iter().zip(["  done  night  ", "  done  work  "]) {
        assert!(line.starts_with(node), "{text}");
    }
    let done = client.run_until(RUN, |run| run["status"] == "completed").await;
    assert_eq!(done["output"], "done");
    for id in [RUN, done_child(&client).await.as_str()] {
        let replayed = run(&server.base, &["run", "replay", id]);
        assert!(replayed.status.success(), "{replayed:?}");
    }
    let events = events(&place.url()).await;
    verify(&events);
    let once = ["run.timer_fired", "run.child_completed", "run.parent_told"];
    for (kind, times) in once.map(|kind| (kind, 1)).into_iter().chain([("run.step_completed", 2)]) {
        let of_kind: Vec<_> = events.iter().filter(|stored| stored.event.kind == kind).collect();
        assert_eq!(of_kind.len(), times, "{kind}");
        assert!(of_kind.iter().all(|stored| stored.event.at >= dawn.timestamp_micros()), "{kind}");
    }
}

/// The id of the child.
async fn done_child(client: &Client) -> String {
    let list = client.request("GET", "/api/v1/runs?workflow=night&status=completed");
    let found: Value = client.send_surely(list).await.body;
    found["runs"][0]["run_id"].as_str().unwrap_or_else(|| panic!("{found}")).to_owned()
}
