//! Questions for rows by their ids that come while another one is being answered share the next statement.
//!
//! A statement costs the same for one id as for twenty. Whoever asks joins the batch that has not been sent yet; the
//! first of its members to get their turn sends it, and the others find the answer there. When the sender goes away
//! half-way, the next member sends it again.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use crate::{
    error::Unavailable,
    event::{CellId, Position},
    records::Record,
};

/// Questions of different lanes go side by side.
const LANES: usize = 4;
/// Ids of one statement; a question that has more is not put together with others.
const BATCH_IDS: usize = 256;

type Snapshot = (Position, Vec<Record>);
type Kind = (CellId, Box<str>);

/// Puts questions together that come at the same time.
#[derive(Default)]
pub(super) struct Gather {
    lanes: [Lane; LANES],
    hasher: RandomState,
}

#[derive(Default)]
struct Lane {
    /// Held by whoever sends a statement.
    turn: tokio::sync::Mutex<()>,
    /// Batches that have not been sent.
    open: Mutex<HashMap<Kind, Arc<Batch>>>,
}

#[derive(Default)]
struct Batch {
    ids: Mutex<Vec<String>>,
    answer: OnceLock<Result<Snapshot, Unavailable>>,
}

impl Gather {
    /// What `ask` says of these ids, of a moment after this was called.
    pub(super) async fn get(
        &self,
        cell: CellId,
        kind: &str,
        ids: &[String],
        ask: impl AsyncFnOnce(&[String]) -> Result<Snapshot, Unavailable>,
    ) -> Result<Snapshot, Unavailable> {
        if ids.len() > BATCH_IDS {
            return ask(ids).await;
        }
        let of = (cell, Box::from(kind));
        let lane = &self.lanes[self.hasher.hash_one(&of) as usize % LANES];
        let batch = lane.join(&of, ids);
        let turn = lane.turn.lock().await;
        if batch.answer.get().is_none() {
            let all = lane.close(&of, &batch);
            let answer = ask(&all).await;
            // Only who has the turn gets here.
            let _ = batch.answer.set(answer);
        }
        drop(turn);
        match batch.answer.get() {
            Some(Ok((position, found))) => {
                let wanted = found.iter().filter(|record| ids.contains(&record.id));
                Ok((*position, wanted.cloned().collect()))
            }
            Some(Err(error)) => Err(error.clone()),
            None => Err(Unavailable::new("nobody asked")),
        }
    }
}

impl Lane {
    fn join(&self, of: &Kind, ids: &[String]) -> Arc<Batch> {
        let mut open = locked(&self.open);
        if let Some(batch) = open.get(of) {
            let mut gathered = locked(&batch.ids);
            if gathered.len() + ids.len() <= BATCH_IDS {
                gathered.extend_from_slice(ids);
                return Arc::clone(batch);
            }
        }
        let batch = Arc::new(Batch { ids: Mutex::new(ids.to_vec()), answer: OnceLock::new() });
        open.insert(of.clone(), Arc::clone(&batch));
        batch
    }

    /// Nobody joins the batch any more. All that it asks for.
    fn close(&self, of: &Kind, batch: &Arc<Batch>) -> Vec<String> {
        let mut open = locked(&self.open);
        if open.get(of).is_some_and(|open| Arc::ptr_eq(open, batch)) {
            open.remove(of);
        }
        locked(&batch.ids).clone()
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use tokio::sync::Semaphore;

    use super::*;

    /// A database that answers when it is let, and knows every id but those of `nobody`.
    struct Slow {
        gather: Gather,
        gate: Semaphore,
        asked: Mutex<Vec<Vec<String>>>,
    }

    impl Slow {
        fn new() -> Arc<Self> {
            let (gather, gate) = (Gather::default(), Semaphore::new(0));
            Arc::new(Self { gather, gate, asked: Mutex::default() })
        }

        async fn get(self: Arc<Self>, ids: Vec<String>) -> Vec<String> {
            let ask = async |all: &[String]| {
                locked(&self.asked).push(all.to_vec());
                self.gate.acquire().await.expect("it is open").forget();
                let known = all.iter().filter(|id| *id != "nobody");
                Ok((7, known.map(|id| record(id)).collect()))
            };
            let got = self.gather.get(CellId(1), "run", &ids, ask).await;
            let (position, found) = got.expect("the database answers");
            assert_eq!(position, 7);
            found.into_iter().map(|record| record.id).collect()
        }

        /// Starts a question and lets it come as far as it can.
        async fn start(self: &Arc<Self>, id: &str) -> tokio::task::JoinHandle<Vec<String>> {
            let question = tokio::spawn(Arc::clone(self).get(vec![id.to_owned()]));
            tokio::task::yield_now().await;
            question
        }

        fn asked(&self) -> Vec<Vec<String>> {
            locked(&self.asked).clone()
        }
    }

    fn record(id: &str) -> Record {
        Record {
            cell: CellId(1),
            kind: "run".into(),
            id: id.to_owned(),
            created: 1,
            updated: 1,
            open: true,
            status: "running".to_owned(),
            body: "{}".into(),
            sealed: None,
            due: None,
        }
    }

    #[tokio::test]
    async fn questions_that_wait_share_the_next_statement() {
        let slow = Slow::new();
        let first = slow.start("a").await;
        let (second, third) = (slow.start("b").await, slow.start("nobody").await);

        slow.gate.add_permits(2);

        assert_eq!(first.await.expect("it ends"), ["a"]);
        assert_eq!(second.await.expect("it ends"), ["b"]);
        assert!(third.await.expect("it ends").is_empty());
        assert_eq!(slow.asked(), [vec!["a"], vec!["b", "nobody"]]);
    }

    #[tokio::test]
    async fn question_whose_asker_goes_away_is_sent_by_another() {
        let slow = Slow::new();
        let first = slow.start("a").await;
        let (second, third) = (slow.start("b").await, slow.start("c").await);
        slow.gate.add_permits(1);
        assert_eq!(first.await.expect("it ends"), ["a"]);
        tokio::task::yield_now().await;

        second.abort();
        assert!(second.await.is_err());
        slow.gate.add_permits(1);

        assert_eq!(third.await.expect("it ends"), ["c"]);
        assert_eq!(slow.asked(), [vec!["a"], vec!["b", "c"], vec!["b", "c"]]);
    }

    #[tokio::test]
    async fn statement_has_no_more_ids_than_it_may() {
        let slow = Slow::new();
        slow.gate.add_permits(3);
        let many = |n: usize| (0..n).map(|n| format!("id{n}")).collect::<Vec<_>>();
        let first = slow.start("a").await;
        let asks = [BATCH_IDS, BATCH_IDS + 1].map(|n| Arc::clone(&slow).get(many(n)));
        let [most, more] = asks.map(tokio::spawn);

        assert_eq!(first.await.expect("it ends").len(), 1);
        assert_eq!(most.await.expect("it ends").len(), BATCH_IDS);
        assert_eq!(more.await.expect("it ends").len(), BATCH_IDS + 1);
        assert_eq!(slow.asked().len(), 3);
    }
}
