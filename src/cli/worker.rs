//! `fleetward worker`: run one, or decide about those that joined.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use fleetward_wire::Secret;
use fleetward_wire::workers::{NetworkPolicy, Register, SandboxLevel};
use fleetward_worker::{
    Command, Endpoint, HttpTransport, Identity, IdentityError, OrgKeys, Probe, SealedTransport,
    Tls, TransportError, Worker, WorkerOptions,
};
use reqwest::Method;
use serde_json::json;

use super::ClientArgs;
use super::agents::AgentArgs;
use super::client::{self, segment};
use super::end::EndArgs;
use super::error::Failed;
use super::keys::label;
use super::print;
use super::serve::seconds;

const WORKERS: &str = "/api/v1/fleet/workers";
const TOKENS: &str = "/api/v1/fleet/task-tokens";

#[derive(Subcommand)]
pub(crate) enum WorkerVerb {
    /// Run a worker: claim tasks and run a command for each, or answer them with models.
    Run(Box<RunArgs>),
    /// List workers, newest first.
    List {
        /// Only `pending`, `approved`, `quarantined`, `locked`, `rejected` or `revoked` ones.
        #[arg(long)]
        status: Option<String>,
    },
    /// Show a worker.
    #[command(visible_alias = "show")]
    Get {
        /// Its id.
        id: String,
    },
    /// Let a pending worker work.
    Approve(DecideArgs),
    /// Turn a pending worker away.
    Reject(DecideArgs),
    /// Give a suspicious worker no new tasks; `approve` takes it back.
    Quarantine(DecideArgs),
    /// End a worker: its tasks go back at once, and it gets no more.
    Revoke(DecideArgs),
    /// Let a worker work again that was locked because a copy of one of its tokens was used.
    Unlock(DecideArgs),
    /// List the task tokens of a worker that are not over.
    Tokens {
        /// Its id.
        id: String,
    },
    /// List the task tokens of all workers that were taken back and would still be good.
    RevokedTokens,
    /// Take a task token back; its worker asks for another.
    RevokeToken {
        /// Its id, the `jti`.
        id: String,
        /// Why, for the record.
        #[arg(long)]
        reason: Option<String>,
    },
}

#[derive(Args)]
pub(crate) struct DecideArgs {
    /// The worker's id.
    id: String,
    /// Why, for the record.
    #[arg(long)]
    reason: Option<String>,
}

