//! `fleetward task`: submit tasks and look at them.

use std::io::Read;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Value, json};

use super::ClientArgs;
use super::client::{Client, segment};
use super::error::Failed;
use super::keys::label;
use super::print;

const TASKS: &str = "/api/v1/fleet/tasks";
/// How long one question waits for the end of a task.
const WAIT_S: u32 = 30;
const FIELDS: [&str; 9] =
    ["run_id", "status", "pool", "model", "attempt", "worker_id", "created_at", "output", "error"];

#[derive(Subcommand)]
pub(crate) enum TaskVerb {
    /// Submit a task.
    Submit(SubmitArgs),
    /// Show a task.
    Get {
        /// Its id.
        id: String,
    },
    /// List tasks, newest first.
    List {
        /// Only `pending`, `claimed`, `completed` or `failed` ones.
        #[arg(long)]
        status: Option<String>,
        /// Most tasks, up to 200.
        #[arg(long, default_value_t = 50)]
        limit: u32,
    },
}

#[derive(Args)]
pub(crate) struct SubmitArgs {
    /// What the worker gets: JSON. Without it and `--file`: JSON on standard input.
    #[arg(long, conflicts_with = "file")]
    payload: Option<String>,
    /// A file with the JSON that the worker gets; `-` is standard input.
    #[arg(long)]
    file: Option<PathBuf>,
    /// The pool [default: default].
    #[arg(long)]
    pool: Option<String>,
    /// The model that it needs.
    #[arg(long)]
    model: Option<String>,
    /// A label that its worker must have, `name=value`; may be repeated.
    #[arg(long = "label", value_parser = label)]
    labels: Vec<(String, String)>,
    /// The project.
    #[arg(long)]
    project: Option<String>,
    /// Repeating a submit under the same key submits once.
    #[arg(long)]
    idempotency_key: Option<String>,
    /// Wait for its end and show it; a failed task is exit code 1.
    #[arg(long)]
    wait: bool,
}

pub(crate) async fn run(verb: TaskVerb, client: &ClientArgs) -> Result<(), Failed> {
    match verb {
        TaskVerb::Submit(args) => submit(args, client).await,
        TaskVerb::Get { id } => {
            let task = client.client()?.get(&format!("{TASKS}/{}", segment(&id))).await?;
            print::one(client.output, &task, &FIELDS)
        }
        TaskVerb::List { status, limit } => {
            let status = status.map(|status| format!("&status={}", segment(&status)));
            let path = format!("{TASKS}?limit={limit}{}", status.unwrap_or_default());
            let listed = client.client()?.get(&path).await?;
            print::many(client.output, &listed, "tasks", &FIELDS[..7])
        }
    }
}

async fn submit(args: SubmitArgs, asked: &ClientArgs) -> Result<(), Failed> {
    let payload = payload(args.payload, args.file)?;
    let labels: serde_json::Map<_, _> =
        args.labels.into_iter().map(|(name, value)| (name, value.into())).collect();
    let body =
        json!({ "payload": payload, "pool": args.pool, "model": args.model, "labels": labels });
    let client = asked.client()?;
    let mut request = client.request(Method::POST, TASKS).json(&body);
    if let Some(project) = args.project {
        request = request.header("X-Project-ID", project);
    }
    if let Some(key) = args.idempotency_key {
        request = request.header("Idempotency-Key", key);
    }
    let submitted = client.send(request).await?;
    if !args.wait {
        return print::one(asked.output, &submitted, &["run_id", "pool", "model"]);
    }
    let task = closed(&client, submitted["run_id"].as_str().unwrap_or_default()).await?;
    print::one(asked.output, &task, &FIELDS)?;
    match task["status"].as_str() {
        Some("completed") => Ok(()),
        _ => Err(Failed::wrong("the task failed")),
    }
}

/// The task once it is closed.
pub(crate) async fn closed(client: &Client, id: &str) -> Result<Value, Failed> {
    loop {
        let task = client.get(&format!("{TASKS}/{}?wait={WAIT_S}", segment(id))).await?;
        if matches!(task["status"].as_str(), Some("completed" | "failed")) {
            return Ok(task);
        }
    }
}

fn payload(given: Option<String>, file: Option<PathBuf>) -> Result<Value, Failed> {
    let text = match (given, file) {
        (Some(text), _) => text,
        (None, Some(path)) if path.as_os_str() != "-" => std::fs::read_to_string(&path)
            .map_err(|error| Failed::refused(format!("{}: {error}", path.display())))?,
        _ => {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text)?;
            text
        }
    };
    serde_json::from_str(&text)
        .map_err(|error| Failed::refused(format!("the payload is not JSON: {error}")))
}
