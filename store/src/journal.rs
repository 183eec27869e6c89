//! The journal: who owns a cell, and the events of each cell in their one order.

use std::sync::Arc;

use async_trait::async_trait;

use crate::{
    chain::{Hash, genesis},
    error::{AppendError, ReadError, Unavailable},
    event::{CellId, Event, Position, StoredEvent},
};

/// Where a cell stands for its owner.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CellHead {
    /// Which cell.
    pub cell: CellId,
    /// Which owner: every `open` makes a higher one. 0 before the first.
    pub epoch: u64,
    /// The last position that is stored.
    pub head: Position,
    /// The chain up to that position.
    pub hash: Hash,
}

/// The events of one cell in a batch.
#[derive(Clone, Debug)]
pub struct CellAppend {
    /// What the owner believes to be true before this append.
    pub head: CellHead,
    /// They get the positions `head.head + 1` and on; the store computes the chain.
    pub events: Arc<[Event]>,
}

/// How much one read may bring. A read always brings at least one event if there is one, so an
/// event larger than `bytes` is read alone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReadLimit {
    /// At most this many events.
    pub events: usize,
    /// At most this many bytes of bodies and sealed parts.
    pub bytes: usize,
}

impl Default for ReadLimit {
    /// A page: big enough to fold a cell in few round trips, small enough to hold in memory.
    fn default() -> Self {
        Self { events: 1_000, bytes: 8 * 1024 * 1024 }
    }
}

impl ReadLimit {
    /// For reads that their caller bounds in another way.
    pub(crate) const NONE: Self = Self { events: usize::MAX, bytes: usize::MAX };
}

impl CellHead {
    /// Where every cell stands before its first event and its first owner.
    pub fn genesis(cell: CellId) -> Self {
        Self { cell, epoch: 0, head: 0, hash: genesis(cell) }
    }
}

/// The events of all cells. Appending is the only change it knows.
#[async_trait]
pub trait Journal: Send + Sync + 'static {
    /// Takes ownership of a cell, making it if it is new: raises the epoch, which waits for a write
    /// still in flight, and then reads the head. From then on earlier owners are `Fenced`.
    ///
    /// # Errors
    /// `Unavailable`: the epoch may have been raised all the same. Open again.
    async fn open(&self, cell: CellId) -> Result<CellHead, Unavailable>;

    /// Appends for several cells in one transaction; answers are in the order of `batch`. Each cell
    /// answers for itself: one that is fenced or refused does not hurt the others. Repeating the
    /// same append is safe: what is already written is recognised by epoch, head and hash, and
    /// answers the head it was answered, or would have been, the first time.
    async fn append(&self, batch: Vec<CellAppend>) -> Vec<Result<CellHead, AppendError>>;

    /// The events after a position, oldest first.
    ///
    /// # Errors
    /// `Unavailable`, or `Unreadable` if what is stored is no event.
    async fn read(
        &self,
        cell: CellId,
        after: Position,
        limit: ReadLimit,
    ) -> Result<Vec<StoredEvent>, ReadError>;

    /// The events before a position, newest first. `Position::MAX` begins at the head.
    ///
    /// # Errors
    /// As `read`.
    async fn read_back(
        &self,
        cell: CellId,
        before: Position,
        limit: ReadLimit,
    ) -> Result<Vec<StoredEvent>, ReadError>;

    /// The events at these positions, oldest first; positions without an event are left out. The
    /// caller bounds the number of positions.
    ///
    /// # Errors
    /// As `read`.
    async fn read_at(
        &self,
        cell: CellId,
        positions: &[Position],
    ) -> Result<Vec<StoredEvent>, ReadError>;

    /// The events of one stream after a position, oldest first.
    ///
    /// The databases have no index of streams: this looks through the events of the cell, from
    /// `after` on, until it has what was asked for. A caller knows from the thing's record where
    /// its stream begins, and that is where to start.
    ///
    /// # Errors
    /// As `read`.
    async fn read_stream(
        &self,
        cell: CellId,
        stream: &str,
        after: Position,
        limit: ReadLimit,
    ) -> Result<Vec<StoredEvent>, ReadError>;

    /// Where every cell stands, by cell.
    ///
    /// # Errors
    /// `Unavailable`: try again.
    async fn cells(&self) -> Result<Vec<CellHead>, Unavailable>;
}
