//! What a run yields: figures that mean the same in the table and in JSON.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::options::{Mode, Options};
use crate::place::Counts;
use crate::tally::{Mishap, Tally};

/// A table's rows: a name and a text for each figure.
pub(crate) type Rows = Vec<(String, String)>;

/// The figures of one run.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Figures {
    pub(crate) title: String,
    pub(crate) mode: String,
    pub(crate) store: String,
    pub(crate) workers: usize,
    pub(crate) batch: usize,
    pub(crate) backlog: u64,
    pub(crate) arrivals: String,
    /// Tasks whose completion was measured.
    pub(crate) tasks: u64,
    pub(crate) seconds: f64,
    pub(crate) tasks_per_second: f64,
    /// The backlog, submitted in large batches whatever is measured.
    pub(crate) preload_per_second: Option<f64>,
    /// From kill -9 of the server to the first task that a worker has.
    pub(crate) recovery_seconds: Option<f64>,
    pub(crate) submit: Option<Quantiles>,
    pub(crate) start: Option<Quantiles>,
    pub(crate) report: Option<Quantiles>,
    pub(crate) server_cpu_us_per_task: f64,
    pub(crate) database_cpu_us_per_task: Option<f64>,
    pub(crate) load_cpu_us_per_task: Option<f64>,
    pub(crate) server_rss_mib: f64,
    pub(crate) server_rss_peak_mib: f64,
    pub(crate) journal_commits_per_task: Option<f64>,
    pub(crate) database_commits_per_task: Option<f64>,
    pub(crate) fsyncs_per_task: Option<f64>,
    pub(crate) idle: Option<Idle>,
    pub(crate) mishaps: Mishaps,
    /// Tasks of which each was found to have exactly one result.
    pub(crate) checked: u64,
}

/// A latency, in milliseconds.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Quantiles {
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) p999_ms: f64,
    pub(crate) max_ms: f64,
    pub(crate) count: u64,
}

/// What a fleet costs that waits.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Idle {
    pub(crate) server_cpu_percent: f64,
    pub(crate) database_cpu_percent: Option<f64>,
    /// Transactions that the server began, or statements where it runs in this process.
    pub(crate) queries: Option<u64>,
    pub(crate) server_rss_mib: f64,
}

/// What went wrong, most of it because chaos wanted it to.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Mishaps {
    /// The server was killed.
    pub(crate) crashes: u64,
    /// Tasks with which a worker went away.
    pub(crate) forgotten: u64,
    /// Claims whose worker went away before the answer.
    pub(crate) left: u64,
    /// Reports of attempts that were somebody else's by then.
    pub(crate) superseded: u64,
    /// Requests that had to be sent again.
    pub(crate) retries: u64,
}

/// How things stood at one moment of a run.
#[derive(Debug, Clone)]
pub(crate) struct Moment {
    pub(crate) at: Duration,
    pub(crate) completed: u64,
    pub(crate) server_cpu: Duration,
    pub(crate) load_cpu: Duration,
    pub(crate) journal_commits: Option<u64>,
    pub(crate) database: Option<Counts>,
}

impl Figures {
    /// The figures of what happened between two moments; the rest is filled in by whoever has it.
    pub(crate) fn between(options: &Options, from: &Moment, to: &Moment) -> Self {
        let seconds = (to.at - from.at).as_secs_f64();
        let tasks = to.completed - from.completed;
        let each = |amount: f64| amount / tasks as f64;
        let us = |from: Duration, to: Duration| each((to.saturating_sub(from)).as_secs_f64() * 1e6);
        let database = from.database.zip(to.database);
        let counted = |from: u64, to: u64| each(to.saturating_sub(from) as f64);
        let over_http = options.mode == Mode::Http;
        // A server that was killed began to count anew.
        let journal = from.journal_commits.zip(to.journal_commits).filter(|_| !options.chaos);
        Self {
            title: options.title(),
            mode: format!("{:?}", options.mode).to_lowercase(),
            store: format!("{:?}", options.store).to_lowercase(),
            workers: options.workers,
            batch: options.batch,
            backlog: options.backlog,
            arrivals: options.arrivals.to_string(),
            tasks,
            seconds,
            tasks_per_second: tasks as f64 / seconds,
            preload_per_second: None,
            recovery_seconds: None,
            submit: None,
            start: None,
            report: None,
            server_cpu_us_per_task: us(from.server_cpu, to.server_cpu),
            database_cpu_us_per_task: database.map(|(a, b)| each((b.cpu_s - a.cpu_s) * 1e6)),
            load_cpu_us_per_task: over_http.then(|| us(from.load_cpu, to.load_cpu)),
            server_rss_mib: 0.0,
            server_rss_peak_mib: 0.0,
            journal_commits_per_task: journal.map(|(a, b)| counted(a, b)),
            database_commits_per_task: database.map(|(a, b)| counted(a.commits, b.commits)),
            fsyncs_per_task: database.map(|(a, b)| counted(a.fsyncs, b.fsyncs)),
            idle: None,
            mishaps: Mishaps::default(),
            checked: 0,
        }
    }

