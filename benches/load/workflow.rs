//! Runs of a workflow instead of tasks: so many in flight, each started by one who waits for its result.
//!
//! The steps of a run are tasks like all others, and the same workers do them. What is measured is the time from the call
//! that starts a run until its result is there, and how many of these there are a second.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use fleetward_store::{ReadLimit, Store};
use hdrhistogram::Histogram;
use serde::Serialize;
use serde_json::json;
use tokio::sync::{Mutex, Notify};
use tokio::task::JoinSet;

use crate::crew::Crew;
use crate::desk::Desk;
use crate::figures::{Quantiles, Rows, number, optional};
use crate::fleet::Fleet;
use crate::options::{Mode, Options};
use crate::place::{Counts, Place};
use crate::shape::{NewTask, Shape};
use crate::subject::Subject;
use crate::tally::Tally;
use crate::usage;

/// Events that are read at a time.
const PAGE: ReadLimit = ReadLimit { events: 20_000, bytes: 32 << 20 };
const MIB: f64 = (1_u64 << 20) as f64;

/// What was measured of runs.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct RunFigures {
    pub(crate) title: String,
    pub(crate) steps: usize,
    pub(crate) in_flight: usize,
    /// Runs whose end was measured, and those that had ended before.
    pub(crate) runs: u64,
    pub(crate) finished_before: u64,
    pub(crate) seconds: f64,
    pub(crate) runs_per_second: f64,
    pub(crate) start_to_result_p50_ms: f64,
    pub(crate) start_to_result_p99_ms: f64,
    /// Processor time of the server; in process, of the load too.
    pub(crate) server_us_per_run: f64,
    pub(crate) database_us_per_run: Option<f64>,
    pub(crate) load_us_per_run: Option<f64>,
    pub(crate) server_rss_mib: f64,
    /// How many steps a worker gets at a time.
    pub(crate) steps_per_claim: f64,
    pub(crate) journal_commits_per_run: Option<f64>,
    pub(crate) fsyncs_per_run: Option<f64>,
    /// Runs that have one completion in the journal, with one of each step.
    pub(crate) checked: u64,
}

/// What all who start runs share.
struct Shared {
    shape: Arc<Shape>,
    next: AtomicU64,
    ended: AtomicU64,
    until: u64,
    /// How many have to end before what follows is measured.
    warm_up: u64,
    latencies: Mutex<Histogram<u64>>,
    reached: Notify,
}

struct Moment {
    at: Instant,
    server: Duration,
    load: Duration,
    database: Option<Counts>,
    journal_commits: Option<u64>,
    claims: (u64, u64),
}

/// Runs once as `options` say.
pub(crate) async fn run(options: &Arc<Options>) -> Result<RunFigures> {
    let place = Place::fresh(options).await?;
    let subject = Subject::start(&place, options).await?;
    let crew = Crew::new(options.clone());
    let Fleet { mut desks, seats } = subject.fleet(options, &crew.shape).await?;
    desks[0].apply(&crew.shape).await?;
    let shared = Arc::new(Shared {
        shape: crew.shape.clone(),
        next: AtomicU64::new(0),
        ended: AtomicU64::new(0),
        until: options.warm_up + options.tasks,
        warm_up: options.warm_up,
        latencies: Mutex::new(Histogram::new(3)?),
        reached: Notify::new(),
    });
    let tally = crew.tally.clone();
    let mut background = JoinSet::new();
    background.spawn(async move { crew.work_all(seats).await });
    let mut starters = JoinSet::new();
    for desk in desks {
        starters.spawn(shared.clone().start_runs(desk));
    }
    let warm = async {
        while shared.ended.load(Ordering::Acquire) < options.warm_up {
            shared.reached.notified().await;
        }
    };
    tokio::select! {
        () = warm => {}
        Some(ended) = background.join_next() => ended??,
        Some(failed) = failure(&mut starters) => return Err(failed),
    }
    let from = moment(&subject, &place, &tally).await?;
    tokio::select! {
        ended = all(&mut starters) => ended?,
        Some(ended) = background.join_next() => ended??,
    }
    let to = moment(&subject, &place, &tally).await?;
    let mut figures = figures(options, &from, &to, &*shared.latencies.lock().await);
    figures.server_rss_mib = subject.memory()?.0 as f64 / MIB;
    background.shutdown().await;
    if let Some(store) = subject.stop(&place, options).await? {
        figures.checked = every_run_ended_once(&*store, shared.until, figures.steps).await?;
    }
    Ok(figures)
}

impl Shared {
    async fn start_runs(self: Arc<Self>, mut desk: Desk) -> Result<()> {
        let mut latencies = Histogram::<u64>::new(3)?;
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            if number >= self.until {
                break;
            }
            let since = Instant::now();
            let output = desk.run(NewTask { number, at_us: 0 }, &self.shape).await?;
            ensure!(output == json!("done"), "the output of a run is {output}");
            if self.ended.fetch_add(1, Ordering::AcqRel) >= self.warm_up {
                latencies.record(u64::try_from(since.elapsed().as_micros())?)?;
            } else {
                self.reached.notify_one();
            }
        }
        self.latencies.lock().await.add(&latencies)?;
        Ok(())
    }
}

