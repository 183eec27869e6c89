//! What becomes of an answer to a claim that is not read.

use serde_json::json;
use tokio::io::AsyncReadExt;

use crate::server::{claim_on_a_narrow_line, with_server};

#[test]
fn answer_that_was_not_read_gives_the_task_to_another() {
    with_server(async |server| {
        let (gone, here) = (server.worker("w1").await, server.worker("w2").await);
        // More than the buffers between the two hold.
        let task = server.submit(json!("x".repeat(1_000_000))).await;
        let mut stream = claim_on_a_narrow_line(server, &gone).await;
        let mut begun = [0; 64];
        stream.read_exact(&mut begun).await.unwrap();
        assert!(begun.starts_with(b"HTTP/1.1 200 OK"));
        let parked = here.park().await;

        drop(stream);

        let claimed = parked.await.unwrap().json;
        assert_eq!((&claimed["run_id"], &claimed["attempt"]), (&json!(task), &json!(2)));
        assert_eq!(gone.claim(0).await.status, 204);
    });
}

#[test]
fn answer_that_is_read_slowly_arrives_whole() {
    with_server(async |server| {
        let worker = server.worker("w").await;
        let payload = "x".repeat(1_000_000);
        server.submit(json!(payload)).await;
        let mut stream = claim_on_a_narrow_line(server, &worker).await;

        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();

        assert!(answer.len() > payload.len() && answer.ends_with('}'));
        // It counts as read: the worker keeps the task without naming it.
        assert_eq!(worker.post("/heartbeat", &json!({})).await.status, 200);
        assert_eq!(server.admin.get("/tasks").await.json["tasks"][0]["status"], "claimed");
    });
}

#[test]
fn claim_that_is_repeated_under_its_name_is_answered_alike() {
    with_server(async |server| {
        let worker = server.worker("w").await;
        server.submit(json!("x")).await;
        let named = json!({"poll_timeout": 30, "claim_request_id": "c1", "boot_id": "b1"});

        let first = worker.post("/claim", &named).await.json;
        let again = worker.post("/claim", &named).await.json;

        assert_eq!(first, again);
        let beat = json!({"boot_id": "b2", "tasks": []});
        assert_eq!(worker.post("/heartbeat", &beat).await.json["lost"], json!([]));
        assert_eq!(worker.take().await["attempt"], 2, "a new start of the worker lost it");
    });
}
