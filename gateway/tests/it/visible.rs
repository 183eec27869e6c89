//! What can be seen from outside: metrics, probes, request ids.

use serde_json::json;

use crate::server::with_server;

#[test]
fn metrics_name_what_an_operator_watches() {
    with_server(async |server| {
        let worker = server.worker("w").await;
        server.submit(json!("x")).await;
        let claimed = worker.take().await;
        worker.complete(&claimed, json!("y")).await;

        let text = server.anybody().send("GET", "/metrics", None).await.text;

        for name in [
            "fleetward_dispatch_seconds",
            "fleetward_journal_batch_events",
            "fleetward_journal_commit_seconds",
            "fleetward_journal_lag_seconds",
            "fleetward_permits_in_use",
            "fleetward_messages_waiting",
            "fleetward_actor_restarts",
            "fleetward_connections_open",
            "fleetward_queue_depth",
            "fleetward_polls_parked",
        ] {
            assert!(text.contains(name), "{name}\n{text}");
        }
    });
}

#[test]
fn request_id_of_the_caller_comes_back_and_stands_in_problems() {
    with_server(async |server| {
        let asked = server.anybody().with("x-request-id", "my-id-1");
        let answer = asked.send("GET", "/api/v1/fleet/tasks", None).await;
        assert_eq!(answer.status, 401);
        assert_eq!(answer.headers["x-request-id"], "my-id-1");
        assert_eq!(answer.json["request_id"], "my-id-1");
        assert!(answer.headers.contains_key("www-authenticate"));
        let other = server.anybody().send("GET", "/healthz", None).await;
        assert!(!other.headers["x-request-id"].is_empty());
    });
}

#[test]
fn outage_of_the_store_is_a_503_that_says_when_to_try_again() {
    with_server(async |server| {
        server.store.set_away(true);
        let ready = server.anybody().send("GET", "/readyz", None).await;
        assert_eq!(ready.status, 503, "{}", ready.text);
        assert!(ready.headers.contains_key("retry-after"));
        assert_eq!(server.anybody().send("GET", "/healthz", None).await.status, 200);
        server.store.set_away(false);
        assert_eq!(server.anybody().send("GET", "/readyz", None).await.status, 200);
    });
}

#[test]
fn actors_are_shown_to_the_system_only() {
    with_server(async |server| {
        let tenant = server.tenant("acme").await;
        let refused = tenant.send("GET", "/api/v1/system/actors", None).await;
        assert_eq!(refused.status, 403);
        let shown = server.admin.send("GET", "/api/v1/system/actors", None).await;
        assert!(shown.text.contains("system/journal"), "{}", shown.text);
    });
}
