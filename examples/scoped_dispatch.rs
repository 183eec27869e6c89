//! Two projects of one organisation on the same pool and model: a finance task waits, though a healthcare worker that
//! could run it asks for work again and again, until a finance worker comes.
//!
//! `cargo run --example scoped_dispatch`

mod shared;

use serde_json::{Value, json};
use shared::{Client, Result, Server, prove};

#[tokio::main]
async fn main() -> Result<()> {
    let server = Server::start().await?;
    let operator = server.admin();
    let healthcare = worker(&operator, Some("healthcare"), json!({})).await?;
    let stray = worker(&operator, None, json!({})).await?;
    let liar = worker(&operator, Some("healthcare"), json!({"project_id": "finance"})).await?;

    let ledger = operator.submit(Some("finance"), task("ledger")).await?;
    let (answer, _) = healthcare.claim(1).await?;
    prove(answer == 204, "a healthcare worker polls and gets 204 while a finance task waits")?;
    prove(stray.claim(1).await?.0 == 204, "so does a worker without a project")?;
    prove(liar.claim(1).await?.0 == 204, "so does one that only says it is finance's")?;

    // A poll that is parked when the task arrives is the one that a careless server would wake.
    let (parked, invoice) =
        tokio::join!(healthcare.claim(2), operator.submit(Some("finance"), task("invoice")));
    let invoice = invoice?;
    prove(parked?.0 == 204, "a parked healthcare poll is not woken by a finance task")?;

    let record = operator.submit(Some("healthcare"), task("record")).await?;
    let (_, claimed) = healthcare.claim(5).await?;
    prove(claimed["run_id"] == *record, "it gets its own task past two older ones of finance")?;
    for waiting in [&ledger, &invoice] {
        prove(operator.status(waiting).await? == "pending", "the finance task still waits")?;
    }
    let (_, why) = operator.get(&format!("/fleet/tasks/{ledger}/why")).await?;
    println!("      why: {}", why["reasons"]);

    let finance = worker(&operator, Some("finance"), json!({})).await?;
    for expected in [&ledger, &invoice] {
        let (_, claimed) = finance.claim(5).await?;
        prove(claimed["run_id"] == **expected, "a finance worker takes the oldest that waits")?;
        let (accepted, _) = finance.post("/fleet/report", report(&claimed)).await?;
        prove(accepted == 200, "and its result is accepted")?;
    }
    server.end().await
}

/// A worker of the one pool and model, bound to a project by its key.
async fn worker(operator: &Client, project: Option<&str>, labels: Value) -> Result<Client> {
    let key = json!({"project_id": project, "pools": ["gpu"], "models": ["gpt-4o"]});
    let name = project.unwrap_or("stray");
    let worker = json!({"name": name, "pool": "gpu", "models": ["gpt-4o"], "labels": labels});
    Ok(operator.enroll(key, worker).await?.1)
}

/// A task for that pool and model.
fn task(payload: &str) -> Value {
    json!({"pool": "gpu", "model": "gpt-4o", "payload": payload})
}

fn report(claimed: &Value) -> Value {
    json!({
        "run_id": claimed["run_id"], "status": "completed", "output": claimed["payload"],
        "attempt": claimed["attempt"], "claim_token": claimed["claim_token"],
    })
}
