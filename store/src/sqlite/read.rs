//! Every question that can be asked of the file, on one connection.

use rusqlite::{Connection, OptionalExtension, Params, Row};

use crate::{
    counter::Statements,
    error::ReadError,
    event::{CellId, Position, StoredEvent},
    journal::ReadLimit,
    records::{Due, DueQuery, Query, Record, Walk},
    row::{self, rows, signed, unsigned},
    segment::{Page, Segment, Wanted},
};

pub(super) struct Reader<'a> {
    connection: &'a Connection,
    statements: &'a Statements,
}

/// Epoch, head and hash of a cell.
type HeadRow = (i64, i64, Vec<u8>);

/// What a read brought, or which event of it is none.
type Events = Result<Vec<StoredEvent>, ReadError>;

impl<'a> Reader<'a> {
    pub(super) fn new(connection: &'a Connection, statements: &'a Statements) -> Self {
        Self { connection, statements }
    }

    /// The events of one answer. Segments are read until it is full and no further.
    pub(super) fn events(
        &self,
        cell: CellId,
        wanted: Wanted<'_>,
        limit: ReadLimit,
    ) -> rusqlite::Result<Events> {
        let mut page = Page::new(limit);
        let filled = match wanted {
            Wanted::After(after) => {
                let sql = include_str!("../sql/sqlite/read.sql");
                self.fill(&mut page, cell, wanted, sql, (cell.0, signed(after)))
            }
            Wanted::Before(before) => {
                let sql = include_str!("../sql/sqlite/read_back.sql");
                let last = signed(before.saturating_sub(1));
                self.fill(&mut page, cell, wanted, sql, (cell.0, last))
            }
            Wanted::At(positions) => self.fill_at(&mut page, cell, positions),
            Wanted::Stream { name, after } => {
                let sql = include_str!("../sql/sqlite/read_stream.sql");
                let params = (cell.0, signed(after), name.as_bytes());
                self.fill(&mut page, cell, wanted, sql, params)
            }
        };
        Ok(filled?.map(|()| page.into_events()))
    }

    pub(super) fn cells(&self) -> rusqlite::Result<Vec<(CellId, HeadRow)>> {
        self.all(include_str!("../sql/sqlite/cells.sql"), (), |row| {
            Ok((CellId(row.get(0)?), (row.get(1)?, row.get(2)?, row.get(3)?)))
        })
    }

    pub(super) fn position(&self, cell: CellId) -> rusqlite::Result<Position> {
        let sql = include_str!("../sql/sqlite/position.sql");
        let position = self.one(sql, [cell.0], |row| row.get(0))?;
        Ok(position.map_or(0, unsigned))
    }

    pub(super) fn get_with_position(
        &self,
        cell: CellId,
        kind: &str,
        ids: &[String],
    ) -> rusqlite::Result<(Position, Vec<Record>)> {
        self.snapshot(|| {
            let sql = include_str!("../sql/sqlite/get.sql");
            let mut found = Vec::with_capacity(ids.len());
            for id in ids {
                found.extend(self.one(sql, (cell.0, kind, id), record)?);
            }
            found.sort_by_key(|row| row.created);
            found.dedup_by(|later, earlier| later.id == earlier.id);
            Ok((self.position(cell)?, found))
        })
    }

    pub(super) fn list(&self, query: &Query) -> rusqlite::Result<Vec<Record>> {
        let before = signed(query.before.unwrap_or(Position::MAX));
        let (cell, kind, limit) = (query.cell.0, &query.kind, rows(query.limit));
        match &query.status {
            None => {
                let sql = include_str!("../sql/sqlite/list.sql");
                self.all(sql, (cell, kind, before, limit), record)
            }
            Some(status) => {
                let sql = include_str!("../sql/sqlite/list_status.sql");
                self.all(sql, (cell, kind, before, limit, status), record)
            }
        }
    }

    pub(super) fn walk(&self, walk: &Walk) -> rusqlite::Result<Vec<Record>> {
        let sql = include_str!("../sql/sqlite/walk.sql");
        let Walk { cell, kind, status, after, limit } = walk;
        self.all(sql, (cell.0, kind, status, signed(*after), rows(*limit)), record)
    }

    pub(super) fn open_page(
        &self,
        cell: CellId,
        after: Position,
        limit: usize,
    ) -> rusqlite::Result<Vec<Record>> {
        let sql = include_str!("../sql/sqlite/open_page.sql");
        self.all(sql, (cell.0, signed(after), rows(limit)), record)
    }

