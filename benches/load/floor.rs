//! What this machine can do at most, measured in the same run with the same client: syncs of the
//! disk, bare inserts into the same PostgreSQL, and requests to a server that only answers.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use fleetward_store::testing::Postgres;
use hdrhistogram::Histogram;
use serde::Serialize;
use sqlx::postgres::{PgPool, PgPoolOptions};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinSet;

use crate::figures::Quantiles;
use crate::line::Line;
use crate::options::{Options, StoreKind};

/// How long each floor is measured.
const EACH: Duration = Duration::from_secs(2);
/// At a low load: so many, and the time between two.
const PACED: usize = 100;
const PACE: Duration = Duration::from_millis(20);
/// Connections that insert at a time.
const WRITERS: usize = 16;
/// Rows in one statement.
const ROWS: usize = 1_000;
/// Bytes of a row, near those of an event.
const ROW: usize = 320;
/// What one page of a log is: written again in place, as a log that is recycled.
const PAGE: usize = 8_192;

/// The floors that could be measured.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Floor {
    pub(crate) syncs_per_second: f64,
    pub(crate) inserts_per_second: Option<f64>,
    pub(crate) unnest_rows_per_second: Option<f64>,
    pub(crate) echoes_per_second: f64,
    pub(crate) paced_insert: Option<Quantiles>,
    pub(crate) paced_echo: Option<Quantiles>,
}

/// Measures all of it.
pub(crate) async fn measure(options: &Options) -> Result<Floor> {
    let mut floor = Floor { syncs_per_second: syncs()?, ..Floor::default() };
    if options.store == StoreKind::Postgres {
        let server = tokio::task::spawn_blocking(Postgres::shared).await?;
        let url = server.fresh_database().await;
        let pool = PgPoolOptions::new().max_connections(WRITERS as u32).connect(&url).await?;
        let table = "CREATE TABLE floor (seq bigserial PRIMARY KEY, body bytea NOT NULL)";
        sqlx::query(table).execute(&pool).await?;
        let insert = || insert(pool.clone());
        floor.inserts_per_second = Some(rate(WRITERS, insert).await?);
        let unnest = || unnest(pool.clone());
        floor.unnest_rows_per_second = Some(rate(1, unnest).await? * ROWS as f64);
        floor.paced_insert = paced(insert).await?;
    }
    let (_server, address) = echo_server().await?;
    let lines = (0..options.workers.min(64)).map(|_| Line::new(address));
    let lines = Arc::new(tokio::sync::Mutex::new(lines.collect::<Vec<_>>()));
    let ask = || echo(lines.clone(), options.payload);
    floor.echoes_per_second = rate(options.workers.min(64), ask).await?;
    floor.paced_echo = paced(ask).await?;
    Ok(floor)
}

impl Floor {
    /// A table of its own.
    pub(crate) fn render(&self) -> String {
        let mut lines = vec!["| floor |  |".to_owned(), "| --- | ---: |".to_owned()];
        let mut row = |name: &str, value: Option<f64>| {
            lines.extend(value.map(|value| format!("| {name} | {value:.2} |")));
        };
        row("disk syncs/s", Some(self.syncs_per_second));
        row("one-row inserts/s, 16 connections", self.inserts_per_second);
        row("rows/s by UNNEST of 1,000", self.unnest_rows_per_second);
        row("bare echo requests/s", Some(self.echoes_per_second));
        for (name, paced) in [("insert", &self.paced_insert), ("echo", &self.paced_echo)] {
            row(&format!("one {name} at low load p50 ms"), paced.as_ref().map(|at| at.p50_ms));
            row(&format!("one {name} at low load p99 ms"), paced.as_ref().map(|at| at.p99_ms));
        }
        lines.join("\n")
    }
}

/// Serves answers for ever; the other half of `echo`, in a process of its own.
pub(crate) async fn serve_echo() -> Result<()> {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await?;
    println!("{}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let same = hyper::service::service_fn(
            |request: hyper::Request<hyper::body::Incoming>| async move {
                Ok::<_, hyper::Error>(hyper::Response::new(request.into_body()))
            },
        );
        let io = hyper_util::rt::TokioIo::new(stream);
        let serving = hyper::server::conn::http1::Builder::new().serve_connection(io, same);
        tokio::spawn(async move { serving.await.ok() });
    }
}

async fn echo_server() -> Result<(Child, std::net::SocketAddr)> {
    let mut child = Command::new(std::env::current_exe()?)
        .arg("--serve-echo")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let mut lines = BufReader::new(child.stdout.take().context("its output is a pipe")?).lines();
    let line = lines.next_line().await?.context("the echo server did not start")?;
    Ok((child, line.parse()?))
}

fn syncs() -> Result<f64> {
    let folder = tempfile::tempdir()?;
    let mut file = File::create(folder.path().join("log"))?;
    let page = [7; PAGE];
    let (since, mut count) = (Instant::now(), 0_u64);
    while since.elapsed() < EACH {
        file.seek(SeekFrom::Start(0))?;
        file.write_all(&page)?;
        file.sync_data()?;
        count += 1;
    }
    Ok(count as f64 / since.elapsed().as_secs_f64())
}

async fn insert(pool: PgPool) -> Result<()> {
    let insert = sqlx::query("INSERT INTO floor (body) VALUES ($1)");
    insert.bind(vec![7_u8; ROW]).execute(&pool).await?;
    Ok(())
}

async fn unnest(pool: PgPool) -> Result<()> {
    let insert = sqlx::query("INSERT INTO floor (body) SELECT unnest($1::bytea[])");
    insert.bind(vec![vec![7_u8; ROW]; ROWS]).execute(&pool).await?;
    Ok(())
}

async fn echo(lines: Arc<tokio::sync::Mutex<Vec<Line>>>, bytes: usize) -> Result<()> {
    let mut line = lines.lock().await.pop().context("there is a line for each caller")?;
    line.ask("/", "x".repeat(bytes).as_bytes()).await?;
    lines.lock().await.push(line);
    Ok(())
}

/// Operations per second with so many callers, each of whom waits for its answer.
async fn rate<F>(callers: usize, operation: impl Fn() -> F) -> Result<f64>
where
    F: Future<Output = Result<()>> + Send + 'static,
{
    let done = Arc::new(AtomicU64::new(0));
    let mut running = JoinSet::new();
    let spawn = |running: &mut JoinSet<Result<()>>| {
        let (next, done) = (operation(), done.clone());
        running.spawn(async move {
            next.await?;
            done.fetch_add(1, Ordering::Relaxed);
            Ok(())
        });
    };
    let since = Instant::now();
    (0..callers).for_each(|_| spawn(&mut running));
    while since.elapsed() < EACH {
        running.join_next().await.context("there is always one")???;
        spawn(&mut running);
    }
    let counted = done.load(Ordering::Relaxed) as f64 / since.elapsed().as_secs_f64();
    while let Some(ended) = running.join_next().await {
        ended??;
    }
    Ok(counted)
}

/// How long one operation takes while nothing else happens.
async fn paced<F>(operation: impl Fn() -> F) -> Result<Option<Quantiles>>
where
    F: Future<Output = Result<()>>,
{
    let mut took = Histogram::<u64>::new(3)?;
    for _ in 0..PACED {
        tokio::time::sleep(PACE).await;
        let since = Instant::now();
        operation().await?;
        took.record(since.elapsed().as_micros() as u64)?;
    }
    Ok(Quantiles::of(&took))
}
