//! The scheduler of one cell: it fires the ticks of the organisation's schedules and starts their runs. Told by operators,
//! by its timer, and by conductors of runs that ended; tells the journal, and conductors what to start and to cancel.
//!
//! A tick is durable before its run is: what was wanted in an earlier life and has not begun is asked for again.

mod entry;
mod message;
mod start;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use fleetward_runtime::{Actor, Context, Crash, Reply, StartError, Timer};
use fleetward_store::{CellId, Store};

use super::schedule::{Event, Schedule};
use crate::cause::Cause;
use crate::config::Config;
use crate::effect::Effect;
use crate::error::{Error, Kind, Refusal};
use crate::fact::Fold;
use crate::fleet::cell::keeper;
use crate::id::{RunId, ScheduleId};
use crate::journal::CellLog;
use crate::system::principals::Principals;
use crate::workflows::conductor::{Begun, Runs};
use crate::workflows::shelf::Shelf;
use entry::{Entry, Outcome, STARTING_MAX, Starting, refused};
pub use message::{Change, Listed, Message, Placed, Put, Ran, RunNow};
use start::{Ground, Order};

/// Most schedules of an organisation: they are all in memory, with their last ticks.
pub const SCHEDULES_MAX: usize = 1_000;
/// Longest sleep: the wall clock that ticks are of may be set.
const LONGEST_NAP: Duration = Duration::from_secs(10);
/// When something is tried again that was not possible: the store is away, or a conductor is between two lives.
const AGAIN: Duration = Duration::from_secs(1);

/// What it starts from.
#[derive(Clone)]
pub struct Args {
    /// Which cell.
    pub cell: CellId,
    /// Gives it what was true.
    pub keeper: keeper::Handle,
    /// The conductors.
    pub runs: Runs,
    /// Definitions.
    pub shelf: Arc<Shelf>,
    /// Has the keys.
    pub principals: Arc<Principals>,
    /// Where inputs and runs are read.
    pub store: Arc<dyn Store>,
    /// Limits.
    pub config: Arc<Config>,
}

/// Its memory.
pub struct State {
    args: Args,
    log: CellLog,
    entries: BTreeMap<ScheduleId, Entry>,
    names: BTreeMap<String, ScheduleId>,
    /// Which schedule is looked at when.
    agenda: BTreeSet<(i64, ScheduleId)>,
    /// For which time of the agenda it sleeps.
    timer: Option<(i64, Timer)>,
    /// Its first look at what earlier lives wanted is tried again then.
    recover: Option<Timer>,
}

impl Actor for State {
    type Args = Args;
    type Message = Message;

    async fn start(args: Args, cx: &mut Context<Message>) -> Result<Self, StartError> {
        let mut part = args.keeper.take(&[Schedule::KIND]).await?;
        let (mut entries, mut names) = (BTreeMap::new(), BTreeMap::new());
        for schedule in part.states::<Schedule>().into_iter().filter(Schedule::open) {
            let (id, name) = (schedule.id, schedule.name.clone());
            let mut entry = Entry::new(schedule);
            let wanted = entry.last_wanted().into_iter();
            entry.starting = wanted.map(|run| (run, Starting::default())).collect();
            entries.insert(id, entry);
            names.insert(name, id);
        }
        if !entries.is_empty() {
            cx.send(Message::Recover);
        }
        let (agenda, timer, recover) = (BTreeSet::new(), None, None);
        Ok(Self { log: part.log, args, entries, names, agenda, timer, recover })
    }

    fn handle(&mut self, message: Message, cx: &mut Context<Message>) -> Result<(), Crash> {
        match message {
            Message::Put { put, by, reply } => self.put(put, &by, reply, cx),
            Message::Amend { name, change, by, reply } => {
                self.amend(&name, change, &by, reply, cx);
            }
            Message::RunDeleted { schedule, run, reply } => {
                self.run_deleted(schedule, run, reply, cx);
            }
            Message::RunNow { wanted, by, reply } => self.run_now(wanted, &by, reply, cx),
            Message::Look { name, reply } => {
                let found = self.names.get(&name).and_then(|id| self.entries.get(id));
                let found = found.map(|entry| Box::new(entry.schedule.clone()));
                self.log.answer(reply, found);
            }
            Message::List { after, limit, reply } => {
                let listed = self.list(after, limit);
                self.log.answer(reply, listed);
            }
            Message::RunEnded { schedule, run } => self.run_ended(schedule, run, cx),
            Message::Due => self.due(cx),
            Message::Looked { schedule, asked, open } => self.looked(schedule, asked, open, cx),
            Message::Began { schedule, run, began } => self.began(schedule, &run, began, cx),
            Message::Again { schedule, run } => self.again(schedule, &run, cx),
            Message::Recovered { begun } => self.recovered(begun, cx),
            Message::Recover => self.recover(cx),
        }
        self.rest(cx);
        Ok(())
    }

