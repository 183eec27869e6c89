//! A worker in the process of the control plane, with many seats and more tasks.

use std::time::Duration;

use fleetward::plane::{AdminToken, NewSubmit, Options};
use fleetward::worker::Summary;
use fleetward::{ControlPlane, Outcome, from_fn};
use serde_json::{Value, json};

use crate::fixture::*;

const TASKS: usize = 50;
/// The result of this one cannot be stored.
const ODD: u64 = 7;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_seats_do_many_tasks_and_each_gets_its_own_result() {
    let store = fleetward_store::connect("memory:").await.unwrap();
    let admin_token = Some(AdminToken(ADMIN.to_owned()));
    let options = Options { admin_token, ..Options::default() };
    let plane = ControlPlane::start(store, options).await.unwrap();
    let operator = plane.operator(&plane.authenticate(ADMIN).unwrap(), None).await.unwrap();
    let new = |n| NewSubmit { payload: format!("{n}").into(), ..NewSubmit::default() };
    let submitted = operator.submit_many((0..TASKS).map(new).collect()).await.unwrap();

    let doubles = from_fn(|task, _cx| async move {
        match task.payload.expose().as_u64().unwrap() {
            ODD => Outcome::Completed((0..100).fold(Value::Null, |inner, _| json!([inner]))),
            n => Outcome::Completed((2 * n).into()),
        }
    });
    let worker =
        fleetward::in_process::start(&plane, &operator, "doubler", 8, doubles).await.unwrap();
    let mut results = Vec::new();
    for receipt in submitted {
        let task = receipt.unwrap().task;
        let done = operator.task_when_closed(task, Duration::from_secs(30)).await.unwrap();
        results.push(done.result.expect("it is done").open().unwrap());
    }
    let summary = worker.stop().await.expect("it ends in order");

    assert_eq!(summary, Summary { completed: 49, failed: 1, ..Summary::default() });
    for (n, result) in results.iter().enumerate() {
        let result = String::from_utf8_lossy(result);
        if n as u64 == ODD {
            assert!(result.starts_with("the result was refused (too_deep)"), "{result}");
        } else {
            assert_eq!(result, (2 * n).to_string());
        }
    }
    plane.drain(Duration::from_secs(5)).await;
}
