//! The record of what happened: who, by which request, from where.

use std::time::Duration;

use fleetward_gateway::GatewayOptions;
use serde_json::{Value, json};

use crate::server::{Answer, Client, Server, Setup, with, with_server};

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
        let asking = |client: &Client, id| client.clone().with("x-request-id", id);
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

fn positions(page: &Answer) -> Vec<u64> {
    let events = page.json["events"].as_array().unwrap();
    events.iter().map(|event| event["position"].as_u64().unwrap()).collect()
}

/// The events of a kind that come after a position, once there is one.
async fn next(client: &Client, place: &str, kind: &str, after: u64) -> Value {
    let path = format!("/api/v1/{place}/audit?type={kind}&after={after}&wait=60");
    let page = client.send("GET", &path, None).await;
    assert_eq!(page.status, 200, "{}", page.text);
    page.json["events"].clone()
}

#[test]
fn record_is_paged_in_both_directions_and_by_what_is_asked() {
    with_server(async |server| {
        let worker = server.worker("w").await;
        for n in 0..5 {
            server.submit(json!(n)).await;
            let claimed = worker.take().await;
            worker.complete(&claimed, json!(n)).await;
        }
        let all = positions(&server.admin.get("/audit?after=0&limit=200").await);
        let newest = positions(&server.admin.get("/audit?limit=200").await);
        let walk = async |direction: &str, first: u64| {
            let (mut seen, mut next) = (Vec::new(), first);
            loop {
                let path = format!("/audit?type=task.*&limit=2&{direction}={next}");
                let page = server.admin.get(&path).await;
                let found = positions(&page);
                let Some(more) = page.json["next"].as_u64().filter(|_| !found.is_empty()) else {
                    seen.extend(found);
                    return seen;
                };
                (next, seen) = (more, [seen, found].concat());
            }
        };

        let (forth, mut back) = (walk("after", 0).await, walk("before", 1_000).await);
        back.reverse();
        assert_eq!(all, (1..=all.len() as u64).collect::<Vec<_>>());
        assert_eq!(newest, all.iter().rev().copied().collect::<Vec<_>>());
        assert_eq!((forth.len(), &forth), (15, &back));
        let id = worker.header("x-worker-id").to_owned();
        for (asked, count) in [
            ("type=task.claimed,task.completed".to_owned(), 10),
            (format!("by=worker:{id}"), 10),
            ("by=system&type=task.*".to_owned(), 0),
            ("since=2027-01-15T08:00:00Z&type=task.*".to_owned(), 15),
            ("until=2027-01-15T08:00:00Z".to_owned(), 0),
            ("request_id=nobody".to_owned(), 0),
        ] {
            for direction in ["", "&after=0"] {
                let page = server.admin.get(&format!("/audit?limit=200&{asked}{direction}")).await;
                assert_eq!(page.json["total"], count, "{asked}{direction}");
            }
        }
        let task = server.submit(json!(9)).await;
        assert_eq!(server.admin.get(&format!("/audit?run_id={task}")).await.json["total"], 1);
        for wrong in ["before=1&after=1", "until=later", "limit=0", "wait=-1"] {
            assert_eq!(server.admin.get(&format!("/audit?{wrong}")).await.problem().0, 400);
        }
    });
}

#[test]
fn tail_waits_for_what_happens_and_goes_on_where_it_was() {
    with_server(async |server| {
        let head = server.admin.get("/audit/head").await.json["position"].as_u64().unwrap();
        let (admin, asked) = (server.admin.clone(), head);
        let waits =
            tokio::spawn(async move { next(&admin, "fleet", "task.submitted", asked).await });
        server.worker("w").await;
        let task = server.submit(json!(1)).await;

        let events = waits.await.unwrap();

        assert_eq!(events.as_array().unwrap().len(), 1);
        assert_eq!(events[0]["subject"], task);
    });
}

