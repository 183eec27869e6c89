//! Kill -9 of a writer, and of the database under it, while it writes: everything acknowledged is
//! there, nothing is there twice, and the chain holds.

use std::{
    collections::BTreeMap,
    env,
    io::{BufRead, BufReader},
    os::unix::process::ExitStatusExt,
    process::{Child, Command, Stdio},
    sync::Arc,
};

use fleetward_store::{
    AppendError, CellAppend, CellHead, CellId, Position, Store, connect, genesis,
    testing::Postgres, verify,
};
use rand::RngExt;

use crate::world::{all, event};

/// Set in the child only: where it writes.
const WRITER_URL: &str = "FLEETWARD_TEST_WRITER_URL";

const CELLS: i64 = 3;

/// Lives and deaths of the writer on one database.
const KILLS: usize = 4;

#[tokio::test]
async fn killed_writer_on_sqlite_loses_nothing_it_was_told() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", folder.path().join("store.db").display());

    kill_writers(&url).await;
}

#[tokio::test]
async fn killed_writer_on_postgres_loses_nothing_it_was_told() {
    let url = Postgres::shared().fresh_database().await;

    kill_writers(&url).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_postgres_loses_nothing_it_acknowledged() {
    let server = Arc::new(Postgres::start_own());
    let url = server.fresh_database().await;
    let store = connect(&url).await.unwrap();
    let mut writer = Writer::open(&store).await;
    let mut acknowledged = BTreeMap::new();

    for _ in 0..KILLS {
        let last = rand::rng().random_range(5..100);
        let mut batches = 0;
        let killer = loop {
            acknowledged.extend(heads(&writer.append().await.expect("the server runs")));
            batches += 1;
            if batches == last {
                let server = Arc::clone(&server);
                break tokio::task::spawn_blocking(move || server.kill9());
            }
        };
        // Writing goes on into the death of the server.
        while let Ok(answers) = writer.append().await {
            acknowledged.extend(heads(&answers));
        }
        killer.await.unwrap();
        assert!(store.ping().await.is_err());
        let server = Arc::clone(&server);
        tokio::task::spawn_blocking(move || server.start_again()).await.unwrap();

        // The same bytes as before the kill: whether they were stored is what nobody knows.
        acknowledged.extend(heads(&writer.append().await.expect("the server runs again")));
        check_stored(&store, &acknowledged).await;
    }
}

/// The child of the tests above: writes until it is killed, and says what it was told. As an
/// ordinary test, without an address, it has nothing to do.
#[tokio::test]
async fn writer_process() {
    let Ok(url) = env::var(WRITER_URL) else { return };
    let store = connect(&url).await.unwrap();
    let mut writer = Writer::open(&store).await;
    loop {
        for (cell, head) in heads(&writer.append().await.unwrap()) {
            println!("acknowledged {cell} {head}");
        }
    }
}

async fn kill_writers(url: &str) {
    let mut acknowledged = BTreeMap::new();
    for _ in 0..KILLS {
        let mut child = spawn_writer(url);
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let last = rand::rng().random_range(1..200);
        // Read to the end: what was said before the kill counts, also what nobody had read yet.
        for (number, line) in lines.map_while(Result::ok).filter_map(told).enumerate() {
            acknowledged.insert(line.0, line.1);
            if number == last {
                child.kill().unwrap();
            }
        }
        assert_eq!(child.wait().unwrap().signal(), Some(9), "it ends by nothing but the kill");

        let store = connect(url).await.unwrap();
        check_stored(&store, &acknowledged).await;
    }
}

fn spawn_writer(url: &str) -> Child {
    Command::new(env::current_exe().unwrap())
        .args(["--exact", "crash::writer_process", "--nocapture"])
        .env(WRITER_URL, url)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// A line cut off by the kill is no promise.
fn told(line: String) -> Option<(CellId, Position)> {
    let (cell, head) = line.strip_prefix("acknowledged ")?.split_once(' ')?;
    Some((CellId(cell.parse().ok()?), head.parse().ok()?))
}

async fn check_stored(store: &Arc<dyn Store>, acknowledged: &BTreeMap<CellId, Position>) {
    for head in store.cells().await.unwrap() {
        let cell = head.cell;
        let run = all(store, cell).await;
        assert!(head.head >= acknowledged.get(&cell).copied().unwrap_or(0), "{cell} lost events");
        assert_eq!(run.len() as u64, head.head);
        assert_eq!(verify(cell, 0, genesis(cell), &run), Ok(head.hash));
        for stored in &run {
            // Every body names its place: one that is written twice stands in a wrong one.
            assert_eq!(stored.event.body, format!("{cell}/{}", stored.seq));
        }
    }
}

/// Appends to a few cells at once, a few events each, and repeats what was not answered.
struct Writer<'a> {
    store: &'a Arc<dyn Store>,
    heads: Vec<CellHead>,
    unanswered: Option<Vec<CellAppend>>,
}

impl<'a> Writer<'a> {
    async fn open(store: &'a Arc<dyn Store>) -> Self {
        let mut heads = Vec::new();
        for cell in 1..=CELLS {
            heads.push(store.open(CellId(cell)).await.unwrap());
        }
        Self { store, heads, unanswered: None }
    }

    async fn append(&mut self) -> Result<Vec<CellHead>, AppendError> {
        let batch = self.unanswered.take().unwrap_or_else(|| self.heads.iter().map(more).collect());
        self.unanswered = Some(batch.clone());
        let answers = self.store.append(batch).await;
        self.heads = answers.into_iter().collect::<Result<_, _>>()?;
        self.unanswered = None;
        Ok(self.heads.clone())
    }
}

fn more(head: &CellHead) -> CellAppend {
    let count = rand::rng().random_range(1..=8);
    let events =
        (head.head + 1..=head.head + count).map(|seq| event(&format!("{}/{seq}", head.cell)));
    CellAppend { head: *head, events: events.collect() }
}

fn heads(answers: &[CellHead]) -> Vec<(CellId, Position)> {
    answers.iter().map(|head| (head.cell, head.head)).collect()
}
