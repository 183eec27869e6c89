//! Records: rows for listing, each a fold of one stream, with the position they are folded to.

use std::{borrow::Cow, fmt};

use foldhash::{HashMap, HashMapExt as _, HashSet};

use async_trait::async_trait;
use bytes::Bytes;

use crate::{
    error::{ProjectError, Unavailable},
    event::{CellId, Length, Position, unstorable_name},
};

/// A row for listing.
#[derive(Clone, PartialEq, Eq)]
pub struct Record {
    /// The cell whose events it folds.
    pub cell: CellId,
    /// What it is a row of.
    pub kind: Cow<'static, str>,
    /// Stable, and unique inside the cell and kind.
    pub id: String,
    /// The first event folded into it: rows are listed by it, so it is unique inside the kind.
    pub created: Position,
    /// The last event folded into it.
    pub updated: Position,
    /// Whether it can still change by itself: open rows are loaded at start.
    pub open: bool,
    /// What lists filter by.
    pub status: String,
    /// What the fold needs to go on, as JSON.
    pub body: Bytes,
    /// The encrypted part.
    pub sealed: Option<Bytes>,
    /// When something is to happen to it by itself, in microseconds UTC, though nobody has it in memory.
    pub due: Option<i64>,
}

/// A row that is due, and where a page of such rows ends.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Due {
    /// When, in microseconds UTC.
    pub at: i64,
    /// Which row of its kind.
    pub id: String,
}

/// Which rows are due, earliest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DueQuery {
    /// Rows of this cell,
    pub cell: CellId,
    /// of this kind,
    pub kind: Cow<'static, str>,
    /// due at this time or before, in microseconds UTC,
    pub until: i64,
    /// and later in order than this one: the last of the page before.
    pub after: Option<Due>,
    /// At most this many.
    pub limit: usize,
}

/// One step of one cell's fold: the rows it changed and the position it got to.
#[derive(Clone, Debug)]
pub struct Projection {
    /// Which cell.
    pub cell: CellId,
    /// Where the fold is believed to stand: the guard against two projectors.
    pub from: Position,
    /// Where it stands afterwards.
    pub to: Position,
    /// Whole new rows. Where one appears twice, the later one counts. One created after `from` is new: no step before
    /// this one can have written it, unless it is among `removals` too: then it takes the place of one that was.
    pub upserts: Vec<Record>,
    /// Rows that are to be gone, by kind and id, where they are not among `upserts`. One that is not there is no error.
    pub removals: Vec<(Cow<'static, str>, String)>,
}

/// What a projection does to rows.
pub(crate) struct Changes<'a> {
    /// These were not there.
    pub(crate) created: Vec<&'a Record>,
    /// These may have been there.
    pub(crate) changed: Vec<&'a Record>,
    /// Kind and id of those that are to be gone.
    pub(crate) removed: HashSet<(&'a str, &'a str)>,
}

/// Which rows to list, newest first.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Query {
    /// Rows of this cell,
    pub cell: CellId,
    /// of this kind,
    pub kind: Cow<'static, str>,
    /// with this status if one is given,
    pub status: Option<String>,
    /// created before this position: `created` of the last row of the page before.
    pub before: Option<Position>,
    /// At most this many.
    pub limit: usize,
}

/// Which rows to go through, oldest first.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Walk {
    /// Rows of this cell,
    pub cell: CellId,
    /// of this kind,
    pub kind: Cow<'static, str>,
    /// with this status,
    pub status: Cow<'static, str>,
    /// created after this position: `created` of the last row of the page before, 0 to begin with.
    pub after: Position,
    /// At most this many.
    pub limit: usize,
}

