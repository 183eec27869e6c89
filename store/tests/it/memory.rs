//! The faults that a test can ask of the memory store.

use std::sync::Arc;

use fleetward_store::{AppendError, CellHead, Store, memory::Memory};

use crate::world::{CELL, all, append, append_one, cell_with, shown};

#[tokio::test]
async fn failed_append_stores_nothing() {
    let (memory, store, head) = opened().await;
    memory.control().fail_next(1);

    let failed = append_one(&store, append(head, &["a"])).await;

    assert!(matches!(failed, Err(AppendError::Unavailable(_))), "{failed:?}");
    assert_eq!(shown(&all(&store, CELL).await), "");
    append_one(&store, append(head, &["a"])).await.unwrap();
}

#[tokio::test]
async fn append_whose_answer_is_lost_is_stored() {
    let (memory, store, head) = opened().await;
    memory.control().lose_answer_next(1);

    let lost = append_one(&store, append(head, &["a"])).await;

    assert!(matches!(lost, Err(AppendError::Unavailable(_))), "{lost:?}");
    assert_eq!(shown(&all(&store, CELL).await), "1:a");
    assert_eq!(append_one(&store, append(head, &["a"])).await.unwrap().head, 1);
}

#[tokio::test]
async fn held_append_is_stored_when_it_is_let_go() {
    let (memory, store, head) = opened().await;
    let held = memory.control().hold();
    let appending = {
        let store = Arc::clone(&store);
        tokio::spawn(async move { append_one(&store, append(head, &["a"])).await })
    };

    held.until_waiting(1).await;
    assert_eq!(shown(&all(&store, CELL).await), "");
    drop(held);

    assert_eq!(appending.await.unwrap().unwrap().head, 1);
}

#[tokio::test]
async fn held_append_is_fenced_if_the_cell_was_opened_meanwhile() {
    let (memory, store, head) = opened().await;
    let held = memory.control().hold();
    let appending = {
        let store = Arc::clone(&store);
        tokio::spawn(async move { append_one(&store, append(head, &["a"])).await })
    };
    held.until_waiting(1).await;

    store.open(CELL).await.unwrap();
    drop(held);

    let answer = appending.await.unwrap();
    assert!(matches!(answer, Err(AppendError::Fenced { ours: 1, found: 2 })), "{answer:?}");
}

#[tokio::test]
async fn refused_position_keeps_the_events_before_it() {
    let (memory, store, head) = opened().await;
    memory.control().refuse(CELL, 2);

    let answer = append_one(&store, append(head, &["a", "b", "c"])).await;

    let Err(AppendError::Refused { seq: 2, stored_up_to, .. }) = answer else {
        panic!("not refused: {answer:?}")
    };
    assert_eq!(shown(&all(&store, CELL).await), "1:a");
    assert_eq!(append_one(&store, append(stored_up_to, &["d"])).await.unwrap().head, 2);
}

#[tokio::test]
async fn store_that_is_away_answers_nothing() {
    let memory = Memory::new();
    let store: Arc<dyn Store> = Arc::new(memory.clone());
    let head = cell_with(&store, &["a"]).await;

    memory.control().set_away(true);
    assert!(append_one(&store, append(head, &["b"])).await.is_err());
    assert!(store.open(CELL).await.is_err() && store.ping().await.is_err());
    assert!(store.open_page(CELL, 0, 10).await.is_err());
    memory.control().set_away(false);

    assert_eq!(append_one(&store, append(head, &["b"])).await.unwrap().head, 2);
}

async fn opened() -> (Memory, Arc<dyn Store>, CellHead) {
    let memory = Memory::new();
    let store: Arc<dyn Store> = Arc::new(memory.clone());
    let head = store.open(CELL).await.unwrap();
    (memory, store, head)
}
