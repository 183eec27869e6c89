//! What the command line says, checked once. The other modules read these fields and no arguments.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Result, ensure};
use clap::{Parser, ValueEnum};

use crate::scenario::Scenario;

/// Beyond this many sockets the workers run in process: the port range of loopback ends near it.
pub(crate) const HTTP_WORKERS_MAX: usize = 15_000;
/// The edge takes that many tasks in one request.
const BATCH_MAX: usize = 1_000;
/// Steps that a workflow here may have.
const STEPS_MAX: usize = 50;
/// Batches of what is not measured: most tasks, and most bytes of a request.
const HASTY_BATCH: usize = 200;
const HASTY_BYTES: usize = 1 << 20;

/// Simulates a fleet against a real server and says what it costs.
#[derive(Debug, Clone, Parser)]
#[command(name = "load")]
pub(crate) struct Options {
    /// Workers over HTTP to a server process, or sessions in this process without a wire.
    #[arg(long, value_enum, default_value_t = Mode::Http)]
    pub(crate) mode: Mode,
    /// Where the journal is.
    #[arg(long, value_enum, default_value_t = StoreKind::Postgres)]
    pub(crate) store: StoreKind,
    /// Workers, each on a connection of its own, that take one task (or batch) at a time.
    #[arg(long, default_value_t = 64)]
    pub(crate) workers: usize,
    /// Tasks that are measured.
    #[arg(long, default_value_t = 20_000)]
    pub(crate) tasks: u64,
    /// Tasks that run before measuring begins.
    #[arg(long, default_value_t = 2_000)]
    pub(crate) warm_up: u64,
    /// Tasks that wait before the first worker starts, and stay waiting while tasks are measured.
    #[arg(long, default_value_t = 0)]
    pub(crate) backlog: u64,
    /// Measure how the backlog drains, with nobody submitting.
    #[arg(long, requires = "backlog")]
    pub(crate) drain: bool,
    /// Runs of a workflow of so many steps that do nothing, instead of tasks: a submitter starts one and waits for its
    /// result; `--tasks`, `--warm-up` and `--submitters` count runs then.
    #[arg(long, value_name = "STEPS", conflicts_with_all = ["backlog", "chaos", "scenario", "plot"])]
    pub(crate) workflow: Option<usize>,
    /// Organisations; workers and tasks are spread over them.
    #[arg(long, default_value_t = 1)]
    pub(crate) orgs: usize,
    /// Distinct requirements of tasks; every worker fits all of them.
    #[arg(long, default_value_t = 1)]
    pub(crate) classes: usize,
    /// Distinct profiles of workers; all fit every task.
    #[arg(long, default_value_t = 1)]
    pub(crate) profiles: usize,
    /// Bytes of a task's payload beside its time stamp.
    #[arg(long, value_name = "BYTES", default_value_t = 100)]
    pub(crate) payload: usize,
    /// How long a worker holds a task before it reports.
    #[arg(long, default_value_t = 0)]
    pub(crate) work_ms: u64,
    /// Tasks in one submit, one claim and one report.
    #[arg(long, default_value_t = 1)]
    pub(crate) batch: usize,
    /// `closed`: as fast as answers come. `poisson:RATE`: so many a second, whatever the answers.
    #[arg(long, default_value = "closed")]
    pub(crate) arrivals: Arrivals,
    /// Clients that submit.
    #[arg(long, default_value_t = 64)]
    pub(crate) submitters: usize,
    /// Tasks that may be open beyond the backlog [default: two batches for each worker].
    #[arg(long)]
    pub(crate) open: Option<usize>,
    /// Kill the server, kill workers and lose answers at random while tasks run.
    #[arg(long)]
    pub(crate) chaos: bool,
    /// kill -9 the server when the backlog waits, and measure the time to the first claim.
    #[arg(long, requires = "backlog")]
    pub(crate) recover: bool,
    /// Workers prove themselves by key pair and short-lived task token instead of id and secret, and refresh ahead of
    /// time. Over HTTP.
    #[arg(long)]
    pub(crate) tokens: bool,
    /// Submit under idempotency keys, so that a submit of unknown outcome is repeated without doubling anything. Chaos
    /// does; without it such an answer ends the run with an error.
    #[arg(long)]
    pub(crate) keys: bool,
    /// A canned comparison; the other options are what its setups have in common.
    #[arg(long, value_enum)]
    pub(crate) scenario: Option<Scenario>,
    /// Multiplies the large side of a scenario, for a smaller machine.
    #[arg(long, default_value_t = 1.0)]
    pub(crate) scale: f64,
    /// Draw throughput and latency against workers and against the backlog.
    #[arg(long, value_name = "FILE.svg", conflicts_with = "scenario")]
    pub(crate) plot: Option<PathBuf>,
    /// Instead of tasks: put so many runs of a workflow to sleep, and start a server on them.
    #[arg(long, conflicts_with_all = ["scenario", "plot"])]
    pub(crate) sleepers: Option<u64>,
    /// How many of the sleepers are due at one instant.
    #[arg(long, default_value_t = 10_000)]
    pub(crate) wake: u64,
    /// Measure what disk, database and HTTP can do at most here, in the same run.
    #[arg(long)]
    pub(crate) floor: bool,
    /// Repeat everything on an empty store; the table has each run and the median.
    #[arg(long, default_value_t = 1)]
    pub(crate) repeat: usize,
    /// How long to watch the parked fleet after the run; 0 leaves it out.
    #[arg(long, default_value_t = 5)]
    pub(crate) idle_seconds: u64,
    /// Threads of the load itself, over HTTP.
    #[arg(long, default_value_t = 1)]
    pub(crate) threads: usize,
    /// One JSON object a run on standard output; the table then goes to standard error.
    #[arg(long)]
    pub(crate) json: bool,
    /// More arguments for `fleetward serve`, separated by spaces.
    #[arg(long, value_name = "ARGS", allow_hyphen_values = true)]
    pub(crate) serve_args: Option<String>,
    /// Where SQLite keeps its file [default: a directory that is removed].
    #[arg(long, value_name = "FOLDER")]
    pub(crate) folder: Option<PathBuf>,
    /// Give up when no task ends for so long.
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub(crate) patience: u64,
    /// Only answer requests with their own body: the other half of the floor.
    #[arg(long, hide = true)]
    pub(crate) serve_echo: bool,
    /// Said by `cargo bench` to every benchmark.
    #[arg(long, hide = true)]
    pub(crate) bench: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    Http,
    Inprocess,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum StoreKind {
    Postgres,
    Sqlite,
    Memory,
}

/// When tasks are submitted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Arrivals {
    /// By so many submitters, each when its last answer came and there is room.
    Closed,
    /// At random moments, so many a second on average.
    Poisson { per_second: f64 },
}