#[test]
fn refused_requests_are_one_event_a_minute_in_the_record_they_belong_to() {
    with_server(async |server| {
        let other = server.tenant("other").await;
        let viewer = json!({"name": "v", "role": "viewer"});
        let made = other.send("POST", "/api/v1/tokens", Some(&viewer)).await;
        let token = made.json["token"].as_str().unwrap();
        let viewer = server.anybody().with("authorization", &format!("Bearer {token}"));
        let heads = async || {
            let system = server.admin.send("GET", "/api/v1/system/audit/head", None).await;
            let other = other.get("/audit/head").await;
            [system, other].map(|head| head.json["position"].as_u64().unwrap())
        };
        // The first use of a token is an event of its own.
        viewer.get("/audit/head").await;
        let (mut roles, mut after) = (Vec::new(), 0);
        while roles.len() < 2 {
            for event in next(&other, "fleet", "token.used", after).await.as_array().unwrap() {
                roles.push(event["details"]["role"].as_str().unwrap().to_owned());
                after = event["position"].as_u64().unwrap();
            }
        }
        roles.sort_unstable();
        assert_eq!(roles, ["admin", "viewer"]);
        next(&server.admin, "system", "token.used", 0).await;
        let wrong = server.anybody().with("authorization", "Bearer fwt_wrong");
        for _ in 0..40 {
            assert_eq!(wrong.get("/tasks").await.status, 401);
        }
        for _ in 0..3 {
            assert_eq!(viewer.post("/pause", &json!({})).await.status, 403);
            assert_eq!(viewer.get("/tasks/nothing").await.status, 404);
        }

        server.clock.advance(Duration::from_secs(60));
        let system = next(&server.admin, "system", "request.refused", 0).await;
        let other_events = next(&other, "fleet", "request.refused", 0).await;

        let source = json!([{"address": "127.0.0.1", "count": 40}]);
        assert_eq!(system.as_array().unwrap().len(), 1);
        assert_eq!(system[0]["details"]["codes"], json!({"bad_token": 40}));
        assert_eq!(system[0]["details"]["sources"], source);
        assert_eq!(other_events[0]["details"]["count"], 6);
        let codes = json!({"not_found": 3, "role_too_low": 3});
        assert_eq!(other_events[0]["details"]["codes"], codes);
        let before = heads().await;
        server.clock.advance(Duration::from_secs(600));
        server.admin.submit(json!({"payload": 1})).await;
        assert_eq!(heads().await, before, "nothing was refused, so nothing was noted");
    });
}

#[test]
fn what_is_unsealed_is_on_the_record_each_time_before_it_is_answered() {
    with_server(async |server| {
        let worker = server.worker("w").await;
        let task = server.submit(json!({"secret": "hush"})).await;
        let claimed = worker.take().await;
        worker.complete(&claimed, json!("done")).await;
        let head = server.admin.get("/audit/head").await.json["position"].as_u64().unwrap();

        let first = server.admin.get("/audit/unsealed?after=0&limit=200").await.json;
        let again = server.admin.get("/audit/unsealed?after=0&limit=200").await.json;

        let texts = |page: &Value| -> Vec<(String, String)> {
            let events = page["events"].as_array().unwrap().iter();
            let text = |event: &Value| {
                let text = event["sealed"]["text"].as_str()?.to_owned();
                Some((event["event"]["type"].as_str().unwrap().to_owned(), text))
            };
            events.filter_map(text).collect()
        };
        let expected =
            [("task.submitted", r#"{"secret":"hush"}"#), ("task.completed", r#""done""#)];
        let expected = expected.map(|(kind, text)| (kind.to_owned(), text.to_owned()));
        assert_eq!((texts(&first), texts(&again)), (expected.to_vec(), expected.to_vec()));
        assert_eq!(first["next"], Value::Null);
        let reads = server.admin.get("/audit?type=payload.read&after=0").await.json;
        let reads = reads["events"].as_array().unwrap();
        assert_eq!(reads.len(), 2, "each time: {reads:?}");
        assert_eq!(reads[0]["details"]["positions"], json!({"first": 1, "last": head}));
        assert_eq!(reads[0]["details"]["tasks"], json!([task]));
        let rest = server.admin.get(&format!("/audit/unsealed?after={head}")).await;
        assert_eq!(texts(&rest.json), [], "what was noted has nothing sealed");
        let reads = server.admin.get("/audit?type=payload.read&after=0").await.json;
        assert_eq!(reads["total"], 2, "and looking at that is no reading");
        let page = server.admin.get("/audit/unsealed?after=0&limit=1").await.json;
        assert_eq!((page["events"].as_array().unwrap().len(), &page["next"]), (1, &json!(1)));
        assert_eq!(server.admin.get("/audit/unsealed?limit=0").await.problem().0, 400);
    });
}

#[test]
fn reading_what_a_task_gave_is_on_the_record_before_it_is_answered() {
    with_server(async |server| {
        let worker = server.worker("w").await;
        let task = server.submit(json!(1)).await;
        let claimed = worker.take().await;
        server.admin.task(&task).await;
        worker.complete(&claimed, json!("done")).await;
        let read = async || server.admin.get("/audit?type=payload.read").await.json;

        assert_eq!(read().await["total"], 0, "there was nothing to read");
        let client = server.admin.clone().with("x-request-id", "read-1");
        assert_eq!(client.task(&task).await["output"], "done");
        server.admin.get("/tasks").await;
        server.admin.get(&format!("/tasks/{task}/history")).await;

        let events = read().await["events"].clone();
        assert_eq!(events.as_array().unwrap().len(), 1, "once in ten minutes: {events}");
        assert_eq!(events[0]["details"]["tasks"], json!([task]));
        assert_eq!(events[0]["request_id"], "read-1");
    });
}
