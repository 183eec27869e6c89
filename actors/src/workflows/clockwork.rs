//! The clockwork of one cell: it starts the conductors of runs that were open when the cell was, and of those that rest when
//! their time comes, some at a time. Told by conductors that leave; else it reads which rows are due.
//!
//! What it remembers is the next page of the rows' times, however many there are. A run that is found twice is started once.

use std::borrow::Cow;
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use fleetward_runtime::{Actor, Context, Crash, Reply, StartError, Timer};
use fleetward_store::{CellId, Due, DueQuery, Store};

use super::conductor::Runs;
use super::nursery::Nursery;
use super::run::Run;
use crate::fact::Fold;
use crate::fleet::cell::keeper;
use crate::id::RunId;
use crate::journal::CellLog;
use crate::projector;

/// Conductors that are started at once.
const AT_ONCE: usize = 64;
/// Times that are read at once.
const PAGE: usize = 1_000;
/// Most times that are remembered; later ones are read again from the rows.
const AHEAD_MAX: usize = 4 * PAGE;
/// How far ahead times are read, in microseconds. While nothing is due that is a query in half the time.
const AHEAD_US: i64 = 3_600_000_000;
/// Longest nap, in microseconds; the wall clock that times are of may be set.
const NAP_US: i64 = 60_000_000;
/// When it reads again after the store was away, in microseconds.
const AGAIN_US: i64 = 1_000_000;
/// How long the rows may take to contain what was there when the cell was opened, until that is asked anew.
const ROWS_WITHIN: Duration = Duration::from_secs(10);
/// Later than any id.
const LAST_ID: &str = "\u{10ffff}";

/// What it starts from.
#[derive(Clone)]
pub struct Args {
    /// Which cell.
    pub cell: CellId,
    /// Gives it what was true.
    pub keeper: keeper::Handle,
    /// Where times are read.
    pub store: Arc<dyn Store>,
    /// Follows the cell.
    pub projector: projector::Handle,
    /// Where conductors find what was read of their runs, and which ids are new.
    pub nursery: Arc<Nursery>,
    /// The conductors.
    pub runs: Runs,
}

/// The protocol.
#[derive(Debug)]
pub enum Message {
    /// From a conductor that leaves, whose run's row has this time.
    Asleep {
        /// When its run is to go on.
        due: Due,
        /// Once it will be: until then the conductor stays.
        reply: Reply<()>,
    },
    /// From a conductor: it is worth to know which ids of runs are used.
    FillUsedIds,
    /// From itself: they are known; how many rows there were, or why not.
    UsedIdsFilled(Result<u64, String>),
    /// From itself: so many have been started.
    Started,
    /// From itself: times that it asked for.
    Read {
        /// Up to when, in microseconds UTC.
        until: i64,
        /// The times; an error: the store is away.
        read: Result<Vec<Due>, String>,
    },
    /// Timer: a time has come, or the rows are to be looked at.
    Tick,
}

/// Its memory.
pub struct State {
    args: Args,
    log: CellLog,
    /// Whose conductors are to be started.
    waiting: VecDeque<RunId>,
    starting: bool,
    /// The times that come next: all of the rows' up to the horizon.
    ahead: BTreeSet<Due>,
    horizon: Due,
    reading: bool,
    /// What it was told while it was reading, which may have come too late for that.
    told: Vec<Due>,
    /// Whether that was too much to be kept: then what is read does not count.
    missed: bool,
    /// Whether the store was away a moment ago.
    away: bool,
    /// When it looks next at all, in microseconds UTC.
    tick: Option<(i64, Timer)>,
}

impl Actor for State {
    type Args = Args;
    type Message = Message;

    async fn start(args: Args, cx: &mut Context<Message>) -> Result<Self, StartError> {
        let mut part = args.keeper.take(&[Run::KIND]).await?;
        let mut waiting = VecDeque::new();
        for run in part.states::<Run>() {
            waiting.push_back(run.id.clone());
            args.nursery.keep(run);
        }
        if !waiting.is_empty() {
            tracing::info!(runs = waiting.len(), "runs go on");
        }
        cx.send(Message::Tick);
        Ok(Self {
            args,
            log: part.log,
            waiting,
            starting: false,
            ahead: BTreeSet::new(),
            horizon: Due { at: i64::MIN, id: String::new() },
            reading: false,
            told: Vec::new(),
            missed: false,
            away: false,
            tick: None,
        })
    }

    fn handle(&mut self, message: Message, cx: &mut Context<Message>) -> Result<(), Crash> {
        match message {
            Message::Asleep { due, reply } => {
                self.asleep(due);
                reply.send(());
            }
            Message::FillUsedIds => self.fill_used_ids(cx),
            Message::UsedIdsFilled(Ok(rows)) => tracing::info!(rows, "the ids of runs are known"),
            Message::UsedIdsFilled(Err(why)) => {
                tracing::debug!(%why, "the ids of runs cannot be read now");
            }
            Message::Started => self.starting = false,
            Message::Read { until, read } => self.read(until, read),
            Message::Tick => (self.tick, self.away) = (None, false),
        }
        self.go_on(cx);
        Ok(())
    }

