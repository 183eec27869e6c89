//! A worker turns suspicious, and a webhook hears of it: signed, in order, at least once, through kill -9 of the server.

use fleetward::actors::fleet::alerts::webhook::signatures;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};

use crate::fixture::*;

const FLEET: &str = "/api/v1/fleet";

/// What came in, and what to answer.
pub(crate) struct Received {
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    pub(crate) answer: oneshot::Sender<u16>,
}

impl Received {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }

    /// What it says, after its signature was checked by the receiver's own copy of the secret.
    pub(crate) fn checked(&self, secret: &str) -> Value {
        let timestamp: i64 = self.header("webhook-timestamp").parse().unwrap();
        let age = chrono::Utc::now().timestamp() - timestamp;
        assert!(age.abs() < 300, "{age} s old");
        let mine = signatures([secret], self.header("webhook-id"), timestamp, &self.body);
        assert!(self.header("webhook-signature").split(' ').any(|signature| signature == mine));
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// A webhook that asks the story what to answer.
pub(crate) async fn receiver() -> (String, mpsc::Receiver<Received>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hooks/canary-4711", listener.local_addr().unwrap());
    let (told, received) = mpsc::channel(16);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let told = told.clone();
            tokio::spawn(async move {
                let mut stream = BufReader::new(stream);
                let mut headers = Vec::new();
                loop {
                    let mut line = String::new();
                    stream.read_line(&mut line).await?;
                    match line.trim_end().split_once(": ") {
                        Some((name, value)) => {
                            headers.push((name.to_lowercase(), value.to_owned()));
                        }
                        None if line.trim().is_empty() => break,
                        None => {}
                    }
                }
                let length = headers.iter().find(|(name, _)| name == "content-length");
                let mut body = vec![0; length.map_or(0, |(_, n)| n.parse().unwrap())];
                stream.read_exact(&mut body).await?;
                let (answer, answered) = oneshot::channel();
                let _ = told.send(Received { headers, body, answer }).await;
                if let Ok(status) = answered.await {
                    let text = format!(
                        "HTTP/1.1 {status} said\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
                    );
                    stream.write_all(text.as_bytes()).await?;
                }
                std::io::Result::Ok(())
            });
        }
    });
    (url, received)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn alert_reaches_its_webhook_through_a_crash_on_sqlite() {
    story(Place::sqlite()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn alert_reaches_its_webhook_through_a_crash_on_postgres() {
    story(Place::postgres().await).await;
}

pub(crate) async fn next(received: &mut mpsc::Receiver<Received>) -> Received {
    tokio::time::timeout(PATIENCE, received.recv()).await.expect("a message comes").unwrap()
}

/// Registers a worker and fails so many tasks in one report that it becomes suspicious. Answers its id.
async fn suspicious_worker(client: &Client) -> String {
    let key = client.key(1).await;
    let joined = client
        .post(
            &format!("{FLEET}/register"),
            json!({"enrollment_key": key, "name": "bad", "max_concurrent": 20}),
        )
        .await;
    let text = |field: &str| joined[field].as_str().unwrap().to_owned();
    let (id, secret) = (text("worker_id"), text("worker_secret"));
    let as_worker = async |path: &str, body: Value| {
        let request = client.request("POST", &format!("{FLEET}{path}"));
        let request = request.header("X-Worker-Id", &id).header("X-Worker-Secret", &secret);
        let answer = client.send(request.json(&body)).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        answer.body
    };
    let tasks: Vec<_> = (0..20).map(|n| json!({"payload": n})).collect();
    client.post(&format!("{FLEET}/tasks/batch"), json!({"tasks": tasks})).await;
    let claimed = as_worker("/claim", json!({"max_tasks": 20, "poll_timeout": 30})).await;
    let report = |task: &Value| {
        json!({
            "run_id": task["run_id"], "attempt": task["attempt"],
            "claim_token": task["claim_token"], "status": "failed", "error": "boom",
        })
    };
    let reports: Vec<_> = claimed["tasks"].as_array().unwrap().iter().map(report).collect();
    assert_eq!(reports.len(), 20);
    as_worker("/reports", json!({"reports": reports})).await;
    id
}

async fn story(place: Place) {
    let (url, mut received) = receiver().await;
    let terms = ["--allow-private-webhooks", "--anomaly-seconds", "1", "--heartbeat-seconds", "10"];
    let mut server = Server::start_with(&place.url(), &terms);
    let client = server.client();
    let base = server.base.clone();
    let made = said(&run(&base, &["sink", "create", "--name", "pager", &url, "--output", "json"]));
    let (sink, secret) = (made["id"].as_str().unwrap(), made["secret"].as_str().unwrap());
    assert!(secret.starts_with("whsec_"));

    // A test goes out at once, and says what became of it.
    let tested = tokio::task::spawn_blocking({
        let (base, sink) = (base.clone(), sink.to_owned());
        move || run(&base, &["sink", "test", &sink, "--output", "json"])
    });
    let test = next(&mut received).await;
    assert_eq!(test.checked(secret)["type"], "sink.test");
    test.answer.send(204).unwrap();
    assert_eq!(said(&tested.await.unwrap())["delivered"], true);

    let worker = suspicious_worker(&client).await;
    let first = next(&mut received).await;
    let said_first = first.checked(secret);
    assert_eq!(said_first["type"], "alert.raised");
    assert_eq!(said_first["data"]["kind"], "worker.suspected");
    assert_eq!(said_first["data"]["subject"], worker);
    let id = first.header("webhook-id").to_owned();
    // It is not taken, and then there is no server.
    first.answer.send(500).unwrap();
    server.crash_and_restart();

    let again = next(&mut received).await;
    assert_eq!(again.header("webhook-id"), id, "the same message, for receivers to see");
    assert_eq!(again.checked(secret)["data"], said_first["data"]);
    again.answer.send(200).unwrap();

    let base = server.base.clone();
    let listed = said(&run(&base, &["alert", "list", "--status", "open", "--output", "json"]));
    let ours = listed["alerts"].as_array().unwrap().iter().find(|alert| alert["id"] == id);
    assert_eq!(ours.unwrap()["severity"], "warning");
    let seen = ["alert", "ack", &id, "--note", "known", "--output", "json"];
    assert_eq!(said(&run(&base, &seen))["note"], "known");
    let suspects = said(&run(&base, &["suspicion", "list", "--output", "json"]));
    assert_eq!(suspects["workers"][0]["worker_id"], worker);
    assert_eq!(suspects["workers"][0]["suspicions"][0]["kind"], "excessive_failures");
    assert!(run(&base, &["suspicion", "reset", &worker]).status.success());
    let shown = client.get(&format!("{FLEET}/workers/{worker}")).await;
    assert_eq!(shown["suspicions"], json!([]));

    // Both secrets sign while the receiver changes its own.
    let rotated = said(&run(&base, &["sink", "rotate", sink, "--output", "json"]));
    let tested = tokio::task::spawn_blocking({
        let (base, sink) = (base.clone(), sink.to_owned());
        move || run(&base, &["sink", "test", &sink])
    });
    let test = next(&mut received).await;
    test.checked(secret);
    test.checked(rotated["secret"].as_str().unwrap());
    test.answer.send(410).unwrap();
    assert_eq!(tested.await.unwrap().status.code(), Some(1));
    let sinks = client.get(&format!("{FLEET}/sinks")).await;
    assert!(!sinks.to_string().contains("canary-4711"), "{sinks}");
    assert!(run(&base, &["sink", "remove", sink]).status.success());
    assert_eq!(client.get(&format!("{FLEET}/sinks")).await["sinks"], json!([]));
    verify(&events(&place.url()).await);
}
