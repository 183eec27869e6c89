//! Opening a cell and appending to it, inside the writer's transaction.
//!
//! Nobody else can write meanwhile, so the guard is a plain read of the row, and a row that cannot
//! be stored ends the cell's part while what was stored before it stands.

use rusqlite::{Connection, OptionalExtension, params, types::Type};

use super::connection::refusal;
use crate::{
    attempt::Attempt,
    chain::genesis,
    counter::Statements,
    error::AppendError,
    event::CellId,
    journal::CellHead,
    row::{cell_head, signed},
};

/// A few pages of the file.
const SEGMENT_BYTES: usize = 16 * 1024;

pub(super) fn open(
    connection: &Connection,
    cell: CellId,
    count: &Statements,
) -> rusqlite::Result<CellHead> {
    count.count();
    connection
        .prepare_cached(include_str!("../sql/sqlite/open.sql"))?
        .query_row((cell.0, genesis(cell).as_bytes()), |row| head(cell, row))
}

/// The answer for one cell; `Err` is an error of the whole transaction.
pub(super) fn append(
    connection: &Connection,
    attempt: &Attempt,
    count: &Statements,
) -> rusqlite::Result<Result<CellHead, AppendError>> {
    let cell = attempt.cell();
    count.count();
    let found = connection
        .prepare_cached(include_str!("../sql/sqlite/head.sql"))?
        .query_row([cell.0], |row| head(cell, row))
        .optional()?;
    let already = match attempt.stored(found.as_ref()) {
        Ok(already) => already,
        Err(fenced) => return Ok(Err(fenced)),
    };
    let (stored, refused) = insert(connection, attempt, already, count)?;
    if stored > already {
        let head = attempt.head_after(stored);
        count.count();
        connection.prepare_cached(include_str!("../sql/sqlite/move.sql"))?.execute((
            cell.0,
            signed(head.head),
            head.hash.as_bytes(),
        ))?;
    }
    Ok(match refused {
        None => attempt.answer(),
        Some(reason) => Err(attempt.refused(stored, reason)),
    })
}

/// How many events are in afterwards, and why the next one cannot be.
fn insert(
    connection: &Connection,
    attempt: &Attempt,
    already: usize,
    count: &Statements,
) -> rusqlite::Result<(usize, Option<String>)> {
    let mut insert = connection.prepare_cached(include_str!("../sql/sqlite/insert.sql"))?;
    let mut stored = already;
    // Where a segment ended that was refused as a whole: an event before it cannot be stored.
    let mut suspect = None;
    while stored < attempt.len() {
        for segment in attempt.segments(stored..attempt.next_stop(stored, suspect), SEGMENT_BYTES) {
            let end = stored + segment.count();
            count.count();
            let inserted = insert.execute(params![
                attempt.cell().0,
                signed(segment.last),
                signed(segment.first),
                &segment.body[..],
                segment.sealed.as_deref(),
            ]);
            if let Err(error) = inserted {
                let reason = refusal(&error).ok_or(error)?;
                if segment.count() == 1 {
                    return Ok((stored, Some(reason)));
                }
                suspect = Some(end);
                break;
            }
            stored = end;
        }
        // Past every suspect: whatever was refused before is not refused any more.
        suspect = suspect.filter(|end| stored < *end);
    }
    Ok((stored, None))
}

fn head(cell: CellId, row: &rusqlite::Row<'_>) -> rusqlite::Result<CellHead> {
    let values = (row.get(0)?, row.get(1)?, row.get(2)?);
    cell_head(cell, values)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(2, Type::Blob, Box::new(error)))
}
