//! `fleetward run`: runs of workflows.

mod dead;
mod diff;
mod picture;
mod replay;
mod watch;

use std::io::Read;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use fleetward_wire::workflows::RunTimeline;
use serde_json::{Value, json};

use super::ClientArgs;
use super::client::{Client, segment};
use super::error::Failed;
use super::print;

const RUNS: &str = "/api/v1/runs";
/// Seconds that one look for the end of a run waits.
const LOOK: u32 = 30;
const FIELDS: &[&str] = &["run_id", "workflow", "status", "started_at", "error_code", "failed_at"];

#[derive(Subcommand)]
pub(crate) enum RunVerb {
    /// Start a run of a workflow.
    Start(StartArgs),
    /// List runs, newest first.
    List(ListArgs),
    /// Show one run.
    Show {
        /// Its id.
        id: String,
    },
    /// Wait for the end of a run and print its output; fails when it has none.
    Wait {
        /// Its id.
        id: String,
    },
    /// Watch a run go on until it ends.
    Watch {
        /// Its id.
        id: String,
    },
    /// Say why a run stands where it stands.
    Why {
        /// Its id.
        id: String,
    },
    /// Show everything that happened to a run and to its tasks.
    Timeline {
        /// Its id.
        id: String,
        /// Draw what its time went to into this file.
        #[arg(long, value_name = "FILE")]
        svg: Option<PathBuf>,
    },
    /// Replay a run from its history alone, and say where that and a definition part. Changes nothing; fails when they
    /// part.
    Replay(replay::ReplayArgs),
    /// Compare two runs: what they were given, their definitions, what became of each node, and where they first part.
    Diff {
        /// One run.
        a: String,
        /// The other.
        b: String,
    },
    /// Approve at a gate.
    Approve(DecideArgs),
    /// Reject at a gate.
    Reject(DecideArgs),
    /// Send a signal to a run.
    Signal {
        /// The run.
        id: String,
        /// The name of the signal.
        name: String,
        /// What it says: JSON, or `-` for standard input.
        #[arg(default_value = "null")]
        payload: String,
    },
    /// Begin nothing new; what runs goes on.
    Pause(ReasonArgs),
    /// Let a paused run go on.
    Resume {
        /// Its id.
        id: String,
    },
    /// End a run, and what runs of it.
    Cancel(ReasonArgs),
    /// Go on from the failure of a run: what completed is not run again.
    Retry {
        /// Its id.
        id: String,
    },
    /// Let a failed run leave the dead letters.
    Discard(ReasonArgs),
    /// Let all failed runs leave the dead letters that failed long ago.
    Purge {
        /// How long ago: `12h`, `30d`.
        #[arg(long, value_parser = age)]
        older_than: Duration,
        /// Of this workflow only.
        #[arg(long)]
        workflow: Option<String>,
        /// With this error group only.
        #[arg(long)]
        group: Option<String>,
        /// Why, for the record.
        #[arg(long)]
        reason: Option<String>,
    },
    /// Delete a run that has ended, with its tasks; its events stay in the journal, and its id may be used again.
    Delete {
        /// Its id.
        id: String,
    },
    /// Runs that failed for good.
    #[command(subcommand)]
    Dead(dead::DeadVerb),
    /// Start a run with what another one had done before a node.
    Fork {
        /// The run to take from.
        id: String,
        /// The node of the top level to begin from.
        #[arg(long)]
        from: String,
        /// The id of the new run [default: a fresh one].
        #[arg(long)]
        run_id: Option<String>,
        /// Another input: JSON, or `-` for standard input.
        #[arg(long)]
        input: Option<String>,
    },
}

#[derive(Args)]
pub(crate) struct StartArgs {
    /// The name of the workflow.
    #[arg(required_unless_present = "function")]
    workflow: Option<String>,
    /// Instead: the name of a handler that is a durable function. A workflow of that one step is made for it.
    #[arg(long, value_name = "HANDLER", conflicts_with_all = ["workflow", "version"])]
    function: Option<String>,
    #[command(flatten)]
    options: FunctionArgs,
    /// What it is given: JSON, or `-` for standard input.
    #[arg(long, default_value = "null")]
    input: String,
    /// The id of the run: starting again under it starts once [default: a fresh one].
    #[arg(long)]
    run_id: Option<String>,
    /// The version, or its first characters [default: the newest].
    #[arg(long)]
    version: Option<String>,
    /// Wait for its end and print its output.
    #[arg(long)]
    wait: bool,
}

/// How a function is run, where its workflow is to say otherwise for this run.
#[derive(Args)]
struct FunctionArgs {
    /// Of a function: how often a failed attempt is tried again.
    #[arg(long, requires = "function")]
    retries: Option<u32>,
    /// Of a function: the longest wait before the first retry: `5s`.
    #[arg(long, requires = "function")]
    retry_delay: Option<String>,
    /// Of a function: how long one attempt may take: `10m`.
    #[arg(long, requires = "function")]
    timeout: Option<String>,
    /// Of a function: the pool whose workers run it.
    #[arg(long, requires = "function")]
    pool: Option<String>,
}

