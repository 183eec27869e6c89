//! Writing the rows and the position of one projection, inside the writer's transaction.

use rusqlite::{Connection, OptionalExtension, params};

use super::connection::refusal;
use crate::{
    counter::Statements,
    error::ProjectError,
    records::{Changes, Projection, Record},
    row::{signed, unsigned},
};

/// The answer for one cell; `Err` is an error of the whole transaction.
pub(super) fn project(
    connection: &Connection,
    projection: &Projection,
    count: &Statements,
) -> rusqlite::Result<Result<(), ProjectError>> {
    if let Some(reason) = projection.unstorable() {
        return Ok(Err(ProjectError::Refused { reason }));
    }
    count.count();
    let found: Option<i64> = connection
        .prepare_cached(include_str!("../sql/sqlite/position.sql"))?
        .query_row([projection.cell.0], |row| row.get(0))
        .optional()?;
    let found = found.map_or(0, unsigned);
    if found != projection.from {
        return Ok(Err(ProjectError::Moved { found }));
    }
    // A row that cannot be stored takes back the rows before it, and nothing of other cells.
    connection.execute_batch("SAVEPOINT projection")?;
    match write(connection, projection, count) {
        Ok(()) => {
            connection.execute_batch("RELEASE projection")?;
            Ok(Ok(()))
        }
        Err(error) => {
            let reason = refusal(&error).ok_or(error)?;
            connection.execute_batch("ROLLBACK TO projection; RELEASE projection")?;
            Ok(Err(ProjectError::Refused { reason }))
        }
    }
}

fn write(
    connection: &Connection,
    projection: &Projection,
    count: &Statements,
) -> rusqlite::Result<()> {
    let mut upsert = connection.prepare_cached(include_str!("../sql/sqlite/upsert.sql"))?;
    let Changes { created, changed, removed } = projection.changes();
    for row in created.into_iter().chain(changed) {
        let Record { cell, kind, id, created, updated, open, status, body, sealed, due } = row;
        count.count();
        upsert.execute(params![
            cell.0,
            kind,
            id,
            signed(*created),
            signed(*updated),
            open,
            status,
            &body[..],
            sealed.as_deref(),
            due,
        ])?;
    }
    let mut remove = connection.prepare_cached(include_str!("../sql/sqlite/remove.sql"))?;
    for (kind, id) in removed {
        count.count();
        remove.execute(params![projection.cell.0, kind, id])?;
    }
    count.count();
    connection
        .prepare_cached(include_str!("../sql/sqlite/advance.sql"))?
        .execute((projection.cell.0, signed(projection.to)))?;
    Ok(())
}
