//! `fleetward schedule`: when runs of workflows start by themselves.

use std::path::{Path, PathBuf};

use chrono::{DateTime, SecondsFormat, Utc};
use clap::{Args, Subcommand, ValueEnum};
use fleetward_actors::id::ScheduleId;
use fleetward_actors::schedules::cron;
use fleetward_actors::schedules::spec::{Spec, Timing};
use fleetward_actors::workflows::definition::document;
use reqwest::Method;
use serde_json::{Map, Value, json};

use super::ClientArgs;
use super::client::segment;
use super::error::Failed;
use super::print;
use super::runs::{ReasonArgs, read};
use super::workflows::text;

const SCHEDULES: &str = "/api/v1/schedules";
const FIELDS: &[&str] = &["name", "status", "workflow", "cron", "timezone", "every_seconds"];
/// Keys of a file, in the order of the command line.
const KEYS: [&str; 15] = [
    "name",
    "workflow",
    "version",
    "input",
    "cron",
    "timezone",
    "every",
    "jitter",
    "start",
    "end",
    "catch_up",
    "catch_up_window",
    "catch_up_max",
    "overlap",
    "description",
];
/// Those that are durations as text, and seconds for the server.
const DURATIONS: [&str; 3] = ["every", "jitter", "catch_up_window"];

#[derive(Subcommand)]
pub(crate) enum ScheduleVerb {
    /// Make a schedule, or tell the one of this name something else.
    Create(Box<CreateArgs>),
    /// The same from a file in YAML or JSON, with the same keys: `name`, `workflow`, `cron`, ...
    Apply {
        /// The file; `-` reads the standard input.
        #[arg(short, long, value_name = "FILE")]
        file: PathBuf,
    },
    /// List schedules, by name.
    List {
        /// The name after which the page begins.
        #[arg(long)]
        after: Option<String>,
        /// Most schedules, up to 200.
        #[arg(long, default_value_t = 50)]
        limit: u32,
    },
    /// Show a schedule, its next ticks, and what became of the last ones.
    Show {
        /// Its name.
        name: String,
    },
    /// Print what runs of a schedule are given.
    Input {
        /// Its name.
        name: String,
    },
    /// Let nothing start by itself.
    Pause(ReasonArgs),
    /// Let a paused schedule go on, from now.
    Resume {
        /// Its name.
        name: String,
    },
    /// Start a run of a schedule now, also while it is paused or another run is open.
    Run {
        /// Its name.
        name: String,
        /// The id of the run: wanting it again under this id starts it once [default: a fresh one].
        #[arg(long)]
        run_id: Option<String>,
        /// Another input: JSON, or `-` for standard input [default: that of the schedule].
        #[arg(long)]
        input: Option<String>,
    },
    /// Delete a schedule. Its runs go on.
    Delete {
        /// Its name.
        name: String,
    },
    /// Print the next ticks of a cron expression or an interval. Needs no server.
    Preview(PreviewArgs),
}

#[derive(Args)]
pub(crate) struct CreateArgs {
    /// Its name.
    name: String,
    /// The name of the workflow.
    #[arg(long)]
    workflow: String,
    /// Its version, or its first characters [default: the newest at each tick].
    #[arg(long)]
    version: Option<String>,
    /// What each run is given: JSON, or `-` for standard input.
    #[arg(long, default_value = "null")]
    input: String,
    #[command(flatten)]
    times: TimesArgs,
    /// A tick fires up to so much late, and before the next one; always the same for the same tick.
    #[arg(long, value_name = "DURATION")]
    jitter: Option<String>,
    /// No tick before this time (RFC 3339); intervals are counted from it.
    #[arg(long, value_name = "TIME")]
    start: Option<String>,
    /// No tick after this time (RFC 3339).
    #[arg(long, value_name = "TIME")]
    end: Option<String>,
    /// Which missed ticks are fired; `skip`: none that is over a minute late [default: latest].
    #[arg(long)]
    catch_up: Option<CatchUp>,
    /// Only those that are no older [default: 7d].
    #[arg(long, value_name = "DURATION")]
    catch_up_window: Option<String>,
    /// Of all only the newest, so many [default: 100].
    #[arg(long, value_name = "N")]
    catch_up_max: Option<u32>,
    /// What a tick does while a run of the schedule is open [default: skip].
    #[arg(long)]
    overlap: Option<Overlap>,
    /// What it is for, in words.
    #[arg(long)]
    description: Option<String>,
}

