//! The janitor of one cell: deletes tasks and runs that are over for longer than their organisation keeps them. Told by
//! its timer, and by administrators who do not want to wait; asks the registry how long that is, the rows what is over,
//! and those who own a task or a run to delete it.
//!
//! It decides nothing: whoever owns a thing looks again whether it is still over. So a round may end anywhere, and begin anew.

mod round;
mod rules;

use std::sync::Arc;
use std::time::Duration;

use fleetward_runtime::{Actor, Address, Context, Crash, Reply, StartError, Timer};
use fleetward_store::{CellId, Store};

use super::cell::keeper;
use super::policy::Retention;
use super::{dispatcher, registry};
use crate::config::Config;
use crate::journal::CellLog;
use crate::projector;
use crate::workflows::conductor::Runs;
pub(crate) use round::delete_tasks;
use round::{Ground, Round};
use rules::Cursors;

/// How often a round begins with the oldest rows, and not where the last one found nothing more that was old enough: what
/// belonged to something has become free, or ended long after it began.
const FROM_THE_OLDEST_US: i64 = 24 * 3_600_000_000;
/// How long the registry may take to say how long what is over is kept.
const POLICY_WITHIN: Duration = Duration::from_secs(10);

/// What it starts from.
#[derive(Clone)]
pub struct Args {
    /// Which cell.
    pub cell: CellId,
    /// Gives it the cell's positions.
    pub keeper: keeper::Handle,
    /// Knows the policy.
    pub registry: Address<registry::Message>,
    /// Owns tasks.
    pub dispatcher: Address<dispatcher::Message>,
    /// Own runs.
    pub runs: Runs,
    /// Where rows are read.
    pub store: Arc<dyn Store>,
    /// Follows the cell.
    pub projector: projector::Handle,
    /// Limits.
    pub config: Arc<Config>,
}

/// What a round did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Swept {
    /// When it ended, in microseconds UTC.
    pub at: i64,
    /// Tasks that it deleted.
    pub tasks: u64,
    /// Runs that it deleted.
    pub runs: u64,
    /// Why it ended early: the next one goes on.
    pub away: Option<String>,
}

/// What the janitor has done since its cell started.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// Its last round.
    pub last: Option<Swept>,
    /// Whether a round goes on.
    pub running: bool,
    /// When the next one begins, in microseconds UTC.
    pub next_at: Option<i64>,
}

/// The protocol.
#[derive(Debug)]
pub enum Message {
    /// From an administrator: begin a round now, with the oldest rows.
    Sweep {
        /// Once it has ended.
        reply: Reply<Swept>,
    },
    /// From a caller that asks how far it is.
    Look {
        /// As it is now.
        reply: Reply<Standing>,
    },
    /// From itself: a round has ended.
    Ended {
        /// What it did.
        swept: Swept,
        /// Where the next one may begin.
        cursors: Cursors,
    },
    /// Timer: it is time for a round.
    Due,
}

/// Its memory.
pub struct State {
    args: Args,
    log: CellLog,
    standing: Standing,
    cursors: Cursors,
    /// What they were found for, and when the oldest rows were looked at last, in microseconds UTC.
    found_for: Retention,
    oldest_at: i64,
    /// Who waits for the round that goes on, and for the one after it.
    waiting: Vec<Reply<Swept>>,
    next: Vec<Reply<Swept>>,
    timer: Option<Timer>,
}

impl Actor for State {
    type Args = Args;
    type Message = Message;

    async fn start(args: Args, cx: &mut Context<Message>) -> Result<Self, StartError> {
        let log = args.keeper.take(&[]).await?.log;
        let mut state = Self {
            args,
            log,
            standing: Standing::default(),
            cursors: Cursors::default(),
            found_for: Retention::default(),
            oldest_at: 0,
            waiting: Vec::new(),
            next: Vec::new(),
            timer: None,
        };
        state.rest(cx);
        Ok(state)
    }

    fn handle(&mut self, message: Message, cx: &mut Context<Message>) -> Result<(), Crash> {
        match message {
            Message::Sweep { reply } => {
                self.next.push(reply);
                self.oldest_at = 0;
                self.begin(cx);
            }
            Message::Look { reply } => reply.send(self.standing.clone()),
            Message::Ended { swept, cursors } => self.ended(swept, cursors, cx),
            Message::Due => {
                self.timer = None;
                self.begin(cx);
            }
        }
        Ok(())
    }

    fn label(message: &Message) -> &'static str {
        match message {
            Message::Sweep { .. } => "Sweep",
            Message::Look { .. } => "Look",
            Message::Ended { .. } => "Ended",
            Message::Due => "Due",
        }
    }

    fn inspect(&self) -> serde_json::Value {
        let last = self.standing.last.as_ref();
        serde_json::json!({
            "running": self.standing.running,
            "last_at": last.map(|swept| swept.at),
            "last_tasks": last.map(|swept| swept.tasks),
            "last_runs": last.map(|swept| swept.runs),
            "next_at": self.standing.next_at,
        })
    }
}

impl State {
    fn rest(&mut self, cx: &Context<Message>) {
        let every = self.args.config.retention_every;
        let wait = i64::try_from(every.as_micros()).unwrap_or(i64::MAX);
        self.standing.next_at = Some(cx.clock().wall_us().saturating_add(wait));
        self.timer = Some(cx.after(every, Message::Due));
    }

    fn begin(&mut self, cx: &Context<Message>) {
        if self.standing.running {
            return;
        }
        self.timer = None;
        self.standing = Standing { running: true, next_at: None, ..self.standing.clone() };
        self.waiting.append(&mut self.next);
        let now = cx.clock().wall_us();
        if now.saturating_sub(self.oldest_at) >= FROM_THE_OLDEST_US {
            self.oldest_at = now;
            self.cursors = Cursors::default();
        }
        let args = &self.args;
        let ground = Ground {
            cell: args.cell,
            dispatcher: args.dispatcher.clone(),
            runs: args.runs.clone(),
            store: args.store.clone(),
            projector: args.projector.clone(),
            positions: self.log.positions().clone(),
            clock: cx.clock().clone(),
            within: args.config.answer_within,
        };
        let registry = args.registry.clone();
        let (cursors, found_for) = (self.cursors.clone(), self.found_for);
        let round = async move {
            let ask = |reply| registry::Message::Policy { reply };
            match registry.call(POLICY_WITHIN, ask).await {
                Ok(policy) => {
                    let retention = policy.retention;
                    let cursors = if retention == found_for { cursors } else { Cursors::default() };
                    Round::new(ground, retention, cursors).run().await
                }
                Err(error) => Round::new(ground, found_for, cursors).held_up(error.to_string()),
            }
        };
        cx.spawn(round, |(swept, cursors)| Message::Ended { swept, cursors });
    }

    fn ended(&mut self, swept: Swept, cursors: Cursors, cx: &Context<Message>) {
        if let Some(why) = &swept.away {
            tracing::warn!(cell = %self.args.cell, why, "retention is held up; it goes on by itself");
        } else if swept.tasks + swept.runs > 0 {
            let (tasks, runs) = (swept.tasks, swept.runs);
            tracing::info!(cell = %self.args.cell, tasks, runs, "deleted what was kept long enough");
        }
        self.found_for = cursors.found_for;
        self.cursors = cursors;
        for reply in self.waiting.drain(..) {
            reply.send(swept.clone());
        }
        self.standing = Standing { last: Some(swept), running: false, next_at: None };
        if self.next.is_empty() { self.rest(cx) } else { self.begin(cx) }
    }
}
