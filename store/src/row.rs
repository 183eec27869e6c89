//! From the plain values of a database row to our types, the same for both databases.

use bytes::Bytes;

use crate::{
    chain::Hash,
    error::Unavailable,
    event::{CellId, Position},
    journal::CellHead,
    segment::Segment,
};

/// A row of `segments` as the database gives it: first, last, body, sealed.
pub(crate) fn segment(
    (first, last, body, sealed): (i64, i64, Vec<u8>, Option<Vec<u8>>),
) -> Segment {
    Segment {
        first: unsigned(first),
        last: unsigned(last),
        body: body.into(),
        sealed: sealed.map(Bytes::from),
    }
}

/// A row of `cells` as the database gives it: epoch, head, hash.
pub(crate) fn cell_head(
    cell: CellId,
    (epoch, head, head_hash): (i64, i64, Vec<u8>),
) -> Result<CellHead, Unavailable> {
    let hash = hash(&head_hash)
        .ok_or_else(|| Unavailable::new(format!("the hash of cell {cell} is not 32 bytes")))?;
    Ok(CellHead { cell, epoch: unsigned(epoch), head: unsigned(head), hash })
}

/// A position for the database, which has no unsigned numbers. Nothing real reaches the limit.
pub(crate) fn signed(number: Position) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A number of rows for the database.
pub(crate) fn rows(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// A position from the database, whose constraints keep it from being negative.
pub(crate) fn unsigned(number: i64) -> Position {
    u64::try_from(number).unwrap_or(0)
}

fn hash(bytes: &[u8]) -> Option<Hash> {
    bytes.try_into().ok().map(Hash::from_bytes)
}
