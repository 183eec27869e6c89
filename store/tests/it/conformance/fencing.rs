//! One owner at a time: whoever opened last.

use fleetward_store::{AppendError, CellHead, CellId, genesis};

use super::on_every_backend;
use crate::world::{CELL, World, all, append, append_one, cell_with, shown};

on_every_backend! {
    opening_raises_the_epoch_and_keeps_the_head,
    older_owner_is_fenced,
    older_owner_is_fenced_even_if_it_repeats_what_is_stored,
    owner_with_another_head_is_fenced,
    owner_with_another_history_is_fenced,
    cell_that_nobody_opened_is_fenced,
    fenced_cell_does_not_hurt_the_others,
    owners_in_two_servers_never_both_write,
    cells_stand_where_their_owners_left_them,
}

async fn opening_raises_the_epoch_and_keeps_the_head(world: World) {
    let first = world.store.open(CELL).await.unwrap();
    assert_eq!(first, CellHead { cell: CELL, epoch: 1, head: 0, hash: genesis(CELL) });
    let written = append_one(&world.store, append(first, &["a"])).await.unwrap();

    let second = world.again().await.open(CELL).await.unwrap();

    assert_eq!(second, CellHead { epoch: 2, ..written });
}

async fn older_owner_is_fenced(world: World) {
    let old = cell_with(&world.store, &["a"]).await;
    let new = world.again().await.open(CELL).await.unwrap();

    let answer = append_one(&world.store, append(old, &["b"])).await;

    assert_eq!(fenced(answer), (old.epoch, new.epoch));
    assert_eq!(shown(&all(&world.store, CELL).await), "1:a");
}

async fn older_owner_is_fenced_even_if_it_repeats_what_is_stored(world: World) {
    let old = world.store.open(CELL).await.unwrap();
    append_one(&world.store, append(old, &["a"])).await.unwrap();
    world.store.open(CELL).await.unwrap();

    assert_eq!(fenced(append_one(&world.store, append(old, &["a"])).await), (1, 2));
}

async fn owner_with_another_head_is_fenced(world: World) {
    let head = cell_with(&world.store, &["a", "b"]).await;
    let behind = CellHead { head: 1, ..head };
    let ahead = CellHead { head: 3, ..head };

    for wrong in [behind, ahead] {
        let answer = append_one(&world.store, append(wrong, &["c"])).await;

        assert_eq!(fenced(answer), (1, 1));
    }
    assert_eq!(shown(&all(&world.store, CELL).await), "1:a 2:b");
}

async fn owner_with_another_history_is_fenced(world: World) {
    let head = cell_with(&world.store, &["a"]).await;
    let other = CellHead { hash: genesis(CellId(99)), ..head };

    assert_eq!(fenced(append_one(&world.store, append(other, &["b"])).await), (1, 1));
    // The same position and other bytes: not a repeat.
    let before = CellHead { epoch: 1, ..CellHead::genesis(CELL) };
    assert_eq!(fenced(append_one(&world.store, append(before, &["z"])).await), (1, 1));
}

async fn cell_that_nobody_opened_is_fenced(world: World) {
    let never = CellHead { epoch: 1, ..CellHead::genesis(CELL) };

    assert_eq!(fenced(append_one(&world.store, append(never, &["a"])).await), (1, 0));
    assert!(world.store.cells().await.unwrap().is_empty());
}

async fn fenced_cell_does_not_hurt_the_others(world: World) {
    let mut heads = Vec::new();
    for cell in [3, 1, 2] {
        heads.push(world.store.open(CellId(cell)).await.unwrap());
    }
    world.again().await.open(CellId(1)).await.unwrap();

    let batch = heads.iter().map(|head| append(*head, &["a", "b"])).collect();
    let answers = world.store.append(batch).await;

    let heads: Vec<_> =
        answers.iter().map(|answer| answer.as_ref().ok().map(|h| h.cell.0)).collect();
    assert_eq!(heads, [Some(3), None, Some(2)]);
    assert_eq!(shown(&all(&world.store, CellId(3)).await), "1:a 2:b");
    assert_eq!(shown(&all(&world.store, CellId(1)).await), "");
}

async fn owners_in_two_servers_never_both_write(world: World) {
    let (here, there) = (&world.store, world.again().await);
    let old = here.open(CELL).await.unwrap();

    let (new, answer) = tokio::join!(there.open(CELL), append_one(here, append(old, &["old"])));

    // Either the write came first and the new owner saw it, or the new owner fenced it.
    let new = new.unwrap();
    assert_eq!(new.head, u64::from(answer.is_ok()));
    let written = append_one(&there, append(new, &["new"])).await.unwrap();
    assert_eq!(all(&there, CELL).await.len() as u64, written.head);
}

async fn cells_stand_where_their_owners_left_them(world: World) {
    let mut left = Vec::new();
    for (cell, bodies) in [(7, &["a"][..]), (-2, &["b", "c"]), (5, &[])] {
        let head = world.store.open(CellId(cell)).await.unwrap();
        left.push(append_one(&world.store, append(head, bodies)).await.unwrap());
    }

    let found = world.again().await.cells().await.unwrap();

    left.sort_by_key(|head| head.cell);
    assert_eq!(found, left);
}

#[track_caller]
fn fenced(answer: Result<CellHead, AppendError>) -> (u64, u64) {
    match answer {
        Err(AppendError::Fenced { ours, found }) => (ours, found),
        other => panic!("not fenced: {other:?}"),
    }
}
