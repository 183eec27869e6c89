//! `fleetward serve`: the server.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use fleetward::outbound::Webhooks;
use fleetward_actors::plane::{AdminToken, BootError, Options};
use fleetward_actors::{Config, ControlPlane};
use fleetward_gateway::{Cidr, ClientCerts, GatewayOptions, Tls, TlsFiles};
use tokio::net::TcpListener;

use super::client;
use super::end::EndArgs;
use super::error::{Failed, chain};
use super::master_key::MasterKeyArgs;

#[derive(Args)]
pub(crate) struct ServeArgs {
    /// Where everything is kept: `postgres://...`, `sqlite://PATH`, or `memory:` (forgets).
    #[arg(long, value_name = "URL", env = "FLEETWARD_DATABASE_URL", hide_env_values = true)]
    database_url: Option<String>,
    /// Where to listen; port 0 takes a free one.
    #[arg(long, value_name = "ADDR", env = "FLEETWARD_LISTEN", default_value = "127.0.0.1:7700")]
    listen: String,
    /// A system token that shall be good. Without it, a store that has none gets one, printed once.
    #[arg(long, env = "FLEETWARD_ADMIN_TOKEN", hide_env_values = true)]
    admin_token: Option<String>,
    #[command(flatten)]
    master_key: MasterKeyArgs,
    /// How long requests in flight and queues may take to end on SIGTERM.
    #[arg(long, value_name = "N", env = "FLEETWARD_DRAIN_SECONDS", default_value = "20", value_parser = seconds)]
    drain_seconds: Duration,
    /// Threads that run the server, 1 to 512, besides those of an embedded store [default: as many as there are cores].
    /// Where the database is on the same small machine, one takes less processor time for each request, and has less of a
    /// peak.
    #[arg(long, value_name = "N", env = "FLEETWARD_THREADS", value_parser = clap::value_parser!(u16).range(1..=512))]
    pub(super) threads: Option<u16>,
    /// A proxy, `10.0.0.0/8` or an address, whose X-Forwarded-For says where requests come from; several with commas.
    #[arg(long, value_name = "CIDR", env = "FLEETWARD_TRUSTED_PROXY", value_delimiter = ',')]
    trusted_proxy: Vec<Cidr>,
    /// Let webhooks lead to addresses that are not public: of this machine, and of the network that it stands in.
    #[arg(long, env = "FLEETWARD_ALLOW_PRIVATE_WEBHOOKS")]
    allow_private_webhooks: bool,
    #[command(flatten)]
    terms: Terms,
    #[command(flatten)]
    tls: TlsArgs,
    #[command(flatten)]
    end: EndArgs,
}

/// TLS. Without a certificate the server speaks plain HTTP.
#[derive(Args)]
struct TlsArgs {
    /// The server's certificate and its chain (PEM): HTTPS. This file and those below are read again when they change.
    #[arg(long, value_name = "FILE", env = "FLEETWARD_TLS_CERT")]
    tls_cert: Option<PathBuf>,
    /// The certificate's private key (PEM).
    #[arg(long, value_name = "FILE", env = "FLEETWARD_TLS_KEY")]
    tls_key: Option<PathBuf>,
    /// Authorities (PEM) whose certificates clients show: mutual TLS.
    #[arg(long, value_name = "FILE", env = "FLEETWARD_CLIENT_CA")]
    client_ca: Option<PathBuf>,
    /// What these authorities revoked (PEM): a list of each of them.
    #[arg(long, value_name = "FILE", env = "FLEETWARD_CRL")]
    crl: Option<PathBuf>,
    /// Whether every client has to show a certificate, or only workers that registered with one [default: required].
    #[arg(long, value_name = "WHEN", value_enum, env = "FLEETWARD_CLIENT_CERT")]
    client_cert: Option<ClientCert>,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum ClientCert {
    Required,
    Optional,
}

impl TlsArgs {
    fn files(self) -> Result<Option<TlsFiles>, Failed> {
        let pair = client::pair(&self.tls_cert, &self.tls_key, "--tls-cert and --tls-key")?;
        let Some((cert, key)) = pair else {
            if self.client_ca.is_some() || self.crl.is_some() || self.client_cert.is_some() {
                return Err(Failed::refused(
                    "client certificates need TLS: give --tls-cert and --tls-key",
                ));
            }
            return Ok(None);
        };
        if self.client_ca.is_none() && (self.crl.is_some() || self.client_cert.is_some()) {
            return Err(Failed::refused("--crl and --client-cert need --client-ca"));
        }
        let client_certs = match self.client_cert {
            None | Some(ClientCert::Required) => ClientCerts::Required,
            Some(ClientCert::Optional) => ClientCerts::Optional,
        };
        Ok(Some(TlsFiles { cert, key, client_ca: self.client_ca, crl: self.crl, client_certs }))
    }
}

/// The terms of leases.
#[derive(Args)]
struct Terms {
    /// How long a worker keeps a task without a sign of life.
    #[arg(long, value_name = "N", env = "FLEETWARD_LEASE_SECONDS", default_value = "45", value_parser = seconds)]
    lease_seconds: Duration,
    /// How long a worker has to show that it got a task.
    #[arg(long, value_name = "N", env = "FLEETWARD_START_LEASE_SECONDS", default_value = "15", value_parser = seconds)]
    start_lease_seconds: Duration,
    /// How often workers are told to send heartbeats.
    #[arg(long, value_name = "N", env = "FLEETWARD_HEARTBEAT_SECONDS", default_value = "10", value_parser = seconds)]
    heartbeat_seconds: Duration,
    /// Workers that are let in per second when they register or come back after a start; the rest are told when to
    /// come again.
    #[arg(long, value_name = "N", env = "FLEETWARD_ADMIT_PER_SECOND", default_value_t = 1_000)]
    admit_per_second: u32,
    /// Attempts of a task that may be lost before it fails.
    #[arg(long, value_name = "N", env = "FLEETWARD_ATTEMPT_CAP", default_value_t = 5)]
    attempt_cap: u32,
    /// How often every worker is looked at for what is suspicious; windows span ten looks.
    #[arg(long, value_name = "N", env = "FLEETWARD_ANOMALY_SECONDS", default_value = "60", value_parser = seconds)]
    anomaly_seconds: Duration,
    /// How long a step of a run may wait for its first worker until the run counts as stuck, which is an alert.
    #[arg(long, value_name = "N", env = "FLEETWARD_STUCK_SECONDS", default_value = "900", value_parser = seconds)]
    stuck_seconds: Duration,
    /// How long a worker's task token is good, at most 900.
    #[arg(long, value_name = "N", env = "FLEETWARD_TASK_TOKEN_SECONDS", default_value = "900", value_parser = seconds)]
    task_token_seconds: Duration,
}

impl Terms {
    fn config(&self) -> Result<Config, Failed> {
        let config = Config {
            lease: self.lease_seconds,
            start_lease: self.start_lease_seconds,
            heartbeat: self.heartbeat_seconds,
            attempt_cap: self.attempt_cap,
            sweep: self.anomaly_seconds,
            admit_per_second: self.admit_per_second,
            stuck_after: self.stuck_seconds,
            task_token_for: self.task_token_seconds,
            ..Config::default()
        };
        config.check().map_err(Failed::refused)?;
        Ok(config)
    }
}

/// A span of time as flags, environment and file give it: `45`, `0.5`.
pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "give a number of seconds".to_owned())?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

