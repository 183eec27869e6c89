//! From the plain values of a database row to our types, the same for both databases.

use bytes::Bytes;

use crate::{
    chain::Hash,
    error::{ReadError, Unavailable},
    event::{CellId, Codec, Event, Position, StoredEvent},
    journal::CellHead,
};

/// A row of `events` as the database gives it.
pub(crate) struct EventRow {
    pub(crate) seq: i64,
    pub(crate) stream: String,
    pub(crate) kind: String,
    pub(crate) version: i64,
    pub(crate) codec: i64,
    pub(crate) at: i64,
    pub(crate) by: String,
    pub(crate) body: Vec<u8>,
    pub(crate) sealed: Option<Vec<u8>>,
    pub(crate) hash: Vec<u8>,
}

impl EventRow {
    /// What it counts against the byte limit of a read.
    pub(crate) fn size(&self) -> usize {
        self.body.len() + self.sealed.as_ref().map_or(0, Vec::len)
    }

    pub(crate) fn decode(self, cell: CellId) -> Result<StoredEvent, ReadError> {
        let seq = unsigned(self.seq);
        let unreadable = |reason: String| ReadError::Unreadable { cell, seq, reason };
        let codec = Codec::from_number(self.codec)
            .ok_or_else(|| unreadable(format!("codec {} is unknown", self.codec)))?;
        let version = u16::try_from(self.version)
            .map_err(|_| unreadable(format!("version {} is out of range", self.version)))?;
        let hash = hash(&self.hash).ok_or_else(|| unreadable("its hash is not 32 bytes".into()))?;
        let event = Event {
            stream: self.stream.into(),
            kind: self.kind.into(),
            version,
            codec,
            at: self.at,
            by: self.by.into(),
            body: Bytes::from(self.body),
            sealed: self.sealed.map(Bytes::from),
        };
        Ok(StoredEvent { cell, seq, event, hash })
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
