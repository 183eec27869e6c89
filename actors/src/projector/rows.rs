//! Rows brought into memory, and events applied to them: the projector's half of a fold and a starting cell's.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use fleetward_store::{CellId, Event, Position, Record, Store, StoredEvent};
use foldhash::{HashMap, HashSet};

use super::live::{Before, Live};
use crate::fact::{Unfoldable, split_stream};

/// Rows by cell and stream.
pub struct Rows {
    store: Arc<dyn Store>,
    /// Whether those that are not open stay: nothing writes them, so the store's are older.
    keeps: bool,
    held: BTreeMap<CellId, Streams>,
}

type Streams = HashMap<Arc<str>, Held>;

/// A row in memory: read at once, understood when an event needs it.
enum Held {
    Stored(Record),
    Live(Live),
}

/// What events did to rows.
pub struct Touched {
    /// These are as here.
    pub upserts: Vec<Record>,
    /// These, by kind and id, were deleted; one that came again since is among the others too.
    pub removals: Vec<(Cow<'static, str>, String)>,
}

/// Why events could not be applied.
#[derive(Debug, thiserror::Error)]
pub enum RowsError {
    /// The store is away: repeat.
    #[error("{0}")]
    Away(String),
    /// Somebody must look.
    #[error(transparent)]
    Unfoldable(#[from] Unfoldable),
}

impl std::fmt::Debug for Rows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Rows({})", self.len())
    }
}

impl Rows {
    /// No rows yet.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store, keeps: false, held: BTreeMap::new() }
    }

    /// No rows yet; for whoever applies events of which no row is written in between.
    pub fn unwritten(store: Arc<dyn Store>) -> Self {
        Self { keeps: true, ..Self::new(store) }
    }

    /// How many are held.
    pub fn len(&self) -> usize {
        self.held.values().map(Streams::len).sum()
    }

    /// Whether none is held.
    pub fn is_empty(&self) -> bool {
        self.held.values().all(Streams::is_empty)
    }

    /// Lets go of all when there are more than `most`: they are a cache.
    pub fn trim(&mut self, most: usize) {
        if self.len() > most {
            self.held.clear();
        }
    }

    fn hold(&mut self, row: Record) {
        let stream = format!("{}/{}", row.kind, row.id);
        self.held.entry(row.cell).or_default().insert(stream.into(), Held::Stored(row));
    }

    /// Takes the states that later events find where they are those of the rows at `from`, and nothing is known of them.
    pub(super) fn recall(&mut self, cell: CellId, from: Position, before: Vec<Before>) {
        let is_row = |before: &Before| before.live.updated() <= from && from < before.seq;
        for Before { live, .. } in before.into_iter().filter(is_row) {
            let streams = self.held.entry(cell).or_default();
            streams.entry(live.stream().into()).or_insert(Held::Live(live));
        }
    }

    /// Lets go of a cell's rows: they are not what the store has.
    pub fn drop_cell(&mut self, cell: CellId) {
        self.held.remove(&cell);
    }

    /// All rows that are held.
    ///
    /// # Errors
    /// When one is not what this build writes.
    pub fn into_live(self) -> Result<Vec<Live>, Unfoldable> {
        let read = |held| match held {
            Held::Stored(row) => Live::read(row),
            Held::Live(live) => Ok(live),
        };
        self.held.into_values().flat_map(Streams::into_values).map(read).collect()
    }

    /// Applies events of one cell, in order, and answers what becomes of the rows they touched.
    ///
    /// # Errors
    /// When a row cannot be read or an event does not fold.
    pub async fn apply(
        &mut self,
        cell: CellId,
        events: &[(Position, &Event)],
    ) -> Result<Touched, RowsError> {
        self.load(cell, events).await?;
        let streams = self.held.entry(cell).or_default();
        let (mut touched, mut deleted) = (Vec::new(), Vec::new());
        let first = events.first().map_or(0, |(seq, _)| *seq);
        for (seq, event) in events {
            let stream = &event.stream;
            let live = match streams.get_mut(stream) {
                Some(held) => {
                    if held.is_before(first) {
                        touched.push(stream);
                    }
                    let live = held.understood()?;
                    live.apply(*seq, event)?;
                    live
                }
                None => {
                    touched.push(stream);
                    let begun = Held::Live(Live::begin(cell, *seq, event)?);
                    streams.entry(stream.clone()).or_insert(begun).understood()?
                }
            };
            if live.is_deleted() {
                let id = split_stream(stream).1.to_owned();
                deleted.push((Cow::Borrowed(live.kind()), id));
                streams.remove(stream);
                touched.retain(|touched| *touched != stream);
            }
        }
        let row = |stream| row(streams, stream, self.keeps);
        let upserts = touched.into_iter().filter_map(row).collect();
        Ok(Touched { upserts, removals: deleted })
    }

    async fn load(&mut self, cell: CellId, events: &[(Position, &Event)]) -> Result<(), RowsError> {
        let held = self.held.entry(cell).or_default();
        let mut missing: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        let mut begun: HashSet<&str> = HashSet::default();
        for (_, event) in events {
            let stream = &*event.stream;
            if begins(event) {
                begun.insert(stream);
            } else if !begun.contains(stream) && !held.contains_key(stream) {
                let (kind, id) = split_stream(stream);
                missing.entry(kind).or_default().insert(id);
            }
        }
        for (kind, ids) in missing {
            let ids: Vec<String> = ids.into_iter().map(str::to_owned).collect();
            let rows = self.store.get(cell, kind, &ids).await;
            for row in rows.map_err(|error| RowsError::Away(error.to_string()))? {
                self.hold(row);
            }
        }
        Ok(())
    }
}

