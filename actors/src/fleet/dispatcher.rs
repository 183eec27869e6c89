//! The dispatcher of one organisation: tasks, attempts and leases. Told by submitters, by workers that report, by the
//! registry of who may work, and by connections of who polls and whose lease lapsed; tells the journal, and the
//! connections what they hold.

mod agenda;
mod balance;
pub mod book;
mod functions;
mod gauges;
mod kept;
mod leases;
pub mod matcher;
mod message;
mod remedies;
pub mod remedy;
pub mod report;
mod reports;
mod submit;
pub mod why;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use fleetward_runtime::{Actor, Address, Context, Crash, Reply, StartError, Timer};

use super::anomaly;
use super::cell::keeper;
use super::connection::{self, Connections, Grant, Granted};
use super::registry;
use super::task::history::History;
use super::task::{Ending, Event, Task};
use crate::cause::Cause;
use crate::config::Config;
use crate::effect::Effect;
use crate::error::Error;
use crate::fact::Fold;
use crate::guard::guarded;
use crate::id::{TaskId, WorkerId};
use crate::journal::{CellLog, Draft};
use crate::projector::Live;
use crate::seal::Sealed;
use crate::workflows::conductor::{self, Runs, StepEnded};
use crate::workflows::run::Seen;
use book::{Book, Match, Served};
use gauges::Gauges;
use matcher::Poll;
pub use message::{Amended, Checkpoint, Known, Message, NewTask, Report, Subject, Submitted};
pub(crate) use submit::same_request;

/// How long the registry may take to say who may work.
const ROSTER_WITHIN: Duration = Duration::from_secs(10);
/// Longest wait for the agenda: the wall clock that its times are of may be set.
const LONGEST_NAP_US: i64 = 60_000_000;
/// How often leases are checked for a connection that keeps their clock.
const TEND_EVERY: Duration = Duration::from_secs(5);

/// What a dispatcher starts from.
#[derive(Clone)]
pub struct Args {
    /// Gives it what was true.
    pub keeper: keeper::Handle,
    /// Knows who may work.
    pub registry: Address<registry::Message>,
    /// Keep the clocks of leases.
    pub connections: Connections,
    /// Looks at what was counted.
    pub anomaly: Address<anomaly::Message>,
    /// Conductors of the runs that tasks are steps of.
    pub runs: Runs,
    /// Caps and budgets.
    pub config: Arc<Config>,
    /// Label of the cell in metrics.
    pub cell: String,
}

/// The dispatcher's memory.
pub struct State {
    args: Args,
    log: CellLog,
    book: Book,
    /// Callers that wait for the end of a task.
    watchers: HashMap<TaskId, Vec<Reply<()>>>,
    by_system: Arc<str>,
    /// Whether the anomaly detector has asked what was counted.
    counted: bool,
    gauges: Gauges,
    tend: Timer,
    /// The next time of the agenda, and what wakes it.
    due: Option<(i64, Timer)>,
}

impl Actor for State {
    type Args = Args;
    type Message = Message;

    async fn start(args: Args, cx: &mut Context<Message>) -> Result<Self, StartError> {
        let mut part = args.keeper.take(&[Task::KIND]).await?;
        let mut book = Book::open(part.states::<Task>(), args.config.priority_step);
        let roster = args
            .registry
            .call(ROSTER_WITHIN, |reply| registry::Message::Roster { reply })
            .await
            .map_err(|error| StartError::Unavailable(format!("registry: {error}")))?;
        book.govern(roster.policy);
        for seat in roster.seats {
            book.seat(seat);
        }
        book.queue_all(cx.clock().wall_us());
        let tend = cx.after(Duration::ZERO, Message::TendDue);
        let by_system = "system".into();
        let watchers = HashMap::new();
        let gauges = Gauges::of(&args.cell);
        let mut state = Self {
            args,
            log: part.log,
            book,
            watchers,
            by_system,
            gauges,
            counted: false,
            tend,
            due: None,
        };
        for (task, attempt) in state.book.take_orphans() {
            state.end(task, attempt, None, Ending::Revoked, cx);
        }
        state.gauges.show(&state.book, cx.clock().wall_us());
        state.arm(cx);
        Ok(state)
    }

