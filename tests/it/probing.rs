//! A worker whose model is gone from its endpoint gets no task for it until it is back.

use std::sync::{Arc, Mutex};

use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;

use crate::fixture::*;

const TERMS: [&str; 4] = ["--heartbeat-seconds", "1", "--start-lease-seconds", "3"];
/// Long enough for a heartbeat, which says what the worker sees.
const EXEC: &str = "sleep 2; cat";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn model_that_is_gone_is_not_asked_of_its_worker_on_sqlite() {
    story(Place::sqlite()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn model_that_is_gone_is_not_asked_of_its_worker_on_postgres() {
    story(Place::postgres().await).await;
}

/// A server of models that says which it has.
async fn shelf() -> (String, Arc<Mutex<Vec<&'static str>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let models = Arc::new(Mutex::new(vec!["gpt-4o"]));
    let shown = models.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let shown = shown.clone();
            tokio::spawn(async move {
                let mut stream = BufReader::new(stream);
                let mut line = String::new();
                while stream.read_line(&mut line).await? > 2 {
                    line.clear();
                }
                let data: Vec<_> =
                    shown.lock().unwrap().iter().map(|name| json!({"id": name})).collect();
                let body = json!({"object": "list", "data": data}).to_string();
                let answer = format!(
                    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                    body.len()
                );
                stream.write_all(answer.as_bytes()).await
            });
        }
    });
    (url, models)
}

async fn story(place: Place) {
    let server = Server::start_with(&place.url(), &TERMS);
    let (client, folder) = (server.client(), tempfile::tempdir().unwrap());
    let (url, models) = shelf().await;
    let _worker = {
        let mut command = fleetward();
        command.args(["worker", "run", "--server", &server.base, "--name", "w", "--exec", EXEC]);
        command.args(["--model", "gpt-4o", "--model", "llama3", "--probe-seconds", "1"]);
        command.args(["--probe", &format!("openai={url}")]);
        command.arg("--identity").arg(folder.path().join("w.json"));
        Process(command.env("ENROLLMENT_KEY", client.key(1).await).spawn().unwrap())
    };
    let submit = async |model: &str| {
        let task = json!({"payload": 1, "model": model});
        let task = client.post("/api/v1/fleet/tasks", task).await;
        task["run_id"].as_str().unwrap().to_owned()
    };
    client.result(&submit("gpt-4o").await).await;

    let waits = submit("llama3").await;
    let passes = submit("gpt-4o").await;
    assert_eq!(client.result(&passes).await["status"], "completed");
    let view = client.get(&format!("/api/v1/fleet/tasks/{waits}")).await;
    assert_eq!((&view["status"], &view["attempt"]), (&json!("pending"), &json!(0)), "{view}");
    let why = run(&server.base, &["task", "why", &waits]);
    let why = String::from_utf8(why.stdout).unwrap();
    assert!(why.contains("endpoints do not offer it now"), "{why}");

    models.lock().unwrap().push("llama3:latest");
    assert_eq!(client.result(&waits).await["status"], "completed");
}
