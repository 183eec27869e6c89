//! `fleetward task`: submit tasks, look at them, take them back.

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
    Submit(Box<SubmitArgs>),
    /// Show a task.
    Get {
        /// Its id.
        id: String,
    },
    /// Say why a task stands where it stands.
    Why {
        /// Its id.
        id: String,
    },
    /// Show everything that happened to a task.
    History {
        /// Its id.
        id: String,
    },
    /// Take a task back; a worker that has it is told at its next heartbeat.
    Cancel(ReasonArgs),
    /// Try a task again that failed for good.
    Retry {
        /// Its id.
        id: String,
    },
    /// Let a task go that failed for good.
    Discard(ReasonArgs),
    /// Delete a task that is over; its events stay in the journal.
    Delete {
        /// Its id.
        id: String,
    },
    /// List tasks, newest first.
    List {
        /// Only `pending`, `claimed`, `completed`, `failed`, `cancelled` or `discarded` ones.
        #[arg(long)]
        status: Option<String>,
        /// Most tasks, up to 200.
        #[arg(long, default_value_t = 50)]
        limit: u32,
    },
}

#[derive(Args)]
pub(crate) struct ReasonArgs {
    /// Its id.
    id: String,
    /// Why, for the record.
    #[arg(long)]
    reason: Option<String>,
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
    /// A condition on its worker's labels: `key in a,b`, `key not in a,b`, `key`, or `!key`; may be repeated.
    #[arg(long = "where", value_name = "CONDITION", value_parser = condition)]
    conditions: Vec<Value>,
    /// The least isolation that it needs: `process`, `container` or `vm`.
    #[arg(long, value_name = "LEVEL")]
    sandbox: Option<String>,
    /// How it is executed: `bare`, or `sandboxed`, which is `process` or more.
    #[arg(long)]
    mode: Option<String>,
    /// The sandbox image that its worker must be able to run.
    #[arg(long)]
    image: Option<String>,
    /// The handler that its worker must have registered.
    #[arg(long)]
    handler: Option<String>,
    /// The network policy that its worker must be able to enforce: `none`, `restricted` or `open`.
    #[arg(long, value_name = "POLICY")]
    network: Option<String>,
    /// The one worker that may have it.
    #[arg(long, value_name = "WORKER_ID")]
    worker: Option<String>,
    /// 0 to 9, the highest first [default: 5].
    #[arg(long)]
    priority: Option<u8>,
    /// It does not start before this time (RFC 3339).
    #[arg(long, value_name = "TIME")]
    not_before: Option<String>,
    /// It fails unless it is done by this time (RFC 3339).
    #[arg(long, value_name = "TIME")]
    deadline: Option<String>,
    /// Attempts that may fail, with the first [default: 1].
    #[arg(long, value_name = "N")]
    max_attempts: Option<u32>,
    /// Longest wait before the second attempt, in seconds; it doubles for each further one [default: 1].
    #[arg(long, value_name = "SECONDS", requires = "max_attempts")]
    backoff: Option<f64>,
    /// A worker whose attempt failed or was lost does not get it next.
    #[arg(long)]
    spread: bool,
    /// Tasks with the same key go to the worker that last had it, if it may have them soon.
    #[arg(long, value_name = "KEY")]
    affinity: Option<String>,
    /// How long it waits for that worker; then anybody may have it [default: 5].
    #[arg(long, value_name = "SECONDS", requires = "affinity")]
    affinity_seconds: Option<f64>,
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
        TaskVerb::Submit(args) => submit(*args, client).await,
        TaskVerb::Get { id } => {
            let task = client.client()?.get(&format!("{TASKS}/{}", segment(&id))).await?;
            print::one(client.output, &task, &[&FIELDS[..], &["progress"]].concat())
        }
        TaskVerb::Why { id } => {
            let why = client.client()?.get(&format!("{TASKS}/{}/why", segment(&id))).await?;
            if let print::Output::Json = client.output {
                return print::line(&why.to_string());
            }
            print::one(client.output, &why, &["run_id", "status"])?;
            let reasons = why["reasons"].as_array().into_iter().flatten();
            reasons
                .filter_map(Value::as_str)
                .try_for_each(|reason| print::line(&format!("- {reason}")))
        }
        TaskVerb::History { id } => {
            let history =
                client.client()?.get(&format!("{TASKS}/{}/history", segment(&id))).await?;
            let fields =
                ["position", "at", "type", "by", "details.attempt", "details.why", "details.code"];
            print::many(client.output, &history, "events", &fields)
        }
        TaskVerb::Cancel(args) => remedy(&args.id, "cancel", args.reason, client).await,
        TaskVerb::Retry { id } => remedy(&id, "retry", None, client).await,
        TaskVerb::Discard(args) => remedy(&args.id, "discard", args.reason, client).await,
        TaskVerb::Delete { id } => {
            let gone = client.client()?.delete(&format!("{TASKS}/{}", segment(&id))).await?;
            print::one(client.output, &gone, &["run_id", "status"])
        }
        TaskVerb::List { status, limit } => {
            let status = status.map(|status| format!("&status={}", segment(&status)));
            let path = format!("{TASKS}?limit={limit}{}", status.unwrap_or_default());
            let listed = client.client()?.get(&path).await?;
            print::many(client.output, &listed, "tasks", &FIELDS[..7])
        }
    }
}