    fn handle(&mut self, message: Message, cx: &mut Context<Message>) -> Result<(), Crash> {
        match message {
            Message::Submit { tasks, by, reply } => self.submit(tasks, &by, reply, cx),
            Message::Report { reports, origin, reply } => {
                self.report(reports, origin, reply, cx);
            }
            Message::HandBack { task, claimant, origin, reply } => {
                let outcome = self.hand_back(task, claimant, origin, cx);
                self.log.answer(reply, outcome);
            }
            Message::Progress { task, claimant, percent, sealed, digest, origin, reply } => {
                let said = (percent, sealed, digest);
                let outcome = self.progress(task, claimant, said, origin, cx);
                self.log.answer(reply, outcome);
            }
            Message::Checkpoint { task, claimant, checkpoint, origin, reply } => {
                let outcome = self.checkpoint(task, claimant, checkpoint, origin, cx);
                self.log.answer(reply, outcome);
            }
            Message::Amend { subjects, remedy, by, reply } => {
                self.amend(subjects, &remedy, &by, reply, cx);
            }
            Message::RefusedFromRecord { known, claimant, refusal, origin } => {
                self.refused_from_record(known, (claimant, origin), &refusal, cx);
            }
            Message::Explain { task, reply } => {
                let now = cx.clock().wall_us();
                let task = self.book.task(task);
                let said = task.map(|task| (task.clone(), why::explain(&self.book, task, now)));
                self.log.answer(reply, said);
            }
            Message::Look { task, reply } => {
                let found = self.book.task(task).cloned();
                self.log.answer(reply, found);
            }
            Message::Watch { task, reply } => self.watch(task, reply),
            Message::Polls { worker, connection, parked } => {
                self.book.set_polls(worker, &parked);
                let log = self.log.clone();
                let mut draft = log.begin(cx.clock().wall_us());
                self.serve(worker, &connection, &mut draft);
                draft.submit();
            }
            Message::Ended { worker, task, attempt, why } => {
                self.end(task, attempt, Some(worker), why, cx);
                self.tell_holds(worker);
            }
            Message::LeasesOf { worker, reply } => reply.send(self.leases_of(worker)),
            Message::Held { worker, connection } => self.holds(worker, &connection),
            Message::GrantAgain { worker, request, poll } => {
                self.grant_again(worker, request, poll);
            }
            Message::Seated { seat } => self.seated(*seat),
            Message::Unseated { worker, as_of } => self.unseat(worker, as_of, cx),
            Message::Roster { roster, as_of } => self.roster(roster, as_of, cx),
            Message::Govern { policy } => self.govern(*policy, cx),
            Message::Census { reply } => reply.send(self.census()),
            Message::AgendaDue => {
                self.due = None;
                self.agenda_due(cx);
            }
            Message::TendDue => self.tend(cx),
        }
        self.place_released(cx);
        self.arm(cx);
        Ok(())
    }

    fn label(message: &Message) -> &'static str {
        message.label()
    }

    fn inspect(&self) -> serde_json::Value {
        let depth = self.book.depth();
        serde_json::json!({
            "waiting": depth.waiting,
            "held_by_pause": depth.paused,
            "held_by_cap": depth.capped,
            "leased": depth.leased,
            "parked_polls": depth.parked,
            "seated_workers": self.book.seated().count(),
        })
    }
}

