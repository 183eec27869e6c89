//! `fleetward run replay`: a run from its history alone, and where that parts from a definition.

use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use super::RUNS;
use crate::cli::client::{Client, segment};
use crate::cli::error::Failed;
use crate::cli::print::{self, Output};
use crate::cli::workflows::text;

/// Most characters of a value that a line shows.
const VALUE_SHOWN: usize = 60;

#[derive(Args)]
pub(crate) struct ReplayArgs {
    /// The run.
    id: String,
    /// To this event, as `run timeline` numbers them [default: to the end].
    #[arg(long, value_name = "EVENT")]
    to: Option<u64>,
    /// Against this version, its first characters, or `latest` [default: the one that the run keeps].
    #[arg(long, value_name = "VERSION", conflicts_with = "file")]
    version: Option<String>,
    /// Against a document that need not be applied, YAML or JSON.
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
}

/// Replays it and says where history and definition part; fails when they do.
pub(super) async fn run(args: &ReplayArgs, client: &Client, output: Output) -> Result<(), Failed> {
    let path = format!("{RUNS}/{}/replay", segment(&args.id));
    let told = match &args.file {
        Some(file) => {
            client.post(&path, &json!({ "document": text(file)?, "to": args.to })).await?
        }
        None => {
            let to = args.to.map(|to| format!("&to={to}")).unwrap_or_default();
            let version = args.version.as_deref();
            let version = version.map(|version| format!("&version={}", segment(version)));
            client.get(&format!("{path}?{}{to}", version.unwrap_or_default())).await?
        }
    };
    match output {
        Output::Json => print::line(&told.to_string())?,
        Output::Table => show(&told)?,
    }
    let count = told["divergences"].as_array().map_or(0, Vec::len);
    let more = if told["more"] == true { "more than " } else { "" };
    match (told["incomplete"].as_str(), count) {
        (None, 0) => Ok(()),
        (Some(why), 0) => Err(Failed::wrong(format!("not all of it was compared: {why}"))),
        (_, 1) => Err(Failed::wrong("history and definition part in 1 place")),
        (_, count) => {
            Err(Failed::wrong(format!("history and definition part in {more}{count} places")))
        }
    }
}

fn show(told: &Value) -> Result<(), Failed> {
    let run = &told["run"];
    let words = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let version = words(&told["against"]);
    let version = version.get(..16).unwrap_or(&version);
    print::line(&format!(
        "{}: {} after {} events, up to event {}; held against {} {version}; nothing was changed",
        words(&run["run_id"]),
        words(&run["status"]),
        told["events"],
        run["updated_seq"],
        words(&run["workflow"]),
    ))?;
    table("nodes", run, &["key", "status", "attempts", "error_code"])?;
    table("waits", run, &["key", "for", "until", "signal", "child"])?;
    table("signals", told, &["name", "seq"])?;
    let values = told["values"].as_array().into_iter().flatten();
    let cut = |value: &Value| value.to_string().chars().take(VALUE_SHOWN).collect::<String>();
    let values: Vec<_> = values
        .map(|one| json!({"value": one["name"], "seq": one["seq"], "is": cut(&one["value"])}))
        .collect();
    table("values", &json!({ "values": values }), &["value", "seq", "is"])?;
    table("next", told, &["what", "key", "code"])?;
    table("divergences", told, &["seq", "how", "kind", "key", "detail"])
}

/// A table under an empty line, where there is something to show.
fn table(list: &str, of: &Value, fields: &[&str]) -> Result<(), Failed> {
    if of[list].as_array().is_none_or(Vec::is_empty) {
        return Ok(());
    }
    print::line("")?;
    print::many(Output::Table, of, list, fields)
}