    fn label(message: &Message) -> &'static str {
        match message {
            Message::Asleep { .. } => "Asleep",
            Message::FillUsedIds => "FillUsedIds",
            Message::UsedIdsFilled(_) => "UsedIdsFilled",
            Message::Started => "Started",
            Message::Read { .. } => "Read",
            Message::Tick => "Tick",
        }
    }

    fn inspect(&self) -> serde_json::Value {
        serde_json::json!({
            "to_start": self.waiting.len(),
            "times": self.ahead.len(),
            "next": self.ahead.first().map(|due| due.at),
            "read_to": self.horizon.at,
        })
    }
}

impl State {
    fn fill_used_ids(&self, cx: &Context<Message>) {
        let Args { cell, store, projector, nursery, .. } = self.args.clone();
        let positions = self.log.positions().clone();
        cx.spawn(
            async move { nursery.used.fill(cell, store.as_ref(), &projector, &positions).await },
            Message::UsedIdsFilled,
        );
    }

    fn asleep(&mut self, due: Due) {
        if !self.reading {
            self.remember([due]);
        } else if self.told.len() < AHEAD_MAX {
            self.told.push(due);
        } else {
            self.missed = true;
        }
    }

    /// Keeps those within the horizon, and moves that where they are too many: the rows have them.
    fn remember(&mut self, times: impl IntoIterator<Item = Due>) {
        let within = times.into_iter().filter(|due| *due <= self.horizon);
        self.ahead.extend(within);
        if self.ahead.len() > AHEAD_MAX {
            while self.ahead.len() > AHEAD_MAX {
                self.ahead.pop_last();
            }
            self.horizon.clone_from(self.ahead.last().expect("it holds as many as it may"));
        }
    }

    fn go_on(&mut self, cx: &Context<Message>) {
        let now = cx.clock().wall_us();
        while self.waiting.len() < PAGE
            && let Some(due) = self.ahead.first().filter(|due| due.at <= now)
        {
            // What is no id is no run of ours.
            self.waiting.extend(due.id.parse::<RunId>());
            self.ahead.pop_first();
            metrics::counter!("fleetward_runs_woken_total").increment(1);
        }
        self.start_some(cx);
        self.look(now, cx);
        let next = match self.ahead.first() {
            _ if self.away => now.saturating_add(AGAIN_US),
            Some(due) => due.at.clamp(now, now.saturating_add(NAP_US)),
            None => now.saturating_add(NAP_US),
        };
        // While it starts some, it is told when they have started.
        let waits = self.tick.as_ref().is_some_and(|(at, _)| *at <= next);
        if !waits && (next > now || !self.starting) {
            let wait = Duration::from_micros((next - now).unsigned_abs());
            self.tick = Some((next, cx.after(wait, Message::Tick)));
        }
    }

    fn start_some(&mut self, cx: &Context<Message>) {
        if self.starting || self.waiting.is_empty() {
            return;
        }
        self.starting = true;
        let some: Vec<_> = self.waiting.drain(..AT_ONCE.min(self.waiting.len())).collect();
        let runs = self.args.runs.clone();
        let started = async move {
            some.iter().for_each(|run| runs.start(run.clone()));
            for run in some {
                if let Err(error) = runs.get_or_start(run.clone()).await {
                    // The family goes on trying, or has said why it does not.
                    tracing::debug!(%run, %error, "the conductor of a run does not start");
                }
            }
        };
        cx.spawn(started, |()| Message::Started);
    }

    /// Reads more times when those that are known come to an end.
    fn look(&mut self, now: i64, cx: &Context<Message>) {
        let near = self.horizon.at < now.saturating_add(AHEAD_US / 2);
        if self.reading || self.away || !near || self.ahead.len() >= PAGE {
            return;
        }
        self.reading = true;
        let Args { cell, store, projector, .. } = self.args.clone();
        let (until, after) = (now.saturating_add(AHEAD_US), Some(self.horizon.clone()));
        let query = DueQuery { cell, kind: Cow::Borrowed(Run::KIND), until, after, limit: PAGE };
        let positions = self.log.positions().clone();
        let read = async move {
            // What was there when the cell was opened may have no rows yet. Whoever leaves later has one.
            let opened = positions.opened();
            let passed = projector.passed(cell, &positions, opened, ROWS_WITHIN).await;
            passed.map_err(|behind| behind.to_string())?;
            store.due_page(query).await.map_err(|error| error.to_string())
        };
        cx.spawn(read, move |read| Message::Read { until, read });
    }

    fn read(&mut self, until: i64, read: Result<Vec<Due>, String>) {
        self.reading = false;
        let told = std::mem::take(&mut self.told);
        if std::mem::take(&mut self.missed) {
            // The rows have what it was told, up to the horizon too.
            self.horizon = Due { at: i64::MIN, id: String::new() };
            return;
        }
        match read {
            Ok(times) => {
                self.horizon = match times.last() {
                    Some(last) if times.len() == PAGE => last.clone(),
                    _ => Due { at: until, id: LAST_ID.to_owned() },
                };
                self.remember(times);
            }
            Err(why) => {
                tracing::debug!(%why, "the times of runs cannot be read now");
                self.away = true;
            }
        }
        self.remember(told);
    }
}