async fn remedy(
    id: &str,
    verb: &str,
    reason: Option<String>,
    client: &ClientArgs,
) -> Result<(), Failed> {
    let path = format!("{TASKS}/{}/{verb}", segment(id));
    let task = client.client()?.post(&path, &json!({ "reason": reason })).await?;
    print::one(client.output, &task, &["run_id", "status"])
}

/// A condition on a worker's labels, as it is sent.
fn condition(text: &str) -> Result<Value, String> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let values = |text: &str| text.split(',').map(str::to_owned).collect::<Vec<_>>();
    match words[..] {
        [key, "in", list] => Ok(json!({ "key": key, "operator": "in", "values": values(list) })),
        [key, "not", "in", list] => {
            Ok(json!({ "key": key, "operator": "not_in", "values": values(list) }))
        }
        [key] => Ok(match key.strip_prefix('!') {
            Some(key) => json!({ "key": key, "operator": "not_exists" }),
            None => json!({ "key": key, "operator": "exists" }),
        }),
        _ => Err("write `key in a,b`, `key not in a,b`, `key` or `!key`".to_owned()),
    }
}

async fn submit(args: SubmitArgs, asked: &ClientArgs) -> Result<(), Failed> {
    let payload = payload(args.payload, args.file)?;
    let labels: serde_json::Map<_, _> =
        args.labels.into_iter().map(|(name, value)| (name, value.into())).collect();
    let retry = args.max_attempts.map(|max_attempts| {
        json!({ "max_attempts": max_attempts, "initial_seconds": args.backoff.unwrap_or(1.0) })
    });
    let mut body = json!({
        "payload": payload, "pool": args.pool, "model": args.model, "labels": labels,
        "selector": args.conditions, "sandbox": args.sandbox, "mode": args.mode, "image": args.image,
        "handler": args.handler,
        "network": args.network, "worker_id": args.worker, "priority": args.priority,
        "not_before": args.not_before, "deadline": args.deadline, "retry": retry,
        "spread": args.spread, "affinity": args.affinity, "affinity_seconds": args.affinity_seconds,
    });
    if let Some(fields) = body.as_object_mut() {
        fields.retain(|_, value| !value.is_null());
    }
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
        other => Err(Failed::wrong(format!("the task is {}", other.unwrap_or("unknown")))),
    }
}

/// The task once it is closed.
pub(crate) async fn closed(client: &Client, id: &str) -> Result<Value, Failed> {
    loop {
        let task = client.get(&format!("{TASKS}/{}?wait={WAIT_S}", segment(id))).await?;
        if !matches!(task["status"].as_str(), Some("pending" | "claimed")) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_read_as_they_are_said() {
        let table = [
            ("zone in a,b", json!({"key": "zone", "operator": "in", "values": ["a", "b"]})),
            ("zone not in a", json!({"key": "zone", "operator": "not_in", "values": ["a"]})),
            ("gpu", json!({"key": "gpu", "operator": "exists"})),
            ("!spot", json!({"key": "spot", "operator": "not_exists"})),
        ];
        for (text, expected) in table {
            assert_eq!(condition(text).unwrap(), expected);
        }
        assert!(condition("zone is a").is_err());
        assert!(condition("").is_err());
    }
}