#[derive(Args)]
pub(crate) struct TimesArgs {
    /// A cron expression: five fields, or six with seconds in front.
    #[arg(long, required_unless_present = "every", conflicts_with = "every")]
    cron: Option<String>,
    /// The zone that the expression is for, as Europe/Berlin [default: UTC].
    #[arg(long, value_name = "ZONE", conflicts_with = "every")]
    timezone: Option<String>,
    /// An interval, as 15m, counted from the start, or from the beginning of 1970.
    #[arg(long, value_name = "DURATION")]
    every: Option<String>,
}

#[derive(Args)]
pub(crate) struct PreviewArgs {
    /// A cron expression: five fields, or six with seconds in front.
    #[arg(required_unless_present = "every", conflicts_with = "every")]
    cron: Option<String>,
    /// The zone that the expression is for, as Europe/Berlin.
    #[arg(long, value_name = "ZONE", default_value = "UTC")]
    timezone: String,
    /// An interval, as 15m.
    #[arg(long, value_name = "DURATION")]
    every: Option<String>,
    /// How many ticks.
    #[arg(short = 'n', long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    count: u32,
    /// After this time (RFC 3339) [default: now].
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
}

#[derive(Clone, Copy, ValueEnum)]
#[value(rename_all = "snake_case")]
enum CatchUp {
    Skip,
    Latest,
    All,
}

#[derive(Clone, Copy, ValueEnum)]
#[value(rename_all = "snake_case")]
enum Overlap {
    Skip,
    BufferOne,
    Allow,
    CancelOther,
}

pub(crate) async fn run(verb: ScheduleVerb, args: &ClientArgs) -> Result<(), Failed> {
    let output = args.output;
    let post = async |name: &str, verb: &str, body: Value| {
        let path = format!("{SCHEDULES}/{}/{verb}", segment(name));
        args.client()?.post(&path, &body).await
    };
    let told = |shown: &Value| print::one(output, shown, &["name", "status", "workflow"]);
    match verb {
        ScheduleVerb::Create(create) => put(create.body()?, args).await,
        ScheduleVerb::Apply { file } => put(document(&file)?, args).await,
        ScheduleVerb::List { after, limit } => {
            let after = after.map(|name| format!("&after={}", segment(&name)));
            let path = format!("{SCHEDULES}?limit={limit}{}", after.unwrap_or_default());
            let listed = args.client()?.get(&path).await?;
            print::many(output, &listed, "schedules", FIELDS)
        }
        ScheduleVerb::Show { name } => {
            let path = format!("{SCHEDULES}/{}", segment(&name));
            show(output, &args.client()?.get(&path).await?)
        }
        ScheduleVerb::Input { name } => {
            let path = format!("{SCHEDULES}/{}/input", segment(&name));
            print::line(&args.client()?.get(&path).await?.to_string())
        }
        ScheduleVerb::Pause(why) => {
            told(&post(&why.id, "pause", json!({ "reason": why.reason })).await?)
        }
        ScheduleVerb::Resume { name } => told(&post(&name, "resume", json!({})).await?),
        ScheduleVerb::Run { name, run_id, input } => {
            let mut body = json!({ "run_id": run_id });
            if let Some(input) = input {
                body["input"] = read(&input)?;
            }
            let started = post(&name, "run", body).await?;
            print::one(output, &started, &["run_id", "version", "repeated"])
        }
        ScheduleVerb::Delete { name } => {
            let path = format!("{SCHEDULES}/{}", segment(&name));
            told(&args.client()?.delete(&path).await?)
        }
        ScheduleVerb::Preview(preview) => preview.print(output),
    }
}

impl CreateArgs {
    /// The same as a file would say.
    fn body(self) -> Result<Map<String, Value>, Failed> {
        let word =
            |value: Option<clap::builder::PossibleValue>| value.map(|v| v.get_name().to_owned());
        let body = json!({
            "name": self.name, "workflow": self.workflow, "version": self.version, "input": read(&self.input)?,
            "cron": self.times.cron, "timezone": self.times.timezone, "every": self.times.every,
            "jitter": self.jitter, "start": self.start, "end": self.end,
            "catch_up": word(self.catch_up.and_then(|policy| policy.to_possible_value())),
            "catch_up_window": self.catch_up_window, "catch_up_max": self.catch_up_max,
            "overlap": word(self.overlap.and_then(|policy| policy.to_possible_value())),
            "description": self.description,
        });
        match body {
            Value::Object(body) => Ok(body),
            _ => unreachable!("it is written as an object"),
        }
    }
}

