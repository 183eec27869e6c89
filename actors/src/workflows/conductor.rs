//! The conductor of one run: it plans what comes next, and makes tasks, waits and ends of it. Told by callers who start,
//! decide, signal and end, by the dispatcher of tasks that are closed, and by other conductors of child runs; tells the
//! journal, and the dispatcher which tasks it wants.
//!
//! It owns the events of its run. What it wants of the dispatcher has ids that follow from the run, and is asked for again
//! whenever it may have been lost.

mod act;
mod commands;
mod deleting;
mod ended;
mod leaving;
mod message;
mod outbox;
mod reading;
mod watchdog;

use std::sync::Arc;
use std::time::Duration;

use fleetward_runtime::{Actor, Address, Context, Crash, Family, Reply, StartError, Timer};
use fleetward_store::{CellId, Position, Store};

use super::clockwork;
use super::definition::Definition;
use super::nursery::{Known, Nursery};
use super::plan::Values;
use super::run::Run;
use super::shelf::Shelf;
use crate::config::Config;
use crate::fact::{self, Fold};
use crate::fleet::cell::keeper;
use crate::fleet::dispatcher;
use crate::fleet::models::ModelNames;
use crate::id::RunId;
use crate::journal::CellLog;
use crate::projector;
use crate::schedules::scheduler;
use crate::seal::Sealed;
use crate::system::principals::{KnownOrg, Principals};
pub(crate) use act::value_of;
pub(crate) use leaving::{ask, hand};
pub use message::{Begun, Decision, Deletion, Ended, Message, NewRun, Remedy, StepEnded, View};
use outbox::Outbox;
pub(crate) use reading::read_values;

/// Conductors of one cell, by run.
pub type Runs = Family<RunId, Address<Message>>;

/// How long a conductor that starts waits for the rows.
const ROWS_WITHIN: Duration = Duration::from_secs(10);
/// How often tasks are asked after that nothing was heard of.
const TEND_EVERY: Duration = Duration::from_secs(60);
/// When it asks or reads again after that was not possible: its cell starts, or the store is away.
const AGAIN: Duration = Duration::from_secs(1);
/// Longest wait of a timer: the wall clock that times are of may be set.
const LONGEST_NAP_US: i64 = 60_000_000;
/// One that has nothing more to do ends after this time; whoever asks for it starts it again.
const LINGER: Duration = Duration::from_secs(2);
/// The same where its run is closed and only the rows of that are waited for: until they are written, as a rule.
const LINGER_CLOSED: Duration = Duration::from_millis(400);

/// What a conductor starts from.
#[derive(Clone)]
pub struct Args {
    /// Which run.
    pub run: RunId,
    /// Which cell.
    pub cell: CellId,
    /// Gives it the cell's log.
    pub keeper: keeper::Handle,
    /// Makes tasks.
    pub dispatcher: Address<dispatcher::Message>,
    /// Told when a run of a schedule has ended.
    pub scheduler: Address<scheduler::Message>,
    /// The other runs of the cell, once there is a family of them.
    pub runs: Siblings,
    /// Finds it again when its time comes.
    pub clockwork: Address<clockwork::Message>,
    /// What it need not read: those that are new, or were read with their cell.
    pub nursery: Arc<Nursery>,
    /// Definitions.
    pub shelf: Arc<Shelf>,
    /// What names of models are read by.
    pub models: Arc<ModelNames>,
    /// Has the keys.
    pub principals: Arc<Principals>,
    /// Where values are read.
    pub store: Arc<dyn Store>,
    /// Follows the cell.
    pub projector: projector::Handle,
    /// Limits.
    pub config: Arc<Config>,
}

/// The family that a conductor is of: known once it is made.
pub type Siblings = Arc<std::sync::OnceLock<Runs>>;