/// The first of them that fails; never, where none does.
async fn failure(starters: &mut JoinSet<Result<()>>) -> Option<anyhow::Error> {
    while let Some(ended) = starters.join_next().await {
        match ended {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Some(error),
            Err(error) => return Some(error.into()),
        }
    }
    std::future::pending().await
}

async fn all(starters: &mut JoinSet<Result<()>>) -> Result<()> {
    while let Some(ended) = starters.join_next().await {
        ended??;
    }
    Ok(())
}

async fn moment(subject: &Subject, place: &Place, tally: &Tally) -> Result<Moment> {
    Ok(Moment {
        claims: tally.claims(),
        at: Instant::now(),
        server: subject.cpu()?,
        load: usage::cpu(std::process::id())?,
        database: place.counts().await?,
        journal_commits: subject.journal_commits().await?,
    })
}

fn figures(options: &Options, from: &Moment, to: &Moment, latency: &Histogram<u64>) -> RunFigures {
    let seconds = (to.at - from.at).as_secs_f64();
    let each = |amount: f64| amount / options.tasks as f64;
    let us = |from: Duration, to: Duration| each(to.saturating_sub(from).as_secs_f64() * 1e6);
    let database = from.database.zip(to.database);
    let quantiles = Quantiles::of(latency);
    let of = |part: fn(&Quantiles) -> f64| quantiles.as_ref().map(part).unwrap_or_default();
    RunFigures {
        title: options.title(),
        steps: options.workflow.unwrap_or_default(),
        in_flight: options.submitters,
        runs: options.tasks,
        finished_before: options.warm_up,
        seconds,
        runs_per_second: options.tasks as f64 / seconds,
        start_to_result_p50_ms: of(|quantiles| quantiles.p50_ms),
        start_to_result_p99_ms: of(|quantiles| quantiles.p99_ms),
        server_us_per_run: us(from.server, to.server),
        database_us_per_run: database.map(|(a, b)| each((b.cpu_s - a.cpu_s) * 1e6)),
        load_us_per_run: (options.mode == Mode::Http).then(|| us(from.load, to.load)),
        server_rss_mib: 0.0,
        steps_per_claim: (to.claims.1 - from.claims.1) as f64
            / (to.claims.0 - from.claims.0).max(1) as f64,
        journal_commits_per_run: (from.journal_commits.zip(to.journal_commits))
            .map(|(a, b)| each(b.saturating_sub(a) as f64)),
        fsyncs_per_run: database.map(|(a, b)| each(b.fsyncs.saturating_sub(a.fsyncs) as f64)),
        checked: 0,
    }
}

/// Reads the journal for what is missing or double, and says how many runs were looked at.
async fn every_run_ended_once(store: &dyn Store, runs: u64, steps: usize) -> Result<u64> {
    let (mut started, mut steps_done, mut completed) = (0_u64, 0_u64, 0_u64);
    for cell in store.cells().await? {
        let mut after = 0;
        loop {
            let page = store.read(cell.cell, after, PAGE).await?;
            let Some(last) = page.last() else { break };
            after = last.seq;
            for stored in &page {
                match &*stored.event.kind {
                    "run.started" => started += 1,
                    "run.step_completed" => steps_done += 1,
                    "run.completed" => completed += 1,
                    "run.failed" | "run.step_failed" => anyhow::bail!("a run failed"),
                    _ => {}
                }
            }
        }
    }
    let wanted = (runs, runs * steps as u64, runs);
    let found = (started, steps_done, completed);
    ensure!(found == wanted, "runs, steps, ends in the journal are {found:?}, not {wanted:?}");
    Ok(completed)
}

impl RunFigures {
    /// The rows of the table.
    pub(crate) fn rows(&self) -> Rows {
        let mut rows = Rows::new();
        let mut row = |name: &str, text: String| rows.push((name.to_owned(), text));
        row("runs/s", number(self.runs_per_second));
        row("start to result p50 ms", number(self.start_to_result_p50_ms));
        row("start to result p99 ms", number(self.start_to_result_p99_ms));
        row("server cpu µs/run", number(self.server_us_per_run));
        row("database cpu µs/run", optional(self.database_us_per_run));
        row("load cpu µs/run", optional(self.load_us_per_run));
        row("server RSS MiB", number(self.server_rss_mib));
        row("steps/claim", number(self.steps_per_claim));
        row("journal commits/run", optional(self.journal_commits_per_run));
        row("fsyncs/run", optional(self.fsyncs_per_run));
        row("runs finished before", number(self.finished_before as f64));
        row("runs with one result", number(self.checked as f64));
        rows
    }
}