    fn label(message: &Message) -> &'static str {
        message.label()
    }

    fn inspect(&self) -> serde_json::Value {
        let starting: usize = self.entries.values().map(|entry| entry.starting.len()).sum();
        serde_json::json!({
            "schedules": self.entries.len(),
            "starting": starting,
            "next_due_us": self.agenda.first().map(|(at, _)| at),
        })
    }
}

impl State {
    /// Remembers that a run had begun, which is about to be no more.
    fn run_deleted(
        &mut self,
        schedule: ScheduleId,
        run: RunId,
        reply: Reply<()>,
        cx: &Context<Message>,
    ) {
        let log = self.log.clone();
        let entry = self.entries.get_mut(&schedule);
        let Some(entry) = entry.filter(|entry| entry.schedule.runs().any(|(_, of)| *of == run))
        else {
            return log.answer(reply, ());
        };
        let mut draft = log.begin(cx.clock().wall_us());
        entry.starting.remove(&run);
        entry.note(&Event::RunDeleted { run }, &Cause::system(), None, &mut draft);
        draft.allow(Effect::Answer(reply.with(())));
        draft.submit();
    }

    fn put(
        &mut self,
        put: Put,
        by: &Cause,
        reply: Reply<Result<Placed, Error>>,
        cx: &Context<Message>,
    ) {
        let Put { id, name, spec, digest, input } = put;
        let now = cx.clock().wall_us();
        let log = self.log.clone();
        match self.names.get(&name) {
            Some(known) if *known != id => return log.answer(reply, Ok(Placed::Moved)),
            None if self.entries.contains_key(&id) => {
                return log.answer(reply, Ok(Placed::Moved));
            }
            None if self.entries.len() >= SCHEDULES_MAX => {
                let detail = format!("an organisation has at most {SCHEDULES_MAX} schedules");
                let refusal = Refusal::new(Kind::Conflict, "too_many", detail);
                return log.answer(reply, Err(refusal.into()));
            }
            _ => {}
        }
        let calendar = match spec.calendar(id) {
            Ok(calendar) => calendar,
            Err(refusal) => return log.answer(reply, Err(refusal.into())),
        };
        let mut draft = log.begin(now);
        let placed = match self.entries.get_mut(&id) {
            Some(entry) => {
                let known = &entry.schedule;
                if known.spec != *spec || known.digest != digest {
                    let old = &known.spec;
                    let other_times = (&old.timing, old.start) != (&spec.timing, spec.start);
                    let since = other_times.then_some(now.max(known.last));
                    let event = Event::Changed { spec, digest, since };
                    entry.note(&event, by, Some(input), &mut draft);
                    entry.calendar = calendar;
                }
                Placed::Kept(Box::new(entry.schedule.clone()))
            }
            None => {
                let event =
                    Event::Created { schedule: id, name: name.clone(), spec, digest, since: now };
                let stamp = draft.push::<Schedule>(id, &event, by, Some(input));
                let schedule = Schedule::begin(&event, stamp).expect("a creation begins it");
                self.names.insert(name, id);
                self.entries.insert(id, Entry::new(schedule.clone()));
                Placed::Created(Box::new(schedule))
            }
        };
        draft.allow(Effect::Answer(reply.with(Ok(placed))));
        draft.submit();
        self.go_on(id, None, cx);
    }

    fn amend(
        &mut self,
        name: &str,
        change: Change,
        by: &Cause,
        reply: Reply<Result<Box<Schedule>, Error>>,
        cx: &Context<Message>,
    ) {
        let log = self.log.clone();
        let found = self.names.get(name).copied();
        let Some(entry) = found.and_then(|id| self.entries.get_mut(&id)) else {
            return log.answer(reply, Err(Refusal::not_found("schedule").into()));
        };
        let (id, now) = (entry.schedule.id, cx.clock().wall_us());
        let event = match (change, &entry.schedule.paused) {
            (Change::Pause { .. }, Some(_)) | (Change::Resume, None) => None,
            (Change::Pause { reason }, None) => Some(Event::Paused { reason }),
            (Change::Resume, Some(_)) => {
                Some(Event::Resumed { since: now.max(entry.schedule.last) })
            }
            (Change::Delete, _) => Some(Event::Deleted {}),
        };
        let mut draft = log.begin(now);
        if let Some(event) = event {
            entry.note(&event, by, None, &mut draft);
        }
        let schedule = Box::new(entry.schedule.clone());
        let deleted = schedule.deleted;
        draft.allow(Effect::Answer(reply.with(Ok(schedule))));
        draft.submit();
        if deleted {
            self.names.remove(name);
        }
        self.go_on(id, None, cx);
    }

