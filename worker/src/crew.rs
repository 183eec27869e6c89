//! What claimer, seats, reporter and pulse of one worker share.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use fleetward_wire::tasks::{Checkpoint, Checkpoints, Progress, ReadCheckpoints};
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::execute::{Execute, StopReason, Tell};
use crate::held::Held;
use crate::outbox::Outbox;
use crate::probe::Prober;
use crate::transport::{Transport, TransportError};
use crate::worker::{Summary, WorkerError, WorkerOptions};

pub(crate) struct Crew<T, X> {
    pub(crate) transport: T,
    pub(crate) execute: Arc<X>,
    pub(crate) options: WorkerOptions,
    pub(crate) clock: Clock,
    pub(crate) held: Held,
    pub(crate) outbox: Outbox,
    pub(crate) tally: Tally,
    /// Nothing is claimed any more.
    pub(crate) draining: CancellationToken,
    /// Running tasks had their time, and last reports have little left.
    pub(crate) overdue: CancellationToken,
    /// The control plane turned the worker away: nothing it says will be heard.
    pub(crate) rejected: CancellationToken,
    /// Who looks at the endpoints of its models, if there are any.
    pub(crate) prober: Option<Prober>,
    verdict: OnceLock<WorkerError>,
}

/// Counts of a [`Summary`] in the making.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) completed: AtomicU64,
    pub(crate) failed: AtomicU64,
    pub(crate) handed_back: AtomicU64,
    pub(crate) lost: AtomicU64,
    pub(crate) undelivered: AtomicU64,
}

#[async_trait]
impl<T: Transport, X: Execute> Tell for Crew<T, X> {
    async fn tell(&self, run_id: &str, progress: Progress) -> Result<(), TransportError> {
        self.transport.progress(run_id, progress).await
    }

    async fn checkpoint(&self, run_id: &str, done: Checkpoint) -> Result<(), TransportError> {
        self.transport.checkpoint(run_id, done).await
    }

    async fn recorded(
        &self,
        run_id: &str,
        asked: ReadCheckpoints,
    ) -> Result<Checkpoints, TransportError> {
        self.transport.recorded(run_id, asked).await
    }
}

impl<T, X> Crew<T, X> {
    pub(crate) fn new(
        transport: T,
        execute: X,
        mut options: WorkerOptions,
        shutdown: &CancellationToken,
    ) -> Result<Self, TransportError> {
        let prober = Prober::new(std::mem::take(&mut options.probes), options.probe_every)?;
        Ok(Self {
            transport,
            execute: Arc::new(execute),
            options,
            clock: Clock::new(),
            held: Held::default(),
            outbox: Outbox::default(),
            tally: Tally::default(),
            draining: shutdown.child_token(),
            overdue: CancellationToken::new(),
            rejected: CancellationToken::new(),
            prober,
            verdict: OnceLock::new(),
        })
    }

    /// Looks at the endpoints of its models once.
    pub(crate) async fn look(&self) {
        if let Some(prober) = &self.prober {
            prober.look(&self.clock).await;
        }
    }

    /// Looks at them again and again, for ever.
    pub(crate) async fn keep_looking(&self) {
        match &self.prober {
            Some(prober) => prober.run(&self.clock).await,
            None => std::future::pending().await,
        }
    }

    /// The control plane turned the worker away.
    pub(crate) fn rejected(&self, status: u16, detail: String) {
        self.give_up(WorkerError::Rejected { status, detail });
    }

    /// Ends the worker for a reason that waiting does not change. The first one stands.
    pub(crate) fn give_up(&self, error: WorkerError) {
        let said = error.to_string();
        if self.verdict.set(error).is_ok() {
            tracing::error!(reason = said, "giving up");
            self.draining.cancel();
            self.rejected.cancel();
            self.held.stop_all(StopReason::Rejected);
        }
    }

    /// How the worker's life went.
    pub(crate) fn verdict(&self) -> Result<Summary, WorkerError> {
        match self.verdict.get() {
            Some(error) => Err(error.clone()),
            None => Ok(self.tally.summary()),
        }
    }
}

impl Tally {
    pub(crate) fn add(&self, count: &AtomicU64) {
        count.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn summary(&self) -> Summary {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Summary {
            completed: read(&self.completed),
            failed: read(&self.failed),
            handed_back: read(&self.handed_back),
            lost: read(&self.lost),
            undelivered: read(&self.undelivered),
        }
    }
}