/// A conductor's memory.
pub struct State {
    args: Args,
    log: CellLog,
    known: Arc<KnownOrg>,
    definition: Option<Arc<Definition>>,
    run: Option<Run>,
    /// Position at which the run was deleted: there is none until it is started anew.
    deleted: Position,
    values: Values,
    value_bytes: usize,
    /// Values that are being read.
    reading: bool,
    /// Whether its tasks are being asked after.
    asking: bool,
    /// Whether they are to be asked after when the values are here that are being read.
    ask_when_read: bool,
    /// Whether the run above it is being told of its end.
    telling: bool,
    /// Whether the clockwork is being told when its run is due, and what it knows.
    setting: bool,
    alarm: Option<i64>,
    /// Whether the last plan lacked values.
    hungry: bool,
    /// Whether all child runs that it waits for were seen to have begun.
    children_known: bool,
    /// Whether it has asked to be removed, and what came since.
    leaving: bool,
    parked: Vec<Message>,
    /// Why it cannot go on, where its definition is not to be had.
    stuck: Option<String>,
    /// Shows in the metrics that it is stuck.
    counted: Option<watchdog::Counted>,
    /// Who waits for something to happen, and past which event.
    watchers: Vec<(Position, Reply<Option<Ended>>)>,
    /// The output or the error text of a run that has just ended, for them.
    last_words: Option<Sealed>,
    /// What a command leaves to be sent behind its events.
    pending: Outbox,
    due: Option<(i64, Timer)>,
    tend: Option<Timer>,
    linger: Option<Timer>,
}

impl Actor for State {
    type Args = Args;
    type Message = Message;

    async fn start(args: Args, cx: &mut Context<Message>) -> Result<Self, StartError> {
        let log = args.keeper.take(&[]).await?.log;
        let known = args.principals.org_of(args.cell);
        let known = known.ok_or_else(|| StartError::Unavailable("no organisation".to_owned()))?;
        let run = match args.nursery.take(&args.run, log.positions().opened()) {
            Known::New => None,
            Known::Kept(run) => Some(*run),
            Known::Unread => read_run(&args, &log, cx.life()).await?,
        };
        let mut state = Self {
            args,
            log,
            known,
            definition: None,
            run,
            deleted: 0,
            values: Values::new(),
            value_bytes: 0,
            reading: false,
            asking: false,
            ask_when_read: false,
            telling: false,
            setting: false,
            alarm: None,
            hungry: false,
            children_known: false,
            leaving: false,
            parked: Vec::new(),
            stuck: None,
            counted: None,
            watchers: Vec::new(),
            last_words: None,
            pending: Outbox::default(),
            due: None,
            tend: None,
            linger: None,
        };
        if let Some(run) = state.run.as_ref().filter(|run| !run.is_closed()) {
            let (shelf, store) = (&state.args.shelf, state.args.store.as_ref());
            let version = (run.workflow.as_str(), run.version.as_str());
            let found = shelf.definition(store, state.args.cell, version).await;
            state.definition = found.map_err(|error| StartError::Unavailable(error.to_string()))?;
            if state.definition.is_none() {
                state.stuck = Some(format!("{} has no version {}", run.workflow, run.version));
            }
            cx.send(Message::TendDue);
        }
        state.tell_parent(cx);
        state.end_orphans(cx);
        state.settle(cx);
        Ok(state)
    }

    fn handle(&mut self, message: Message, cx: &mut Context<Message>) -> Result<(), Crash> {
        if self.leaving {
            self.park(message);
            return Ok(());
        }
        match message {
            Message::Start { new, by, reply } => self.begin(*new, &by, reply, cx),
            Message::StepEnded { ended } => self.step_ended(*ended, cx),
            Message::ChildEnded { ended, reply } => self.child_ended(*ended, reply, cx),
            Message::ParentTold { told } => self.parent_told(told, cx),
            Message::OrphanTold { run, told } => self.orphan_told(run, told, cx),
            Message::Decide { decision, reply } => self.decide(decision, reply, cx),
            Message::Signal { name, payload, digest, by, reply } => {
                self.signal(name, (payload, digest), &by, reply, cx);
            }
            Message::Amend { remedy, by, reply } => self.amend(remedy, &by, reply, cx),
            Message::Delete { deletion, reply } => self.delete(deletion, reply, cx),
            Message::NotDeleted { reply } => self.not_deleted(reply),
            Message::Look { reply } => self.log.answer(reply, self.run.clone().map(Box::new)),
            Message::Watch { past, reply } => self.watch(past, reply),
            Message::SubmitUnsure => self.ask(cx),
            Message::Found { found } => self.found(found, cx),
            Message::Read { read } => self.read(read, cx),
            Message::Defined { definition, remedy, by, reply } => {
                self.defined(definition, (remedy, by, reply), cx);
            }
            Message::AlarmSet { at } => self.alarm_set(at, cx),
            Message::Due => self.due(cx),
            Message::TendDue => self.tend(cx),
            Message::LingerOver => self.leave(cx),
        }
        self.settle(cx);
        Ok(())
    }