pub(crate) async fn run(args: ServeArgs) -> Result<(), Failed> {
    let Some(url) = args.database_url else {
        let why = "name a store: --database-url sqlite://PATH or postgres://... (`fleetward dev` makes one itself)";
        return Err(Failed::refused(why));
    };
    let config = args.terms.config()?;
    let files = args.tls.files()?;
    let (listen, drain) = (args.listen, args.drain_seconds);
    let shutdown = args.end.asked()?;
    fleetward_gateway::metrics::install();
    let outbound = Webhooks::new(args.allow_private_webhooks)
        .map_err(|error| Failed::refused(chain(&error)))?;
    let options = Options {
        config,
        admin_token: args.admin_token.clone().map(AdminToken),
        master_key: args.master_key.read()?,
        outbound: Some(Arc::new(outbound)),
        ..Options::default()
    };
    let plane = start(&url, options).await?;
    if args.admin_token.is_none() {
        print_first_token(&plane).await?;
    }
    let tls = match files {
        Some(files) => Some(Tls::load(files, plane.clock()).await.map_err(Failed::refused)?),
        None => None,
    };
    let listener = TcpListener::bind(&listen)
        .await
        .map_err(|error| Failed::refused(format!("cannot listen on {listen}: {error}")))?;
    let scheme = if tls.is_some() { "https" } else { "http" };
    println!("listening on {scheme}://{}", listener.local_addr()?);
    std::io::stdout().flush()?;
    let trusted_proxies = args.trusted_proxy;
    let gateway =
        GatewayOptions { drain_within: drain, trusted_proxies, tls, ..GatewayOptions::default() };
    fleetward_gateway::serve(plane.clone(), listener, gateway, shutdown).await?;
    let drained = plane.drain(drain).await;
    if !drained.is_clean() {
        tracing::warn!(cut_off = ?drained.cut_off, "some queues were not worked off in time");
    }
    Ok(())
}

async fn start(url: &str, options: Options) -> Result<ControlPlane, Failed> {
    let store = fleetward_store::connect(url).await?;
    tracing::info!(store = store.describe(), "store opened");
    ControlPlane::start(store, options).await.map_err(|error| match &error {
        BootError::NoMasterKey(_) => {
            let how = "make one with `fleetward master-key new FILE`, keep a copy apart from the store, and name it: \
                       --master-key-file FILE";
            Failed::refused(format!("{error}; {how}"))
        }
        BootError::WrongMasterKey(_) => Failed::refused(error),
        _ => Failed::Unavailable(chain(&error)),
    })
}

/// A store without any system token gets one: somebody must be able to begin.
async fn print_first_token(plane: &ControlPlane) -> Result<(), Failed> {
    if let Some(AdminToken(token)) = plane.first_admin_token().await.map_err(Failed::wrong)? {
        println!("admin token (shown this once): {token}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Serve {
        #[command(flatten)]
        terms: Terms,
    }

    #[test]
    fn defaults_are_those_of_the_actors() {
        let terms = Serve::parse_from(["serve"]).terms.config().unwrap();
        let actors = Config::default();
        assert_eq!(
            (terms.lease, terms.start_lease, terms.heartbeat, terms.attempt_cap, terms.sweep),
            (actors.lease, actors.start_lease, actors.heartbeat, actors.attempt_cap, actors.sweep)
        );
        assert_eq!(terms.admit_per_second, actors.admit_per_second);
        assert_eq!(terms.task_token_for, actors.task_token_for);
    }

    #[test]
    fn spans_of_time_are_positive_numbers_of_seconds() {
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
        for wrong in ["", "1s", "-1", "inf", "NaN", "1e300"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }
}