/// Events that were read, as they are applied.
pub fn numbered(read: &[StoredEvent]) -> Vec<(Position, &Event)> {
    read.iter().map(|stored| (stored.seq, &stored.event)).collect()
}

/// Whether an event is the first of its stream, as far as its kind tells: then no row needs to be read.
fn begins(event: &Event) -> bool {
    matches!(
        event.kind.as_ref(),
        "task.submitted"
            | "run.started"
            | "schedule.created"
            | "alert.raised"
            | "sink.created"
            | "worker.registered"
            | "key.created"
            | "org.created"
            | "token.created"
            | "payload_key.added"
            | "signing_key.added"
    )
}

/// The row of a stream that events were applied to. One that is not open is hardly touched again: it leaves.
fn row(streams: &mut Streams, stream: &Arc<str>, keeps: bool) -> Option<Record> {
    let Held::Live(live) = streams.get(stream)? else { return None };
    let (row, open) = (live.row(), live.is_open());
    if !open && !keeps {
        streams.remove(stream);
    }
    Some(row)
}

impl Held {
    /// Whether no event from `first` on was applied to it here.
    fn is_before(&self, first: Position) -> bool {
        match self {
            Self::Stored(_) => true,
            Self::Live(live) => live.updated() < first,
        }
    }

    fn understood(&mut self) -> Result<&mut Live, Unfoldable> {
        if let Self::Stored(row) = self {
            *self = Self::Live(Live::read(row.clone())?);
        }
        let Self::Live(live) = self else { unreachable!("it was understood above") };
        Ok(live)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use fleetward_store::Store as _;
    use fleetward_store::memory::Memory;

    use super::*;
    use crate::fact::{Fold, encode};
    use crate::fleet::task::{self, Task};
    use crate::id::WorkerId;

    const CELL: CellId = CellId(1);
    /// Where the task's row is: it has one event.
    const ROW: Position = 1;

    /// A claim at `seq` of a task that is in no store, and what was said of that task, with rows at `from`.
    async fn claimed(from: Position, seq: Position) -> (Result<Touched, RowsError>, u64) {
        let task = task::sample();
        let (id, store) = (task.id, Memory::new());
        let mut rows = Rows::new(Arc::new(store.clone()));
        let live = Live::known(CELL, id, task, (ROW, ROW));
        rows.recall(CELL, from, vec![Before { seq: 9, live }]);
        let claimed = task::Event::Claimed { attempt: 1, worker: WorkerId::fresh(), request: None };
        let event = encode::<Task>(id, &claimed, 0, ("w".into(), None), None);
        (rows.apply(CELL, &[(seq, &event)]).await, store.statements())
    }

    #[tokio::test]
    async fn state_that_came_with_an_event_is_not_read() {
        let (touched, statements) = claimed(8, 9).await;

        let row = touched.unwrap().upserts.remove(0);
        assert_eq!((row.kind.as_ref(), row.created, row.updated), (Task::KIND, ROW, 9));
        assert_eq!((row.status.as_str(), statements), ("claimed", 0));
    }

    #[tokio::test]
    async fn state_that_is_not_the_row_is_left_out() {
        for (from, what) in [(0, "it is ahead of the rows"), (9, "it is behind them")] {
            let (touched, statements) = claimed(from, 10).await;

            assert!(matches!(touched, Err(RowsError::Unfoldable(_))), "{what}");
            assert_eq!(statements, 1, "the store was asked, and has no such row");
        }
    }
}
