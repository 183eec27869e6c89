//! One run from an empty store to its figures: join, preload, warm up, measure, wait idle, check.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use tokio::task::JoinSet;

use crate::chaos::torment;
use crate::check::every_task_has_one_result;
use crate::crew::Crew;
use crate::desk::Desk;
use crate::figures::{Figures, Idle, Mishaps, Moment, Quantiles};
use crate::fleet::Fleet;
use crate::options::{Mode, Options, StoreKind};
use crate::place::Place;
use crate::progress::Progress;
use crate::seat::Seat;
use crate::source::Source;
use crate::subject::Subject;
use crate::tally::Tally;
use crate::usage;

/// PostgreSQL's processes tell what they counted after ten idle seconds at the latest.
const TOLD_WITHIN: Duration = Duration::from_secs(11);
/// Time for what follows the last task: rows, checkpoints of the allocator.
const SETTLED_WITHIN: Duration = Duration::from_secs(1);
/// How often, and for how long at a time, to look whether the server rests.
const SETTLE_LOOKS: usize = 240;
const SETTLE_LOOK: Duration = Duration::from_millis(500);
const MIB: f64 = (1_u64 << 20) as f64;

/// One run while it runs.
struct Run {
    options: Arc<Options>,
    place: Place,
    subject: Subject,
    crew: Crew,
    progress: Progress,
    began: Instant,
    /// Clients, and whoever torments the server. Dropped, they stop.
    background: JoinSet<Result<()>>,
}

/// Runs once as `options` say.
pub(crate) async fn run(options: &Arc<Options>) -> Result<Figures> {
    let place = Place::fresh(options).await?;
    let subject = Subject::start(&place, options).await?;
    let crew = Crew::new(options.clone());
    let progress = Progress::new(options.title());
    let (options, began, background) = (options.clone(), Instant::now(), JoinSet::new());
    let mut run = Run { options, place, subject, crew, progress, began, background };
    run.progress.phase("joining", 0);
    let mut fleet = run.subject.fleet(&run.options, &run.crew.shape).await?;
    let preload_per_second = run.preload(&mut fleet).await?;
    run.settle().await?;
    let crashed_us = run.crash(&mut fleet).await?;
    let mut figures = run.measure(fleet).await?;
    figures.preload_per_second = preload_per_second;
    let first_us = run.crew.tally.first_start_us();
    figures.recovery_seconds =
        first_us.zip(crashed_us).map(|(first, crash)| first.saturating_sub(crash) as f64 / 1e6);
    run.finish().await?;
    figures.idle = run.idle().await?;
    figures.mishaps = Mishaps::of(&run.crew.tally);
    figures.checked = run.check().await?;
    Ok(figures)
}

impl Run {
    /// Submits the backlog while nobody works, and says how many tasks a second.
    async fn preload(&mut self, fleet: &mut Fleet) -> Result<Option<f64>> {
        let backlog = self.options.backlog;
        if backlog == 0 {
            return Ok(None);
        }
        self.progress.phase("preloading", backlog);
        let tally = &self.crew.tally;
        let source = Arc::new(Source::free(tally, 0, backlog));
        let since = Instant::now();
        let desks = std::mem::take(&mut fleet.desks);
        self.crew.hurry(true);
        fleet.desks = tokio::select! {
            desks = self.crew.submit_all(desks, source) => desks?,
            never = self.progress.follow(tally, Tally::submitted) => never,
        };
        self.crew.hurry(false);
        Ok(Some(backlog as f64 / since.elapsed().as_secs_f64()))
    }

    /// Waits until the server has worked off what follows a backlog, as rows to write: that is
    /// not the cost of what is measured next.
    async fn settle(&self) -> Result<()> {
        if self.options.backlog == 0 {
            return Ok(());
        }
        self.progress.phase("settling", 0);
        for _ in 0..SETTLE_LOOKS {
            let before = self.busy().await?;
            tokio::time::sleep(SETTLE_LOOK).await;
            if self.busy().await? - before < SETTLE_LOOK / 20 {
                return Ok(());
            }
        }
        bail!("server and database do not come to rest after the backlog")
    }

    /// Processor time of the server and its database so far.
    async fn busy(&self) -> Result<Duration> {
        let database = self.place.counts().await?.map_or(0.0, |counts| counts.cpu_s);
        Ok(self.subject.cpu()? + Duration::from_secs_f64(database))
    }

    /// Kills the server while everything waits, and says when.
    async fn crash(&mut self, fleet: &mut Fleet) -> Result<Option<u64>> {
        let Some(server) = self.subject.server().filter(|_| self.options.recover) else {
            return Ok(None);
        };
        fleet.desks.iter_mut().for_each(Desk::hang_up);
        fleet.seats.iter_mut().for_each(Seat::hang_up);
        let crashed_us = self.crew.tally.now_us();
        tokio::task::spawn_blocking(move || server.crash_and_restart()).await??;
        Ok(Some(crashed_us))
    }

