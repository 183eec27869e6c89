//! The sealed parts of a segment, read and replaced without a look at its events. Pure.

use bytes::Bytes;

use super::{Segment, number};
use crate::{
    error::ReadError,
    event::{CellId, Position},
    sealing::{Resealed, SealedPage},
};

/// The sealed parts of segments in their order.
pub(crate) fn sealed_page(cell: CellId, segments: &[Segment]) -> Result<SealedPage, ReadError> {
    let mut parts = Vec::new();
    for segment in segments {
        parts.extend(segment.sealed_parts(cell)?);
    }
    Ok(SealedPage { parts, up_to: segments.last().map(|segment| segment.last) })
}

impl Segment {
    /// Its sealed parts with their positions.
    pub(crate) fn sealed_parts(&self, cell: CellId) -> Result<Vec<(Position, Bytes)>, ReadError> {
        let all = self.all_parts(cell)?;
        let parts = (self.first..).zip(all).filter_map(|(seq, part)| Some((seq, part?)));
        // They may wait: none holds on to the others.
        Ok(parts.map(|(seq, part)| (seq, Bytes::copy_from_slice(part))).collect())
    }

    /// What it holds in place of its sealed parts after some of `changes`, and how many of them. `None`: none of them
    /// is about what it has.
    pub(crate) fn resealed(
        &self,
        cell: CellId,
        changes: &[Resealed],
    ) -> Result<Option<(Vec<u8>, u64)>, ReadError> {
        let (mut sealed, mut replaced) = (Vec::new(), 0);
        for (seq, part) in (self.first..).zip(self.all_parts(cell)?) {
            let change = changes.iter().find(|change| {
                change.seq == seq && part.is_some_and(|part| part == &change.old[..])
            });
            replaced += u64::from(change.is_some());
            let part = change.map(|change| &change.new[..]).or(part);
            number::write(&mut sealed, part.map_or(0, |part| part.len() as u64 + 1));
            sealed.extend_from_slice(part.unwrap_or_default());
        }
        Ok((replaced > 0).then_some((sealed, replaced)))
    }

    /// One for each event.
    fn all_parts(&self, cell: CellId) -> Result<Vec<Option<&[u8]>>, ReadError> {
        let Some(mut rest) = self.sealed.as_deref() else { return Ok(Vec::new()) };
        let damaged = |seq| {
            let reason = "its sealed parts are cut off or damaged".to_owned();
            ReadError::Unreadable { cell, seq, reason }
        };
        let mut parts = Vec::with_capacity(rest.len().min(self.count()));
        for seq in self.first..=self.last {
            let length = number::read(&mut rest).ok_or_else(|| damaged(seq))?;
            let part = match length.checked_sub(1) {
                None => None,
                Some(length) => {
                    let taken =
                        usize::try_from(length).ok().and_then(|at| rest.split_at_checked(at));
                    let (part, after) = taken.ok_or_else(|| damaged(seq))?;
                    rest = after;
                    Some(part)
                }
            };
            parts.push(part);
        }
        if rest.is_empty() { Ok(parts) } else { Err(damaged(self.last)) }
    }
}
