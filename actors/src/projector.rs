//! The projector: folds committed events into the rows that lists read. Told by the journal of every commit; tells
//! the store, and the callers that wait for a position. One batch is in flight while the next gathers; its
//! position is committed with the rows, so it may be killed anywhere.

mod batch;
mod follow;
mod live;
mod rows;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use dashmap::DashMap;
use fleetward_runtime::{Actor, Address, CallError, Context, Crash, Reply, StartError, Timer};
use fleetward_store::{CellId, Event, Position, Store};

use crate::config::Config;
use crate::journal::Positions;
use batch::{Batch, Outcome, Work};
use follow::{Follow, Size};
pub use live::{Before, Folded, Live};
pub use rows::{Rows, RowsError, numbered};

/// How far every cell has come: filled when a cell opens, read by the projector when it starts.
pub type Progress = DashMap<CellId, Arc<Positions>>;

/// The way in.
#[derive(Debug, Clone)]
pub struct Handle(Address<Message>);

/// What the projector starts from.
#[derive(Clone)]
pub struct Args {
    /// Where events come from and rows go.
    pub store: Arc<dyn Store>,
    /// The cells to follow.
    pub progress: Arc<Progress>,
    /// Bounds of its memory.
    pub config: Arc<Config>,
}

/// Why rows are not there to be read.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum Behind {
    /// They will be: ask again.
    #[error("the lists have not caught up yet")]
    Late,
    /// An event cannot be folded: somebody must look.
    #[error("the lists of this organisation are halted: {0}")]
    Halted(String),
}

/// The protocol.
#[derive(Debug)]
pub enum Message {
    /// From the journal: these events are durable.
    Committed {
        /// Of which cell.
        cell: CellId,
        /// Position of the first.
        first: Position,
        /// In order.
        events: Arc<[Event]>,
        /// What some of them find.
        before: Vec<Before>,
    },
    /// From a keeper: the cell opened, perhaps with events that were never folded.
    Opened {
        /// Which.
        cell: CellId,
    },
    /// From a caller that wants to read rows.
    WhenPassed {
        /// Of which cell.
        cell: CellId,
        /// As of where.
        position: Position,
        /// When they are there.
        reply: Reply<Result<(), Behind>>,
    },
    /// From whoever changed rows past it: what it read of them before does not count any more.
    Forget {
        /// Of which cell.
        cell: CellId,
        /// No row is written any more from what was read before.
        reply: Reply<()>,
    },
    /// The batch in flight ended.
    Folded {
        /// What became of each cell.
        outcomes: Vec<(CellId, Outcome)>,
        /// The rows it had in memory.
        rows: Rows,
    },
    /// Timer: the pause is over.
    PauseOver,
}

/// The projector's memory: what is not folded yet, and a cache.
pub struct State {
    args: Args,
    cells: HashMap<CellId, Follow>,
    rows: Rows,
    busy: bool,
    /// What is to be forgotten once the batch in flight ended, which has the rows.
    forget: Vec<(CellId, Reply<()>)>,
    failures: u32,
    /// Holds the next batch back: the store was away, or the last batch began a moment ago.
    pause: Option<Timer>,
}

impl Handle {
    /// The way to the projector behind `address`.
    pub fn new(address: Address<Message>) -> Self {
        Self(address)
    }

    /// Waits until the rows of a cell contain its events up to `position`.
    ///
    /// # Errors
    /// When they do not get there `within` the time.
    pub async fn passed(
        &self,
        cell: CellId,
        positions: &Positions,
        position: Position,
        within: Duration,
    ) -> Result<(), Behind> {
        if positions.projected() >= position {
            return Ok(());
        }
        self.0
            .call(within, |reply| Message::WhenPassed { cell, position, reply })
            .await
            .unwrap_or(Err(Behind::Late))
    }

    /// Makes the projector forget the rows of a cell that it holds in memory: somebody changed them in the store.
    ///
    /// # Errors
    /// When it does not answer `within` the time.
    pub(crate) async fn forget(&self, cell: CellId, within: Duration) -> Result<(), CallError> {
        self.0.call(within, |reply| Message::Forget { cell, reply }).await
    }

    /// A cell opened: its rows may be behind.
    pub(crate) fn opened(&self, cell: CellId) {
        // A projector between two lives looks at every cell when it starts.
        let _ = self.0.send(Message::Opened { cell });
    }
}

impl Actor for State {
    type Args = Args;
    type Message = Message;

    async fn start(args: Args, cx: &mut Context<Message>) -> Result<Self, StartError> {
        let behind = || Follow { behind: true, ..Follow::default() };
        let cells = args.progress.iter().map(|cell| (*cell.key(), behind())).collect();
        let rows = Rows::new(args.store.clone());
        let mut state =
            Self { args, cells, rows, busy: false, forget: Vec::new(), failures: 0, pause: None };
        state.fold(cx);
        Ok(state)
    }

