//! The verbs of the binary, and what they end with.
//!
//! | code | meaning |
//! | --- | --- |
//! | 0 | done |
//! | 1 | failed, or something is wrong (`doctor`, `demo`) |
//! | 2 | a mistake of the caller: bad arguments, or refused by the server (4xx); a worker that was turned away |
//! | 3 | the server or the store is not available; try again |

mod agents;
mod alerts;
mod audit;
mod ca;
mod children;
mod client;
mod dead_letters;
mod demo;
mod dev;
mod doctor;
mod end;
mod error;
mod journal;
mod keys;
mod logs;
mod master_key;
mod models;
mod org_keys;
mod orgs;
mod policy;
mod print;
mod retention;
mod runs;
mod schedules;
mod serve;
mod settings;
mod signing_keys;
mod suspicions;
mod tasks;
mod tokens;
mod worker;
mod workflows;

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use client::ClientArgs;
use error::Failed;

const EXIT_CODES: &str = "Exit codes: 0 done; 1 failed or something is wrong; 2 bad arguments or refused; 3 the server or the \
     store is not available";

#[derive(Parser)]
#[command(name = "fleetward", version, about, after_help = EXIT_CODES)]
struct Cli {
    #[command(flatten)]
    client: ClientArgs,
    #[command(flatten)]
    logs: logs::LogArgs,
    /// A file with settings; flags and environment win over it [default: fleetward.toml, if there is one].
    #[arg(long, global = true, value_name = "FILE", env = "FLEETWARD_CONFIG")]
    config: Option<std::path::PathBuf>,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Run the server on a store that you name.
    Serve(serve::ServeArgs),
    /// Run a server on ./.fleetward with one local, approved worker.
    Dev(dev::DevArgs),
    /// Show the main job with real processes on real files, and check it.
    Demo(demo::DemoArgs),
    /// Run a worker, or decide about workers.
    #[command(subcommand)]
    Worker(worker::WorkerVerb),
    /// A small certificate authority, for TLS without one.
    #[command(subcommand)]
    Ca(ca::CaVerb),
    /// Enrollment keys.
    #[command(subcommand)]
    Key(keys::KeyVerb),
    /// What somebody should look at.
    #[command(subcommand)]
    Alert(alerts::AlertVerb),
    /// Where alerts are sent: webhooks.
    #[command(subcommand)]
    Sink(alerts::SinkVerb),
    /// Workers that are suspicious, deaf or mute.
    #[command(subcommand)]
    Suspicion(suspicions::SuspicionVerb),
    /// Tasks.
    #[command(subcommand)]
    Task(tasks::TaskVerb),
    /// Workflows: what runs are made of.
    #[command(subcommand)]
    Workflow(workflows::WorkflowVerb),
    /// Tasks that failed for good.
    #[command(subcommand)]
    DeadLetter(dead_letters::DeadLetterVerb),
    /// Runs of workflows.
    #[command(subcommand)]
    Run(runs::RunVerb),
    /// When runs of workflows start by themselves.
    #[command(subcommand)]
    Schedule(schedules::ScheduleVerb),
    /// What models are called.
    #[command(subcommand)]
    Model(models::ModelVerb),
    /// How many tasks may run at once, and the shares of projects.
    #[command(subcommand)]
    Policy(policy::PolicyVerb),
    /// How long what is over is kept.
    #[command(subcommand)]
    Retention(retention::RetentionVerb),
    /// Let no task start: of the organisation, of a pool, or at a worker. What runs already runs on.
    Pause(policy::PauseArgs),
    /// Let tasks start again.
    Resume(policy::PauseArgs),
    /// Organisations.
    #[command(subcommand)]
    Org(orgs::OrgVerb),
    /// Operators' tokens.
    #[command(subcommand)]
    Token(tokens::TokenVerb),
    /// Keys that workers' task tokens are signed with.
    #[command(subcommand)]
    SigningKey(signing_keys::SigningKeyVerb),
    /// The record of what happened.
    #[command(subcommand)]
    Audit(audit::AuditVerb),
    /// The key that everything secret in a store is sealed with.
    #[command(subcommand)]
    MasterKey(master_key::MasterKeyVerb),
    /// Read the journal of a store, without a server; or what is sealed in it, of a server.
    #[command(subcommand)]
    Journal(journal::JournalVerb),
    /// Look for what is wrong with a store or a server.
    Doctor(doctor::DoctorArgs),
    /// The work of one demo task: hash and count a file.
    #[command(hide = true)]
    DemoStep,
}

