//! Looking through what is sealed, on a reader, and replacing it, inside the writer's transaction.

use rusqlite::{Connection, OptionalExtension};

use super::{Sqlite, read::segment};
use crate::{
    counter::Statements,
    error::{ReadError, Unavailable},
    event::{CellId, Position},
    row::{rows, signed},
    sealing::{Resealed, ResealedRow, SealedPage, SealedRow, Sealing},
    segment::Segment,
};

/// Segments in one page.
const SEGMENTS: i64 = 32;

#[async_trait::async_trait]
impl Sealing for Sqlite {
    async fn sealed_parts(&self, cell: CellId, after: Position) -> Result<SealedPage, ReadError> {
        let sql = include_str!("../sql/sqlite/sealed_parts.sql");
        let params = (cell.0, signed(after), SEGMENTS);
        let read =
            move |reader: &super::read::Reader<'_>| reader.all(sql, params, super::read::sealed);
        let segments: Vec<Segment> = self.readers.run(read).await?;
        crate::segment::sealed_page(cell, &segments)
    }

    async fn reseal(&self, cell: CellId, changes: Vec<Resealed>) -> Result<u64, ReadError> {
        self.writer.reseal(cell, changes).await
    }

    async fn sealed_rows(
        &self,
        cell: CellId,
        after: (&str, &str),
        limit: usize,
    ) -> Result<Vec<SealedRow>, Unavailable> {
        let sql = include_str!("../sql/sqlite/sealed_rows.sql");
        let params = (cell.0, after.0.to_owned(), after.1.to_owned(), rows(limit));
        let row = |row: &rusqlite::Row<'_>| {
            let sealed = row.get::<_, Vec<u8>>(2)?.into();
            Ok(SealedRow { kind: row.get(0)?, id: row.get(1)?, sealed })
        };
        self.readers.run(move |reader| reader.all(sql, params, row)).await
    }

    async fn reseal_rows(
        &self,
        cell: CellId,
        changes: Vec<ResealedRow>,
    ) -> Result<u64, Unavailable> {
        self.writer.reseal_rows(cell, changes).await
    }
}

pub(super) fn reseal(
    connection: &Connection,
    cell: CellId,
    changes: &[Resealed],
    count: &Statements,
) -> rusqlite::Result<Result<u64, ReadError>> {
    let mut left: Vec<&Resealed> = changes.iter().collect();
    left.sort_by_key(|change| std::cmp::Reverse(change.seq));
    let mut replaced = 0;
    while let Some(next) = left.pop() {
        count.count();
        let found = connection
            .prepare_cached(include_str!("../sql/sqlite/read_at.sql"))?
            .query_row((cell.0, signed(next.seq)), segment)
            .optional()?;
        let Some(found) = found else { break };
        left.retain(|change| change.seq > found.last);
        match found.resealed(cell, changes) {
            Ok(None) => {}
            Ok(Some((sealed, parts))) => {
                count.count();
                connection.prepare_cached(include_str!("../sql/sqlite/reseal.sql"))?.execute((
                    cell.0,
                    signed(found.last),
                    sealed,
                ))?;
                replaced += parts;
            }
            Err(unreadable) => return Ok(Err(unreadable)),
        }
    }
    Ok(Ok(replaced))
}

pub(super) fn reseal_rows(
    connection: &Connection,
    cell: CellId,
    changes: &[ResealedRow],
    count: &Statements,
) -> rusqlite::Result<u64> {
    let mut update = connection.prepare_cached(include_str!("../sql/sqlite/reseal_row.sql"))?;
    let mut replaced = 0;
    for ResealedRow { row: SealedRow { kind, id, sealed }, new } in changes {
        count.count();
        replaced += update.execute((cell.0, kind, id, &sealed[..], &new[..]))?;
    }
    Ok(replaced as u64)
}