/// A schedule from a file.
fn document(file: &Path) -> Result<Map<String, Value>, Failed> {
    let shown = file.display();
    let read = document::json_of(&text(file)?);
    match read.map_err(|wrong| Failed::refused(format!("{shown}: {wrong}")))? {
        Value::Object(body) => match body.keys().find(|key| !KEYS.contains(&key.as_str())) {
            None => Ok(body),
            Some(key) => Err(Failed::refused(format!(
                "{shown}: a schedule has no `{key}`; it has {}",
                KEYS.join(", ")
            ))),
        },
        _ => Err(Failed::refused(format!(
            "{shown}: a schedule is a mapping with `name`, `workflow`, ..."
        ))),
    }
}

async fn put(mut body: Map<String, Value>, args: &ClientArgs) -> Result<(), Failed> {
    let Some(Value::String(name)) = body.remove("name") else {
        return Err(Failed::refused("a schedule needs a `name`".to_owned()));
    };
    for key in DURATIONS {
        let Some(value) = body.remove(key).filter(|value| !value.is_null()) else { continue };
        let wrong = |why: String| Failed::refused(format!("{key}: {why}"));
        let text = value
            .as_str()
            .ok_or_else(|| wrong(format!("`{value}` has no unit; write `{value}s`")))?;
        let ms = document::duration_ms(text).map_err(wrong)?;
        body.insert(format!("{key}_seconds"), json!(ms as f64 / 1e3));
    }
    let client = args.client()?;
    let path = format!("{SCHEDULES}/{}", segment(&name));
    let request = client.request(Method::PUT, &path).json(&Value::Object(body));
    let shown = client.send(request).await?;
    show(args.output, &shown)
}

fn show(output: print::Output, shown: &Value) -> Result<(), Failed> {
    let all = [
        "name",
        "status",
        "workflow",
        "version",
        "description",
        "cron",
        "timezone",
        "every_seconds",
        "jitter_seconds",
        "start",
        "end",
        "catch_up",
        "overlap",
        "paused_at",
        "paused_by",
        "paused_reason",
        "buffered",
        "fired",
    ];
    let there: Vec<_> = all.into_iter().filter(|field| !shown[*field].is_null()).collect();
    print::one(output, shown, &there)?;
    if output.is_json() {
        return Ok(());
    }
    print::line("")?;
    print::many(output, shown, "next", &["tick", "fires_at"])?;
    if shown["recent"].is_array() {
        print::line("")?;
        let fields = ["tick", "at", "run_id", "status", "manual", "error_code", "error"];
        print::many(output, shown, "recent", &fields)?;
    }
    Ok(())
}

impl PreviewArgs {
    fn print(self, output: print::Output) -> Result<(), Failed> {
        let zone = cron::zone(&self.timezone).map_err(|bad| Failed::refused(bad.to_string()))?;
        let timing = match (self.cron, self.every) {
            (Some(expression), _) => Timing::Cron { expression, zone: zone.name().to_owned() },
            (None, every) => {
                let ms =
                    document::duration_ms(&every.unwrap_or_default()).map_err(Failed::refused)?;
                let seconds = if ms % 1_000 == 0 { (ms / 1_000).cast_signed() } else { 0 };
                Timing::Every { seconds }
            }
        };
        let from = match &self.from {
            None => Utc::now(),
            Some(text) => DateTime::parse_from_rfc3339(text)
                .map_err(|_| {
                    let why = format!("`{text}` is no time of RFC 3339, as 2026-01-31T12:00:00Z");
                    Failed::refused(why)
                })?
                .to_utc(),
        };
        let calendar = Spec::new("preview", timing).calendar(ScheduleId::fresh());
        let calendar = calendar.map_err(|refusal| Failed::refused(refusal.to_string()))?;
        let ticks = calendar.upcoming(from.timestamp_micros(), self.count as usize);
        if ticks.is_empty() {
            return Err(Failed::refused(
                "no tick would ever come: there is no such day".to_owned(),
            ));
        }
        let shown = ticks.into_iter().filter_map(DateTime::<Utc>::from_timestamp_micros).map(|tick| {
            json!({
                "local": tick.with_timezone(&zone).format("%a %Y-%m-%d %H:%M:%S %Z").to_string(),
                "tick": tick.to_rfc3339_opts(SecondsFormat::Secs, true),
            })
        });
        let shown = json!({ "next": shown.collect::<Vec<_>>() });
        print::many(output, &shown, "next", &["local", "tick"])
    }
}
