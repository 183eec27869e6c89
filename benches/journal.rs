//! What group commit is worth: durable appends per second through the real journaling actor, beside plain inserts of
//! one row per transaction, in one run on one machine.
//!
//! `cargo bench --bench journal` prints a table for SQLite and PostgreSQL: callers, appends/s of both, their ratio,
//! and how many appends shared one commit (one commit is one fsync on both stores). Commits are counted by the
//! messages of the journal: each append is one, and each write one more when the store has answered.
#![allow(missing_docs, clippy::unwrap_used)]

#[path = "shared/journaling.rs"]
mod journaling;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use fleetward_actors::effect::Effect;
use fleetward_actors::fleet::key::{Event, Key};
use fleetward_actors::id::KeyId;
use fleetward_actors::journal::CellLog;
use fleetward_actors::seal::Sealed;
use fleetward_runtime::{Reply, System};
use fleetward_store::testing::Postgres;

const CALLERS: [usize; 3] = [1, 16, 256];
const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_millis(1_500);
/// Bytes of the sealed part; with the rest a row has about 320, as in the study that the design rests on.
const PAYLOAD: usize = 150;

#[tokio::main]
async fn main() {
    println!(
        "| store | callers | journal appends/s | appends per commit | plain appends/s | ratio |"
    );
    println!("| --- | --- | --- | --- | --- | --- |");
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", folder.path().join("journal.db").display());
    let plain = PlainSqlite::open(&folder.path().join("plain.db"));
    compare("SQLite", &url, &Plain::Sqlite(Arc::new(plain))).await;

    let server = Postgres::shared();
    let url = server.fresh_database().await;
    let pool =
        sqlx::postgres::PgPoolOptions::new().max_connections(16).connect(&url).await.unwrap();
    sqlx::query("CREATE TABLE plain (seq bigserial PRIMARY KEY, body bytea NOT NULL)")
        .execute(&pool)
        .await
        .unwrap();
    compare("PostgreSQL", &url, &Plain::Postgres(pool)).await;
}

async fn compare(name: &str, url: &str, plain: &Plain) {
    let store = fleetward_store::connect(url).await.unwrap();
    let (log, system) = journaling::start(store).await;
    for callers in CALLERS {
        let (mut ours, mut theirs, mut shared) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let before = handled(&system);
            let (rate, appends) = count(callers, || append(log.clone())).await;
            let commits = handled(&system) - before - appends;
            shared.push(appends as f64 / commits as f64);
            ours.push(rate);
            theirs.push(count(callers, || plain.insert()).await.0);
        }
        let (ours, theirs, shared) = (median(ours), median(theirs), median(shared));
        let ratio = ours / theirs;
        println!("| {name} | {callers} | {ours:.0} | {shared:.1} | {theirs:.0} | {ratio:.1} |");
    }
}

/// Operations per second, and in all, with so many callers, each waiting for its answer before it asks again.
async fn count<F>(callers: usize, operation: impl Fn() -> F) -> (f64, u64)
where
    F: Future<Output = ()> + Send + 'static,
{
    let done = Arc::new(AtomicU64::new(0));
    let begun = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    let spawn = |tasks: &mut tokio::task::JoinSet<()>| {
        let (done, next) = (done.clone(), operation());
        tasks.spawn(async move {
            next.await;
            done.fetch_add(1, Ordering::Relaxed);
        });
    };
    for _ in 0..callers {
        spawn(&mut tasks);
    }
    while begun.elapsed() < ROUND {
        tasks.join_next().await.unwrap().unwrap();
        spawn(&mut tasks);
    }
    let counted = done.load(Ordering::Relaxed) as f64 / begun.elapsed().as_secs_f64();
    while tasks.join_next().await.is_some() {}
    (counted, done.load(Ordering::Relaxed))
}

/// Messages that the journal has handled.
fn handled(system: &System) -> u64 {
    system
        .observe()
        .iter()
        .filter(|unit| unit.path.ends_with("journal"))
        .map(|unit| unit.handled)
        .sum()
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

async fn append(log: CellLog) {
    let (reply, answered) = Reply::channel();
    {
        let by: Arc<str> = "bench".into();
        let mut draft = log.begin(0);
        let sealed = Some(Sealed::from_bytes(bytes::Bytes::from_static(&[7; PAYLOAD])));
        draft.push::<Key>(KeyId::fresh(), &Event::Revoked {}, &by, sealed);
        draft.allow(Effect::Answer(reply.with(())));
        draft.submit();
    }
    answered.await.unwrap();
}

enum Plain {
    Sqlite(Arc<PlainSqlite>),
    Postgres(sqlx::PgPool),
}

struct PlainSqlite(std::sync::Mutex<rusqlite::Connection>);

impl PlainSqlite {
    fn open(path: &std::path::Path) -> Self {
        let connection = rusqlite::Connection::open(path).unwrap();
        connection.pragma_update(None, "journal_mode", "wal").unwrap();
        connection.pragma_update(None, "synchronous", "full").unwrap();
        connection
            .execute_batch("CREATE TABLE plain (seq INTEGER PRIMARY KEY, body BLOB NOT NULL)")
            .unwrap();
        Self(std::sync::Mutex::new(connection))
    }
}

impl Plain {
    fn insert(&self) -> futures_util::future::BoxFuture<'static, ()> {
        let body = vec![7_u8; PAYLOAD + 170];
        match self {
            Self::Sqlite(plain) => {
                let plain = plain.clone();
                Box::pin(async move {
                    tokio::task::spawn_blocking(move || {
                        let connection = plain.0.lock().unwrap();
                        let mut insert = connection
                            .prepare_cached("INSERT INTO plain (body) VALUES (?1)")
                            .unwrap();
                        insert.execute([body]).unwrap();
                    })
                    .await
                    .unwrap();
                })
            }
            Self::Postgres(pool) => {
                let pool = pool.clone();
                Box::pin(async move {
                    sqlx::query("INSERT INTO plain (body) VALUES ($1)")
                        .bind(body)
                        .execute(&pool)
                        .await
                        .unwrap();
                })
            }
        }
    }
}
