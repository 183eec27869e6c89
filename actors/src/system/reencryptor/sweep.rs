//! One look at everything that is sealed in a cell, to seal it with the primary key.
//!
//! Nothing stops meanwhile. Each part is replaced only while it is what was seen. What is on its way to the journal is
//! waited for, and the projector, which writes rows from memory, is made to forget what it read before.

use std::sync::Arc;
use std::time::Duration;

use fleetward_runtime::Clock;
use fleetward_store::{CellId, Position, Resealed, ResealedRow, SealedRow, Store};

use crate::journal::Positions;
use crate::projector;
use crate::seal::{KeyState, Ring, Sealed};

/// Rows in one page.
const ROWS: usize = 256;
/// How long commands and rows that are on their way are waited for.
const SETTLE_WITHIN: Duration = Duration::from_secs(30);
/// Between two looks at what is on its way.
const LOOK: Duration = Duration::from_millis(20);

/// Where to look, and with what.
pub(crate) struct Sweep {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) projector: projector::Handle,
    pub(crate) ring: Arc<Ring>,
    pub(crate) cell: CellId,
    pub(crate) positions: Arc<Positions>,
    pub(crate) clock: Clock,
}

/// What a look found.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Found {
    /// Parts that were sealed again.
    pub(crate) parts: u64,
    /// Parts that do not open.
    pub(crate) broken: u64,
}

/// The store, the journal or the projector is away: try again.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Away(pub(crate) String);

impl Sweep {
    /// Waits until nothing that an older key sealed is on its way, and the rows contain everything. Answers up to
    /// where older keys may have sealed.
    pub(crate) async fn settle(&self) -> Result<Position, Away> {
        let deadline = self.clock.now() + SETTLE_WITHIN;
        let older = self.ring.keys().into_iter().filter(|key| key.state != KeyState::Primary);
        for key in older {
            while self.ring.is_on_its_way(key.number) {
                if self.clock.now() >= deadline {
                    return Err(Away(format!("key {} is still in use", key.number)));
                }
                self.clock.sleep(LOOK).await;
            }
        }
        let to = self.positions.given();
        let passed = self.projector.passed(self.cell, &self.positions, to, SETTLE_WITHIN).await;
        passed.map_err(|behind| Away(behind.to_string()))?;
        Ok(to)
    }

    /// A page of events after a position. Answers up to where it goes; `None` at the end.
    pub(crate) async fn events(&self, after: Position) -> Result<Option<(Position, Found)>, Away> {
        let page = self.store.sealed_parts(self.cell, after).await.map_err(away)?;
        let Some(up_to) = page.up_to else { return Ok(None) };
        let (mut found, mut changes, mut held) = (Found::default(), Vec::new(), Vec::new());
        for (seq, old) in page.parts {
            if let Some(new) = self.look(&Sealed::from_bytes(old.clone()), &mut found) {
                changes.push(Resealed { seq, old, new: new.kept().into_bytes() });
                held.push(new);
            }
        }
        if !changes.is_empty() {
            found.parts += self.store.reseal(self.cell, changes).await.map_err(away)?;
        }
        // Until here the key that sealed them counts as in use.
        drop(held);
        Ok(Some((up_to, found)))
    }

    /// All rows, until there is nothing left to do.
    pub(crate) async fn rows(&self) -> Result<Found, Away> {
        let mut found = Found::default();
        loop {
            // It may write what it read before the last look. Each look but the last found something.
            let forgotten = self.projector.forget(self.cell, SETTLE_WITHIN).await;
            forgotten.map_err(|error| Away(format!("projector: {error}")))?;
            let round = self.rows_once().await?;
            found.parts += round.parts;
            found.broken = round.broken;
            if round.parts == 0 {
                return Ok(found);
            }
        }
    }

    async fn rows_once(&self) -> Result<Found, Away> {
        let mut found = Found::default();
        let mut after = (String::new(), String::new());
        loop {
            let page = self.store.sealed_rows(self.cell, (&after.0, &after.1), ROWS).await;
            let page = page.map_err(away)?;
            let Some(last) = page.last() else { return Ok(found) };
            after = (last.kind.clone(), last.id.clone());
            found = self.rows_of(page, found).await?;
        }
    }

    async fn rows_of(&self, page: Vec<SealedRow>, mut found: Found) -> Result<Found, Away> {
        let (mut changes, mut held) = (Vec::new(), Vec::new());
        for row in page {
            let sealed = Sealed::from_bytes(row.sealed.clone());
            if let Some(new) = self.look(&sealed, &mut found) {
                changes.push(ResealedRow { row, new: new.kept().into_bytes() });
                held.push(new);
            }
        }
        if !changes.is_empty() {
            found.parts += self.store.reseal_rows(self.cell, changes).await.map_err(away)?;
        }
        drop(held);
        Ok(found)
    }

    /// What a part is to become, if anything.
    fn look(&self, sealed: &Sealed, found: &mut Found) -> Option<Sealed> {
        self.ring.reseal(sealed).unwrap_or_else(|error| {
            tracing::error!(cell = self.cell.0, %error, "a sealed value stays as it is");
            found.broken += 1;
            None
        })
    }
}

fn away(error: impl std::fmt::Display) -> Away {
    Away(format!("store: {error}"))
}
