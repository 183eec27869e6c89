//! Fleetward as a library: a control plane, a worker and a submitter in one process, on a store that keeps what happens.
//!
//! `cargo run --example in_process`

use std::time::Duration;

use fleetward::actors::seal::MasterKey;
use fleetward::plane::{AdminToken, NewSubmit, Options};
use fleetward::{ControlPlane, Outcome, from_fn};

const TOKEN: &str = "fwt_a-token-of-your-own";

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let url = format!("sqlite://{}", folder.path().join("fleet.db").display());
    // In life: in a file apart from the store, see `fleetward::master_key`.
    let key = MasterKey::fresh();
    let task = {
        let plane = start(&url, &key).await?;
        let operator = plane.operator(&plane.authenticate(TOKEN)?, None).await?;
        let new = NewSubmit { payload: r#"{"numbers":[1,2,3,4]}"#.into(), ..NewSubmit::default() };
        let task = operator.submit(new).await?.task;
        println!("submitted {task}; nobody can run it yet");
        plane.drain(Duration::from_secs(5)).await;
        task
    };
    println!("the control plane is gone; only {url} is left");

    let plane = start(&url, &key).await?;
    let operator = plane.operator(&plane.authenticate(TOKEN)?, None).await?;
    let sum = from_fn(|task, _cx| async move {
        let numbers = task.payload.expose()["numbers"].as_array().cloned().unwrap_or_default();
        let sum: i64 = numbers.iter().filter_map(|number| number.as_i64()).sum();
        Outcome::Completed(sum.into())
    });
    let worker = fleetward::in_process::start(&plane, &operator, "adder", 2, sum).await?;
    println!("started again, with a worker");
    let done = operator.task_when_closed(task, Duration::from_secs(30)).await?;
    let result = done.result.ok_or("the task has no result")?.open()?;
    println!("the sum is {}", String::from_utf8_lossy(&result));
    worker.stop().await;
    plane.drain(Duration::from_secs(5)).await;
    if result.as_ref() == b"10" { Ok(()) } else { Err("the sum is wrong".into()) }
}

async fn start(url: &str, key: &MasterKey) -> Result<ControlPlane, Box<dyn std::error::Error>> {
    let store = fleetward::store::connect(url).await?;
    let admin_token = Some(AdminToken(TOKEN.to_owned()));
    let options = Options { admin_token, master_key: Some(key.clone()), ..Options::default() };
    Ok(ControlPlane::start(store, options).await?)
}
