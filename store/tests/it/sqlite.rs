//! What only a file can do: be private, be shared by two programs, be too new, be missing.

use std::{fs, os::unix::fs::PermissionsExt};

use fleetward_store::{AppendError, CellId, ConnectError, ReadError, ReadLimit, connect};
use rusqlite::Connection;

use crate::world::{CELL, World, all, append, append_one, cell_with, shown};

#[tokio::test]
async fn file_and_its_companions_are_for_their_owner_only() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", folder.path().join("store.db").display());
    let store = connect(&url).await.unwrap();
    cell_with(&store, &["a"]).await;

    let files: Vec<_> = fs::read_dir(folder.path()).unwrap().map(Result::unwrap).collect();

    assert_eq!(files.len(), 3, "the file, its log and its shared memory: {files:?}");
    for file in files {
        let mode = file.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{}", file.path().display());
    }
}

#[tokio::test]
async fn events_are_there_after_the_file_was_closed() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", folder.path().join("store.db").display());
    let store = connect(&url).await.unwrap();
    let head = cell_with(&store, &["a", "b"]).await;
    drop(store);

    let store = connect(&url).await.unwrap();

    assert_eq!(store.cells().await.unwrap(), [head]);
    assert_eq!(shown(&all(&store, CELL).await), "1:a 2:b");
}

#[tokio::test]
async fn two_programs_on_one_file_take_turns() {
    let world = World::sqlite().await;
    let there = world.again().await;
    let mut here = world.store.open(CELL).await.unwrap();
    let mut other = there.open(CellId(2)).await.unwrap();

    for _ in 0..50 {
        let (one, two) = tokio::join!(
            append_one(&world.store, append(here, &["a"])),
            append_one(&there, append(other, &["b"])),
        );
        (here, other) = (one.unwrap(), two.unwrap());
    }

    assert_eq!((here.head, other.head), (50, 50));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn programs_that_start_together_make_the_file_once() {
    for _ in 0..10 {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", folder.path().join("store.db").display());

        let starting = [(); 4].map(|()| {
            let url = url.clone();
            tokio::spawn(async move { connect(&url).await.map(|store| store.backend()) })
        });

        for started in starting {
            assert_eq!(started.await.unwrap().unwrap(), "sqlite");
        }
    }
}

#[tokio::test]
async fn event_that_the_database_refuses_keeps_those_before_it() {
    let world = World::sqlite().await;
    file(&world)
        .execute_batch(
            "CREATE TRIGGER poison BEFORE INSERT ON segments WHEN instr(new.body, x'706f69736f6e') > 0
             BEGIN SELECT raise(ABORT, 'poison'); END",
        )
        .unwrap();
    let head = world.store.open(CELL).await.unwrap();
    let other = world.store.open(CellId(2)).await.unwrap();

    let batch = vec![append(head, &["a", "poison", "c"]), append(other, &["a"])];
    let answers = world.store.append(batch).await;

    match &answers[0] {
        Err(AppendError::Refused { seq: 2, reason, stored_up_to }) => {
            assert_eq!((reason.as_str(), stored_up_to.head), ("poison", 1));
        }
        other => panic!("not refused: {other:?}"),
    }
    assert_eq!(answers[1].as_ref().unwrap().head, 1);
    assert_eq!(shown(&all(&world.store, CELL).await), "1:a");
}

#[tokio::test]
async fn damaged_event_is_named_and_those_before_it_are_read() {
    let world = World::sqlite().await;
    cell_with(&world.store, &["a", "b", "c"]).await;

    file(&world)
        .execute("UPDATE segments SET body = substr(body, 1, length(body) - 1)", [])
        .unwrap();

    let two = ReadLimit { events: 2, ..ReadLimit::default() };
    assert_eq!(shown(&world.store.read(CELL, 0, two).await.unwrap()), "1:a 2:b");
    let error = world.store.read(CELL, 0, ReadLimit::default()).await.unwrap_err();
    assert!(matches!(error, ReadError::Unreadable { cell: CELL, seq: 3, .. }), "{error}");
}

#[tokio::test]
async fn newer_schema_is_left_alone() {
    let world = World::sqlite().await;
    file(&world)
        .execute("INSERT INTO schema_migrations (version, name) VALUES (999, 'future')", [])
        .unwrap();

    let Err(error) = connect(world.url()).await else { panic!("it was opened") };

    assert!(matches!(error, ConnectError::NewerSchema { found: 999, .. }), "{error}");
}

#[tokio::test]
async fn missing_folder_is_named_and_not_made() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("nowhere");

    let Err(error) = connect(&format!("sqlite://{}/s.db", missing.display())).await else {
        panic!("it was opened")
    };

    assert!(error.to_string().contains("check that its folder exists"), "{error}");
    assert!(!missing.exists());
}

#[tokio::test]
async fn file_that_is_no_database_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notes.txt");
    fs::write(&path, "these are notes and no database at all, however long they get").unwrap();

    let answer = connect(&format!("sqlite://{}", path.display())).await;

    assert!(matches!(answer.err(), Some(ConnectError::Unreachable { .. })));
    assert!(fs::read_to_string(&path).unwrap().starts_with("these are notes"));
}

#[tokio::test]
async fn bad_addresses_say_what_a_good_one_looks_like() {
    let bad = [
        "",
        "memory",
        "memory:x",
        "mysql://h/d",
        "sqlite://",
        "sqlite://:memory:",
        "sqlite://a?b=c",
    ];
    for url in bad {
        let Err(error) = connect(url).await else { panic!("{url} was opened") };

        assert!(matches!(error, ConnectError::BadUrl(_)), "{url}: {error}");
        assert!(error.to_string().contains("sqlite://PATH"), "{error}");
    }
}

fn file(world: &World) -> Connection {
    Connection::open(world.url().strip_prefix("sqlite://").unwrap()).unwrap()
}
