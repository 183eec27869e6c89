//! What a read asks for, and what it brings: filled segment by segment up to its limit. Pure.

use std::ops::RangeInclusive;

use super::Segment;
use crate::{
    error::ReadError,
    event::{CellId, Position, StoredEvent},
    journal::ReadLimit,
};

/// Which events a read asks for. Segments come in the order of the answer.
#[derive(Clone, Copy)]
pub(crate) enum Wanted<'a> {
    /// Oldest first.
    After(Position),
    /// Newest first.
    Before(Position),
    /// Sorted, each once; oldest first.
    At(&'a [Position]),
    /// Oldest first.
    Stream { name: &'a str, after: Position },
}

impl Wanted<'_> {
    /// Positions in the order that `At` wants.
    pub(crate) fn sorted(positions: &[Position]) -> Vec<Position> {
        let mut positions = positions.to_vec();
        positions.sort_unstable();
        positions.dedup();
        positions
    }

    /// What is still wanted after everything up to and with `segment` was read.
    pub(crate) fn beyond(self, segment: &Segment) -> Self {
        match self {
            Self::After(_) => Self::After(segment.last),
            Self::Before(_) => Self::Before(segment.first),
            Self::At(_) => Self::At(&[]),
            Self::Stream { name, .. } => Self::Stream { name, after: segment.last },
        }
    }

    /// Whether no position is wanted, in whatever cell.
    pub(crate) fn is_nothing(&self) -> bool {
        self.range().is_empty()
    }

    fn range(&self) -> RangeInclusive<Position> {
        match self {
            Self::After(after) | Self::Stream { after, .. } => {
                after.saturating_add(1)..=Position::MAX
            }
            Self::Before(before) => 1..=before.saturating_sub(1),
            Self::At(positions) => 1..=positions.last().copied().unwrap_or(0),
        }
    }

    fn picks(&self, seq: Position, stream: &str) -> bool {
        match self {
            Self::After(_) | Self::Before(_) => true,
            Self::At(positions) => positions.binary_search(&seq).is_ok(),
            Self::Stream { name, .. } => stream == *name,
        }
    }
}

/// The events of one answer.
pub(crate) struct Page {
    left: ReadLimit,
    full: bool,
    events: Vec<StoredEvent>,
}

impl Page {
    pub(crate) fn new(limit: ReadLimit) -> Self {
        Self { left: limit, full: limit.events == 0, events: Vec::new() }
    }

    /// How much more may come.
    pub(crate) fn left(&self) -> ReadLimit {
        self.left
    }

    /// Whether nothing more may come.
    pub(crate) fn is_full(&self) -> bool {
        self.full
    }

    pub(crate) fn into_events(self) -> Vec<StoredEvent> {
        self.events
    }

    /// Adds what is wanted of a segment, as far as the limit allows.
    pub(crate) fn add(
        &mut self,
        cell: CellId,
        segment: &Segment,
        wanted: Wanted<'_>,
    ) -> Result<(), ReadError> {
        let picks = |seq, stream: &str| wanted.picks(seq, stream);
        let events = segment.decode(cell, wanted.range(), picks);
        if let Wanted::Before(_) = wanted {
            let run = events.collect::<Result<Vec<_>, _>>()?;
            self.fill(run.into_iter().rev().map(Ok))
        } else {
            self.fill(events)
        }
    }

    fn fill(
        &mut self,
        mut events: impl Iterator<Item = Result<StoredEvent, ReadError>>,
    ) -> Result<(), ReadError> {
        while !self.full {
            let Some(stored) = events.next() else { break };
            self.push(stored?);
        }
        Ok(())
    }

    /// One more, if it is the first or there is room for it.
    fn push(&mut self, stored: StoredEvent) {
        let size = stored.event.size();
        self.full = size > self.left.bytes || self.left.events == 1;
        if size > self.left.bytes && !self.events.is_empty() {
            return;
        }
        self.left.bytes = self.left.bytes.saturating_sub(size);
        self.left.events -= 1;
        self.events.push(stored);
    }
}
