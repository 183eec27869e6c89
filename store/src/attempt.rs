//! The part of an append that is the same on every backend: the chain, and what the row of a cell
//! says about events whose answer was lost. Pure.

use std::{ops::Range, sync::Arc};

use crate::{
    chain::{Hash, chain},
    error::AppendError,
    event::{CellId, Event},
    journal::{CellAppend, CellHead},
    segment::{Segment, cut},
};

/// One cell's append on its way to the database.
pub(crate) struct Attempt {
    head: CellHead,
    events: Arc<[Event]>,
    /// The chain over the storable events; the first that is not ends it.
    hashes: Vec<Hash>,
    /// Why the event after the storable ones can never be stored.
    refusal: Option<String>,
}

impl Attempt {
    pub(crate) fn new(append: CellAppend) -> Self {
        let CellAppend { head, events } = append;
        let mut hashes = Vec::with_capacity(events.len());
        let mut refusal = None;
        let mut previous = head.hash;
        for (event, seq) in events.iter().zip(head.head + 1..) {
            refusal = event.unstorable();
            if refusal.is_some() {
                break;
            }
            previous = chain(&previous, head.cell, seq, event);
            hashes.push(previous);
        }
        Self { head, events, hashes, refusal }
    }

    pub(crate) fn cell(&self) -> CellId {
        self.head.cell
    }

    /// How many of the events can be stored, as far as can be told without the database.
    pub(crate) fn len(&self) -> usize {
        self.hashes.len()
    }

    /// The storable event at `index`, with its hash.
    pub(crate) fn event(&self, index: usize) -> (&Event, &Hash) {
        (&self.events[index], &self.hashes[index])
    }

    /// The storable events at these indices as rows of at most `limit` bytes, but for larger events.
    pub(crate) fn segments(&self, indices: Range<usize>, limit: usize) -> Vec<Segment> {
        let first = self.head_after(indices.start).head + 1;
        cut(first, self.events[indices.clone()].iter().zip(&self.hashes[indices]), limit)
    }

    /// Where the cell stands once the first `stored` events are in.
    pub(crate) fn head_after(&self, stored: usize) -> CellHead {
        let hash = stored.checked_sub(1).map_or(self.head.hash, |last| self.hashes[last]);
        CellHead { head: self.head.head + stored as u64, hash, ..self.head }
    }

    /// Up to which index to try next: everything that is left, or half of what is known to hold an
    /// event that cannot be stored. `suspect` is where a part ended that was refused as a whole.
    pub(crate) fn next_stop(&self, stored: usize, suspect: Option<usize>) -> usize {
        suspect.map_or(self.len(), |end| stored + (end - stored).div_ceil(2))
    }

    /// How many of the events are already in, going by the row of the cell. The chain tells ours
    /// from anybody else's: the same hash at the same position means the same bytes before it.
    pub(crate) fn stored(&self, found: Option<&CellHead>) -> Result<usize, AppendError> {
        let fenced = |epoch| Err(AppendError::Fenced { ours: self.head.epoch, found: epoch });
        let Some(found) = found else { return fenced(0) };
        let stored = found.head.checked_sub(self.head.head).map(|count| count as usize);
        match stored {
            Some(stored) if stored <= self.len() && self.head_after(stored) == *found => Ok(stored),
            _ => fenced(found.epoch),
        }
    }

    /// The answer once everything storable is in.
    pub(crate) fn answer(&self) -> Result<CellHead, AppendError> {
        match &self.refusal {
            None => Ok(self.head_after(self.len())),
            Some(reason) => Err(self.refused(self.len(), reason.clone())),
        }
    }

    /// The answer when only the first `stored` events can be in.
    pub(crate) fn refused(&self, stored: usize, reason: String) -> AppendError {
        let stored_up_to = self.head_after(stored);
        AppendError::Refused { seq: stored_up_to.head + 1, reason, stored_up_to }
    }
}
