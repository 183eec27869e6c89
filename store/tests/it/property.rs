//! Two owners of one cell, lost answers, abandoned writes, in any order: what is stored is what
//! was acknowledged, at most with what nobody knows about, and the chain holds.

use std::{
    collections::HashSet,
    future::poll_fn,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    task::Poll,
};

use fleetward_store::{
    AppendError, CellAppend, CellHead, CellId, Position, ReadLimit, Store, genesis, verify,
};
use proptest::{prelude::*, test_runner::TestRunner};

use crate::world::{World, all, event};

/// What one of the two owners does next.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// Takes the cell.
    Open,
    /// Appends this many events, or repeats the append whose answer it does not know.
    Append(u8),
    /// The same; the answer is lost on the way back.
    LoseAnswer(u8),
    /// The same; the caller goes away while the statement is on its way.
    Abandon(u8),
    /// The same; it never leaves.
    NeverSend(u8),
}

#[derive(Default)]
struct Owner {
    head: Option<CellHead>,
    /// What it will repeat.
    unknown: Option<CellAppend>,
}

/// One run: a cell of its own, and what both owners were told.
struct Run {
    cell: CellId,
    owners: [(Arc<dyn Store>, Owner); 2],
    bodies: u64,
    acknowledged: Vec<(Position, String)>,
    sent: HashSet<String>,
}

#[test]
fn two_owners_of_a_memory_cell_agree() {
    check(400, World::memory);
}

#[test]
fn two_owners_of_a_sqlite_cell_agree() {
    check(60, World::sqlite);
}

#[test]
fn two_owners_of_a_postgres_cell_agree() {
    check(60, World::postgres);
}

#[test]
fn two_owners_of_a_postgres_cell_behind_a_pooler_agree() {
    check(20, World::pooled);
}

fn check<F: Future<Output = World>>(cases: u32, world: impl FnOnce() -> F) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (world, there) = runtime.block_on(async {
        let world = world().await;
        let there = world.again().await;
        (world, there)
    });
    // One database for all cases, and a fresh cell for each.
    let cells = AtomicI64::new(0);
    let step = prop_oneof![
        2 => Just(Step::Open),
        5 => (0u8..5).prop_map(Step::Append),
        2 => (1u8..5).prop_map(Step::LoseAnswer),
        2 => (1u8..5).prop_map(Step::Abandon),
        1 => (1u8..5).prop_map(Step::NeverSend),
    ];
    let script = prop::collection::vec((0usize..2, step), 1..30);
    let config = ProptestConfig { cases, failure_persistence: None, ..Default::default() };
    let result = TestRunner::new(config).run(&script, |script| {
        let cell = CellId(cells.fetch_add(1, Ordering::SeqCst));
        let owners = [Arc::clone(&world.store), Arc::clone(&there)];
        runtime.block_on(play(cell, owners, &script));
        Ok(())
    });
    result.unwrap_or_else(|failure| panic!("{failure}"));
}

async fn play(cell: CellId, stores: [Arc<dyn Store>; 2], script: &[(usize, Step)]) {
    let mut run = Run {
        cell,
        owners: stores.map(|store| (store, Owner::default())),
        bodies: 0,
        acknowledged: Vec::new(),
        sent: HashSet::new(),
    };
    for (owner, step) in script {
        run.step(*owner, *step).await;
    }
    run.judge().await;
}

impl Run {
    async fn step(&mut self, owner: usize, step: Step) {
        let count = match step {
            Step::Open => return self.open(owner).await,
            Step::Append(n) | Step::LoseAnswer(n) | Step::Abandon(n) | Step::NeverSend(n) => n,
        };
        let Some(next) = self.next(owner, count) else { return };
        let store = Arc::clone(&self.owners[owner].0);
        self.owners[owner].1.unknown = Some(next.clone());
        let known = match step {
            Step::Append(_) => Some(store.append(vec![next]).await.remove(0)),
            Step::LoseAnswer(_) => {
                store.append(vec![next]).await;
                None
            }
            Step::Abandon(_) => {
                let mut sending = store.append(vec![next]);
                poll_fn(|context| Poll::Ready(sending.as_mut().poll(context).is_ready())).await;
                None
            }
            Step::Open | Step::NeverSend(_) => None,
        };
        if let Some(answer) = known {
            self.answered(owner, answer);
        }
    }

    async fn open(&mut self, owner: usize) {
        let (store, state) = &mut self.owners[owner];
        // A new life knows nothing of what the earlier one had on its way.
        *state = Owner { head: Some(store.open(self.cell).await.unwrap()), unknown: None };
    }

    /// The append whose answer is not known, or else a new one.
    fn next(&mut self, owner: usize, count: u8) -> Option<CellAppend> {
        let state = &self.owners[owner].1;
        let head = state.head?;
        if state.unknown.is_some() {
            return state.unknown.clone();
        }
        let bodies: Vec<String> =
            (0..count).map(|n| format!("{owner}/{}", self.bodies + u64::from(n))).collect();
        self.bodies += u64::from(count);
        let events = bodies.iter().map(|body| event(body)).collect();
        self.sent.extend(bodies);
        Some(CellAppend { head, events })
    }

    fn answered(&mut self, owner: usize, answer: Result<CellHead, AppendError>) {
        let state = &mut self.owners[owner].1;
        let sent = state.unknown.take().expect("something was sent");
        match answer {
            Ok(head) => {
                let positions = sent.head.head + 1..=head.head;
                assert_eq!(positions.clone().count(), sent.events.len());
                let bodies = sent.events.iter().map(|event| text(&event.body));
                self.acknowledged.extend(positions.zip(bodies));
                state.head = Some(head);
            }
            Err(AppendError::Fenced { ours, found }) => {
                assert!(found > ours, "only a later owner may fence: {ours}, {found}");
                state.head = None;
            }
            Err(other) => panic!("{other:?}"),
        }
    }

    async fn judge(&self) {
        let (store, _) = &self.owners[0];
        // Fences whatever is still on its way.
        let end = store.open(self.cell).await.unwrap();
        let run = all(store, self.cell).await;
        assert_eq!(verify(self.cell, 0, genesis(self.cell), &run), Ok(end.hash));
        assert_eq!(run.len() as u64, end.head);
        let stored: Vec<(Position, String)> =
            run.iter().map(|stored| (stored.seq, text(&stored.event.body))).collect();
        for acknowledged in &self.acknowledged {
            assert!(stored.contains(acknowledged), "{acknowledged:?} is missing in {stored:?}");
        }
        let bodies: HashSet<&String> = stored.iter().map(|(_, body)| body).collect();
        assert_eq!(bodies.len(), stored.len(), "something is stored twice: {stored:?}");
        assert!(bodies.iter().all(|body| self.sent.contains(*body)));
        let limit = ReadLimit::default();
        let mut back = store.read_back(self.cell, Position::MAX, limit).await.unwrap();
        back.reverse();
        assert_eq!(back, run);
    }
}

fn text(body: &[u8]) -> String {
    String::from_utf8_lossy(body).into_owned()
}
