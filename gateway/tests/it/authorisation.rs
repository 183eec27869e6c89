//! Every route with every kind of caller. A route without a row fails.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::key_worker::KeyWorker;
use crate::server::{Answer, Client, FLEET, Server, with_server};

const ROUTES: &str = include_str!("../../src/routes.rs");
/// An id that nothing has.
const NOTHING: &str = "018f0000-0000-7000-8000-000000000000";

/// Who a route is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum For {
    Anybody,
    Worker,
    Viewer,
    Operator,
    Admin,
    System,
}
use For::{Admin, Anybody, Operator, System, Viewer, Worker};

/// Method, path under the API or from the root, who may, what those get who may with an empty body and an absent id.
const TABLE: &[(&str, &str, For, u16)] = &[
    ("GET", "/healthz", Anybody, 200),
    ("GET", "/readyz", Anybody, 200),
    ("GET", "/metrics", Anybody, 200),
    ("POST", "/api/v1/lint", Viewer, 422),
    ("GET", "/api/v1/workflows", Viewer, 200),
    ("POST", "/api/v1/workflows", Operator, 422),
    ("GET", "/api/v1/workflows/{id}", Viewer, 404),
    ("POST", "/api/v1/workflows/{id}/retire", Operator, 404),
    ("GET", "/api/v1/dead-letters", Viewer, 200),
    ("GET", "/api/v1/dead-letters/groups", Viewer, 200),
    ("POST", "/api/v1/dead-letters/retry", Operator, 400),
    ("POST", "/api/v1/dead-letters/discard", Operator, 400),
    ("GET", "/api/v1/runs/{id}/failure", Viewer, 404),
    ("GET", "/api/v1/runs", Viewer, 200),
    ("POST", "/api/v1/runs", Operator, 422),
    ("POST", "/api/v1/runs/purge", Operator, 422),
    ("GET", "/api/v1/runs/{id}", Viewer, 404),
    ("DELETE", "/api/v1/runs/{id}", Admin, 404),
    ("GET", "/api/v1/runs/{id}/input", Viewer, 404),
    ("GET", "/api/v1/runs/{id}/why", Viewer, 404),
    ("GET", "/api/v1/runs/{id}/timeline", Viewer, 404),
    ("GET", "/api/v1/runs/{id}/diff", Viewer, 404),
    ("GET", "/api/v1/runs/{id}/replay", Viewer, 404),
    ("POST", "/api/v1/runs/{id}/replay", Viewer, 422),
    ("POST", "/api/v1/runs/{id}/approve", Operator, 404),
    ("POST", "/api/v1/runs/{id}/reject", Operator, 404),
    ("POST", "/api/v1/runs/{id}/signals", Operator, 422),
    ("POST", "/api/v1/runs/{id}/pause", Operator, 404),
    ("POST", "/api/v1/runs/{id}/resume", Operator, 404),
    ("POST", "/api/v1/runs/{id}/cancel", Operator, 404),
    ("POST", "/api/v1/runs/{id}/retry", Operator, 404),
    ("POST", "/api/v1/runs/{id}/discard", Operator, 404),
    ("POST", "/api/v1/runs/{id}/fork", Operator, 422),
    ("GET", "/api/v1/schedules", Viewer, 200),
    ("PUT", "/api/v1/schedules/{id}", Operator, 422),
    ("GET", "/api/v1/schedules/{id}", Viewer, 404),
    ("DELETE", "/api/v1/schedules/{id}", Operator, 404),
    ("GET", "/api/v1/schedules/{id}/input", Viewer, 404),
    ("POST", "/api/v1/schedules/{id}/pause", Operator, 404),
    ("POST", "/api/v1/schedules/{id}/resume", Operator, 404),
    ("POST", "/api/v1/schedules/{id}/run", Operator, 404),
    ("GET", "/api/v1/system/actors", System, 200),
    ("GET", "/api/v1/system/audit", System, 200),
    ("GET", "/api/v1/system/audit/head", System, 200),
    ("POST", "/api/v1/system/audit/key", System, 200),
    ("GET", "/api/v1/system/audit/export", System, 200),
    ("GET", "/api/v1/orgs", Viewer, 200),
    ("POST", "/api/v1/orgs", System, 422),
    ("GET", "/api/v1/tokens", Admin, 200),
    ("POST", "/api/v1/tokens", Admin, 422),
    ("DELETE", "/api/v1/tokens/{id}", Admin, 404),
    ("GET", "/api/v1/signing-keys", System, 200),
    ("POST", "/api/v1/signing-keys", System, 201),
    ("POST", "/api/v1/signing-keys/{id}/promote", System, 404),
    ("POST", "/api/v1/signing-keys/{id}/retire", System, 404),
    ("POST", "/register", Anybody, 401),
    ("POST", "/claim", Worker, 204),
    ("POST", "/heartbeat", Worker, 200),
    ("POST", "/leave", Worker, 200),
    ("POST", "/report", Worker, 422),
    ("POST", "/reports", Worker, 422),
    ("POST", "/tasks/{id}/complete", Worker, 404),
    ("POST", "/tasks/{id}/fail", Worker, 404),
    ("POST", "/tasks/{id}/release", Worker, 422),
    ("POST", "/tasks/{id}/progress", Worker, 404),
    ("POST", "/tasks/{id}/checkpoints", Worker, 404),
    ("POST", "/tasks/{id}/checkpoints/read", Worker, 404),
    ("POST", "/workers/{id}/heartbeat", Worker, 404),
    ("GET", "/tasks", Viewer, 200),
    ("POST", "/tasks", Operator, 201),
    ("POST", "/tasks/batch", Operator, 422),
    ("GET", "/tasks/{id}", Viewer, 404),
    ("GET", "/tasks/{id}/why", Viewer, 404),
    ("GET", "/tasks/{id}/history", Viewer, 404),
    ("POST", "/tasks/{id}/cancel", Operator, 404),
    ("POST", "/tasks/{id}/retry", Operator, 404),
    ("POST", "/tasks/{id}/discard", Operator, 404),
    ("GET", "/dead-letters", Viewer, 200),
    ("GET", "/dead-letters/groups", Viewer, 200),
    ("POST", "/dead-letters/retry", Operator, 400),
    ("POST", "/dead-letters/discard", Operator, 400),
    ("GET", "/policy", Viewer, 200),
    ("PUT", "/policy", Admin, 200),
    ("PATCH", "/policy", Admin, 200),
    ("GET", "/retention", Viewer, 200),
    ("PUT", "/retention", Admin, 200),
    ("POST", "/retention/sweep", Admin, 200),
    ("DELETE", "/tasks/{id}", Admin, 404),
    ("GET", "/jwks.json", Anybody, 200),
    ("GET", "/models/normalize", Viewer, 400),
    ("POST", "/pause", Operator, 200),
    ("POST", "/resume", Operator, 200),
    ("GET", "/workers", Viewer, 200),
    ("GET", "/workers/{id}", Viewer, 404),
    ("POST", "/workers/{id}/approve", Admin, 404),
    ("PATCH", "/workers/{id}/approve", Admin, 404),
    ("POST", "/workers/{id}/reject", Admin, 404),
    ("PATCH", "/workers/{id}/reject", Admin, 404),
    ("POST", "/workers/{id}/revoke", Admin, 404),
    ("PATCH", "/workers/{id}/revoke", Admin, 404),
    ("POST", "/workers/{id}/quarantine", Admin, 404),
    ("POST", "/workers/{id}/unlock", Admin, 404),
    ("POST", "/workers/{id}/token", Anybody, 422),
    ("GET", "/workers/{id}/tokens", Viewer, 404),
    ("GET", "/task-tokens/revoked", Viewer, 200),
    ("DELETE", "/task-tokens/{id}", Admin, 404),
    ("POST", "/workers/{id}/pause", Admin, 404),
    ("POST", "/workers/{id}/resume", Admin, 404),
    ("POST", "/workers/{id}/reset-suspicions", Admin, 404),
    ("GET", "/suspicions", Viewer, 200),
    ("GET", "/alerts", Viewer, 200),
    ("POST", "/alerts/{id}/acknowledge", Operator, 404),
    ("GET", "/sinks", Viewer, 200),
    ("POST", "/sinks", Admin, 422),
    ("DELETE", "/sinks/{id}", Admin, 404),
    ("POST", "/sinks/{id}/rotate", Admin, 404),
    ("POST", "/sinks/{id}/test", Admin, 404),
    ("GET", "/enrollment-keys", Viewer, 200),
    ("POST", "/enrollment-keys", Admin, 400),
    ("DELETE", "/enrollment-keys/{id}", Admin, 404),
    ("GET", "/payload-keys", Viewer, 200),
    ("POST", "/payload-keys", Admin, 201),
    ("POST", "/payload-keys/reencrypt", Admin, 202),
    ("POST", "/payload-keys/export", Admin, 200),
    ("POST", "/payload-keys/{id}/promote", Admin, 404),
    ("POST", "/payload-keys/{id}/retire", Admin, 404),
    ("GET", "/audit", Viewer, 200),
    ("GET", "/audit/head", Viewer, 200),
    ("GET", "/audit/key", Viewer, 200),
    ("GET", "/audit/export", Admin, 200),
    ("GET", "/audit/unsealed", Admin, 200),
];

