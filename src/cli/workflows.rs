//! `fleetward workflow`: definitions of workflows.

use std::io::Read;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use fleetward_actors::workflows::definition::document::{self, Problems};
use fleetward_actors::workflows::definition::lint::Level;
use fleetward_actors::workflows::definition::{DOCUMENT_MAX, VERSION_SHOWN};
use fleetward_actors::workflows::expression;
use serde_json::{Value, json};

use super::ClientArgs;
use super::client::segment;
use super::error::Failed;
use super::print::{self, Output};

const WORKFLOWS: &str = "/api/v1/workflows";

#[derive(Subcommand)]
pub(crate) enum WorkflowVerb {
    /// Make a document what new runs of its workflow get; runs that exist keep theirs.
    Apply {
        /// The document, YAML or JSON; `-` reads it from standard input.
        #[arg(short, long, value_name = "FILE")]
        file: PathBuf,
    },
    /// List workflows.
    List,
    /// Show a workflow.
    Show {
        /// Its name.
        name: String,
        /// The version, or its first characters [default: the newest].
        #[arg(long)]
        version: Option<String>,
    },
    /// Let nobody start runs of a workflow any more; runs that exist go on.
    Retire {
        /// Its name.
        name: String,
    },
    /// Say everything that is wrong with a definition, and what is unwise in it, with line and column. Needs no server,
    /// but to say which steps its workers cannot run.
    Lint(LintArgs),
    /// Print the JSON Schema of definitions, for editors.
    Schema,
    /// Print what expressions can call.
    Functions,
}

#[derive(Args)]
pub(crate) struct LintArgs {
    /// Files in YAML or JSON; `-` reads the standard input.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Ask the server too: steps that no worker of the organisation could run are warnings.
    #[arg(long)]
    workers: bool,
    /// Fail on warnings too.
    #[arg(long)]
    strict: bool,
}

pub(crate) async fn run(verb: WorkflowVerb, client: &ClientArgs) -> Result<(), Failed> {
    match verb {
        WorkflowVerb::Apply { file } => {
            let body = json!({ "document": text(&file)? });
            let applied = client.client()?.post(WORKFLOWS, &body).await?;
            print::one(client.output, &applied, &["name", "version", "status"])
        }
        WorkflowVerb::List => {
            let listed = client.client()?.get(WORKFLOWS).await?;
            let fields = ["name", "version", "status", "description"];
            print::many(client.output, &listed, "workflows", &fields)
        }
        WorkflowVerb::Show { name, version } => show(&name, version, client).await,
        WorkflowVerb::Retire { name } => {
            let path = format!("{WORKFLOWS}/{}/retire", segment(&name));
            let retired = client.client()?.post(&path, &json!({})).await?;
            print::one(client.output, &retired, &["name", "version", "status"])
        }
        WorkflowVerb::Lint(args) => lint(&args, client).await,
        WorkflowVerb::Schema => print::line(&format!("{:#}", document::schema())),
        WorkflowVerb::Functions => {
            let known = expression::functions();
            let known: Vec<_> =
                known.map(|known| json!({ "call": known.call, "gives": known.gives })).collect();
            print::many(
                client.output,
                &json!({ "functions": known }),
                "functions",
                &["call", "gives"],
            )
        }
    }
}

async fn show(name: &str, version: Option<String>, client: &ClientArgs) -> Result<(), Failed> {
    let version = version.map(|version| format!("?version={}", segment(&version)));
    let path = format!("{WORKFLOWS}/{}{}", segment(name), version.unwrap_or_default());
    let shown = client.client()?.get(&path).await?;
    if client.output.is_json() {
        return print::line(&shown.to_string());
    }
    let fields = ["name", "description", "status", "version", "shown"];
    print::one(client.output, &shown, &fields)?;
    print::line(&format!("{:#}", shown["definition"]))
}

async fn lint(args: &LintArgs, client: &ClientArgs) -> Result<(), Failed> {
    let mut reports = Vec::with_capacity(args.files.len());
    for file in &args.files {
        let (name, text) = (file.display().to_string(), text(file)?);
        reports.push(match args.workers {
            true => report_of_server(&name, &text, client).await?,
            false => report(&name, &text),
        });
    }
    let levels = || reports.iter().filter_map(|report| report["found"].as_array()).flatten();
    let count = |level: Level| levels().filter(|one| one["level"] == level.as_str()).count();
    let (errors, warnings) = (count(Level::Error), count(Level::Warning));
    match client.output {
        Output::Json => print::line(&json!({ "files": reports }).to_string())?,
        Output::Table => reports.iter().try_for_each(say)?,
    }
    if errors > 0 || (args.strict && warnings > 0) {
        return Err(Failed::refused(format!("{errors} errors, {warnings} warnings")));
    }
    Ok(())
}

/// What a document says.
pub(super) fn text(file: &Path) -> Result<String, Failed> {
    let unreadable = |error: std::io::Error| {
        Failed::refused(format!("{} cannot be read: {error}", file.display()))
    };
    let mut text = String::new();
    // One byte more than may be, so that the reader of documents says so.
    let most = DOCUMENT_MAX as u64 + 1;
    if file.as_os_str() == "-" {
        std::io::stdin().take(most).read_to_string(&mut text).map_err(unreadable)?;
    } else {
        let file = std::fs::File::open(file).map_err(unreadable)?;
        file.take(most).read_to_string(&mut text).map_err(unreadable)?;
    }
    Ok(text)
}

/// What the server says of one file, with the workers that it has.
async fn report_of_server(file: &str, text: &str, client: &ClientArgs) -> Result<Value, Failed> {
    let mut told = client.client()?.post("/api/v1/lint", &json!({ "document": text })).await?;
    told["file"] = json!(file);
    Ok(told)
}

/// What is said of one file.
fn report(file: &str, text: &str) -> Value {
    match document::read(text) {
        Ok(document) => {
            let found = document.lint(None);
            let found = found.iter().map(|lint| {
                let (line, column) = lint.place.unzip();
                entry(lint.level, line, column, &lint.path, &lint.message)
            });
            json!({
                "file": file,
                "name": document.definition.name,
                "version": document.definition.version(),
                "found": found.collect::<Vec<_>>(),
            })
        }
        Err(Problems(problems)) => {
            let found = problems.iter().map(|problem| {
                entry(Level::Error, problem.line, problem.column, &problem.path, &problem.message)
            });
            json!({ "file": file, "found": found.collect::<Vec<_>>() })
        }
    }
}

fn entry(level: Level, line: Option<u32>, column: Option<u32>, path: &str, message: &str) -> Value {
    json!({ "level": level.as_str(), "line": line, "column": column, "path": path, "message": message })
}

fn say(report: &Value) -> Result<(), Failed> {
    let words = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let file = words(&report["file"]);
    for one in report["found"].as_array().into_iter().flatten() {
        let place = match (&one["line"], &one["column"]) {
            (Value::Number(line), Value::Number(column)) => format!(":{line}:{column}"),
            _ => String::new(),
        };
        let path = words(&one["path"]);
        let about = if path.is_empty() { path } else { format!("{path}: ") };
        let (level, message) = (words(&one["level"]), words(&one["message"]));
        print::line(&format!("{file}{place}: {level}: {about}{message}"))?;
    }
    match report["version"].as_str() {
        Some(version) => {
            let version = version.get(..VERSION_SHOWN).unwrap_or(version);
            print::line(&format!("{file}: {} {version}", words(&report["name"])))
        }
        None => Ok(()),
    }
}
