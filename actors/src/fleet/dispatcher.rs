//! The dispatcher of one organisation: tasks, attempts and leases. Told by submitters, by workers that report, by the
//! registry of who may work, and by connections of who polls and whose lease lapsed; tells the journal, and the
//! connections what they hold.

pub mod book;
mod leases;
pub mod matcher;
mod message;
pub mod report;
mod submit;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use fleetward_runtime::{Actor, Address, Context, Crash, Reply, StartError, Timer};

use super::cell::keeper;
use super::connection::{self, Connections, Grant};
use super::registry::{self, Asked};
use super::task::{Ending, Event, Failure, Task};
use crate::config::Config;
use crate::effect::Effect;
use crate::error::Error;
use crate::fact::Fold;
use crate::guard::guarded;
use crate::id::{TaskId, WorkerId};
use crate::journal::{CellLog, Draft};
use book::{Book, Match, Served};
use matcher::Poll;
pub use message::{Message, NewTask, Report, Submitted};
use report::{Judgement, Status};
pub(crate) use submit::same_request;

/// How long the registry may take to say who may work.
const ROSTER_WITHIN: Duration = Duration::from_secs(10);
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
    tend: Timer,
}

impl Actor for State {
    type Args = Args;
    type Message = Message;

    async fn start(args: Args, cx: &mut Context<Message>) -> Result<Self, StartError> {
        let part = args.keeper.take(&[Task::KIND]).await?;
        let mut book = Book::open(part.states::<Task>()?);
        let roster = args
            .registry
            .call(ROSTER_WITHIN, |reply| registry::Message::Roster { reply })
            .await
            .map_err(|error| StartError::Unavailable(format!("registry: {error}")))?;
        for seat in roster {
            book.seat(seat);
        }
        book.queue_all();
        let tend = cx.after(Duration::ZERO, Message::TendDue);
        let by_system = "system".into();
        let watchers = HashMap::new();
        let mut state = Self { args, log: part.log, book, watchers, by_system, tend };
        for (task, attempt) in state.book.take_orphans() {
            state.end(task, attempt, None, Ending::Revoked, cx);
        }
        Ok(state)
    }

    fn handle(&mut self, message: Message, cx: &mut Context<Message>) -> Result<(), Crash> {
        match message {
            Message::Submit { task, by, reply } => self.submit(*task, &by, reply, cx),
            Message::Report { report, reply } => self.report(*report, reply, cx),
            Message::HandBack { task, claimant, reply } => {
                let outcome = self.hand_back(task, claimant, cx);
                self.log.answer(reply, outcome);
            }
            Message::Look { task, reply } => {
                let found = self.book.task(task).cloned();
                self.log.answer(reply, found);
            }
            Message::Watch { task, reply } => self.watch(task, reply),
            Message::Polls { worker, connection, parked } => {
                self.book.set_polls(worker, &parked);
                self.serve(worker, &connection, cx);
            }
            Message::Ended { worker, task, attempt, why } => {
                self.end(task, attempt, Some(worker), why, cx);
                self.tell_holds(worker);
            }
            Message::Held { worker, connection } => self.holds(worker, &connection),
            Message::GrantAgain { worker, task, attempt, poll } => {
                self.grant_again(worker, task, attempt, poll);
            }
            Message::Seated { seat } => self.seated(*seat),
            Message::Unseated { worker, as_of } => self.unseat(worker, as_of, cx),
            Message::Roster { seats, as_of } => self.roster(seats, as_of, cx),
            Message::TendDue => self.tend(cx),
        }
        Ok(())
    }

    fn label(message: &Message) -> &'static str {
        message.label()
    }

    fn inspect(&self) -> serde_json::Value {
        let depth = self.book.depth();
        serde_json::json!({
            "waiting": depth.waiting,
            "leased": depth.leased,
            "parked_polls": depth.parked,
            "seated_workers": self.book.seated().count(),
        })
    }
}

impl State {
    fn submit(
        &mut self,
        new: NewTask,
        by: &Arc<str>,
        reply: Reply<Result<Submitted, Error>>,
        cx: &Context<Message>,
    ) {
        match guarded(cx, "decide/submit", || submit::decide(&self.book, &new)) {
            Ok(None) => self.accept(new, by, reply, cx),
            Ok(Some(known)) => self.log.answer(reply, Ok(known)),
            Err(error) => self.log.answer(reply, Err(error)),
        }
    }

    fn accept(
        &mut self,
        new: NewTask,
        by: &Arc<str>,
        reply: Reply<Result<Submitted, Error>>,
        cx: &Context<Message>,
    ) {
        let log = self.log.clone();
        let mut draft = log.begin(cx.clock().wall_us());
        let event = Event::Submitted {
            task: new.id,
            wants: new.wants.clone(),
            request: new.request,
            digest: new.digest,
            payload_bytes: new.payload_bytes,
        };
        let stamp = draft.push::<Task>(new.id, &event, by, Some(new.payload.clone()));
        self.book.apply(new.id, &event, stamp);
        self.book.keep_payload(new.id, new.payload, self.args.config.payload_memory);
        draft.allow(Effect::Answer(reply.with(Ok(Submitted::Accepted))));
        self.place(new.id, &mut draft);
        draft.submit();
    }

