//! The log of one cell in one life: where its actors put what they decided. It gives each event its position and
//! time at once and in one order, so memory and journal agree before anything is written.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};

use fleetward_runtime::{Address, Answered, Reply};
use fleetward_store::{CellId, Event, Origin, Position};
use parking_lot::{Mutex, MutexGuard};

use super::Message;
use super::desk::Entry;
use crate::cause::{CauseRef, Request};
use crate::effect::Effect;
use crate::fact::{self, Fold, Stamp};
use crate::fleet::alert::{self, Alert};
use crate::fleet::alerts;
use crate::id::AlertId;
use crate::projector::{Before, Live};
use crate::seal::Sealed;

/// How far a cell has come. Written by its log, the journal and the projector; read by callers that wait.
#[derive(Debug, Default)]
pub struct Positions {
    opened: AtomicU64,
    given: AtomicU64,
    committed: AtomicU64,
    projected: AtomicU64,
    /// Whoever waits for the next commit; whether there is anybody.
    waiting: Mutex<Vec<Reply<()>>>,
    any_waiting: AtomicBool,
}

impl Positions {
    /// The head when this life of the cell began.
    pub fn opened(&self) -> Position {
        self.opened.load(Ordering::Acquire)
    }

    /// The last position that was given to an event.
    pub fn given(&self) -> Position {
        self.given.load(Ordering::Acquire)
    }

    /// The last position whose row is durable.
    pub fn committed(&self) -> Position {
        self.committed.load(Ordering::Acquire)
    }

    /// The last position that the rows for listing contain.
    pub fn projected(&self) -> Position {
        self.projected.load(Ordering::Acquire)
    }

    pub(super) fn begin(&self, head: Position) {
        self.opened.store(head, Ordering::Release);
        self.given.store(head, Ordering::Release);
        self.committed.store(head, Ordering::Release);
    }

    /// Comes when more than `position` is durable.
    pub fn beyond(&self, position: Position) -> Answered<()> {
        let (reply, answered) = Reply::channel();
        let mut waiting = self.waiting.lock();
        waiting.retain(|known| !known.is_closed());
        waiting.push(reply);
        self.any_waiting.store(true, Ordering::SeqCst);
        drop(waiting);
        // One that came since the caller looked may not have seen who waits.
        fence(Ordering::SeqCst);
        if self.committed() > position {
            self.wake();
        }
        answered
    }

    pub(super) fn commit(&self, head: Position) {
        self.committed.store(head, Ordering::Release);
        fence(Ordering::SeqCst);
        if self.any_waiting.load(Ordering::SeqCst) {
            self.wake();
        }
    }

    fn wake(&self) {
        let mut waiting = self.waiting.lock();
        self.any_waiting.store(false, Ordering::SeqCst);
        waiting.drain(..).for_each(|reply| reply.send(()));
    }

    pub(crate) fn project(&self, position: Position) {
        self.projected.fetch_max(position, Ordering::AcqRel);
    }
}

/// Cheap to clone: each actor of the cell has one.
#[derive(Debug, Clone)]
pub struct CellLog {
    cell: CellId,
    life: u64,
    journal: Address<Message>,
    positions: Arc<Positions>,
    tail: Tail,
    /// Told of alerts; none: this cell raises none.
    alarm: Option<Address<alerts::Message>>,
}

/// The end of a cell's log in one life: its lock is the order of the cell.
#[derive(Debug, Clone)]
pub struct Tail(Arc<Mutex<Order>>);

#[derive(Debug)]
struct Order {
    last: Position,
    at: i64,
    /// What the journal has to take. It is told outside of the lock: to wake it is to call the system.
    queued: Vec<Queued>,
}

/// An entry on its way to the journal.
#[derive(Debug)]
pub(super) struct Queued {
    /// The position that was given to the first event, or would be to the next.
    pub(super) first: Position,
    /// Without events: the effects wait for what the cell has pending.
    pub(super) entry: Entry,
    /// Whether an actor that was told of this is about to append what follows from it.
    pub(super) more_follows: bool,
}

