//! What the server shows of itself and of what happened.

use std::time::Duration;

use serde_json::{Value, json};

use crate::server::{FLEET, with_server};

#[test]
fn request_ids_are_taken_where_they_are_harmless_and_made_where_not() {
    with_server(async |server| {
        let id = async |given: Option<&str>| {
            let client = server.anybody();
            let client = match given {
                Some(given) => client.with("x-request-id", given),
                None => client,
            };
            let answer = client.send("GET", "/healthz", None).await;
            answer.headers["x-request-id"].to_str().unwrap().to_owned()
        };

        let long = "x".repeat(129);
        assert_eq!(id(Some("trace-7/a")).await, "trace-7/a");
        assert_eq!(id(None).await.len(), 36);
        assert_eq!(id(Some("a b")).await.len(), 36);
        assert_eq!(id(Some(&long)).await.len(), 36);
        assert_ne!(id(None).await, id(None).await);
    });
}

#[test]
fn probes_need_no_token_and_say_how_it_is() {
    with_server(async |server| {
        let anybody = server.anybody();
        let worker = server.worker("w").await;
        let parked = worker.park().await;

        let health = anybody.send("GET", "/healthz", None).await;
        let ready = anybody.send("GET", "/readyz", None).await;
        let metrics = anybody.send("GET", "/metrics", None).await;

        assert_eq!(health.json, json!({"status": "ok", "version": env!("CARGO_PKG_VERSION")}));
        assert_eq!((ready.status, &ready.json["ready"]), (200, &json!(true)));
        assert!(metrics.headers["content-type"].to_str().unwrap().starts_with("text/plain"));
        for name in [
            "fleetward_threads 2",
            "fleetward_permits_in_use 0",
            "fleetward_connections_open ",
            "fleetward_messages_waiting{actor=\"dispatcher\"}",
            "fleetward_messages_oldest_seconds{actor=\"journal\"}",
            "fleetward_restarts{actor=\"registry\"} 0",
            "fleetward_http_requests_total{",
            "fleetward_journal_commit_seconds_bucket",
            "fleetward_workers{",
        ] {
            assert!(metrics.text.contains(name), "{name} in {}", metrics.text);
        }
        assert!(!metrics.text.contains(worker.header("x-worker-id")), "ids are no labels");
        parked.abort();
    });
}

#[test]
fn routes_past_the_router_are_seen_like_all_others() {
    with_server(async |server| {
        let worker = server.worker("w").await;
        for (who, route) in [(&server.admin, "/tasks"), (&worker, "/claim"), (&worker, "/report")] {
            let said = who.post(route, &json!([])).await;
            assert_eq!(said.problem(), (422, "invalid_body"), "{route}");
            assert!(said.json["request_id"].is_string(), "{route}");
            let path = format!("/api/v1/fleet{route}");
            let other = who.send("PUT", &path, None).await;
            assert_eq!(other.problem(), (405, "method_not_allowed"), "{route}");

            let metrics = server.anybody().send("GET", "/metrics", None).await.text;
            let named = |line: &str| {
                line.contains("method=\"POST\"") && line.contains(&format!("route=\"{path}\""))
            };
            assert!(metrics.lines().any(named), "{route}");
        }
    });
}

#[test]
fn outage_of_the_store_is_said_and_may_be_waited_for() {
    with_server(async |server| {
        let held = server.store.hold();
        let admin = server.admin.clone();
        let unknown = tokio::spawn(async move { admin.post("/tasks", &json!({})).await });
        held.until_waiting(1).await;

        let unknown = unknown.await.unwrap();

        assert_eq!(unknown.problem(), (503, "outcome_unknown"));
        drop(held);
    });
}

#[test]
fn worker_that_says_goodbye_is_shown_as_gone_until_it_is_heard_of() {
    with_server(async |server| {
        let worker = server.worker("w").await;
        let path = format!("/workers/{}", worker.header("x-worker-id"));
        let left = async || server.admin.get(&path).await.json["left_at"].clone();
        worker.post("/heartbeat", &json!({})).await;
        assert_eq!(left().await, Value::Null);

        for comes_back in ["/heartbeat", "/claim"] {
            assert_eq!(worker.post("/leave", &json!({})).await.status, 200);
            assert!(left().await.is_string(), "{comes_back}");
            let listed = server.admin.get("/workers").await.json;
            assert!(listed["workers"][0]["left_at"].is_string());
            worker.post(comes_back, &json!({"poll_timeout": 0})).await;
            assert_eq!(left().await, Value::Null, "{comes_back}");
        }
    });
}

#[test]
fn workers_are_listed_with_what_they_were_let_in_with() {
    with_server(async |server| {
        let body = json!({"name": "w1", "models": ["GPT-4o"], "max_concurrent": 3});
        let worker = server.worker_of(&server.admin, body).await;
        let id = worker.header("x-worker-id");
        worker.post("/heartbeat", &json!({})).await;
        server.clock.advance(Duration::from_secs(3));
        assert_eq!(worker.claim(0).await.status, 204);
        server.clock.advance(Duration::from_secs(2));

        let list = server.admin.get("/workers").await.json;
        let one = server.admin.get(&format!("/workers/{id}")).await.json;

        let shown = &list["workers"][0];
        assert_eq!((&list["total"], &shown["id"]), (&json!(1), &json!(id)));
        assert_eq!(
            shown["capabilities"],
            json!({"models_supported": ["GPT-4o"], "models_canonical": ["gpt-4o"],
                   "max_concurrent": 3, "labels": {}, "pool": "default", "sdk_version": null})
        );
        assert_eq!(shown["approval_status"], "approved");
        for seen in [shown, &one] {
            assert_eq!(seen["last_heartbeat"], "2027-01-15T08:00:00.000000Z");
            assert_eq!(seen["last_poll"], "2027-01-15T08:00:03.000000Z");
            assert_eq!(seen["heartbeat_age_seconds"], 5.0);
            assert_eq!(seen["poll_age_seconds"], 2.0);
        }
        assert_eq!((&one["status"], &one["max_concurrent"]), (&json!("approved"), &json!(3)));
        assert_eq!(server.admin.get("/workers?status=pending").await.json["workers"], json!([]));
        let again = server.admin.post(&format!("/workers/{id}/reject"), &json!({})).await;
        assert_eq!(again.problem(), (409, "wrong_standing"));
    });
}

