//! Rows for listing, committed with the position they are folded to.

use fleetward_store::{
    CellId, Due, DueQuery, Position, ProjectError, Projection, Query, Record, Store, Walk,
};

use super::on_every_backend;
use crate::world::{CELL, World, ids, row};

on_every_backend! {
    projected_row_comes_back_with_every_field,
    projection_moves_the_position_with_its_rows,
    projection_from_another_position_changes_nothing,
    cells_of_one_batch_answer_for_themselves,
    cell_that_appears_twice_is_projected_twice,
    later_row_replaces_the_earlier_one,
    row_that_cannot_be_stored_takes_its_projection_with_it,
    list_goes_from_the_newest_to_the_oldest_in_pages,
    list_filters_by_status,
    removed_row_is_gone_and_its_id_may_come_again,
    rows_of_a_status_are_walked_from_the_oldest_in_pages,
    open_rows_load_in_the_order_they_were_created,
    rows_that_are_due_come_by_their_time_in_pages,
    ids_of_a_kind_come_in_their_order_in_pages,
    rows_are_found_by_id,
    rows_are_counted,
    rows_are_never_formatted,
}

async fn projected_row_comes_back_with_every_field(world: World) {
    let written = Record {
        cell: CELL,
        kind: "run".into(),
        id: "r/1 ü".into(),
        created: 3,
        updated: 9,
        open: false,
        status: "completed".into(),
        body: b"\x00\xff{}".to_vec().into(),
        sealed: Some(b"\x00secret".to_vec().into()),
        due: Some(-7),
    };

    project(&world, 0, 9, vec![written.clone()]).await.unwrap();

    let found = world.store.get(CELL, "run", &["r/1 ü".into()]).await.unwrap();
    assert_eq!(found, [written]);
}

async fn projection_moves_the_position_with_its_rows(world: World) {
    assert_eq!(world.store.position(CELL).await.unwrap(), 0);

    project(&world, 0, 4, vec![row("a", 1, "queued")]).await.unwrap();
    project(&world, 4, 5, Vec::new()).await.unwrap();

    assert_eq!(world.again().await.position(CELL).await.unwrap(), 5);
}

async fn projection_from_another_position_changes_nothing(world: World) {
    project(&world, 0, 4, vec![row("a", 1, "queued")]).await.unwrap();

    for from in [0, 3, 5] {
        let moved = project(&world, from, 9, vec![row("a", 1, "done")]).await;

        assert!(matches!(moved, Err(ProjectError::Moved { found: 4 })), "{moved:?}");
    }
    let (position, rows) = snapshot(&world, "a").await;
    assert_eq!((position, rows[0].status.as_str()), (4, "queued"));
}

async fn cells_of_one_batch_answer_for_themselves(world: World) {
    project(&world, 0, 4, Vec::new()).await.unwrap();
    let of = |cell, from| Projection {
        cell: CellId(cell),
        from,
        to: 9,
        upserts: vec![Record { cell: CellId(cell), ..row("a", 1, "queued") }],
        removals: Vec::new(),
    };

    let answers = world.store.project(vec![of(2, 0), of(1, 0), of(3, 0)]).await;

    assert!(answers[0].is_ok() && answers[2].is_ok());
    assert!(matches!(answers[1], Err(ProjectError::Moved { found: 4 })));
    assert_eq!(world.store.position(CellId(3)).await.unwrap(), 9);
    assert!(world.store.list(tasks()).await.unwrap().is_empty());
    assert!(world.store.project(Vec::new()).await.is_empty());
}

async fn cell_that_appears_twice_is_projected_twice(world: World) {
    let step = |from, to, status| Projection {
        cell: CELL,
        from,
        to,
        upserts: vec![row("a", 1, status)],
        removals: Vec::new(),
    };

    let answers = world.store.project(vec![step(0, 2, "queued"), step(2, 3, "done")]).await;

    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    let (position, rows) = snapshot(&world, "a").await;
    assert_eq!((position, rows[0].status.as_str()), (3, "done"));
}

async fn later_row_replaces_the_earlier_one(world: World) {
    let rows = vec![row("a", 1, "queued"), row("b", 2, "queued"), row("a", 1, "leased")];
    project(&world, 0, 3, rows).await.unwrap();
    assert_eq!(snapshot(&world, "a").await.1[0].status, "leased");

    let done = Record { updated: 4, ..row("a", 1, "done") };
    project(&world, 3, 4, vec![done.clone()]).await.unwrap();

    assert_eq!(snapshot(&world, "a").await, (4, vec![done]));
    assert_eq!(world.store.count(CELL, "task", None).await.unwrap(), 2);
}

