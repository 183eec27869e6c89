//! Durable functions on workers of their own that die between two steps, on servers that die while the functions wait, on both
//! stores; and code that does not fit what was done.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use fleetward::plane::{AdminToken, Options};
use fleetward::worker::Ask;
use fleetward::workflow::{RunHandle, Workers};
use fleetward::{ControlPlane, StepContext, Workflow};
use serde_json::{Value, json};

use crate::examples::built;
use crate::fixture::*;

const RUN: &str = "parcel-1";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn function_does_nothing_twice_whoever_dies_on_sqlite() {
    story(Place::sqlite(), true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn function_does_nothing_twice_whoever_dies_on_postgres() {
    story(Place::postgres().await, false).await;
}

/// `sealed`: the workers hold the organisation's keys.
async fn story(place: Place, sealed: bool) {
    let folder = tempfile::tempdir().unwrap();
    let ledger = folder.path().join("ledger");
    let mut server = Server::start(&place.url());
    let client = server.client();
    let start = ["run", "start", "--function", "parcel", "--run-id", RUN, "--input", "\"lamp\""];
    let started = run(&server.base, &[&start[..], &["--output", "json"]].concat());
    assert_eq!(said(&started)["run_id"], RUN);
    let key = client.key(2).await;
    let org_keys = folder.path().join("org.keys");
    let export = ["org", "key", "export", org_keys.to_str().unwrap()];
    assert!(!sealed || run(&server.base, &export).status.success());
    let base = server.base.clone();
    let worker = |name: &str, packing: &str| {
        let identity = folder.path().join(format!("{name}.json"));
        let mut command = Command::new(built("function_worker"));
        command.args([Path::new(&base), identity.as_path(), ledger.as_path()]).arg(packing);
        command.env("ENROLLMENT_KEY", &key).stdout(Stdio::piped());
        if sealed {
            command.env("ORG_KEYS", &org_keys);
        }
        let mut child = command.spawn().unwrap();
        let said = Lines::of("worker", child.stdout.take().unwrap());
        (Process(child), said)
    };

    let (mut first, said_by_first) = worker("w1", "3600");
    said_by_first.until("packing lamp, paid with 42");
    first.kill9();
    let (mut second, _said) = worker("w2", "0");
    let waiting = client.run_until(RUN, |run| run["waits"][0]["gate"].is_object()).await;
    assert_eq!(waiting["status"], "waiting");
    assert_eq!(waiting["waits"][0]["gate"]["prompt"], "Send the lamp?");
    let known = waiting["functions"][0]["checkpoints"].as_array().unwrap();
    let known: Vec<_> = known.iter().map(|at| (at["name"].clone(), at["status"].clone())).collect();
    let expected = [("charge", "done"), ("pack", "done"), ("send", "waiting")];
    assert_eq!(known, expected.map(|(name, status)| (json!(name), json!(status))));
    let why = run(&server.base, &["run", "why", RUN]);
    let why = String::from_utf8(why.stdout).unwrap();
    assert!(
        why.contains("parcel is suspended, on no worker") && why.contains("parcel[2]/send"),
        "{why}"
    );

    server.crash_and_restart();
    assert!(run(&server.base, &["run", "approve", RUN, "--gate", "send"]).status.success());
    client.run_until(RUN, |run| run["waits"][0]["for"] == "signal").await;
    second.kill9();
    server.crash_and_restart();
    let address = ["run", "signal", RUN, "address", "\"1 Long Lane\""];
    assert!(run(&server.base, &address).status.success());
    let (_third, _said) = worker("w2", "0");

    let done = client.run_until(RUN, |run| run["status"] == "completed").await;
    assert_eq!(done["output"], "the lamp is on its way to 1 Long Lane");
    assert_eq!(std::fs::read_to_string(&ledger).unwrap(), "charged\npacked\nsent\n");
    let told = said(&run(&server.base, &["run", "timeline", RUN, "--output", "json"]));
    let spans = told["spans"].as_array().unwrap();
    let has = |key: &str, what: &str| spans.iter().any(|s| s["key"] == key && s["what"] == what);
    for (key, what) in [
        ("parcel", "running"),
        ("parcel[0]/charge", "step"),
        ("parcel[2]/send", "approval"),
        ("parcel[3]/sleep", "timer"),
        ("parcel[4]/address", "signal"),
        ("parcel[5]/send", "step"),
    ] {
        assert!(has(key, what), "{key} {what}: {spans:?}");
    }
    let replayed = run(&server.base, &["run", "replay", RUN]);
    let text = String::from_utf8_lossy(&replayed.stdout).into_owned();
    assert!(replayed.status.success() && text.contains("nothing was changed"), "{replayed:?}");
    verify(&events(&place.url()).await);
}

async fn plane() -> (ControlPlane, fleetward::Operator) {
    let store = fleetward_store::connect("memory:").await.unwrap();
    let admin_token = Some(AdminToken(ADMIN.to_owned()));
    let plane = ControlPlane::start(store, Options { admin_token, ..Options::default() });
    let plane = plane.await.unwrap();
    let operator = plane.operator(&plane.authenticate(ADMIN).unwrap(), None).await.unwrap();
    (plane, operator)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn code_that_does_not_fit_the_history_is_told_so_and_the_right_code_goes_on() {
    let (plane, operator) = plane().await;
    let count = Arc::new(AtomicU32::new(0));
    let code = |first: &'static str| {
        let count = count.clone();
        let run = move |(): (), cx: StepContext| {
            let count = count.clone();
            async move {
                let add = || async { Ok(count.fetch_add(1, Ordering::SeqCst)) };
                cx.step::<u32, _, _>(first, add).await?;
                cx.approval("go", Ask::new("?").requester_may_approve()).await?;
                Ok("gone".to_owned())
            }
        };
        Workflow::function("trip", run).build().unwrap()
    };
    let (old, new) = (code("book"), code("reserve"));
    let worker = Workers::start(&plane, &operator, "old", 1, old.handlers()).await.unwrap();
    let trip = old.start(&operator, None, &()).await.unwrap();
    assert!(trip.gate_opens("go").await.unwrap());
    worker.stop().await;

    let worker = Workers::start(&plane, &operator, "new", 1, new.handlers()).await.unwrap();
    trip.approve("go", None).await.unwrap();
    let said = trip.result().await.unwrap_err().to_string();
    let words =
        ["at position 0 the history has the step \"book\"", "asks for the step \"reserve\""];
    assert!(words.iter().all(|word| said.contains(word)), "{said}");
    worker.stop().await;

    let worker = Workers::start(&plane, &operator, "old again", 1, old.handlers()).await.unwrap();
    let retry = fleetward::actors::workflows::conductor::Remedy::Retry;
    operator.amend_run(trip.id(), retry).await.unwrap();
    assert_eq!(trip.result().await.unwrap(), "gone");
    assert_eq!(count.load(Ordering::SeqCst), 1, "the step was done once");
    worker.stop().await;
    plane.drain(Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn function_waits_for_several_things_at_once_and_learns_what_people_said() {
    let (plane, operator) = plane().await;
    let run = |(): (), cx: StepContext| async move {
        let (nap, price) = tokio::join!(
            cx.sleep(Duration::from_millis(20)),
            cx.step("price", || async { Ok(7_u32) })
        );
        nap?;
        let late = cx.wait_signal_for::<u32>("never", Duration::from_millis(10)).await?;
        let said = cx.decision("go", "Go?").await?;
        let first = tokio::select! {
            biased;
            word = cx.wait_signal::<String>("word") => word?,
            nap = cx.sleep(Duration::from_secs(3_600)) => nap.map(|()| "slept".to_owned())?,
        };
        Ok(
            json!({"price": price?, "late": late, "said": [said.approved, said.reason], "first": first}),
        )
    };
    let wf: Workflow<(), Value> = Workflow::function("many", run).build().unwrap();
    let worker = Workers::start(&plane, &operator, "w", 1, wf.handlers()).await.unwrap();
    let handle: RunHandle<Value> = wf.start(&operator, None, &()).await.unwrap();

    assert!(handle.gate_opens("go").await.unwrap());
    handle.reject("go", Some("too early")).await.unwrap();
    handle.signal("word", &"hello").await.unwrap();

    let expected =
        json!({"price": 7, "late": null, "said": [false, "too early"], "first": "hello"});
    assert_eq!(handle.result().await.unwrap(), expected);
    worker.stop().await;
    plane.drain(Duration::from_secs(5)).await;
}