impl FromStr for Arrivals {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "closed" {
            return Ok(Self::Closed);
        }
        let rate = text.strip_prefix("poisson:").and_then(|rate| rate.parse().ok());
        match rate.filter(|rate: &f64| rate.is_finite() && *rate > 0.0) {
            Some(per_second) => Ok(Self::Poisson { per_second }),
            None => Err("say `closed` or `poisson:RATE`, a rate above 0 a second".to_owned()),
        }
    }
}

impl std::fmt::Display for Arrivals {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Closed => f.write_str("closed"),
            Self::Poisson { per_second } => write!(f, "poisson:{per_second}"),
        }
    }
}

impl Options {
    /// Refuses what cannot be run, before anything is started.
    pub(crate) fn check(&self) -> Result<()> {
        let over_http = self.mode == Mode::Http;
        ensure!(self.workers > 0 && self.submitters > 0, "there is nobody to do it");
        ensure!(self.repeat > 0 && self.threads > 0, "--repeat and --threads begin at 1");
        ensure!((1..=BATCH_MAX).contains(&self.batch), "--batch is 1 to {BATCH_MAX}");
        ensure!(self.classes > 0 && self.profiles > 0, "--classes and --profiles begin at 1");
        ensure!(
            !over_http || self.workers <= HTTP_WORKERS_MAX,
            "{} workers over HTTP are too many for one machine; say --mode inprocess",
            self.workers
        );
        ensure!(over_http || !self.tokens, "--tokens is about requests; it needs --mode http");
        ensure!(over_http || !self.chaos, "--chaos kills a server process; it needs --mode http");
        ensure!(
            !self.chaos || self.store != StoreKind::Memory,
            "--chaos needs a store that outlives the server"
        );
        ensure!(
            over_http && self.store != StoreKind::Memory || !self.recover,
            "--recover kills a server process; it needs --mode http and a store that outlives it"
        );
        ensure!(
            self.sleepers.is_none() || over_http && self.store != StoreKind::Memory,
            "--sleepers restarts a server; it needs --mode http and a store that outlives it"
        );
        ensure!(self.scale > 0.0 && self.scale <= 10.0, "--scale is above 0 and at most 10");
        ensure!(
            self.workflow.is_none_or(|steps| (1..=STEPS_MAX).contains(&steps)),
            "--workflow is 1 to {STEPS_MAX} steps"
        );
        ensure!(self.workflow.is_none() || self.orgs == 1, "--workflow has one organisation");
        ensure!(self.orgs > 0 && self.orgs <= self.workers, "--orgs is 1 to --workers");
        ensure!(self.measured() > 0, "nothing is left to measure after --warm-up");
        Ok(())
    }

