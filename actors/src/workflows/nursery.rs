//! What is known of runs whose conductors are about to start, so that these need not read it.

use dashmap::DashMap;
use fleetward_store::Position;

use super::run::Run;
use super::used_ids::UsedIds;
use crate::id::RunId;

/// The nursery of one cell.
#[derive(Debug)]
pub struct Nursery {
    announced: DashMap<RunId, Option<Box<Run>>>,
    /// Under which ids there was never a run.
    pub used: UsedIds,
}

/// What a conductor finds.
pub(super) enum Known {
    /// There was no run of that id.
    New,
    /// As it was read with its cell.
    Kept(Box<Run>),
    /// It has to be read.
    Unread,
}

impl Nursery {
    /// An empty one; `used_ids_after` is for [`UsedIds::new`].
    pub fn new(used_ids_after: u32) -> Self {
        Self { announced: DashMap::new(), used: UsedIds::new(used_ids_after) }
    }

    /// A run of this id is about to be started, and there was none before.
    pub fn expect(&self, run: RunId) {
        self.announced.insert(run, None);
    }

    /// What was read of a run with its cell.
    pub fn keep(&self, run: Run) {
        self.announced.insert(run.id.clone(), Some(Box::new(run)));
    }

    /// Takes what is known of a run in the life of the cell that began at the head `opened`.
    pub(super) fn take(&self, run: &RunId, opened: Position) -> Known {
        match self.announced.remove(run) {
            Some((_, Some(kept))) => Known::Kept(kept),
            Some((_, None)) => Known::New,
            None if self.used.is_new(run, opened) => Known::New,
            None => Known::Unread,
        }
    }
}
