//! Durable functions over the worker protocol: checkpoints that only the newest attempt makes, and waits that hold no seat.

use std::time::Duration;

use serde_json::{Value, json};

use crate::server::{Answer, Client, Server, with_server};

const RUNS: &str = "/api/v1/runs";

async fn start(server: &Server, id: &str) {
    let body = json!({"function": "orders.ship", "run_id": id, "input": {"item": "lamp"}});
    let started = server.admin.send("POST", RUNS, Some(&body)).await;
    assert_eq!(started.status, 201, "{}", started.text);
}

async fn worker(server: &Server, name: &str) -> Client {
    let body = json!({"name": name, "handlers": ["orders.ship"]});
    server.worker_of(&server.admin, body).await
}

/// What a worker says of the attempt that it has, with the proof of it.
async fn say(worker: &Client, claimed: &Value, path: &str, mut body: Value) -> Answer {
    let task = claimed["run_id"].as_str().unwrap();
    body["attempt"] = claimed["attempt"].clone();
    body["claim_token"] = claimed["claim_token"].clone();
    match path {
        "report" => {
            body["run_id"] = task.into();
            worker.post("/report", &body).await
        }
        _ => worker.post(&format!("/tasks/{task}/{path}"), &body).await,
    }
}

async fn checkpoint(worker: &Client, claimed: &Value, index: u32, value: Value) -> Answer {
    let body = json!({"index": index, "name": "charge", "value": value, "took_ms": 3});
    say(worker, claimed, "checkpoints", body).await
}

async fn suspend(worker: &Client, claimed: &Value, waits: Value) -> Answer {
    say(worker, claimed, "report", json!({"status": "suspended", "waits": waits})).await
}

async fn look(server: &Server, id: &str) -> Value {
    server.admin.send("GET", &format!("{RUNS}/{id}"), None).await.json
}

#[test]
fn suspended_function_frees_its_seat_and_goes_on_where_it_was() {
    with_server(async |server| {
        let worker = worker(server, "w").await;
        start(server, "o1").await;
        let first = worker.take().await;
        assert_eq!(
            (&first["handler"], &first["checkpoints"]),
            (&json!("orders.ship"), &json!(null))
        );
        assert_eq!(checkpoint(&worker, &first, 0, json!({"paid": 1.50})).await.status, 200);
        let shown = look(server, "o1").await;
        assert_eq!(shown["functions"][0]["checkpoints"][0]["name"], "charge", "{shown}");

        let gate = json!({"prompt": "Ship it?", "context": {"to": "Ada"}, "quorum": 1,
                          "requester_may_approve": true});
        let waits = json!([
            {"index": 1, "what": "approval", "name": "ship", "approval": gate, "timeout_seconds": 3600},
            {"index": 2, "what": "sleep", "name": "sleep", "seconds": 30},
        ]);
        assert_eq!(suspend(&worker, &first, waits.clone()).await.status, 200);
        assert_eq!(suspend(&worker, &first, waits).await.status, 200, "a repeat");
        start(server, "o2").await;
        let other = worker.take().await;
        assert_ne!(other["step"], first["step"], "its only seat is free");
        assert_eq!(
            say(&worker, &other, "report", json!({"status": "completed"})).await.status,
            200
        );

        let waiting = look(server, "o1").await;
        assert_eq!(
            (&waiting["status"], &waiting["nodes"][0]["status"]),
            (&json!("waiting"), &json!("suspended"))
        );
        let asked = waiting["waits"].as_array().unwrap();
        let asked = asked.iter().find(|wait| wait["for"] == "approval").unwrap();
        assert_eq!(asked["key"], "orders-ship[1]/ship");
        assert_eq!(
            (&asked["gate"]["prompt"], &asked["gate"]["context"]["to"]),
            (&json!("Ship it?"), &json!("Ada"))
        );
        let why = server.admin.send("GET", &format!("{RUNS}/o1/why"), None).await.text;
        assert!(why.contains("orders-ship is suspended, on no worker"), "{why}");

        let parked = worker.park().await;
        server.clock.advance(Duration::from_secs(30));
        let second = parked.await.unwrap().json;
        assert_eq!(
            (&second["checkpoints"], &second["payload"]["item"]),
            (&json!(3), &json!("lamp"))
        );
        let read = say(&worker, &second, "checkpoints/read", json!({})).await.json;
        let expected = json!({"entries": [
            {"index": 0, "what": "step", "name": "charge", "status": "done", "value": {"paid": 1.50}},
            {"index": 1, "what": "approval", "name": "ship", "status": "waiting"},
            {"index": 2, "what": "sleep", "name": "sleep", "status": "done", "known_from": 1},
        ]});
        assert_eq!(read, expected);
        let approve = json!({"gate": "ship", "reason": "in stock"});
        let approved =
            server.admin.send("POST", &format!("{RUNS}/o1/approve"), Some(&approve)).await;
        assert_eq!(approved.status, 200, "{}", approved.text);
        let said = json!({"status": "completed", "output": "shipped"});
        assert_eq!(say(&worker, &second, "report", said).await.status, 200);

        let done = look(server, "o1").await;
        assert_eq!((&done["status"], &done["output"]), (&json!("completed"), &json!("shipped")));
        assert_eq!(done["functions"], json!(null), "nothing of it is left");
    });
}

