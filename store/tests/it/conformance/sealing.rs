//! Sealed parts are found, and replaced only while they are what the caller saw.

use std::sync::Arc;

use bytes::Bytes;
use fleetward_store::{
    CellAppend, CellId, Event, Position, Projection, ReadLimit, Record, Resealed, ResealedRow,
    SealedRow, genesis, verify,
};

use super::on_every_backend;
use crate::world::{CELL, World, event, row};

on_every_backend! {
    sealed_parts_of_events_are_found_page_by_page,
    part_of_an_event_is_replaced_while_it_is_what_was_seen,
    replacing_parts_leaves_the_chain_and_everything_else,
    sealed_rows_are_found_in_the_order_of_kind_and_id,
    part_of_a_row_is_replaced_while_it_is_what_was_seen,
    replaced_parts_meet_appends_and_projections,
}

/// Every second event has a sealed part that is its position.
const EVENTS: u64 = 500;

async fn sealed_parts_of_events_are_found_page_by_page(world: World) {
    written(&world).await;

    let parts = all_parts(&world).await;

    let expected: Vec<_> =
        (1..=EVENTS).filter(|seq| seq.is_multiple_of(2)).map(|seq| (seq, of(seq))).collect();
    assert_eq!(parts, expected);
    assert_eq!(world.store.sealed_parts(CellId(9), 0).await.unwrap().up_to, None);
}

async fn part_of_an_event_is_replaced_while_it_is_what_was_seen(world: World) {
    written(&world).await;
    let change = |seq, old: &str, new: &str| Resealed { seq, old: text(old), new: text(new) };
    let changes = vec![
        change(4, "4", "four, and longer than it was"),
        change(2, "3", "not seen"),
        change(5, "5", "has none"),
        change(9_999, "9999", "is not there"),
        change(400, "400", ""),
    ];

    assert_eq!(world.store.reseal(CELL, changes).await.unwrap(), 2);

    let parts = all_parts(&world).await;
    let at = |seq| parts.iter().find(|(found, _)| *found == seq).map(|(_, part)| part.clone());
    assert_eq!(at(4), Some(text("four, and longer than it was")));
    assert_eq!((at(2), at(5), at(400), at(6)), (Some(of(2)), None, Some(text("")), Some(of(6))));
    let again = vec![change(4, "4", "late")];
    assert_eq!(world.store.reseal(CELL, again).await.unwrap(), 0);
    assert_eq!(world.store.reseal(CELL, Vec::new()).await.unwrap(), 0);
}

async fn replacing_parts_leaves_the_chain_and_everything_else(world: World) {
    written(&world).await;
    let everything = ReadLimit { events: usize::MAX, bytes: usize::MAX };
    let before = world.store.read(CELL, 0, everything).await.unwrap();
    let changes = (1..=EVENTS).map(|seq| Resealed { seq, old: of(seq), new: text("new") });

    assert_eq!(world.store.reseal(CELL, changes.collect()).await.unwrap(), EVENTS / 2);

    let after = world.again().await.read(CELL, 0, everything).await.unwrap();
    verify(CELL, 0, genesis(CELL), &after).unwrap();
    for (old, new) in before.into_iter().zip(after) {
        let sealed = old.event.sealed.as_ref().map(|_| text("new"));
        assert_eq!(new.event, Event { sealed, ..old.event });
    }
}

async fn sealed_rows_are_found_in_the_order_of_kind_and_id(world: World) {
    projected(&world).await;

    let first = world.store.sealed_rows(CELL, ("", ""), 2).await.unwrap();
    let second = world.store.sealed_rows(CELL, ("task", "b"), 9).await.unwrap();

    let names = |rows: &[SealedRow]| -> Vec<String> {
        rows.iter().map(|row| format!("{}/{}", row.kind, row.id)).collect()
    };
    assert_eq!(names(&first), ["key/a", "task/b"]);
    assert_eq!(names(&second), ["task/c", "task/d"]);
    assert_eq!(second[1].sealed, text("d"));
    assert!(world.store.sealed_rows(CellId(9), ("", ""), 9).await.unwrap().is_empty());
}

