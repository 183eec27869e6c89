//! One batch of the projector: positions, events, rows in; rows and positions out, in one transaction.

use std::sync::Arc;

use fleetward_store::{
    CellId, Event, Position, ProjectError, Projection, ReadLimit, Store, StoredEvent,
};

use super::live::Before;
use super::rows::{Rows, RowsError, Touched, numbered};

/// Most events that one batch reads of one cell: a task whose events are all in one batch is written once.
const EVENTS: usize = 32_768;
/// Most bytes that one batch reads of one cell.
const BYTES: usize = 16 << 20;

/// What is to be folded of one cell.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) cell: CellId,
    /// Unknown: ask the store.
    pub(super) position: Option<Position>,
    /// Events that were heard of, without gaps between them.
    pub(super) heard: Vec<(Position, Arc<[Event]>)>,
    /// What some of them find, or later ones.
    pub(super) before: Vec<Before>,
}

/// What became of one cell.
#[derive(Debug)]
pub enum Outcome {
    /// The rows go up to here.
    Passed {
        /// Up to here.
        to: Position,
        /// Whether the store may have more events.
        more: bool,
    },
    /// An event cannot be folded.
    Halted(String),
    /// The store is away: repeat.
    Away(String),
}

pub(super) struct Batch {
    pub(super) store: Arc<dyn Store>,
    pub(super) work: Vec<Work>,
    pub(super) rows: Rows,
}

/// Folded, not yet written.
struct Folded {
    projection: Projection,
    more: bool,
}

impl Batch {
    pub(super) async fn run(mut self) -> (Vec<(CellId, Outcome)>, Rows) {
        let mut outcomes = Vec::new();
        let mut folded = Vec::new();
        for work in std::mem::take(&mut self.work) {
            let cell = work.cell;
            match self.fold(work).await {
                Ok(done) if done.projection.from == done.projection.to => {
                    let to = done.projection.to;
                    outcomes.push((cell, Outcome::Passed { to, more: done.more }));
                }
                Ok(done) => folded.push(done),
                Err(outcome) => {
                    self.rows.drop_cell(cell);
                    outcomes.push((cell, outcome));
                }
            }
        }
        if !folded.is_empty() {
            outcomes.extend(self.commit(folded).await);
        }
        (outcomes, self.rows)
    }

    async fn commit(&mut self, folded: Vec<Folded>) -> Vec<(CellId, Outcome)> {
        let mut outcomes = Vec::with_capacity(folded.len());
        let marks: Vec<_> = folded
            .iter()
            .map(|done| (done.projection.cell, done.projection.to, done.more))
            .collect();
        let projections = folded.into_iter().map(|done| done.projection).collect();
        let results = self.store.project(projections).await;
        for ((cell, to, more), result) in marks.into_iter().zip(results) {
            if result.is_err() {
                // The rows in memory are ahead of the store's, or behind somebody else's.
                self.rows.drop_cell(cell);
            }
            let outcome = match result {
                Ok(()) => Outcome::Passed { to, more },
                Err(ProjectError::Moved { found }) => Outcome::Passed { to: found, more: true },
                Err(ProjectError::Refused { reason, .. }) => Outcome::Halted(reason),
                Err(ProjectError::Unavailable(away)) => Outcome::Away(away.to_string()),
            };
            outcomes.push((cell, outcome));
        }
        outcomes
    }

    async fn fold(&mut self, mut work: Work) -> Result<Folded, Outcome> {
        let from = match work.position {
            Some(position) => position,
            None => self
                .store
                .position(work.cell)
                .await
                .map_err(|error| Outcome::Away(error.to_string()))?,
        };
        self.rows.recall(work.cell, from, std::mem::take(&mut work.before));
        let (read, events);
        if work.follows(from) {
            (read, events) = (Vec::new(), work.after(from));
        } else {
            read = self.read(work.cell, from).await?;
            events = numbered(&read);
        }
        let (to, more) = (events.last().map_or(from, |(seq, _)| *seq), !read.is_empty());
        let touched = self.rows.apply(work.cell, &events).await.map_err(|error| match error {
            RowsError::Away(why) => Outcome::Away(why),
            RowsError::Unfoldable(error) => Outcome::Halted(error.to_string()),
        })?;
        let Touched { upserts, removals } = touched;
        let projection = Projection { cell: work.cell, from, to, upserts, removals };
        Ok(Folded { projection, more })
    }

    async fn read(&self, cell: CellId, from: Position) -> Result<Vec<StoredEvent>, Outcome> {
        let limit = ReadLimit { events: EVENTS, bytes: BYTES };
        let read = self.store.read(cell, from, limit).await;
        read.map_err(|error| Outcome::Away(error.to_string()))
    }
}

impl Work {
    /// Whether what was heard of follows on rows at `from`; else the store has what does.
    fn follows(&self, from: Position) -> bool {
        self.heard.first().is_some_and(|(first, _)| *first <= from + 1)
    }

    fn after(&self, from: Position) -> Vec<(Position, &Event)> {
        let mut after = Vec::with_capacity(self.heard.iter().map(|(_, events)| events.len()).sum());
        let numbered = self.heard.iter().flat_map(|(first, events)| (*first..).zip(events.iter()));
        after.extend(numbered.filter(|(seq, _)| *seq > from));
        after
    }
}