#[test]
fn checkpoint_that_is_not_the_newest_attempts_own_is_refused() {
    with_server(async |server| {
        let (first, second) = (worker(server, "w1").await, worker(server, "w2").await);
        start(server, "o1").await;
        let lost = first.take().await;
        assert_eq!(checkpoint(&first, &lost, 0, json!("paid")).await.status, 200);
        assert_eq!(checkpoint(&first, &lost, 0, json!("paid")).await.status, 200, "a repeat");
        let other = checkpoint(&first, &lost, 0, json!("free")).await;
        assert_eq!(other.problem(), (409, "checkpoint_taken"));
        let large = checkpoint(&first, &lost, 1, json!("x".repeat((1 << 20) + 1))).await;
        assert_eq!(large.problem(), (413, "payload_too_large"));
        assert!(large.json["detail"].as_str().unwrap().contains("the limit is 1048576"));
        assert_eq!(
            checkpoint(&second, &lost, 1, json!(1)).await.problem(),
            (403, "bad_claim_token")
        );
        let step = json!([{"index": 3, "what": "step", "name": "charge"}]);
        assert_eq!(suspend(&first, &lost, step).await.status, 400);

        assert_eq!(say(&first, &lost, "release", json!({})).await.status, 200);
        let newest = second.take().await;
        assert_eq!((&newest["attempt"], &newest["checkpoints"]), (&json!(2), &json!(1)));
        assert_eq!(
            checkpoint(&first, &lost, 1, json!(1)).await.problem(),
            (409, "attempt_superseded")
        );
        let read = say(&first, &lost, "checkpoints/read", json!({})).await;
        assert_eq!(read.problem(), (409, "attempt_superseded"));
        let sleep = json!([{"index": 0, "what": "sleep", "name": "sleep", "seconds": 5}]);
        let misfit = suspend(&second, &newest, sleep).await;
        assert_eq!(misfit.problem(), (409, "nondeterminism"));
        let detail = misfit.json["detail"].as_str().unwrap();
        let words =
            ["at position 0 the history has the step \"charge\"", "asks for the sleep \"sleep\""];
        assert!(words.iter().all(|word| detail.contains(word)), "{detail}");

        let two = "name: orders-ship\nsteps:\n  - step: a\n  - step: b\n";
        let body = json!({"document": two});
        let applied = server.admin.send("POST", "/api/v1/workflows", Some(&body)).await;
        assert_eq!(applied.status, 200, "{}", applied.text);
        let body = json!({"function": "orders.ship"});
        let refused = server.admin.send("POST", RUNS, Some(&body)).await;
        assert_eq!(refused.problem(), (409, "not_a_function"));
        let both = json!({"function": "orders.ship", "workflow": "orders-ship"});
        assert_eq!(
            server.admin.send("POST", RUNS, Some(&both)).await.problem(),
            (422, "invalid_body")
        );
    });
}

#[test]
fn start_of_a_function_says_how_it_is_run_for_itself_alone() {
    with_server(async |server| {
        let worker = worker(server, "w").await;
        let begin = async |id: &str, options: Value| {
            let body = json!({"function": "orders.ship", "run_id": id, "options": options});
            server.admin.send("POST", RUNS, Some(&body)).await
        };
        let fails = async || {
            let claimed = worker.take().await;
            let failed = json!({"status": "failed", "error": "no lorry"});
            assert_eq!(say(&worker, &claimed, "report", failed).await.status, 200);
            claimed["run_id"].clone()
        };

        let tough = begin("o1", json!({"retries": 1, "retry_delay": "0s"})).await;
        assert_eq!(tough.status, 201, "{}", tough.text);
        let other = begin("o1", json!({"retries": 2})).await;
        assert_eq!(other.problem(), (400, "run_id_reused"));
        assert_eq!(fails().await, fails().await, "it is tried again");
        assert_eq!(look(server, "o1").await["status"], "failed");

        start(server, "o2").await;
        fails().await;
        assert_eq!(look(server, "o2").await["status"], "failed", "nobody said that of this one");
        let listed = server.admin.send("GET", "/api/v1/workflows/orders-ship", None).await.json;
        assert_eq!(listed["versions"].as_array().map(Vec::len), Some(3), "{listed}");
        assert_ne!(listed["version"], tough.json["version"]);

        let far = begin("o3", json!({"pool": "lorries", "timeout": "10m"})).await;
        assert_eq!(far.status, 201, "{}", far.text);
        let why = server.admin.send("GET", &format!("{RUNS}/o3/why"), None).await;
        assert!(why.text.contains("lorries"), "{}", why.text);
        for wrong in [json!({"retries": 100}), json!({"timeout": "soon"}), json!({"timeout": "0s"})]
        {
            assert_eq!(
                begin("o4", wrong.clone()).await.problem(),
                (400, "invalid_options"),
                "{wrong}"
            );
        }
        let body = json!({"workflow": "orders-ship", "options": {"retries": 1}});
        let refused = server.admin.send("POST", RUNS, Some(&body)).await;
        assert_eq!(refused.problem(), (422, "invalid_body"));
    });
}
