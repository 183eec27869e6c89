//! The connection of one worker: its parked polls, its presence, and the clocks of what it holds. Told by the worker's
//! requests, by the journal of grants that are durable, and by the registry and the dispatcher of what is true; tells
//! the dispatcher who polls and what ended. It owns no events: its next life asks for everything again.

pub mod leases;
mod message;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use fleetward_runtime::{Actor, Address, Context, Crash, Family, Moment, Reply, StartError, Timer};
use fleetward_store::{Origin, Position};

use super::cell::keeper;
use super::dispatcher::{self, book::Parked};
use super::registry;
use super::task::Ending;
use super::worker::Standing;
use crate::config::Config;
use crate::effect::Effect;
use crate::id::{TaskId, WorkerId};
use crate::journal::{CellLog, Outage};
use crate::small;
use leases::{Leases, Over, Terms};
pub use message::{Beat, Grant, Granted, Lease, Message, Poll, PollAnswer};

/// How long the registry may take to say who this is, and the dispatcher what it holds.
const LOOK_WITHIN: Duration = Duration::from_secs(10);
/// How long a poll that looks once waits for word, should that be lost.
const LOOK_ONCE: Duration = Duration::from_secs(2);
/// A connection that nobody used for this long ends; the next request starts it again.
const IDLE: Duration = Duration::from_secs(600);

/// The connections of one cell, by worker.
pub type Connections = Family<WorkerId, Address<Message>>;

/// What a connection starts from.
#[derive(Clone)]
pub struct Args {
    /// Whose.
    pub worker: WorkerId,
    /// Gives it the cell's log.
    pub keeper: keeper::Handle,
    /// Knows the worker.
    pub registry: Address<registry::Message>,
    /// Gives it tasks.
    pub dispatcher: Address<dispatcher::Message>,
    /// Whether leases may lapse.
    pub outage: Arc<Outage>,
    /// Terms.
    pub config: Arc<Config>,
}

struct Waiting {
    id: u64,
    until: Moment,
    request: Option<String>,
    once: bool,
    max: usize,
    origin: Option<Arc<Origin>>,
    reply: Reply<PollAnswer>,
}

/// The connection's memory.
pub struct State {
    args: Args,
    log: CellLog,
    standing: Standing,
    as_of: Position,
    seats: usize,
    polls: Vec<Waiting>,
    leases: Leases,
    /// Grants on their way to a caller, by poll: a caller may leave before it takes the answer.
    handed: BTreeMap<u64, Vec<(TaskId, u32)>>,
    boot: Option<String>,
    /// Whether its heartbeats name what it holds.
    names_tasks: bool,
    used: Moment,
    timer: Option<(Moment, Timer)>,
}

impl Actor for State {
    type Args = Args;
    type Message = Message;

    async fn start(args: Args, cx: &mut Context<Message>) -> Result<Self, StartError> {
        let log = args.keeper.take(&[]).await?.log;
        let worker = args.worker;
        let known = args
            .registry
            .call(LOOK_WITHIN, |reply| registry::Message::Look { worker, reply })
            .await
            .map_err(|error| StartError::Unavailable(format!("registry: {error}")))?;
        // Known before the first poll or heartbeat: what a worker names and nobody knows of is answered as lost.
        let held = args
            .dispatcher
            .call(LOOK_WITHIN, |reply| dispatcher::Message::LeasesOf { worker, reply })
            .await
            .map_err(|error| StartError::Unavailable(format!("dispatcher: {error}")))?;
        let (standing, as_of, seats) = known.map_or((Standing::Revoked, 0, 0), |worker| {
            (worker.standing, worker.updated, worker.seats as usize)
        });
        let terms = Terms { lease: args.config.lease, start: args.config.start_lease };
        let used = cx.clock().now();
        let mut state = Self {
            args,
            log,
            standing,
            as_of,
            seats,
            polls: Vec::new(),
            leases: Leases::new(terms),
            handed: BTreeMap::new(),
            boot: None,
            names_tasks: false,
            used,
            timer: None,
        };
        state.reconcile(held, cx);
        state.arm(cx);
        Ok(state)
    }

    fn handle(&mut self, message: Message, cx: &mut Context<Message>) -> Result<(), Crash> {
        match message {
            Message::Poll { poll, reply } => self.poll(poll, reply, cx),
            Message::Left { poll } => self.leave(poll, cx),
            Message::Beat { beat, reply } => reply.send(self.beat(beat, cx)),
            Message::Delivered { tasks, whole } => self.delivered(&tasks, whole, cx),
            Message::Granted { grant } => self.granted(grant, cx),
            Message::NothingNow { polls } => self.empty(&polls),
            Message::Over { attempts } => self.over(&attempts),
            Message::Holds { leases } => self.reconcile(leases, cx),
            Message::OfferAgain => self.offer(cx),
            Message::Standing { standing, as_of } => self.stand(standing, as_of),
            Message::TimeCame => self.time_came(cx),
        }
        self.arm(cx);
        Ok(())
    }