    pub(super) fn due_page(&self, query: &DueQuery) -> rusqlite::Result<Vec<Due>> {
        let sql = include_str!("../sql/sqlite/due_page.sql");
        let (at, id) = query.behind();
        let asked = (query.cell.0, &query.kind, query.until, at, id, rows(query.limit));
        self.all(sql, asked, |row| Ok(Due { at: row.get(0)?, id: row.get(1)? }))
    }

    pub(super) fn ids_page(
        &self,
        cell: CellId,
        kind: &str,
        after: &str,
        limit: usize,
    ) -> rusqlite::Result<Vec<String>> {
        let sql = include_str!("../sql/sqlite/ids_page.sql");
        self.all(sql, (cell.0, kind, after, rows(limit)), |row| row.get(0))
    }

    pub(super) fn count(
        &self,
        cell: CellId,
        kind: &str,
        status: Option<&str>,
    ) -> rusqlite::Result<u64> {
        let count = match status {
            None => {
                let sql = include_str!("../sql/sqlite/count.sql");
                self.one(sql, (cell.0, kind), |row| row.get(0))?
            }
            Some(status) => {
                let sql = include_str!("../sql/sqlite/count_status.sql");
                self.one(sql, (cell.0, kind, status), |row| row.get(0))?
            }
        };
        Ok(count.map_or(0, unsigned))
    }

    pub(super) fn ping(&self) -> rusqlite::Result<()> {
        self.one(include_str!("../sql/sqlite/schema_version.sql"), (), |_| Ok(())).map(drop)
    }

    fn fill(
        &self,
        page: &mut Page,
        cell: CellId,
        wanted: Wanted<'_>,
        sql: &str,
        params: impl Params,
    ) -> rusqlite::Result<Result<(), ReadError>> {
        self.statements.count();
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut found = statement.query(params)?;
        while !page.is_full() {
            let Some(row) = found.next()? else { break };
            if let Err(unreadable) = page.add(cell, &segment(row)?, wanted) {
                return Ok(Err(unreadable));
            }
        }
        Ok(Ok(()))
    }

    /// Each segment once, whatever number of the positions it holds.
    fn fill_at(
        &self,
        page: &mut Page,
        cell: CellId,
        mut positions: &[Position],
    ) -> rusqlite::Result<Result<(), ReadError>> {
        let sql = include_str!("../sql/sqlite/read_at.sql");
        self.snapshot(|| {
            while let Some(next) = positions.first() {
                let Some(found) = self.one(sql, (cell.0, signed(*next)), segment)? else { break };
                if let Err(unreadable) = page.add(cell, &found, Wanted::At(positions)) {
                    return Ok(Err(unreadable));
                }
                positions = &positions[positions.partition_point(|seq| *seq <= found.last)..];
            }
            Ok(Ok(()))
        })
    }

    pub(super) fn all<T>(
        &self,
        sql: &str,
        params: impl Params,
        decode: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<Vec<T>> {
        self.statements.count();
        self.connection.prepare_cached(sql)?.query_map(params, decode)?.collect()
    }

    fn one<T>(
        &self,
        sql: &str,
        params: impl Params,
        decode: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<Option<T>> {
        self.statements.count();
        self.connection.prepare_cached(sql)?.query_row(params, decode).optional()
    }

    /// Everything `read` sees is of one moment.
    fn snapshot<T>(&self, read: impl FnOnce() -> rusqlite::Result<T>) -> rusqlite::Result<T> {
        let transaction = self.connection.unchecked_transaction()?;
        let answer = read()?;
        transaction.finish()?;
        Ok(answer)
    }
}

/// A segment of which only the sealed parts were read.
pub(super) fn sealed(row: &Row<'_>) -> rusqlite::Result<Segment> {
    Ok(row::segment((row.get(0)?, row.get(1)?, Vec::new(), row.get(2)?)))
}

pub(super) fn segment(row: &Row<'_>) -> rusqlite::Result<Segment> {
    Ok(row::segment((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))
}

fn record(row: &Row<'_>) -> rusqlite::Result<Record> {
    Ok(Record {
        cell: CellId(row.get(0)?),
        kind: row.get::<_, String>(1)?.into(),
        id: row.get(2)?,
        created: unsigned(row.get(3)?),
        updated: unsigned(row.get(4)?),
        open: row.get(5)?,
        status: row.get(6)?,
        body: row.get::<_, Vec<u8>>(7)?.into(),
        sealed: row.get::<_, Option<Vec<u8>>>(8)?.map(Into::into),
        due: row.get(9)?,
    })
}