/// Everybody who may call: a name, the client, and what it is.
async fn callers(server: &Server) -> Vec<(&'static str, Client, For)> {
    let (admin, other) = (&server.admin, server.tenant("other").await);
    let token = async |role: &str| {
        let body = json!({"name": role, "role": role});
        let made = admin.send("POST", "/api/v1/tokens", Some(&body)).await;
        assert_eq!(made.status, 201, "{}", made.text);
        let text = made.json["token"].as_str().unwrap().to_owned();
        server.anybody().with("authorization", &format!("Bearer {text}"))
    };
    let pending = other.key(json!({"name": "k"})).await;
    let joined = server.anybody().post("/register", &json!({"enrollment_key": pending})).await;
    assert_eq!(joined.json["status"], "pending");
    vec![
        ("nobody", server.anybody(), Anybody),
        ("a wrong token", server.anybody().with("authorization", "Bearer fwt_wrong"), Anybody),
        ("a wrong secret", server.worker("w").await.with("x-worker-secret", "fws_wrong"), Anybody),
        ("a worker", server.worker("w").await, Worker),
        ("a worker of another organisation", server.worker_of(&other, json!({})).await, Worker),
        ("a worker with a task token", KeyWorker::join(server, admin).await.fresh().await, Worker),
        ("a viewer", token("viewer").await, Viewer),
        ("an operator", token("operator").await, Operator),
        ("an administrator", token("admin").await, Admin),
        ("an administrator of another organisation", other, Admin),
        ("an administrator of the system", admin.clone(), System),
    ]
}

