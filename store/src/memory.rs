//! The store that forgets: for tests and for programs that need no durability.
//!
//! It keeps every promise of the traits but surviving the process, epochs and fencing included:
//! clones share one truth, as two servers share a database.

mod control;
mod tables;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

pub use self::control::{Control, Held};
use self::{control::Faults, tables::Tables};
use crate::{
    attempt::Attempt,
    counter::Statements,
    error::{AppendError, ProjectError, ReadError, Unavailable},
    event::{CellId, Position, StoredEvent},
    journal::{CellAppend, CellHead, Journal, ReadLimit},
    records::{Due, DueQuery, Projection, Query, Record, Records, Walk},
    sealing::{Resealed, ResealedRow, SealedPage, SealedRow, Sealing},
    store::Store,
};

type Appended = Vec<Result<CellHead, AppendError>>;

/// Everything in memory. Cheap to clone; clones share their contents.
#[derive(Clone, Default)]
pub struct Memory {
    tables: Arc<Mutex<Tables>>,
    faults: Arc<Faults>,
    statements: Statements,
}

impl Memory {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// The handle by which a test makes this store fail.
    pub fn control(&self) -> Control {
        Control::new(Arc::clone(&self.faults))
    }

    /// What a server that was killed when the journal of `cell` had come to `head` would have left there: another store,
    /// with the events of this one, those of that cell up to there, and its rows where they contain no more than that.
    pub fn killed_at(&self, cell: CellId, head: Position) -> Self {
        let tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        let cut = tables.killed_at(cell, head);
        Self { tables: Arc::new(Mutex::new(cut)), ..Self::default() }
    }

    /// Counts as one statement; every call of a trait is one.
    fn reach(&self) -> Result<MutexGuard<'_, Tables>, Unavailable> {
        self.statements.count();
        self.faults.reach()?;
        // Nobody panics while holding it, and every change is whole when it is made.
        Ok(self.tables.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn store(&self, tables: &mut Tables, append: &CellAppend) -> Result<CellHead, AppendError> {
        let attempt = Attempt::new(append.clone());
        let cell = attempt.cell();
        let stored = attempt.stored(tables.head(cell).as_ref())?;
        for index in stored..attempt.len() {
            let seq = attempt.head_after(index + 1).head;
            if self.faults.refuses(cell, seq) {
                return Err(attempt.refused(index, "a test refused it".into()));
            }
            let (event, hash) = attempt.event(index);
            tables.push(StoredEvent { cell, seq, event: event.clone(), hash: *hash });
        }
        attempt.answer()
    }

    /// All cells at one moment.
    fn store_all(&self, batch: &[CellAppend]) -> Result<Appended, Unavailable> {
        let mut tables = self.reach()?;
        Ok(batch.iter().map(|append| self.store(&mut tables, append)).collect())
    }
}

#[async_trait]
impl Journal for Memory {
    async fn open(&self, cell: CellId) -> Result<CellHead, Unavailable> {
        Ok(self.reach()?.open(cell))
    }

    async fn append(&self, batch: Vec<CellAppend>) -> Vec<Result<CellHead, AppendError>> {
        let answers = match self.faults.before_append().await {
            Ok(()) => self.store_all(&batch),
            Err(error) => Err(error),
        };
        let answered = answers.and_then(|answers| self.faults.after_append().map(|()| answers));
        answered.unwrap_or_else(|error| batch.iter().map(|_| Err(error.clone().into())).collect())
    }

    async fn read(
        &self,
        cell: CellId,
        after: Position,
        limit: ReadLimit,
    ) -> Result<Vec<StoredEvent>, ReadError> {
        Ok(self.reach()?.read(cell, after, limit))
    }

    async fn read_back(
        &self,
        cell: CellId,
        before: Position,
        limit: ReadLimit,
    ) -> Result<Vec<StoredEvent>, ReadError> {
        Ok(self.reach()?.read_back(cell, before, limit))
    }

