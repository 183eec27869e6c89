//! `fleetward policy`, `pause` and `resume`: what an organisation lets run.

use std::io::Read;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Value, json};

use super::ClientArgs;
use super::client::segment;
use super::error::Failed;
use super::print;

const FLEET: &str = "/api/v1/fleet";
const FIELDS: [&str; 7] =
    ["paused", "paused_pools", "caps", "weights", "balancing", "models", "anomaly"];

#[derive(Subcommand)]
pub(crate) enum PolicyVerb {
    /// Show caps, weights, pauses, and who of several waiting workers gets a task.
    Get,
    /// Replace caps, weights, balancing, names of models and thresholds by those of a file.
    Set {
        /// JSON, as `{"caps": [{"pool": "gpu", "max": 4}], "weights": {"research": 3}, "balancing": {"gpu": "round_robin"}}`;
        /// `-` is standard input.
        file: PathBuf,
    },
}

#[derive(Args)]
pub(crate) struct PauseArgs {
    /// Only this pool.
    #[arg(long, conflicts_with = "worker")]
    pool: Option<String>,
    /// Only this worker.
    #[arg(long, value_name = "WORKER_ID")]
    worker: Option<String>,
}

pub(crate) async fn run(verb: PolicyVerb, client: &ClientArgs) -> Result<(), Failed> {
    let path = format!("{FLEET}/policy");
    let policy = match verb {
        PolicyVerb::Get => client.client()?.get(&path).await?,
        PolicyVerb::Set { file } => {
            let asked = client.client()?;
            asked.send(asked.request(Method::PUT, &path).json(&read(&file)?)).await?
        }
    };
    print::one(client.output, &policy, &FIELDS)
}

/// `pause` or `resume`.
pub(crate) async fn pause(verb: &str, args: PauseArgs, client: &ClientArgs) -> Result<(), Failed> {
    if let Some(worker) = args.worker {
        let path = format!("{FLEET}/workers/{}/{verb}", segment(&worker));
        let answer = client.client()?.post(&path, &json!({})).await?;
        return print::one(client.output, &answer, &["worker_id", "status"]);
    }
    let body = json!({ "pool": args.pool });
    let policy = client.client()?.post(&format!("{FLEET}/{verb}"), &body).await?;
    print::one(client.output, &policy, &FIELDS)
}

fn read(file: &PathBuf) -> Result<Value, Failed> {
    let text = if file.as_os_str() == "-" {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text)?;
        text
    } else {
        std::fs::read_to_string(file)
            .map_err(|error| Failed::refused(format!("{}: {error}", file.display())))?
    };
    serde_json::from_str(&text)
        .map_err(|error| Failed::refused(format!("the policy is not JSON: {error}")))
}