async fn row_that_cannot_be_stored_takes_its_projection_with_it(world: World) {
    let zero = row("z\0", 2, "queued");
    let foreign = Record { cell: CellId(2), ..row("f", 2, "queued") };

    for bad in [zero, foreign] {
        let answer = project(&world, 0, 2, vec![row("a", 1, "queued"), bad]).await;

        assert!(matches!(answer, Err(ProjectError::Refused { .. })), "{answer:?}");
    }
    assert_eq!(snapshot(&world, "a").await, (0, Vec::new()));
}

async fn list_goes_from_the_newest_to_the_oldest_in_pages(world: World) {
    let mut rows: Vec<Record> = (1..=5).map(|n| row(&format!("t{n}"), n * 10, "queued")).collect();
    rows.push(Record { kind: "worker".into(), ..row("w1", 60, "queued") });
    project(&world, 0, 60, rows).await.unwrap();

    let first = world.store.list(Query { limit: 2, ..tasks() }).await.unwrap();
    let before = first.last().map(|row| row.created);
    let second = world.store.list(Query { limit: 9, before, ..tasks() }).await.unwrap();

    assert_eq!(ids(&first), ["t5", "t4"]);
    assert_eq!(ids(&second), ["t3", "t2", "t1"]);
}

async fn list_filters_by_status(world: World) {
    let rows = vec![
        row("a", 1, "queued"),
        row("b", 2, "done"),
        row("c", 3, "queued"),
        row("d", 4, "done"),
    ];
    project(&world, 0, 4, rows).await.unwrap();
    let done = Query { status: Some("done".into()), ..tasks() };

    let all = world.store.list(done.clone()).await.unwrap();
    let page = world.store.list(Query { before: Some(4), ..done }).await.unwrap();

    assert_eq!((ids(&all), ids(&page)), (vec!["d", "b"], vec!["b"]));
}

async fn removed_row_is_gone_and_its_id_may_come_again(world: World) {
    let gone = |id: &str| ("task".into(), id.to_owned());
    let step = async |from, to, upserts, removals| {
        let projection = Projection { cell: CELL, from, to, upserts, removals };
        world.store.project(vec![projection]).await.remove(0)
    };
    let timed = Record { due: Some(5), ..row("a", 1, "done") };
    step(0, 3, vec![timed, row("b", 2, "done"), row("c", 3, "done")], Vec::new()).await.unwrap();

    step(3, 5, Vec::new(), vec![gone("a"), gone("nobody"), gone("a")]).await.unwrap();
    assert_eq!(snapshot(&world, "a").await, (5, Vec::new()));
    assert_eq!(world.store.count(CELL, "task", None).await.unwrap(), 2);
    let due = DueQuery { cell: CELL, kind: "task".into(), until: 9, after: None, limit: 9 };
    assert_eq!(world.store.due_page(due).await.unwrap(), []);

    // One is gone and comes again, in two steps and in one.
    step(5, 6, vec![row("a", 6, "queued")], Vec::new()).await.unwrap();
    step(6, 8, vec![row("b", 8, "queued")], vec![gone("b"), gone("c")]).await.unwrap();
    let left = world.store.list(tasks()).await.unwrap();
    assert_eq!(ids(&left), ["b", "a"]);
    assert!(left.iter().all(|row| row.status == "queued"), "{left:?}");

    // A step that is not the next one takes nothing away.
    let moved = step(3, 9, Vec::new(), vec![gone("a")]).await;
    assert!(matches!(moved, Err(ProjectError::Moved { found: 8 })), "{moved:?}");
    assert_eq!(world.store.count(CELL, "task", None).await.unwrap(), 2);
}

async fn rows_of_a_status_are_walked_from_the_oldest_in_pages(world: World) {
    let mut rows: Vec<Record> = (1..=5).map(|n| row(&format!("t{n}"), n * 10, "done")).collect();
    rows.push(row("open", 25, "queued"));
    rows.push(Record { kind: "run".into(), ..row("r", 5, "done") });
    project(&world, 0, 60, rows).await.unwrap();
    let page = async |after, limit| {
        let (kind, status) = ("task".into(), "done".into());
        world.store.walk(Walk { cell: CELL, kind, status, after, limit }).await.unwrap()
    };

    assert_eq!(ids(&page(0, 3).await), ["t1", "t2", "t3"]);
    assert_eq!(ids(&page(30, 3).await), ["t4", "t5"]);
    assert_eq!(page(50, 3).await, []);
}

async fn open_rows_load_in_the_order_they_were_created(world: World) {
    let page = async |after, limit| world.store.open_page(CELL, after, limit).await.unwrap();
    assert_eq!(page(0, 10).await, Vec::new());
    let worker = Record { kind: "worker".into(), ..row("w", 2, "approved") };
    let rows = vec![row("c", 5, "queued"), row("b", 3, "done"), worker, row("a", 1, "queued")];
    project(&world, 0, 7, rows).await.unwrap();

    assert_eq!(ids(&page(0, 10).await), ["a", "w", "c"]);
    assert_eq!((ids(&page(0, 2).await), ids(&page(2, 2).await)), (vec!["a", "w"], vec!["c"]));
    project(&world, 7, 8, vec![row("a", 1, "done"), row("c", 5, "done")]).await.unwrap();
    assert_eq!(ids(&page(0, 10).await), ["w"]);
}