/// The rows of all cells.
#[async_trait]
pub trait Records: Send + Sync + 'static {
    /// The position the rows of a cell are folded to; 0 when it was never projected.
    ///
    /// # Errors
    /// `Unavailable`: try again.
    async fn position(&self, cell: CellId) -> Result<Position, Unavailable>;

    /// Commits each projection's rows together with its position, all in one transaction; answers
    /// are in the order of `batch`. Each projection answers for itself.
    async fn project(&self, batch: Vec<Projection>) -> Vec<Result<(), ProjectError>>;

    /// The rows with these ids, by `created`; unknown ids are left out.
    ///
    /// # Errors
    /// `Unavailable`: try again.
    async fn get(
        &self,
        cell: CellId,
        kind: &str,
        ids: &[String],
    ) -> Result<Vec<Record>, Unavailable> {
        Ok(self.get_with_position(cell, kind, ids).await?.1)
    }

    /// As `get`, with the position the rows are folded to, from one snapshot.
    ///
    /// # Errors
    /// `Unavailable`: try again.
    async fn get_with_position(
        &self,
        cell: CellId,
        kind: &str,
        ids: &[String],
    ) -> Result<(Position, Vec<Record>), Unavailable>;

    /// One page of rows, newest first.
    ///
    /// # Errors
    /// `Unavailable`: try again.
    async fn list(&self, query: Query) -> Result<Vec<Record>, Unavailable>;

    /// One page of rows, oldest first.
    ///
    /// # Errors
    /// `Unavailable`: try again.
    async fn walk(&self, walk: Walk) -> Result<Vec<Record>, Unavailable>;

    /// The first `limit` open rows of a cell that were created after a position, by `created`: page by page, from 0
    /// on, all of them. Each page is of its own moment. Whoever asks for `position` first and then applies the events
    /// after it to what the pages hold has missed nothing: a row says itself which of them it contains.
    ///
    /// # Errors
    /// `Unavailable`: try again.
    async fn open_page(
        &self,
        cell: CellId,
        after: Position,
        limit: usize,
    ) -> Result<Vec<Record>, Unavailable>;

    /// One page of the rows that are due, by time and then by id.
    ///
    /// # Errors
    /// `Unavailable`: try again.
    async fn due_page(&self, query: DueQuery) -> Result<Vec<Due>, Unavailable>;

    /// One page of the ids of a kind's rows, in the order of their bytes: those behind `after`.
    ///
    /// # Errors
    /// `Unavailable`: try again.
    async fn ids_page(
        &self,
        cell: CellId,
        kind: &str,
        after: &str,
        limit: usize,
    ) -> Result<Vec<String>, Unavailable>;

    /// How many rows there are, of one status if one is given.
    ///
    /// # Errors
    /// `Unavailable`: try again.
    async fn count(
        &self,
        cell: CellId,
        kind: &str,
        status: Option<&str>,
    ) -> Result<u64, Unavailable>;
}

impl DueQuery {
    /// Where the page begins: behind this time and id.
    pub(crate) fn behind(&self) -> (i64, &str) {
        self.after.as_ref().map_or((i64::MIN, ""), |due| (due.at, due.id.as_str()))
    }
}

impl Projection {
    /// The rows as they stand after this step: one per (kind, id), the latest, in first-seen order.
    fn latest(&self) -> Vec<&Record> {
        let mut rows: Vec<&Record> = Vec::with_capacity(self.upserts.len());
        let mut seen: HashMap<(&str, &str), usize> = HashMap::with_capacity(self.upserts.len());
        for row in &self.upserts {
            let index = *seen.entry((&row.kind, &row.id)).or_insert(rows.len());
            match rows.get_mut(index) {
                Some(earlier) => *earlier = row,
                None => rows.push(row),
            }
        }
        rows
    }

    /// What this step does to which row, each once.
    pub(crate) fn changes(&self) -> Changes<'_> {
        let mut removed: HashSet<(&str, &str)> =
            self.removals.iter().map(|(kind, id)| (&**kind, id.as_str())).collect();
        let (mut created, mut changed) = (Vec::new(), Vec::new());
        for row in self.latest() {
            let replaces = removed.remove(&(&*row.kind, row.id.as_str()));
            let rows =
                if row.created > self.from && !replaces { &mut created } else { &mut changed };
            rows.push(row);
        }
        Changes { created, changed, removed }
    }

    /// Why no backend can ever store this projection; `None` is the normal case.
    pub(crate) fn unstorable(&self) -> Option<String> {
        let foreign = self.upserts.iter().find(|row| row.cell != self.cell);
        if let Some(row) = foreign {
            return Some(format!("row {}/{} belongs to cell {}", row.kind, row.id, row.cell));
        }
        self.upserts.iter().find_map(|row| {
            let names = [("kind", &*row.kind), ("id", &row.id), ("status", &row.status)];
            names.into_iter().find_map(|(field, name)| unstorable_name(field, name))
        })
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record")
            .field("cell", &self.cell)
            .field("kind", &self.kind)
            .field("id", &self.id)
            .field("created", &self.created)
            .field("updated", &self.updated)
            .field("open", &self.open)
            .field("status", &self.status)
            .field("body", &Length(Some(&self.body)))
            .field("sealed", &Length(self.sealed.as_ref()))
            .field("due", &self.due)
            .finish()
    }
}