    fn label(message: &Message) -> &'static str {
        message.label()
    }

    fn inspect(&self) -> serde_json::Value {
        serde_json::json!({
            "worker": self.args.worker,
            "standing": self.standing.as_str(),
            "parked_polls": self.polls.len(),
            "leases": self.leases.len(),
        })
    }
}

impl State {
    fn poll(&mut self, poll: Poll, reply: Reply<PollAnswer>, cx: &Context<Message>) {
        self.used = cx.clock().now();
        if !self.standing.may_work() {
            // Final for the worker, so it must be as durable as the reason.
            return self.log.answer(reply, PollAnswer::Refused(self.standing));
        }
        self.reboot(poll.boot.as_deref());
        self.names_tasks |= poll.request.is_some();
        let again = poll.request.clone().filter(|name| self.leases.has_request(name));
        match again {
            Some(request) => {
                let (worker, poll_id) = (self.args.worker, poll.id);
                let replaced = self.park(poll, reply, cx);
                self.tell(dispatcher::Message::GrantAgain { worker, request, poll: poll_id });
                answer_empty(replaced);
            }
            None => {
                self.make_room();
                let replaced = self.park(poll, reply, cx);
                self.offer(cx);
                answer_empty(replaced);
            }
        }
    }

    /// An older client that polls although all its seats are taken has lost something: the oldest attempt ends.
    fn make_room(&mut self) {
        if self.names_tasks || self.leases.len() < self.seats {
            return;
        }
        if let Some(oldest) = self.leases.oldest() {
            self.tell_over(vec![oldest]);
        }
    }

    /// Gives a poll its place. What comes back are those whose place it takes: over, once the dispatcher was told.
    #[must_use]
    fn park(
        &mut self,
        poll: Poll,
        reply: Reply<PollAnswer>,
        cx: &Context<Message>,
    ) -> Vec<Waiting> {
        let Poll { id, wait, request, max, origin, .. } = poll;
        let same = |waiting: &Waiting| request.is_some() && waiting.request == request;
        let mut replaced = Vec::new();
        if let Some(at) = self.polls.iter().position(same) {
            replaced.push(self.polls.remove(at));
        }
        if self.polls.len() >= self.seats {
            replaced.push(self.polls.remove(0));
        }
        let once = wait.is_zero();
        let until = cx.clock().now() + if once { LOOK_ONCE } else { wait };
        // Nearly always one, and the first room of a list is for four.
        self.polls.reserve_exact(1);
        self.polls.push(Waiting { id, until, request, once, max, origin, reply });
        replaced
    }

    /// Tells the dispatcher which polls there are: a state, harmless to repeat.
    fn offer(&self, cx: &Context<Message>) {
        let parked = self.polls.iter().map(|waiting| Parked {
            poll: waiting.id,
            request: waiting.request.clone(),
            once: waiting.once,
            max: waiting.max,
            origin: waiting.origin.clone(),
        });
        let (worker, parked) = (self.args.worker, parked.collect());
        let connection = cx.address().clone();
        self.tell(dispatcher::Message::Polls { worker, connection, parked });
    }

    fn leave(&mut self, poll: u64, cx: &Context<Message>) {
        let before = self.polls.len();
        self.polls.retain(|waiting| waiting.id != poll);
        if self.polls.len() < before {
            self.offer(cx);
        }
        let unread = self.handed.remove(&poll).unwrap_or_default();
        small::trim(&mut self.handed);
        self.tell_unread(&unread);
    }

    fn granted(&mut self, grant: Box<Grant>, cx: &Context<Message>) {
        let now = cx.clock().now();
        for granted in &grant.tasks {
            self.leases.start(granted.task, granted.attempt, grant.request.clone(), now);
        }
        let claims: Vec<_> =
            grant.tasks.iter().map(|granted| (granted.task, granted.attempt)).collect();
        let poll = self.polls.iter().position(|waiting| waiting.id == grant.poll);
        match poll.map(|at| self.polls.remove(at)) {
            Some(waiting) if !waiting.reply.is_closed() => {
                self.handed.insert(waiting.id, claims);
                waiting.reply.send(PollAnswer::Granted(grant));
            }
            // Nobody waits for it any more.
            _ => self.tell_unread(&claims),
        }
    }

    fn delivered(&mut self, tasks: &[(TaskId, u32)], whole: bool, cx: &Context<Message>) {
        self.handed.retain(|_, handed| handed != tasks);
        small::trim(&mut self.handed);
        if !whole {
            return self.tell_unread(tasks);
        }
        let now = cx.clock().now();
        for (task, attempt) in tasks {
            self.leases.written(*task, *attempt, self.names_tasks, now);
        }
    }

    fn tell_unread(&self, claims: &[(TaskId, u32)]) {
        let unread = |&(task, attempt)| Over { task, attempt, why: Ending::Unread };
        self.tell_over(claims.iter().map(unread).collect());
    }