/// What a caller gets who may not: a worker and a person prove themselves in different ways.
fn refused(caller: For, needed: For) -> u16 {
    match (caller, needed) {
        (Anybody | Worker, _) | (_, Worker) => 401,
        _ => 403,
    }
}

fn may(caller: For, needed: For) -> bool {
    match needed {
        Anybody => true,
        Worker => caller == Worker,
        _ => caller >= needed,
    }
}

async fn call(client: &Client, method: &str, path: &str, id: &str) -> Answer {
    let path = path.replace("{id}", id);
    let path = match path.starts_with("/api") || path.ends_with('z') || path == "/metrics" {
        true => path,
        false => format!("{FLEET}{path}"),
    };
    let body = if path.ends_with("/claim") { json!({"poll_timeout": 0}) } else { json!({}) };
    client.send(method, &path, (method != "GET").then_some(&body)).await
}

#[test]
fn every_route_answers_every_kind_of_caller_as_the_table_says() {
    with_server(async |server| {
        for (name, client, caller) in callers(server).await {
            for (method, path, needed, outcome) in TABLE {
                let expected = match may(caller, *needed) {
                    true => *outcome,
                    false => refused(caller, *needed),
                };
                let answer = call(&client, method, path, NOTHING).await;
                assert_eq!(answer.status, expected, "{name}: {method} {path}: {}", answer.text);
            }
        }
    });
}

#[test]
fn table_has_a_row_for_every_route() {
    let variables: Vec<(&str, &str)> = ROUTES
        .lines()
        .filter_map(|line| line.trim().strip_prefix("let ")?.split_once(" = "))
        .collect();
    let mut there = BTreeSet::new();
    for line in ROUTES.lines() {
        let Some(route) = line.trim().strip_prefix(".route(\"") else { continue };
        let (path, handlers) = route.split_once("\", ").unwrap();
        let name = handlers.trim_end_matches(')');
        let handlers = variables.iter().find(|(known, _)| *known == name).map_or(handlers, |v| v.1);
        let methods = ["get", "post", "put", "patch", "delete"];
        let known: Vec<_> =
            methods.iter().filter(|method| handlers.contains(&format!("{method}("))).collect();
        assert!(!known.is_empty(), "no method is seen in {line}");
        there.extend(known.iter().map(|method| (method.to_uppercase(), path.to_owned())));
    }
    let rows: BTreeSet<_> =
        TABLE.iter().map(|(method, path, ..)| ((*method).to_owned(), (*path).to_owned())).collect();

    assert_eq!(there, rows);
    assert_eq!(rows.len(), TABLE.len(), "a row stands twice");
}

#[test]
fn foreign_ids_and_absent_ids_are_answered_alike() {
    with_server(async |server| {
        let other = server.tenant("other").await;
        let worker = server.worker("w").await;
        let task = server.submit(json!(1)).await;
        let keys = server.admin.get("/enrollment-keys").await.json;
        let key = keys["keys"][0]["id"].as_str().unwrap();
        for (method, path, needed, _) in TABLE.iter().filter(|(_, path, ..)| path.contains("{id}"))
        {
            let foreign = match path {
                path if path.contains("/tasks/") => task.as_str(),
                path if path.contains("/workers/") => worker.header("x-worker-id"),
                path if path.contains("/enrollment-keys/") => key,
                _ => continue,
            };
            let caller = match needed {
                Worker => server.worker_of(&other, json!({})).await,
                _ => other.clone(),
            };
            let said = async |id: &str| {
                let Answer { status, json, .. } = call(&caller, method, path, id).await;
                let words: Vec<Value> =
                    ["code", "detail", "status"].map(|field| json[field].clone()).into();
                (status, words)
            };
            assert_eq!(said(foreign).await, said(NOTHING).await, "{method} {path}");
        }
    });
}
