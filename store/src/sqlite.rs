//! The embedded store: one SQLite file, one writer on a thread of its own, a few readers.
//!
//! A second process on the same file works: SQLite's own lock orders the writers, and the epoch
//! fences the older owner of a cell.

mod append;
mod connection;
mod project;
mod read;
mod readers;
mod sealing;
mod writer;

use std::path::{Path, PathBuf};

use async_trait::async_trait;

use self::{readers::Readers, writer::Writer};
use crate::{
    attempt::Attempt,
    counter::Statements,
    error::{AppendError, ConnectError, ProjectError, ReadError, Unavailable},
    event::{CellId, Position, StoredEvent},
    journal::{CellAppend, CellHead, Journal, ReadLimit},
    records::{Due, DueQuery, Projection, Query, Record, Records, Walk},
    segment::Wanted,
    store::Store,
};

/// A store in one file. Opened by [`connect`](crate::connect).
pub(crate) struct Sqlite {
    path: PathBuf,
    writer: Writer,
    readers: Readers,
    statements: Statements,
}

impl Sqlite {
    /// Opens the file, makes it if it is missing, and brings its schema up to date.
    pub(crate) async fn open(path: &Path) -> Result<Self, ConnectError> {
        let statements = Statements::default();
        let file = path.to_owned();
        let first = tokio::task::spawn_blocking(move || connection::prepare(&file))
            .await
            .map_err(|error| connection::unreachable(path, error))??;
        let writer = Writer::start(path, first, statements.clone())
            .map_err(|error| connection::unreachable(path, error))?;
        let readers = Readers::new(path, statements.clone());
        Ok(Self { path: path.to_owned(), writer, readers, statements })
    }
}

#[async_trait]
impl Journal for Sqlite {
    async fn open(&self, cell: CellId) -> Result<CellHead, Unavailable> {
        self.writer.open(cell).await
    }

    async fn append(&self, batch: Vec<CellAppend>) -> Vec<Result<CellHead, AppendError>> {
        self.writer.append(batch.into_iter().map(Attempt::new).collect()).await
    }

    async fn read(
        &self,
        cell: CellId,
        after: Position,
        limit: ReadLimit,
    ) -> Result<Vec<StoredEvent>, ReadError> {
        let wanted = Wanted::After(after);
        self.readers.run(move |reader| reader.events(cell, wanted, limit)).await?
    }

    async fn read_back(
        &self,
        cell: CellId,
        before: Position,
        limit: ReadLimit,
    ) -> Result<Vec<StoredEvent>, ReadError> {
        let wanted = Wanted::Before(before);
        self.readers.run(move |reader| reader.events(cell, wanted, limit)).await?
    }

    async fn read_at(
        &self,
        cell: CellId,
        positions: &[Position],
    ) -> Result<Vec<StoredEvent>, ReadError> {
        let positions = Wanted::sorted(positions);
        let read = move |reader: &read::Reader<'_>| {
            reader.events(cell, Wanted::At(&positions), ReadLimit::NONE)
        };
        self.readers.run(read).await?
    }

    async fn read_stream(
        &self,
        cell: CellId,
        stream: &str,
        after: Position,
        limit: ReadLimit,
    ) -> Result<Vec<StoredEvent>, ReadError> {
        let stream = stream.to_owned();
        let read = move |reader: &read::Reader<'_>| {
            reader.events(cell, Wanted::Stream { name: &stream, after }, limit)
        };
        self.readers.run(read).await?
    }

    async fn cells(&self) -> Result<Vec<CellHead>, Unavailable> {
        let rows = self.readers.run(|reader| reader.cells()).await?;
        rows.into_iter().map(|(cell, row)| crate::row::cell_head(cell, row)).collect()
    }
}

#[async_trait]
impl Records for Sqlite {
    async fn position(&self, cell: CellId) -> Result<Position, Unavailable> {
        self.readers.run(move |reader| reader.position(cell)).await
    }

    async fn project(&self, batch: Vec<Projection>) -> Vec<Result<(), ProjectError>> {
        self.writer.project(batch).await
    }

    async fn get_with_position(
        &self,
        cell: CellId,
        kind: &str,
        ids: &[String],
    ) -> Result<(Position, Vec<Record>), Unavailable> {
        let (kind, ids) = (kind.to_owned(), ids.to_owned());
        self.readers.run(move |reader| reader.get_with_position(cell, &kind, &ids)).await
    }

    async fn list(&self, query: Query) -> Result<Vec<Record>, Unavailable> {
        self.readers.run(move |reader| reader.list(&query)).await
    }

    async fn walk(&self, walk: Walk) -> Result<Vec<Record>, Unavailable> {
        self.readers.run(move |reader| reader.walk(&walk)).await
    }

    async fn open_page(
        &self,
        cell: CellId,
        after: Position,
        limit: usize,
    ) -> Result<Vec<Record>, Unavailable> {
        self.readers.run(move |reader| reader.open_page(cell, after, limit)).await
    }

    async fn due_page(&self, query: DueQuery) -> Result<Vec<Due>, Unavailable> {
        self.readers.run(move |reader| reader.due_page(&query)).await
    }

    async fn ids_page(
        &self,
        cell: CellId,
        kind: &str,
        after: &str,
        limit: usize,
    ) -> Result<Vec<String>, Unavailable> {
        let (kind, after) = (kind.to_owned(), after.to_owned());
        self.readers.run(move |reader| reader.ids_page(cell, &kind, &after, limit)).await
    }

    async fn count(
        &self,
        cell: CellId,
        kind: &str,
        status: Option<&str>,
    ) -> Result<u64, Unavailable> {
        let (kind, status) = (kind.to_owned(), status.map(str::to_owned));
        self.readers.run(move |reader| reader.count(cell, &kind, status.as_deref())).await
    }
}

#[async_trait]
impl Store for Sqlite {
    fn backend(&self) -> &'static str {
        "sqlite"
    }

    fn describe(&self) -> String {
        connection::describe(&self.path)
    }

    async fn ping(&self) -> Result<(), Unavailable> {
        self.readers.run(|reader| reader.ping()).await
    }

    fn statements(&self) -> u64 {
        self.statements.total()
    }
}