#[test]
fn tasks_are_listed_newest_first_page_by_page() {
    with_server(async |server| {
        let mut submitted = Vec::new();
        for n in 0..5 {
            submitted.push(server.submit(json!(n)).await);
        }
        submitted.reverse();

        let mut seen = Vec::new();
        let mut next = String::new();
        loop {
            let page = server.admin.get(&format!("/tasks?status=pending&limit=2{next}")).await.json;
            let tasks = page["tasks"].as_array().unwrap();
            seen.extend(tasks.iter().map(|task| task["run_id"].as_str().unwrap().to_owned()));
            let Some(before) = page["next"].as_u64() else { break };
            next = format!("&before={before}");
        }

        assert_eq!(seen, submitted);
        assert_eq!(server.admin.get("/tasks?status=claimed").await.json["tasks"], json!([]));
    });
}

#[test]
fn workers_and_keys_are_listed_page_by_page() {
    with_server(async |server| {
        for n in 0..3 {
            let body = json!({"name": format!("k{n}"), "auto_approve": true});
            let made = server.admin.post("/enrollment-keys", &body).await;
            let join = json!({"name": format!("w{n}"), "enrollment_key": made.json["key"]});
            assert_eq!(server.admin.post("/register", &join).await.status, 201);
        }

        for (list, route) in [("workers", "/workers"), ("keys", "/enrollment-keys")] {
            let first = server.admin.get(&format!("{route}?limit=2")).await.json;
            let rest = format!("{route}?limit=2&before={}", first["next"]);
            let rest = server.admin.get(&rest).await.json;

            let names = |page: &serde_json::Value| -> Vec<String> {
                let name = |row: &serde_json::Value| row["name"].as_str().unwrap().to_owned();
                page[list].as_array().unwrap().iter().map(name).collect()
            };
            let initial = &list[..1];
            let expected = ["2", "1", "0"].map(|n| format!("{initial}{n}"));
            assert_eq!([names(&first), names(&rest)].concat(), expected);
            assert_eq!((&first["total"], &rest["next"]), (&json!(3), &json!(null)));
        }
    });
}

#[test]
fn keys_are_listed_without_their_text_and_taken_back() {
    with_server(async |server| {
        let admin = &server.admin;
        let body = json!({"name": "k", "pool": "gpu", "pools": ["cpu"], "max_uses": 2});
        let made = admin.post("/enrollment-keys", &body).await;
        let (id, text) = (made.json["id"].as_str().unwrap(), made.json["key"].as_str().unwrap());

        let list = admin.get("/enrollment-keys").await;
        let route = format!("{FLEET}/enrollment-keys/{id}");
        let revoked = admin.send("DELETE", &route, None).await;

        assert!(text.starts_with("wrt-1.") && !list.text.contains(text));
        assert_eq!(list.json["keys"][0]["allowed_pools"], json!(["cpu", "gpu"]));
        assert_eq!((&list.json["total"], &list.json["keys"][0]["id"]), (&json!(1), &json!(id)));
        assert!(!list.text.contains("hash"));
        assert_eq!(revoked.json, json!({"status": "ok"}));
        let list = admin.get("/enrollment-keys").await.json;
        assert_eq!(list["keys"][0]["revoked"], true);
        let join = json!({"pool": "gpu", "enrollment_key": text});
        let join = server.anybody().post("/register", &join).await;
        assert_eq!(join.problem(), (401, "bad_enrollment_key"));
    });
}

#[test]
fn audit_names_what_happened_and_to_whom() {
    with_server(async |server| {
        let worker = server.worker("w").await;
        let id = worker.header("x-worker-id");
        server.submit(json!("hidden words")).await;
        let claimed = worker.take().await;
        worker.complete(&claimed, json!("hidden words")).await;

        let of_worker = server.admin.get(&format!("/audit?worker_id={id}&limit=200")).await;
        let done = server.admin.get("/audit?type=task.completed").await.json;
        let later = server.admin.get("/audit?since=2027-01-15T08:00:01Z").await.json;

        let events = of_worker.json["events"].as_array().unwrap();
        let kinds: Vec<_> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
        for kind in ["task.completed", "task.claimed", "worker.approved", "worker.registered"] {
            assert!(kinds.contains(&kind), "{kind} in {kinds:?}");
        }
        assert!(events.iter().all(|event| event["worker_id"] == id), "{events:?}");
        assert_eq!((&done["total"], &later["total"]), (&json!(1), &json!(0)));
        assert_eq!(done["events"][0]["subject"], claimed["run_id"]);
        assert_ne!(done["events"][0]["hash"], Value::Null);
        assert!(!of_worker.text.contains("hidden words"));
        assert!(!of_worker.text.contains("secret_hash"));
    });
}
