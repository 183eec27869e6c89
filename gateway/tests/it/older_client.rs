//! What the older server did wrong, line by line of the worker protocol; clients here name no
//! attempts and no claims, as older ones do.

use std::time::Duration;

use fleetward_actors::Config;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::server::{Setup, claim_on_a_narrow_line, with, with_server};

/// One term for everything, so that the clock can be moved to exactly its end.
const LEASE: Duration = Duration::from_secs(45);

fn one_term() -> Setup {
    let config = Config { lease: LEASE, start_lease: LEASE, ..Config::default() };
    Setup { config, ..Setup::default() }
}

#[test]
fn claim_whose_answer_was_lost_is_not_stuck() {
    with_server(async |server| {
        let worker = server.worker("w").await;
        let task = server.submit(json!("x")).await;
        let lost = worker.take().await;
        worker.post("/heartbeat", &json!({})).await;

        // It has one seat and asks again: it cannot have the first answer.
        let again = worker.take().await;

        assert_eq!((&again["run_id"], &again["attempt"]), (&json!(task), &json!(2)));
        assert_ne!(again["claim_token"], lost["claim_token"]);
        let plain = json!({"run_id": task, "output": "done"});
        assert_eq!(worker.post("/report", &plain).await.status, 200);
        assert_eq!(worker.post("/report", &plain).await.status, 200, "a repeat is answered alike");
        assert_eq!(server.admin.task(&task).await["output"], "done");
    });
}

#[test]
fn revoked_worker_is_sent_away_and_what_it_holds_goes_on() {
    with_server(async |server| {
        let (first, second) = (server.worker("w1").await, server.worker("w2").await);
        let idle = server.worker("w3").await;
        server.submit(json!("x")).await;
        first.take().await;
        let (waiting, parked) = (second.park().await, idle.park().await);
        let id = |worker: &crate::server::Client| worker.header("x-worker-id").to_owned();

        let route = format!("/workers/{}/revoke", id(&idle));
        assert_eq!(server.admin.post(&route, &json!({"reason": "lost"})).await.status, 200);
        let refused = parked.await.unwrap();
        let route = format!("/workers/{}/revoke", id(&first));
        assert_eq!(server.admin.post(&route, &json!({})).await.json["status"], "revoked");

        assert_eq!(refused.problem(), (403, "worker_not_approved"));
        assert_eq!(refused.json["status"], "revoked");
        assert_eq!(waiting.await.unwrap().json["attempt"], 2);
        for path in ["/claim", "/heartbeat", "/report"] {
            let refused = first.post(path, &json!({"run_id": id(&first)})).await;
            assert_eq!((refused.problem().0, &refused.json["status"]), (403, &json!("revoked")));
        }
    });
}

#[test]
fn client_that_hung_up_is_given_nothing() {
    with_server(async |server| {
        let (gone, here) = (server.worker("w1").await, server.worker("w2").await);
        let displaced = gone.park().await;
        let mut stream = claim_on_a_narrow_line(server, &gone).await;
        assert_eq!(displaced.await.unwrap().status, 204, "one seat, one poll: ours is parked");

        // The server closes its side once it has seen that ours is closed.
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        assert_eq!(answer, b"");
        assert_eq!(gone.post("/heartbeat", &json!({})).await.status, 200);

        let task = server.submit(json!("x")).await;

        let claimed = here.take().await;
        assert_eq!((&claimed["run_id"], &claimed["attempt"]), (&json!(task), &json!(1)));
    });
}

#[test]
fn late_report_is_kept_while_nobody_else_has_the_task() {
    with(one_term(), async |server| {
        let labels = json!({"zone": "eu"});
        let body = json!({"name": "w1", "labels": labels, "max_concurrent": 2});
        let first = server.worker_of(&server.admin, body).await;
        let second = server.worker("w2").await;
        let mine = server.admin.submit(json!({"labels": labels})).await;
        let any = server.admin.submit(json!({})).await;
        first.take().await;
        first.take().await;
        // Its answer comes after the server has seen the claim's written whole.
        first.post("/heartbeat", &json!({})).await;
        let parked = second.park().await;

        server.clock.advance(LEASE);
        // Both lapsed: the second worker has the one that it may have.
        assert_eq!(parked.await.unwrap().json["run_id"], any);
        let returned = server.admin.task(&mine).await;
        assert_eq!(
            (&returned["status"], &returned["worker_id"]),
            (&json!("pending"), &json!(null))
        );
        let late = first.post("/report", &json!({"run_id": mine, "output": "late"})).await;
        let too_late = first.post("/report", &json!({"run_id": any, "output": "late"})).await;

        assert_eq!((late.status, late.json), (200, json!({"status": "ok"})));
        assert_eq!(server.admin.task(&mine).await["output"], "late");
        assert_eq!(too_late.problem(), (403, "not_owner"));
    });
}

