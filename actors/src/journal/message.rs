//! What the journal can be told.

use std::sync::Arc;

use fleetward_runtime::{Address, Reply};
use fleetward_store::{AppendError, CellHead, CellId, Unavailable};

use super::log::{Positions, Tail};
use crate::fleet::cell::keeper;

/// The protocol.
#[derive(Debug)]
pub enum Message {
    /// From a cell's keeper: settle or drop what its earlier life has here, and take ownership.
    Open {
        /// Which cell.
        cell: CellId,
        /// Told when this life ends.
        keeper: Address<keeper::Message>,
        /// Moved with every commit.
        positions: Arc<Positions>,
        /// Where the cell stands.
        reply: Reply<Result<Opened, Unavailable>>,
    },
    /// From a cell's log: events that were applied, and what they allow.
    Append {
        /// Which cell.
        cell: CellId,
        /// In which of its lives.
        life: u64,
        /// Has them: all that were queued since it was last looked.
        tail: Tail,
    },
    /// The store answered the write in flight.
    Written {
        /// In the order of the parts.
        outcomes: Vec<Result<CellHead, AppendError>>,
    },
    /// The store answered an opening.
    StoreOpened {
        /// Which cell.
        cell: CellId,
        /// For which life.
        life: u64,
        /// Where it stands.
        result: Result<CellHead, Unavailable>,
    },
    /// Timer: repeat the write whose fate is unknown.
    RepeatDue,
    /// Timer: what was to follow did not come.
    HoldOver,
}

/// A cell that this journal owns.
#[derive(Debug)]
pub struct Opened {
    pub(super) life: u64,
    pub(super) head: CellHead,
}

impl Message {
    pub(super) fn label(&self) -> &'static str {
        match self {
            Self::Open { .. } => "Open",
            Self::Append { .. } => "Append",
            Self::Written { .. } => "Written",
            Self::StoreOpened { .. } => "StoreOpened",
            Self::RepeatDue => "RepeatDue",
            Self::HoldOver => "HoldOver",
        }
    }
}