    /// Lets everybody loose, and measures after the warm-up.
    async fn measure(&mut self, fleet: Fleet) -> Result<Figures> {
        let Fleet { desks, seats } = fleet;
        let (crew, tally) = (self.crew.clone(), self.crew.tally.clone());
        self.background.spawn(async move { crew.work_all(seats).await });
        if self.options.chaos {
            self.background.spawn(torment(self.subject.server(), tally.clone()));
        }
        let (first, count) = (self.options.backlog, self.options.flowing());
        let source = Arc::new(Source::arriving(&tally, first, count, self.options.arrivals));
        let crew = self.crew.clone();
        self.background.spawn(async move { crew.submit_all(desks, source).await.map(drop) });

        self.progress.phase("warming up", self.options.warm_up);
        self.reach(self.options.warm_up).await?;
        let from = self.moment().await?;
        tally.measure(true);
        let goal = self.options.warm_up + self.options.measured();
        self.progress.phase("measuring", goal);
        self.reach(goal).await?;
        tally.measure(false);
        let to = self.moment().await?;

        let mut figures = Figures::between(&self.options, &from, &to);
        let latencies = tally.latencies();
        figures.submit = Quantiles::of(&latencies.submit);
        figures.start = Quantiles::of(&latencies.start);
        figures.report = Quantiles::of(&latencies.report);
        let (now, peak) = self.subject.memory()?;
        figures.server_rss_mib = now as f64 / MIB;
        figures.server_rss_peak_mib = peak as f64 / MIB;
        Ok(figures)
    }

    /// Works off what is still open.
    async fn finish(&mut self) -> Result<()> {
        let all = self.options.backlog + self.options.flowing();
        self.progress.phase("finishing", all);
        self.crew.hurry(self.options.backlog > 0);
        self.reach(all).await
    }

    /// What it costs that everybody waits.
    async fn idle(&self) -> Result<Option<Idle>> {
        let wait = self.options.idle();
        if wait.is_zero() || self.options.chaos {
            return Ok(None);
        }
        self.progress.phase("watching the parked fleet", wait.as_secs());
        let told_late =
            self.options.store == StoreKind::Postgres && self.options.mode == Mode::Http;
        tokio::time::sleep(if told_late { TOLD_WITHIN } else { SETTLED_WITHIN }).await;
        let (from, asked) = (self.moment().await?, self.subject.statements());
        tokio::time::sleep(wait).await;
        let (to, asking) = (self.moment().await?, self.subject.statements());
        let seconds = (to.at - from.at).as_secs_f64();
        let database = from.database.zip(to.database);
        let transactions = database.map(|(a, b)| b.transactions.saturating_sub(a.transactions));
        let statements = asked.zip(asking).map(|(a, b)| b - a);
        Ok(Some(Idle {
            server_cpu_percent: (to.server_cpu - from.server_cpu).as_secs_f64() / seconds * 100.0,
            database_cpu_percent: database.map(|(a, b)| (b.cpu_s - a.cpu_s) / seconds * 100.0),
            queries: statements.or(transactions),
            server_rss_mib: self.subject.memory()?.0 as f64 / MIB,
        }))
    }

    /// Stops everything and looks for what is missing or double.
    async fn check(mut self) -> Result<u64> {
        self.background.shutdown().await;
        self.progress.phase("checking", 0);
        let expected = self.options.backlog + self.options.flowing();
        let tally = self.crew.tally.clone();
        let store = self.subject.stop(&self.place, &self.options).await?;
        let checked = every_task_has_one_result(&tally, store).await?;
        ensure!(checked == expected, "{checked} submits were answered of {expected}");
        Ok(checked)
    }

    /// Waits until so many tasks have completed, and fails if a client did or nothing moves.
    async fn reach(&mut self, goal: u64) -> Result<()> {
        let tally = &self.crew.tally;
        let patience = self.options.patience();
        let mut reached = std::pin::pin!(tally.reach(goal));
        let mut before = tally.count();
        loop {
            tokio::select! {
                biased;
                () = &mut reached => return Ok(()),
                Some(ended) = self.background.join_next() => ended??,
                () = tokio::time::sleep(patience) => {
                    let now = tally.count();
                    ensure!(now > before, "{}", stuck(tally, goal, patience));
                    before = now;
                }
                never = self.progress.follow(tally, Tally::count) => never,
            }
        }
    }

    async fn moment(&self) -> Result<Moment> {
        Ok(Moment {
            at: self.began.elapsed(),
            completed: self.crew.tally.count(),
            server_cpu: self.subject.cpu()?,
            load_cpu: usage::cpu(std::process::id())?,
            database: self.place.counts().await?,
            journal_commits: self.subject.journal_commits().await?,
        })
    }
}

/// What is known of a run that does not get on.
fn stuck(tally: &Tally, goal: u64, patience: Duration) -> String {
    let (acknowledged, accepted) = tally.ledgers();
    let accepted: HashSet<_> = accepted.into_iter().collect();
    let open: Vec<_> = acknowledged.iter().filter(|task| !accepted.contains(task)).collect();
    format!(
        "no task has completed for {patience:?}: {} of {goal}, {} submitted, {} open, as {:?}; {:?}",
        accepted.len(),
        acknowledged.len(),
        open.len(),
        open.first(),
        Mishaps::of(tally),
    )
}
