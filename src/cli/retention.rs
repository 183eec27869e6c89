//! `fleetward retention`: how long an organisation keeps what is over.

use std::time::Duration;

use clap::{Args, Subcommand};
use fleetward_actors::workflows::definition::document::duration_ms;
use fleetward_wire::retention::RetentionTerms;
use reqwest::Method;
use serde_json::{Value, json};

use super::ClientArgs;
use super::error::Failed;
use super::print;

const RETENTION: &str = "/api/v1/fleet/retention";
const TERMS: [&str; 3] = ["tasks", "runs", "failed"];

#[derive(Subcommand)]
pub(crate) enum RetentionVerb {
    /// Show how long what is over is kept, and what was deleted last.
    Show,
    /// Change it. What is not named stays.
    Set(TermArgs),
    /// Delete now what is over for longer than it is kept.
    Sweep,
}

#[derive(Args)]
#[group(required = true, multiple = true)]
pub(crate) struct TermArgs {
    /// Tasks that are completed, cancelled or discarded: `12h`, `30d` or `forever`.
    #[arg(long, value_parser = term)]
    tasks: Option<Term>,
    /// Runs that are completed, cancelled or discarded, with their tasks and child runs.
    #[arg(long, value_parser = term)]
    runs: Option<Term>,
    /// Dead letters: tasks and runs that failed.
    #[arg(long, value_parser = term)]
    failed: Option<Term>,
}

/// How long something is kept; none: for ever.
#[derive(Clone, Copy)]
struct Term(Option<Duration>);

fn term(text: &str) -> Result<Term, String> {
    if text == "forever" {
        return Ok(Term(None));
    }
    let kept = duration_ms(text).map_err(|error| format!("{error}; or say `forever`"))?;
    Ok(Term(Some(Duration::from_millis(kept))))
}

pub(crate) async fn run(verb: RetentionVerb, args: &ClientArgs) -> Result<(), Failed> {
    let client = args.client()?;
    let view = match verb {
        RetentionVerb::Show => client.get(RETENTION).await?,
        RetentionVerb::Set(asked) => {
            let known = terms(&client.get(RETENTION).await?);
            let body = json!(asked.over(known));
            client.send(client.request(Method::PUT, RETENTION).json(&body)).await?
        }
        RetentionVerb::Sweep => {
            let swept = client.post(&format!("{RETENTION}/sweep"), &json!({})).await?;
            return print::one(args.output, &swept, &["ended", "tasks", "runs"]);
        }
    };
    if args.output.is_json() {
        return print::line(&view.to_string());
    }
    let mut shown = view.clone();
    for name in TERMS {
        shown[name] = match view[format!("{name}_seconds")].as_u64() {
            Some(seconds) => words(seconds).into(),
            None => "for ever".into(),
        };
    }
    if let Some(last) = view.get("last") {
        let text = |field: &str| last[field].as_str().unwrap_or_default().to_owned();
        let done =
            format!("{} tasks and {} runs by {}", last["tasks"], last["runs"], text("ended_at"));
        shown["last"] = match last["held_up"].as_str() {
            Some(why) => format!("{done}, then held up: {why}").into(),
            None => done.into(),
        };
    }
    print::one(args.output, &shown, &[&TERMS[..], &["running", "last", "next_at"]].concat())
}

fn terms(view: &Value) -> RetentionTerms {
    let of = |name: &str| view[format!("{name}_seconds")].as_u64();
    let [tasks_seconds, runs_seconds, failed_seconds] = TERMS.map(of);
    RetentionTerms { tasks_seconds, runs_seconds, failed_seconds }
}

/// The largest unit in which it is whole.
fn words(seconds: u64) -> String {
    let units = [(86_400, "d"), (3_600, "h"), (60, "m")];
    let whole = units.into_iter().find(|(unit, _)| seconds.is_multiple_of(*unit));
    whole.map_or(format!("{seconds}s"), |(unit, name)| format!("{}{name}", seconds / unit))
}

impl TermArgs {
    fn over(&self, known: RetentionTerms) -> RetentionTerms {
        let said = |asked: Option<Term>, known| match asked {
            Some(Term(kept)) => kept.map(|kept| kept.as_secs()),
            None => known,
        };
        RetentionTerms {
            tasks_seconds: said(self.tasks, known.tasks_seconds),
            runs_seconds: said(self.runs, known.runs_seconds),
            failed_seconds: said(self.failed, known.failed_seconds),
        }
    }
}
