//! The warden: says which organisations are down. A halted cell can write nothing, so the record of the system says it, and
//! the log. Told by the family of cells that one halted; tells the directory. It remembers what it said in this life.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use fleetward_runtime::{Actor, Address, Context, Crash, StartError, Timer};
use fleetward_store::CellId;
use tokio::sync::watch;

use crate::access::Event;
use crate::cause::Cause;
use crate::fleet::cell::Cells;
use crate::system::directory;
use crate::system::principals::Principals;

/// How long the directory may take to write it down.
const NOTE_WITHIN: Duration = Duration::from_secs(10);
/// Before it is asked again.
const RETRY: Duration = Duration::from_secs(30);
/// Most characters of a reason.
const WHY_MAX: usize = 2_048;

/// What the warden starts from.
#[derive(Clone)]
pub(super) struct Args {
    pub(super) cells: Cells,
    pub(super) principals: Arc<Principals>,
    pub(super) directory: Address<directory::Message>,
}

/// The protocol.
#[derive(Debug)]
pub(super) enum Message {
    /// From the family: a cell halted.
    Halted {
        /// Says when the next one does.
        halts: watch::Receiver<u64>,
    },
    /// Timer: something is not on the record yet.
    RetryDue,
    /// The directory answered.
    Noted {
        /// About which cell.
        cell: CellId,
        /// It is durable.
        done: bool,
    },
}

/// How far a halted cell is on the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said {
    No,
    Asked,
    Yes,
}

/// Those that are down, and why.
pub(super) struct State {
    args: Args,
    known: BTreeMap<CellId, (String, Said)>,
    retry: Option<Timer>,
}

impl Actor for State {
    type Args = Args;
    type Message = Message;

    async fn start(args: Args, cx: &mut Context<Message>) -> Result<Self, StartError> {
        cx.send(Message::Halted { halts: args.cells.halts() });
        Ok(Self { args, known: BTreeMap::new(), retry: None })
    }

    fn handle(&mut self, message: Message, cx: &mut Context<Message>) -> Result<(), Crash> {
        match message {
            Message::Halted { halts } => {
                self.look();
                self.write_down(cx);
                wait(halts, cx);
            }
            Message::RetryDue => {
                self.retry = None;
                self.write_down(cx);
            }
            Message::Noted { cell, done } => self.noted(cell, done, cx),
        }
        Ok(())
    }

    fn label(message: &Message) -> &'static str {
        match message {
            Message::Halted { .. } => "Halted",
            Message::RetryDue => "RetryDue",
            Message::Noted { .. } => "Noted",
        }
    }

    fn inspect(&self) -> serde_json::Value {
        serde_json::json!({ "halted": self.known.len() })
    }
}

impl State {
    fn look(&mut self) {
        let mut before = std::mem::take(&mut self.known);
        for (cell, why) in self.args.cells.halted() {
            let why: String = why.chars().take(WHY_MAX).collect();
            let known = before.remove(&cell).filter(|(known, _)| *known == why);
            if known.is_none() {
                let org = self.args.principals.org_of(cell).map(|known| known.org.name.clone());
                tracing::error!(cell = cell.0, org, why, "alert: an organisation is down");
            }
            self.known.insert(cell, known.unwrap_or((why, Said::No)));
        }
    }

    fn write_down(&mut self, cx: &Context<Message>) {
        for (cell, (why, said)) in self.known.iter_mut().filter(|(_, (_, said))| *said == Said::No)
        {
            *said = Said::Asked;
            let org = self.args.principals.org_of(*cell).map(|known| known.org.id);
            let event = Event::CellHalted { cell: cell.0, org, why: why.clone() };
            let (directory, cell) = (self.args.directory.clone(), *cell);
            let asked = async move {
                let by = Cause::system();
                let note = |reply| directory::Message::Note { event, by, reply };
                directory.call(NOTE_WITHIN, note).await.is_ok()
            };
            cx.spawn(asked, move |done| Message::Noted { cell, done });
        }
    }

    fn noted(&mut self, cell: CellId, done: bool, cx: &Context<Message>) {
        if let Some((_, said)) = self.known.get_mut(&cell) {
            *said = if done { Said::Yes } else { Said::No };
        }
        if !done && self.retry.is_none() {
            self.retry = Some(cx.after(RETRY, Message::RetryDue));
        }
    }
}

/// Waits beside the actor for the next cell that halts.
fn wait(mut halts: watch::Receiver<u64>, cx: &Context<Message>) {
    // What halted between the last look and now is seen at once.
    let changed = async move {
        // The family outlives whoever waits for it.
        let _ = halts.changed().await;
        halts
    };
    cx.spawn(changed, |halts| Message::Halted { halts });
}