#[test]
fn poll_of_no_time_looks_once() {
    with_server(async |server| {
        let worker = server.worker("w").await;
        assert_eq!(worker.claim(0).await.status, 204);

        let task = server.submit(json!("x")).await;

        assert_eq!(worker.claim(0).await.json["run_id"], task);
    });
}

#[test]
fn key_is_bound_to_its_models_its_uses_and_its_time() {
    with_server(async |server| {
        let admin = &server.admin;
        let join = async |key: &serde_json::Value, models: serde_json::Value| {
            let body = json!({"models": models, "enrollment_key": key});
            let answer = server.anybody().post("/register", &body).await;
            (answer.status, answer.code().to_owned())
        };
        let refused = |status, code: &str| (status, code.to_owned());
        let key = admin.key(json!({"name": "k", "models": ["gpt-4o"]})).await;
        let excess = join(&key, json!(["gpt-4o", "claude"])).await;
        assert_eq!(excess, refused(403, "model_not_allowed"));
        assert_eq!(join(&key, json!(["gpt-4o"])).await.0, 201);
        assert_eq!(join(&key, json!(["gpt-4o"])).await, refused(401, "bad_enrollment_key"));

        let key = admin.key(json!({"name": "k", "expires_in": 60, "max_uses": 9})).await;
        assert_eq!(join(&key, json!([])).await.0, 201);
        server.clock.advance(Duration::from_secs(60));
        assert_eq!(join(&key, json!([])).await, refused(401, "bad_enrollment_key"));
        assert_eq!(join(&json!(null), json!([])).await, refused(401, "missing_enrollment_key"));
    });
}

#[test]
fn key_may_come_as_a_header_and_a_project_only_from_the_key() {
    with_server(async |server| {
        let key = json!({"name": "k", "project_id": "finance", "auto_approve": true});
        let key = server.admin.key(key).await;
        let client = server.anybody().with("x-enrollment-key", key.as_str().unwrap());
        let body = json!({"labels": {"project_id": "hr"}, "models": []});
        let joined = client.post("/register", &body).await;
        let worker = server.as_worker(&joined);
        let hr = server.admin.clone().with("x-project-id", "hr");
        let finance = server.admin.clone().with("x-project-id", "finance");
        hr.submit(json!({"payload": 1})).await;
        let task = finance.submit(json!({"payload": 2})).await;

        let claimed = worker.take().await;

        assert_eq!((&claimed["run_id"], &claimed["project_id"]), (&json!(task), &json!("finance")));
        assert_eq!(joined.json["capabilities"]["max_concurrent"], 1);
    });
}

#[test]
fn odd_words_are_refused_and_odd_outputs_are_kept() {
    with_server(async |server| {
        let worker = server.worker("w").await;
        let key = server.admin.key(json!({"name": "k"})).await;
        let task = server.submit(json!("x")).await;
        worker.take().await;

        let no_seat = json!({"max_concurrent": 0, "enrollment_key": key});
        let no_seat = server.anybody().post("/register", &no_seat).await;
        let no_model = server.admin.post("/tasks", &json!({"model": ""})).await;
        let no_json = worker.send_bytes("POST", "/api/v1/fleet/report", Some("{".into())).await;
        let bad = json!({"run_id": task, "status": "done"});
        let bad_status = worker.post("/report", &bad).await;
        let odd = json!({"run_id": task, "output": {"list": [1, 2.5, null]}});

        assert_eq!(no_seat.problem(), (400, "invalid_max_concurrent"));
        assert_eq!(no_model.problem(), (400, "invalid_name"));
        assert_eq!(no_json.problem(), (400, "invalid_json"));
        assert_eq!(bad_status.problem(), (422, "invalid_status"));
        assert_eq!(worker.post("/report", &odd).await.status, 200);
        assert_eq!(server.admin.task(&task).await["output"], json!({"list": [1, 2.5, null]}));
    });
}