    fn run_now(
        &mut self,
        wanted: RunNow,
        by: &Cause,
        reply: Reply<Result<Ran, Error>>,
        cx: &Context<Message>,
    ) {
        let log = self.log.clone();
        let RunNow { id, run, input } = wanted;
        let Some(entry) = self.entries.get_mut(&id).filter(|entry| !entry.schedule.deleted) else {
            return log.answer(reply, Err(Refusal::not_found("schedule").into()));
        };
        if let Some((known, _)) = entry.schedule.runs().find(|(_, known)| **known == run) {
            let version = known.version.clone().unwrap_or_default();
            return log.answer(reply, Ok(Ran { run, version, repeated: true }));
        }
        let version = match entry.version(&self.args.shelf) {
            Ok(version) if entry.starting.len() < STARTING_MAX => version,
            Ok(_) => {
                let detail = "too many runs of this schedule are about to start; try again";
                let refusal = Refusal::new(Kind::TooMany, "too_many_starting", detail);
                return log.answer(reply, Err(refusal.into()));
            }
            Err(refusal) => return log.answer(reply, Err(refusal.into())),
        };
        let now = cx.clock().wall_us();
        let event = Event::Fired {
            tick: now,
            run: run.clone(),
            version,
            manual: true,
            buffered: false,
            own_input: input.is_some(),
        };
        let mut draft = log.begin(now);
        entry.note(&event, by, input, &mut draft);
        draft.submit();
        entry.starting.insert(run.clone(), Starting { reply: Some(reply), again: None });
        if let Some(order) = entry.order(&run) {
            self.start_run(order, cx);
        }
    }

    fn list(&self, after: Option<String>, limit: usize) -> Listed {
        use std::ops::Bound::{Excluded, Unbounded};
        let from = after.map_or(Unbounded, Excluded);
        let mut later = self.names.range::<String, _>((from, Unbounded));
        let page = later.by_ref().take(limit).filter_map(|(_, id)| self.entries.get(id));
        let page = page.map(|entry| entry.schedule.clone()).collect();
        (page, later.next().is_some())
    }

