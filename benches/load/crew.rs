//! The clients of a run as tasks: submitters, and workers that claim, work and report.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Result, bail};
use fleetward_actors::id::TaskId;
use tokio::task::JoinSet;

use crate::desk::Desk;
use crate::line::Trouble;
use crate::options::Options;
use crate::seat::{Held, Seat, Verdict};
use crate::shape::{NewTask, Shape};
use crate::source::Source;
use crate::tally::{Mishap, Tally};

/// The longest poll there is, so that a parked fleet asks as rarely as it may.
const POLL: Duration = Duration::from_secs(60);
/// How long to wait before asking a busy server again.
const PAUSE: Duration = Duration::from_millis(50);
/// How often a worker says that it still works; and under chaos, where leases are short.
const HEARTBEAT: Duration = Duration::from_secs(5);
const HASTY_HEARTBEAT: Duration = Duration::from_secs(1);
/// Under chaos, how many claims are left before they are answered, and how many tasks are never
/// reported.
const LEFT: f64 = 0.01;
const FORGOTTEN: f64 = 0.01;

/// What all clients share.
#[derive(Clone)]
pub(crate) struct Crew {
    pub(crate) tally: Arc<Tally>,
    pub(crate) shape: Arc<Shape>,
    pub(crate) options: Arc<Options>,
    /// Tasks in one request, for now.
    batch: Arc<AtomicUsize>,
}

impl Crew {
    pub(crate) fn new(options: Arc<Options>) -> Self {
        Self {
            tally: Arc::new(Tally::new(options.room())),
            shape: Arc::new(Shape::new(&options)),
            batch: Arc::new(AtomicUsize::new(options.batch)),
            options,
        }
    }

    /// Whether requests take as much as they can, because nothing is measured.
    pub(crate) fn hurry(&self, on: bool) {
        let batch = if on { self.options.hasty_batch() } else { self.options.batch };
        self.batch.store(batch, Ordering::Relaxed);
    }

    /// Submits all that `source` has, through all of `desks`, and gives them back.
    pub(crate) async fn submit_all(
        &self,
        desks: Vec<Desk>,
        source: Arc<Source>,
    ) -> Result<Vec<Desk>> {
        let mut submitters = JoinSet::new();
        for desk in desks {
            submitters.spawn(self.clone().submit(desk, source.clone()));
        }
        let mut back = Vec::new();
        while let Some(ended) = submitters.join_next().await {
            back.push(ended??);
        }
        Ok(back)
    }

    /// Works for ever; ends only with what went wrong.
    pub(crate) async fn work_all(&self, seats: Vec<Seat>) -> Result<()> {
        let mut workers = JoinSet::new();
        for seat in seats {
            workers.spawn(self.clone().work(seat));
        }
        while let Some(ended) = workers.join_next().await {
            ended??;
        }
        bail!("all workers have ended")
    }

    async fn submit(self, mut desk: Desk, source: Arc<Source>) -> Result<Desk> {
        loop {
            let tasks = source.take(self.batch()).await;
            if tasks.is_empty() {
                return Ok(desk);
            }
            self.submit_surely(&mut desk, tasks).await?;
        }
    }

    /// Submits until every task was acknowledged.
    async fn submit_surely(&self, desk: &mut Desk, mut tasks: Vec<NewTask>) -> Result<()> {
        while !tasks.is_empty() {
            let ids = match desk.submit(&tasks, &self.shape).await {
                Ok(ids) => ids,
                Err(trouble) => {
                    self.forgive(trouble).await?;
                    continue;
                }
            };
            let there = ids.iter().zip(&tasks).filter_map(|(id, task)| Some(((*id)?, task.at_us)));
            let (taken, moments): (Vec<TaskId>, Vec<u64>) = there.unzip();
            self.tally.acknowledged(&taken, moments.into_iter());
            let mut ids = ids.into_iter();
            tasks.retain(|_| matches!(ids.next(), Some(None)));
            if !tasks.is_empty() {
                self.forgive(Trouble::Busy("a submit".to_owned())).await?;
            }
        }
        Ok(())
    }

