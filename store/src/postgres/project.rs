//! Rows and positions of several cells in one statement, each cell guarded by its old position.

use std::collections::HashSet;

use sqlx::{Error, Row};

use super::{
    array::{column, roomy},
    error::refusal,
    read,
    session::{Query, Session},
};
use crate::{
    error::ProjectError,
    event::CellId,
    records::{Projection, Record},
    row::signed,
};

type Answer = Result<(), ProjectError>;

/// Columns of its statement that have a value for each cell, and for each row of one kind: those that are new, and those
/// that are not.
const OF_CELLS: usize = 3;
const OF_ROWS: usize = 10;
/// And for each row that goes.
const OF_REMOVED: usize = 3;

/// The answers in the order of `batch`; `Err` leaves every cell unknown.
pub(super) async fn project(
    session: &mut Session<'_>,
    batch: &[Projection],
) -> Result<Vec<Answer>, Error> {
    // A cell that appears twice has its second part written after the first.
    let mut seen = HashSet::new();
    let together: Vec<&Projection> = batch
        .iter()
        .filter(|projection| seen.insert(projection.cell) && projection.unstorable().is_none())
        .collect();
    let mut moved = match write(session, &together).await {
        Ok(moved) => moved,
        Err(error) => refusal(&error).map(|_| HashSet::new()).ok_or(error)?,
    };
    let mut answers = Vec::with_capacity(batch.len());
    for projection in batch {
        let answer = match moved.remove(&projection.cell) {
            true => Ok(()),
            false => project_alone(session, projection).await?,
        };
        answers.push(answer);
    }
    Ok(answers)
}

async fn project_alone(
    session: &mut Session<'_>,
    projection: &Projection,
) -> Result<Answer, Error> {
    if let Some(reason) = projection.unstorable() {
        return Ok(Err(ProjectError::Refused { reason }));
    }
    match write(session, &[projection]).await {
        Ok(moved) if moved.contains(&projection.cell) => return Ok(Ok(())),
        Ok(_) => {}
        Err(error) => {
            let reason = refusal(&error).ok_or(error)?;
            return Ok(Err(ProjectError::Refused { reason }));
        }
    }
    let rows = session.all(read::positions_query(&[projection.cell])).await?;
    let found = read::positions(&rows).map_err(|error| Error::Decode(Box::new(error)))?;
    let found = found.get(&projection.cell).copied().unwrap_or(0);
    Ok(Err(ProjectError::Moved { found }))
}

/// One statement; answers the cells that moved.
async fn write(
    session: &mut Session<'_>,
    projections: &[&Projection],
) -> Result<HashSet<CellId>, Error> {
    let rows = session.all(project_query(projections)).await?;
    rows.iter().map(|row| row.try_get(0).map(CellId)).collect()
}

fn project_query(projections: &[&Projection]) -> Query {
    let (mut created, mut changed, mut removed) = (Vec::new(), Vec::new(), Vec::new());
    for projection in projections {
        let changes = projection.changes();
        created.extend(changes.created);
        changed.extend(changes.changed);
        removed.extend(changes.removed.into_iter().map(|row| (projection.cell, row)));
    }
    let bytes = created.iter().chain(&changed).map(|row| bytes(row)).sum::<usize>()
        + removed.iter().map(|(_, (kind, id))| kind.len() + id.len()).sum::<usize>();
    let values = OF_CELLS * projections.len()
        + OF_ROWS * (created.len() + changed.len())
        + OF_REMOVED * removed.len();
    let columns = OF_CELLS + 2 * OF_ROWS + OF_REMOVED;
    let query = roomy(include_str!("../sql/postgres/project.sql"), columns, values, bytes)
        .bind(column(projections, |projection| projection.cell.0))
        .bind(column(projections, |projection| signed(projection.from)))
        .bind(column(projections, |projection| signed(projection.to)));
    bind_rows(bind_rows(query, &created), &changed)
        .bind(column(&removed, |(cell, _)| cell.0))
        .bind(column(&removed, |(_, (kind, _))| *kind))
        .bind(column(&removed, |(_, (_, id))| *id))
}

/// What a row takes besides its numbers.
fn bytes(row: &Record) -> usize {
    let sealed = row.sealed.as_ref().map_or(0, |sealed| sealed.len());
    row.kind.len() + row.id.len() + row.status.len() + row.body.len() + sealed
}

fn bind_rows(query: Query, rows: &[&Record]) -> Query {
    query
        .bind(column(rows, |row| row.cell.0))
        .bind(column(rows, |row| &*row.kind))
        .bind(column(rows, |row| row.id.as_str()))
        .bind(column(rows, |row| signed(row.created)))
        .bind(column(rows, |row| signed(row.updated)))
        .bind(column(rows, |row| row.open))
        .bind(column(rows, |row| row.status.as_str()))
        .bind(column(rows, |row| &row.body[..]))
        .bind(column(rows, |row| row.sealed.as_deref()))
        .bind(column(rows, |row| row.due))
}
