//! Ten thousand heartbeats and reports at once about the same tasks, on both stores.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::fixture::*;

const TASKS: usize = 100;
/// Heartbeats, reports of success and reports of failure for each task: 10,000 requests in all.
const BEATS: usize = 50;
const REPORTS: usize = 25;
/// Requests in flight.
const AT_ONCE: usize = 200;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_result_is_accepted_for_each_task_of_a_crowd_on_sqlite() {
    story(Place::sqlite()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_result_is_accepted_for_each_task_of_a_crowd_on_postgres() {
    story(Place::postgres().await).await;
}

async fn story(place: Place) {
    let server = Server::start(&place.url());
    let client = server.client();
    let worker = Worker::join(&server.base, &client).await;
    for number in 0..TASKS {
        client.submit(&number.to_string(), &json!(number)).await;
    }
    let claimed = worker.post("claim", &json!({"poll_timeout": 5, "max_tasks": TASKS})).await.1;
    let tasks = claimed["tasks"].as_array().unwrap();
    assert_eq!(tasks.len(), TASKS);

    let answers = worker.crowd(tasks).await;

    for task in tasks {
        let id = task["run_id"].as_str().unwrap();
        let view = client.get(&format!("/api/v1/fleet/tasks/{id}")).await;
        let (won, lost) = match view["status"].as_str().unwrap() {
            "completed" => ("completed", "failed"),
            "failed" => ("failed", "completed"),
            other => panic!("{id} is {other}"),
        };
        assert_eq!(answers[&(id.to_owned(), won)], vec![200; REPORTS], "{id}");
        assert_eq!(answers[&(id.to_owned(), lost)], vec![409; REPORTS], "{id}");
        assert_eq!(view["attempt"], 1, "no attempt was lost");
        let history = client.get(&format!("/api/v1/fleet/tasks/{id}/history")).await;
        assert_eq!(history["events"].as_array().unwrap().len(), 3, "{history}");
    }
    verify(&events(&place.url()).await);
}

/// A worker of a few lines.
#[derive(Clone)]
struct Worker {
    http: reqwest::Client,
    base: String,
    id: String,
    secret: String,
}

impl Worker {
    async fn join(base: &str, client: &Client) -> Self {
        let body = json!({"enrollment_key": client.key(1).await, "max_concurrent": TASKS});
        let joined = client.post("/api/v1/fleet/register", body).await;
        let text = |field: &str| joined[field].as_str().unwrap().to_owned();
        let http = reqwest::Client::builder().timeout(PATIENCE).build().unwrap();
        Self { http, base: base.to_owned(), id: text("worker_id"), secret: text("worker_secret") }
    }

    async fn post(&self, route: &str, body: &Value) -> (u16, Value) {
        let request = self.http.post(format!("{}/api/v1/fleet/{route}", self.base));
        let request =
            request.header("x-worker-id", &self.id).header("x-worker-secret", &self.secret);
        let response = request.json(body).send().await.unwrap();
        let status = response.status().as_u16();
        (status, response.json().await.unwrap_or(Value::Null))
    }

    /// Sends everything about every task, and answers what each report was answered with.
    async fn crowd(&self, tasks: &[Value]) -> BTreeMap<(String, &'static str), Vec<u16>> {
        let room = Arc::new(Semaphore::new(AT_ONCE));
        let mut crowd = JoinSet::new();
        for round in 0..BEATS {
            for task in tasks {
                let held = json!({"run_id": task["run_id"], "attempt": task["attempt"], "claim_token": task["claim_token"]});
                let (worker, room) = (self.clone(), room.clone());
                crowd.spawn(async move {
                    let _turn = room.acquire_owned().await.unwrap();
                    let (status, _) =
                        worker.post("heartbeat", &json!({"tasks": [held.clone()]})).await;
                    assert_eq!(status, 200);
                    let said = if round % 2 == 0 { "completed" } else { "failed" };
                    let mut report = held;
                    report["status"] = json!(said);
                    let (status, _) = worker.post("report", &report).await;
                    (report["run_id"].as_str().unwrap().to_owned(), said, status)
                });
            }
        }
        let mut answers: BTreeMap<_, Vec<u16>> = BTreeMap::new();
        while let Some(answered) = crowd.join_next().await {
            let (task, said, status) = answered.unwrap();
            answers.entry((task, said)).or_default().push(status);
        }
        answers
    }
}
