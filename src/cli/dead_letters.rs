//! `fleetward dead-letter`: tasks that failed for good, looked at and decided about.

use clap::{Args, Subcommand};
use serde_json::json;

use super::ClientArgs;
use super::client::segment;
use super::error::Failed;
use super::print;

const DEAD_LETTERS: &str = "/api/v1/fleet/dead-letters";

#[derive(Subcommand)]
pub(crate) enum DeadLetterVerb {
    /// List them, newest first.
    List {
        #[command(flatten)]
        filter: Filter,
        /// Most tasks, up to 200.
        #[arg(long, default_value_t = 50)]
        limit: u32,
    },
    /// Show what their errors have in common, the largest group first.
    Groups {
        #[command(flatten)]
        filter: Filter,
    },
    /// Try them again from the beginning.
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
    /// Of this group, as `groups` names it.
    #[arg(long)]
    group: Option<String>,
    /// Of this pool.
    #[arg(long)]
    pool: Option<String>,
    /// Of this project.
    #[arg(long)]
    project: Option<String>,
    /// For this model.
    #[arg(long)]
    model: Option<String>,
    /// That failed because of `reported`, `attempts_exhausted`, `deadline_exceeded` or `timed_out`.
    #[arg(long)]
    reason: Option<String>,
}

#[derive(Args)]
pub(crate) struct ActionArgs {
    /// These tasks; without ids those that the filter fits.
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
    fn fields(self) -> [(&'static str, Option<String>); 5] {
        [
            ("group", self.group),
            ("pool", self.pool),
            ("project_id", self.project),
            ("model", self.model),
            ("reason", self.reason),
        ]
    }

    fn query(self) -> String {
        let fields = self.fields().into_iter();
        let said = fields.filter_map(|(name, value)| Some(format!("&{name}={}", segment(&value?))));
        said.collect()
    }
}

pub(crate) async fn run(verb: DeadLetterVerb, client: &ClientArgs) -> Result<(), Failed> {
    match verb {
        DeadLetterVerb::List { filter, limit } => {
            let path = format!("{DEAD_LETTERS}?limit={limit}{}", filter.query());
            let listed = client.client()?.get(&path).await?;
            let fields = [
                "run_id",
                "reason",
                "error_group",
                "pool",
                "model",
                "attempt",
                "reported_at",
                "step.workflow_run_id",
                "step.key",
            ];
            print::many(client.output, &listed, "tasks", &fields)
        }
        DeadLetterVerb::Groups { filter } => {
            let path = format!("{DEAD_LETTERS}/groups?{}", filter.query());
            let found = client.client()?.get(&path).await?;
            let fields = ["group", "reason", "count", "newest_at", "sample_run_id", "sample_error"];
            print::many(client.output, &found, "groups", &fields)
        }
        DeadLetterVerb::Retry(action) => act(action, "retry", None, client).await,
        DeadLetterVerb::Discard { action, note } => act(action, "discard", note, client).await,
    }
}

async fn act(
    action: ActionArgs,
    verb: &str,
    note: Option<String>,
    client: &ClientArgs,
) -> Result<(), Failed> {
    let mut body = json!({ "all": action.all, "preview": action.preview, "note": note });
    if !action.ids.is_empty() {
        body["run_ids"] = json!(action.ids);
    }
    for (name, value) in action.filter.fields() {
        body[name] = json!(value);
    }
    let outcome = client.client()?.post(&format!("{DEAD_LETTERS}/{verb}"), &body).await?;
    print::one(client.output, &outcome, &["matched", "changed", "more"])?;
    match outcome["problems"].as_array().map(Vec::as_slice) {
        Some([first, ..]) => {
            let detail = first["problem"]["detail"].as_str().unwrap_or_default();
            let id = first["run_id"].as_str().unwrap_or_default();
            Err(Failed::wrong(format!("not done with all of them, as with {id}: {detail}")))
        }
        _ => Ok(()),
    }
}
