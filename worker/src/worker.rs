//! The worker: a claimer, so many seats that run what it brings, and beside them a reporter and a
//! pulse.
//!
//! Told by its owner (run, shut down) and by the control plane (through the transport). Ends when
//! it is drained, or when the control plane turned it away.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::crew::Crew;
use crate::execute::{Execute, StopReason};
use crate::probe::Probe;
use crate::transport::{Transport, TransportError};
use crate::{claimer, probe, pulse, reporter, seat};

/// How long the goodbye may take. Without one the worker is missed for a while: that is all.
const GOODBYE_WITHIN: Duration = Duration::from_secs(2);

/// How a worker behaves. Every field has a default.
#[derive(Debug, Clone)]
pub struct WorkerOptions {
    /// Tasks run at once; at least one. Default 1.
    pub seats: usize,
    /// How long one claim waits for work, at most 60 s. Default 20 s.
    pub poll_timeout: Duration,
    /// Time between heartbeats until the control plane names another. Default 10 s.
    pub heartbeat_every: Duration,
    /// How long running tasks may go on after a shutdown was asked for, before they are killed
    /// and handed back. Default 30 s.
    pub drain_deadline: Duration,
    /// Run one task on one seat, waiting for it as long as it takes, and end.
    pub once: bool,
    /// Endpoints of its models, asked while it works; at most [`PROBES_MAX`](crate::PROBES_MAX). With any, a model that it
    /// declared and that none of them names is not asked of it. Default: none.
    pub probes: Vec<Probe>,
    /// How often they are asked. Default 30 s.
    pub probe_every: Duration,
    /// Tells this life of the process from the one before. Default: random.
    pub boot_id: String,
}

impl Default for WorkerOptions {
    fn default() -> Self {
        Self {
            seats: 1,
            poll_timeout: Duration::from_secs(20),
            heartbeat_every: Duration::from_secs(10),
            drain_deadline: Duration::from_secs(30),
            once: false,
            probes: Vec::new(),
            probe_every: probe::EVERY,
            boot_id: uuid::Uuid::new_v4().to_string(),
        }
    }
}

/// What a worker did in its life, by attempts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    /// Reported as completed, and accepted.
    pub completed: u64,
    /// Reported as failed, and accepted.
    pub failed: u64,
    /// Handed back unfinished.
    pub handed_back: u64,
    /// Stopped because the lease was lost or could not be renewed.
    pub lost: u64,
    /// Ended here, but the control plane refused the report or could not be told in time.
    pub undelivered: u64,
}

/// Why a worker ended without having been asked to. For a process: see [`WorkerError::exit_code`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WorkerError {
    /// Unknown, rejected or revoked: register again, or ask an operator.
    #[error("the control plane turned this worker away ({status}): {detail}")]
    Rejected {
        /// The HTTP status, or what it would be.
        status: u16,
        /// Why, in the control plane's words.
        detail: String,
    },
    /// It refuses claims for a reason that waiting does not change: this worker and that control
    /// plane do not speak the same protocol, or the address is not one of a control plane.
    #[error("the control plane keeps refusing claims ({code}): {detail}")]
    Refused {
        /// Stable word for the reason.
        code: String,
        /// Why, in the control plane's words.
        detail: String,
    },
}

impl WorkerError {
    /// The exit code of a process that ends with this: 2, as older workers do.
    pub fn exit_code(&self) -> u8 {
        2
    }
}

/// A worker that was not started yet.
pub struct Worker<T, X> {
    transport: T,
    execute: X,
    options: WorkerOptions,
}

impl<T: Transport, X: Execute> Worker<T, X> {
    /// A worker that gets its tasks over `transport` and runs them with `execute`.
    pub fn new(transport: T, execute: X, options: WorkerOptions) -> Self {
        Self { transport, execute, options }
    }

    /// Works until `shutdown` is cancelled (or one task is done, with `once`) and it is drained.
    ///
    /// Draining takes at most the drain deadline, then [`ABORT_AFTER`](crate::ABORT_AFTER) for
    /// tasks that do not want to stop and [`FINAL_DELIVERY`](crate::FINAL_DELIVERY) for the last
    /// reports, or less where the drain deadline is shorter. Dropping the future kills what runs without telling anybody.
    ///
    /// # Errors
    ///
    /// The control plane turned the worker away for good, before or while draining.
    pub async fn run(self, shutdown: CancellationToken) -> Result<Summary, WorkerError> {
        let seats = if self.options.once { 1 } else { self.options.seats.max(1) };
        let drain_deadline = self.options.drain_deadline;
        let crew = Crew::new(self.transport, self.execute, self.options, &shutdown);
        let crew = Arc::new(crew.map_err(refused)?);

        let mut beside = JoinSet::new();
        if crew.prober.is_some() {
            // Before the first heartbeat, and so before the first claim, it is known which models are there.
            tokio::select! {
                () = crew.look() => {}
                () = crew.draining.cancelled() => {}
            }
            let crew = crew.clone();
            beside.spawn(async move { crew.keep_looking().await });
        }
        beside.spawn(pulse::beat(crew.clone()));
        beside.spawn(reporter::report(crew.clone()));
        // Room for all of them: each seat is free once at a time.
        let (free, free_seats) = mpsc::channel(seats);
        let mut working = JoinSet::new();
        for _ in 0..seats {
            working.spawn(seat::work(crew.clone(), free.clone()));
        }
        drop(free);
        working.spawn(claimer::claim(crew.clone(), free_seats));

        tokio::select! {
            () = ended(&mut working) => {}
            () = ended(&mut beside) => {}
            () = crew.draining.cancelled() => {}
        }
        tracing::info!(held = crew.held.len(), "draining");
        if timeout(drain_deadline, ended(&mut working)).await.is_err() {
            tracing::warn!(held = crew.held.len(), "drain deadline passed");
            crew.overdue.cancel();
            crew.held.stop_all(StopReason::Draining);
            ended(&mut working).await;
        }
        // No heartbeat may come after the goodbye: it would take it back.
        beside.shutdown().await;
        let summary = crew.verdict()?;
        let goodbye = timeout(GOODBYE_WITHIN, crew.transport.leave()).await;
        if !matches!(goodbye, Ok(Ok(()))) {
            tracing::debug!(?goodbye, "the control plane did not hear the goodbye");
        }
        Ok(summary)
    }
}

/// What cannot be begun with.
fn refused(error: TransportError) -> WorkerError {
    match error {
        TransportError::Refused { code, detail } => WorkerError::Refused { code, detail },
        other => WorkerError::Refused { code: "unusable".to_owned(), detail: other.to_string() },
    }
}

/// Resolves when all of them have ended. A panic goes on in the caller: a worker that lost a
/// seat or its pulse is not a worker. (A panic of a task's code never comes here.)
async fn ended(crew: &mut JoinSet<()>) {
    while let Some(member) = crew.join_next().await {
        if let Err(error) = member
            && let Ok(panic) = error.try_into_panic()
        {
            std::panic::resume_unwind(panic);
        }
    }
}
