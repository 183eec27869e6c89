//! What older clients send is understood, what they read is there, and nothing secret is shown.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fmt::Debug;

use fleetward_wire::keys::{KeyCreate, KeyCreated};
use fleetward_wire::orgs::OrgCreated;
use fleetward_wire::problem::{Problem, ProblemStatus};
use fleetward_wire::tasks::{
    Claim, Claimed, Complete, Fail, HandBack, Report, ReportStatus, TaskSubmit, TaskView,
};
use fleetward_wire::tokens::TokenCreated;
use fleetward_wire::workers::{
    Decision, Heartbeat, HeartbeatAnswer, Register, Registered, WorkerStatus, WorkerView,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

#[test]
fn an_older_worker_registers() {
    let request: Register = read(json!({
        "name": "w1", "models": ["gpt-4o"], "pool": "default", "labels": {"gpu": "no"},
        "max_concurrent": 1, "enrollment_key": "key"
    }));

    assert_eq!((&*request.name, &*request.pool), ("w1", "default"));
    assert_eq!(request.labels["gpu"], "no");
    assert_eq!(request.enrollment_key.unwrap().expose(), "key");
}

#[test]
fn a_registration_that_says_nothing_gets_the_defaults() {
    for body in [json!({}), json!({"models": null, "labels": null, "enrollment_key": null})] {
        let request: Register = read(body);

        assert_eq!((&*request.name, &*request.pool), ("worker", "default"));
        assert_eq!((request.max_concurrent, request.models.len()), (1, 0));
    }
}

#[test]
fn an_older_worker_claims_and_beats() {
    assert_eq!(read::<Claim>(json!({"poll_timeout": 5})).poll_timeout, Some(5.0));
    assert_eq!(read::<Claim>(json!({"poll_timeout": -0.5})).poll_timeout, Some(-0.5));
    assert_eq!(read::<Claim>(json!({})).poll_timeout, None);
    assert!(read::<Heartbeat>(json!({})).tasks.is_none());
    assert!(read::<Heartbeat>(json!({"pool_stats": {"size": 2}})).pool_stats.is_some());
    let seed = json!({"timestamp": 1.5, "tasks_completed": 3, "tasks_failed": 0});
    assert_eq!(read::<Heartbeat>(seed).tasks_completed, Some(3));
}

#[test]
fn a_worker_that_holds_nothing_is_not_one_that_does_not_say() {
    let nothing = Heartbeat { tasks: Some(Vec::new()), ..Heartbeat::default() };

    assert_eq!(to_value(&nothing), json!({"tasks": []}));
    assert_eq!(to_value(&Heartbeat::default()), json!({}));
}

#[test]
fn an_older_worker_reports() {
    let done: Report = read(json!({"run_id": "t1", "output": "text", "error": null}));
    assert_eq!((done.status, done.attempt), (ReportStatus::Completed, None));
    assert_eq!(done.output.unwrap().expose(), "text");
    assert!(done.error.is_none());

    let failed: Report = read(json!({"run_id": "t1", "status": "failed", "error": "it broke"}));
    assert_eq!(failed.status, ReportStatus::Failed);

    let any: Report = read(json!({"run_id": "t1", "output": {"a": [1, 2.5, null]}}));
    assert_eq!(any.output.unwrap().expose(), &json!({"a": [1, 2.5, null]}));
}

#[test]
fn a_report_that_makes_no_sense_is_an_error() {
    for body in [
        json!({"run_id": "t1", "status": "exploded"}),
        json!({"run_id": 7}),
        json!({"status": "completed"}),
        json!({"run_id": "t1", "attempt": -1}),
        json!([]),
    ] {
        assert!(serde_json::from_value::<Report>(body.clone()).is_err(), "{body}");
    }
}

#[test]
fn an_operator_may_leave_out_everything() {
    let submit: TaskSubmit = read(json!({}));
    assert_eq!((submit.model, submit.payload.expose()), (None, &Value::Null));
    let submit: TaskSubmit = read(json!({"model": null, "labels": null, "payload": null}));
    assert!(submit.labels.is_empty());
    let key: KeyCreate = read(json!({"name": "k", "labels": null, "auto_approve": null}));
    assert!(!key.auto_approve && key.max_uses.is_none());
    assert!(read::<Decision>(json!({})).reason.is_none());
    assert!(read::<Complete>(json!({})).output.is_none());
    assert!(read::<Fail>(json!({})).error.is_none());
}

#[test]
fn fields_of_a_newer_peer_are_ignored() {
    let mut body = to_value(&claimed());
    body["priority"] = json!(9);

    assert_eq!(read::<Claimed>(body).run_id, "t1");
    assert_eq!(read::<WorkerStatus>(json!("hibernating")), WorkerStatus::Unknown);
    assert_eq!(to_value(&WorkerStatus::Unknown), json!("unknown"));
}

#[test]
fn older_workers_find_what_they_read() {
    has(&registered(), &["worker_id", "worker_secret", "status", "capabilities"]);
    has(&to_value(&registered())["capabilities"], &["models", "pool", "labels", "max_concurrent"]);
    has(
        &claimed(),
        &[
            "run_id",
            "org_id",
            "project_id",
            "pool",
            "model",
            "labels",
            "payload",
            "worker_id",
            "claimed_at",
        ],
    );
    assert_eq!(to_value(&beat())["ok"], json!(true));
    assert_eq!(to_value(&fleetward_wire::Done::ok()), json!({"status": "ok"}));
    has(
        &task_view(),
        &[
            "run_id",
            "status",
            "project_id",
            "pool",
            "model",
            "worker_id",
            "claimed_at",
            "error",
            "output",
            "reported_at",
            "created_at",
        ],
    );
}

#[test]
fn a_problem_says_where_a_worker_stands_or_the_http_status() {
    let plain: Problem = read(json!({"type": "x", "status": 503, "code": "unavailable"}));
    let waits = Problem { status: ProblemStatus::Worker(WorkerStatus::Pending), ..plain.clone() };
    let old: Problem = read(json!({"detail": "worker is pending", "status": "pending"}));

    assert_eq!(plain.status, ProblemStatus::Http(503));
    assert_eq!(to_value(&plain)["status"], json!(503));
    assert_eq!(to_value(&waits)["status"], json!("pending"));
    assert_eq!(old.status, ProblemStatus::Worker(WorkerStatus::Pending));
    assert_eq!((&*old.r#type, &*old.detail), ("about:blank", "worker is pending"));
}

#[test]
fn every_answer_is_read_as_it_was_written() {
    comes_back(&registered());
    comes_back(&claimed());
    comes_back(&beat());
    comes_back(&task_view());
    comes_back(&worker_view());
    comes_back(&report());
    comes_back(&hand_back());
    comes_back(&Problem::default());
}

#[test]
fn nothing_secret_is_formatted() {
    let org: OrgCreated = read(json!({"id": "o", "name": "acme", "token": SECRET}));
    let token: TokenCreated =
        read(json!({"id": "t", "token": SECRET, "name": "ci", "role": "admin"}));
    let key: KeyCreated =
        read(json!({"id": "k", "key": SECRET, "name": "k", "max_uses": 1, "expires_at": null}));
    let submit: TaskSubmit = read(json!({"payload": {"password": SECRET}}));
    let register: Register = read(json!({"enrollment_key": SECRET}));
    let held: Heartbeat =
        read(json!({"tasks": [{"run_id": "t1", "attempt": 1, "claim_token": SECRET}]}));

    for shown in [
        show(&org),
        show(&token),
        show(&key),
        show(&submit),
        show(&register),
        show(&held),
        show(&registered()),
        show(&claimed()),
        show(&report()),
        show(&hand_back()),
        show(&task_view()),
    ] {
        assert!(!shown.contains(SECRET), "{shown}");
        assert!(shown.contains("<secret>"), "{shown}");
    }
}

const SECRET: &str = "xyzzy";

fn registered() -> Registered {
    read(json!({
        "worker_id": "w-1", "worker_secret": SECRET, "status": "approved",
        "capabilities": {"models": ["m"], "pool": "p", "labels": {"a": "b"}, "max_concurrent": 2},
        "heartbeat_seconds": 10.0, "lease_seconds": 30.0
    }))
}

fn claimed() -> Claimed {
    read(json!({
        "run_id": "t1", "org_id": "o", "project_id": null, "pool": "p", "model": "m",
        "labels": {"a": "b"}, "payload": {"password": SECRET}, "worker_id": "w-1",
        "claimed_at": "2026-01-02T03:04:05.000006Z", "attempt": 1, "claim_token": SECRET,
        "lease_seconds": 30.0
    }))
}

fn beat() -> HeartbeatAnswer {
    read(json!({
        "ok": true, "status": "quarantined", "heartbeat_seconds": 10.0,
        "lost": [{"run_id": "t1", "attempt": 2}], "over": [{"run_id": "t1", "attempt": 2}],
        "drain": true
    }))
}

fn report() -> Report {
    read(json!({
        "run_id": "t1", "status": "completed", "output": [SECRET], "error": SECRET,
        "attempt": 1, "claim_token": SECRET
    }))
}

fn hand_back() -> HandBack {
    read(json!({"run_id": "t1", "attempt": 1, "claim_token": SECRET, "reason": "draining"}))
}

fn task_view() -> TaskView {
    read(json!({
        "run_id": "t1", "status": "failed", "project_id": "x", "pool": "p", "model": null,
        "labels": {}, "worker_id": "w-1", "claimed_at": "2026-01-02T03:04:05Z", "attempt": 3,
        "error": SECRET, "output": SECRET, "reported_at": null,
        "created_at": "2026-01-02T03:04:05Z"
    }))
}

fn worker_view() -> WorkerView {
    read(json!({
        "id": "w-1", "name": "w1", "org_id": "o", "project_id": null,
        "capabilities": {
            "models_supported": ["gpt-4o"], "models_canonical": ["gpt-4o"], "max_concurrent": 1,
            "labels": {}, "pool": "default", "sdk_version": null
        },
        "approval_status": "pending", "last_heartbeat": null, "last_probe_at": null,
        "probe_status": null, "registered_at": "2026-01-02T03:04:05Z", "approved_at": null,
        "approved_by": null, "reason": null
    }))
}

fn read<T: DeserializeOwned>(body: Value) -> T {
    serde_json::from_value(body).unwrap()
}

fn to_value(value: &impl Serialize) -> Value {
    serde_json::to_value(value).unwrap()
}

fn show(value: &impl Debug) -> String {
    format!("{value:?}")
}

#[track_caller]
fn has(answer: &impl Serialize, fields: &[&str]) {
    let answer = to_value(answer);
    for field in fields {
        assert!(answer.get(field).is_some(), "{field} is missing");
    }
}

#[track_caller]
fn comes_back<T: Serialize + DeserializeOwned>(value: &T) {
    let written = serde_json::to_string(value).unwrap();
    let again: T = serde_json::from_str(&written).unwrap();
    assert_eq!(serde_json::to_string(&again).unwrap(), written);
}