impl State {
    /// Accepts what is new in one entry; each task has an answer of its own.
    fn submit(
        &mut self,
        tasks: Vec<NewTask>,
        by: &Cause,
        reply: Reply<Vec<Result<Submitted, Error>>>,
        cx: &Context<Message>,
    ) {
        let log = self.log.clone();
        let mut draft = log.begin(cx.clock().wall_us());
        let mut accepted = Vec::with_capacity(tasks.len());
        let mut outcomes = Vec::with_capacity(tasks.len());
        for new in tasks {
            outcomes.push(
                match guarded(cx, "decide/submit", || submit::decide(&self.book, &new)) {
                    Ok(None) => {
                        accepted.push(new.id);
                        self.accept(new, by, &mut draft);
                        Ok(Submitted::Accepted)
                    }
                    Ok(Some(known)) => Ok(known),
                    Err(error) => Err(error),
                },
            );
        }
        draft.allow(Effect::Answer(reply.with(outcomes)));
        self.place(&accepted, &mut draft);
        draft.submit();
    }

    fn accept(&mut self, new: NewTask, by: &Cause, draft: &mut Draft<'_>) {
        let event = Event::Submitted {
            task: new.id,
            wants: new.wants,
            request: new.request,
            digest: new.digest,
            payload_bytes: new.payload_bytes,
            handling: new.handling,
            step: new.step,
            history: new.history,
        };
        let stamp = draft.push::<Task>(new.id, &event, by, Some(new.payload.clone()));
        self.book.apply(new.id, &event, stamp);
        self.book.keep_payload(new.id, new.payload.kept(), self.args.config.payload_memory);
    }

    /// Gives tasks that wait for work to the polls that fit, or a place in their queues.
    fn place(&mut self, ids: &[TaskId], draft: &mut Draft<'_>) {
        let now = draft.at();
        ids.iter().for_each(|id| self.book.queue(*id, now));
        for id in ids {
            while let Some(found) = self.book.match_task(*id, now) {
                self.claim(found, draft);
            }
        }
    }

    /// Places anew what was kept for a worker that may not have it any more.
    fn place_released(&mut self, cx: &Context<Message>) {
        let released = self.book.take_released();
        if !released.is_empty() {
            let log = self.log.clone();
            let mut draft = log.begin(cx.clock().wall_us());
            self.place(&released, &mut draft);
            draft.submit();
        }
    }

    /// Looks for work for the polls of a worker.
    fn serve(
        &mut self,
        worker: WorkerId,
        connection: &Address<connection::Message>,
        draft: &mut Draft<'_>,
    ) {
        loop {
            match self.book.serve(worker) {
                Served::Match(found) => self.claim(found, draft),
                Served::Empty(polls) if polls.is_empty() => return,
                Served::Empty(polls) => {
                    let _ = connection.send(connection::Message::NothingNow { polls });
                    return;
                }
            }
        }
    }

    fn claim(&mut self, Match { poll, tasks }: Match, draft: &mut Draft<'_>) {
        let Poll { worker, poll, request, origin, .. } = poll;
        // The poll may have come long before what it is answered with.
        let by = Cause::of(self.book.author(worker)).by_request(origin);
        let claim = |id| self.claim_one(id, worker, (&request, &by), draft);
        let tasks: Vec<_> = tasks.into_iter().filter_map(claim).collect();
        if let Some(to) = self.args.connections.get(&worker) {
            let grant = Box::new(Grant { poll, request, tasks });
            draft.allow(Effect::Grant { to, grant });
        }
    }

    fn claim_one(
        &mut self,
        id: TaskId,
        worker: WorkerId,
        (request, by): (&Option<String>, &Cause),
        draft: &mut Draft<'_>,
    ) -> Option<Granted> {
        let task = self.book.task(id)?;
        let attempt = task.attempts() + 1;
        let waited = draft.at() - task.submitted_at;
        // Its row is written and nobody has claimed it: it waits for so long that the projector may not have it any
        // more, and its row keeps nothing sealed.
        if attempt == 1 && task.updated <= self.log.positions().projected() {
            let positions = (task.submitted, task.updated);
            draft.recall(Live::known(self.log.cell(), id, task.clone(), positions));
        }
        let granted = Granted {
            task: id,
            attempt,
            wants: task.wants.clone(),
            submitted: task.submitted,
            step: task.step.clone(),
            checkpoints: task.history().map_or(0, History::len),
            payload: self.book.take_payload(id),
            claimed_at: draft.at(),
        };
        let event = Event::Claimed { attempt, worker, request: request.clone() };
        let stamp = draft.push::<Task>(id, &event, by, None);
        self.book.apply(id, &event, stamp);
        if attempt == 1 {
            metrics::histogram!("fleetward_dispatch_seconds").record(waited as f64 / 1e6);
        }
        Some(granted)
    }

