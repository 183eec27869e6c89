//! What is over is deleted, at once or when it was kept long enough, on a server that dies meanwhile; on both stores.

use std::process::Output;

use fleetward_actors::plane::AdminToken;
use fleetward_actors::seal::MasterKey;
use fleetward_actors::{ControlPlane, Options};
use fleetward_runtime::Clock;
use serde_json::{Value, json};

use crate::fixture::*;

const BELOW: &str = "name: below\nsteps:\n  - step: work\n";
const ABOVE: &str = "name: above\nsteps:\n  - step: own\n  - child: below\n    workflow: below\n";
const HOUR_US: i64 = 3_600_000_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_deleted_stays_so_and_the_rest_goes_in_time_on_sqlite() {
    story(Place::sqlite()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_deleted_stays_so_and_the_rest_goes_in_time_on_postgres() {
    story(Place::postgres().await).await;
}

async fn story(place: Place) {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::start(&place.url());
    let client = server.client();
    let key = client.key(1).await;
    let worker = WorkerProcess {
        server: &server.base,
        key: &key,
        folder: folder.path(),
        name: "w",
        seats: 4,
        exec: "cat",
    };
    let (worker, _log) = worker.start();
    for document in [BELOW, ABOVE] {
        client.post("/api/v1/workflows", json!({"document": document})).await;
    }
    let mut tasks = Vec::new();
    for n in 0..3 {
        let task = client.submit(&format!("k{n}"), &json!(n)).await;
        client.result(&task).await;
        tasks.push(task);
    }
    for run in ["a", "b"] {
        let start = json!({"workflow": "above", "run_id": run, "input": 1});
        client.post("/api/v1/runs", start).await;
        client.run_until(run, |run| run["status"] == "completed").await;
    }
    drop(worker);
    let open = client.submit("open", &json!("open")).await;

    // At once, by those who may; and the server dies with the answer.
    let cli = |args: &[&str]| run(&server.base, args);
    assert!(refused(&cli(&["task", "delete", &open])).contains("task_open"));
    assert!(told(&cli(&["task", "delete", &tasks[0]])).contains("deleted"));
    assert!(told(&cli(&["run", "delete", "a"])).contains("deleted"));
    server.crash_and_restart();
    for (path, status) in [
        (format!("/api/v1/fleet/tasks/{}", tasks[0]), 404),
        ("/api/v1/runs/a".to_owned(), 404),
        ("/api/v1/runs/b".to_owned(), 200),
    ] {
        let answer = client.send_surely(client.request("GET", &path)).await;
        assert_eq!(answer.status, status, "{path}");
    }
    let again = client.submit("k0", &json!(0)).await;
    assert_eq!(again, tasks[0], "its key may be used again, and makes the same id");

    // By their age: nothing is that old yet.
    let cli = |args: &[&str]| run(&server.base, args);
    assert!(refused(&cli(&["retention", "set", "--runs", "5s"])).contains("60"));
    let set = told(&cli(&["retention", "set", "--tasks", "30m", "--runs", "1h"]));
    assert!(set.contains("30m") && set.contains("1h") && set.contains("for ever"), "{set}");
    let swept: Value =
        serde_json::from_str(&told(&cli(&["--output", "json", "retention", "sweep"]))).unwrap();
    assert_eq!(swept, json!({"ended": true, "tasks": 0, "runs": 0}));
    server.process.kill9();

    // Later, in this process: what was over goes, with what belongs to it.
    let store = fleetward_store::connect(&place.url()).await.unwrap();
    let later = chrono::Utc::now().timestamp_micros() + 2 * HOUR_US;
    let options = Options {
        clock: Some(Clock::starting_at(later)),
        admin_token: Some(AdminToken(ADMIN.to_owned())),
        master_key: Some(MasterKey::parse(MASTER_KEY).unwrap()),
        ..Options::default()
    };
    let plane = ControlPlane::start(store, options).await.unwrap();
    let caller = plane.authenticate(ADMIN).unwrap();
    let operator = plane.operator(&caller, None).await.unwrap();
    let swept = operator.sweep().await.unwrap().unwrap();
    // Two that were alone, and the steps of the runs: of one, of its child, and of the child of the one that was deleted.
    assert_eq!((swept.tasks, swept.runs), (5, 3));
    let left = operator.tasks(None, None, 200).await.unwrap();
    let left: Vec<_> = left.iter().map(|view| view.task.id.to_string()).collect();
    assert_eq!(left, [again, open], "those that are open");
    assert!(operator.runs(&Default::default(), None, 200).await.unwrap().runs.is_empty());
    assert_eq!(operator.sweep().await.unwrap().unwrap().tasks, 0);
    assert!(plane.drain(PATIENCE).await.is_clean());

    let events = events(&place.url()).await;
    verify(&events);
    let deleted = |kind: &str| events.iter().filter(|of| of.event.kind == kind).count();
    assert_eq!((deleted("task.deleted"), deleted("run.deleted")), (7, 4));
}

fn told(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn refused(output: &Output) -> String {
    assert!(!output.status.success(), "{output:?}");
    String::from_utf8(output.stderr.clone()).unwrap()
}
