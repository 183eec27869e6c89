//! Looking through what is sealed, and replacing it: each statement is guarded by what it saw.
//!
//! Both are done on the projector's connection, so that rows are never locked in two orders by one server.

use sqlx::{Error, Row, postgres::PgRow, query};

use super::{Postgres, array::column, error::unavailable, read};
use crate::{
    error::{ReadError, Unavailable},
    event::{CellId, Position},
    row::{rows, signed},
    sealing::{Resealed, ResealedRow, SealedPage, SealedRow, Sealing},
    segment::{Segment, Wanted, sealed_page},
};

/// Segments in one page.
const SEGMENTS: i64 = 64;

#[async_trait::async_trait]
impl Sealing for Postgres {
    async fn sealed_parts(&self, cell: CellId, after: Position) -> Result<SealedPage, ReadError> {
        let asked = || {
            query(include_str!("../sql/postgres/sealed_parts.sql"))
                .bind(cell.0)
                .bind(signed(after))
                .bind(SEGMENTS)
        };
        let found = self.readers.page(asked).await?;
        let segments = found.iter().map(read::segment).collect::<Result<Vec<_>, _>>()?;
        sealed_page(cell, &segments)
    }

    async fn reseal(&self, cell: CellId, changes: Vec<Resealed>) -> Result<u64, ReadError> {
        let positions: Vec<Position> = changes.iter().map(|change| change.seq).collect();
        let positions = Wanted::sorted(&positions);
        let asked = || {
            query(include_str!("../sql/postgres/read_at.sql"))
                .bind(cell.0)
                .bind(column(&positions, |seq| signed(*seq)))
        };
        let found = self.readers.rows(asked).await?;
        let segments = found.iter().map(read::segment).collect::<Result<Vec<_>, _>>()?;
        let mut new: Vec<(&Segment, Vec<u8>, u64)> = Vec::new();
        for segment in &segments {
            let resealed = segment.resealed(cell, &changes)?;
            new.extend(resealed.map(|(sealed, parts)| (segment, sealed, parts)));
        }
        let update = query(include_str!("../sql/postgres/reseal.sql"))
            .bind(cell.0)
            .bind(column(&new, |(segment, ..)| signed(segment.last)))
            .bind(column(&new, |(segment, ..)| segment.sealed.as_deref()))
            .bind(column(&new, |(_, sealed, _)| &sealed[..]));
        let moved = self.projector.run(async |session| session.all(update).await).await?;
        let moved: Vec<i64> = moved
            .iter()
            .map(|row| row.try_get(0))
            .collect::<Result<_, Error>>()
            .map_err(unavailable)?;
        let was_moved = |last| moved.contains(&signed(last));
        Ok(new.iter().filter(|(segment, ..)| was_moved(segment.last)).map(|(.., n)| n).sum())
    }

    async fn sealed_rows(
        &self,
        cell: CellId,
        after: (&str, &str),
        limit: usize,
    ) -> Result<Vec<SealedRow>, Unavailable> {
        let asked = || {
            query(include_str!("../sql/postgres/sealed_rows.sql"))
                .bind(cell.0)
                .bind(after.0.to_owned())
                .bind(after.1.to_owned())
                .bind(rows(limit))
        };
        let row = |row: &PgRow| {
            let sealed = row.try_get::<Vec<u8>, _>(2)?.into();
            Ok(SealedRow { kind: row.try_get(0)?, id: row.try_get(1)?, sealed })
        };
        let found = self.readers.page(asked).await?;
        found.iter().map(row).collect::<Result<_, Error>>().map_err(unavailable)
    }

    async fn reseal_rows(
        &self,
        cell: CellId,
        changes: Vec<ResealedRow>,
    ) -> Result<u64, Unavailable> {
        let update = query(include_str!("../sql/postgres/reseal_rows.sql"))
            .bind(cell.0)
            .bind(column(&changes, |change| change.row.kind.as_str()))
            .bind(column(&changes, |change| change.row.id.as_str()))
            .bind(column(&changes, |change| &change.row.sealed[..]))
            .bind(column(&changes, |change| &change.new[..]));
        let moved = self.projector.run(async |session| session.all(update).await).await?;
        Ok(moved.len() as u64)
    }
}
