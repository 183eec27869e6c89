//! `fleetward audit`: the record of what happened.

mod export;
mod verify;

use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::Value;

use super::ClientArgs;
use super::client::{Client, segment};
use super::error::Failed;
use super::print::{self, Output};

/// How long the server is asked to wait for something to happen.
const WAIT_SECONDS: u32 = 30;
/// Before a server that does not answer is asked again.
const PAUSE: Duration = Duration::from_secs(1);
const COLUMNS: [&str; 7] = ["position", "at", "type", "by", "source", "subject", "request_id"];

#[derive(Subcommand)]
pub(crate) enum AuditVerb {
    /// List events, newest first.
    List(ListArgs),
    /// Print events as they happen, oldest first, until it is stopped.
    Tail(TailArgs),
    /// Write the record to a file that `verify` checks without a server: JSON lines, nothing sealed.
    Export(export::ExportArgs),
    /// Check an export, offline: name the first entry that is not as it was.
    Verify(verify::VerifyArgs),
    /// Print what the record is now, signed. Keep it: `verify --since-head` finds out whether the record was cut or
    /// written anew since.
    Head(Whose),
    /// Print the key that signs heads, and those that did before it, for `verify --key`.
    Key,
    /// Let another key sign heads from now on; what the one before signed stays good. Of the whole system.
    RotateKey,
}

#[derive(Args)]
pub(crate) struct Whose {
    /// The record of the system (organisations, tokens, unknown callers) instead of an organisation's.
    #[arg(long)]
    system: bool,
}

/// Which events.
#[derive(Args)]
struct Filter {
    #[command(flatten)]
    whose: Whose,
    /// Only these kinds, with commas: `worker.approved,task.*`.
    #[arg(long = "type", value_name = "KINDS")]
    kind: Option<String>,
    /// Only what concerns this worker.
    #[arg(long, value_name = "ID")]
    worker: Option<String>,
    /// Only what happened to this task.
    #[arg(long, value_name = "ID")]
    task: Option<String>,
    /// Only what this actor did, `token:ID`, `worker:ID`, `key:ID` or `system`.
    #[arg(long, value_name = "ACTOR")]
    by: Option<String>,
    /// Only what came with this request.
    #[arg(long, value_name = "ID")]
    request: Option<String>,
    /// Only from this time on, `2026-01-31T12:00:00Z`.
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only before this time.
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
}

#[derive(Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    filter: Filter,
    /// Only before this position: `next` of the page before.
    #[arg(long, value_name = "POSITION")]
    before: Option<u64>,
    /// Only after this position, oldest first.
    #[arg(long, value_name = "POSITION", conflicts_with = "before")]
    after: Option<u64>,
    /// Most events.
    #[arg(long, default_value_t = 50)]
    limit: u32,
}

#[derive(Args)]
pub(crate) struct TailArgs {
    #[command(flatten)]
    filter: Filter,
    /// Begin after this position; 0 begins with the record [default: what happens from now on].
    #[arg(long, value_name = "POSITION")]
    after: Option<u64>,
    /// End after so many events.
    #[arg(long, value_name = "N", default_value_t = u64::MAX, hide_default_value = true)]
    limit: u64,
}

impl Whose {
    fn path(&self, rest: &str) -> String {
        let place = if self.system { "system" } else { "fleet" };
        format!("/api/v1/{place}/audit{rest}")
    }
}

impl Filter {
    fn path(&self, limit: u64) -> String {
        let mut path = self.whose.path(&format!("?limit={}", limit.clamp(1, 200)));
        let given = [
            ("type", &self.kind),
            ("worker_id", &self.worker),
            ("run_id", &self.task),
            ("by", &self.by),
            ("request_id", &self.request),
            ("since", &self.since),
            ("until", &self.until),
        ];
        for (name, value) in given {
            if let Some(value) = value {
                path += &format!("&{name}={}", segment(value));
            }
        }
        path
    }
}

pub(crate) async fn run(verb: AuditVerb, client: &ClientArgs) -> Result<(), Failed> {
    match verb {
        AuditVerb::List(args) => list(args, client).await,
        AuditVerb::Tail(args) => tail(args, client).await,
        AuditVerb::Export(args) => export::run(args, client).await,
        AuditVerb::Verify(args) => verify::run(args),
        AuditVerb::Head(whose) => {
            let head = client.client()?.get(&whose.path("/head")).await?;
            print::line(&head.to_string())
        }
        AuditVerb::Key => {
            keys(&client.client()?.get("/api/v1/fleet/audit/key").await?, client.output)
        }
        AuditVerb::RotateKey => {
            let path = "/api/v1/system/audit/key";
            keys(&client.client()?.post(path, &Value::Null).await?, client.output)
        }
    }
}

/// The key that signs first.
fn keys(known: &Value, output: Output) -> Result<(), Failed> {
    if output.is_json() {
        return print::line(&known.to_string());
    }
    let former = known["former"].as_array().map(Vec::as_slice).unwrap_or_default();
    let pem = |key: &Value| key["pem"].as_str().unwrap_or_default().trim_end().to_owned();
    std::iter::once(known).chain(former).try_for_each(|key| print::line(&pem(key)))
}

async fn list(args: ListArgs, client: &ClientArgs) -> Result<(), Failed> {
    let mut path = args.filter.path(args.limit.into());
    if let Some(before) = args.before {
        path += &format!("&before={before}");
    }
    if let Some(after) = args.after {
        path += &format!("&after={after}");
    }
    let listed = client.client()?.get(&path).await?;
    print::many(client.output, &listed, "events", &COLUMNS)?;
    match (&listed["next"], client.output) {
        (Value::Number(next), Output::Table) => {
            let flag = if args.after.is_some() { "--after" } else { "--before" };
            print::line(&format!("more: {flag} {next}"))
        }
        _ => Ok(()),
    }
}

async fn tail(args: TailArgs, output: &ClientArgs) -> Result<(), Failed> {
    let client = output.client()?;
    let mut after = match args.after {
        Some(after) => after,
        None => newest(&client, &args.filter.whose).await?,
    };
    let mut left = args.limit;
    while left > 0 {
        let path = args.filter.path(left.min(200));
        let path = format!("{path}&after={after}&wait={WAIT_SECONDS}");
        let page = match client.get(&path).await {
            Ok(page) => page,
            // A server that is being started again is worth waiting for.
            Err(Failed::Unavailable(why)) => {
                eprintln!("{why}; going on after {after}");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
            Err(failed) => return Err(failed),
        };
        for event in page["events"].as_array().into_iter().flatten() {
            print::line(&shown(event, output.output))?;
            left -= 1;
        }
        after = page["next"].as_u64().unwrap_or(after);
    }
    Ok(())
}

/// Where the record stands now.
async fn newest(client: &Client, whose: &Whose) -> Result<u64, Failed> {
    let head = client.get(&whose.path("/head")).await?;
    Ok(head["position"].as_u64().unwrap_or(0))
}

fn shown(event: &Value, output: Output) -> String {
    if let Output::Json = output {
        return event.to_string();
    }
    let text = |name: &str| event[name].as_str().unwrap_or("-").to_owned();
    let (thing, subject) = (text("subject_kind"), text("subject"));
    let (at, kind, by, source) = (text("at"), text("type"), text("by"), text("source"));
    format!("{} {at} {kind} by {by} from {source} {thing}/{subject}", event["position"])
}