#[derive(Args)]
pub(crate) struct ListArgs {
    /// In this status: `running`, `waiting`, `paused`, `completed`, `failed`, `cancelled` or `discarded`.
    #[arg(long)]
    status: Option<String>,
    /// Of this workflow.
    #[arg(long)]
    workflow: Option<String>,
    /// With this error group.
    #[arg(long)]
    group: Option<String>,
    /// Of the schedule of this name.
    #[arg(long)]
    schedule: Option<String>,
    /// Where the page before ended.
    #[arg(long)]
    before: Option<u64>,
    /// Most runs, up to 200.
    #[arg(long, default_value_t = 50)]
    limit: u32,
}

#[derive(Args)]
pub(crate) struct DecideArgs {
    /// The run.
    id: String,
    /// The gate: its key, or the name of its node [default: the one that is open].
    #[arg(long)]
    gate: Option<String>,
    /// Why, for the record.
    #[arg(long)]
    reason: Option<String>,
    /// Digest of what was seen: another one is refused.
    #[arg(long)]
    digest: Option<String>,
}

#[derive(Args)]
pub(crate) struct ReasonArgs {
    /// Which one.
    pub(super) id: String,
    /// Why, for the record.
    #[arg(long)]
    pub(super) reason: Option<String>,
}

pub(crate) async fn run(verb: RunVerb, args: &ClientArgs) -> Result<(), Failed> {
    let (client, output) = (args.client()?, args.output);
    let post = async |id: &str, verb: &str, body: Value| {
        let path = format!("{RUNS}/{}/{verb}", segment(id));
        let run = client.post(&path, &body).await?;
        print::one(output, &run, &["run_id", "workflow", "status"])
    };
    match verb {
        RunVerb::Start(start) => begin(start, &client, output).await,
        RunVerb::List(list) => {
            let listed = client.get(&format!("{RUNS}?{}", query(&list))).await?;
            print::many(output, &listed, "runs", FIELDS)
        }
        RunVerb::Show { id } => {
            let run = client.get(&format!("{RUNS}/{}", segment(&id))).await?;
            show(output, &run)
        }
        RunVerb::Wait { id } => wait(&id, &client).await,
        RunVerb::Watch { id } => watch::run(&id, &client).await,
        RunVerb::Why { id } => {
            let why = client.get(&format!("{RUNS}/{}/why", segment(&id))).await?;
            if output.is_json() {
                return print::line(&why.to_string());
            }
            let reasons = why["reasons"].as_array().into_iter().flatten();
            reasons.filter_map(Value::as_str).try_for_each(print::line)
        }
        RunVerb::Timeline { id, svg } => {
            let told = client.get(&format!("{RUNS}/{}/timeline", segment(&id))).await?;
            timeline(output, &told, svg)
        }
        RunVerb::Replay(asked) => replay::run(&asked, &client, output).await,
        RunVerb::Diff { a, b } => diff::run(&a, &b, &client, output).await,
        RunVerb::Dead(verb) => dead::run(verb, &client, output).await,
        RunVerb::Approve(decide) => post(&decide.id, "approve", decide.body()).await,
        RunVerb::Reject(decide) => post(&decide.id, "reject", decide.body()).await,
        RunVerb::Signal { id, name, payload } => {
            post(&id, "signals", json!({ "name": name, "payload": read(&payload)? })).await
        }
        RunVerb::Pause(why) => post(&why.id, "pause", json!({ "reason": why.reason })).await,
        RunVerb::Resume { id } => post(&id, "resume", json!({})).await,
        RunVerb::Cancel(why) => post(&why.id, "cancel", json!({ "reason": why.reason })).await,
        RunVerb::Retry { id } => post(&id, "retry", json!({})).await,
        RunVerb::Discard(why) => post(&why.id, "discard", json!({ "reason": why.reason })).await,
        RunVerb::Delete { id } => {
            let gone = client.delete(&format!("{RUNS}/{}", segment(&id))).await?;
            print::one(output, &gone, &["run_id", "status"])
        }
        RunVerb::Purge { older_than, workflow, group, reason } => {
            let mut body = json!({
                "older_than_seconds": older_than.as_secs(), "workflow": workflow, "group": group,
                "reason": reason,
            });
            let mut discarded = 0;
            loop {
                let purged = client.post(&format!("{RUNS}/purge"), &body).await?;
                discarded += purged["discarded"].as_u64().unwrap_or_default();
                match purged["next"].as_u64() {
                    Some(next) => body["before"] = next.into(),
                    None => {
                        return print::one(
                            output,
                            &json!({"discarded": discarded}),
                            &["discarded"],
                        );
                    }
                }
            }
        }
        RunVerb::Fork { id, from, run_id, input } => {
            let mut body = json!({ "from": from, "run_id": run_id });
            if let Some(input) = input {
                body["input"] = read(&input)?;
            }
            let path = format!("{RUNS}/{}/fork", segment(&id));
            let started = client.post(&path, &body).await?;
            print::one(output, &started, &["run_id", "version"])
        }
    }
}

