//! Two organisations on one server: neither sees, takes nor finishes what is the other's, and no worker is more than
//! its enrollment key says.
//!
//! `cargo run --example multi_tenant`

mod shared;

use serde_json::{Value, json};
use shared::{Client, Result, Server, prove};

#[tokio::main]
async fn main() -> Result<()> {
    let server = Server::start().await?;
    let (acme, globex) = (tenant(&server, "acme").await?, tenant(&server, "globex").await?);
    let name = |name: &str| json!({ "name": name });
    let (_, ours) = acme.enroll(json!({}), name("a1")).await?;
    let (_, colleague) = acme.enroll(json!({}), name("a2")).await?;
    let (_, theirs) = globex.enroll(json!({}), name("g1")).await?;

    let task = acme.submit(None, json!({"payload": "plans"})).await?;
    prove(
        theirs.claim(1).await?.0 == 204,
        "a worker of globex is not offered what acme submitted",
    )?;
    let (_, claimed) = ours.claim(5).await?;
    prove(claimed["run_id"] == *task, "a worker of acme is")?;

    reports(&task, &claimed, [&colleague, &theirs]).await?;
    for route in ["", "/history", "/why"] {
        let route = format!("/fleet/tasks/{task}{route}");
        let unknown = "/fleet/tasks/00000000-0000-7000-8000-000000000000";
        let (foreign, absent) = (globex.get(&route).await?, globex.get(unknown).await?);
        prove(foreign.0 == 404, "globex's administrator gets 404 for it")?;
        let same = foreign.1["detail"] == absent.1["detail"];
        prove(same, "in the words for a task that never was")?;
    }
    labels(&acme).await?;

    let (accepted, _) = ours.post("/fleet/report", report(&claimed, "built")).await?;
    prove(accepted == 200, "the report of the worker that has the task is accepted")?;
    let (_, done) = acme.get(&format!("/fleet/tasks/{task}")).await?;
    prove(done["output"] == "built", "and the result is its own")?;
    server.end().await
}

/// Neither somebody of the same organisation nor somebody of another one finishes a task that it was not given.
async fn reports(task: &str, claimed: &Value, [colleague, theirs]: [&Client; 2]) -> Result<()> {
    let forged = json!({"run_id": task, "status": "completed", "output": "forged"});
    let (refused, _) = colleague.post("/fleet/report", forged.clone()).await?;
    prove(refused == 403, "a forged report of a colleague is answered 403")?;
    let (refused, _) = theirs.post("/fleet/report", forged).await?;
    prove(refused == 404, "for a worker of globex there is no such task: 404")?;
    for forger in [colleague, theirs] {
        let (refused, _) = forger.post("/fleet/report", report(claimed, "forged")).await?;
        prove(refused == 403, "with the stolen token of the claim it is 403 for both")?;
    }
    Ok(())
}

/// What a worker says of itself is narrowed by its key.
async fn labels(acme: &Client) -> Result<()> {
    let key = json!({"labels": {"clearance": "public"}, "models": ["gpt-4o"], "project_id": "web"});
    let forged = json!({"clearance": "secret", "project_id": "treasury", "site": "berlin"});
    let worker = json!({"name": "a3", "models": ["gpt-4o"], "labels": forged});
    let (joined, worker) = acme.enroll(key.clone(), worker).await?;
    let narrowed = json!({"clearance": "public", "site": "berlin"});
    let labels = &joined["capabilities"]["labels"];
    prove(*labels == narrowed, "a forged clearance and project are not what the worker gets")?;

    let secret = json!({"payload": "secret", "labels": {"clearance": "secret"}});
    for project in ["web", "treasury"] {
        acme.submit(Some(project), secret.clone()).await?;
    }
    prove(
        worker.claim(1).await?.0 == 204,
        "tasks that ask for the clearance are not offered to it",
    )?;
    let more = acme.enroll(key, json!({"name": "a4", "models": ["gpt-4o", "o3"]})).await;
    prove(more.is_err(), "a model that the key does not allow is refused at the door")
}

/// An administrator of a new organisation.
async fn tenant(server: &Server, name: &str) -> Result<Client> {
    let (_, made) = server.admin().post("/orgs", json!({ "name": name })).await?;
    let token = made["token"].as_str().ok_or("the organisation was not made")?;
    Ok(server.operator(token))
}

fn report(claimed: &Value, output: &str) -> Value {
    json!({
        "run_id": claimed["run_id"], "status": "completed", "output": output,
        "attempt": claimed["attempt"], "claim_token": claimed["claim_token"],
    })
}
