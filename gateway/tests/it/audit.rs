//! The record of what happened: who, by which request, from where.

use fleetward_gateway::GatewayOptions;
use serde_json::{Value, json};

use crate::server::{Server, Setup, with, with_server};

/// Kind, request and address of what the record holds, oldest first.
async fn told(server: &Server) -> Vec<(String, String, String)> {
    let events = server.admin.get("/audit?limit=200").await.json["events"].clone();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let told =
        |event: &Value| (text(&event["type"]), text(&event["request_id"]), text(&event["source"]));
    events.as_array().unwrap().iter().rev().map(told).collect()
}

#[test]
fn every_event_names_the_request_that_caused_it() {
    with_server(async |server| {
        let worker = server.worker("w").await;
        let asking = |client: &crate::server::Client, id| client.clone().with("x-request-id", id);
        let polling = asking(&worker, "poll-1").park().await;
        asking(&server.admin, "submit-1").submit(json!({"payload": 1})).await;
        let claimed = polling.await.unwrap().json;
        server.submit(json!(2)).await;
        asking(&worker, "report-1").complete(&claimed, json!(1)).await;
        let second = asking(&worker, "poll-2").take().await;
        let back = json!({"attempt": second["attempt"], "claim_token": second["claim_token"]});
        let path = format!("/tasks/{}/release", second["run_id"].as_str().unwrap());
        asking(&worker, "back-1").post(&path, &back).await;
        let path = format!("/tasks/{}/cancel", second["run_id"].as_str().unwrap());
        asking(&server.admin, "cancel-1").post(&path, &json!({})).await;

        let told = told(server).await;
        let of = |kind: &str| -> Vec<&str> {
            let named = told.iter().filter(|(known, ..)| known == kind);
            named.map(|(_, request, _)| request.as_str()).collect()
        };
        assert_eq!(of("task.submitted")[0], "submit-1");
        assert_eq!(of("task.submitted")[1].len(), 36, "an id that the server made");
        assert_eq!(of("task.claimed"), ["poll-1", "poll-2"]);
        assert_eq!(of("task.completed"), ["report-1"]);
        assert_eq!(of("task.returned"), ["back-1"]);
        assert_eq!(of("task.cancelled"), ["cancel-1"]);
        assert!(told.iter().all(|(_, _, source)| source == "127.0.0.1"), "{told:?}");
    });
}

#[test]
fn proxy_that_is_trusted_says_where_a_request_comes_from() {
    for (trusted, expected) in [("127.0.0.0/8", "203.0.113.9"), ("10.0.0.0/8", "127.0.0.1")] {
        let trusted_proxies = vec![trusted.parse().unwrap()];
        let options = GatewayOptions { trusted_proxies, ..GatewayOptions::default() };
        with(Setup { options, ..Setup::default() }, async |server| {
            let forwarded = "198.51.100.1, 203.0.113.9";
            let client = server.admin.clone().with("x-forwarded-for", forwarded);
            client.submit(json!({"payload": 1})).await;

            let told = told(server).await;
            let submitted = told.iter().find(|(kind, ..)| kind == "task.submitted").unwrap();
            assert_eq!(submitted.2, expected, "{trusted}");
        });
    }
}
