//! Where the journal of a run is: a fresh database for each, and what that database counts itself.

use anyhow::{Context, Result};
use fleetward_store::testing::Postgres;
use sqlx::postgres::{PgPool, PgPoolOptions};
use tempfile::TempDir;

use crate::options::{Options, StoreKind};
use crate::usage;

/// The store of one run. Dropping it removes what it wrote.
pub(crate) enum Place {
    Memory,
    Sqlite { folder: TempDir },
    Postgres { url: String, counters: PgPool, postmaster: Option<u32> },
}

/// What a database counts, since whenever.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counts {
    /// Transactions that wrote: numbers given away, exact at any moment.
    pub(crate) commits: u64,
    /// Times the log was made to reach the disk. Each server process tells at most once a second.
    pub(crate) fsyncs: u64,
    /// Transactions, those that only read included. Told as late as the syncs.
    pub(crate) transactions: u64,
    /// Processor time of all processes of the server, in seconds.
    pub(crate) cpu_s: f64,
}

impl Place {
    /// An empty store of the kind that was asked for.
    pub(crate) async fn fresh(options: &Options) -> Result<Self> {
        match options.store {
            StoreKind::Memory => Ok(Self::Memory),
            StoreKind::Sqlite => {
                let mut builder = tempfile::Builder::new();
                builder.prefix("fleetward-load-");
                let folder = match &options.folder {
                    Some(folder) => builder.tempdir_in(folder),
                    None => builder.tempdir(),
                };
                Ok(Self::Sqlite { folder: folder.context("no room for a database")? })
            }
            StoreKind::Postgres => {
                // Its programs are started with blocking calls, once for all runs.
                let server = tokio::task::spawn_blocking(Postgres::shared).await?;
                let url = server.fresh_database().await;
                // By another door than the server under test, and its own database: not counted.
                let door = PgPoolOptions::new().max_connections(1);
                let counters = door.connect(&server.url("postgres")).await?;
                let postmaster = postmaster(&counters).await?;
                Ok(Self::Postgres { url, counters, postmaster })
            }
        }
    }

    /// The address for `--database-url`.
    pub(crate) fn url(&self) -> String {
        match self {
            Self::Memory => "memory:".to_owned(),
            Self::Sqlite { folder } => {
                format!("sqlite://{}", folder.path().join("load.db").display())
            }
            Self::Postgres { url, .. } => url.clone(),
        }
    }

    /// What the database has counted; none where the store has no server of its own.
    pub(crate) async fn counts(&self) -> Result<Option<Counts>> {
        let Self::Postgres { url, counters, postmaster } = self else { return Ok(None) };
        let database = url.rsplit('/').next().unwrap_or_default();
        let database = database.split('?').next().unwrap_or_default();
        let asked = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint, \
                     (SELECT wal_sync FROM pg_stat_wal), \
                     (SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = $1)";
        let (commits, fsyncs, transactions): (i64, i64, i64) =
            sqlx::query_as(asked).bind(database).fetch_one(counters).await?;
        let cpu = postmaster.map(usage::family_cpu).transpose()?.unwrap_or_default();
        Ok(Some(Counts {
            commits: u64::try_from(commits)?,
            fsyncs: u64::try_from(fsyncs)?,
            transactions: u64::try_from(transactions)?,
            cpu_s: cpu.as_secs_f64(),
        }))
    }
}

/// The head of the server's processes, if it runs on this machine.
async fn postmaster(pool: &PgPool) -> Result<Option<u32>> {
    let ours: i32 = sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(pool).await?;
    let local: bool =
        sqlx::query_scalar("SELECT coalesce(inet_server_addr() <<= '127.0.0.0/8', true)")
            .fetch_one(pool)
            .await?;
    if !local {
        return Ok(None);
    }
    usage::parent(u32::try_from(ours)?).map(Some)
}
