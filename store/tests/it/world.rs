//! A store to test, and short ways to make events and rows.

use std::sync::Arc;

use fleetward_store::{
    AppendError, CellAppend, CellHead, CellId, Codec, Event, Position, ReadLimit, Record, Store,
    StoredEvent, connect, memory::Memory, testing::Postgres,
};
use tempfile::TempDir;

/// The cell of tests that need only one.
pub(crate) const CELL: CellId = CellId(1);

/// An empty store, and the way to open it a second time, as another server would.
pub(crate) struct World {
    pub(crate) store: Arc<dyn Store>,
    way: Way,
    _folder: Option<TempDir>,
}

enum Way {
    Memory(Memory),
    Url(String),
}

impl World {
    pub(crate) async fn memory() -> Self {
        let memory = Memory::new();
        Self { store: Arc::new(memory.clone()), way: Way::Memory(memory), _folder: None }
    }

    pub(crate) async fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", folder.path().join("store.db").display());
        Self { _folder: Some(folder), ..Self::at(url).await }
    }

    pub(crate) async fn postgres() -> Self {
        Self::at(Postgres::shared().fresh_schema().await).await
    }

    /// As behind a pooler that keeps nothing from one transaction to the next.
    pub(crate) async fn pooled() -> Self {
        let url = Postgres::shared().fresh_schema().await;
        Self::at(format!("{url}&pgbouncer=true")).await
    }

    /// With nobody else in the database.
    pub(crate) async fn database() -> Self {
        Self::at(Postgres::shared().fresh_database().await).await
    }

    pub(crate) async fn again(&self) -> Arc<dyn Store> {
        match &self.way {
            Way::Memory(memory) => Arc::new(memory.clone()),
            Way::Url(url) => connect(url).await.unwrap(),
        }
    }

    pub(crate) fn url(&self) -> &str {
        match &self.way {
            Way::Memory(_) => "memory:",
            Way::Url(url) => url,
        }
    }

    async fn at(url: String) -> Self {
        Self { store: connect(&url).await.unwrap(), way: Way::Url(url), _folder: None }
    }
}

pub(crate) fn event(body: &str) -> Event {
    Event {
        stream: "task/1".into(),
        kind: "submitted".into(),
        version: 1,
        codec: Codec::Json,
        at: 1_700_000_000_000_000,
        by: "ann".into(),
        origin: None,
        body: body.to_owned().into(),
        sealed: None,
    }
}

pub(crate) fn events(bodies: &[&str]) -> Arc<[Event]> {
    bodies.iter().map(|body| event(body)).collect()
}

pub(crate) fn append(head: CellHead, bodies: &[&str]) -> CellAppend {
    CellAppend { head, events: events(bodies) }
}

/// Appends to one cell.
pub(crate) async fn append_one(
    store: &Arc<dyn Store>,
    append: CellAppend,
) -> Result<CellHead, AppendError> {
    store.append(vec![append]).await.remove(0)
}

/// A cell with one event for each body, and its head.
pub(crate) async fn cell_with(store: &Arc<dyn Store>, bodies: &[&str]) -> CellHead {
    let head = store.open(CELL).await.unwrap();
    append_one(store, append(head, bodies)).await.unwrap()
}

/// Everything in a cell.
pub(crate) async fn all(store: &Arc<dyn Store>, cell: CellId) -> Vec<StoredEvent> {
    let everything = ReadLimit { events: usize::MAX, bytes: usize::MAX };
    store.read(cell, 0, everything).await.unwrap()
}

/// What was read, as `position:body` words.
pub(crate) fn shown(run: &[StoredEvent]) -> String {
    let words = run
        .iter()
        .map(|stored| format!("{}:{}", stored.seq, String::from_utf8_lossy(&stored.event.body)));
    words.collect::<Vec<_>>().join(" ")
}

pub(crate) fn row(id: &str, created: Position, status: &str) -> Record {
    Record {
        cell: CELL,
        kind: "task".into(),
        id: id.into(),
        created,
        updated: created,
        open: status != "done",
        status: status.into(),
        body: format!(r#"{{"id":"{id}"}}"#).into(),
        sealed: None,
        due: None,
    }
}

pub(crate) fn ids(rows: &[Record]) -> Vec<&str> {
    rows.iter().map(|row| row.id.as_str()).collect()
}
