//! What reads bring, and how much of it.

use std::sync::Arc;

use fleetward_store::{
    CellAppend, CellId, Event, Position, ReadLimit, StoredEvent, genesis, verify,
};

use super::on_every_backend;
use crate::world::{CELL, World, all, append_one, cell_with, event, shown};

on_every_backend! {
    read_goes_on_after_a_position,
    read_stops_at_its_number_of_events,
    read_stops_at_its_number_of_bytes_and_brings_at_least_one,
    read_back_brings_the_newest_first,
    read_at_brings_what_is_there_in_order,
    stream_holds_its_own_events_only,
    any_page_of_a_long_cell_is_what_was_asked,
    rare_stream_is_found_in_a_long_cell,
    unknown_cell_is_empty,
    reads_and_pings_are_counted_as_statements,
}

const PAGE: ReadLimit = ReadLimit { events: 100, bytes: 1_000_000 };

async fn read_goes_on_after_a_position(world: World) {
    cell_with(&world.store, &["a", "b", "c"]).await;

    assert_eq!(shown(&world.store.read(CELL, 1, PAGE).await.unwrap()), "2:b 3:c");
    assert_eq!(shown(&world.store.read(CELL, 3, PAGE).await.unwrap()), "");
    assert_eq!(shown(&world.store.read(CELL, Position::MAX, PAGE).await.unwrap()), "");
}

async fn read_stops_at_its_number_of_events(world: World) {
    cell_with(&world.store, &["a", "b", "c"]).await;
    let limit = |events| ReadLimit { events, ..PAGE };

    assert_eq!(shown(&world.store.read(CELL, 0, limit(2)).await.unwrap()), "1:a 2:b");
    assert_eq!(shown(&world.store.read(CELL, 0, limit(0)).await.unwrap()), "");
    assert_eq!(world.store.read(CELL, 0, ReadLimit::default()).await.unwrap().len(), 3);
}

async fn read_stops_at_its_number_of_bytes_and_brings_at_least_one(world: World) {
    let head = world.store.open(CELL).await.unwrap();
    let sealed = Event { sealed: Some("12345".into()), ..event("67890") };
    let events = [event("0123456789"), sealed, event("0123456789"), event("1")];
    append_one(&world.store, CellAppend { head, events: events.into() }).await.unwrap();

    let mut counts = Vec::new();
    for bytes in [0, 10, 19, 20, 30, 31] {
        let limit = ReadLimit { bytes, ..PAGE };
        let forth = world.store.read(CELL, 0, limit).await.unwrap().len();
        let back = world.store.read_back(CELL, 4, limit).await.unwrap().len();
        let stream = world.store.read_stream(CELL, "task/1", 0, limit).await.unwrap().len();
        counts.push((forth, back, stream));
    }

    let expected = [(1, 1, 1), (1, 1, 1), (1, 1, 1), (2, 2, 2), (3, 3, 3), (4, 3, 4)];
    assert_eq!(counts, expected);
}

async fn read_back_brings_the_newest_first(world: World) {
    cell_with(&world.store, &["a", "b", "c", "d"]).await;
    let limit = ReadLimit { events: 2, ..PAGE };

    let newest = world.store.read_back(CELL, Position::MAX, limit).await.unwrap();
    let older = world.store.read_back(CELL, 3, limit).await.unwrap();

    assert_eq!((shown(&newest), shown(&older)), ("4:d 3:c".into(), "2:b 1:a".into()));
    assert!(world.store.read_back(CELL, 1, limit).await.unwrap().is_empty());
    assert!(world.store.read_back(CELL, 0, limit).await.unwrap().is_empty());
}

async fn read_at_brings_what_is_there_in_order(world: World) {
    cell_with(&world.store, &["a", "b", "c"]).await;

    let found = world.store.read_at(CELL, &[3, 0, 1, 9, 3, Position::MAX]).await.unwrap();

    assert_eq!(shown(&found), "1:a 3:c");
    assert!(world.store.read_at(CELL, &[]).await.unwrap().is_empty());
}

async fn stream_holds_its_own_events_only(world: World) {
    let head = world.store.open(CELL).await.unwrap();
    let of = |stream: &str, body: &str| Event { stream: stream.into(), ..event(body) };
    let events: Arc<[Event]> =
        Arc::new([of("t/1", "a"), of("t/10", "b"), of("t/1", "c"), of("T/1", "d")]);
    append_one(&world.store, CellAppend { head, events }).await.unwrap();

    let stream = world.store.read_stream(CELL, "t/1", 0, PAGE).await.unwrap();
    let rest = world.store.read_stream(CELL, "t/1", 1, PAGE).await.unwrap();

    assert_eq!((shown(&stream), shown(&rest)), ("1:a 3:c".into(), "3:c".into()));
    assert!(world.store.read_stream(CellId(2), "t/1", 0, PAGE).await.unwrap().is_empty());
}