    fn beat(&mut self, beat: Beat, cx: &Context<Message>) -> Vec<(TaskId, u32)> {
        let now = cx.clock().now();
        self.used = now;
        self.reboot(beat.boot.as_deref());
        let lost = match beat.held {
            Some(held) => {
                self.names_tasks = true;
                self.leases.renew_named(&held, now)
            }
            None => {
                self.leases.renew_written(now);
                Vec::new()
            }
        };
        // Whatever was lost on the way between the two is made up for here.
        let (worker, connection) = (self.args.worker, cx.address().clone());
        self.tell(dispatcher::Message::Held { worker, connection });
        if !self.polls.is_empty() {
            self.offer(cx);
        }
        lost
    }

    /// A new start of the worker's process has nothing of what the one before it held.
    fn reboot(&mut self, boot: Option<&str>) {
        let Some(boot) = boot else { return };
        if self.boot.as_deref().is_some_and(|known| known != boot) {
            self.tell_over(self.leases.all(Ending::Rebooted));
        }
        if self.boot.as_deref() != Some(boot) {
            self.boot = Some(boot.to_owned());
        }
    }

    fn over(&mut self, attempts: &[(TaskId, u32)]) {
        for (task, attempt) in attempts {
            self.leases.end(*task, *attempt);
        }
        self.forget_handed();
    }

    fn reconcile(&mut self, leases: Vec<Lease>, cx: &Context<Message>) {
        let held = leases.into_iter().map(|lease| (lease.task, lease.attempt, lease.request));
        self.leases.reconcile(held.collect(), cx.clock().now());
        self.forget_handed();
    }

    fn forget_handed(&mut self) {
        self.handed.retain(|_, claims| {
            claims.retain(|(task, attempt)| self.leases.holds(*task, *attempt));
            !claims.is_empty()
        });
        small::trim(&mut self.handed);
    }

    fn stand(&mut self, standing: Standing, as_of: Position) {
        if as_of <= self.as_of {
            return;
        }
        (self.standing, self.as_of) = (standing, as_of);
        if standing.may_work() {
            return;
        }
        let refused = std::mem::take(&mut self.polls).into_iter();
        let answers = refused
            .map(|waiting| Effect::Answer(waiting.reply.with(PollAnswer::Refused(standing))));
        self.log.after_what_came_before(answers.collect());
    }

    fn empty(&mut self, polls: &[u64]) {
        let is_empty = |waiting: &mut Waiting| polls.contains(&waiting.id);
        for waiting in self.polls.extract_if(.., is_empty) {
            waiting.reply.send(PollAnswer::Empty);
        }
    }

    fn time_came(&mut self, cx: &Context<Message>) {
        let now = cx.clock().now();
        let planned = self.timer.take().map_or(now, |(planned, _)| planned);
        self.end_polls(now, cx);
        // Nothing lapses because the server itself slept or could not write.
        let slept = now - planned > self.args.config.lease / 4;
        if slept || self.args.outage.is_down() {
            self.leases.renew_all(now);
        } else if let Some(up) = self.args.outage.up_since() {
            self.leases.renew_all(up);
        }
        let over = self.leases.take_over(now);
        self.tell_over(over);
        if self.is_idle(now) {
            cx.stop();
        }
    }

    fn end_polls(&mut self, now: Moment, cx: &Context<Message>) {
        let over: Vec<_> = self.polls.extract_if(.., |waiting| waiting.until <= now).collect();
        if !over.is_empty() {
            self.offer(cx);
            answer_empty(over);
        }
    }

    fn is_idle(&self, now: Moment) -> bool {
        self.polls.is_empty() && self.leases.is_empty() && now - self.used >= IDLE
    }

    fn tell_over(&self, over: Vec<Over>) {
        let worker = self.args.worker;
        for Over { task, attempt, why } in over {
            self.tell(dispatcher::Message::Ended { worker, task, attempt, why });
        }
    }

    fn tell(&self, message: dispatcher::Message) {
        // A dispatcher between two lives asks for nothing: its next life starts this one again too.
        let _ = self.args.dispatcher.send(message);
    }

    /// Keeps one timer, for whatever comes first.
    fn arm(&mut self, cx: &Context<Message>) {
        let polls = self.polls.iter().map(|waiting| waiting.until).min();
        let idle = self.used + IDLE;
        let next = [polls, self.leases.next()].into_iter().flatten().min().unwrap_or(idle);
        if self.timer.as_ref().is_none_or(|(at, _)| next < *at) {
            self.timer = Some((next, cx.at(next, Message::TimeCame)));
        }
    }
}

/// Said once the dispatcher was told: what a worker does next must not find it with a poll that is over.
fn answer_empty(polls: Vec<Waiting>) {
    polls.into_iter().for_each(|waiting| waiting.reply.send(PollAnswer::Empty));
}