    async fn work(self, mut seat: Seat) -> Result<()> {
        loop {
            let held = match self.claim(&mut seat).await {
                Ok(held) if held.is_empty() => continue,
                Ok(held) => held,
                Err(trouble) => {
                    self.forgive(trouble).await?;
                    continue;
                }
            };
            self.tally.started(&held);
            if self.chaos(FORGOTTEN) {
                self.tally.trouble(Mishap::Forgotten, held.len());
                seat.hang_up();
                continue;
            }
            self.hold(&mut seat, &held).await?;
            self.report(&mut seat, held).await?;
        }
    }

    async fn claim(&self, seat: &mut Seat) -> Result<Vec<Held>, Trouble> {
        if !self.chaos(LEFT) {
            return seat.claim(self.batch(), POLL).await;
        }
        let patience = Duration::from_micros(rand::random_range(0..20_000));
        let claim = seat.claim(self.batch(), POLL);
        // An answer that comes later finds nobody.
        tokio::time::timeout(patience, claim).await.unwrap_or_else(|_| {
            self.tally.trouble(Mishap::Left, 1);
            Ok(Vec::new())
        })
    }

    /// Works on what it holds, with signs of life.
    async fn hold(&self, seat: &mut Seat, held: &[Held]) -> Result<()> {
        let every = if self.options.chaos { HASTY_HEARTBEAT } else { HEARTBEAT };
        let mut left = self.options.work();
        while !left.is_zero() {
            let step = left.min(every);
            tokio::time::sleep(step).await;
            left -= step;
            if !left.is_zero()
                && let Err(trouble) = seat.heartbeat(held).await
            {
                self.forgive(trouble).await?;
            }
        }
        Ok(())
    }

    /// Reports until every task was accepted or is somebody else's.
    async fn report(&self, seat: &mut Seat, mut held: Vec<Held>) -> Result<()> {
        let since = self.tally.now_us();
        while !held.is_empty() {
            let verdicts = match seat.report(&held).await {
                Ok(verdicts) => verdicts,
                Err(trouble) => {
                    self.forgive(trouble).await?;
                    continue;
                }
            };
            let with = |wanted| {
                let pairs = held.iter().zip(&verdicts);
                pairs.filter(move |(_, verdict)| **verdict == wanted).map(|(held, _)| held)
            };
            let accepted: Vec<TaskId> = with(Verdict::Accepted).map(|held| held.task).collect();
            let superseded = with(Verdict::Superseded).count();
            let again: Vec<Held> = with(Verdict::Busy).cloned().collect();
            self.tally.completed(&accepted, since);
            self.tally.trouble(Mishap::Superseded, superseded);
            if superseded > 0 && !self.options.chaos {
                bail!("{superseded} attempts were taken from a worker that had them");
            }
            held = again;
            if !held.is_empty() {
                self.forgive(Trouble::Busy("a report".to_owned())).await?;
            }
        }
        Ok(())
    }

    /// Waits, if what went wrong is to be expected.
    async fn forgive(&self, trouble: Trouble) -> Result<()> {
        let expected = match &trouble {
            Trouble::Busy(_) => true,
            // Repeating doubles nothing that has a key.
            Trouble::Lost(_) => self.options.chaos || self.options.keys,
            Trouble::Refused { .. } => false,
        };
        if !expected {
            return Err(trouble.into());
        }
        self.tally.trouble(Mishap::Retried, 1);
        tokio::time::sleep(PAUSE).await;
        Ok(())
    }

    fn batch(&self) -> usize {
        self.batch.load(Ordering::Relaxed)
    }

    fn chaos(&self, share: f64) -> bool {
        self.options.chaos && rand::random::<f64>() < share
    }
}
