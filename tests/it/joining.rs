//! The binary as an administrator uses it, from the enrollment key to the revocation.

use nix::sys::signal::Signal;

use crate::fixture::*;

#[test]
fn worker_joins_waits_for_approval_and_runs_a_task() {
    let place = Place::sqlite();
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::start(&place.url());
    let base = server.base.clone();
    let at = |args: &[&str]| run(&base, args);
    let made = said(&at(&["--output", "json", "key", "create", "--name", "k"]));
    let key = made["key"].as_str().unwrap();
    let (mut worker, log) = WorkerProcess {
        server: &base,
        key,
        folder: folder.path(),
        name: "w1",
        seats: 1,
        exec: "tr a-z A-Z",
    }
    .start();
    log.until("registered");

    let listed = said(&at(&["--output", "json", "worker", "list"]));
    let pending = &listed["workers"][0];
    assert_eq!(pending["approval_status"], "pending", "{listed}");
    let id = pending["id"].as_str().unwrap();
    assert!(at(&["worker", "approve", id, "--reason", "known machine"]).status.success());
    let submitted =
        at(&["--output", "json", "task", "submit", "--payload", r#"{"say":"hello"}"#, "--wait"]);
    let done = said(&submitted);
    assert_eq!(done["status"], "completed", "{done}");
    assert!(done["output"].as_str().unwrap().contains(r#""SAY":"HELLO""#), "{done}");

    assert!(at(&["worker", "revoke", id]).status.success());
    assert_eq!(worker.wait(), Some(2), "a revoked worker ends with the documented code");
    server.process.signal(Signal::SIGTERM);
    assert_eq!(server.process.wait(), Some(0), "SIGTERM drains and ends well");
    check_record(&place.url());
}

/// The journal tells the story without what was in the task, and nothing is wrong with it.
fn check_record(url: &str) {
    let printed = fleetward().args(["journal", "cat", "--database-url", url]).output().unwrap();
    let text = String::from_utf8_lossy(&printed.stdout);
    for kind in ["key.created", "worker.registered", "worker.approved", "task.completed"] {
        assert!(text.contains(kind), "{kind}\n{text}");
    }
    assert!(!text.contains("hello") && !text.contains("HELLO"), "sealed parts stay sealed");
    let healthy = fleetward().args(["doctor", "--database-url", url]).output().unwrap();
    assert!(healthy.status.success(), "{}", String::from_utf8_lossy(&healthy.stdout));
}