    async fn read_at(
        &self,
        cell: CellId,
        positions: &[Position],
    ) -> Result<Vec<StoredEvent>, ReadError> {
        Ok(self.reach()?.read_at(cell, positions))
    }

    async fn read_stream(
        &self,
        cell: CellId,
        stream: &str,
        after: Position,
        limit: ReadLimit,
    ) -> Result<Vec<StoredEvent>, ReadError> {
        Ok(self.reach()?.read_stream(cell, stream, after, limit))
    }

    async fn cells(&self) -> Result<Vec<CellHead>, Unavailable> {
        Ok(self.reach()?.cells())
    }
}

#[async_trait]
impl Records for Memory {
    async fn position(&self, cell: CellId) -> Result<Position, Unavailable> {
        Ok(self.reach()?.position(cell))
    }

    async fn project(&self, batch: Vec<Projection>) -> Vec<Result<(), ProjectError>> {
        self.faults.before_project().await;
        match self.reach() {
            Ok(mut tables) => batch.iter().map(|projection| tables.project(projection)).collect(),
            Err(error) => batch.iter().map(|_| Err(error.clone().into())).collect(),
        }
    }

    async fn get_with_position(
        &self,
        cell: CellId,
        kind: &str,
        ids: &[String],
    ) -> Result<(Position, Vec<Record>), Unavailable> {
        let tables = self.reach()?;
        Ok((tables.position(cell), tables.get(cell, kind, ids)))
    }

    async fn list(&self, query: Query) -> Result<Vec<Record>, Unavailable> {
        Ok(self.reach()?.list(&query))
    }

    async fn walk(&self, walk: Walk) -> Result<Vec<Record>, Unavailable> {
        Ok(self.reach()?.walk(&walk))
    }

    async fn open_page(
        &self,
        cell: CellId,
        after: Position,
        limit: usize,
    ) -> Result<Vec<Record>, Unavailable> {
        Ok(self.reach()?.open_page(cell, after, limit))
    }

    async fn due_page(&self, query: DueQuery) -> Result<Vec<Due>, Unavailable> {
        Ok(self.reach()?.due_page(&query))
    }

    async fn ids_page(
        &self,
        cell: CellId,
        kind: &str,
        after: &str,
        limit: usize,
    ) -> Result<Vec<String>, Unavailable> {
        Ok(self.reach()?.ids_page(cell, kind, after, limit))
    }

    async fn count(
        &self,
        cell: CellId,
        kind: &str,
        status: Option<&str>,
    ) -> Result<u64, Unavailable> {
        Ok(self.reach()?.count(cell, kind, status))
    }
}

#[async_trait]
impl Sealing for Memory {
    async fn sealed_parts(&self, cell: CellId, after: Position) -> Result<SealedPage, ReadError> {
        Ok(self.reach()?.sealed_parts(cell, after))
    }

    async fn reseal(&self, cell: CellId, changes: Vec<Resealed>) -> Result<u64, ReadError> {
        Ok(self.reach()?.reseal(cell, changes))
    }

    async fn sealed_rows(
        &self,
        cell: CellId,
        after: (&str, &str),
        limit: usize,
    ) -> Result<Vec<SealedRow>, Unavailable> {
        Ok(self.reach()?.sealed_rows(cell, after, limit))
    }

    async fn reseal_rows(
        &self,
        cell: CellId,
        changes: Vec<ResealedRow>,
    ) -> Result<u64, Unavailable> {
        Ok(self.reach()?.reseal_rows(cell, changes))
    }
}

#[async_trait]
impl Store for Memory {
    fn backend(&self) -> &'static str {
        "memory"
    }

    fn describe(&self) -> String {
        "memory (nothing survives this process)".into()
    }

    async fn ping(&self) -> Result<(), Unavailable> {
        self.reach().map(drop)
    }

    fn statements(&self) -> u64 {
        self.statements.total()
    }
}
