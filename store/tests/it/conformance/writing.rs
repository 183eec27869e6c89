//! What an append does, and what it does when it is repeated or cannot be done in full.

use std::sync::Arc;

use bytes::Bytes;
use fleetward_store::{
    AppendError, CellAppend, CellHead, CellId, Codec, EVENT_LIMIT_BYTES, Event, Origin, chain,
    genesis, verify,
};

use super::on_every_backend;
use crate::world::{CELL, World, all, append, append_one, cell_with, event, shown};

on_every_backend! {
    appended_event_comes_back_with_every_field,
    event_with_every_byte_and_no_text_comes_back,
    stored_events_form_the_chain_of_the_head,
    repeat_of_an_append_changes_nothing,
    repeat_completes_an_append_that_stands_in_part,
    append_without_events_answers_the_head,
    cell_that_appears_twice_has_both_parts_written,
    large_batch_over_many_cells_is_written_in_order,
    event_over_the_limit_keeps_those_before_it,
    refused_append_is_refused_again,
    zero_character_and_long_name_are_refused,
    contents_are_never_formatted,
}

async fn appended_event_comes_back_with_every_field(world: World) {
    let head = world.store.open(CELL).await.unwrap();
    let written = Event {
        stream: "run/ü/7".into(),
        kind: "step_completed".into(),
        version: u16::MAX,
        codec: Codec::Bincode,
        at: -1,
        by: "worker w\"1'".into(),
        origin: Some(Arc::new(Origin {
            request: "req/ü 1".into(),
            source: Some(std::net::Ipv6Addr::LOCALHOST.into()),
        })),
        body: Bytes::from_static(b"{\"a\":1}"),
        sealed: Some(Bytes::from_static(b"\x00secret")),
    };

    let new = CellAppend { head, events: Arc::new([written.clone()]) };
    let head = append_one(&world.store, new).await.unwrap();

    let stored = all(&world.store, CELL).await.remove(0);
    assert_eq!(stored.event, written);
    assert_eq!((stored.cell, stored.seq, stored.hash), (CELL, 1, head.hash));
}

async fn event_with_every_byte_and_no_text_comes_back(world: World) {
    let head = world.store.open(CellId(i64::MIN)).await.unwrap();
    let bytes: Bytes = (0..=u8::MAX).collect::<Vec<_>>().into();
    let written = Event {
        stream: "".into(),
        by: "".into(),
        body: bytes.clone(),
        sealed: Some(Bytes::new()),
        at: i64::MAX,
        ..event("")
    };

    append_one(&world.store, CellAppend { head, events: Arc::new([written.clone()]) })
        .await
        .unwrap();

    assert_eq!(all(&world.store, head.cell).await[0].event, written);
}

async fn stored_events_form_the_chain_of_the_head(world: World) {
    let first = cell_with(&world.store, &["a", "b"]).await;

    let head = append_one(&world.store, append(first, &["c"])).await.unwrap();

    let run = all(&world.store, CELL).await;
    assert_eq!(shown(&run), "1:a 2:b 3:c");
    assert_eq!(verify(CELL, 0, genesis(CELL), &run), Ok(head.hash));
}

async fn repeat_of_an_append_changes_nothing(world: World) {
    let head = world.store.open(CELL).await.unwrap();
    let first = append_one(&world.store, append(head, &["a", "b"])).await.unwrap();

    let again = append_one(&world.store, append(head, &["a", "b"])).await.unwrap();

    assert_eq!(again, first);
    assert_eq!(shown(&all(&world.store, CELL).await), "1:a 2:b");
}

async fn repeat_completes_an_append_that_stands_in_part(world: World) {
    let head = world.store.open(CELL).await.unwrap();
    append_one(&world.store, append(head, &["a", "b"])).await.unwrap();

    let head = append_one(&world.store, append(head, &["a", "b", "c"])).await.unwrap();

    assert_eq!(head.head, 3);
    assert_eq!(shown(&all(&world.store, CELL).await), "1:a 2:b 3:c");
}

