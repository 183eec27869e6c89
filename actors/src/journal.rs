//! The journaling actor: the one writer of events. Told by the actors of every cell what they decided; tells the
//! store in group commits, one in flight while the next fills, then releases the effects in order.
//!
//! It repeats a write whose fate is unknown until it is known, so an actor never hears of an outage.

mod desk;
mod log;
mod message;
mod outage;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use fleetward_runtime::{
    Actor, Address, CallError, Context, Crash, Moment, Reply, StartError, Timer,
};
use fleetward_store::{AppendError, CellAppend, CellHead, CellId, Position, Store, Unavailable};

use crate::config::Config;
use crate::effect::Effect;
use crate::fleet::cell::keeper;
use crate::projector;
use desk::{Bounds, Desk, Desks, Entry, Part};
use log::Queued;
pub use log::{CellLog, Draft, Positions, Tail};
pub use message::{Message, Opened};
pub use outage::Outage;

/// Longest wait for an entry that was announced: as long as a commit takes, and far more than two actors need.
const HOLD: Duration = Duration::from_millis(2);
/// How long opening a cell may take before its start counts as an outage.
const OPEN_WITHIN: Duration = Duration::from_secs(30);

/// The way in.
#[derive(Debug, Clone)]
pub struct Handle {
    address: Address<Message>,
    outage: Arc<Outage>,
}

/// What the journal starts from.
#[derive(Clone)]
pub struct Args {
    /// Where events go.
    pub store: Arc<dyn Store>,
    /// Told of every commit.
    pub projector: Address<projector::Message>,
    /// Shared with the edge and with the clocks of leases.
    pub outage: Arc<Outage>,
    /// Bounds of a write, pauses between repeats.
    pub config: Arc<Config>,
}

/// Why the life of a cell ended: its memory is ahead of the truth, or somebody else owns it.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum End {
    /// Another server opened the cell.
    #[error("another server owns this cell since epoch {found}")]
    Fenced {
        /// Its epoch.
        found: u64,
    },
    /// An event can never be stored.
    #[error("event {seq} cannot be stored: {reason}")]
    Refused {
        /// Which.
        seq: Position,
        /// Why.
        reason: String,
    },
}

/// The journal's memory: nothing in it is older than the write in flight.
pub struct State {
    args: Args,
    desks: Desks,
    opening: HashMap<CellId, Opening>,
    in_flight: Option<Write>,
    lives: u64,
    failures: u32,
    repeat: Option<Timer>,
    /// Ends the wait for what is about to follow.
    hold: Option<Timer>,
    /// Since when something has waited for the next write.
    waiting_since: Option<Moment>,
}

struct Opening {
    life: u64,
    keeper: Address<keeper::Message>,
    positions: Arc<Positions>,
    reply: Reply<Result<Opened, Unavailable>>,
}

struct Write {
    parts: Vec<Part>,
    since: Moment,
}

impl Handle {
    /// The way to the journal behind `address`.
    pub fn new(address: Address<Message>, outage: Arc<Outage>) -> Self {
        Self { address, outage }
    }

    /// Whether the store takes writes.
    pub fn outage(&self) -> &Arc<Outage> {
        &self.outage
    }

    /// Opens a cell for one life: whatever an earlier life still has here is settled or dropped first.
    ///
    /// # Errors
    /// When the store or the journal is away.
    pub async fn open(
        &self,
        cell: CellId,
        keeper: Address<keeper::Message>,
        positions: Arc<Positions>,
    ) -> Result<CellLog, StartError> {
        let opened = self
            .address
            .call(OPEN_WITHIN, |reply| Message::Open {
                cell,
                keeper,
                positions: positions.clone(),
                reply,
            })
            .await
            .map_err(|error: CallError| StartError::Unavailable(format!("journal: {error}")))?
            .map_err(|error| StartError::Unavailable(format!("store: {error}")))?;
        positions.begin(opened.head.head);
        Ok(CellLog::new(cell, opened.life, opened.head.head, self.address.clone(), positions))
    }
}

impl Actor for State {
    type Args = Args;
    type Message = Message;

    async fn start(args: Args, _cx: &mut Context<Message>) -> Result<Self, StartError> {
        Ok(Self {
            args,
            desks: Desks::default(),
            opening: HashMap::new(),
            in_flight: None,
            lives: 0,
            failures: 0,
            repeat: None,
            hold: None,
            waiting_since: None,
        })
    }

