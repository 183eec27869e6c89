//! Every question that is asked of the database, and what its rows mean.

use std::collections::HashMap;

use sqlx::{Error, Row, postgres::PgRow, query};

use super::{array::column, error::unavailable, session::Query};
use crate::{
    chain::genesis,
    error::Unavailable,
    event::{CellId, Position},
    journal::{CellHead, ReadLimit},
    records::{Due, DueQuery, Record, Walk},
    row::{self, cell_head, rows, signed, unsigned},
    segment::{Segment, Wanted},
};

/// Segments in one answer to a question for a stream. Some of them may only look as if they held
/// its events, so that the number of events wanted says little about how many are needed.
const STREAM_SEGMENTS: usize = 64;

pub(super) fn ping_query() -> Query {
    query(include_str!("../sql/postgres/ping.sql"))
}

pub(super) fn checkpoints_query() -> Query {
    query(include_str!("../sql/postgres/checkpoints.sql"))
}

/// What the settings come to that are too low for steady load.
pub(super) fn advice(settings: &[PgRow]) -> Result<Vec<String>, Unavailable> {
    let setting = |row: &PgRow| Ok((row.try_get::<String, _>("name")?, row.try_get("value")?));
    let settings = settings.iter().map(setting).collect::<Result<Vec<_>, Error>>();
    let low = |(name, value): &(String, i64)| too_low(name, *value);
    Ok(settings.map_err(unavailable)?.iter().filter_map(low).collect())
}

/// Checkpoints write every page whole behind each (`full_page_writes`), so they should be far apart.
fn too_low(name: &str, value: i64) -> Option<String> {
    let (enough, unit, better) = match name {
        "max_wal_size" => (8 << 10, "MB", "16GB"),
        "checkpoint_timeout" => (900, "s", "30min"),
        _ => return None,
    };
    (value < enough).then(|| {
        format!(
            "{name} of PostgreSQL is {value} {unit}: under steady load {better} saves checkpoints"
        )
    })
}

pub(super) fn open_query(cell: CellId) -> Query {
    query(include_str!("../sql/postgres/open.sql")).bind(cell.0).bind(&genesis(cell).as_bytes()[..])
}

pub(super) fn heads_query(cells: &[CellId]) -> Query {
    query(include_str!("../sql/postgres/heads.sql")).bind(numbers(cells))
}

pub(super) fn cells_query() -> Query {
    query(include_str!("../sql/postgres/cells.sql"))
}

/// Segments with what is wanted, in the order of the answer: as many as hold `left` events, and no
/// more than `left` bytes of them, but at least one.
pub(super) fn segments_query(cell: CellId, wanted: Wanted<'_>, left: ReadLimit) -> Query {
    let bytes = rows(left.bytes);
    match wanted {
        Wanted::After(after) => query(include_str!("../sql/postgres/read.sql"))
            .bind(cell.0)
            .bind(signed(after))
            .bind(signed(after.saturating_add(left.events as u64)))
            .bind(bytes),
        Wanted::Before(before) => query(include_str!("../sql/postgres/read_back.sql"))
            .bind(cell.0)
            .bind(signed(before.saturating_sub(1)))
            .bind(rows(left.events))
            .bind(bytes),
        Wanted::At(positions) => query(include_str!("../sql/postgres/read_at.sql"))
            .bind(cell.0)
            .bind(column(positions, |seq| signed(*seq))),
        Wanted::Stream { name, after } => query(include_str!("../sql/postgres/read_stream.sql"))
            .bind(cell.0)
            .bind(signed(after))
            .bind(name.as_bytes())
            .bind(rows(stream_segments(left)))
            .bind(bytes),
    }
}

/// Whether the answer to `segments_query` may have left out a segment that is wanted.
pub(super) fn is_cut(wanted: Wanted<'_>, left: ReadLimit, segments: &[Segment]) -> bool {
    let bytes: usize = segments.iter().map(Segment::len).sum();
    let is_stream = matches!(wanted, Wanted::Stream { .. });
    bytes > left.bytes || is_stream && segments.len() == stream_segments(left)
}

fn stream_segments(left: ReadLimit) -> usize {
    left.events.min(STREAM_SEGMENTS)
}

pub(super) fn positions_query(cells: &[CellId]) -> Query {
    query(include_str!("../sql/postgres/positions.sql")).bind(numbers(cells))
}

pub(super) fn get_query(cell: CellId, kind: &str, ids: &[String]) -> Query {
    query(include_str!("../sql/postgres/get.sql")).bind(cell.0).bind(kind).bind(ids)
}

pub(super) fn walk_query(walk: &Walk) -> Query {
    query(include_str!("../sql/postgres/walk.sql"))
        .bind(walk.cell.0)
        .bind(&*walk.kind)
        .bind(&*walk.status)
        .bind(signed(walk.after))
        .bind(rows(walk.limit))
}