async fn append_without_events_answers_the_head(world: World) {
    let head = cell_with(&world.store, &["a"]).await;

    assert_eq!(append_one(&world.store, append(head, &[])).await.unwrap(), head);
    assert!(world.store.append(Vec::new()).await.is_empty());
}

async fn cell_that_appears_twice_has_both_parts_written(world: World) {
    let head = world.store.open(CELL).await.unwrap();
    let hash = chain(&head.hash, CELL, 1, &event("a"));
    let next = CellHead { head: 1, hash, ..head };

    let answers = world.store.append(vec![append(head, &["a"]), append(next, &["b"])]).await;

    assert_eq!(answers.iter().flatten().count(), 2);
    assert_eq!(shown(&all(&world.store, CELL).await), "1:a 2:b");
}

async fn large_batch_over_many_cells_is_written_in_order(world: World) {
    let bodies: Vec<String> = (0..40).map(|n| n.to_string()).collect();
    let bodies: Vec<&str> = bodies.iter().map(String::as_str).collect();
    let mut batch = Vec::new();
    for cell in 1..=50 {
        batch.push(append(world.store.open(CellId(cell)).await.unwrap(), &bodies));
    }

    let answers = world.store.append(batch).await;

    for head in answers.into_iter().map(Result::unwrap) {
        let run = all(&world.store, head.cell).await;
        let read: Vec<_> = run.iter().map(|stored| stored.event.body.clone()).collect();
        assert_eq!(read, bodies, "cell {}", head.cell);
        assert_eq!(verify(head.cell, 0, genesis(head.cell), &run), Ok(head.hash));
    }
}

async fn event_over_the_limit_keeps_those_before_it(world: World) {
    let head = world.store.open(CELL).await.unwrap();
    let other = world.store.open(CellId(2)).await.unwrap();
    let big = "x".repeat(EVENT_LIMIT_BYTES + 1);

    let batch = vec![append(head, &["a", &big, "c"]), append(other, &["d"])];
    let answers = world.store.append(batch).await;

    let (seq, stands) = refused(&answers[0]);
    assert_eq!((seq, stands.head), (2, 1));
    assert_eq!(answers[1].as_ref().unwrap().head, 1);
    assert_eq!(shown(&all(&world.store, CELL).await), "1:a");
    let next = append_one(&world.store, append(stands, &["b"])).await.unwrap();
    assert_eq!(next.head, 2);
}

async fn refused_append_is_refused_again(world: World) {
    let head = world.store.open(CELL).await.unwrap();
    let big = "x".repeat(EVENT_LIMIT_BYTES + 1);
    let first = append_one(&world.store, append(head, &["a", &big])).await;

    let again = append_one(&world.store, append(head, &["a", &big])).await;

    assert_eq!(refused(&again), refused(&first));
    assert_eq!(shown(&all(&world.store, CELL).await), "1:a");
}

async fn zero_character_and_long_name_are_refused(world: World) {
    let head = world.store.open(CELL).await.unwrap();
    let zero = Event { stream: "a\0b".into(), ..event("{}") };
    let long = Event { kind: "k".repeat(1025).into(), ..event("{}") };

    for bad in [zero, long] {
        let answer = append_one(&world.store, CellAppend { head, events: Arc::new([bad]) }).await;

        assert_eq!(refused(&answer), (1, head));
    }
}

async fn contents_are_never_formatted(world: World) {
    let head = world.store.open(CELL).await.unwrap();
    let sealed = Some(Bytes::from_static(b"hunter2"));
    let secret = Event { sealed, ..event("hunter2") };
    append_one(&world.store, CellAppend { head, events: Arc::new([secret]) }).await.unwrap();

    let printed = format!("{:?}", all(&world.store, CELL).await);

    assert!(printed.contains("7 bytes"), "{printed}");
    assert!(!printed.contains("hunter2") && !printed.contains("104, 117"), "{printed}");
}

#[track_caller]
fn refused(answer: &Result<CellHead, AppendError>) -> (u64, CellHead) {
    match answer {
        Err(AppendError::Refused { seq, stored_up_to, .. }) => (*seq, *stored_up_to),
        other => panic!("not refused: {other:?}"),
    }
}
