//! Rows brought into memory, and events applied to them: the projector's half of a fold and a starting cell's.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use fleetward_store::{CellId, Event, Position, Record, Store, StoredEvent};
use foldhash::{HashMap, HashMapExt as _};

use super::live::{Before, Live};
use crate::fact::{Unfoldable, split_stream};

/// Rows by cell and stream.
pub struct Rows {
    store: Arc<dyn Store>,
    /// Whether those that are not open stay: nothing writes them, so the store's are older.
    keeps: bool,
    held: HashMap<(CellId, Arc<str>), Held>,
}

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
        write!(f, "Rows({})", self.held.len())
    }
}

impl Rows {
    /// No rows yet.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store, keeps: false, held: HashMap::new() }
    }

    /// No rows yet; for whoever applies events of which no row is written in between.
    pub fn unwritten(store: Arc<dyn Store>) -> Self {
        Self { keeps: true, ..Self::new(store) }
    }

    /// How many are held.
    pub fn len(&self) -> usize {
        self.held.len()
    }

    /// Whether none is held.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Lets go of all when there are more than `most`: they are a cache.
    pub fn trim(&mut self, most: usize) {
        if self.held.len() > most {
            self.held.clear();
        }
    }

    fn hold(&mut self, row: Record) {
        let stream = format!("{}/{}", row.kind, row.id);
        self.held.insert((row.cell, stream.into()), Held::Stored(row));
    }

    /// Takes the states that later events find where they are those of the rows at `from`, and nothing is known of them.
    pub(super) fn recall(&mut self, cell: CellId, from: Position, before: Vec<Before>) {
        let is_row = |before: &Before| before.live.updated() <= from && from < before.seq;
        for Before { live, .. } in before.into_iter().filter(is_row) {
            let at = (cell, live.stream().into());
            self.held.entry(at).or_insert(Held::Live(live));
        }
    }

    /// Lets go of a cell's rows: they are not what the store has.
    pub fn drop_cell(&mut self, cell: CellId) {
        self.held.retain(|(held, _), _| *held != cell);
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
        self.held.into_values().map(read).collect()
    }

    /// Applies events of one cell, in order, and answers what becomes of the rows they touched.
    ///
    /// # Errors
    /// When a row cannot be read or an event does not fold.
    pub async fn apply(
        &mut self,
        cell: CellId,
        events: &[StoredEvent],
    ) -> Result<Touched, RowsError> {
        self.load(cell, events).await?;
        let mut touched = HashSet::new();
        let mut deleted = Vec::new();
        for stored in events {
            let stream = &stored.event.stream;
            let at = (cell, stream.clone());
            let live = match self.held.remove(&at) {
                None => Live::begin(stored)?,
                Some(held) => held.after(stored)?,
            };
            if live.is_deleted() {
                let id = split_stream(stream).1.to_owned();
                deleted.push((Cow::Borrowed(live.kind()), id));
            } else {
                self.held.insert(at, Held::Live(live));
            }
            touched.insert(stream);
        }
        let upserts = touched.into_iter().filter_map(|stream| self.row(cell, stream)).collect();
        Ok(Touched { upserts, removals: deleted })
    }

    /// The row of a stream that events were applied to. One that is not open is hardly touched again: it leaves.
    fn row(&mut self, cell: CellId, stream: &Arc<str>) -> Option<Record> {
        let at = (cell, stream.clone());
        let Held::Live(live) = self.held.get(&at)? else { return None };
        let (row, open) = (live.row(), live.is_open());
        if !open && !self.keeps {
            self.held.remove(&at);
        }
        Some(row)
    }

    async fn load(&mut self, cell: CellId, events: &[StoredEvent]) -> Result<(), RowsError> {
        let mut missing: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        let mut begun = BTreeSet::new();
        for event in events {
            let stream = &event.event.stream;
            if begins(&event.event) {
                begun.insert(stream.clone());
            } else if !begun.contains(stream) && !self.held.contains_key(&(cell, stream.clone())) {
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

impl Held {
    fn after(self, stored: &StoredEvent) -> Result<Live, Unfoldable> {
        let mut live = match self {
            Self::Stored(row) => Live::read(row)?,
            Self::Live(live) => live,
        };
        live.apply(stored)?;
        Ok(live)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use fleetward_store::memory::Memory;
    use fleetward_store::{Hash, Store as _};

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
        let hash = Hash::from_bytes([0; 32]);
        let stored = StoredEvent { cell: CELL, seq, event, hash };
        (rows.apply(CELL, &[stored]).await, store.statements())
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
