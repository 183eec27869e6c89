//! Twenty-four workers and many more tasks: every worker gets work, every task is done once, and every result is that
//! of its own task.
//!
//! `cargo run --example fleet_under_load`

mod shared;

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use fleetward::worker::{HttpTransport, Worker, WorkerOptions};
use fleetward::{Outcome, from_fn};
use serde_json::{Value, json};
use shared::{Client, Result, Server, prove};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

const WORKERS: usize = 24;
const TASKS: usize = 1_200;
/// Tasks in one submit, and on one page.
const PAGE: usize = 200;
/// A fleet that needs longer hangs.
const WITHIN: Duration = Duration::from_secs(120);

#[tokio::main]
async fn main() -> Result<()> {
    let server = Server::start().await?;
    let operator = server.admin();
    let stop = CancellationToken::new();
    let mut fleet = JoinSet::new();
    for number in 0..WORKERS {
        let worker = json!({"name": format!("w{number}")});
        let (joined, _) = operator.enroll(json!({}), worker).await?;
        let text = |field: &str| joined[field].as_str().unwrap_or_default().to_owned();
        let (id, secret) = (text("worker_id"), text("worker_secret").into());
        let transport = HttpTransport::new(&server.base, &id, &secret)?;
        let double = from_fn(|task, _cx| async move {
            Outcome::Completed(task.payload.expose().as_u64().map(|n| 2 * n).into())
        });
        fleet.spawn(Worker::new(transport, double, WorkerOptions::default()).run(stop.clone()));
    }

    let began = Instant::now();
    let submitted = submit(&operator).await?;
    let done = tokio::time::timeout(WITHIN, all_done(&operator, &submitted)).await??;
    let seconds = began.elapsed().as_secs_f64();
    stop.cancel();
    let mut reported = 0;
    while let Some(ended) = fleet.join_next().await {
        reported += ended??.completed as usize;
    }

    let mut share = BTreeMap::<String, usize>::new();
    for task in &done {
        *share.entry(task["worker_id"].as_str().unwrap_or("nobody").to_owned()).or_default() += 1;
    }
    let (least, most) = (share.values().min(), share.values().max());
    println!("      {TASKS} tasks in {seconds:.1} s; a worker did {least:?} to {most:?}");
    prove(share.len() == WORKERS, "all 24 workers got work")?;
    prove(reported == TASKS, "every task was done once: as many results as tasks were accepted")?;
    let right = |task: &&Value| {
        let number = task["run_id"].as_str().and_then(|id| submitted.get(id));
        number.is_some_and(|number| task["output"] == json!(2 * number))
    };
    prove(done.iter().filter(right).count() == TASKS, "every result is that of its own task")?;
    server.end().await
}

/// Submits all tasks: the number that each was given, by id.
async fn submit(operator: &Client) -> Result<HashMap<String, usize>> {
    let mut submitted = HashMap::new();
    for first in (0..TASKS).step_by(PAGE) {
        let tasks: Vec<_> = (first..first + PAGE).map(|n| json!({ "payload": n })).collect();
        let (_, answer) = operator.post("/fleet/tasks/batch", json!({ "tasks": tasks })).await?;
        let results = answer["results"].as_array().ok_or("the batch was not taken")?;
        for (number, result) in (first..).zip(results) {
            let id = result["run_id"].as_str().ok_or("a task was not taken")?;
            submitted.insert(id.to_owned(), number);
        }
    }
    Ok(submitted)
}

/// Every task once it is closed. The server answers when it is: nobody asks again and again.
async fn all_done(operator: &Client, tasks: &HashMap<String, usize>) -> Result<Vec<Value>> {
    let mut done = Vec::with_capacity(tasks.len());
    for id in tasks.keys() {
        loop {
            let (_, task) = operator.get(&format!("/fleet/tasks/{id}?wait=30")).await?;
            if task["status"] == "completed" {
                done.push(task);
                break;
            }
        }
    }
    Ok(done)
}