    fn handle(&mut self, message: Message, cx: &mut Context<Message>) -> Result<(), Crash> {
        match message {
            Message::Open { cell, keeper, positions, reply } => {
                self.lives += 1;
                let opening = Opening { life: self.lives, keeper, positions, reply };
                self.open(cell, opening, cx);
            }
            Message::Append { cell, life, tail } => {
                let queued = tail.take();
                // One message may have taken what another was for.
                let Some(last) = queued.last() else { return Ok(()) };
                let more_follows = last.more_follows;
                for Queued { first, entry, .. } in queued {
                    self.append(cell, life, first, entry);
                }
                self.waiting_since.get_or_insert(cx.clock().now());
                if more_follows && self.in_flight.is_none() {
                    self.hold.get_or_insert_with(|| cx.after(HOLD, Message::HoldOver));
                } else {
                    self.write(cx);
                }
            }
            Message::Written { outcomes } => self.settle(outcomes, cx),
            Message::StoreOpened { cell, life, result } => self.opened(cell, life, result),
            Message::RepeatDue => self.repeat(cx),
            Message::HoldOver => self.write(cx),
        }
        Ok(())
    }

    fn label(message: &Message) -> &'static str {
        message.label()
    }

    fn inspect(&self) -> serde_json::Value {
        serde_json::json!({
            "cells": self.desks.cells.len(),
            "queued": self.desks.queued_entries(),
            "in_flight_cells": self.in_flight.as_ref().map_or(0, |write| write.parts.len()),
            "failures": self.failures,
        })
    }
}

impl State {
    fn open(&mut self, cell: CellId, opening: Opening, cx: &mut Context<Message>) {
        drop(self.desks.end(cell));
        self.opening.insert(cell, opening);
        if !self.is_in_flight(cell) {
            self.open_in_store(cell, cx);
        }
    }

    fn open_in_store(&self, cell: CellId, cx: &mut Context<Message>) {
        let Some(life) = self.opening.get(&cell).map(|opening| opening.life) else { return };
        let store = self.args.store.clone();
        cx.spawn(async move { store.open(cell).await }, move |result| Message::StoreOpened {
            cell,
            life,
            result,
        });
    }

    fn opened(&mut self, cell: CellId, life: u64, result: Result<CellHead, Unavailable>) {
        if self.opening.get(&cell).is_none_or(|opening| opening.life != life) {
            return;
        }
        let Some(Opening { keeper, positions, reply, .. }) = self.opening.remove(&cell) else {
            return;
        };
        let opened = result.map(|head| {
            self.desks.cells.insert(cell, Desk::new(life, head, keeper, positions));
            Opened { life, head }
        });
        reply.send(opened);
    }

    fn append(&mut self, cell: CellId, life: u64, first: Position, entry: Entry) {
        let idle = !self.is_in_flight(cell);
        match self.desks.cells.get(&cell) {
            Some(desk) if desk.is(life) && desk.next() != first => {
                let reason = "an actor crashed between deciding and appending".to_owned();
                self.end(cell, life, End::Refused { seq: desk.next(), reason });
            }
            Some(desk) if desk.is(life) => {
                if entry.events.is_empty() && idle && desk.queue.is_empty() {
                    entry.effects.into_iter().for_each(Effect::release);
                } else {
                    self.desks.push(cell, entry);
                }
            }
            // An earlier life speaks: its memory is ahead of the truth, so nothing of it may happen.
            _ => tracing::debug!(cell = cell.0, life, "dropped events of an ended life"),
        }
    }

    fn is_in_flight(&self, cell: CellId) -> bool {
        self.in_flight
            .as_ref()
            .is_some_and(|write| write.parts.iter().any(|part| part.append.head.cell == cell))
    }

