//! Reading rows: a list waits until they contain everything that was there when it was asked for.

use fleetward_store::{CellId, Query, Record, Unavailable};

use super::ControlPlane;
use crate::error::Error;
use crate::fact::{self, Fold};
use crate::journal::Positions;

/// Most rows in one page.
pub(super) const PAGE_MAX: usize = 200;

impl ControlPlane {
    /// Waits until the rows of a cell contain every event that exists now.
    pub(super) async fn caught_up(&self, cell: CellId, positions: &Positions) -> Result<(), Error> {
        let within = self.shared.config.catch_up_within;
        self.shared
            .projector
            .passed(cell, positions, positions.given(), within)
            .await
            .map_err(|behind| Error::Unavailable(behind.to_string()))
    }

    pub(super) async fn row(
        &self,
        cell: CellId,
        kind: &str,
        id: String,
    ) -> Result<Option<Record>, Error> {
        let rows = self.shared.store.get(cell, kind, &[id]).await.map_err(away)?;
        Ok(rows.into_iter().next())
    }

    pub(super) async fn rows(&self, query: Query) -> Result<Vec<Record>, Error> {
        self.shared.store.list(query).await.map_err(away)
    }
}

pub(super) fn away(error: Unavailable) -> Error {
    Error::Unavailable(format!("store: {error}"))
}

/// The state in a row. One that cannot be read is a bug, or the work of a newer build.
pub(super) fn state<F: Fold>(record: &Record) -> Result<F, Error> {
    fact::from_record(record).map_err(|error| {
        let id = uuid::Uuid::now_v7().to_string();
        tracing::error!(%id, %error, "a row cannot be read");
        Error::Internal(id)
    })
}
