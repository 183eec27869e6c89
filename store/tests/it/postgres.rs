//! What only a server can do: refuse a row of a large batch, hold a lock, go away, be somebody
//! else's.

use std::sync::Arc;

use fleetward_store::{
    AppendError, CellAppend, CellId, ConnectError, Event, ProjectError, Projection, ReadError,
    ReadLimit, Record, connect, genesis, verify,
};
use sqlx::{Connection, PgConnection, Row};

use crate::world::{CELL, World, all, append, append_one, cell_with, event, row, shown};

#[tokio::test]
async fn first_event_that_the_database_refuses_is_found_in_a_large_batch() {
    let world = World::postgres().await;
    let no_poison = "CHECK (position('poison'::bytea IN body) = 0)";
    sql(&world, &format!("ALTER TABLE segments ADD CONSTRAINT no_poison {no_poison}")).await;
    for (cell, bad) in (10..).zip([&[1][..], &[2], &[37, 38], &[64, 99], &[100]]) {
        let head = world.store.open(CellId(cell)).await.unwrap();
        let other = world.store.open(CellId(-cell)).await.unwrap();

        let batch = vec![with_poison(head, 100, bad), append(other, &["fine"])];
        let answers = world.store.append(batch).await;

        match &answers[0] {
            Err(AppendError::Refused { seq, reason, stored_up_to }) => {
                assert_eq!((*seq, stored_up_to.head), (bad[0], bad[0] - 1));
                assert!(reason.contains("no_poison") && !reason.contains("xyzzy"), "{reason}");
                let run = all(&world.store, CellId(cell)).await;
                let last = verify(CellId(cell), 0, genesis(CellId(cell)), &run).unwrap();
                assert_eq!((run.len() as u64, last), (bad[0] - 1, stored_up_to.hash));
            }
            other => panic!("not refused: {other:?}"),
        }
        assert_eq!(answers[1].as_ref().unwrap().head, 1);
    }
}

#[tokio::test]
async fn segments_fill_their_pages_and_no_more() {
    let world = World::postgres().await;
    let head = world.store.open(CELL).await.unwrap();
    let large = "x".repeat(700);
    let bodies = [large.as_str(); 400];

    append_one(&world.store, append(head, &bodies)).await.unwrap();

    let rows = number(&world, "SELECT count(*) FROM segments").await;
    let pages = number(&world, "SELECT pg_relation_size('segments') / 8192").await;
    let aside = "SELECT pg_relation_size(reltoastrelid) FROM pg_class
                 WHERE oid = 'segments'::regclass";
    assert_eq!((rows, pages, number(&world, aside).await), (40, 40, 0));
}

#[tokio::test]
async fn damaged_event_is_named_and_those_before_it_are_read() {
    let world = World::postgres().await;
    cell_with(&world.store, &["a", "b", "c"]).await;

    sql(&world, "UPDATE segments SET body = substr(body, 1, octet_length(body) - 1)").await;

    let two = ReadLimit { events: 2, ..ReadLimit::default() };
    assert_eq!(shown(&world.store.read(CELL, 0, two).await.unwrap()), "1:a 2:b");
    let error = world.store.read(CELL, 0, ReadLimit::default()).await.unwrap_err();
    assert!(matches!(error, ReadError::Unreadable { cell: CELL, seq: 3, .. }), "{error}");
}

#[tokio::test]
async fn row_that_the_database_refuses_hurts_no_other_cell() {
    let world = World::postgres().await;
    sql(&world, "ALTER TABLE records ADD CONSTRAINT no_poison CHECK (status <> 'poison')").await;
    let of = |cell, status| Projection {
        cell: CellId(cell),
        from: 0,
        to: 1,
        upserts: vec![Record { cell: CellId(cell), ..row("a", 1, status) }],
        removals: Vec::new(),
    };

    let answers = world.store.project(vec![of(1, "poison"), of(2, "queued")]).await;

    assert!(matches!(answers[0], Err(ProjectError::Refused { .. })), "{answers:?}");
    assert!(answers[1].is_ok(), "{answers:?}");
    assert_eq!(world.store.position(CellId(1)).await.unwrap(), 0);
}

#[tokio::test]
async fn opening_waits_for_a_write_in_flight() {
    let world = World::database().await;
    let there = world.again().await;
    let old = world.store.open(CELL).await.unwrap();
    let mut lock = PgConnection::connect(world.url()).await.unwrap();
    let mut held = lock.begin().await.unwrap();
    sqlx::query("SELECT FROM cells FOR UPDATE").execute(&mut *held).await.unwrap();
    let writing = {
        let store = Arc::clone(&world.store);
        tokio::spawn(async move { append_one(&store, append(old, &["a"])).await })
    };
    waiting(&world, 1).await;
    let opening = tokio::spawn(async move { there.open(CELL).await });
    waiting(&world, 2).await;

    held.commit().await.unwrap();

    let written = writing.await.unwrap().unwrap();
    let opened = opening.await.unwrap().unwrap();
    assert_eq!((opened.epoch, opened.head, opened.hash), (2, 1, written.hash));
}