async fn rows_that_are_due_come_by_their_time_in_pages(world: World) {
    let page = async |until, after: Option<&Due>, limit| {
        let after = after.cloned();
        let query = DueQuery { cell: CELL, kind: "task".into(), until, after, limit };
        world.store.due_page(query).await.unwrap()
    };
    let due = |id: &str, created, at| Record { due: Some(at), ..row(id, created, "waiting") };
    assert_eq!(page(i64::MAX, None, 10).await, []);
    let worker = Record { kind: "worker".into(), ..due("w", 7, 1) };
    let closed = Record { open: false, ..due("b", 2, 20) };
    let rows = vec![due("c", 1, 20), closed, due("a", 3, 30), row("never", 4, "waiting"), worker];
    project(&world, 0, 9, rows).await.unwrap();

    let first = page(30, None, 2).await;
    assert_eq!(first, [("b", 20), ("c", 20)].map(|(id, at)| Due { at, id: id.into() }));
    let second = page(30, first.last(), 2).await;
    assert_eq!(second, [Due { at: 30, id: "a".into() }]);
    assert_eq!(page(29, first.last(), 2).await, []);
    assert_eq!(page(30, second.last(), 2).await, []);
    project(&world, 9, 11, vec![row("b", 2, "done"), due("c", 1, -5)]).await.unwrap();
    assert_eq!(page(20, None, 9).await, [Due { at: -5, id: "c".into() }]);
}

async fn ids_of_a_kind_come_in_their_order_in_pages(world: World) {
    let page =
        async |after: &str, limit| world.store.ids_page(CELL, "task", after, limit).await.unwrap();
    assert!(page("", 10).await.is_empty());
    let worker = Record { kind: "worker".into(), ..row("aa", 7, "approved") };
    let rows = ["é", "b", "Z", "a-1", "a"].iter().zip(1..).map(|(id, at)| row(id, at, "done"));
    project(&world, 0, 9, rows.chain([worker]).collect()).await.unwrap();

    assert_eq!(page("", 3).await, ["Z", "a", "a-1"]);
    assert_eq!(page("a-1", 3).await, ["b", "é"]);
    assert_eq!(page("a-0", 1).await, ["a-1"]);
    assert!(page("é", 3).await.is_empty());
    assert!(world.store.ids_page(CellId(2), "task", "", 3).await.unwrap().is_empty());
}

async fn rows_are_found_by_id(world: World) {
    let worker = Record { kind: "worker".into(), ..row("a", 9, "approved") };
    let rows = vec![row("a", 2, "queued"), row("b", 1, "queued"), worker];
    project(&world, 0, 9, rows).await.unwrap();

    let asked = ["a", "nobody", "b", "a"].map(String::from);
    let (position, found) = world.store.get_with_position(CELL, "task", &asked).await.unwrap();

    assert_eq!((position, ids(&found)), (9, vec!["b", "a"]));
    assert!(world.store.get(CellId(2), "task", &asked).await.unwrap().is_empty());
    let none = world.store.get_with_position(CELL, "task", &[]).await.unwrap();
    assert_eq!(none, (9, Vec::new()));
}

async fn rows_are_counted(world: World) {
    let rows = vec![row("a", 1, "queued"), row("b", 2, "done"), row("c", 3, "queued")];
    project(&world, 0, 3, rows).await.unwrap();

    let count = async |status| world.store.count(CELL, "task", status).await.unwrap();

    assert_eq!((count(None).await, count(Some("queued")).await, count(Some("x")).await), (3, 2, 0));
}

async fn rows_are_never_formatted(world: World) {
    let secret = Record { body: "hunter2".into(), ..row("a", 1, "queued") };
    project(&world, 0, 1, vec![secret]).await.unwrap();

    let printed = format!("{:?}", snapshot(&world, "a").await);

    assert!(printed.contains("7 bytes") && !printed.contains("hunter2"), "{printed}");
}

async fn project(
    world: &World,
    from: Position,
    to: Position,
    upserts: Vec<Record>,
) -> Result<(), ProjectError> {
    let store: &dyn Store = &*world.store;
    store
        .project(vec![Projection { cell: CELL, from, to, upserts, removals: Vec::new() }])
        .await
        .remove(0)
}

async fn snapshot(world: &World, id: &str) -> (Position, Vec<Record>) {
    world.store.get_with_position(CELL, "task", &[id.to_owned()]).await.unwrap()
}

fn tasks() -> Query {
    Query { cell: CELL, kind: "task".into(), status: None, before: None, limit: 100 }
}
