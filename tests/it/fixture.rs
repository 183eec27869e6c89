//! Servers and workers as processes of their own, and a client that speaks HTTP to them.
//!
//! Nothing here sleeps on a guess: whoever waits, waits for a line that a process prints, for an
//! answer that the server holds back until it is true, or for the next life of a server.

mod binary;
mod client;
mod lines;
mod server;

use std::time::Duration;

use fleetward_store::testing::Postgres;

pub(crate) use binary::{MASTER_KEY, Process, WorkerProcess, fleetward, run, said};
pub(crate) use client::{ADMIN, Client};
pub(crate) use lines::Lines;
pub(crate) use server::{Server, listen};

/// When something that must come is given up. It fails a story that hangs and is no part of any
/// other.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// What a story is played on.
pub(crate) enum Place {
    Sqlite(tempfile::TempDir),
    Postgres(String),
}

impl Place {
    pub(crate) fn sqlite() -> Self {
        Self::Sqlite(tempfile::tempdir().unwrap())
    }

    pub(crate) async fn postgres() -> Self {
        Self::Postgres(Postgres::shared().fresh_database().await)
    }

    pub(crate) fn url(&self) -> String {
        match self {
            Self::Sqlite(folder) => format!("sqlite://{}", folder.path().join("f.db").display()),
            Self::Postgres(url) => url.clone(),
        }
    }
}

/// Every event of the default organisation, oldest first, read from the store itself.
pub(crate) async fn events(url: &str) -> Vec<fleetward_store::StoredEvent> {
    let store = fleetward_store::connect(url).await.unwrap();
    let limit = fleetward_store::ReadLimit { events: 1_000_000, bytes: usize::MAX };
    store.read(fleetward_store::CellId(1), 0, limit).await.unwrap()
}

/// The hash chain of the default organisation holds from its first event on.
pub(crate) fn verify(events: &[fleetward_store::StoredEvent]) {
    let cell = fleetward_store::CellId(1);
    fleetward_store::verify(cell, 0, fleetward_store::genesis(cell), events).unwrap();
}
