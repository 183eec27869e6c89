//! Rows brought into memory, and events applied to them: the projector's half of a fold and a starting cell's.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use fleetward_store::{CellId, Event, Record, Store, StoredEvent};

use crate::fact::{self, Fold, Unfoldable, split_stream, unfoldable};
use crate::fleet::key::Key;
use crate::fleet::task::Task;
use crate::fleet::worker::Worker;
use crate::system::org::{Org, Token};

/// Rows by cell and stream.
pub struct Rows {
    store: Arc<dyn Store>,
    held: HashMap<(CellId, Arc<str>), Record>,
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
        Self { store, held: HashMap::new() }
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

    /// Holds a row.
    pub fn hold(&mut self, row: Record) {
        let stream = format!("{}/{}", row.kind, row.id);
        self.held.insert((row.cell, stream.into()), row);
    }

    /// Lets go of one row.
    pub fn drop_row(&mut self, row: &Record) {
        let stream = format!("{}/{}", row.kind, row.id);
        self.held.remove(&(row.cell, stream.into()));
    }

    /// Lets go of a cell's rows: they are not what the store has.
    pub fn drop_cell(&mut self, cell: CellId) {
        self.held.retain(|(held, _), _| *held != cell);
    }

    /// All rows that are held.
    pub fn into_rows(self) -> impl Iterator<Item = Record> {
        self.held.into_values()
    }

    /// Applies events of one cell, in order, and answers the rows they touched.
    ///
    /// # Errors
    /// When a row cannot be read or an event does not fold.
    pub async fn apply(
        &mut self,
        cell: CellId,
        events: &[StoredEvent],
    ) -> Result<Vec<Record>, RowsError> {
        self.load(cell, events).await?;
        let mut touched = BTreeSet::new();
        for event in events {
            let at = (cell, event.event.stream.clone());
            let row = fold_row(self.held.remove(&at), event)?;
            touched.insert(at.1.clone());
            self.held.insert(at, row);
        }
        Ok(touched.into_iter().map(|stream| self.held[&(cell, stream)].clone()).collect())
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
        "task.submitted" | "worker.registered" | "key.created" | "org.created" | "token.created"
    )
}

/// The row of a stream after one more event. A row that contains the event already stays as it is.
///
/// # Errors
/// When the event is of a newer build or does not fit the row.
pub fn fold_row(known: Option<Record>, event: &StoredEvent) -> Result<Record, Unfoldable> {
    match known {
        Some(row) if row.updated >= event.seq => Ok(row),
        known => match split_stream(&event.event.stream).0 {
            Task::KIND => fact::fold_record::<Task>(known, event),
            Worker::KIND => fact::fold_record::<Worker>(known, event),
            Key::KIND => fact::fold_record::<Key>(known, event),
            Org::KIND => fact::fold_record::<Org>(known, event),
            Token::KIND => fact::fold_record::<Token>(known, event),
            _ => Err(unfoldable(event.seq, &event.event, "a stream of an unknown kind")),
        },
    }
}