#[tokio::test]
async fn append_is_repeated_safely_on_a_new_connection() {
    let world = World::database().await;
    let head = cell_with(&world.store, &["a"]).await;
    cut_connections(&world).await;

    let broken = append_one(&world.store, append(head, &["b"])).await;
    let repeated = append_one(&world.store, append(head, &["b"])).await;

    assert!(matches!(broken, Err(AppendError::Unavailable(_))), "{broken:?}");
    assert_eq!(repeated.unwrap().head, 2);
    assert_eq!(shown(&all(&world.store, CELL).await), "1:a 2:b");
}

#[tokio::test]
async fn read_goes_to_a_new_connection_by_itself() {
    let world = World::database().await;
    cell_with(&world.store, &["a"]).await;
    let (one, two) = tokio::join!(world.store.cells(), world.store.ping());
    one.and(two).unwrap();
    cut_connections(&world).await;

    let (one, two) = tokio::join!(all(&world.store, CELL), all(&world.store, CELL));

    assert_eq!((shown(&one), shown(&two)), ("1:a".into(), "1:a".into()));
}

#[tokio::test]
async fn read_only_database_is_an_outage() {
    let world = World::database().await;
    let head = cell_with(&world.store, &["a"]).await;
    let database = world.url().rsplit('/').next().unwrap();
    let read_only = format!("ALTER DATABASE {database} SET default_transaction_read_only = on");
    sql(&world, &read_only).await;
    let url = format!("{}?application_name=late", world.url());

    let late = connect(&url).await.unwrap();
    let answer = append_one(&late, append(head, &["b"])).await;

    assert!(matches!(answer, Err(AppendError::Unavailable(_))), "{answer:?}");
    assert_eq!(shown(&all(&late, CELL).await), "1:a");
}

#[tokio::test]
async fn newer_schema_is_left_alone() {
    let world = World::postgres().await;
    sql(&world, "INSERT INTO schema_migrations (version, name) VALUES (999, 'future')").await;

    let Err(error) = connect(world.url()).await else { panic!("it was opened") };

    assert!(matches!(error, ConnectError::NewerSchema { found: 999, .. }), "{error}");
}

#[tokio::test]
async fn servers_that_start_together_migrate_once() {
    let url = fleetward_store::testing::Postgres::shared().fresh_database().await;

    let (one, two, three) = tokio::join!(connect(&url), connect(&url), connect(&url));

    for store in [one, two, three] {
        store.unwrap().ping().await.unwrap();
    }
}

#[tokio::test]
async fn unreachable_server_is_described_without_its_password() {
    let Err(error) = connect("postgres://ann:hunter2@127.0.0.1:1/fleet").await else {
        panic!("it was opened")
    };

    let told = format!("{error} {error:?} {:?}", std::error::Error::source(&error));
    assert!(told.contains("ann@127.0.0.1:1/fleet") && !told.contains("hunter2"), "{told}");
    assert!(told.contains("check that PostgreSQL runs there"), "{told}");
}

fn with_poison(head: fleetward_store::CellHead, count: u64, bad: &[u64]) -> CellAppend {
    let events = (1..=count).map(|seq| match bad.contains(&seq) {
        true => Event { kind: "poison".into(), ..event("xyzzy") },
        false => event("fine"),
    });
    CellAppend { head, events: events.collect() }
}

/// Returns once `count` statements wait for a lock. The server tells nobody, so this asks it.
async fn waiting(world: &World, count: i64) {
    let mut connection = PgConnection::connect(world.url()).await.unwrap();
    let asked = "SELECT count(*) FROM pg_stat_activity
                 WHERE datname = current_database() AND wait_event_type = 'Lock'";
    for _ in 0..100_000 {
        let row = sqlx::query(asked).fetch_one(&mut connection).await.unwrap();
        if row.get::<i64, _>(0) >= count {
            return;
        }
    }
    panic!("{count} statements never waited");
}

async fn number(world: &World, asked: &str) -> i64 {
    let mut connection = PgConnection::connect(world.url()).await.unwrap();
    let asked = sqlx::AssertSqlSafe(asked.to_owned());
    sqlx::query(asked).fetch_one(&mut connection).await.unwrap().get(0)
}

async fn cut_connections(world: &World) {
    let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
               WHERE datname = current_database() AND pid <> pg_backend_pid()";
    sql(world, cut).await;
}

async fn sql(world: &World, statement: &str) {
    let mut connection = PgConnection::connect(world.url()).await.unwrap();
    let statement = sqlx::AssertSqlSafe(statement.to_owned());
    sqlx::raw_sql(statement).execute(&mut connection).await.unwrap();
}