/// Reads the arguments, runs the verb, and says how it ended.
pub(crate) fn main() -> ExitCode {
    let cli = match parsed() {
        Ok(cli) => cli,
        Err(failed) => return ended(&failed),
    };
    huge_pages(&cli.verb);
    let mut threads = tokio::runtime::Builder::new_multi_thread();
    if let Verb::Serve(serve) = &cli.verb
        && let Some(count) = serve.threads
    {
        threads.worker_threads(count.into());
    }
    let runtime = match threads.enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: no runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    let done = runtime.block_on(run(cli));
    // Nothing that still runs may hold the process back.
    runtime.shutdown_background();
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failed) => ended(&failed),
    }
}

/// A server without them: it keeps small things for thousands of workers, and with pages of 2 MiB it was a quarter larger
/// and no faster. The process inherits that, so a worker takes it back for the commands that it runs.
fn huge_pages(verb: &Verb) {
    let disable = match verb {
        Verb::Serve(_) | Verb::Dev(_) => true,
        Verb::Worker(_) => false,
        _ => return,
    };
    #[cfg(target_os = "linux")]
    if let Err(error) = nix::sys::prctl::set_thp_disable(disable) {
        tracing::debug!(%error, "huge pages stay as they are");
    }
}

fn parsed() -> Result<Cli, Failed> {
    let matches = settings::parse(Cli::command(), std::env::args_os().collect())?;
    Ok(Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit()))
}

fn ended(failed: &Failed) -> ExitCode {
    eprintln!("error: {failed}");
    ExitCode::from(failed.code())
}

async fn run(cli: Cli) -> Result<(), Failed> {
    cli.logs.install()?;
    match cli.verb {
        Verb::Serve(args) => serve::run(args).await,
        Verb::Dev(args) => dev::run(args).await,
        Verb::Demo(args) => demo::run(args).await,
        Verb::Worker(verb) => worker::run(verb, &cli.client).await,
        Verb::Ca(verb) => ca::run(verb, cli.client.output),
        Verb::Key(verb) => keys::run(verb, &cli.client).await,
        Verb::Alert(verb) => alerts::run(verb, &cli.client).await,
        Verb::Sink(verb) => alerts::sinks(verb, &cli.client).await,
        Verb::Suspicion(verb) => suspicions::run(verb, &cli.client).await,
        Verb::Task(verb) => tasks::run(verb, &cli.client).await,
        Verb::DeadLetter(verb) => dead_letters::run(verb, &cli.client).await,
        Verb::Workflow(verb) => workflows::run(verb, &cli.client).await,
        Verb::Run(verb) => runs::run(verb, &cli.client).await,
        Verb::Schedule(verb) => schedules::run(verb, &cli.client).await,
        Verb::Model(verb) => models::run(verb, &cli.client).await,
        Verb::Policy(verb) => policy::run(verb, &cli.client).await,
        Verb::Retention(verb) => retention::run(verb, &cli.client).await,
        Verb::Pause(args) => policy::pause("pause", args, &cli.client).await,
        Verb::Resume(args) => policy::pause("resume", args, &cli.client).await,
        Verb::Org(verb) => orgs::run(verb, &cli.client).await,
        Verb::Token(verb) => tokens::run(verb, &cli.client).await,
        Verb::SigningKey(verb) => signing_keys::run(verb, &cli.client).await,
        Verb::Audit(verb) => audit::run(verb, &cli.client).await,
        Verb::MasterKey(verb) => master_key::run(verb).await,
        Verb::Journal(verb) => journal::run(verb, &cli.client).await,
        Verb::Doctor(args) => doctor::run(args, &cli.client).await,
        Verb::DemoStep => demo::step::run(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}