pub(super) fn open_page_query(cell: CellId, after: Position, limit: usize) -> Query {
    query(include_str!("../sql/postgres/open_page.sql"))
        .bind(cell.0)
        .bind(signed(after))
        .bind(rows(limit))
}

pub(super) fn due_page_query(asked: &DueQuery) -> Query {
    let (at, id) = asked.behind();
    query(include_str!("../sql/postgres/due_page.sql"))
        .bind(asked.cell.0)
        .bind(&*asked.kind)
        .bind(asked.until)
        .bind(at)
        .bind(id)
        .bind(rows(asked.limit))
}

pub(super) fn ids_page_query(cell: CellId, kind: &str, after: &str, limit: usize) -> Query {
    query(include_str!("../sql/postgres/ids_page.sql"))
        .bind(cell.0)
        .bind(kind)
        .bind(after)
        .bind(rows(limit))
}

pub(super) fn list_query(asked: &crate::Query) -> Query {
    let sql = match &asked.status {
        None => query(include_str!("../sql/postgres/list.sql")),
        Some(_) => query(include_str!("../sql/postgres/list_status.sql")),
    };
    let sql = sql
        .bind(asked.cell.0)
        .bind(&*asked.kind)
        .bind(signed(asked.before.unwrap_or(Position::MAX)))
        .bind(rows(asked.limit));
    match &asked.status {
        None => sql,
        Some(status) => sql.bind(status),
    }
}

pub(super) fn count_query(cell: CellId, kind: &str, status: Option<&str>) -> Query {
    match status {
        None => query(include_str!("../sql/postgres/count.sql")).bind(cell.0).bind(kind),
        Some(status) => query(include_str!("../sql/postgres/count_status.sql"))
            .bind(cell.0)
            .bind(kind)
            .bind(status),
    }
}

pub(super) fn head(row: &PgRow) -> Result<CellHead, Unavailable> {
    let read = || Ok((row.try_get(0)?, (row.try_get(1)?, row.try_get(2)?, row.try_get(3)?)));
    let (cell, values) = read().map_err(unavailable)?;
    cell_head(CellId(cell), values)
}

pub(super) fn segment(row: &PgRow) -> Result<Segment, Unavailable> {
    let read = || Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?, row.try_get(3)?));
    read().map(row::segment).map_err(unavailable)
}

pub(super) fn positions(rows: &[PgRow]) -> Result<HashMap<CellId, Position>, Unavailable> {
    let read = |row: &PgRow| Ok((CellId(row.try_get(0)?), unsigned(row.try_get(1)?)));
    rows.iter().map(read).collect::<Result<_, Error>>().map_err(unavailable)
}

pub(super) fn records(rows: &[PgRow]) -> Result<Vec<Record>, Unavailable> {
    rows.iter().map(|row| record(row, 0)).collect::<Result<_, Error>>().map_err(unavailable)
}

pub(super) fn due(rows: &[PgRow]) -> Result<Vec<Due>, Unavailable> {
    let read = |row: &PgRow| Ok(Due { at: row.try_get(0)?, id: row.try_get(1)? });
    rows.iter().map(read).collect::<Result<_, Error>>().map_err(unavailable)
}

/// Rows that carry the position in front; a single row without a record means there is none.
pub(super) fn snapshot(rows: &[PgRow]) -> Result<(Position, Vec<Record>), Unavailable> {
    let read = || {
        let mut found = Vec::with_capacity(rows.len());
        for row in rows {
            if row.try_get::<Option<i64>, _>(1)?.is_some() {
                found.push(record(row, 1)?);
            }
        }
        let position = rows.first().map(|row| row.try_get(0)).transpose()?;
        Ok((position.map_or(0, unsigned), found))
    };
    read().map_err(unavailable)
}

pub(super) fn ids(rows: &[PgRow]) -> Result<Vec<String>, Unavailable> {
    rows.iter().map(|row| row.try_get(0)).collect::<Result<_, Error>>().map_err(unavailable)
}

pub(super) fn number(rows: &[PgRow]) -> Result<u64, Unavailable> {
    let number = rows.first().map(|row| row.try_get(0)).transpose().map_err(unavailable)?;
    Ok(number.map_or(0, unsigned))
}

/// The record whose columns begin at `first`.
fn record(row: &PgRow, first: usize) -> Result<Record, Error> {
    Ok(Record {
        cell: CellId(row.try_get(first)?),
        kind: row.try_get::<String, _>(first + 1)?.into(),
        id: row.try_get(first + 2)?,
        created: unsigned(row.try_get(first + 3)?),
        updated: unsigned(row.try_get(first + 4)?),
        open: row.try_get(first + 5)?,
        status: row.try_get(first + 6)?,
        body: row.try_get::<Vec<u8>, _>(first + 7)?.into(),
        sealed: row.try_get::<Option<Vec<u8>>, _>(first + 8)?.map(Into::into),
        due: row.try_get(first + 9)?,
    })
}