async fn part_of_a_row_is_replaced_while_it_is_what_was_seen(world: World) {
    projected(&world).await;
    let before = rows(&world).await;
    let change = |id: &str, old: &str| {
        let row = SealedRow { kind: "task".into(), id: id.into(), sealed: text(old) };
        ResealedRow { row, new: text("new") }
    };

    let changes =
        vec![change("b", "b"), change("c", "not seen"), change("z", "z"), change("e", "")];
    assert_eq!(world.store.reseal_rows(CELL, changes).await.unwrap(), 1);

    let mut expected = before;
    expected.iter_mut().filter(|row| row.id == "b").for_each(|row| row.sealed = Some(text("new")));
    assert_eq!(rows(&world).await, expected);
    assert_eq!(world.store.reseal_rows(CELL, Vec::new()).await.unwrap(), 0);
}

/// Whatever order they come in, every event and row is there, with its old part or its new one.
async fn replaced_parts_meet_appends_and_projections(world: World) {
    written(&world).await;
    projected(&world).await;
    let changes = (1..=EVENTS).map(|seq| Resealed { seq, old: of(seq), new: text("new") });
    let row = SealedRow { kind: "task".into(), id: "b".into(), sealed: text("b") };
    let cells = world.store.cells().await.unwrap();
    let more: Arc<[Event]> = (EVENTS + 1..=EVENTS + 50).map(sealed_event).collect();
    let step = Projection {
        cell: CELL,
        from: 9,
        to: 10,
        upserts: vec![Record { updated: 10, sealed: Some(text("later")), ..row_of("task", "b") }],
        removals: Vec::new(),
    };

    let (appended, resealed, projected, _) = tokio::join!(
        world.store.append(vec![CellAppend { head: cells[0], events: more }]),
        world.store.reseal(CELL, changes.collect()),
        world.store.project(vec![step]),
        world.store.reseal_rows(CELL, vec![ResealedRow { row, new: text("new") }]),
    );

    assert!(appended[0].is_ok() && projected[0].is_ok());
    assert_eq!(resealed.unwrap(), EVENTS / 2);
    let parts = all_parts(&world).await;
    let expected = |seq| if seq <= EVENTS { text("new") } else { of(seq) };
    assert!(parts.iter().all(|(seq, part)| *part == expected(*seq)));
    assert_eq!(parts.len() as u64, (EVENTS + 50) / 2);
    let kept = rows(&world).await.into_iter().find(|row| row.id == "b").unwrap();
    assert_eq!(
        (kept.updated, kept.sealed),
        (10, Some(text("later"))),
        "the projection is not lost"
    );
}

async fn written(world: &World) {
    let head = world.store.open(CELL).await.unwrap();
    let events: Arc<[Event]> = (1..=EVENTS).map(sealed_event).collect();
    world.store.append(vec![CellAppend { head, events }]).await.remove(0).unwrap();
}

fn sealed_event(seq: Position) -> Event {
    Event { sealed: seq.is_multiple_of(2).then(|| of(seq)), ..event(&"b".repeat(100)) }
}

async fn all_parts(world: &World) -> Vec<(Position, Bytes)> {
    let (mut after, mut parts) = (0, Vec::new());
    while let page = world.store.sealed_parts(CELL, after).await.unwrap()
        && let Some(up_to) = page.up_to
    {
        assert!(
            up_to > after && page.parts.iter().all(|(seq, _)| (after + 1..=up_to).contains(seq))
        );
        parts.extend(page.parts);
        after = up_to;
    }
    parts
}

async fn projected(world: &World) {
    let sealed =
        |kind: &'static str, id: &str| Record { sealed: Some(text(id)), ..row_of(kind, id) };
    let upserts = vec![
        sealed("task", "d"),
        sealed("task", "b"),
        row_of("task", "e"),
        sealed("key", "a"),
        sealed("task", "c"),
    ];
    world
        .store
        .project(vec![Projection { cell: CELL, from: 0, to: 9, upserts, removals: Vec::new() }])
        .await
        .remove(0)
        .unwrap();
}

fn row_of(kind: &'static str, id: &str) -> Record {
    let created = u64::from(id.as_bytes()[0]) - 96;
    Record { kind: kind.into(), sealed: None, ..row(id, created, "queued") }
}

async fn rows(world: &World) -> Vec<Record> {
    let ids = ["b", "c", "d", "e"].map(String::from);
    world.store.get(CELL, "task", &ids).await.unwrap()
}

fn of(seq: Position) -> Bytes {
    seq.to_string().into()
}

fn text(text: &str) -> Bytes {
    text.to_owned().into()
}
