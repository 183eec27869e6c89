//! `fleetward run dead`: runs that failed for good, looked at and decided about.

use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{RUNS, age};
use crate::cli::client::{Client, segment};
use crate::cli::error::Failed;
use crate::cli::print::{self, Output};

const DEAD: &str = "/api/v1/dead-letters";

#[derive(Subcommand)]
pub(crate) enum DeadVerb {
    /// List them, newest first.
    List {
        #[command(flatten)]
        filter: Filter,
        /// Where the page before ended.
        #[arg(long)]
        before: Option<u64>,
        /// Most runs, up to 200.
        #[arg(long, default_value_t = 50)]
        limit: u32,
    },
    /// Show one: its error, what the step was given that it failed at, and the attempts at that.
    Show {
        /// Its id.
        id: String,
    },
    /// Show what they have in common, the largest group first.
    Groups {
        #[command(flatten)]
        filter: Filter,
    },
    /// Let them go on from their failures: what completed is not run again.
    Retry(ActionArgs),
    /// Let them go.
    Discard {
        #[command(flatten)]
        action: ActionArgs,
        /// Why, for the record.
        #[arg(long)]
        note: Option<String>,
    },
}

#[derive(Args)]
pub(crate) struct Filter {
    /// Of this workflow.
    #[arg(long)]
    workflow: Option<String>,
    /// Of this group, as `groups` names it.
    #[arg(long)]
    group: Option<String>,
    /// That failed for this reason, as `reported` or `rejected`.
    #[arg(long)]
    code: Option<String>,
    /// That failed at this node.
    #[arg(long)]
    node: Option<String>,
    /// That failed longer ago than this: 90s, 12h, 30d.
    #[arg(long, value_name = "AGE", value_parser = age)]
    older_than: Option<Duration>,
}

#[derive(Args)]
pub(crate) struct ActionArgs {
    /// These runs; without ids those that the filter fits.
    ids: Vec<String>,
    #[command(flatten)]
    filter: Filter,
    /// All of them.
    #[arg(long)]
    all: bool,
    /// Only say how many there are.
    #[arg(long)]
    preview: bool,
}

impl Filter {
    fn fields(self) -> [(&'static str, Value); 5] {
        [
            ("workflow", json!(self.workflow)),
            ("group", json!(self.group)),
            ("code", json!(self.code)),
            ("node", json!(self.node)),
            ("older_than_seconds", json!(self.older_than.map(|age| age.as_secs_f64()))),
        ]
    }

    fn query(self) -> String {
        let said = self.fields().into_iter().filter_map(|(name, value)| match value {
            Value::Null => None,
            Value::String(text) => Some(format!("&{name}={}", segment(&text))),
            other => Some(format!("&{name}={other}")),
        });
        said.collect()
    }
}

pub(super) async fn run(verb: DeadVerb, client: &Client, output: Output) -> Result<(), Failed> {
    match verb {
        DeadVerb::List { filter, before, limit } => {
            let before = before.map(|before| format!("&before={before}")).unwrap_or_default();
            let path = format!("{DEAD}?limit={limit}{before}{}", filter.query());
            let listed = client.get(&path).await?;
            let fields =
                ["run_id", "workflow", "failed_at", "error_code", "error_group", "updated_at"];
            print::many(output, &listed, "runs", &fields)
        }
        DeadVerb::Show { id } => {
            let shown = client.get(&format!("{RUNS}/{}/failure", segment(&id))).await?;
            show(output, &shown)
        }
        DeadVerb::Groups { filter } => {
            let found = client.get(&format!("{DEAD}/groups?{}", filter.query())).await?;
            let fields = [
                "group",
                "workflow",
                "code",
                "count",
                "first_at",
                "last_at",
                "sample_run_id",
                "sample_error",
            ];
            print::many(output, &found, "groups", &fields)
        }
        DeadVerb::Retry(action) => act(action, "retry", None, (client, output)).await,
        DeadVerb::Discard { action, note } => act(action, "discard", note, (client, output)).await,
    }
}

fn show(output: Output, shown: &Value) -> Result<(), Failed> {
    if output.is_json() {
        return print::line(&shown.to_string());
    }
    let fields =
        ["run_id", "workflow", "version", "error_code", "failed_at", "error", "error_group"];
    print::one(output, &shown["run"], &fields)?;
    print::one(output, shown, &["task_id", "input"])?;
    print::line("")?;
    let fields = ["attempt", "worker_id", "claimed_at", "ended_at", "why", "error"];
    print::many(output, shown, "attempts", &fields)
}

async fn act(
    action: ActionArgs,
    verb: &str,
    note: Option<String>,
    (client, output): (&Client, Output),
) -> Result<(), Failed> {
    let mut body = json!({ "all": action.all, "preview": action.preview, "note": note });
    if !action.ids.is_empty() {
        body["run_ids"] = json!(action.ids);
    }
    for (name, value) in action.filter.fields() {
        body[name] = value;
    }
    told(output, &client.post(&format!("{DEAD}/{verb}"), &body).await?)
}

fn told(output: Output, outcome: &Value) -> Result<(), Failed> {
    print::one(output, outcome, &["matched", "changed", "more"])?;
    match outcome["problems"].as_array().map(Vec::as_slice) {
        Some([first, ..]) => {
            let detail = first["problem"]["detail"].as_str().unwrap_or_default();
            let id = first["run_id"].as_str().unwrap_or_default();
            Err(Failed::wrong(format!("not done with all of them, as with {id}: {detail}")))
        }
        _ => Ok(()),
    }
}
