//! `fleetward suspicion`: workers that are suspicious, deaf or mute.

use clap::Subcommand;
use serde_json::{Value, json};

use super::ClientArgs;
use super::client::segment;
use super::error::Failed;
use super::print;

const FLEET: &str = "/api/v1/fleet";

#[derive(Subcommand)]
pub(crate) enum SuspicionVerb {
    /// List what is suspicious of workers, and who is deaf (does not poll) or mute (sends no heartbeats).
    List,
    /// Say that it means nothing: the worker is watched anew.
    Reset {
        /// The worker's id.
        id: String,
        /// Why, for the record.
        #[arg(long)]
        reason: Option<String>,
    },
}

pub(crate) async fn run(verb: SuspicionVerb, client: &ClientArgs) -> Result<(), Failed> {
    match verb {
        SuspicionVerb::List => {
            let mut listed = client.client()?.get(&format!("{FLEET}/suspicions")).await?;
            if !client.output.is_json() {
                listed = json!({ "rows": rows(&listed) });
            }
            let fields = ["worker_id", "name", "status", "kind", "since", "why"];
            print::many(client.output, &listed, "rows", &fields)
        }
        SuspicionVerb::Reset { id, reason } => {
            let path = format!("{FLEET}/workers/{}/reset-suspicions", segment(&id));
            let answer = client.client()?.post(&path, &json!({ "reason": reason })).await?;
            print::one(client.output, &answer, &["worker_id", "status"])
        }
    }
}

/// One line for each thing that is wrong with a worker.
fn rows(listed: &Value) -> Vec<Value> {
    let mut rows = Vec::new();
    for worker in listed["workers"].as_array().into_iter().flatten() {
        let row = |kind: &Value, since: &Value, why: &Value| {
            json!({
                "worker_id": worker["worker_id"], "name": worker["name"], "status": worker["status"],
                "kind": kind, "since": since, "why": why,
            })
        };
        for suspicion in worker["suspicions"].as_array().into_iter().flatten() {
            rows.push(row(&suspicion["kind"], &suspicion["at"], &suspicion["why"]));
        }
        for (kind, why) in
            [("deaf", "it does not ask for work"), ("mute", "it sends no heartbeats")]
        {
            let since = &worker[format!("{kind}_since")];
            if !since.is_null() {
                rows.push(row(&kind.into(), since, &why.into()));
            }
        }
    }
    rows
}