impl Order {
    /// Whether the journal is to be told: one word is for all that lies here when it comes. Should one have been lost,
    /// there is another whenever twice as much has come to lie here.
    fn queue(&mut self, queued: Queued) -> bool {
        self.queued.push(queued);
        self.queued.len().is_power_of_two()
    }
}

impl Tail {
    fn new(last: Position) -> Self {
        Self(Arc::new(Mutex::new(Order { last, at: 0, queued: Vec::new() })))
    }

    /// What was queued since, in order.
    pub(super) fn take(&self) -> Vec<Queued> {
        std::mem::take(&mut self.0.lock().queued)
    }
}

/// Events being decided together: they stand or fall as one, with the effects they allow.
///
/// Holds the cell's order from its first event, or the first question for its time, to `submit`: so it is made, filled
/// and submitted within one message, and what takes long is done before or behind that.
pub struct Draft<'a> {
    log: &'a CellLog,
    now: i64,
    order: Option<MutexGuard<'a, Order>>,
    origin: Option<Arc<Origin>>,
    entry: Entry,
    more_follows: bool,
    behind: Vec<Box<dyn FnOnce() + Send>>,
}

impl CellLog {
    pub(super) fn new(
        cell: CellId,
        life: u64,
        head: Position,
        journal: Address<Message>,
        positions: Arc<Positions>,
    ) -> Self {
        Self { cell, life, journal, positions, tail: Tail::new(head), alarm: None }
    }

    /// The cell's number.
    pub fn cell(&self) -> CellId {
        self.cell
    }

    /// How far the cell has come.
    pub fn positions(&self) -> &Arc<Positions> {
        &self.positions
    }

    /// From here on events raise alerts, and these are told to this actor.
    #[must_use]
    pub(crate) fn alarming(self, alarm: Option<Address<alerts::Message>>) -> Self {
        Self { alarm, ..self }
    }

    /// No event of this life may be earlier than the last one of the life before.
    pub fn not_before(&self, at: i64) {
        let mut order = self.lock();
        order.at = order.at.max(at);
    }

    /// Starts an entry at `now`, in microseconds UTC.
    pub fn begin(&self, now: i64) -> Draft<'_> {
        Draft {
            log: self,
            now,
            order: None,
            origin: None,
            entry: Entry::default(),
            more_follows: false,
            behind: Vec::new(),
        }
    }

    /// Answers once everything that the answer may rest on is durable.
    pub fn answer<T: Send + 'static>(&self, reply: Reply<T>, answer: T) {
        self.after_what_came_before(vec![Effect::Answer(reply.with(answer))]);
    }

    /// Releases effects once everything the cell has pending is durable.
    pub fn after_what_came_before(&self, effects: Vec<Effect>) {
        let mut order = self.lock();
        let (first, entry) = (order.last + 1, Entry { effects, ..Entry::default() });
        let tell = order.queue(Queued { first, entry, more_follows: false });
        drop(order);
        if tell {
            self.tell_journal();
        }
    }

    /// What an entry announced does not come: a journal that waits for it need not.
    pub fn nothing_follows(&self) {
        self.after_what_came_before(Vec::new());
    }

    /// A panic while it is held is a crash of that actor, and so the end of this life.
    fn lock(&self) -> MutexGuard<'_, Order> {
        self.tail.0.lock()
    }

    fn tell_journal(&self) {
        let (cell, life, tail) = (self.cell, self.life, self.tail.clone());
        if self.journal.send(Message::Append { cell, life, tail }).is_err() {
            // Its restart rebuilds every cell; the callers are told that the outcome is unknown.
            drop(self.tail.take());
            tracing::debug!(cell = cell.0, "the journal is between two lives");
        }
    }
}

