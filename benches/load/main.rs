//! The fleet simulator: thousands of workers against a real server, and what that costs.
//!
//! ```text
//! cargo bench --bench load --                              # 64 workers over HTTP, PostgreSQL
//! cargo bench --bench load -- --store sqlite --repeat 5    # the median of five runs
//! cargo bench --bench load -- --workers 10000 --batch 100  # batched protocol
//! cargo bench --bench load -- --backlog 1000000 --drain    # how fast a backlog drains
//! cargo bench --bench load -- --arrivals poisson:200       # latency at a low load
//! cargo bench --bench load -- --store sqlite --chaos       # and everything is lost at times
//! cargo bench --bench load -- --scenario all --scale 0.1   # what grows with what
//! cargo bench --bench load -- --plot load.svg --scale 0.1  # the same as curves
//! cargo bench --bench load -- --sleepers 1000000           # runs that sleep, and wake at once
//! cargo bench --bench load -- --workflow 3 --submitters 128  # runs of a workflow instead of tasks
//! ```
//!
//! **What runs.** PostgreSQL (a private one with fsync and synchronous_commit on, or the one that
//! `DATABASE_URL` names), the server (this package's binary), and the load: three processes or
//! more that share the machine. Each worker registers, then claims by long poll and reports, on
//! one keep-alive connection of its own; the load drives all of them from `--threads` threads.
//! `--mode inprocess` leaves the wire out: control plane and workers are in this process. Every
//! run begins with an empty store.
//!
//! **What is counted.** A task is one submit, one claim and one report, each acknowledged. The
//! first `--warm-up` completions are left out. Tasks/s is completions over the time between the
//! first and the last that are measured. Latencies are in histograms with three digits:
//!
//! - *submit ack*: from the moment a submit was meant to be sent to its acknowledgement.
//! - *submit to start*: from that same moment until a worker has read the task.
//! - *report ack*: from sending the report to its acknowledgement.
//!
//! With `--arrivals poisson:RATE` that moment is drawn beforehand, so that time spent waiting for
//! a slow server counts (no coordinated omission). With `closed` arrivals it is when the submit is
//! sent: a slow server is then asked less often, and latencies are those of the requests that were
//! sent. With a `--backlog` the time to start is mostly the time in the queue.
//!
//! Processor time is user and system time from /proc: of the server process; of all processes of
//! PostgreSQL; and of this process, the load. In process there is only one figure for the server
//! and the load. `database commits` are transactions that wrote, exact; `fsyncs` are those of
//! PostgreSQL's log, which its processes tell up to a second late; `journal commits` are the
//! server's own count, each one fsync on SQLite. `idle queries` are transactions (statements in
//! process) while the fleet is parked.
//!
//! `--floor` measures beside it, on the same machine and with the same client, what there would be
//! without us: syncs of the disk, bare inserts into the same PostgreSQL, requests to a server that
//! only answers. `--json` prints one object for every run, with the names of [`Figures`].
//!
//! **What is checked.** At the end of every run: each acknowledged task has exactly one accepted
//! result, in the answers and in the journal read from the store. If not, the exit code is 1.

mod chaos;
mod check;
mod crew;
mod desk;
mod figures;
mod fleet;
mod floor;
mod line;
mod options;
mod pass;
mod place;
mod plot;
mod progress;
mod run;
mod scenario;
mod seat;
mod server;
mod shape;
mod sleepers;
mod source;
mod subject;
mod table;
mod tally;
mod usage;
mod workflow;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Result, ensure};
use clap::Parser;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use figures::{Figures, Rows};
use options::{Mode, Options};

/// That of the server, which in process is this one.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
use plot::Point;

/// Open files beside the connections: databases, libraries, pipes.
const FILES: usize = 100;