    fn stopped(&mut self, cx: &mut Context<Message>) {
        self.hand_over(cx);
    }

    fn label(message: &Message) -> &'static str {
        message.label()
    }

    fn inspect(&self) -> serde_json::Value {
        let run = self.run.as_ref();
        serde_json::json!({
            "workflow": run.map(|run| &run.workflow),
            "status": run.map(Fold::status),
            "tasks": run.map(|run| run.scheduled.len()),
            "waits": run.map(|run| run.waits.len()),
            "rests": run.map(|run| run.rests),
            "values_bytes": self.value_bytes,
            "stuck": self.stuck,
        })
    }
}

/// The run as its row says, once the rows contain all of it. A conductor leaves when they do; so only what was done before
/// the cell was opened can be missing, or what was done by one that crashed.
async fn read_run(args: &Args, log: &CellLog, life: u64) -> Result<Option<Run>, StartError> {
    let positions = log.positions();
    let to = if life == 1 { positions.opened() } else { positions.given() };
    let passed = args.projector.passed(args.cell, positions, to, ROWS_WITHIN);
    passed.await.map_err(|behind| StartError::Unavailable(behind.to_string()))?;
    let rows = args.store.get(args.cell, Run::KIND, &[args.run.to_string()]).await;
    let rows = rows.map_err(|error| StartError::Unavailable(format!("store: {error}")))?;
    if rows.is_empty() && args.nursery.used.asked_in_vain(positions.opened()) {
        let _ = args.clockwork.send(clockwork::Message::FillUsedIds);
    }
    let read = rows.first().map(fact::from_record::<Run>).transpose();
    read.map_err(|error| StartError::Halt(error.to_string()))
}

impl State {
    /// Keeps its timers as the run needs them, and tells who waits.
    fn settle(&mut self, cx: &Context<Message>) {
        if !self.watchers.is_empty() {
            self.tell_watchers();
        }
        self.last_words = None;
        self.count_stuck();
        if self.leaving {
            return;
        }
        let idle = self.run.as_ref().is_none_or(|run| run.is_closed() || run.only_waits());
        // One that began before it was busy is left: when it is over, it is seen whether there is something to do.
        if idle && self.linger.is_none() {
            let is_open = self.run.as_ref().is_some_and(|run| !run.is_closed());
            let linger = if is_open { LINGER } else { LINGER_CLOSED };
            self.linger = Some(cx.after(linger, Message::LingerOver));
        }
        let open = self.run.as_ref().filter(|run| !run.is_closed());
        let Some(run) = open else {
            self.due = None;
            return;
        };
        match run.due() {
            None => self.due = None,
            Some(next) if self.due.as_ref().is_none_or(|(at, _)| *at != next) => {
                let wait = (next - cx.clock().wall_us()).clamp(0, LONGEST_NAP_US);
                let wait = Duration::from_micros(wait.unsigned_abs());
                self.due = Some((next, cx.after(wait, Message::Due)));
            }
            Some(_) => {}
        }
        // A busy one needs no second timer where it will be here again soon.
        if self.tend.is_none() && (idle || self.linger.is_none()) {
            self.tend = Some(cx.after(TEND_EVERY, Message::TendDue));
        }
    }

    fn watch(&mut self, past: Position, reply: Reply<Option<Ended>>) {
        self.watchers.retain(|(_, watcher)| !watcher.is_closed());
        // Whether it has happened is seen when this message is done.
        self.watchers.push((past, reply));
    }

    /// Answers those for whom something has happened.
    fn tell_watchers(&mut self) {
        let now = self.run.as_ref().filter(|run| !run.is_closed()).map(|run| run.updated);
        let happened = |past: Position| now.is_none_or(|now| now > past);
        let (told, left) =
            std::mem::take(&mut self.watchers).into_iter().partition(|(past, _)| happened(*past));
        self.watchers = left;
        for (_, watcher) in told {
            let ended = self.run.clone().filter(|_| self.last_words.is_some());
            let sealed = self.last_words.clone();
            self.log.answer(watcher, ended.map(|run| Ended { run: Box::new(run), sealed }));
        }
    }
}
