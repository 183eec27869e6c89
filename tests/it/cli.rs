//! The binary as an administrator uses it.

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::fixture::*;

fn json(output: &std::process::Output) -> Value {
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(&text).unwrap_or_else(|_| {
        panic!("{text}\n{}", String::from_utf8_lossy(&output.stderr));
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn worker_joins_waits_for_approval_and_runs_a_task() {
    let place = Place::sqlite();
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::start(&place.url());
    let base = server.base.clone();
    let at = |args: &[&str]| run(&base, args);
    let key = json(&at(&["--output", "json", "key", "create", "--name", "k"]));
    let mut worker =
        worker(&base, key["key"].as_str().unwrap(), folder.path(), "w1", 1, "tr a-z A-Z");

    let pending = loop {
        let listed = json(&at(&["--output", "json", "worker", "list"]));
        if let Some(worker) = listed["workers"].get(0) {
            break worker.clone();
        }
    };
    assert_eq!(pending["approval_status"], "pending");
    let id = pending["id"].as_str().unwrap();
    assert!(at(&["worker", "approve", id, "--reason", "known machine"]).status.success());
    let submitted =
        at(&["--output", "json", "task", "submit", "--payload", r#"{"say":"hello"}"#, "--wait"]);
    let done = json(&submitted);
    assert_eq!(done["status"], "completed", "{done}");
    assert!(done["output"].as_str().unwrap().contains(r#""SAY":"HELLO""#), "{done}");

    assert!(at(&["worker", "revoke", id]).status.success());
    assert_eq!(worker.wait(), Some(2), "a revoked worker ends with the documented code");
    server.process.signal(Signal::SIGTERM);
    assert_eq!(server.process.wait(), Some(0), "SIGTERM drains and ends well");

    let url = place.url();
    let printed = at(&["journal", "cat", "--database-url", &url]);
    let text = String::from_utf8_lossy(&printed.stdout);
    for kind in ["key.created", "worker.registered", "worker.approved", "task.completed"] {
        assert!(text.contains(kind), "{kind}\n{text}");
    }
    assert!(!text.contains("hello") && !text.contains("HELLO"), "sealed parts stay sealed");
    let healthy = fleetward().args(["doctor", "--database-url", &url]).output().unwrap();
    assert!(healthy.status.success(), "{}", String::from_utf8_lossy(&healthy.stdout));
}

#[test]
fn mistakes_end_with_the_documented_codes() {
    let place = Place::sqlite();
    let server = Server::start(&place.url());
    let missing = run(&server.base, &["task", "get", "00000000-0000-0000-0000-000000000000"]);
    assert!(!missing.status.success());
    assert!(String::from_utf8_lossy(&missing.stderr).contains("no such task"));
    let stranger = fleetward()
        .args(["worker", "list"])
        .env("FLEETWARD_SERVER", &server.base)
        .env("FLEETWARD_TOKEN", "fwt_wrong")
        .output()
        .unwrap();
    assert!(!stranger.status.success());
    let homeless = fleetward().arg("serve").output().unwrap();
    assert_eq!(homeless.status.code(), Some(2), "serve never invents storage");
}

#[test]
fn organisations_have_tokens_of_their_own_and_see_nothing_of_each_other() {
    let place = Place::sqlite();
    let server = Server::start(&place.url());
    let base = server.base.as_str();
    let ours = json(&run(base, &["--output", "json", "task", "submit", "--payload", "1"]));
    let org = json(&run(base, &["org", "create", "acme", "--output", "json"]));
    let as_acme = |args: &[&str]| {
        fleetward()
            .args(args)
            .env("FLEETWARD_SERVER", base)
            .env("FLEETWARD_TOKEN", org["token"].as_str().unwrap())
            .output()
            .unwrap()
    };

    let listed = json(&as_acme(&["task", "list", "--output", "json"]));
    assert_eq!(listed["tasks"], serde_json::json!([]));
    let foreign = as_acme(&["task", "get", ours["run_id"].as_str().unwrap()]);
    assert_eq!(foreign.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&foreign.stderr).contains("not_found"));
    assert!(!as_acme(&["org", "create", "more"]).status.success());

    let made = json(&as_acme(&["token", "create", "--name", "second", "--output", "json"]));
    let revoked = as_acme(&["token", "revoke", made["id"].as_str().unwrap()]);
    assert!(revoked.status.success());
    let orgs = json(&run(base, &["org", "list", "--output", "json"]));
    assert_eq!(orgs["total"], 2);
}