fn numbers(cells: &[CellId]) -> Vec<i64> {
    cells.iter().map(|cell| cell.0).collect()
}

#[cfg(all(test, feature = "testing"))]
mod tests {
    use sqlx::{Connection, PgConnection, Row};

    use crate::testing;

    /// How a prepared statement is carried out that the planner knows no values and no statistics for.
    async fn plan(rows: u32, prepare: &str, execute: &'static str) -> String {
        let url = testing::Postgres::shared().fresh_database().await;
        drop(crate::connect(&url).await.expect("a fresh database is there"));
        let mut connection = PgConnection::connect(&url).await.expect("it is there");
        let rows = format!(
            "INSERT INTO records SELECT 1, 'task', 'id' || n, n, n, true, 'pending', 'x', NULL, n
            FROM generate_series(1, {rows}) AS n"
        );
        for statement in ["SET plan_cache_mode = force_generic_plan", &rows, prepare] {
            sqlx::raw_sql(sqlx::AssertSqlSafe(statement))
                .execute(&mut connection)
                .await
                .expect(statement);
        }
        let plan = sqlx::raw_sql(execute).fetch_all(&mut connection).await.expect(execute);
        let plan: Vec<String> = plan.iter().map(|line| line.get(0)).collect();
        plan.join("\n")
    }

    #[tokio::test]
    async fn record_is_looked_up_by_its_key_whatever_the_planner_believes() {
        let get = include_str!("../sql/postgres/get.sql");
        let prepare = format!("PREPARE get (bigint, text, text[]) AS {get}");

        let plan = plan(5_000, &prepare, "EXPLAIN EXECUTE get (1, 'task', '{id1,id2}')").await;

        assert!(plan.contains("records_pkey") && !plan.contains("records_status"), "{plan}");
    }

    #[tokio::test]
    async fn rows_that_go_are_found_by_all_that_an_index_has_whatever_the_planner_believes() {
        let project = include_str!("../sql/postgres/project.sql");
        let of_rows = "bigint[], text[], text[], bigint[], bigint[], boolean[], text[], bytea[], bytea[], bigint[]";
        let arguments =
            format!("bigint[], bigint[], bigint[], {of_rows}, {of_rows}, bigint[], text[], text[]");
        let prepare = format!("PREPARE project ({arguments}) AS {project}");

        let plan = plan(
            5_000,
            &prepare,
            "EXPLAIN EXECUTE project ('{1}', '{0}', '{5}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}',
                '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{1}', '{task}', '{id1}')",
        )
        .await;

        let (lookups, delete) = plan.split_once("Delete on records").expect("it deletes");
        assert!(lookups.contains("Index Cond: (ROW(cell, kind, id) >= ROW("), "{plan}");
        let conditions = delete.lines().filter(|line| line.contains("Index Cond"));
        let exact = |line: &str| line.contains("gone.created)") || line.contains("gone.id)");
        assert!(conditions.clone().count() == 1 && conditions.clone().all(exact), "{plan}");
    }

    #[tokio::test]
    async fn what_is_due_is_found_by_its_time_whatever_the_planner_believes() {
        let page = include_str!("../sql/postgres/due_page.sql");
        let prepare = format!("PREPARE due (bigint, text, bigint, bigint, text, bigint) AS {page}");

        let plan =
            plan(5_000, &prepare, "EXPLAIN EXECUTE due (1, 'task', 900, 7, 'id7', 10)").await;

        assert!(plan.contains("records_due") && !plan.contains("Sort"), "{plan}");
    }

    #[tokio::test]
    async fn ids_are_read_in_their_order_whatever_the_planner_believes() {
        let page = include_str!("../sql/postgres/ids_page.sql");
        let prepare = format!("PREPARE ids (bigint, text, text, bigint) AS {page}");

        let plan = plan(5_000, &prepare, "EXPLAIN EXECUTE ids (1, 'task', 'id7', 10)").await;

        assert!(plan.contains("records_pkey") && !plan.contains("Sort"), "{plan}");
    }

    #[test]
    fn settings_are_named_while_they_are_too_low() {
        let said = super::too_low("max_wal_size", 1_024).unwrap();
        assert!(said.contains("max_wal_size") && said.contains("16GB"), "{said}");
        assert!(super::too_low("checkpoint_timeout", 300).unwrap().contains("30min"));
        assert_eq!(super::too_low("max_wal_size", 16 << 10), None);
        assert_eq!(super::too_low("checkpoint_timeout", 1_800), None);
    }
}