    fn handle(&mut self, message: Message, cx: &mut Context<Message>) -> Result<(), Crash> {
        match message {
            Message::Committed { cell, first, events, before } => {
                self.hear(cell, first, events, before);
            }
            Message::Opened { cell } => self.cells.entry(cell).or_default().behind = true,
            Message::WhenPassed { cell, position, reply } => self.wait(cell, position, reply),
            Message::Forget { cell, reply } => self.forget(cell, reply),
            Message::Folded { outcomes, rows } => self.folded(outcomes, rows, cx),
            Message::PauseOver => self.pause = None,
        }
        self.fold(cx);
        Ok(())
    }

    fn label(message: &Message) -> &'static str {
        match message {
            Message::Committed { .. } => "Committed",
            Message::Opened { .. } => "Opened",
            Message::WhenPassed { .. } => "WhenPassed",
            Message::Forget { .. } => "Forget",
            Message::Folded { .. } => "Folded",
            Message::PauseOver => "PauseOver",
        }
    }

    fn inspect(&self) -> serde_json::Value {
        serde_json::json!({
            "cells": self.cells.len(),
            "held_events": self.cells.values().map(|cell| cell.held.events).sum::<usize>(),
            "cached_rows": self.rows.len(),
            "halted": self.cells.iter()
                .filter_map(|(cell, follow)| Some((cell.to_string(), follow.halted.clone()?)))
                .collect::<BTreeMap<_, _>>(),
        })
    }
}

impl State {
    fn hear(&mut self, cell: CellId, first: Position, events: Arc<[Event]>, before: Vec<Before>) {
        let config = &self.args.config;
        let most = Size { events: config.projector_queue, bytes: config.projector_queue_bytes };
        let follow = self.cells.entry(cell).or_default();
        follow.hear(first, events, most);
        follow.before.extend(before);
    }

    fn wait(&mut self, cell: CellId, position: Position, reply: Reply<Result<(), Behind>>) {
        let follow = self.cells.entry(cell).or_default();
        let passed = follow.position.is_some_and(|at| at >= position);
        match &follow.halted {
            _ if passed => reply.send(Ok(())),
            Some(why) => reply.send(Err(Behind::Halted(why.clone()))),
            // Nobody may have told this life of the cell's last events: it looks for itself.
            None => {
                follow.behind |= follow.heard.is_empty();
                follow.waiting.entry(position).or_default().push(reply);
            }
        }
    }

    fn forget(&mut self, cell: CellId, reply: Reply<()>) {
        if self.busy {
            self.forget.push((cell, reply));
            return;
        }
        self.rows.drop_cell(cell);
        reply.send(());
    }

    /// Starts the next batch, if none is in flight and something is to be folded.
    fn fold(&mut self, cx: &mut Context<Message>) {
        if self.busy || (self.pause.is_some() && !self.is_urgent()) {
            return;
        }
        let work: Vec<Work> =
            self.cells.iter_mut().filter_map(|(cell, follow)| follow.work(*cell)).collect();
        if work.is_empty() {
            return;
        }
        self.busy = true;
        self.pause = Some(cx.after(self.args.config.projector_pause, Message::PauseOver));
        let fresh = Rows::new(self.args.store.clone());
        let rows = std::mem::replace(&mut self.rows, fresh);
        let batch = Batch { store: self.args.store.clone(), work, rows };
        cx.spawn(batch.run(), |(outcomes, rows)| Message::Folded { outcomes, rows });
    }

    /// Somebody waits for rows, enough events have gathered, or some were missed and are read page by page: no reason
    /// to wait for more. (While the store is away nothing is urgent.)
    fn is_urgent(&self) -> bool {
        let config = &self.args.config;
        let urgent = |follow: &Follow| {
            !follow.waiting.is_empty()
                || follow.behind
                || follow.held.events >= config.projector_queue / 4
                || follow.held.bytes >= config.projector_queue_bytes / 4
        };
        self.failures == 0 && self.cells.values().any(urgent)
    }

    fn folded(&mut self, outcomes: Vec<(CellId, Outcome)>, rows: Rows, cx: &mut Context<Message>) {
        self.busy = false;
        self.rows = rows;
        self.rows.trim(self.args.config.projector_cache);
        for (cell, reply) in std::mem::take(&mut self.forget) {
            self.forget(cell, reply);
        }
        let mut away = None;
        for (cell, outcome) in outcomes {
            let follow = self.cells.entry(cell).or_default();
            match outcome {
                Outcome::Passed { to, more } => {
                    follow.pass(to, more);
                    if let Some(positions) = self.args.progress.get(&cell) {
                        positions.project(to);
                    }
                }
                Outcome::Halted(why) => {
                    tracing::error!(
                        why,
                        "an event cannot be folded; the lists of its cell are halted"
                    );
                    follow.halt(&why);
                }
                Outcome::Away(why) => {
                    follow.behind = true;
                    away = Some(why);
                }
            }
        }
        match away {
            None => self.failures = 0,
            Some(why) => {
                tracing::warn!(%why, "the projector cannot reach the store; it will repeat");
                let pause = self.args.config.backoff.delay(self.failures, &mut rand::rng());
                self.failures = self.failures.saturating_add(1);
                self.pause = Some(cx.after(pause, Message::PauseOver));
            }
        }
    }
}