    /// The rows of the table: a name and a text for each figure.
    pub(crate) fn rows(&self) -> Rows {
        let mut rows = Vec::new();
        let mut row = |name: &str, text: String| rows.push((name.to_owned(), text));
        row("tasks/s", number(self.tasks_per_second));
        row("preload tasks/s, in batches", optional(self.preload_per_second));
        row("kill -9 to first claim s", optional(self.recovery_seconds));
        let latencies = [
            ("submit ack", &self.submit),
            ("submit to start", &self.start),
            ("report ack", &self.report),
        ];
        for (name, latency) in latencies {
            let of = |part: fn(&Quantiles) -> f64| optional(latency.as_ref().map(part));
            row(&format!("{name} p50 ms"), of(|latency| latency.p50_ms));
            row(&format!("{name} p99 ms"), of(|latency| latency.p99_ms));
            row(&format!("{name} p99.9 ms"), of(|latency| latency.p999_ms));
            row(&format!("{name} max ms"), of(|latency| latency.max_ms));
        }
        row("server cpu µs/task", number(self.server_cpu_us_per_task));
        row("database cpu µs/task", optional(self.database_cpu_us_per_task));
        row("load cpu µs/task", optional(self.load_cpu_us_per_task));
        row("server RSS MiB", number(self.server_rss_mib));
        row("server RSS peak MiB", number(self.server_rss_peak_mib));
        row("journal commits/task", optional(self.journal_commits_per_task));
        row("database commits/task", optional(self.database_commits_per_task));
        row("fsyncs/task", optional(self.fsyncs_per_task));
        let idle = self.idle.as_ref();
        row("idle server cpu %", optional(idle.map(|idle| idle.server_cpu_percent)));
        row("idle database cpu %", optional(idle.and_then(|idle| idle.database_cpu_percent)));
        row("idle queries", optional(idle.and_then(|idle| Some(idle.queries? as f64))));
        row("idle server RSS MiB", optional(idle.map(|idle| idle.server_rss_mib)));
        let some = |count: u64| optional((count > 0).then_some(count as f64));
        row("server crashes", some(self.mishaps.crashes));
        row("tasks forgotten", some(self.mishaps.forgotten));
        row("claims left", some(self.mishaps.left));
        row("reports too late", some(self.mishaps.superseded));
        row("requests repeated", some(self.mishaps.retries));
        row("tasks with one result", number(self.checked as f64));
        rows
    }
}

impl Mishaps {
    pub(crate) fn of(tally: &Tally) -> Self {
        Self {
            crashes: tally.troubles(Mishap::Crashed),
            forgotten: tally.troubles(Mishap::Forgotten),
            left: tally.troubles(Mishap::Left),
            superseded: tally.troubles(Mishap::Superseded),
            retries: tally.troubles(Mishap::Retried),
        }
    }
}

impl Quantiles {
    /// None where nothing was recorded.
    pub(crate) fn of(histogram: &Histogram<u64>) -> Option<Self> {
        let ms = |us: u64| us as f64 / 1e3;
        let at = |quantile: f64| ms(histogram.value_at_quantile(quantile));
        (!histogram.is_empty()).then(|| Self {
            p50_ms: at(0.5),
            p99_ms: at(0.99),
            p999_ms: at(0.999),
            max_ms: ms(histogram.max()),
            count: histogram.len(),
        })
    }
}

/// Three significant digits, and all of whole thousands.
pub(crate) fn number(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        large if large >= 100.0 || value.fract() == 0.0 => format!("{value:.0}"),
        middle if middle >= 10.0 => format!("{value:.1}"),
        small if small >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

pub(crate) fn optional(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), number)
}