    /// Tasks that are submitted while workers run.
    pub(crate) fn flowing(&self) -> u64 {
        if self.drain { 0 } else { self.warm_up + self.tasks }
    }

    /// Completions that are measured, after those that warm up.
    pub(crate) fn measured(&self) -> u64 {
        if self.drain { self.backlog.saturating_sub(self.warm_up) } else { self.tasks }
    }

    /// Tasks that may be open beyond the backlog.
    pub(crate) fn room(&self) -> usize {
        let least = self.submitters * self.batch;
        self.open.unwrap_or((2 * self.workers * self.batch).max(least)).max(self.batch)
    }

    /// Tasks in one request where nothing is measured: a backlog has to come and go quickly.
    pub(crate) fn hasty_batch(&self) -> usize {
        let fitting = HASTY_BYTES / (self.payload + HASTY_BYTES / BATCH_MAX);
        self.batch.max(fitting.clamp(1, HASTY_BATCH))
    }

    /// Tasks that a worker may have at once.
    pub(crate) fn seats(&self) -> usize {
        if self.backlog > 0 { self.hasty_batch() } else { self.batch }
    }

    pub(crate) fn work(&self) -> Duration {
        Duration::from_millis(self.work_ms)
    }

    pub(crate) fn idle(&self) -> Duration {
        Duration::from_secs(self.idle_seconds)
    }

    pub(crate) fn patience(&self) -> Duration {
        Duration::from_secs(self.patience)
    }

    /// The setup in a few words, as the head of a column.
    pub(crate) fn title(&self) -> String {
        let mode = if self.mode == Mode::Http { "http" } else { "inprocess" };
        let store = format!("{:?}", self.store).to_lowercase();
        let mut title = format!("{mode} {store} {} workers", self.workers);
        let mut say = |shown: bool, text: String| {
            if shown {
                title.push_str(&text);
            }
        };
        let unit = if self.workflow.is_some() { "runs" } else { "tasks" };
        say(!self.drain, format!(", {} {unit}", self.tasks));
        let steps = self.workflow.unwrap_or_default();
        say(steps > 0, format!(" of {steps} steps, {} in flight", self.submitters));
        say(self.backlog > 0, format!(", backlog {}", self.backlog));
        say(self.drain, ", drain".to_owned());
        say(self.recover, ", recovery".to_owned());
        say(self.batch > 1, format!(", batches of {}", self.batch));
        say(self.orgs > 1, format!(", {} orgs", self.orgs));
        say(self.classes > 1, format!(", {} classes", self.classes));
        say(self.profiles > 1, format!(", {} profiles", self.profiles));
        say(self.work_ms > 0, format!(", {} ms of work", self.work_ms));
        say(self.arrivals != Arrivals::Closed, format!(", {}", self.arrivals));
        say(self.tokens, ", task tokens".to_owned());
        say(self.chaos, ", chaos".to_owned());
        title
    }
}
