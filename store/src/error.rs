//! What can go wrong, as what the caller can do about it.

use std::{error::Error as StdError, fmt, sync::Arc};

use crate::{
    event::{CellId, Position},
    journal::CellHead,
};

/// The store did not answer, or its answer was lost: try again. A write may have happened; both
/// appends and projections are safe to repeat. Cheap to clone.
#[derive(Clone)]
pub struct Unavailable(Arc<dyn StdError + Send + Sync>);

/// Why the events of one cell were not appended.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// The cell does not stand where its owner believes: another owner holds it. End this life of
    /// the cell; somebody else serves it.
    #[error("cell is held by epoch {found}, this owner has epoch {ours}")]
    Fenced {
        /// The epoch of the caller.
        ours: u64,
        /// The epoch in the store. The same as `ours` if only the head differs, and 0 if the cell
        /// was never opened.
        found: u64,
    },
    /// The event at `seq` can never be stored. Those before it are stored, it and those after it
    /// are not. The memory of the cell is ahead of the truth: end its life and fold again.
    #[error("event {seq} cannot be stored: {reason}")]
    Refused {
        /// The position the event would have had.
        seq: Position,
        /// In words, without contents of the event.
        reason: String,
        /// Where the cell stands now.
        stored_up_to: CellHead,
    },
    /// Not written, or not known to be. Repeat the same appends.
    #[error("journal is unavailable")]
    Unavailable(#[source] Box<dyn StdError + Send + Sync>),
}

/// Why events could not be read.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ReadError {
    /// Try again.
    #[error("journal is unavailable")]
    Unavailable(#[source] Unavailable),
    /// What is stored is no event. Trying again does not help: halt the cell and tell an operator.
    #[error("event {seq} of cell {cell} cannot be read: {reason}")]
    Unreadable {
        /// The cell that was read.
        cell: CellId,
        /// The event in question.
        seq: Position,
        /// In words, without contents of the event.
        reason: String,
    },
}

/// Why one projection was not committed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ProjectError {
    /// Somebody else projected, or an earlier try did arrive: go on from `found`.
    #[error("projection stands at {found} already")]
    Moved {
        /// The position the records are folded to.
        found: Position,
    },
    /// A row of it can never be stored: halt the projection of this cell and tell an operator.
    #[error("records cannot be stored: {reason}")]
    Refused {
        /// In words, without contents of the row.
        reason: String,
    },
    /// Not written, or not known to be. Repeat it.
    #[error("records are unavailable")]
    Unavailable(#[source] Unavailable),
}

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The address itself is wrong.
    #[error("bad store address: {0}; use memory:, sqlite://PATH or postgres://USER@HOST/DATABASE")]
    BadUrl(String),
    /// The address is well-formed and nothing usable answers there.
    #[error("cannot open {store}: {hint}")]
    Unreachable {
        /// The store, without its password.
        store: String,
        /// What to look at.
        hint: String,
        /// What the driver said.
        #[source]
        source: Unavailable,
    },
    /// A newer build has already changed this store.
    #[error(
        "{store} has schema {found}, this build knows {known}: use the newer build that made it, \
         or restore a backup from before the upgrade"
    )]
    NewerSchema {
        /// The store, without its password.
        store: String,
        /// The newest migration that was applied.
        found: i64,
        /// The newest migration of this build.
        known: i64,
    },
}

impl Unavailable {
    /// For a backend: `reason` is what its driver said.
    pub fn new(reason: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self(Arc::from(reason.into()))
    }
}

impl fmt::Debug for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Unavailable({})", self.0)
    }
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "store is unavailable: {}", self.0)
    }
}

impl StdError for Unavailable {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source()
    }
}

impl From<Unavailable> for AppendError {
    fn from(error: Unavailable) -> Self {
        Self::Unavailable(Box::new(error))
    }
}

impl From<Unavailable> for ReadError {
    fn from(error: Unavailable) -> Self {
        Self::Unavailable(error)
    }
}

impl From<Unavailable> for ProjectError {
    fn from(error: Unavailable) -> Self {
        Self::Unavailable(error)
    }
}
