//! `fleetward serve`: the server.

use std::io::Write;
use std::time::Duration;

use clap::Args;
use fleetward_actors::plane::{AdminToken, Options};
use fleetward_actors::{Config, ControlPlane};
use fleetward_gateway::GatewayOptions;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::config::{File, choose};
use super::error::{Failed, chain};

const DEFAULT_LISTEN: &str = "127.0.0.1:7700";

#[derive(Args)]
pub(crate) struct ServeArgs {
    /// Where everything is kept: `postgres://...`, `sqlite://PATH`, or `memory:` (forgets).
    #[arg(long, value_name = "URL", env = "FLEETWARD_DATABASE_URL", hide_env_values = true)]
    database_url: Option<String>,
    /// Where to listen; port 0 takes a free one [default: 127.0.0.1:7700].
    #[arg(long, value_name = "ADDR", env = "FLEETWARD_LISTEN")]
    listen: Option<String>,
    /// A system token that shall be good. Without it, a store that has none gets one, printed once.
    #[arg(long, env = "FLEETWARD_ADMIN_TOKEN", hide_env_values = true)]
    admin_token: Option<String>,
    /// How long requests in flight and queues may take to end on SIGTERM.
    #[arg(long, value_name = "N", default_value_t = 20)]
    drain_seconds: u64,
    #[command(flatten)]
    terms: Terms,
}

/// The terms of leases.
#[derive(Args)]
struct Terms {
    /// How long a worker keeps a task without a sign of life [default: 45].
    #[arg(long, value_name = "N", env = "FLEETWARD_LEASE_SECONDS")]
    lease_seconds: Option<f64>,
    /// How long a worker has to show that it got a task [default: 15].
    #[arg(long, value_name = "N", env = "FLEETWARD_START_LEASE_SECONDS")]
    start_lease_seconds: Option<f64>,
    /// How often workers are told to send heartbeats [default: 10].
    #[arg(long, value_name = "N", env = "FLEETWARD_HEARTBEAT_SECONDS")]
    heartbeat_seconds: Option<f64>,
    /// Attempts of a task that may be lost before it fails [default: 5].
    #[arg(long, value_name = "N", env = "FLEETWARD_ATTEMPT_CAP")]
    attempt_cap: Option<u32>,
}

impl Terms {
    fn config(&self) -> Result<Config, Failed> {
        let mut config = Config::default();
        let seconds = |value: Option<f64>, name: &str, default: Duration| match value {
            None => Ok(default),
            Some(value) => Duration::try_from_secs_f64(value)
                .map_err(|error| Failed::refused(format!("--{name}: {error}"))),
        };
        config.lease = seconds(self.lease_seconds, "lease-seconds", config.lease)?;
        config.start_lease =
            seconds(self.start_lease_seconds, "start-lease-seconds", config.start_lease)?;
        config.heartbeat = seconds(self.heartbeat_seconds, "heartbeat-seconds", config.heartbeat)?;
        config.attempt_cap = self.attempt_cap.unwrap_or(config.attempt_cap);
        config.check().map_err(Failed::refused)?;
        Ok(config)
    }
}

pub(crate) async fn run(args: ServeArgs, file: &File) -> Result<(), Failed> {
    let Some(url) = args.database_url.clone().or_else(|| file.database_url.clone()) else {
        let why = "name a store: --database-url sqlite://PATH or postgres://... (`fleetward dev` makes one itself)";
        return Err(Failed::refused(why));
    };
    let config = args.terms.config()?;
    let listen = choose(args.listen.clone(), &file.listen, DEFAULT_LISTEN);
    let drain = Duration::from_secs(args.drain_seconds);
    let shutdown = stop_on_signal()?;
    fleetward_gateway::metrics::install();
    let plane = start(&url, config, args.admin_token.clone()).await?;
    if args.admin_token.is_none() {
        print_first_token(&plane).await?;
    }
    let listener = TcpListener::bind(&listen)
        .await
        .map_err(|error| Failed::refused(format!("cannot listen on {listen}: {error}")))?;
    println!("listening on http://{}", listener.local_addr()?);
    std::io::stdout().flush()?;
    let gateway = GatewayOptions { drain_within: drain, ..GatewayOptions::default() };
    fleetward_gateway::serve(plane.clone(), listener, gateway, shutdown).await?;
    let drained = plane.drain(drain).await;
    if !drained.is_clean() {
        tracing::warn!(cut_off = ?drained.cut_off, "some queues were not worked off in time");
    }
    Ok(())
}

async fn start(
    url: &str,
    config: Config,
    admin_token: Option<String>,
) -> Result<ControlPlane, Failed> {
    let store = fleetward_store::connect(url).await?;
    tracing::info!(store = store.describe(), "store opened");
    let admin_token = admin_token.map(AdminToken);
    let options = Options { config, admin_token, ..Options::default() };
    ControlPlane::start(store, options).await.map_err(|error| Failed::Unavailable(chain(&error)))
}

/// A store without any system token gets one: somebody must be able to begin.
async fn print_first_token(plane: &ControlPlane) -> Result<(), Failed> {
    if let Some(AdminToken(token)) = plane.first_admin_token().await.map_err(Failed::wrong)? {
        println!("admin token (shown this once): {token}");
    }
    Ok(())
}

/// Cancelled by SIGTERM or SIGINT.
pub(crate) fn stop_on_signal() -> Result<CancellationToken, Failed> {
    let stop = CancellationToken::new();
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let cancelled = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
        cancelled.cancel();
    });
    Ok(stop)
}