#[derive(Args)]
pub(crate) struct RunArgs {
    /// The enrollment key; needed once, to register.
    #[arg(long, value_name = "KEY", env = "ENROLLMENT_KEY", hide_env_values = true)]
    enrollment_key: Option<String>,
    /// A file with the enrollment key.
    #[arg(long, value_name = "FILE", env = "FLEETWARD_ENROLLMENT_KEY_FILE")]
    enrollment_key_file: Option<PathBuf>,
    /// What to call it.
    #[arg(long, default_value = "worker", env = "FLEETWARD_WORKER_NAME")]
    name: String,
    /// The pool that it stands in.
    #[arg(long, default_value = "default", env = "FLEETWARD_WORKER_POOL")]
    pool: String,
    /// A model that it can use; may be repeated.
    #[arg(long = "model", env = "FLEETWARD_WORKER_MODELS", value_delimiter = ',')]
    models: Vec<String>,
    /// A label, `name=value`; may be repeated.
    #[arg(long = "label", value_parser = label, env = "FLEETWARD_WORKER_LABELS", value_delimiter = ',')]
    labels: Vec<(String, String)>,
    /// How well its command isolates what it runs: `none`, `process`, `container` or `vm`.
    #[arg(long, value_name = "LEVEL", value_parser = word::<SandboxLevel>, env = "FLEETWARD_WORKER_SANDBOX")]
    sandbox: Option<SandboxLevel>,
    /// A sandbox image that it can run, `name` or `start*`; may be repeated.
    #[arg(
        long = "image",
        value_name = "IMAGE",
        env = "FLEETWARD_WORKER_IMAGES",
        value_delimiter = ','
    )]
    images: Vec<String>,
    /// A handler that it serves, `*` at its end for all that begin so; may be repeated. Steps of workflows name one.
    #[arg(
        long = "handler",
        value_name = "NAME",
        env = "FLEETWARD_WORKER_HANDLERS",
        value_delimiter = ','
    )]
    handlers: Vec<String>,
    /// A network policy that it can enforce: `none`, `restricted` or `open`; may be repeated.
    #[arg(long = "network", value_name = "POLICY", value_parser = word::<NetworkPolicy>, env = "FLEETWARD_WORKER_NETWORKS", value_delimiter = ',')]
    networks: Vec<NetworkPolicy>,
    /// How many tasks it runs at once.
    #[arg(long, value_name = "N", default_value_t = 1, env = "FLEETWARD_WORKER_MAX_CONCURRENT")]
    max_concurrent: u32,
    /// The command of each task, run by `sh -c`: the task is JSON on its standard input, its standard output the result.
    #[arg(long, value_name = "CMD", env = "FLEETWARD_WORKER_EXEC")]
    exec: Option<String>,
    #[command(flatten)]
    agents: AgentArgs,
    /// A variable of this environment that the command gets too; may be repeated.
    #[arg(long = "env", value_name = "NAME", env = "FLEETWARD_WORKER_ENV", value_delimiter = ',')]
    env: Vec<String>,
    /// How long one task may take.
    #[arg(long, value_name = "N", default_value = "600", value_parser = seconds, env = "FLEETWARD_WORKER_TIMEOUT_SECONDS")]
    timeout_seconds: Duration,
    /// Where its identity is kept [default: ./fleetward-worker-NAME.json].
    #[arg(long, value_name = "FILE", env = "FLEETWARD_WORKER_IDENTITY")]
    identity: Option<PathBuf>,
    /// An endpoint of its models: ollama=URL, openai=URL, or openai:VARIABLE=URL with the API key in that variable of the
    /// environment; may be repeated. A model that no endpoint names is not asked of this worker.
    #[arg(
        long = "probe",
        value_name = "KIND=URL",
        env = "FLEETWARD_WORKER_PROBES",
        value_delimiter = ','
    )]
    probes: Vec<Probe>,
    /// How often they are asked.
    #[arg(long, value_name = "N", default_value = "30", value_parser = seconds, env = "FLEETWARD_WORKER_PROBE_SECONDS")]
    probe_seconds: Duration,
    /// Its client certificate (PEM), read again when it is renewed [default: what --cert names].
    #[arg(long, value_name = "FILE", env = "FLEETWARD_WORKER_TLS_CERT")]
    tls_cert: Option<PathBuf>,
    /// The certificate's private key.
    #[arg(long, value_name = "FILE", env = "FLEETWARD_WORKER_TLS_KEY")]
    tls_key: Option<PathBuf>,
    /// The organisation's keys, as `fleetward org key export FILE` wrote them: payloads then come encrypted, and results
    /// go so.
    #[arg(long, value_name = "FILE", env = "FLEETWARD_ORG_KEY_FILE")]
    org_key_file: Option<PathBuf>,
    /// Run one task and end.
    #[arg(long)]
    once: bool,
    /// How long running tasks may go on after SIGTERM.
    #[arg(long, value_name = "N", default_value = "30", value_parser = seconds, env = "FLEETWARD_WORKER_DRAIN_SECONDS")]
    drain_seconds: Duration,
    #[command(flatten)]
    end: EndArgs,
}

/// A word of the protocol.
fn word<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_json::from_value(text.into()).map_err(|_| "it is none of the words above".to_owned())
}

pub(crate) async fn run(verb: WorkerVerb, client: &ClientArgs) -> Result<(), Failed> {
    match verb {
        WorkerVerb::Run(args) => work(*args, client).await,
        WorkerVerb::List { status } => {
            let status = status.map(|status| format!("?status={}", segment(&status)));
            let path = format!("{WORKERS}{}", status.unwrap_or_default());
            let listed = client.client()?.get(&path).await?;
            let fields = [
                "id",
                "name",
                "approval_status",
                "capabilities.pool",
                "probe_status",
                "heartbeat_age_seconds",
                "poll_age_seconds",
                "left_at",
                "deaf_since",
                "mute_since",
                "enrollment_key_name",
                "fingerprint",
            ];
            print::many(client.output, &listed, "workers", &fields)
        }
        WorkerVerb::Get { id } => {
            let worker = client.client()?.get(&format!("{WORKERS}/{}", segment(&id))).await?;
            let fields = [
                "id",
                "name",
                "status",
                "project_id",
                "pool",
                "models",
                "labels",
                "max_concurrent",
                "certificate",
                "probe_status",
                "probes",
                "models_gone",
                "last_heartbeat",
                "heartbeat_age_seconds",
                "last_poll",
                "poll_age_seconds",
                "left_at",
                "registered_at",
                "suspicions",
                "deaf_since",
                "mute_since",
                "tasks_completed",
                "tasks_failed",
                "reason",
                "enrollment_key_id",
                "enrollment_key_name",
                "fingerprint",
                "token_generation",
            ];
            print::one(client.output, &worker, &fields)
        }
        WorkerVerb::Approve(args) => decide(args, "approve", client).await,
        WorkerVerb::Reject(args) => decide(args, "reject", client).await,
        WorkerVerb::Quarantine(args) => decide(args, "quarantine", client).await,
        WorkerVerb::Revoke(args) => decide(args, "revoke", client).await,
        WorkerVerb::Unlock(args) => decide(args, "unlock", client).await,
        WorkerVerb::Tokens { id } => {
            let path = format!("{WORKERS}/{}/tokens", segment(&id));
            let fields = ["id", "generation", "issued_at", "expires_at", "revoked", "signed_by"];
            print::many(client.output, &client.client()?.get(&path).await?, "tokens", &fields)
        }
        WorkerVerb::RevokedTokens => {
            let listed = client.client()?.get(&format!("{TOKENS}/revoked")).await?;
            let fields = ["id", "worker_id", "revoked_at", "expires_at"];
            print::many(client.output, &listed, "tokens", &fields)
        }
        WorkerVerb::RevokeToken { id, reason } => {
            let path = format!("{TOKENS}/{}", segment(&id));
            let asked = client.client()?;
            let request = asked.request(Method::DELETE, &path).json(&json!({ "reason": reason }));
            print::one(client.output, &asked.send(request).await?, &["worker_id", "status"])
        }
    }
}