    /// Gives a waiting task to the poll that fits, or a place in the queue.
    fn place(&mut self, id: TaskId, draft: &mut Draft<'_>) {
        let Some(wants) = self.book.task(id).map(|task| task.wants.clone()) else { return };
        match self.book.poll_for(&wants) {
            Some(poll) => self.claim(Match { task: id, poll }, draft),
            None => self.book.queue(id),
        }
    }

    /// Looks for work for the polls of a worker.
    fn serve(
        &mut self,
        worker: WorkerId,
        connection: &Address<connection::Message>,
        cx: &Context<Message>,
    ) {
        loop {
            match self.book.serve(worker) {
                Served::Match(found) => {
                    let log = self.log.clone();
                    let mut draft = log.begin(cx.clock().wall_us());
                    self.claim(found, &mut draft);
                    draft.submit();
                }
                Served::Empty(polls) if polls.is_empty() => return,
                Served::Empty(polls) => {
                    let _ = connection.send(connection::Message::NothingNow { polls });
                    return;
                }
            }
        }
    }

    fn claim(&mut self, Match { task: id, poll }: Match, draft: &mut Draft<'_>) {
        let Poll { worker, poll, request } = poll;
        let Some(task) = self.book.task(id) else { return };
        let attempt = task.attempts() + 1;
        let waited = draft.at() - task.submitted_at;
        let grant = Grant {
            poll,
            task: id,
            attempt,
            wants: task.wants.clone(),
            request: request.clone(),
            submitted: task.submitted,
            payload: self.book.take_payload(id),
            claimed_at: draft.at(),
        };
        let event = Event::Claimed { attempt, worker, request };
        let by: Arc<str> = format!("worker:{worker}").into();
        let stamp = draft.push::<Task>(id, &event, &by, None);
        self.book.apply(id, &event, stamp);
        if attempt == 1 {
            metrics::histogram!("fleetward_dispatch_seconds").record(waited as f64 / 1e6);
        }
        if let Some(to) = self.args.connections.get(&worker) {
            draft.allow(Effect::Grant { to, grant: Box::new(grant) });
        }
    }

    fn report(
        &mut self,
        report: Report,
        reply: Reply<Result<Asked<()>, Error>>,
        cx: &Context<Message>,
    ) {
        let Some(task) = self.book.task(report.task) else {
            return self.log.answer(reply, Ok(Asked::NotHere));
        };
        let judged =
            guarded(cx, "decide/report", || report::judge(task, report.claimant, report.status));
        match judged {
            Ok(Judgement::Accept { attempt }) => self.close(report, attempt, reply, cx),
            Ok(Judgement::Repeat) => self.log.answer(reply, Ok(Asked::Found(()))),
            Err(error) => {
                metrics::counter!("fleetward_stale_reports_total").increment(1);
                self.log.answer(reply, Err(error));
            }
        }
    }

    fn close(
        &mut self,
        report: Report,
        attempt: u32,
        reply: Reply<Result<Asked<()>, Error>>,
        cx: &Context<Message>,
    ) {
        let Report { task, claimant, status, sealed, digest } = report;
        let worker = claimant.worker;
        let event = match status {
            Status::Completed => {
                Event::Completed { attempt, worker, digest: digest.unwrap_or_default() }
            }
            Status::Failed => Event::Failed { attempt, worker, why: Failure::Reported, digest },
        };
        let by: Arc<str> = format!("worker:{worker}").into();
        let log = self.log.clone();
        let mut draft = log.begin(cx.clock().wall_us());
        let stamp = draft.push::<Task>(task, &event, &by, sealed);
        self.book.apply(task, &event, stamp);
        draft.allow(Effect::Answer(reply.with(Ok(Asked::Found(())))));
        self.tell_watchers(task, &mut draft);
        draft.submit();
        self.book.forget(self.log.positions().projected());
        self.seat_freed(worker, cx);
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
        self.publish(cx);
        self.tend = cx.after(TEND_EVERY, Message::TendDue);
    }

    fn publish(&self, cx: &Context<Message>) {
        let depth = self.book.depth();
        let cell = self.args.cell.clone();
        let age = depth.oldest.map_or(0, |at| cx.clock().wall_us() - at).max(0);
        metrics::gauge!("fleetward_queue_depth", "cell" => cell.clone()).set(depth.waiting as f64);
        metrics::gauge!("fleetward_queue_oldest_seconds", "cell" => cell.clone())
            .set(age as f64 / 1e6);
        metrics::gauge!("fleetward_tasks_leased", "cell" => cell.clone()).set(depth.leased as f64);
        metrics::gauge!("fleetward_polls_parked", "cell" => cell).set(depth.parked as f64);
    }

    fn watch(&mut self, task: TaskId, reply: Reply<()>) {
        match self.book.task(task) {
            Some(known) if !known.is_closed() => {
                self.watchers.entry(task).or_default().push(reply);
            }
            _ => self.log.answer(reply, ()),
        }
    }

    fn tell_watchers(&mut self, task: TaskId, draft: &mut Draft<'_>) {
        for watcher in self.watchers.remove(&task).into_iter().flatten() {
            draft.allow(Effect::Answer(watcher.with(())));
        }
    }
}