async fn any_page_of_a_long_cell_is_what_was_asked(world: World) {
    let whole = long_cell(&world).await;
    let of_stream: Vec<_> =
        whole.iter().filter(|stored| &*stored.event.stream == "t/1").cloned().collect();

    for bound in [0, 1, 2, 5, 6, 99, 100, 255, 256, 399, 400, 401, Position::MAX] {
        for (events, bytes) in [(1, 0), (2, 700), (7, 5_000), (60, 200_000), (500, 9_000_000)] {
            let limit = ReadLimit { events, bytes };
            let forth = world.store.read(CELL, bound, limit).await.unwrap();
            let back = world.store.read_back(CELL, bound, limit).await.unwrap();
            let stream = world.store.read_stream(CELL, "t/1", bound, limit).await.unwrap();

            let after = |stored: &&StoredEvent| stored.seq > bound;
            let before = whole.iter().rev().filter(|stored| stored.seq < bound);
            assert_eq!(forth, taken(whole.iter().filter(after), limit), "{bound} {limit:?}");
            assert_eq!(back, taken(before, limit), "{bound} {limit:?}");
            assert_eq!(stream, taken(of_stream.iter().filter(after), limit), "{bound} {limit:?}");
        }
        let positions = [bound, 300, bound.saturating_add(1), 7, bound.saturating_add(90)];
        let at = world.store.read_at(CELL, &positions).await.unwrap();

        let asked = whole.iter().filter(|stored| positions.contains(&stored.seq));
        assert_eq!(at, asked.cloned().collect::<Vec<_>>(), "{positions:?}");
    }
}

async fn rare_stream_is_found_in_a_long_cell(world: World) {
    let mut head = world.store.open(CELL).await.unwrap();
    let of = |stream: &str, body: &str| Event { stream: stream.into(), ..event(body) };
    for number in 0..150 {
        // The name stands in every segment, and is a stream of two.
        let other = of(&format!("not t/1 but {number}"), "other");
        let rare = (number == 3 || number == 140).then(|| of("t/1", "rare"));
        let events = [other].into_iter().chain(rare).collect();
        head = append_one(&world.store, CellAppend { head, events }).await.unwrap();
    }

    let found = world.store.read_stream(CELL, "t/1", 0, PAGE).await.unwrap();
    let last = world.store.read_stream(CELL, "t/1", 5, ReadLimit { events: 1, ..PAGE }).await;

    assert_eq!(
        (shown(&found), shown(&last.unwrap())),
        ("5:rare 143:rare".into(), "143:rare".into())
    );
}

async fn unknown_cell_is_empty(world: World) {
    assert!(world.store.read(CellId(404), 0, PAGE).await.unwrap().is_empty());
    assert_eq!(world.store.position(CellId(404)).await.unwrap(), 0);
}

async fn reads_and_pings_are_counted_as_statements(world: World) {
    let before = world.store.statements();

    world.store.ping().await.unwrap();
    world.store.read(CELL, 0, PAGE).await.unwrap();

    assert_eq!(world.store.statements() - before, 2);
}

/// Four hundred events of all sizes, appended a few and many at a time.
async fn long_cell(world: &World) -> Vec<StoredEvent> {
    let mut head = world.store.open(CELL).await.unwrap();
    let mut written = 0;
    for count in [1, 1, 3, 95, 155, 144, 1] {
        let events = (written..written + count).map(|number: usize| Event {
            stream: format!("t/{}", number % 13).into(),
            kind: ["even", "odd"][number % 2].into(),
            by: format!("worker/{}", number % 5).into(),
            at: 1_700_000_000_000_000 + number as i64,
            body: vec![b'b'; if number == 120 { 100_000 } else { number % 7 * 90 }].into(),
            sealed: number.is_multiple_of(3).then(|| vec![b's'; number % 11 * 40].into()),
            ..event("")
        });
        let append = CellAppend { head, events: events.collect() };
        head = append_one(&world.store, append).await.unwrap();
        written += count;
    }
    let whole = all(&world.store, CELL).await;
    assert_eq!(verify(CELL, 0, genesis(CELL), &whole), Ok(head.hash));
    assert_eq!(whole.len(), 400);
    whole
}

/// As many as the limit allows, and always the first.
fn taken<'a>(events: impl Iterator<Item = &'a StoredEvent>, limit: ReadLimit) -> Vec<StoredEvent> {
    let mut bytes = 0;
    let within = events.take(limit.events).enumerate().take_while(|(place, stored)| {
        bytes += stored.event.size();
        *place == 0 || bytes <= limit.bytes
    });
    within.map(|(_, stored)| stored.clone()).collect()
}
