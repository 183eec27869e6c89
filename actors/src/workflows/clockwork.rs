//! The clockwork of one cell: it starts the conductors of runs that were open when the cell was, some at a time. Told by
//! itself only.

use std::collections::VecDeque;
use std::sync::Arc;

use fleetward_runtime::{Actor, Context, Crash, StartError};

use super::conductor::{Nursery, Runs};
use super::run::Run;
use crate::fleet::cell::keeper;
use crate::id::RunId;

/// Conductors that are started at once.
const AT_ONCE: usize = 64;

/// What it starts from.
#[derive(Clone)]
pub struct Args {
    /// Gives it what was true.
    pub keeper: keeper::Handle,
    /// Where conductors find what was read of their runs.
    pub nursery: Arc<Nursery>,
    /// The conductors.
    pub runs: Runs,
}

/// The protocol.
#[derive(Debug)]
pub enum Message {
    /// From itself: so many have been started.
    Started,
}

/// Its memory.
pub struct State {
    args: Args,
    waiting: VecDeque<RunId>,
}

impl Actor for State {
    type Args = Args;
    type Message = Message;

    async fn start(args: Args, cx: &mut Context<Message>) -> Result<Self, StartError> {
        let mut part = args.keeper.take(&[<Run as crate::fact::Fold>::KIND]).await?;
        let open = part.states::<Run>().into_iter().filter(|run| !run.is_closed());
        let mut waiting = VecDeque::new();
        for run in open {
            waiting.push_back(run.id.clone());
            args.nursery.keep(run);
        }
        if !waiting.is_empty() {
            tracing::info!(runs = waiting.len(), "runs go on");
            cx.send(Message::Started);
        }
        Ok(Self { args, waiting })
    }

    fn handle(&mut self, message: Message, cx: &mut Context<Message>) -> Result<(), Crash> {
        match message {
            Message::Started => self.start_some(cx),
        }
        Ok(())
    }

    fn label(message: &Message) -> &'static str {
        match message {
            Message::Started => "Started",
        }
    }

    fn inspect(&self) -> serde_json::Value {
        serde_json::json!({ "to_start": self.waiting.len() })
    }
}

impl State {
    fn start_some(&mut self, cx: &Context<Message>) {
        let some: Vec<_> = self.waiting.drain(..AT_ONCE.min(self.waiting.len())).collect();
        if some.is_empty() {
            return;
        }
        let runs = self.args.runs.clone();
        let started = async move {
            for run in some {
                if let Err(error) = runs.get_or_start(run.clone()).await {
                    // The family goes on trying, or has said why it does not.
                    tracing::debug!(%run, %error, "the conductor of a run does not start");
                }
            }
        };
        cx.spawn(started, |()| Message::Started);
    }
}