    /// Starts the next write, if none is in flight and something waits.
    fn write(&mut self, cx: &mut Context<Message>) {
        if self.in_flight.is_some() {
            return;
        }
        self.hold = None;
        let waited = self.waiting_since.take();
        if self.desks.is_empty() {
            return;
        }
        let config = &self.args.config;
        let bounds = Bounds { events: config.batch_events, bytes: config.batch_bytes };
        let parts = self.desks.fill(bounds);
        let events: usize = parts.iter().map(|part| part.append.events.len()).sum();
        metrics::histogram!("fleetward_journal_batch_events").record(events as f64);
        let since = cx.clock().now();
        metrics::histogram!("fleetward_journal_lag_seconds")
            .record(waited.map_or(0.0, |waited| (since - waited).as_secs_f64()));
        self.in_flight = Some(Write { parts, since });
        self.send_write(cx);
    }

    fn send_write(&self, cx: &mut Context<Message>) {
        let Some(write) = &self.in_flight else { return };
        let appends: Vec<CellAppend> = write.parts.iter().map(|part| part.append.clone()).collect();
        let store = self.args.store.clone();
        cx.spawn(async move { store.append(appends).await }, |outcomes| Message::Written {
            outcomes,
        });
    }

    fn repeat(&mut self, cx: &mut Context<Message>) {
        self.repeat = None;
        self.send_write(cx);
    }

    /// The store answered: what is durable is revealed, what is lost ends its cell, the rest is repeated.
    fn settle(&mut self, outcomes: Vec<Result<CellHead, AppendError>>, cx: &mut Context<Message>) {
        let Some(Write { parts, since }) = self.in_flight.take() else { return };
        let mut unknown = Vec::new();
        for (part, outcome) in parts.into_iter().zip(outcomes) {
            let cell = part.append.head.cell;
            match outcome {
                Ok(head) => self.reveal(part, head),
                Err(AppendError::Unavailable(error)) => {
                    if self.failures == 0 {
                        tracing::warn!(cell = cell.0, %error, "journal cannot write; it will repeat");
                    }
                    unknown.push(part);
                }
                Err(AppendError::Fenced { found, .. }) => {
                    self.end(cell, part.life, End::Fenced { found });
                }
                Err(AppendError::Refused { seq, reason, .. }) => {
                    self.end(cell, part.life, End::Refused { seq, reason });
                }
            }
            if unknown.last().is_none_or(|part| part.append.head.cell != cell) {
                self.open_in_store(cell, cx);
            }
        }
        if unknown.is_empty() {
            self.recover(since, cx);
            self.write(cx);
        } else {
            self.wait_out(Write { parts: unknown, since }, cx);
        }
    }

    fn recover(&mut self, since: Moment, cx: &mut Context<Message>) {
        let now = cx.clock().now();
        metrics::histogram!("fleetward_journal_commit_seconds").record((now - since).as_secs_f64());
        if self.failures > 0 {
            self.args.outage.ended(now);
            tracing::info!(failures = self.failures, "journal writes again");
            self.failures = 0;
        }
    }

    fn wait_out(&mut self, write: Write, cx: &mut Context<Message>) {
        self.args.outage.began();
        let pause = self.args.config.backoff.delay(self.failures, &mut rand::rng());
        self.failures = self.failures.saturating_add(1);
        self.in_flight = Some(write);
        self.repeat = Some(cx.after(pause, Message::RepeatDue));
    }

    fn reveal(&mut self, part: Part, head: CellHead) {
        let Part { life, append, effects, before } = part;
        let cell = append.head.cell;
        let current = self.desks.cells.get_mut(&cell).filter(|desk| desk.is(life));
        let alive = current.is_some();
        if let Some(desk) = current {
            desk.committed(head);
        }
        if !append.events.is_empty() {
            let first = append.head.head + 1;
            let events = append.events;
            let committed = projector::Message::Committed { cell, first, events, before };
            // A projector between two lives reads from the store what it did not hear of.
            let _ = self.args.projector.send(committed);
        }
        // Of an ended life only the answers still mean something: what they say has become true.
        effects
            .into_iter()
            .filter(|effect| alive || matches!(effect, Effect::Answer(_)))
            .for_each(Effect::release);
    }

    fn end(&mut self, cell: CellId, life: u64, end: End) {
        let Some(desk) = self.desks.cells.get(&cell).filter(|desk| desk.is(life)) else {
            return;
        };
        tracing::error!(cell = cell.0, %end, "the life of a cell ended");
        // A keeper that is gone has ended its life already.
        let _ = desk.keeper.send(keeper::Message::LifeEnded { end });
        drop(self.desks.end(cell));
    }
}