impl Draft<'_> {
    /// The request that this entry is about: its events come from there, but for those whose cause says otherwise.
    #[must_use]
    pub fn asked_by(self, origin: Option<Arc<Origin>>) -> Self {
        Self { origin, ..self }
    }

    /// Adds an event and says where it stands. The caller applies it to its memory. `cause` is a [`crate::Cause`], or
    /// the name alone of who did it.
    pub fn push<'b, F: Fold>(
        &mut self,
        id: impl std::fmt::Display,
        event: &F::Event,
        cause: impl Into<CauseRef<'b>>,
        sealed: Option<Sealed>,
    ) -> Stamp<'b> {
        let CauseRef { by, request } = cause.into();
        let origin = match request {
            Request::Entry => self.origin.clone(),
            Request::Own(origin) => origin.cloned(),
        };
        let at = self.at();
        // Held to the end of this call: until its position is given, a value counts as on its way.
        let (sealed, _held) = sealed.map(Sealed::into_parts).unzip();
        let seq = self.add(fact::encode::<F>(id, event, at, (by.clone(), origin), sealed));
        self.raise(seq);
        Stamp { seq, at, by }
    }

    fn add(&mut self, event: Event) -> Position {
        self.entry.events.push(event);
        let order = self.order();
        order.last += 1;
        let seq = order.last;
        self.log.positions.given.store(seq, Ordering::Release);
        seq
    }

    /// Takes the cell's order, unless this has it.
    fn order(&mut self) -> &mut Order {
        self.order.get_or_insert_with(|| {
            let mut order = self.log.lock();
            order.at = order.at.max(self.now);
            order
        })
    }

    /// Raises the alert that the last event is worth, right behind it: whoever sees the one sees the other.
    fn raise(&mut self, seq: Position) {
        let (Some(to), Some(event)) = (&self.log.alarm, self.entry.events.last()) else { return };
        let Some(raised) = alert::about(self.log.cell, seq, event) else { return };
        let (to, origin) = (to.clone(), event.origin.clone());
        let (at, by) = (self.at(), Arc::<str>::from("system"));
        let id = AlertId::of(self.log.cell, seq);
        let seq = self.add(fact::encode::<Alert>(id, &raised, at, (by.clone(), origin), None));
        if let Some(alert) = Alert::begin(&raised, Stamp { seq, at, by: &by }) {
            self.allow(Effect::Alert { to, alert: Box::new(alert) });
        }
    }

    /// Adds an effect of the events so far.
    pub fn allow(&mut self, effect: Effect) {
        self.entry.effects.push(effect);
    }

    /// Says what the stream of the next event is until then, exactly as its events so far fold: whoever folds that one
    /// need not read the row.
    pub(crate) fn recall(&mut self, live: Live) {
        let seq = self.order().last + 1;
        self.entry.before.push(Before { seq, live });
    }

    /// Says that another actor is told of this entry in the same message, and will append what follows from it: where
    /// nothing is being written, the journal waits a moment for that, so that both are one commit.
    pub fn more_follows(&mut self) {
        self.more_follows = true;
    }

    /// Does something once this entry is handed over and the order is free: tells another actor, who may want the order
    /// at once. It need not be durable by then.
    pub fn behind(&mut self, then: impl FnOnce() + Send + 'static) {
        self.behind.push(Box::new(then));
    }

    /// The time of this entry, in microseconds UTC.
    pub fn at(&mut self) -> i64 {
        self.order().at
    }

    /// Hands everything to the journal, if there is anything.
    pub fn submit(mut self) {
        let (entry, more_follows) = (std::mem::take(&mut self.entry), self.more_follows);
        if !entry.events.is_empty() || !entry.effects.is_empty() {
            let order = self.order();
            let first = order.last + 1 - entry.events.len() as u64;
            let tell = order.queue(Queued { first, entry, more_follows });
            drop(self.order);
            if tell {
                self.log.tell_journal();
            }
        } else {
            drop(self.order);
        }
        self.behind.into_iter().for_each(|then| then());
    }
}