    /// Keeps one timer, for the first time of the agenda.
    fn arm(&mut self, cx: &Context<Message>) {
        let Some(next) = self.book.next_due() else { return };
        if self.due.as_ref().is_none_or(|(at, _)| next < *at) {
            let wait = (next - cx.clock().wall_us()).clamp(0, LONGEST_NAP_US);
            let wait = Duration::from_micros(wait.unsigned_abs());
            self.due = Some((next, cx.after(wait, Message::AgendaDue)));
        }
    }

    fn tend(&mut self, cx: &Context<Message>) {
        let busy: Vec<_> = self.book.busy().collect();
        for worker in busy {
            if self.args.connections.get(&worker).is_none() {
                self.args.connections.start(worker);
            }
        }
        self.book.forget(self.log.positions().projected());
        self.watchers.retain(|_, watchers| {
            watchers.retain(|watcher| !watcher.is_closed());
            !watchers.is_empty()
        });
        self.tell_noticed();
        self.gauges.show(&self.book, cx.clock().wall_us());
        self.tend = cx.after(TEND_EVERY, Message::TendDue);
    }

    fn census(&mut self) -> anomaly::Census {
        let (accounts, dead) = self.book.census();
        let first = !std::mem::replace(&mut self.counted, true);
        anomaly::Census { accounts, dead, first, thresholds: self.book.policy().anomaly.clone() }
    }

    fn tell_noticed(&mut self) {
        let accounts = self.book.take_noticed();
        if !accounts.is_empty() {
            let thresholds = Box::new(self.book.policy().anomaly.clone());
            // What is not heard now is seen at the next look.
            let _ = self.args.anomaly.send(anomaly::Message::Noticed { accounts, thresholds });
        }
    }

    fn watch(&mut self, task: TaskId, reply: Reply<()>) {
        match self.book.task(task) {
            Some(known) if !known.is_closed() => {
                self.watchers.entry(task).or_default().push(reply);
            }
            _ => self.log.answer(reply, ()),
        }
    }

    /// A task is closed: whoever waits for that is told, and the run that it is a step of at once, for it is of this cell.
    fn closed(&mut self, task: TaskId, sealed: Option<Sealed>, draft: &mut Draft<'_>) {
        self.tell_watchers(task, draft);
        let Some(task) = self.book.task(task) else { return };
        let Some(step) = &task.step else { return };
        let Some(run) = self.args.runs.get(&step.run) else {
            // Its conductor looks for itself when it starts.
            return self.args.runs.start(step.run.clone());
        };
        let claimed_at = task.attempt.as_ref().map(|attempt| attempt.claimed_at);
        let ended = Box::new(StepEnded {
            key: step.key.clone(),
            task: task.id,
            failed: task.phase.failure().map(str::to_owned),
            at: task.ended,
            sealed,
            steps: task.own_steps(),
            waits: task.suspension(),
            seen: Seen { attempts: task.attempts(), claimed_at },
        });
        draft.more_follows();
        let log = self.log.clone();
        draft.behind(move || {
            if run.send(conductor::Message::StepEnded { ended }).is_err() {
                // As above: one that is between two lives looks.
                log.nothing_follows();
            }
        });
    }

    fn tell_watchers(&mut self, task: TaskId, draft: &mut Draft<'_>) {
        for watcher in self.watchers.remove(&task).into_iter().flatten() {
            draft.allow(Effect::Answer(watcher.with(())));
        }
    }
}