async fn decide(args: DecideArgs, verdict: &str, client: &ClientArgs) -> Result<(), Failed> {
    let path = format!("{WORKERS}/{}/{verdict}", segment(&args.id));
    let body = json!({ "reason": args.reason });
    let answer = client.client()?.post(&path, &body).await?;
    print::one(client.output, &answer, &["worker_id", "status"])
}

async fn work(args: RunArgs, asked: &ClientArgs) -> Result<(), Failed> {
    let stop = args.end.asked()?;
    let server = asked.server();
    let tls = tls(&args, asked)?;
    let keyed = |probe: Probe| probe.keyed(|name| std::env::var(name).ok());
    let probes: Result<Vec<_>, _> = args.probes.iter().cloned().map(keyed).collect();
    let probes = probes.map_err(Failed::refused)?;
    let keys = args.org_key_file.as_deref().map(org_keys).transpose()?;
    let command = args.exec.as_ref().map(|exec| {
        let command = Command::new(exec).timeout(args.timeout_seconds);
        args.env.iter().fold(command, |command, name| command.env(name))
    });
    let execute = args.agents.execute(command, args.timeout_seconds)?;
    let default = PathBuf::from(format!("fleetward-worker-{}.json", segment(&args.name)));
    let path = args.identity.clone().unwrap_or(default);
    let register = Register {
        enrollment_key: key(&args)?.map(Secret::new),
        name: args.name,
        models: args.models,
        pool: args.pool,
        labels: args.labels.into_iter().collect(),
        sandbox: args.sandbox,
        images: args.images,
        handlers: args.handlers,
        networks: args.networks,
        max_concurrent: args.max_concurrent,
        ..Register::default()
    };
    let endpoint = Endpoint { server: server.to_owned(), tls: tls.clone() };
    let identity = tokio::select! {
        identity = Identity::load_or_register(&path, endpoint, register) => identity.map_err(turned_away)?,
        () = stop.cancelled() => return Ok(()),
    };
    tracing::info!(worker = identity.worker_id, server, "registered");
    let transport = HttpTransport::secured(&identity, tls).map_err(Failed::refused)?;
    let options = WorkerOptions {
        seats: args.max_concurrent as usize,
        once: args.once,
        drain_deadline: args.drain_seconds,
        probes,
        probe_every: args.probe_seconds,
        ..WorkerOptions::default()
    };
    let summary = match keys {
        None => Worker::new(transport, execute, options).run(stop).await,
        Some(keys) => {
            let transport = SealedTransport::new(transport, keys);
            Worker::new(transport, execute, options).run(stop).await
        }
    };
    let summary = summary.map_err(Failed::refused)?;
    tracing::info!(completed = summary.completed, failed = summary.failed, "ended");
    Ok(())
}

/// How it makes sure of its server, and what it shows of itself.
fn tls(args: &RunArgs, asked: &ClientArgs) -> Result<Option<Tls>, Failed> {
    let mut options = asked.tls()?;
    let own = client::pair(&args.tls_cert, &args.tls_key, "--tls-cert and --tls-key")?;
    options.certificate = own.or(options.certificate);
    Tls::load(&options).map_err(Failed::refused)
}

fn key(args: &RunArgs) -> Result<Option<String>, Failed> {
    match &args.enrollment_key_file {
        None => Ok(args.enrollment_key.clone()),
        Some(path) => std::fs::read_to_string(path)
            .map(|text| Some(text.trim().to_owned()))
            .map_err(|error| Failed::refused(format!("{}: {error}", path.display()))),
    }
}

fn org_keys(file: &std::path::Path) -> Result<OrgKeys, Failed> {
    let failed =
        |why: &dyn std::fmt::Display| Failed::refused(format!("{}: {why}", file.display()));
    let text = std::fs::read_to_string(file).map_err(|error| failed(&error))?;
    OrgKeys::parse(&text).map_err(|error| failed(&error))
}

fn turned_away(error: IdentityError) -> Failed {
    match error {
        IdentityError::Register(TransportError::Unavailable { .. }) => {
            Failed::Unavailable(error.to_string())
        }
        error => Failed::refused(error),
    }
}
