//! Sealing again: the encrypted parts of events and rows, looked through and replaced one by one.
//!
//! They are the only thing in a store that changes without being an event: the chain does not cover them. A part is
//! replaced only while it is what its caller saw, so whatever happens meanwhile is not lost.

use async_trait::async_trait;
use bytes::Bytes;

use crate::{
    error::{ReadError, Unavailable},
    event::{CellId, Position},
};

/// Some of the sealed parts of a cell's events.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct SealedPage {
    /// Position and part, oldest first.
    pub parts: Vec<(Position, Bytes)>,
    /// Everything up to here was looked at. `None`: there is nothing after.
    pub up_to: Option<Position>,
}

/// The sealed part of a row.
#[derive(Clone, PartialEq, Eq)]
pub struct SealedRow {
    /// What it is a row of.
    pub kind: String,
    /// Its id.
    pub id: String,
    /// The part.
    pub sealed: Bytes,
}

/// A sealed part of an event in place of another.
#[derive(Clone)]
pub struct Resealed {
    /// Position of the event.
    pub seq: Position,
    /// What it has: any other part stays.
    pub old: Bytes,
    /// What it gets.
    pub new: Bytes,
}

/// A sealed part of a row in place of another.
#[derive(Clone)]
pub struct ResealedRow {
    /// What it has: any other part stays.
    pub row: SealedRow,
    /// What it gets.
    pub new: Bytes,
}

/// What is sealed in all cells.
#[async_trait]
pub trait Sealing: Send + Sync + 'static {
    /// Sealed parts of events after a position: a page, as large as the store reads well.
    ///
    /// # Errors
    /// `Unavailable`, or `Unreadable` if what is stored is no event.
    async fn sealed_parts(&self, cell: CellId, after: Position) -> Result<SealedPage, ReadError>;

    /// Replaces sealed parts of events; answers how many.
    ///
    /// # Errors
    /// As `sealed_parts`. Some may have been replaced.
    async fn reseal(&self, cell: CellId, changes: Vec<Resealed>) -> Result<u64, ReadError>;

    /// Rows with a sealed part after a kind and id, in their order: at most `limit`. All are after `("", "")`.
    ///
    /// # Errors
    /// `Unavailable`: try again.
    async fn sealed_rows(
        &self,
        cell: CellId,
        after: (&str, &str),
        limit: usize,
    ) -> Result<Vec<SealedRow>, Unavailable>;

    /// Replaces sealed parts of rows; answers how many.
    ///
    /// # Errors
    /// `Unavailable`: try again. Some may have been replaced.
    async fn reseal_rows(
        &self,
        cell: CellId,
        changes: Vec<ResealedRow>,
    ) -> Result<u64, Unavailable>;
}
