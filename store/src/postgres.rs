//! The shared store: PostgreSQL 14 or newer, also behind a pooler in transaction mode.
//!
//! The journal and the projector each write on a connection of their own, one statement at a time;
//! reads have a few of their own, so that none waits for a commit and no commit for a read.

mod append;
mod array;
mod error;
mod gather;
mod line;
mod migrate;
mod options;
mod project;
mod read;
mod sealing;
mod session;

use std::sync::Arc;

use async_trait::async_trait;

use self::{
    gather::Gather,
    line::Line,
    options::{Options, READ_PATIENCE, READERS, WRITE_PATIENCE},
};
use crate::{
    attempt::Attempt,
    counter::Statements,
    error::{AppendError, ConnectError, ProjectError, ReadError, Unavailable},
    event::{CellId, Position, StoredEvent},
    journal::{CellAppend, CellHead, Journal, ReadLimit},
    records::{Due, DueQuery, Projection, Record, Records, Walk},
    segment::{Page, Segment, Wanted},
    store::Store,
};

/// A store in a PostgreSQL database. Opened by [`connect`](crate::connect).
pub(crate) struct Postgres {
    options: Arc<Options>,
    journal: Line,
    projector: Line,
    readers: Line,
    gather: Gather,
    statements: Statements,
}

impl Postgres {
    /// Connects and brings the schema up to date.
    pub(crate) async fn open(url: &str) -> Result<Self, ConnectError> {
        let options = Arc::new(Options::parse(url)?);
        migrate::migrate(&options).await?;
        let statements = Statements::default();
        Ok(Self {
            journal: Line::new(&options, &statements, 1, WRITE_PATIENCE),
            projector: Line::new(&options, &statements, 1, WRITE_PATIENCE),
            readers: Line::new(&options, &statements, READERS, READ_PATIENCE),
            gather: Gather::default(),
            options,
            statements,
        })
    }

    /// The events of one answer. Takes more than one statement where the bytes of the segments and
    /// those of their events make a difference, and for a stream that is rare in its cell.
    async fn events(
        &self,
        cell: CellId,
        mut wanted: Wanted<'_>,
        limit: ReadLimit,
    ) -> Result<Vec<StoredEvent>, ReadError> {
        let mut page = Page::new(limit);
        while !page.is_full() && !wanted.is_nothing() {
            let left = page.left();
            let rows = self.readers.rows(|| read::segments_query(cell, wanted, left)).await?;
            let segments: Vec<Segment> =
                rows.iter().map(read::segment).collect::<Result<_, _>>()?;
            segments.iter().try_for_each(|segment| page.add(cell, segment, wanted))?;
            match segments.last() {
                Some(last) if read::is_cut(wanted, left, &segments) => wanted = wanted.beyond(last),
                _ => break,
            }
        }
        Ok(page.into_events())
    }
}

#[async_trait]
impl Journal for Postgres {
    async fn open(&self, cell: CellId) -> Result<CellHead, Unavailable> {
        let opened = self.readers.rows(|| read::open_query(cell)).await?;
        let head = opened.first().map(read::head).transpose()?;
        head.ok_or_else(|| Unavailable::new("opening a cell returned no row"))
    }

    async fn append(&self, batch: Vec<CellAppend>) -> Vec<Result<CellHead, AppendError>> {
        let attempts: Vec<Attempt> = batch.into_iter().map(Attempt::new).collect();
        match self.journal.run(async |session| append::append(session, &attempts).await).await {
            Ok(answers) => answers,
            Err(error) => attempts.iter().map(|_| Err(error.clone().into())).collect(),
        }
    }

    async fn read(
        &self,
        cell: CellId,
        after: Position,
        limit: ReadLimit,
    ) -> Result<Vec<StoredEvent>, ReadError> {
        self.events(cell, Wanted::After(after), limit).await
    }

    async fn read_back(
        &self,
        cell: CellId,
        before: Position,
        limit: ReadLimit,
    ) -> Result<Vec<StoredEvent>, ReadError> {
        self.events(cell, Wanted::Before(before), limit).await
    }

    async fn read_at(
        &self,
        cell: CellId,
        positions: &[Position],
    ) -> Result<Vec<StoredEvent>, ReadError> {
        let positions = Wanted::sorted(positions);
        self.events(cell, Wanted::At(&positions), ReadLimit::NONE).await
    }

    async fn read_stream(
        &self,
        cell: CellId,
        stream: &str,
        after: Position,
        limit: ReadLimit,
    ) -> Result<Vec<StoredEvent>, ReadError> {
        self.events(cell, Wanted::Stream { name: stream, after }, limit).await
    }

    async fn cells(&self) -> Result<Vec<CellHead>, Unavailable> {
        self.readers.rows(read::cells_query).await?.iter().map(read::head).collect()
    }
}

#[async_trait]
impl Records for Postgres {
    async fn position(&self, cell: CellId) -> Result<Position, Unavailable> {
        let rows = self.readers.rows(|| read::positions_query(&[cell])).await?;
        read::positions(&rows).map(|found| found.get(&cell).copied().unwrap_or(0))
    }

    async fn project(&self, batch: Vec<Projection>) -> Vec<Result<(), ProjectError>> {
        match self.projector.run(async |session| project::project(session, &batch).await).await {
            Ok(answers) => answers,
            Err(error) => batch.iter().map(|_| Err(error.clone().into())).collect(),
        }
    }

    async fn get_with_position(
        &self,
        cell: CellId,
        kind: &str,
        ids: &[String],
    ) -> Result<(Position, Vec<Record>), Unavailable> {
        let ask = async |ids: &[String]| {
            read::snapshot(&self.readers.rows(|| read::get_query(cell, kind, ids)).await?)
        };
        self.gather.get(cell, kind, ids, ask).await
    }

    async fn list(&self, query: crate::Query) -> Result<Vec<Record>, Unavailable> {
        read::records(&self.readers.page(|| read::list_query(&query)).await?)
    }

    async fn walk(&self, walk: Walk) -> Result<Vec<Record>, Unavailable> {
        read::records(&self.readers.page(|| read::walk_query(&walk)).await?)
    }

    async fn open_page(
        &self,
        cell: CellId,
        after: Position,
        limit: usize,
    ) -> Result<Vec<Record>, Unavailable> {
        read::records(&self.readers.page(|| read::open_page_query(cell, after, limit)).await?)
    }

    async fn due_page(&self, query: DueQuery) -> Result<Vec<Due>, Unavailable> {
        read::due(&self.readers.page(|| read::due_page_query(&query)).await?)
    }

    async fn ids_page(
        &self,
        cell: CellId,
        kind: &str,
        after: &str,
        limit: usize,
    ) -> Result<Vec<String>, Unavailable> {
        read::ids(&self.readers.page(|| read::ids_page_query(cell, kind, after, limit)).await?)
    }

    async fn count(
        &self,
        cell: CellId,
        kind: &str,
        status: Option<&str>,
    ) -> Result<u64, Unavailable> {
        read::number(&self.readers.rows(|| read::count_query(cell, kind, status)).await?)
    }
}

#[async_trait]
impl Store for Postgres {
    fn backend(&self) -> &'static str {
        "postgres"
    }

    fn describe(&self) -> String {
        self.options.describe()
    }

    async fn ping(&self) -> Result<(), Unavailable> {
        self.readers.rows(read::ping_query).await.map(drop)
    }

    async fn advice(&self) -> Result<Vec<String>, Unavailable> {
        read::advice(&self.readers.rows(read::checkpoints_query).await?)
    }

    fn statements(&self) -> u64 {
        self.statements.total()
    }
}
