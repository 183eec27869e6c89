//! What is under test: a server process, or the control plane inside this one.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use fleetward_actors::plane::{AdminToken, Options as PlaneOptions};
use fleetward_actors::{Config, ControlPlane};
use fleetward_store::Store;

use crate::fleet::Fleet;
use crate::options::{Mode, Options, StoreKind};
use crate::place::Place;
use crate::server::{ADMIN, Server};
use crate::shape::Shape;
use crate::usage;

/// How long queues may take to be worked off at the end.
const DRAIN: Duration = Duration::from_secs(10);
/// A count of the server's own: one for each commit of the journal.
const COMMITS: &str = "fleetward_journal_commit_seconds_count";

pub(crate) enum Subject {
    Process(Arc<Server>),
    Here(ControlPlane),
}

impl Subject {
    pub(crate) async fn start(place: &Place, options: &Options) -> Result<Self> {
        let url = place.url();
        match options.mode {
            Mode::Http => {
                let options = options.clone();
                let start = move || Server::start(&url, &options);
                Ok(Self::Process(Arc::new(tokio::task::spawn_blocking(start).await??)))
            }
            Mode::Inprocess => {
                let store = fleetward_store::connect(&url).await?;
                let admin_token = Some(AdminToken(ADMIN.to_owned()));
                let master_key = Some(fleetward_actors::seal::MasterKey::fresh());
                // What is measured is a fleet that is there, not how it comes.
                let config = Config { admit_per_second: 1_000_000, ..Config::default() };
                let options =
                    PlaneOptions { config, admin_token, master_key, ..PlaneOptions::default() };
                Ok(Self::Here(ControlPlane::start(store, options).await?))
            }
        }
    }

    /// Everybody who will speak to it.
    pub(crate) async fn fleet(&self, options: &Options, shape: &Shape) -> Result<Fleet> {
        match self {
            Self::Process(server) => Fleet::over_http(server, options, shape).await,
            Self::Here(plane) => Fleet::in_process(plane, options, shape).await,
        }
    }

    /// Processor time so far; in process it is that of the load too.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        match self {
            Self::Process(server) => server.cpu(),
            Self::Here(_) => usage::cpu(std::process::id()),
        }
    }

    /// Bytes that are resident now, and the most that ever were.
    pub(crate) fn memory(&self) -> Result<(u64, u64)> {
        match self {
            Self::Process(server) => server.memory(),
            Self::Here(_) => usage::memory(std::process::id()),
        }
    }

    /// Commits of the journal as the server counts them, since it started.
    pub(crate) async fn journal_commits(&self) -> Result<Option<u64>> {
        let Self::Process(server) = self else { return Ok(None) };
        let text = reqwest::get(format!("http://{}/metrics", server.address())).await?;
        let text = text.error_for_status()?.text().await?;
        let count = text.lines().find_map(|line| line.strip_prefix(COMMITS)?.trim().parse().ok());
        Ok(count)
    }

    /// Statements to the store so far; a server process does not tell.
    pub(crate) fn statements(&self) -> Option<u64> {
        match self {
            Self::Process(_) => None,
            Self::Here(plane) => Some(plane.store().statements()),
        }
    }

    /// The process to be killed at random.
    pub(crate) fn server(&self) -> Option<Arc<Server>> {
        match self {
            Self::Process(server) => Some(server.clone()),
            Self::Here(_) => None,
        }
    }

    /// Ends it in order and opens what it wrote; none where that went with it.
    pub(crate) async fn stop(
        self,
        place: &Place,
        options: &Options,
    ) -> Result<Option<Arc<dyn Store>>> {
        match self {
            Self::Here(plane) => {
                plane.drain(DRAIN).await;
                Ok(Some(plane.store().clone()))
            }
            Self::Process(server) => {
                tokio::task::spawn_blocking(move || server.stop()).await??;
                if options.store == StoreKind::Memory {
                    return Ok(None);
                }
                Ok(Some(fleetward_store::connect(&place.url()).await?))
            }
        }
    }
}