    fn run_ended(&mut self, id: ScheduleId, run: RunId, cx: &Context<Message>) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        entry.ended([run]);
        if entry.schedule.buffered.is_some() {
            self.go_on(id, None, cx);
        }
    }

    /// The time of some schedules has come.
    fn due(&mut self, cx: &Context<Message>) {
        self.timer = None;
        let now = cx.clock().wall_us();
        while let Some((_, id)) = self.agenda.first().copied().filter(|(at, _)| *at <= now) {
            self.go_on(id, None, cx);
            if self.entries.get(&id).and_then(|entry| entry.due).is_some_and(|at| at <= now) {
                // It has more to do than may be done at once: others first.
                break;
            }
        }
    }

    fn looked(
        &mut self,
        id: ScheduleId,
        asked: Vec<RunId>,
        open: Result<Vec<RunId>, String>,
        cx: &Context<Message>,
    ) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        entry.looking = false;
        match open {
            Ok(open) => {
                entry.ended(asked.into_iter().filter(|run| !open.contains(run)));
                self.go_on(id, Some(&open), cx);
            }
            Err(why) => {
                tracing::debug!(schedule = %id, %why, "whether a run is open is not known yet");
                let again = cx.clock().wall_us() + AGAIN.as_micros() as i64;
                self.set_due(id, Some(again));
            }
        }
    }

    /// Lets a schedule do what is to be done now.
    fn go_on(&mut self, id: ScheduleId, open: Option<&[RunId]>, cx: &Context<Message>) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        let old = entry.due;
        let now = cx.clock().wall_us();
        let log = self.log.clone();
        let mut draft = log.begin(now);
        let Outcome { orders, look } = entry.go_on(now, open, &self.args.shelf, &mut draft);
        draft.submit();
        let (due, gone) = (entry.due, entry.schedule.deleted && entry.starting.is_empty());
        if old != due {
            old.map(|at| self.agenda.remove(&(at, id)));
            self.agenda.extend(due.map(|at| (at, id)));
        }
        if gone {
            self.entries.remove(&id);
        }
        if let Some(asked) = look {
            let looking = self.ground().open(asked.clone());
            cx.spawn(looking, move |open| Message::Looked { schedule: id, asked, open });
        }
        for order in orders {
            self.start_run(order, cx);
        }
    }

    fn set_due(&mut self, id: ScheduleId, due: Option<i64>) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        if let Some(old) = std::mem::replace(&mut entry.due, due) {
            self.agenda.remove(&(old, id));
        }
        self.agenda.extend(due.map(|at| (at, id)));
    }

    fn start_run(&self, order: Order, cx: &Context<Message>) {
        let (schedule, run) = (order.started_for.schedule, order.run.clone());
        let started = self.ground().start(order);
        cx.spawn(started, move |began| Message::Began { schedule, run, began });
    }

    fn began(
        &mut self,
        id: ScheduleId,
        run: &RunId,
        began: Result<Begun, Error>,
        cx: &Context<Message>,
    ) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        let Some(mut starting) = entry.starting.remove(run) else { return };
        let known = entry.schedule.runs().find(|(_, known)| *known == run);
        let Some((tick, version)) = known.map(|(of, _)| (of.tick, of.version.clone())) else {
            return;
        };
        let log = self.log.clone();
        let answer = match began {
            Ok(begun) => {
                let version = version.unwrap_or_default();
                Ok(Ran { run: run.clone(), version, repeated: begun == Begun::Repeated })
            }
            Err(Error::Refused(refusal)) => {
                let mut draft = log.begin(cx.clock().wall_us());
                let why = refused(&refusal);
                let event = Event::Refused { tick, run: Some(run.clone()), why };
                entry.note(&event, &Cause::system(), None, &mut draft);
                draft.submit();
                Err(refusal.into())
            }
            Err(error) => {
                tracing::debug!(schedule = %id, %run, %error, "a run cannot be started yet");
                let again = Message::Again { schedule: id, run: run.clone() };
                starting.again = Some(cx.after(AGAIN, again));
                entry.starting.insert(run.clone(), starting);
                return;
            }
        };
        if let Some(reply) = starting.reply {
            log.answer(reply, answer);
        }
        self.go_on(id, None, cx);
    }

    fn again(&mut self, id: ScheduleId, run: &RunId, cx: &Context<Message>) {
        let entry = self.entries.get(&id).filter(|entry| entry.starting.contains_key(run));
        if let Some(order) = entry.and_then(|entry| entry.order_again(run)) {
            self.start_run(order, cx);
        }
    }

    /// Looks which of the runs have begun that earlier lives wanted last.
    fn recover(&mut self, cx: &Context<Message>) {
        let wanted = self.entries.values().flat_map(|entry| entry.starting.keys().cloned());
        let begun = self.ground().begun(wanted.collect());
        cx.spawn(begun, |begun| Message::Recovered { begun });
    }

    fn recovered(&mut self, begun: Result<BTreeSet<RunId>, String>, cx: &Context<Message>) {
        let begun = match begun {
            Ok(begun) => begun,
            Err(why) => {
                tracing::debug!(%why, "what was started is not known yet");
                self.recover = Some(cx.after(AGAIN, Message::Recover));
                return;
            }
        };
        self.recover = None;
        let ids: Vec<_> = self.entries.keys().copied().collect();
        for id in ids {
            let Some(entry) = self.entries.get_mut(&id) else { continue };
            entry.starting.retain(|run, _| !begun.contains(run));
            let runs = entry.starting.keys().cloned();
            let orders: Vec<_> = runs.filter_map(|run| entry.order_again(&run)).collect();
            for order in orders {
                self.start_run(order, cx);
            }
            self.go_on(id, None, cx);
        }
    }

    /// Sleeps until something is due.
    fn rest(&mut self, cx: &Context<Message>) {
        let Some((at, _)) = self.agenda.first().copied() else {
            self.timer = None;
            return;
        };
        if self.timer.as_ref().is_some_and(|(known, _)| *known == at) {
            return;
        }
        let wait = (at - cx.clock().wall_us()).max(0);
        let wait = Duration::from_micros(wait.unsigned_abs()).min(LONGEST_NAP);
        self.timer = Some((at, cx.after(wait, Message::Due)));
    }

    fn ground(&self) -> Ground {
        Ground {
            cell: self.args.cell,
            runs: self.args.runs.clone(),
            shelf: self.args.shelf.clone(),
            principals: self.args.principals.clone(),
            store: self.args.store.clone(),
            positions: self.log.positions().clone(),
            within: self.args.config.answer_within,
        }
    }
}