fn main() -> ExitCode {
    let options = Options::parse();
    match started(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn started(options: Options) -> Result<()> {
    options.check()?;
    let mut builder = match (options.mode, options.threads) {
        (Mode::Http, 1) if !options.serve_echo => tokio::runtime::Builder::new_current_thread(),
        (Mode::Http, threads) if !options.serve_echo => {
            let mut builder = tokio::runtime::Builder::new_multi_thread();
            builder.worker_threads(threads);
            builder
        }
        // As the server has it: a thread for each processor.
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    open_files(&options)?;
    let runtime = builder.enable_all().build()?;
    if options.serve_echo {
        return runtime.block_on(floor::serve_echo());
    }
    runtime.block_on(all(options))
}

/// A connection is an open file, here and at the server, which inherits the limit.
fn open_files(options: &Options) -> Result<()> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most)?;
    let needed = (options.workers + options.submitters + FILES) as u64;
    let fits = options.mode == Mode::Inprocess || needed <= most;
    ensure!(fits, "{needed} open files are needed and {most} allowed; see `ulimit -n`");
    Ok(())
}

async fn all(options: Options) -> Result<()> {
    if options.sleepers.is_some() {
        say(&options, &sleepers::measure(&options).await?);
        return Ok(());
    }
    if let Some(file) = &options.plot {
        return plotted(&options, file).await;
    }
    if options.workflow.is_some() {
        return workflows(&options).await;
    }
    let Some(scenario) = options.scenario else {
        if options.floor {
            say_floor(&options).await?;
        }
        let runs = repeated(&options).await?;
        let mut columns = numbered(runs.iter().map(Figures::rows));
        if runs.len() > 1 {
            columns.push(("median run".to_owned(), median(runs).rows()));
        }
        say(&options, &format!("{}\n\n{}", options.title(), table::render(&columns)));
        return Ok(());
    };
    for scenario in scenario.each() {
        if options.floor || scenario.wants_floor() {
            say_floor(&options).await?;
        }
        let mut columns: Vec<(String, Rows)> = Vec::new();
        for setup in scenario.setups(&options) {
            setup.check()?;
            columns.push((setup.title(), median(repeated(&setup).await?).rows()));
        }
        let title = format!("{scenario:?}: median of {} runs each", options.repeat);
        say(&options, &format!("{title}\n\n{}\n", table::render(&columns)));
    }
    Ok(())
}

/// Runs of a workflow, instead of tasks.
async fn workflows(options: &Options) -> Result<()> {
    let options = Arc::new(options.clone());
    let mut runs = Vec::new();
    for _ in 0..options.repeat {
        let figures = workflow::run(&options).await?;
        if options.json {
            println!("{}", serde_json::to_string(&figures)?);
        }
        runs.push(figures);
    }
    let mut columns = numbered(runs.iter().map(workflow::RunFigures::rows));
    if runs.len() > 1 {
        runs.sort_by(|a, b| a.runs_per_second.total_cmp(&b.runs_per_second));
        columns.push(("median run".to_owned(), runs[runs.len() / 2].rows()));
    }
    say(&options, &format!("{}\n\n{}", options.title(), table::render(&columns)));
    Ok(())
}

fn numbered(runs: impl Iterator<Item = Rows>) -> Vec<(String, Rows)> {
    runs.enumerate().map(|(at, rows)| (format!("run {}", at + 1), rows)).collect()
}

/// Runs every point of both curves, and draws them.
async fn plotted(options: &Options, file: &Path) -> Result<()> {
    let (workers, backlogs) = scenario::sweeps(options);
    let (mut columns, mut curves) = (Vec::new(), (Vec::new(), Vec::new()));
    for setup in &workers {
        let figures = median(repeated(setup).await?);
        curves.0.push(Point::of(setup.workers as f64, &figures));
        columns.push((setup.title(), figures.rows()));
    }
    for setup in &backlogs {
        let figures = median(repeated(setup).await?);
        curves.1.push(Point::of(setup.backlog as f64, &figures));
        columns.push((setup.title(), figures.rows()));
    }
    std::fs::write(file, plot::render(&options.title(), &curves.0, &curves.1))?;
    say(options, &table::render(&columns));
    Ok(())
}

/// As many runs as are asked for, each told as it ends.
async fn repeated(options: &Options) -> Result<Vec<Figures>> {
    options.check()?;
    let options = Arc::new(options.clone());
    let mut runs = Vec::new();
    for _ in 0..options.repeat {
        let figures = run::run(&options).await?;
        if options.json {
            println!("{}", serde_json::to_string(&figures)?);
        }
        runs.push(figures);
    }
    Ok(runs)
}

/// The run whose throughput is in the middle.
fn median(mut runs: Vec<Figures>) -> Figures {
    runs.sort_by(|a, b| a.tasks_per_second.total_cmp(&b.tasks_per_second));
    runs.swap_remove(runs.len() / 2)
}

async fn say_floor(options: &Options) -> Result<()> {
    let floor = floor::measure(options).await?;
    if options.json {
        println!("{}", serde_json::to_string(&floor)?);
    }
    say(options, &format!("{}\n", floor.render()));
    Ok(())
}

/// Standard output belongs to JSON where that is wanted.
fn say(options: &Options, text: &str) {
    if options.json { eprintln!("{text}") } else { println!("{text}") }
}