/// A duration as workflows have them.
fn age(text: &str) -> Result<Duration, String> {
    fleetward_actors::workflows::definition::document::duration_ms(text).map(Duration::from_millis)
}

impl DecideArgs {
    fn body(&self) -> Value {
        json!({ "gate": self.gate, "reason": self.reason, "digest": self.digest })
    }
}

async fn begin(args: StartArgs, client: &Client, output: print::Output) -> Result<(), Failed> {
    let mut body = json!({
        "workflow": args.workflow.unwrap_or_default(), "function": args.function,
        "version": args.version, "run_id": args.run_id, "input": read(&args.input)?,
    });
    if args.function.is_some() {
        let FunctionArgs { retries, retry_delay, timeout, pool } = args.options;
        body["options"] = json!({
            "retries": retries, "retry_delay": retry_delay, "timeout": timeout, "pool": pool,
        });
    }
    let started = client.post(RUNS, &body).await?;
    if !args.wait {
        return print::one(output, &started, &["run_id", "version", "repeated"]);
    }
    let id = started["run_id"].as_str().unwrap_or_default();
    eprintln!("started {id}");
    wait(id, client).await
}

/// Waits for the end of a run, and prints its output.
async fn wait(id: &str, client: &Client) -> Result<(), Failed> {
    loop {
        let run = client.get(&format!("{RUNS}/{}?wait={LOOK}", segment(id))).await?;
        match run["status"].as_str().unwrap_or_default() {
            "completed" => return print::line(&run["output"].to_string()),
            "running" | "waiting" | "paused" => {}
            ended => {
                let told = ["error_code", "failed_at", "error"];
                let told: Vec<_> = told.iter().filter_map(|field| run[*field].as_str()).collect();
                return Err(Failed::wrong(format!("the run is {ended}: {}", told.join(": "))));
            }
        }
    }
}

fn show(output: print::Output, run: &Value) -> Result<(), Failed> {
    let fields = [
        "run_id",
        "workflow",
        "version",
        "status",
        "started_at",
        "started_by",
        "updated_at",
        "output",
        "error_code",
        "failed_at",
        "error",
    ];
    print::one(output, run, &fields)?;
    if output.is_json() {
        return Ok(());
    }
    if run["nodes"].is_array() {
        print::line("")?;
        let fields = ["key", "status", "since", "ended_at", "attempts", "task_id", "error_code"];
        print::many(output, run, "nodes", &fields)?;
    }
    for function in run["functions"].as_array().into_iter().flatten() {
        print::line(&format!("\n{}:", function["key"].as_str().unwrap_or_default()))?;
        print::many(output, function, "checkpoints", &["index", "what", "name", "status"])?;
    }
    if run["waits"].is_array() {
        print::line("")?;
        let fields = ["key", "for", "since", "until", "signal", "child", "gate.prompt"];
        print::many(output, run, "waits", &fields)?;
    }
    Ok(())
}

fn timeline(output: print::Output, told: &Value, svg: Option<PathBuf>) -> Result<(), Failed> {
    if let Some(file) = svg {
        let told: RunTimeline = serde_json::from_value(told.clone())
            .map_err(|error| Failed::wrong(format!("the server's timeline: {error}")))?;
        std::fs::write(&file, picture::svg(&told))?;
        return print::line(&format!("{} is drawn", file.display()));
    }
    if output.is_json() {
        return print::line(&told.to_string());
    }
    print::many(output, told, "events", &["at", "kind", "key", "by"])?;
    print::line("")?;
    print::many(output, told, "spans", &["key", "what", "from", "seconds", "attempt", "worker_id"])
}

fn query(list: &ListArgs) -> String {
    let mut query = format!("limit={}", list.limit);
    let words = [
        ("status", &list.status),
        ("workflow", &list.workflow),
        ("group", &list.group),
        ("schedule", &list.schedule),
    ];
    for (name, value) in words {
        if let Some(value) = value {
            query += &format!("&{name}={}", segment(value));
        }
    }
    if let Some(before) = list.before {
        query += &format!("&before={before}");
    }
    query
}

/// JSON from the command line, or from standard input.
pub(super) fn read(text: &str) -> Result<Value, Failed> {
    let mut whole = text.to_owned();
    if text == "-" {
        whole.clear();
        std::io::stdin().read_to_string(&mut whole)?;
    }
    serde_json::from_str(&whole).map_err(|error| {
        Failed::refused(format!("this is no JSON ({error}); text stands in quotes: '\"text\"'"))
    })
}
